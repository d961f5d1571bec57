//! Faults between the agent and its directory: networks, certificates, names.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod client;
mod home;
mod support;
mod trial;
#[path = "../support/mod.rs"]
mod world;

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use client::{Client, SLACK, tls};
use homeport_agent::directory::error::Kind;
use homeport_agent::limits::{DIRECTORY_CACHED_TIMEOUT, DIRECTORY_TIMEOUT};
use homeport_policy::facts::Directory;
use support::ca::Ca;
use support::dc::{self, Dc};
use support::proxy::{Fault, Proxy};
use support::root;
use trial::{Trial, Wrong};

const LDAPS: &str = "ldaps";
const NEWCOMER: &str = "carol";

const REFUSED: Wrong = Wrong { kind: Kind::Connect, hint: "check that the server runs" };
const SILENT: Wrong = Wrong { kind: Kind::Timeout, hint: "it is tried again by itself" };
const BROKEN: Wrong = Wrong { kind: Kind::Search, hint: "it is tried again by itself" };
const NO_TLS: Wrong = Wrong { kind: Kind::Tls, hint: "check that the server has a certificate" };
const NO_DNS: Wrong = Wrong { kind: Kind::Discovery, hint: "check the DNS servers" };

/// A proxy before the controller, and settings that lead through it.
fn through_proxy() -> (Proxy, String) {
    let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:636");
    let directory = tls(LDAPS, &[&format!("{}:{}", dc::HOST, proxy.port())]);
    (proxy, directory)
}

