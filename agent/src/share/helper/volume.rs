//! A folder of a share as the engine sees it: each call is one request to one process.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Arc, Once};
use std::time::Duration;

use homeport_sync::fs::{Folder, How, Look, PATH_BYTES_MAX, Reader, Traits, Volume, Writer};
use homeport_sync::names::{Rules, judge};
use homeport_sync::{Entry, Kind, Stamp};

use super::file::{SmbWriter, open};
use super::pool::Pool;
use super::wire::{self, DIRECTORY, READ_ONLY, REPARSE_POINT, Reply, Request, Stat};
use super::{Limits, Start};

/// The mark of a root, a file that is there when free space is asked for.
const MARKER: &str = ".homeport-root";

/// The engine has as many hands as there are processors. Over a network they mostly wait, so there
/// are as many as there are connections, once the first such share is opened.
static EXCHANGES: Once = Once::new();

/// A folder of a share, open.
#[derive(Clone, Debug)]
pub struct SmbVolume {
    pub(super) pool: Arc<Pool>,
    /// Below the share, with `/`.
    pub(super) root: Arc<str>,
}

impl SmbVolume {
    /// A folder of a share. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// `InvalidFilename` when its path has a name that no share holds.
    pub fn new(start: Start) -> io::Result<Self> {
        let root: Arc<str> = start.share.below.join("/").into();
        for name in &start.share.below {
            check(name.as_bytes())?;
        }
        let hands = start.share.processes;
        EXCHANGES.call_once(|| {
            let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            // Who had hands before keeps them: that is slower, and nothing else.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(all.max(hands));
            let _there_were_some = pool.build_global();
        });
        Ok(Self { pool: Pool::new(start), root })
    }

