//! `homeport doctor directory`, `homeport directory snapshot`, and policy asked of a live directory.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, clippy::print_stdout, reason = "tests listen and tell")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use homeport_agent::clock::Clock;
use homeport_agent::directory::connect::Connector;
use homeport_agent::directory::file;
use homeport_agent::directory::live::{Host, Live};
use homeport_agent::directory::snapshot::WANTED;
use homeport_agent::directory::tally::Tally;
use homeport_agent::settings::{DirectorySettings, Settings};
use homeport_policy::facts::{Directory, Os, User};
use support::ca::Ca;
use support::content::{SERVICE, SERVICE_PASSWORD};
use support::dc::Dc;
use support::slapd::{self, Options, Slapd};

/// A computer of the lab with its settings, and the real binary.
struct World {
    dir: tempfile::TempDir,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The lines of one check, without the columns.
    fn of(&self, level: &str, check: &str) -> Vec<&str> {
        let start = format!("{level:<5} {check:<9} ");
        self.out.lines().filter_map(|line| line.strip_prefix(start.as_str())).collect()
    }

    fn has(&self, level: &str, check: &str, part: &str) {
        let found = self.of(level, check);
        assert!(
            found.iter().any(|line| line.contains(part)),
            "{part:?}:\n{}{}",
            self.out,
            self.err
        );
    }
}

impl World {
    fn new(directory: &str) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        world.secret(SERVICE_PASSWORD);
        world.settings(directory);
        world.write("policy.d/a.toml", POLICY);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn secret(&self, secret: &str) {
        self.write("secret", &format!("{secret}\n"));
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path("secret"), mode).unwrap();
    }

    fn settings(&self, directory: &str) {
        let text = format!(
            "state-dir = 'state'\npolicy-dir = 'policy.d'\ncomputer.name = 'DESK-1'\n\
             [directory]\nkind = 'ldap'\n{directory}\n"
        );
        self.write("agent.toml", &text);
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeport"));
        command.arg("--settings").arg(self.path("agent.toml")).args(args);
        let output = command.current_dir(self.dir.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        let ran = Ran { code, out: text(output.stdout), err: text(output.stderr) };
        println!("homeport {args:?}: {code}\n{}{}", ran.out, ran.err);
        ran
    }

    fn doctor(&self, user: Option<&str>) -> Ran {
        let mut args = vec!["doctor", "directory"];
        args.extend(user.iter().flat_map(|user| ["--user", user]));
        self.run(&args)
    }

    fn live(&self, computer: &str) -> Live {
        let text = std::fs::read_to_string(self.path("agent.toml")).unwrap();
        let settings = Settings::parse(&self.path("agent.toml"), &text).unwrap();
        let DirectorySettings::Ldap(ldap) = settings.directory else { panic!("not ldap") };
        let connector = Connector::new(*ldap, computer, None, None, 7, Tally::default());
        let host = Host { name: computer.to_owned(), os: Os::Linux, site: None };
        Live::new(connector, host, Clock::system(), &self.path("live"), 7)
    }
}

const POLICY: &str = r#"schema = 1
[policy]
id = "desks"
version = 1
[filter]
groups = ['CORP\Makers']
[user.folder-redirection.documents]
setting = "basic"
target = { kind = "path", path = '\\files\home\%AD:department%\%USERNAME%' }
[[computer.primary-computers.assign]]
user = "bob"
computers = ["DESK-2"]
"#;

fn tls(server: &str) -> String {
    format!(
        "security = 'ldaps'\n{server}\nca-file = '{}'\nbind-dn = '{SERVICE}'\n\
         secret-file = 'secret'",
        Ca::lab().file.display()
    )
}

fn by_list() -> String {
    tls("servers = ['dc1.corp.test']")
}

fn by_dns() -> String {
    tls("domain = 'corp.test'")
}

