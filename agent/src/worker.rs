//! The worker: a child process that alone touches one user's home and shares.
//!
//! The agent and the worker speak framed JSON over the worker's pipes: four bytes of length, most
//! significant first, then one [`Request`] or [`Reply`]. One request is answered before the next;
//! while a step is carried out, progress comes before its answer, and [`Request::Cancel`] cuts it
//! short.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use homeport_policy::facts::Os;
use homeport_policy::folder::FOLDERS;
use homeport_sync::{Conflict, Control, Pending, Resolve};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::items::{self, Ask, Found};
use crate::jobs;
use crate::limits::{CONFLICTS_MAX, FRAME_BYTES_MAX, PROGRESS_TICK};
use crate::observed::{Observed, Place};
use crate::outcome::Outcome;
use crate::plan::{Exchange, UserPaths, What};
use crate::watch::{Progress, Told, Watch};
use crate::watcher::Notice;
use crate::{redirect, retained, watcher};

/// What the agent asks of a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Whose home it works on. Always the first request.
    Begin(Begin),
    /// What does the home look like?
    Observe,
    /// Carry out a step.
    Execute {
        /// Which.
        what: Box<What>,
        /// Tell how it goes.
        watched: bool,
    },
    /// Cut short what is being carried out. It has no answer of its own.
    Cancel,
    /// What of these caches is open, and what is not on the share yet?
    Inspect(Vec<Exchange>),
    /// Watch these directories, and tell of changes for ever: no request is answered any more.
    Watch(Vec<PathBuf>),
    /// Look at items, or change what is kept about them.
    Items {
        /// The cache.
        exchange: Box<Exchange>,
        /// The path below it.
        path: String,
        /// What is asked.
        ask: Ask,
    },
    /// Settle one conflict.
    Settle {
        /// The cache.
        exchange: Box<Exchange>,
        /// The path below it.
        path: String,
        /// How.
        how: Resolve,
    },
}

/// Whose home a worker works on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Begin {
    /// sAMAccountName.
    pub user: String,
    /// The home.
    pub home: PathBuf,
    /// Whose places count.
    pub os: Os,
    /// This computer's name, for conflict copies.
    pub host: String,
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Ready for the user.
    Ready,
    /// What it sees.
    Observed(Box<Observed>),
    /// How a step goes; its answer is still to come.
    Progress(Progress),
    /// What became of a step, and how quickly the share answered.
    Executed {
        /// What became of it.
        outcome: Box<Outcome>,
        /// Round trip to the share, where one was made.
        latency: Option<Duration>,
    },
    /// What is open in each cache, in the order asked.
    Inspected(Vec<Inspected>),
    /// Something about a directory that is watched, by its number in the list.
    Noticed(usize, Notice),
    /// What was asked about items.
    Items(Found),
    /// The request could not be answered.
    Failed {
        /// Why, with its causes.
        why: String,
    },
}

/// What is open in one cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspected {
    /// Conflicts that wait for a person.
    pub conflicts: Vec<Conflict>,
    /// What would be lost if this disk died now.
    pub pending: Option<Pending>,
    /// Why it could not be told.
    pub error: Option<String>,
}

/// Writes one frame.
///
/// # Errors
/// As the pipe, or when the message is larger than [`FRAME_BYTES_MAX`].
pub fn write_frame(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("the message is too large"))?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(&body)?;
    to.flush()
}

/// Reads one frame; `None` at the end of the stream.
///
/// # Errors
/// As the pipe, when a frame is too large, cut off, or not what it should be.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read(&mut head)? {
        0 => return Ok(None),
        n => from.read_exact(&mut head[n..])?,
    }
    let length = u32::from_be_bytes(head);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is too large")));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Answers requests until the agent closes the pipe.
///
/// # Errors
/// When the pipe breaks; a step that fails is an answer, not an error.
pub fn serve(
    from: impl Read + Send + 'static,
    to: &mut (impl Write + Send),
    now: impl Fn() -> SystemTime,
) -> io::Result<()> {
    let control = Arc::new(Control::default());
    let requests = listen(from, Arc::clone(&control));
    let mut whose = None;
    while let Ok(request) = requests.recv() {
        let reply = match (request?, &whose) {
            (Request::Begin(begin), _) => {
                whose = Some(begin);
                Reply::Ready
            }
            (_, None) => Reply::Failed { why: "nobody's home was named yet".to_owned() },
            (Request::Execute { what, watched }, Some(begin)) => {
                let carry_out = |watch: Watch<'_>| execute(&what, begin, now(), watch);
                let (outcome, latency) =
                    watched_by(&control, watched.then_some(&mut *to), carry_out);
                Reply::Executed { outcome: Box::new(outcome), latency }
            }
            (Request::Watch(roots), Some(_)) => {
                let tell = |number, notice| write_frame(to, &Reply::Noticed(number, notice));
                return watcher::serve(roots, requests, tell);
            }
            (request, Some(begin)) => answer(request, begin, now()),
        };
        write_frame(to, &reply)?;
    }
    Ok(())
}

/// Reads requests beside the work, so that one can be cut short. The end of the stream cuts too.
fn listen(
    mut from: impl Read + Send + 'static,
    control: Arc<Control>,
) -> Receiver<io::Result<Request>> {
    let (to, requests) = channel();
    std::thread::spawn(move || {
        loop {
            let request = read_frame::<Request>(&mut from).transpose();
            // A new request comes after the answer to the one before: what was cut is over.
            let cuts =
                !matches!(&request, Some(Ok(request)) if !matches!(request, Request::Cancel));
            control.cancel.store(cuts, Ordering::Relaxed);
            match request {
                None => return,
                Some(Ok(Request::Cancel)) => {}
                Some(request) => {
                    let broken = request.is_err();
                    if to.send(request).is_err() || broken {
                        return;
                    }
                }
            }
        }
    });
    requests
}

