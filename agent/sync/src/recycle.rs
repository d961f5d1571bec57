//! The recycle area: old versions of files, what they were called, and for how long they stay.
//!
//! It lies beside the journal. A version is called after the second in which it was put there, the
//! side that it was on and its last name; an index beside the area says which path it had.
#![expect(clippy::disallowed_methods, reason = "edge: makes, lists and sweeps the recycle area")]

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much of its old name a version keeps.
const LEAF_BYTES_MAX: usize = 200;

/// The recycle area of a journal.
pub struct Recycle {
    /// The directory of the versions.
    pub area: PathBuf,
    /// One line for each version: its name here, a tab, its path. Only the holder of the journal's
    /// lock writes it.
    pub index: PathBuf,
}

impl Recycle {
    /// A free name for a version of a path. It is in the index first, so that no version is without
    /// its line; lines that no version came to are swept.
    ///
    /// # Errors
    /// As `mkdir` or `write`.
    pub fn place(&self, path: &str, side: &str, now_ns: i64) -> io::Result<PathBuf> {
        std::fs::create_dir_all(&self.area)?;
        let seconds = now_ns / 1_000_000_000;
        let leaf = shortened(path.rsplit('/').next().unwrap_or(path), LEAF_BYTES_MAX);
        let id = &crate::roots::fresh_id(path)[..8];
        let name = format!("{seconds}-{id}-{side}-{leaf}");
        let mut index = File::options().append(true).create(true).open(&self.index)?;
        index.write_all(format!("{}\t{}\n", escaped(&name), escaped(path)).as_bytes())?;
        Ok(self.area.join(name))
    }

    /// Removes versions older than `keep`, and the lines of versions that are gone.
    ///
    /// # Errors
    /// The first failure.
    pub fn sweep(&self, now: SystemTime, keep: Duration) -> io::Result<u64> {
        let list = match std::fs::read_dir(&self.area) {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut removed = 0;
        let mut stay = HashSet::new();
        for entry in list {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let since = name.split('-').next().and_then(|since| since.parse().ok());
            let since = since.and_then(|since| UNIX_EPOCH.checked_add(Duration::from_secs(since)));
            if since.is_some_and(|since| now.duration_since(since).is_ok_and(|age| age > keep)) {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            } else {
                stay.insert(escaped(&name));
            }
        }
        self.sweep_index(&stay)?;
        Ok(removed)
    }

    fn sweep_index(&self, stay: &HashSet<String>) -> io::Result<()> {
        let lines = match std::fs::read_to_string(&self.index) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let is_kept =
            |line: &&str| line.split_once('\t').is_some_and(|(name, _)| stay.contains(name));
        let kept: String = lines.split_inclusive('\n').filter(is_kept).collect();
        if kept.len() == lines.len() {
            return Ok(());
        }
        let temp = self.index.with_extension("new");
        let mut file = File::create(&temp)?;
        file.write_all(kept.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temp, &self.index)
    }
}

/// A name as one field of one line.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

/// The start of a name, cut between characters.
pub fn shortened(name: &str, bytes_max: usize) -> &str {
    let ends = name.char_indices().map(|(at, char)| at + char.len_utf8());
    &name[..ends.take_while(|end| *end <= bytes_max).last().unwrap_or(0)]
}
