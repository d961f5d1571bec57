//! Gathers the facts that a decision may rest on: directory, computer, network.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeport_policy::facts::{Computer, Directory, Facts, Names, Network, Os};

use crate::clock::Clock;
use crate::directory::connect::Connector;
use crate::directory::discover::system_domain;
use crate::directory::file::{FileError, Snapshot, Stamp, load, stamp};
use crate::directory::live::{Host, Live, View};
use crate::directory::tally::{Counts, Tally};
use crate::identity;
use crate::limits::{DIRECTORY_FRESH, DIRECTORY_SAME_TURN};
use crate::outcome::chain;
use crate::plan::Occasion;
use crate::settings::{DirectorySettings, LdapSettings, Settings};

/// The directory as far as it can be seen now.
#[derive(Debug)]
pub enum Seen {
    /// An LDIF export.
    File(Box<Export>),
    /// A live directory.
    Live(Box<Live>),
}

/// An export, as it was last read.
#[derive(Debug, Default)]
pub struct Export {
    snapshot: Snapshot,
    error: Option<FileError>,
    stamp: Option<Stamp>,
}

/// How it stands with the directory, for status and log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The export, or the server that answered last.
    pub server: Option<String>,
    /// How the connection is protected; absent for an export.
    pub security: Option<&'static str>,
    /// When it last answered, in milliseconds since 1970.
    pub answered_unix_ms: Option<i64>,
    /// Why it is out of reach.
    pub error: Option<String>,
    /// How to mend that.
    pub hint: Option<&'static str>,
    /// Why the cached answers are not used or kept.
    pub cache_error: Option<String>,
}

impl Export {
    /// Looks again. An export that did not change is not read again: it may be large, and folders in
    /// online mode look every half minute.
    fn refresh(&mut self, path: &Path) {
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

/// What connects this computer to the live directory of its settings; nothing is asked yet. `seed`
/// spreads a fleet over its servers.
pub fn connector(settings: &Settings, ldap: &LdapSettings, seed: u64) -> Connector {
    let (name, site) = (identity::computer_name(settings), settings.computer.site.clone());
    let domain = identity::host_domain().or_else(system_domain);
    Connector::new(ldap.clone(), &name, domain, site, seed, Tally::default())
}

impl Seen {
    /// What the settings name; nothing is asked yet.
    pub fn new(settings: &Settings, clock: &Clock, seed: u64) -> Self {
        let DirectorySettings::Ldap(ldap) = &settings.directory else {
            return Self::File(Box::default());
        };
        let (name, site) = (identity::computer_name(settings), settings.computer.site.clone());
        let connector = connector(settings, ldap, seed);
        let host = Host { name, os: identity::THIS_OS, site };
        Self::Live(Box::new(Live::new(connector, host, clock.clone(), &settings.state_dir, seed)))
    }

    /// The account's own spelling of a name; `DOMAIN\name` for somebody of another domain than this
    /// computer's.
    pub async fn account_name(&mut self, settings: &Settings, name: &str) -> Option<String> {
        match self {
            Self::File(export) => {
                export.refresh(path_of(settings));
                export.snapshot.user(name).map(|user| user.name.clone())
            }
            Self::Live(live) => {
                // A known account is not asked for its spelling; its turn asks for its facts.
                if let Some(name) = live.remembered_name(name) {
                    return Some(name);
                }
                let view = live.refresh(Some(name), DIRECTORY_SAME_TURN).await;
                view.user.and_then(|_| live.remembered_name(name))
            }
        }
    }

    /// Whether a name is known without asking anybody.
    pub fn knows(&self, name: &str) -> bool {
        match self {
            Self::File(export) => export.snapshot.user(name).is_some(),
            Self::Live(live) => live.remembered_name(name).is_some(),
        }
    }

    /// Asks what a sign-in would else have to ask.
    pub async fn keep_warm(&mut self) {
        if let Self::Live(live) = self {
            live.keep_warm().await;
        }
    }

    /// What it cost to ask since the last time.
    pub fn collect(&self) -> Counts {
        match self {
            Self::File(_) => Counts::default(),
            Self::Live(live) => live.connector().tally().collect(),
        }
    }

    /// How it stands with the directory.
    pub fn standing(&self, settings: &Settings) -> Standing {
        match self {
            Self::File(export) => Standing {
                server: Some(path_of(settings).display().to_string()),
                error: export.error.as_ref().map(|error| chain(error)),
                ..Standing::default()
            },
            Self::Live(live) => Standing {
                server: live.server().map(str::to_owned),
                security: Some(live.connector().settings().security.name()),
                answered_unix_ms: live.answered_unix_ms(),
                error: live.error().map(|error| chain(error)),
                hint: live.error().map(|error| error.hint()),
                cache_error: live.cache_error().map(|error| chain(error)),
            },
        }
    }
}

fn path_of(settings: &Settings) -> &Path {
    match &settings.directory {
        DirectorySettings::File { path } => path,
        DirectorySettings::Ldap(_) => Path::new(""),
    }
}

/// How old an answer may be for an occasion. Where a person waits for what their account may have,
/// the directory is asked; timers make do with a recent answer.
pub fn max_age(occasion: Occasion) -> Duration {
    match occasion {
        Occasion::Logon | Occasion::Refresh | Occasion::Manual => DIRECTORY_SAME_TURN,
        Occasion::Logoff | Occasion::Background | Occasion::Exchange => DIRECTORY_FRESH,
    }
}

/// Everything known about one user on this computer now.
pub async fn gather(
    settings: &Settings,
    seen: &mut Seen,
    user: Option<&str>,
    max_age: Duration,
    network: Network,
) -> Facts {
    match seen {
        Seen::File(export) => {
            export.refresh(path_of(settings));
            let name = identity::computer_name(settings);
            let site = settings.computer.site.clone();
            let away = export.error.is_some();
            let directory = if away { Directory::Away } else { Directory::Answered };
            facts_for(&export.snapshot, user, &name, identity::THIS_OS, site, directory, network)
        }
        Seen::Live(live) => {
            let view = live.refresh(user, max_age).await;
            let View { user, computer, schema_has_primary_computer, directory } = view;
            let profile_link = None;
            Facts { user, computer, directory, schema_has_primary_computer, network, profile_link }
        }
    }
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
