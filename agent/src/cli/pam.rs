//! `homeport pam`: what `pam_exec` calls when a session begins or ends.
//!
//! Two processes, so that nothing keeps anybody from signing in. The one that PAM waits for looks at
//! its environment, starts the other one and waits for it no longer than the budget; it opens no
//! file, asks no server, and always ends with 0. The other one may crash, hang or be killed.
#![expect(clippy::disallowed_methods, reason = "edge: environment, processes and time of a hook")]

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::exit::Exit;
use super::{Said, args, plain, service};
use crate::control::{self, Command as Control};
use crate::durable::read_small;
use crate::limits::{CONTROL_BYTES_MAX, PAM_GRACE, PAM_VALUE_BYTES_MAX};
use crate::outcome::chain;
use crate::plan::Occasion;
use crate::sessions::{Process, Session, Sessions, process};
use crate::settings::{Budget, Settings};
use crate::state::CONTROL;

const LOCAL: &str = "You work with the copies on this computer; the rest follows by itself.";
const TYPE: &str = "PAM_TYPE";
const USER: &str = "PAM_USER";
const SERVICE: &str = "PAM_SERVICE";
const TTY: &str = "PAM_TTY";
const REMOTE_HOST: &str = "PAM_RHOST";
const TICKETS: &str = "KRB5CCNAME";
/// Everything that is read of the environment.
const VARIABLES: [&str; 6] = [TYPE, USER, SERVICE, TTY, REMOTE_HOST, TICKETS];

/// What a PAM service means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody signs in, and reads what is said.
    Terminal,
    /// Somebody signs in at a screen, which shows a line at a bad time or not at all.
    Screen,
    /// Nobody sits down at this computer.
    Nobody,
}

/// PAM services by name; `*` stands for any rest. Every other one is a person at a terminal: a way
/// in that nobody has heard of must not leave people without their folders.
const SERVICES: &[(&str, Kind, &str)] = &[
    ("cron", Kind::Nobody, "a job, several times an hour"),
    ("crond", Kind::Nobody, "a job"),
    ("anacron", Kind::Nobody, "a job"),
    ("atd", Kind::Nobody, "a job"),
    ("sudo", Kind::Nobody, "one command, by somebody who has signed in"),
    ("sudo-i", Kind::Nobody, "another role of somebody who has signed in"),
    ("su", Kind::Nobody, "keeps the home and desktop of who calls it; `su -` (su-l) signs in"),
    ("runuser", Kind::Nobody, "for scripts of root"),
    ("runuser-l", Kind::Nobody, "for scripts of root"),
    ("doas", Kind::Nobody, "one command, by somebody who has signed in"),
    ("polkit-1", Kind::Nobody, "asks for a password, opens no desktop"),
    ("systemd-user", Kind::Nobody, "comes with a session that is told by itself, or lingers"),
    ("systemd-run0", Kind::Nobody, "one command, by somebody who has signed in"),
    ("samba", Kind::Nobody, "a client of a file server"),
    ("vsftpd", Kind::Nobody, "a client of a file server"),
    ("proftpd", Kind::Nobody, "a client of a file server"),
    ("dovecot", Kind::Nobody, "a client of a mail server"),
    ("cups", Kind::Nobody, "a client of a print server"),
    ("gdm-launch-environment", Kind::Nobody, "the greeter itself"),
    ("lightdm-greeter", Kind::Nobody, "the greeter itself"),
    ("sddm-greeter", Kind::Nobody, "the greeter itself"),
    ("gdm*", Kind::Screen, "a desktop"),
    ("lightdm*", Kind::Screen, "a desktop"),
    ("sddm*", Kind::Screen, "a desktop"),
    ("kde*", Kind::Screen, "a desktop"),
    ("xdm", Kind::Screen, "a desktop"),
    ("xrdp-sesman", Kind::Screen, "a desktop from afar"),
    ("cockpit", Kind::Screen, "a web page"),
];

fn kind(service: &str) -> Kind {
    let named = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => service.starts_with(start),
        None => service == pattern,
    };
    let found = SERVICES.iter().find(|(pattern, ..)| named(pattern));
    found.map_or(Kind::Terminal, |(_, kind, _)| *kind)
}

/// What PAM says. All of it may come from whoever knocks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    /// A session begins; else one ends.
    opens: bool,
    user: String,
    service: String,
    tty: String,
    remote_host: String,
    ticket_cache: Option<String>,
}

