//! A disk in memory: what stands on it now, and what of that would survive a power cut.
//!
//! Names are changed by a log of whole operations. What was synced is in `durable`; the rest of the
//! log may be there after a crash or not (see `crash`). File data is durable page by page.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use homeport_sync::fs::{How, Traits};

/// Stands for a file, folder or link; never used twice (the *number* that it shows may be).
pub type Node = u64;
/// The folder that everything lies in.
pub const TOP: Node = 1;

pub const ENOENT: i32 = 2;
pub const EIO: i32 = 5;
pub const EACCES: i32 = 13;
const EEXIST: i32 = 17;
const EXDEV: i32 = 18;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const EINVAL: i32 = 22;
pub const ENOSPC: i32 = 28;
const ENAMETOOLONG: i32 = 36;
const ENOTEMPTY: i32 = 39;
const ELOOP: i32 = 40;
pub const EDQUOT: i32 = 122;

pub fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// How a file gets the content of another one without the engine reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyWhole {
    No,
    /// The kernel or the server copies.
    Copies,
    /// Blocks are shared.
    Shares,
}

/// What kind of disk it is.
#[derive(Clone, Copy, Debug)]
pub struct Knobs {
    pub reuses_numbers: bool,
    pub grain_ns: i64,
    pub stamps_tell: bool,
    pub flushes_whole: bool,
    pub exchanges: bool,
    pub hard_links: bool,
    pub ignores_case: bool,
    pub capacity: Option<u64>,
    pub copy_whole: CopyWhole,
    pub short_reads: bool,
    /// After a crash a prefix of the operations is there, as with a journalling file system;
    /// else any of them whose folder is there.
    pub ordered: bool,
    /// How far its clock is from true time.
    pub skew_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub mode: u32,
    pub mtime: i64,
    pub ctime: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Folder,
    File(Arc<Vec<u8>>),
    Link(String),
}

#[derive(Clone, Debug)]
pub struct Inode {
    pub body: Body,
    pub attributes: Attributes,
    /// The number that it shows.
    pub number: u64,
    pub names: u32,
    pub opened: u32,
    /// The data that survives a crash, if the data now does not.
    pub behind: Option<Arc<Vec<u8>>>,
    /// The attributes that survive a crash.
    pub kept: Attributes,
    /// `deceives` and `unseen` of what survives a crash.
    pub kept_flags: (bool, bool),
    /// Written by a user since it was last synced.
    pub users: bool,
    /// A power cut took its bytes and left the stamp that they had.
    pub deceives: bool,
    /// Written twice within one tick of the clock, and of one size: no stamp shows the second time.
    pub unseen: bool,
}

/// A place for a name.
pub type Slot = (Node, String);

/// One change of names, whole or not at all.
#[derive(Clone, Debug)]
pub enum Change {
    Add { at: Slot, node: Node },
    Drop { at: Slot, node: Node },
    Move { from: Slot, to: Slot, node: Node, over: Option<Node> },
    Exchange { one: Slot, other: Slot, nodes: (Node, Node) },
}

impl Change {
    pub fn slots(&self) -> [Option<&Slot>; 2] {
        match self {
            Self::Add { at, .. } | Self::Drop { at, .. } => [Some(at), None],
            Self::Move { from, to, .. } => [Some(from), Some(to)],
            Self::Exchange { one, other, .. } => [Some(one), Some(other)],
        }
    }
}

pub type Names = BTreeMap<Node, BTreeMap<String, Node>>;

#[derive(Clone, Debug)]
pub struct Disk {
    pub knobs: Knobs,
    pub nodes: BTreeMap<Node, Inode>,
    pub names: Names,
    pub durable: Names,
    pub log: Vec<Change>,
    /// True time; the disk's own clock is off by its skew.
    pub now: i64,
    next: Node,
    pub next_number: u64,
    pub free_numbers: BTreeSet<u64>,
}

impl Disk {
    pub fn new(knobs: Knobs, now: i64) -> Self {
        let mut disk = Self {
            knobs,
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            log: Vec::new(),
            now,
            next: TOP,
            next_number: 11,
            free_numbers: BTreeSet::new(),
        };
        let top = disk.new_node(Body::Folder, 0o755);
        assert_eq!(top, TOP);
        disk.nodes.get_mut(&TOP).unwrap().names = 1;
        disk.flush();
        disk
    }

