//! What is decided for folders, the roaming profile, caches and background sync, row by row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homeport_policy::decide::{
    Cache, CacheKind, Decision, FolderAction, OnRemoval, ProfileAction, decide,
};
use homeport_policy::dn::Dn;
use homeport_policy::explain::{background_text, folder_text, profile_text};
use homeport_policy::facts::{Computer, Cost, Directory, Facts, Link, Names, Network, Os, User};
use homeport_policy::filter::applicable;
use homeport_policy::folder::FOLDERS;
use homeport_policy::merge::merge;
use homeport_policy::parse::{SourceFile, parse};
use homeport_policy::reason::{Because, Decided};

const DAY: u64 = 86_400;

/// Alice on the laptop LT-1, with everything known and nothing special.
fn facts() -> Facts {
    let attributes = [("department", "Sales"), ("homedirectory", r"\\srv\users\alice")];
    let user = User {
        name: "alice".to_owned(),
        domain: "CORP".to_owned(),
        dns_domain: "corp.test".to_owned(),
        dn: Dn::parse("CN=alice,OU=Staff,DC=corp,DC=test").ok(),
        groups: Names::new([r"CORP\Staff", r"CORP\Executives"]),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..User::default()
    };
    let computer = Computer {
        name: "LT-1".to_owned(),
        dn: Dn::parse("CN=LT-1,OU=Laptops,DC=corp,DC=test").ok(),
        groups: Names::default(),
        os: Os::Linux,
        site: None,
        logon_server: Some("dc1".to_owned()),
    };
    Facts {
        user: Some(Arc::new(user)),
        computer: Arc::new(computer),
        directory: Directory::Answered,
        schema_has_primary_computer: true,
        network: Network::default(),
        profile_link: None,
    }
}

/// Facts that differ from the ordinary ones by these words.
fn facts_with(words: &str) -> Facts {
    let mut facts = facts();
    let user = Arc::make_mut(facts.user.as_mut().expect("there is one"));
    let computer = Arc::make_mut(&mut facts.computer);
    let cached = |seconds| Directory::Cached { age: Duration::from_secs(seconds) };
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "listed" => {
                user.primary_computers.extend(Dn::parse("cn=lt-1,ou=laptops,dc=corp,dc=TEST"))
            }
            "other-listed" => user.primary_computers.extend(Dn::parse("CN=PC-9,DC=corp,DC=test")),
            "no-home" => user.attributes.clear(),
            "profile" => {
                user.attributes.insert("profilepath".to_owned(), value.to_owned());
            }
            "home" => {
                user.attributes.insert("homedirectory".to_owned(), value.to_owned());
            }
            "hidden" => user.list_is_hidden = true,
            "no-account" => computer.dn = None,
            "windows" => computer.os = Os::Windows,
            "young" => facts.directory = cached(30 * DAY),
            "old" => facts.directory = cached(30 * DAY + 1),
            "away" => facts.directory = Directory::Away,
            "no-schema" => facts.schema_has_primary_computer = false,
            "metered" => facts.network.cost = Cost::Metered,
            "roaming" => facts.network.cost = Cost::Roaming,
            "near" => facts.network.cost = Cost::NearLimit,
            "over" => facts.network.cost = Cost::OverLimit,
            "used" => facts.network.metered_bytes_today = value.parse().expect("bytes"),
            "link" => facts.profile_link = Some(link(value)),
            other => unreachable!("{other}"),
        }
    }
    facts
}

/// `MILLISECONDS` or `MILLISECONDS,BITS`.
fn link(text: &str) -> Link {
    let (latency, rate) = text.split_once(',').unwrap_or((text, ""));
    let latency = Duration::from_millis(latency.parse().expect("milliseconds"));
    Link { latency, throughput: rate.parse().ok() }
}

fn decided(policy: &str, facts: &Facts) -> Decision {
    let text = format!("schema = 1\npolicy = {{ id = \"p\", version = 1 }}\n{policy}\n");
    let parsed = parse(&[SourceFile::new("p.toml", text)], &BTreeMap::new());
    assert_eq!(parsed.diagnostics, [], "{policy}");
    let set = parsed.set.expect("no diagnostics");
    decide(&merge(&set, &applicable(&set, facts)), facts)
}

