//! `homeport doctor` of a network folder against a real file server: what it says of itself.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::World;

/// Longer than a healthy server needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Samba on the usual port, of the lab's own network; it ends with this value.
struct Smbd(Child);

impl Smbd {
    fn start(world: &World, more: &str) -> Self {
        assert!(std::env::var_os("HOMEPORT_LAB").is_some(), "it runs in tests/lab/enter");
        let at = |name: &str| world.path(name).display().to_string();
        let mut conf = format!(
            "[global]\nserver role = standalone\ndisable netbios = yes\nsmb ports = 445\n\
             interfaces = lo\nload printers = no\nlog level = 1\nlog file = {}\n{more}\n",
            at("smbd.log")
        );
        for dir in ["private", "lock", "state", "cache", "pid", "ncalrpc"] {
            let key = if dir == "private" || dir == "ncalrpc" { "dir" } else { "directory" };
            std::fs::create_dir_all(world.path(dir)).unwrap();
            conf.push_str(&format!("{dir} {key} = {}\n", at(dir)));
        }
        conf.push_str(&format!("[home$]\npath = {}\n", at("server/home")));
        world.write("smb.conf", &conf);
        let mut command = Command::new("/usr/sbin/smbd");
        command.args(["--foreground", "--no-process-group", "--configfile", &at("smb.conf")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect("127.0.0.1:445").is_err() {
            let log = world.read("smbd.log").unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "it never listened: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Smbd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs Samba and the lab: tests/run runs it"]
fn a_server_tells_dialect_signing_clock_and_its_other_names() {
    let world = World::new();
    let mapped = world.settings("DESK-1").replace(r"\\files\home", r"\\127.0.0.1\home$");
    let alias = "[[mount]]\nunc = '\\\\localhost\\home$'\npath = 'server/home'\nmounted = false\n";
    world.write("agent.toml", &format!("{mapped}{alias}"));
    let server = Smbd::start(&world, "server signing = mandatory\nserver smb encrypt = desired");
    let said = world.ok(&["doctor", r"\\127.0.0.1\home$"]);
    for part in [
        "SMB 3.1.1, signing required, encryption offered",
        "0 s apart from this computer's",
        r"\\localhost\home$ is the same server under another name",
        r"\\127.0.0.1\home$: may be listed",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    drop(server);
    let _server = Smbd::start(&world, "server max protocol = SMB2_10\nserver signing = disabled");
    let said = world.ok(&["doctor", r"\\127.0.0.1\home$"]);
    for part in ["SMB 2.1, signing not required", "which cannot encrypt", "may change data"] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}
