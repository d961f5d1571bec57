//! Carries one item from one side to the other, or removes it; looks again right before it acts.
#![expect(clippy::disallowed_methods, reason = "edge: bandwidth limits wait")]

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::fs::{Look, Root};
use crate::item::{Content, Entry, Hash, Kind, Stamp};
use crate::report::Verdict;
use crate::scan::failure;

const BLOCK_BYTES: usize = 1 << 20;

/// Why an item was not carried.
#[derive(Debug)]
pub enum Stop {
    /// The world is not as the scan saw it; the next run looks again.
    Changed(&'static str),
    /// An operation failed.
    Io(&'static str, io::Error),
}

impl Stop {
    /// As a verdict on a path.
    pub fn verdict(&self, path: &str) -> Verdict {
        match self {
            Self::Changed(reason) => Verdict::Skipped { reason: (*reason).to_owned() },
            Self::Io(what, error) => failure(what, path, error),
        }
    }
}

fn io(what: &'static str) -> impl FnOnce(io::Error) -> Stop {
    move |error| Stop::Io(what, error)
}

/// Waits so that a rate is not exceeded by more than one block.
#[derive(Debug)]
pub struct Throttle {
    rate: Option<u64>,
    started: Instant,
    bytes: u64,
}

impl Throttle {
    /// Bytes per second; `None` is as fast as it goes.
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), started: Instant::now(), bytes: 0 }
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let Some(rate) = self.rate else { return };
        let due = Duration::from_secs_f64(self.bytes as f64 / rate as f64);
        if let Some(early) = due.checked_sub(self.started.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// Hashes a file; its stamp must be the one the scan saw.
///
/// # Errors
/// [`Stop`].
pub fn hash(root: &Root<'_>, path: &str, expected: Stamp) -> Result<Hash, Stop> {
    let (mut file, stamp) = root.read(path).map_err(io("read"))?;
    if stamp != expected {
        return Err(Stop::Changed("it changed since it was looked at"));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file).map_err(io("read"))?;
    if root.stamp_of(&file).map_err(io("look at"))? != expected {
        return Err(Stop::Changed("it changed while it was read"));
    }
    Ok(*hasher.finalize().as_bytes())
}

/// One item on its way.
pub struct Carry<'a, 'g> {
    /// From here.
    pub from: &'a Root<'g>,
    /// To here.
    pub to: &'a Root<'g>,
    /// Under this path, on both sides.
    pub path: &'a str,
    /// What the scan saw at the source.
    pub source: &'a Entry,
    /// What the scan saw at the target.
    pub target: Option<&'a Entry>,
    /// Where the target's present version is kept before it is replaced.
    pub keep: Option<PathBuf>,
    /// Name of the unfinished file.
    pub temp: &'a str,
}

impl Carry<'_, '_> {
    /// Carries the item; gives its content and its stamp at the target.
    ///
    /// # Errors
    /// [`Stop`]; the target is then as it was.
    pub fn run(&self, throttle: &mut Throttle) -> Result<(Content, Stamp, u64), Stop> {
        let (content, bytes) = match self.source.kind {
            Kind::Dir => {
                self.clear_file_in_the_way()?;
                self.to.make_folder(self.path, self.source.mode).map_err(io("make"))?;
                (Content::Dir, 0)
            }
            Kind::Link => (self.link()?, 0),
            Kind::File => self.file(throttle)?,
        };
        let stamp = match self.to.look(self.path).map_err(io("look at"))? {
            Some(Look::Entry(entry)) if entry.kind == self.source.kind => entry.stamp,
            _ => return Err(Stop::Changed("it was replaced as soon as it was written")),
        };
        Ok((content, stamp, bytes))
    }

    /// A folder comes where a file was; the file is unchanged and goes to the recycle area.
    fn clear_file_in_the_way(&self) -> Result<(), Stop> {
        match self.target {
            Some(target) if target.kind != Kind::Dir => {
                self.check_target()?;
                self.keep_target()?;
                self.to.unlink(self.path).map_err(io("remove"))
            }
            _ => Ok(()),
        }
    }

    fn link(&self) -> Result<Content, Stop> {
        let text = self.source.link.clone().unwrap_or_default();
        self.to.stage_link(self.path, self.temp, &text).map_err(io("write"))?;
        self.put()?;
        Ok(Content::Link(text))
    }

    fn file(&self, throttle: &mut Throttle) -> Result<(Content, u64), Stop> {
        let (mut source, stamp) = self.from.read(self.path).map_err(io("read"))?;
        if stamp != self.source.stamp {
            return Err(Stop::Changed("it changed since it was looked at"));
        }
        let staged = self.stage(&mut source, throttle);
        let (hash, bytes) = match staged {
            Ok(staged) => staged,
            Err(stop) => {
                self.unstage();
                return Err(stop);
            }
        };
        self.put()?;
        Ok((Content::File(hash), bytes))
    }

    fn stage(
        &self,
        source: &mut std::fs::File,
        throttle: &mut Throttle,
    ) -> Result<(Hash, u64), Stop> {
        let mut target = self.to.stage(self.path, self.temp).map_err(io("write"))?;
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut bytes = 0_u64;
        loop {
            let n = match source.read(&mut block) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Io("read", error)),
            };
            target.write_all(&block[..n]).map_err(io("write"))?;
            hasher.update(&block[..n]);
            bytes += n as u64;
            throttle.spend(n);
        }
        let after = self.from.stamp_of(source).map_err(io("look at"))?;
        if after != self.source.stamp || bytes != self.source.stamp.size {
            return Err(Stop::Changed("it changed while it was read"));
        }
        let mtime = self.source.stamp.mtime_ns;
        self.to.finish(&mut target, self.source.mode, mtime).map_err(io("finish"))?;
        Ok((*hasher.finalize().as_bytes(), bytes))
    }

