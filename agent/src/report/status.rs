//! The status: what holds on this computer for each user, and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use homeport_policy::decide::{Decision, FolderAction};
use homeport_policy::explain::{background_text, folder_text, profile_text};
use homeport_policy::facts::{Directory, Network};
use homeport_policy::primary::Difference;
use homeport_policy::reason::Because;
use homeport_sync::{Conflict, ConflictKind};
use serde::{Deserialize, Serialize};

use crate::facts::Standing;
use crate::limits::OUTCOMES_MAX;
use crate::load::{Loaded, PolicyState};
use crate::network::judge::Finding;
use crate::network::meter::Level;
use crate::outcome::Outcome;
use crate::plan::{NotNow, Occasion, Plan, What};
use crate::report::phases::Timing;
use crate::undone::Left;
use crate::wish::below_text;
use crate::words::{count, count_is};

/// Everything the agent knows about how things stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// This computer.
    pub computer: String,
    /// When this was written, in milliseconds since 1970.
    pub at_unix_ms: i64,
    /// The policy in force.
    pub policy: PolicyStatus,
    /// How it stands with the directory.
    #[serde(default)]
    pub directory: DirectoryStatus,
    /// What the network costs.
    pub network_cost: String,
    /// Who says so: `settings`, `cost-file`, `network-manager` or `modem-manager`.
    #[serde(default)]
    pub network_source: String,
    /// The same, in words.
    #[serde(default)]
    pub network_why: String,
    /// File bytes that crossed to and from shares over metered networks since local midnight.
    #[serde(default)]
    pub metered_bytes_today: u64,
    /// How many may, if policy says that; what is under way when they are used up is put off.
    #[serde(default)]
    pub metered_limit: Option<u64>,
    /// When the next background sync is due.
    pub next_background_sync_unix_ms: Option<i64>,
    /// Each user that was ever signed in.
    pub users: BTreeMap<String, UserStatus>,
}

/// How it stands with the directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DirectoryStatus {
    /// The export, or the server that answered last.
    pub server: Option<String>,
    /// How the connection is protected.
    pub security: Option<String>,
    /// When a live directory last answered, in milliseconds since 1970.
    pub answered_unix_ms: Option<i64>,
    /// How old the answer was that the last decision rested on, in seconds; absent without one.
    pub age_s: Option<u64>,
    /// Why it is out of reach, if it is.
    pub error: Option<String>,
    /// How to mend that.
    pub hint: Option<String>,
    /// Why cached answers are not used or kept.
    pub cache_error: Option<String>,
}

impl DirectoryStatus {
    /// What was found when facts were gathered.
    pub fn of(standing: Standing, directory: Directory) -> Self {
        let age_s = match directory {
            Directory::Answered => Some(0),
            Directory::Cached { age } => Some(age.as_secs()),
            Directory::Away => None,
        };
        Self {
            server: standing.server,
            security: standing.security.map(str::to_owned),
            answered_unix_ms: standing.answered_unix_ms,
            age_s,
            error: standing.error,
            hint: standing.hint.map(str::to_owned),
            cache_error: standing.cache_error,
        }
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if let Some(error) = &self.error {
            writeln!(out, "directory: out of reach: {error}")?;
            if let Some(hint) = &self.hint {
                writeln!(out, "    help: {hint}")?;
            }
            match (self.security.is_some(), self.answered_unix_ms) {
                (false, _) => {}
                (true, Some(at)) => {
                    writeln!(out, "    its last answer, of {}, decides", moment(at))?;
                }
                (true, None) => {
                    writeln!(out, "    there is no earlier answer; nobody's folders move")?
                }
            }
        } else if let (Some(server), Some(security)) = (&self.server, &self.security) {
            let at = moment(self.answered_unix_ms.unwrap_or_default());
            writeln!(out, "directory: {server} ({security}), answered {at}")?;
        }
        match &self.cache_error {
            Some(error) => writeln!(out, "directory: {error}"),
            None => Ok(()),
        }
    }
}

/// The policy in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyStatus {
    /// Whether it is the newest.
    pub state: PolicyState,
    /// When it was first applied, in seconds since 1970.
    pub since_unix: i64,
    /// Its objects and their versions.
    pub versions: BTreeMap<String, u64>,
    /// What is wrong with the newest set.
    pub problems: Vec<String>,
}