impl Request {
    /// Reads the environment; `None` when no session begins or ends.
    fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, String> {
        let value = |name: &str| {
            let text = get(name).unwrap_or_default();
            let text = text.into_string().ok().filter(|text| text.len() <= PAM_VALUE_BYTES_MAX);
            text.filter(|text| !text.contains(char::is_control))
        };
        let needed = |name: &str| {
            let bad = || format!("{name} is missing, or is no text of a reasonable size");
            value(name).filter(|text| !text.is_empty()).ok_or_else(bad)
        };
        let opens = match value(TYPE).as_deref() {
            Some("open_session") => true,
            Some("close_session") => false,
            _ => return Ok(None),
        };
        Ok(Some(Self {
            opens,
            user: needed(USER)?,
            service: needed(SERVICE)?,
            tty: value(TTY).unwrap_or_default(),
            remote_host: value(REMOTE_HOST).unwrap_or_default(),
            ticket_cache: value(TICKETS).filter(|text| is_ticket_cache(text)),
        }))
    }

    /// Whether a line on standard output reaches a person at a good time.
    fn is_read(&self) -> bool {
        kind(&self.service) == Kind::Terminal && !self.tty.is_empty() && !self.tty.starts_with(':')
    }

    fn budget(&self, budget: &Budget) -> Duration {
        if self.opens { budget.logon } else { budget.logoff }
    }

    fn session(&self, leader: Process) -> Session {
        Session {
            leader,
            service: self.service.clone(),
            tty: self.tty.clone(),
            remote_host: self.remote_host.clone(),
            ticket_cache: self.ticket_cache.clone(),
        }
    }
}

/// Whether a place of tickets is one that another process of the person can use.
fn is_ticket_cache(text: &str) -> bool {
    let path = text.strip_prefix("FILE:").or_else(|| text.strip_prefix("DIR:")).unwrap_or(text);
    path.starts_with('/') || text.starts_with("KEYRING:") || text.starts_with("KCM:")
}

/// The first number of people's accounts, from the text of `/etc/login.defs`.
fn first_person(login_defs: &str) -> u32 {
    let mut values = login_defs.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("UID_MIN")).then(|| words.next()?.parse().ok()).flatten()
    });
    values.next_back().unwrap_or(1000)
}

/// The whole command; it never fails.
pub(super) fn attend(settings: &Path, args: &args::Pam) -> Said {
    let text = match Request::read(|name| std::env::var_os(name)) {
        Ok(Some(request)) if kind(&request.service) != Kind::Nobody => match args.leader {
            Some(leader) => {
                work(settings, &request, leader);
                tell("done", "");
                None
            }
            None => {
                let limit = request.budget(&Budget::default());
                supervise(start(settings), &request, limit).filter(|_| request.is_read())
            }
        },
        Ok(_) => None,
        Err(why) => {
            log(&format!("cannot tell who signs in or out: {why}"));
            None
        }
    };
    let text = text.unwrap_or_default();
    Said { text, json: serde_json::Value::Null, exit: Exit::Ok, coloured: false, aside: false }
}

/// Waits for the process that does the work no longer than its budget; it says itself what that is,
/// once it knows. Gives what the person is to be told.
fn supervise(child: std::io::Result<Child>, request: &Request, budget: Duration) -> Option<String> {
    let began = Instant::now();
    let left_alone = |why: &str| {
        log(&format!("{} {}: {why}", request.service, request.user));
        Some(format!("Homeport does not work. {LOCAL}"))
    };
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return left_alone(&format!("cannot start the hook's process: {error}")),
    };
    let Some(heard) = listen(&mut child) else {
        let _ = child.kill(); // one that is gone already needs none
        return left_alone("cannot hear the hook's process");
    };
    let mut limit = budget + PAM_GRACE;
    let mut notice = None;
    loop {
        let line = match heard.recv_timeout(limit.saturating_sub(began.elapsed())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                log(&format!("{} {}: not done in time", request.service, request.user));
                return Some(format!("Homeport is still at work. {LOCAL}"));
            }
            Err(RecvTimeoutError::Disconnected) => return left_alone("the hook's process died"),
        };
        match line.split_once(' ') {
            Some(("budget", text)) => {
                limit = text.parse().map_or(budget, Duration::from_millis) + PAM_GRACE;
            }
            Some(("say", text)) => notice = Some(text.to_owned()),
            Some(("done", _)) => return notice,
            _ => {}
        }
    }
}

/// This very program, also after its file was replaced. It keeps nothing open that PAM waits for.
fn start(settings: &Path) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("--settings").arg(settings).arg("pam");
    command.arg(format!("--leader={}", std::os::unix::process::parent_id()));
    let known = |name: &'static str| std::env::var_os(name).map(|value| (name, value));
    command.env_clear().envs(VARIABLES.into_iter().filter_map(known)).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

