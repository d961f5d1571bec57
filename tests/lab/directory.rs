//! The directory client against a real domain controller: `tests/lab/enter … cargo test --test lab`.
//!
//! Ignored unless the lab runs it: it needs `LAB_CA`, `LAB_KEYTAB` and a DC on loopback.
#![allow(clippy::disallowed_methods, reason = "tests ask for the environment")]
#![allow(clippy::disallowed_types, clippy::print_stdout, reason = "tests listen and tell")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::{Duration, Instant};

use homeport_agent::clock::Clock;
use homeport_agent::directory::connect::Connector;
use homeport_agent::directory::error::Kind;
use homeport_agent::directory::live::{Host, Live, View};
use homeport_agent::directory::tally::Tally;
use homeport_agent::outcome::chain;
use homeport_agent::settings::{DirectorySettings, Settings};
use homeport_policy::facts::{Directory, Os};
use homeport_policy::value::Principal;

struct Lab {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), runtime }
    }

    fn secret(&self) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.path().join("secret");
        std::fs::write(&path, "Svc-pass-1\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn live(&self, directory: &str) -> Live {
        let text = format!("state-dir = 'state'\n[directory]\nkind = 'ldap'\n{directory}\n");
        let settings = Settings::parse(&self.dir.path().join("agent.toml"), &text).unwrap();
        let DirectorySettings::Ldap(ldap) = settings.directory else { panic!("not ldap") };
        let connector = Connector::new(*ldap, "DESK-1", None, None, 7, Tally::default());
        let host = Host { name: "DESK-1".to_owned(), os: Os::Linux, site: None };
        Live::new(connector, host, Clock::system(), &settings.state_dir, 7)
    }

    fn ask(&self, live: &mut Live, user: Option<&str>) -> (View, u64, Duration) {
        let begun = Instant::now();
        let view = self.runtime.block_on(live.refresh(user, Duration::ZERO));
        let took = begun.elapsed();
        let counts = live.connector().tally().collect();
        println!(
            "{user:?}: {:?}, {} searches, {} connections, {took:?}; {}",
            view.directory,
            counts.searches,
            counts.connections,
            live.error()
                .map(|error| format!("{} ({})", chain(error), error.hint()))
                .unwrap_or_default()
        );
        (view, counts.searches, took)
    }

    /// Lets what runs in the background take notice.
    fn pause(&self) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }

    fn tls(&self, security: &str, server: &str) -> String {
        let (ca, secret) = (env("LAB_CA"), self.secret());
        format!(
            "security = '{security}'\nservers = ['{server}']\nca-file = '{ca}'\n\
             bind-dn = 'svc-homeport@CORP.TEST'\nsecret-file = '{secret}'"
        )
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn check_alice(view: &View) {
    assert_eq!(view.directory, Directory::Answered);
    let user = view.user.as_ref().unwrap();
    assert_eq!((user.name.as_str(), user.domain.as_str()), ("alice", "CORP"));
    assert!(user.sid.is_some());
    assert!(user.groups.contains(&Principal::new("Domain Users")));
    assert!(user.groups.contains(&Principal::new(r"CORP\Domain Users")));
    assert!(view.schema_has_primary_computer);
    let computer = view.computer.dn.as_ref().unwrap();
    assert!(user.primary_computers.contains(computer), "{:?}", user.primary_computers);
    assert!(view.computer.groups.contains(&Principal::new("Domain Computers")));
}

fn sign_ins(directory: &str, lab: &Lab) {
    let mut live = lab.live(directory);
    let (view, ..) = lab.ask(&mut live, None);
    assert_eq!(view.directory, Directory::Answered, "{:?}", live.error());
    let (view, searches, _) = lab.ask(&mut live, Some("alice"));
    check_alice(&view);
    assert!(searches <= 3, "{searches} searches for an unknown user on a warm connection");
    let (view, searches, _) = lab.ask(&mut live, Some(r"CORP\Alice"));
    check_alice(&view);
    assert_eq!(searches, 1, "a known user is one search");
    let (view, searches, _) = lab.ask(&mut live, Some("alice@corp.test"));
    check_alice(&view);
    assert_eq!(searches, 1);
    for name in ["nobody", r"OTHER\alice", "alice@other.test", "*)(uid=*", "alice\0", "DESK-1$"] {
        let (view, ..) = lab.ask(&mut live, Some(name));
        assert!(view.user.is_none(), "{name}");
        assert_eq!(view.directory, Directory::Answered, "{name}");
    }
}

#[test]
#[ignore = "needs the lab"]
fn kerberos_with_the_computers_keytab_and_servers_from_dns() {
    if !cfg!(feature = "kerberos") {
        return;
    }
    let lab = Lab::new();
    let keytab = env("LAB_KEYTAB");
    sign_ins(&format!("domain = 'corp.test'\nkeytab = '{keytab}'"), &lab);
    let mut live =
        lab.live(&format!("domain = 'corp.test'\nkeytab = '{keytab}'\nprincipal = 'X$@CORP.TEST'"));
    let (_, _, took) = lab.ask(&mut live, Some("bob"));
    assert_eq!(live.error().unwrap().kind(), Kind::Kerberos);
    assert!(took < Duration::from_secs(6));
}

#[test]
#[ignore = "needs the lab"]
fn tls_with_the_configured_authority() {
    let lab = Lab::new();
    sign_ins(&lab.tls("ldaps", "dc1.corp.test"), &lab);
    std::fs::remove_dir_all(lab.dir.path().join("state")).unwrap();
    sign_ins(&lab.tls("starttls", "dc1.corp.test"), &lab);
}

fn fails(lab: &Lab, directory: &str, kind: Kind) {
    let mut live = lab.live(directory);
    let (view, _, took) = lab.ask(&mut live, Some("alice"));
    assert_eq!(live.error().unwrap().kind(), kind);
    assert_eq!(view.directory, Directory::Away);
    assert!(view.user.is_none());
    assert!(took < Duration::from_millis(5_500), "{took:?}");
    let (_, searches, took) = lab.ask(&mut live, Some("alice"));
    assert!(searches == 0 && took < Duration::from_millis(100), "nobody waits twice: {took:?}");
}

#[test]
#[ignore = "needs the lab"]
fn what_is_not_safe_is_not_used() {
    let lab = Lab::new();
    for security in ["ldaps", "starttls"] {
        let good = lab.tls(security, "dc1.corp.test");
        let no_ca = good.lines().filter(|line| !line.starts_with("ca-file"));
        let system = no_ca.collect::<Vec<_>>().join("\n");
        fails(&lab, &system, Kind::Tls);
        fails(&lab, &lab.tls(security, "127.0.0.1"), Kind::Tls);
        fails(&lab, &lab.tls(security, "dc2.corp.test"), Kind::Connect);
    }
    let wrong = lab.tls("ldaps", "dc1.corp.test").replace("svc-homeport@", "nobody@");
    fails(&lab, &wrong, Kind::Bind);
    fails(&lab, &lab.tls("ldaps", "dc1.corp.test:389"), Kind::Tls);
    fails(&lab, &lab.tls("ldaps", "dc1.corp.test:88"), Kind::Tls);
}

#[test]
#[ignore = "needs the lab"]
fn a_dead_directory_leaves_the_last_answer_and_nobody_waits() {
    let lab = Lab::new();
    let good = lab.tls("ldaps", "dc1.corp.test");
    let mut live = lab.live(&good);
    check_alice(&lab.ask(&mut live, Some("alice")).0);
    // A server that takes connections and says nothing. The name of the cache is that of the domain.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut live = lab.live(&lab.tls("ldaps", &format!("dc1.corp.test:{port}")));
    let (view, _, took) = lab.ask(&mut live, Some("alice"));
    assert!(matches!(view.directory, Directory::Cached { .. }), "{view:?}");
    assert!(view.user.is_some() && took < Duration::from_millis(3_300), "{took:?}");
    let (view, _, took) = lab.ask(&mut live, Some("alice"));
    assert!(matches!(view.directory, Directory::Cached { .. }));
    assert!(took < Duration::from_millis(50), "{took:?}");
    let (view, ..) = lab.ask(&mut live, Some("bob"));
    assert_eq!((view.directory, view.user.is_none()), (Directory::Away, true));
    assert!(Path::new(&lab.dir.path().join("state/directory.json")).is_file());
}

#[test]
#[ignore = "needs the lab"]
fn it_comes_back_by_itself() {
    let lab = Lab::new();
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let mut live = lab.live(&lab.tls("ldaps", &format!("dc1.corp.test:{port}")));
    let (view, ..) = lab.ask(&mut live, Some("alice"));
    assert_eq!(view.directory, Directory::Away);
    lab.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = tokio::net::TcpStream::connect("dc1.corp.test:636").await.unwrap();
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        tokio::time::sleep(Duration::from_secs(6)).await;
    });
    check_alice(&lab.ask(&mut live, Some("alice")).0);
}