/// How things stand for one user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserStatus {
    /// Signed in now.
    pub signed_in: bool,
    /// What the last cycle was for.
    pub occasion: String,
    /// What caused it.
    pub cause: String,
    /// When it ended, in milliseconds since 1970.
    pub at_unix_ms: i64,
    /// When every cache was last exchanged without a failure.
    pub last_sync_unix_ms: Option<i64>,
    /// When the next background sync is due for this user.
    #[serde(default)]
    pub next_background_sync_unix_ms: Option<i64>,
    /// Decisions in words, with their reasons.
    pub decisions: Vec<Line>,
    /// What was done, in order.
    pub steps: Vec<Line>,
    /// What was not done, and why.
    pub not_now: Vec<Line>,
    /// The offline caches.
    pub caches: Vec<CacheStatus>,
    /// How policy's list of primary computers and the directory's differ about this computer.
    #[serde(default)]
    pub primary_difference: Option<Difference>,
    /// How long the last sign-in took.
    #[serde(default)]
    pub last_logon: Option<Timing>,
    /// How long the last sign-out took.
    #[serde(default)]
    pub last_logoff: Option<Timing>,
    /// Why the last cycle could not be finished.
    pub error: Option<String>,
    /// The person switched everything to working offline.
    #[serde(default)]
    pub works_offline: bool,
    /// Whether policy lets people switch.
    #[serde(default)]
    pub may_work_offline: bool,
}

/// A statement and what stands behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// What it is about.
    pub about: String,
    /// What is stated.
    pub text: String,
    /// Why.
    pub because: Vec<String>,
}

/// One offline cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CacheStatus {
    /// The network folder.
    pub path: String,
    /// Where it lies on this computer.
    pub local: String,
    /// `online`, or why it is offline.
    pub mode: String,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: i64,
    /// Why, with what was measured.
    #[serde(default)]
    pub why: String,
    /// Why the last attempt to exchange it did not work.
    #[serde(default)]
    pub failure: Option<String>,
    /// What would change the mode.
    pub what_would_change_it: String,
    /// When the share is tried again by itself, where that can change the mode.
    #[serde(default)]
    pub next_probe_unix_ms: Option<i64>,
    /// When all of it was last exchanged, in both directions.
    #[serde(default)]
    pub last_sync_unix_ms: Option<i64>,
    /// When its background sync is due.
    #[serde(default)]
    pub next_sync_unix_ms: Option<i64>,
    /// Why then, or why none is.
    #[serde(default)]
    pub next_sync_why: String,
    /// Conflicts that wait for a person.
    pub conflicts: Vec<Conflict>,
    /// Local changes that are not on the share yet.
    pub pending_items: u64,
    /// Their size.
    pub pending_bytes: u64,
    /// Deletes that the brake holds.
    pub held_deletes: u64,
    /// Replaced files that the brake holds.
    #[serde(default)]
    pub held_changes: u64,
    /// Some of the items that the brake holds, as paths below the root.
    #[serde(default)]
    pub held_items: Vec<String>,
    /// Why nothing of it is exchanged until a person says what happened to a root.
    #[serde(default)]
    pub halted: Option<String>,
    /// Some of the items that the last exchanges left undone, and why.
    #[serde(default)]
    pub undone: Vec<Left>,
    /// How many there are.
    #[serde(default)]
    pub undone_count: u64,
    /// Where old versions of its files are kept on this computer.
    #[serde(default)]
    pub recycle: String,
    /// Why conflicts or changes could not be told.
    pub error: Option<String>,
}

impl PolicyStatus {
    /// What the loader found.
    pub fn of(loaded: &Loaded) -> Self {
        let Loaded { state, since_unix, versions, problems, .. } = loaded;
        Self {
            state: *state,
            since_unix: *since_unix,
            versions: versions.clone(),
            problems: problems.clone(),
        }
    }
}

/// What a look at some caches found, among what is known of the others.
pub fn among(known: &[CacheStatus], fresh: Vec<CacheStatus>) -> Vec<CacheStatus> {
    let mut all = known.to_vec();
    for cache in fresh {
        match all.iter_mut().find(|known| known.path == cache.path) {
            Some(known) => *known = cache,
            None => all.push(cache),
        }
    }
    all
}

fn reasons(because: &[Because]) -> Vec<String> {
    because.iter().map(ToString::to_string).collect()
}

/// Decisions in words: configured folders, profile, background sync.
pub fn decision_lines(decision: &Decision) -> Vec<Line> {
    let configured = decision.folders.iter().filter(|folder| {
        folder.decided.action != FolderAction::NotConfigured
            || folder.decided.because.iter().any(|because| because.origin.is_some())
    });
    let mut lines: Vec<Line> = configured
        .map(|folder| Line {
            about: folder.folder.key().to_owned(),
            text: folder_text(&folder.decided.action),
            because: reasons(&folder.decided.because),
        })
        .collect();
    lines.push(Line {
        about: "profile".to_owned(),
        text: profile_text(&decision.profile.action),
        because: reasons(&decision.profile.because),
    });
    lines.push(Line {
        about: "background sync".to_owned(),
        text: background_text(&decision.background_sync.action),
        because: reasons(&decision.background_sync.because),
    });
    lines
}

