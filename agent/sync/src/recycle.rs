//! The recycle area: old versions of files, and for how long they stay.
//!
//! It lies beside the journal. Each run that keeps versions makes one folder for each side, called
//! after the second in which it ran and the side; below it every version has its whole old path.
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

/// Removes what runs put there longer ago than `keep`; gives how many folders.
///
/// # Errors
/// The first failure.
pub fn sweep(area: &Path, now: SystemTime, keep: Duration) -> io::Result<u64> {
    let list = match std::fs::read_dir(area) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in list {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let since = name.split('-').next().and_then(|since| since.parse().ok());
        let since = since.and_then(|since| UNIX_EPOCH.checked_add(Duration::from_secs(since)));
        if since.is_some_and(|since| now.duration_since(since).is_ok_and(|age| age > keep)) {
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
            removed += 1;
        }
    }
    Ok(removed)
}
