//! Plans what happens to each known folder, from what policy wants and what is retained.

use homeport_policy::decide::{FolderAction, FolderDecision, OnRemoval, Redirection};
use homeport_policy::folder::Folder;
use homeport_policy::reason::{Because, Reason};
use homeport_policy::unc::Unc;

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
    for (folder, unc, because) in leaving(ground, plan) {
        if let Err(why) = sync::automatic(ground, ground.connections.get(&unc)) {
            plan.not_now(&unc, format!("its cache stays for now: {why}"));
        } else if let Some(other) = inhabitant(ground, plan, folder, &unc) {
            plan.not_now(&unc, format!("its cache stays: {other} lies in it"));
        } else {
            match sync::exchange(ground, &unc, false, true) {
                Ok(mut exchange) => {
                    exchange.how.skip_suspended = false; // a cache goes whole or not at all
                    plan.push(What::DropCache { folder, exchange }, &because);
                }
                Err(error) => plan.cannot(&unc, error.to_string(), error.hint(), &because),
            }
        }
    }
}

/// Caches that nobody needs after this plan: of folders that come home, or came home before, and of
/// targets that a folder has left.
fn leaving(ground: &Ground<'_>, plan: &Plan) -> Vec<(Folder, Unc, Vec<Because>)> {
    let mut found = Vec::new();
    for (folder, retained) in &ground.observed.retained {
        let reason = |unc: &Unc| vec![Because::fact(Reason::CacheLeft, unc.as_str())];
        let step = plan.steps.iter().find(|step| match &step.what {
            What::Restore(restore) => restore.folder == *folder,
            What::Redirect(redirect) => {
                redirect.folder == *folder && redirect.retain.left.contains(&retained.target)
            }
            _ => false,
        });
        let own = has_own_cache(ground.observed, *folder);
        match step {
            Some(step) if own => {
                found.push((*folder, retained.target.clone(), step.because.clone()));
            }
            None if own && retained.phase == Phase::Restored => {
                found.push((*folder, retained.target.clone(), reason(&retained.target)));
            }
            _ => {}
        }
        let left = retained.left.iter().map(|unc| (*folder, unc.clone(), reason(unc)));
        found.extend(left);
    }
    found
}

/// A folder that still lies in a cache, or that this plan puts there.
fn inhabitant(ground: &Ground<'_>, plan: &Plan, owner: Folder, unc: &Unc) -> Option<Folder> {
    let moves = |folder: Folder| {
        plan.steps.iter().any(|step| match &step.what {
            What::Restore(restore) => restore.folder == folder,
            What::Redirect(redirect) => redirect.folder == folder,
            _ => false,
        })
    };
    let stays = ground.observed.retained.iter().find(|(folder, retained)| {
        (**folder != owner || retained.target != *unc)
            && retained.cached
            && retained.phase != Phase::Restored
            && !moves(**folder)
            && retained.target.below(unc).is_some()
    });
    let arrives = plan.steps.iter().find_map(|step| match &step.what {
        What::Redirect(redirect)
            if redirect.retain.cached && redirect.retain.target.below(unc).is_some() =>
        {
            Some(redirect.folder)
        }
        _ => None,
    });
    stays.map(|(folder, _)| *folder).or(arrives)
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
        if remote.smb.is_some() && !retain.cached {
            let why = format!("{} is not mounted, and is not to be offline", wanted.target);
            let hint = "mount the share, or let policy make the folder available offline";
            return plan.cannot(self.folder, why, hint.to_owned(), self.because);
        }
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
                && retained.target != retain.target
        });
        let from = earlier.map_or_else(|| link.clone(), |retained| retained.place.clone());
        // What is only on the old share, or only in the old cache, is brought together first.
        if let Some(old) = retained.filter(|old| retain.left.contains(&old.target)) {
            self.exchange_first(&old.target, self.because, plan);
        }
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
        // Wanted offline and kept offline are two things: offline files may be off altogether.
        let caches = &self.ground.decision.caches;
        let cached = caches.iter().any(|cache| wanted.target.below(&cache.action.path).is_some());
        let place = match cached {
            true => paths.cache_place(&wanted.target),
            false => remote.path.clone(),
        };
        let existed = place_of(self.ground.observed, self.folder) == Place::Directory;
        let fresh = Before { xdg: None, existed, set_aside: None };
        Retained {
            target: wanted.target.clone(),
            place,
            cached,
            left: self.left(wanted, cached, retained),
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

    /// Caches to be given up once the folder is where it should be.
    fn left(&self, wanted: &Redirection, cached: bool, retained: Option<&Retained>) -> Vec<Unc> {
        let Some(retained) = retained else { return Vec::new() };
        let mut left = retained.left.clone();
        let leaves = retained.target != wanted.target || !cached;
        if retained.cached && leaves && has_own_cache(self.ground.observed, self.folder) {
            left.push(retained.target.clone());
        }
        left.retain(|unc| !cached || *unc != wanted.target);
        left.dedup();
        left
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

    /// Exchanges a cache before its folder leaves it, where that may be done now.
    fn exchange_first(&self, unc: &Unc, because: &[Because], plan: &mut Plan) {
        match sync::automatic(self.ground, self.ground.connections.get(unc)) {
            Err(why) => plan.not_now(unc, why),
            Ok(()) => {
                if let Ok(mut exchange) = sync::exchange(self.ground, unc, true, true) {
                    exchange.how.skip_suspended = false;
                    plan.push(What::Sync(exchange), because);
                }
            }
        }
    }

    fn restore(&self, retained: &Retained, copy_contents: bool, more: &[Because], plan: &mut Plan) {
        let Some(link) = self.ground.paths.local_place(self.folder) else { return };
        let because = [self.because, more].concat();
        let expects = place_of(self.ground.observed, self.folder);
        let leaves_cache = has_own_cache(self.ground.observed, self.folder);
        if leaves_cache {
            self.exchange_first(&retained.target, &because, plan);
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
