//! The simulated disk and the real one: the same calls, the same answers, the same trees.

use std::io;
use std::sync::Arc;

use homeport_sync::fs::{Folder, How, Look, OsVolume, Volume};

use crate::chance::Chance;
use crate::disk::Disk;
use crate::play;
use crate::state::Side;
use crate::volume::View;
use crate::world::World;

const NAMES: &[&str] = &["a", "b", "c d", "e"];
const FOLDERS: &[&str] = &["", "a", "b", "a/b", "a/a", "b/c d", "a/b/e"];

/// What a call came to, as text.
fn told<T>(result: io::Result<T>, good: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => good(value),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn shown(look: &Look) -> String {
    match look {
        Look::Entry(entry) => {
            let size = if entry.link.is_none() { entry.stamp.size } else { 0 };
            let size = if entry.kind == homeport_sync::Kind::Dir { 0 } else { size };
            format!("{:?} {size} {:o} {:?}", entry.kind, entry.mode, entry.link)
        }
        other => format!("{other:?}"),
    }
}

/// One call on one volume; the same seed makes the same call.
fn call(volume: &dyn Volume, chance: &mut Chance) -> String {
    let (above, below) = (*chance.pick(FOLDERS), *chance.pick(FOLDERS));
    let (name, new) = (*chance.pick(NAMES), *chance.pick(NAMES));
    let how = *chance.pick(&[How::Replace, How::New, How::Exchange]);
    let (what, size) = (chance.below(12), chance.index(9_000));
    let folder = match volume.folder(above) {
        Ok(folder) => folder,
        Err(error) => return format!("folder {above}: {:?}", error.kind()),
    };
    let target = volume.folder(below);
    let made = |result| told(result, |()| "done".to_owned());
    let done = match what {
        0 => told(folder.create(name), |mut file| {
            let bytes = vec![7; size];
            let written = file.write_at(&bytes, 3).and_then(|()| file.dress(0o640, Some(5 << 30)));
            let stamp = file.stamp().map(|stamp| (stamp.size, stamp.mtime_ns));
            format!("{written:?} {stamp:?} {:?}", file.sync())
        }),
        1 | 2 => made(folder.make_folder(name, 0o755)),
        3 => made(folder.make_link(name, "some/where")),
        4 => made(folder.remove(name)),
        5 => made(folder.remove_folder(name)),
        6 | 7 => {
            target.map_or("no target".to_owned(), |to| made(folder.rename(name, &*to, new, how)))
        }
        8 => target.map_or("no target".to_owned(), |to| made(folder.add_name(name, &*to, new))),
        9 => told(folder.look(name), |look| look.map_or("nothing".to_owned(), |l| shown(&l))),
        10 => told(folder.open(name), |file| {
            let mut buffer = vec![0; 20_000];
            told(file.read_at(&mut buffer, 1), |read| format!("{read} {:?}", buffer[..read].last()))
        }),
        _ => told(folder.list(), |list| {
            let lines = list.iter().map(|(name, look)| format!("{name:?} {}", shown(look)));
            lines.collect::<Vec<_>>().join("; ")
        }),
    };
    format!("{what}: {above:?} {name:?} {below:?} {new:?} {how:?}: {done}")
}

/// Everything below a folder.
fn tree(volume: &dyn Volume, path: &str, into: &mut Vec<String>) {
    let folder: Arc<dyn Folder> = volume.folder(path).unwrap();
    for (name, look) in folder.list().unwrap() {
        let below = crate::state::join(path, name.to_str().unwrap());
        into.push(format!("{below:?}: {}", shown(&look)));
        if matches!(&look, Look::Entry(entry) if entry.kind == homeport_sync::Kind::Dir) {
            tree(volume, &below, into);
        }
    }
}

/// Plays one sequence on both; gives the first difference.
pub fn differ(seed: u64, calls: usize) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let real = OsVolume::open(dir.path()).unwrap();
    let world = World::new(seed, false, dir.path().to_owned());
    let plain = Disk::new(play::plain_knobs(), 1);
    world.core().disks[1] = plain;
    world.core().runs.insert(1, Default::default());
    let root = crate::disk::TOP;
    world.core().disks[1].make_folder(root, "root", 0o755).unwrap();
    let root = world.core().root(1);
    // The area stands for the whole disk here: nothing in it is judged.
    let sim = View { world, seat: 1, disk: 1, side: Side::Area, root };
    for number in 0..calls {
        let chance = Chance::of(seed, 100 + number as u64);
        let one = call(&real, &mut chance.clone());
        let other = call(&sim, &mut chance.clone());
        if one != other {
            return Some(format!("call {number}: real {one}\n    simulated {other}"));
        }
    }
    let (mut one, mut other) = (Vec::new(), Vec::new());
    tree(&real, "", &mut one);
    tree(&sim, "", &mut other);
    (one != other).then(|| format!("trees: {one:#?} {other:#?}"))
}
