//! Stories: one folder under `tests/stories` is one sentence of what Homeport does and why.
//!
//! Each is decided and planned by the real code, and the whole answer is compared with
//! `expected.txt`. `HOMEPORT_UPDATE=1 cargo test --test stories` rewrites those files; every line
//! of them is a promise, so read the difference before you keep it.
#![allow(clippy::disallowed_methods, reason = "tests read stories")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeport_agent::directory::file::{Snapshot, parse as parse_directory};
use homeport_agent::facts::facts_for;
use homeport_agent::keeping::DiskLimits;
use homeport_agent::observed::{Before, Observed, Phase, Place, Retained};
use homeport_agent::plan::mounts::locate;
use homeport_agent::plan::{Ground, Occasion, UserPaths, plan};
use homeport_agent::settings::{Backend, Mount};
use homeport_agent::wish::Wish;
use homeport_policy::connection::{Observation, Probe, State, Thresholds};
use homeport_policy::decide::{OnRemoval, decide};
use homeport_policy::explain::explain;
use homeport_policy::facts::{Cost, Directory, Facts, Link, Network, Os};
use homeport_policy::filter::applicable;
use homeport_policy::folder::{FOLDERS, Folder};
use homeport_policy::layer::PolicySet;
use homeport_policy::merge::merge;
use homeport_policy::parse::{SourceFile, parse};
use homeport_policy::reason::{REASONS, Reason};
use homeport_policy::sync_rules::sync_rules;
use homeport_policy::unc::Unc;
use homeport_policy::value::parse_rate;
use serde::Deserialize;

/// Fewer than this means that somebody lost a folder.
const STORIES_MIN: usize = 30;

/// Reasons that no story can tell, and why not.
const UNTOLD: [(Reason, &str); 1] =
    [(Reason::TargetMissing, "the parser rejects every file that could lead to it")];

/// `story.toml`: what is asked, and the world it is asked in.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Story {
    sentence: String,
    user: String,
    computer: String,
    #[serde(default = "linux")]
    os: Os,
    site: Option<String>,
    #[serde(default = "logon")]
    occasion: Occasion,
    /// `answered`, `away`, `hidden` (answered without the list of primary computers) or `cached 3d`.
    #[serde(default = "answered")]
    directory: String,
    #[serde(default)]
    cost: Cost,
    #[serde(default)]
    metered_bytes_today: u64,
    /// Minutes since the connections were last looked at.
    #[serde(default)]
    minutes_later: i64,
    profile_latency: Option<String>,
    profile_throughput: Option<String>,
    #[serde(default, rename = "mount")]
    mounts: Vec<Mount>,
    #[serde(default)]
    retained: Vec<Earlier>,
    #[serde(default)]
    connection: Vec<Connection>,
    /// What stands at the local place of a folder, if it is no directory of its own.
    #[serde(default)]
    foreign_link: BTreeMap<Folder, PathBuf>,
}

/// A redirection that was applied before this story begins.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Earlier {
    folder: Folder,
    target: Unc,
    #[serde(default = "leave")]
    on_removal: OnRemoval,
    #[serde(default = "yes")]
    move_contents: bool,
    #[serde(default = "yes")]
    available_offline: bool,
    policy: String,
    #[serde(default = "yes")]
    linked: bool,
    #[serde(default = "applied")]
    phase: Phase,
}

/// The state of a cached folder's connection: the mode it is in, then what else holds beneath it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Connection {
    path: Unc,
    mode: String,
}

fn linux() -> Os {
    Os::Linux
}

fn logon() -> Occasion {
    Occasion::Logon
}

fn answered() -> String {
    "answered".to_owned()
}

fn leave() -> OnRemoval {
    OnRemoval::Leave
}

fn applied() -> Phase {
    Phase::Applied
}

fn yes() -> bool {
    true
}

#[test]
fn every_story_comes_out_as_written() {
    let update = std::env::var_os("HOMEPORT_UPDATE").is_some_and(|value| value == "1");
    let mut different = Vec::new();
    for folder in folders() {
        let (path, told) = (folder.join("expected.txt"), told(&folder));
        let expected = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        if expected == told {
            continue;
        }
        if update {
            fs::write(&path, &told).unwrap();
        }
        different.push(format!("{}\n{}", path.display(), difference(&expected, &told)));
    }
    let (count, list) = (different.len(), different.join("\n"));
    match update {
        true => print!("{count} expectations written\n{list}"),
        false => assert!(count == 0, "{count} stories come out differently\n\n{list}"),
    }
}

