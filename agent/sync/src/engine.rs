//! One run: open, prove, walk, follow renames, plan, apply, record.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::apply::Applier;
use crate::conflict::resolver;
use crate::content::Control;
use crate::crew::Crew;
use crate::fs::{Gate, OLD_SUFFIX, Open, Tree, Volume};
use crate::journal::{Journal, JournalError, Record};
use crate::open;
use crate::path::{lies_at, lies_in};
use crate::pins::{self, Pins};
use crate::plan::{keep_needed_folders, restored, went_back};
use crate::recycle::Shelf;
use crate::report::{
    Did, Fill, Flow, ItemResult, Options, Pair, Progress, Report, Resolve, RootWord, Tell, Verdict,
};
use crate::roots::{self, fresh_id, prove_both};
use crate::run::Run;
use crate::scan::{Filter, MARKER, PatternError};
use crate::walk::{Both, Delta, Found, Stop, Walk};

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This computer.
    Local,
    /// The share.
    Remote,
}

impl Side {
    /// The word in the journal.
    fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
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
    /// What stands here could not be made durable, so nothing was recorded of it.
    #[error("the files on this computer cannot be made durable")]
    NotDurable {
        /// Why.
        source: std::io::Error,
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

/// Everything a run touches but the journal.
#[derive(Clone)]
pub struct Sides {
    /// This computer's tree.
    pub local: Arc<dyn Volume>,
    /// The share's tree.
    pub remote: Arc<dyn Volume>,
    /// Where old versions go.
    pub area: Arc<dyn Volume>,
}

impl Sides {
    /// This computer's, the share's and the recycle area, to work on.
    pub(crate) fn trees<'g>(&self, gate: &'g dyn Gate, crew: Crew) -> [Tree<'g>; 3] {
        [&self.local, &self.remote, &self.area].map(|side| Tree::new(Arc::clone(side), gate, crew))
    }
}

/// The time and the chance of a run; the same ones over the same trees give the same run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: SystemTime,
    /// A number that nobody can foretell, for the names of marks and of unfinished files.
    pub chance: u64,
}

impl Moment {
    /// A moment with a chance of its own.
    pub fn at(now: SystemTime) -> Self {
        Self { now, chance: open::chance() }
    }

    fn unix_ns(&self) -> i64 {
        let since = self.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }
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
    progress: &mut Progress<'_>,
) -> Result<Report, SyncError> {
    let control = Control::default();
    sync_with(pair, journal, options, now, progress, &control, &Open)
}

/// As [`sync`], to be cancelled from another thread, and with every operation passing a gate.
///
/// # Errors
/// As [`sync`].
pub fn sync_with(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
    now: SystemTime,
    progress: &mut Progress<'_>,
    control: &Control,
    gate: &dyn Gate,
) -> Result<Report, SyncError> {
    let sides = open::open(pair, journal, options)?;
    let world = World { sides: &sides, gate, control, paths: Some(pair) };
    world.sync(journal, options, Moment::at(now), progress)
}

/// As [`sync`], over volumes that are open. For simulations.
///
/// # Errors
/// As [`sync`].
pub fn sync_volumes(
    sides: &Sides,
    journal: &mut Journal,
    options: &Options,
    moment: Moment,
    progress: &mut Progress<'_>,
    gate: &dyn Gate,
) -> Result<Report, SyncError> {
    let control = Control::default();
    let world = World { sides, gate, control: &control, paths: None };
    world.sync(journal, options, moment, progress)
}

/// What stays the same for all passes of a run.
struct World<'w> {
    sides: &'w Sides,
    gate: &'w dyn Gate,
    control: &'w Control,
    paths: Option<&'w Pair>,
}

/// What one pass is about.
#[derive(Clone, Copy)]
struct Pass<'p> {
    options: &'p Options,
    moment: Moment,
    /// Some paths only, settled in one way.
    only: Option<(&'p [String], Resolve)>,
    number: u64,
}

struct Ran {
    report: Report,
    kept_both: Vec<String>,
}

