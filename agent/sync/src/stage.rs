//! Brings one item to the other side under a name of our own, beside its place.

use std::io;

use crate::content::{Blocks, Control, LARGE_BYTES, Summed, copy, patch, sum};
use crate::crew::Crew;
use crate::fs::{Folder, Look, Reader, Tree, Writer};
use crate::item::{Base, Content, Entry, Hash, Kind, Stamp};
use crate::look::{Stop, io, read};
use crate::report::Did;
use crate::skip::Skip;
use crate::throttle::Throttle;
use crate::walk::{Both, Delta};

/// What is asked of a version before it may go.
#[derive(Clone, Debug, Default)]
pub struct Leave {
    /// It must still have this content, read once more.
    pub proof: Option<Hash>,
    /// It is kept under this path of the recycle area.
    pub keep: Option<String>,
}

impl Leave {
    /// Whether a version has the content that may go, read at the last moment: where stamps do not
    /// tell everything, it may have changed since it was looked at.
    pub fn proves(&self, size: u64, folder: &dyn Folder, name: &str) -> bool {
        let Some(proof) = self.proof else { return true };
        let summed =
            folder.open(name).and_then(|file| sum(&*file, size, &Control::default(), Crew::Alone));
        summed.is_ok_and(|summed| summed.bytes == size && summed.hash == proof)
    }

    /// What it means that a version was not the one that may go.
    pub fn changed(&self) -> Stop {
        match self.proof {
            Some(_) => Stop::Left(Skip::Hidden),
            None => Stop::Left(Skip::TargetChanged),
        }
    }
}

/// One item on its way.
pub struct Job<'p> {
    /// What is to be done.
    pub delta: &'p Delta,
    /// Whether it goes to the share.
    pub out: bool,
    /// What is asked of the target's present version.
    pub leave: Leave,
    /// Name of the unfinished file.
    pub temp: String,
    /// The blocks of the content that both sides agreed on, if it is large.
    pub old_blocks: Option<Blocks>,
}

/// An item beside its place.
#[derive(Debug)]
pub struct Staged {
    /// Its content.
    pub content: Content,
    /// Its stamp under the name of its own.
    pub stamp: Stamp,
    /// How many bytes travelled.
    pub bytes: u64,
    /// The hashes of its blocks, if it is large.
    pub blocks: Option<Blocks>,
}

/// What jobs of one run share.
#[derive(Clone, Copy)]
pub struct Means<'a, 'g> {
    /// Both sides.
    pub sides: Both<'a, 'g>,
    /// The rate.
    pub throttle: &'a Throttle,
    /// Cancelling and counting.
    pub control: &'a Control,
    /// Each file is made durable by itself; else the whole batch is flushed afterwards.
    pub sync_each: bool,
}

