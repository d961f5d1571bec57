//! Puts a batch of staged items in their places, so that each is old or new at every instant, and
//! all are durable before the journal says so.
//!
//! ```text
//! staged ─► flush ─► keep the old versions ─► flush ─► intent ─► exchange ─► flush ─► look ─► row
//! ```

use std::collections::BTreeSet;
use std::io;

use crate::fs::{Look, Tree};
use crate::item::{Content, Entry, Kind, Stamp};
use crate::look::{Stop, io};
use crate::path::{above, parent};
use crate::skip::Skip;
use crate::stage::{Job, Leave, Staged};
use crate::walk::Both;

/// From this many on, one flush of the whole volume is cheaper than one of each.
pub const FLUSH_MIN: usize = 8;

/// An item in its place.
#[derive(Debug)]
pub struct Placed {
    /// Its content.
    pub content: Content,
    /// Its stamp there.
    pub stamp: Stamp,
    /// What was staged.
    pub staged: Option<Staged>,
}

/// Makes the names in some folders durable.
///
/// # Errors
/// The first failure.
pub fn sync_folders(tree: &Tree<'_>, folders: &BTreeSet<&str>) -> io::Result<()> {
    if folders.len() >= FLUSH_MIN && tree.traits().flushes_whole {
        return tree.flush();
    }
    folders.iter().try_for_each(|folder| tree.sync_folder(folder))
}

/// Whether a path still is what was seen.
///
/// # Errors
/// [`Stop`] if not.
pub fn check(tree: &Tree<'_>, path: &str, expected: Option<&Entry>) -> Result<(), Stop> {
    let now = tree.look(path).map_err(io("look at"))?;
    let same = match (&now, expected) {
        (None, None) => true,
        (Some(Look::Entry(now)), Some(expected)) => {
            expected.is_still(now)
                && (now.kind == Kind::Dir || now.stamp.ctime_ns == expected.stamp.ctime_ns)
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(Stop::Left(Skip::TargetChanged)) }
}

/// Keeps a version that is about to go, if it is asked for.
///
/// # Errors
/// [`Stop`]; nothing is kept then, and its empty folders are left for [`Tree::clear_away`]: others
/// may be about to use them.
pub fn keep(
    tree: &Tree<'_>,
    path: &str,
    expected: &Entry,
    leave: &Leave,
    area: &Tree<'_>,
) -> Result<(), Stop> {
    check(tree, path, Some(expected))?;
    let Some(place) = &leave.keep else { return Ok(()) };
    let room = area.make_folders(parent(place), 0o700);
    room.map_err(io("make room in the recycle area for"))?;
    tree.keep(path, area, place).map_err(io("keep the old version of"))?;
    // Keeping it may have taken minutes, and a second name has changed its change time.
    match tree.look(path).map_err(io("look at"))? {
        Some(Look::Entry(now)) if expected.is_still(&now) => Ok(()),
        _ => {
            // One that cannot be removed goes when the recycle area is swept.
            let _ = area.discard(place);
            Err(Stop::Left(Skip::TargetChanged))
        }
    }
}

/// Makes what was put into the recycle area durable.
///
/// # Errors
/// As `fsync`.
pub fn sync_kept<'p>(area: &Tree<'_>, places: impl Iterator<Item = &'p str>) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for place in places {
        folders.extend(std::iter::once("").chain(above(place)));
    }
    if folders.is_empty() { Ok(()) } else { sync_folders(area, &folders) }
}

/// What became of staging.
pub type Results = Vec<Result<Staged, Stop>>;

