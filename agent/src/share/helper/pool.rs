//! The processes of one volume: handed out, taken back, and replaced when they are worn.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Start;
use super::process::{Process, is_end};
use crate::limits::{SMB_FAILURES_MAX, SMB_PROCESSES_MAX};

/// The processes of one volume.
#[derive(Debug)]
pub struct Pool {
    start: Start,
    state: Mutex<State>,
    keeps_times: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Process>,
    /// Handed out.
    out: usize,
    /// How often in a row a connection failed or was lost.
    failures: u32,
    /// What every call is told, once the server is given up: each call would else wait for it anew.
    given_up: Option<(io::ErrorKind, String)>,
}

impl Pool {
    /// A pool; its first process is started when it is needed.
    pub fn new(start: Start) -> Arc<Self> {
        Arc::new(Self { start, state: Mutex::default(), keeps_times: AtomicBool::new(false) })
    }

    /// Whether a file was found to have just the time that it was given. File systems with coarser
    /// times exist; then each file is looked at.
    pub fn keeps_times(&self) -> bool {
        self.keeps_times.load(Ordering::Relaxed)
    }

    /// One was.
    pub fn found_to_keep_times(&self) {
        self.keeps_times.store(true, Ordering::Relaxed);
    }

    /// What its processes are started with.
    pub fn start(&self) -> &Start {
        &self.start
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process for whoever asks, for as long as they keep it.
    ///
    /// # Errors
    /// As [`Process::start`]; `WouldBlock` when too many are out.
    pub fn take(self: &Arc<Self>) -> io::Result<Lease> {
        let lease = |process| Lease { process: Some(process), pool: Arc::clone(self) };
        {
            let mut state = self.state();
            if let Some((kind, why)) = &state.given_up {
                return Err(io::Error::new(*kind, why.clone()));
            }
            if state.out >= SMB_PROCESSES_MAX {
                let why = "too many files of the share are open at a time";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
            }
            state.out += 1;
            if let Some(process) = state.idle.pop() {
                return Ok(lease(process));
            }
        }
        Process::start(&self.start).map(lease).map_err(|error| {
            let kind = match error.kind() {
                // A program or a host that is not there: no proof that a file is not.
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    io::ErrorKind::NotConnected
                }
                kind => kind,
            };
            let mut state = self.state();
            state.out -= 1;
            // Without a connection nothing will be different for the next call.
            state.given_up = Some((kind, error.to_string()));
            io::Error::new(kind, error)
        })
    }

    fn put_back(&self, process: Process) {
        let mut state = self.state();
        state.out -= 1;
        if process.is_worn() {
            state.failures += 1;
            if state.failures >= SMB_FAILURES_MAX {
                let why = "the file server does not answer reliably".to_owned();
                state.given_up = Some((io::ErrorKind::TimedOut, why));
            }
            drop(state);
            drop(process);
        } else if !process.is_retired() && state.idle.len() < self.start.share.processes {
            state.idle.push(process);
        }
    }
}

/// A process that is handed out.
#[derive(Debug)]
pub struct Lease {
    process: Option<Process>,
    pool: Arc<Pool>,
}

impl Lease {
    /// Whether an error is the connection's own rather than an answer.
    pub fn is_lost(error: &io::Error) -> bool {
        is_end(error)
    }
}

impl Deref for Lease {
    type Target = Process;

    fn deref(&self) -> &Process {
        self.process.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            self.pool.put_back(process);
        }
    }
}
