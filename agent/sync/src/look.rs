//! Tells what stands on both sides from what the journal knows, reading as little as possible.

use std::io;

use crate::content::{Cancelled, Control, Summed, sum};
use crate::fs::Tree;
use crate::item::{Base, Content, Entry, Kind, Stamp};
use crate::reconcile::{Action, reconcile};
use crate::report::Verdict;
use crate::scan::failure;
use crate::walk::Both;

/// A file changed within this time before its stamp was recorded may have changed again without
/// its stamp showing it (two seconds on FAT; shares are as coarse).
const RACY_NS: i64 = 2_000_000_000;

/// Whether a version was so new when it was recorded that its stamp proves nothing.
pub fn is_racy(mtime_ns: i64, recorded_ns: i64) -> bool {
    mtime_ns >= recorded_ns.saturating_sub(RACY_NS)
}

/// Why an item was not carried.
#[derive(Debug)]
pub enum Stop {
    /// The world is not as it was seen; the next run looks again.
    Changed(&'static str),
    /// As [`Stop::Changed`], and neither size nor time shows it: the journal must doubt them.
    Hidden,
    /// An application has it open.
    Open,
    /// An operation failed.
    Io(&'static str, io::Error),
}

impl Stop {
    /// As a verdict on a path.
    pub fn verdict(&self, path: &str) -> Verdict {
        match self {
            Self::Changed(reason) => Verdict::Skipped { reason: (*reason).to_owned() },
            Self::Hidden => {
                let reason = "it changed on the share, and its size and time do not show it";
                Verdict::Skipped { reason: reason.to_owned() }
            }
            Self::Open => Verdict::Busy,
            Self::Io(_, error) if error.get_ref().is_some_and(|error| error.is::<Cancelled>()) => {
                Verdict::Skipped { reason: "the run was cancelled".to_owned() }
            }
            Self::Io(_, error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Verdict::Skipped { reason: "it changed while it was read".to_owned() }
            }
            Self::Io(what, error) => failure(what, path, error),
        }
    }
}

/// An operation that failed.
pub fn io(what: &'static str) -> impl FnOnce(io::Error) -> Stop {
    move |error| Stop::Io(what, error)
}

/// Reads a file; its stamp must be the expected one, before and after.
///
/// # Errors
/// [`Stop`].
pub fn read(tree: &Tree<'_>, path: &str, expected: Stamp) -> Result<Summed, Stop> {
    let file = tree.read(path).map_err(io("read"))?;
    if !file.stamp().map_err(io("look at"))?.agrees(expected) {
        return Err(Stop::Changed("it changed since it was looked at"));
    }
    let summed =
        sum(&*file, expected.size, &Control::default(), tree.crew()).map_err(io("read"))?;
    let after = file.stamp().map_err(io("look at"))?;
    if !after.agrees(expected) || summed.bytes != expected.size {
        return Err(Stop::Changed("it changed while it was read"));
    }
    Ok(summed)
}

/// What was seen under one name.
#[derive(Debug)]
pub struct Seen<'b> {
    /// Here.
    pub here: Option<Entry>,
    /// There.
    pub there: Option<Entry>,
    /// What both agreed on.
    pub base: Option<&'b Base>,
}

/// Whether the stamp alone proves that a file is as recorded.
fn is_proven_same(entry: &Entry, base: &Base, recorded: Stamp) -> bool {
    entry.kind == Kind::File
        && matches!(base.content, Content::File(_))
        && entry.stamp.agrees(recorded)
        && !recorded.lacks(entry.stamp)
        && !is_racy(entry.stamp.mtime_ns, base.recorded_ns)
}

impl Seen<'_> {
    /// Whether the journal knows the name.
    pub fn is_known(&self) -> bool {
        self.base.is_some()
    }

    /// Whether stamps alone prove that both sides hold the file that is recorded, in full.
    pub fn is_file_in_step(&self) -> bool {
        let (Some(here), Some(there), Some(base)) = (&self.here, &self.there, self.base) else {
            return false;
        };
        !base.sparse
            && is_proven_same(here, base, base.here)
            && is_proven_same(there, base, base.there)
    }

