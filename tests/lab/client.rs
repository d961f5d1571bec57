//! The agent's own directory client in the lab: facts, the decision they lead to, and their cost.
#![allow(dead_code, reason = "each test target uses its own part")]
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use homeport_agent::clock::Clock;
use homeport_agent::directory::error::Kind;
use homeport_agent::directory::live::Live;
use homeport_agent::directory::tally::Counts;
use homeport_agent::facts::{Seen, gather};
use homeport_agent::limits::DIRECTORY_RETRY_TIMEOUT;
use homeport_agent::outcome::chain;
use homeport_agent::settings::Settings;
use homeport_policy::decide::{Decision, FolderAction, decide};
use homeport_policy::facts::{Directory, Facts, Network, User};
use homeport_policy::filter::applicable;
use homeport_policy::layer::PolicySet;
use homeport_policy::merge::merge;
use homeport_policy::parse::{SourceFile, parse};
use homeport_policy::value::Principal;
use tempfile::TempDir;

use crate::support::ca::Ca;
use crate::support::content::{SERVICE, SERVICE_PASSWORD};
use crate::support::root;

/// Documents of everybody in either directory of the lab, on their primary computers only.
pub const POLICY: &str = r#"
schema = 1
[policy]
id = "everybody"
version = 1
[filter]
groups = ['CORP\Domain Users', 'CORP\staff']
[computer.folder-redirection]
primary-computers-only = true
[user.folder-redirection.documents]
setting = "basic"
target = { kind = "create-per-user", root = '\\files\home' }
on-removal = "restore"
"#;

/// What a busy machine may add to a bound of the agent's: scheduling, and nothing else.
pub const SLACK: Duration = Duration::from_millis(500);
/// Longest until a directory that is healthy again is used: a fault of the lab costs less than three
/// attempts, whose pauses are shorter than one attempt that still hangs may last.
pub const BACK_MAX: Duration = DIRECTORY_RETRY_TIMEOUT.saturating_mul(2);

/// `[directory]` with the service account over TLS; without servers they are found by DNS.
pub fn tls(security: &str, servers: &[&str]) -> String {
    with_secret(security, servers, SERVICE)
}

/// The same for OpenLDAP.
pub fn openldap(servers: &[&str]) -> String {
    with_secret("starttls", servers, "cn=svc-homeport,dc=corp,dc=test")
}

fn with_secret(security: &str, servers: &[&str], name: &str) -> String {
    let (secret, ca) = (secret(), Ca::lab().file.clone());
    format!(
        "domain = 'corp.test'\nsecurity = '{security}'\nservers = {servers:?}\n\
         ca-file = '{}'\nbind-dn = '{name}'\nsecret-file = '{}'\n",
        ca.display(),
        secret.display()
    )
}

/// `[directory]` as the computer account; without servers they are found by DNS.
pub fn kerberos(servers: &[&str]) -> String {
    let keytab = root().join("dc/desk-1.keytab");
    format!("domain = 'corp.test'\nkeytab = '{}'\nservers = {servers:?}\n", keytab.display())
}

