//! Pins: what is always stored on this computer, and for whom.
//!
//! As in Offline Files, a pin of one person protects an item for everybody on the computer; who may
//! read it is another matter. A pin of a folder covers everything in it.

use std::collections::BTreeMap;
use std::io;

use crate::content::read_full;
use crate::engine::SyncError;
use crate::fs::Tree;
use crate::item::Kind;
use crate::journal::{Journal, JournalError, Readers, Record};
use crate::look::Stop;
use crate::names::{Rules, fold};
use crate::path::{above_and, name, parent};
use crate::reconcile::Action;
use crate::report::Did;
use crate::run::Run;
use crate::shortcut::{self, SHORTCUT_BYTES_MAX, Shortcut, is_shortcut};
use crate::walk::Delta;

/// Pinned by the user.
pub const USER: u32 = 0x20;
/// Pinned for the user by policy; the user cannot undo it.
pub const USER_POLICY: u32 = 0x40;
/// Pinned for everybody on this computer.
pub const ALL: u32 = 0x80;
/// Pinned because a redirected folder lies here.
pub const REDIRECTED: u32 = 0x100;

/// The pins of a pair.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    by_path: BTreeMap<String, u32>,
    everything: u32,
}

impl Pins {
    /// From the journal's list, and for whom everything is pinned.
    pub fn new(list: Vec<(String, u32)>, everything: u32) -> Self {
        Self { by_path: list.into_iter().collect(), everything }
    }

    /// For whom a path is pinned, itself or by a folder above it.
    pub fn who(&self, path: &str) -> u32 {
        let own =
            above_and(path).filter_map(|at| self.by_path.get(at)).fold(0, |all, who| all | who);
        own | self.everything | self.by_path.get("").copied().unwrap_or(0)
    }

    /// Whether anybody pinned a path.
    pub fn covers(&self, path: &str) -> bool {
        self.who(path) != 0
    }
}

impl Journal {
    /// Pins a path for somebody; gives for whom it is pinned then.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn pin(&mut self, path: &str, who: u32) -> Result<u32, JournalError> {
        let before = Pins::new(self.pins()?, 0).by_path.get(path).copied().unwrap_or(0);
        self.apply(&[Record::Pin(path.to_owned(), before | who)])?;
        Ok(before | who)
    }

    /// Takes somebody's pin of a path away; gives for whom it is pinned still.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn unpin(&mut self, path: &str, who: u32) -> Result<u32, JournalError> {
        let before = Pins::new(self.pins()?, 0).by_path.get(path).copied().unwrap_or(0);
        self.apply(&[Record::Pin(path.to_owned(), before & !who)])?;
        Ok(before & !who)
    }

    /// Suspends a folder, or takes that back: runs that nobody asked for leave it alone.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn suspend(&mut self, path: &str, suspended: bool) -> Result<(), JournalError> {
        self.apply(&[Record::Suspended(path.to_owned(), suspended)])
    }
}

/// Pins what came in new from the share in pinned folders, and the files that new links and shortcuts
/// in them lead to.
///
/// # Errors
/// When the journal fails. A shortcut that cannot be read is told as an item of the report.
pub fn pin_new(run: &mut Run<'_, '_>, pins: &Pins, deltas: &[Delta]) -> Result<(), SyncError> {
    if run.options.pin_new == 0 {
        return Ok(());
    }
    let (readers, mut records) = (run.journal.readers(), Vec::new());
    for delta in deltas {
        let is_new = delta.action == Action::CopyIn && delta.base.is_none();
        if !is_new || !pins.covers(parent(&delta.path)) {
            continue;
        }
        let target = match run.options.pin_link_targets {
            true => target(run, &readers, delta, run.options.root_unc.as_deref())?,
            false => None,
        };
        for path in [Some(delta.path.clone()), target].into_iter().flatten() {
            let who = pins.by_path.get(&path).copied().unwrap_or(0) | run.options.pin_new;
            records.push(Record::Pin(path, who));
        }
    }
    run.write(&mut records)
}

