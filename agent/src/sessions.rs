//! Who sits at this computer: the sessions that the sign-in path told of, one file for each person.
//!
//! The first session of a person signs in and the last one signs out. Whether the agent has done so
//! is kept with them, so that it does later what it could not do in time. A session ends when it is
//! closed or when the process that opened it is gone, whichever comes first: a killed `sshd` closes
//! nothing. The place is memory, so that nobody sits here after a restart.
#![expect(clippy::disallowed_methods, reason = "edge: reads and writes the counts of sessions")]

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::limits::{SESSIONS_LOCK_TRIES, SESSIONS_MAX};
use crate::plan::Occasion;

/// The sessions of this computer could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// A file or directory could not be used.
    #[error("cannot {what} {path}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no count of sessions.
    #[error("{path} is damaged; remove it if the person does not sit here")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// A process, told from a later one of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in clock ticks since the computer started (proc_pid_stat(5), field 22).
    pub began: u64,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// The process that opened it, and is to close it.
    pub leader: Process,
    /// The service that opened it, as PAM names it.
    pub service: String,
    /// Its terminal, as PAM names it; empty where there is none.
    pub tty: String,
    /// The computer it comes from; empty where that is this one.
    pub remote_host: String,
    /// Where its Kerberos tickets are.
    #[serde(default)]
    pub ticket_cache: Option<String>,
}

/// The sessions of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Person {
    /// The account.
    pub user: String,
    /// Those that are open.
    pub sessions: Vec<Session>,
    /// The agent has not yet done what follows from them.
    pub pending: bool,
    /// The process that has asked the agent, or is about to; once it is gone nobody waits any more.
    #[serde(default)]
    pub asker: Option<Process>,
}

impl Person {
    /// A session begins. Whether the agent is to be asked to sign the person in.
    pub fn open(&mut self, session: Session) -> bool {
        self.pending |= self.sessions.is_empty();
        if self.sessions.len() < SESSIONS_MAX {
            self.sessions.push(session);
        }
        self.pending
    }

    /// A session ends. Whether the agent is to be asked to sign the person out.
    pub fn close(&mut self, leader: Option<&Process>, service: &str, tty: &str) -> bool {
        let of_leader = |session: &&Session| Some(&session.leader) == leader;
        let same = |session: &Session| session.service == service && session.tty == tty;
        let exact = self.sessions.iter().position(|s| of_leader(&s) && same(s));
        let any = || self.sessions.iter().position(|s| of_leader(&s));
        if let Some(at) = exact.or_else(any) {
            self.sessions.remove(at);
            self.pending |= self.sessions.is_empty();
        }
        self.pending && self.sessions.is_empty()
    }

    /// Drops sessions whose process is gone.
    pub fn drop_gone(&mut self, is_there: impl Fn(&Process) -> bool) {
        let before = self.sessions.len();
        self.sessions.retain(|session| is_there(&session.leader));
        self.pending |= before > 0 && self.sessions.is_empty();
    }

    /// The agent did what follows from a session that began (or ended). Gives whether that is what
    /// holds now: another one may have begun meanwhile.
    pub fn settle(&mut self, signed_in: bool) -> bool {
        let holds = signed_in != self.sessions.is_empty();
        self.pending &= !holds;
        holds
    }

    /// Whether somebody still sees to it that the agent does what follows.
    pub fn is_asked_for(&self) -> bool {
        self.asker.as_ref().is_some_and(is_there)
    }

    fn asked(&mut self, asks: bool) -> bool {
        if asks {
            self.asker = process(std::process::id()).ok().flatten();
        }
        asks
    }

    /// What the agent still has to do, if it is done with what it was asked.
    pub fn due(&self, is_signed_in: bool) -> Option<Occasion> {
        match (self.pending, self.sessions.is_empty(), is_signed_in) {
            (false, ..) => None,
            (true, true, _) => Some(Occasion::Logoff),
            (true, false, true) => Some(Occasion::Refresh),
            (true, false, false) => Some(Occasion::Logon),
        }
    }
}

/// When a process began and whether it still runs, from the text of `/proc/PID/stat`. The name in it
/// may hold anything, brackets and blanks too.
fn began(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let began = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then_some(began)
}

/// The process of a number, if it runs.
///
/// # Errors
/// As `/proc`; a process that is gone is none.
pub fn process(pid: u32) -> io::Result<Option<Process>> {
    let stat = match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(began(&String::from_utf8_lossy(&stat)).map(|began| Process { pid, began }))
}

/// Between opening and reading its file a process may end, too.
fn is_gone(error: &io::Error) -> bool {
    let no_process = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(no_process)
}

/// Whether it still runs. What cannot be told counts as running: nobody is signed out by an error.
fn is_there(of: &Process) -> bool {
    process(of.pid).map_or(true, |found| found.as_ref() == Some(of))
}

/// The directory that holds them.
#[derive(Clone, Debug)]
pub struct Sessions {
    directory: PathBuf,
}

