//! A domain of its own, made once per checkout: provisioned, filled, and kept as an archive.
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ca::{Ca, Cert};
use super::content::{self, BASE, ERIN, PASSWORD, STALE_5, WALTER};
use super::ldif;
use super::{cache, program, root, run};

/// Two domains of the same names are told apart by their SIDs and GUIDs alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    First,
    Second,
}

const PROVISION: [&str; 14] = [
    "domain",
    "provision",
    "--realm=CORP.TEST",
    "--domain=CORP",
    "--server-role=dc",
    "--dns-backend=SAMBA_INTERNAL",
    "--host-name=dc1",
    "--host-ip=127.0.0.1",
    "--base-schema=2012_R2",
    "--function-level=2008_R2",
    "--option=interfaces=127.0.0.1/8",
    "--option=bind interfaces only=yes",
    "--option=pid directory=/run/samba",
    "--quiet",
];

/// What makes a kept archive outdated when it changes.
const RECIPE: &str = include_str!("provision.rs");

/// What Samba leaves behind that belongs to a running server.
const FLEETING: [&str; 6] =
    ["dc/msg.*", "dc/run", "dc/private/ldapi", "dc/private/ldap_priv", "dc/tls", "dc/log"];

/// Schema id of msDS-PrimaryComputer, which is the same in every forest.
const PRIMARY_ID: &str = "a13df4e2-dbb0-4ceb-828b-8b2e143e9e81";

/// Where the controller lives; a twin moves into the same place.
pub fn dir() -> PathBuf {
    root().join("dc")
}

pub fn settings() -> PathBuf {
    dir().join("etc/smb.conf")
}

/// Puts a domain as provisioned in place of whatever is there.
pub fn unpack(which: Twin) {
    let archive = archive(which);
    clear();
    if !archive.exists() {
        provision(which, &archive);
        clear();
    }
    run(program("tar").arg("-C").arg(root()).arg("-xzf").arg(&archive));
}

fn clear() {
    if dir().exists() {
        std::fs::remove_dir_all(dir()).unwrap();
    }
}

fn archive(which: Twin) -> PathBuf {
    let mut hash = blake3::Hasher::new();
    hash.update(RECIPE.as_bytes());
    hash.update(content::ldif(true).as_bytes());
    hash.update(run(program("samba").arg("--version")).as_bytes());
    let hash = hash.finalize().to_hex();
    cache().join(format!("dc-{which:?}-{}.tar.gz", &hash[..16]).to_lowercase())
}

fn provision(which: Twin, archive: &Path) {
    let mut command = program("samba-tool");
    command.args(PROVISION).arg(format!("--adminpass={PASSWORD}"));
    run(command.arg(format!("--targetdir={}", dir().display())));
    write_settings(&Ca::lab().issue(super::dc::HOST), "yes");
    // An archive is used for months, and its passwords with it.
    let never = ["domain", "passwordsettings", "set", "--max-pwd-age=0", "--complexity=off"];
    run(samba_tool(&never).arg("-H").arg(database()));
    modify(&content::ldif(which == Twin::First), &[]);
    let contractors = sid("Contractors");
    let number = contractors.rsplit('-').next().expect("a SID has parts");
    modify(&replace(ERIN, "primaryGroupID", number), &[]);
    // The server alone writes it; 130715712000000000 is 2015-03-22 in its count.
    let long_ago = replace(STALE_5, "lastLogonTimestamp", "130715712000000000");
    modify(&long_ago, &["--controls=relax:0"]);
    deny_primary(WALTER, &sid("svc-homeport"));
    let mut keytab = samba_tool(&["domain", "exportkeytab", "--principal=DESK-1$"]);
    run(keytab.arg(dir().join("desk-1.keytab")));

    let mut pack = program("tar");
    pack.args(["-S", "--warning=no-file-ignored"]);
    pack.args(FLEETING.map(|path| format!("--exclude={path}")));
    // Two runs may make it at once: each gives its own a name only when it is complete.
    let part = archive.with_extension(std::process::id().to_string());
    run(pack.arg("-C").arg(root()).arg("-czf").arg(&part).arg("dc"));
    let outdated = format!("dc-{which:?}-").to_lowercase();
    for entry in std::fs::read_dir(cache()).unwrap().map_while(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&outdated) && name.ends_with(".gz") {
            let _another_was_faster = std::fs::remove_file(entry.path());
        }
    }
    std::fs::rename(part, archive).unwrap();
}

fn replace(dn: &str, attribute: &str, value: &str) -> String {
    format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n")
}

fn database() -> PathBuf {
    dir().join("private/sam.ldb")
}

/// Changes the database itself: no server is in between, so nothing refuses.
pub fn modify(changes: &str, options: &[&str]) {
    let file = root().join("content.ldif");
    std::fs::write(&file, changes).unwrap();
    let mut command = samba_program("ldbmodify");
    command.arg("-H").arg(database());
    run(command.args(options).arg(file));
}

/// Adds entries to the database itself, all of them or none.
pub fn add(entries: &str) {
    let file = root().join("entries.ldif");
    std::fs::write(&file, entries).unwrap();
    run(samba_program("ldbadd").arg("-H").arg(database()).arg(file));
}

/// The SID of an account, as text.
pub fn sid(account: &str) -> String {
    let mut command = samba_program("ldbsearch");
    command.arg("-H").arg(database()).args(["-b", BASE]);
    let found = run(command.arg(format!("(sAMAccountName={account})")).arg("objectSid"));
    let entry = ldif::entries(&found).into_iter().next().expect("the account is there");
    entry.text("objectSid")
}

pub fn deny_primary(dn: &str, sid: &str) {
    let rule = format!("--sddl=(OD;;RP;{PRIMARY_ID};;{sid})");
    let mut command = samba_tool(&["dsacl", "set", "--action=deny"]);
    run(command.arg("-H").arg(database()).arg(format!("--objectdn={dn}")).arg(rule));
}

pub fn samba_tool(args: &[&str]) -> Command {
    let mut command = samba_program("samba-tool");
    command.args(args);
    command
}

/// A program of Samba's with the controller's settings; not all of them take these as an option.
fn samba_program(name: &str) -> Command {
    let mut command = program(name);
    command.env("SMB_CONF_PATH", settings());
    command
}

/// The controller's settings: only what the tests speak to is started, and all of it stays here.
pub fn write_settings(cert: &Cert, strong_auth: &str) {
    let dir = dir();
    let at = dir.display();
    let (certificate, key) = (cert.cert.display(), cert.key.display());
    let ca = Ca::lab().file.display();
    let text = format!(
        "[global]\nnetbios name = DC1\nrealm = CORP.TEST\nworkgroup = CORP\n\
         server role = active directory domain controller\n\
         server services = ldap, cldap, kdc, dns, rpc\n\
         interfaces = 127.0.0.1/8\nbind interfaces only = yes\n\
         ldap server require strong auth = {strong_auth}\n\
         tls certfile = {certificate}\ntls keyfile = {key}\ntls cafile = {ca}\n\
         private dir = {at}/private\nlock dir = {at}\nstate directory = {at}/state\n\
         cache directory = {at}/cache\nbinddns dir = {at}/bind-dns\n\
         pid directory = {at}/run\nncalrpc dir = {at}/run/ncalrpc\nlog level = 1\n\
         [sysvol]\npath = {at}/state/sysvol\n\
         [netlogon]\npath = {at}/state/sysvol/corp.test/scripts\n"
    );
    std::fs::create_dir_all(dir.join("run")).unwrap();
    std::fs::write(settings(), text).unwrap();
}