fn secret() -> PathBuf {
    let path = root().join("secret");
    std::fs::write(&path, format!("{SERVICE_PASSWORD}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub fn policy() -> PolicySet {
    let parsed = parse(&[SourceFile::new("everybody.toml", POLICY)], &BTreeMap::new());
    assert_eq!(parsed.diagnostics, []);
    parsed.set.unwrap()
}

/// The agent's view of the directory, over a state directory of its own.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    dir: TempDir,
    computer: String,
    seed: u64,
    settings: Settings,
    seen: Seen,
    policy: PolicySet,
}

/// What it came to, to ask once.
pub struct Asked {
    pub facts: Facts,
    pub decision: Decision,
    pub counts: Counts,
    pub took: Duration,
}

impl Client {
    /// One that nobody has asked yet, on DESK-1.
    pub fn new(directory: &str) -> Self {
        Self::on("DESK-1", directory, 7)
    }

    /// The same on another computer, and with another draw among equal servers.
    pub fn on(computer: &str, directory: &str, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir_in(root()).unwrap();
        let settings = settings(&dir, computer, directory);
        let seen = Seen::new(&settings, &Clock::system(), seed);
        let computer = computer.to_owned();
        Self { runtime, dir, computer, seed, settings, seen, policy: policy() }
    }

    /// Starts again, with what is on disk and other settings.
    pub fn restart(&mut self, directory: &str) {
        self.settings = settings(&self.dir, &self.computer, directory);
        self.seen = Seen::new(&self.settings, &Clock::system(), self.seed);
    }

    /// Starts again with another idea of what time it is.
    pub fn set_clock(&mut self, clock: &Clock) {
        self.seen = Seen::new(&self.settings, clock, self.seed);
    }

    /// Asks as a sign-in does, of nothing but the directory.
    pub fn ask(&mut self, user: &str) -> Asked {
        self.gather(Some(user))
    }

    /// Asks what the daemon asks while nobody waits.
    pub fn ask_computer(&mut self) -> Asked {
        self.gather(None)
    }

    fn gather(&mut self, user: Option<&str>) -> Asked {
        let _before = self.seen.collect();
        let begun = Instant::now();
        let (age, network) = (Duration::ZERO, Network::default());
        let asking = gather(&self.settings, &mut self.seen, user, age, network);
        let facts = self.runtime.block_on(asking);
        let took = begun.elapsed();
        let rsop = merge(&self.policy, &applicable(&self.policy, &facts));
        let decision = decide(&rsop, &facts);
        Asked { facts, decision, counts: self.seen.collect(), took }
    }

    pub fn live(&self) -> &Live {
        let Seen::Live(live) = &self.seen else { panic!("no live directory") };
        live
    }

    /// Runs something else of the library's to its end.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Why it is out of reach: kind, hint and words.
    pub fn trouble(&self) -> Option<(Kind, &'static str, String)> {
        self.live().error().map(|error| (error.kind(), error.hint(), chain(error)))
    }

    /// Asks until the directory answers; gives how long that took.
    pub fn until_answered(&mut self, user: &str) -> Duration {
        let begun = Instant::now();
        while self.ask(user).facts.directory != Directory::Answered {
            let late = begun.elapsed() > BACK_MAX;
            assert!(!late, "not back within {BACK_MAX:?}: {:?}", self.trouble());
            // Attempts in the background make progress only while the runtime runs.
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        }
        begun.elapsed()
    }
}

fn settings(dir: &TempDir, computer: &str, directory: &str) -> Settings {
    let text = format!(
        "state-dir = 'state'\ncomputer.name = '{computer}'\n\
         [directory]\nkind = 'ldap'\n{directory}"
    );
    std::fs::create_dir_all(dir.path().join("state")).unwrap();
    Settings::parse(&dir.path().join("agent.toml"), &text).unwrap()
}

impl Asked {
    pub fn user(&self) -> &User {
        self.facts.user.as_deref().expect("the user is known")
    }

    pub fn is_in(&self, group: &str) -> bool {
        self.user().groups.contains(&Principal::new(group))
    }

    pub fn is_cached(&self) -> bool {
        matches!(self.facts.directory, Directory::Cached { .. })
    }

    /// What becomes of Documents.
    pub fn documents(&self) -> &FolderAction {
        let mut folders = self.decision.folders.iter();
        let documents = folders.find(|folder| folder.folder.key() == "documents");
        &documents.unwrap().decided.action
    }

    pub fn is_redirected(&self) -> bool {
        matches!(self.documents(), FolderAction::Redirect(_))
    }

    /// The codes of why.
    pub fn codes(&self) -> Vec<&'static str> {
        let mut folders = self.decision.folders.iter();
        let documents = folders.find(|folder| folder.folder.key() == "documents").unwrap();
        documents.decided.because.iter().map(|because| because.reason.code()).collect()
    }
}
