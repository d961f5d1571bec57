//! The recycle area: old versions of files, and for how long they stay.
//!
//! It lies beside the journal. Each run that keeps versions makes one folder for each side, called
//! after the second in which it ran and the side; below it every version has its whole old path.
//!
//! How old a folder is does not follow from that second, nor from any clock: one that was wrong for
//! an hour, or a computer whose battery was empty, would cost every version at once. The journal
//! adds up the time between one sweep and the next instead, a day at most each time and nothing
//! when the clock went back. The first sweep that finds a folder adds that sum to its name, behind
//! an `@`, and it goes when the sum has grown by as much as versions are kept. So none goes early
//! by more than a day, and each later by the time in which nothing was swept.
#![expect(clippy::disallowed_methods, reason = "edge: sweeps the recycle area")]

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The recycle folders of one run.
#[derive(Clone, Debug)]
pub struct Shelf {
    run: String,
}

impl Shelf {
    /// The folders of the run at this moment; `id` tells two runs in one second apart.
    pub fn new(now_ns: i64, id: &str) -> Self {
        Self { run: format!("{}-{id}", now_ns.div_euclid(1_000_000_000)) }
    }

    /// Where the version of a path goes, below the area.
    pub fn place(&self, path: &str, local: bool) -> String {
        let side = if local { "here" } else { "there" };
        format!("{}-{side}/{path}", self.run)
    }
}

/// What one sweep adds to the age of versions at most, in seconds.
const STEP_SECONDS_MAX: u64 = 24 * 60 * 60;
/// Stands between the name that a run gave its folder and the age at which a sweep first saw it.
const SEEN: char = '@';

/// How much time the sweeps went through together; no clock is believed for more than a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// Seconds of all sweeps together.
    passed: u64,
    /// When the last one was, in seconds since 1970.
    last: Option<u64>,
}

impl Age {
    /// From the text of the journal; what is none begins anew, so that all is kept.
    pub fn read(text: Option<&str>) -> Self {
        let numbers = text.and_then(|text| text.split_once(' '));
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        numbers.map_or_else(Self::default, |(passed, last)| Self { passed, last: Some(last) })
    }

    /// For the journal.
    pub fn text(&self) -> String {
        format!("{} {}", self.passed, self.last.unwrap_or_default())
    }

    /// The age at a further sweep.
    pub fn at(&self, now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let step = self.last.map_or(0, |last| now.saturating_sub(last)).min(STEP_SECONDS_MAX);
        Self { passed: self.passed.saturating_add(step), last: Some(now) }
    }
}

/// Removes what sweeps have seen for longer than `keep`; gives how many folders. What cannot be
/// removed keeps nothing else from going.
///
/// # Errors
/// The first failure.
pub fn sweep(area: &Path, age: Age, keep: Duration) -> io::Result<u64> {
    let list = match std::fs::read_dir(area) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    let mut failed = None;
    for entry in list {
        match sweep_one(&entry?, area, age, keep) {
            Ok(gone) => removed += u64::from(gone),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(removed), Err)
}

/// Looks at one entry; gives whether it is gone.
fn sweep_one(entry: &std::fs::DirEntry, area: &Path, age: Age, keep: Duration) -> io::Result<bool> {
    let name = entry.file_name().to_string_lossy().into_owned();
    if name.split('-').next().is_none_or(|second| second.parse::<u64>().is_err()) {
        return Ok(false); // not of a run
    }
    let (plain, seen) = match name.split_once(SEEN) {
        Some((plain, seen)) => (plain, seen.parse::<u64>().ok()),
        None => (&*name, None),
    };
    // A journal that was made anew begins with nothing, and so does what lies here.
    let Some(seen) = seen.filter(|seen| *seen <= age.passed) else {
        let to = area.join(format!("{plain}{SEEN}{}", age.passed));
        return std::fs::rename(entry.path(), to).map(|()| false);
    };
    if age.passed - seen <= keep.as_secs() {
        return Ok(false);
    }
    match entry.file_type()?.is_dir() {
        true => std::fs::remove_dir_all(entry.path())?,
        false => std::fs::remove_file(entry.path())?,
    }
    Ok(true)
}
