//! Carries out exchanges of caches and profiles with their shares, through the sync engine.
#![expect(clippy::disallowed_methods, reason = "edge: looks at directories and removes caches")]

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use homeport_policy::connection::most_specific;
use homeport_policy::folder::Folder;
use homeport_sync::codes::ResultCode;
use homeport_sync::flags::{Flags, KeepRule, bits};
use homeport_sync::lines::Event;
use homeport_sync::{
    Conflict, ConflictKind, Counts, Fill, Flow, Held, ItemResult, Journal, JournalError, Options,
    Pair, Pending, Report, Resolve, ResolveRule, Share, SyncError, Tell, Verdict,
};

use crate::durable::make_private_dir;
use crate::limits::{DEPTH_MAX, RECYCLE_KEEP};
use crate::outcome::{Outcome, chain};
use crate::plan::{Exchange, ProfileExchange, Remote};
use crate::redirect::forget_cache;
use crate::share::Measured;
use crate::share::calls::Calls;
use crate::share::helper::{self, SmbVolume};
use crate::share::reach::{self, ReachError};
use crate::share::timed::timed;
use crate::undone::Undone;
use crate::watch::Watch;
use crate::wish::network_path;
use crate::words::{counts_line, held_counts};

/// What an exchange came to, and how quickly the share answered.
pub type Exchanged = (Outcome, Option<Measured>);

/// Exchanges one cache with its share.
pub fn exchange(
    job: &Exchange,
    host: &str,
    now: SystemTime,
    watch: Watch<'_>,
    calls: &Arc<Calls>,
) -> Exchanged {
    match run(job, host, now, watch, calls) {
        Ok((report, measured)) if is_about_nothing(job, &report) => {
            let nothing = Outcome::refused("there is no such item", "see `homeport ls`");
            (nothing.as_code(ResultCode::FileNotFound), Some(measured))
        }
        Ok((report, measured)) => (told(report), Some(measured)),
        Err((outcome, measured)) => (outcome, measured),
    }
}

/// Whether a person named something that is neither here nor on the share, and never was.
fn is_about_nothing(job: &Exchange, report: &Report) -> bool {
    let is_at = |root: &Path, below: &String| std::fs::symlink_metadata(root.join(below)).is_ok();
    // What is on a share that is not mounted only an exchange can tell.
    let may_be_there = |below| job.remote.smb.is_some() || is_at(&job.remote.path, below);
    let stands = |below| is_at(&job.local, below) || may_be_there(below);
    let only = &job.how.only;
    job.how.named && report.items.is_empty() && !only.is_empty() && !only.iter().any(stands)
}

/// Looks whether the share of a cache answers, and how quickly.
pub fn look(job: &Exchange) -> Exchanged {
    match share_of(job).and_then(|share| probe(job, share.as_ref())) {
        Ok(latency) => (Outcome::Unchanged, Some(Measured { latency, throughput: None })),
        Err(outcome) => (outcome, None),
    }
}

/// An exchange that fails may still have measured that the share answers.
fn run(
    job: &Exchange,
    host: &str,
    now: SystemTime,
    watch: Watch<'_>,
    calls: &Arc<Calls>,
) -> Result<(Report, Measured), (Outcome, Option<Measured>)> {
    let share = share_of(job).map_err(|outcome| (outcome, None))?;
    let latency = probe(job, share.as_ref()).map_err(|outcome| (outcome, None))?;
    let report = report(job, share, host, now, watch, calls);
    let measured = Measured { latency, throughput: calls.carried().rate() };
    match report {
        Ok(report) => Ok((report, measured)),
        // What answered a moment ago may have gone meanwhile.
        Err(outcome @ Outcome::Failed { unreachable: true, .. }) => Err((outcome, None)),
        Err(outcome) => Err((outcome, Some(measured))),
    }
}

fn report(
    job: &Exchange,
    share: Option<SmbVolume>,
    host: &str,
    now: SystemTime,
    watch: Watch<'_>,
    calls: &Arc<Calls>,
) -> Result<Report, Outcome> {
    let (pair, mut journal) = open(job)?;
    let share = share.map(|share| Share(Arc::new(share)));
    let pair = Pair { share, ..pair };
    let options = options(job, host);
    let sides = homeport_sync::open_sides(&pair, &journal, &options);
    let mut sides = sides.map_err(|error| failed(&error))?;
    sides.remote = timed(sides.remote, Arc::clone(calls));
    let mut undone = Undone::default();
    let mut progress = |tell: Tell<'_>| {
        let full = |path: &str| network_path(&job.remote.unc, path);
        match tell {
            Tell::Begin { path, action } => watch.begin(Event::item_begin(full(path), action)),
            Tell::Item(item) => {
                let ItemResult { path, action, result } = item;
                tracing::debug!(path, ?action, ?result, "item");
                undone.note(item);
                watch.item(Event::item_result(full(path), item, 0));
            }
        }
        Flow::Continue
    };
    let report = homeport_sync::sync_sides(
        (&pair, &sides),
        &mut journal,
        &options,
        now,
        &mut progress,
        watch.control,
    );
    let report = undone.listed_in(report.map_err(|error| failed(&error))?);
    if let Err(error) = journal.recycle_sweep(now, RECYCLE_KEEP) {
        tracing::warn!(error = chain(&error), "Recycle area not swept.");
    }
    Ok(report)
}