#[test]
#[ignore = "needs the lab"]
fn another_domain_under_the_same_name_is_not_believed() {
    let lab = Lab::new();
    let good = lab.tls("ldaps", "dc1.corp.test");
    let mut live = lab.live(&good);
    check_alice(&lab.ask(&mut live, Some("alice")).0);
    drop(live);
    let store = homeport_agent::directory::cache::Store::new(
        &lab.dir.path().join("state"),
        "desk-1\ncorp.test\n".to_owned(),
    );
    let mut memory = store.load().unwrap();
    memory.identity = Some("S-1-5-21-9-9-9".to_owned());
    store.keep(&memory).unwrap();
    let mut live = lab.live(&good);
    let (view, ..) = lab.ask(&mut live, Some("alice"));
    assert_eq!(live.error().unwrap().kind(), Kind::Identity);
    assert!(matches!(view.directory, Directory::Cached { .. }));
}

/// `LAB_SLAPD` names an OpenLDAP with `uid=bob`, in `staff`, which is in `everyone`; computer `desk-1`.
#[test]
#[ignore = "needs the lab"]
fn openldap_whose_schema_lacks_the_attribute() {
    let Ok(server) = std::env::var("LAB_SLAPD") else { return };
    let lab = Lab::new();
    let directory = lab.tls("starttls", &server);
    let directory = directory.replace("svc-homeport@CORP.TEST", "cn=agent,dc=unix,dc=test");
    let mut live = lab.live(&directory);
    let (view, ..) = lab.ask(&mut live, None);
    assert_eq!(view.directory, Directory::Answered, "{:?}", live.error());
    for name in ["bob", "bob@unix.test", r"UNIX\bob"] {
        let (view, searches, _) = lab.ask(&mut live, Some(name));
        let user = view.user.unwrap();
        assert!(!view.schema_has_primary_computer);
        assert_eq!((user.name.as_str(), user.dns_domain.as_str()), ("bob", "unix.test"));
        assert!(user.groups.contains(&Principal::new("staff")));
        assert!(user.groups.contains(&Principal::new(r"UNIX\everyone")), "{:?}", user.groups);
        assert_eq!(user.attribute("homeDirectory"), Some("/home/bob"));
        assert!(view.computer.dn.is_some(), "{name}");
        assert!(searches <= 4, "one by name and one for each level of groups: {searches}");
    }
    let (view, ..) = lab.ask(&mut live, Some("nobody"));
    assert!(view.user.is_none());
    let wrong = directory.replace("cn=agent", "cn=nobody");
    fails(&lab, &wrong, Kind::Bind);
}