#[test]
fn every_folder_is_whole_and_says_something_new() {
    let mut sentences = BTreeSet::new();
    for folder in folders() {
        let name = name_of(&folder);
        let is_kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(is_kebab), "{name}: use lower case and hyphens");
        for entry in entries(&folder) {
            let known = ["story.toml", "policy", "expected.txt", "directory.ldif"];
            assert!(known.contains(&&*name_of(&entry)), "{name}: what is {}?", entry.display());
        }
        for file in ["story.toml", "expected.txt"] {
            assert!(folder.join(file).is_file(), "{name}: there is no {file}");
        }
        let policy = entries(&folder.join("policy"));
        assert!(!policy.is_empty(), "{name}: there is no policy");
        for file in policy {
            assert!(name_of(&file).ends_with(".toml"), "{name}: what is {}?", file.display());
        }
        let Story { sentence, .. } = read_story(&folder);
        assert!(sentence.ends_with('.'), "{name}: a sentence ends with a full stop");
        assert!(!sentence.contains('\n'), "{name}: a sentence is one line");
        assert!(sentences.insert(sentence.to_lowercase()), "{name}: told twice: {sentence}");
    }
    assert!(sentences.len() >= STORIES_MIN, "only {} stories", sentences.len());
    let beside: Vec<String> =
        entries(&root()).into_iter().filter(|path| path.is_file()).map(|p| name_of(&p)).collect();
    assert_eq!(beside, ["corp.ldif"], "only the shared directory lies beside the stories");
}

#[test]
fn every_reason_is_told_by_a_story() {
    let all: Vec<String> = folders().iter().map(|folder| told(folder)).collect();
    for reason in REASONS {
        let is_told = all.iter().any(|told| told.contains(reason.text()));
        match UNTOLD.iter().find(|(untold, _)| untold == reason) {
            None => assert!(is_told, "no story tells {:?}: {}", reason, reason.text()),
            Some(_) => assert!(!is_told, "{reason:?} is told now: take it off the list"),
        }
    }
}

/// The whole answer of one story.
fn told(folder: &Path) -> String {
    let story = read_story(folder);
    let set = policy(folder);
    let facts = facts(&story, &snapshot(folder));
    let rsop = merge(&set, &applicable(&set, &facts));
    let decision = decide(&rsop, &facts);
    let paths = UserPaths {
        user: story.user.clone(),
        sid: None,
        home: Path::new("/home").join(&story.user),
        os: story.os,
    };
    let mounts = if story.mounts.is_empty() { usual_mounts() } else { story.mounts.clone() };
    let plan = plan(&Ground {
        occasion: story.occasion,
        decision: &decision,
        rules: &sync_rules(&rsop),
        observed: &observed(&story, &paths, &mounts),
        paths: &paths,
        mounts: &mounts,
        connections: &story.connection.iter().map(Connection::state).collect(),
        syncs: &Default::default(),
        wish: &Wish::default(),
        disk: DiskLimits::default(),
        now_unix_ms: story.minutes_later * 60_000,
    });
    let answer = explain(&set, &facts, &rsop, &decision);
    let Story { sentence, occasion, .. } = &story;
    format!("{sentence}\n\n{answer}\n\nPLAN ({})\n{plan}\n", occasion.name())
}

fn facts(story: &Story, snapshot: &Snapshot) -> Facts {
    let nothing = Snapshot::default();
    // What is out of reach and has never answered holds nobody, as in the agent.
    let (seen, directory) = match &*story.directory {
        "answered" | "hidden" => (snapshot, Directory::Answered),
        "away" => (&nothing, Directory::Away),
        other => {
            let age =
                duration(other.strip_prefix("cached ").expect("answered, away or cached AGE"));
            (snapshot, Directory::Cached { age })
        }
    };
    let network = Network { cost: story.cost, metered_bytes_today: story.metered_bytes_today };
    let site = story.site.clone();
    let user = Some(&*story.user);
    let mut facts = facts_for(seen, user, &story.computer, story.os, site, directory, network);
    if let Some(user) = facts.user.as_mut().filter(|_| story.directory == "hidden") {
        Arc::make_mut(user).list_is_hidden = true;
    }
    let throughput = story.profile_throughput.as_deref().map(|rate| parse_rate(rate).unwrap());
    let latency = story.profile_latency.as_deref().map(duration);
    if latency.is_some() || throughput.is_some() {
        facts.profile_link = Some(Link { latency: latency.unwrap_or_default(), throughput });
    }
    facts
}

