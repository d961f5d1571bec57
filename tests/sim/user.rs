//! People at work: what they do to the trees, and what they expect to find again.

use homeport_sync::fs::{How, TEMP_PREFIX};

use crate::chance::Chance;
use crate::disk::{Body, Node};
use crate::ledger::{Claim, Key, Moved, key_of, tree};
use crate::state::{Core, SHARE, join};
use crate::volume::size_and_time;

const NAMES: &[&str] = &["a", "b", "c d", "e.txt", "f"];
const ODD_NAMES: &[&str] =
    &["A", "\u{e9}", "e\u{301}", "x\ny", "[a]*", ".hid", "-r", "%41", "CON", "b.", "a b~"];
const TEXTS: &[&str] = &["a", "../a", "/etc/passwd", "../outside/precious", "b/c d", "."];
const DEPTH_MAX: usize = 3;
const ITEMS_MAX: usize = 45;

/// What people can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Write,
    Edit,
    Save,
    Remove,
    RemoveAll,
    Move,
    Swap,
    Case,
    Link,
    TurnAround,
    SetBack,
    Folder,
    Copy,
    SecondName,
}

const DEEDS: &[Deed] = &[
    Deed::Write,
    Deed::Edit,
    Deed::Save,
    Deed::Remove,
    Deed::RemoveAll,
    Deed::Move,
    Deed::Swap,
    Deed::Case,
    Deed::Link,
    Deed::TurnAround,
    Deed::SetBack,
    Deed::Folder,
    Deed::Copy,
    Deed::SecondName,
];

/// How the people of this world are.
#[derive(Debug)]
pub struct Users {
    pub chance: Chance,
    pub names: Vec<&'static str>,
    pub deeds: Vec<Deed>,
    /// How often what they write is made durable at once.
    pub sync_percent: u64,
    /// How often content has the size that others have.
    pub same_size_percent: u64,
    /// Whether they are at work between two runs and in them, or only between.
    pub disks: Vec<usize>,
}

impl Users {
    pub fn new(mut chance: Chance, disks: Vec<usize>) -> Self {
        let few = 3 + chance.index(3);
        let mut names = NAMES[..few].to_vec();
        if chance.one_in(3) {
            (0..3).for_each(|_| names.push(*chance.pick(ODD_NAMES)));
        }
        let mut deeds = DEEDS.to_vec();
        // Each world has people who like some things, and never do others.
        deeds.retain(|_| chance.percent(65));
        deeds.push(Deed::Write);
        deeds.push(*chance.pick(DEEDS));
        let sync_percent = *chance.pick(&[0, 50, 100]);
        let same_size_percent = *chance.pick(&[0, 50, 100]);
        Self { chance, names, deeds, sync_percent, same_size_percent, disks }
    }
}

/// Somebody does something between two calls of the engine, mostly where it works.
pub fn meanwhile(core: &mut Core, seat: usize) {
    let disk = if core.users.chance.one_in(2) { SHARE } else { seat };
    act(core, disk);
    if core.users.chance.one_in(2) {
        let while_it_lasts = core.users.chance.below(30_000_000_000) as i64;
        core.pass_time(while_it_lasts);
    }
}

/// Somebody does something on one disk.
pub fn act(core: &mut Core, disk: usize) {
    let deed = *core.users.chance.pick(&core.users.deeds.clone());
    let nanoseconds = match core.users.chance.below(3) {
        0 => 1_000,
        1 => core.users.chance.below(3_000_000) as i64,
        _ => core.users.chance.below(5_000_000_000) as i64,
    };
    core.pass_time(nanoseconds);
    core.counts.edits += 1;
    let mut person = Person { core, disk };
    person.act(deed);
    if core.users.sync_percent == 100 {
        // Careful people: nothing that they do is lost with the power.
        core.disks[disk].flush();
        core.ledger.secured(disk);
    }
}