/// A proxy that passes bytes on until it is told to do something else with them.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    Hang,
    Reset,
    Garbage,
}

async fn proxy(listener: tokio::net::TcpListener, fault: tokio::sync::watch::Receiver<Fault>) {
    use tokio::io::AsyncWriteExt as _;
    while let Ok((mut near, _)) = listener.accept().await {
        let mut fault = fault.clone();
        tokio::spawn(async move {
            let mut far = tokio::net::TcpStream::connect("dc1.corp.test:636").await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = fault.wait_for(|fault| *fault != Fault::None) => {}
            }
            match *fault.borrow() {
                Fault::Hang => {}
                Fault::Garbage => {
                    let _ = near.try_write(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x02]);
                }
                _ => return,
            }
            let _ = near.flush().await;
            std::future::pending::<()>().await;
        });
    }
}

#[test]
#[ignore = "needs the lab"]
fn whatever_becomes_of_the_connection_the_answer_is_whole_or_the_last_one() {
    for (wanted, kind) in [
        (Fault::Hang, Kind::Timeout),
        (Fault::Reset, Kind::Connect),
        (Fault::Garbage, Kind::Timeout),
    ] {
        let lab = Lab::new();
        let (set, fault) = tokio::sync::watch::channel(Fault::None);
        let (port, served) = lab.runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            (port, tokio::spawn(proxy(listener, fault)))
        });
        let mut live = lab.live(&lab.tls("ldaps", &format!("dc1.corp.test:{port}")));
        check_alice(&lab.ask(&mut live, Some("alice")).0);
        let (_, searches, _) = lab.ask(&mut live, Some("alice"));
        assert_eq!(searches, 1, "the connection is used again");
        set.send_replace(wanted);
        if wanted == Fault::Reset {
            served.abort();
            lab.pause();
        }
        let (view, _, took) = lab.ask(&mut live, Some("alice"));
        println!("{wanted:?}: {took:?}");
        assert!(matches!(view.directory, Directory::Cached { .. }), "{wanted:?}");
        assert!(view.user.is_some() && took < Duration::from_millis(3_300));
        let got = live.error().unwrap().kind();
        assert!(got == kind || wanted == Fault::Garbage, "{wanted:?}: {got:?}");
        let (_, _, took) = lab.ask(&mut live, Some("alice"));
        assert!(took < Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs the lab"]
fn a_connection_that_the_server_closed_is_made_again_and_nobody_notices() {
    let lab = Lab::new();
    let (set, fault) = tokio::sync::watch::channel(Fault::None);
    let port = lab.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(proxy(listener, fault));
        port
    });
    let mut live = lab.live(&lab.tls("ldaps", &format!("dc1.corp.test:{port}")));
    check_alice(&lab.ask(&mut live, Some("alice")).0);
    set.send_replace(Fault::Reset);
    lab.pause();
    set.send_replace(Fault::None);
    check_alice(&lab.ask(&mut live, Some("alice")).0);
    assert!(live.error().is_none());
}

#[test]
#[ignore = "needs the lab"]
fn the_own_site_names_its_controllers() {
    let lab = Lab::new();
    let text = format!(
        "[directory]\nkind = 'ldap'\n{}\n",
        lab.tls("ldaps", "x").replace("servers = ['x']", "domain = 'corp.test'")
    );
    let settings = Settings::parse(Path::new("/agent.toml"), &text).unwrap();
    let DirectorySettings::Ldap(ldap) = settings.directory else { panic!("not ldap") };
    for site in [Some("Default-First-Site-Name".to_owned()), Some("Nowhere".to_owned()), None] {
        let connector =
            Connector::new((*ldap).clone(), "DESK-1", None, site.clone(), 7, Tally::default());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
        let servers = lab.runtime.block_on(connector.servers(deadline)).unwrap();
        println!("{site:?}: {servers:?}");
        assert_eq!(servers[0].host, "dc1.corp.test");
    }
    let connector = Connector::new(*ldap, "D", None, None, 7, Tally::default());
    let nowhere = connector.for_domain("nowhere.corp.test");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
    let error = lab.runtime.block_on(nowhere.servers(deadline)).unwrap_err();
    println!("{}", chain(&error));
    assert_eq!(error.kind(), Kind::Discovery);
}
