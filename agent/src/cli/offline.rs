//! Commands about offline folders: what is asked becomes a command for the agent; conflicts are told
//! from its status.
#![expect(clippy::disallowed_methods, reason = "edge: looks whether a conflict's side is a folder")]

use homeport_policy::unc::Unc;
use homeport_sync::RootWord;
use homeport_sync::flags::{FlagError, Note};
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
use crate::limits::CONFLICTS_MAX;
use crate::plan::{Occasion, part};
use crate::report::status::{CacheStatus, Status, UserStatus, how_it_came, moment};
use crate::settings::Settings;
use crate::state::STATUS;
use crate::wish::{Place, Wish, below_text};
use crate::words::{count, held_counts};

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
    let asked = match (sync.single.flags(), sync.flags) {
        (Some(_), Some(_)) => {
            let message = "--flags cannot be used with flags of their own, such as --in";
            return Err(Stopped::new(message, "write all of them one way", Exit::Usage));
        }
        (Some(single), None) => Some(single.map_err(wrong)?),
        (None, flags) => flags,
    };
    let flags = match asked.map(|flags| flags.normalised()).transpose().map_err(wrong)? {
        None => None,
        Some(normalised) => {
            // That to bring in is also to fetch what is missing is no news.
            let is_news = |note: &&Note| !matches!(note, Note::Implied { .. });
            for note in normalised.notes.iter().filter(is_news) {
                complain(&format!("note: {note}\n"));
            }
            Some(normalised.flags)
        }
    };
    let wish = Wish { release: sync.release, flags, ..Wish::default() };
    let (user, only) = whose(sync.what, sync.user, settings)?;
    Ok(turn(user, Wish { only, ..wish }, "sync"))
}

/// Reads an argument that is a user's name or a path: whose it is, and the path.
fn whose(
    what: Option<String>,
    user: Option<String>,
    settings: &Settings,
) -> Result<(Option<String>, Option<Place>), Stopped> {
    match what {
        Some(path) if is_place(&path) => {
            let only = place(&path)?;
            Ok((Some(owner(user, &only, settings)?), Some(only)))
        }
        Some(name) if user.as_ref().is_some_and(|other| *other != name) => {
            let message = format!("{name:?} is no path, and --user names somebody else");
            Err(Stopped::new(message, "name a path, or one user", Exit::Usage))
        }
        Some(name) if name.is_empty() => {
            let message = "an empty argument is neither a user nor a path";
            Err(Stopped::new(message, "leave it out for everything", Exit::Usage))
        }
        name => Ok((name.or(user), None)),
    }
}

/// `homeport release`
pub(super) fn release(release: Release, settings: &Settings) -> Result<Control, Stopped> {
    let Release { what, user, merge_root, believe_root, .. } = release;
    let (user, only) = whose(what, user, settings)?;
    let root = match (merge_root, believe_root) {
        (true, _) => RootWord::Merge,
        (false, true) => RootWord::Believe,
        (false, false) => RootWord::Doubt,
    };
    // Whoever merges a root lets no deletes through; whoever believes one means them.
    Ok(turn(user, Wish { release: !merge_root, root, only, ..Wish::default() }, "release"))
}

/// `homeport release --dry-run`
pub(super) fn held(release: &Release, settings: &Settings) -> Answer {
    let (whose, only) = whose(release.what.clone(), release.user.clone(), settings)?;
    let status = read_status(settings)?;
    let (mut text, mut list) = (String::new(), Vec::new());
    for (name, user) in &status.users {
        let is_meant = |cache: &&CacheStatus| only.as_ref().is_none_or(|at| touches(cache, at));
        let caches = user.caches.iter().filter(is_meant);
        for cache in caches.filter(|_| whose.as_ref().is_none_or(|whose| whose == name)) {
            text.push_str(&held_text(name, cache));
            list.push(json!({
                "user": name, "path": cache.path, "deletes": cache.held_deletes,
                "changes": cache.held_changes, "items": cache.held_items, "halted": cache.halted,
            }));
        }
    }
    if text.is_empty() {
        text.push_str("nothing is held\n");
    }
    Ok(Said { text, json: list.into(), exit: Exit::Ok, coloured: false, aside: false })
}

