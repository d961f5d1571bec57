//! Reads one folder of one side and says what stands there; what could not be seen is named, never
//! left out.

use std::collections::BTreeSet;
use std::ffi::OsString;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::fs::{Look, TEMP_PREFIX, Tree, is_over_budget};
use crate::item::{Entry, Kind};
use crate::names::{Rules, judge};
use crate::path::{join, lies_at, name};
use crate::report::{Did, FailureKind, ItemResult, Verdict};
use crate::skip::Skip;

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
    /// Folders that a person suspended.
    pub suspended: BTreeSet<String>,
    /// If not empty, nothing else is looked at but these, and what is below them.
    pub only: Vec<String>,
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
        Ok(Self {
            exclude: globs(exclude, false)?,
            screens: globs(screens, true)?,
            temp_id: format!("{TEMP_PREFIX}{temp_id}-"),
            suspended: BTreeSet::new(),
            only: Vec::new(),
        })
    }

    /// Whether a name is excluded or suspended. Most roots have nothing of either.
    fn leaves_alone(&self, folder: &str, name: &str) -> bool {
        if self.exclude.is_empty() && self.suspended.is_empty() {
            return false;
        }
        let path = join(folder, name);
        self.exclude.is_match(&path) || self.suspended.contains(&path)
    }

    /// Whether a path is one that is looked at, or leads to one.
    pub fn is_wanted(&self, path: &str) -> bool {
        let leads = |only: &String| lies_at(path, only) || lies_at(only, path);
        self.only.is_empty() || self.only.iter().any(leads)
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

/// What stands in one folder of one side.
#[derive(Debug, Default)]
pub struct Listing {
    /// Entries by name.
    pub entries: Vec<(Box<str>, Entry)>,
    /// Names about which nothing may be concluded, sorted.
    pub hidden: Vec<Box<str>>,
    /// It holds something that the engine leaves alone.
    pub keeper: bool,
    /// Unfinished files of an interrupted run of this pair.
    pub stale: Vec<Box<str>>,
    /// What is to be reported.
    pub notes: Vec<ItemResult>,
}

impl Listing {
    fn note(&mut self, path: String, result: Verdict) {
        self.keeper = true;
        self.notes.push(ItemResult { path, action: Did::Scan, result });
    }
}

/// Reads one folder.
///
/// # Errors
/// The first failure; a half-read folder is no answer.
pub fn read_folder(
    tree: &Tree<'_>,
    local: bool,
    folder: &str,
    filter: &Filter,
) -> std::io::Result<Listing> {
    let mut listing = Listing::default();
    let found = tree.list(folder)?;
    listing.entries.reserve_exact(found.len());
    for (name, look) in found {
        visit(&mut listing, filter, local, folder, name, look);
    }
    Ok(listing)
}

/// Notes one entry.
fn visit(
    listing: &mut Listing,
    filter: &Filter,
    local: bool,
    folder: &str,
    name: OsString,
    look: Look,
) {
    let text = match name.into_string() {
        Ok(text) => text.into_boxed_str(),
        Err(name) => {
            let message = "its name is not UTF-8".to_owned();
            let result = Verdict::Failed { kind: FailureKind::Name, message };
            return listing.note(join(folder, &name.to_string_lossy()), result);
        }
    };
    if text.starts_with(TEMP_PREFIX) {
        if text.starts_with(&*filter.temp_id) {
            listing.stale.push(text);
        } else if local {
            // On a share it is another computer's; here only a person can have made it.
            listing.note(join(folder, &text), Verdict::Skipped { why: Skip::OurName });
            listing.hidden.push(text);
        }
        return;
    }
    if folder.is_empty() && *text == *MARKER {
        return;
    }
    if filter.leaves_alone(folder, &text) {
        listing.keeper = true;
        listing.hidden.push(text);
        return;
    }
    let result = match look {
        Look::Other => Verdict::Skipped { why: Skip::Special },
        Look::OddLink => {
            let message = "its target is not UTF-8".to_owned();
            Verdict::Failed { kind: FailureKind::Name, message }
        }
        Look::Mount => Verdict::Skipped { why: Skip::Mount },
        Look::Vanished => {
            listing.keeper = true;
            listing.hidden.push(text);
            return;
        }
        Look::Entry(entry) if entry.kind != Kind::Dir && filter.screens.is_match(&*text) => {
            Verdict::Screened
        }
        Look::Entry(entry) => {
            listing.entries.push((text, entry));
            return;
        }
    };
    listing.note(join(folder, &text), result);
    listing.hidden.push(text);
}

/// An error on one item, as a verdict.
pub fn failure(what: &str, path: &str, error: &std::io::Error) -> Verdict {
    use std::io::ErrorKind as Io;
    if is_over_budget(error) {
        return Verdict::PutOff;
    }
    let kind = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => FailureKind::Denied,
        Io::QuotaExceeded => FailureKind::Quota,
        Io::StorageFull | Io::FileTooLarge => FailureKind::Full,
        Io::InvalidFilename | Io::InvalidInput => FailureKind::Name,
        Io::ExecutableFileBusy | Io::ResourceBusy => FailureKind::Busy,
        _ => FailureKind::Io,
    };
    let mut message = format!("cannot {what} {path}: {error}");
    // A side that refuses a name does not say what is wrong with it; mostly it is one of these.
    if kind == FailureKind::Name
        && let Err(fault) = judge(name(path), &Rules::WINDOWS)
    {
        message = format!("{message}; {fault}; {}", fault.hint());
    }
    Verdict::Failed { kind, message }
}
