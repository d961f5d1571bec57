//! Who this computer is and where its users live, as the operating system has it.

use std::path::PathBuf;

use homeport_policy::facts::Os;

use crate::settings::Settings;

/// The operating system this agent runs on.
pub const THIS_OS: Os = if cfg!(windows) { Os::Windows } else { Os::Linux };

/// The user's home cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The account database could not be asked.
    #[error("cannot look up the account {user}")]
    Lookup {
        /// The user.
        user: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such account on this computer.
    #[error("this computer has no account {user} (set homes.root in agent.toml to map homes)")]
    NoAccount {
        /// The user.
        user: String,
    },
}

/// The computer's name: from the settings, else the host name up to its first dot.
pub fn computer_name(settings: &Settings) -> String {
    if let Some(name) = &settings.computer.name {
        return name.clone();
    }
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// The user's home: below `homes.root` where that is set, else from the account database.
///
/// # Errors
/// [`IdentityError`] when the account is not known here.
pub fn home(settings: &Settings, user: &str) -> Result<PathBuf, IdentityError> {
    if let Some(root) = &settings.homes.root {
        return Ok(root.join(user));
    }
    match nix::unistd::User::from_name(user) {
        Ok(Some(account)) => Ok(account.dir),
        Ok(None) => Err(IdentityError::NoAccount { user: user.to_owned() }),
        Err(source) => Err(IdentityError::Lookup { user: user.to_owned(), source: source.into() }),
    }
}
