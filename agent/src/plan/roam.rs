//! Plans the journeys of the profile: down at sign-in, up at sign-out.

use homeport_policy::decide::{FolderAction, ProfileAction, Roaming};
use homeport_policy::facts::Os;
use homeport_policy::folder::FOLDERS;

use crate::plan::mounts::locate;
use crate::plan::{DATA_DIR, Exchange, Ground, Plan, ProfileExchange, What, sync};
use crate::wish::How;

/// What never roams on Windows (windows-semantics 4.4).
const BUILT_IN_WINDOWS: &[&str] =
    &["AppData/Local", "AppData/LocalLow", "$Recycle.Bin", "OneDrive", "Work Folders"];
/// What never roams on Linux: caches, waste, sockets, what belongs to one computer.
const BUILT_IN_LINUX: &[&str] = &[
    ".cache",
    ".local/share/Trash",
    ".local/state",
    ".gvfs",
    ".dbus",
    ".Xauthority",
    ".ICEauthority",
    ".xsession-errors",
    ".config/user-dirs.dirs",
    ".config/user-dirs.locale",
    ".config/pulse",
];

pub(super) fn down(ground: &Ground<'_>, plan: &mut Plan) {
    exchange(ground, plan, true);
}

pub(super) fn up(ground: &Ground<'_>, plan: &mut Plan) {
    exchange(ground, plan, false);
}

fn exchange(ground: &Ground<'_>, plan: &mut Plan, sync_in: bool) {
    let decided = &ground.decision.profile;
    let ProfileAction::Roam(roaming) = &decided.action else { return };
    let because = &decided.because;
    if !sync_in && !roaming.upload {
        return plan.not_now("profile", "policy does not let changes go up");
    }
    if let Err(why) = sync::automatic(ground, None) {
        return plan.not_now("profile", why);
    }
    let mut remote = match locate(ground.mounts, &roaming.path) {
        Ok(remote) => remote,
        Err(error) => return plan.cannot("profile", error.to_string(), error.hint(), because),
    };
    remote.create = true;
    remote.exclusive = true;
    let exchange = Exchange {
        local: ground.paths.home.clone(),
        journal: ground.paths.journal(&roaming.path, "profile"),
        remote,
        sync_in,
        sync_out: !sync_in,
        rules: ground.rules.clone(),
        exclude: excluded(ground, roaming),
        how: How::default(),
    };
    let (size_limit, check_owner) = (roaming.size_limit, roaming.check_owner);
    plan.push(What::Profile(ProfileExchange { exchange, size_limit, check_owner }), because);
    if !sync_in && roaming.delete_cached_copy {
        plan.not_now("profile", "deleting the local copy at sign-out is not built yet; it stays");
    }
}

/// Redirected folders do not roam: their contents are on a share already.
fn excluded(ground: &Ground<'_>, roaming: &Roaming) -> Vec<String> {
    let os = ground.paths.os;
    let built_in = match os {
        Os::Windows => BUILT_IN_WINDOWS,
        Os::Linux => BUILT_IN_LINUX,
    };
    let mut exclude: Vec<String> = built_in.iter().map(|path| (*path).to_owned()).collect();
    exclude.push(DATA_DIR.to_owned());
    // What an interrupted redirection may have left beside a folder is finished here, not elsewhere.
    exclude.extend([".homeport-*".to_owned(), "**/.homeport-*".to_owned()]);
    for folder in FOLDERS {
        let configured = ground.decision.folders.iter().any(|decision| {
            let local = [
                FolderAction::NotConfigured,
                FolderAction::Local { move_contents: true },
                FolderAction::Local { move_contents: false },
            ];
            decision.folder == folder && !local.contains(&decision.decided.action)
        });
        if configured || ground.observed.retained.contains_key(&folder) {
            exclude.extend(folder.local_place(os).map(|place| place.replace('\\', "/")));
        }
    }
    exclude.extend(roaming.exclude.iter().map(|pattern| pattern.replace('\\', "/")));
    exclude
}