/// Opens a cache, its journal and its share, once the share answers; and times that.
fn open_probed(job: &Exchange) -> Result<(Pair, Journal, Duration), Outcome> {
    let share = share_of(job)?;
    let latency = probe(job, share.as_ref())?;
    let (pair, journal) = open(job)?;
    let share = share.map(|share| Share(Arc::new(share)));
    Ok((Pair { share, ..pair }, journal, latency))
}

/// The share of a cache, where it is not mounted.
fn share_of(job: &Exchange) -> Result<Option<SmbVolume>, Outcome> {
    helper::of(&job.remote)
        .map_err(|source| away(&ReachError::Open { path: job.remote.path.clone(), source }))
}

/// Opens the exact directory that will be exchanged, as the user, and times it. One that was there
/// before is not made again: it may have been moved away for a moment.
fn probe(job: &Exchange, share: Option<&SmbVolume>) -> Result<Duration, Outcome> {
    let create = job.remote.create && !is_known(job);
    if let Some(share) = share {
        // Starting the helper, connecting and signing in take their time on the fastest link.
        helper::connect(share, &job.remote).map_err(|error| away(&error))?;
        let start = Instant::now();
        helper::reach(share, &job.remote, create).map_err(|error| away(&error))?;
        return Ok(start.elapsed() / helper::LOOK_ROUND_TRIPS);
    }
    reach::probe(&Remote { create, ..job.remote.clone() }).map_err(|error| away(&error))
}

/// Whether the cache was ever in step with its share. A journal that cannot be opened now may say so.
fn is_known(job: &Exchange) -> bool {
    let knows = || Journal::open(&job.journal).and_then(|journal| journal.knows_a_root());
    job.journal.exists() && knows().unwrap_or(true)
}

pub(crate) fn away(error: &ReachError) -> Outcome {
    Outcome::share(error, error.is_unreachable())
}

/// Opens a cache and its journal.
pub(crate) fn open(job: &Exchange) -> Result<(Pair, Journal), Outcome> {
    let parent = job.journal.parent().unwrap_or(Path::new("/"));
    make_private_dir(parent).map_err(|error| Outcome::failed(&error))?;
    let journal = Journal::open(&job.journal).map_err(|error| match error {
        JournalError::Busy { .. } => Outcome::refused(chain(&error), "it is the worker of another command or of the agent; one that was cut off ends within seconds"),
        _ => Outcome::failed(&error),
    })?;
    // The cache's own parents must be there before the engine makes its root.
    let above = job.local.parent().unwrap_or(Path::new("/"));
    make_private_dir(above).map_err(|error| Outcome::failed(&error))?;
    let share = share_of(job)?.map(|share| Share(Arc::new(share)));
    Ok((Pair { local: job.local.clone(), remote: job.remote.path.clone(), share }, journal))
}

pub(crate) fn failed(error: &SyncError) -> Outcome {
    match error {
        SyncError::RootUnavailable { source, .. } => {
            Outcome::share(error, source.kind() != io::ErrorKind::PermissionDenied)
        }
        SyncError::Overlap { .. } => {
            Outcome::refused(chain(error), "correct the [[mount]] of the share")
        }
        SyncError::RootChanged { .. } => Outcome::refused(
            chain(error),
            "nothing is exchanged until a person says what happened: `homeport release --merge-root` \
             merges both sides, and deletes and replaces nothing; if it was emptied or set back on \
             purpose, `homeport release --believe-root` lets the other side follow",
        )
        .as_code(ResultCode::Held),
        SyncError::NoConflict { .. } => {
            Outcome::refused(chain(error), "see `homeport conflicts list`")
        }
        _ => Outcome::failed(error),
    }
}

