//! Samba as a file server of its own: files.corp.test on 127.0.0.5, port 445, with local accounts.
//!
//! Its shares are directories of the lab, so a test can play the other computers by writing there.
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use homeport_agent::plan::SmbShare;
use homeport_agent::share::helper::{Limits, Start};

use super::dc::Dc;
use super::server::{Server, await_free};
use super::{HOSTS, output, program, provision, rename_hosts, root, run};

pub const HOST: &str = "files.corp.test";
pub const ADDRESS: &str = "127.0.0.5";
pub const PORT: u16 = 445;
pub const PASSWORD: &str = "Passw0rd!";
/// The accounts, with the numbers that `tests/lab/enter` gives them.
pub const ACCOUNTS: [(&str, u32); 2] = [("alice", 11_001), ("bob", 11_002)];

/// A share and what its section says besides its path.
const SHARES: [(&str, &str); 3] = [
    ("home", ""),
    ("exact", "case sensitive = yes\n"),
    ("guarded", "vfs objects = acl_xattr\nacl_xattr:ignore system acls = yes\nadmin users = bob\n"),
];

pub struct FileServer {
    server: Option<Server>,
    dir: PathBuf,
    hidden: Vec<&'static str>,
    global: String,
}

impl FileServer {
    /// A file server with empty shares. There is room for one.
    pub fn start() -> Self {
        let names: Vec<_> = HOSTS.into_iter().chain([(HOST, ADDRESS)]).collect();
        rename_hosts(&names);
        let dir = root().join("files");
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        for name in ["private", "lock", "state", "cache", "run"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        for (name, _) in SHARES {
            let share = dir.join("shares").join(name);
            fs::create_dir_all(&share).unwrap();
            chown(&share, Some(ACCOUNTS[0].1), Some(ACCOUNTS[0].1)).unwrap();
        }
        let mut server = Self { server: None, dir, hidden: Vec::new(), global: String::new() };
        server.write_settings();
        for (name, _) in ACCOUNTS {
            server.add_account(name);
        }
        server.restart();
        server
    }

    /// Where a share is on the server.
    pub fn share(&self, name: &str) -> PathBuf {
        self.dir.join("shares").join(name)
    }

    /// A new folder of alice's in a share.
    pub fn folder(&self, share: &str, name: &str) -> PathBuf {
        let path = self.share(share).join(name);
        fs::create_dir(&path).unwrap();
        give(&path);
        path
    }

    pub fn restart(&mut self) {
        self.stop();
        self.write_settings();
        let mut command = program("smbd");
        command.args(["--foreground", "--no-process-group", "--debug-stdout", "-s"]);
        command.arg(self.settings());
        let mut server = Server::start("smbd", &mut command, &root().join("smbd.log"));
        server.ready(|| TcpStream::connect((ADDRESS, PORT)).is_ok());
        self.server = Some(server);
    }

    pub fn stop(&mut self) {
        self.server = None;
        await_free(&format!("{ADDRESS}:{PORT}"));
    }

    /// Hangs: connections are taken by the kernel, nobody answers.
    pub fn pause(&self) {
        self.server.as_ref().expect("the file server runs").pause();
    }

    pub fn resume(&self) {
        self.server.as_ref().expect("the file server runs").resume();
    }

    /// Starts again without a share, or with it again.
    pub fn hide(&mut self, share: &'static str, hidden: bool) {
        self.hidden.retain(|other| *other != share);
        if hidden {
            self.hidden.push(share);
        }
        self.restart();
    }

    /// Starts again with more settings of the whole server.
    pub fn set_global(&mut self, lines: &str) {
        lines.clone_into(&mut self.global);
        self.restart();
    }

    /// Processor time it used since its start.
    pub fn processor_time(&self) -> Duration {
        self.server.as_ref().expect("the file server runs").processor_time()
    }

    pub fn log(&self) -> String {
        self.server.as_ref().map(Server::tail).unwrap_or_default()
    }

    /// How the agent reaches a folder of a share as alice, by password.
    pub fn at(&self, share: &str, below: &[&str]) -> Start {
        let share = SmbShare {
            server: HOST.to_owned(),
            name: share.to_owned(),
            below: below.iter().map(|name| (*name).to_owned()).collect(),
            port: PORT,
            program: helper(),
            processes: 4,
            user: Some("alice".to_owned()),
            realm: None,
            ntlm: true,
            password_file: Some(password_file()),
            must_encrypt: false,
        };
        Start { share, limits: limits(), environment: environment() }
    }

    /// Sets the access list of an entry, as the owner, with SIDs or names.
    pub fn set_acl(&self, share: &str, path: &str, acl: &str) {
        self.set_acl_as("alice", share, path, acl);
    }

    /// The same as somebody else. Bob administers `guarded`.
    pub fn set_acl_as(&self, who: &str, share: &str, path: &str, acl: &str) {
        let mut command = program("smbcacls");
        command.args(["-s", "/dev/null", "-m", "SMB3", &format!("//{HOST}/{share}"), path]);
        run(command.args(["-U", &format!("{who}%{PASSWORD}"), "-S", acl]));
    }

    /// The SID of an account.
    pub fn sid(&self, name: &str) -> String {
        let mut command = program("pdbedit");
        let said = run(command.arg("-s").arg(self.settings()).args(["-L", "-v", "-u", name]));
        let line = said.lines().find_map(|line| line.strip_prefix("User SID:"));
        line.unwrap_or_else(|| panic!("no SID of {name}: {said}")).trim().to_owned()
    }

    fn settings(&self) -> PathBuf {
        self.dir.join("smb.conf")
    }

    fn write_settings(&self) {
        let at = self.dir.display();
        let global = &self.global;
        let mut text = format!(
            "[global]\nnetbios name = FILES\nworkgroup = WORKGROUP\n\
             server role = standalone server\nmap to guest = never\n\
             interfaces = {ADDRESS}/8\nbind interfaces only = yes\nsmb ports = {PORT}\n\
             disable netbios = yes\nserver signing = mandatory\nserver min protocol = SMB2\n\
             passdb backend = tdbsam:{at}/private/passdb.tdb\n\
             private dir = {at}/private\nlock directory = {at}/lock\n\
             state directory = {at}/state\ncache directory = {at}/cache\n\
             pid directory = {at}/run\nncalrpc dir = {at}/run/ncalrpc\n\
             load printers = no\nprinting = bsd\nprintcap name = /dev/null\n\
             disable spoolss = yes\nstore dos attributes = no\nlog level = 0\n{global}\n"
        );
        for (name, more) in SHARES.iter().filter(|(name, _)| !self.hidden.contains(name)) {
            let path = self.share(name);
            text.push_str(&format!("[{name}]\npath = {}\nread only = no\n{more}", path.display()));
        }
        fs::write(self.settings(), text).unwrap();
    }

    fn add_account(&self, name: &str) {
        let mut command = program("smbpasswd");
        command.arg("-c").arg(self.settings()).args(["-a", "-s", name]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        write!(input, "{PASSWORD}\n{PASSWORD}\n").unwrap();
        drop(input);
        assert!(child.wait().unwrap().success(), "no account for {name}");
    }
}

/// Makes an entry alice's, as if she had made it from another computer.
pub fn give(path: &Path) {
    chown(path, Some(ACCOUNTS[0].1), Some(ACCOUNTS[0].1)).unwrap();
}

/// Writes a file of alice's.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).unwrap();
    give(path);
}

/// Short, so that a test of a server that hangs does not.
pub fn limits() -> Limits {
    let seconds = Duration::from_secs;
    Limits { connect: seconds(10), answer: seconds(5), call: seconds(10), list: seconds(60) }
}

/// No tickets, and none of the machine's.
fn environment() -> Vec<(String, PathBuf)> {
    let tickets = PathBuf::from(format!("FILE:{}", root().join("no-tickets").display()));
    vec![("KRB5CCNAME".to_owned(), tickets), ("KRB5_CONFIG".to_owned(), super::krb::config())]
}

fn password_file() -> PathBuf {
    let path = root().join("password");
    fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The helper program, which is built beside the agent: `cargo build -p homeport-smb`.
pub fn helper() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_homeport")).with_file_name("homeport-smb");
    assert!(path.exists(), "{} is not built: cargo build -p homeport-smb", path.display());
    path
}

/// `smbclient` as alice, on a share.
pub fn smbclient(share: &str, commands: &str) -> Command {
    let mut command = program("smbclient");
    command.args(["-s", "/dev/null", "-m", "SMB3", &format!("//{HOST}/{share}")]);
    command.args(["-U", &format!("alice%{PASSWORD}"), "-c", commands]);
    command
}

/// The domain controller as a file server: Kerberos, and accounts of the domain.
pub struct DomainShare {
    _winbindd: Server,
    _smbd: Server,
}

impl DomainShare {
    /// Everybody's share `people` on dc1.corp.test, and `links` for links to it, beside the running
    /// controller.
    pub fn start(_running: &Dc) -> Self {
        let mut shares = String::new();
        for (name, more) in [("people", ""), ("links", "msdfs root = yes\n")] {
            let path = root().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
            let path = path.display();
            shares.push_str(&format!("[{name}]\npath = {path}\nread only = no\n{more}"));
        }
        let settings = provision::dir().join("etc/smb-files.conf");
        let mut text = fs::read_to_string(provision::settings()).unwrap();
        text.push_str(&shares);
        fs::write(&settings, text).unwrap();
        let start = |name: &'static str| {
            let mut command = program(name);
            command.args(["--foreground", "--no-process-group", "--debug-stdout"]);
            // A controller starts them itself, and this is how it tells them.
            command.arg("--option=server role check:inhibit=yes").arg("-s").arg(&settings);
            Server::start(name, &mut command, &root().join(format!("{name}.log")))
        };
        let mut winbindd = start("winbindd");
        winbindd.ready(|| output(program("wbinfo").arg("-p")).status.success());
        let mut smbd = start("smbd");
        smbd.ready(|| TcpStream::connect((super::dc::ADDRESS, PORT)).is_ok());
        Self { _winbindd: winbindd, _smbd: smbd }
    }