/// Lines separated by `; `, each below a table.
fn below(table: &str, lines: &str) -> String {
    let lines = lines.split("; ").filter(|line| !line.is_empty());
    lines.map(|line| format!("{table}{line}\n")).collect()
}

fn codes(because: &[Because]) -> String {
    because.iter().map(|one| one.reason.code()).collect::<Vec<_>>().join(" ")
}

/// The lines that redirect Documents to a target.
fn basic(target: &str) -> String {
    let key = "user.folder-redirection.documents";
    format!("{key}.setting = \"basic\"\n{key}.target = {{ {target} }}\n")
}

fn per_user() -> String {
    basic(r"kind = 'create-per-user', root = '\\srv\home'")
}

fn check_folder(folder: &str, policy: &str, with: &str, wanted: &str) {
    let decision = decided(policy, &facts_with(with));
    let found = decision.folders.iter().find(|one| one.folder.key() == folder).expect("a folder");
    let (action, because) = (&found.decided.action, &found.decided.because);
    let shown = format!("{} [{}]", folder_text(action), codes(because));
    assert_eq!(shown, wanted, "{folder} with {with:?} by {policy}");
}

fn check_documents(policy: &str, with: &str, wanted: &str) {
    check_folder("documents", policy, with, wanted);
}

#[test]
fn every_folder_is_decided_in_the_order_of_windows() {
    let decision = decided("", &facts());
    let folders: Vec<_> = decision.folders.iter().map(|one| one.folder).collect();
    assert_eq!(folders, FOLDERS);
}

#[rustfmt::skip]
#[test]
fn kinds_of_targets() {
    let cannot = "leave as it is [basic-target target-cannot-expand]";
    let home = "kind = 'home-directory'";
    for (target, with, wanted) in [
        (r"kind = 'create-per-user', root = '\\srv\home'", "",
            r"redirect to \\srv\home\alice\Documents [basic-target]"),
        (r"kind = 'create-per-user', root = '\\srv\%AD:department%'", "",
            r"redirect to \\srv\Sales\alice\Documents [basic-target]"),
        (r"kind = 'path', path = '\\%LOGONSERVER%\%USERDOMAIN%\%USERNAME%'", "",
            r"redirect to \\dc1\CORP\alice [basic-target]"),
        (r"kind = 'path', path = '\\%USERDNSDOMAIN%\dfs\%COMPUTERNAME%'", "",
            r"redirect to \\corp.test\dfs\LT-1 [basic-target]"),
        (r"kind = 'path', path = '%HOMESHARE%\Docs'", "",
            r"redirect to \\srv\users\alice\Docs [basic-target]"),
        (r"kind = 'path', path = '\\srv\%AD:department%'", "no-home", cannot),
        (r"kind = 'path', path = '%HOMESHARE%\Docs'", "no-home", cannot),
        ("kind = 'local-profile'", "", "keep in the local profile [basic-target target-is-local]"),
        (home, "", r"redirect to \\srv\users\alice [basic-target]"),
        (home, "no-home", cannot),
        (home, r"home=H:\alice", cannot),
        (home, "home=", cannot),
    ] {
        check_documents(&basic(target), with, wanted);
    }
}

#[test]
fn a_folder_that_policy_or_system_lacks_is_not_configured() {
    let favorites = per_user().replace("documents", "favorites");
    let there = r"redirect to \\srv\home\alice\Favorites [basic-target]";
    check_documents("", "", "not configured [not-configured]");
    check_folder("favorites", &favorites, "", "not configured [no-such-place]");
    check_folder("favorites", &favorites, "windows", there);
}

#[test]
fn without_a_user_or_a_directory_everything_stays_as_it_is() {
    let hold = |reason: &str| format!("leave as it is [{reason}]");
    check_documents(&per_user(), "away", &hold("directory-away"));
    let decision = decided(&per_user(), &Facts { user: None, ..facts() });
    let documents = &decision.folders[3].decided;
    assert_eq!(
        (&documents.action, codes(&documents.because).as_str()),
        (&FolderAction::Hold, "user-unknown")
    );
}

