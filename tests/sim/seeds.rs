//! Plays many seeds, those that failed in the past first, and shortens what fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::play::{How, Played, play};
use crate::state::Counts;

/// Seeds that once failed, with what was wrong; never removed.
const PAST: &str = include_str!("past_failures.txt");

/// Which seeds to play.
#[derive(Clone, Debug)]
pub struct Batch {
    pub seeds: u64,
    pub from: u64,
    pub jobs: usize,
    /// Play each twice: both must be the same.
    pub check_trace: bool,
    /// Do not stop at the first failure.
    pub goes_on: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self { seeds: 100, from: 1, jobs: 2, check_trace: false, goes_on: false }
    }
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub wrong: String,
    /// The fewest steps with which it still fails.
    pub steps: usize,
}

/// A directory of this process for journals, in memory if possible.
fn room() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let above = if memory.is_dir() { memory } else { std::env::temp_dir() };
    above.join(format!("homeport-sim-{}", std::process::id()))
}

/// Plays a seed; a panic is a failure too.
fn attempt(seed: u64, how: How) -> Played {
    let played = catch_unwind(AssertUnwindSafe(|| play(seed, how, &room())));
    played.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let wrong = Some(format!("panic: {}", text.unwrap_or_default()));
        Played { wrong, hash: 0, counts: Counts::default(), steps: how.steps.unwrap_or(30) }
    })
}

/// Plays one seed.
pub fn one(seed: u64, how: How) -> Option<Failure> {
    let played = attempt(seed, how);
    println!("trace {:016x}, {:?}", played.hash, played.counts);
    let _ = std::fs::remove_dir_all(room());
    played.wrong.map(|wrong| Failure { seed, wrong, steps: played.steps })
}

/// Finds the fewest steps with which a seed still fails.
fn shortened(seed: u64, played: &Played) -> Failure {
    for steps in 0..played.steps {
        let shorter = attempt(seed, How { steps: Some(steps), verbose: false });
        if let Some(wrong) = shorter.wrong {
            return Failure { seed, wrong, steps };
        }
    }
    let wrong = played.wrong.clone().unwrap_or_default();
    Failure { seed, wrong, steps: played.steps }
}

fn past() -> Vec<u64> {
    let seed = |line: &str| line.split_whitespace().next().and_then(|seed| seed.parse().ok());
    PAST.lines().filter_map(seed).collect()
}

/// Plays a batch; gives what failed.
pub fn many(batch: &Batch) -> Vec<Failure> {
    let started = Instant::now();
    let mut seeds = past();
    seeds.extend(batch.from..batch.from + batch.seeds);
    let next = AtomicU64::new(0);
    let all = Mutex::new((Counts::default(), Vec::new(), 0_u64));
    std::thread::scope(|scope| {
        for _ in 0..batch.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(seed) = seeds.get(place) else { break };
                    let (counts, failure) = judged(*seed, batch.check_trace);
                    let mut all = all.lock().unwrap();
                    all.0.add(counts);
                    all.2 += 1;
                    all.1.extend(failure);
                    if !all.1.is_empty() && !batch.goes_on {
                        break;
                    }
                }
            });
        }
    });
    let (counts, mut failures, played) = all.into_inner().unwrap();
    let _ = std::fs::remove_dir_all(room());
    failures.sort_by_key(|failure: &Failure| failure.seed);
    println!(
        "{played} seeds, {} runs, {} calls, {} crashes, {} faults, {} edits, {} conflicts, {:.1} s",
        counts.runs,
        counts.calls,
        counts.crashes,
        counts.faults,
        counts.edits,
        counts.conflicts,
        started.elapsed().as_secs_f64()
    );
    failures
}

fn judged(seed: u64, check_trace: bool) -> (Counts, Option<Failure>) {
    let played = attempt(seed, How::default());
    if played.wrong.is_some() {
        return (played.counts, Some(shortened(seed, &played)));
    }
    if check_trace {
        let again = attempt(seed, How::default());
        if again.hash != played.hash {
            let wrong = format!("two traces: {:016x} and {:016x}", played.hash, again.hash);
            return (played.counts, Some(Failure { seed, wrong, steps: played.steps }));
        }
    }
    (played.counts, None)
}
