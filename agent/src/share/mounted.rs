//! Shares that are directories here, under a deadline: when one is given up, and what keeps a second
//! call from being made while the first one still hangs.
//!
//! A call on a dead mount never returns, and no signal ends it. So whoever works with a share is
//! watched from outside: a look at the mount is made now and then, and when one is not answered in
//! time, the share is dead, and the whole process is given up and another one takes its place. What
//! comes back from a dead mount later finds no program to go on in, so that nothing is done behind
//! the agent's back; the journal is as after any crash.
//!
//! The process that hangs keeps a lock on this computer as long as the kernel keeps the process, so
//! that there is never more than one for each mount and user, however often the share is tried.
#![expect(clippy::disallowed_methods, reason = "edge: looks at mounts, locks, waits and measures")]

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::durable::make_private_dir;
use crate::limits::{CALL_LONGEST, STUCK_WAIT};
use crate::share::calls::{Calls, UnderWay};

/// Why a share is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// A look at the mount was not answered for so long.
    NoAnswer(Duration),
    /// The mount answers, but one call on it has not returned for so long.
    Stuck(Duration),
}

impl std::fmt::Display for Dead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::NoAnswer(long) | Self::Stuck(long)) = self;
        let what = match self {
            Self::NoAnswer(_) => "does not answer",
            Self::Stuck(_) => "has not finished an operation",
        };
        write!(f, "{what} for {} s", long.as_secs_f64().ceil())
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Wait,
    /// Look at the mount, from a thread that may be given up.
    Look,
    /// The share is dead.
    GiveUp(Dead),
}

/// Decides when to look at a mount and when to give it up. It has no clock of its own.
#[derive(Debug, Default)]
pub struct Patience {
    /// When the look began that is not answered yet, counted as the caller counts.
    looking: Option<Duration>,
    /// When the last one was answered.
    answered: Duration,
}

impl Patience {
    /// What to do at `now`, with a share that may take `patience` to answer: half of it passes before
    /// a look, and the other half before that look is given up.
    pub fn next(&mut self, now: Duration, way: Option<&UnderWay>, patience: Duration) -> Next {
        let half = patience / 2;
        let Some(way) = way else {
            *self = Self::default();
            return Next::Wait;
        };
        if let Some(stuck) = way.oldest.filter(|oldest| *oldest >= CALL_LONGEST) {
            return Next::GiveUp(Dead::Stuck(stuck));
        }
        match self.looking {
            Some(since) if now.saturating_sub(since) >= half => {
                Next::GiveUp(Dead::NoAnswer(now.saturating_sub(since) + half))
            }
            Some(_) => Next::Wait,
            None if way.working >= half && now.saturating_sub(self.answered) >= half => {
                self.looking = Some(now);
                Next::Look
            }
            None => Next::Wait,
        }
    }

    /// The look was answered, with whatever.
    pub fn answered(&mut self, now: Duration) {
        self.looking = None;
        self.answered = now;
    }
}

/// Watches the work with shares until `is_over` is closed; calls `give_up` at most once.
pub fn watch(
    calls: &Calls,
    is_over: &Receiver<()>,
    patience: impl Fn() -> Duration,
    give_up: impl FnOnce(&Path, Dead),
) {
    let start = Instant::now();
    let mut state = Patience::default();
    let mut look: Option<Receiver<()>> = None;
    loop {
        let patience = patience();
        // Often enough that the patience is kept within an eighth, seldom enough to cost nothing.
        let tick = (patience / 8).clamp(Duration::from_millis(10), Duration::from_millis(500));
        match is_over.recv_timeout(tick) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        if look.as_ref().is_some_and(|look| look.try_recv() != Err(TryRecvError::Empty)) {
            look = None;
            state.answered(start.elapsed());
        }
        let way = calls.under_way();
        match state.next(start.elapsed(), way.as_ref(), patience) {
            Next::Wait => {}
            Next::Look => look = way.map(|way| ask(&way.mount)),
            Next::GiveUp(dead) => {
                let mount = way.map(|way| way.mount).unwrap_or_default();
                return give_up(&mount, dead);
            }
        }
    }
}

/// Asks the server behind a mount something that no client answers from its memory. An error is an
/// answer too.
fn ask(mount: &Path) -> Receiver<()> {
    let (answered, look) = channel();
    let mount = mount.to_owned();
    std::thread::spawn(move || {
        let _ = rustix::fs::statfs(&mount); // what it says does not matter
        drop(answered);
    });
    look
}