/// What is staged and kept: durable, and not in its place yet.
pub fn prepare(
    jobs: &[Job<'_>],
    mut staged: Results,
    synced_each: bool,
    sides: &Both<'_, '_>,
    area: &Tree<'_>,
) -> Results {
    sides.local.forget_folders();
    sides.remote.forget_folders();
    if !synced_each {
        flush_staged(jobs, &mut staged, sides);
    }
    keep_old(jobs, staged, sides, area)
}

/// Puts a batch in place; gives what became of each.
pub fn commit(
    jobs: &[Job<'_>],
    staged: Results,
    sides: &Both<'_, '_>,
    area: &Tree<'_>,
) -> Vec<Result<Placed, Stop>> {
    let crew = sides.local.crew();
    let place = |job: &Job<'_>, staged: Result<Staged, Stop>| {
        let staged = staged?;
        put(job, sides, area).map(|()| staged)
    };
    let mut staged = crew.map_with(jobs, staged, place);
    for out in [false, true] {
        let done =
            jobs.iter().zip(&staged).filter(|(job, staged)| job.out == out && staged.is_ok());
        let folders: BTreeSet<&str> = done.map(|(job, _)| parent(job.path())).collect();
        if folders.is_empty() {
            continue;
        }
        if let Err(error) = sync_folders(sides.of(!out), &folders) {
            fail(jobs, &mut staged, out, "make durable", &error);
        }
    }
    sides.local.forget_folders();
    sides.remote.forget_folders();
    crew.map_with(jobs, staged, |job, staged| look_again(job, staged?, sides))
}

/// All jobs of one direction failed together.
fn fail(jobs: &[Job<'_>], staged: &mut Results, out: bool, what: &'static str, error: &io::Error) {
    for (job, staged) in jobs.iter().zip(staged) {
        if job.out == out && staged.is_ok() {
            *staged = Err(Stop::Io(what, again(error)));
        }
    }
}

/// The same error for several items.
pub fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn flush_staged(jobs: &[Job<'_>], staged: &mut Results, sides: &Both<'_, '_>) {
    let any = |out: &bool| {
        let mut ours = jobs.iter().zip(&*staged);
        ours.any(|(job, staged)| job.out == *out && staged.is_ok())
    };
    let directions: Vec<bool> = [false, true].into_iter().filter(any).collect();
    let flush = |out: &bool| sides.of(!out).flush();
    let flushed = sides.local.crew().map(&directions, flush);
    for (out, flushed) in directions.into_iter().zip(flushed) {
        if let Err(error) = flushed {
            let ours = jobs.iter().zip(&*staged);
            ours.filter(|(job, staged)| job.out == out && staged.is_ok())
                .for_each(|(job, _)| job.unstage(sides));
            fail(jobs, staged, out, "make durable", &error);
        }
    }
}

fn keep_old(jobs: &[Job<'_>], staged: Results, sides: &Both<'_, '_>, area: &Tree<'_>) -> Results {
    let keep = |job: &Job<'_>, staged: Result<Staged, Stop>| {
        let staged = staged?;
        let Some(target) = job.target() else { return Ok(staged) };
        let kept = keep(job.to(sides), job.path(), target, &job.leave, area);
        kept.map(|()| staged).inspect_err(|_| job.unstage(sides))
    };
    let mut staged = sides.local.crew().map_with(jobs, staged, keep);
    let place = |job: &Job<'_>| job.target().and(job.leave.keep.clone());
    let kept: Vec<(usize, String)> =
        jobs.iter().enumerate().filter_map(|(at, job)| Some((at, place(job)?))).collect();
    for (_, place) in kept.iter().filter(|(at, _)| staged[*at].is_err()) {
        area.clear_away(place);
    }
    let kept: Vec<_> = kept.into_iter().filter(|(at, _)| staged[*at].is_ok()).collect();
    if let Err(error) = sync_kept(area, kept.iter().map(|(_, place)| &**place)) {
        for (at, _) in kept {
            jobs[at].unstage(sides);
            staged[at] = Err(Stop::Io("keep the old version of", again(&error)));
        }
    }
    staged
}

/// Puts one staged entry in place, if the target still is what was seen.
fn put(job: &Job<'_>, sides: &Both<'_, '_>, area: &Tree<'_>) -> Result<(), Stop> {
    let (to, path) = (job.to(sides), job.path());
    let put = match job.target() {
        None => check(to, path, None).and_then(|()| {
            to.put(path, &job.temp).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Stop::Left(Skip::NameTaken),
                _ => Stop::Io("put in place", error),
            })
        }),
        Some(target) => match to.swap(path, &job.temp, target, &|folder, name| {
            job.leave.proves(target.stamp.size, folder, name)
        }) {
            Ok(true) => Ok(()),
            Ok(false) => {
                job.unkeep(area);
                Err(job.leave.changed())
            }
            // It may be done all the same; so the version stays where it is kept.
            Err(error) => Err(Stop::Io("put in place", error)),
        },
    };
    put.inspect_err(|_| job.unstage(sides))
}

/// Looks at an item in its place: what is recorded must be what stands there.
fn look_again(job: &Job<'_>, staged: Staged, sides: &Both<'_, '_>) -> Result<Placed, Stop> {
    let kind = staged.content.kind();
    match job.to(sides).look(job.path()).map_err(io("look at"))? {
        Some(Look::Entry(found))
            if found.kind == kind
                && (kind == Kind::Dir || staged.stamp.agrees_but_for_name(found.stamp)) =>
        {
            let content = staged.content.clone();
            Ok(Placed { content, stamp: found.stamp, staged: Some(staged) })
        }
        _ => Err(Stop::Left(Skip::Changed)),
    }
}
