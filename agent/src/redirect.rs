//! Carries out redirections and restores: looks first, proves, moves, swaps, and records each phase.
//!
//! At every instant each file is at its old or its new place, and what is retained on disk says how
//! far the change has come. A run that was cut off is finished by the next one.
#![expect(clippy::disallowed_methods, reason = "edge: moves a user's folders")]

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use homeport_policy::folder::Folder;
use homeport_policy::unc::Unc;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::durable::{self, make_private_dir, sync_dir};
use crate::folders::xdg;
use crate::moving::{MoveError, Moved, copy_tree, move_contents, rename_new};
use crate::observed::{Phase, Place, Retained};
use crate::outcome::Outcome;
use crate::plan::{Redirect, Restore};
use crate::retained::{self, RetainedError};
use crate::share::reach::{ReachError, reach};
use crate::words::count;

/// How often contents are moved again because a program wrote into the old place meanwhile.
const SWEEPS_MAX: u32 = 3;

/// A redirection or restore did not work. Nothing is lost; the next run goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// An operation failed.
    #[error("cannot {what} {path}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// Contents could not be moved or copied.
    #[error("cannot move the contents of {folder}")]
    Move {
        /// Which folder.
        folder: Folder,
        /// Why.
        source: MoveError,
    },
    /// What is retained could not be read or kept.
    #[error("cannot record what is done with {folder}")]
    Retained {
        /// Which folder.
        folder: Folder,
        /// Why.
        source: RetainedError,
    },
    /// Programs kept writing into the old place.
    #[error("programs keep writing into {path} while it is moved")]
    Busy {
        /// The old place.
        path: PathBuf,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RedirectError {
    move |source| RedirectError::Io { what, path: path.to_owned(), source }
}

/// What stands at a folder's place.
pub fn look(path: &Path) -> Place {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => Place::Directory,
        Ok(meta) if meta.is_symlink() => match std::fs::read_link(path) {
            Ok(to) => Place::Link(to),
            Err(error) => Place::Unknown(error.to_string()),
        },
        Ok(_) => Place::Other,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Place::Missing,
        Err(error) => Place::Unknown(error.to_string()),
    }
}

/// Carries out a redirection.
///
/// # Errors
/// [`RedirectError`] when an operation fails; what is merely not as expected is an [`Outcome`].
pub fn redirect(step: &Redirect, home: &Path, data: &Path) -> Result<Outcome, RedirectError> {
    if let Some(refused) = changed_since(step, data)? {
        return Ok(refused);
    }
    if let Err(error) = reach(&step.remote) {
        return Ok(unreachable(&error));
    }
    let moves = step.expects == Place::Directory || step.from != step.link;
    if moves && let Some(refused) = prove_different(step)? {
        return Ok(refused);
    }
    let mut retain = first_seen(step, home)?;
    retain.phase = Phase::Moving;
    keep(data, step.folder, Some(&retain))?;
    if retain.cached {
        make_private_dir(&retain.place).map_err(io_error("make", &retain.place))?;
    }
    let moved = bring_contents(step, data, &mut retain)?;
    put_link(step, &retain.place)?;
    set_xdg(home, step.xdg.as_deref(), retain.place.to_str())?;
    retain.phase = Phase::Applied;
    keep(data, step.folder, Some(&retain))?;
    Ok(Outcome::done(describe(&moved)))
}

fn describe(moved: &Moved) -> String {
    match moved {
        Moved { entries: 0, equal: 0, kept_both: 0 } => "nothing had to move".to_owned(),
        Moved { entries, equal, kept_both: 0 } => {
            format!("{} moved, {equal} already there", count(*entries, "item"))
        }
        Moved { entries, equal, kept_both } => format!(
            "{} moved, {equal} already there, {kept_both} kept in both versions",
            count(*entries, "item")
        ),
    }
}

fn unreachable(error: &ReachError) -> Outcome {
    let why = crate::outcome::chain(error);
    Outcome::Failed { why, unreachable: error.is_unreachable(), code: None }
}

fn changed_since(step: &Redirect, data: &Path) -> Result<Option<Outcome>, RedirectError> {
    let now = look(&step.link);
    let retained = load(data, step.folder)?;
    let hint = "nothing was touched; the next run plans anew";
    if now != step.expects {
        let why = format!("{} is {now:?} now, not {:?}", step.link.display(), step.expects);
        return Ok(Some(Outcome::refused(why, hint)));
    }
    if retained != step.expects_retained {
        let why = format!("{} was redirected or restored meanwhile", step.folder);
        return Ok(Some(Outcome::refused(why, hint)));
    }
    Ok(None)
}

