//! Computers and a share: makes them, runs the engine on them, and asks the oracles.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use homeport_sync::{
    Flow, Journal, Moment, Options, Report, Resolve, ResolveRule, RootWord, Sides, SyncError, Tell,
    sync_volumes,
};

use crate::chance::Chance;
use crate::disk::{CopyWhole, Disk, TOP};
use crate::ledger::Ledger;
use crate::state::{Core, Counts, Cut, Run, SHARE, Side};
use crate::user::Users;
use crate::volume::{SimGate, View};

const SECOND: i64 = 1_000_000_000;
/// 2026, so that no clock goes back behind 1970.
const START: i64 = 1_767_225_600 * SECOND;

pub struct World {
    core: Mutex<Core>,
    /// Where the journals lie; they are real files.
    pub dir: PathBuf,
    pub resolve: Resolve,
}

/// What is asked of one run.
#[derive(Default)]
pub struct Wish {
    pub run: Run,
    pub cancel_after: Option<u64>,
    pub adopt_root: bool,
    pub release_deletes: bool,
    pub one_way: Option<Side>,
    pub settle: bool,
}

/// What came of it.
pub struct Ran {
    pub result: Result<Report, SyncError>,
    pub changes: u64,
    pub calls: u64,
}

fn knobs(chance: &mut Chance, is_share: bool, ignores_case: bool) -> crate::disk::Knobs {
    // A share is mostly one whose stamps prove nothing; a computer's disk mostly an ext4.
    let stamps_tell = if is_share { chance.one_in(5) } else { !chance.one_in(8) };
    let grains = [1, 10_000_000, if stamps_tell { 4_000_000 } else { 2 * SECOND }];
    let copy_whole = [CopyWhole::No, CopyWhole::Copies, CopyWhole::Shares];
    crate::disk::Knobs {
        reuses_numbers: chance.one_in(2),
        grain_ns: *chance.pick(&grains),
        stamps_tell,
        // Without one call for all, a computer's own files cannot be made durable by the engine.
        flushes_whole: if is_share { stamps_tell } else { true },
        exchanges: if stamps_tell { !chance.one_in(8) } else { chance.one_in(3) },
        hard_links: !chance.one_in(4),
        ignores_case: ignores_case && chance.one_in(2),
        capacity: if chance.one_in(10) { Some(100_000 + chance.below(200_000)) } else { None },
        copy_whole: *chance.pick(&copy_whole),
        short_reads: chance.one_in(3),
        ordered: if stamps_tell { true } else { chance.one_in(3) },
        skew_ns: if chance.one_in(3) {
            chance.below(7_200) as i64 * SECOND - 3_600 * SECOND
        } else {
            0
        },
    }
}

impl World {
    pub fn new(seed: u64, verbose: bool, dir: PathBuf) -> Arc<Self> {
        let mut chance = Chance::of(seed, 1);
        let computers = if chance.one_in(2) { 1 } else { 2 };
        let ignores_case = chance.one_in(6);
        let mut disks = Vec::new();
        for disk in 0..=computers {
            let knobs = knobs(&mut chance, disk == SHARE, ignores_case);
            let mut disk = Disk::new(knobs, START);
            for name in ["root", "area", "empty", "outside"] {
                disk.make_folder(TOP, name, 0o755).expect("a new disk takes folders");
            }
            let outside = disk.child(TOP, "outside").unwrap();
            disk.create(outside, "precious").expect("a new disk takes a file");
            disk.flush();
            disks.push(disk);
        }
        let mut ledger = Ledger::default();
        ledger.ignores_case = disks.iter().any(|disk| disk.knobs.ignores_case);
        let everywhere = (0..disks.len()).collect();
        let ways = [Resolve::Ask, Resolve::KeepLocal, Resolve::KeepRemote, Resolve::KeepLatest];
        let resolve = match chance.below(9) {
            0..4 => Resolve::Ask,
            4 => Resolve::KeepBoth,
            _ => *chance.pick(&ways),
        };
        let core = Core {
            disks,
            now: START,
            ledger,
            users: Users::new(Chance::of(seed, 2), everywhere),
            chance: Chance::of(seed, 3),
            runs: Default::default(),
            hash: 0xCBF2_9CE4_8422_2325,
            verbose,
            wrong: None,
            counts: Counts::default(),
            swapped: false,
            server_fell: false,
        };
        Arc::new(Self { core: Mutex::new(core), dir, resolve })
    }

    pub fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn journal(&self, seat: usize) -> PathBuf {
        self.dir.join(format!("computer-{seat}")).join("journal")
    }

