//! One process of `homeport-smb`: started, asked, and killed when it does not answer in time.
#![expect(clippy::disallowed_methods, reason = "edge: starts processes and waits for them")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::wire::{self, Connect, FRAME_MAX, Frame, Reply, Request};
use super::{Refused, Start};

/// How much one pipe holds, so that a frame does not need dozens of turns. An unprivileged process
/// may ask for so much.
const PIPE_BYTES: usize = 1 << 20;
/// What it gets of this process's environment: where tickets are, and where libraries look.
const ENVIRONMENT: [&str; 6] =
    ["HOME", "KRB5CCNAME", "KRB5_CONFIG", "PATH", "TMPDIR", "LD_LIBRARY_PATH"];

/// A process with its connection.
#[derive(Debug)]
pub struct Process {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    frame: Frame,
    buffer: Vec<u8>,
    /// No answer is to be expected of it any more, or of its connection.
    worn: bool,
    retired: bool,
    /// What the server said when it last refused something.
    status: u32,
}

/// Until when something may last.
#[derive(Clone, Copy, Debug)]
struct Deadline(Instant);

impl Deadline {
    fn wait(self, fd: BorrowedFd<'_>, what: PollFlags) -> io::Result<()> {
        loop {
            let left = self.0.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let late = "homeport-smb did not answer in time";
                return Err(io::Error::new(io::ErrorKind::TimedOut, late));
            }
            let left = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::from_borrowed_fd(fd, what)], left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Process {
    /// Starts one and lets it connect.
    ///
    /// # Errors
    /// As `exec`; `TimedOut`; what the server says.
    pub fn start(start: &Start) -> io::Result<Self> {
        let share = &start.share;
        let mut command = Command::new(&share.program);
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(start.environment.iter().map(|(name, value)| (name, value)));
        let named = |error: io::Error| {
            let what = format!("cannot start {}: {error}", share.program.display());
            io::Error::new(error.kind(), what)
        };
        let mut child = command.spawn().map_err(named)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        for fd in [to.as_fd(), from.as_fd()] {
            rustix::io::ioctl_fionbio(fd, true)?;
            // Less is slower, and nothing else.
            let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_BYTES);
        }
        let (frame, buffer) = (Frame::default(), Vec::new());
        let mut process =
            Self { child, to, from, frame, buffer, worn: false, retired: false, status: 0 };
        let timeout_ms = u32::try_from(start.limits.answer.as_millis()).unwrap_or(u32::MAX);
        let connect = Connect {
            server: &share.server,
            share: &share.name,
            port: share.port,
            user: share.user.as_deref().unwrap_or_default(),
            realm: share.realm.as_deref().unwrap_or_default(),
            ntlm: share.ntlm,
            password_file: share.password_file.as_deref().and_then(|p| p.to_str()).unwrap_or(""),
            must_encrypt: share.must_encrypt,
            timeout_ms,
        };
        let connected = process.done(&Request::Connect(connect), start.limits.connect);
        connected.map_err(|source| match process.status {
            0 => source,
            status => io::Error::new(source.kind(), Refused { status, source }),
        })?;
        Ok(process)
    }

    /// What the server said when it last refused something (MS-ERREF 2.3); 0 where it said nothing.
    pub fn status(&self) -> u32 {
        self.status
    }

    /// Nothing more is to be asked of it, through no fault of the server's.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// Whether nothing more is to be asked of it.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether it is of no use any more.
    pub fn is_worn(&self) -> bool {
        self.worn
    }

    /// It is of no use any more, although it answers.
    pub fn wear(&mut self) {
        self.worn = true;
    }

    /// Sends a request without waiting for its answer, which is to be [`Process::receive`]d.
    ///
    /// # Errors
    /// As `write`; `TimedOut`.
    pub fn send(&mut self, request: &Request<'_>, within: Duration) -> io::Result<()> {
        if self.worn {
            return Err(ended(Errno::PIPE));
        }
        let deadline = Deadline(Instant::now() + within);
        self.frame.request(request);
        let mut bytes = self.frame.finish()?;
        while !bytes.is_empty() {
            match rustix::io::write(&self.to, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let waited = deadline.wait(self.to.as_fd(), PollFlags::OUT);
                    waited.inspect_err(|_| self.worn = true)?;
                }
                Err(error) => {
                    self.worn = true;
                    return Err(ended(error));
                }
            }
        }
        Ok(())
    }

    /// Receives an answer.
    ///
    /// # Errors
    /// What the server says; `TimedOut`; `InvalidData` when it is no answer.
    pub fn receive(&mut self, within: Duration) -> io::Result<Reply<'_>> {
        let deadline = Deadline(Instant::now() + within);
        self.status = 0;
        // Until the answer is understood, nobody knows what would come next.
        let was_worn = std::mem::replace(&mut self.worn, true);
        let mut length = [0; 4];
        fill(&self.from, &mut length, deadline)?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 || length > FRAME_MAX {
            return Err(wire::broken());
        }
        self.buffer.resize(length, 0);
        fill(&self.from, &mut self.buffer, deadline)?;
        match wire::reply(&self.buffer)? {
            Reply::Failed { errno, status, what } => {
                let error = io::Error::from_raw_os_error(errno);
                self.worn = was_worn || is_end(&error);
                self.status = status;
                tracing::debug!(what, errno, status, "The file server refused.");
                Err(error)
            }
            reply => {
                self.worn = was_worn;
                Ok(reply)
            }
        }
    }

    /// Asks for something that has one answer.
    ///
    /// # Errors
    /// As [`Process::send`] and [`Process::receive`].
    pub fn ask(&mut self, request: &Request<'_>, within: Duration) -> io::Result<Reply<'_>> {
        self.send(request, within)?;
        self.receive(within)
    }

    /// Asks for something that is only done.
    ///
    /// # Errors
    /// As [`Process::ask`].
    pub fn done(&mut self, request: &Request<'_>, within: Duration) -> io::Result<()> {
        match self.ask(request, within)? {
            Reply::Done => Ok(()),
            _ => Err(self.odd()),
        }
    }

    /// An answer that does not belong to the request.
    pub fn odd(&mut self) -> io::Error {
        self.worn = true;
        wire::broken()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may hang, and has nothing to lose: what it did is on the server, or not.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn fill(from: &ChildStdout, buffer: &mut [u8], deadline: Deadline) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(from, &mut buffer[filled..]) {
            Ok(0) => return Err(ended(Errno::PIPE)),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => deadline.wait(from.as_fd(), PollFlags::IN)?,
            Err(error) => return Err(ended(error)),
        }
    }
    Ok(())
}

fn ended(error: Errno) -> io::Error {
    let what = format!("homeport-smb ended unexpectedly ({error})");
    io::Error::new(io::ErrorKind::ConnectionAborted, what)
}

/// Whether an error says that the connection is of no use any more.
pub fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkUnreachable, NotConnected, StaleNetworkFileHandle, TimedOut,
    };
    matches!(
        error.kind(),
        BrokenPipe
            | ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | NotConnected
            | StaleNetworkFileHandle
            | TimedOut
    )
}