fn listen(child: &mut Child) -> Option<Receiver<String>> {
    let out = BufReader::new(child.stdout.take()?.take(CONTROL_BYTES_MAX));
    let (to, heard) = channel();
    let read = move || {
        for line in out.lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().spawn(read).ok().map(|_| heard)
}

/// A line for the process that PAM waits for.
fn tell(word: &str, text: &str) {
    let text = plain(text).replace('\n', " ");
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{word} {text}").and_then(|()| out.flush()); // nobody waits any more
}

/// Counts the session and has the agent do what follows from it.
fn work(settings: &Path, request: &Request, leader: u32) {
    let trouble = |why: &str| log(&format!("{} {}: {why}", request.service, request.user));
    let account = match nix::unistd::User::from_name(&request.user) {
        Ok(Some(account)) => account,
        Ok(None) => return trouble("there is no such account"),
        Err(error) => return trouble(&format!("cannot look up the account: {error}")),
    };
    let login_defs = read_small(Path::new("/etc/login.defs")).unwrap_or_default();
    let uid = account.uid.as_raw();
    if uid < first_person(&String::from_utf8_lossy(&login_defs)).max(1) {
        return; // the administrator, or a service
    }
    let settings = service::settings(settings).unwrap_or_else(|stopped| {
        trouble(&format!("the usual places are used: {}", stopped.message));
        Settings::usual()
    });
    let budget = request.budget(&settings.budget);
    tell("budget", &budget.as_millis().to_string());
    let sessions = Sessions::at(&settings.sessions_dir);
    let leader = process(leader).ok().flatten();
    let Request { service, tty, .. } = request;
    let asks = match (request.opens, leader) {
        (true, Some(leader)) => sessions.open(uid, &account.name, request.session(leader)),
        (true, None) => Ok(false), // whoever opens it is gone already
        (false, leader) => sessions.close(uid, leader.as_ref(), service, tty),
    };
    let asks = asks.unwrap_or_else(|error| {
        trouble(&chain(&error));
        request.opens // somebody who cannot be counted stays signed in
    });
    if asks {
        let occasion = if request.opens { Occasion::Logon } else { Occasion::Logoff };
        let command = Control::Session { user: account.name, occasion };
        if let Some(notice) = ask(&settings.state_dir.join(CONTROL), &command, budget, &trouble) {
            tell("say", &notice);
        }
    }
}

/// Has the agent do it; gives what the person is to be told. What it does not do in time it does
/// afterwards.
fn ask(
    socket: &Path,
    command: &Control,
    budget: Duration,
    trouble: &dyn Fn(&str),
) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            trouble(&format!("cannot ask the agent: {error}"));
            return Some(format!("Homeport does not work. {LOCAL}"));
        }
    };
    let (_stays, mut never) = watch::channel(false);
    let mut hear = |_| {};
    let sent = async {
        let sent = control::send(socket, command, &mut hear, false, &mut never);
        tokio::time::timeout(budget, sent).await
    };
    match runtime.block_on(sent) {
        Ok(Ok(Some(answer))) => {
            answer.error.iter().for_each(|error| trouble(error));
            answer.notice
        }
        Ok(Ok(None)) => {
            trouble("the agent is not running");
            Some(format!("Homeport is not running. {LOCAL}"))
        }
        Ok(Err(error)) => {
            trouble(&format!("the agent gave no answer: {error}"));
            Some(format!("Homeport ended meanwhile. {LOCAL}"))
        }
        Err(_) => {
            trouble("the agent did not answer in time");
            Some(format!("Homeport is still at work. {LOCAL}"))
        }
    }
}

/// The system's log, where PAM itself logs, as nobody reads the hook's standard error. It is asked
/// without waiting: a log that is stuck keeps nobody out.
fn log(text: &str) {
    log_to(Path::new("/dev/log"), text);
}

