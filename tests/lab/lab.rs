//! The lab proves itself: what the servers answer, and that the faults are the faults they claim.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::ca::Ca;
use support::content::{
    ALICE, BIG_GROUP, BOB, CAROL, DAVE, DESK_1, ERIN, FRANK, GRACE, MACHINE_PASSWORD, MANY,
    PASSWORD, PICTURE_BYTES, SERVICE, SERVICE_PASSWORD, STALE_5, WALTER, WORKSTATIONS,
};
use support::dc::{self, Dc};
use support::dns::{self, Srv};
use support::proxy::{Fault, Proxy};
use support::slapd::{self, Slapd};
use support::{krb, ldif, output, program, rename_hosts, run};

const PRIMARY: &str = "msDS-PrimaryComputer";

/// Whether TLS with the lab's authority, asked for this name, is accepted.
fn trusted(address: &str, host: &str, starttls: bool) -> bool {
    let mut command = program("openssl");
    command.args(["s_client", "-connect", address, "-verify_hostname", host]);
    command.args(["-verify_return_error", "-CAfile"]).arg(&Ca::lab().file);
    if starttls {
        command.args(["-starttls", "ldap"]);
    }
    output(&mut command).status.success()
}

/// What a simple bind as the service account finds.
fn as_service(filter: &str, attribute: &str) -> Vec<ldif::Entry> {
    let mut command = program("ldapsearch");
    command.env("LDAPTLS_CACERT", &Ca::lab().file);
    command.args(["-LLL", "-x", "-H", "ldaps://dc1.corp.test", "-D", SERVICE]);
    command.args(["-w", SERVICE_PASSWORD, "-b", "DC=corp,DC=test", filter, attribute]);
    ldif::entries(&run(&mut command))
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn the_controller_answers_over_tls_and_only_its_name_is_in_the_certificate() {
    let dc = Dc::shared();
    assert!(trusted("127.0.0.1:636", dc::HOST, false));
    assert!(trusted("127.0.0.1:389", dc::HOST, true), "StartTLS");
    assert!(!trusted("127.0.0.1:636", "dc2.corp.test", false));
    assert!(dc.accepts(SERVICE, SERVICE_PASSWORD));
    assert!(!dc.accepts(SERVICE, "something else"));
    assert!(dc.accepts("alice@corp.test", PASSWORD));
    // Samba's default: nothing without TLS but a bind that protects itself.
    let mut plain = program("ldapsearch");
    plain.args([
        "-s",
        "base",
        "-b",
        "",
        "-x",
        "-H",
        "ldap://dc1.corp.test",
        "-D",
        SERVICE,
        "-w",
        SERVICE_PASSWORD,
    ]);
    let refused = output(&mut plain);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("Strong(er) authentication required (8)"), "{text}");
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn the_schema_has_primary_computers_and_links_follow_renames_and_deletions() {
    let dc = Dc::shared();
    let mut schema = program("ldapsearch");
    schema.env("LDAPTLS_CACERT", &Ca::lab().file).args(["-LLL", "-x", "-D", SERVICE]);
    schema.args(["-w", SERVICE_PASSWORD, "-H", "ldaps://dc1.corp.test", "-b"]);
    schema.arg("CN=Schema,CN=Configuration,DC=corp,DC=test");
    let found = run(schema.args(["(attributeID=1.2.840.113556.1.4.2167)", "lDAPDisplayName"]));
    assert_eq!(ldif::entries(&found)[0].text("lDAPDisplayName"), PRIMARY);

    let list = |dn: &str| dc.entry(dn, &[PRIMARY]).texts(PRIMARY);
    assert_eq!(list(ALICE), [DESK_1]);
    assert!(list(BOB).is_empty());
    assert_eq!(list(CAROL).len(), 3);
    // The deleted one is gone from the list, the renamed one has its new name.
    let mut dave = list(DAVE);
    dave.sort();
    assert_eq!(dave, ["DESK-2", "DESK-4"].map(|name| format!("CN={name},{WORKSTATIONS}")));
    dc.set_primary(BOB, &[DESK_1]);
    assert_eq!(as_service("(sAMAccountName=bob)", PRIMARY)[0].text(PRIMARY), DESK_1);
    dc.set_primary(BOB, &[]);
    assert!(list(BOB).is_empty());
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn entries_have_the_shapes_a_client_must_survive() {
    let dc = Dc::shared();
    let alice = dc.entry(ALICE, &["tokenGroups", "homeDirectory", "homeDrive", "profilePath"]);
    // Designers, Makers, Everybody, Domain Users, BUILTIN\Users; the loop ends.
    assert_eq!(alice.bytes("tokenGroups").len(), 5, "{alice:?}");
    assert_eq!(alice.text("homeDirectory"), r"\\files.corp.test\home\alice");
    assert_eq!(alice.text("homeDrive"), "H:");
    let erin = dc.entry(ERIN, &["primaryGroupID", "memberOf"]);
    assert_ne!(erin.text("primaryGroupID"), "513");
    assert!(erin.texts("memberOf").iter().all(|group| !group.contains("Contractors")));
    assert_eq!(
        dc.entry(FRANK, &["thumbnailPhoto"]).bytes("thumbnailPhoto")[0].len(),
        PICTURE_BYTES
    );
    assert!(dc.entry(GRACE, &["tokenGroups"]).bytes("tokenGroups").len() > MANY);
    // Samba gives all values at once; asked for a range it answers like Active Directory.
    assert_eq!(dc.entry(BIG_GROUP, &["member"]).bytes("member").len(), MANY);
    let range = dc.entry(BIG_GROUP, &["member;range=0-99"]);
    assert_eq!(range.bytes("member;range=0-99").len(), 100);
    let stale = dc.entry(STALE_5, &["lastLogonTimestamp"]);
    assert_eq!(stale.text("lastLogonTimestamp"), "130715712000000000");
    let escaped = dc.search(r"(sAMAccountName=o'brien \28x\29)", &[PRIMARY]);
    assert_eq!(escaped.len(), 1);
    assert_eq!(dc.search("(sAMAccountName=zoë)", &["cn"])[0].text("cn"), "Zoë Ünal");
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn the_service_account_may_not_read_one_list() {
    let dc = Dc::shared();
    assert_eq!(dc.entry(WALTER, &[PRIMARY]).text(PRIMARY), DESK_1);
    let denied = as_service("(sAMAccountName=walter)", PRIMARY);
    assert_eq!(denied.len(), 1, "the user is seen");
    assert!(denied[0].texts(PRIMARY).is_empty(), "the list is not, and nothing says so");
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn tickets_come_from_the_keytab_and_run_out() {
    let dc = Dc::shared();
    let good = krb::ticket("DESK-1$", &dc.keytab(), "good");
    assert!(krb::is_valid(&good));
    run(program("kvno").arg("-c").arg(&good).arg("ldap/dc1.corp.test"));
    assert!(!krb::is_valid(&krb::expired_ticket("DESK-1$", &dc.keytab(), "expired")));
    assert!(dc.accepts("DESK-1$@CORP.TEST", MACHINE_PASSWORD));
    let mut date = krb::skewed("+2d", "date");
    let wrong: u64 = run(date.arg("+%s")).trim().parse().unwrap();
    let right: u64 = run(program("date").arg("+%s")).trim().parse().unwrap();
    assert!((172_700..172_900).contains(&(wrong - right)));
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn service_records_name_the_controller_and_others_when_told_so() {
    let mut dc = Dc::shared();
    let own = Srv { priority: 0, weight: 100, port: 389, target: dc::HOST.into() };
    let names = ["_ldap._tcp.dc._msdcs.corp.test".to_owned(), site_name()];
    for name in &names {
        assert_eq!(dns::srv(name), std::slice::from_ref(&own), "{name}");
    }
    assert!(dns::srv("_ldap._tcp.nowhere._sites.dc._msdcs.corp.test").is_empty());
    dc.add_srv("dc2.corp.test", 3890, 10);
    let other = Srv { priority: 10, weight: 100, port: 3890, target: "dc2.corp.test".into() };
    for name in &names {
        assert_eq!(dns::srv(name), [own.clone(), other.clone()], "{name}");
    }
    dc.reset();
    assert_eq!(dns::srv(&names[0]), [own]);
}

fn site_name() -> String {
    format!("_ldap._tcp.{}._sites.dc._msdcs.corp.test", dc::SITE)
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn the_controller_stops_hangs_and_is_replaced_by_its_twin() {
    let mut dc = Dc::shared();
    let identity =
        |dc: &Dc| dc.entry("DC=corp,DC=test", &["objectSid"]).bytes("objectSid").to_vec();
    let first = identity(&dc);
    dc.pause();
    let mut silent = TcpStream::connect("127.0.0.1:389").unwrap();
    silent.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    silent.write_all(b"\x30\x05\x02\x01\x01\x42\x00").unwrap(); // an unbind: a live one hangs up
    assert_eq!(silent.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    dc.resume();
    assert_eq!(identity(&dc), first);
    dc.stop();
    let refused = TcpStream::connect("127.0.0.1:389").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    dc.replace_by_twin();
    assert_ne!(identity(&dc), first);
    assert_eq!(dc.entry(ALICE, &[PRIMARY]).text(PRIMARY), DESK_1);
    dc.reset();
    assert_eq!(identity(&dc), first);
    assert!(dc.processor_time() > Duration::ZERO);
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn the_controllers_clock_and_certificate_can_be_wrong() {
    let mut dc = Dc::shared();
    dc.set_clock(Some("+20m"));
    let kinit = || {
        let mut kinit = program("kinit");
        kinit.args(["-k", "-t"]).arg(dc.keytab()).args(["-c", "skewed", "DESK-1$"]);
        output(&mut kinit)
    };
    assert!(kinit().status.success(), "the library takes the time of the other side");
    krb::set_config("127.0.0.1:88", false);
    let refused = String::from_utf8_lossy(&kinit().stderr).into_owned();
    assert!(refused.contains("Clock skew too great"), "{refused}");
    krb::reset_config();
    dc.set_clock(None);
    dc.set_certificate(&Ca::new("stranger").issue(dc::HOST));
    assert!(!trusted("127.0.0.1:636", dc::HOST, false), "another authority");
    dc.set_certificate(&Ca::lab().issue_expired(dc::HOST));
    assert!(!trusted("127.0.0.1:636", dc::HOST, false), "expired");
    dc.set_certificate(&Ca::lab().issue("dc2.corp.test"));
    assert!(!trusted("127.0.0.1:636", dc::HOST, false), "another name");
    dc.reset();
    assert!(trusted("127.0.0.1:636", dc::HOST, false));
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn openldap_lacks_the_attribute_and_keeps_its_limits() {
    let mut slapd = Slapd::start();
    assert!(trusted("127.0.0.3:636", slapd::HOST, false));
    assert!(trusted("127.0.0.3:389", slapd::HOST, true), "StartTLS");
    let alice = slapd.search("(uid=alice)", &["*"]);
    assert_eq!(alice[0].text("homeDirectory"), "/home/alice");
    let schema = slapd.entry("cn=Subschema", &["attributeTypes"]).texts("attributeTypes");
    assert!(schema.len() > 100 && schema.iter().all(|kind| !kind.contains(PRIMARY)));
    slapd.set_size_limit(Some(3));
    let mut limited = program("ldapsearch");
    limited.args(["-x", "-LLL", "-H", "ldap://127.0.0.3", "-b", slapd::BASE, "1.1"]);
    let limited = output(&mut limited);
    assert_eq!(limited.status.code(), Some(4), "sizeLimitExceeded");
    let found = ldif::entries(&String::from_utf8_lossy(&limited.stdout));
    assert_eq!(found.len(), 3);
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn names_of_the_lab_can_be_moved() {
    let address = || run(program("getent").args(["hosts", "dc1.corp.test"]));
    assert!(address().starts_with("127.0.0.1 "));
    rename_hosts(&[("dc1.corp.test", "127.0.0.2")]);
    assert!(address().starts_with("127.0.0.2 "));
    rename_hosts(&support::HOSTS);
    assert!(address().starts_with("127.0.0.1 "));
}

/// Answers every byte with a thousand; ends with its last connection.
fn thousandfold() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut byte = [0];
                while let Ok(1) = (&stream).read(&mut byte) {
                    if (&stream).write_all(&[byte[0]; 1000]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// How many bytes came back for one, and how it ended: `Ok` is an orderly end.
fn ask(mut stream: &TcpStream) -> (usize, Result<(), ErrorKind>) {
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    stream.write_all(b"x").unwrap();
    let (mut came, mut piece) = (0, [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (came, Ok(())),
            Ok(length) => came += length,
            Err(error) => return (came, Err(error.kind())),
        }
    }
}

#[test]
#[ignore = "needs Samba and OpenLDAP: tests/run runs it in tests/lab/enter"]
fn the_proxys_faults_do_what_they_say() {
    let proxy = Proxy::start("127.0.0.2:0", &thousandfold());
    let connect = || TcpStream::connect(proxy.address());
    let silent = Err(ErrorKind::WouldBlock);
    let warm = connect().unwrap();
    assert_eq!(ask(&warm), (1000, silent));
    assert_eq!((proxy.connections(), proxy.bytes_asked(), proxy.bytes_answered()), (1, 1, 1000));

    proxy.set(Fault::Hang);
    assert_eq!(ask(&warm), (0, silent));
    assert_eq!(ask(&connect().unwrap()), (0, silent));
    proxy.set(Fault::Pass);
    assert_eq!(ask(&warm), (2000, silent), "what hung comes through");

    let slow = Duration::from_millis(150);
    proxy.set(Fault::Delay(slow));
    let start = Instant::now();
    assert_eq!(ask(&warm), (1000, silent));
    assert!(start.elapsed() > 2 * slow);

    proxy.set(Fault::ResetAfter(300));
    assert_eq!(ask(&warm), (300, Err(ErrorKind::ConnectionReset)));
    proxy.set(Fault::TruncateAfter(1300));
    let fresh = connect().unwrap();
    assert_eq!(ask(&fresh), (1000, silent));
    assert_eq!(ask(&fresh), (300, Ok(())));
    proxy.set(Fault::Garbage);
    let (came, ended) = ask(&connect().unwrap());
    assert!((1..100).contains(&came) && ended == silent, "{came} {ended:?}");

    proxy.set(Fault::Pass);
    let warm = connect().unwrap();
    assert_eq!(ask(&warm), (1000, silent));
    proxy.set(Fault::Refuse);
    assert_eq!(connect().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let mut byte = [0];
    assert!(matches!((&warm).read(&mut byte), Ok(0) | Err(_)), "open ones end");
    proxy.set(Fault::Pass);
    assert_eq!(ask(&connect().unwrap()), (1000, silent));
}
