//! Redirection, removal, roaming and caches on real folders, through the real binary.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;

use support::{STAFF, World, tree};

const HOME: &str = "homes/alice/Documents";
const SHARE: &str = "server/home/alice/Documents";

fn with_thesis() -> World {
    let world = World::with_staff();
    world.write("homes/alice/Documents/Thesis.odt", "one");
    world
}

fn signed_in() -> World {
    let world = with_thesis();
    world.ok(&["logon", "alice"]);
    world
}

fn withdraw(world: &World) {
    world.write("policy.d/staff.toml", "schema = 1\n[policy]\nid = 'staff'\nversion = 2\n");
}

fn is_link(world: &World) -> bool {
    fs::symlink_metadata(world.path(HOME)).unwrap().is_symlink()
}

#[test]
fn a_redirected_folder_is_a_link_into_the_cache_and_its_contents_are_on_the_share() {
    let world = signed_in();
    assert!(is_link(&world));
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")).as_deref(), Some("one"));
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("one"));
    let xdg = world.read("homes/alice/.config/user-dirs.dirs").unwrap();
    assert!(xdg.contains("XDG_DOCUMENTS_DIR=\"/"), "{xdg}");
}

#[test]
fn a_second_sign_in_changes_nothing() {
    let world = signed_in();
    let before = tree(&world.path("server"));
    let said = world.ok(&["logon", "alice"]);
    assert!(said.contains("nothing to do") && !said.contains("redirect documents"), "{said}");
    assert_eq!(tree(&world.path("server")), before);
}

#[test]
fn files_of_the_same_name_keep_both_versions() {
    let world = with_thesis();
    world.write(&format!("{SHARE}/Thesis.odt"), "another");
    world.ok(&["logon", "alice"]);
    let said = world.ok(&["conflicts", "list"]);
    assert!(said.contains(r"\\files\home\alice\Documents\Thesis.odt"), "{said}");
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")).as_deref(), Some("one"));
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("another"));
}

#[test]
fn when_the_policy_goes_the_folder_comes_home_and_the_share_keeps_its_copy() {
    let world = signed_in();
    withdraw(&world);
    world.ok(&["apply", "alice"]);
    assert!(fs::symlink_metadata(world.path(HOME)).unwrap().is_dir());
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")).as_deref(), Some("one"));
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("one"));
    assert!(!world.path("homes/alice/.local/share/homeport/cache/files").exists());
    let xdg = world.read("homes/alice/.config/user-dirs.dirs").unwrap();
    assert!(!xdg.contains("XDG_DOCUMENTS_DIR"), "{xdg}");
}

#[test]
fn a_policy_that_says_leave_leaves_the_folder_and_keeps_it_in_step() {
    let world = with_thesis();
    world.write("policy.d/staff.toml", &STAFF.replace("\"restore\"", "\"leave\""));
    world.ok(&["logon", "alice"]);
    withdraw(&world);
    world.ok(&["apply", "alice"]);
    assert!(is_link(&world));
    world.write(&format!("{HOME}/Thesis.odt"), "two, and longer");
    world.ok(&["sync", "alice"]);
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("two, and longer"));
}

#[test]
fn the_cache_stays_while_the_share_is_away_and_goes_when_it_is_back() {
    let world = signed_in();
    world.write(&format!("{HOME}/Thesis.odt"), "two, only here");
    withdraw(&world);
    fs::rename(world.path("server"), world.path("away")).unwrap();
    world.homeport(&["apply", "alice"]);
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")).as_deref(), Some("two, only here"));
    let cache = world.path("homes/alice/.local/share/homeport/cache/files");
    assert!(cache.exists(), "the only exchanged copy must stay");
    fs::rename(world.path("away"), world.path("server")).unwrap();
    world.ok(&["apply", "alice"]);
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("two, only here"));
    assert!(!cache.exists());
}

#[test]
fn a_target_that_is_the_same_place_under_another_name_is_refused_with_nothing_moved() {
    let world = with_thesis();
    fs::create_dir_all(world.path("server/home/alice")).unwrap();
    symlink(world.path(HOME), world.path("link")).unwrap();
    // The share's directory for the folder is the home's own Documents, by a mount of another name.
    let settings = world.settings("DESK-1")
        + "[[mount]]\nunc = '\\\\files\\home\\alice\\Documents'\npath = 'link'\nmounted = false\n";
    world.write("agent.toml", &settings);
    let before = tree(&world.path("homes/alice/Documents"));
    let ran = world.homeport(&["logon", "alice"]);
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("is the same folder as"), "{}", ran.out);
    assert!(fs::symlink_metadata(world.path(HOME)).unwrap().is_dir());
    assert_eq!(tree(&world.path("homes/alice/Documents")), before);
}

