//! Runs plans: hands each step to the user's worker and waits, but never longer than its bound.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::directory::kerberos::VARIABLES as KERBEROS_VARIABLES;
use crate::identity::Account;
use crate::items::{Ask, Found};
use crate::limits::{
    CANCEL_TIMEOUT, FRAME_BYTES_MAX, MOVE_TIMEOUT, OBSERVE_TIMEOUT, PROGRESS_TIMEOUT,
    PROGRESS_WAITING_MAX, SYNC_TIMEOUT,
};
use crate::observed::Observed;
use crate::outcome::Outcome;
use crate::plan::{Exchange, What};
use crate::share::Measured;
use crate::watch::Progress;
use crate::watcher::Notice;
use crate::worker::{Begin, Inspected, Reply, Request};

/// The worker could not do what it was asked. It is given up; the next cycle starts another.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be started.
    #[error("cannot start the worker {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pipe broke, mostly because the worker died.
    #[error("lost the worker of {user}")]
    Lost {
        /// Whose worker.
        user: String,
        /// What came back.
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("the worker of {user} did not answer within {} s", .limit.as_secs())]
    TimedOut {
        /// Whose worker.
        user: String,
        /// How long it was given.
        limit: Duration,
    },
    /// A share held it and does not answer. Another worker takes its place with the next request.
    #[error("{why}")]
    Unanswered {
        /// Which share, and for how long.
        why: String,
    },
    /// It said that it cannot.
    #[error("the worker of {user} reports: {why}")]
    Refused {
        /// Whose worker.
        user: String,
        /// What it said.
        why: String,
    },
}

/// Whoever follows a turn: hears how it goes, and may cut it short.
#[derive(Clone, Debug)]
pub struct Follower {
    tell: Option<mpsc::Sender<Progress>>,
    cancel: watch::Receiver<bool>,
    /// The work keeps in step with whoever reads; otherwise what cannot be told at once is left out.
    pub waits: bool,
    /// How many file bytes of a counted exchange crossed, as far as was told.
    pub crossed: Arc<AtomicU64>,
}

impl Follower {
    /// Nobody.
    pub fn none() -> Self {
        Self { tell: None, cancel: watch::channel(false).1, waits: true, crossed: Arc::default() }
    }

    /// Somebody: what it hears, and the switch that cuts short.
    pub fn new() -> (Self, mpsc::Receiver<Progress>, watch::Sender<bool>) {
        let (switch, cancel) = watch::channel(false);
        let (follower, heard) = Self::cut_by(cancel);
        (follower, heard, switch)
    }

    /// Somebody who has a switch already.
    pub fn cut_by(cancel: watch::Receiver<bool>) -> (Self, mpsc::Receiver<Progress>) {
        let (tell, heard) = mpsc::channel(PROGRESS_WAITING_MAX);
        (Self { tell: Some(tell), cancel, waits: true, crossed: Arc::default() }, heard)
    }

    /// The same, without hearing anything.
    pub fn deaf(self) -> Self {
        Self { tell: None, ..self }
    }

    /// Whether it was cut short.
    pub fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Returns once it is cut short, and never if nobody can do that any more.
    async fn cancelled(&mut self) {
        if self.cancel.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The work keeps step with whoever reads, but does not wait for somebody who stopped reading.
    async fn tell(&mut self, progress: Progress) {
        let Some(to) = &self.tell else { return };
        if !self.waits {
            let _ = to.try_send(progress); // see `waits`
        } else if to.send_timeout(progress, PROGRESS_TIMEOUT).await.is_err() {
            self.tell = None;
        }
    }
}

/// How a person's worker is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Whose home it works on.
    pub begin: Begin,
    /// As whom, if not as the agent itself.
    pub account: Option<Account>,
}

impl Start {
    /// Starts one.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn worker(&self) -> Result<Worker, WorkerError> {
        Worker::start(self.clone()).await
    }
}

/// A running worker. It ends with this value, or when the agent dies and its pipe closes.
#[derive(Debug)]
pub struct Worker {
    start: Start,
    process: Process,
    /// A share holds the process, which was given up.
    is_held: bool,
}

/// Its process and pipes.
#[derive(Debug)]
struct Process {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Worker {
    /// Starts a worker for a user.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn start(start: Start) -> Result<Self, WorkerError> {
        let process = Process::start(&start)?;
        let mut worker = Self { start, process, is_held: false };
        worker.ask(&worker.begin(), OBSERVE_TIMEOUT).await?;
        Ok(worker)
    }

