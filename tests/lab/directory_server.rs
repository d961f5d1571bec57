//! Faults of the directory itself: limits, clocks, keys, another domain under the same name; and the
//! service that comes back by itself.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod client;
mod home;
mod support;
mod trial;
#[path = "../support/mod.rs"]
mod world;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use client::{BACK_MAX, Client, openldap, tls};
use home::{Home, SIGN_IN_SLACK};
use homeport_agent::clock::Clock;
use homeport_agent::directory::cache::Memory;
use homeport_agent::directory::error::Kind;
use homeport_agent::directory::query::{Session, clock_skew};
use homeport_agent::limits::{DIRECTORY_CACHED_TIMEOUT, DIRECTORY_TIMEOUT};
use homeport_policy::facts::Directory;
use support::content::ALICE;
use support::dc::{self, Dc};
use support::slapd::{self, Slapd};
use support::until;
use trial::{Trial, Wrong};

const LDAPS: &str = "ldaps";
const LIMITS: &str = "raise the server's limits for the agent's account";

#[test]
#[ignore = "needs OpenLDAP: tests/run runs it in tests/lab/enter"]
fn size_limit() {
    let mut slapd = Slapd::start();
    // Two groups where one is allowed: a shorter list would be other groups.
    slapd.modify(
        "dn: cn=crew,ou=groups,dc=corp,dc=test\nchangetype: add\nobjectClass: posixGroup\n\
         cn: crew\ngidNumber: 2000\nmemberUid: alice\nmemberUid: bob\n",
    );
    let mut trial = Trial::begin("size limit", &openldap(&[slapd::HOST]), "bob");
    slapd.set_size_limit(Some(1));
    let wrong = Wrong { kind: Kind::Search, hint: LIMITS };
    trial.holds(wrong, wrong);
    let (_, _, words) = trial.client.trouble().unwrap();
    assert!(words.contains("sizeLimitExceeded (4)"), "{words}");
    slapd.set_size_limit(None);
    trial.ends();
}

#[test]
#[ignore = "needs OpenLDAP: tests/run runs it in tests/lab/enter"]
fn time_limit() {
    let mut slapd = Slapd::start();
    slapd.add_refusing();
    let directory = format!("{}base = '{}'\n", openldap(&[slapd::HOST]), slapd::REFUSING);
    let mut trial = Trial::begin("time limit", &directory, "bob");
    slapd.set_refusal(Some(3));
    let wrong = Wrong { kind: Kind::Search, hint: LIMITS };
    trial.holds(wrong, wrong);
    let (_, _, words) = trial.client.trouble().unwrap();
    assert!(words.contains("timeLimitExceeded (3)"), "{words}");
    slapd.set_refusal(None);
    trial.ends();
}

