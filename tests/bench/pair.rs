//! Keeps two directories in step, once: the engine by itself, for benchmarks and kill tests.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of the tests"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use homeport_sync::{Flow, Journal, Options, Pair, Tell, sync};

const USAGE: &str = "usage: pair <LOCAL> <REMOTE> --journal <FILE> [--threads <N>] [--verbose]";

struct Arguments {
    pair: Pair,
    journal: PathBuf,
    options: Options,
    verbose: bool,
}

fn arguments() -> Option<Arguments> {
    let (mut paths, mut journal, mut options) = (Vec::new(), None, Options::default());
    let mut verbose = false;
    // Two trees of a benchmark may differ in anything.
    options.release_deletes = true;
    options.root = homeport_sync::RootWord::Believe;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--journal" => journal = Some(PathBuf::from(words.next()?)),
            "--threads" => options.threads = words.next()?.parse().ok()?,
            "--verbose" => verbose = true,
            path => paths.push(PathBuf::from(path)),
        }
    }
    let [local, remote] = <[PathBuf; 2]>::try_from(paths).ok()?;
    Some(Arguments {
        pair: Pair { local, remote, share: None },
        journal: journal?,
        options,
        verbose,
    })
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    if let Some(parent) = arguments.journal.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut journal = Journal::open(&arguments.journal)?;
    let mut tell = |tell: Tell<'_>| {
        if let Tell::Item(item) = tell
            && arguments.verbose
        {
            println!("{:?} {} {:?}", item.action, item.path, item.result);
        }
        Flow::Continue
    };
    let now = SystemTime::now();
    let report = sync(&arguments.pair, &mut journal, &arguments.options, now, &mut tell)?;
    println!("{}", report.counts.line());
    Ok(report.counts.failed == 0)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(6),
        Err(error) => {
            let mut source: Option<&dyn std::error::Error> = Some(&*error);
            while let Some(error) = source {
                eprintln!("pair: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
