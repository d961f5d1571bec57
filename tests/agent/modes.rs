//! The mode of each offline folder: why, what would change it, and that nothing is lost in any of them.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value as Json;
use support::offline::{HERE, ROOT, THERE, here, signed_in};
use support::{STAFF, World};

const PLANS: &str = r"\\files\plans\all";

/// A world in which policy also assigns plans on a share of their own.
fn with_plans(more: &str) -> World {
    let world = World::new();
    let plans = "[[mount]]\nunc = '\\\\files\\plans'\npath = 'server/plans'\nmounted = false\n";
    world.write("agent.toml", &format!("{}{plans}", world.settings("DESK-1")));
    world.write("server/plans/all/one.txt", "one");
    policy(&world, more);
    world.ok(&["logon", "alice"]);
    world.ok(&["sync", "alice"]);
    world
}

fn policy(world: &World, more: &str) {
    let all = format!("{STAFF}\n[computer.offline-files]\nassigned = ['{PLANS}']\n{more}\n");
    world.write("policy.d/staff.toml", &all);
}

fn plan_here(world: &World, name: &str) -> Option<String> {
    world.read(&format!("homes/alice/.local/share/homeport/cache/files/plans/all/{name}"))
}

fn cache(world: &World, path: &str) -> Json {
    let status: Json = serde_json::from_str(&world.ok(&["status", "--json"])).unwrap();
    let caches = status["users"]["alice"]["caches"].as_array().unwrap().clone();
    caches.into_iter().find(|cache| cache["path"] == path).unwrap()
}

fn mode(world: &World, below: &str, mode: u32) {
    set_permissions(world.path(below), Permissions::from_mode(mode)).unwrap();
}

/// KB 2512089: whoever may open their own folder, and nothing above it, is not stranded.
#[test]
fn what_the_folders_above_refuse_does_not_take_a_folder_offline() {
    let world = signed_in(&[("one.txt", "one")], "");
    for above in ["server/home", "server/home/alice"] {
        mode(&world, above, 0o111);
    }
    here(&world, "two.txt", "two");
    let said = world.ok(&["sync", "alice"]);
    assert_eq!(cache(&world, ROOT)["mode"], "online", "{said}");
    for above in ["server/home", "server/home/alice"] {
        mode(&world, above, 0o755);
    }
    assert_eq!(world.read(&format!("{THERE}/two.txt")).as_deref(), Some("two"));
}

#[test]
fn a_share_that_refuses_is_not_away_and_what_refuses_is_named() {
    let world = signed_in(&[("one.txt", "one")], "");
    mode(&world, "server/home/alice", 0);
    here(&world, "two.txt", "two");
    let ran = world.homeport(&["sync", "alice"]);
    mode(&world, "server/home/alice", 0o755);
    let told = cache(&world, ROOT);
    let failure = told["failure"].as_str().unwrap();
    assert!(failure.contains("server/home/alice does not let the user in"), "{failure}");
    assert_eq!((told["mode"].as_str().unwrap(), ran.code), ("online", 6), "{}", ran.out);
    assert_eq!(world.read(&format!("{HERE}/one.txt")).as_deref(), Some("one"));
    world.ok(&["sync", "alice"]);
    assert_eq!(world.read(&format!("{THERE}/two.txt")).as_deref(), Some("two"));
    assert!(cache(&world, ROOT)["failure"].is_null());
}

#[test]
fn a_share_that_is_away_says_so_and_comes_back_with_everything() {
    let world = with_plans("");
    std::fs::rename(world.path("server/home"), world.path("server/away")).unwrap();
    here(&world, "two.txt", "two");
    world.write("server/plans/all/two.txt", "two"); // the other share goes on
    world.ok(&["sync", "alice"]);
    let told = cache(&world, ROOT);
    assert_eq!(told["mode"], "error");
    assert!(told["failure"].as_str().unwrap().contains("cannot open"), "{told}");
    assert_eq!(
        (told["pending-items"].as_u64(), told["next-probe-unix-ms"].is_i64()),
        (Some(1), true)
    );
    assert_eq!(cache(&world, PLANS)["mode"], "online");
    assert_eq!(plan_here(&world, "two.txt").as_deref(), Some("two"));
    std::fs::rename(world.path("server/away"), world.path("server/home")).unwrap();
    world.ok(&["sync", "alice"]);
    assert_eq!(world.read(&format!("{THERE}/two.txt")).as_deref(), Some("two"));
    assert_eq!(cache(&world, ROOT)["mode"], "online");
}

