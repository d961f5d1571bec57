//! Files of a share: short ones are read as a whole with one request, long ones a block ahead.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homeport_sync::Stamp;
use homeport_sync::fs::{Reader, Writer};

use super::pool::{Lease, Pool};
use super::volume::stamp;
use super::wire::{DATA_MAX, Finish, Reply, Request, Stat};

/// Opens a file for reading.
///
/// # Errors
/// As `open`.
pub fn open(pool: &Arc<Pool>, path: String) -> io::Result<Box<dyn Reader>> {
    let mut lease = pool.take()?;
    let within = pool.start().limits.call;
    let most = u32::try_from(DATA_MAX - 1).unwrap_or(u32::MAX);
    let reply = match lease.ask(&Request::Get { path: &path, most }, within)? {
        Reply::Got { before, after, data } => Ok((before, after, data.to_vec())),
        Reply::Opened { handle, stat } => Err((handle, stat)),
        _ => return Err(lease.odd()),
    };
    Ok(match reply {
        Ok((before, after, data)) => {
            let pool = Arc::clone(pool);
            let looked = AtomicBool::new(false);
            Box::new(Whole { pool, path, before, after, data, looked })
        }
        Err((handle, stat)) => {
            let opened = Opened::new(lease, handle, within, Some(stat));
            Box::new(Far { pool: Arc::clone(pool), path, opened: Arc::new(Mutex::new(opened)) })
        }
    })
}

/// A short file, read between two looks at it.
#[derive(Debug)]
struct Whole {
    pool: Arc<Pool>,
    path: String,
    before: Stat,
    after: Stat,
    data: Vec<u8>,
    looked: AtomicBool,
}

