//! The account that a person's worker runs as, and becoming it.
//!
//! The agent runs as root and a worker must not: the worker gives up everything before it reads its
//! first request, and nothing of the agent's environment reaches it.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};
use rustix::process::{Resource, Rlimit};

use crate::identity::IdentityError;
use crate::limits::{GROUPS_MAX, WORKER_FILES_MAX};
use crate::settings::Settings;

/// An account of this computer, as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its user number; never 0.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Its name.
    pub name: String,
    /// Its home.
    pub home: PathBuf,
    /// Where the tickets of its newest session are, if that is known.
    pub ticket_cache: Option<String>,
}

/// A process could not become the account that it is to work as.
#[derive(Debug, thiserror::Error)]
#[error("cannot become account {uid}: {what}")]
pub struct BecomeError {
    uid: u32,
    what: &'static str,
    source: io::Error,
}

/// As whom a user's worker runs; `None` is the agent's own identity: an agent that is not root can
/// take no other, and works for the one person to whom the home belongs. Where homes are mapped by
/// the settings (tests, the demo), so does root for homes of its own.
///
/// # Errors
/// [`IdentityError`] when the home belongs to somebody else, or the account is no person's.
pub fn worker_account(
    settings: &Settings,
    user: &str,
    home: &Path,
) -> Result<Option<Account>, IdentityError> {
    let owner = rustix::fs::stat(home).ok().map(|stat| stat.st_uid);
    let agent = rustix::process::geteuid();
    let is_agents = owner.is_none_or(|owner| owner == agent.as_raw());
    let belongs_to = |account| {
        let (home, owner) = (home.to_owned(), owner.unwrap_or_default());
        IdentityError::OtherOwner { home, owner, account }
    };
    if !agent.is_root() {
        return if is_agents { Ok(None) } else { Err(belongs_to(agent.as_raw())) };
    }
    if settings.homes.root.is_some() && is_agents {
        return Ok(None);
    }
    let account = lookup(user)?;
    if owner.is_some_and(|owner| owner != account.uid) {
        return Err(belongs_to(account.uid));
    }
    Ok(Some(account))
}

/// Looks an account up, with its groups.
///
/// # Errors
/// [`IdentityError`] when there is none, it could not be asked for, or it is root.
fn lookup(name: &str) -> Result<Account, IdentityError> {
    let failed = |source| IdentityError::Lookup { user: name.to_owned(), source };
    let user = User::from_name(name).map_err(|error| failed(error.into()))?;
    let user = user.ok_or_else(|| IdentityError::NoAccount { user: name.to_owned() })?;
    if user.uid.is_root() {
        return Err(IdentityError::Root { user: name.to_owned() });
    }
    let text = CString::new(name).map_err(|error| failed(error.into()))?;
    let groups = getgrouplist(&text, user.gid).map_err(|error| failed(error.into()))?;
    let groups = groups.into_iter().take(GROUPS_MAX).map(Gid::as_raw).collect();
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    Ok(Account { uid, gid, groups, name: user.name, home: user.dir, ticket_cache: None })
}

impl Account {
    /// For the command line of the worker: nothing of it is a secret.
    pub fn arguments(&self) -> [String; 2] {
        let numbers = std::iter::once(&self.gid).chain(&self.groups);
        let numbers: Vec<String> = numbers.map(ToString::to_string).collect();
        [format!("--uid={}", self.uid), format!("--groups={}", numbers.join(","))]
    }

    /// The whole environment of the worker.
    pub fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let runtime = PathBuf::from(format!("/run/user/{}", self.uid));
        let mut variables: Vec<(&'static str, std::ffi::OsString)> = vec![
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
            ("LANG", "C.UTF-8".into()),
            ("HOME", self.home.clone().into()),
            ("USER", self.name.clone().into()),
            ("LOGNAME", self.name.clone().into()),
            ("XDG_RUNTIME_DIR", runtime.into()),
        ];
        variables.extend(self.ticket_cache.as_ref().map(|cache| ("KRB5CCNAME", cache.into())));
        variables
    }
}

/// Takes what this process can do without from it: core files with people's content in them, new
/// rights by programs it might start, and files without end.
///
/// # Errors
/// [`BecomeError`].
pub fn confine() -> Result<(), BecomeError> {
    let uid = rustix::process::geteuid().as_raw();
    let failed =
        |what| move |source: rustix::io::Errno| BecomeError { uid, what, source: source.into() };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(failed("no core files"))?;
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    let files = Some(most.map_or(WORKER_FILES_MAX, |most| most.min(WORKER_FILES_MAX)));
    let files = Rlimit { current: files, maximum: files };
    rustix::process::setrlimit(Resource::Nofile, files).map_err(failed("open files"))?;
    rustix::thread::set_no_new_privs(true).map_err(failed("no new privileges"))
}

/// Becomes an account for good; `groups` begins with the primary group. Called before anything is
/// read or another thread exists.
///
/// # Errors
/// [`BecomeError`]; the process must end then.
pub fn become_account(uid: u32, groups: &[u32]) -> Result<(), BecomeError> {
    let failed = |what| move |source: io::Error| BecomeError { uid, what, source };
    let refused = |what, why: &str| failed(what)(io::Error::other(why.to_owned()));
    let Some((gid, groups)) = groups.split_first().filter(|_| uid != 0) else {
        return Err(refused("its numbers", "root is no person, and a group is needed"));
    };
    let (uid_, gid) = (Uid::from_raw(uid), Gid::from_raw(*gid));
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(|error| failed("its groups")(error.into()))?;
    setresgid(gid, gid, gid).map_err(|error| failed("its primary group")(error.into()))?;
    setresuid(uid_, uid_, uid_).map_err(|error| failed("its number")(error.into()))?;
    // A kernel that said yes and did nothing, or a way back, must not go unseen.
    let is_that = rustix::process::getuid().as_raw() == uid
        && rustix::process::geteuid().as_raw() == uid
        && setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err();
    match is_that {
        true => {
            rustix::process::chdir("/").map_err(|error| failed("leave the directory")(error.into()))
        }
        false => Err(refused("give up what it was", "it could become root again")),
    }
}
