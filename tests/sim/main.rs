//! `sim`: plays seeds of the simulated world, and prints the command that repeats a failure.
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
mod disk;
mod ledger;
mod oracle;
mod play;
mod seeds;
mod state;
mod user;
mod volume;
mod world;

use std::process::ExitCode;

use play::How;
use seeds::{Batch, Failure};

const USAGE: &str = "usage: sim [--seeds N] [--from S] [--jobs J] [--check-trace] [--all]
       sim --seed X [--steps K] [--verbose]";

fn main() -> ExitCode {
    let mut batch = Batch::default();
    let mut one = None;
    let mut how = How::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
        let known = match arg.as_str() {
            "--seeds" => number().map(|number| batch.seeds = number),
            "--from" => number().map(|number| batch.from = number),
            "--jobs" => number().map(|number| batch.jobs = number as usize),
            "--seed" => number().map(|number| one = Some(number)),
            "--steps" => number().map(|number| how.steps = Some(number as usize)),
            "--verbose" => set(&mut how.verbose),
            "--check-trace" => set(&mut batch.check_trace),
            "--all" => set(&mut batch.goes_on),
            _ => None,
        };
        if known.is_none() {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let failures = match one {
        Some(seed) => seeds::one(seed, how).into_iter().collect(),
        None => seeds::many(&batch),
    };
    failures.iter().for_each(tell);
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn set(flag: &mut bool) -> Option<()> {
    *flag = true;
    Some(())
}

fn tell(failure: &Failure) {
    println!("seed {}: {}", failure.seed, failure.wrong);
    println!(
        "  cargo run --release -p homeport-sync --bin sim -- --seed {} --steps {} --verbose",
        failure.seed, failure.steps
    );
}
