//! The ordinary login path: the real PAM stack, `pam_exec` and `homeport pam`, with the agent as root.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk and start programs")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "support/office.rs"]
mod office;
#[path = "../support/mod.rs"]
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use office::{ALICE, BOB, Office, Service, home, until, watcher};
use rustix::process::{Pid, Signal, kill_process};
use world::Ran;

/// What a sign-in may take in these tests.
const BUDGET: Duration = Duration::from_secs(5);
/// What the processes themselves may take to start on a busy machine, beside the second that the
/// hook adds to the budget.
const START: Duration = Duration::from_secs(5);
const SERVICE: &str = "homeport-test";

/// A computer whose PAM stack calls Homeport; bob is an account of this computer alone.
struct Desk {
    office: Office,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { office: Office::new() };
        let world = &desk.office.world;
        world.write("corp.ldif", world::LDIF);
        let settings = world.read("agent.toml").unwrap();
        let budget = format!("logon = '{0}s', logoff = '{0}s'", BUDGET.as_secs());
        let own = format!("sessions-dir = 'sessions'\nbudget = {{ {budget} }}\n");
        world.write("agent.toml", &format!("{own}{settings}"));
        // Authentication is where a test keeps a session open: it waits for a word.
        let hold = "touch \"$1/held-$PAM_TTY\"; exec cat \"$1/word-$PAM_TTY\"\n";
        world.write("hold.sh", hold);
        let root = world.root.path().display();
        let line = desk.line();
        world.write("tickets", "KRB5CCNAME=FILE:/tmp/krb5cc_11001_lab\n");
        let stack = format!(
            "auth required pam_exec.so quiet /bin/sh {root}/hold.sh {root}\n\
             account required pam_permit.so\nsession required pam_permit.so\n\
             session required pam_env.so readenv=1 envfile={root}/tickets\n{line}"
        );
        for service in [SERVICE, "cron"] {
            fs::write(Path::new("/etc/pam.d").join(service), &stack).unwrap();
        }
        desk
    }

    /// The line of deploy/pam/homeport, for the program and the settings of this test.
    fn line(&self) -> String {
        let deployed = include_str!("../../deploy/pam/homeport");
        let line = deployed.lines().last().unwrap().trim();
        let settings = self.office.world.path("agent.toml");
        let here = format!("{} --settings {}", env!("CARGO_BIN_EXE_homeport"), settings.display());
        format!("session {}\n", line.replace("/usr/bin/homeport", &here))
    }

    /// Runs operations in one process; they must succeed, and within the budget each.
    fn pamtester(&self, service: &str, user: &str, tty: &str, operations: &[&str]) -> String {
        let mut command = Command::new("pamtester");
        command.arg(format!("-Itty={tty}")).args([service, user]).args(operations);
        let start = Instant::now();
        let ran = world::ran(command.env_clear().output().unwrap());
        let limit = (BUDGET + Duration::from_secs(1)) * operations.len() as u32 + START;
        assert!(start.elapsed() < limit, "{operations:?} took {:?}", start.elapsed());
        let Ran { code, out, err } = ran;
        assert_eq!(code, 0, "{out}{err}");
        format!("{out}{err}")
    }

    /// Begins and ends one session.
    fn visit(&self, user: &str) -> String {
        self.pamtester(SERVICE, user, "pts/7", &["open_session", "close_session"])
    }

    fn is_signed_in(&self, user: &str) -> bool {
        let status = self.office.world.ok(&["--json", "status"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["users"][user]["signed-in"].as_bool().unwrap_or_default()
    }

    fn counts(&self, uid: u32) -> bool {
        self.office.world.path(&format!("sessions/{uid}")).is_file()
    }

    /// Takes the share and the directory away, or brings them back.
    fn servers(&self, there: bool) {
        for place in ["server/home", "corp.ldif"] {
            let (here, away) =
                (self.office.world.path(place), self.office.world.path(&format!("{place}.away")));
            let (from, to) = if there { (away, here) } else { (here, away) };
            fs::rename(from, to).unwrap();
        }
    }
}

fn documents(user: &str) -> PathBuf {
    home(user).join("Documents")
}

/// Somebody who sits at the computer until told to go.
struct Sitting {
    child: Child,
    word: PathBuf,
}

impl Sitting {
    /// Returns once PAM let them in.
    fn begin(desk: &Desk, user: &str, tty: &str) -> Self {
        let world = &desk.office.world;
        let (word, held) = (world.path(&format!("word-{tty}")), world.path(&format!("held-{tty}")));
        let made = Command::new("mkfifo").arg(&word).status().unwrap();
        assert!(made.success());
        let start = Instant::now();
        let child = Command::new("pamtester")
            .arg(format!("-Itty={tty}"))
            .args([SERVICE, user, "open_session", "authenticate", "close_session"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("the session", || held.is_file().then_some(()));
        assert!(start.elapsed() < BUDGET + Duration::from_secs(1) + START, "{:?}", start.elapsed());
        Self { child, word }
    }

    /// Lets them go; gives what they read.
    fn end(self) -> String {
        fs::write(&self.word, "go").unwrap();
        let ran = world::ran(self.child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        format!("{}{}", ran.out, ran.err)
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn a_session_brings_the_folders_and_says_nothing() {
    let desk = Desk::new();
    let _service = Service::start(&desk.office);
    let said = desk.visit("alice");
    assert!(!said.contains("Homeport"), "{said}");
    assert!(documents("alice").is_symlink(), "redirected");
    let there = desk.office.share().join("alice/Documents/thesis.txt");
    assert_eq!(fs::read_to_string(there).unwrap(), "alice");
    assert!(!desk.is_signed_in("alice") && !desk.counts(ALICE), "she has left");
    let told = desk.office.world.ok(&["status", "--last-logon"]);
    for part in ["alice signed in, ", "alice signed out, ", " ms  redirect\n", "slowest steps:"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn of_several_sessions_the_last_one_signs_out() {
    let desk = Desk::new();
    let _service = Service::start(&desk.office);
    let first = Sitting::begin(&desk, "alice", "first");
    let second = Sitting::begin(&desk, "alice", "second");
    assert!(desk.is_signed_in("alice"));
    let worker = until("the watching worker", watcher);
    let environment = fs::read(worker.join("environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let has_tickets = environment.split('\0').any(|v| v == "KRB5CCNAME=FILE:/tmp/krb5cc_11001_lab");
    assert!(has_tickets, "the session's tickets are the worker's: {environment:?}");
    first.end();
    assert!(desk.is_signed_in("alice"), "she still has one");
    second.end();
    assert!(!desk.is_signed_in("alice"), "it was the last one");
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn a_session_that_was_killed_keeps_nobody_signed_in() {
    let desk = Desk::new();
    let _service = Service::start(&desk.office);
    let mut killed = Sitting::begin(&desk, "alice", "killed");
    assert!(desk.is_signed_in("alice"));
    signal(&killed.child, Signal::KILL);
    killed.child.wait().unwrap();
    until("the sign-out", || (!desk.is_signed_in("alice")).then_some(()));
    until("the end of the count", || (!desk.counts(ALICE)).then_some(()));
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn after_a_power_cut_nobody_is_signed_in() {
    let desk = Desk::new();
    let service = Service::start(&desk.office);
    let mut alice = Sitting::begin(&desk, "alice", "first");
    assert!(desk.is_signed_in("alice"));
    // Nothing is closed, what is in memory is gone, and the kernel says that it started anew.
    drop(service);
    signal(&alice.child, Signal::KILL);
    alice.child.wait().unwrap();
    fs::remove_dir_all(desk.office.world.path("sessions")).unwrap();
    desk.office.world.write("state/boot.json", "\"an earlier start\"");
    let _service = Service::start(&desk.office);
    until("the sign-out", || (!desk.is_signed_in("alice")).then_some(()));
    assert!(documents("alice").is_symlink(), "her folders stay where they are");
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn su_with_a_login_shell_signs_in_and_without_one_does_not() {
    let desk = Desk::new();
    let _service = Service::start(&desk.office);
    let common = Path::new("/etc/pam.d/common-session");
    let before = fs::read_to_string(common).unwrap();
    fs::write(common, format!("{before}{}", desk.line())).unwrap();
    let su = |args: &[&str]| world::ran(Command::new("su").args(args).output().unwrap());
    let without = su(&["alice", "-c", "true"]);
    let is_untouched = !documents("alice").is_symlink();
    let with = su(&["-", "alice", "-c", "readlink Documents"]);
    fs::write(common, before).unwrap();
    assert!(without.code == 0 && is_untouched, "{}{}", without.out, without.err);
    assert!(with.code == 0 && with.out.contains("homeport/cache"), "{}{}", with.out, with.err);
    assert!(!with.out.contains("Homeport"), "what the command prints is its own: {}", with.out);
    assert!(!desk.is_signed_in("alice"));
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn with_every_server_dead_the_local_copy_is_there_and_a_line_says_so() {
    let desk = Desk::new();
    let _service = Service::start(&desk.office);
    desk.visit("alice");
    desk.servers(false);
    let said = desk.visit("alice");
    for part in ["the directory", r"\\files\home", "cannot be reached"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(fs::read_to_string(documents("alice").join("thesis.txt")).unwrap(), "alice");
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn what_a_first_sign_in_could_not_do_follows_when_the_servers_are_back() {
    let desk = Desk::new();
    let _service = Service::start(&desk.office);
    fs::rename(desk.office.share(), desk.office.world.path("away")).unwrap();
    let alice = Sitting::begin(&desk, "alice", "first");
    assert!(!documents("alice").is_symlink());
    fs::rename(desk.office.world.path("away"), desk.office.share()).unwrap();
    until("the redirection", || documents("alice").is_symlink().then_some(()));
    let said = alice.end();
    assert!(said.contains(r"\\files\home cannot be reached"), "{said}");
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn without_the_service_people_sign_in_and_it_catches_up_when_it_starts() {
    let desk = Desk::new();
    let alice = Sitting::begin(&desk, "alice", "first");
    assert!(!documents("alice").is_symlink());
    let _service = Service::start(&desk.office);
    until("the redirection", || documents("alice").is_symlink().then_some(()));
    until("the sign-in", || desk.is_signed_in("alice").then_some(()));
    let said = alice.end();
    assert!(said.contains("Homeport is not running."), "{said}");
    assert!(!desk.is_signed_in("alice"));
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn a_service_that_hangs_keeps_nobody_out_and_does_its_work_later() {
    let desk = Desk::new();
    let service = Service::start(&desk.office);
    signal(&service.0, Signal::STOP);
    let alice = Sitting::begin(&desk, "alice", "first");
    assert!(!documents("alice").is_symlink());
    signal(&service.0, Signal::CONT);
    until("the redirection", || documents("alice").is_symlink().then_some(()));
    let said = alice.end();
    assert!(said.contains("Homeport is still at work."), "{said}");
    until("the sign-out", || (!desk.is_signed_in("alice")).then_some(()));
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn accounts_of_this_computer_and_jobs_are_left_alone() {
    let desk = Desk::new();
    let _service = Service::start(&desk.office);
    let bob = Sitting::begin(&desk, "bob", "first");
    assert!(!documents("bob").is_symlink() && !desk.is_signed_in("bob"));
    let said = bob.end();
    assert!(!said.contains("Homeport") && !desk.counts(BOB), "{said}");
    let said = desk.visit("root");
    assert!(!said.contains("Homeport") && !desk.counts(0), "{said}");
    desk.pamtester("cron", "alice", "cron", &["open_session", "close_session"]);
    assert!(!documents("alice").is_symlink(), "a job is no person");
}

#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn settings_that_are_broken_keep_nobody_out() {
    let desk = Desk::new();
    desk.office.world.write("agent.toml", "nonsense");
    // The usual places count then, which are this machine's: another /run for this one.
    let script = "mount -t tmpfs run /run && \
         exec pamtester -Itty=pts/7 homeport-test alice open_session close_session";
    let start = Instant::now();
    let ran =
        world::ran(Command::new("unshare").args(["-m", "sh", "-c", script]).output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("Homeport is not running."), "{}{}", ran.out, ran.err);
    assert!(start.elapsed() < Duration::from_secs(2) + START, "{:?}", start.elapsed());
}

/// What `pam-auth-update` makes of deploy/pam/homeport, on copies of everything it touches.
#[test]
#[ignore = "needs the lab and pamtester: tests/run"]
fn pam_auth_update_puts_it_last_into_interactive_sessions_alone() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/pam/homeport");
    let copies = tempfile::tempdir().unwrap();
    let script = "set -e; for place in /etc/pam.d /usr/share/pam-configs /var/lib/pam; do \
         cp -a $place \"$1/${place##*/}\"; mount --bind \"$1/${place##*/}\" $place; done; \
         cp \"$2\" /usr/share/pam-configs/; chmod 644 /usr/share/pam-configs/homeport; \
         export DEBIAN_FRONTEND=noninteractive; \
         pam-auth-update --force --enable homeport mkhomedir >/dev/null; \
         grep -h '^session' /etc/pam.d/common-session; echo ---; \
         cat /etc/pam.d/common-session-noninteractive";
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", script, "bash"]).arg(copies.path()).arg(file);
    let ran = world::ran(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let (interactive, jobs) = ran.out.split_once("---").unwrap();
    let last = interactive.trim().lines().last().unwrap();
    assert!(last.contains("pam_exec.so") && last.ends_with("/usr/bin/homeport pam"), "{}", ran.out);
    assert!(interactive.contains("pam_mkhomedir"), "{interactive}");
    assert!(!jobs.contains("homeport"), "{jobs}");
}
