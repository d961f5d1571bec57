//! `[smb]`: shares that are reached without a mount, through `homeport-smb`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::limits::SMB_PROCESSES_MAX;

/// How shares are reached that say `backend = "smb"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SmbSettings {
    /// The helper program.
    pub helper: PathBuf,
    /// Processes of it that one exchange uses at a time. Each has a connection of its own.
    pub processes: usize,
    /// TCP port of file servers.
    pub port: u16,
    /// Whether encryption is used where the server offers it, or demanded.
    pub encryption: Encryption,
    /// Whether a password may be used where Kerberos cannot.
    pub ntlm: bool,
    /// The account; absent is the owner of the Kerberos tickets.
    pub user: Option<String>,
    /// Its realm or domain; absent as above.
    pub realm: Option<String>,
    /// The file with the password for NTLM, for its owner's eyes only.
    pub password_file: Option<PathBuf>,
}

/// Encryption on the way to file servers. Signing is always required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Where the server offers it.
    #[default]
    WhenOffered,
    /// Servers without it are refused.
    Required,
}

impl Default for SmbSettings {
    fn default() -> Self {
        Self {
            helper: "/usr/lib/homeport/homeport-smb".into(),
            processes: 4,
            port: 445,
            encryption: Encryption::WhenOffered,
            ntlm: false,
            user: None,
            realm: None,
            password_file: None,
        }
    }
}

impl SmbSettings {
    /// What is wrong with them, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        if !(1..=SMB_PROCESSES_MAX).contains(&self.processes) {
            let most = SMB_PROCESSES_MAX;
            return Some(format!("smb.processes is {}: 1 to {most} make sense", self.processes));
        }
        let with_password = self.password_file.is_some() || self.realm.is_some();
        match (self.ntlm, &self.password_file, &self.user) {
            (false, Some(_), _) => Some(
                "smb.password-file is for NTLM alone: add ntlm = true, or leave it out".to_owned(),
            ),
            (true, Some(_), None) => Some("smb.password-file needs smb.user".to_owned()),
            (_, _, None) if with_password => Some("smb.realm needs smb.user".to_owned()),
            _ => None,
        }
    }
}