struct Person<'c> {
    core: &'c mut Core,
    disk: usize,
}

impl Person<'_> {
    fn chance(&mut self) -> &mut Chance {
        &mut self.core.users.chance
    }

    fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        let disk = self.disk;
        self.core.tell(format_args!("    user on {disk}: {line}"));
    }

    /// A place in the tree, taken or not: a folder that is there, and a name.
    fn any_place(&mut self) -> String {
        let tree = self.core.tree(self.disk);
        let disk = &self.core.disks[self.disk];
        let mut folders = vec![String::new()];
        let shallow = |path: &&String| path.matches('/').count() + 1 < DEPTH_MAX;
        let is_folder = |path: &&String| disk.is_folder(tree[*path]);
        folders.extend(tree.keys().filter(is_folder).filter(shallow).cloned());
        let folder = self.chance().pick(&folders).clone();
        let names = self.core.users.names.clone();
        let name = *self.chance().pick(&names);
        join(&folder, name)
    }

    /// Something that is there, of some kind.
    fn something(&mut self, wanted: impl Fn(&Body) -> bool) -> Option<String> {
        let disk = &self.core.disks[self.disk];
        let tree = self.core.tree(self.disk);
        let ours = |path: &str| !path.contains(".homeport-");
        let found: Vec<String> = tree
            .into_iter()
            .filter(|(path, node)| ours(path) && wanted(&disk.inode(*node).body))
            .map(|(path, _)| path)
            .collect();
        if found.is_empty() { None } else { Some(self.chance().pick(&found).clone()) }
    }

    fn file(&mut self) -> Option<String> {
        self.something(|body| matches!(body, Body::File(_)))
    }

    fn act(&mut self, deed: Deed) {
        let is_full = self.core.tree(self.disk).len() > ITEMS_MAX;
        match deed {
            Deed::Write | Deed::Copy | Deed::Folder | Deed::Link if is_full => {
                let path = self.something(|_| true);
                path.into_iter().for_each(|path| self.remove(&path));
            }
            Deed::Write => {
                let path = self.any_place();
                self.write(&path, false, None);
            }
            Deed::Edit => {
                let path = self.file();
                path.into_iter().for_each(|path| self.write(&path, true, None));
            }
            Deed::Save => {
                let path = self.file();
                path.into_iter().for_each(|path| self.write(&path, false, None));
            }
            Deed::SetBack => {
                let Some(path) = self.file() else { return };
                let back = self.chance().below(40) as i64 * 1_000_000_000;
                let in_place = self.chance().one_in(2);
                self.write(&path, in_place, Some(back));
            }
            Deed::Remove => {
                let path = self.something(|body| *body != Body::Folder);
                path.into_iter().for_each(|path| self.remove(&path));
            }
            Deed::RemoveAll => {
                let path = self.something(|body| *body == Body::Folder);
                path.into_iter().for_each(|path| self.remove(&path));
            }
            Deed::Move => {
                let path = self.something(|_| true);
                let to = self.any_place();
                path.into_iter().for_each(|path| self.rename(&path, &to));
            }
            Deed::Swap => self.swap(),
            Deed::Case => self.change_case(),
            Deed::Folder => {
                let path = self.any_place();
                self.make_folder(&path);
            }
            Deed::Link => self.make_link(),
            Deed::TurnAround => self.turn_around(),
            Deed::Copy => self.copy(),
            Deed::SecondName => self.second_name(),
        }
    }

    fn swap(&mut self) {
        let (Some(one), Some(other)) = (self.something(|_| true), self.something(|_| true)) else {
            return;
        };
        let nested = |a: &str, b: &str| a.starts_with(&format!("{b}/")) || a == b;
        if nested(&one, &other) || nested(&other, &one) {
            return;
        }
        self.rename(&one, "~swap");
        self.rename(&other, &one);
        self.rename("~swap", &other);
    }

    fn change_case(&mut self) {
        let Some(path) = self.something(|_| true) else { return };
        let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let upper = name.to_uppercase();
        let other = if upper == name { name.to_lowercase() } else { upper };
        self.rename(&path, &join(above, &other));
    }

    /// A file becomes a folder with something in it, or the other way round.
    fn turn_around(&mut self) {
        let Some(path) = self.something(|_| true) else { return };
        let was_folder = self.is_folder(&path);
        self.remove(&path);
        if was_folder {
            self.write(&path, false, None);
        } else if self.make_folder(&path) {
            let name = *self.chance().pick(NAMES);
            self.write(&join(&path, name), false, None);
        }
    }

    fn is_folder(&self, path: &str) -> bool {
        let node = self.core.node_at(self.disk, path);
        node.is_some_and(|node| self.core.disks[self.disk].is_folder(node))
    }

    /// The folder and name of a path, if the folder is there.
    fn place(&self, path: &str) -> Option<(Node, String)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let root = self.core.root(self.disk);
        let folder = self.core.disks[self.disk].folder(root, parent).ok()?;
        Some((folder, name.to_owned()))
    }

    /// What is under a path now will not be there any more, and somebody knows.
    fn let_go(&mut self, path: &str) {
        let Some(node) = self.core.node_at(self.disk, path) else { return };
        let mut paths = vec![(path.to_owned(), node)];
        let below = tree(&self.core.disks[self.disk], node);
        paths.extend(below.into_iter().map(|(below, node)| (join(path, &below), node)));
        for (path, node) in paths {
            if let Some(key) = self.core.key(self.disk, node) {
                let (size, time) = size_and_time(&self.core.disks[self.disk], node);
                let stamp = (self.core.ledger.folded(&path), size, time, self.disk);
                self.core.ledger.let_gone_stamps.insert(stamp);
                self.let_go_of(key, &path);
            }
        }
    }

    fn let_go_of(&mut self, key: Key, path: &str) {
        let mut ledger = std::mem::take(&mut self.core.ledger);
        ledger.let_go(self.disk, key, path, |path| self.core.key_at(self.disk, path) == Some(key));
        self.core.ledger = ledger;
    }

    fn content(&mut self) -> (u32, Vec<u8>) {
        let number = self.core.ledger.next_number();
        let mut text = format!("v{number} ").into_bytes();
        let percent = self.core.users.same_size_percent;
        let size = if self.chance().percent(percent) {
            64
        } else {
            match self.chance().below(4) {
                0 => 12 + self.chance().index(30),
                1 => 100 + self.chance().index(4_000),
                _ => 5_000 + self.chance().index(12_000),
            }
        };
        let filler = text.clone();
        while text.len() < size {
            let more = filler.len().min(size - text.len());
            text.extend_from_slice(&filler[..more]);
        }
        (number, text)
    }

    /// Writes a new version, if there is a place for it.
    fn write(&mut self, path: &str, in_place: bool, back_ns: Option<i64>) {
        let Some((folder, name)) = self.place(path) else { return };
        let (number, data) = self.content();
        let disk = self.disk;
        let old = self.core.disks[disk].child(folder, &name);
        if old.is_some_and(|old| self.core.disks[disk].is_folder(old)) {
            return;
        }
        let is_file = |node: &Node| self.core.disks[disk].data(*node).is_ok();
        let node = if let Some(node) = old.filter(|node| in_place && is_file(node)) {
            self.write_into(node, &data);
            node
        } else {
            // A power cut may have left one.
            let (above, _) = path.rsplit_once('/').unwrap_or(("", path));
            self.let_go(&join(above, "~new"));
            let _ = self.core.disks[disk].remove(folder, "~new");
            let Ok(node) = self.core.disks[disk].create(folder, "~new") else { return };
            self.core.disks[disk].set_data(node, data.clone());
            self.let_go(path);
            let how = How::Replace;
            let renamed = self.core.disks[disk].rename((folder, "~new"), (folder, &name), how);
            renamed.expect("a file can replace a file");
            node
        };
        let key = key_of(&self.core.disks[disk].inode(node).body).unwrap();
        self.core.disks[disk].nodes.get_mut(&node).unwrap().users = true;
        let time = back_ns.map(|back_ns| self.core.now - back_ns);
        self.core.disks[disk].dress(node, 0o644, time);
        self.core.ledger.learn(key, number, false);
        let story = format!("written to {path:?} on disk {disk}");
        self.core.ledger.claim(disk, key, path, Claim::new(Some(disk), story));
        let how = if in_place { "edits" } else { "saves" };
        self.tell(format_args!("{how} {path:?} v{number} back={back_ns:?}"));
        let percent = self.core.users.sync_percent;
        if self.chance().percent(percent) {
            self.sync(path, node, key);
        }
    }

    /// Overwrites a file, under all its names.
    fn write_into(&mut self, node: Node, data: &[u8]) {
        let key = self.core.key(self.disk, node).unwrap();
        let tree = self.core.tree(self.disk);
        let names = tree.into_iter().filter(|(_, other)| *other == node).map(|(path, _)| path);
        for path in names.collect::<Vec<_>>() {
            self.let_go_of(key, &path);
        }
        self.core.disks[self.disk].set_data(node, data.to_vec());
    }

    fn sync(&mut self, path: &str, node: Node, key: Key) {
        let disk = self.disk;
        self.core.disks[disk].sync_file(node);
        let root = self.core.root(disk);
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        for above in std::iter::once("").chain(above) {
            let folder = self.core.disks[disk].folder(root, above);
            folder.into_iter().for_each(|folder| self.core.disks[disk].sync_folder(folder));
        }
        let place = (key, self.core.ledger.folded(path));
        if let Some(claim) = self.core.ledger.claims.get_mut(&place) {
            claim.risk = None;
        }
        self.tell(format_args!("syncs {path:?}"));
    }

    fn remove(&mut self, path: &str) {
        let Some((folder, name)) = self.place(path) else { return };
        if self.is_folder(path) {
            // Its own unfinished files may be in it.
            let below: Vec<String> = self.names_in(path);
            for name in below {
                self.remove(&join(path, &name));
            }
            let _ = self.core.disks[self.disk].remove_folder(folder, &name);
        } else {
            self.let_go(path);
            let _ = self.core.disks[self.disk].remove(folder, &name);
        }
        self.tell(format_args!("removes {path:?}"));
    }

    fn names_in(&self, path: &str) -> Vec<String> {
        let disk = &self.core.disks[self.disk];
        let folder = disk.folder(self.core.root(self.disk), path).unwrap();
        disk.names[&folder].keys().cloned().collect()
    }

    fn rename(&mut self, path: &str, to: &str) {
        let (Some((folder, name)), Some((target, leaf))) = (self.place(path), self.place(to))
        else {
            return;
        };
        let disk = self.disk;
        let Some(node) = self.core.disks[disk].child(folder, &name) else { return };
        let over = self.core.disks[disk].child(target, &leaf);
        if over == Some(node) && path == to {
            return;
        }
        let mut trial = self.core.disks[disk].clone();
        if trial.rename((folder, &name), (target, &leaf), How::Replace).is_err()
            || (over == Some(node) && !trial.knobs.ignores_case)
        {
            return; // also two names of one file: nothing happens
        }
        // What is claimed goes with it; what it replaces goes.
        if over != Some(node) {
            self.let_go(to);
        }
        let mut moved = vec![(String::new(), node)];
        moved.extend(tree(&self.core.disks[disk], node));
        let mut claims = Vec::new();
        for (below, node) in moved {
            let Some(key) = self.core.key(disk, node) else { continue };
            let was = if below.is_empty() { path.to_owned() } else { join(path, &below) };
            let now = if below.is_empty() { to.to_owned() } else { join(to, &below) };
            let before = self.core.ledger.claim_of(key, &was).cloned();
            // Who moves a folder says nothing of each file in it that somebody else let go.
            if (!below.is_empty() && before.is_none()) || now.contains(TEMP_PREFIX) {
                continue;
            }
            let story = format!("moved from {was:?} to {now:?} on disk {disk}");
            let mut claim = Claim::new(before.as_ref().and_then(|claim| claim.risk), story);
            if let Some(before) = &before {
                claim.trail.clone_from(&before.trail);
                // Who moves a folder does not bring back what a power cut took from the share.
                claim.pinned = below.is_empty() || before.pinned;
            }
            claim.trail.push(self.core.ledger.folded(&was));
            let before = before.map(|before| (self.core.ledger.folded(&was), Box::new(before)));
            claim.moved = Some(Moved { disk, before });
            claims.push((key, now, claim));
        }
        self.let_go(path);
        if self.core.disks[disk].is_folder(node) {
            let folder = self.core.ledger.folded(path);
            self.core.ledger.moved_folders.insert((folder, disk));
        }
        self.core.disks[disk] = trial;
        for (key, path, claim) in claims {
            self.core.ledger.claim(disk, key, &path, claim);
        }
        self.tell(format_args!("moves {path:?} to {to:?}"));
    }

    fn make_folder(&mut self, path: &str) -> bool {
        let Some((folder, name)) = self.place(path) else { return false };
        let made = self.core.disks[self.disk].make_folder(folder, &name, 0o755).is_ok();
        if made {
            self.tell(format_args!("makes the folder {path:?}"));
        }
        made
    }

    fn make_link(&mut self) {
        let path = self.any_place();
        let text = *self.chance().pick(TEXTS);
        let Some((folder, name)) = self.place(&path) else { return };
        let number = self.core.ledger.next_number();
        let text = format!("{text}#{number}");
        let Ok(node) = self.core.disks[self.disk].make_link(folder, &name, &text) else { return };
        let key = self.core.key(self.disk, node).unwrap();
        self.core.ledger.learn(key, number, false);
        let story = format!("the link made as {path:?} on disk {}", self.disk);
        self.core.ledger.claim(self.disk, key, &path, Claim::new(Some(self.disk), story));
        self.tell(format_args!("makes the link {path:?} v{number}"));
    }

    fn copy(&mut self) {
        let (Some(path), to) = (self.file(), self.any_place()) else { return };
        let Some((folder, name)) = self.place(&to) else { return };
        let node = self.core.node_at(self.disk, &path).unwrap();
        let data = self.core.disks[self.disk].data(node).unwrap().to_vec();
        let key = self.core.key(self.disk, node).unwrap();
        let Ok(copy) = self.core.disks[self.disk].create(folder, &name) else { return };
        self.core.disks[self.disk].set_data(copy, data);
        self.core.disks[self.disk].nodes.get_mut(&copy).unwrap().users = true;
        let story = format!("copied from {path:?} to {to:?} on disk {}", self.disk);
        self.core.ledger.claim(self.disk, key, &to, Claim::new(Some(self.disk), story));
        self.tell(format_args!("copies {path:?} to {to:?}"));
    }

    fn second_name(&mut self) {
        let (Some(path), to) = (self.file(), self.any_place()) else { return };
        let (Some((folder, name)), Some((target, leaf))) = (self.place(&path), self.place(&to))
        else {
            return;
        };
        let disk = &mut self.core.disks[self.disk];
        if disk.add_name((folder, &name), (target, &leaf)).is_ok() {
            let key = self.core.key_at(self.disk, &to).unwrap();
            let story = format!("{to:?} made a second name of {path:?} on disk {}", self.disk);
            self.core.ledger.claim(self.disk, key, &to, Claim::new(Some(self.disk), story));
            self.tell(format_args!("gives {path:?} the second name {to:?}"));
        }
    }
}
