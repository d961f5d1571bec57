//! Tells what stands on both sides from what the journal knows, reading as little as possible.

use std::io;

use crate::content::{Cancelled, Control, Summed, sum};
use crate::fs::Tree;
use crate::item::{Base, Content, Entry, Kind, Stamp};
use crate::reconcile::{Action, reconcile};
use crate::report::Verdict;
use crate::scan::failure;
use crate::skip::Skip;
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
    /// The world is not as it was seen, or it is not its time; the next run looks again. After
    /// [`Skip::Hidden`] the journal must doubt the stamps.
    Left(Skip),
    /// An application has it open.
    Open,
    /// An operation failed.
    Io(&'static str, io::Error),
}

impl Stop {
    /// As a verdict on a path.
    pub fn verdict(&self, path: &str) -> Verdict {
        match self {
            Self::Left(why) => Verdict::Skipped { why: *why },
            Self::Open => Verdict::Busy,
            Self::Io(_, error) if error.get_ref().is_some_and(|error| error.is::<Cancelled>()) => {
                Verdict::Skipped { why: Skip::Cancelled }
            }
            Self::Io(_, error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Verdict::Skipped { why: Skip::Changed }
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
    if tree.is_young(expected.mtime_ns) {
        file.sync().map_err(io("make durable"))?;
    }
    if !file.stamp().map_err(io("look at"))?.agrees(expected) {
        return Err(Stop::Left(Skip::Changed));
    }
    let summed =
        sum(&*file, expected.size, &Control::default(), tree.crew()).map_err(io("read"))?;
    let after = file.stamp().map_err(io("look at"))?;
    if !after.agrees(expected) || summed.bytes != expected.size {
        return Err(Stop::Left(Skip::Changed));
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

/// What is to be done about one name, and what was read to find that out.
#[derive(Debug)]
pub struct Decided {
    /// What to do.
    pub action: Action,
    /// The content here, as far as it is known.
    pub content: Option<Content>,
    /// The large file that is to be carried, if it was read.
    pub read: Option<Summed>,
}

impl From<Action> for Decided {
    fn from(action: Action) -> Self {
        Self { action, content: None, read: None }
    }
}

/// Decides for one name. Reads files only where their stamps leave it open and it can matter.
///
/// # Errors
/// [`Stop`] when a file could not be read.
pub fn decide(
    sides: &Both<'_, '_>,
    path: &str,
    seen: &Seen<'_>,
    fill: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Decided, Stop> {
    let Seen { here, there, base } = seen;
    let base = match (base, here, there) {
        (Some(base), here, there) if base.sparse => match (here, there) {
            (None, None) => return Ok(Action::Forget.into()),
            (None, Some(_)) if fill(path) => return Ok(Action::CopyIn.into()),
            (None, Some(_)) => return Ok(Action::Nothing.into()),
            // Something new took the name of a file that is not stored here: it was never seen.
            _ => None,
        },
        _ => *base,
    };
    let [(a, read_a), (b, read_b)] = contents(sides, path, seen, base)?;
    let action = reconcile(base.map(|base| &base.content), a.as_ref(), b.as_ref());
    let read = match action {
        Action::CopyOut => read_a,
        Action::CopyIn => read_b,
        _ => None,
    };
    Ok(Decided { action, content: a, read: read.filter(|read| read.blocks.is_some()) })
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

/// A content as far as it is known, and what was read for that.
type Known = (Option<Content>, Option<Summed>);

fn contents(
    sides: &Both<'_, '_>,
    path: &str,
    seen: &Seen<'_>,
    base: Option<&Base>,
) -> Result<[Known; 2], Stop> {
    let Seen { here, there, .. } = seen;
    let look = |entry: &Option<Entry>, other: &Option<Entry>, tree, recorded: Option<Stamp>| {
        let Some(entry) = entry else { return Ok((None, None)) };
        let content = first_look(entry, base, recorded);
        if !matches!(content, Content::Unread(_)) {
            return Ok((Some(content), None));
        }
        // A size that neither the recorded version nor the other side has is answer enough.
        let size = entry.stamp.size;
        let twin = |other: &Entry| other.kind == Kind::File && other.stamp.size == size;
        if recorded.is_some_and(|recorded| recorded.size == size)
            || other.as_ref().is_some_and(twin)
        {
            let read = read(tree, path, entry.stamp)?;
            return Ok((Some(Content::File(read.hash)), Some(read)));
        }
        Ok((Some(content), None))
    };
    let a = look(here, there, sides.local, base.map(|base| base.here))?;
    let b = look(there, here, sides.remote, base.map(|base| base.there))?;
    Ok([a, b])
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
