//! Walks one side and says what stands there; what could not be seen is named, never left out.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::fs::{DEPTH_MAX, Look, PATH_BYTES_MAX, Root, TEMP_PREFIX};
use crate::item::{Entry, Kind};
use crate::report::{Did, FailureKind, ItemResult, Verdict};

/// The file that tells a root from any other directory at the same path.
pub const MARKER: &str = ".homeport-root";

/// A pattern of the options is malformed.
#[derive(Debug, thiserror::Error)]
#[error("the pattern {pattern:?} cannot be used")]
pub struct PatternError {
    pattern: String,
    source: globset::Error,
}

impl PatternError {
    /// Names the pattern.
    pub fn new(pattern: &str, source: globset::Error) -> Self {
        Self { pattern: pattern.to_owned(), source }
    }
}

/// Which names the engine leaves alone.
#[derive(Debug)]
pub struct Filter {
    exclude: GlobSet,
    screens: GlobSet,
    temp_id: String,
}

impl Filter {
    /// Compiles the patterns; `temp_id` names this pair's own unfinished files.
    ///
    /// # Errors
    /// [`PatternError`] names the pattern.
    pub fn new(
        exclude: &[String],
        screens: &[String],
        temp_id: &str,
    ) -> Result<Self, PatternError> {
        let temp_id = format!("{TEMP_PREFIX}{temp_id}-");
        Ok(Self { exclude: globs(exclude, false)?, screens: globs(screens, true)?, temp_id })
    }
}

fn globs(patterns: &[String], any_case: bool) -> Result<GlobSet, PatternError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let mut builder = GlobBuilder::new(pattern);
        let glob = builder.literal_separator(true).case_insensitive(any_case).build();
        set.add(glob.map_err(|source| PatternError::new(pattern, source))?);
    }
    set.build().map_err(|source| PatternError::new("(all together)", source))
}

/// What stands on one side.
#[derive(Debug, Default)]
pub struct Tree {
    /// Entries by relative path.
    pub entries: BTreeMap<String, Entry>,
    /// Paths about which nothing may be concluded, with everything below them.
    pub unknown: Vec<String>,
    /// Folders that hold something the engine leaves alone.
    pub keepers: Vec<String>,
    /// Unfinished files of an interrupted run of this pair: `(folder, name)`.
    pub stale: Vec<(String, String)>,
    /// What is to be reported.
    pub notes: Vec<ItemResult>,
    /// Whether this is the side on this computer.
    is_local: bool,
}

impl Tree {
    /// Whether something of this path, or of a folder above it, could not be seen.
    pub fn is_unknown(&self, path: &str) -> bool {
        self.unknown.iter().any(|unknown| {
            unknown.is_empty()
                || path == unknown
                || path.strip_prefix(unknown.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })
    }

    fn hide(&mut self, path: String, result: Verdict) {
        self.notes.push(ItemResult { path: path.clone(), action: Did::Scan, result });
        self.unknown.push(path);
    }
}

/// Walks a side. Never fails as a whole but for its root.
///
/// # Errors
/// Only when the root itself cannot be listed.
pub fn scan(root: &Root<'_>, filter: &Filter) -> std::io::Result<Tree> {
    let mut tree = Tree { is_local: root.is_local(), ..Tree::default() };
    let first = root.list("")?;
    let mut waiting = vec![(String::new(), first, 0_usize)];
    while let Some((folder, list, depth)) = waiting.pop() {
        for (name, look) in list {
            let Some(path) = visit(&mut tree, filter, &folder, &name, look) else { continue };
            if depth >= DEPTH_MAX || path.len() > PATH_BYTES_MAX {
                let message = "it lies too deep".to_owned();
                tree.hide(path, Verdict::Failed { kind: FailureKind::Name, message });
                continue;
            }
            match root.list(&path) {
                Ok(list) => waiting.push((path, list, depth + 1)),
                Err(error) => {
                    let result = failure("list", &path, &error);
                    tree.hide(path, result);
                }
            }
        }
    }
    Ok(tree)
}

/// Notes one entry; gives its path if it is a folder to go into.
fn visit(
    tree: &mut Tree,
    filter: &Filter,
    folder: &str,
    name: &std::ffi::OsStr,
    look: Look,
) -> Option<String> {
    let join = |name: &str| match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    };
    let Some(text) = name.to_str() else {
        let path = join(&name.to_string_lossy());
        let message = "its name is not UTF-8".to_owned();
        let result = Verdict::Failed { kind: FailureKind::Name, message };
        tree.notes.push(ItemResult { path, action: Did::Scan, result });
        tree.keepers.push(folder.to_owned());
        return None;
    };
    if text.starts_with(TEMP_PREFIX) {
        if text.starts_with(&filter.temp_id) {
            tree.stale.push((folder.to_owned(), text.to_owned()));
        } else if tree.is_local {
            // On a share it is another computer's; here only a person can have made it.
            let reason = "its name is that of an unfinished file of Homeport".to_owned();
            tree.keepers.push(folder.to_owned());
            tree.hide(join(text), Verdict::Skipped { reason });
        }
        return None;
    }
    let path = join(text);
    if path == MARKER {
        return None;
    }
    if filter.exclude.is_match(&path) {
        tree.keepers.push(folder.to_owned());
        tree.unknown.push(path);
        return None;
    }
    match look {
        Look::Other => {
            let reason = "it is a pipe, socket or device".to_owned();
            tree.keepers.push(folder.to_owned());
            tree.hide(path, Verdict::Skipped { reason });
            None
        }
        Look::OddLink => {
            let message = "its target is not UTF-8".to_owned();
            tree.keepers.push(folder.to_owned());
            tree.hide(path, Verdict::Failed { kind: FailureKind::Name, message });
            None
        }
        Look::Entry(entry) if entry.kind != Kind::Dir && filter.screens.is_match(text) => {
            tree.keepers.push(folder.to_owned());
            tree.hide(path, Verdict::Screened);
            None
        }
        Look::Entry(entry) => {
            let is_dir = entry.kind == Kind::Dir;
            tree.entries.insert(path.clone(), entry);
            is_dir.then_some(path)
        }
    }
}

/// An error on one item, as a verdict.
pub fn failure(what: &str, path: &str, error: &std::io::Error) -> Verdict {
    use std::io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => FailureKind::Denied,
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => FailureKind::Full,
        Io::InvalidFilename | Io::InvalidInput => FailureKind::Name,
        _ => FailureKind::Io,
    };
    Verdict::Failed { kind, message: format!("cannot {what} {path}: {error}") }
}
