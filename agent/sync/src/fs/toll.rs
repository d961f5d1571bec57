//! The share over a network that is paid for: every file byte is counted, and ends with a budget.
//!
//! What counts is what is read from and written to files there, also to compare or to prove them,
//! and also for a file that does not arrive. Names, listings and the protocol's own bytes do not.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Folder, How, InUse, Look, Reader, Traits, Volume, Writer};
use crate::item::Stamp;
use crate::scan::MARKER;

/// Most bytes of one call, so that a budget is asked often enough.
pub const CHUNK_BYTES: u64 = 256 << 10;

/// What an operation was refused with: the budget is used up. Not a failure; it goes on later.
#[derive(Debug, thiserror::Error)]
#[error("the data that may travel over this network is used up for now")]
pub struct OverBudget;

/// Counts the file bytes that cross to and from the share, and knows how many may.
#[derive(Debug)]
pub struct Toll {
    limit: AtomicU64,
    spent: AtomicU64,
    promised: AtomicU64,
}

impl Default for Toll {
    fn default() -> Self {
        let [spent, promised] = [AtomicU64::new(0), AtomicU64::new(0)];
        Self { limit: AtomicU64::new(u64::MAX), spent, promised }
    }
}

impl Toll {
    /// Begins anew, with so many bytes.
    pub fn start(&self, budget: u64) {
        self.limit.store(budget, Ordering::SeqCst);
        self.spent.store(0, Ordering::SeqCst);
        self.promised.store(0, Ordering::SeqCst);
    }

    /// Bytes that crossed so far, or are about to.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.spent.load(Ordering::SeqCst)
    }

    /// Sets bytes aside for a file that is to be carried whole; `false` where it does not fit, so
    /// that nothing is wasted on its beginning.
    pub(crate) fn promise(&self, bytes: u64) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let fits = |promised: u64| {
            let all = promised.max(self.spent()).saturating_add(bytes);
            (all <= limit).then_some(all)
        };
        self.promised.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    /// Spends up to so many bytes, and at least so few.
    fn take(&self, least: u64, most: u64) -> io::Result<u64> {
        let limit = self.limit.load(Ordering::SeqCst);
        let taken = |spent: u64| {
            let part = most.min(limit.saturating_sub(spent));
            (part >= least).then(|| spent.saturating_add(part))
        };
        match self.spent.fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken) {
            Ok(before) => Ok(most.min(limit.saturating_sub(before))),
            Err(_) => Err(io::Error::other(OverBudget)),
        }
    }

    /// What was taken and did not travel.
    fn give_back(&self, bytes: u64) {
        self.spent.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// Whether an operation was refused because the budget is used up.
pub fn is_over_budget(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<OverBudget>())
}

/// A volume behind a [`Toll`].
pub struct TollVolume {
    inner: Arc<dyn Volume>,
    toll: Arc<Toll>,
}

impl TollVolume {
    /// The volume, with its file bytes counted.
    pub fn new(inner: Arc<dyn Volume>, toll: Arc<Toll>) -> Self {
        Self { inner, toll }
    }
}

struct TollFolder(Arc<dyn Folder>, Arc<Toll>);
struct TollReader(Box<dyn Reader>, Arc<Toll>);
struct TollWriter(Box<dyn Writer>, Arc<Toll>);

impl Volume for TollVolume {
    fn traits(&self) -> Traits {
        self.inner.traits()
    }

    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>> {
        Ok(Arc::new(TollFolder(self.inner.folder(path)?, Arc::clone(&self.toll))))
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn in_use(&self) -> InUse {
        self.inner.in_use()
    }
}

/// The folder itself, where another one is behind a toll as well.
fn beyond(folder: &dyn Folder) -> &dyn Folder {
    folder.as_any().downcast_ref::<TollFolder>().map_or(folder, |toll| &*toll.0)
}

impl Folder for TollFolder {
    fn list(&self) -> io::Result<Vec<(OsString, Look)>> {
        self.0.list()
    }

    fn look(&self, name: &str) -> io::Result<Option<Look>> {
        self.0.look(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Reader>> {
        if name == MARKER {
            return self.0.open(name); // some bytes, without which nothing can be told
        }
        Ok(Box::new(TollReader(self.0.open(name)?, Arc::clone(&self.1))))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        if name == MARKER {
            return self.0.create(name);
        }
        Ok(Box::new(TollWriter(self.0.create(name)?, Arc::clone(&self.1))))
    }

    fn make_link(&self, name: &str, text: &str) -> io::Result<()> {
        self.0.make_link(name, text)
    }

    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        self.0.make_folder(name, mode)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.0.remove_folder(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn rename(&self, name: &str, to: &dyn Folder, new: &str, how: How) -> io::Result<()> {
        self.0.rename(name, beyond(to), new, how)
    }

    fn add_name(&self, name: &str, to: &dyn Folder, new: &str) -> io::Result<()> {
        self.0.add_name(name, beyond(to), new)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Reader for TollReader {
    fn stamp(&self) -> io::Result<Stamp> {
        self.0.stamp()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let most = CHUNK_BYTES.min(buffer.len() as u64);
        let taken = match self.1.take(1, most) {
            Ok(taken) => taken,
            // Nothing is left, and the end of a file costs nothing.
            Err(over) if most > 0 => {
                return if offset >= self.0.stamp()?.size { Ok(0) } else { Err(over) };
            }
            Err(_) => return Ok(0),
        };
        let read = self.0.read_at(&mut buffer[..taken as usize], offset);
        self.1.give_back(taken - read.as_ref().map_or(0, |read| *read as u64));
        read
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn as_any(&self) -> &dyn Any {
        self.0.as_any()
    }
}

impl Writer for TollWriter {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        for (number, part) in (0..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
            self.1.take(part.len() as u64, part.len() as u64)?;
            self.0.write_at(part, offset + number * CHUNK_BYTES)?;
        }
        Ok(())
    }

    /// Never: where the server does not copy by itself, the bytes would travel uncounted. And on a
    /// share whose stamps do not tell every change, what is patched is read back whole.
    fn copy_whole(&mut self, _: &dyn Reader, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reader(&self) -> io::Result<Box<dyn Reader>> {
        Ok(Box::new(TollReader(self.0.reader()?, Arc::clone(&self.1))))
    }

    fn dress(&mut self, mode: u32, mtime_ns: Option<i64>) -> io::Result<()> {
        self.0.dress(mode, mtime_ns)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.0.stamp()
    }
}