pub(crate) fn options(job: &Exchange, host: &str) -> Options {
    let (rules, how) = (&job.rules, &job.how);
    let asked = how.flags.and_then(Flags::conflicts).map(KeepRule::resolve);
    let flag = |question: fn(Flags) -> bool| how.flags.is_some_and(question);
    Options {
        sync_in: job.sync_in,
        sync_out: job.sync_out,
        resolve: match asked {
            Some(resolve) => vec![ResolveRule { path: "**".to_owned(), resolve }],
            None => conflict_rules(&rules.conflicts, job.remote.unc.as_str()),
        },
        exclude: job.exclude.clone(),
        screens: rules.file_screens.clone(),
        max_deletes: rules.max_deletes,
        max_delete_percent: rules.max_delete_percent,
        release_deletes: how.release,
        root: how.root,
        bandwidth: rules.bandwidth,
        byte_budget: how.byte_budget,
        fill: match how.flags {
            None => Fill::Pinned,
            Some(flags) if flags.fill_sparse() => Fill::All,
            Some(_) => Fill::None,
        },
        skip_suspended: how.skip_suspended,
        background: how.background,
        no_new_files_out: flag(Flags::no_new_files_out),
        pinned: how.pinned,
        pin_new: pin_new(how.flags),
        pin_link_targets: flag(Flags::pin_link_targets),
        root_unc: Some(job.remote.unc.to_string()),
        only: how.only.clone(),
        host: host.to_owned(),
        ..Options::default()
    }
}

/// For whom new files are pinned. The flags and the pins have the same numbers.
fn pin_new(flags: Option<Flags>) -> u32 {
    let pins = flags.filter(|flags| flags.pin_new_files());
    pins.map_or(0, |flags| flags.bits() & bits::PIN_FOR_ANY)
}

/// How conflicts in a share's folder are settled: first by the policy patterns that begin below it,
/// the longest first, then by the most specific one that covers the folder itself.
fn conflict_rules(conflicts: &[(String, String)], unc: &str) -> Vec<ResolveRule> {
    let mut below: Vec<(String, Resolve)> = Vec::new();
    for (pattern, word) in conflicts {
        let inside = pattern
            .get(..unc.len())
            .filter(|start| start.eq_ignore_ascii_case(unc))
            .and_then(|_| pattern[unc.len()..].strip_prefix('\\'))
            .filter(|rest| !rest.is_empty() && *rest != "*");
        if let (Some(rest), Some(resolve)) = (inside, resolve_word(word)) {
            below.push((rest.replace('\\', "/"), resolve));
        }
    }
    // A rule that is written first wins among equals, so the order is kept.
    below.sort_by_key(|(rest, _)| std::cmp::Reverse(rest.find('*').unwrap_or(rest.len())));
    let mut rules = Vec::new();
    for (rest, resolve) in below {
        let folder = rest.strip_suffix("/*").unwrap_or(&rest);
        let pieces: Vec<String> = folder.split('*').map(globset::escape).collect();
        let folder = pieces.join("*");
        let whole = format!("{folder}/**");
        rules.extend([folder, whole].map(|path| ResolveRule { path, resolve }));
    }
    let patterns = conflicts.iter().map(|(path, word)| (path.as_str(), word.as_str()));
    let all = most_specific(patterns, unc).and_then(resolve_word);
    rules.extend(all.map(|resolve| ResolveRule { path: "**".to_owned(), resolve }));
    rules
}

/// The engine's way for a word of policy or command line.
pub fn resolve_word(word: &str) -> Option<Resolve> {
    Some(match word {
        "ask" => Resolve::Ask,
        "keep-local" => Resolve::KeepLocal,
        "keep-remote" => Resolve::KeepRemote,
        "keep-latest" => Resolve::KeepLatest,
        "keep-both" => Resolve::KeepBoth,
        _ => return None,
    })
}

fn told(report: Report) -> Outcome {
    let counts = Counts { unchanged: 0, ..report.counts };
    let mut parts = Vec::new();
    if counts != Counts::default() {
        parts.push(counts_line(&counts));
    }
    parts.extend(report.held.as_ref().map(held_words));
    if report.cancelled {
        parts.push("cancelled; what is in step stays in step".to_owned());
    }
    if parts.is_empty() {
        return Outcome::Unchanged;
    }
    Outcome::Done { detail: parts.join(", "), report: Some(Box::new(report)) }
}

fn held_words(held: &Held) -> String {
    let deletes = held.deletes_local + held.deletes_remote;
    let changes = held.changes_local + held.changes_remote;
    format!("{} held (`homeport release` lets them through)", held_counts(deletes, changes))
}

