//! Plays one seed: people work, computers synchronise, things break; in the end all must be well.

use std::path::Path;
use std::sync::Arc;

use homeport_sync::{FailureKind, ItemResult, Report, SyncError, Verdict};

use crate::chance::Chance;
use crate::disk::{Body, Disk, EACCES, EDQUOT, EIO, ENOSPC, Node, TOP};
use crate::ledger::{Key, Tree, tree};
use crate::oracle;
use crate::state::{Core, Counts, Cut, Meanwhile, Mishap, Run, SHARE, Side, join};
use crate::user::act;
use crate::world::{Ran, Wish, World, make_dir};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Quiet runs of each computer until all must be idle.
const ROUNDS_MAX: usize = 8;

/// What can break in a world; each world has some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Power,
    Server,
    Mishap,
    Late,
    Offline,
    Unlistable,
    Edits,
    Together,
    Swapped,
    Emptied,
    Restored,
    JournalLost,
    Clock,
    Cancel,
    OneWay,
    Short,
}

const FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::Power,
    Fault::Server,
    Fault::Mishap,
    Fault::Late,
    Fault::Offline,
    Fault::Unlistable,
    Fault::Edits,
    Fault::Together,
    Fault::Swapped,
    Fault::Emptied,
    Fault::Restored,
    Fault::JournalLost,
    Fault::Clock,
    Fault::Cancel,
    Fault::OneWay,
    Fault::Short,
];

/// What came of a seed.
pub struct Played {
    pub wrong: Option<String>,
    pub hash: u64,
    pub counts: Counts,
    pub steps: usize,
}

/// How a seed is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    pub steps: Option<usize>,
    pub verbose: bool,
}

/// Plays a seed, with its journals in a directory of its own.
pub fn play(seed: u64, how: How, dir: &Path) -> Played {
    let dir = dir.join(format!("seed-{seed}"));
    let _ = std::fs::remove_dir_all(&dir);
    make_dir(&dir);
    let mut chance = Chance::of(seed, 4);
    let steps = 4 + chance.index(24);
    let steps = how.steps.map_or(steps, |most| steps.min(most));
    let mut faults = FAULTS.to_vec();
    let percent = *chance.pick(&[0, 25, 60]);
    faults.retain(|_| chance.percent(percent));
    let world = World::new(seed, how.verbose, dir.clone());
    let computers = world.core().disks.len() - 1;
    let calls = vec![60; computers + 1];
    let mut play = Play { world, computers, faults, calls, chance, snapshot: None, doubt: false };
    play.begin();
    for step in 0..steps {
        play.chance = Chance::of(seed, 1_000 + step as u64);
        play.step();
        if play.is_over() {
            break;
        }
    }
    play.quiet();
    let core = play.world.core();
    let (wrong, hash, counts) = (core.wrong.clone(), core.hash, core.counts);
    drop(core);
    let _ = std::fs::remove_dir_all(&dir);
    Played { wrong, hash, counts, steps }
}

struct Play {
    world: Arc<World>,
    computers: usize,
    faults: Vec<Fault>,
    /// How many calls the last run of each computer made.
    calls: Vec<u64>,
    chance: Chance,
    snapshot: Option<Disk>,
    /// A root may rightly be refused.
    doubt: bool,
}

impl Play {
    fn is_over(&self) -> bool {
        self.world.core().wrong.is_some()
    }

    fn wrong(&self, what: String) {
        self.world.core().wrong(what);
    }

    fn tell(&self, what: &str) {
        self.world.core().tell(format_args!("{what}"));
    }

