//! Some seeds of the simulation, and all that ever failed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests measure, print and touch the disk"
)]
#![allow(missing_docs, dead_code, reason = "tests")]

mod chance;
mod crash;
mod differ;
mod disk;
mod ledger;
mod oracle;
mod play;
mod seeds;
mod state;
mod user;
mod volume;
mod world;

use seeds::Batch;

#[test]
fn nothing_is_lost_and_all_sides_become_the_same() {
    let failures = seeds::many(&Batch { seeds: 60, check_trace: true, ..Batch::default() });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_simulated_disk_answers_as_the_real_one() {
    for seed in 0..60 {
        assert_eq!(differ::differ(seed, 150), None, "seed {seed}");
    }
}