/// Exchanges a profile, unless it is not the user's or too large.
pub fn profile(
    job: &ProfileExchange,
    host: &str,
    now: SystemTime,
    watch: Watch<'_>,
    calls: &Arc<Calls>,
) -> Exchanged {
    let probed = share_of(&job.exchange).and_then(|share| probe(&job.exchange, share.as_ref()));
    if let Err(outcome) = probed {
        return (outcome, None);
    }
    if job.check_owner && job.exchange.remote.smb.is_some() {
        let why = "whose folder it is cannot be told over SMB without a mount";
        let hint = "mount the share, or set roaming-profiles.skip-owner-check";
        return (Outcome::refused(why, hint), None);
    }
    if job.check_owner
        && let Some(refused) = foreign_owner(&job.exchange.remote.path)
    {
        return (refused, None);
    }
    if job.exchange.sync_out
        && let Some(limit) = job.size_limit
    {
        match too_large(&job.exchange, limit) {
            Ok(None) => {}
            Ok(Some(refused)) => return (refused, None),
            Err(error) => return (Outcome::failed(&error), None),
        }
    }
    exchange(&job.exchange, host, now, watch, calls)
}

/// The folder must belong to the user or to an administrator (CompatibleRUPSecurity).
fn foreign_owner(path: &Path) -> Option<Outcome> {
    let owner = match std::fs::metadata(path) {
        Ok(meta) => meta.uid(),
        Err(error) => return Some(Outcome::failed(&error)),
    };
    let user = rustix::process::geteuid().as_raw();
    if owner == user || owner == 0 {
        return None;
    }
    let why = format!("{} belongs to account {owner}, not to the user", path.display());
    let hint = "give the folder to the user, or set roaming-profiles.skip-owner-check";
    Some(Outcome::refused(why, hint))
}

fn too_large(job: &Exchange, limit: u64) -> io::Result<Option<Outcome>> {
    let mut globs = GlobSetBuilder::new();
    for pattern in &job.exclude {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        globs.add(glob.map_err(io::Error::other)?);
    }
    let globs = globs.build().map_err(io::Error::other)?;
    let size = tree_size(&job.local, Path::new(""), &globs, 0)?;
    if size <= limit {
        return Ok(None);
    }
    let why = format!("the profile has {size} bytes; the limit is {limit}");
    let hint = "remove or exclude large folders (roaming-profiles.exclude), or raise size-limit";
    Ok(Some(Outcome::refused(why, hint)))
}

fn tree_size(root: &Path, below: &Path, globs: &GlobSet, depth: usize) -> io::Result<u64> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("{} is too deep", below.display())));
    }
    let mut size = 0;
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if globs.is_match(&path) {
            continue;
        }
        let meta = entry.metadata()?; // does not follow links
        if meta.is_dir() {
            size += tree_size(root, &path, globs, depth + 1)?;
        } else if meta.is_file() {
            size += meta.len();
        }
    }
    Ok(size)
}

/// Gives up a cache whose folder is home again, if everything of it is on the share.
pub fn drop_cache(
    folder: Folder,
    job: &Exchange,
    data: &Path,
    host: &str,
    now: SystemTime,
    watch: Watch<'_>,
    calls: &Arc<Calls>,
) -> Exchanged {
    let (report, measured) = match run(job, host, now, watch, calls) {
        Ok(done) => done,
        Err(undone) => return undone,
    };
    let counts = &report.counts;
    let left =
        counts.conflicts_open + counts.screened + counts.skipped + counts.put_off + counts.failed;
    if left > 0 || report.held.is_some() || report.cancelled {
        let why = format!("{left} items of the cache are not on the share as they are here");
        let hint = "homeport status lists them; the cache stays until they are settled";
        return (Outcome::refused(why, hint), Some(measured));
    }
    let removed = remove_clean(job, folder, data, host);
    (removed.unwrap_or_else(|error| Outcome::failed(&error)), Some(measured))
}

fn remove_clean(job: &Exchange, folder: Folder, data: &Path, host: &str) -> io::Result<Outcome> {
    match pending(job, host) {
        Ok(pending) if pending.total_items + pending.total_unsent == 0 => {}
        Ok(pending) => {
            let count = pending.total_items + pending.total_unsent;
            let why = format!("{count} changes are not on the share yet");
            return Ok(Outcome::refused(why, "the cache stays until they are"));
        }
        Err(outcome) => return Ok(outcome),
    }
    // RACE: a program that still has a file of the cache open may write into it after this look.
    // The folder's place no longer leads here, so nothing opens files anew.
    let trash = data.join(format!("dropping-{folder}"));
    std::fs::rename(&job.local, &trash)?;
    std::fs::remove_dir_all(&trash)?;
    if let Some(journal) = job.journal.parent() {
        std::fs::remove_dir_all(journal)?;
    }
    let cache = data.join("cache");
    let mut parent = job.local.parent();
    while let Some(path) = parent.filter(|path| path.starts_with(&cache) && *path != cache) {
        if std::fs::remove_dir(path).is_err() {
            break; // another cache lies in it
        }
        parent = path.parent();
    }
    forget_cache(data, folder, &job.remote.unc).map_err(io::Error::other)?;
    Ok(Outcome::done("nothing of it is left on this computer"))
}