/// Proves that the old place and the new one are not the same place under two names.
///
/// Windows without this check copies a folder onto itself and then deletes the "old" one. The proof
/// is a file that is made in the old place and must not turn up in the new one.
fn prove_different(step: &Redirect) -> Result<Option<Outcome>, RedirectError> {
    let from = &step.from;
    let refused = |what: &str, other: &Path| {
        let why = format!("{} {what} {}", from.display(), other.display());
        let hint = "point the policy at another folder, or correct the [[mount]] of the share";
        Some(Outcome::refused(why, hint))
    };
    let probe_in = tempfile::Builder::new().prefix(".homeport-probe-").tempfile_in(from);
    let probe = probe_in.map_err(io_error("make a probe file in", from))?;
    let name = probe.path().file_name().unwrap_or_default().to_owned();
    // A share that is not mounted has no directory that could be the same one.
    let share = step.remote.smb.is_none().then_some(&step.remote.path);
    for other in share.into_iter().chain([&step.retain.place]) {
        match std::fs::symlink_metadata(other.join(&name)) {
            Ok(_) => return Ok(refused("is the same folder as", other)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("look for the probe file in", other)(error)),
        }
        let Ok(other_real) = std::fs::canonicalize(other) else { continue };
        let from_real = std::fs::canonicalize(from).map_err(io_error("resolve", from))?;
        if other_real.starts_with(&from_real) {
            return Ok(refused("contains", other));
        }
        if from_real.starts_with(&other_real) {
            return Ok(refused("lies inside", other));
        }
    }
    Ok(None)
}

/// What to retain, with what the folder was before its first redirection.
fn first_seen(step: &Redirect, home: &Path) -> Result<Retained, RedirectError> {
    let mut retain = step.retain.clone();
    if step.expects_retained.is_none() {
        let text = read_xdg(home)?;
        let value = step.xdg.as_deref().and_then(|variable| xdg::get(&text, variable));
        retain.before.xdg = value.map(str::to_owned);
    }
    Ok(retain)
}

fn bring_contents(
    step: &Redirect,
    data: &Path,
    retain: &mut Retained,
) -> Result<Moved, RedirectError> {
    let move_error = |source| RedirectError::Move { folder: step.folder, source };
    let at_home = step.from == step.link;
    if at_home && step.expects != Place::Directory {
        return Ok(Moved::default());
    }
    if retain.move_contents && at_home {
        return move_contents(&step.from, &retain.place).map_err(move_error);
    }
    if retain.move_contents {
        // From an earlier cache: copied, because its journal still counts on the old files.
        let staging = data.join(format!("staging-{}", step.folder));
        return copy_missing(&step.from, &staging, &retain.place).map_err(move_error);
    }
    if at_home {
        let aside = set_aside(&step.link)?;
        retain.before.set_aside = Some(aside);
        keep(data, step.folder, Some(retain))?;
    }
    Ok(Moved::default())
}

/// Copies to a staging directory first and moves from there, so that names that are taken at the
/// target keep both versions.
fn copy_missing(from: &Path, staging: &Path, to: &Path) -> Result<Moved, MoveError> {
    clear_copy(staging)?;
    copy_tree(from, staging)?;
    let moved = move_contents(staging, to)?;
    clear_copy(staging)?;
    Ok(moved)
}

