//! A small world for tests: a directory, shares, homes, and the real binary with nothing else.
#![allow(dead_code, reason = "each test target uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests touch the disk and start the binary")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

pub mod offline;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const LDIF: &str = include_str!("../../agent/src/cli/demo_files/corp.ldif");

/// Redirects Documents of the staff on their primary computers; comes home when it ends.
pub const STAFF: &str = include_str!("../../agent/src/cli/demo_files/staff.toml");

/// One computer `DESK-1` with a home for alice, two shares and a policy directory.
pub struct World {
    pub root: tempfile::TempDir,
}

/// What a command printed and how it ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    pub fn new() -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        world.write("corp.ldif", LDIF);
        for dir in ["policy.d", "homes/alice", "server/home", "server/profiles"] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        world.write("agent.toml", &world.settings("DESK-1"));
        world
    }

    /// A world in which [`STAFF`] is the policy.
    pub fn with_staff() -> Self {
        let world = Self::new();
        world.write("policy.d/staff.toml", STAFF);
        world
    }

    pub fn settings(&self, computer: &str) -> String {
        format!(
            "state-dir = 'state'\npolicy-dir = 'policy.d'\nlisten = '127.0.0.1:0'\n\
             log.level = 'error'\ncomputer.name = '{computer}'\nhomes.root = 'homes'\n\
             network = {{ cost-file = 'network-cost', ask-manager = false }}\n\
             directory = {{ kind = 'file', path = 'corp.ldif' }}\n\
             [[mount]]\nunc = '\\\\files\\home'\npath = 'server/home'\nmounted = false\n\
             [[mount]]\nunc = '\\\\files\\profiles'\npath = 'server/profiles'\nmounted = false\n"
        )
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The text of a file, or `None` when it is not there.
    pub fn read(&self, below: &str) -> Option<String> {
        match fs::read_to_string(self.path(below)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("{below}: {error}"),
        }
    }

    /// The binary with these settings and an empty environment. Modes count for it also where root
    /// runs the tests.
    pub fn command(&self, args: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_homeport");
        let mut command = Command::new(binary);
        if rustix::process::geteuid().is_root() {
            command = Command::new("/usr/bin/setpriv");
            command.args(["--bounding-set=-dac_override,-dac_read_search", binary]);
        }
        command.env_clear().current_dir(self.root.path());
        command.arg("--settings").arg(self.path("agent.toml")).args(args);
        command
    }

    pub fn homeport(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// Runs a command that must end well; gives what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.homeport(args);
        assert_eq!(ran.code, 0, "homeport {args:?}\n{}{}", ran.out, ran.err);
        ran.out
    }
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Every file below a directory with its content, links as `→ target`.
pub fn tree(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if meta.is_dir() {
                waiting.push(path);
            } else if meta.is_symlink() {
                found.push((name, format!("→ {}", fs::read_link(&path).unwrap().display())));
            } else {
                found.push((name, fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}
