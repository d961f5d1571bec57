//! The daily limit for metered networks: what it lets through, what it puts off, and what it counts.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk and start the binary")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use support::World;
use support::offline::{THERE, here, signed_in, there};

/// Signing in sends and brings, and nobody asked for that.
const LIMITED: &str = "sync-at-logon = 'full'\nmetered.daily-limit = '100KiB'";

fn kib(count: usize) -> String {
    "x".repeat(count << 10)
}

fn is_there(world: &World, name: &str) -> bool {
    world.read(&format!("{THERE}/{name}")).is_some()
}

/// The bytes that the status counts.
fn counted(world: &World) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&world.ok(&["--json", "status"])).unwrap();
    status["metered-bytes-today"].as_u64().unwrap()
}

#[test]
fn a_sync_that_nobody_asked_for_stays_within_the_day_and_goes_on_by_itself() {
    let world = signed_in(&[], LIMITED);
    assert_eq!(counted(&world), 0, "nothing counts while the network is not metered");
    world.write("network-cost", "metered");
    here(&world, "a", &kib(60));
    here(&world, "b", &kib(60));
    here(&world, "c", &kib(10));
    let said = world.ok(&["logon", "alice"]);
    assert!(said.contains("1 put off until the network's budget allows it"), "{said}");
    assert_eq!([is_there(&world, "a"), is_there(&world, "b")], [true, false]);
    assert!(is_there(&world, "c"), "what fits goes, though something before it did not");
    assert_eq!(counted(&world), 70 << 10);
    let status = world.ok(&["status"]);
    assert!(status.contains("metered today: 70.0 KiB of 100.0 KiB\n"), "{status}");
    assert!(status.contains("left undone: "), "{status}");
    world.write("network-cost", "unrestricted");
    world.ok(&["logon", "alice"]);
    assert!(is_there(&world, "b"));
    assert_eq!(counted(&world), 70 << 10, "what was not metered does not count");
}

#[test]
fn at_the_limit_only_a_person_goes_on() {
    let world = signed_in(&[], LIMITED);
    world.write("network-cost", "metered");
    there(&world, "exactly", &kib(100));
    world.ok(&["logon", "alice"]);
    assert_eq!(counted(&world), 100 << 10, "both directions count");
    here(&world, "more", &kib(1));
    let said = world.ok(&["logon", "alice"]);
    assert!(said.contains("100.0 KiB of 100.0 KiB used today"), "{said}");
    assert!(!is_there(&world, "more"));
    let status = world.ok(&["status"]);
    assert!(status.contains("background sync over metered networks goes on tomorrow"), "{status}");
    world.ok(&["sync", "alice"]);
    assert!(is_there(&world, "more"));
    // What is new is read once more, too, because its time proves nothing yet.
    assert!(counted(&world) >= 101 << 10, "what a person asks for counts, too");
}

#[test]
fn whoever_is_exempt_has_no_limit() {
    let world = signed_in(&[], &format!("{LIMITED}\nmetered.exempt = ['alice']"));
    world.write("network-cost", "metered");
    here(&world, "a", &kib(300));
    world.ok(&["logon", "alice"]);
    assert!(is_there(&world, "a"));
    assert_eq!(counted(&world), 300 << 10);
}

#[test]
fn what_a_lost_agent_may_have_sent_counts() {
    let world = signed_in(&[], LIMITED);
    let path = "state/users.json";
    let mut state: serde_json::Value = serde_json::from_str(&world.read(path).unwrap()).unwrap();
    state["metered"]["at-stake"] = (90_u64 << 10).into();
    world.write(path, &state.to_string());
    world.write("network-cost", "metered");
    here(&world, "a", &kib(20));
    world.ok(&["logon", "alice"]);
    assert!(!is_there(&world, "a"), "10 KiB are left");
    assert_eq!(counted(&world), 90 << 10);
}
