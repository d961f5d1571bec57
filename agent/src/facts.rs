//! Gathers the facts that a decision may rest on: directory, computer, network.

use std::sync::Arc;

use homeport_policy::facts::{Computer, Directory, Facts, Names, Network, Os};

use crate::directory::file::{FileError, Snapshot, Stamp, load, stamp};
use crate::identity;
use crate::settings::{DirectoryKind, DirectorySettings, Settings};

/// The directory as far as it can be seen now.
#[derive(Debug, Default)]
pub struct Seen {
    /// What it holds; empty while it is out of reach.
    pub snapshot: Snapshot,
    /// Why it is out of reach.
    pub error: Option<FileError>,
    stamp: Option<Stamp>,
}

impl Seen {
    /// Looks again. An export that did not change is not read again: it may be large, and folders in
    /// online mode look every half minute.
    pub fn refresh(&mut self, settings: &Settings) {
        let DirectorySettings { kind: DirectoryKind::File, path } = &settings.directory;
        let stamp = stamp(path);
        if stamp.is_some() && stamp == self.stamp && self.error.is_none() {
            return;
        }
        let (snapshot, error) = match load(path) {
            Ok(snapshot) => (snapshot, None),
            Err(error) => (Snapshot::default(), Some(error)),
        };
        *self = Self { snapshot, error, stamp };
    }
}

/// Everything known about one user on this computer now.
pub fn gather(settings: &Settings, seen: &Seen, user: Option<&str>, network: Network) -> Facts {
    let name = identity::computer_name(settings);
    let site = settings.computer.site.clone();
    let directory = if seen.error.is_some() { Directory::Away } else { Directory::Answered };
    facts_for(&seen.snapshot, user, &name, identity::THIS_OS, site, directory, network)
}

/// Facts about any user on any computer of a directory, for any operating system.
pub fn facts_for(
    snapshot: &Snapshot,
    user: Option<&str>,
    computer: &str,
    os: Os,
    site: Option<String>,
    directory: Directory,
    network: Network,
) -> Facts {
    let known = snapshot.computer(computer, os, site.clone());
    let computer = known.unwrap_or_else(|| Computer {
        name: computer.to_owned(),
        dn: None,
        groups: Names::default(),
        os,
        site,
        logon_server: None,
    });
    Facts {
        user: user.and_then(|user| snapshot.user(user)),
        computer: Arc::new(computer),
        directory,
        schema_has_primary_computer: snapshot.schema_has_primary_computer(),
        network,
        profile_link: None,
    }
}
