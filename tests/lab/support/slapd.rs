//! OpenLDAP with the schema of a Unix shop: users and computers, and no msDS-PrimaryComputer.
use std::path::PathBuf;
use std::process::Command;

use super::ca::{Ca, Cert};
use super::ldif::{self, Entry};
use super::server::{Server, await_free};
use super::{program, root, run};

pub const BASE: &str = "dc=corp,dc=test";
pub const HOST: &str = "ldap.corp.test";
pub const ADDRESS: &str = "127.0.0.3";
pub const ADMINISTRATOR: &str = "cn=admin,dc=corp,dc=test";
pub const PASSWORD: &str = "Passw0rd!";

/// People whose searches can be made to fail: see [`Slapd::set_refusal`].
pub const REFUSING: &str = "ou=inner,ou=outer,dc=corp,dc=test";

const CONTENT: &str = include_str!("unix.ldif");

/// How it is started.
#[derive(Clone, Debug)]
pub struct Options {
    pub cert: Cert,
    /// Entries per search; `None` is OpenLDAP's own 500.
    pub size_limit: Option<u32>,
    /// Seconds per search.
    pub time_limit: Option<u32>,
    /// Refuse everything but what is protected by TLS.
    pub only_tls: bool,
    /// A server to refer clients to for what is not below the base.
    pub referral: Option<String>,
    /// Every search below [`REFUSING`] ends with this result code.
    pub refuses: Option<u8>,
}

impl Default for Options {
    fn default() -> Self {
        let cert = Ca::lab().issue(HOST);
        let (size_limit, time_limit, referral, refuses) = (None, None, None, None);
        Self { cert, size_limit, time_limit, only_tls: false, referral, refuses }
    }
}

pub struct Slapd {
    server: Option<Server>,
    options: Options,
}

impl Slapd {
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let dir = dir();
        if dir.exists() {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        std::fs::create_dir_all(dir.join("data")).unwrap();
        let mut slapd = Self { server: None, options };
        slapd.write_settings();
        std::fs::write(dir.join("unix.ldif"), CONTENT).unwrap();
        let mut command = program("slapadd");
        command.arg("-f").arg(settings()).arg("-l").arg(dir.join("unix.ldif"));
        run(&mut command);
        slapd.restart();
        slapd
    }

    pub fn stop(&mut self) {
        self.server = None;
    }

    pub fn restart(&mut self) {
        self.stop();
        for port in [389, 636] {
            await_free(&format!("{ADDRESS}:{port}"));
        }
        self.write_settings();
        let mut command = program("slapd");
        command.arg("-f").arg(settings()).args(["-d", "stats", "-h"]);
        command.arg(format!("ldap://{ADDRESS}:389 ldaps://{ADDRESS}:636"));
        let mut server = Server::start("slapd", &mut command, &root().join("slapd.log"));
        server.ready(|| {
            let asked = tool("ldapsearch").args(["-s", "base", "-b", BASE, "1.1"]).output();
            asked.is_ok_and(|asked| asked.status.success())
        });
        self.server = Some(server);
    }

    /// Starts again with at most so many entries per search.
    pub fn set_size_limit(&mut self, entries: Option<u32>) {
        self.options.size_limit = entries;
        self.restart();
    }

    /// Adds the people of [`REFUSING`]: alice and bob once more.
    pub fn add_refusing(&self) {
        let (inner, outer) = REFUSING.split_once(',').unwrap();
        let mut changes = String::new();
        for (unit, above) in [("outer", BASE), ("inner", outer)] {
            changes.push_str(&format!("dn: ou={unit},{above}\nchangetype: add\n"));
            changes.push_str(&format!("objectClass: organizationalUnit\nou: {unit}\n\n"));
        }
        for name in ["alice", "bob"] {
            changes.push_str(&format!("dn: uid={name},{inner},{outer}\nchangetype: add\n"));
            changes.push_str("objectClass: inetOrgPerson\n");
            changes.push_str(&format!("uid: {name}\ncn: {name}\nsn: {name}\n\n"));
        }
        self.modify(&changes);
    }