/// Carries something out, and tells how it goes if anybody wants to know.
fn watched_by<T>(
    control: &Control,
    to: Option<&mut (impl Write + Send)>,
    carry_out: impl FnOnce(Watch<'_>) -> T,
) -> T {
    control.bytes.store(0, Ordering::Relaxed);
    control.planned.store(0, Ordering::Relaxed);
    let told = Told::default();
    let Some(to) = to else { return carry_out(Watch::new(control, &told, &|_| {})) };
    let to = Mutex::new(to);
    let tell = |progress| {
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        if write_frame(&mut **to, &Reply::Progress(progress)).is_err() {
            control.cancel.store(true, Ordering::Relaxed); // the agent is gone
        }
    };
    let watch = Watch::new(control, &told, &tell);
    std::thread::scope(|scope| {
        let (over, is_over) = channel::<()>();
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = is_over.recv_timeout(PROGRESS_TICK) {
                watch.tick();
            }
        });
        let done = carry_out(watch);
        drop(over);
        done
    })
}

fn answer(request: Request, begin: &Begin, now: SystemTime) -> Reply {
    match request {
        Request::Begin(_) | Request::Cancel | Request::Execute { .. } | Request::Watch(_) => {
            Reply::Ready
        }
        Request::Observe => match observe(begin) {
            Ok(observed) => Reply::Observed(Box::new(observed)),
            Err(error) => Reply::Failed { why: crate::outcome::chain(&error) },
        },
        Request::Inspect(exchanges) => {
            Reply::Inspected(exchanges.iter().map(|exchange| inspect(exchange, begin)).collect())
        }
        Request::Items { exchange, path, ask } => {
            Reply::Items(items::ask(&exchange, &path, ask, &begin.host))
        }
        Request::Settle { exchange, path, how } => {
            let outcome = jobs::settle(&exchange, &path, how, &begin.host, now);
            Reply::Executed { outcome: Box::new(outcome), latency: None }
        }
    }
}

impl Begin {
    /// The user's places.
    pub fn paths(&self) -> UserPaths {
        let (user, home) = (self.user.clone(), self.home.clone());
        UserPaths { user, sid: None, home, os: self.os }
    }
}

fn observe(begin: &Begin) -> Result<Observed, retained::RetainedError> {
    let paths = begin.paths();
    let mut observed = Observed { retained: retained::read(&paths.data())?, ..Observed::default() };
    for folder in FOLDERS {
        if let Some(place) = paths.local_place(folder) {
            observed.places.insert(folder, redirect::look(&place));
        }
    }
    Ok(observed)
}

/// Carries out one step. There is no choice left to make here, only conditions to check.
fn execute(what: &What, begin: &Begin, now: SystemTime, watch: Watch<'_>) -> jobs::Exchanged {
    let data = begin.paths().data();
    let host = &begin.host;
    let plain = |result: Result<Outcome, redirect::RedirectError>| {
        (result.unwrap_or_else(|error| Outcome::failed(&error)), None)
    };
    match what {
        What::Redirect(step) => plain(redirect::redirect(step, &begin.home, &data)),
        What::Restore(step) => plain(redirect::restore(step, &begin.home, &data)),
        What::Retain { folder, expects, retain } => {
            plain(redirect::retain(*folder, expects, retain, &data))
        }
        What::Sync(exchange) => synchronise(exchange, host, now, watch),
        What::Probe(exchange) => jobs::look(exchange),
        What::DropCache { folder, exchange } => {
            jobs::drop_cache(*folder, exchange, &data, host, now, watch)
        }
        What::Profile(job) => jobs::profile(job, host, now, watch),
        What::Cannot { why, hint, .. } => (Outcome::refused(why, hint), None),
    }
}

/// An exchange, and then the cache is kept within its limits.
fn synchronise(
    exchange: &Exchange,
    host: &str,
    now: SystemTime,
    watch: Watch<'_>,
) -> jobs::Exchanged {
    let (outcome, latency) = jobs::exchange(exchange, host, now, watch);
    let whole = outcome.report().is_none_or(|report| !report.cancelled);
    // Where everything is pinned nothing can go, so that there is nothing to do after a quiet run.
    let quiet = exchange.how.background && exchange.how.pinned != 0;
    let due = outcome.is_good() && whole && !(quiet && outcome == Outcome::Unchanged);
    let more = due.then(|| items::keep_within(exchange, host, now));
    (outcome.with_more(more.flatten()), latency)
}

fn inspect(exchange: &Exchange, begin: &Begin) -> Inspected {
    let mut inspected = Inspected::default();
    // A cache that was never exchanged has no journal, and asking must not make one.
    if matches!(redirect::look(&exchange.journal), Place::Missing) {
        if !matches!(redirect::look(&exchange.local), Place::Missing) {
            inspected.error = Some("never exchanged; whatever is in it is only here".to_owned());
        }
        return inspected;
    }
    let mut note = |outcome: Outcome| {
        if let Outcome::Failed { why, .. } | Outcome::Refused { why, .. } = outcome {
            inspected.error = Some(why);
        }
    };
    let conflicts = jobs::conflicts(exchange).map_err(&mut note).unwrap_or_default();
    let pending = jobs::pending(exchange, &begin.host).map_err(&mut note).ok();
    if conflicts.len() > CONFLICTS_MAX {
        let more = conflicts.len() - CONFLICTS_MAX;
        inspected.error = Some(format!("{more} more conflicts are not listed"));
    }
    inspected.conflicts = conflicts.into_iter().take(CONFLICTS_MAX).collect();
    inspected.pending = pending;
    inspected
}