fn log_to(socket: &Path, text: &str) {
    let message = format!("<84>homeport[{}]: {}", std::process::id(), plain(text));
    let sent = UnixDatagram::unbound().and_then(|log| {
        log.set_nonblocking(true)?;
        log.send_to(message.as_bytes(), socket)
    });
    drop(sent); // a computer without a log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Option<Request>, String> {
        Request::read(|name| {
            let found = values.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(*value))
        })
    }

    const ALICE: [(&str, &str); 3] = [(TYPE, "open_session"), (USER, "alice"), (SERVICE, "sshd")];

    #[test]
    fn only_sessions_count_and_what_is_odd_is_refused() {
        let request = read(&ALICE).unwrap().unwrap();
        assert!(request.opens && request.user == "alice" && request.ticket_cache.is_none());
        for kind in ["auth", "account", "password", "", "open_session\n"] {
            assert_eq!(read(&[&[(TYPE, kind)], &ALICE[1..]].concat()), Ok(None), "{kind}");
        }
        let long = "a".repeat(PAM_VALUE_BYTES_MAX + 1);
        for user in ["", "al\u{1b}[2Jice", "alice\n", &long] {
            assert!(read(&[&[(USER, user)], &ALICE[..]].concat()).is_err(), "{user:?}");
            let odd = [&[(TTY, user), (REMOTE_HOST, user)], &ALICE[..]].concat();
            let request = read(&odd).unwrap().unwrap();
            assert_eq!((request.tty.as_str(), request.remote_host.as_str()), ("", ""));
        }
    }

    /// What a person is told when the process that does the work is a script.
    fn supervised(script: &str) -> Option<String> {
        let mut command = Command::new("/bin/sh");
        let child = command.args(["-c", script]).stdout(Stdio::piped()).spawn();
        supervise(child, &read(&ALICE).unwrap().unwrap(), Duration::from_secs(60))
    }

    #[test]
    fn whatever_becomes_of_the_work_the_sign_in_goes_on() {
        assert_eq!(supervised("echo budget 60000; echo 'done '"), None);
        assert_eq!(supervised("echo say well; echo 'done '"), Some("well".to_owned()));
        let began = Instant::now();
        for (script, expected) in [
            ("exit 3", "Homeport does not work."),
            ("kill -SEGV $$", "Homeport does not work."),
            ("echo say half; exit 1", "Homeport does not work."),
            ("exec yes", "Homeport does not work."),
            ("echo budget 10; exec sleep 600", "Homeport is still at work."),
            (
                "trap '' TERM; echo budget 10; while :; do sleep 1; done",
                "Homeport is still at work.",
            ),
        ] {
            let said = supervised(script).unwrap();
            assert!(said.starts_with(expected) && said.ends_with(LOCAL), "{script}: {said}");
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing took the longest budget");
        let none = Err(std::io::ErrorKind::NotFound.into());
        let said = supervise(none, &read(&ALICE).unwrap().unwrap(), Duration::ZERO).unwrap();
        assert!(said.starts_with("Homeport does not work."), "{said}");
    }

    #[test]
    fn the_log_gets_one_line_and_a_computer_without_one_is_no_trouble() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("log");
        log_to(&socket, "nobody listens");
        let log = UnixDatagram::bind(&socket).unwrap();
        log_to(&socket, "sshd al\u{1b}[2Jice: not done in time");
        let mut line = [0; 200];
        let length = log.recv(&mut line).unwrap();
        let line = std::str::from_utf8(&line[..length]).unwrap();
        assert!(line.starts_with("<84>homeport["), "{line}");
        assert!(line.ends_with("]: sshd al\\u{1b}[2Jice: not done in time"), "{line}");
    }

    #[test]
    fn tickets_are_where_another_process_finds_them() {
        for (text, expected) in [
            ("FILE:/tmp/krb5cc_11001", true),
            ("/tmp/krb5cc_11001", true),
            ("DIR:/run/user/11001/krb5cc", true),
            ("KEYRING:persistent:11001", true),
            ("KCM:11001", true),
            ("MEMORY:login", false),
            ("FILE:krb5cc", false),
            ("", false),
        ] {
            let request = read(&[&[(TICKETS, text)], &ALICE[..]].concat()).unwrap().unwrap();
            assert_eq!(request.ticket_cache.is_some(), expected, "{text}");
        }
    }

    #[test]
    fn every_way_in_is_known_for_what_it_is() {
        for (service, expected) in [
            ("sshd", Kind::Terminal),
            ("login", Kind::Terminal),
            ("su-l", Kind::Terminal),
            ("never-heard-of", Kind::Terminal),
            ("gdm-password", Kind::Screen),
            ("gdm-launch-environment", Kind::Nobody),
            ("su", Kind::Nobody),
            ("sudo", Kind::Nobody),
            ("cron", Kind::Nobody),
            ("systemd-user", Kind::Nobody),
        ] {
            assert_eq!(kind(service), expected, "{service}");
        }
        for (pattern, _, why) in SERVICES {
            assert!(!why.is_empty(), "{pattern} has no reason");
        }
    }

    #[test]
    fn a_line_is_for_terminals() {
        for (service, tty, expected) in [
            ("sshd", "ssh", true),
            ("login", "/dev/tty1", true),
            ("su-l", "pts/3", true),
            ("su-l", "", false),
            ("gdm-password", "/dev/tty2", false),
            ("never-heard-of", ":0", false),
        ] {
            let values = [&[(SERVICE, service), (TTY, tty)], &ALICE[..]].concat();
            assert_eq!(read(&values).unwrap().unwrap().is_read(), expected, "{service} {tty}");
        }
    }

    #[test]
    fn people_begin_where_the_computer_says() {
        for (text, expected) in [
            ("", 1000),
            ("UID_MIN\t\t\t 500\n", 500),
            ("# UID_MIN 500\nSYS_UID_MIN 101\nUID_MIN 2000 # people\n", 2000),
            ("UID_MIN many\n", 1000),
        ] {
            assert_eq!(first_person(text), expected, "{text}");
        }
    }
}
