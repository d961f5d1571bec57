//! A server process of the lab: started, awaited, paused, stopped, with its log at hand.
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{PATIENCE, until};

/// How much of its log a server that fails is quoted with.
const TAIL: usize = 4000;

pub struct Server {
    name: &'static str,
    child: Child,
    /// Ends the server when this process ends, however it ends: its standard input closes then.
    watchdog: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it in a process group of its own, so that its children end with it.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null());
        let child = command.process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let watchdog = Command::new("sh")
            // Without `--`, which the `kill` of some shells takes for a process.
            .args(["-c", "read -r _; kill -CONT \"-$1\"; kill -KILL \"-$1\"", "watchdog"])
            .arg(child.id().to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { name, child, watchdog, log: log.to_owned() }
    }

    /// Asks until it answers. One that ends before, or stays silent, shows the end of its log.
    pub fn ready(&mut self, mut answers: impl FnMut() -> bool) {
        let start = Instant::now();
        while !answers() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended ({status}):\n{}", self.name, self.tail());
            }
            let late = start.elapsed() > PATIENCE;
            assert!(!late, "{} does not answer after {PATIENCE:?}:\n{}", self.name, self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of what it logged.
    pub fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(TAIL);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// Everything it logged so far.
    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Processor time it and its children in the group used until now.
    pub fn processor_time(&self) -> Duration {
        let group = self.child.id().to_string();
        let mut ticks = 0;
        for entry in std::fs::read_dir("/proc").unwrap() {
            let stat = std::fs::read_to_string(entry.unwrap().path().join("stat"));
            // `pid (name) state ppid pgrp session tty tpgid flags 4×faults utime stime …`
            let Some(after) = stat.ok().and_then(|text| Some(text.rsplit_once(") ")?.1.to_owned()))
            else {
                continue;
            };
            let fields: Vec<&str> = after.split(' ').collect();
            if fields[2] == group {
                ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
            }
        }
        Duration::from_millis(ticks * 10) // a tick is a hundredth of a second on every Linux
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _gone = kill_process_group(group.expect("a child has an id"), signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        let start = Instant::now();
        while !matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
            if start.elapsed() > Duration::from_secs(5) {
                self.signal(Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.signal(Signal::KILL); // what it left in its group
        let _gone = self.watchdog.kill();
        let _reaped = self.watchdog.wait();
    }
}

/// Waits until nobody listens there: the server of a test before may still be ending.
pub fn await_free(address: &str) {
    until(&format!("{address} is free"), PATIENCE, || std::net::TcpListener::bind(address).is_ok());
}
