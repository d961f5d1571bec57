//! The worker: a child process that alone touches one user's home and shares.
//!
//! The agent and the worker speak framed JSON over the worker's pipes: four bytes of length, most
//! significant first, then one [`Request`] or [`Reply`]. One request is answered before the next;
//! while a step is carried out, progress comes before its answer, and [`Request::Cancel`] cuts it
//! short. When a share holds the worker and does not answer, [`Reply::Unanswered`] is its last word.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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
use crate::limits::{CONFLICTS_MAX, FRAME_BYTES_MAX, PROGRESS_TICK, SHARE_PATIENCE};
use crate::observed::{Observed, Place};
use crate::outcome::Outcome;
use crate::plan::{Exchange, UserPaths, What};
use crate::share::Measured;
use crate::share::calls::Calls;
use crate::share::mounted::{self, Dead, EnterError, Marker};
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
        /// How long a share may leave it without an answer.
        patience: Duration,
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
    /// How many file bytes of a counted exchange crossed so far; its answer is still to come.
    Crossed(u64),
    /// What became of a step, and how quickly the share answered.
    Executed {
        /// What became of it.
        outcome: Box<Outcome>,
        /// How quickly the share answered, where it was asked.
        measured: Option<Measured>,
        /// File bytes that crossed to and from the share, where they were counted.
        crossed: u64,
    },
    /// A share does not answer, and the worker hangs in it. It answers nothing more.
    Unanswered {
        /// Which, and for how long.
        why: String,
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

/// Answers requests until the agent closes the pipe, or a share holds it for good.
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
    let held = Held::default();
    let to = Mutex::new(to);
    std::thread::scope(|scope| {
        let (over, is_over) = channel::<()>();
        let (held, to) = (&held, &to);
        scope.spawn(move || {
            mounted::watch(
                &held.calls,
                &is_over,
                || held.patience(),
                |mount, dead| {
                    held.give_up();
                    let why = unanswered(mount, dead);
                    // An agent that is gone needs no answer.
                    let _ = write_frame(&mut **lock(to), &Reply::Unanswered { why });
                },
            );
        });
        let served = answer_all(requests, to, &now, &control, held);
        drop(over);
        served
    })
}

fn unanswered(mount: &Path, dead: Dead) -> String {
    format!("{} {dead}", mount.display())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer_all(
    requests: Receiver<io::Result<Request>>,
    to: &Mutex<&mut (impl Write + Send)>,
    now: &impl Fn() -> SystemTime,
    control: &Control,
    held: &Held,
) -> io::Result<()> {
    let mut whose = None;
    while let Ok(request) = requests.recv() {
        let reply = match (request?, &whose) {
            (Request::Begin(begin), _) => {
                whose = Some(begin);
                Reply::Ready
            }
            (_, None) => Reply::Failed { why: "nobody's home was named yet".to_owned() },
            (Request::Execute { what, watched, patience }, Some(begin)) => {
                *lock(&held.patience) = Some(patience);
                let carry_out = |watch: Watch<'_>| execute(&what, begin, now(), watch, held);
                control.toll.start(u64::MAX);
                let counted = what.exchange().is_some_and(|job| job.how.byte_budget.is_some());
                let tells = (watched || counted).then_some(to);
                let (outcome, measured) = watched_by(control, tells, [watched, counted], carry_out);
                *lock(&held.patience) = None;
                let crossed = if counted { control.toll.spent() } else { 0 };
                Reply::Executed { outcome: Box::new(outcome), measured, crossed }
            }
            (Request::Watch(roots), Some(_)) => {
                let tell =
                    |number, notice| write_frame(&mut **lock(to), &Reply::Noticed(number, notice));
                return watcher::serve(roots, requests, tell);
            }
            (request, Some(begin)) => answer(request, begin, now(), held),
        };
        let mut to = lock(to);
        if held.given_up.load(Ordering::Acquire) {
            return Ok(()); // what came back too late is nobody's answer any more
        }
        write_frame(&mut **to, &reply)?;
    }
    Ok(())
}

/// What keeps a worker from hanging in a share unnoticed.
#[derive(Default)]
struct Held {
    calls: Arc<Calls>,
    patience: Mutex<Option<Duration>>,
    marker: Mutex<Option<Marker>>,
    given_up: AtomicBool,
}

impl Held {
    fn patience(&self) -> Duration {
        lock(&self.patience).unwrap_or(SHARE_PATIENCE)
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        if let Some(marker) = lock(&self.marker).take() {
            marker.mark();
        }
    }

    /// Does something that calls a share. Only one process at a time does that with a mount.
    fn with<T>(&self, mount: &Path, begin: &Begin, work: impl FnOnce() -> T) -> Result<T, Outcome> {
        let away =
            |error: &EnterError| Outcome::share(error, matches!(error, EnterError::Hangs { .. }));
        let locks = begin.paths().data().join("mounts");
        let entered = mounted::enter(&locks, mount).map_err(|error| away(&error))?;
        *lock(&self.marker) = entered.marker().ok();
        let at = self.calls.at(mount);
        let done = work();
        drop(at);
        *lock(&self.marker) = None;
        drop(entered);
        Ok(done)
    }
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
    to: Option<&Mutex<&mut (impl Write + Send)>>,
    [watched, counted]: [bool; 2],
    carry_out: impl FnOnce(Watch<'_>) -> T,
) -> T {
    control.bytes.store(0, Ordering::Relaxed);
    control.planned.store(0, Ordering::Relaxed);
    let told = Told::default();
    let Some(to) = to else { return carry_out(Watch::new(control, &told, &|_| {})) };
    let send = |reply: &Reply| {
        if write_frame(&mut **lock(to), reply).is_err() {
            control.cancel.store(true, Ordering::Relaxed); // the agent is gone
        }
    };
    let tell = |progress| {
        if watched {
            send(&Reply::Progress(progress));
        }
    };
    let send = &send;
    let watch = Watch::new(control, &told, &tell);
    std::thread::scope(|scope| {
        let (over, is_over) = channel::<()>();
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = is_over.recv_timeout(PROGRESS_TICK) {
                watch.tick();
                if counted {
                    send(&Reply::Crossed(control.toll.spent()));
                }
            }
        });
        let done = carry_out(watch);
        drop(over);
        done
    })
}