    fn begin(&self) -> Request {
        Request::Begin(self.start.begin.clone())
    }

    fn user(&self) -> String {
        self.start.begin.user.clone()
    }

    /// A new process in place of one that a share holds.
    async fn replace(&mut self) -> Result<(), WorkerError> {
        self.process = Process::start(&self.start)?;
        self.is_held = false;
        let request = self.begin();
        Box::pin(self.ask(&request, OBSERVE_TIMEOUT)).await.map(drop)
    }

    /// Makes it watch these directories from now on, and answer nothing else.
    ///
    /// # Errors
    /// [`WorkerError::Lost`].
    pub async fn watch(&mut self, roots: Vec<PathBuf>) -> Result<(), WorkerError> {
        let sent = send(&mut self.process.to, &Request::Watch(roots)).await;
        sent.map_err(|source| WorkerError::Lost { user: self.user(), source })
    }

    /// The next notice about a directory that it watches, by its number in the list; waits for it
    /// as long as it takes.
    ///
    /// # Errors
    /// [`WorkerError`] when the worker is lost.
    pub async fn noticed(&mut self) -> Result<(usize, Notice), WorkerError> {
        match receive(&mut self.process.from).await {
            Ok(Reply::Noticed(number, notice)) => Ok((number, notice)),
            Ok(_) => Err(self.confused()),
            Err(source) => Err(WorkerError::Lost { user: self.user(), source }),
        }
    }

    /// What the worker sees of the home.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn observe(&mut self) -> Result<Observed, WorkerError> {
        match self.ask(&Request::Observe, OBSERVE_TIMEOUT).await? {
            Reply::Observed(observed) => Ok(*observed),
            _ => Err(self.confused()),
        }
    }

    /// Carries out one step, within `budget` or the step's own bound, whichever is shorter; a share may
    /// leave it without an answer for `patience`.
    ///
    /// # Errors
    /// [`WorkerError`] when the worker is lost; what became of the step is an [`Outcome`].
    pub async fn execute(
        &mut self,
        what: &What,
        budget: Option<Duration>,
        patience: Duration,
        follower: &mut Follower,
    ) -> Result<(Outcome, Option<Measured>), WorkerError> {
        let bound = match what {
            What::Sync(_) | What::DropCache { .. } | What::Profile(_) => SYNC_TIMEOUT,
            _ => MOVE_TIMEOUT,
        };
        let bound = budget.map_or(bound, |budget| bound.min(budget));
        let watched = follower.tell.is_some();
        let request = Request::Execute { what: Box::new(what.clone()), watched, patience };
        match self.ask_followed(&request, bound, follower).await {
            Ok(Reply::Executed { outcome, measured, crossed }) => {
                follower.crossed.store(crossed, Ordering::Relaxed);
                Ok((*outcome, measured))
            }
            Err(error @ WorkerError::Unanswered { .. }) => Ok((Outcome::share(&error, true), None)),
            Ok(_) => Err(self.confused()),
            Err(error) => Err(error),
        }
    }

    /// What is open in some caches.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn inspect(
        &mut self,
        exchanges: Vec<Exchange>,
    ) -> Result<Vec<Inspected>, WorkerError> {
        match self.ask(&Request::Inspect(exchanges), OBSERVE_TIMEOUT).await? {
            Reply::Inspected(inspected) => Ok(inspected),
            _ => Err(self.confused()),
        }
    }

    /// Looks at items of a cache, or changes what is kept about them.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn items(
        &mut self,
        exchange: Exchange,
        path: String,
        ask: Ask,
    ) -> Result<Found, WorkerError> {
        let request = Request::Items { exchange: Box::new(exchange), path, ask };
        match self.ask(&request, SYNC_TIMEOUT).await {
            Ok(Reply::Items(found)) => Ok(found),
            Err(error @ WorkerError::Unanswered { .. }) => {
                Ok(Found::Not(Outcome::share(&error, true)))
            }
            Ok(_) => Err(self.confused()),
            Err(error) => Err(error),
        }
    }

    /// Settles one conflict.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn settle(
        &mut self,
        exchange: Exchange,
        path: String,
        how: homeport_sync::Resolve,
    ) -> Result<Outcome, WorkerError> {
        let request = Request::Settle { exchange: Box::new(exchange), path, how };
        match self.ask(&request, SYNC_TIMEOUT).await {
            Ok(Reply::Executed { outcome, .. }) => Ok(*outcome),
            Err(error @ WorkerError::Unanswered { .. }) => Ok(Outcome::share(&error, true)),
            Ok(_) => Err(self.confused()),
            Err(error) => Err(error),
        }
    }

    fn confused(&self) -> WorkerError {
        let why = "it answered another question (is it another version?)".to_owned();
        WorkerError::Refused { user: self.user(), why }
    }

    async fn ask(&mut self, request: &Request, limit: Duration) -> Result<Reply, WorkerError> {
        self.ask_followed(request, limit, &mut Follower::none()).await
    }

    async fn ask_followed(
        &mut self,
        request: &Request,
        limit: Duration,
        follower: &mut Follower,
    ) -> Result<Reply, WorkerError> {
        if self.is_held {
            self.replace().await?;
        }
        let user = self.user();
        let Process { to, from, .. } = &mut self.process;
        let answer = exchange(to, from, request, follower);
        match timeout(limit, answer).await {
            Ok(Ok(Reply::Unanswered { why })) => {
                tracing::warn!(user, why, "Worker given up in a share that does not answer.");
                self.kill();
                self.is_held = true;
                Err(WorkerError::Unanswered { why })
            }
            Ok(Ok(Reply::Failed { why })) => Err(WorkerError::Refused { user, why }),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(source)) if source.kind() == io::ErrorKind::TimedOut => {
                Err(self.give_up(CANCEL_TIMEOUT))
            }
            Ok(Err(source)) => Err(WorkerError::Lost { user, source }),
            Err(_) => Err(self.give_up(limit)),
        }
    }

    /// Whatever it is doing is safe to cut off; a hung share must not hang the agent.
    fn give_up(&mut self, limit: Duration) -> WorkerError {
        self.kill();
        WorkerError::TimedOut { user: self.user(), limit }
    }

    fn kill(&mut self) {
        if let Err(error) = self.process.child.start_kill() {
            let user = self.user();
            tracing::warn!(user, %error, "Hung worker could not be stopped.");
        }
    }
}