/// The file of this tree that a new link or shortcut leads to. `root_unc` is the network path of the
/// tree's root, where it is known.
fn target(
    run: &mut Run<'_, '_>,
    readers: &Readers,
    delta: &Delta,
    root_unc: Option<&str>,
) -> Result<Option<String>, SyncError> {
    let (path, folder) = (delta.path.as_str(), parent(&delta.path));
    let Some(entry) = &delta.there else { return Ok(None) };
    if let Some(text) = entry.link.as_deref() {
        let Some(target) = inside(folder, text) else { return Ok(None) };
        let row = run.journal.item(&target)?;
        let is_file = row.is_some_and(|row| row.base.content.kind() == Kind::File);
        return Ok(is_file.then_some(target));
    }
    if entry.kind != Kind::File || !is_shortcut(name(path)) {
        return Ok(None);
    }
    // A path relative to the shortcut holds wherever the tree is mounted, so it is tried first.
    let Shortcut { relative, network } = shortcut_at(run, path).unwrap_or_default();
    let relative = relative.and_then(|text| inside(folder, &text.replace('\\', "/")));
    let network = network.zip(root_unc).and_then(|(network, root)| below(root, &network));
    for target in [relative, network].into_iter().flatten() {
        if let Some(file) = file_at(run, readers, &target)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Reads a shortcut that came in. What was not brought in has a verdict already; damaged ones lead
/// nowhere, as on Windows.
fn shortcut_at(run: &mut Run<'_, '_>, path: &str) -> Option<Shortcut> {
    match shortcut_bytes(run.sides.local, path) {
        Ok(bytes) => bytes.and_then(|bytes| shortcut::read(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            run.note(path, Did::Scan, Stop::Io("read", error).verdict(path));
            None
        }
    }
}

fn shortcut_bytes(tree: &Tree<'_>, path: &str) -> io::Result<Option<Vec<u8>>> {
    let file = tree.read(path)?;
    let size = file.stamp()?.size;
    if size > SHORTCUT_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    let filled = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(Some(bytes))
}

/// The known file at a path, as the journal writes it. Windows makes no difference of case: where no
/// name is the same, one counts that differs in nothing else; of several the first by its bytes.
fn file_at(
    run: &Run<'_, '_>,
    readers: &Readers,
    wanted: &str,
) -> Result<Option<String>, SyncError> {
    if let Some(row) = run.journal.item(wanted)? {
        return Ok((row.base.content.kind() == Kind::File).then(|| wanted.to_owned()));
    }
    let parts: Vec<String> = wanted.split('/').map(folded).collect();
    let mut found: Option<String> = None;
    readers.each(|path, row| {
        let depth = path.matches('/').count();
        let fits = parts.get(depth).is_some_and(|part| *part == folded(name(path)));
        let is_whole = depth + 1 == parts.len();
        if fits && is_whole && row.base.content.kind() == Kind::File {
            found = Some(found.take().map_or(path.to_owned(), |first| first.min(path.to_owned())));
        }
        fits && !is_whole
    })?;
    Ok(found)
}

/// What is left of a name without its case.
fn folded(name: &str) -> String {
    fold(name, &Rules { ignores_case: true, ..Rules::POSIX })
}

/// Where a network path lies below another, if it does.
fn below(root: &str, path: &str) -> Option<String> {
    let mut parts = path.strip_prefix(r"\\")?.split('\\');
    for part in root.strip_prefix(r"\\")?.trim_end_matches('\\').split('\\') {
        parts.next().filter(|other| folded(other) == folded(part))?;
    }
    inside("", &parts.collect::<Vec<_>>().join("/"))
}

/// Where a link in a folder leads, if that is in the tree.
fn inside(folder: &str, text: &str) -> Option<String> {
    if text.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_path_is_looked_for_below_the_root_alone() {
        let root = r"\\Srv\share\dir";
        for (path, expected) in [
            (r"\\srv\Share\DIR\a\B.txt", Some("a/B.txt")),
            (r"\\srv\share\dir\a\..\b", Some("b")),
            (r"\\srv\share\dir", Some("")),
            (r"\\srv\share\dir\..\x", None),
            (r"\\srv\share\directory\x", None),
            (r"\\srv\share", None),
            (r"\\other\share\dir\x", None),
            (r"C:\dir\x", None),
            ("", None),
        ] {
            assert_eq!(below(root, path).as_deref(), expected, "{path}");
            assert_eq!(below(&format!(r"{root}\"), path).as_deref(), expected, "{path}");
        }
    }
}