#[test]
fn a_share_inside_the_folder_is_refused() {
    let world = with_thesis();
    let settings = world
        .settings("DESK-1")
        .replace("path = 'server/home'", "path = 'homes/alice/Documents/server'");
    world.write("agent.toml", &settings);
    fs::create_dir_all(world.path("homes/alice/Documents/server")).unwrap();
    let ran = world.homeport(&["logon", "alice"]);
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("contains"), "{}", ran.out);
}

#[test]
fn a_link_that_somebody_else_made_is_left_alone() {
    let world = World::with_staff();
    fs::create_dir_all(world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), world.path(HOME)).unwrap();
    let ran = world.homeport(&["logon", "alice"]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert_eq!(fs::read_link(world.path(HOME)).unwrap(), world.path("elsewhere"));
}

#[test]
fn an_unmapped_share_says_how_to_map_it() {
    let world = with_thesis();
    world.write("policy.d/staff.toml", &STAFF.replace(r"\\files\home", r"\\other\people"));
    let ran = world.homeport(&["logon", "alice"]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert!(ran.out.contains(r"[[mount]] unc = '\\other\people'"), "{}", ran.out);
}

#[test]
fn without_the_share_a_folder_is_not_redirected() {
    let world = with_thesis();
    fs::remove_dir_all(world.path("server")).unwrap();
    let said = world.ok(&["logon", "alice"]);
    assert!(said.contains("offline: cannot open"), "{said}");
    assert!(fs::symlink_metadata(world.path(HOME)).unwrap().is_dir());
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")).as_deref(), Some("one"));
}

#[test]
fn a_folder_whose_contents_are_not_to_move_is_set_aside_and_comes_back() {
    let world = with_thesis();
    let policy = format!("{STAFF}move-contents = false\n");
    world.write("policy.d/staff.toml", &policy);
    world.ok(&["logon", "alice"]);
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")), None);
    let aside = "homes/alice/Documents (before redirection)/Thesis.odt";
    assert_eq!(world.read(aside).as_deref(), Some("one"));
    withdraw(&world);
    world.ok(&["apply", "alice"]);
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")).as_deref(), Some("one"));
}

#[test]
fn a_new_target_takes_the_contents_along() {
    let world = signed_in();
    let policy = STAFF.replace(r"{ kind = 'create-per-user', root = '\\files\home' }", "unused");
    let policy = policy
        .replace(
            r#"{ kind = "create-per-user", root = '\\files\home' }"#,
            r#"{ kind = "path", path = '\\files\home\moved\%USERNAME%' }"#,
        )
        .replace("version = 1", "version = 2");
    world.write("policy.d/staff.toml", &policy);
    world.ok(&["apply", "alice"]);
    assert_eq!(world.read(&format!("{HOME}/Thesis.odt")).as_deref(), Some("one"));
    assert_eq!(world.read("server/home/moved/alice/Thesis.odt").as_deref(), Some("one"));
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("one"));
    let cache = "homes/alice/.local/share/homeport/cache/files/home";
    assert!(world.path(&format!("{cache}/moved")).exists());
    assert!(!world.path(&format!("{cache}/alice")).exists(), "the old cache is given up");
}

#[test]
fn where_offline_files_are_off_the_folder_is_the_share_itself() {
    let world = with_thesis();
    let policy = format!("{STAFF}\n[computer.offline-files]\nenabled = false\n");
    world.write("policy.d/staff.toml", &policy);
    world.ok(&["logon", "alice"]);
    assert_eq!(fs::read_link(world.path(HOME)).unwrap(), world.path(SHARE));
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("one"));
    assert!(!world.path("homes/alice/.local/share/homeport/cache").exists());
}