/// One fault of the network, from beginning to end.
fn network(name: &'static str, fault: Fault, first: Wrong, anew: Wrong) {
    let _dc = Dc::shared();
    let (proxy, directory) = through_proxy();
    let mut trial = Trial::begin(name, &directory, NEWCOMER);
    proxy.set(fault);
    trial.holds(first, anew);
    proxy.set(Fault::Pass);
    trial.ends();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn refused() {
    network("refused", Fault::Refuse, REFUSED, REFUSED);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn hanging_network() {
    network("hanging network", Fault::Hang, SILENT, SILENT);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn slow_by_five_seconds() {
    network("slow by 5 s", Fault::Delay(Duration::from_secs(5)), SILENT, SILENT);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn garbage() {
    network("garbage", Fault::Garbage, NO_TLS, NO_TLS);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn reset_while_tls_begins() {
    network("reset in the handshake", Fault::ResetAfter(100), NO_TLS, NO_TLS);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn truncated_while_tls_begins() {
    network("truncated in the handshake", Fault::TruncateAfter(100), NO_TLS, NO_TLS);
}

/// A fault that comes when the answer about the user is half there.
fn in_mid_answer(name: &'static str, fault: fn(u64) -> Fault) {
    let _dc = Dc::shared();
    let (proxy, directory) = through_proxy();
    let mut trial = Trial::begin(name, &directory, NEWCOMER);
    // What a sign-in is answered that connects anew, to the byte but for the lengths of signatures.
    let before = proxy.bytes_answered();
    trial.client.restart(&directory);
    assert!(trial.client.ask("alice").is_redirected());
    let whole = proxy.bytes_answered() - before;
    trial.client.restart(&directory);
    proxy.set(fault(whole - 500));
    trial.holds(BROKEN, BROKEN);
    proxy.set(Fault::Pass);
    trial.ends();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn reset_in_mid_answer() {
    in_mid_answer("reset in mid-answer", Fault::ResetAfter);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn truncated_answer() {
    in_mid_answer("truncated answer", Fault::TruncateAfter);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_connection_that_the_server_closed_is_made_again_and_nobody_notices() {
    let _dc = Dc::shared();
    let (proxy, directory) = through_proxy();
    let mut client = Client::new(&directory);
    assert!(client.ask("alice").is_redirected());
    proxy.cut();
    let asked = client.ask("alice");
    assert_eq!(asked.facts.directory, Directory::Answered);
    assert_eq!((asked.counts.connections, client.trouble().is_none()), (1, true));
    // The same in the middle of an answer.
    proxy.set(Fault::ResetAfter(1_000));
    let cut = client.ask("alice");
    assert!(cut.is_cached(), "the next connection is cut as well");
    proxy.set(Fault::Pass);
    client.until_answered("alice");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn hanging_controller() {
    let dc = Dc::shared();
    let mut trial = Trial::begin("stopped process", &tls(LDAPS, &[dc::HOST]), NEWCOMER);
    dc.pause();
    trial.holds(SILENT, SILENT);
    dc.resume();
    trial.ends();
}

/// The controller with a certificate that is not to be trusted.
fn certificate(name: &'static str, cert: &support::ca::Cert, hint: &'static str) {
    let mut dc = Dc::shared();
    let wrong = Wrong { kind: Kind::Tls, hint };
    for security in [LDAPS, "starttls"] {
        let mut trial = Trial::begin(name, &tls(security, &[dc::HOST]), NEWCOMER);
        dc.set_certificate(cert);
        trial.holds(wrong, wrong);
        dc.set_certificate(&Ca::lab().issue(dc::HOST));
        trial.ends();
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn certificate_of_another_authority() {
    let cert = Ca::new("stranger").issue(dc::HOST);
    certificate("another authority", &cert, "set directory.ca-file");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn certificate_of_another_name() {
    let cert = Ca::lab().issue("dc2.corp.test");
    certificate("another name", &cert, "use a name of the certificate's subjectAltName");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn certificate_that_ran_out() {
    let cert = Ca::lab().issue_expired(dc::HOST);
    certificate("expired certificate", &cert, "renew the server's certificate");
}

/// Only the system's authorities, a port that speaks something else, a secret that is wrong: nothing
/// of this leads to a weaker protection, or to a second attempt that would lock the account.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn what_is_not_safe_is_not_used() {
    let _dc = Dc::shared();
    let good = tls(LDAPS, &[dc::HOST]);
    let lines = good.lines().filter(|line| !line.starts_with("ca-file"));
    let system: String = lines.map(|line| format!("{line}\n")).collect();
    for (directory, kind) in [
        (system, Kind::Tls),
        (tls(LDAPS, &["127.0.0.1"]), Kind::Tls),
        (tls(LDAPS, &["dc1.corp.test:389"]), Kind::Tls),
        (tls(LDAPS, &["dc1.corp.test:88"]), Kind::Tls),
        (tls("starttls", &["dc1.corp.test:636"]), Kind::Tls),
        (good.replace("svc-homeport@", "nobody@"), Kind::Bind),
    ] {
        let mut client = Client::new(&directory);
        let asked = client.ask("alice");
        assert_eq!(asked.facts.directory, Directory::Away, "{directory}");
        let (found, hint, words) = client.trouble().unwrap();
        assert_eq!(found, kind, "{words}\n{directory}");
        assert!(asked.took <= DIRECTORY_TIMEOUT + SLACK, "{:?}: {words}", asked.took);
        println!("{words} ({hint}): {:?}", asked.took);
    }
}

fn set_name_server(address: &str) {
    // In place: it is mounted over the machine's own.
    let text = format!("nameserver {address}\nsearch corp.test\n");
    std::fs::write(root().join("etc/resolv.conf"), text).unwrap();
}

fn without_dns(name: &'static str, address: &str) {
    let _dc = Dc::shared();
    set_name_server(dc::ADDRESS); // a test that failed may have left another one
    let directory = tls(LDAPS, &[]);
    let mut trial = Trial::begin(name, &directory, NEWCOMER);
    set_name_server(address);
    trial.client.restart(&directory);
    trial.holds(NO_DNS, NO_DNS);
    set_name_server(dc::ADDRESS);
    trial.ends();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn dns_is_gone() {
    without_dns("no DNS", "127.0.0.9");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn dns_says_nothing() {
    let _silent = UdpSocket::bind("127.0.0.10:53").unwrap();
    without_dns("silent DNS", "127.0.0.10");
}

/// A controller that is dead in its own way stands before the live one: the answer is new, in time.
fn fails_over(directory: &str, seed: u64, what: &str) {
    let mut client = Client::on("DESK-1", directory, seed);
    for (user, limit) in [("alice", DIRECTORY_TIMEOUT), ("alice", DIRECTORY_CACHED_TIMEOUT)] {
        client.restart(directory);
        let asked = client.ask(user);
        assert_eq!(asked.facts.directory, Directory::Answered, "{what}: {:?}", client.trouble());
        assert!(asked.is_redirected(), "{what}: {:?}", asked.codes());
        assert!(asked.took <= limit + SLACK, "{what}: {:?}", asked.took);
        assert!(!asked.counts.errors.is_empty(), "{what}: the dead one was not tried");
        assert_eq!(client.live().server(), Some(dc::HOST), "{what}");
        println!("failover, {what}: {:?}, answered", asked.took);
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_dead_controller_of_the_list_is_passed_over() {
    let _dc = Dc::shared();
    let directory = tls(LDAPS, &["dc2.corp.test", dc::HOST]);
    fails_over(&directory, 7, "list, refused");
    let _silent = TcpListener::bind("127.0.0.2:636").unwrap();
    fails_over(&directory, 7, "list, hanging");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_dead_controller_of_dns_is_passed_over() {
    let mut dc = Dc::shared();
    dc.add_srv("dc2.corp.test", 389, 0);
    let directory = tls(LDAPS, &[]);
    // Both have the same weight: which one is first is drawn.
    let is_first = |seed: &u64| {
        let client = Client::on("DESK-1", &directory, *seed);
        let deadline = async { tokio::time::Instant::now() + DIRECTORY_TIMEOUT };
        let servers =
            client.block_on(async { client.live().connector().servers(deadline.await).await });
        servers.unwrap()[0].host == "dc2.corp.test"
    };
    let seed = (0..64).find(is_first).expect("half of all computers begin with either");
    fails_over(&directory, seed, "DNS, refused");
    let _silent = TcpListener::bind("127.0.0.2:636").unwrap();
    fails_over(&directory, seed, "DNS, hanging");
    dc.reset();
}
