//! `agent.toml`: what an administrator sets on one computer; checked before anything runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeport_policy::diagnostic::line_and_column;
use homeport_policy::facts::Cost;
use homeport_policy::unc::Unc;
use serde::Deserialize;

mod directory;
mod smb;

pub use directory::{
    DirectorySettings, LdapSettings, SecretSource, Security, Server, TlsStart, is_host,
};
pub use smb::{Encryption, SmbSettings};

/// The agent's own settings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Where the agent keeps what must survive a restart.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Where open sessions are counted; a place in memory, so that a restart forgets them.
    #[serde(default = "default_sessions_dir")]
    pub sessions_dir: PathBuf,
    /// The directory of policy files, watched for changes.
    #[serde(default = "default_policy_dir")]
    pub policy_dir: PathBuf,
    /// Where `/metrics` and `/healthz` are served; absent = not at all.
    #[serde(default = "default_listen")]
    pub listen: Option<SocketAddr>,
    /// How the agent logs.
    #[serde(default)]
    pub log: Log,
    /// Which computer this is.
    #[serde(default)]
    pub computer: ComputerSettings,
    /// Where users, groups and computers are looked up.
    pub directory: DirectorySettings,
    /// What the network costs.
    #[serde(default)]
    pub network: NetworkSettings,
    /// Where homes are.
    #[serde(default)]
    pub homes: Homes,
    /// How long a person may be kept waiting.
    #[serde(default)]
    pub budget: Budget,
    /// Which directories on this computer hold which shares.
    #[serde(default, rename = "mount")]
    pub mounts: Vec<Mount>,
    /// How shares are reached that are not mounted.
    #[serde(default)]
    pub smb: SmbSettings,
}

/// How the agent logs, to standard error.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A filter as `tracing` has it: `info`, `homeport_agent=debug`, …
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which computer this is. What is absent is asked of the operating system.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ComputerSettings {
    /// NetBIOS name.
    pub name: Option<String>,
    /// Active Directory site.
    pub site: Option<String>,
}

/// What the network costs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// The cost to assume when nothing else says it.
    pub cost: Cost,
    /// A file whose content is one of the words of `cost`, read before every cycle. While it is
    /// there, nobody else is believed.
    pub cost_file: Option<PathBuf>,
    /// Whether NetworkManager and ModemManager are asked, where they are on the system bus.
    pub ask_manager: bool,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self { cost: Cost::default(), cost_file: None, ask_manager: true }
    }
}

/// Where homes are. What is absent is asked of the operating system.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Homes {
    /// The directory below which each user has a home of their name.
    pub root: Option<PathBuf>,
}

/// How long a person may be kept waiting.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Budget {
    /// Sign-in, with every server dead.
    #[serde(with = "human_duration")]
    pub logon: Duration,
    /// Sign-out, with every server dead.
    #[serde(with = "human_duration")]
    pub logoff: Duration,
}

/// A directory on this computer that holds a share or a part of one, or another way to reach it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mount {
    /// The UNC path.
    pub unc: Unc,
    /// How it is reached.
    #[serde(default)]
    pub backend: Backend,
    /// The directory, where it is mounted.
    #[serde(default)]
    pub path: PathBuf,
    /// Whether the directory must be a mount point. An empty mount point without its file system
    /// would look like a share from which everything was deleted.
    #[serde(default = "yes")]
    pub mounted: bool,
    /// `[smb]`, where it is not mounted.
    #[serde(skip)]
    pub smb: Option<SmbSettings>,
}

/// How a share is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// It is a directory on this computer.
    #[default]
    Mounted,
    /// The helper program speaks SMB.
    Smb,
}

impl Mount {
    /// What is wrong with it, if anything.
    fn fault(&self) -> Option<String> {
        let (unc, has_path) = (&self.unc, !self.path.as_os_str().is_empty());
        match (self.backend, has_path) {
            (Backend::Mounted, false) => {
                Some(format!("[[mount]] of {unc}: path is missing; or is backend = \"smb\" meant?"))
            }
            (Backend::Smb, true) => Some(format!(
                "[[mount]] of {unc}: with backend = \"smb\" there is no directory; leave out path"
            )),
            (Backend::Smb, false) if unc.parts().count() < 2 => {
                Some(format!("[[mount]] of {unc}: it names a server and no share"))
            }
            _ => None,
        }
    }
}

fn default_state_dir() -> PathBuf {
    "/var/lib/homeport".into()
}

fn default_sessions_dir() -> PathBuf {
    "/run/homeport/sessions".into()
}

fn default_policy_dir() -> PathBuf {
    "/etc/homeport/policy.d".into()
}

#[expect(clippy::unnecessary_wraps, reason = "the field is an option")]
fn default_listen() -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], 9470)))
}

fn yes() -> bool {
    true
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { logon: Duration::from_secs(30), logoff: Duration::from_secs(60) }
    }
}