impl World<'_> {
    fn sync(
        &self,
        journal: &mut Journal,
        options: &Options,
        moment: Moment,
        progress: &mut Progress<'_>,
    ) -> Result<Report, SyncError> {
        let pass = Pass { options, moment, only: None, number: 0 };
        let mut ran = self.pass(journal, pass, progress)?;
        if !ran.kept_both.is_empty() && !ran.report.cancelled {
            // The renamed versions are new files now; a second pass carries them over.
            let more = self.pass(journal, Pass { number: 1, ..pass }, progress)?;
            ran.report.absorb(more.report);
        }
        Ok(ran.report)
    }

    fn pass(
        &self,
        journal: &mut Journal,
        pass: Pass<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Ran, SyncError> {
        let Pass { options, moment, only, number } = pass;
        let now_ns = moment.unix_ns();
        let [local, remote, area] = self.sides.trees(self.gate, Crew::of(options.threads));
        let local = local.at_home(now_ns);
        let sides = Both { local: &local, remote: &remote };
        let marks = prove_both(&sides, journal, options)?;
        let temp_id = temp_id(journal, moment.chance)?;
        let filter = filter(journal, options, &temp_id)?;
        let pins = Pins::new(journal.pins()?, options.pinned);
        let fill = |path: &str| match options.fill {
            Fill::None => false,
            Fill::Pinned => pins.covers(path),
            Fill::All => true,
        };
        let folds = [ignores_case(&local), ignores_case(&remote)];
        let begin = |journal: &Journal| {
            let mut walk = Walk::new(sides, &filter, &fill, journal.readers(), folds);
            self.start(&mut walk).map(|()| walk)
        };
        let mut walk = begin(journal)?;
        let emptied = emptied(&walk.found, marks.marked(), journal)?;
        if let Some(side) = emptied.filter(|_| options.root == RootWord::Doubt) {
            return Err(roots::emptied(side));
        }
        let forget = marks.replaced || (options.root == RootWord::Merge && emptied.is_some());
        let ids = (temp_id.as_str(), moment.chance.wrapping_add(number));
        marks.enrol(&sides, journal, options, ids, forget)?;
        let shelf = Shelf::new(now_ns, &fresh_id(ids.1, "shelf")[..8]);
        let mut run = Run {
            sides,
            area: &area,
            journal,
            options,
            now_ns,
            gate: self.gate,
            temp_id: &temp_id,
            word: fresh_id(ids.1, "word")[..6].to_owned(),
            shelf,
            ignores_case: folds,
            progress,
            control: self.control,
            begun: HashSet::new(),
            report: Report::default(),
        };
        if run.verify_intents()? || forget {
            walk = begin(run.journal)?;
        }
        let (mut found, mut deltas) = run.explore(walk)?;
        if let Some((paths, _)) = only {
            deltas.retain(|delta| paths.iter().any(|path| lies_at(&delta.path, path)));
        } else if run.is_restored(&mut deltas)? {
            marks.enrol(&sides, run.journal, options, ids, true)?;
            (found, deltas) = run.explore(begin(run.journal)?)?;
        }
        let resolve = resolver(options, only.map(|(_, how)| how))?;
        let mut applier = Applier::new(&mut run, &found, resolve, only.is_some())?;
        applier.clear_stale();
        applier.work(&deltas)?;
        let kept_both = std::mem::take(&mut applier.kept_both);
        applier.finish(only.is_none() && options.only.is_empty())?;
        pins::pin_new(&mut run, &pins, &deltas)?;
        Ok(Ran { report: run.report, kept_both })
    }

    fn start(&self, walk: &mut Walk<'_, '_>) -> Result<(), SyncError> {
        let none = PathBuf::new();
        let (local, remote) = self.paths.map_or((&none, &none), |pair| (&pair.local, &pair.remote));
        walk.start().map_err(|stop| cannot_start(stop, local, remote))
    }
}

/// A walk that could not begin, as an error.
pub(crate) fn cannot_start(stop: Stop, local: &Path, remote: &Path) -> SyncError {
    match stop {
        Stop::Root { local: true, source } => {
            SyncError::RootUnavailable { side: Side::Local, path: local.to_owned(), source }
        }
        Stop::Root { local: false, source } => {
            SyncError::RootUnavailable { side: Side::Remote, path: remote.to_owned(), source }
        }
        Stop::Journal(error) => error.into(),
    }
}

impl<'a, 'g> Run<'a, 'g> {
    /// Walks to the end, following renames on the way; gives what was found, and what is to be done
    /// in the order of paths.
    fn explore(&mut self, mut walk: Walk<'a, 'g>) -> Result<(Found, Vec<Delta>), SyncError> {
        walk.finish(|walk, new| self.follow_folders(walk, new))?;
        let mut found = walk.found;
        if !self.options.only.is_empty() {
            // The brake means a share of the whole tree, not of the part that is looked at.
            found.known = self.journal.item_count()?;
        }
        let mut deltas = std::mem::take(&mut found.deltas);
        let unknown = found.unknown.iter().map(String::as_str).collect();
        deltas.retain(|delta| !lies_in(&unknown, &delta.path));
        deltas.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        found.ties = self.follow_files(&mut deltas)?;
        keep_needed_folders(&mut deltas);
        self.report.counts.unchanged = found.unchanged;
        found.notes.sort_by(|a, b| a.path.cmp(&b.path));
        let mut told = BTreeSet::new();
        for note in &found.notes {
            // An item that both sides hide is told once.
            if told.insert(note.path.as_str()) {
                self.note(&note.path, note.action, note.result.clone());
            }
        }
        Ok((found, deltas))
    }

