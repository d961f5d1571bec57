//! Samba as an Active Directory domain controller: dc1.corp.test on 127.0.0.1, at the usual ports.
//!
//! Provisioning takes seconds, so its result is kept (`provision.rs`) and a start is only a start.
//! Tests share one controller and may break it: whoever does, calls [`Dc::reset`] at the end.
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::ca::{Ca, Cert};
use super::content::{BASE, PASSWORD};
use super::ldif::{self, Entry};
use super::provision::{self, Twin};
use super::server::{Server, await_free};
use super::{output, program, root, run};

pub const REALM: &str = "CORP.TEST";
pub const DOMAIN: &str = "CORP";
pub const HOST: &str = "dc1.corp.test";
pub const ADDRESS: &str = "127.0.0.1";
pub const SITE: &str = "Default-First-Site-Name";
pub const LDAP_PORT: u16 = 389;
pub const LDAPS_PORT: u16 = 636;
pub const KERBEROS_PORT: u16 = 88;
pub const ADMINISTRATOR: &str = "Administrator@CORP.TEST";

pub struct Dc {
    server: Option<Server>,
    cert: Cert,
    clock: Option<String>,
    strong_auth: &'static str,
}

impl Dc {
    /// The controller all tests of this process share, running.
    pub fn shared() -> MutexGuard<'static, Self> {
        static DC: OnceLock<Mutex<Dc>> = OnceLock::new();
        let dc = DC.get_or_init(|| Mutex::new(Self::start()));
        // A test that failed in between leaves a controller of unknown content.
        let poisoned = dc.is_poisoned();
        let mut dc = dc.lock().unwrap_or_else(PoisonError::into_inner);
        if poisoned {
            dc.reset();
        }
        dc
    }

    /// A controller as provisioned. There is room for one.
    pub fn start() -> Self {
        provision::unpack(Twin::First);
        let cert = Ca::lab().issue(HOST);
        let mut dc = Self { server: None, cert, clock: None, strong_auth: "yes" };
        dc.restart();
        dc
    }

    /// As provisioned again: content, certificate, clock.
    pub fn reset(&mut self) {
        self.stop();
        *self = Self::start();
    }

    /// The same names at the same address, but another domain: other SIDs, other GUIDs.
    pub fn replace_by_twin(&mut self) {
        self.stop();
        provision::unpack(Twin::Second);
        self.restart();
    }

    pub fn stop(&mut self) {
        self.server = None;
    }

    pub fn restart(&mut self) {
        self.stop();
        for port in [53, KERBEROS_PORT, LDAP_PORT, LDAPS_PORT] {
            await_free(&format!("{ADDRESS}:{port}"));
        }
        provision::write_settings(&self.cert, self.strong_auth);
        let mut command = program(if self.clock.is_some() { "faketime" } else { "samba" });
        if let Some(clock) = &self.clock {
            command.args(["-f", clock, "samba"]);
            // Its modules would else take the time from the system's library itself.
            command.env("LDB_MODULES_DISABLE_DEEPBIND", "1");
        }
        command.args(["-i", "--model=single", "--no-process-group", "--debug-stdout", "-s"]);
        command.arg(provision::settings());
        let mut server = Server::start("samba", &mut command, &root().join("samba.log"));
        server.ready(|| {
            let open = |port: &u16| TcpStream::connect((ADDRESS, *port)).is_ok();
            let asked = self.ldap("ldapsearch").args(["-s", "base", "-b", BASE, "1.1"]).output();
            asked.is_ok_and(|asked| asked.status.success())
                && [53, KERBEROS_PORT, 135, LDAP_PORT].iter().all(open)
        });
        self.server = Some(server);
    }

    /// Hangs: connections are taken by the kernel, nobody answers.
    pub fn pause(&self) {
        self.server().pause();
    }

    pub fn resume(&self) {
        self.server().resume();
    }

    /// Starts again with a clock that is wrong, by `+10m` for example.
    pub fn set_clock(&mut self, offset: Option<&str>) {
        self.clock = offset.map(str::to_owned);
        self.restart();
    }

    /// Starts again with another certificate.
    pub fn set_certificate(&mut self, cert: &Cert) {
        self.cert = cert.clone();
        self.restart();
    }

    /// Starts again with another `ldap server require strong auth`; Samba's own default is `yes`.
    pub fn set_strong_auth(&mut self, wanted: &'static str) {
        self.strong_auth = wanted;
        self.restart();
    }

    /// The authority of its certificate, PEM.
    pub fn ca_file(&self) -> PathBuf {
        Ca::lab().file.clone()
    }

    /// Keys of `DESK-1$` and of its service names.
    pub fn keytab(&self) -> PathBuf {
        provision::dir().join("desk-1.keytab")
    }

    /// Processor time it used since its start.
    pub fn processor_time(&self) -> Duration {
        self.server().processor_time()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.server().tail()
    }

    /// Applies changes as the administrator, through LDAP.
    pub fn modify(&self, changes: &str) {
        let file = root().join("changes.ldif");
        std::fs::write(&file, changes).unwrap();
        run(self.ldap("ldapmodify").arg("-f").arg(file));
    }

    /// Applies changes that no administrator could make, to the database itself.
    pub fn modify_database(&self, changes: &str) {
        provision::modify(changes, &["--controls=relax:0"]);
    }

    /// Adds many entries, some in a transaction, while nobody is answered: the time that one of them
    /// takes grows faster than its size.
    pub fn add_while_stopped(&mut self, entries: &str) {
        self.stop();
        let all: Vec<&str> = entries.split_inclusive("\n\n").collect();
        for some in all.chunks(400) {
            provision::add(&some.concat());
        }
        self.restart();
    }

    /// What the administrator finds below the domain.
    pub fn search(&self, filter: &str, attributes: &[&str]) -> Vec<Entry> {
        ldif::entries(&run(self.ldap("ldapsearch").args(["-b", BASE, filter]).args(attributes)))
    }

    /// One entry as the administrator sees it.
    pub fn entry(&self, dn: &str, attributes: &[&str]) -> Entry {
        let mut command = self.ldap("ldapsearch");
        let found = run(command.args(["-s", "base", "-b", dn, "(objectClass=*)"]).args(attributes));
        ldif::entries(&found).pop().unwrap_or_else(|| panic!("{dn} is not there"))
    }

    /// The list of a user's primary computers, replaced.
    pub fn set_primary(&self, user: &str, computers: &[&str]) {
        let mut changes =
            format!("dn: {user}\nchangetype: modify\nreplace: msDS-PrimaryComputer\n");
        for computer in computers {
            changes.push_str(&format!("msDS-PrimaryComputer: {computer}\n"));
        }
        self.modify(&changes);
    }

    pub fn delete_computer(&self, dn: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: delete\n"));
    }

    pub fn rename_computer(&self, dn: &str, name: &str) {
        self.modify(&format!("dn: {dn}\nchangetype: modrdn\nnewrdn: CN={name}\ndeleteoldrdn: 1\n"));
    }

    /// Another record beside those of the domain, `_ldap._tcp.dc._msdcs` and the site's.
    pub fn add_srv(&self, target: &str, port: u16, priority: u16) {
        for name in ["_ldap._tcp.dc".to_owned(), format!("_ldap._tcp.{SITE}._sites.dc")] {
            let data = format!("{target} {port} {priority} 100");
            self.add_record("_msdcs.corp.test", &name, &data);
        }
    }

    /// A SRV record of one of its zones: target, port, priority and weight.
    pub fn add_record(&self, zone: &str, name: &str, data: &str) {
        let mut command = self.samba_tool(&["dns", "add", HOST, zone]);
        run(command.args([name, "SRV", data, "-U"]).arg(administrator()));
    }

    /// The SID of an account.
    pub fn sid(&self, account: &str) -> String {
        provision::sid(account)
    }

    /// Denies a trustee, by SID, reading msDS-PrimaryComputer of one object.
    pub fn deny_primary(&self, dn: &str, sid: &str) {
        provision::deny_primary(dn, sid);
    }

    /// Whether somebody may sign in with a simple bind over TLS.
    pub fn accepts(&self, name: &str, password: &str) -> bool {
        let mut command = tools("ldapsearch"); // Samba knows no "who am I"
        command.args(["-D", name, "-w", password, "-s", "base", "-b", "", "1.1"]);
        output(&mut command).status.success()
    }

    /// `samba-tool` with the controller's settings.
    pub fn samba_tool(&self, args: &[&str]) -> Command {
        provision::samba_tool(args)
    }

    fn ldap(&self, tool: &str) -> Command {
        let mut command = tools(tool);
        command.args(["-D", ADMINISTRATOR, "-w", PASSWORD]);
        if tool == "ldapsearch" {
            command.args(["-LLL", "-o", "ldif-wrap=no"]);
        }
        command
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the controller runs")
    }
}

fn administrator() -> String {
    format!("Administrator%{PASSWORD}")
}

/// An LDAP tool over TLS. It trusts any certificate: whether clients do is what tests are about.
fn tools(tool: &str) -> Command {
    let mut command = program(tool);
    command.env("LDAPTLS_REQCERT", "never").args(["-x", "-o", "nettimeout=10", "-H"]);
    command.arg(format!("ldaps://{ADDRESS}:{LDAPS_PORT}"));
    command
}