#[test]
fn advanced_redirection_takes_the_first_group_that_matches() {
    let key = "user.folder-redirection.documents";
    let rows = |groups: &[&str]| {
        let row = |group: &&str| {
            format!(
                r"{{ group = '{group}', target = {{ kind = 'path', path = '\\srv\{group}' }} }}"
            )
        };
        let rows: Vec<String> = groups.iter().map(row).collect();
        format!("{key}.setting = \"advanced\"\n{key}.group = [{}]\n", rows.join(", "))
    };
    for (groups, wanted) in [
        (vec!["Staff", "Executives"], r"redirect to \\srv\Staff [advanced-match]"),
        (vec!["Executives", "Staff"], r"redirect to \\srv\Executives [advanced-match]"),
        (vec!["Guests", "staff"], r"redirect to \\srv\staff [advanced-match]"),
        (vec!["Guests"], "not configured [advanced-no-match]"),
    ] {
        check_documents(&rows(&groups), "", wanted);
    }
}

#[rustfmt::skip]
#[test]
fn a_folder_may_follow_documents() {
    let follow = "user.folder-redirection.pictures.setting = \"follow-documents\"\n";
    let only = "user.folder-redirection.primary-computers-only = true\n";
    for (documents, with, wanted) in [
        (per_user(), "",
            r"redirect to \\srv\home\alice\Documents\Pictures [follows-documents basic-target]"),
        (String::new(), "", "not configured [follows-documents not-configured]"),
        (basic("kind = 'local-profile'"), "",
            "keep in the local profile [follows-documents basic-target target-is-local]"),
        (basic("kind = 'home-directory'"), "no-home",
            "leave as it is [follows-documents basic-target target-cannot-expand]"),
        (per_user() + only, "other-listed",
            "do not redirect on this computer [primary-required primary-not-listed]"),
    ] {
        check_folder("pictures", &(follow.to_owned() + &documents), with, wanted);
    }
}

#[test]
fn a_target_of_the_other_kind_does_not_count() {
    let text = |id: &str, order, lines: &str| {
        let head = format!("schema = 1\npolicy = {{ id = \"{id}\", version = 1 }}\n");
        SourceFile::new(format!("{id}.toml"), format!("{head}link.order = {order}\n{lines}"))
    };
    let key = "user.folder-redirection.documents";
    let row = "{ group = 'Staff', target = { kind = 'local-profile' } }";
    let advanced = format!("{key}.setting = 'advanced'\n{key}.group = [{row}]\n");
    let target = "{ kind = 'local-profile' }";
    let files = [text("a", 2, &advanced), text("b", 1, &format!("{key}.target = {target}\n"))];
    let set = parse(&files, &BTreeMap::new()).set.expect("good files");
    let decision = decide(&merge(&set, &applicable(&set, &facts())), &facts());
    assert_eq!(codes(&decision.folders[3].decided.because), "advanced-match target-is-local");
}

#[test]
fn the_options_of_a_redirection_come_with_it() {
    let options = |policy: &str| match decided(policy, &facts()).folders[3].decided.action.clone() {
        FolderAction::Redirect(to) => {
            (to.exclusive_rights, to.move_contents, to.on_removal, to.available_offline)
        }
        other => unreachable!("{other:?}"),
    };
    assert_eq!(options(&per_user()), (true, true, OnRemoval::Leave, true));
    let all = "[user.folder-redirection.documents]\nexclusive-rights = false\n\
        move-contents = false\non-removal = 'restore'\navailable-offline = false\n\
        setting = 'basic'\ntarget = { kind = 'home-directory' }\n";
    assert_eq!(options(all), (false, false, OnRemoval::Restore, false));
}