impl Sessions {
    /// Those kept in a directory; it is made when the first one begins.
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// A session begins. Whether the agent is to be asked to sign the person in.
    ///
    /// # Errors
    /// [`SessionsError`]; nothing is counted then.
    pub fn open(&self, uid: u32, user: &str, session: Session) -> Result<bool, SessionsError> {
        durable::make_private_dir(&self.directory).map_err(self.io("make"))?;
        self.change(uid, |person| {
            user.clone_into(&mut person.user);
            let asks = person.open(session);
            person.asked(asks)
        })
    }

    /// A session ends. Whether the agent is to be asked to sign the person out.
    ///
    /// # Errors
    /// [`SessionsError`]; the session then counts until its process is gone.
    pub fn close(
        &self,
        uid: u32,
        leader: Option<&Process>,
        service: &str,
        tty: &str,
    ) -> Result<bool, SessionsError> {
        if !self.is_used()? {
            return Ok(false);
        }
        self.change(uid, |person| {
            let asks = person.close(leader, service, tty);
            person.asked(asks)
        })
    }

    /// The agent did what follows from a session that began (or ended).
    ///
    /// # Errors
    /// [`SessionsError`]; it is then done once more.
    pub fn settle(&self, user: &str, signed_in: bool) -> Result<(), SessionsError> {
        for uid in self.uids()? {
            // A file that is damaged is told of where everybody is looked at.
            if self.read(uid).is_ok_and(|person| person.is_some_and(|p| p.user == user)) {
                self.change(uid, |person| person.settle(signed_in))?;
            }
        }
        Ok(())
    }

    /// Whether somebody has an open session here.
    ///
    /// # Errors
    /// [`SessionsError`].
    pub fn is_open(&self, user: &str) -> Result<bool, SessionsError> {
        let (people, _) = self.everybody()?;
        Ok(people.iter().any(|person| person.user == user && !person.sessions.is_empty()))
    }

    /// Everybody of whom something is known here, without sessions whose process is gone, and what
    /// could not be read.
    ///
    /// # Errors
    /// [`SessionsError`] when nothing at all could be read.
    pub fn everybody(&self) -> Result<(Vec<Person>, Vec<SessionsError>), SessionsError> {
        let (mut people, mut errors) = (Vec::new(), Vec::new());
        for uid in self.uids()? {
            match self.change(uid, |person| person.clone()) {
                Ok(person) => people.push(person),
                Err(error) => errors.push(error),
            }
        }
        Ok((people, errors))
    }

    /// Where the tickets of somebody's newest session are, if it has any.
    pub fn ticket_cache(&self, uid: u32) -> Option<String> {
        let person = self.read(uid).ok().flatten()?;
        person.sessions.into_iter().rev().find_map(|session| session.ticket_cache)
    }