    /// Whether a side went back to an earlier state as a whole, and a person wants both merged.
    /// Without a word the run halts, and so does each after it, until no file is back any more: to
    /// look at a part of the tree does not show what became of the rest.
    fn is_restored(&mut self, deltas: &mut Vec<Delta>) -> Result<bool, SyncError> {
        let known = self.journal.meta(RESTORED)?;
        let whole = self.options.only.is_empty();
        for side in [Side::Local, Side::Remote] {
            let is_known = known.as_deref() == Some(side.word());
            let back = restored(deltas, side == Side::Local, is_known);
            if back.is_none() && (whole || !is_known) {
                continue;
            }
            match self.options.root {
                RootWord::Merge if whole => return Ok(true),
                RootWord::Believe if whole => continue,
                _ => {}
            }
            self.journal.set_meta(RESTORED, side.word())?;
            let detail = match back {
                Some(count) => format!("{count} files in it went back to earlier versions"),
                None => "files in it went back to earlier versions".to_owned(),
            };
            let detail = format!("{detail}, as if it had been restored from a backup");
            return Err(SyncError::RootChanged { side, detail });
        }
        if whole && known.is_some() {
            self.journal.set_meta(RESTORED, "")?;
        }
        if !whole {
            self.leave_what_went_back(deltas);
        }
        Ok(false)
    }

    /// In a part of the tree a few files that went back cannot be told from the restored whole: they
    /// wait for the run that looks at everything.
    fn leave_what_went_back(&mut self, deltas: &mut Vec<Delta>) {
        let (back, rest) = std::mem::take(deltas).into_iter().partition(went_back);
        *deltas = rest;
        let back: Vec<Delta> = back;
        for delta in back {
            let reason = "it went back to an earlier time; the next exchange of the whole folder \
                          looks whether all of it did";
            let result = Verdict::Skipped { reason: reason.to_owned() };
            self.note(&delta.path, Did::Scan, result);
        }
    }
}

/// Where the journal keeps which side was found restored.
const RESTORED: &str = "restored";

impl Applier<'_, '_, '_> {
    /// Removes unfinished files. What was being exchanged may be somebody's version: it is
    /// recycled. What cannot be removed now is tried again by the next run; it hurts nobody.
    fn clear_stale(&mut self) {
        for (here, path) in &self.found.stale {
            let tree = self.run.sides.of(*here);
            if !path.ends_with(OLD_SUFFIX) {
                let _ = tree.discard(path);
                continue;
            }
            if let Some(found) = tree.entry(path) {
                let keep = Some(self.run.shelf.place(path, *here));
                let leave = crate::stage::Leave { proof: None, keep };
                let _ = self.remove(path, *here, &found, leave);
            }
        }
    }
}

pub(crate) fn filter(
    journal: &Journal,
    options: &Options,
    temp_id: &str,
) -> Result<Filter, SyncError> {
    let mut filter = Filter::new(&options.exclude, &options.screens, temp_id)?;
    if options.skip_suspended {
        filter.suspended = journal.suspended()?.into_iter().collect();
    }
    filter.only.clone_from(&options.only);
    Ok(filter)
}

/// Whether a side finds its mark also in capitals. One without a mark is taken to tell them apart;
/// it refuses a name that is taken, all the same.
fn ignores_case(tree: &Tree<'_>) -> bool {
    matches!(tree.look(&MARKER.to_uppercase()), Ok(Some(_)))
}

/// The id in the names of this pair's unfinished files; another computer's are left alone.
pub(crate) fn temp_id(journal: &Journal, chance: u64) -> Result<String, JournalError> {
    if let Some(id) = journal.meta("temp-id")? {
        return Ok(id);
    }
    let id = fresh_id(chance, "temp")[..8].to_owned();
    journal.set_meta("temp-id", &id)?;
    Ok(id)
}

/// Which root shows nothing of what the journal knows, while the other does. A mark does not excuse
/// it, for `rm -rf *` spares names that begin with a dot; but below a mark the last single item may
/// go: people do delete their last file.
fn emptied(
    found: &Found,
    marked: [bool; 2],
    journal: &Journal,
) -> Result<Option<Side>, JournalError> {
    let is_emptied = |side: usize| -> Result<bool, JournalError> {
        Ok(found.emptied[side] && journal.has_more_than(usize::from(marked[side]))?)
    };
    Ok(match (is_emptied(0)?, is_emptied(1)?) {
        (true, false) => Some(Side::Local),
        (false, true) => Some(Side::Remote),
        // Where both are empty there is nothing left to delete.
        _ => None,
    })
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
    let sides = open::open(pair, journal, &options)?;
    let control = Control::default();
    let world = World { sides: &sides, gate: &Open, control: &control, paths: Some(pair) };
    let mut last = None;
    let mut progress = |tell: Tell<'_>| {
        if let Tell::Item(item) = tell
            && item.path == path
        {
            last = Some(item.clone());
        }
        Flow::Continue
    };
    let mut paths = vec![path.to_owned()];
    let pass =
        Pass { options: &options, moment: Moment::at(now), only: Some((&paths, how)), number: 0 };
    let ran = world.pass(journal, pass, &mut progress)?;
    if !ran.kept_both.is_empty() {
        paths.extend(ran.kept_both);
        let only = Some((paths.as_slice(), Resolve::Ask));
        let moment = Moment::at(now);
        let pass = Pass { options: &options, moment, only, number: 1 };
        world.pass(journal, pass, &mut progress)?;
    }
    if last.is_none() {
        // Both sides came to the same by themselves.
        journal.apply(&[Record::Settled(path.to_owned())])?;
    }
    Ok(last.unwrap_or(ItemResult {
        path: path.to_owned(),
        action: Did::Settle,
        result: Verdict::Done,
    }))
}
