//! Commands about offline folders: what is asked becomes a command for the agent; conflicts are told
//! from its status.

use homeport_sync::flags::FlagError;
use homeport_sync::{Conflict, ConflictKind, Meta, pins};
use serde_json::json;

use super::args::{Dirty, Keep, Ls, Pin, PinFor, Release, Suspend, Sync};
use super::place::{is_place, place};
use super::service::{read_status, the_user, unc};
use super::{Answer, Said, Stopped, complain, plain};
use crate::cli::exit::Exit;
use crate::control::Command as Control;
use crate::items::{Ask, Choice};
use crate::jobs::resolve_word;
use crate::plan::Occasion;
use crate::report::status::{CacheStatus, Status, UserStatus, moment};
use crate::settings::Settings;
use crate::wish::{Place, Wish};

fn turn(user: Option<String>, wish: Wish, cause: &str) -> Control {
    let (occasion, cause) = (Occasion::Manual, format!("`homeport {cause}`"));
    Control::Turn { user, occasion, wish, dry: false, cause }
}

/// `homeport sync`
pub(super) fn sync(sync: Sync, settings: &Settings) -> Result<Control, Stopped> {
    let wrong = |error: FlagError| {
        let hint = "`homeport sync --help` names the flags; without any, both directions";
        Stopped::new(error.to_string(), hint, Exit::Usage)
    };
    let asked = match sync.single.flags() {
        Some(single) => Some(single.map_err(wrong)?),
        None => sync.flags,
    };
    let flags = match asked.map(|flags| flags.normalised()).transpose().map_err(wrong)? {
        None => None,
        Some(normalised) => {
            for note in &normalised.notes {
                complain(&format!("note: {note}\n"));
            }
            Some(normalised.flags)
        }
    };
    let wish = Wish { release: sync.release, flags, ..Wish::default() };
    match sync.what {
        Some(path) if is_place(&path) => {
            let only = place(&path)?;
            let user = owner(sync.user, &only, settings)?;
            Ok(turn(Some(user), Wish { only: Some(only), ..wish }, "sync"))
        }
        Some(user) if sync.user.as_ref().is_some_and(|other| *other != user) => {
            let message = format!("{user:?} is no path, and --user names somebody else");
            Err(Stopped::new(message, "name a path, or one user", Exit::Usage))
        }
        user => Ok(turn(user.or(sync.user), wish, "sync")),
    }
}

/// `homeport release`
pub(super) fn release(release: Release) -> Control {
    // Merging a root that was replaced is another matter than letting deletes through.
    let Release { user, merge_root, .. } = release;
    turn(user, Wish { release: !merge_root, merge_root, ..Wish::default() }, "release")
}

/// Whose place it is: the user that was named, the only one there is, or the only one who has it.
fn owner(named: Option<String>, place: &Place, settings: &Settings) -> Result<String, Stopped> {
    if let Some(named) = named {
        return Ok(named);
    }
    let status = read_status(settings)?;
    let mut names = status.users.keys();
    if let (Some(only), None) = (names.next(), names.next()) {
        return Ok(only.clone());
    }
    let has_it = |cache: &CacheStatus| match place {
        Place::Network(path) => {
            homeport_policy::unc::Unc::parse(&cache.path).is_ok_and(|root| path.is_within(&root))
        }
        Place::Local(path) => {
            // The data directory lies in the home, and the redirected folders do too.
            let home = cache.local.split(crate::plan::DATA_DIR).next().unwrap_or_default();
            !home.is_empty() && path.starts_with(home)
        }
    };
    the_user(None, &status, |user| user.caches.iter().any(has_it))
}

fn items(
    path: Option<String>,
    user: Option<String>,
    ask: Ask,
    settings: &Settings,
) -> Result<Control, Stopped> {
    let place = path.map(|path| place(&path)).transpose()?;
    let user = match &place {
        Some(place) => Some(owner(user, place, settings)?),
        None => user,
    };
    Ok(Control::Items { user, place, ask })
}

/// `homeport ls`
pub(super) fn ls(ls: Ls, settings: &Settings) -> Result<Control, Stopped> {
    let Ls { path, dirty, pinned, conflicts, user } = ls;
    items(path, user, Ask::List(Choice { dirty, pinned, conflicts }), settings)
}

/// `homeport pin` and `unpin`
pub(super) fn pin(pin: Pin, takes: bool, settings: &Settings) -> Result<Control, Stopped> {
    let who = match pin.whom {
        PinFor::User => pins::USER,
        PinFor::All => pins::ALL,
    };
    let ask = if takes { Ask::Unpin(who) } else { Ask::Pin(who) };
    items(Some(pin.path), pin.user, ask, settings)
}

/// `homeport suspend` and `resume`
pub(super) fn suspend(of: Suspend, on: bool, settings: &Settings) -> Result<Control, Stopped> {
    items(Some(of.path), of.user, Ask::Suspend(on), settings)
}

/// `homeport dirty`
pub(super) fn dirty(dirty: Dirty) -> Control {
    Control::Items { user: dirty.user, place: None, ask: Ask::Dirty }
}

