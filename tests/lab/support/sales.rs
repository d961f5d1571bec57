//! Another domain of the forest: SALES, dc1.sales.corp.test on 127.0.0.5, with an alice of its own.
//!
//! Samba makes no forest of several domains. So this is a domain by itself, which the first one lists
//! among its forest's (a crossRef), and whose controller the first one's DNS names. In place of a
//! trust it knows the service account by the same name and secret.
use std::path::PathBuf;
use std::process::Command;

use super::ca::Ca;
use super::content::{PASSWORD, SERVICE, SERVICE_PASSWORD};
use super::dc::Dc;
use super::server::{Server, await_free};
use super::{HOSTS, ldif, program, rename_hosts, root, run};

pub const HOST: &str = "dc1.sales.corp.test";
pub const DNS: &str = "sales.corp.test";
pub const DN: &str = "DC=sales,DC=corp,DC=test";
const ADDRESS: &str = "127.0.0.5";

/// The controller of SALES, listed by that of CORP.
pub struct Sales {
    server: Option<Server>,
}

impl Sales {
    pub fn start(corp: &Dc) -> Self {
        rename_hosts(&[HOSTS.as_slice(), &[(HOST, ADDRESS)]].concat());
        if !dir().exists() {
            provision();
        }
        list_in(corp);
        let mut sales = Self { server: None };
        sales.restart();
        sales
    }

    pub fn stop(&mut self) {
        self.server = None;
    }

    pub fn restart(&mut self) {
        self.stop();
        await_free(&format!("{ADDRESS}:636"));
        let mut command = program("samba");
        command.args(["-i", "--model=single", "--no-process-group", "--debug-stdout", "-s"]);
        command.arg(settings());
        let mut server = Server::start("samba", &mut command, &root().join("sales.log"));
        server.ready(|| {
            let mut asked = program("ldapsearch");
            asked.env("LDAPTLS_REQCERT", "never").args(["-x", "-D", SERVICE, "-w"]);
            asked.args([SERVICE_PASSWORD, "-s", "base", "-b", DN, "1.1", "-H"]);
            let done = asked.arg(format!("ldaps://{ADDRESS}")).output();
            done.is_ok_and(|done| done.status.success())
        });
        self.server = Some(server);
    }

    /// Hangs: connections are taken by the kernel, nobody answers.
    pub fn pause(&self) {
        self.server.as_ref().unwrap().pause();
    }

    pub fn resume(&self) {
        self.server.as_ref().unwrap().resume();
    }
}

fn dir() -> PathBuf {
    root().join("sales")
}

fn settings() -> PathBuf {
    dir().join("etc/smb.conf")
}

fn samba(name: &str) -> Command {
    let mut command = program(name);
    command.env("SMB_CONF_PATH", settings());
    command
}

fn provision() {
    let mut command = program("samba-tool");
    command.args(["domain", "provision", "--realm=SALES.CORP.TEST", "--domain=SALES"]);
    command.args(["--server-role=dc", "--dns-backend=NONE", "--host-name=dc1"]);
    command.args(["--base-schema=2012_R2", "--function-level=2008_R2", "--quiet"]);
    command.arg(format!("--host-ip={ADDRESS}")).arg(format!("--adminpass={PASSWORD}"));
    command.arg(format!("--option=interfaces={ADDRESS}/8"));
    command.arg("--option=bind interfaces only=yes");
    run(command.arg(format!("--targetdir={}", dir().display())));
    write_settings();
    let never = ["domain", "passwordsettings", "set", "--max-pwd-age=0", "--complexity=off"];
    run(samba("samba-tool").args(never).arg("-H").arg(database()));
    let secret = ldif::password(SERVICE_PASSWORD);
    modify(
        &database(),
        &format!(
            "dn: OU=Staff,{DN}\nchangetype: add\nobjectClass: organizationalUnit\n\n\
             dn: CN=svc,{DN}\nchangetype: add\nobjectClass: user\nsAMAccountName: svc-corp\n\
             userPrincipalName: {SERVICE}\nuserAccountControl: 512\n{secret}\n\
             dn: CN=Alice Other,OU=Staff,{DN}\nchangetype: add\nobjectClass: user\n\
             sAMAccountName: alice\nuserPrincipalName: alice@{DNS}\n\
             homeDirectory: \\\\files\\sales\\alice\n"
        ),
    );
}

fn database() -> PathBuf {
    dir().join("private/sam.ldb")
}

fn modify(database: &std::path::Path, changes: &str) {
    let file = root().join("sales.ldif");
    std::fs::write(&file, changes).unwrap();
    run(samba("ldbmodify").arg("-H").arg(database).arg(file));
}

/// Makes the first domain name this one among those of its forest, and its controller in DNS.
fn list_in(corp: &Dc) {
    corp.modify_database(&format!(
        "dn: CN=SALES,CN=Partitions,CN=Configuration,DC=corp,DC=test\nchangetype: add\n\
         objectClass: crossRef\nnCName: {DN}\ndnsRoot: {DNS}\nnETBIOSName: SALES\n\
         systemFlags: 3\n"
    ));
    corp.add_record("corp.test", "_ldap._tcp.dc._msdcs.sales", &format!("{HOST} 389 0 100"));
}

fn write_settings() {
    let dir = dir();
    let at = dir.display();
    let cert = Ca::lab().issue(HOST);
    let (certificate, key) = (cert.cert.display(), cert.key.display());
    let ca = Ca::lab().file.display();
    let text = format!(
        "[global]\nnetbios name = DC1\nrealm = SALES.CORP.TEST\nworkgroup = SALES\n\
         server role = active directory domain controller\nserver services = ldap\n\
         interfaces = {ADDRESS}/8\nbind interfaces only = yes\n\
         tls certfile = {certificate}\ntls keyfile = {key}\ntls cafile = {ca}\n\
         private dir = {at}/private\nlock dir = {at}\nstate directory = {at}/state\n\
         cache directory = {at}/cache\nbinddns dir = {at}/bind-dns\n\
         pid directory = {at}/run\nncalrpc dir = {at}/run/ncalrpc\nlog level = 1\n\
         [sysvol]\npath = {at}/state/sysvol\n\
         [netlogon]\npath = {at}/state/sysvol/sales.corp.test/scripts\n"
    );
    std::fs::create_dir_all(dir.join("run")).unwrap();
    std::fs::write(settings(), text).unwrap();
}