    fn is_used(&self) -> Result<bool, SessionsError> {
        match rustix::fs::stat(&self.directory) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(self.io("look at")(error.into())),
        }
    }

    fn uids(&self) -> Result<Vec<u32>, SessionsError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.io("list")(error)),
        };
        let mut uids = Vec::new();
        for entry in entries {
            let name = entry.map_err(self.io("list"))?.file_name();
            uids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(uids)
    }

    fn read(&self, uid: u32) -> Result<Option<Person>, SessionsError> {
        let path = self.path(uid);
        let text = match durable::read_small(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SessionsError::Io { what: "read", path, source }),
        };
        let person = serde_json::from_slice(&text);
        person.map(Some).map_err(|source| SessionsError::Damaged { path, source })
    }

    /// Reads, drops what is gone, changes, and writes what differs, while nobody else does.
    fn change<T>(
        &self,
        uid: u32,
        change: impl FnOnce(&mut Person) -> T,
    ) -> Result<T, SessionsError> {
        let _lock = self.lock()?;
        let before = self.read(uid)?;
        let mut person = before.clone().unwrap_or_default();
        person.drop_gone(is_there);
        let result = change(&mut person);
        let path = self.path(uid);
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| SessionsError::Io { what, path, source }
        };
        if person.sessions.is_empty() && !person.pending {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &path)(error));
                }
                _ => return Ok(result),
            }
        }
        if before.as_ref() != Some(&person) {
            let text = serde_json::to_vec_pretty(&person).map_err(io::Error::from);
            let written = text.and_then(|text| durable::replace(&path, &text));
            written.map_err(failed("write", &path))?;
        }
        Ok(result)
    }

    /// Whoever has it needs microseconds; somebody who was stopped meanwhile holds nobody up.
    fn lock(&self) -> Result<File, SessionsError> {
        let path = self.directory.join("lock");
        let failed = |source| SessionsError::Io { what: "lock", path: path.clone(), source };
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).mode(0o600);
        let file = file.open(&path).map_err(failed)?;
        for _ in 0..SESSIONS_LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        Err(failed(io::ErrorKind::WouldBlock.into()))
    }

    fn path(&self, uid: u32) -> PathBuf {
        self.directory.join(uid.to_string())
    }

    fn io(&self, what: &'static str) -> impl Fn(io::Error) -> SessionsError {
        let path = self.directory.clone();
        move |source| SessionsError::Io { what, path: path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(pid: u32, tty: &str) -> Session {
        Session {
            leader: Process { pid, began: 7 },
            service: "sshd".to_owned(),
            tty: tty.to_owned(),
            remote_host: String::new(),
            ticket_cache: None,
        }
    }

    fn close(person: &mut Person, pid: u32) -> bool {
        person.close(Some(&Process { pid, began: 7 }), "sshd", "ssh")
    }

    #[test]
    fn the_first_session_signs_in_and_the_last_one_signs_out() {
        let mut alice = Person::default();
        assert!(alice.open(session(1, "ssh")), "the first one asks");
        assert!(alice.open(session(2, "ssh")), "nobody has answered yet");
        assert!(alice.settle(true));
        assert!(!alice.open(session(3, "ssh")), "she is signed in");
        assert!(!close(&mut alice, 1) && !close(&mut alice, 9) && !close(&mut alice, 2));
        assert_eq!(alice.due(true), None);
        assert!(close(&mut alice, 3), "the last one");
        assert_eq!(alice.due(true), Some(Occasion::Logoff));
        assert!(alice.settle(false) && alice == Person::default());
        assert!(!close(&mut alice, 3), "what was never open ends nothing");
    }

    #[test]
    fn an_answer_counts_only_for_what_holds_then() {
        let mut alice = Person::default();
        alice.open(session(1, "ssh"));
        assert!(close(&mut alice, 1), "gone before anybody was asked");
        assert!(alice.open(session(2, "ssh")));
        assert!(!alice.settle(false), "she is here again");
        assert_eq!(alice.due(false), Some(Occasion::Logon));
        assert_eq!(alice.due(true), Some(Occasion::Refresh));
        assert!(alice.settle(true));
        assert_eq!(alice.due(true), None);
    }

    #[test]
    fn a_session_whose_process_is_gone_is_over() {
        let mut alice = Person::default();
        alice.open(session(1, "ssh"));
        alice.settle(true);
        alice.drop_gone(|process| process.pid == 1);
        assert_eq!(alice.due(true), None);
        alice.drop_gone(|_| false);
        assert_eq!(alice.due(true), Some(Occasion::Logoff));
    }

    #[test]
    fn of_two_sessions_of_one_process_the_one_with_the_terminal_ends() {
        let mut alice = Person::default();
        alice.open(session(1, "ssh"));
        alice.open(session(1, "tty1"));
        let leader = Process { pid: 1, began: 7 };
        assert!(!alice.close(Some(&leader), "sshd", "tty1"));
        assert_eq!(alice.sessions, [session(1, "ssh")]);
        assert!(!alice.close(None, "sshd", "ssh"), "nobody knows who closes");
    }

    #[test]
    fn sessions_without_end_are_not_counted_without_end() {
        let mut alice = Person::default();
        for _ in 0..SESSIONS_MAX + 5 {
            alice.open(session(1, "ssh"));
        }
        assert_eq!(alice.sessions.len(), SESSIONS_MAX);
    }

    #[test]
    fn a_process_is_told_by_when_it_began() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for (stat, expected) in [
            (format!("12 (sshd) S {rest}"), Some(4711)),
            (format!("12 (a) Z (b c) S {rest}"), Some(4711)),
            (format!("12 (sshd) Z {rest}"), None),
            ("12 (sshd) S 1 2".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(began(&stat), expected, "{stat}");
        }
        let own = process(std::process::id()).unwrap().unwrap();
        assert!(is_there(&own));
        assert!(!is_there(&Process { began: own.began + 1, ..own }));
    }

    #[test]
    fn what_is_on_disk_is_private_and_goes_with_the_last_session() {
        let root = tempfile::tempdir().unwrap();
        let sessions = Sessions::at(&root.path().join("sessions"));
        let own = process(std::process::id()).unwrap().unwrap();
        let ssh = Session { leader: own.clone(), ..session(1, "ssh") };
        assert!(!sessions.close(11_001, Some(&own), "sshd", "ssh").unwrap());
        assert!(sessions.open(11_001, "alice", ssh.clone()).unwrap());
        let mode = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_mode & 0o777).unwrap();
        assert_eq!(mode(&sessions.directory), 0o700);
        assert_eq!(mode(&sessions.path(11_001)), 0o600);
        sessions.settle("alice", true).unwrap();
        let (sat, asker) = (vec![ssh], Some(own.clone()));
        let expected = Person { user: "alice".into(), sessions: sat, pending: false, asker };
        assert!(expected.is_asked_for() && !Person::default().is_asked_for());
        assert_eq!(sessions.everybody().unwrap().0, [expected]);
        assert!(sessions.is_open("alice").unwrap() && !sessions.is_open("bob").unwrap());
        assert!(sessions.close(11_001, Some(&own), "sshd", "ssh").unwrap());
        sessions.settle("alice", false).unwrap();
        assert_eq!(sessions.everybody().unwrap().0, []);
        std::fs::write(sessions.path(11_001), "{").unwrap();
        let (people, errors) = sessions.everybody().unwrap();
        assert!(people.is_empty() && errors[0].to_string().contains("11001 is damaged"));
    }
}
