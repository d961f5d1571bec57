//! The socket over which commands reach a running agent: one JSON line each way.
#![expect(clippy::disallowed_methods, reason = "edge: removes a socket nobody listens on")]

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use homeport_policy::unc::Unc;
use homeport_sync::Resolve;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::limits::CONTROL_BYTES_MAX;
use crate::plan::Occasion;

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
        /// Release the brake on mass deletes.
        release: bool,
        /// Stop after planning.
        dry: bool,
        /// What the user sees as its cause in log and status.
        cause: String,
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
    /// Switch folders to working offline, or back.
    Force {
        /// Whose.
        user: String,
        /// Which folder and everything below it.
        path: Unc,
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
    /// The command could not be carried out at all.
    pub error: Option<String>,
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
pub async fn receive(stream: &mut UnixStream) -> io::Result<Command> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(CONTROL_BYTES_MAX));
    reader.read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// Writes the answer and ends the connection.
///
/// # Errors
/// As the socket.
pub async fn reply(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.shutdown().await
}

/// Sends a command to a running agent; `None` when none is running.
///
/// # Errors
/// As the socket, once an agent has taken the connection.
pub async fn send(path: &Path, command: &Command) -> io::Result<Option<Answer>> {
    let Ok(mut stream) = UnixStream::connect(path).await else { return Ok(None) };
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(Some(serde_json::from_slice(&answer)?))
}
