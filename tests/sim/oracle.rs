//! Whether all sides are the same in the end.

use std::collections::{BTreeMap, BTreeSet};

use homeport_sync::fs::{Look, TEMP_PREFIX};
use homeport_sync::{FailureKind, Journal, Report, Skip, Verdict};

use crate::state::{Core, SHARE};
use crate::volume::look_of;
use crate::world::World;

/// As in the engine: for how long a stamp proves nothing.
const RACY_NS: i64 = 2_000_000_000;

/// Compares each computer with the share, and looks at what is claimed for the last time.
pub fn check_trees(world: &World, reports: &[Option<Report>]) {
    for (seat, report) in reports.iter().enumerate().skip(1) {
        let Some(report) = report else { continue };
        let journal = Journal::open(&world.journal(seat)).expect("nobody else works with it");
        let conflicts = journal.conflicts().expect("its conflicts");
        let mut open: BTreeSet<String> = conflicts.into_iter().map(|found| found.path).collect();
        for item in &report.items {
            let has_bad_name =
                matches!(item.result, Verdict::Failed { kind: FailureKind::Name, .. });
            let is_full = matches!(item.result, Verdict::Failed { kind: FailureKind::Full, .. });
            if has_bad_name || is_full || matches!(item.result, Verdict::Screened) {
                open.insert(item.path.clone());
            }
        }
        // What was moved waits on the share for the copy under its new name; so do its folders.
        let blocked = !open.is_empty();
        for item in report.items.iter().filter(|item| blocked && waits(&item.result)) {
            open.extend(above(&item.path).map(str::to_owned));
        }
        drop(journal);
        let mut core = world.core();
        let different = different(&core, seat, &open);
        if let Some((path, how)) = different.first() {
            let verdict = report.items.iter().find(|item| item.path == *path);
            let what =
                format!("computer {seat} and the share differ in {path:?}: {how}; {verdict:?}");
            core.wrong(what);
        }
    }
    world.core().check_claims("in the end");
}

fn waits(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Skipped { why: Skip::Moved })
}

fn different(core: &Core, seat: usize, open: &BTreeSet<String>) -> Vec<(String, String)> {
    let (here, there) = (core.tree(seat), core.tree(SHARE));
    let paths: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let twins = twins(core, &paths);
    let unfinished: Vec<&String> =
        paths.iter().copied().filter(|path| path.contains(TEMP_PREFIX)).collect();
    let mut different = Vec::new();
    for path in &paths {
        let is_excused = path.contains(".homeport-")
            || above(path).any(|above| open.contains(above) || twins.contains(above))
            || unfinished.iter().any(|unfinished| unfinished.starts_with(&format!("{path}/")));
        if is_excused {
            continue;
        }
        let what = |disk, node: Option<&u64>| match node {
            None => "nothing".to_owned(),
            Some(node) => match core.key(disk, *node) {
                None => "a folder".to_owned(),
                Some(key) => core.ledger.name(key),
            },
        };
        let (local, remote) = (what(seat, here.get(*path)), what(SHARE, there.get(*path)));
        let same = match (here.get(*path), there.get(*path)) {
            (Some(one), Some(other)) => core.key(seat, *one) == core.key(SHARE, *other),
            _ => false,
        };
        if !same && !is_hidden(core, seat, path) {
            different.push(((*path).clone(), format!("{local} here, {remote} there")));
        }
    }
    different
}

/// A path, and all above it.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

/// Where case is ignored, names that differ in nothing else cannot all be kept in step.
fn twins(core: &Core, paths: &BTreeSet<&String>) -> BTreeSet<String> {
    let mut spellings: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    if core.ledger.ignores_case {
        for path in paths {
            for above in above(path) {
                spellings.entry(above.to_lowercase()).or_default().insert(above);
            }
        }
    }
    let several = spellings.into_values().filter(|spellings| spellings.len() > 1);
    several.flatten().map(str::to_owned).collect()
}

/// Whether a difference shows in nothing but the bytes, on a side whose stamps prove nothing.
fn is_hidden(core: &Core, seat: usize, path: &str) -> bool {
    let stamp = |disk: usize| {
        let node = core.node_at(disk, path)?;
        match look_of(&core.disks[disk], node) {
            Look::Entry(entry) => Some((entry.stamp.size, entry.stamp.mtime_ns)),
            _ => None,
        }
    };
    let grain = core.disks[SHARE].knobs.grain_ns.max(core.disks[seat].knobs.grain_ns);
    let tells = core.disks[SHARE].knobs.stamps_tell && core.disks[seat].knobs.stamps_tell;
    // A server that lost power may keep the stamp of a file and not its bytes: those before them,
    // or torn ones. Whoever had brought the bytes that are gone has no way to tell, for the share
    // makes nothing durable that is only read.
    let node = core.node_at(SHARE, path);
    let deceives = node.is_some_and(|node| core.disks[SHARE].inode(node).deceives);
    // The engine reads again what was new when it was recorded. A computer whose clock is ahead of
    // the server's takes everything there for old.
    let ahead = core.disks[seat].knobs.skew_ns - core.disks[SHARE].knobs.skew_ns;
    let unseen = node.is_some_and(|node| core.disks[SHARE].inode(node).unseen);
    let deceives = deceives || (unseen && ahead > RACY_NS);
    match (stamp(seat), stamp(SHARE)) {
        (Some(one), Some(other)) => {
            let same_time = one.1.abs_diff(other.1) <= grain.unsigned_abs();
            // What a user of the share took from this path had the same size and time: the journal
            // still has that one, and nothing but its bytes tells what stands there now.
            let grain = core.disks.iter().map(|disk| disk.knobs.grain_ns).max().unwrap_or_default();
            let replaced = core.ledger.let_gone_stamps.iter().any(|(gone, size, time, disk)| {
                *disk == SHARE
                    && *gone == core.ledger.folded(path)
                    && *size == other.0
                    && time.abs_diff(other.1) <= grain.unsigned_abs()
            });
            let swapped = replaced && !core.disks[SHARE].knobs.stamps_tell;
            swapped || (one.0 == other.0 && (deceives || (!tells && same_time)))
        }
        _ => false,
    }
}