/// A home with all its folders in place, but for what was redirected earlier.
fn observed(story: &Story, paths: &UserPaths, mounts: &[Mount]) -> Observed {
    let here = FOLDERS.into_iter().filter(|folder| paths.local_place(*folder).is_some());
    let mut observed = Observed {
        places: here.map(|folder| (folder, Place::Directory)).collect(),
        retained: BTreeMap::new(),
    };
    for (folder, to) in &story.foreign_link {
        observed.places.insert(*folder, Place::Link(to.clone()));
    }
    for earlier in &story.retained {
        let retained = earlier.retained(paths, mounts);
        if earlier.linked {
            observed.places.insert(earlier.folder, Place::Link(retained.place.clone()));
        }
        observed.retained.insert(earlier.folder, retained);
    }
    observed
}

impl Earlier {
    fn retained(&self, paths: &UserPaths, mounts: &[Mount]) -> Retained {
        let place = match self.available_offline {
            true => paths.cache_place(&self.target),
            false => locate(mounts, &self.target).expect("a share that is mapped").path,
        };
        Retained {
            left: Vec::new(),
            target: self.target.clone(),
            place,
            cached: self.available_offline,
            on_removal: self.on_removal,
            move_contents: self.move_contents,
            policy: self.policy.clone(),
            user: paths.user.clone(),
            sid: None,
            before: Before { xdg: None, existed: true, set_aside: None },
            phase: self.phase,
        }
    }
}

impl Connection {
    /// The state after one look that finds all the words true.
    fn state(&self) -> (Unc, State) {
        let holds = |word: &str| self.mode.split(' ').any(|found| found == word);
        let millis = |is: bool, then, other| Duration::from_millis(if is { then } else { other });
        let probe = match holds("error") {
            true => Probe::Unreachable,
            // Four times the threshold is slow at once.
            false => Probe::Reachable { latency: millis(holds("slow"), 140, 5), throughput: None },
        };
        let latency = Some(millis(holds("always"), 1, 35));
        let state = State::initial(0).observe(&Observation {
            at_unix_ms: 0,
            probe,
            forced: holds("forced"),
            suspended: holds("suspended"),
            costed: holds("costed"),
            thresholds: Some(Thresholds { latency, throughput: None }),
        });
        let first = self.mode.split(' ').next().unwrap();
        assert!(state.mode.code().ends_with(first), "{:?} is not {first}", state.mode);
        (self.path.clone(), state)
    }
}

fn policy(folder: &Path) -> PolicySet {
    let file = |path: PathBuf| SourceFile {
        content: fs::read(&path).map_err(|error| error.to_string()),
        name: name_of(&path),
    };
    let files: Vec<SourceFile> = entries(&folder.join("policy")).into_iter().map(file).collect();
    let parsed = parse(&files, &BTreeMap::new());
    let problems: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}:\n{}", folder.display(), problems.join("\n"));
    parsed.set.unwrap()
}

fn snapshot(folder: &Path) -> Snapshot {
    let own = folder.join("directory.ldif");
    let path = if own.is_file() { own } else { root().join("corp.ldif") };
    parse_directory(&fs::read(&path).unwrap())
        .unwrap_or_else(|defects| panic!("{}: {defects:?}", path.display()))
}

fn read_story(folder: &Path) -> Story {
    let path = folder.join("story.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn usual_mounts() -> Vec<Mount> {
    [(r"\\files\home", "/mnt/home"), (r"\\files\profiles", "/mnt/profiles")]
        .map(|(unc, path)| Mount {
            unc: Unc::parse(unc).unwrap(),
            path: path.into(),
            mounted: true,
            backend: Backend::Mounted,
            smb: None,
        })
        .into()
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/stories")
}

fn folders() -> Vec<PathBuf> {
    entries(&root()).into_iter().filter(|path| path.is_dir()).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// What lies between the first and the last line that differ, `-` expected and `+` told.
fn difference(expected: &str, told: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), told.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(same).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let mut lines = vec![format!("  line {}:", head + 1)];
    lines.extend(old[head.saturating_sub(2)..head].iter().map(|line| format!("    {line}")));
    lines.extend(old_rest[..old_rest.len() - tail].iter().map(|line| format!("  - {line}")));
    lines.extend(new_rest[..new_rest.len() - tail].iter().map(|line| format!("  + {line}")));
    lines.join("\n") + "\n"
}