/// `homeport conflicts resolve`
pub(super) fn resolve(
    path: &str,
    keep: Keep,
    user: Option<String>,
    settings: &Settings,
) -> Result<Control, Stopped> {
    let status = read_status(settings)?;
    let place = place(path)?;
    let user = the_user(user, &status, |user| open_conflicts(user).any(|open| open.is(&place)))?;
    let path = match &place {
        Place::Network(path) => path.clone(),
        Place::Local(_) => unc(&open_at(&status, &user, &place)?.path())?,
    };
    let how = resolve_word(keep_word(keep)).unwrap_or_default();
    Ok(Control::Settle { user, path, how })
}

fn keep_word(keep: Keep) -> &'static str {
    match keep {
        Keep::Local => "keep-local",
        Keep::Remote => "keep-remote",
        Keep::Latest => "keep-latest",
        Keep::Both => "keep-both",
    }
}

/// An open conflict, and where it is.
pub(super) struct Open<'s> {
    /// The cache it is in.
    pub cache: &'s CacheStatus,
    /// The conflict.
    pub conflict: &'s Conflict,
}

/// The open conflicts of a user.
pub(super) fn open_conflicts(user: &UserStatus) -> impl Iterator<Item = Open<'_>> {
    user.caches
        .iter()
        .flat_map(|cache| cache.conflicts.iter().map(move |conflict| Open { cache, conflict }))
}

/// The open conflict of a user at a place.
fn open_at<'s>(status: &'s Status, user: &str, place: &Place) -> Result<Open<'s>, Stopped> {
    let found = status.users.get(user).and_then(|user| {
        let mut all = open_conflicts(user);
        all.find(|open| open.is(place))
    });
    found.ok_or_else(|| {
        let message = format!("{place} is no open conflict of {user}");
        Stopped::new(message, "see `homeport conflicts list`", Exit::Usage)
    })
}

impl Open<'_> {
    /// The network path of the item.
    pub(super) fn path(&self) -> String {
        format!(r"{}\{}", self.cache.path, self.conflict.path.replace('/', r"\"))
    }

    /// Both versions and how they came about, for whoever chooses.
    pub(super) fn told(&self, whose: &str) -> String {
        let Conflict { kind, local, remote, since_unix, .. } = self.conflict;
        let newer = match local.mtime_unix_ms.cmp(&remote.mtime_unix_ms) {
            std::cmp::Ordering::Less => "the one on the share is newer",
            std::cmp::Ordering::Equal => "both have the same time",
            std::cmp::Ordering::Greater => "the one here is newer",
        };
        format!(
            "{}\n  whose:         {whose}\n  here:          {}\n                 {}\n  \
             on the share:  {}\n  how it came:   {}; {newer}\n  found:         {}\n",
            self.path(),
            version(local),
            self.local().display(),
            version(remote),
            how_it_came(*kind),
            moment(since_unix.saturating_mul(1000)),
        )
    }

    fn local(&self) -> std::path::PathBuf {
        std::path::Path::new(&self.cache.local).join(&self.conflict.path)
    }

    fn is(&self, place: &Place) -> bool {
        match place {
            Place::Network(path) => {
                homeport_policy::unc::Unc::parse(&self.path()).as_ref() == Ok(path)
            }
            Place::Local(path) => *path == self.local(),
        }
    }
}

/// `homeport conflicts list`
pub(super) fn conflicts(settings: &Settings) -> Answer {
    let status = read_status(settings)?;
    let (mut text, mut list) = (String::new(), Vec::new());
    for (name, user) in &status.users {
        for open in open_conflicts(user) {
            let (path, conflict) = (open.path(), open.conflict);
            let (local, remote) = (version(&conflict.local), version(&conflict.remote));
            text.push_str(&format!("{path}\n    {name}; here: {local}; on the share: {remote}\n"));
            list.push(json!({ "user": name, "path": path, "conflict": conflict }));
        }
    }
    if text.is_empty() {
        text.push_str("no open conflicts\n");
    } else {
        text.push_str(
            "\nsettle one with: homeport conflicts resolve PATH --keep local|remote|both\n",
        );
    }
    Ok(Said { text, json: list.into(), exit: Exit::Ok, coloured: false, aside: false })
}

fn version(meta: &Meta) -> String {
    format!("{} bytes, {}", meta.size, moment(meta.mtime_unix_ms))
}

fn how_it_came(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::BothCreated => "it was created here and on the share, with other content",
        ConflictKind::BothChanged => "it was changed here and on the share since both were equal",
        ConflictKind::TypeDiffers => "one side has a folder where the other has a file",
    }
}

/// `homeport conflicts show`
pub(super) fn show(path: &str, user: Option<String>, settings: &Settings) -> Answer {
    let status: Status = read_status(settings)?;
    let place = place(path)?;
    let name = the_user(user, &status, |user| open_conflicts(user).any(|open| open.is(&place)))?;
    let open = open_at(&status, &name, &place)?;
    let (path, conflict) = (open.path(), open.conflict);
    let text = format!(
        "{}\n\
         Both versions are kept until you settle it:\n  \
         homeport conflicts resolve '{}' --keep local    (or remote, latest, both)\n\
         The version that is not kept stays in the recycle area for 30 days.\n",
        open.told(&name),
        plain(&path),
    );
    let how = how_it_came(conflict.kind);
    let json = json!({
        "user": name, "path": path, "local": open.local(), "conflict": conflict,
        "how-it-came": how, "keep": ["local", "remote", "latest", "both"],
    });
    Ok(Said { text, json, exit: Exit::Ok, coloured: false, aside: false })
}