    pub fn traits(&self) -> Traits {
        Traits { stamps_tell: self.knobs.stamps_tell, flushes_whole: self.knobs.flushes_whole }
    }

    fn rounded(&self, time: i64) -> i64 {
        time - time.rem_euclid(self.knobs.grain_ns)
    }

    fn time(&self) -> i64 {
        self.rounded(self.now + self.knobs.skew_ns)
    }

    fn new_node(&mut self, body: Body, mode: u32) -> Node {
        let node = self.next;
        self.next += 1;
        let reused = self.free_numbers.first().copied().filter(|_| self.knobs.reuses_numbers);
        let number = reused.unwrap_or(self.next_number);
        if reused.is_none() {
            self.next_number += 1;
        }
        self.free_numbers.remove(&number);
        let attributes = Attributes { mode, mtime: self.time(), ctime: self.time() };
        if body == Body::Folder {
            self.names.insert(node, BTreeMap::new());
        }
        let (names, opened, behind) = (0, 0, None);
        let (users, deceives, unseen) = (false, false, false);
        let (kept, kept_flags) = (attributes, (false, false));
        let inode = Inode {
            body,
            attributes,
            number,
            names,
            opened,
            behind,
            kept,
            kept_flags,
            users,
            deceives,
            unseen,
        };
        self.nodes.insert(node, inode);
        node
    }

    pub fn inode(&self, node: Node) -> &Inode {
        &self.nodes[&node]
    }

    pub fn is_folder(&self, node: Node) -> bool {
        self.inode(node).body == Body::Folder
    }

    fn is_gone(&self, folder: Node) -> bool {
        self.inode(folder).names == 0
    }

    /// What a name leads to, and how it is really spelt.
    pub fn find(&self, folder: Node, name: &str) -> Option<(String, Node)> {
        let names = self.names.get(&folder)?;
        if let Some(node) = names.get(name) {
            return Some((name.to_owned(), *node));
        }
        if !self.knobs.ignores_case {
            return None;
        }
        let wanted = name.to_lowercase();
        let found = names.iter().find(|(name, _)| name.to_lowercase() == wanted);
        found.map(|(name, node)| (name.clone(), *node))
    }

    pub fn child(&self, folder: Node, name: &str) -> Option<Node> {
        self.find(folder, name).map(|(_, node)| node)
    }