    /// Whether content is as recorded, but its stamps are to be written down anew, so that it is
    /// not read again, or is recognised when it is renamed.
    pub fn is_worth_refreshing(&self) -> bool {
        let (Some(here), Some(there), Some(base)) = (&self.here, &self.there, self.base) else {
            return false;
        };
        if here.kind == Kind::Dir {
            return (base.here.inode, base.there.inode) != (here.stamp.inode, there.stamp.inode);
        }
        base.here != here.stamp || base.there != there.stamp || base.sparse || {
            let racy = |at| is_racy(base.here.mtime_ns, at) || is_racy(base.there.mtime_ns, at);
            racy(base.recorded_ns)
        }
    }
}

/// Decides for one name, and gives the content here as far as it is known. Reads files only where their stamps leave it open and it can matter.
///
/// # Errors
/// [`Stop`] when a file could not be read.
pub fn decide(
    sides: &Both<'_, '_>,
    path: &str,
    seen: &Seen<'_>,
    fill: &(dyn Fn(&str) -> bool + Sync),
) -> Result<(Action, Option<Content>), Stop> {
    let Seen { here, there, base } = seen;
    if base.is_some_and(|base| base.sparse) {
        return match (here, there) {
            (None, None) => Ok((Action::Forget, None)),
            (None, Some(_)) if fill(path) => Ok((Action::CopyIn, None)),
            (None, Some(_)) => Ok((Action::Nothing, None)),
            // Something new took the name of a file that is not stored here: it was never seen.
            _ => {
                let (a, b) = contents(sides, path, seen, None)?;
                Ok((reconcile(None, a.as_ref(), b.as_ref()), a))
            }
        };
    }
    let (a, b) = contents(sides, path, seen, *base)?;
    Ok((reconcile(base.map(|base| &base.content), a.as_ref(), b.as_ref()), a))
}

/// Whether an entry is what both sides agreed on, `recorded` with this stamp; what cannot be read is
/// not.
pub fn is_as_recorded(
    tree: &Tree<'_>,
    path: &str,
    entry: &Entry,
    base: &Base,
    recorded: Stamp,
) -> bool {
    if is_proven_same(entry, base, recorded) {
        return true;
    }
    match (&entry.kind, &base.content) {
        (Kind::Dir, Content::Dir) => true,
        (Kind::Link, Content::Link(text)) => entry.link.as_ref() == Some(text),
        (Kind::File, Content::File(known)) if entry.stamp.size == recorded.size => {
            read(tree, path, entry.stamp).is_ok_and(|read| read.hash == *known)
        }
        _ => false,
    }
}

type Contents = (Option<Content>, Option<Content>);

fn contents(
    sides: &Both<'_, '_>,
    path: &str,
    seen: &Seen<'_>,
    base: Option<&Base>,
) -> Result<Contents, Stop> {
    let Seen { here, there, .. } = seen;
    let look = |entry: &Option<Entry>, other: &Option<Entry>, tree, recorded: Option<Stamp>| {
        let Some(entry) = entry else { return Ok(None) };
        let content = first_look(entry, base, recorded);
        if !matches!(content, Content::Unread(_)) {
            return Ok(Some(content));
        }
        // A size that neither the recorded version nor the other side has is answer enough.
        let size = entry.stamp.size;
        let twin = |other: &Entry| other.kind == Kind::File && other.stamp.size == size;
        if recorded.is_some_and(|recorded| recorded.size == size)
            || other.as_ref().is_some_and(twin)
        {
            return Ok(Some(Content::File(read(tree, path, entry.stamp)?.hash)));
        }
        Ok(Some(content))
    };
    let a = look(here, there, sides.local, base.map(|base| base.here))?;
    let b = look(there, here, sides.remote, base.map(|base| base.there))?;
    Ok((a, b))
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