    /// One random tree, and on each computer the same one changed again, or nothing.
    fn begin(&mut self) {
        let many = self.chance.below(25);
        let world = Arc::clone(&self.world);
        let mut core = world.core();
        let knobs: Vec<String> = core.disks.iter().map(|d| format!("{:?}", d.knobs)).collect();
        knobs.iter().for_each(|knobs| core.tell(format_args!("disk: {knobs}")));
        let careful = core.users.sync_percent == 100;
        let faults = &self.faults;
        core.tell(format_args!("{faults:?}, {:?}, careful={careful}", world.resolve));
        (0..many).for_each(|_| act(&mut core, SHARE));
        for computer in 1..=self.computers {
            if self.chance.one_in(2) {
                continue;
            }
            copy_tree(&mut core, computer);
            let changes = self.chance.below(8);
            (0..changes).for_each(|_| act(&mut core, computer));
        }
        for disk in 0..=self.computers {
            core.disks[disk].flush();
            core.ledger.secured(disk);
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn step(&mut self) {
        let seat = 1 + self.chance.index(self.computers);
        match self.chance.below(20) {
            0..8 => {
                let world = Arc::clone(&self.world);
                let many = 1 + self.chance.below(4);
                for _ in 0..many {
                    let disk = self.chance.index(self.computers + 1);
                    act(&mut world.core(), disk);
                }
            }
            8..16 => self.faulty_run(seat),
            16 => {
                let seconds = *self.chance.pick(&[1, 3, 60, 3_600]);
                self.world.core().pass_time(seconds * SECOND);
            }
            17 if self.has(Fault::Clock) => {
                let jump = if self.chance.one_in(2) { DAY } else { -DAY };
                let mut core = self.world.core();
                core.disks[seat].knobs.skew_ns += jump;
                core.tell(format_args!("the clock of computer {seat} jumps by {jump}"));
            }
            17 if self.chance.one_in(2) => self.cut_between(seat),
            18 if self.has(Fault::JournalLost) && self.chance.one_in(3) => {
                let path = self.world.journal(seat);
                let _ = std::fs::remove_dir_all(path.parent().unwrap());
                self.tell(&format!("the journal of computer {seat} is lost"));
            }
            18 if self.has(Fault::Swapped) => self.strange_share(seat, true),
            18 if self.has(Fault::Emptied) => self.strange_share(seat, false),
            19 if self.has(Fault::Restored) => self.restore(),
            _ => {
                self.run(seat, Wish::default());
            }
        }
    }

    /// Power is lost while nobody synchronises.
    fn cut_between(&mut self, seat: usize) {
        let disk = match self.chance.below(2) {
            0 if self.has(Fault::Power) => seat,
            1 if self.has(Fault::Server) => SHARE,
            _ => return,
        };
        self.world.core().lose_power(disk);
    }

    fn run(&mut self, seat: usize, wish: Wish) -> Ran {
        let adopt = wish.adopt_root;
        let ran = World::run(&self.world, seat, wish);
        if ran.calls > 20 {
            self.calls[seat] = ran.calls;
        }
        if matches!(ran.result, Err(SyncError::RootChanged { .. })) && !adopt {
            self.tell(&format!("computer {seat} refuses a root"));
        }
        ran
    }

    /// A moment of a run.
    fn moment(&mut self, seat: usize) -> u64 {
        1 + self.chance.below(self.calls[seat] * 5 / 4 + 2)
    }

    fn faulty_run(&mut self, seat: usize) {
        let mut wish = Wish::default();
        let mut run = Run::default();
        let cuts =
            [(Fault::Kill, Cut::Kill), (Fault::Power, Cut::Power), (Fault::Server, Cut::Server)];
        let cuts: Vec<Cut> =
            cuts.into_iter().filter(|cut| self.has(cut.0)).map(|cut| cut.1).collect();
        if !cuts.is_empty() && self.chance.one_in(2) {
            run.cut = Some((self.moment(seat), *self.chance.pick(&cuts)));
        }
        let edits = if self.has(Fault::Edits) { self.chance.below(4) } else { 0 };
        for _ in 0..edits {
            run.meanwhile.push((self.moment(seat), Meanwhile::Edit));
        }
        if self.has(Fault::Together) && self.computers > 1 && self.chance.one_in(2) {
            run.meanwhile.push((self.moment(seat), Meanwhile::Run(3 - seat)));
        }
        for (fault, late) in [(Fault::Mishap, false), (Fault::Late, true)] {
            if self.has(fault) && self.chance.one_in(2) {
                for _ in 0..=self.chance.below(2) {
                    let code = *self.chance.pick(&[EIO, ENOSPC, EACCES, EDQUOT]);
                    run.mishaps.push(Mishap { at: self.moment(seat), code, late });
                }
            }
        }
        run.offline = self.has(Fault::Offline) && self.chance.one_in(6);
        if self.has(Fault::Unlistable) && self.chance.one_in(3) {
            let side = *self.chance.pick(&[Side::Local, Side::Share]);
            run.unlistable = Some((side, 1 + self.chance.below(6)));
        }
        if self.has(Fault::Short) && self.chance.one_in(3) {
            let side = *self.chance.pick(&[Side::Local, Side::Share]);
            run.short = Some((side, 1 + self.chance.below(6)));
        }
        if self.has(Fault::Cancel) && self.chance.one_in(3) {
            wish.cancel_after = Some(self.chance.below(8));
        }
        if self.has(Fault::OneWay) && self.chance.one_in(3) {
            wish.one_way = Some(*self.chance.pick(&[Side::Local, Side::Share]));
        }
        wish.run = run;
        self.run(seat, wish);
    }

    /// The share is another folder for a while, or empty: nothing here may follow it.
    fn strange_share(&mut self, seat: usize, swapped: bool) {
        let world = Arc::clone(&self.world);
        let is_known = |core: &Core| !core.tree(seat).is_empty() && core.tree(SHARE).len() > 4;
        let items = homeport_sync::Journal::open(&ensured(&world, seat));
        let items = items.and_then(|journal| journal.item_count());
        if !is_known(&world.core()) || items.is_ok_and(|items| items < 3) {
            return;
        }
        let (kept, before) = {
            let mut core = world.core();
            core.swapped = swapped;
            core.tell(format_args!("the share is strange: swapped={swapped}"));
            (core.disks[SHARE].clone(), contents(&core, seat))
        };
        if !swapped {
            let spares_mark = self.chance.one_in(2);
            let mut core = world.core();
            let root = core.root(SHARE);
            empty(&mut core.disks[SHARE], root, spares_mark);
        }
        // What is claimed and stands on the share alone is away for now, and comes back.
        let claims = std::mem::take(&mut world.core().ledger.claims);
        let ran = self.run(seat, Wish::default());
        let mut core = world.core();
        core.ledger.claims = claims;
        let now = core.now;
        core.disks[SHARE] = kept;
        core.disks[SHARE].now = now;
        core.swapped = false;
        core.tell(format_args!("the share is back"));
        let after = contents(&core, seat);
        if before != after {
            let result = ran.result.map(|report| report.counts);
            core.wrong(format!("computer {seat} followed a strange share: {result:?}"));
        }
    }

    /// The share goes back to what it was some time ago.
    fn restore(&mut self) {
        let mut core = self.world.core();
        let Some(snapshot) = self.snapshot.take() else {
            self.snapshot = Some(core.disks[SHARE].clone());
            return;
        };
        let before = core.tree(SHARE);
        let keys: Vec<(String, Key)> = before
            .iter()
            .filter_map(|(path, node)| Some((path.clone(), core.key(SHARE, *node)?)))
            .collect();
        let now = core.now;
        let last = std::mem::replace(&mut core.disks[SHARE], snapshot);
        core.disks[SHARE].now = now;
        core.disks[SHARE].deceive_after(&last);
        core.disks[SHARE].flush();
        core.tell(format_args!("the share is restored"));
        for (path, key) in keys {
            if core.key_at(SHARE, &path) != Some(key) {
                core.ledger.unpin_all(key);
                let stands = (0..=self.computers).any(|d| core.key_at(d, &path) == Some(key));
                if !stands {
                    let place = (key, core.ledger.folded(&path));
                    core.ledger.claims.remove(&place);
                }
            }
        }
        let present = core.present(true);
        for lost in core.ledger.lost(&present) {
            core.ledger.claims.remove(&lost);
        }
        drop(core);
        self.doubt = true;
    }

    /// Nothing breaks, nobody works: all computers and the share become the same, and stay so.
    fn quiet(&mut self) {
        let settle = self.chance.one_in(2);
        self.tell("-- quiet");
        let mut reports: Vec<Option<Report>> = vec![None; self.computers + 1];
        for round in 0..ROUNDS_MAX {
            let mut is_idle = true;
            #[expect(clippy::needless_range_loop, reason = "a seat is more than a place in a list")]
            for seat in 1..=self.computers {
                if self.is_over() {
                    return;
                }
                self.world.core().pass_time(10 * SECOND);
                let before = self.all_contents();
                let all = self.all_names();
                let ran = self.quiet_run(seat, settle, reports[seat].take());
                let held = ran.result.as_ref().is_ok_and(|report| report.held.is_some());
                // Where case is ignored, a twin is brought again and again, and finds no place.
                let twins = self.world.core().ledger.ignores_case;
                // Where the disk is full, what has no room is begun and removed again each time; not
                // a folder more may be left of that, neither beside it nor in the recycle area.
                let is_same = ran.changes == 0
                    || (twins && before == self.all_contents())
                    || (lacks_room(&ran)
                        && before == self.all_contents()
                        && all == self.all_names());
                is_idle &= is_same && ran.result.is_ok() && !held;
                reports[seat] = ran.result.ok();
            }
            if is_idle && round > 0 {
                oracle::check_trees(&self.world, &reports);
                return;
            }
        }
        if !self.is_over() {
            self.wrong(format!("after {ROUNDS_MAX} quiet rounds there is still something to do"));
        }
    }

    fn all_contents(&self) -> Vec<Vec<(String, Option<Key>)>> {
        let core = self.world.core();
        (0..=self.computers).map(|disk| contents(&core, disk)).collect()
    }

    fn all_names(&self) -> Vec<Vec<String>> {
        let core = self.world.core();
        core.disks.iter().map(|disk| tree(disk, TOP).into_keys().collect()).collect()
    }

    fn quiet_run(&mut self, seat: usize, settle: bool, last: Option<Report>) -> Ran {
        let release_deletes = last.is_some_and(|report| report.held.is_some());
        let ran = self.run(seat, Wish { settle, release_deletes, ..Wish::default() });
        match &ran.result {
            Ok(_) => ran,
            Err(SyncError::RootChanged { .. }) => {
                let core = self.world.core();
                let is_bare = |disk| core.tree(disk).keys().all(|path| path.contains(".homeport-"));
                let may_refuse = self.doubt || is_bare(seat) || is_bare(SHARE);
                drop(core);
                if may_refuse {
                    self.run(seat, Wish { settle, adopt_root: true, ..Wish::default() })
                } else {
                    self.wrong(format!("computer {seat} refuses a root without cause"));
                    ran
                }
            }
            Err(error) => {
                self.wrong(format!("a quiet run of computer {seat} fails: {error:?}"));
                ran
            }
        }
    }
}

fn ensured(world: &World, seat: usize) -> std::path::PathBuf {
    let path = world.journal(seat);
    make_dir(path.parent().unwrap());
    path
}

/// Whether a run found no room for something, and nothing else went wrong.
fn lacks_room(ran: &Ran) -> bool {
    let is_full =
        |item: &ItemResult| matches!(item.result, Verdict::Failed { kind: FailureKind::Full, .. });
    ran.result
        .as_ref()
        .is_ok_and(|report| !report.items.is_empty() && report.items.iter().all(is_full))
}

fn contents(core: &Core, disk: usize) -> Vec<(String, Option<Key>)> {
    let ours = |path: &str| path.contains(".homeport-"); // not a user's
    let tree: Tree = core.tree(disk);
    tree.into_iter()
        .filter(|(path, _)| !ours(path))
        .map(|(path, node)| (path, core.key(disk, node)))
        .collect()
}

fn empty(disk: &mut Disk, folder: Node, spares_mark: bool) {
    let names: Vec<(String, Node)> =
        disk.names[&folder].iter().map(|(name, node)| (name.clone(), *node)).collect();
    for (name, node) in names {
        if spares_mark && name.starts_with(".homeport-") {
            continue;
        }
        if disk.is_folder(node) {
            empty(disk, node, false);
            disk.remove_folder(folder, &name).expect("it is empty");
        } else {
            disk.remove(folder, &name).expect("it is a file");
        }
    }
}

/// A computer starts with what the share has.
fn copy_tree(core: &mut Core, computer: usize) {
    let root = core.root(computer);
    for (path, node) in core.tree(SHARE) {
        let inode = core.disks[SHARE].inode(node).clone();
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let disk = &mut core.disks[computer];
        // Twins in case have one place on some disks.
        let Ok(folder) = disk.folder(root, parent) else { continue };
        let _ = match &inode.body {
            Body::Folder => disk.make_folder(folder, name, 0o755).map(drop),
            Body::Link(text) => disk.make_link(folder, name, text).map(drop),
            Body::File(data) => disk.create(folder, name).map(|copy| {
                disk.set_data(copy, data.to_vec());
                disk.dress(copy, 0o644, Some(inode.attributes.mtime));
            }),
        };
    }
    core.tell(format_args!("{} has a copy", join("computer", &computer.to_string())));
}

/// A disk as this computer's own, for comparisons.
pub fn plain_knobs() -> crate::disk::Knobs {
    crate::disk::Knobs {
        reuses_numbers: false,
        grain_ns: 1,
        stamps_tell: true,
        flushes_whole: true,
        exchanges: true,
        hard_links: true,
        ignores_case: false,
        capacity: None,
        copy_whole: crate::disk::CopyWhole::No,
        short_reads: false,
        ordered: true,
        skew_ns: 0,
    }
}