    fn view(world: &Arc<Self>, seat: usize, side: Side) -> View {
        let disk = if side == Side::Share { SHARE } else { seat };
        let core = world.core();
        let top = match side {
            Side::Area => "area",
            Side::Share if core.swapped => "empty",
            _ => "root",
        };
        let root = core.disks[disk].child(TOP, top).unwrap();
        drop(core);
        View { world: Arc::clone(world), seat, disk, side, root }
    }

    /// A computer synchronises, between two calls of another one that does.
    pub fn run_meanwhile(world: &Arc<Self>, seat: usize) {
        let is_free = !world.core().runs.contains_key(&seat);
        if is_free {
            Self::run(world, seat, Wish::default());
        }
    }

    fn options(&self, seat: usize, wish: &Wish) -> Options {
        let resolve = match self.resolve {
            Resolve::Ask if wish.settle => Resolve::KeepBoth,
            resolve => resolve,
        };
        Options {
            threads: 1,
            resolve: vec![ResolveRule { path: "**".to_owned(), resolve }],
            root: if wish.adopt_root { RootWord::Merge } else { RootWord::Doubt },
            release_deletes: wish.release_deletes,
            sync_in: wish.one_way != Some(Side::Share),
            sync_out: wish.one_way != Some(Side::Local),
            host: format!("computer {seat}"),
            ..Options::default()
        }
    }

    /// One run of the engine on one computer, and what the world is like after it.
    pub fn run(world: &Arc<Self>, seat: usize, wish: Wish) -> Ran {
        let options = world.options(seat, &wish);
        let moment = world.begin(seat, wish.run);
        let mut left = wish.cancel_after;
        let mut progress = |_: Tell<'_>| match &mut left {
            Some(0) => Flow::Cancel,
            Some(more) => {
                *more -= 1;
                Flow::Continue
            }
            None => Flow::Continue,
        };
        let sides = Sides {
            local: Arc::new(Self::view(world, seat, Side::Local)),
            remote: Arc::new(Self::view(world, seat, Side::Share)),
            area: Arc::new(Self::view(world, seat, Side::Area)),
        };
        let gate = SimGate { view: Self::view(world, seat, Side::Local) };
        let path = world.journal(seat);
        make_dir(path.parent().unwrap());
        let opened = Journal::open(&path).map_err(SyncError::from);
        let result = opened.and_then(|mut journal| {
            sync_volumes(&sides, &mut journal, &options, moment, &mut progress, &gate)
        });
        drop(sides);
        world.end(seat, result)
    }

    fn begin(&self, seat: usize, run: Run) -> Moment {
        let mut core = self.core();
        core.pass_time(1_000_000);
        core.tell(format_args!("== computer {seat} synchronises: {:?}", Faults(&run)));
        core.counts.runs += 1;
        core.counts.faults += u64::from(run.offline);
        let run = Run { server_down: core.server_fell, ..run };
        core.runs.insert(seat, run);
        let now = core.now + core.disks[seat].knobs.skew_ns;
        let now = UNIX_EPOCH + Duration::from_nanos(now.cast_unsigned());
        Moment { now, chance: core.chance.next() }
    }

    fn end(&self, seat: usize, result: Result<Report, SyncError>) -> Ran {
        let mut core = self.core();
        let run = core.runs.remove(&seat).unwrap();
        core.counts.faults += run.faults;
        match &result {
            Ok(report) => {
                core.counts.conflicts += report.counts.conflicts_new;
                core.tell(format_args!("== computer {seat}: {:?}", report.counts));
                for item in &report.items {
                    core.tell(format_args!("   {item:?}"));
                }
            }
            Err(error) => core.tell(format_args!("== computer {seat}: {error:?}")),
        }
        core.check_gone(&run);
        core.check_claims("after a run");
        if run.was_cut && run.cut.is_some_and(|(_, cut)| cut == Cut::Power) {
            core.lose_power(seat);
        }
        if core.server_fell && core.runs.is_empty() {
            core.server_fell = false;
            core.lose_power(SHARE);
        }
        Ran { result, changes: run.changes, calls: run.calls }
    }
}

/// Which faults a run has, for the trace.
struct Faults<'r>(&'r Run);

impl std::fmt::Debug for Faults<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Run { cut, mishaps, offline, unlistable, short, meanwhile, .. } = self.0;
        write!(f, "{cut:?} {mishaps:?} offline={offline} {unlistable:?} {short:?} {meanwhile:?}")
    }
}

pub fn make_dir(path: &std::path::Path) {
    std::fs::create_dir_all(path).expect("room for journals");
}