fn held_text(name: &str, cache: &CacheStatus) -> String {
    let CacheStatus { path, held_deletes, held_changes, held_items, halted, .. } = cache;
    let mut text = String::new();
    if let Some(why) = halted {
        text.push_str(&format!("{path}\n    {name}; halted: {why}\n"));
    }
    if held_deletes + held_changes > 0 {
        let held = held_counts(*held_deletes, *held_changes);
        text.push_str(&format!("{path}\n    {name}; {held} held\n"));
        for item in held_items {
            text.push_str(&format!("    {}\n", below_text(path, item)));
        }
        let more = (held_deletes + held_changes).saturating_sub(held_items.len() as u64);
        if more > 0 {
            text.push_str(&format!("    and {more} more\n"));
        }
    }
    text
}

/// Whether a place lies in a cache, or a cache below the place.
fn touches(cache: &CacheStatus, place: &Place) -> bool {
    match place {
        Place::Network(path) => {
            Unc::parse(&cache.path).is_ok_and(|root| path.is_within(&root) || root.is_within(path))
        }
        Place::Local(path) => {
            // The data directory lies in the home, and the redirected folders do too.
            let home = cache.local.split(crate::plan::DATA_DIR).next().unwrap_or_default();
            !home.is_empty() && path.starts_with(home)
        }
    }
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
    let has_it = |user: &UserStatus| user.caches.iter().any(|cache| touches(cache, place));
    // With one user the agent would say the same, and as surely refuse.
    let nobody = || {
        let whose: Vec<&str> = status.users.keys().map(String::as_str).collect();
        let caches = status.users.values().flat_map(|user| &user.caches);
        let caches: Vec<Unc> = caches.filter_map(|cache| Unc::parse(&cache.path).ok()).collect();
        let (why, hint) = part::lies_outside(&whose.join(", "), caches.iter());
        Stopped::new(format!("{place}: {why}"), hint, Exit::Refused)
    };
    the_user(None, &status, has_it, nobody)
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

/// `homeport dirty` and `recycled`
pub(super) fn ask(of: Dirty, ask: Ask, settings: &Settings) -> Result<Control, Stopped> {
    let (user, place) = whose(of.what, of.user, settings)?;
    Ok(Control::Items { user, place, ask })
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
    let user = whose_conflict(user, &status, &place)?;
    let path = match (open_at(&status, &user, &place), &place) {
        (Ok(open), _) => unc(&open.path())?,
        // Of a list as long as this not all are in the status; the agent knows the rest.
        (Err(_), Place::Network(path)) if has_more(&status, &user) => path.clone(),
        (Err(stopped), _) => return Err(stopped),
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

fn has_more(status: &Status, user: &str) -> bool {
    let full = |cache: &CacheStatus| cache.conflicts.len() >= CONFLICTS_MAX;
    status.users.get(user).is_some_and(|user| user.caches.iter().any(full))
}

/// Whose open conflict is at a place: the one who was named, or the only one who has it.
fn whose_conflict(
    named: Option<String>,
    status: &Status,
    place: &Place,
) -> Result<String, Stopped> {
    let nobody =
        || no_conflict(place, &status.users.keys().cloned().collect::<Vec<_>>().join(", "));
    the_user(named, status, |user| open_conflicts(user).any(|open| open.is(place)), nobody)
}

fn no_conflict(place: &Place, whose: &str) -> Stopped {
    let message = format!("{place} is no open conflict of {whose}");
    Stopped::new(message, "see `homeport conflicts list`", Exit::Usage)
}

/// The open conflict of a user at a place.
fn open_at<'s>(status: &'s Status, user: &str, place: &Place) -> Result<Open<'s>, Stopped> {
    let found = status.users.get(user).and_then(|user| {
        let mut all = open_conflicts(user);
        all.find(|open| open.is(place))
    });
    found.ok_or_else(|| no_conflict(place, user))
}

impl Open<'_> {
    /// The network path of the item.
    pub(super) fn path(&self) -> String {
        format!(r"{}\{}", self.cache.path, self.conflict.path.replace('/', r"\"))
    }

    /// Both versions and how they came about, for whoever chooses.
    pub(super) fn told(&self, whose: &str) -> String {
        let Conflict { kind, local, remote, since_unix, .. } = self.conflict;
        let [here, there] = self.versions();
        let newer = match local.mtime_unix_ms.cmp(&remote.mtime_unix_ms) {
            std::cmp::Ordering::Less => "the one on the share is newer",
            std::cmp::Ordering::Equal => "both have the same time",
            std::cmp::Ordering::Greater => "the one here is newer",
        };
        format!(
            "{}\n  whose:         {whose}\n  here:          {here}\n                 {}\n  \
             on the share:  {there}\n                 {}\n  \
             how it came:   {}; {newer}\n  found:         {}\n",
            self.path(),
            self.local().display(),
            self.path(),
            how_it_came(*kind),
            moment(since_unix.saturating_mul(1000)),
        )
    }

    /// What is here, and what is on the share. A folder has no size of its own.
    fn versions(&self) -> [String; 2] {
        let Conflict { kind, local, remote, .. } = self.conflict;
        let [here, there] = [version(local), version(remote)];
        let folder = |meta: &Meta| format!("a folder, {}", moment(meta.mtime_unix_ms));
        match (kind, std::fs::symlink_metadata(self.local())) {
            (ConflictKind::TypeDiffers, Ok(meta)) if meta.is_dir() => [folder(local), there],
            (ConflictKind::TypeDiffers, Ok(_)) => [here, folder(remote)],
            _ => [here, there],
        }
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
    // Before anybody has signed in there is no status, and no conflict.
    let status = match settings.state_dir.join(STATUS).exists() {
        true => read_status(settings)?,
        false => Status::default(),
    };
    let (mut text, mut list) = (String::new(), Vec::new());
    for (name, user) in &status.users {
        for open in open_conflicts(user) {
            let (path, conflict) = (open.path(), open.conflict);
            let [local, remote] = open.versions();
            text.push_str(&format!("{path}\n    {name}; here: {local}; on the share: {remote}\n"));
            list.push(json!({ "user": name, "path": path, "conflict": conflict }));
        }
    }
    if text.is_empty() {
        text.push_str("no open conflicts\n");
    } else {
        text.push_str(
            "\nsettle one with: homeport conflicts resolve PATH --keep local|remote|latest|both\n",
        );
    }
    Ok(Said { text, json: list.into(), exit: Exit::Ok, coloured: false, aside: false })
}

fn version(meta: &Meta) -> String {
    format!("{}, {}", count(meta.size, "byte"), moment(meta.mtime_unix_ms))
}

/// `homeport conflicts show`
pub(super) fn show(path: &str, user: Option<String>, settings: &Settings) -> Answer {
    let status: Status = read_status(settings)?;
    let place = place(path)?;
    let name = whose_conflict(user, &status, &place)?;
    let open = open_at(&status, &name, &place)?;
    let (path, conflict) = (open.path(), open.conflict);
    let text = format!(
        "{}\n\
         Both versions are kept until you settle it:\n  \
         homeport conflicts resolve '{}' --keep local    (or remote, latest, both)\n\
         The version that is not kept stays for 30 days in the recycle area,\n  {}\n",
        open.told(&name),
        plain(&path),
        open.cache.recycle,
    );
    let how = how_it_came(conflict.kind);
    let json = json!({
        "user": name, "path": path, "local": open.local(), "conflict": conflict,
        "how-it-came": how, "recycle": open.cache.recycle, "keep": ["local", "remote", "latest", "both"],
    });
    Ok(Said { text, json, exit: Exit::Ok, coloured: false, aside: false })
}