#[test]
fn a_cache_that_is_switched_off_is_given_up_with_nothing_lost() {
    let world = signed_in();
    world.write(&format!("{HOME}/Thesis.odt"), "two, only here");
    let policy = format!("{STAFF}\n[computer.offline-files]\nenabled = false\n");
    world.write("policy.d/staff.toml", &policy.replace("version = 1", "version = 2"));
    world.ok(&["apply", "alice"]);
    assert_eq!(fs::read_link(world.path(HOME)).unwrap(), world.path(SHARE));
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("two, only here"));
    assert!(!world.path("homes/alice/.local/share/homeport/cache/files").exists());
}

#[test]
fn pictures_that_follow_documents_come_home_with_them() {
    let world = World::new();
    let policy = format!(
        "{STAFF}\n[user.folder-redirection.pictures]\nsetting = 'follow-documents'\n\
         on-removal = 'restore'\n"
    );
    world.write("policy.d/staff.toml", &policy);
    world.write("homes/alice/Documents/Thesis.odt", "one");
    world.write("homes/alice/Pictures/Cat.png", "cat");
    world.ok(&["logon", "alice"]);
    assert_eq!(world.read(&format!("{SHARE}/Pictures/Cat.png")).as_deref(), Some("cat"));
    withdraw(&world);
    world.ok(&["apply", "alice"]);
    assert_eq!(world.read("homes/alice/Pictures/Cat.png").as_deref(), Some("cat"));
    assert_eq!(world.read("homes/alice/Documents/Thesis.odt").as_deref(), Some("one"));
    assert!(fs::symlink_metadata(world.path("homes/alice/Pictures")).unwrap().is_dir());
    assert!(!world.path("homes/alice/.local/share/homeport/cache/files").exists());
}

#[test]
fn an_interrupted_redirection_is_finished_by_the_next_sign_in() {
    let world = signed_in();
    // As after a power cut between the move and the record: the phase still says `moving`.
    let path = "homes/alice/.local/share/homeport/redirections.json";
    let text = world.read(path).unwrap().replace("\"applied\"", "\"moving\"");
    world.write(path, &text);
    // And a program wrote into the directory that was swapped out.
    world.write("homes/alice/.homeport-swap-Documents/Late.txt", "late");
    world.ok(&["logon", "alice"]);
    assert_eq!(world.read(&format!("{HOME}/Late.txt")).as_deref(), Some("late"));
    assert!(world.read(path).unwrap().contains("\"applied\""));
}

#[test]
fn a_damaged_record_stops_redirection_and_touches_nothing() {
    let world = signed_in();
    world.write("homes/alice/.local/share/homeport/redirections.json", "{");
    withdraw(&world);
    let ran = world.homeport(&["apply", "alice"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("damaged"), "{}", ran.err);
    assert!(is_link(&world));
}

#[test]
fn a_profile_over_its_limit_is_not_sent_up_and_says_so() {
    let world = World::with_staff();
    let policy = format!("{STAFF}\n[user.roaming-profiles]\nsize-limit = '1KiB'\n");
    world.write("policy.d/staff.toml", &policy);
    world.write("homes/alice/big.bin", &"x".repeat(5_000));
    world.ok(&["logon", "alice"]);
    let ran = world.homeport(&["logoff", "alice"]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert!(ran.out.contains("the limit is 1024"), "{}", ran.out);
    assert_eq!(world.read("server/profiles/alice.Linux/big.bin"), None);
}

#[test]
fn caches_and_what_belongs_to_one_computer_do_not_roam() {
    let world = World::with_staff();
    for path in [".cache/x", ".config/user-dirs.dirs", ".local/share/Trash/y", ".bashrc"] {
        world.write(&format!("homes/alice/{path}"), "text");
    }
    world.ok(&["logon", "alice"]);
    world.ok(&["logoff", "alice"]);
    let roamed: Vec<String> = tree(&world.path("server/profiles/alice.Linux"))
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name != ".homeport-root")
        .collect();
    assert_eq!(roamed, [".bashrc"]);
}

#[test]
fn working_offline_holds_until_it_is_taken_back() {
    let world = signed_in();
    world.ok(&["work-offline", r"\\files\home\alice"]);
    world.write(&format!("{HOME}/Thesis.odt"), "written offline");
    world.ok(&["logon", "alice"]);
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("one"));
    assert!(world.ok(&["status"]).contains("[forced]"));
    world.ok(&["work-online", r"\\files\home\alice"]);
    assert_eq!(world.read(&format!("{SHARE}/Thesis.odt")).as_deref(), Some("written offline"));
    assert!(world.ok(&["status"]).contains("[online]"));
}
