//! Plans what happens to each known folder, from what policy wants and what is retained.

use homeport_policy::decide::{FolderAction, FolderDecision, OnRemoval, Redirection};
use homeport_policy::folder::Folder;
use homeport_policy::reason::{Because, Reason};

use crate::observed::{Before, Observed, Phase, Place, Retained};
use crate::plan::mounts::locate;
use crate::plan::{Ground, Plan, Redirect, Remote, Restore, What, sync};

pub(super) fn plan(ground: &Ground<'_>, plan: &mut Plan) {
    for FolderDecision { folder, decided } in &ground.decision.folders {
        let one = OneFolder { ground, folder: *folder, because: &decided.because };
        let retained = ground.observed.retained.get(folder);
        match (&decided.action, retained) {
            (FolderAction::Redirect(wanted), retained) => one.redirect(wanted, retained, plan),
            (_, Some(retained)) if retained.phase == Phase::Restored => {} // only its cache is left
            (FolderAction::Local { move_contents }, Some(retained)) => {
                one.restore(retained, *move_contents, &[], plan);
            }
            (FolderAction::NotConfigured | FolderAction::NotHere, Some(retained)) => {
                one.remove(retained, plan);
            }
            (FolderAction::Hold, Some(_)) => {
                plan.not_now(folder, "it stays redirected until it can be decided");
            }
            (_, None) => {}
        }
    }
    drop_caches(ground, plan);
}

/// Caches go after every folder is home, because one folder's cache may hold another's
/// (Pictures that follow Documents).
fn drop_caches(ground: &Ground<'_>, plan: &mut Plan) {
    let homecoming = |folder: Folder| {
        plan.steps
            .iter()
            .any(|step| matches!(&step.what, What::Restore(restore) if restore.folder == folder))
    };
    let mut drops = Vec::new();
    for (folder, retained) in &ground.observed.retained {
        let is_left = retained.phase == Phase::Restored;
        if !(is_left || homecoming(*folder)) || !has_own_cache(ground.observed, *folder) {
            continue;
        }
        let inhabited = ground.observed.retained.iter().find(|(other, inner)| {
            *other != folder
                && inner.phase != Phase::Restored
                && !homecoming(**other)
                && inner.target.below(&retained.target).is_some()
        });
        let arriving = plan.steps.iter().any(|step| match &step.what {
            What::Redirect(redirect) => redirect.retain.target.below(&retained.target).is_some(),
            _ => false,
        });
        drops.push((*folder, retained, inhabited.map(|(other, _)| *other), arriving));
    }
    for (folder, retained, inhabited, arriving) in drops {
        if let Some(other) = inhabited {
            plan.not_now(&retained.target, format!("its cache stays: {other} lies in it"));
        } else if !arriving {
            drop_cache(ground, folder, retained, plan);
        }
    }
}

/// Whether a folder's cache is a cache of its own, and not a part of another folder's.
fn has_own_cache(observed: &Observed, folder: Folder) -> bool {
    let Some(retained) = observed.retained.get(&folder) else { return false };
    let inside = observed.retained.iter().any(|(other, outer)| {
        *other != folder
            && outer.cached
            && outer.target != retained.target
            && retained.target.below(&outer.target).is_some()
    });
    retained.cached && !inside
}

/// The folder is home; its cache goes as soon as everything of it is on the share.
fn drop_cache(ground: &Ground<'_>, folder: Folder, retained: &Retained, plan: &mut Plan) {
    let because =
        [Because::fact(Reason::RemovalRestore, format!("retained from {}", retained.policy))];
    match sync::exchange(ground, &retained.target, false, true) {
        Ok(exchange) => plan.push(What::DropCache { folder, exchange }, &because),
        Err(error) => {
            let (why, hint) = (error.to_string(), error.hint());
            plan.cannot(&retained.target, why, hint, &because);
        }
    }
}

struct OneFolder<'a> {
    ground: &'a Ground<'a>,
    folder: Folder,
    because: &'a [Because],
}

