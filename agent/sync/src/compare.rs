//! Turns two scans and the journal into what is to be done with every path.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::copy::{Stop, hash};
use crate::engine::Planned;
use crate::fs::Root;
use crate::item::{Base, Content, Entry, Kind, Stamp};
use crate::reconcile::{Action, Clash, reconcile};
use crate::report::{Did, ItemResult, Report};
use crate::scan::Tree;

/// A file changed within this time before its stamp was recorded may have changed again without
/// its stamp showing it (two seconds on FAT; shares are as coarse).
const RACY_NS: i64 = 2_000_000_000;

/// Everything a comparison looks at.
pub struct Compared<'a, 'g> {
    /// The open side here.
    pub local: &'a Root<'g>,
    /// The open side there.
    pub remote: &'a Root<'g>,
    /// What stands here.
    pub here: &'a Tree,
    /// What stands there.
    pub there: &'a Tree,
    /// What both agreed on.
    pub base: &'a HashMap<String, Base>,
}

/// Whether the stamp alone proves that a file is as recorded.
fn is_proven_same(entry: &Entry, base: &Base, recorded: Stamp) -> bool {
    entry.kind == Kind::File
        && matches!(base.content, Content::File(_))
        && entry.stamp == recorded
        && !is_racy(entry.stamp.mtime_ns, base.recorded_ns)
}

/// Whether a version was so new when it was recorded that its stamp proves nothing.
pub fn is_racy(mtime_ns: i64, recorded_ns: i64) -> bool {
    mtime_ns >= recorded_ns.saturating_sub(RACY_NS)
}

/// Whether an entry here differs from what both sides agreed on; what cannot be read counts as
/// changed.
pub fn is_changed(local: &Root<'_>, path: &str, entry: &Entry, base: &Base) -> bool {
    if is_proven_same(entry, base, base.here) {
        return false;
    }
    match (&entry.kind, &base.content) {
        (Kind::Dir, Content::Dir) => false,
        (Kind::Link, Content::Link(text)) => entry.link.as_ref() != Some(text),
        (Kind::File, Content::File(known)) if entry.stamp.size == base.here.size => {
            !hash(local, path, entry.stamp).is_ok_and(|hash| hash == *known)
        }
        _ => true,
    }
}

/// Decides for every path that either side or the journal knows. Paths about which nothing may be
/// concluded are left out altogether.
pub fn compare(sides: &Compared<'_, '_>, report: &mut Report) -> Vec<Planned> {
    let known = sides.here.entries.keys().chain(sides.there.entries.keys());
    let paths: BTreeSet<&String> = known.chain(sides.base.keys()).collect();
    let unknown: HashSet<&str> =
        sides.here.unknown.iter().chain(&sides.there.unknown).map(String::as_str).collect();
    let mut plan = Vec::with_capacity(paths.len());
    for path in paths {
        if lies_in(&unknown, path) {
            continue;
        }
        match decide(sides, path) {
            Ok(action) => plan.push(Planned { path: path.clone(), action }),
            Err(stop) => {
                let result = stop.verdict(path);
                report.note(ItemResult { path: path.clone(), action: Did::Scan, result });
            }
        }
    }
    keep_needed_folders(sides, &mut plan);
    plan
}

/// Whether a path or a folder above it is in a set.
pub fn lies_in(set: &HashSet<&str>, path: &str) -> bool {
    if set.is_empty() {
        return false;
    }
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.chain([path.len()]).any(|end| set.contains(&path[..end]))
}

fn decide(sides: &Compared<'_, '_>, path: &str) -> Result<Action, Stop> {
    let here = sides.here.entries.get(path);
    let there = sides.there.entries.get(path);
    let base = sides.base.get(path);
    let a = here.map(|entry| first_look(entry, base, base.map(|base| base.here)));
    let b = there.map(|entry| first_look(entry, base, base.map(|base| base.there)));
    let recorded = |base: &Base| (base.here.size, base.there.size);
    let sizes = base.map(recorded);
    let here = read_if_needed(sides.local, path, here, a, sizes.map(|s| s.0), there)?;
    let there_content = read_if_needed(
        sides.remote,
        path,
        there,
        b,
        sizes.map(|s| s.1),
        sides.here.entries.get(path),
    )?;
    Ok(reconcile(base.map(|base| &base.content), here.as_ref(), there_content.as_ref()))
}

/// The content of an entry as far as stamps tell it.
fn first_look(entry: &Entry, base: Option<&Base>, recorded: Option<Stamp>) -> Content {
    match entry.kind {
        Kind::Dir => Content::Dir,
        Kind::Link => Content::Link(entry.link.clone().unwrap_or_default()),
        Kind::File => match (base, recorded) {
            (Some(base), Some(recorded)) if is_proven_same(entry, base, recorded) => {
                base.content.clone()
            }
            _ => Content::Unread(Kind::File),
        },
    }
}

/// Reads a file only when its content can matter: its size is that of the recorded version, or of
/// the file on the other side.
fn read_if_needed(
    root: &Root<'_>,
    path: &str,
    entry: Option<&Entry>,
    content: Option<Content>,
    recorded_size: Option<u64>,
    other: Option<&Entry>,
) -> Result<Option<Content>, Stop> {
    let (Some(entry), Some(content)) = (entry, content) else { return Ok(None) };
    if !matches!(content, Content::Unread(_)) {
        return Ok(Some(content));
    }
    let size = entry.stamp.size;
    let twin = other.is_some_and(|other| other.kind == Kind::File && other.stamp.size == size);
    if recorded_size == Some(size) || twin {
        return Ok(Some(Content::File(hash(root, path, entry.stamp)?)));
    }
    Ok(Some(content))
}

/// Whether a copy would put a file or link where a folder is.
pub fn replaces_folder(sides: &Compared<'_, '_>, planned: &Planned) -> bool {
    let (from, to) = match planned.action {
        Action::CopyIn => (sides.there, sides.here),
        Action::CopyOut => (sides.here, sides.there),
        _ => return false,
    };
    let kind = |tree: &Tree| tree.entries.get(&planned.path).map(|entry| entry.kind);
    kind(to) == Some(Kind::Dir) && kind(from) != Some(Kind::Dir)
}

/// A folder that one side deleted stays on both while the other side still has something new in
/// it; one that gave way to a file is then a conflict.
fn keep_needed_folders(sides: &Compared<'_, '_>, plan: &mut [Planned]) {
    let mut needed_there = HashSet::new();
    let mut needed_here = HashSet::new();
    // Children come after their folder in order of names, so going backwards meets them first.
    for planned in plan.iter_mut().rev() {
        match planned.action {
            Action::DeleteHere if needed_there.contains(&planned.path) => {
                planned.action = Action::CopyOut;
            }
            Action::DeleteThere if needed_here.contains(&planned.path) => {
                planned.action = Action::CopyIn;
            }
            Action::CopyIn
                if needed_there.contains(&planned.path) && replaces_folder(sides, planned) =>
            {
                planned.action = Action::Conflict(Clash::TypeDiffers);
            }
            Action::CopyOut
                if needed_here.contains(&planned.path) && replaces_folder(sides, planned) =>
            {
                planned.action = Action::Conflict(Clash::TypeDiffers);
            }
            _ => {}
        }
        let needed = match planned.action {
            Action::CopyOut => &mut needed_there,
            Action::CopyIn => &mut needed_here,
            _ => continue,
        };
        for (at, _) in planned.path.match_indices('/') {
            needed.insert(planned.path[..at].to_owned());
        }
    }
}
