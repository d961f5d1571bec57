//! Which files of a volume applications have open or mapped at this moment, as far as this process
//! may know.
//!
//! A program may have a file of a dead share open, and whoever looks at that file waits as long as
//! the program does. So the mount of an open file comes first, which the kernel tells without
//! asking the share (`/proc/PID/fdinfo` and the mount tables, `proc(5)`); only a file of the volume
//! that is asked about is looked at. Mappings are told with their device and number.
#![expect(clippy::disallowed_methods, reason = "edge: reads /proc")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Flags of `open` that say that a file may be written (`fcntl.h`), as `/proc/*/fdinfo` shows them.
const WRITES: u32 = 0o3;
/// How much of what is told about an open file is read; flags and mount are in its first lines.
const INFO_BYTES_MAX: u64 = 4 << 10;

/// A device, by its two numbers.
type Device = (u32, u32);

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

    /// The files that are open or mapped of the volume that a folder lies on. What other users'
    /// processes have open is not known; a file that is written to meanwhile is found out all the
    /// same.
    pub fn of_volume(root: BorrowedFd<'_>) -> Self {
        let mut found = Self::default();
        let Some(mut asked) = Asked::about(root) else { return found };
        let own = std::process::id().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else { return found };
        for process in processes.flatten() {
            let name = process.file_name();
            let is_number = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
            if is_number && name.as_encoded_bytes() != own.as_bytes() {
                // A process that ends, or is another user's, is no error.
                asked.open(&process.path(), &mut found);
                asked.mapped(&process.path(), &mut found);
            }
        }
        found
    }
}

/// The volume that is asked about, and the mounts there are.
struct Asked {
    /// Its device, as mount tables and mappings have it.
    device: Device,
    /// Its device as its files have it, if that is another one: volumes share the numbers of their
    /// files with other ones of the same mount device there (Btrfs).
    subvolume: Option<u64>,
    mounts: HashMap<u64, Device>,
    /// Whose mount tables were read.
    namespaces: HashSet<PathBuf>,
}

impl Asked {
    fn about(root: BorrowedFd<'_>) -> Option<Self> {
        let st_dev = rustix::fs::fstat(root).ok()?.st_dev;
        let of_files = (rustix::fs::major(st_dev), rustix::fs::minor(st_dev));
        let (mounts, namespaces) = (HashMap::new(), HashSet::new());
        let mut asked = Self { device: of_files, subvolume: None, mounts, namespaces };
        asked.learn_mounts(Path::new("/proc/self"));
        let info = format!("/proc/self/fdinfo/{}", root.as_raw_fd());
        let mount = info_of(Path::new(&info)).mount;
        if let Some(device) = mount.and_then(|mount| asked.mounts.get(&mount)) {
            asked.device = *device;
        }
        asked.subvolume = (asked.device != of_files).then_some(st_dev);
        Some(asked)
    }

    /// Reads the mount table of a process, unless it has the same as one before. The numbers of
    /// mounts are the same for all.
    fn learn_mounts(&mut self, process: &Path) {
        let Ok(namespace) = std::fs::read_link(process.join("ns/mnt")) else { return };
        if !self.namespaces.insert(namespace) {
            return;
        }
        let Ok(table) = std::fs::read(process.join("mountinfo")) else { return };
        for line in String::from_utf8_lossy(&table).lines() {
            let mut fields = line.split(' ');
            let mount = fields.next().and_then(|mount| mount.parse().ok());
            let device = fields.nth(1).and_then(|device| device_of(device, 10));
            if let (Some(mount), Some(device)) = (mount, device) {
                self.mounts.insert(mount, device);
            }
        }
    }

    fn open(&mut self, process: &Path, found: &mut InUse) {
        let Ok(open) = std::fs::read_dir(process.join("fd")) else { return };
        self.learn_mounts(process);
        for file in open.flatten() {
            // Pipes, sockets and the like have no path.
            if !std::fs::read_link(file.path()).is_ok_and(|path| path.has_root()) {
                continue;
            }
            let info = info_of(&process.join("fdinfo").join(file.file_name()));
            let device = match info.mount {
                Some(mount) => self.mounts.get(&mount).copied(),
                None => Some(self.device), // a kernel that does not tell
            };
            if device != Some(self.device) {
                continue;
            }
            let Ok(meta) = std::fs::metadata(file.path()) else { continue };
            let is_ours = self.subvolume.is_none_or(|ours| ours == meta.dev());
            if meta.is_file() && is_ours {
                found.add(meta.ino(), info.may_write);
            }
        }
    }

    /// A mapping outlives the opening it was made by.
    fn mapped(&self, process: &Path, found: &mut InUse) {
        let Ok(maps) = std::fs::File::open(process.join("maps")) else { return };
        let mut maps = BufReader::new(maps);
        let mut line = Vec::new();
        while matches!(maps.read_until(b'\n', &mut line), Ok(1..)) {
            if let Some(mapping) = mapping(&String::from_utf8_lossy(&line))
                && mapping.device == self.device
                // Where a number may be another subvolume's file, only what may be harmed counts:
                // libraries are mapped by everybody all the time, but by nobody to be written.
                && (self.subvolume.is_none() || mapping.writes)
            {
                found.add(mapping.inode, mapping.shared);
            }
            line.clear();
        }
    }
}

/// A device as text; `None` if it is none.
fn device_of(text: &str, radix: u32) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    let number = |text| u32::from_str_radix(text, radix).ok();
    Some((number(major)?, number(minor)?))
}

/// What is told about an open file.
struct Info {
    /// Its mount, by number.
    mount: Option<u64>,
    /// Whether it may be written; if that cannot be told, it may.
    may_write: bool,
}

fn info_of(path: &Path) -> Info {
    let mut text = Vec::new();
    let file = std::fs::File::open(path);
    // What was read before a failure tells as much as it does.
    let _ = file.and_then(|file| file.take(INFO_BYTES_MAX).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let flags = value("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok());
    Info {
        mount: value("mnt_id:").and_then(|mount| mount.parse().ok()),
        may_write: flags.is_none_or(|flags| flags & WRITES != 0),
    }
}

/// A file in a process's memory.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    device: Device,
    inode: u64,
    /// What is written there goes to the file. One that is read only may become writable.
    shared: bool,
    /// It is shared and writable now.
    writes: bool,
}

/// Reads a line of `/proc/PID/maps`: `from-to rw-s offset major:minor inode path`; `None` for one
/// that is about no file.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let rights = fields.next()?.as_bytes();
    let device = device_of(fields.nth(1)?, 16)?;
    let inode = fields.next()?.parse().ok().filter(|inode| *inode != 0)?;
    let shared = rights.get(3) == Some(&b's');
    Some(Mapping { device, inode, shared, writes: shared && rights.get(1) == Some(&b'w') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read_as_the_kernel_writes_them() {
        let of = |rights: &str| {
            mapping(&format!("7f52c0000000-7f52c0021000 {rights} 00001000 103:0a 77 /a b\n"))
        };
        let device = (0x103, 10);
        let told = |shared, writes| Some(Mapping { device, inode: 77, shared, writes });
        assert_eq!(of("rw-s"), told(true, true));
        assert_eq!(of("r--s"), told(true, false));
        assert_eq!(of("rw-p"), told(false, false));
        assert_eq!(mapping("7ffc3-7ffc4 rw-p 00000000 00:00 0      [stack]"), None);
        assert_eq!(mapping("nonsense"), None);
    }
}
