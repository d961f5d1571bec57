//! The engine over the helper against `smbclient`, on one Samba server, in the same run.
//!
//!     cargo build --release -p homeport-smb
//!     tests/lab/enter cargo bench --offline -p homeport-agent --bench smb -- [--quick] [small | large | idle]
//!
//! The engine does more: it hashes, makes durable, keeps a journal, sets times and looks at what it
//! put in place. `smbclient` is asked with the protection the helper has (encrypted) and with the
//! least the server takes (signed). Everything is in memory, so the disk is not measured.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark measures")]
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a benchmark tells")]
#![allow(clippy::cast_precision_loss, reason = "counts are small")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use homeport_agent::share::helper::{SmbVolume, Start};
use homeport_sync::{Flow, Journal, Options, Pair, Share, sync};
use support::fileserver::{FileServer, give, smbclient};
use support::{root, run};
use tempfile::TempDir;

struct Amounts {
    small: usize,
    large: usize,
    items: usize,
}

const FULL: Amounts = Amounts { small: 5_000, large: 1 << 30, items: 100_000 };
const QUICK: Amounts = Amounts { small: 500, large: 64 << 20, items: 5_000 };
/// Files of a folder, as people have them.
const PER_FOLDER: usize = 50;
const SMALL_BYTES: usize = 10_000;

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (work(), begun.elapsed())
}

/// Makes files in folders; gives their root.
fn make(root: &Path, count: usize, bytes: usize) {
    let content: Vec<u8> = (0..bytes).map(|at| (at * 131 / 17) as u8).collect();
    for at in 0..count {
        let folder = root.join(format!("folder {:05}", at / PER_FOLDER));
        if at % PER_FOLDER == 0 {
            fs::create_dir_all(&folder).unwrap();
            give(&folder);
        }
        let path = folder.join(format!("a file {at:06}.txt"));
        let mut content = content.clone();
        content.extend_from_slice(at.to_string().as_bytes());
        fs::write(&path, content).unwrap();
        give(&path);
    }
}

struct Desk {
    temp: TempDir,
    start: Start,
}

impl Desk {
    fn new(server: &FileServer, folder: &str) -> Self {
        let temp = tempfile::tempdir_in(root()).unwrap();
        fs::create_dir(temp.path().join("local")).unwrap();
        let mut start = server.at("home", &[folder]);
        start.share.program = release(&start.share.program);
        start.limits = homeport_agent::share::helper::Limits::default();
        Self { temp, start }
    }

    fn local(&self) -> PathBuf {
        self.temp.path().join("local")
    }

    fn sync(&self) -> Duration {
        let volume = SmbVolume::new(self.start.clone()).unwrap();
        let share = Some(Share(Arc::new(volume)));
        let pair = Pair { local: self.local(), remote: "//files/home".into(), share };
        let mut journal = Journal::open(&self.temp.path().join("journal.db")).unwrap();
        let options = Options { host: "DESK-1".to_owned(), ..Options::default() };
        let mut tell = |_: homeport_sync::Tell<'_>| Flow::Continue;
        let now = SystemTime::now();
        let (report, took) = timed(|| sync(&pair, &mut journal, &options, now, &mut tell));
        let report = report.unwrap();
        assert_eq!(report.counts.failed, 0, "{:?}", report.items.first());
        took
    }
}

/// The helper as it is packaged, beside the agent of the same build.
fn release(found: &Path) -> PathBuf {
    let release = found.ancestors().nth(2).unwrap().join("release/homeport-smb");
    assert!(release.exists(), "cargo build --release -p homeport-smb");
    release
}

/// How long `smbclient` takes, encrypted and signed alone.
fn peer(commands: &str, dir: &Path, before: impl Fn()) -> [Duration; 2] {
    ["encrypt", "sign"].map(|protection| {
        before();
        let mut command = smbclient("home", commands);
        command.arg(format!("--client-protection={protection}")).current_dir(dir);
        timed(|| run(command.stderr(Stdio::null()))).1
    })
}

fn print(name: &str, ours: Duration, theirs: [Duration; 2]) {
    let seconds = |time: Duration| time.as_secs_f64();
    println!(
        "{name:<34} {:>9.2} {:>11.2} {:>9.2} {:>10.2}x {:>8.2}x",
        seconds(ours),
        seconds(theirs[0]),
        seconds(theirs[1]),
        seconds(theirs[0]) / seconds(ours),
        seconds(theirs[1]) / seconds(ours)
    );
}

fn fresh(server: &FileServer, name: &str) -> PathBuf {
    let path = server.share("home").join(name);
    let _was_not_there = fs::remove_dir_all(&path);
    server.folder("home", name)
}

fn out(server: &FileServer, name: &str, count: usize, bytes: usize) {
    let desk = Desk::new(server, "out");
    make(&desk.local(), count, bytes);
    fresh(server, "out");
    let ours = desk.sync();
    let commands = "prompt OFF; recurse ON; cd peer; mput *";
    let theirs = peer(commands, &desk.local(), || {
        fresh(server, "peer");
    });
    print(name, ours, theirs);
    for folder in ["out", "peer"] {
        fs::remove_dir_all(server.share("home").join(folder)).unwrap();
    }
}

fn into(server: &FileServer, name: &str, count: usize, bytes: usize) {
    make(&fresh(server, "in"), count, bytes);
    let desk = Desk::new(server, "in");
    let ours = desk.sync();
    let target = tempfile::tempdir_in(root()).unwrap();
    let theirs = peer("prompt OFF; recurse ON; cd in; mget *", target.path(), || {
        for entry in fs::read_dir(target.path()).unwrap() {
            let path = entry.unwrap().path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.unwrap();
        }
    });
    print(name, ours, theirs);
    fs::remove_dir_all(server.share("home").join("in")).unwrap();
}

/// Nothing changed: the whole tree is listed, and compared with the journal and the cache.
fn idle(server: &FileServer, count: usize) {
    make(&fresh(server, "idle"), count, 20);
    let desk = Desk::new(server, "idle");
    println!("first exchange of {count} files: {:.1?}", desk.sync());
    // What was recorded just now is read once more by the next run.
    println!("the run after it: {:.1?}", desk.sync());
    let ours = (0..3).map(|_| desk.sync()).min().unwrap();
    let list = |_: usize| peer("recurse ON; cd idle; ls", &root(), || {});
    let theirs = (0..3).map(list).reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1])]).unwrap();
    print(&format!("no change, {count} files"), ours, theirs);
    fs::remove_dir_all(server.share("home").join("idle")).unwrap();
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = words.iter().any(|word| word == "--quick");
    let wanted = |name: &str| words.iter().all(|word| word.starts_with("--") || word == name);
    let amounts = if quick { QUICK } else { FULL };
    let server = FileServer::start();
    println!(
        "{:<34} {:>9} {:>11} {:>9} {:>11} {:>9}",
        "seconds (x: times faster)", "homeport", "encrypted", "signed", "encrypted", "signed"
    );
    let (small, large) = (amounts.small, amounts.large);
    if wanted("small") {
        out(&server, &format!("out, {small} files of 10 kB"), small, SMALL_BYTES);
        into(&server, &format!("in, {small} files of 10 kB"), small, SMALL_BYTES);
    }
    if wanted("large") {
        out(&server, &format!("out, one file of {} MiB", large >> 20), 1, large);
        into(&server, &format!("in, one file of {} MiB", large >> 20), 1, large);
    }
    if wanted("idle") {
        idle(&server, amounts.items);
    }
}
