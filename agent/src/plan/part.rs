//! Finds the cache that a place lies in, and where below its root.

use std::path::Path;

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
