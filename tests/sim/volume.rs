//! The engine's view of a simulated disk: each call is one effect, and passes the gate first.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::sync::{Arc, MutexGuard};

use homeport_sync::fs::{Folder, Gate, How, Look, Op, Reader, Traits, Volume, Writer};
use homeport_sync::{Entry, Kind, Stamp};

use crate::disk::{Body, CopyWhole, Disk, EIO, ENOENT, Node, crosses_disks, error};
use crate::state::{Core, Pass, Side};
use crate::world::World;

/// Which folder of which disk, as seen from which computer.
#[derive(Clone)]
pub struct View {
    pub world: Arc<World>,
    pub seat: usize,
    pub disk: usize,
    pub side: Side,
    pub root: Node,
}

impl View {
    /// Makes one call.
    fn call<T>(
        &self,
        call: &str,
        name: &str,
        effect: impl FnOnce(&mut Core) -> io::Result<T>,
    ) -> io::Result<T> {
        let (mut core, late) = loop {
            let mut core = self.world.core();
            match core.enter(self.seat, self.side, call, name)? {
                Pass::Go(late) => break (core, late),
                Pass::After(other) => {
                    drop(core);
                    World::run_meanwhile(&self.world, other);
                }
            }
        };
        let result = effect(&mut core);
        let (seat, side) = (self.seat, self.side);
        match &result {
            Ok(_) => core.tell(format_args!("{seat}: {side:?} {call} {name:?}")),
            Err(error) => core.tell(format_args!("{seat}: {side:?} {call} {name:?}: {error}")),
        }
        // What the answer holds locks the world when it is dropped.
        drop(core);
        late.map_or(result, Err)
    }

    /// Makes one call that changes something.
    fn change<T>(
        &self,
        call: &str,
        name: &str,
        effect: impl FnOnce(&mut Core) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call(call, name, |core| {
            let result = effect(core);
            if result.is_ok() {
                core.runs.get_mut(&self.seat).unwrap().changes += 1;
            }
            result
        })
    }

    fn file(&self, node: Node) -> SimFile {
        SimFile { view: self.clone(), node }
    }
}

impl Volume for View {
    fn traits(&self) -> Traits {
        self.world.core().disks[self.disk].traits()
    }

    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>> {
        if path.split('/').any(|part| matches!(part, "." | ".."))
            || (!path.is_empty() && path.split('/').any(str::is_empty))
        {
            self.world.core().wrong(format!("the engine opens the folder {path:?}"));
        }
        self.call("folder", path, |core| {
            let node = core.disks[self.disk].folder(self.root, path)?;
            let folder: Arc<dyn Folder> = Arc::new(SimFolder { view: self.clone(), node });
            Ok(folder)
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.call("flush", "", |core| {
            if !core.disks[self.disk].knobs.flushes_whole {
                return Err(io::ErrorKind::Unsupported.into());
            }
            core.disks[self.disk].flush();
            core.ledger.secured(self.disk);
            Ok(())
        })
    }
}

struct SimFolder {
    view: View,
    node: Node,
}

impl SimFolder {
    fn disk<'c>(&self, core: &'c mut Core) -> &'c mut Disk {
        &mut core.disks[self.view.disk]
    }

    fn check(&self, name: &str) {
        if matches!(name, "" | "." | "..") || name.contains('/') {
            self.view.world.core().wrong(format!("the engine uses the name {name:?}"));
        }
    }
}

pub fn look_of(disk: &Disk, node: Node) -> Look {
    let inode = disk.inode(node);
    let (kind, link) = match &inode.body {
        Body::Folder => (Kind::Dir, None),
        Body::File(_) => (Kind::File, None),
        Body::Link(text) => (Kind::Link, Some(text.clone().into_boxed_str())),
    };
    let shared = kind == Kind::File && inode.names > 1;
    let (stamp, mode) = (stamp_of(disk, node), inode.attributes.mode);
    Look::Entry(Entry { kind, stamp, mode, shared, link })
}

/// What of a stamp any disk shows.
pub fn size_and_time(disk: &Disk, node: Node) -> (u64, i64) {
    let stamp = stamp_of(disk, node);
    (stamp.size, stamp.mtime_ns)
}

fn stamp_of(disk: &Disk, node: Node) -> Stamp {
    let inode = disk.inode(node);
    let size = match &inode.body {
        Body::Folder => 4_096,
        Body::File(data) => data.len() as u64,
        Body::Link(text) => text.len() as u64,
    };
    let ctime_ns = if disk.knobs.stamps_tell { inode.attributes.ctime } else { 0 };
    Stamp { size, mtime_ns: inode.attributes.mtime, ctime_ns, inode: inode.number }
}

impl Folder for SimFolder {
    fn list(&self) -> io::Result<Vec<(OsString, Look)>> {
        self.view.call("list", "", |core| {
            let disk = self.disk(core);
            if disk.inode(self.node).names == 0 {
                return Err(error(ENOENT));
            }
            let names = disk.names[&self.node].iter();
            let mut list: Vec<(OsString, Look)> =
                names.map(|(name, node)| (name.into(), look_of(disk, *node))).collect();
            if core.cuts_short(self.view.seat, self.view.side) {
                list.truncate(list.len() / 2);
            }
            Ok(list)
        })
    }

