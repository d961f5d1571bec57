//! Paths below a root, with `/`; "" is the root itself.

use std::collections::HashSet;

/// The folder of a path, and its name in it.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The folder of a path.
pub fn parent(path: &str) -> &str {
    split(path).0
}

/// Its name in its folder.
pub fn name(path: &str) -> &str {
    split(path).1
}

/// A path from a folder and a name in it.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Another name in the folder of a path.
pub fn beside(path: &str, name: &str) -> String {
    join(parent(path), name)
}

/// The folders above a path from the top down, without the root.
pub fn above(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The folders above a path from the top down, without the root, and the path itself.
pub fn above_and(path: &str) -> impl Iterator<Item = &str> {
    above(path).chain([path])
}

/// Whether a path is another one or lies below it.
pub fn lies_at(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || top.is_empty())
}

/// Whether a path or a folder above it is in a set.
pub fn lies_in(set: &HashSet<&str>, path: &str) -> bool {
    !set.is_empty() && above_and(path).any(|path| set.contains(path))
}