/// With `primary-computers-only`: what happens to Documents, and the reason that settled it.
fn check_primary(lines: &str, with: &str, wanted: &str) {
    let only = "computer.folder-redirection.primary-computers-only = true\n";
    let lines = lines.replace("assigned", "assign = [{ user = 'alice', computers = ['LT-*'] }]");
    let lines = below("computer.primary-computers.", &lines);
    let decision = decided(&(per_user() + only + &lines), &facts_with(with));
    let documents = &decision.folders[3].decided;
    let word = match documents.action {
        FolderAction::Redirect(_) => "redirect",
        FolderAction::NotHere => "not-here",
        FolderAction::Hold => "hold",
        _ => "other",
    };
    let all = codes(&documents.because);
    let last =
        all.split(' ').find(|code| code.starts_with("primary-not-") || code.contains("expired"));
    let last = last.or(all.split(' ').rfind(|code| *code != "basic-target")).unwrap_or_default();
    assert_eq!(format!("{word} {last}"), wanted, "{with:?} by {lines}: {all}");
}

#[rustfmt::skip]
#[test]
fn the_directory_says_which_computers_are_primary() {
    for (lines, with, wanted) in [
        ("", "listed", "redirect primary-listed"),
        ("", "other-listed listed", "redirect primary-listed"),
        ("", "", "not-here primary-not-listed"),
        ("", "other-listed", "not-here primary-not-listed"),
        ("assigned", "", "not-here primary-not-listed"),
        ("", "listed young", "redirect primary-listed"),
        ("", "young", "not-here primary-not-listed"),
        ("", "listed old", "hold directory-cache-expired"),
        ("", "old", "hold directory-cache-expired"),
        ("max-cached-age = '31d'", "listed old", "redirect primary-listed"),
        ("max-cached-age = '29d'", "listed young", "hold directory-cache-expired"),
        ("", "listed away", "hold directory-away"),
        ("", "listed no-account", "hold computer-unknown"),
        ("", "listed hidden", "hold primary-hidden"),
    ] {
        check_primary(lines, with, wanted);
    }
}

#[rustfmt::skip]
#[test]
fn policy_may_say_which_computers_are_primary() {
    for (lines, with, wanted) in [
        ("source = 'policy'; assigned", "", "redirect primary-assigned"),
        ("source = 'policy'; assigned", "old", "hold directory-cache-expired"),
        ("source = 'policy'; assigned", "no-schema", "redirect primary-assigned"),
        ("source = 'policy'; assigned", "away", "hold directory-away"),
        ("source = 'policy'", "listed", "not-here primary-not-assigned"),
        ("source = 'policy'", "listed old", "hold directory-cache-expired"),
        ("source = 'policy'; assign = [{ group = 'CORP\\staff', computers = ['lt-?'] }]", "",
            "redirect primary-assigned"),
        ("source = 'policy'; assign = [{ user = 'CORP\\Alice', computers = ['x', 'lt-1'] }]", "",
            "redirect primary-assigned"),
        ("source = 'policy'; assign = [{ user = 'bob', computers = ['*'] }]", "",
            "not-here primary-not-assigned"),
    ] {
        check_primary(lines, with, wanted);
    }
}

#[rustfmt::skip]
#[test]
fn either_list_or_both_may_be_asked() {
    for (lines, with, wanted) in [
        ("source = 'either'; assigned", "listed", "redirect primary-assigned"),
        ("source = 'either'; assigned", "", "redirect primary-assigned"),
        ("source = 'either'", "listed", "redirect primary-listed"),
        ("source = 'either'", "", "not-here primary-not-assigned"),
        ("source = 'either'; assigned", "old", "hold directory-cache-expired"),
        ("source = 'either'", "listed old", "hold directory-cache-expired"),
        ("source = 'both'; assigned", "listed", "redirect primary-listed"),
        ("source = 'both'; assigned", "", "not-here primary-not-listed"),
        ("source = 'both'", "listed", "not-here primary-not-assigned"),
        ("source = 'both'; assigned", "listed young", "redirect primary-listed"),
        ("source = 'both'; assigned", "listed old", "hold directory-cache-expired"),
        ("source = 'both'", "old", "hold directory-cache-expired"),
    ] {
        check_primary(lines, with, wanted);
    }
}