    fn look(&self, name: &str) -> io::Result<Option<Look>> {
        self.check(name);
        self.view.call("look", name, |core| {
            let disk = self.disk(core);
            Ok(disk.child(self.node, name).map(|node| look_of(disk, node)))
        })
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Reader>> {
        self.check(name);
        self.view.call("open", name, |core| {
            let node = self.disk(core).open(self.node, name)?;
            self.disk(core).opened(node);
            let reader: Box<dyn Reader> = Box::new(self.view.file(node));
            Ok(reader)
        })
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        self.check(name);
        // A late failure leaves the file and gives no writer, so it is made after the call.
        let node = self.view.change("create", name, |core| {
            let node = self.disk(core).create(self.node, name)?;
            core.note_write(self.view.disk, node);
            Ok(node)
        })?;
        self.view.world.core().disks[self.view.disk].opened(node);
        Ok(Box::new(self.view.file(node)))
    }

    fn make_link(&self, name: &str, text: &str) -> io::Result<()> {
        self.check(name);
        self.view.change("make_link", name, |core| {
            self.disk(core).make_link(self.node, name, text)?;
            core.note_new(self.view.disk, self.node, name);
            Ok(())
        })
    }

    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        self.check(name);
        self.view.change("make_folder", name, |core| {
            self.disk(core).make_folder(self.node, name, mode).map(drop)
        })
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.check(name);
        self.view
            .change("remove_folder", name, |core| self.disk(core).remove_folder(self.node, name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check(name);
        self.view.change("remove", name, |core| {
            core.note_gone(self.view.seat, self.view.disk, self.node, name);
            self.disk(core).remove(self.node, name)
        })
    }

    fn rename(&self, name: &str, to: &dyn Folder, new: &str, how: How) -> io::Result<()> {
        self.check(name);
        self.check(new);
        let to = to.as_any().downcast_ref::<Self>().ok_or_else(crosses_disks)?;
        if to.view.disk != self.view.disk {
            return Err(crosses_disks());
        }
        let told = format!("{name} {how:?} {new}");
        self.view.change("rename", &told, |core| {
            let (seat, disk) = (self.view.seat, self.view.disk);
            core.note_gone(seat, disk, self.node, name);
            let over = match how {
                How::New => None,
                _ => core.note_gone(seat, disk, to.node, new),
            };
            self.disk(core).rename((self.node, name), (to.node, new), how)?;
            over.into_iter().for_each(|over| core.note_replaced(seat, over));
            core.note_new(disk, to.node, new);
            if how == How::Exchange {
                core.note_new(disk, self.node, name);
            }
            Ok(())
        })
    }

    fn add_name(&self, name: &str, to: &dyn Folder, new: &str) -> io::Result<()> {
        self.check(name);
        self.check(new);
        let to = to.as_any().downcast_ref::<Self>().ok_or_else(crosses_disks)?;
        if to.view.disk != self.view.disk {
            return Err(crosses_disks());
        }
        self.view.change("add_name", name, |core| {
            self.disk(core).add_name((self.node, name), (to.node, new))?;
            core.note_new(self.view.disk, to.node, new);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.view.call("sync_folder", "", |core| {
            self.disk(core).sync_folder(self.node);
            Ok(())
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct SimFile {
    view: View,
    node: Node,
}

impl SimFile {
    fn look(&self) -> io::Result<Stamp> {
        self.view.call("stamp", "", |core| Ok(stamp_of(&core.disks[self.view.disk], self.node)))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.view.world.core().disks[self.view.disk].closed(self.node);
    }
}

impl Reader for SimFile {
    fn stamp(&self) -> io::Result<Stamp> {
        self.look()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.view.call("read", "", |core| {
            let disk = &core.disks[self.view.disk];
            let data = disk.data(self.node)?;
            let start = data.len().min(offset as usize);
            let mut most = buffer.len();
            if disk.knobs.short_reads {
                most = most.min(1 + (offset as usize * 7 + 1_000) % 3_000);
            }
            let read = most.min(data.len() - start);
            buffer[..read].copy_from_slice(&data[start..start + read]);
            Ok(read)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.view.call("sync_file", "", |core| {
            core.disks[self.view.disk].sync_file(self.node);
            Ok(())
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Writer for SimFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.view.change("write", "", |core| {
            core.note_write(self.view.disk, self.node);
            core.disks[self.view.disk].write(self.node, bytes, offset)
        })
    }

    fn copy_whole(&mut self, from: &dyn Reader, may_copy: bool) -> io::Result<()> {
        let from = from.as_any().downcast_ref::<Self>();
        let from = from.filter(|from| from.view.disk == self.view.disk);
        self.view.change("copy_whole", "", |core| {
            let disk = &mut core.disks[self.view.disk];
            let can = match disk.knobs.copy_whole {
                CopyWhole::No => false,
                CopyWhole::Copies => may_copy,
                CopyWhole::Shares => true,
            };
            let Some(from) = from.filter(|_| can) else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            let data = disk.data(from.node)?.to_vec();
            disk.write(self.node, &data, 0)
        })
    }

    fn reader(&self) -> io::Result<Box<dyn Reader>> {
        self.view.world.core().disks[self.view.disk].opened(self.node);
        Ok(Box::new(self.view.file(self.node)))
    }

    fn dress(&mut self, mode: u32, mtime_ns: Option<i64>) -> io::Result<()> {
        self.view.change("dress", "", |core| {
            core.disks[self.view.disk].dress(self.node, mode, mtime_ns);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.view.call("sync_file", "", |core| {
            core.disks[self.view.disk].sync_file(self.node);
            Ok(())
        })
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.look()
    }
}

/// Counts the writing of the journal as a call, and lets nothing more happen after a cut.
pub struct SimGate {
    pub view: View,
}

impl Gate for SimGate {
    fn pass(&self, op: Op, path: &str) -> io::Result<()> {
        if op == Op::Journal {
            return self.view.call("journal", path, |_| Ok(()));
        }
        let core: MutexGuard<'_, Core> = self.view.world.core();
        if core.runs[&self.view.seat].was_cut { Err(error(EIO)) } else { Ok(()) }
    }
}
