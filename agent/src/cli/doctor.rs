//! `homeport doctor`: of the directory, or of a network folder.
//!
//! A share is looked at by a person, never by root: root finds out who the user is, and replaces this
//! program by itself as that person (`exec`), with nothing of its own environment.
#![expect(clippy::disallowed_methods, reason = "edge: starts itself again as somebody else")]

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use super::args_directory::{Doctor, DoctorOf};
use super::place::place;
use super::service::settings;
use super::{Answer, Said, Stopped, directory};
use crate::cli::exit::Exit;
use crate::clock::{Clock, draw};
use crate::directory::sid;
use crate::doctor::share_judge::Verdict;
use crate::doctor::share_look::{Asked, examine};
use crate::identity::{Account, become_account, confine, home, worker_account};
use crate::settings::{DirectorySettings, Settings};
use crate::wish::Place;

pub(super) fn carry_out(command: &Doctor, path: &Path) -> Answer {
    match (&command.what, &command.path) {
        (Some(DoctorOf::Directory(args)), _) => directory::examine(args, path),
        (None, Some(text)) => share(text, command, path),
        (None, None) => Err(Stopped::new("no path", "name a network folder", Exit::Usage)),
    }
}

fn share(text: &str, command: &Doctor, path: &Path) -> Answer {
    let Place::Network(unc) = place(text)? else {
        let hint = r"name a network folder, like '\\srv\share\folder'";
        return Err(Stopped::new(format!("'{text}' is on this computer"), hint, Exit::Usage));
    };
    if let Some(bad) = command.sids.iter().find(|text| sid::bytes(text).is_none()) {
        let hint = "a SID looks like S-1-5-21-1004336348-1177238915-682003330-512";
        return Err(Stopped::new(format!("'{bad}' is no SID"), hint, Exit::Usage));
    }
    // Without settings the server can be looked at all the same.
    let settings = settings(path).ok();
    let mut sids = command.sids.clone();
    match command.uid {
        // Nothing of the share was touched before.
        Some(uid) => become_account(uid, &command.groups)
            .and_then(|()| confine())
            .map_err(|error| Stopped::environment(&error))?,
        None => sids.extend(as_the_person(command, settings.as_ref())?),
    }
    let asked = Asked { unc, sids };
    let report = examine(&asked, settings.as_ref(), &Clock::system(), draw());
    let exit = match report.verdict {
        Verdict::Well => Exit::Ok,
        Verdict::Denied => Exit::Refused,
        Verdict::Away => Exit::Failed,
        Verdict::Broken => Exit::Environment,
    };
    let json = serde_json::to_value(&report).map_err(|error| Stopped::environment(&error))?;
    Ok(Said { text: report.to_string(), json, exit, coloured: false, aside: false })
}

/// Sees to it that whoever looks is a person; gives the SIDs that the directory has of the user.
fn as_the_person(command: &Doctor, settings: Option<&Settings>) -> Result<Vec<String>, Stopped> {
    let is_root = rustix::process::geteuid().is_root();
    let Some(user) = &command.user else {
        // Where homes are mapped (tests, the demo), root works for homes of its own.
        let is_played = settings.is_some_and(|settings| settings.homes.root.is_some());
        if !is_root || is_played {
            return Ok(Vec::new());
        }
        let hint = "name the user with --user, or run it as the user";
        return Err(Stopped::new("root opens nobody's share", hint, Exit::Usage));
    };
    let Some(settings) = settings else {
        let hint = "name the agent's settings with --settings, or leave out --user";
        return Err(Stopped::new("without settings no user is known", hint, Exit::Usage));
    };
    let is_live = matches!(settings.directory, DirectorySettings::Ldap(_));
    if !is_root && is_live {
        // Nor should it look with the computer's tickets, which are made for asking.
        let hint = "leave out --user, and name the SIDs with --sid (`wbinfo --user-sids`)";
        return Err(Stopped::new("only root may ask the live directory", hint, Exit::Usage));
    }
    let asked = directory::sids(settings, user);
    // The SIDs that were named may be all that is needed.
    let sids = if command.sids.is_empty() { asked? } else { asked.unwrap_or_default() };
    let known = |error: &dyn std::error::Error| Stopped::environment(error);
    if is_root {
        let home = home(settings, user).map_err(|error| known(&error))?;
        let account = worker_account(settings, user, &home).map_err(|error| known(&error))?;
        if let Some(account) = account {
            return Err(again_as(&account, &sids));
        }
    }
    Ok(sids)
}

/// Replaces this program by itself as a person; returns only if that failed.
fn again_as(account: &Account, sids: &[String]) -> Stopped {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Stopped::environment(&error),
    };
    let mut again = std::process::Command::new(program);
    again.args(std::env::args_os().skip(1)).args(account.arguments());
    again.args(sids.iter().map(|sid| format!("--sid={sid}")));
    again.env_clear().envs(account.environment());
    Stopped::environment(&again.exec())
}