#[test]
fn a_schema_without_the_attribute_skips_or_refuses_the_check() {
    let refuse = "when-schema-lacks-attribute = 'refuse'";
    check_primary("", "no-schema", "redirect schema-lacks-apply");
    check_primary(refuse, "no-schema", "hold schema-lacks-refuse");
    check_primary(refuse, "listed", "redirect primary-listed");
    check_primary("source = 'both'", "no-schema", "not-here primary-not-assigned");
    check_primary(
        &format!("source = 'either'; {refuse}"),
        "no-schema",
        "hold primary-not-assigned",
    );
}

#[test]
fn the_computers_wish_for_primary_computers_beats_the_users() {
    let key = "folder-redirection.primary-computers-only";
    let away = "do not redirect on this computer [primary-required primary-not-listed]";
    let here = r"redirect to \\srv\home\alice\Documents [basic-target]";
    for (computer, user, wanted) in [(true, false, away), (false, true, here)] {
        let lines = format!("computer.{key} = {computer}\nuser.{key} = {user}\n");
        check_documents(&(lines + &per_user()), "", wanted);
    }
}

fn check_profile(lines: &str, with: &str, wanted: &str) {
    let lines = below("computer.roaming-profiles.", lines);
    let profile = decided(&lines, &facts_with(with)).profile;
    let shown = format!("{} [{}]", profile_text(&profile.action), codes(&profile.because));
    assert_eq!(shown, wanted, "{with:?} by {lines}");
}

#[rustfmt::skip]
#[test]
fn where_the_profile_is_kept() {
    let policy = r"path = '\\srv\profiles\%USERNAME%'";
    for (lines, with, wanted) in [
        ("", "", "local [profile-path-none]"),
        ("", "profile=", "local [profile-path-none]"),
        ("", r"profile=\\srv\p\alice", r"roam with \\srv\p\alice.Linux [profile-path-directory]"),
        ("", r"profile=\\srv\p\%username% windows",
            r"roam with \\srv\p\alice.V6 [profile-path-directory]"),
        ("", r"profile=C:\profiles", "local [profile-path-directory target-cannot-expand]"),
        (policy, r"profile=\\srv\p\alice",
            r"roam with \\srv\profiles\alice.Linux [profile-path-policy]"),
        (r"path = '\\srv\%AD:division%'", "", "local [profile-path-policy target-cannot-expand]"),
        (policy, "away", "local [directory-away]"),
    ] {
        check_profile(lines, with, wanted);
    }
}

#[rustfmt::skip]
#[test]
fn what_keeps_the_profile_local_or_down() {
    let path = r"profile=\\srv\p\alice";
    let directory = r"roam with \\srv\p\alice.Linux [profile-path-directory]";
    let primary = "primary-computers-only = true";
    for (lines, with, wanted) in [
        ("only-local = true", "", "local [profile-only-local]"),
        ("prevent-upload = true", "",
            r"download from \\srv\p\alice.Linux [profile-path-directory profile-prevent-upload]"),
        (primary, "", "local [profile-path-directory primary-required primary-not-listed]"),
        (primary, "old", "local [directory-cache-expired]"),
        ("", "link=120", directory),
        ("", "link=121", "local [profile-path-directory profile-slow-link]"),
        ("", "link=5,499999", "local [profile-path-directory profile-slow-link]"),
        ("", "link=5,500000", directory),
        ("detect-slow-link = false", "link=900,1", directory),
        ("slow-link.latency = '1s'", "link=900", directory),
        ("slow-link.throughput = '1Mbit/s'", "link=5,999999",
            "local [profile-path-directory profile-slow-link]"),
    ] {
        check_profile(lines, &format!("{path} {with}"), wanted);
    }
}