    /// How somebody reaches it with nothing but the tickets in a file.
    pub fn at(tickets: PathBuf, below: &[&str]) -> Start {
        let share = SmbShare {
            server: super::dc::HOST.to_owned(),
            name: "people".to_owned(),
            below: below.iter().map(|name| (*name).to_owned()).collect(),
            port: PORT,
            program: helper(),
            processes: 4,
            user: None,
            realm: None,
            ntlm: false,
            password_file: None,
            must_encrypt: true,
        };
        let tickets = PathBuf::from(format!("FILE:{}", tickets.display()));
        let environment = vec![
            ("KRB5CCNAME".to_owned(), tickets),
            ("KRB5_CONFIG".to_owned(), super::krb::config()),
        ];
        Start { share, limits: limits(), environment }
    }
}

/// Somebody's tickets, by password; gives the file they are in.
pub fn tickets(name: &str) -> PathBuf {
    let cache = root().join(format!("tickets-{name}"));
    let mut command = program("kinit");
    command.env_remove("KRB5_CLIENT_KTNAME").arg("-c").arg(&cache);
    let mut child = command
        .arg(format!("{name}@{}", super::dc::REALM))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", super::content::PASSWORD).unwrap();
    assert!(child.wait().unwrap().success(), "no tickets for {name}");
    cache
}
