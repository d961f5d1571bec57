//! Every bound of the agent in one place, each with its reason.

use std::time::Duration;

/// Policy files in one set. A set of thousands of objects is a mistake, not a fleet.
pub const POLICY_FILES_MAX: usize = 2_000;
/// Largest settings file.
pub const SETTINGS_BYTES_MAX: u64 = 1 << 20;
/// Largest LDIF export that is read whole. 100,000 users with their groups take about 200 MiB.
pub const LDIF_BYTES_MAX: u64 = 2 << 30;
/// Largest list of sign-ins that is read whole; a year of a large fleet's CSV.
pub const SIGN_INS_BYTES_MAX: u64 = 1 << 30;
/// Largest message between agent and worker, either way; a report lists at most 1,000 items.
pub const FRAME_BYTES_MAX: u32 = 16 << 20;
/// Largest request over the control socket.
pub const CONTROL_BYTES_MAX: u64 = 64 << 10;
/// Events that may wait for the daemon; the rest is folded into what waits.
pub const EVENTS_WAITING_MAX: usize = 256;
/// Longest a worker may take to say what it sees of a home. Homes are local disks.
pub const OBSERVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest one exchange of one cache may take before its worker is given up.
/// Bulk first fills are resumed by the next exchange, nothing is lost.
pub const SYNC_TIMEOUT: Duration = Duration::from_secs(4 * 3600);
/// Longest a redirection or a restore may take; moving within one disk is renaming.
pub const MOVE_TIMEOUT: Duration = Duration::from_secs(3600);
/// How often an exchange tells how many bytes it carried. Slower looks stuck, faster costs.
pub const PROGRESS_TICK: Duration = Duration::from_millis(200);
/// Progress messages that may wait for whoever reads them; then the work waits.
pub const PROGRESS_WAITING_MAX: usize = 1_024;
/// Longest the work waits for somebody who does not read the progress; then nothing more is told.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest a share may leave whoever works with it without an answer before it counts as dead. An SMB
/// server that is only busy answers within seconds; Linux's own client gives up after 180 s.
pub const SHARE_PATIENCE: Duration = Duration::from_secs(20);
/// The same of one that did not answer the last time, while nobody waits for it but other folders.
pub const SHARE_PATIENCE_AWAY: Duration = Duration::from_secs(10);
/// The same while a person waits to sign in or out; several dead servers fit into the budget.
pub const SHARE_PATIENCE_WAITED_FOR: Duration = Duration::from_secs(5);
/// Longest one small operation may take on a share that answers otherwise. Files that are fetched
/// from tape take minutes.
pub const CALL_LONGEST: Duration = Duration::from_secs(15 * 60);
/// How long a worker that was stopped may take to leave a mount before it counts as hanging in it;
/// longer than `WORKER_GRACE`.
pub const STUCK_WAIT: Duration = Duration::from_secs(3);
/// Longest an exchange that was cut short may take to end by itself before its worker is given up.
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Quiet time after the last change of a policy directory before it is read again.
pub const POLICY_DEBOUNCE: Duration = Duration::from_millis(500);
/// How often folders in online mode exchange with their share.
pub const ONLINE_EXCHANGE: Duration = Duration::from_secs(30);
/// Quiet time after the last local change of a cache before it is looked at. Programs save in steps.
pub const CHANGE_QUIET: Duration = Duration::from_secs(2);
/// Longest a local change waits for that quiet.
pub const CHANGE_LONGEST: Duration = Duration::from_secs(10);
/// Changed folders of one cache that are told apart; more are everything.
pub const CHANGED_FOLDERS_MAX: usize = 256;
/// How often a watcher of a cache is tried, and one that failed is set up anew.
pub const WATCHER_CHECK: Duration = Duration::from_secs(3600);
/// First pause before another worker is started to watch somebody's caches; it doubles, up to
/// [`WATCHER_CHECK`].
pub const WATCHER_PAUSE: Duration = Duration::from_secs(5);
/// Notices of changes that wait until the agent reads them.
pub const NOTICES_WAITING_MAX: usize = 1_024;
/// Steps of a sign-in that are named as its slowest.
pub const SLOWEST_STEPS: usize = 10;
/// Sessions of one person that are counted.
pub const SESSIONS_MAX: usize = 256;
/// Attempts to lock the counts of sessions, 5 ms apart.
pub const SESSIONS_LOCK_TRIES: u32 = 200;
/// What the sign-in path adds to the budget of a sign-in before it goes on alone.
pub const PAM_GRACE: Duration = Duration::from_secs(1);
/// Longest value that PAM may hand over.
pub const PAM_VALUE_BYTES_MAX: usize = 4 << 10;
/// Groups of an account that its worker has; more do not fit on its command line.
pub const GROUPS_MAX: usize = 10_000;
/// Files and folders that a worker may have open at once.
pub const WORKER_FILES_MAX: u64 = 65_536;
/// Longest a watcher may take to notice the probe file.
pub const WATCHER_PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest time from one attempt at a background sync to the next. One that fails stays due, and
/// a dead share is asked every two minutes (Offline Files' own reconnect interval), not all the time.
pub const BACKGROUND_PAUSE: Duration = Duration::from_secs(120);
/// Quiet time after a change of the network before the shares are tried. Addresses come in steps.
pub const NETWORK_QUIET: Duration = Duration::from_secs(2);
/// Longest a change of the network waits for that quiet, and shortest time between two such tries.
pub const NETWORK_PAUSE: Duration = Duration::from_secs(10);
/// Longest a turn that nobody waits for may take before others get theirs; it is cut short, which
/// loses nothing, and goes on after them.
pub const TURN_SLICE: Duration = Duration::from_secs(10 * 60);
/// Simultaneous scrapes; more are refused.
pub const SCRAPES_MAX: usize = 8;
/// Longest a scraper may take to say what it wants.
pub const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest request of a scraper.
pub const SCRAPE_BYTES_MAX: usize = 8 << 10;
/// How deep a folder to be moved may be.
pub const DEPTH_MAX: usize = 256;
/// Conflicts listed for one cache; more are counted. A list this long needs another remedy.
pub const CONFLICTS_MAX: usize = 1_000;
/// Items listed of one cache by `homeport ls`; more are counted. They fit into one message.
pub const LIST_MAX: usize = 20_000;
/// Items of one cache listed that an exchange left undone, or that the brake holds; more are counted.
pub const UNDONE_MAX: usize = 20;
/// How long a worker whose agent is gone may take to end by itself.
pub const WORKER_GRACE: Duration = Duration::from_secs(2);
/// Old versions listed of one cache by `homeport recycled`; more are counted.
pub const RECYCLED_LIST_MAX: usize = 5_000;
/// Items of one cache that `homeport ls` lists as not readable; more are counted.
pub const NOTES_MAX: usize = 1_000;
/// Outcomes kept in the status of one user.
pub const OUTCOMES_MAX: usize = 200;
/// How long overwritten and deleted versions stay in the recycle area.
pub const RECYCLE_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// Kinds of computers for which `policy diff` rehearses every user, besides their own computers.
pub const KINDS_MAX: usize = 64;
/// Users listed by name for each change in `policy diff`.
pub const EXAMPLES_MAX: usize = 5;
/// Longest a turn waits for the directory when there is no cached answer; a part of the sign-in's
/// budget of 30 s. A domain controller answers within 50 ms, a far one within a second.
pub const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when a cached answer is at hand.
pub const DIRECTORY_CACHED_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest one attempt in the background may take, over all servers; nobody waits for it.
pub const DIRECTORY_RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest a directory that was away may take for its first answer to be used again. A turn asks at
/// most three times within `DIRECTORY_CACHED_TIMEOUT`.
pub const DIRECTORY_PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest one DNS server may take.
pub const DIRECTORY_DNS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer serves turns that no person waits for. Group Policy refreshes after 90 min.
pub const DIRECTORY_FRESH: Duration = Duration::from_secs(15 * 60);
/// How long an answer serves the turn that asked for it.
pub const DIRECTORY_SAME_TURN: Duration = Duration::from_secs(10);
/// How long the computer's own groups are taken to be the same, so that a sign-in need not ask.
pub const DIRECTORY_COMPUTER_FRESH: Duration = Duration::from_secs(30 * 60);
/// How long the schema, the list of domains and the names of groups are taken to be the same.
pub const DIRECTORY_SCHEMA_FRESH: Duration = Duration::from_secs(24 * 3600);
/// Kerberos attempts that may be under way at a time, each on a thread that the library may block: one
/// for each server of a list, and some for other domains.
pub const KERBEROS_THREADS_MAX: usize = 12;
/// Connections to other domains of the forest that are kept.
pub const DIRECTORY_DOMAINS_MAX: usize = 8;
/// Domains of one forest.
pub const DIRECTORY_FOREST_MAX: usize = 1_000;
/// Groups of one account. A Kerberos ticket holds 1,015.
pub const DIRECTORY_GROUPS_MAX: usize = 5_000;
/// Parts that a long attribute is read in.
pub const DIRECTORY_PARTS_MAX: usize = 200;
/// Groups of groups where the directory does not resolve them itself.
pub const DIRECTORY_NESTING_MAX: usize = 16;
/// Longest a domain controller may take for one page of an export.
pub const SNAPSHOT_PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest an export waits for its connection.
pub const SNAPSHOT_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Entries of one export; what it may weigh is `LDIF_BYTES_MAX`.
pub const SNAPSHOT_ENTRIES_MAX: usize = 5_000_000;
/// Parts that the members of one group are read in; a million at 1,500 a part.
pub const SNAPSHOT_PARTS_MAX: usize = 700;
/// Bases of one export.
pub const SNAPSHOT_BASES_MAX: usize = 100;
/// Attributes of one export that policy or the command line name.
pub const SNAPSHOT_ATTRIBUTES_MAX: usize = 200;
/// Servers that `doctor` looks at; the agent itself tries six.
pub const DOCTOR_SERVERS_MAX: usize = 16;
/// Longest each of doctor's questions may take.
pub const DOCTOR_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest security descriptor that is read; a list has 64 KiB at most.
pub const DESCRIPTOR_BYTES_MAX: usize = 128 << 10;
/// Addresses of one server, and other names of it, that doctor tries.
pub const DOCTOR_NAMES_MAX: usize = 4;
/// Clocks further apart are worth a warning.
pub const DOCTOR_SKEW_WARN: Duration = Duration::from_secs(60);
/// Clocks this far apart end Kerberos (RFC 4120 1.6, and the policy of every domain since 2000).
pub const DOCTOR_SKEW_FAIL: Duration = Duration::from_secs(300);
/// A certificate that ends this soon is worth a warning.
pub const DOCTOR_CERTIFICATE_WARN: Duration = Duration::from_secs(14 * 24 * 3600);
/// Longest NetworkManager or ModemManager may take for one answer; they answer within milliseconds.
pub const NETWORK_TIMEOUT: Duration = Duration::from_secs(2);
/// Quiet time after a signal of theirs before they are asked: a new connection comes with many.
pub const NETWORK_SETTLE: Duration = Duration::from_millis(500);
/// How often they are asked without any signal, in case one was lost.
pub const NETWORK_CHECK: Duration = Duration::from_secs(300);
/// Shortest and longest time until a system bus that was lost is looked for again.
pub const NETWORK_RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// Modems that are looked at.
pub const MODEMS_MAX: usize = 16;
/// Largest keytab that is looked into; a computer's has some kilobytes.
pub const KEYTAB_BYTES_MAX: u64 = 1 << 20;
/// Longest a process of `homeport-smb` may take until its connection is there: name, TCP, session, share.
pub const SMB_CONNECT: Duration = Duration::from_secs(15);
/// Longest a file server may take for one answer. A mebibyte over a slow link takes 17 s.
pub const SMB_ANSWER: Duration = Duration::from_secs(30);
/// Longest one request to the helper may take; it has up to five answers of the server.
pub const SMB_CALL: Duration = Duration::from_secs(60);
/// Longest a folder may take to be listed, or a file to be copied by the server, as a whole.
pub const SMB_LIST: Duration = Duration::from_secs(300);
/// Processes of `homeport-smb` at a time for one exchange. One thread has three files open at most.
pub const SMB_PROCESSES_MAX: usize = 32;
/// Lost connections in one exchange until the server is given up; the next exchange tries again.
pub const SMB_FAILURES_MAX: u32 = 4;