    /// Opens a folder by path, as `Volume::folder`.
    pub fn folder(&self, root: Node, path: &str) -> io::Result<Node> {
        let mut at = root;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let node = self.child(at, part).ok_or_else(|| error(ENOENT))?;
            match self.inode(node).body {
                Body::Folder => at = node,
                Body::Link(_) => return Err(error(ELOOP)),
                Body::File(_) => return Err(error(ENOTDIR)),
            }
        }
        Ok(at)
    }

    fn touch(&mut self, node: Node) {
        let time = self.time();
        self.nodes.get_mut(&node).unwrap().attributes.ctime = time;
    }

    fn touch_folder(&mut self, folder: Node) {
        let time = self.time();
        let attributes = &mut self.nodes.get_mut(&folder).unwrap().attributes;
        (attributes.mtime, attributes.ctime) = (time, time);
    }

    fn make(&mut self, folder: Node, name: &str, body: Body, mode: u32) -> io::Result<Node> {
        check_name(name)?;
        if self.find(folder, name).is_some() {
            return Err(error(EEXIST));
        }
        if self.is_gone(folder) {
            return Err(error(ENOENT));
        }
        let node = self.new_node(body, mode);
        self.add(folder, name, node);
        Ok(node)
    }

    fn add(&mut self, folder: Node, name: &str, node: Node) {
        self.names.get_mut(&folder).unwrap().insert(name.to_owned(), node);
        self.nodes.get_mut(&node).unwrap().names += 1;
        self.touch(node);
        self.touch_folder(folder);
        self.log.push(Change::Add { at: (folder, name.to_owned()), node });
    }

    pub fn create(&mut self, folder: Node, name: &str) -> io::Result<Node> {
        let node = self.make(folder, name, Body::File(Arc::default()), 0o600)?;
        self.nodes.get_mut(&node).unwrap().behind = Some(Arc::default());
        Ok(node)
    }

    pub fn make_link(&mut self, folder: Node, name: &str, text: &str) -> io::Result<Node> {
        self.make(folder, name, Body::Link(text.to_owned()), 0o777)
    }

    pub fn make_folder(&mut self, folder: Node, name: &str, mode: u32) -> io::Result<Node> {
        self.make(folder, name, Body::Folder, mode & !0o022)
    }

    fn release(&mut self, node: Node) {
        let inode = self.nodes.get_mut(&node).unwrap();
        inode.names -= 1;
        self.touch(node);
        self.free(node);
    }

    fn free(&mut self, node: Node) {
        let inode = self.inode(node);
        if inode.names == 0 && inode.opened == 0 {
            self.free_numbers.insert(inode.number);
        }
    }

    pub fn opened(&mut self, node: Node) {
        self.nodes.get_mut(&node).unwrap().opened += 1;
    }

    pub fn closed(&mut self, node: Node) {
        // A crash or a restored snapshot may have taken it in between.
        if let Some(inode) = self.nodes.get_mut(&node) {
            inode.opened = inode.opened.saturating_sub(1);
            self.free(node);
        }
    }

    pub fn remove(&mut self, folder: Node, name: &str) -> io::Result<()> {
        let (name, node) = self.find(folder, name).ok_or_else(|| error(ENOENT))?;
        if self.is_folder(node) {
            return Err(error(EISDIR));
        }
        self.drop_name(folder, name, node);
        Ok(())
    }

    pub fn remove_folder(&mut self, folder: Node, name: &str) -> io::Result<()> {
        let (name, node) = self.find(folder, name).ok_or_else(|| error(ENOENT))?;
        if !self.is_folder(node) {
            return Err(error(ENOTDIR));
        }
        if !self.names[&node].is_empty() {
            return Err(error(ENOTEMPTY));
        }
        self.drop_name(folder, name, node);
        Ok(())
    }

    fn drop_name(&mut self, folder: Node, name: String, node: Node) {
        self.names.get_mut(&folder).unwrap().remove(&name);
        self.touch_folder(folder);
        self.release(node);
        self.log.push(Change::Drop { at: (folder, name), node });
    }

    /// Whether a folder is another one or lies in it.
    pub fn lies_in(names: &Names, folder: Node, above: Node) -> bool {
        folder == above
            || names
                .get(&above)
                .is_some_and(|below| below.values().any(|node| Self::lies_in(names, folder, *node)))
    }

    pub fn rename(&mut self, from: (Node, &str), to: (Node, &str), how: How) -> io::Result<()> {
        check_name(to.1)?;
        let (name, node) = self.find(from.0, from.1).ok_or_else(|| error(ENOENT))?;
        let found = self.find(to.0, to.1);
        if found.is_none() && self.is_gone(to.0) {
            return Err(error(ENOENT));
        }
        match how {
            How::New if found.is_some() => return Err(error(EEXIST)),
            How::Exchange if !self.knobs.exchanges => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            How::Exchange if found.is_none() => return Err(error(ENOENT)),
            _ => {}
        }
        if self.is_folder(node) && Self::lies_in(&self.names, to.0, node) {
            return Err(into_itself(how));
        }
        let Some((leaf, over)) = found else {
            self.move_name((from.0, name), (to.0, to.1.to_owned()), node, None);
            return Ok(());
        };
        if self.is_folder(over) && Self::lies_in(&self.names, from.0, over) {
            return Err(if how == How::Exchange { into_itself(how) } else { error(ENOTEMPTY) });
        }
        if over == node {
            if self.knobs.ignores_case && from.0 == to.0 && leaf == name && to.1 != name {
                self.move_name((from.0, name), (to.0, to.1.to_owned()), node, None);
            }
            return Ok(());
        }
        if how == How::Exchange {
            self.exchange((from.0, name), (to.0, leaf), (node, over));
            return Ok(());
        }
        match (self.is_folder(node), self.is_folder(over)) {
            (false, true) => return Err(error(EISDIR)),
            (true, false) => return Err(error(ENOTDIR)),
            (true, true) if !self.names[&over].is_empty() => return Err(error(ENOTEMPTY)),
            _ => {}
        }
        self.move_name((from.0, name), (to.0, leaf), node, Some(over));
        Ok(())
    }

    fn move_name(&mut self, from: Slot, to: Slot, node: Node, over: Option<Node>) {
        self.names.get_mut(&from.0).unwrap().remove(&from.1);
        self.names.get_mut(&to.0).unwrap().insert(to.1.clone(), node);
        self.touch(node);
        self.touch_folder(from.0);
        self.touch_folder(to.0);
        if let Some(over) = over {
            self.release(over);
        }
        self.log.push(Change::Move { from, to, node, over });
    }

    fn exchange(&mut self, one: Slot, other: Slot, nodes: (Node, Node)) {
        self.names.get_mut(&one.0).unwrap().insert(one.1.clone(), nodes.1);
        self.names.get_mut(&other.0).unwrap().insert(other.1.clone(), nodes.0);
        self.touch(nodes.0);
        self.touch(nodes.1);
        self.touch_folder(one.0);
        self.touch_folder(other.0);
        self.log.push(Change::Exchange { one, other, nodes });
    }

    pub fn add_name(&mut self, from: (Node, &str), to: (Node, &str)) -> io::Result<()> {
        check_name(to.1)?;
        let node = self.child(from.0, from.1).ok_or_else(|| error(ENOENT))?;
        if self.find(to.0, to.1).is_some() {
            return Err(error(EEXIST));
        }
        if self.is_gone(to.0) {
            return Err(error(ENOENT));
        }
        if self.is_folder(node) || !self.knobs.hard_links {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.add(to.0, to.1, node);
        Ok(())
    }

    pub fn open(&mut self, folder: Node, name: &str) -> io::Result<Node> {
        let node = self.child(folder, name).ok_or_else(|| error(ENOENT))?;
        if matches!(self.inode(node).body, Body::Link(_)) {
            return Err(error(ELOOP));
        }
        Ok(node)
    }

    pub fn data(&self, node: Node) -> io::Result<&Arc<Vec<u8>>> {
        match &self.inode(node).body {
            Body::File(data) => Ok(data),
            _ => Err(error(EISDIR)),
        }
    }

    fn used(&self) -> u64 {
        let live = self.nodes.values().filter(|inode| inode.names + inode.opened > 0);
        live.map(|inode| match &inode.body {
            Body::File(data) => data.len() as u64,
            _ => 0,
        })
        .sum()
    }

    /// Writes at a place; what survives a crash is then what was there before the first write.
    pub fn write(&mut self, node: Node, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut data = self.data(node)?.to_vec();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let growth = end.saturating_sub(data.len()) as u64;
        if self.knobs.capacity.is_some_and(|most| growth > 0 && self.used() + growth > most) {
            return Err(error(ENOSPC));
        }
        data.resize(data.len().max(end), 0);
        data[start..end].copy_from_slice(bytes);
        self.set_data(node, data);
        Ok(())
    }

    pub fn set_data(&mut self, node: Node, data: Vec<u8>) {
        let time = self.time();
        let inode = self.nodes.get_mut(&node).unwrap();
        let Body::File(old) = &mut inode.body else { return };
        let old = std::mem::replace(old, Arc::new(data));
        inode.unseen = inode.attributes.ctime == time && is_size_of(&inode.body, old.len());
        inode.behind.get_or_insert(old);
        inode.deceives = false;
        (inode.attributes.mtime, inode.attributes.ctime) = (time, time);
    }

    pub fn dress(&mut self, node: Node, mode: u32, mtime: Option<i64>) {
        let ctime = self.time();
        let mtime = mtime.unwrap_or(self.inode(node).attributes.mtime);
        let attributes = Attributes { mode, mtime: self.rounded(mtime), ctime };
        self.nodes.get_mut(&node).unwrap().attributes = attributes;
    }
}

fn is_size_of(body: &Body, size: usize) -> bool {
    matches!(body, Body::File(data) if data.len() == size)
}

pub fn crosses_disks() -> io::Error {
    error(EXDEV)
}

/// A folder into itself: where exchanging, the real one takes that for a disk that cannot.
fn into_itself(how: How) -> io::Error {
    if how == How::Exchange { io::ErrorKind::Unsupported.into() } else { error(EINVAL) }
}

fn check_name(name: &str) -> io::Result<()> {
    if name.len() > 255 { Err(error(ENAMETOOLONG)) } else { Ok(()) }
}