impl Job<'_> {
    /// The path.
    pub fn path(&self) -> &str {
        &self.delta.path
    }

    /// What it does.
    pub fn did(&self) -> Did {
        if self.out { Did::Upload } else { Did::Download }
    }

    /// What is carried.
    pub fn source(&self) -> Option<&Entry> {
        if self.out { self.delta.here.as_ref() } else { self.delta.there.as_ref() }
    }

    /// What it replaces.
    pub fn target(&self) -> Option<&Entry> {
        if self.out { self.delta.there.as_ref() } else { self.delta.here.as_ref() }
    }

    /// Where it goes.
    pub fn to<'a, 'g>(&self, sides: &Both<'a, 'g>) -> &'a Tree<'g> {
        sides.of(!self.out)
    }

    fn from<'a, 'g>(&self, sides: &Both<'a, 'g>) -> &'a Tree<'g> {
        sides.of(self.out)
    }

    /// What both sides agree on once it is done: this content, with these stamps of the target.
    pub fn base(&self, content: Content, target: Stamp, recorded_ns: i64) -> Base {
        let source = self.source().map(|source| source.stamp).unwrap_or_default();
        let (here, there) = if self.out { (source, target) } else { (target, source) };
        Base { content, here, there, recorded_ns, sparse: false }
    }

    /// Stages a file or link; what could not be staged is removed again.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn stage(&self, means: &Means<'_, '_>) -> Result<Staged, Stop> {
        let Some(source) = self.source() else { return Err(Stop::Left(Skip::WentAway)) };
        self.prove(means)?;
        let staged = match source.kind {
            Kind::Link => self.link(means, source),
            _ => self.file(means, source),
        };
        staged.inspect_err(|_| self.unstage(&means.sides))
    }

    /// Removes what was staged.
    pub fn unstage(&self, sides: &Both<'_, '_>) {
        // What cannot be removed now is removed by the next run, which knows our names.
        let _ = self.to(sides).unstage(self.path(), &self.temp);
    }

    /// Removes the version that was kept: the target stays after all.
    pub fn unkeep(&self, area: &Tree<'_>) {
        if let Some(place) = &self.leave.keep {
            // What cannot be removed goes when the recycle area is swept.
            let _ = area.discard(place);
            area.clear_away(place);
        }
    }

    /// Reads the target's version once more where its stamp proves nothing.
    fn prove(&self, means: &Means<'_, '_>) -> Result<(), Stop> {
        let (Some(proof), Some(target)) = (self.leave.proof, self.target()) else {
            return Ok(());
        };
        match read(self.to(&means.sides), self.path(), target.stamp)?.hash == proof {
            true => Ok(()),
            false => Err(Stop::Left(Skip::Hidden)),
        }
    }

    fn link(&self, means: &Means<'_, '_>, source: &Entry) -> Result<Staged, Stop> {
        let text = source.link.clone().unwrap_or_default();
        let to = self.to(&means.sides);
        let stage = || to.stage_link(self.path(), &self.temp, &text);
        // The folder above it may be missing: one that this side deleted and the other needs still.
        let staged = to.with_parents(self.path(), stage).map_err(io("write"))?;
        let Some(Look::Entry(staged)) = staged else {
            return Err(Stop::Left(Skip::WentAway));
        };
        Ok(Staged { content: Content::Link(text), stamp: staged.stamp, bytes: 0, blocks: None })
    }

    fn file(&self, means: &Means<'_, '_>, source: &Entry) -> Result<Staged, Stop> {
        let (from, to) = (self.from(&means.sides), self.to(&means.sides));
        let reader = from.read(self.path()).map_err(io("read"))?;
        if !reader.stamp().map_err(io("look at"))?.agrees(source.stamp) {
            return Err(Stop::Left(Skip::Changed));
        }
        let stage = || to.stage(self.path(), &self.temp);
        let mut writer = to.with_parents(self.path(), stage).map_err(io("write"))?;
        let size = source.stamp.size;
        let (summed, bytes) = match self.patch(means, &*reader, &mut *writer, size)? {
            Some(patched) => patched,
            None => {
                let copied = copy(&*reader, &mut *writer, size, means.control, means.throttle);
                let copied = copied.map_err(io("copy"))?;
                let bytes = copied.bytes;
                (copied, bytes)
            }
        };
        let after = reader.stamp().map_err(io("look at"))?;
        if !after.agrees(source.stamp) || summed.bytes != size {
            return Err(Stop::Left(Skip::Changed));
        }
        writer.dress(source.mode & 0o777, Some(source.stamp.mtime_ns)).map_err(io("finish"))?;
        if means.sync_each {
            writer.sync().map_err(io("finish"))?;
        }
        let stamp = writer.stamp().map_err(io("look at"))?;
        let content = Content::File(summed.hash);
        Ok(Staged { content, stamp, bytes, blocks: summed.blocks })
    }

    /// Patches a copy of the target's version, where that is possible and pays.
    fn patch(
        &self,
        means: &Means<'_, '_>,
        reader: &dyn Reader,
        writer: &mut dyn Writer,
        size: u64,
    ) -> Result<Option<(Summed, u64)>, Stop> {
        let (Some(blocks), Some(target)) = (&self.old_blocks, self.target()) else {
            return Ok(None);
        };
        if size < LARGE_BYTES || target.stamp.size > size {
            return Ok(None);
        }
        let to = self.to(&means.sides);
        let old = to.read(self.path()).map_err(io("read"))?;
        if to.is_young(target.stamp.mtime_ns) {
            // From now on a write to a mapping of it shows.
            old.sync().map_err(io("make durable"))?;
        }
        let is_old = |stamp: Stamp| stamp.agrees(target.stamp);
        if !is_old(old.stamp().map_err(io("look at"))?) {
            return Err(Stop::Left(Skip::TargetChanged));
        }
        let crew = means.sides.local.crew();
        let how = (means.control, means.throttle, crew);
        // Where stamps do not tell every change, what the walk read may be gone by now.
        let known =
            self.delta.read.as_deref().filter(|_| self.from(&means.sides).traits().stamps_tell);
        // Programs have mappings of files here, not of those on the share.
        let tells = self.out && to.traits().stamps_tell;
        let old_and_blocks = (&*old, blocks, tells);
        let patched = patch((reader, known), old_and_blocks, writer, size, how);
        match patched {
            Ok(patched) if is_old(old.stamp().map_err(io("look at"))?) => Ok(Some(patched)),
            Ok(_) => Err(Stop::Left(Skip::TargetChanged)),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(Stop::Io("copy", error)),
        }
    }
}
