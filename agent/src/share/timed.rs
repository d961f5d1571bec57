//! A volume whose calls are noted: see [`Calls`].

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use homeport_sync::Stamp;
use homeport_sync::fs::{Folder, How, InUse, Look, Reader, Traits, Volume, Writer};

use crate::share::calls::Calls;

/// A volume whose calls are noted.
struct Timed<T: ?Sized> {
    calls: Arc<Calls>,
    inner: T,
}

/// Notes the calls on a volume.
pub fn timed(inner: Arc<dyn Volume>, calls: Arc<Calls>) -> Arc<dyn Volume> {
    Arc::new(Timed { calls, inner })
}

impl<T> Timed<T> {
    fn wrap<U>(&self, inner: U) -> Timed<U> {
        Timed { calls: Arc::clone(&self.calls), inner }
    }
}

impl Volume for Timed<Arc<dyn Volume>> {
    fn traits(&self) -> Traits {
        self.inner.traits()
    }

    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>> {
        let inner = self.calls.short(|| self.inner.folder(path))?;
        Ok(Arc::new(self.wrap(inner)))
    }

    fn flush(&self) -> io::Result<()> {
        self.calls.carry(|| self.inner.flush(), |_| 0)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.calls.short(|| self.inner.free_bytes())
    }

    fn in_use(&self) -> InUse {
        self.inner.in_use()
    }
}

impl Folder for Timed<Arc<dyn Folder>> {
    // A large folder takes long to list over a far link, so that this has no end of its own.
    fn list(&self) -> io::Result<Vec<(OsString, Look)>> {
        self.inner.list()
    }

    fn look(&self, name: &str) -> io::Result<Option<Look>> {
        self.calls.short(|| self.inner.look(name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Reader>> {
        let inner = self.calls.short(|| self.inner.open(name))?;
        Ok(Box::new(self.wrap(inner)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        let inner = self.calls.short(|| self.inner.create(name))?;
        Ok(Box::new(self.wrap(inner)))
    }

    fn make_link(&self, name: &str, text: &str) -> io::Result<()> {
        self.calls.short(|| self.inner.make_link(name, text))
    }

    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        self.calls.short(|| self.inner.make_folder(name, mode))
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.calls.short(|| self.inner.remove_folder(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.calls.short(|| self.inner.remove(name))
    }

    fn rename(&self, name: &str, to: &dyn Folder, new: &str, how: How) -> io::Result<()> {
        self.calls.short(|| self.inner.rename(name, to, new, how))
    }

    fn add_name(&self, name: &str, to: &dyn Folder, new: &str) -> io::Result<()> {
        self.calls.short(|| self.inner.add_name(name, to, new))
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    /// The inner one: volumes look for their own kind.
    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }
}

impl Reader for Timed<Box<dyn Reader>> {
    fn stamp(&self) -> io::Result<Stamp> {
        self.calls.short(|| self.inner.stamp())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = || self.calls.short(|| self.inner.read_at(buffer, offset));
        self.calls.carry(read, |read| read.as_ref().map_or(0, |bytes| *bytes as u64))
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }
}

impl Writer for Timed<Box<dyn Writer>> {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let inner = &mut self.inner;
        let write = || self.calls.short(|| inner.write_at(bytes, offset));
        self.calls.carry(write, |done| done.as_ref().map_or(0, |()| bytes.len() as u64))
    }

    // Blocks that are shared, or copied by the server, say nothing about the link.
    fn copy_whole(&mut self, from: &dyn Reader, may_copy: bool) -> io::Result<()> {
        self.inner.copy_whole(from, may_copy)
    }

    fn reader(&self) -> io::Result<Box<dyn Reader>> {
        Ok(Box::new(self.wrap(self.inner.reader()?)))
    }

    fn dress(&mut self, mode: u32, mtime_ns: Option<i64>) -> io::Result<()> {
        let inner = &mut self.inner;
        self.calls.short(|| inner.dress(mode, mtime_ns))
    }

    // What was written so far may only travel now.
    fn sync(&mut self) -> io::Result<()> {
        let inner = &mut self.inner;
        self.calls.carry(|| inner.sync(), |_| 0)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.calls.short(|| self.inner.stamp())
    }
}
