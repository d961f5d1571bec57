//! `homeport doctor`: of the directory, or of a network folder.

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
use crate::wish::Place;

pub(super) fn carry_out(command: &Doctor, path: &Path) -> Answer {
    match (&command.what, &command.path) {
        (Some(DoctorOf::Directory(args)), _) => directory::examine(args, path),
        (None, Some(text)) => share(text, &command.sids, path),
        (None, None) => Err(Stopped::new("no path", "name a network folder", Exit::Usage)),
    }
}

fn share(text: &str, sids: &[String], path: &Path) -> Answer {
    let Place::Network(unc) = place(text)? else {
        let hint = r"name a network folder, like '\\srv\share\folder'";
        return Err(Stopped::new(format!("'{text}' is on this computer"), hint, Exit::Usage));
    };
    if let Some(bad) = sids.iter().find(|text| sid::bytes(text).is_none()) {
        let hint = "a SID looks like S-1-5-21-1004336348-1177238915-682003330-512";
        return Err(Stopped::new(format!("'{bad}' is no SID"), hint, Exit::Usage));
    }
    // Without settings the server can be looked at all the same.
    let settings = settings(path).ok();
    let asked = Asked { unc, sids: sids.to_vec() };
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
