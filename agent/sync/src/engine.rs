//! One run: open, scan, reconcile, apply, record.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use globset::Glob;

use crate::apply::Applier;
use crate::compare::{Compared, compare, lies_in};
use crate::copy::{Leave, remove};
use crate::fs::{Gate, Look, OLD_SUFFIX, Open, Root};
use crate::item::Base;
use crate::journal::{Journal, JournalError, Record};
use crate::reconcile::Action;
use crate::recycle::Recycle;
use crate::report::{
    Flow, ITEMS_MAX, ItemResult, Options, Pair, Pending, PendingChange, PendingItem, Report,
    Resolve, Verdict,
};
use crate::roots::{self, Roots};
use crate::scan::{Filter, PatternError, Tree, scan};

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This computer.
    Local,
    /// The share.
    Remote,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Local => "folder on this computer",
            Self::Remote => "folder on the share",
        })
    }
}

/// A run could not take place. Nothing was done, unless the journal failed in its course.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A root could not be opened or listed.
    #[error("the {side} {path} cannot be opened")]
    RootUnavailable {
        /// Which.
        side: Side,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A root is not the one the journal knows. Its emptiness is no deletion.
    #[error("the {side} is not the one that was synchronised before: {detail}")]
    RootChanged {
        /// Which.
        side: Side,
        /// How it shows.
        detail: String,
    },
    /// A root's mark could not be read or made.
    #[error("the mark of the {side} cannot be used")]
    Marker {
        /// Which.
        side: Side,
        /// Why.
        source: std::io::Error,
    },
    /// One root is the other, or lies in it.
    #[error("{local} and {remote} overlap; a folder cannot be kept in step with itself")]
    Overlap {
        /// The root here.
        local: PathBuf,
        /// The root on the share.
        remote: PathBuf,
    },
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A pattern of the options is malformed.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// There is no open conflict under this path.
    #[error("{path} is no open conflict")]
    NoConflict {
        /// The path.
        path: String,
    },
}

/// Keeps a pair in step, once.
///
/// # Errors
/// [`SyncError`]; what goes wrong with a single item is in the [`Report`].
pub fn sync(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
    now: SystemTime,
    progress: &mut dyn FnMut(&ItemResult) -> Flow,
) -> Result<Report, SyncError> {
    sync_through(pair, journal, options, now, progress, &Open)
}

/// As [`sync`], with every call to the world passing a gate. For tests of faults and crashes.
///
/// # Errors
/// As [`sync`].
pub fn sync_through(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
    now: SystemTime,
    progress: &mut dyn FnMut(&ItemResult) -> Flow,
    gate: &dyn Gate,
) -> Result<Report, SyncError> {
    let mut report = run(pair, journal, options, now, progress, gate, None)?;
    if !report.kept_both.is_empty() && !report.report.cancelled {
        // The renamed versions are new files now; a second pass carries them over.
        let more = run(pair, journal, options, now, progress, gate, None)?;
        report.report.absorb(more.report);
    }
    Ok(report.report)
}

struct Ran {
    report: Report,
    kept_both: Vec<String>,
}

