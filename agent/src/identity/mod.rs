//! Who this computer is and where its users live, as the operating system has it.

mod account;

use std::path::PathBuf;

use homeport_policy::facts::Os;
use homeport_policy::unc::check_name;

use crate::settings::{Settings, is_host};

pub use account::{Account, BecomeError, become_account, confine, worker_account};

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
    /// It is no user name at all.
    #[error("{user:?} is no user name")]
    NoName {
        /// What was given.
        user: String,
    },
    /// Another account of the same name was here before.
    #[error(
        "what is kept about {user} is of another account, {kept}; now {user} is {found}. Nothing is \
         touched. If the account was made anew, stop the agent and remove {user} from users.json \
         in the state directory"
    )]
    OtherAccount {
        /// The user.
        user: String,
        /// SID of the account that was here before.
        kept: String,
        /// SID of the account that has the name now.
        found: String,
    },
    /// The home belongs to somebody else than the account that would work on it.
    #[error(
        "{home} belongs to account {owner} and not to account {account}; \
         nothing is done in a home that is somebody else's"
    )]
    OtherOwner {
        /// The home.
        home: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who would work on it.
        account: u32,
    },
    /// The administrator's account is nobody's desktop.
    #[error("{user} is the account of the administrator: its folders are left alone")]
    Root {
        /// The user.
        user: String,
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

/// The domain that the host name names (`corp.test` of `lt-7.corp.test`), if it names one.
pub fn host_domain() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().to_lowercase();
    let (_, domain) = name.split_once('.')?;
    is_host(domain).then(|| domain.to_owned())
}

/// The user's home: below `homes.root` where that is set, else from the account database.
///
/// Somebody of another domain (`SALES\alice`) has a folder of that domain below the root, and the
/// whole name in the database, as winbind and sssd write it. They are never looked for by the bare
/// name: that is somebody else's.
///
/// # Errors
/// [`IdentityError`] when the account is not known here.
pub fn home(settings: &Settings, user: &str) -> Result<PathBuf, IdentityError> {
    let (domain, name) = user.split_once('\\').map_or((None, user), |(d, name)| (Some(d), name));
    let is_name = |part: &str| check_name(part).is_ok() && !part.contains('/');
    if !is_name(name) || domain.is_some_and(|domain| !is_name(domain)) {
        return Err(IdentityError::NoName { user: user.to_owned() });
    }
    if let Some(root) = &settings.homes.root {
        return Ok(domain.map_or_else(|| root.clone(), |domain| root.join(domain)).join(name));
    }
    match nix::unistd::User::from_name(user) {
        Ok(Some(account)) => Ok(account.dir),
        Ok(None) => Err(IdentityError::NoAccount { user: user.to_owned() }),
        Err(source) => Err(IdentityError::Lookup { user: user.to_owned(), source: source.into() }),
    }
}

/// Makes sure that what is kept under a name is of the account that has the name now.
///
/// # Errors
/// [`IdentityError::OtherAccount`].
pub fn check_account(
    user: &str,
    kept: Option<&str>,
    found: Option<&str>,
) -> Result<(), IdentityError> {
    match (kept, found) {
        (Some(kept), Some(found)) if kept != found => {
            let (user, kept, found) = (user.to_owned(), kept.to_owned(), found.to_owned());
            Err(IdentityError::OtherAccount { user, kept, found })
        }
        _ => Ok(()),
    }
}

/// Whether there is a user of this name with a home on this computer.
pub fn has_home(settings: &Settings, user: &str) -> bool {
    let is_dir = |home: PathBuf| {
        let stat = rustix::fs::stat(&home);
        stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
    };
    // An account counts with or without its home; where homes are mapped, only the home tells.
    home(settings, user).is_ok_and(|home| settings.homes.root.is_none() || is_dir(home))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn people_of_one_name_in_two_domains_have_two_homes() {
        let text = "state-dir = '/s'\npolicy-dir = '/p'\nhomes.root = '/homes'\n\
                    [directory]\nkind = 'file'\npath = '/d.ldif'\n";
        let settings = Settings::parse("/agent.toml".as_ref(), text).unwrap();
        for (user, wanted) in [("alice", "/homes/alice"), (r"SALES\alice", "/homes/SALES/alice")] {
            assert_eq!(home(&settings, user).unwrap(), Path::new(wanted));
        }
        for user in
            [r"..\alice", r"SALES\..", r"SALES\a\b", r"\alice", r"SALES\", "a/b", r"a/b\c", ""]
        {
            assert!(home(&settings, user).is_err(), "{user}");
        }
    }
}
