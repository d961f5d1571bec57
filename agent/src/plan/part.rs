//! Finds the cache that a place lies in, and where below its root.

use std::path::Path;

use homeport_policy::folder::Folder;
use homeport_policy::unc::Unc;

use crate::observed::{Phase, Retained};
use crate::plan::{Ground, UserPaths};
use crate::wish::{Place, relative};

/// Where a place lies below the root of a cache, with `/`; the root itself is the empty path.
///
/// A path of this computer counts where it leads: below a redirected folder, or in the cache.
pub(super) fn below(ground: &Ground<'_>, cache: &Unc, place: &Place) -> Option<String> {
    let root = ground.paths.cache_place(cache);
    match place {
        Place::Network(unc) => Some(unc.below(cache)?.join("/")),
        Place::Local(path) => match relative(path.strip_prefix(&root).unwrap_or(Path::new(".."))) {
            Some(below) => Some(below),
            None => behind_links(ground.paths, ground, &root, path),
        },
    }
}

/// As [`below`]; of a cache that lies below the place itself, everything.
pub(super) fn reached(ground: &Ground<'_>, cache: &Unc, place: &Place) -> Option<String> {
    below(ground, cache, place).or_else(|| is_above(ground, cache, place).then(String::new))
}

/// Whether a cache lies below a place: by its network path, by a redirected folder that leads into
/// it, or where it lies on this computer.
fn is_above(ground: &Ground<'_>, cache: &Unc, place: &Place) -> bool {
    let path = match place {
        Place::Network(unc) => return cache.is_within(unc),
        Place::Local(path) => path,
    };
    let root = ground.paths.cache_place(cache);
    let leads_here = |(folder, retained): (&Folder, &Retained)| {
        let here = retained.phase == Phase::Applied && retained.place.starts_with(&root);
        here && ground.paths.local_place(*folder).is_some_and(|local| local.starts_with(path))
    };
    root.starts_with(path) || ground.observed.retained.iter().any(leads_here)
}

/// A redirected folder is a link into its cache.
fn behind_links(
    paths: &UserPaths,
    ground: &Ground<'_>,
    root: &Path,
    path: &Path,
) -> Option<String> {
    let applied = |(_, retained): &(_, &Retained)| retained.phase == Phase::Applied;
    ground.observed.retained.iter().filter(applied).find_map(|(folder, retained)| {
        let rest = path.strip_prefix(paths.local_place(*folder)?).ok()?;
        relative(retained.place.join(rest).strip_prefix(root).ok()?)
    })
}

/// Says that a place lies in no offline folder, and which ones there are.
pub fn lies_outside<'u>(user: &str, caches: impl Iterator<Item = &'u Unc>) -> (String, String) {
    let caches: Vec<&str> = caches.map(Unc::as_str).collect();
    let why = format!("it lies in no offline folder of {user}");
    let hint = match caches.is_empty() {
        true => "there are no offline folders".to_owned(),
        false => format!("the offline folders are: {}", caches.join(", ")),
    };
    (why, hint)
}
