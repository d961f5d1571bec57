//! Runs plans: hands each step to the user's worker and waits, but never longer than its bound.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::limits::{FRAME_BYTES_MAX, MOVE_TIMEOUT, OBSERVE_TIMEOUT, SYNC_TIMEOUT};
use crate::observed::Observed;
use crate::outcome::Outcome;
use crate::plan::{Exchange, What};
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
    /// It said that it cannot.
    #[error("the worker of {user} reports: {why}")]
    Refused {
        /// Whose worker.
        user: String,
        /// What it said.
        why: String,
    },
}

/// A running worker. It ends with this value, or when the agent dies and its pipe closes.
#[derive(Debug)]
pub struct Worker {
    user: String,
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Worker {
    /// Starts a worker for a user.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn start(program: &PathBuf, begin: Begin) -> Result<Self, WorkerError> {
        let error = |source| WorkerError::Start { program: program.clone(), source };
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(error)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| error(io::Error::other("it has no pipes")))?;
        let mut worker = Self { user: begin.user.clone(), child, to, from };
        worker.ask(&Request::Begin(begin), OBSERVE_TIMEOUT).await?;
        Ok(worker)
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

    /// Carries out one step, within `budget` or the step's own bound, whichever is shorter.
    ///
    /// # Errors
    /// [`WorkerError`] when the worker is lost; what became of the step is an [`Outcome`].
    pub async fn execute(
        &mut self,
        what: &What,
        budget: Option<Duration>,
    ) -> Result<(Outcome, Option<Duration>), WorkerError> {
        let bound = match what {
            What::Sync(_) | What::DropCache { .. } | What::Profile(_) => SYNC_TIMEOUT,
            _ => MOVE_TIMEOUT,
        };
        let bound = budget.map_or(bound, |budget| bound.min(budget));
        match self.ask(&Request::Execute(Box::new(what.clone())), bound).await? {
            Reply::Executed { outcome, latency } => Ok((*outcome, latency)),
            _ => Err(self.confused()),
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
        match self.ask(&request, SYNC_TIMEOUT).await? {
            Reply::Executed { outcome, .. } => Ok(*outcome),
            _ => Err(self.confused()),
        }
    }

    fn confused(&self) -> WorkerError {
        let why = "it answered another question (is it another version?)".to_owned();
        WorkerError::Refused { user: self.user.clone(), why }
    }

    async fn ask(&mut self, request: &Request, limit: Duration) -> Result<Reply, WorkerError> {
        let user = self.user.clone();
        let answer = timeout(limit, exchange(&mut self.to, &mut self.from, request)).await;
        match answer {
            Ok(Ok(Reply::Failed { why })) => Err(WorkerError::Refused { user, why }),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(source)) => Err(WorkerError::Lost { user, source }),
            Err(_) => {
                // Whatever it is doing is safe to cut off; a hung share must not hang the agent.
                if let Err(error) = self.child.start_kill() {
                    tracing::warn!(user, %error, "Hung worker could not be stopped.");
                }
                Err(WorkerError::TimedOut { user, limit })
            }
        }
    }
}

async fn exchange(
    to: &mut ChildStdin,
    from: &mut ChildStdout,
    request: &Request,
) -> io::Result<Reply> {
    let mut frame = Vec::new();
    crate::worker::write_frame(&mut frame, request)?;
    to.write_all(&frame).await?;
    to.flush().await?;
    let length = from.read_u32().await?;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("an answer of {length} bytes is too large")));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}
