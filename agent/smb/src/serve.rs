//! One request after the other, until the agent closes its end.

use std::fs::File;
use std::io;

use crate::errno::Fault;
use crate::listen::Rename;
use crate::share::Share;
use crate::wire::{self, DATA_MAX, Frame, Reply, Request, Stat};

/// Why a request could not be answered at all, or was answered with a failure.
enum Stop {
    /// The request failed; the next may not.
    Fault(Fault),
    /// The agent cannot be spoken to.
    Pipe(io::Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Pipe(error)
    }
}

/// Serves the agent.
///
/// # Errors
/// As the pipes; `InvalidData` when the agent speaks another language.
pub fn serve(mut from: File, to: File) -> io::Result<()> {
    let mut server = Server { to, share: None, frame: Frame::default(), buffer: Vec::new() };
    let mut bytes = Vec::new();
    while wire::receive(&mut from, &mut bytes)? {
        match server.answer(wire::request(&bytes)?) {
            Ok(()) => {}
            Err(Stop::Pipe(error)) => return Err(error),
            Err(Stop::Fault(fault)) => {
                let Fault { errno, status, .. } = fault;
                server.send(&Reply::Failed { errno, status, what: &fault.text() })?;
            }
        }
    }
    Ok(())
}

struct Server {
    to: File,
    share: Option<Share>,
    frame: Frame,
    buffer: Vec<u8>,
}

impl Server {
    fn send(&mut self, reply: &Reply<'_>) -> io::Result<()> {
        self.frame.reply(reply);
        wire::send(&mut self.to, &mut self.frame)
    }

    fn done(&mut self) -> Result<(), Stop> {
        Ok(self.send(&Reply::Done)?)
    }

    fn share(&mut self) -> Result<&mut Share, Fault> {
        self.share.as_mut().ok_or(Fault::new(libc::ENOTCONN, "use a share"))
    }

    fn answer(&mut self, request: Request<'_>) -> Result<(), Stop> {
        match request {
            Request::Connect(wanted) => {
                if self.share.is_some() {
                    return Err(Fault::new(libc::EBUSY, "connect a second time").into());
                }
                self.share = Some(Share::connect(&wanted)?);
            }
            Request::List { path } => return self.list(path),
            Request::Stat { path } => {
                let stat = self.share()?.stat(path)?;
                return Ok(self.send(&Reply::Stat(stat))?);
            }
            Request::Get { path, most } => return self.get(path, most),
            Request::Read { handle, offset, count } => return self.read(handle, offset, count),
            Request::Fstat { handle } => {
                let stat = self.share()?.fstat(handle)?;
                return Ok(self.send(&Reply::Stat(stat))?);
            }
            Request::Create { path } => {
                let handle = self.share()?.create(path)?;
                return Ok(self.send(&Reply::Opened { handle, stat: Stat::default() })?);
            }
            Request::Write { handle, offset, data } => self.share()?.write(handle, offset, data)?,
            Request::Truncate { handle, size } => self.share()?.truncate(handle, size)?,
            Request::Finish(finish) => {
                let share = self.share()?;
                share.write(finish.handle, finish.offset, finish.data)?;
                share.close(finish.handle)?;
                // Only now: a server may set the time of the last write when a file is closed.
                if let Some(mtime_ns) = finish.mtime_ns {
                    share.set_time(finish.path, mtime_ns)?;
                }
                if finish.look {
                    let stat = share.stat(finish.path)?;
                    return Ok(self.send(&Reply::Stat(stat))?);
                }
            }
            Request::Copy { handle, from, size } => {
                let copied = self.share()?.copy(handle, from, size)?;
                return Ok(self.send(&Reply::Number(copied))?);
            }
            Request::Close { handle } => self.share()?.close(handle)?,
            Request::MakeFolder { path } => self.share()?.make_folder(path)?,
            Request::RemoveFolder { path } => self.share()?.remove_folder(path)?,
            Request::Remove { path } => self.share()?.remove(path)?,
            Request::Rename { path, new, replace } => {
                let kind = if replace { Rename::Replace } else { Rename::New };
                self.share()?.rename(path, new, kind)?;
            }
            Request::SetTime { path, mtime_ns } => self.share()?.set_time(path, mtime_ns)?,
            Request::Free { path } => {
                let free = self.share()?.free(path)?;
                return Ok(self.send(&Reply::Number(free))?);
            }
            Request::Security { path } => {
                let text = self.share()?.security(path)?;
                return Ok(self.send(&Reply::Text(&text))?);
            }
            Request::Notify { path, timeout_ms } => {
                let found = self.share()?.notify(path, timeout_ms)?;
                let list = found.iter().map(|(action, name)| (*action, name.as_str())).collect();
                return Ok(self.send(&Reply::Changes(list))?);
            }
        }
        self.done()
    }

    fn list(&mut self, path: &str) -> Result<(), Stop> {
        let Self { to, share, frame, .. } = self;
        let share = share.as_ref().ok_or(Fault::new(libc::ENOTCONN, "use a share"))?;
        frame.start_entries();
        share.list(path, |name, stat| -> Result<(), Stop> {
            if frame.add_entry(name, stat) {
                frame.end_entries(true);
                wire::send(to, frame)?;
                frame.start_entries();
            }
            Ok(())
        })?;
        frame.end_entries(false);
        Ok(wire::send(to, frame)?)
    }

    /// A short file as a whole, between two looks at it; a long one is opened.
    fn get(&mut self, path: &str, most: u32) -> Result<(), Stop> {
        let most = (most as usize).min(DATA_MAX);
        let share = self.share.as_mut().ok_or(Fault::new(libc::ENOTCONN, "use a share"))?;
        let handle = share.open(path)?;
        let got = (|| {
            let before = share.fstat(handle)?;
            if before.size > most as u64 {
                return Ok(Err(before));
            }
            // One byte more than expected shows that it has grown.
            self.buffer.resize((before.size as usize + 1).min(DATA_MAX), 0);
            let filled = share.read(handle, 0, &mut self.buffer)?;
            Ok::<_, Fault>(Ok((before, share.fstat(handle)?, filled)))
        })();
        if let Ok(Err(stat)) = got {
            return Ok(self.send(&Reply::Opened { handle, stat })?);
        }
        let closed = share.close(handle);
        let (before, after, filled) = match got? {
            Ok(got) => got,
            Err(_) => return Err(Fault::new(libc::EIO, "read a file").into()),
        };
        closed?;
        let data = &self.buffer[..filled];
        self.frame.reply(&Reply::Got { before, after, data });
        Ok(wire::send(&mut self.to, &mut self.frame)?)
    }

    fn read(&mut self, handle: u32, offset: u64, count: u32) -> Result<(), Stop> {
        let share = self.share.as_ref().ok_or(Fault::new(libc::ENOTCONN, "use a share"))?;
        self.buffer.resize((count as usize).min(DATA_MAX), 0);
        let filled = share.read(handle, offset, &mut self.buffer)?;
        self.frame.reply(&Reply::Data(&self.buffer[..filled]));
        Ok(wire::send(&mut self.to, &mut self.frame)?)
    }
}