/// What a step did, as a line.
pub fn step_line(step: &crate::plan::Step, outcome: &Outcome) -> Line {
    let text = match outcome {
        Outcome::Done { detail, .. } => format!("done: {detail}"),
        Outcome::Unchanged => "nothing to do".to_owned(),
        // What cannot be done says why by itself.
        Outcome::Refused { hint, .. } if matches!(step.what, What::Cannot { .. }) => {
            format!("refused ({hint})")
        }
        Outcome::Refused { why, hint, .. } => format!("refused: {why} ({hint})"),
        Outcome::Failed { why, unreachable: true, .. } => format!("offline: {why}"),
        Outcome::Failed { why, .. } => format!("failed: {why}"),
    };
    Line { about: step.what.to_string(), text, because: reasons(&step.because) }
}

/// What a cycle did, as lines of a user's status.
pub fn note_cycle(user: &mut UserStatus, occasion: Occasion, plan: &Plan, outcomes: &[Outcome]) {
    user.occasion = occasion.name().to_owned();
    let lines = plan.steps.iter().zip(outcomes).map(|(step, outcome)| step_line(step, outcome));
    user.steps = lines.take(OUTCOMES_MAX).collect();
    let not_now = plan.not_now.iter().map(|NotNow { about, why }| Line {
        about: about.clone(),
        text: why.clone(),
        because: Vec::new(),
    });
    user.not_now = not_now.take(OUTCOMES_MAX).collect();
}

/// A moment as people read it, in UTC.
pub fn moment(unix_ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(unix_ms) {
        Some(at) => at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        None => format!("{unix_ms} ms"),
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_policy(&mut out);
        for (name, user) in &self.users {
            let _ = write_user(&mut out, name, user);
        }
        if self.users.is_empty() {
            out.push_str("\nnobody has signed in yet\n");
        }
        f.write_str(out.trim_end())
    }
}

impl Status {
    /// What is known of a user's cache.
    pub fn cache(&self, user: &str, path: &str) -> Option<&CacheStatus> {
        self.users.get(user)?.caches.iter().find(|cache| cache.path == path)
    }

    /// Takes over what was found out about the network.
    pub fn note_network(&mut self, network: Network, found: Finding) {
        found.cost.name().clone_into(&mut self.network_cost);
        found.source.name().clone_into(&mut self.network_source);
        self.network_why = found.why;
        self.metered_bytes_today = network.metered_bytes_today;
    }

    fn write_network(&self, out: &mut String) -> std::fmt::Result {
        match self.network_why.as_str() {
            "" => writeln!(out, "network: {}", self.network_cost)?,
            why => writeln!(out, "network: {} ({why})", self.network_cost)?,
        }
        let size = |bytes| homeport_policy::value::Value::Size(bytes).to_string();
        let used = size(self.metered_bytes_today);
        let Some(limit) = self.metered_limit else { return Ok(()) };
        let level = match Level::of(self.metered_bytes_today, Some(limit)) {
            Level::Over => "; background sync over metered networks goes on tomorrow",
            Level::Near => ", near the limit",
            Level::Within | Level::Free => "",
        };
        writeln!(out, "metered today: {used} of {}{level}", size(limit))
    }

    /// How long the last sign-in and sign-out of each user took.
    pub fn timings(&self) -> String {
        let mut out = String::new();
        for (name, user) in &self.users {
            let both = [("signed in", &user.last_logon), ("signed out", &user.last_logoff)];
            for (what, timing) in both {
                let Some(timing) = timing else { continue };
                let (at, total) = (moment(timing.at_unix_ms), timing.total_ms);
                out.push_str(&format!("{name} {what}, {at}: {total} ms\n{timing}"));
            }
        }
        if out.is_empty() { "nobody has signed in or out yet\n".to_owned() } else { out }
    }

    fn write_policy(&self, out: &mut String) -> std::fmt::Result {
        let at = moment(self.at_unix_ms);
        writeln!(out, "homeport {} on {}, as of {at}", self.version, self.computer)?;
        let policy = &self.policy;
        let objects = count(policy.versions.len() as u64, "object");
        let since = moment(policy.since_unix.saturating_mul(1000));
        match policy.state {
            PolicyState::None => writeln!(out, "policy: none; nothing is done")?,
            PolicyState::Current => {
                writeln!(out, "policy: {objects}, in force since {since}")?;
            }
            PolicyState::LastGood => writeln!(
                out,
                "policy: the newest set is REJECTED; the last good one ({objects}, \
                 since {since}) stays in force"
            )?,
        }
        for problem in &policy.problems {
            writeln!(out, "    {problem}")?;
        }
        self.directory.write(out)?;
        self.write_network(out)?;
        match self.next_background_sync_unix_ms {
            Some(next) => writeln!(out, "next background sync: {}", moment(next)),
            None => Ok(()),
        }
    }
}