fn open_ldap(bind: &str) -> String {
    tls("servers = ['ldap.corp.test']").replace(SERVICE, bind)
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn where_all_is_well_all_is_green() {
    let dc = Dc::shared();
    let world = World::new(&by_dns());
    let ran = world.doctor(Some("alice"));
    assert_eq!(ran.code, 0);
    assert!(ran.out.lines().all(|line| line.starts_with("ok ") || line.contains(" 0 failed")));
    ran.has("ok", "discovery", "_ldap._tcp.dc._msdcs.corp.test: dc1.corp.test (priority 0");
    ran.has("ok", "reach", "dc1.corp.test: 127.0.0.1:636 in ");
    ran.has("ok", "tls", "certificate of dc1.corp.test, issued by CN=lab, until 20");
    ran.has("ok", "bind", "as svc-homeport@CORP.TEST by its secret, over TLS");
    ran.has("ok", "root", "Active Directory, level 2008 R2, with DC=corp,DC=test");
    ran.has("ok", "clock", "dc1.corp.test: 0 s apart");
    ran.has("ok", "computer", "DESK-1 is CN=DESK-1,OU=Workstations,DC=corp,DC=test, enabled");
    ran.has("ok", "rights", "msDS-PrimaryComputer may be read");
    ran.has("ok", "sign-in", "CORP\\alice is CN=Alice Archer,OU=Staff,DC=corp,DC=test; this");
    ran.has("ok", "sign-in", "this computer is among their primary computers (1); 3 searches in ");
    ran.has("ok", "cache", "none yet");
    let json = world.run(&["--json", "doctor", "directory"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["fail"], &json["findings"][0]["check"]), (&0.into(), &"settings".into()));
    if cfg!(feature = "kerberos") {
        let keytab = dc.keytab();
        let directory = format!("domain = 'corp.test'\nkeytab = '{}'", keytab.display());
        world.settings(&directory);
        let ran = world.doctor(Some("alice"));
        assert_eq!(ran.code, 0);
        ran.has("ok", "keytab", "of DESK-1$@CORP.TEST");
        ran.has("ok", "bind", "as DESK-1$@CORP.TEST by a Kerberos ticket, sealed");
        world.settings(&format!("{directory}\nprincipal = 'desk-1$@CORP.TEST'"));
        let ran = world.doctor(None);
        ran.has("FAIL", "keytab", "has no key of desk-1$@CORP.TEST; it has keys of DESK-1$@CORP");
    }
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn every_failure_is_named_with_what_mends_it() {
    let _dc = Dc::shared();
    let world = World::new("");
    let other = Ca::new("stranger").file.display().to_string();
    let lab = Ca::lab().file.display().to_string();
    let dead = "['dc2.corp.test', 'dc1.corp.test']";
    for (directory, check, found, mend) in [
        (by_list().replace(&lab, &other), "tls", "UnknownIssuer", "set directory.ca-file"),
        (by_list().replace("dc1.corp.test", "localhost"), "tls", "dc1.corp.test", "subjectAltName"),
        (by_list().replace("dc1.corp.test", "dc2.corp.test"), "reach", "dc2.corp.test", "firewall"),
        (by_list().replace("svc-homeport", "nobody"), "bind", "(49)", "check the name and its"),
        (by_list().replace("['dc1.corp.test']", dead), "reach", "dc2.corp.test", "firewall"),
        (by_dns().replace("corp.test'", "no.corp.test'"), "discovery", "DNS has no", "domain and"),
        (by_list().replace("'secret'", "'nowhere'"), "secret", "nowhere", "into the file"),
        (by_list().replace("dc1.corp.test", "dc1.corp.test:389"), "tls", "dc1", "speaks TLS there"),
    ] {
        world.settings(&directory);
        let ran = world.doctor(None);
        assert_eq!(ran.code, 4, "{directory}");
        ran.has("FAIL", check, found);
        ran.has("FAIL", check, mend);
    }
    // The last one of a list is looked at, too.
    world.settings(&by_list().replace("['dc1.corp.test']", dead));
    world.doctor(None).has("ok", "bind", "dc1.corp.test: as svc-homeport");
    // Wrong secrets are tried once, not once for each server.
    world.secret("wrong");
    world.settings(
        &by_list().replace("['dc1.corp.test']", "['dc1.corp.test', 'dc1.corp.test:636']"),
    );
    let ran = world.doctor(None);
    ran.has("FAIL", "bind", "(49)");
    ran.has("warn", "bind", "not tried");
    std::fs::remove_file(world.path("agent.toml")).unwrap();
    let ran = world.doctor(None);
    assert_eq!(ran.code, 4);
    ran.has("FAIL", "settings", "agent.toml");
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn a_controller_that_is_down_or_has_the_wrong_time() {
    let mut dc = Dc::shared();
    let world = World::new(&by_list());
    dc.stop();
    let ran = world.doctor(Some("alice"));
    assert_eq!(ran.code, 4);
    ran.has("FAIL", "reach", "cannot connect to dc1.corp.test");
    ran.has("warn", "rest", "were not looked at");
    dc.set_clock(Some("+20m"));
    let ran = world.doctor(None);
    assert_eq!(ran.code, 4);
    ran.has("FAIL", "clock", "apart from this computer's; Kerberos refuses");
    let seconds = ran.of("FAIL", "clock")[0].split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    assert!((1_195..1_205).contains(&seconds), "{seconds}");
    dc.set_clock(Some("+2m"));
    let ran = world.doctor(None);
    assert_eq!(ran.code, 0);
    ran.has("warn", "clock", "chrony");
    dc.reset();
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn a_right_that_is_denied_is_found_though_the_server_says_nothing() {
    let _dc = Dc::shared();
    let world = World::new(&by_list());
    let ran = world.doctor(Some("walter"));
    assert_eq!(ran.code, 4);
    ran.has("FAIL", "rights", "msDS-PrimaryComputer may not be read of walter");
    ran.has("ok", "rights", "profilePath may be read");
    ran.has("warn", "sign-in", "whether they have primary computers is not shown");
    let ran = world.doctor(None);
    assert_eq!(ran.code, 0);
    ran.has("warn", "rights", "msDS-PrimaryComputer may not be read of 1 of ");
    ran.has("warn", "rights", "users: walter");
    ran.has("ok", "rights", "profilePath may be read of ");
    let ran = world.doctor(Some("nobody"));
    ran.has("warn", "rights", "not looked at: the user is not known");
    ran.has("FAIL", "sign-in", "nobody: no such user");
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn a_directory_whose_schema_lacks_the_attribute() {
    let _slapd = Slapd::start();
    let world = World::new(&open_ldap("cn=svc-homeport,dc=corp,dc=test"));
    let ran = world.doctor(Some("alice"));
    assert_eq!(ran.code, 0);
    ran.has("ok", "root", "ldap.corp.test: no Active Directory, with dc=corp,dc=test");
    ran.has("warn", "schema", "has no msDS-PrimaryComputer");
    ran.has("warn", "rights", "is hidden or not set cannot be told");
    ran.has("ok", "computer", "DESK-1 is cn=DESK-1,ou=computers,dc=corp,dc=test");
    ran.has("ok", "sign-in", "CORP\\alice is uid=alice");
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn a_cache_that_somebody_changed_is_told_and_left_alone() {
    let _dc = Dc::shared();
    let world = World::new(&by_list());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = std::fs::read_to_string(world.path("agent.toml")).unwrap();
    let settings = Settings::parse(&world.path("agent.toml"), &text).unwrap();
    let mut seen = homeport_agent::facts::Seen::new(&settings, &Clock::system(), 7);
    runtime.block_on(seen.account_name(&settings, "alice")).unwrap();
    let ran = world.doctor(None);
    assert_eq!(ran.code, 0);
    ran.has("ok", "cache", "mode 600, intact, 1 users");
    ran.has("ok", "domain", "as before");
    let path = world.path("state/directory.json");
    let changed = std::fs::read_to_string(&path).unwrap().replace("alice", "mallo");
    std::fs::write(&path, &changed).unwrap();
    let ran = world.doctor(None);
    assert_eq!(ran.code, 4);
    ran.has("FAIL", "cache", "not believed, because somebody changed the file");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), changed, "doctor changes nothing");
}

/// What both ways of reading a directory must agree on.
fn kept(user: &User) -> BTreeMap<String, String> {
    let wanted: Vec<String> = WANTED.users.iter().map(|name| name.to_lowercase()).collect();
    let is_kept = |name: &String| wanted.contains(name) && name != "msds-primarycomputer";
    let kept = user.attributes.iter().filter(|(name, _)| is_kept(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Exports, reads the export, and compares it with what the directory says of every user.
fn round_trip(world: &World, computer: &str) -> usize {
    let ran = world.run(&["directory", "snapshot", "--out", "corp.ldif"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mode = std::fs::metadata(world.path("corp.ldif")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let snapshot = file::load(&world.path("corp.ldif")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut live = world.live(computer);
    let names = snapshot.user_names();
    for name in &names {
        let view = runtime.block_on(live.refresh(Some(name), Duration::ZERO));
        assert_eq!(view.directory, Directory::Answered, "{name}: {:?}", live.error());
        let (now, then) = (view.user.expect(name), snapshot.user(name).expect(name));
        assert_eq!((&now.name, &now.domain), (&then.name, &then.domain));
        assert_eq!((&now.dns_domain, &now.sid), (&then.dns_domain, &then.sid), "{name}");
        assert_eq!(now.dn, then.dn);
        assert_eq!(now.groups, then.groups, "{name}");
        let sorted = |user: &User| {
            let mut keys: Vec<String> =
                user.primary_computers.iter().map(|dn| dn.key().to_owned()).collect();
            keys.sort();
            keys
        };
        assert_eq!(sorted(&now), sorted(&then), "{name}");
        assert_eq!(kept(&now), kept(&then), "{name}");
        assert_eq!(view.schema_has_primary_computer, snapshot.schema_has_primary_computer());
        let known = snapshot.computer(computer, Os::Linux, None).unwrap();
        assert_eq!(view.computer.groups, known.groups);
        assert_eq!(view.computer.dn, known.dn);
    }
    names.len()
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn an_export_says_of_every_user_what_the_directory_says() {
    let dc = Dc::shared();
    let world = World::new(&by_list());
    let users = round_trip(&world, "DESK-1");
    assert!(users >= 14, "{users} users");
    let text = std::fs::read_to_string(world.path("corp.ldif")).unwrap();
    assert!(!text.to_lowercase().contains("photo") && !text.contains("unicodePwd"));
    let old = text.clone();
    let ran = world.run(&["directory", "snapshot", "--out", "corp.ldif"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("corp.ldif is there already"), "{}", ran.err);
    // One organizational unit: its users and computers, and still every group.
    let base = r"OU=Sales\, EMEA,OU=Staff,DC=corp,DC=test";
    let args = ["directory", "snapshot", "--out", "corp.ldif", "--force", "--base", base];
    let ran = world.run(&[&args[..], &["--attribute", "department"]].concat());
    assert_eq!(ran.code, 0);
    let part = file::load(&world.path("corp.ldif")).unwrap();
    assert_eq!(part.user_names(), ["carol", "o'brien (x)"]);
    assert_eq!(part.computer_names(), ["SALES-1"]);
    std::fs::write(world.path("corp.ldif"), &old).unwrap();
    for bad in ["OU=None,DC=corp,DC=test", "nonsense", "OU=Groups,DC=corp,DC=test"] {
        let args = ["directory", "snapshot", "--out", "corp.ldif", "--force", "--base", bad];
        let ran = world.run(&args);
        assert_eq!(ran.code, 4, "{bad}");
        assert!(ran.err.contains("help: "), "{}", ran.err);
        assert_eq!(std::fs::read_to_string(world.path("corp.ldif")).unwrap(), old);
    }
    let left = std::fs::read_dir(world.dir.path()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert!(left.collect::<Vec<_>>().iter().all(|name| !name.starts_with(".homeport")));
    drop(dc);
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn an_export_of_openldap_is_whole_or_an_error() {
    let slapd = Slapd::start();
    slapd.modify(
        "dn: cn=desks,ou=groups,dc=corp,dc=test\nchangetype: add\nobjectClass: groupOfNames\n\
         cn: desks\nmember: cn=DESK-1,ou=computers,dc=corp,dc=test\n\
         member: uid=carol,ou=people,dc=corp,dc=test\n\n\
         dn: cn=all,ou=groups,dc=corp,dc=test\nchangetype: add\nobjectClass: groupOfUniqueNames\n\
         cn: all\nuniqueMember: cn=desks,ou=groups,dc=corp,dc=test\n",
    );
    let world = World::new(&open_ldap("cn=svc-homeport,dc=corp,dc=test"));
    assert_eq!(round_trip(&world, "DESK-1"), 6);
    let snapshot = file::load(&world.path("corp.ldif")).unwrap();
    assert_eq!(snapshot.computer_names(), ["DESK-1", "DESK-2", "LAPTOP-7"]);
    drop(slapd);
    let mut slapd = Slapd::with(Options::default());
    slapd.set_size_limit(Some(3));
    let ran = world.run(&["directory", "snapshot", "--out", "cut.ldif"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("sizeLimitExceeded"), "{}", ran.err);
    assert!(ran.err.contains("raise the server's limits"), "{}", ran.err);
    assert!(!world.path("cut.ldif").exists());
    let _ = slapd::HOST;
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn policy_is_asked_of_the_live_directory() {
    let _dc = Dc::shared();
    let world = World::new(&by_list());
    let snapshot = ["directory", "snapshot", "--out", "corp.ldif"];
    assert_eq!(world.run(&snapshot).code, 0);
    let file = ["--directory", "corp.ldif"];
    for args in [
        &["policy", "explain", "--user", "alice"][..],
        &["policy", "explain", "--user", "CORP\\grace", "--computer", "DESK-2", "--os", "windows"],
        &["policy", "explain", "--user", "carol@corp.test", "--computer", "NO-SUCH"],
        &["policy", "explain", "--user", "bob", "--computer", "STALE-5", "--directory-away"],
        &["policy", "diff", "policy.d", "policy.d", "--all"],
        &["primary-computers", "report"],
    ] {
        let (live, then) = (world.run(args), world.run(&[args, &file].concat()));
        assert_eq!((live.code, &live.out), (then.code, &then.out), "{args:?}");
        assert_eq!(live.code, 0, "{}", live.err);
    }
    let ran = world.run(&["policy", "explain", "--user", "nobody"]);
    assert_eq!((ran.code, ran.err.contains("the directory has no user nobody")), (4, true));
    world.secret("wrong");
    for args in [&["policy", "explain", "--user", "alice"][..], &["primary-computers", "report"]] {
        let ran = world.run(args);
        assert_eq!(ran.code, 4);
        assert!(ran.err.contains("invalidCredentials (49)"), "{}", ran.err);
        assert!(ran.err.contains("help: check the name and its secret"), "{}", ran.err);
    }
    // Nothing of this is the agent's memory.
    assert!(!world.path("state").exists());
}