mod human_duration {
    //! Durations as policy files have them.
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("{text}: {error}")))
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read the settings {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than [`crate::limits::SETTINGS_BYTES_MAX`].
    #[error("the settings {path} are larger than 1 MiB")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no valid settings file.
    #[error("{path}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u32,
        /// 1-based.
        column: u32,
        /// What is wrong.
        message: String,
    },
}

impl Settings {
    /// The usual places and budgets, for a sign-in that goes on whatever the file says.
    pub fn usual() -> Self {
        Self {
            state_dir: default_state_dir(),
            sessions_dir: default_sessions_dir(),
            policy_dir: default_policy_dir(),
            listen: default_listen(),
            log: Log::default(),
            computer: ComputerSettings::default(),
            directory: DirectorySettings::File { path: PathBuf::new() },
            network: NetworkSettings::default(),
            homes: Homes::default(),
            budget: Budget::default(),
            mounts: Vec::new(),
            smb: SmbSettings::default(),
        }
    }

    /// Reads settings from text; relative paths count from the directory of the file.
    ///
    /// # Errors
    /// [`SettingsError::Parse`] with the place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let mut settings: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let (line, column) = line_and_column(text, start);
            let message = error.message().trim().replace('\n', ", ");
            SettingsError::Parse { path: path.to_owned(), line, column, message }
        })?;
        let mut faults = settings.mounts.iter().filter_map(Mount::fault);
        if let Some(message) = faults.next().or_else(|| settings.smb.fault()) {
            let (path, line, column) = (path.to_owned(), 1, 1);
            return Err(SettingsError::Parse { path, line, column, message });
        }
        drop(faults);
        let path = std::path::absolute(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let base = path.parent().unwrap_or(Path::new("/"));
        let absolute = |path: &mut PathBuf| *path = base.join(&*path);
        absolute(&mut settings.state_dir);
        absolute(&mut settings.sessions_dir);
        absolute(&mut settings.policy_dir);
        settings.directory.files().into_iter().for_each(absolute);
        settings.network.cost_file.iter_mut().for_each(absolute);
        settings.homes.root.iter_mut().for_each(absolute);
        absolute(&mut settings.smb.helper);
        settings.smb.password_file.iter_mut().for_each(absolute);
        for mount in &mut settings.mounts {
            match mount.backend {
                Backend::Mounted => absolute(&mut mount.path),
                Backend::Smb => mount.smb = Some(settings.smb.clone()),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[directory]\nkind = 'file'\npath = 'corp.ldif'\n";

    #[test]
    fn relative_paths_count_from_the_file() {
        let settings = Settings::parse(Path::new("/etc/homeport/agent.toml"), SMALL).unwrap();
        let path = Path::new("/etc/homeport/corp.ldif").to_owned();
        assert_eq!(settings.directory, DirectorySettings::File { path });
        assert_eq!(settings.budget.logon, Duration::from_secs(30));
    }

    #[test]
    fn a_mistake_has_its_place() {
        let text = format!("{SMALL}\n[budget]\nlogon = \"soon\"\n");
        let error = Settings::parse(Path::new("agent.toml"), &text).unwrap_err();
        assert!(error.to_string().starts_with("agent.toml:6:9: soon"), "{error}");
        let text = format!("{SMALL}\n[homes]\nrot = \"/home\"\n");
        let error = Settings::parse(Path::new("agent.toml"), &text).unwrap_err();
        assert!(error.to_string().contains("agent.toml:6:1: unknown field `rot`"), "{error}");
    }

    #[test]
    fn a_share_is_mounted_or_reached_over_smb_and_not_both() {
        let parse =
            |more: &str| Settings::parse(Path::new("/etc/x.toml"), &format!("{SMALL}{more}"));
        let smb = "[[mount]]\nunc = '\\\\srv\\home'\nbackend = 'smb'\n";
        let settings = parse(&format!("{smb}[smb]\nhelper = 'h'\nprocesses = 2\n")).unwrap();
        let found = settings.mounts[0].smb.clone().unwrap();
        assert_eq!((found.helper.as_path(), found.processes), (Path::new("/etc/h"), 2));
        for (more, hint) in [
            ("[[mount]]\nunc = '\\\\srv\\home'\n", "path is missing"),
            (&format!("{smb}path = '/mnt'\n"), "leave out path"),
            ("[smb]\nprocesses = 0\n", "1 to 32"),
            ("[smb]\npassword-file = 'p'\n", "add ntlm = true"),
            ("[smb]\nntlm = true\npassword-file = 'p'\n", "needs smb.user"),
            ("[smb]\nrealm = 'CORP.TEST'\n", "needs smb.user"),
            ("[smb]\nencryption = 'never'\n", "unknown variant"),
        ] {
            let error = parse(more).unwrap_err().to_string();
            assert!(error.contains(hint), "{more}: {error}");
        }
    }
}