impl Reader for Whole {
    /// First what it was before it was read, then what it was after.
    fn stamp(&self) -> io::Result<Stamp> {
        let looked = self.looked.swap(true, Ordering::Relaxed);
        Ok(stamp(if looked { self.after } else { self.before }))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.data.get(offset..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A file that is open in a process, which is nobody else's meanwhile.
#[derive(Debug)]
struct Opened {
    lease: Lease,
    handle: u32,
    within: Duration,
    closed: bool,
    /// What was known of it when it was opened, until somebody asks.
    first: Option<Stat>,
    block: Vec<u8>,
    block_at: u64,
    /// The place of a block that was asked for and has not been received.
    ahead: Option<u64>,
    /// A block was sent, and nobody knows yet whether it was written.
    unconfirmed: bool,
}

impl Opened {
    fn new(lease: Lease, handle: u32, within: Duration, first: Option<Stat>) -> Self {
        Self {
            lease,
            handle,
            within,
            closed: false,
            first,
            block: Vec::new(),
            block_at: 0,
            ahead: None,
            unconfirmed: false,
        }
    }

    /// Receives what is still to come, so that something else can be asked.
    fn settle(&mut self) -> io::Result<()> {
        if self.ahead.take().is_some() {
            // What it says is said again to whoever asks for it.
            let _unwanted = self.lease.receive(self.within);
        }
        if std::mem::take(&mut self.unconfirmed) {
            match self.lease.receive(self.within)? {
                Reply::Done => {}
                _ => return Err(self.lease.odd()),
            }
        }
        Ok(())
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = self.block_at + self.block.len() as u64;
        if !(self.block_at..end).contains(&offset) {
            self.fetch(offset, offset == end)?;
        }
        let at = usize::try_from(offset - self.block_at).unwrap_or(usize::MAX);
        let rest = self.block.get(at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn fetch(&mut self, offset: u64, in_order: bool) -> io::Result<()> {
        let (handle, count) = (self.handle, u32::try_from(DATA_MAX).unwrap_or(u32::MAX));
        if self.ahead != Some(offset) {
            self.settle()?;
            self.lease.send(&Request::Read { handle, offset, count }, self.within)?;
        }
        self.ahead = None;
        self.block.clear();
        self.block_at = offset;
        match self.lease.receive(self.within)? {
            Reply::Data(data) => self.block.extend_from_slice(data),
            _ => return Err(self.lease.odd()),
        }
        if in_order && self.block.len() == DATA_MAX {
            let offset = offset + DATA_MAX as u64;
            self.lease.send(&Request::Read { handle, offset, count }, self.within)?;
            self.ahead = Some(offset);
        }
        Ok(())
    }

    fn look(&mut self) -> io::Result<Stat> {
        self.settle()?;
        if let Some(stat) = self.first.take() {
            return Ok(stat);
        }
        match self.lease.ask(&Request::Fstat { handle: self.handle }, self.within)? {
            Reply::Stat(stat) => Ok(stat),
            _ => Err(self.lease.odd()),
        }
    }

    /// Sends bytes to be written; whether they were, the next call says.
    fn write(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.settle()?;
        self.block.clear();
        let request = Request::Write { handle: self.handle, offset, data };
        self.lease.send(&request, self.within)?;
        self.unconfirmed = true;
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.closed || self.lease.is_worn() {
            return;
        }
        let settled = self.settle();
        let close = Request::Close { handle: self.handle };
        if settled.is_err() || self.lease.done(&close, self.within).is_err() {
            // It may be open there still: it goes with the connection.
            self.lease.wear();
        }
    }
}

fn lock(opened: &Mutex<Opened>) -> MutexGuard<'_, Opened> {
    opened.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A long file, or one that is being written.
#[derive(Debug)]
struct Far {
    pool: Arc<Pool>,
    path: String,
    opened: Arc<Mutex<Opened>>,
}

impl Reader for Far {
    fn stamp(&self) -> io::Result<Stamp> {
        lock(&self.opened).look().map(stamp)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        lock(&self.opened).read_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A new file.
#[derive(Debug)]
pub struct SmbWriter {
    pool: Arc<Pool>,
    path: String,
    opened: Arc<Mutex<Opened>>,
    /// Bytes that were not sent yet, and their place.
    waiting: Vec<u8>,
    waiting_at: u64,
    /// How long it is, as far as it was written here.
    length: Option<u64>,
    /// What it is once it is closed.
    finished: Option<Stat>,
}

impl SmbWriter {
    /// Makes a new file.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; as `open`.
    pub fn create(pool: &Arc<Pool>, path: String) -> io::Result<Self> {
        let mut lease = pool.take()?;
        let within = pool.start().limits.call;
        let handle = match lease.ask(&Request::Create { path: &path }, within)? {
            Reply::Opened { handle, .. } => handle,
            _ => return Err(lease.odd()),
        };
        let opened = Arc::new(Mutex::new(Opened::new(lease, handle, within, None)));
        let pool = Arc::clone(pool);
        Ok(Self {
            pool,
            path,
            opened,
            waiting: Vec::new(),
            waiting_at: 0,
            length: Some(0),
            finished: None,
        })
    }

    fn send_waiting(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            lock(&self.opened).write(&self.waiting, self.waiting_at)?;
            self.waiting_at += self.waiting.len() as u64;
            self.waiting.clear();
        }
        Ok(())
    }

    fn is_open(&self) -> io::Result<()> {
        match self.finished {
            None => Ok(()),
            Some(_) => Err(io::Error::other("the file was finished before")),
        }
    }
}

impl Writer for SmbWriter {
    fn write_at(&mut self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        self.is_open()?;
        if offset != self.waiting_at + self.waiting.len() as u64 {
            self.send_waiting()?;
            self.waiting_at = offset;
        }
        let end = offset + bytes.len() as u64;
        self.length = self.length.map(|length| length.max(end));
        while !bytes.is_empty() {
            let room = DATA_MAX - self.waiting.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.waiting.extend_from_slice(now);
            offset += now.len() as u64;
            bytes = later;
            if self.waiting.len() == DATA_MAX {
                self.send_waiting()?;
                self.waiting_at = offset;
            }
        }
        Ok(())
    }

    /// The server copies; nothing of that kind shares blocks for certain.
    fn copy_whole(&mut self, from: &dyn Reader, may_copy: bool) -> io::Result<()> {
        self.is_open()?;
        let any = from.as_any();
        let (pool, path) = match (any.downcast_ref::<Far>(), any.downcast_ref::<Whole>()) {
            (Some(far), _) => (&far.pool, &far.path),
            (_, Some(whole)) => (&whole.pool, &whole.path),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        if !may_copy || !Arc::ptr_eq(pool, &self.pool) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let size = from.stamp()?.size;
        self.length = None;
        self.send_waiting()?;
        let mut opened = lock(&self.opened);
        opened.settle()?;
        // A large file takes the server its time; it answers in between, as libsmbclient asks.
        let within = self.pool.start().limits.list;
        let request = Request::Copy { handle: opened.handle, from: path, size };
        let copied = match opened.lease.ask(&request, within) {
            Ok(Reply::Number(copied)) => Ok(copied),
            Ok(_) => return Err(opened.lease.odd()),
            Err(error) => Err(error),
        };
        match copied {
            Ok(copied) if copied == size => Ok(()),
            Ok(_) => {
                let what = "it changed while it was copied";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
            }
            Err(error) if Lease::is_lost(&error) => Err(error),
            Err(_) if opened.look()?.size == 0 => Err(io::ErrorKind::Unsupported.into()),
            Err(error) => Err(error),
        }
    }

    fn reader(&self) -> io::Result<Box<dyn Reader>> {
        self.is_open()?;
        if !self.waiting.is_empty() {
            lock(&self.opened).write(&self.waiting, self.waiting_at)?;
        }
        let (pool, path) = (Arc::clone(&self.pool), self.path.clone());
        Ok(Box::new(Far { pool, path, opened: Arc::clone(&self.opened) }))
    }

    /// Sends what is left, closes the file, and gives it its time: a server may set the time of the
    /// last write when a file is closed. A share keeps no permission bits.
    fn dress(&mut self, _: u32, mtime_ns: Option<i64>) -> io::Result<()> {
        self.is_open()?;
        let mut opened = lock(&self.opened);
        opened.settle()?;
        let (handle, offset) = (opened.handle, self.waiting_at);
        let (path, data) = (self.path.as_str(), self.waiting.as_slice());
        let within = opened.within;
        // What is to be expected; whoever puts it in place looks whether it is so.
        let expected = mtime_ns.zip(self.length).map(|(mtime_ns, size)| {
            let mtime_ns = mtime_ns - mtime_ns.rem_euclid(1_000);
            Stat { size, mtime_ns, ..Stat::default() }
        });
        let look = expected.is_none() || !self.pool.keeps_times();
        let finish = Finish { handle, path, offset, data, mtime_ns, look };
        match opened.lease.ask(&Request::Finish(finish), within) {
            Ok(Reply::Stat(stat)) => {
                opened.closed = true;
                self.finished = Some(stat);
                let is_expected = |e: Stat| (e.size, e.mtime_ns) == (stat.size, stat.mtime_ns);
                if expected.is_some_and(is_expected) {
                    self.pool.found_to_keep_times();
                }
                Ok(())
            }
            Ok(Reply::Done) => {
                opened.closed = true;
                self.finished = expected;
                Ok(())
            }
            Ok(_) => Err(opened.lease.odd()),
            Err(error) => {
                // How far it came is not known; and a library that could not set a time once sets
                // only whole seconds from then on.
                opened.closed = true;
                opened.lease.retire();
                Err(error)
            }
        }
    }

    /// libsmbclient has no flush: what the server took, and did not complain of when the file was
    /// closed, it has to keep.
    fn sync(&mut self) -> io::Result<()> {
        if self.finished.is_some() {
            return Ok(());
        }
        self.send_waiting()?;
        lock(&self.opened).settle()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        if let Some(stat) = self.finished {
            return Ok(stamp(stat));
        }
        let mut opened = lock(&self.opened);
        if !self.waiting.is_empty() {
            opened.write(&self.waiting, self.waiting_at)?;
        }
        opened.look().map(stamp)
    }
}