/// What of a cache is not on its share yet.
///
/// # Errors
/// An [`Outcome`] that says why it cannot be told.
pub fn pending(job: &Exchange, host: &str) -> Result<Pending, Outcome> {
    let (pair, mut journal) = open(job)?;
    homeport_sync::pending(&pair, &mut journal, &options(job, host)).map_err(|e| failed(&e))
}

/// The open conflicts of a cache.
///
/// # Errors
/// An [`Outcome`] that says why they cannot be told.
pub fn conflicts(job: &Exchange) -> Result<Vec<Conflict>, Outcome> {
    let (_, journal) = open(job)?;
    journal.conflicts().map_err(|error| Outcome::failed(&error))
}

/// Settles one open conflict of a cache.
pub fn settle(job: &Exchange, path: &str, how: Resolve, host: &str, now: SystemTime) -> Outcome {
    let (pair, mut journal, _) = match open_probed(job) {
        Ok(open) => open,
        Err(outcome) => return outcome,
    };
    let known = journal.conflicts().unwrap_or_default();
    let item = match homeport_sync::settle(&pair, &mut journal, path, how, host, now) {
        Ok(item) => item,
        Err(error) => return failed(&error),
    };
    match item.result {
        Verdict::Done => Outcome::done(format!("{path} is settled")),
        Verdict::Conflict => {
            let conflict = known.iter().find(|conflict| conflict.path == path);
            let (why, hint) = match conflict.map(|conflict| conflict.kind) {
                Some(ConflictKind::TypeDiffers) => (
                    "one side has a folder there and the other a file",
                    "settle it with --keep both",
                ),
                _ if how == Resolve::KeepLatest => {
                    ("both versions have the same time", "settle it with --keep local or remote")
                }
                _ => ("it cannot be settled that way", "settle it with --keep both"),
            };
            Outcome::refused(why, hint)
        }
        Verdict::Held => Outcome::refused("the brake holds it", "see `homeport release`"),
        Verdict::Screened => Outcome::refused("a file screen keeps it out", "rename it"),
        Verdict::PutOff => {
            Outcome::refused("the data for this network is used up", "it goes later")
        }
        Verdict::Busy => Outcome::refused("an application has it open", "close it, and try again"),
        Verdict::Skipped { why } => Outcome::refused(why.text(), "try again"),
        Verdict::Failed { message, .. } => Outcome::not_done(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(conflicts: &[(&str, &str)]) -> Vec<(String, Resolve)> {
        let owned = |(path, word): &(&str, &str)| ((*path).to_owned(), (*word).to_owned());
        let conflicts: Vec<_> = conflicts.iter().map(owned).collect();
        let rules = conflict_rules(&conflicts, r"\\files\home\alice");
        rules.into_iter().map(|rule| (rule.path, rule.resolve)).collect()
    }

    #[test]
    fn a_pattern_inside_a_cache_decides_before_one_that_covers_it() {
        let found = rules(&[
            (r"\\files\*", "keep-remote"),
            (r"\\FILES\home\Alice\Plans\*", "keep-local"),
            (r"\\files\home\alice\Plans\a[1].txt", "keep-both"),
            (r"\\files\home\bob\*", "keep-latest"),
        ]);
        let expected = [
            ("Plans/a[[]1[]].txt", Resolve::KeepBoth),
            ("Plans/a[[]1[]].txt/**", Resolve::KeepBoth),
            ("Plans", Resolve::KeepLocal),
            ("Plans/**", Resolve::KeepLocal),
            ("**", Resolve::KeepRemote),
        ];
        assert_eq!(found, expected.map(|(path, resolve)| (path.to_owned(), resolve)));
    }

    #[test]
    fn a_pattern_of_the_folder_itself_covers_all_of_it() {
        for pattern in [r"\\files\home\alice", r"\\files\home\alice\*", "*"] {
            assert_eq!(rules(&[(pattern, "keep-local")]), [("**".to_owned(), Resolve::KeepLocal)]);
        }
        assert_eq!(rules(&[]), []);
    }
}