fn unix_ns(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn run(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
    now: SystemTime,
    progress: &mut dyn FnMut(&ItemResult) -> Flow,
    gate: &dyn Gate,
    only: Option<(&[String], Resolve)>,
) -> Result<Ran, SyncError> {
    let roots = roots::open(pair, journal, options, gate)?;
    let temp_id = temp_id(journal)?;
    let filter = Filter::new(&options.exclude, &options.screens, &temp_id)?;
    let see = |root: &Root<'_>, side, path: &PathBuf| {
        let unavailable = |source| SyncError::RootUnavailable { side, path: path.clone(), source };
        scan(root, &filter).map_err(unavailable)
    };
    let here = see(&roots.local, Side::Local, &pair.local)?;
    let there = see(&roots.remote, Side::Remote, &pair.remote)?;
    let mut base: HashMap<String, Base> = journal.items()?.into_iter().collect();
    let [here_marked, there_marked] = roots.marked();
    let emptied = emptied((&here, here_marked), (&there, there_marked), &base);
    if let Some(side) = emptied.filter(|_| !options.adopt_root && !options.release_deletes) {
        return Err(root_emptied(side));
    }
    let forget = roots.replaced || (options.adopt_root && emptied.is_some());
    roots.enrol(journal, options, &temp_id, forget)?;
    if forget {
        base.clear();
    }
    let Roots { local, remote, .. } = roots;
    let recycle = journal.recycle();
    clear_stale(&local, &here, &recycle, unix_ns(now));
    clear_stale(&remote, &there, &recycle, unix_ns(now));

    let sides =
        Compared { local: &local, remote: &remote, here: &here, there: &there, base: &base };
    let mut report = Report::default();
    notes(&here, &there, &mut report, progress);
    let mut plan = compare(&sides, &mut report);
    if let Some((paths, _)) = only {
        plan.retain(|planned| paths.iter().any(|path| lies_at(&planned.path, path)));
    }
    let mut applier =
        Applier::new(&sides, journal, options, unix_ns(now), gate, &temp_id, progress, report);
    applier.resolve = resolver(options, only.map(|(_, how)| how))?;
    applier.settling = only.is_some();
    applier.run(plan)?;
    let kept_both = std::mem::take(&mut applier.kept_both);
    let report = applier.finish(only.is_none())?;
    Ok(Ran { report, kept_both })
}