fn write_user(out: &mut String, name: &str, user: &UserStatus) -> std::fmt::Result {
    let signed_in = if user.signed_in { "signed in" } else { "signed out" };
    let at = moment(user.at_unix_ms);
    writeln!(out, "\n{name}, {signed_in}; last cycle: {} ({}), {at}", user.occasion, user.cause)?;
    if let Some(error) = &user.error {
        writeln!(out, "  the last cycle could not be finished: {error}")?;
    }
    if let Some(difference) = user.primary_difference {
        let name = difference.name();
        writeln!(out, "  the lists of primary computers differ here: {name}")?;
    }
    for line in user.decisions.iter().chain(&user.steps).chain(&user.not_now) {
        writeln!(out, "  {}: {}", line.about, line.text)?;
        for because in &line.because {
            writeln!(out, "      because {because}")?;
        }
    }
    user.caches.iter().try_for_each(|cache| write_cache(out, cache))?;
    write_switch(out, user)
}

/// The Work Offline switch is always there, with what it would change.
fn write_switch(out: &mut String, user: &UserStatus) -> std::fmt::Result {
    if user.caches.is_empty() {
        return Ok(());
    }
    let forced = user.caches.iter().filter(|cache| cache.mode == "forced").count() as u64;
    let rest = user.caches.len() as u64 - forced;
    let folders = |number| count(number, "folder");
    if user.works_offline {
        writeln!(out, "  working offline everywhere until `homeport work-online`")
    } else if forced > 0 {
        writeln!(out, "  `homeport work-online` brings {} back", folders(forced))
    } else if user.may_work_offline {
        let all = folders(rest);
        writeln!(
            out,
            "  `homeport work-offline` keeps the changes of {all} here until told otherwise"
        )
    } else {
        writeln!(out, "  policy does not let people switch to working offline")
    }
}

fn write_cache(out: &mut String, cache: &CacheStatus) -> std::fmt::Result {
    let since = moment(cache.since_unix_ms);
    writeln!(out, "  {} [{}] since {since}", cache.path, cache.mode)?;
    if let Some(why) = &cache.halted {
        writeln!(out, "      halted: {why}")?;
    }
    if !cache.why.is_empty() {
        writeln!(out, "      because {}", cache.why)?;
    }
    if let Some(failure) = &cache.failure {
        writeln!(out, "      last attempt: {failure}")?;
    }
    if cache.halted.is_none() {
        writeln!(out, "      {}", cache.what_would_change_it)?;
    }
    if let Some(next) = cache.next_probe_unix_ms {
        writeln!(out, "      tried again: {}", moment(next))?;
    }
    match (cache.next_sync_unix_ms, cache.next_sync_why.as_str()) {
        (_, "") => {}
        // It exchanges all the time; when else it would is of no use to anybody.
        _ if cache.mode == "online" => {}
        (Some(next), why) => writeln!(out, "      next background sync: {} ({why})", moment(next))?,
        (None, why) => writeln!(out, "      no background sync now: {why}")?,
    }
    if cache.pending_items > 0 {
        let changes = count(cache.pending_items, "change");
        let bytes = count(cache.pending_bytes, "byte");
        writeln!(out, "      {changes} ({bytes}) not on the share yet")?;
    }
    for (held, what) in [(cache.held_deletes, "delete"), (cache.held_changes, "change")] {
        if held > 0 {
            let are = count_is(held, what);
            writeln!(out, "      {are} held; `homeport release --dry-run` lists them")?;
        }
    }
    for conflict in &cache.conflicts {
        let (path, what) = (below_text(&cache.path, &conflict.path), how_it_came(conflict.kind));
        writeln!(out, "      conflict: {path}: {what}; both versions are kept")?;
    }
    for Left { path, why, .. } in &cache.undone {
        writeln!(out, "      left undone: {}: {why}", below_text(&cache.path, path))?;
    }
    let more = cache.undone_count.saturating_sub(cache.undone.len() as u64);
    if more > 0 {
        writeln!(out, "      left undone: {more} more")?;
    }
    match &cache.error {
        Some(error) => writeln!(out, "      {error}"),
        None => Ok(()),
    }
}

/// How a conflict came about, in words.
pub fn how_it_came(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::BothCreated => "it was created here and on the share, with other content",
        ConflictKind::BothChanged => "it was changed here and on the share since both were equal",
        ConflictKind::TypeDiffers => "one side has a folder where the other has a file",
    }
}