    /// Starts again with every search below [`REFUSING`] ending with a result code.
    pub fn set_refusal(&mut self, refuses: Option<u8>) {
        self.options.refuses = refuses;
        self.restart();
    }

    /// Starts again with another certificate.
    pub fn set_certificate(&mut self, cert: &Cert) {
        self.options.cert = cert.clone();
        self.restart();
    }

    pub fn pause(&self) {
        self.server().pause();
    }

    pub fn resume(&self) {
        self.server().resume();
    }

    /// Applies changes as the administrator.
    pub fn modify(&self, changes: &str) {
        let file = root().join("slapd-changes.ldif");
        std::fs::write(&file, changes).unwrap();
        run(tool("ldapmodify").arg("-f").arg(file));
    }

    /// What the administrator finds below the base.
    pub fn search(&self, filter: &str, attributes: &[&str]) -> Vec<Entry> {
        Self::found("sub", BASE, filter, attributes)
    }

    /// One entry as the administrator sees it.
    pub fn entry(&self, dn: &str, attributes: &[&str]) -> Entry {
        let mut found = Self::found("base", dn, "(objectClass=*)", attributes);
        found.pop().unwrap_or_else(|| panic!("{dn} is not there"))
    }

    fn found(scope: &str, base: &str, filter: &str, attributes: &[&str]) -> Vec<Entry> {
        let mut command = tool("ldapsearch");
        command.args(["-LLL", "-o", "ldif-wrap=no", "-s", scope, "-b", base, filter]);
        ldif::entries(&run(command.args(attributes)))
    }

    pub fn log(&self) -> String {
        self.server().tail()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("slapd runs")
    }

    fn write_settings(&self) {
        let dir = dir();
        let options = &self.options;
        let mut text = String::new();
        for schema in ["core", "cosine", "inetorgperson", "nis"] {
            text.push_str(&format!("include /etc/ldap/schema/{schema}.schema\n"));
        }
        text.push_str("modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload retcode\n");
        let (cert, key) = (options.cert.cert.display(), options.cert.key.display());
        text.push_str(&format!("TLSCertificateFile {cert}\nTLSCertificateKeyFile {key}\n"));
        text.push_str(&format!("TLSCACertificateFile {}\n", Ca::lab().file.display()));
        let limits = [("sizelimit", options.size_limit), ("timelimit", options.time_limit)];
        for (limit, value) in limits {
            text.extend(value.map(|value| format!("{limit} {value}\n")));
        }
        text.extend(options.referral.as_ref().map(|server| format!("referral {server}\n")));
        if options.only_tls {
            text.push_str("security tls=1\n");
        }
        text.push_str(&format!(
            "database mdb\nsuffix \"{BASE}\"\nrootdn \"{ADMINISTRATOR}\"\nrootpw {PASSWORD}\n\
             directory {}\nmaxsize 67108864\nindex objectClass,uid,cn eq\n",
            dir.join("data").display()
        ));
        if let Some(code) = options.refuses {
            let (entry, parent) = REFUSING.split_once(',').unwrap();
            text.push_str(&format!("overlay retcode\nretcode-parent \"{parent}\"\n"));
            text.push_str(&format!("retcode-item \"{entry}\" {code:#04x} op=search\n"));
        }
        std::fs::write(settings(), text).unwrap();
    }
}

fn dir() -> PathBuf {
    root().join("slapd")
}

fn settings() -> PathBuf {
    dir().join("slapd.conf")
}

/// An LDAP tool over TLS, as the administrator, who is under no limit.
fn tool(name: &str) -> Command {
    let mut command = program(name);
    command.env("LDAPTLS_REQCERT", "never").args(["-x", "-o", "nettimeout=10", "-H"]);
    command.arg(format!("ldaps://{ADDRESS}:636")).args(["-D", ADMINISTRATOR, "-w", PASSWORD]);
    command
}