/// What is refused, and what a busy server says, is never taken for an empty answer.
#[test]
#[ignore = "needs OpenLDAP: tests/run runs it in tests/lab/enter"]
fn refusals_are_no_answers() {
    let mut slapd = Slapd::start();
    slapd.add_refusing();
    let directory = format!("{}base = '{}'\n", openldap(&[slapd::HOST]), slapd::REFUSING);
    for (code, hint) in [(50, "the right to read this"), (51, "the server's log"), (11, LIMITS)] {
        slapd.set_refusal(None);
        let mut client = Client::new(&directory);
        assert!(client.ask("alice").is_redirected());
        slapd.set_refusal(Some(code));
        let asked = client.ask("alice");
        assert!(asked.is_cached() && asked.is_redirected(), "{code}: {:?}", asked.codes());
        let (kind, found, words) = client.trouble().unwrap();
        assert!(kind == Kind::Search && found.contains(hint), "{code}: {found}: {words}");
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn replaced_by_its_twin() {
    let mut dc = Dc::shared();
    let directory = tls(LDAPS, &[dc::HOST]);
    let mut trial = Trial::begin("twin", &directory, "carol");
    dc.replace_by_twin();
    let wrong = Wrong { kind: Kind::Identity, hint: "if the domain was set up anew" };
    let before = trial.known.files();
    trial.known_user_holds(wrong);
    // Somebody who never signed in here is not brought in on the word of a stranger either.
    for (user, action, code, limit) in [
        ("alice", "redirect", "directory-cached", DIRECTORY_CACHED_TIMEOUT),
        ("carol", "hold", "directory-away", DIRECTORY_TIMEOUT),
    ] {
        let signed_in = trial.known.sign_in(user);
        assert_eq!((signed_in.ran.code, signed_in.action().as_str()), (0, action), "{user}");
        assert!(signed_in.codes().iter().any(|is| is == code), "{user}: {:?}", signed_in.codes());
        assert!(signed_in.took <= limit + SIGN_IN_SLACK, "{user}: {:?}", signed_in.took);
        let said = trial.known.directory();
        assert!(said["error"].as_str().unwrap().contains("is not the domain it was"), "{said}");
        println!("twin, homeport, {user}: {:?}, {action}, {}", signed_in.took, said["error"]);
    }
    assert_eq!(trial.known.files(), before, "nothing moved");
    dc.reset();
    trial.ends();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_list_that_may_not_be_read_any_more_takes_nothing_away() {
    let mut dc = Dc::shared();
    let home = Home::new(&tls(LDAPS, &[dc::HOST]));
    for occasion in ["logon", "logoff"] {
        assert_eq!(home.take("alice", occasion).action(), "redirect"); // the profile is up as well
    }
    let before = home.files();
    dc.deny_primary(ALICE, &dc.sid("svc-homeport"));
    home.grow_old("");
    let holds = |what: &str| {
        for occasion in ["logon", "logoff", "logon"] {
            let done = home.take("alice", occasion);
            assert_eq!((done.ran.code, done.action().as_str()), (0, "hold"), "{what} {occasion}");
            let codes = done.codes();
            assert!(codes.iter().any(|code| code == "primary-hidden"), "{what}: {codes:?}");
        }
        assert!(home.directory()["error"].is_null(), "the directory itself is well");
        assert_eq!(home.files(), before, "{what}: something moved");
    };
    holds("a right that is gone");
    // Without what was remembered it is no different: a list that nobody saw is not an empty one.
    for file in ["directory.json", "directory.key"] {
        std::fs::remove_file(home.world.path("state").join(file)).unwrap();
    }
    holds("a right that is gone, and a new memory");
    dc.reset();
    home.grow_old("");
    assert_eq!(home.sign_in("alice").action(), "redirect");
    assert_eq!(home.files(), before);
    // An empty list that may be read is what the administrator wants: the folder comes home.
    dc.set_primary(ALICE, &[]);
    home.grow_old("");
    let emptied = home.sign_in("alice");
    assert_eq!((emptied.ran.code, emptied.action().as_str()), (0, "not-here"));
    let back = home.world.read("homes/alice/Documents/a/thesis.txt");
    assert_eq!(back.as_deref(), Some("alice"));
    dc.reset();
}

/// The identity of another domain is kept as the own one's is.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn another_domain_is_known_by_its_identity() {
    let _dc = Dc::shared();
    let client = Client::new(&tls(LDAPS, &[dc::HOST]));
    let mut memory = Memory::default();
    let check = |memory: &mut Memory| {
        client.block_on(async {
            let deadline = tokio::time::Instant::now() + DIRECTORY_TIMEOUT;
            let mut connection = client.live().connector().connect(deadline).await.unwrap();
            let mut session = Session::new(&mut connection, memory, None, 0, deadline);
            session.check_identity(Some("sales.corp.test")).await
        })
    };
    check(&mut memory).unwrap();
    assert!(memory.identity.is_none() && memory.home.is_none(), "it is not the own one");
    check(&mut memory).unwrap();
    memory.others.insert("sales.corp.test".to_owned(), "S-1-5-21-1-2-3".to_owned());
    let error = check(&mut memory).unwrap_err();
    assert_eq!(error.kind(), Kind::Identity, "{error}");
    assert_eq!(memory.others["sales.corp.test"], "S-1-5-21-1-2-3", "it is not forgotten for that");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_clock_that_is_wrong_by_20_minutes_is_noticed_and_no_fault_with_tls() {
    const SKEW: Duration = Duration::from_secs(20 * 60);
    let _dc = Dc::shared();
    let ahead = Clock::given(|| SystemTime::now() + SKEW);
    let mut client = Client::new(&tls(LDAPS, &[dc::HOST]));
    client.set_clock(&ahead);
    let asked = client.ask("alice");
    assert_eq!(asked.facts.directory, Directory::Answered, "{:?}", client.trouble());
    let connector = client.live().connector();
    let connected = client.block_on(async {
        let deadline = tokio::time::Instant::now() + DIRECTORY_TIMEOUT;
        connector.connect(deadline).await
    });
    let time = connected.unwrap().root().time.clone().unwrap();
    let skew = clock_skew(&time, ahead.unix_ms()).unwrap();
    // The server's time has whole seconds.
    assert!(skew.abs_diff(SKEW) < Duration::from_secs(5), "{skew:?}");
}

#[cfg(feature = "kerberos")]
mod kerberos {
    use super::*;
    use client::{SLACK, kerberos};
    use support::content::{DESK_1, MACHINE_PASSWORD};
    use support::proxy::{Fault, Proxy};
    use support::{krb, ldif};

    /// Both homes, with the real `homeport`: the library's tickets live as long as its process.
    struct Homes {
        trial: Trial,
    }

    impl Homes {
        fn begin(name: &'static str) -> Self {
            krb::reset_config(); // a test that failed may have left another one
            Self { trial: Trial::begin(name, &kerberos(&[dc::HOST]), "carol") }
        }

        fn hold(&self, kind: Kind, hint: &'static str) {
            self.trial.homes_hold(self.trial.sign_in(), Wrong { kind, hint });
        }
    }

    #[test]
    #[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
    fn keytab_of_a_changed_password() {
        let mut dc = Dc::shared();
        let homes = Homes::begin("keytab of a changed password");
        let change = |password: &str| {
            let password = ldif::password(password);
            dc.modify(&format!(
                "dn: {DESK_1}\nchangetype: modify\nreplace: unicodePwd\n{password}"
            ));
        };
        change("Another-pass-2");
        homes.hold(Kind::Kerberos, "the keytab is old; join again");
        change(MACHINE_PASSWORD);
        homes.trial.homes_come_back();
        dc.reset();
    }

    #[test]
    #[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
    fn clock_skew_of_20_minutes() {
        let mut dc = Dc::shared();
        let homes = Homes::begin("clock skew of 20 minutes");
        dc.set_clock(Some("+20m"));
        krb::set_config("127.0.0.1:88", false);
        homes.hold(Kind::Kerberos, "set this computer's clock by the domain's");
        // As libraries are set up by default, they take the time of the other side.
        krb::reset_config();
        homes.trial.homes_come_back();
        dc.reset();
    }

    #[test]
    #[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
    fn ticket_that_ran_out_is_renewed_from_the_keytab() {
        let mut dc = Dc::shared();
        krb::reset_config();
        krb::set_lifetime(5);
        let mut client = Client::new(&kerberos(&[dc::HOST]));
        assert!(client.ask("alice").is_redirected(), "{:?}", client.trouble());
        // One that is younger than the client's, and lives as long.
        let younger = krb::ticket_for("DESK-1$", &dc.keytab(), "younger", "5s");
        until("tickets run out", Duration::from_secs(30), || !krb::is_valid(&younger));
        dc.restart();
        let asked = client.ask("alice");
        assert_eq!(asked.facts.directory, Directory::Answered, "{:?}", client.trouble());
        assert_eq!(asked.counts.connections, 1, "with a new ticket, over a new connection");
        assert!(asked.took <= DIRECTORY_CACHED_TIMEOUT + SLACK, "{:?}", asked.took);
        krb::reset_config();
    }

    #[test]
    #[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
    fn key_distribution_centre_that_hangs() {
        let _dc = Dc::shared();
        let homes = Homes::begin("Kerberos server hangs");
        let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:88");
        krb::set_config(&proxy.address().to_string(), true);
        proxy.set(Fault::Hang);
        homes.hold(Kind::Timeout, "it is tried again by itself");
        proxy.set(Fault::Refuse);
        homes.hold(Kind::Kerberos, "check DNS and port 88");
        proxy.set(Fault::Pass);
        homes.trial.homes_come_back();
        krb::reset_config();
    }

    /// DNS can name any computer, and each has a key for `ldap/host`. What no controller of the domain
    /// has a name for is not spoken to; a server that the settings name is.
    #[test]
    #[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
    fn a_server_that_dns_names_has_to_be_a_controller_of_the_domain() {
        let mut dc = Dc::shared();
        krb::reset_config();
        // Before anything else: a ticket that was given once is good for hours.
        dc.modify(
            "dn: CN=DC1,OU=Domain Controllers,DC=corp,DC=test\nchangetype: modify\n\
             delete: servicePrincipalName\nservicePrincipalName: ldap/dc1.corp.test/corp.test\n",
        );
        let mut client = Client::new(&kerberos(&[]));
        let asked = client.ask("alice");
        assert_eq!(asked.facts.directory, Directory::Away);
        let (kind, hint, words) = client.trouble().unwrap();
        assert_eq!(kind, Kind::Kerberos, "{words}");
        assert!(words.contains("no ticket for ldap/dc1.corp.test/corp.test"), "{words}");
        assert!(hint.contains("add this servicePrincipalName"), "{hint}");
        let mut named = Client::new(&kerberos(&[dc::HOST]));
        assert!(named.ask("alice").is_redirected(), "{:?}", named.trouble());
        dc.reset();
        let mut client = Client::new(&kerberos(&[]));
        assert!(client.ask("alice").is_redirected(), "{:?}", client.trouble());
    }

    /// An attempt that still hangs is no obstacle to the next server.
    #[test]
    #[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
    fn a_bind_that_hangs_is_passed_over() {
        let _dc = Dc::shared();
        krb::reset_config();
        let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:389");
        proxy.set(Fault::Hang);
        let first = format!("{}:{}", dc::HOST, proxy.port());
        let directory = kerberos(&[&first, dc::HOST]);
        let mut client = Client::new(&directory);
        for limit in [DIRECTORY_TIMEOUT, DIRECTORY_CACHED_TIMEOUT] {
            client.restart(&directory);
            let asked = client.ask("alice");
            assert!(asked.is_redirected(), "{:?} {:?}", asked.codes(), client.trouble());
            assert_eq!(asked.facts.directory, Directory::Answered);
            assert_eq!(client.live().server(), Some(dc::HOST));
            assert!(asked.took <= limit + SLACK, "{:?}", asked.took);
        }
    }

    #[test]
    #[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
    fn keytab_without_the_principal_or_gone() {
        let _dc = Dc::shared();
        krb::reset_config();
        let good = kerberos(&[dc::HOST]);
        let home = Home::new(&good);
        for (directory, words, hint) in [
            (good.replace("desk-1.keytab", "none.keytab"), "cannot read the keytab", "join"),
            (format!("{good}principal = 'X$@CORP.TEST'\n"), "gives X$@CORP.TEST no ticket", ""),
        ] {
            home.set_directory(&directory);
            let before = home.files();
            let signed_in = home.sign_in("alice");
            let said = home.directory();
            assert_eq!(signed_in.action(), "hold", "{said}");
            assert!(said["error"].as_str().unwrap().contains(words), "{said}");
            assert!(said["hint"].as_str().unwrap().contains(hint), "{said}");
            assert!(signed_in.took <= DIRECTORY_TIMEOUT + SIGN_IN_SLACK, "{:?}", signed_in.took);
            assert_eq!(home.files(), before, "{words}: something moved");
            println!("{}: {:?} ({})", said["error"], signed_in.took, said["hint"]);
        }
    }
}

/// The service; it is stopped by its own id when the test ends.
struct Service(Child);

impl Service {
    fn start(home: &Home) -> Self {
        let mut command = home.command(&["run"]);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let service = Self(child);
        let socket = home.world.path("state/control.sock");
        until("the service listens", Duration::from_secs(30), || socket.exists());
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn the_service_goes_on_with_what_it_knows_and_comes_back_by_itself() {
    let dc = Dc::shared();
    let home = Home::new(&tls(LDAPS, &[dc::HOST]));
    let _service = Service::start(&home);
    assert_eq!(home.sign_in("alice").action(), "redirect");
    let before = home.files();
    dc.pause();
    // A sign-in a moment after an answer makes do with that: let it be a moment ago no longer.
    let begun = Instant::now();
    let mut signed_in = home.sign_in("alice");
    while !signed_in.codes().iter().any(|code| code == "directory-cached") {
        assert!(begun.elapsed() < BACK_MAX, "{:?}", signed_in.codes());
        assert!(signed_in.took <= SIGN_IN_SLACK, "{:?}", signed_in.took);
        std::thread::sleep(Duration::from_millis(200));
        signed_in = home.sign_in("alice");
    }
    assert_eq!(signed_in.action(), "redirect");
    assert!(signed_in.took <= DIRECTORY_CACHED_TIMEOUT + SIGN_IN_SLACK, "{:?}", signed_in.took);
    println!("service, alice: {:?}, {:?}", signed_in.took, signed_in.codes());
    let next = home.sign_in("alice");
    assert!(next.took <= SIGN_IN_SLACK, "nobody waits twice: {:?}", next.took);
    let newcomer = home.sign_in("carol");
    assert_eq!(
        (newcomer.action().as_str(), newcomer.codes()),
        ("hold", vec!["directory-away".to_owned()])
    );
    assert!(newcomer.took <= SIGN_IN_SLACK, "{:?}", newcomer.took);
    assert!(home.directory()["error"].is_string());
    assert_eq!(home.files(), before, "something moved");
    dc.resume();
    // Nobody asks: the service finds out, and brings the newcomer in.
    let resumed = Instant::now();
    let there = home.world.path("server/home/carol/Documents/a/thesis.txt");
    until("the newcomer comes in", BACK_MAX, || there.exists());
    until("status says so", BACK_MAX, || home.directory()["error"].is_null());
    println!("service: back after {:?}", resumed.elapsed());
}
