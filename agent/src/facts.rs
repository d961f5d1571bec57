//! Gathers the facts that a decision may rest on: directory, computer, network.

use std::sync::Arc;

use homeport_policy::facts::{Computer, Directory, Facts, Names, Network, Os};

use crate::directory::file::{FileError, Snapshot, load};
use crate::identity;
use crate::settings::{DirectoryKind, DirectorySettings, Settings};

/// The directory as far as it can be seen now.
#[derive(Debug)]
pub struct Seen {
    /// What it holds; empty while it is out of reach.
    pub snapshot: Snapshot,
    /// Why it is out of reach.
    pub error: Option<FileError>,
}

/// Reads the directory that the settings name.
pub fn see_directory(settings: &Settings) -> Seen {
    let DirectorySettings { kind: DirectoryKind::File, path } = &settings.directory;
    match load(path) {
        Ok(snapshot) => Seen { snapshot, error: None },
        Err(error) => Seen { snapshot: Snapshot::default(), error: Some(error) },
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