#[test]
fn the_options_of_a_roaming_profile_come_with_it() {
    let lines = r"[computer.roaming-profiles]
path = '\\srv\p\%USERNAME%'
delete-cached-copies = true
no-temporary-profiles = true
skip-owner-check = true
wait-for-network = '5s'
write-back = '15m'
[user.roaming-profiles]
size-limit = '1GiB'
exclude = ['.cache']
";
    let ProfileAction::Roam(roaming) = decided(lines, &facts()).profile.action else {
        unreachable!("the path is given")
    };
    assert!(roaming.delete_cached_copy && roaming.no_temporary && !roaming.check_owner);
    assert_eq!((roaming.size_limit, roaming.exclude.join(" ").as_str()), (Some(1 << 30), ".cache"));
    assert_eq!((roaming.wait.as_secs(), roaming.write_back.map(|d| d.as_secs())), (5, Some(900)));
}

/// The caches as `path (what for): when slow`, an `s` for suspended, and the reasons.
fn check_caches(policy: &str, wanted: &[&str]) {
    let caches = decided(policy, &facts()).caches;
    let shown = |cache: &Arc<Decided<Cache>>| {
        let kind = match cache.action.kind {
            CacheKind::Redirected(folder) => folder.key(),
            CacheKind::Assigned => "assigned",
        };
        let suspended = if cache.action.suspended { " s" } else { "" };
        let (path, slow) = (&cache.action.path, &cache.action.slow_link);
        format!("{path} ({kind}): {slow}{suspended} [{}]", codes(&cache.because))
    };
    let found: Vec<String> = caches.iter().map(shown).collect();
    assert_eq!(found, wanted, "{policy}");
}

fn assigned(paths: &str, rest: &str) -> String {
    format!("[computer.offline-files]\nassigned = [{paths}]\n{rest}")
}

#[test]
fn what_is_kept_offline() {
    let slow = "latency above 35ms";
    let documents = format!(r"\\srv\home\alice\Documents (documents): {slow} ");
    check_caches("", &[]);
    check_caches(&per_user(), &[&format!("{documents}[cache-redirected slow-link-default]")]);
    check_caches(
        &(per_user() + "user.folder-redirection.documents.available-offline = false"),
        &[],
    );
    check_caches(&(per_user() + "computer.offline-files.enabled = false"), &[]);
    check_caches(
        &assigned(r"'\\srv\a', '\\srv\ab'", ""),
        &[
            &format!(r"\\srv\a (assigned): {slow} [cache-assigned slow-link-default]"),
            &format!(r"\\srv\ab (assigned): {slow} [cache-assigned slow-link-default]"),
        ],
    );
}

#[rustfmt::skip]
#[test]
fn one_cache_holds_what_lies_inside_another() {
    let cache = |codes: &str| format!(r"\\srv\a (assigned): latency above 35ms [{codes}]");
    for (paths, wanted) in [
        (r"'\\srv\a', '\\SRV\A\b\c'", "cache-assigned slow-link-default cache-assigned"),
        (r"'\\srv\a\b', '\\srv\a'", "cache-assigned cache-assigned slow-link-default"),
        (r"'\\srv\a', '\\srv\a'", "cache-assigned slow-link-default cache-assigned"),
    ] {
        check_caches(&assigned(paths, ""), &[&cache(wanted)]);
    }
}

#[rustfmt::skip]
#[test]
fn when_a_cached_folder_is_slow() {
    let rules = |rows: &str| assigned(r"'\\srv\a\b'", &format!("slow-link.rule = [{rows}]\n"));
    let all = "{ path = '*', latency = '50ms', throughput = '1Mbit/s' }";
    let share = r"{ path = '\\srv\a\*', latency = '1ms' }";
    let other = r"{ path = '\\other\*', latency = '1ms' }";
    let named = r"{ path = '\\SRV\A\B', throughput = '64kbit/s' }";
    for (rows, wanted) in [
        (all, "latency above 50ms or throughput below 1Mbit/s [cache-assigned slow-link-rule]"),
        (share, "always offline [cache-assigned always-offline]"),
        (other, "latency above 35ms [cache-assigned slow-link-default]"),
        (&format!("{all}, {share}, {other}"), "always offline [cache-assigned always-offline]"),
        (&format!("{share}, {all}, {named}"),
            "throughput below 64kbit/s [cache-assigned slow-link-rule]"),
    ] {
        check_caches(&rules(rows), &[&format!(r"\\srv\a\b (assigned): {wanted}")]);
    }
    check_caches(
        &assigned(
            r"'\\srv\a\b'",
            &format!("slow-link = {{ enabled = false, rule = [{share}] }}\n"),
        ),
        &[r"\\srv\a\b (assigned): never [cache-assigned slow-link-disabled]"],
    );
}