/// Removes a copy that was not needed, or that an interrupted run left. Only ever holds copies.
fn clear_copy(staging: &Path) -> Result<(), MoveError> {
    match std::fs::remove_dir_all(staging) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(MoveError::Io { what: "clear", path: staging.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Beside a folder's place: what a redirection swaps out, and what a restore swaps in. Two names,
/// because what was swapped out may hold files that are nowhere else.
fn beside(link: &Path, what: &str) -> PathBuf {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    link.with_file_name(format!(".homeport-{what}-{name}"))
}

/// Puts the old directory beside itself under a name that tells what it is.
fn set_aside(link: &Path) -> Result<PathBuf, RedirectError> {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    for number in 0..1_000_u32 {
        let count = if number == 0 { String::new() } else { format!(" {number}") };
        let aside = link.with_file_name(format!("{name} (before redirection{count})"));
        match rename_new(link, &aside) {
            Ok(()) => return Ok(aside),
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(io_error("set aside", link)(error.into())),
        }
    }
    Err(RedirectError::Busy { path: link.to_owned() })
}

/// Puts the link in place of the emptied directory, of an older link, or of nothing, in one step.
fn put_link(step: &Redirect, place: &Path) -> Result<(), RedirectError> {
    let link = &step.link;
    let parent = link.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(io_error("make", parent))?;
    let beside = beside(link, "swap");
    if look(&beside) != Place::Missing {
        sweep(&beside, place, step.folder)?;
    }
    symlink(place, &beside).map_err(io_error("make the link", &beside))?;
    let put = match look(link) {
        Place::Missing => rename_new(&beside, link),
        Place::Link(_) => renameat_with(CWD, &beside, CWD, link, RenameFlags::empty()),
        _ => renameat_with(CWD, &beside, CWD, link, RenameFlags::EXCHANGE),
    };
    put.map_err(|error| io_error("put the link at", link)(error.into()))?;
    if look(&beside) != Place::Missing {
        sweep(&beside, place, step.folder)?;
    }
    sync_dir(parent).map_err(io_error("flush", parent))
}

/// Empties what stood at the old place: a program may have written there until the swap.
fn sweep(old: &Path, place: &Path, folder: Folder) -> Result<(), RedirectError> {
    if matches!(look(old), Place::Link(_)) {
        return std::fs::remove_file(old).map_err(io_error("remove", old));
    }
    for _ in 0..SWEEPS_MAX {
        move_contents(old, place).map_err(|source| RedirectError::Move { folder, source })?;
        match std::fs::remove_dir(old) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(io_error("remove the emptied", old)(error)),
        }
    }
    Err(RedirectError::Busy { path: old.to_owned() })
}

/// Brings a folder home.
///
/// # Errors
/// [`RedirectError`] when an operation fails; what is merely not as expected is an [`Outcome`].
pub fn restore(step: &Restore, home: &Path, data: &Path) -> Result<Outcome, RedirectError> {
    let Restore { folder, link, expects, retained, copy_contents, leaves_cache, xdg } = step;
    let hint = "nothing was touched; the next run plans anew";
    let now = look(link);
    if now != *expects {
        let why = format!("{} is {now:?} now, not {expects:?}", link.display());
        return Ok(Outcome::refused(why, hint));
    }
    if load(data, *folder)?.as_ref() != Some(retained) {
        let why = format!("{folder} was redirected or restored meanwhile");
        return Ok(Outcome::refused(why, hint));
    }
    let swapped = look(&beside(link, "home")) == Place::Link(retained.place.clone());
    match &now {
        Place::Link(to) if *to == retained.place => {}
        Place::Missing => {}
        Place::Directory if swapped => {} // cut off right after the swap
        _ => {
            let why = format!("{} is not the link that Homeport made", link.display());
            let hint = "move what stands there out of the way, then try again";
            return Ok(Outcome::refused(why, hint));
        }
    }
    bring_home(step, &now)?;
    set_xdg(home, xdg.as_deref(), retained.before.xdg.as_deref())?;
    if *leaves_cache || !retained.left.is_empty() {
        let cached = *leaves_cache;
        let done = Retained { phase: Phase::Restored, cached, ..retained.clone() };
        keep(data, *folder, Some(&done))?;
    } else {
        keep(data, *folder, None)?;
    }
    let contents = if *copy_contents { "with its contents" } else { "without its contents" };
    Ok(Outcome::done(format!("{folder} is home {contents}")))
}

fn bring_home(step: &Restore, now: &Place) -> Result<(), RedirectError> {
    let Restore { folder, link, retained, copy_contents, .. } = step;
    let (swapped_out, staging) = (beside(link, "swap"), beside(link, "home"));
    if look(&swapped_out) != Place::Missing {
        sweep(&swapped_out, &retained.place, *folder)?;
    }
    if *now != Place::Directory {
        prepare_home(&staging, step)?;
        let put = match now {
            Place::Missing => rename_new(&staging, link),
            _ => renameat_with(CWD, &staging, CWD, link, RenameFlags::EXCHANGE),
        };
        put.map_err(|error| io_error("put the folder at", link)(error.into()))?;
    }
    if matches!(look(&staging), Place::Link(_)) {
        std::fs::remove_file(&staging).map_err(io_error("remove the link", &staging))?;
    }
    let parent = link.parent().unwrap_or(Path::new("/"));
    sync_dir(parent).map_err(io_error("flush", parent))?;
    tracing::debug!(%folder, copy_contents, "folder swapped in");
    Ok(())
}

/// Makes the directory that will stand at the folder's place again.
fn prepare_home(staging: &Path, step: &Restore) -> Result<(), RedirectError> {
    let Restore { folder, retained, copy_contents, .. } = step;
    if let Some(aside) = &retained.before.set_aside {
        // Not a copy: the folder's own contents, which once were not to move.
        return match (look(aside), look(staging)) {
            (Place::Directory, _) => rename_new(aside, staging)
                .map_err(|error| io_error("bring back", aside)(error.into())),
            (_, Place::Directory) => Ok(()), // cut off between this rename and the swap
            _ => std::fs::create_dir(staging).map_err(io_error("make", staging)),
        };
    }
    let move_error = |source| RedirectError::Move { folder: *folder, source };
    clear_copy(staging).map_err(move_error)?;
    match copy_contents {
        true => copy_tree(&retained.place, staging).map_err(move_error),
        false => std::fs::create_dir(staging).map_err(io_error("make", staging)),
    }
}

/// Keeps other options for the end of a redirection.
///
/// # Errors
/// [`RedirectError::Retained`].
pub fn retain(
    folder: Folder,
    expects: &Retained,
    retain: &Retained,
    data: &Path,
) -> Result<Outcome, RedirectError> {
    if load(data, folder)?.as_ref() != Some(expects) {
        let why = format!("{folder} was redirected or restored meanwhile");
        return Ok(Outcome::refused(why, "the next run plans anew"));
    }
    keep(data, folder, Some(retain))?;
    Ok(Outcome::done("what the next removal does is kept"))
}

/// What is retained about one folder.
fn load(data: &Path, folder: Folder) -> Result<Option<Retained>, RedirectError> {
    let map = retained::read(data).map_err(|source| RedirectError::Retained { folder, source })?;
    Ok(map.get(&folder).cloned())
}

/// Records what is retained about one folder, or that nothing is.
///
/// # Errors
/// [`RedirectError::Retained`].
pub fn keep(data: &Path, folder: Folder, value: Option<&Retained>) -> Result<(), RedirectError> {
    let error = |source| RedirectError::Retained { folder, source };
    let mut map = retained::read(data).map_err(error)?;
    match value {
        Some(value) => map.insert(folder, value.clone()),
        None => map.remove(&folder),
    };
    retained::write(data, &map).map_err(error)
}

/// Records that a cache is given up: the folder's own, after it came home, or one it left before.
///
/// # Errors
/// [`RedirectError::Retained`].
pub fn forget_cache(data: &Path, folder: Folder, unc: &Unc) -> Result<(), RedirectError> {
    let Some(mut retained) = load(data, folder)? else { return Ok(()) };
    retained.left.retain(|left| left != unc);
    if retained.phase == Phase::Restored && retained.target == *unc {
        retained.cached = false;
    }
    let done = retained.phase == Phase::Restored && !retained.cached && retained.left.is_empty();
    keep(data, folder, if done { None } else { Some(&retained) })
}

fn read_xdg(home: &Path) -> Result<String, RedirectError> {
    let path = home.join(xdg::FILE);
    let text = durable::read_small(&path);
    let utf8 = |bytes| String::from_utf8(bytes).map_err(io::Error::other);
    match text.and_then(utf8) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

/// Names the folder's place in `user-dirs.dirs`, or takes the name back.
fn set_xdg(home: &Path, variable: Option<&str>, value: Option<&str>) -> Result<(), RedirectError> {
    let Some(variable) = variable else { return Ok(()) };
    let text = read_xdg(home)?;
    // A value that was there before is written back as it stood, with its `$HOME`.
    let value = value.map(|value| match value.starts_with('/') {
        true => xdg::quoted(value),
        false => value.to_owned(),
    });
    let changed = xdg::set(&text, variable, value.as_deref());
    if changed == text {
        return Ok(());
    }
    let path = home.join(xdg::FILE);
    durable::replace(&path, changed.as_bytes()).map_err(io_error("write", &path))
}