impl Process {
    fn start(Start { program, account, .. }: &Start) -> Result<Self, WorkerError> {
        let error = |source| WorkerError::Start { program: program.clone(), source };
        let mut command = Command::new(program);
        command.arg("worker");
        // The computer's tickets are the agent's; the worker acts as the user.
        command.env_remove(KERBEROS_VARIABLES[0]).env_remove(KERBEROS_VARIABLES[1]);
        if let Some(account) = account {
            command.args(account.arguments()).env_clear().envs(account.environment());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Ctrl-C in a terminal is for the agent, which lets the worker finish its item.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(error)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| error(io::Error::other("it has no pipes")))?;
        Ok(Self { child, to, from })
    }
}

async fn send(to: &mut ChildStdin, request: &Request) -> io::Result<()> {
    let mut frame = Vec::new();
    crate::worker::write_frame(&mut frame, request)?;
    to.write_all(&frame).await?;
    to.flush().await
}

async fn receive(from: &mut ChildStdout) -> io::Result<Reply> {
    let length = from.read_u32().await?;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("an answer of {length} bytes is too large")));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// Sends a request and waits for its answer; progress that comes before it is told on.
async fn exchange(
    to: &mut ChildStdin,
    from: &mut ChildStdout,
    request: &Request,
    follower: &mut Follower,
) -> io::Result<Reply> {
    send(to, request).await?;
    let far = Instant::now() + SYNC_TIMEOUT;
    let mut stop_at: Option<Instant> = None;
    loop {
        // A frame that is half read is read on, whatever happens meanwhile.
        let mut receiving = std::pin::pin!(receive(from));
        let reply = loop {
            tokio::select! {
                reply = &mut receiving => break reply?,
                () = follower.cancelled(), if stop_at.is_none() => {
                    stop_at = Some(Instant::now() + CANCEL_TIMEOUT);
                    send(to, &Request::Cancel).await?;
                }
                () = sleep_until(stop_at.unwrap_or(far)), if stop_at.is_some() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        };
        match reply {
            Reply::Progress(progress) => follower.tell(progress).await,
            Reply::Crossed(bytes) => follower.crossed.store(bytes, Ordering::Relaxed),
            reply => return Ok(reply),
        }
    }
}