fn answer(request: Request, begin: &Begin, now: SystemTime, held: &Held) -> Reply {
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
            let (job, host) = (&exchange, &begin.host);
            let mount = &exchange.remote.mount;
            let found = match ask.calls_the_share(job, &path) {
                true => held.with(mount, begin, || items::ask(job, &path, ask, host)),
                false => Ok(items::ask(job, &path, ask, host)),
            };
            Reply::Items(found.unwrap_or_else(Found::Not))
        }
        Request::Settle { exchange, path, how } => {
            let settle = || jobs::settle(&exchange, &path, how, &begin.host, now);
            let outcome = held.with(&exchange.remote.mount, begin, settle);
            let outcome = Box::new(outcome.unwrap_or_else(|away| away));
            Reply::Executed { outcome, measured: None, crossed: 0 }
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
fn execute(
    what: &What,
    begin: &Begin,
    now: SystemTime,
    watch: Watch<'_>,
    held: &Held,
) -> jobs::Exchanged {
    let data = begin.paths().data();
    let (host, calls) = (&begin.host, &held.calls);
    let plain = |result: Result<Outcome, redirect::RedirectError>| {
        (result.unwrap_or_else(|error| Outcome::failed(&error)), None)
    };
    let step = || match what {
        What::Redirect(step) => plain(redirect::redirect(step, &begin.home, &data)),
        What::Restore(step) => plain(redirect::restore(step, &begin.home, &data)),
        What::Retain { folder, expects, retain } => {
            plain(redirect::retain(*folder, expects, retain, &data))
        }
        What::Sync(exchange) => synchronise(exchange, host, now, watch, calls),
        What::Probe(exchange) => jobs::look(exchange),
        What::DropCache { folder, exchange } => {
            jobs::drop_cache(*folder, exchange, &data, host, now, watch, calls)
        }
        What::Profile(job) => jobs::profile(job, host, now, watch, calls),
        What::Cannot { why, hint, .. } => (Outcome::refused(why, hint), None),
    };
    match mount_of(what) {
        Some(mount) => held.with(mount, begin, step).unwrap_or_else(|away| (away, None)),
        None => step(),
    }
}

/// The mount that a step works with.
fn mount_of(what: &What) -> Option<&Path> {
    match what {
        What::Sync(exchange) | What::Probe(exchange) | What::DropCache { exchange, .. } => {
            Some(&exchange.remote.mount)
        }
        What::Profile(job) => Some(&job.exchange.remote.mount),
        What::Redirect(step) => Some(&step.remote.mount),
        // Of a folder that is cached everything is here.
        What::Restore(step) => (!step.retained.cached).then_some(&step.retained.place),
        What::Retain { .. } | What::Cannot { .. } => None,
    }
}

/// An exchange, and then the cache is kept within its limits.
fn synchronise(
    exchange: &Exchange,
    host: &str,
    now: SystemTime,
    watch: Watch<'_>,
    calls: &Arc<Calls>,
) -> jobs::Exchanged {
    let (outcome, measured) = jobs::exchange(exchange, host, now, watch, calls);
    let whole = outcome.report().is_none_or(|report| !report.cancelled);
    // Where everything is pinned nothing can go, so that there is nothing to do after a quiet run.
    let quiet = exchange.how.background && exchange.how.pinned != 0;
    let due = outcome.is_good() && whole && !(quiet && outcome == Outcome::Unchanged);
    let more = due.then(|| items::keep_within(exchange, host, now));
    (outcome.with_more(more.flatten()), measured)
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
