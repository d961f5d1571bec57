//! Single questions to a share, each with the server's own status: for `homeport doctor`.

use std::io;

use super::Refused;
use super::pool::Lease;
use super::volume::{SmbVolume, joined};
use super::wire::{DIRECTORY, REPARSE_POINT, Reply, Request};

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// A folder.
    Folder,
    /// Anything else.
    Other,
}

impl SmbVolume {
    /// Signs in and connects to the share, if that was not done yet.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn connect(&self) -> Result<(), Refused> {
        Ok(self.pool.take().map(drop)?)
    }

    /// Opens an entry below the root with the right to read its attributes.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn attributes(&self, path: &str) -> Result<Is, Refused> {
        let within = self.pool.start().limits.call;
        self.asked(path, |lease, path| match lease.ask(&Request::Stat { path }, within)? {
            Reply::Stat(stat) if stat.attributes & DIRECTORY != 0 => Ok(Is::Folder),
            Reply::Stat(_) => Ok(Is::Other),
            _ => Err(lease.odd()),
        })
    }

    /// Whether a folder below the root may be listed; gives which of its entries are folders that
    /// lead elsewhere, among the first. The rest of a long listing is not waited for.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn may_list(&self, path: &str) -> Result<Vec<String>, Refused> {
        let within = self.pool.start().limits.list;
        self.asked(path, |lease, path| {
            lease.send(&Request::List { path }, within)?;
            let Reply::Entries { more, list } = lease.receive(within)? else {
                return Err(lease.odd());
            };
            let both = DIRECTORY | REPARSE_POINT;
            let links = list.iter().filter(|(_, stat)| stat.attributes & both == both);
            let links = links.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
            if more {
                lease.retire();
            }
            Ok(links)
        })
    }

    /// Owner, group and access list of an entry below the root, in libsmbclient's words.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn security(&self, path: &str) -> Result<String, Refused> {
        let within = self.pool.start().limits.call;
        self.asked(path, |lease, path| match lease.ask(&Request::Security { path }, within)? {
            Reply::Text(text) => Ok(text.to_owned()),
            _ => Err(lease.odd()),
        })
    }

    fn asked<T>(
        &self,
        path: &str,
        ask: impl FnOnce(&mut Lease, &str) -> io::Result<T>,
    ) -> Result<T, Refused> {
        let path = match path {
            "" => self.root.to_string(),
            path => joined(&self.root, path)?,
        };
        let mut lease = self.pool.take()?;
        let asked = ask(&mut lease, &path);
        asked.map_err(|source| Refused { status: lease.status(), source })
    }
}
