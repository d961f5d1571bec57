//! The socket over which commands reach a running agent: one JSON line asks, and JSON lines tell how
//! it goes, if that was asked for, and the answer. Another line of whoever asked cuts the work short.
#![expect(clippy::disallowed_methods, reason = "edge: removes a socket nobody listens on")]

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use homeport_policy::unc::Unc;
use homeport_sync::Resolve;
use homeport_sync::codes::ResultCode;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::items::Ask;
use crate::limits::CONTROL_BYTES_MAX;
use crate::plan::Occasion;
use crate::watch::Progress;
use crate::wish::{Place, Wish};

/// What a command asks of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Take a turn for one user, or for everybody who is signed in.
    Turn {
        /// Whose; `None` is everybody who is signed in.
        user: Option<String>,
        /// What for.
        occasion: Occasion,
        /// What a person asks of the exchanges.
        wish: Wish,
        /// Stop after planning.
        dry: bool,
        /// What the user sees as its cause in log and status.
        cause: String,
    },
    /// A session began or ended, as the sign-in path tells.
    Session {
        /// Whose, as this computer names the account.
        user: String,
        /// Sign-in and sign-out; a refresh does what a sign-in could not do.
        occasion: Occasion,
    },
    /// Settle one conflict.
    Settle {
        /// Whose.
        user: String,
        /// The network path of the item.
        path: Unc,
        /// How.
        how: Resolve,
    },
    /// Look at items, or change what is kept about them.
    Items {
        /// Whose; `None` is everybody who is known.
        user: Option<String>,
        /// Which; `None` is everything.
        place: Option<Place>,
        /// What is asked.
        ask: Ask,
    },
    /// Switch folders to working offline, or back.
    Force {
        /// Whose; `None` is everybody who is signed in.
        user: Option<String>,
        /// Which folder and everything below it; `None` is every folder.
        path: Option<Unc>,
        /// Offline, or back online.
        offline: bool,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// What was done, for people.
    pub text: String,
    /// The same for programs.
    pub json: serde_json::Value,
    /// Steps that were refused.
    pub refused: u32,
    /// Steps that failed.
    pub failed: u32,
    /// The newest policy is rejected, or there is none.
    pub policy_rejected: bool,
    /// What came of it, as Windows would say it; `None` is success.
    #[serde(default)]
    pub code: Option<ResultCode>,
    /// File bytes carried, both ways.
    #[serde(default)]
    pub bytes: u64,
    /// One line for the person who signs in or out; absent when all is well.
    #[serde(default)]
    pub notice: Option<String>,
    /// The command could not be carried out at all.
    pub error: Option<String>,
    /// What helps against that.
    #[serde(default)]
    pub hint: Option<String>,
    /// The command makes no sense.
    #[serde(default)]
    pub usage: bool,
}

impl Answer {
    /// There is no such user, so nothing was done and nothing is kept.
    pub fn no_user(name: &str) -> Self {
        let hint = "a user's name, or a path: one that is relative begins with ./";
        Self {
            error: Some(format!("there is no user {name:?}")),
            hint: Some(hint.to_owned()),
            usage: true,
            code: Some(ResultCode::InvalidParameter),
            ..Self::default()
        }
    }
}

/// The line that asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Asked {
    command: Command,
    /// Tell how it goes.
    follow: bool,
}

/// A line of the agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Progress(Progress),
    Answer(Box<Answer>),
}

/// Somebody who asked, and waits.
#[derive(Debug)]
pub struct Asker {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    /// Whether it wants to know how it goes.
    pub follows: bool,
}

/// Opens the socket, for this account alone. A socket that nobody listens on is replaced.
///
/// # Errors
/// As `bind`; `AddrInUse` when an agent is running.
pub async fn listen(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Reads one command from a connection.
///
/// # Errors
/// As the socket, or when it is no command.
pub async fn receive(stream: UnixStream) -> io::Result<(Asker, Command)> {
    let (from, to) = stream.into_split();
    let (mut from, mut line) = (BufReader::new(from), String::new());
    (&mut from).take(CONTROL_BYTES_MAX).read_line(&mut line).await?;
    let Asked { command, follow } = serde_json::from_str(&line)?;
    Ok((Asker { from, to, follows: follow }, command))
}

impl Asker {
    /// Returns once the work is to be cut short; never, if whoever asked went away.
    pub async fn cancelled(&mut self) {
        if !self.from.fill_buf().await.is_ok_and(|more| !more.is_empty()) {
            std::future::pending::<()>().await;
        }
    }

    /// Tells how it goes.
    ///
    /// # Errors
    /// As the socket.
    pub async fn tell(&mut self, progress: Progress) -> io::Result<()> {
        write_line(&mut self.to, &Said::Progress(progress)).await
    }

    /// Writes the answer and ends the connection.
    ///
    /// # Errors
    /// As the socket.
    pub async fn reply(mut self, answer: Answer) -> io::Result<()> {
        write_line(&mut self.to, &Said::Answer(Box::new(answer))).await?;
        self.to.shutdown().await
    }
}

async fn write_line(to: &mut OwnedWriteHalf, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Sends a command to a running agent and hears how it goes; `None` when none is running.
///
/// # Errors
/// As the socket, once an agent has taken the connection.
pub async fn send(
    path: &Path,
    command: &Command,
    hear: &mut dyn FnMut(Progress),
    follow: bool,
    cancel: &mut watch::Receiver<bool>,
) -> io::Result<Option<Answer>> {
    let Ok(stream) = UnixStream::connect(path).await else { return Ok(None) };
    let (from, mut to) = stream.into_split();
    write_line(&mut to, &Asked { command: command.clone(), follow }).await?;
    let mut lines = BufReader::new(from).lines();
    let mut cancelled = false;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            stop = cancel.wait_for(|cancel| *cancel), if !cancelled => {
                cancelled = true; // asked once, whether or not anybody can ask again
                if stop.is_ok() {
                    write_line(&mut to, &"cancel").await?;
                }
                continue;
            }
        };
        match line.map(|line| serde_json::from_str::<Said>(&line)).transpose()? {
            Some(Said::Progress(progress)) => hear(progress),
            Some(Said::Answer(answer)) => return Ok(Some(*answer)),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