impl OneFolder<'_> {
    fn redirect(&self, wanted: &Redirection, retained: Option<&Retained>, plan: &mut Plan) {
        let Some(link) = self.ground.paths.local_place(self.folder) else { return };
        let mut remote = match locate(self.ground.mounts, &wanted.target) {
            Ok(remote) => remote,
            Err(error) => {
                let (why, hint) = (error.to_string(), error.hint());
                return plan.cannot(self.folder, why, hint, self.because);
            }
        };
        remote.create = true;
        remote.exclusive = wanted.exclusive_rights;
        let retain = self.retain(wanted, retained, &remote);
        let expects = place_of(self.ground.observed, self.folder);
        if let Some(retained) = retained.filter(|retained| is_applied(retained, &retain, &expects))
        {
            return self.retain_options(retained, retain, plan);
        }
        match &expects {
            Place::Other | Place::Unknown(_) => return self.cannot_touch(&expects, plan),
            Place::Link(to) if retained.is_none_or(|retained| retained.place != *to) => {
                return self.cannot_touch(&expects, plan);
            }
            _ => {}
        }
        let xdg = self.folder.xdg_variable().map(str::to_owned);
        // After a change of target the contents are at the earlier place. A link that is right already
        // (an interrupted run) and everything else means that there is only the home to look at.
        let earlier = retained.filter(|retained| {
            matches!(&expects, Place::Link(to) if *to == retained.place)
                && retained.place != retain.place
        });
        let from = earlier.map_or_else(|| link.clone(), |retained| retained.place.clone());
        let expects_retained = retained.cloned();
        let folder = self.folder;
        let step = Redirect { folder, link, expects, from, expects_retained, retain, remote, xdg };
        plan.push(What::Redirect(Box::new(step)), self.because);
    }

    fn retain(
        &self,
        wanted: &Redirection,
        retained: Option<&Retained>,
        remote: &Remote,
    ) -> Retained {
        let paths = self.ground.paths;
        let place = match wanted.available_offline {
            true => paths.cache_place(&wanted.target),
            false => remote.path.clone(),
        };
        let existed = place_of(self.ground.observed, self.folder) == Place::Directory;
        let fresh = Before { xdg: None, existed, set_aside: None };
        Retained {
            target: wanted.target.clone(),
            place,
            cached: wanted.available_offline,
            on_removal: wanted.on_removal,
            move_contents: wanted.move_contents,
            policy: wanted.policy.object.to_string(),
            user: paths.user.clone(),
            sid: paths.sid.clone(),
            // What was there before the *first* redirection is what the last removal goes back to.
            before: retained.map_or(fresh, |retained| retained.before.clone()),
            phase: Phase::Applied,
        }
    }

    fn retain_options(&self, retained: &Retained, retain: Retained, plan: &mut Plan) {
        if *retained != retain {
            let (folder, expects) = (self.folder, retained.clone());
            plan.push(What::Retain { folder, expects, retain }, self.because);
        }
    }

    fn cannot_touch(&self, place: &Place, plan: &mut Plan) {
        let (why, hint) = match place {
            Place::Link(to) => (
                format!("it is a link to {} that Homeport did not make", to.display()),
                "remove the link, or leave the folder out of the policy",
            ),
            Place::Unknown(why) => {
                (format!("its place cannot be looked at: {why}"), "see the permissions of the home")
            }
            _ => ("its place is no directory".to_owned(), "move what stands there out of the way"),
        };
        plan.cannot(self.folder, why, hint.to_owned(), self.because);
    }

    /// The policy that redirected the folder is gone, or does not hold here: what it said then counts.
    fn remove(&self, retained: &Retained, plan: &mut Plan) {
        match retained.on_removal {
            OnRemoval::Leave => {
                let text = Reason::RemovalLeave.text();
                plan.not_now(self.folder, format!("{text} ({})", retained.policy));
            }
            OnRemoval::Restore => {
                let fact = format!("retained from {}", retained.policy);
                let reason = Because::fact(Reason::RemovalRestore, fact);
                self.restore(retained, retained.move_contents, &[reason], plan);
            }
        }
    }

    fn restore(&self, retained: &Retained, copy_contents: bool, more: &[Because], plan: &mut Plan) {
        let Some(link) = self.ground.paths.local_place(self.folder) else { return };
        let because = [self.because, more].concat();
        let expects = place_of(self.ground.observed, self.folder);
        let leaves_cache = has_own_cache(self.ground.observed, self.folder);
        if leaves_cache
            && let Ok(exchange) = sync::exchange(self.ground, &retained.target, true, true)
        {
            plan.push(What::Sync(exchange), &because);
        }
        let xdg = self.folder.xdg_variable().map(str::to_owned);
        let (folder, retained) = (self.folder, retained.clone());
        let step = Restore { folder, link, expects, retained, copy_contents, leaves_cache, xdg };
        plan.push(What::Restore(Box::new(step)), &because);
    }
}

fn place_of(observed: &Observed, folder: Folder) -> Place {
    observed.places.get(&folder).cloned().unwrap_or(Place::Missing)
}

/// Whether the folder already is where it should be; options for its end may still differ.
fn is_applied(retained: &Retained, wanted: &Retained, place: &Place) -> bool {
    retained.phase == Phase::Applied
        && retained.target == wanted.target
        && retained.place == wanted.place
        && matches!(place, Place::Link(to) if *to == wanted.place)
}