/// Another process works with the mount.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It hangs in it.
    #[error("{mount} does not answer: an earlier call on it has not returned yet")]
    Hangs {
        /// The mount.
        mount: String,
    },
    /// The lock could not be used.
    #[error("cannot use the lock {path}")]
    Lock {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The right to work with a mount. It ends with this value, or when the kernel is done with the
/// process.
#[derive(Debug)]
pub struct Entered {
    lock: File,
}

/// What a given-up process leaves in its lock.
const GIVEN_UP: &[u8] = b"given up\n";

/// Takes the right to work with a mount. `locks` is a directory on this computer.
///
/// # Errors
/// [`EnterError::Hangs`] when a process that was given up still hangs in the mount, or one that was
/// stopped does not end within [`STUCK_WAIT`].
pub fn enter(locks: &Path, mount: &Path) -> Result<Entered, EnterError> {
    let hash = blake3::hash(mount.as_os_str().as_encoded_bytes()).to_hex();
    let path = locks.join(format!("{}.lock", &hash[..16]));
    let failed = |source| EnterError::Lock { path: path.display().to_string(), source };
    make_private_dir(locks).map_err(failed)?;
    let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = open.map_err(failed)?;
    let until = Instant::now() + STUCK_WAIT;
    loop {
        match lock.try_lock() {
            Ok(()) => {
                lock.set_len(0).map_err(failed)?;
                return Ok(Entered { lock });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
            Err(std::fs::TryLockError::WouldBlock) => {}
        }
        let mut said = Vec::new();
        lock.seek(SeekFrom::Start(0)).map_err(failed)?;
        (&lock).take(GIVEN_UP.len() as u64).read_to_end(&mut said).map_err(failed)?;
        if said == GIVEN_UP || Instant::now() >= until {
            return Err(EnterError::Hangs { mount: mount.display().to_string() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Entered {
    /// A handle to say through that the process was given up.
    ///
    /// # Errors
    /// As `dup`.
    pub fn marker(&self) -> io::Result<Marker> {
        Ok(Marker(self.lock.try_clone()?))
    }
}

/// Says that a process was given up, so that the next one need not wait to find that out.
#[derive(Debug)]
pub struct Marker(File);

impl Marker {
    /// Says it. What cannot be said is found out by waiting.
    pub fn mark(mut self) {
        let _ = self.0.seek(SeekFrom::Start(0)).and_then(|_| self.0.write_all(GIVEN_UP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn way(working: u64, oldest: Option<u64>) -> UnderWay {
        let oldest = oldest.map(seconds);
        UnderWay { mount: "/mnt".into(), working: seconds(working), oldest }
    }

    /// Lets seconds pass; the share answers looks for so long. Gives when it was given up, and how
    /// often it was looked at.
    fn given_up_at(answers_until: u64, oldest: Option<u64>, until: u64) -> (Option<u64>, u32) {
        let (mut state, mut looks) = (Patience::default(), 0);
        for now in 0..until {
            let way = way(now, oldest.map(|since| now.saturating_sub(since)));
            match state.next(seconds(now), Some(&way), PATIENCE) {
                Next::Wait => {}
                Next::Look => {
                    looks += 1;
                    if now < answers_until {
                        state.answered(seconds(now));
                    }
                }
                Next::GiveUp(_) => return (Some(now), looks),
            }
        }
        (None, looks)
    }

    #[test]
    fn a_share_that_answers_is_never_given_up() {
        assert_eq!(given_up_at(u64::MAX, None, 3_600), (None, 359));
    }

    #[test]
    fn a_dead_share_is_given_up_within_the_patience() {
        assert_eq!(given_up_at(0, Some(0), 100), (Some(20), 1));
        // It died in mid-work: at most one look later.
        for died in 0..60 {
            let (at, _) = given_up_at(died, Some(died), 200);
            let waited = at.unwrap().saturating_sub(died);
            assert!((10..=30).contains(&waited), "died at {died}, given up at {at:?}");
        }
    }

    #[test]
    fn one_call_that_hangs_in_a_living_share_has_an_end_too() {
        let longest = CALL_LONGEST.as_secs();
        let (at, _) = given_up_at(u64::MAX, Some(7), longest * 2);
        assert_eq!(at, Some(longest + 7));
    }

    #[test]
    fn work_with_another_share_begins_afresh() {
        let mut state = Patience::default();
        assert_eq!(state.next(seconds(10), Some(&way(10, None)), PATIENCE), Next::Look);
        assert_eq!(state.next(seconds(12), None, PATIENCE), Next::Wait);
        assert_eq!(state.next(seconds(30), Some(&way(2, None)), PATIENCE), Next::Wait);
    }

    #[test]
    fn who_hangs_keeps_others_away_at_once_and_who_ends_does_not() {
        let locks = tempfile::tempdir().unwrap();
        let (one, other) = (Path::new("/mnt/one"), Path::new("/mnt/other"));
        let entered = enter(locks.path(), one).unwrap();
        entered.marker().unwrap().mark();
        let start = Instant::now();
        let error = enter(locks.path(), one).unwrap_err();
        assert!(matches!(error, EnterError::Hangs { .. }) && start.elapsed() < STUCK_WAIT);
        drop(enter(locks.path(), other).unwrap());
        drop(entered);
        drop(enter(locks.path(), one).unwrap());
        drop(enter(locks.path(), one).unwrap());
    }
}