#[test]
fn the_switch_for_everything_and_the_one_for_a_folder() {
    let world = with_plans("");
    let switch = "`homeport work-offline` keeps the changes of 2 folders here";
    assert!(world.ok(&["status"]).contains(switch), "{}", world.ok(&["status"]));
    let said = world.ok(&["work-offline"]);
    assert!(said.contains("alice, in every network folder, works offline"), "{said}");
    for path in [ROOT, PLANS] {
        assert_eq!(cache(&world, path)["mode"], "forced");
    }
    assert!(world.ok(&["status"]).contains("working offline everywhere until"));
    here(&world, "two.txt", "two");
    world.ok(&["logon", "alice"]);
    assert_eq!(world.read(&format!("{THERE}/two.txt")), None);
    let ran = world.homeport(&["work-online", PLANS]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert!(ran.out.contains("everything works offline"), "{}", ran.out);
    world.ok(&["work-online"]);
    assert_eq!(world.read(&format!("{THERE}/two.txt")).as_deref(), Some("two"));
    world.ok(&["work-offline", PLANS]);
    let modes = [PLANS, ROOT].map(|path| cache(&world, path)["mode"].clone());
    assert_eq!(modes, ["forced", "online"]);
    assert!(world.ok(&["status"]).contains("`homeport work-online` brings 1 folder back"));
    world.ok(&["work-online", r"\\files\plans"]);
    assert_eq!(cache(&world, PLANS)["mode"], "online");
}

#[test]
fn always_offline_says_why_and_when_it_is_synchronised() {
    let slow = "[[computer.offline-files.slow-link.rule]]\npath = '*'\nlatency = '35ms'\n\
                [[computer.offline-files.slow-link.rule]]\npath = '\\\\files\\plans\\*'\n\
                latency = '1ms'";
    let world = with_plans(slow);
    let told = cache(&world, PLANS);
    assert_eq!(told["mode"], "always");
    assert!(told["why"].as_str().unwrap().contains("1 ms"), "{told}");
    let (last, next) = (told["last-sync-unix-ms"].as_i64(), told["next-sync-unix-ms"].as_i64());
    let wait = (next.unwrap() - last.unwrap()) / 60_000;
    assert!((120..=180).contains(&wait), "{wait} min");
    assert_eq!(told["next-sync-why"], "interval and variance after the last one");
    let told = cache(&world, ROOT);
    assert_eq!(told["mode"], "online");
    assert!(told["why"].as_str().unwrap().starts_with("the share answers: latency"), "{told}");
}

#[test]
fn sign_in_fills_what_policy_newly_assigns_and_nothing_else() {
    let world = with_plans("");
    assert_eq!(plan_here(&world, "one.txt").as_deref(), Some("one"));
    world.write("server/plans/all/two.txt", "two");
    let said = world.ok(&["logon", "alice"]);
    assert!(said.contains("economical-assignment"), "{said}");
    assert_eq!(plan_here(&world, "two.txt"), None);
    policy(&world, "economical-assignment = false");
    world.ok(&["logon", "alice"]);
    assert_eq!(plan_here(&world, "two.txt").as_deref(), Some("two"));
}

#[test]
fn policy_check_names_what_is_not_carried_out() {
    let world = World::new();
    let idle = "[computer.roaming-profiles]\nwrite-back = '4h'\nno-temporary-profiles = false\n";
    let policy = STAFF.replace("[computer.roaming-profiles]\n", idle);
    world.write("policy.d/staff.toml", &policy);
    let said = world.ok(&["policy", "check"]);
    let words = "warning: roaming-profiles.write-back is explained, and not carried out";
    assert!(said.contains(words) && said.contains("1 warning: good"), "{said}");
    assert!(!said.contains("no-temporary-profiles"), "{said}");
}
