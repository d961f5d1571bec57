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
    /// As [`Stop::Changed`], and neither size nor time shows it: the journal must doubt them.
    Hidden,
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

/// What is asked of a version before it may go.
#[derive(Debug, Default)]
pub struct Leave {
    /// It must still have this content, read once more.
    pub proof: Option<Hash>,
    /// It is kept here.
    pub keep: Option<PathBuf>,
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
    /// What is asked of the target's present version.
    pub leave: Leave,
    /// Name of the unfinished file.
    pub temp: &'a str,
}

impl Carry<'_, '_> {
    /// Carries the item; gives its content and its stamp at the target.
    ///
    /// # Errors
    /// [`Stop`]; the target is then as it was.
    pub fn run(&self, throttle: &mut Throttle) -> Result<(Content, Stamp, u64), Stop> {
        let (content, staged, bytes) = match self.source.kind {
            Kind::Dir => {
                if let Some(target) = self.target.filter(|target| target.kind != Kind::Dir) {
                    remove(self.to, self.path, target, &self.leave)?;
                }
                self.to.make_folder(self.path, self.source.mode).map_err(io("make"))?;
                (Content::Dir, None, 0)
            }
            Kind::Link => {
                let (content, staged) = self.link()?;
                (content, Some(staged), 0)
            }
            Kind::File => {
                let (content, staged, bytes) = self.file(throttle)?;
                (content, Some(staged), bytes)
            }
        };
        let is_ours = |found: &Entry| {
            found.kind == self.source.kind
                && staged.is_none_or(|staged| staged.is_but_for_name(found.stamp))
        };
        match self.to.look(self.path).map_err(io("look at"))? {
            Some(Look::Entry(found)) if is_ours(&found) => Ok((content, found.stamp, bytes)),
            _ => Err(Stop::Changed("it was changed as soon as it was written")),
        }
    }

    fn link(&self) -> Result<(Content, Stamp), Stop> {
        let text = self.source.link.clone().unwrap_or_default();
        self.to.stage_link(self.path, self.temp, &text).map_err(io("write"))?;
        let staged = match self.to.look(&beside(self.path, self.temp)) {
            Ok(Some(Look::Entry(staged))) => staged.stamp,
            Ok(_) => return Err(Stop::Changed("it went away as it was written")),
            Err(error) => {
                self.unstage();
                return Err(Stop::Io("look at", error));
            }
        };
        self.put()?;
        Ok((Content::Link(text), staged))
    }

    fn file(&self, throttle: &mut Throttle) -> Result<(Content, Stamp, u64), Stop> {
        let (mut source, stamp) = self.from.read(self.path).map_err(io("read"))?;
        if stamp != self.source.stamp {
            return Err(Stop::Changed("it changed since it was looked at"));
        }
        let staged = self.stage(&mut source, throttle);
        let (hash, stamp, bytes) = match staged {
            Ok(staged) => staged,
            Err(stop) => {
                self.unstage();
                return Err(stop);
            }
        };
        self.put()?;
        Ok((Content::File(hash), stamp, bytes))
    }

    fn stage(
        &self,
        source: &mut std::fs::File,
        throttle: &mut Throttle,
    ) -> Result<(Hash, Stamp, u64), Stop> {
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
        let stamp = self.to.stamp_of(&target).map_err(io("look at"))?;
        Ok((*hasher.finalize().as_bytes(), stamp, bytes))
    }

    /// Puts the staged entry in place, if the target still is what the scan saw.
    fn put(&self) -> Result<(), Stop> {
        let put = match self.target {
            None => self.put_new(),
            Some(target) => self.replace(target),
        };
        put.inspect_err(|_| self.unstage())
    }

    fn put_new(&self) -> Result<(), Stop> {
        check(self.to, self.path, None)?;
        self.to.put(self.path, self.temp, false).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Stop::Changed("another file took its name"),
            _ => Stop::Io("put in place", error),
        })
    }

    fn replace(&self, target: &Entry) -> Result<(), Stop> {
        secure(self.to, self.path, target, &self.leave)?;
        if !self.to.is_local() {
            // RACE: a program that writes to the share between the last look and the rename loses
            // that write; shares cannot exchange. The window is two system calls long.
            return self.to.put(self.path, self.temp, true).map_err(io("put in place"));
        }
        match self.to.swap(self.path, self.temp, target) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.leave.keep.iter().for_each(|keep| self.to.unkeep(keep));
                Err(Stop::Changed("the other side changed just now"))
            }
            // It may be done all the same; so the version stays where it is kept.
            Err(error) => Err(Stop::Io("put in place", error)),
        }
    }

    fn unstage(&self) {
        // What cannot be removed now is removed by the next run, which knows our names.
        let _ = self.to.unstage(self.path, self.temp);
    }
}

/// Whether a path still is what the scan saw.
fn check(root: &Root<'_>, path: &str, expected: Option<&Entry>) -> Result<(), Stop> {
    let now = root.look(path).map_err(io("look at"))?;
    let same = match (&now, expected) {
        (None, None) => true,
        (Some(Look::Entry(now)), Some(expected)) => {
            expected.is_still(now)
                && (now.kind == Kind::Dir || now.stamp.ctime_ns == expected.stamp.ctime_ns)
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(Stop::Changed("the other side changed meanwhile")) }
}

/// Makes sure of a file or link that is about to go: that it is what the scan saw, has the content
/// that it should have, and is kept.
fn secure(root: &Root<'_>, path: &str, expected: &Entry, leave: &Leave) -> Result<(), Stop> {
    check(root, path, Some(expected))?;
    if let Some(proof) = leave.proof
        && hash(root, path, expected.stamp)? != proof
    {
        return Err(Stop::Hidden);
    }
    let Some(keep) = &leave.keep else { return check(root, path, Some(expected)) };
    root.keep(path, keep).map_err(io("keep the old version of"))?;
    // Keeping it may have taken minutes, and a second name has changed its change time.
    match root.look(path).map_err(io("look at"))? {
        Some(Look::Entry(now)) if expected.is_still(&now) => Ok(()),
        _ => {
            root.unkeep(keep);
            Err(Stop::Changed("the other side changed meanwhile"))
        }
    }
}

/// Removes an entry, if it still is what the scan saw.
///
/// # Errors
/// [`Stop`]; the entry is then still there.
pub fn remove(root: &Root<'_>, path: &str, expected: &Entry, leave: &Leave) -> Result<(), Stop> {
    if expected.kind == Kind::Dir {
        check(root, path, Some(expected))?;
        return root.remove_folder(path).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => Stop::Changed("it is not empty"),
            _ => Stop::Io("remove", error),
        });
    }
    if let Some(keep) = leave.keep.as_ref().filter(|_| root.is_local()) {
        check(root, path, Some(expected))?;
        match root.set_aside(path, keep, expected) {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Stop::Changed("it changed just now")),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
            Err(error) => return Err(Stop::Io("remove", error)),
        }
    }
    secure(root, path, expected, leave)?;
    // RACE: what is written between the last look and the removal is lost: two system calls.
    root.unlink(path).map_err(io("remove"))
}

/// Another name in the folder of a path.
pub fn beside(path: &str, name: &str) -> String {
    path.rsplit_once('/').map_or(name.to_owned(), |(folder, _)| format!("{folder}/{name}"))
}
