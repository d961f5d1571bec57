//! One run: open, prove, walk, follow renames, brake, apply, record.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::apply::Applier;
use crate::conflict::resolver;
use crate::content::Control;
use crate::crew::Crew;
use crate::fs::{Gate, OLD_SUFFIX, Open, TollVolume, Tree, Volume};
use crate::halt;
use crate::journal::{Journal, JournalError, Record};
use crate::open;
use crate::path::{lies_at, lies_in};
use crate::pins::{self, Pins};
use crate::plan::keep_needed_folders;
use crate::recycle::Shelf;
use crate::report::{
    Did, Fill, Flow, ItemResult, Options, Pair, Progress, Report, Resolve, Tell, Verdict,
};
use crate::roots::{fresh_id, prove_both};
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
    pub(crate) fn word(self) -> &'static str {
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

/// A run could not take place, or could not go on: then the journal failed, or what stands here could
/// not be made durable. What was done until then stays done.
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

/// As [`sync_with`], over the sides of a pair that are open ([`crate::open_sides`]).
///
/// # Errors
/// As [`sync`].
pub fn sync_sides(
    (pair, sides): (&Pair, &Sides),
    journal: &mut Journal,
    options: &Options,
    now: SystemTime,
    progress: &mut Progress<'_>,
    control: &Control,
) -> Result<Report, SyncError> {
    let world = World { sides, gate: &Open, control, paths: Some(pair) };
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
        self.control.toll.start(options.byte_budget.unwrap_or(u64::MAX));
        let counted = options.byte_budget.map(|_| self.counted());
        let world = World { sides: counted.as_ref().unwrap_or(self.sides), ..*self };
        let mut ran = world.pass(journal, pass, progress)?;
        if !ran.kept_both.is_empty() && !ran.report.cancelled {
            // The renamed versions are new files now; a second pass carries them over.
            let more = world.pass(journal, Pass { number: 1, ..pass }, progress)?;
            ran.report.absorb(more.report);
        }
        Ok(ran.report)
    }

    /// The sides, with what crosses to and from the share counted.
    fn counted(&self) -> Sides {
        let toll = Arc::clone(&self.control.toll);
        let remote = TollVolume::new(Arc::clone(&self.sides.remote), toll);
        Sides { remote: Arc::new(remote), ..self.sides.clone() }
    }

    /// From the roots to the record, once.
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
        let forget = halt::replaced_or_emptied(&walk.found, &marks, journal, options.root)?;
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
}

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