    /// Looks at the root, exactly at it: what is above it is nobody's business here.
    ///
    /// # Errors
    /// As the connection; `NotFound`; `NotADirectory`; `PermissionDenied`.
    pub fn look_at_root(&self) -> io::Result<()> {
        let looked = {
            let mut process = self.pool.take()?;
            match process.ask(&Request::Stat { path: &self.root }, self.pool.start().limits.call) {
                Ok(Reply::Stat(stat)) => Ok(stat),
                Ok(_) => return Err(process.odd()),
                Err(error) => Err(error),
            }
        };
        match looked {
            Ok(stat) if stat.attributes & DIRECTORY == 0 => {
                Err(io::ErrorKind::NotADirectory.into())
            }
            // Who may list it and not read its attributes can still exchange it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.at("").list().map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Makes the root and what is missing above it, below the share.
    ///
    /// # Errors
    /// As `mkdir`.
    pub fn make_root(&self) -> io::Result<()> {
        let mut path = String::new();
        for name in &self.pool.start().share.below {
            path = joined(&path, name)?;
            let mut process = self.pool.take()?;
            let within = self.pool.start().limits.call;
            match process.done(&Request::MakeFolder { path: &path }, within) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // A folder above, which may be entered and not written to.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    process.ask(&Request::Stat { path: &path }, within).map_err(|_| error)?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Waits until something changes in the root or below it; gives what, as far as the server says.
    ///
    /// # Errors
    /// As the server.
    pub fn changes(&self, within: Duration) -> io::Result<Vec<String>> {
        let timeout_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let mut process = self.pool.take()?;
        let request = Request::Notify { path: &self.root, timeout_ms };
        // libsmbclient gives up a watch without waiting for the server's answer to that, which then
        // comes unexpected and costs the connection.
        let changes = match process.ask(&request, within + self.pool.start().limits.list)? {
            Reply::Changes(list) => list.into_iter().map(|(_, name)| name.to_owned()).collect(),
            _ => return Err(process.odd()),
        };
        process.retire();
        Ok(changes)
    }

    fn at(&self, path: &str) -> SmbFolder {
        let path = match (&*self.root, path) {
            ("", path) => path.into(),
            (root, "") => root.into(),
            (root, path) => format!("{root}/{path}").into(),
        };
        SmbFolder { pool: Arc::clone(&self.pool), path }
    }
}

impl Volume for SmbVolume {
    fn traits(&self) -> Traits {
        // A file's number may be given again, and there is no change time that nobody can set.
        Traits { stamps_tell: false, flushes_whole: false }
    }

    /// Nothing is asked: what can be said of a folder that is not there, every call in it says.
    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>> {
        if !path.is_empty() {
            path.split('/').try_for_each(|name| check(name.as_bytes()))?;
        }
        let folder = self.at(path);
        if folder.path.len() > wire::PATH_MAX || path.len() > PATH_BYTES_MAX {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        Ok(Arc::new(folder))
    }

    fn flush(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn free_bytes(&self) -> Option<u64> {
        let path = joined(&self.root, MARKER).ok()?;
        let mut process = self.pool.take().ok()?;
        match process.ask(&Request::Free { path: &path }, self.pool.start().limits.call).ok()? {
            Reply::Number(free) => Some(free),
            _ => None,
        }
    }
}

/// One folder of it: a path, as SMB has no others.
#[derive(Debug)]
pub struct SmbFolder {
    pool: Arc<Pool>,
    path: Arc<str>,
}

impl SmbFolder {
    fn limits(&self) -> &Limits {
        &self.pool.start().limits
    }

    fn path_of(&self, name: &str) -> io::Result<String> {
        check(name.as_bytes())?;
        joined(&self.path, name)
    }

    /// The path of an entry that is to be made: a server of Windows must be able to hold its name.
    fn path_of_new(&self, name: &str) -> io::Result<String> {
        if let Err(fault) = judge(name, &Rules::WINDOWS) {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, fault.to_string()));
        }
        self.path_of(name)
    }

    fn done(&self, request: &Request<'_>) -> io::Result<()> {
        self.pool.take()?.done(request, self.limits().call)
    }

    fn other<'f>(&self, to: &'f dyn Folder) -> io::Result<&'f Self> {
        let to = to.as_any().downcast_ref::<Self>();
        let to = to.filter(|to| Arc::ptr_eq(&to.pool, &self.pool));
        to.ok_or_else(|| io::ErrorKind::CrossesDevices.into())
    }
}

impl Folder for SmbFolder {
    fn list(&self) -> io::Result<Vec<(OsString, Look)>> {
        let mut process = self.pool.take()?;
        let within = self.limits().list;
        let mut found = Vec::new();
        process.send(&Request::List { path: &self.path }, within)?;
        loop {
            match process.receive(within) {
                Ok(Reply::Entries { more, list }) => {
                    for (name, stat) in list {
                        if let Err(error) = check(name) {
                            process.wear();
                            return Err(error);
                        }
                        found.push((OsString::from_vec(name.to_vec()), seen(stat)));
                    }
                    if !more {
                        break;
                    }
                    if found.len() > wire::LIST_MAX {
                        process.wear();
                        return Err(io::ErrorKind::FileTooLarge.into());
                    }
                }
                Ok(_) => return Err(process.odd()),
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if found.windows(2).any(|two| two[0].0 == two[1].0) {
            let odd = "the server lists one name twice";
            return Err(io::Error::new(io::ErrorKind::InvalidData, odd));
        }
        Ok(found)
    }

    fn look(&self, name: &str) -> io::Result<Option<Look>> {
        let path = self.path_of(name)?;
        let mut process = self.pool.take()?;
        match process.ask(&Request::Stat { path: &path }, self.limits().call) {
            Ok(Reply::Stat(stat)) => Ok(Some(seen(stat))),
            Ok(_) => Err(process.odd()),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Reader>> {
        open(&self.pool, self.path_of(name)?)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        Ok(Box::new(SmbWriter::create(&self.pool, self.path_of_new(name)?)?))
    }

    fn make_link(&self, _: &str, _: &str) -> io::Result<()> {
        let why = "the share holds no symbolic links";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    fn make_folder(&self, name: &str, _: u32) -> io::Result<()> {
        self.done(&Request::MakeFolder { path: &self.path_of_new(name)? })
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.done(&Request::RemoveFolder { path: &self.path_of(name)? })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.done(&Request::Remove { path: &self.path_of(name)? })
    }

    fn rename(&self, name: &str, to: &dyn Folder, new: &str, how: How) -> io::Result<()> {
        let to = self.other(to)?;
        let (path, new) = (self.path_of(name)?, to.path_of_new(new)?);
        let replace = match how {
            How::New => false,
            How::Replace => true,
            How::Exchange => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.done(&Request::Rename { path: &path, new: &new, replace })
    }

    fn add_name(&self, _: &str, _: &dyn Folder, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// libsmbclient has no flush: the server's word must do.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A path with one name more.
pub(super) fn joined(path: &str, name: &str) -> io::Result<String> {
    let joined = match path {
        "" => name.to_owned(),
        path => format!("{path}/{name}"),
    };
    match joined.len() {
        0..=wire::PATH_MAX => Ok(joined),
        _ => Err(io::ErrorKind::InvalidFilename.into()),
    }
}

/// Refuses a name that would lead elsewhere. A listing with such a name is no listing.
fn check(name: &[u8]) -> io::Result<()> {
    let leads_elsewhere = matches!(name, b"" | b"." | b"..")
        // A colon leads into a stream of a file, an asterisk or question mark to other files.
        || name.iter().any(|byte| matches!(byte, b'/' | b'\\' | b':' | b'*' | b'?' | 0));
    if leads_elsewhere {
        let name = String::from_utf8_lossy(name);
        let what = format!("{name:?} is no name on a share");
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, what));
    }
    Ok(())
}

/// What the engine makes of an entry.
fn seen(stat: Stat) -> Look {
    let is = |attribute| stat.attributes & attribute != 0;
    if is(DIRECTORY) && is(REPARSE_POINT) {
        // A junction or a DFS link: another place, with a life of its own.
        return Look::Mount;
    }
    let kind = if is(DIRECTORY) { Kind::Dir } else { Kind::File };
    let mode = match (kind, is(READ_ONLY)) {
        (Kind::Dir, _) => 0o700, // there the attribute says that it has an icon of its own
        (_, true) => 0o400,
        (_, false) => 0o600,
    };
    Look::Entry(Entry { kind, stamp: stamp(stat), mode, shared: false, link: None })
}

/// The stamp of an entry.
pub fn stamp(stat: Stat) -> Stamp {
    Stamp { size: stat.size, mtime_ns: stat.mtime_ns, ctime_ns: 0, inode: stat.inode }
}