#[test]
fn a_cache_may_be_suspended_while_signed_in() {
    let rest = "[user.roaming-profiles]\nsync-at-logon-logoff-only = ['\\\\srv\\a']\n";
    let end = "latency above 35ms s [cache-assigned slow-link-default cache-suspended]";
    check_caches(&assigned(r"'\\srv\a\b'", rest), &[&format!(r"\\srv\a\b (assigned): {end}")]);
}

fn check_background(lines: &str, with: &str, wanted: &str) {
    let lines = below("computer.offline-files.", lines);
    let sync = decided(&lines, &facts_with(with)).background_sync;
    let shown = format!("{} [{}]", background_text(&sync.action), codes(&sync.because));
    assert_eq!(shown, wanted, "{with:?} by {lines}");
}

#[rustfmt::skip]
#[test]
fn when_background_sync_runs() {
    for (lines, wanted) in [
        ("", "every 2h + 0–1h [background-interval]"),
        ("interval = '10m'; variance = '0s'", "every 10m + 0–0s [background-interval]"),
        ("schedule = '0 3 * * *'", "at 0 3 * * * [background-schedule]"),
        ("schedule = 'off'", "every 2h + 0–1h [background-interval]"),
        ("blockout = { start = '08:30', duration = '2h' }",
            "every 2h + 0–1h, not from 08:30 for 2h [background-blockout background-interval]"),
        ("max-time-without-sync = '1day'",
            "every 2h + 0–1h, but at least every 1day [background-interval]"),
        ("enabled = false", "stopped [background-disabled]"),
    ] {
        let lines = below("background-sync.", lines).replace('\n', "; ");
        check_background(&lines, "", wanted);
    }
    check_background("enabled = false", "", "stopped [offline-files-disabled]");
}

#[rustfmt::skip]
#[test]
fn what_the_network_costs_may_stop_background_sync() {
    let runs = "every 2h + 0–1h [background-interval]";
    let limit = "metered.daily-limit = '1KiB'";
    for (lines, with, wanted) in [
        ("", "metered used=999999999", runs),
        ("", "roaming", "stopped [cost-blocks]"),
        ("", "near", "stopped [cost-blocks]"),
        ("", "over", "stopped [cost-blocks]"),
        (limit, "metered used=1023", runs),
        (limit, "metered used=1024", "stopped [cost-daily-limit]"),
        (limit, "used=1024", runs),
        ("metered.daily-limit = 'off'", "metered used=1024", runs),
        ("background-sync.enabled = false", "roaming", "stopped [background-disabled]"),
    ] {
        check_background(lines, with, wanted);
    }
}

#[rustfmt::skip]
#[test]
fn policy_may_lift_what_the_network_costs() {
    let allowed = "every 2h + 0–1h [cost-blocks cost-allowed background-interval]";
    let exempt = "every 2h + 0–1h [cost-blocks cost-exempt background-interval]";
    for (lines, with, wanted) in [
        ("metered.allow-background-sync = true", "roaming", allowed),
        ("metered.exempt = ['alice']", "near", exempt),
        ("metered.exempt = ['CORP\\Alice']", "near", exempt),
        ("metered.exempt = ['OTHER\\alice']", "near", "stopped [cost-blocks]"),
        ("metered.exempt = ['executives']", "over", exempt),
        ("metered.exempt = ['bob', 'Guests']", "over", "stopped [cost-blocks]"),
        ("metered.daily-limit = '1KiB'; metered.exempt = ['alice']", "metered used=5000",
            "every 2h + 0–1h [cost-daily-limit cost-exempt background-interval]"),
    ] {
        check_background(lines, with, wanted);
    }
}
