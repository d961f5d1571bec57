//! A computer with an agent that is root, where alice and bob have accounts (tests/lab/enter).
#![allow(dead_code, reason = "each test target uses its own part")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::world::{self, World};

pub const ALICE: u32 = 11_001;
pub const BOB: u32 = 11_002;
const STAFF_GROUP: u32 = 11_100;
/// Longest a test waits; longer than the agent's half minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everybody's documents, wherever they sign in.
const POLICY: &str = "schema = 1\n[policy]\nid = 'everybody'\nversion = 1\n\
     [user.folder-redirection.documents]\nsetting = 'basic'\n\
     target = { kind = 'create-per-user', root = '\\\\files\\home' }\non-removal = 'restore'\n";

/// A computer whose agent is root, with homes that are closed to everybody but their owners, and a
/// share on which staff may make folders.
pub struct Office {
    pub world: World,
}

impl Office {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "tests/lab/enter as root runs this");
        let world = World::new();
        world.write("policy.d/everybody.toml", POLICY);
        let bob = "\ndn: CN=Bob,OU=Staff,DC=corp,DC=test\nobjectClass: user\nsAMAccountName: bob\n";
        world.write("corp.ldif", &format!("{}{bob}", world::LDIF));
        let settings = world.settings("DESK-1").replace("homes.root = 'homes'\n", "");
        world.write("agent.toml", &settings);
        for place in [world.root.path(), &world.path("server")] {
            fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for share in ["server/home", "server/profiles"] {
            chown(world.path(share), Some(0), Some(STAFF_GROUP)).unwrap();
            fs::set_permissions(world.path(share), fs::Permissions::from_mode(0o770)).unwrap();
        }
        let office = Self { world };
        for (name, uid) in [("alice", ALICE), ("bob", BOB)] {
            let home = home(name);
            let _ = fs::remove_dir_all(&home);
            fs::create_dir_all(home.join("Documents")).unwrap();
            fs::write(home.join("Documents/thesis.txt"), name).unwrap();
            for path in [&home, &home.join("Documents"), &home.join("Documents/thesis.txt")] {
                chown(path, Some(uid), Some(uid)).unwrap();
            }
            fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        }
        office
    }

    pub fn share(&self) -> PathBuf {
        self.world.path("server/home")
    }
}

pub fn home(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("HOMEPORT_LAB").expect("the lab")).join("home").join(name)
}

/// The agent as a service, until the test ends.
pub struct Service(pub Child);

impl Service {
    pub fn start(office: &Office) -> Self {
        let settings = fs::read_to_string(office.world.path("agent.toml")).unwrap();
        let settings = settings.replace("log.level = 'error'", "log.level = 'info'");
        office.world.write("agent.toml", &settings);
        let mut command = office.world.command(&["run"]);
        command.env("SECRET_OF_THE_AGENT", "1").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Agent started.") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the agent ended before it started");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self(child)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} never came");
        std::thread::yield_now();
    }
}

/// The processes of a user.
pub fn processes(uid: u32) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let status = fs::read_to_string(path.join("status")).ok()?;
        status.contains(&format!("\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")).then_some(path)
    });
    all.collect()
}

/// Alice's worker that watches: the others end with their turn.
pub fn watcher() -> Option<PathBuf> {
    let watches = |path: &PathBuf| {
        let open = fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
        let mut open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        open.any(|file| file.to_string_lossy().contains("inotify"))
    };
    processes(ALICE).into_iter().find(watches)
}
