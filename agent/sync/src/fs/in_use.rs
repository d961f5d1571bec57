//! Which files of a volume applications have open at this moment, as far as this process may know.
#![expect(clippy::disallowed_methods, reason = "edge: reads /proc")]

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Flags of `open` that say that a file may be written (`fcntl.h`), as `/proc/*/fdinfo` shows them.
const WRITES: u32 = 0o3;

/// Files that are open, by their number.
#[derive(Clone, Debug, Default)]
pub struct InUse(HashMap<u64, bool>);

impl InUse {
    /// Notes an open file.
    pub fn add(&mut self, inode: u64, for_writing: bool) {
        *self.0.entry(inode).or_default() |= for_writing;
    }

    /// Whether a file is open; with `for_writing` only if it may be written.
    pub fn is_open(&self, inode: u64, for_writing: bool) -> bool {
        self.0.get(&inode).is_some_and(|writes| *writes || !for_writing)
    }

    /// The open files of one device. What other users' processes have open is not known; a file
    /// that is written to meanwhile is found out all the same.
    pub fn of_device(device: u64) -> Self {
        let mut found = Self::default();
        let own = std::process::id().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else { return found };
        for process in processes.flatten() {
            let name = process.file_name();
            let is_number = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
            if !is_number || name.as_encoded_bytes() == own.as_bytes() {
                continue;
            }
            // A process that ends, or is another user's, is no error.
            let Ok(open) = std::fs::read_dir(process.path().join("fd")) else { continue };
            for file in open.flatten() {
                let Ok(meta) = std::fs::metadata(file.path()) else { continue };
                if meta.is_file() && meta.dev() == device {
                    let info = process.path().join("fdinfo").join(file.file_name());
                    found.add(meta.ino(), may_write(&info));
                }
            }
        }
        found
    }
}

/// Whether an open file may be written; if that cannot be told, it may.
fn may_write(info: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(info) else { return true };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & WRITES != 0)
}