    /// Puts the staged entry in place, if the target still is what the scan saw.
    fn put(&self) -> Result<(), Stop> {
        let put = || {
            self.check_target()?;
            self.keep_target()?;
            // RACE: a program that writes to the target between the check and the rename loses
            // that write to the recycle area's version of a moment before. Two system calls.
            let put = self.to.put(self.path, self.temp, self.target.is_some());
            put.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Stop::Changed("another file took its name"),
                _ => Stop::Io("put in place", error),
            })
        };
        put().inspect_err(|_| self.unstage())
    }

    fn unstage(&self) {
        // What cannot be removed now is removed by the next run, which knows our names.
        let _ = self.to.unstage(self.path, self.temp);
    }

    fn check_target(&self) -> Result<(), Stop> {
        check(self.to, self.path, self.target)
    }

    fn keep_target(&self) -> Result<(), Stop> {
        match (&self.keep, self.target) {
            (Some(keep), Some(target)) if target.kind != Kind::Dir => {
                self.to.keep(self.path, keep).map_err(io("keep the old version of"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a path still is what the scan saw.
fn check(root: &Root<'_>, path: &str, expected: Option<&Entry>) -> Result<(), Stop> {
    let now = root.look(path).map_err(io("look at"))?;
    let same = match (&now, expected) {
        (None, None) => true,
        (Some(Look::Entry(now)), Some(expected)) => {
            now.kind == expected.kind
                && (now.kind == Kind::Dir || now.stamp == expected.stamp)
                && now.link == expected.link
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(Stop::Changed("the other side changed meanwhile")) }
}

/// Removes an entry, if it still is what the scan saw; a version is kept where `keep` says.
///
/// # Errors
/// [`Stop`]; the entry is then still there.
pub fn remove(
    root: &Root<'_>,
    path: &str,
    expected: &Entry,
    keep: Option<PathBuf>,
) -> Result<(), Stop> {
    check(root, path, Some(expected))?;
    if expected.kind == Kind::Dir {
        return root.remove_folder(path).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => Stop::Changed("it is not empty"),
            _ => Stop::Io("remove", error),
        });
    }
    if let Some(keep) = keep {
        root.keep(path, &keep).map_err(io("keep the old version of"))?;
    }
    root.unlink(path).map_err(io("remove"))
}