/// Whether a path is another one or lies below it.
fn lies_at(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How conflicts are settled, by path.
pub(crate) type Resolver = Box<dyn Fn(&str) -> Resolve>;

fn resolver(options: &Options, only: Option<Resolve>) -> Result<Resolver, SyncError> {
    if let Some(how) = only {
        return Ok(Box::new(move |_| how));
    }
    let mut rules = Vec::new();
    for rule in &options.resolve {
        let glob = Glob::new(&rule.path);
        let glob = glob.map_err(|source| PatternError::new(&rule.path, source))?;
        rules.push((glob.compile_matcher(), rule.resolve));
    }
    Ok(Box::new(move |path| {
        let rule = rules.iter().find(|(glob, _)| glob.is_match(path));
        rule.map_or(Resolve::Ask, |(_, resolve)| *resolve)
    }))
}

/// The id in the names of this pair's unfinished files; another computer's are left alone.
fn temp_id(journal: &Journal) -> Result<String, SyncError> {
    if let Some(id) = journal.meta("temp-id")? {
        return Ok(id);
    }
    let id = roots::fresh_id("temp")[..16].to_owned();
    journal.set_meta("temp-id", &id)?;
    Ok(id)
}

/// The side that lost everything, if one did and the other did not; each comes with whether it
/// has its mark.
fn emptied(
    here: (&Tree, bool),
    there: (&Tree, bool),
    base: &HashMap<String, Base>,
) -> Option<Side> {
    match (is_emptied(here, base), is_emptied(there, base)) {
        (true, false) => Some(Side::Local),
        (false, true) => Some(Side::Remote),
        // Where both are empty there is nothing left to delete.
        _ => None,
    }
}

/// Whether nothing is left of what the journal knows, and nothing new is there. A mark does not
/// excuse it, for `rm -rf *` spares names that begin with a dot; but below a mark the last single
/// item may go: people do delete their last file.
fn is_emptied((tree, marked): (&Tree, bool), base: &HashMap<String, Base>) -> bool {
    if base.len() <= usize::from(marked) || !tree.entries.is_empty() {
        return false;
    }
    let hidden = tree.unknown.iter().map(String::as_str).collect();
    !base.keys().any(|path| lies_in(&hidden, path))
}

fn root_emptied(side: Side) -> SyncError {
    SyncError::RootChanged { side, detail: "everything in it is gone".to_owned() }
}

/// Removes unfinished files. What was being exchanged may be somebody's version: it is recycled.
/// What cannot be removed now is tried again by the next run; it hurts nobody.
fn clear_stale(root: &Root<'_>, tree: &Tree, recycle: &Recycle, now_ns: i64) {
    for (folder, name) in &tree.stale {
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if root.is_local() && name.ends_with(OLD_SUFFIX) {
            let found = root.look(&path);
            let place = recycle.place(&path, "here", now_ns);
            if let (Ok(Some(Look::Entry(found))), Ok(place)) = (found, place) {
                let leave = Leave { proof: None, keep: Some(place) };
                let _ = remove(root, &path, &found, &leave);
            }
        } else {
            let _ = root.unlink(&path);
        }
    }
}

/// What the scans have to say; an item that both sides hide is told once.
fn notes(
    here: &Tree,
    there: &Tree,
    report: &mut Report,
    progress: &mut dyn FnMut(&ItemResult) -> Flow,
) {
    let mut told = BTreeSet::new();
    for note in here.notes.iter().chain(&there.notes) {
        if told.insert(note.path.clone()) {
            let _ = progress(note); // a scan has nothing to cancel
            report.note(note.clone());
        }
    }
}

/// Settles one open conflict.
///
/// # Errors
/// [`SyncError`]; a failure of the item itself is in the result.
pub fn settle(
    pair: &Pair,
    journal: &mut Journal,
    path: &str,
    how: Resolve,
    host: &str,
    now: SystemTime,
) -> Result<ItemResult, SyncError> {
    if !journal.conflicts()?.iter().any(|conflict| conflict.path == path) {
        return Err(SyncError::NoConflict { path: path.to_owned() });
    }
    let options = Options { host: host.to_owned(), ..Options::default() };
    let mut last = None;
    let mut progress = |item: &ItemResult| {
        if item.path == path {
            last = Some(item.clone());
        }
        Flow::Continue
    };
    let mut paths = vec![path.to_owned()];
    let ran = run(pair, journal, &options, now, &mut progress, &Open, Some((&paths, how)))?;
    if !ran.kept_both.is_empty() {
        paths.extend(ran.kept_both);
        let rest = Some((paths.as_slice(), Resolve::Ask));
        run(pair, journal, &options, now, &mut progress, &Open, rest)?;
    }
    Ok(last.unwrap_or(ItemResult {
        path: path.to_owned(),
        action: crate::report::Did::Settle,
        result: Verdict::Done,
    }))
}

/// What is only on this computer: it would be lost if the disk died now.
///
/// # Errors
/// [`SyncError`]; a root that was swapped or emptied is no list of removals.
pub fn pending(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
) -> Result<Pending, SyncError> {
    let filter = Filter::new(&options.exclude, &options.screens, &temp_id(journal)?)?;
    let mut pending = Pending::default();
    let base: HashMap<String, Base> = journal.items()?.into_iter().collect();
    let local = match roots::open_local(pair, &Open) {
        Err(SyncError::RootChanged { .. }) if base.is_empty() => return Ok(pending),
        other => other?,
    };
    let marked = roots::prove(&local, Side::Local, journal)?.is_some();
    let here = scan(&local, &filter).map_err(|source| {
        let path = pair.local.clone();
        SyncError::RootUnavailable { side: Side::Local, path, source }
    })?;
    if is_emptied((&here, marked), &base) {
        return Err(root_emptied(Side::Local));
    }
    let mut note = |path: &str, change, bytes| {
        pending.total_items += 1;
        pending.total_bytes += bytes;
        if pending.items.len() < ITEMS_MAX {
            pending.items.push(PendingItem { path: path.to_owned(), change, bytes });
        }
    };
    for (path, entry) in &here.entries {
        let size = entry.stamp.size;
        match base.get(path) {
            None => note(path, PendingChange::Created, size),
            Some(base) if crate::compare::is_changed(&local, path, entry, base) => {
                note(path, PendingChange::Changed, size);
            }
            Some(_) => {}
        }
    }
    let mut gone: Vec<&String> = base.keys().collect();
    gone.retain(|path| !here.entries.contains_key(*path) && !here.is_unknown(path));
    gone.sort();
    for path in gone {
        note(path, PendingChange::Removed, 0);
    }
    Ok(pending)
}

/// What is planned for one path.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The path.
    pub path: String,
    /// What to do.
    pub action: Action,
}

/// Records to keep at most before they are written.
pub(crate) const BATCH: usize = 64;

/// Whether a batch is full.
pub(crate) fn is_full(records: &[Record]) -> bool {
    records.len() >= BATCH
}
