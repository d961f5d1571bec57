//! The agent's own parts around a turn: facts, workers, execution within a budget, bookkeeping.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use homeport_policy::connection::{Observation, Probe, State as Connection};
use homeport_policy::decide::{BackgroundAction, Decision};
use homeport_policy::facts::{Cost, Directory, Facts};
use homeport_policy::layer::PolicySet;
use homeport_policy::primary::difference;
use homeport_policy::schedule::next_sync;
use homeport_policy::sync_rules::{SyncRules, sync_rules};
use homeport_policy::unc::Unc;
use homeport_sync::flags::Flags;

use crate::clock::Clock;
use crate::cycle::{Done, Turn};
use crate::execute::{Follower, Start, Worker, WorkerError};
use crate::facts::{Seen, gather, max_age};
use crate::identity::{self, IdentityError, worker_account};
use crate::keeping::Keeping;
use crate::limits::DIRECTORY_SAME_TURN;
use crate::load::Loaded;
use crate::network;
use crate::outcome::{Outcome, chain};
use crate::plan::{Exchange, Occasion, Plan, Step, UserPaths, What};
use crate::report::caches;
use crate::report::metrics::Metrics;
use crate::report::status::{
    CacheStatus, DirectoryStatus, PolicyStatus, Status, UserStatus, among, decision_lines,
    note_cycle,
};
use crate::settings::Settings;
use crate::state::{StateDir, StateError, UserState, Users};
use crate::undone;
use crate::wish::{Wish, network_path};
use crate::worker::{Begin, Inspected};

/// A turn could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// The user's home is not known.
    #[error("cannot work for {user}")]
    Identity {
        /// The user.
        user: String,
        /// Why.
        source: IdentityError,
    },
    /// The user's worker is lost.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// The agent of one computer.
#[derive(Debug)]
pub struct Agent {
    /// Its settings.
    pub settings: Settings,
    /// What it keeps over a restart.
    pub state: StateDir,
    /// Its time.
    pub clock: Clock,
    /// What it counts.
    pub metrics: Metrics,
    /// What it tells.
    pub status: Status,
    /// The program that is started as worker.
    pub program: PathBuf,
    users: Users,
    seed: u64,
    seen: Seen,
    /// The directory answered after it had not.
    directory_is_back: bool,
    /// What the steps of the present turn found out about their shares.
    probes: Vec<(Unc, Probe)>,
    /// Whoever follows the present turn.
    pub follower: Follower,
}

impl Agent {
    /// Sets up an agent over its state directory.
    ///
    /// # Errors
    /// [`StateError`] when the state cannot be used or another agent has it.
    pub fn open(
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        program: PathBuf,
    ) -> Result<Self, StateError> {
        let state = StateDir::open(&settings.state_dir)?;
        let mut users = state.users()?;
        let seed = state.seed(crate::clock::draw)?;
        let status = crate::state::read(&state.path().join(crate::state::STATUS));
        // A status of another version is only an old report; it is written anew.
        let mut status: Status = status.ok().flatten().unwrap_or_default();
        // Names that somebody only asked about were kept once; nobody is called so.
        let is_nobody = |name: &str| !identity::has_home(&settings, name);
        let before = status.users.len() + users.users.len();
        status.users.retain(|name, _| !(users.knows_nothing_of(name) && is_nobody(name)));
        users.users.retain(|name, user| !(*user == UserState::default() && is_nobody(name)));
        let has_dropped = status.users.len() + users.users.len() < before;
        env!("CARGO_PKG_VERSION").clone_into(&mut status.version);
        status.computer = identity::computer_name(&settings);
        let probes = Vec::new();
        let seen = Seen::new(&settings, &clock, seed);
        let mut agent = Self {
            settings,
            state,
            clock,
            metrics,
            status,
            program,
            users,
            seed,
            seen,
            directory_is_back: false,
            probes,
            follower: Follower::none(),
        };
        if has_dropped {
            agent.publish(); // commands read the status by themselves
        }
        Ok(agent)
    }

    /// The account's own spelling of a name (`ALICE` and `CORP\\alice` are `alice`), if there is such
    /// a user: the directory knows it, it is signed in, or it has a home here. Whoever signs in while
    /// the directory cannot say is believed.
    pub async fn account_name(&mut self, name: &str, signs_in: bool) -> Option<String> {
        if let Some(known) = self.seen.account_name(&self.settings, name).await {
            self.users.take_over(&known, |bare| !self.seen.knows(bare));
            return Some(known);
        }
        let is_signed_in = self.users.users.get(name).is_some_and(|user| user.signed_in);
        let is_away = || self.seen.standing(&self.settings).error.is_some();
        let is_there = is_signed_in || identity::has_home(&self.settings, name);
        (is_there || (signs_in && is_away())).then(|| name.to_owned())
    }

    /// Notes what became of the policy and gives the set in force.
    pub fn note_policy(&mut self, loaded: Loaded) -> Option<PolicySet> {
        self.metrics.loaded(&loaded);
        let policy = PolicyStatus::of(&loaded);
        if policy != self.status.policy {
            for problem in &policy.problems {
                tracing::error!(problem, "Policy has a problem.");
            }
            tracing::info!(state = ?policy.state, objects = policy.versions.len(), "Policy loaded.");
        }
        self.status.policy = policy;
        loaded.set
    }

    /// Without any policy nothing is done at all; only the status says so.
    pub fn idle(&mut self, turn: &Turn) -> Done {
        tracing::warn!(user = turn.user, cause = turn.cause, "No policy is in force; idle.");
        if turn.occasion == Occasion::Logon || turn.occasion == Occasion::Logoff {
            let signed_in = turn.occasion == Occasion::Logon;
            self.users.users.entry(turn.user.clone()).or_default().signed_in = signed_in;
            let user = self.status.users.entry(turn.user.clone()).or_default();
            user.signed_in = signed_in;
        }
        self.publish();
        Done::default()
    }

    /// Gathers the facts for one user, or for the computer alone at the start.
    pub async fn gather(&mut self, turn: Option<&Turn>) -> Facts {
        let metered = self.metered_today();
        let (network, error) = network::observe(&self.settings.network, metered);
        if let Some(error) = error {
            tracing::warn!(error = chain(&error), "Network cost is not known.");
        }
        network.cost.name().clone_into(&mut self.status.network_cost);
        let user = turn.map(|turn| turn.user.as_str());
        let age = turn.map_or(DIRECTORY_SAME_TURN, |turn| max_age(turn.occasion));
        let facts = gather(&self.settings, &mut self.seen, user, age, network).await;
        self.note_directory(&facts);
        facts
    }

    /// Makes sure that what is kept about a user is of the account that the facts are about.
    ///
    /// # Errors
    /// [`CycleError::Identity`]; nothing may be done for this user then.
    pub fn claim(&mut self, user: &str, facts: &Facts) -> Result<(), CycleError> {
        let sid = facts.user.as_ref().and_then(|user| user.sid.as_deref());
        let error = |source| CycleError::Identity { user: user.to_owned(), source };
        self.users.claim(user, sid).map_err(error)
    }

    /// Asks the directory what a sign-in would else have to ask.
    pub async fn keep_warm(&mut self) {
        self.seen.keep_warm().await;
    }

    /// Tells how it stands with the directory.
    fn note_directory(&mut self, facts: &Facts) {
        let standing = self.seen.standing(&self.settings);
        let status = DirectoryStatus::of(standing, facts.directory);
        let was_away = self.status.directory.error.is_some();
        self.directory_is_back |= was_away && status.error.is_none();
        if let Some(error) = status.error.as_ref().filter(|_| !was_away) {
            tracing::warn!(error, hint = status.hint, "Directory is out of reach.");
        }
        let network = facts.network;
        self.metrics.network(network.cost, network.metered_bytes_today);
        self.metrics.directory(facts.directory, status.error.is_none(), &self.seen.collect());
        self.status.directory = status;
    }

    /// Whether the directory answered after it had not, since this was asked the last time.
    pub fn take_directory_is_back(&mut self) -> bool {
        std::mem::take(&mut self.directory_is_back)
    }

    fn metered_today(&mut self) -> u64 {
        let today = self.clock.local().format("%Y-%m-%d").to_string();
        let metered = &mut self.users.metered;
        if metered.day != today {
            (metered.day, metered.bytes) = (today, 0);
        }
        metered.bytes
    }

    /// Starts the user's worker.
    ///
    /// # Errors
    /// [`CycleError`] when the home is not known or the worker does not start.
    pub async fn worker(&self, user: &str) -> Result<Worker, CycleError> {
        Ok(self.start(user)?.worker().await?)
    }

    /// How the user's worker is started.
    ///
    /// # Errors
    /// [`CycleError::Identity`] when the home is not known, or is somebody else's.
    pub fn start(&self, user: &str) -> Result<Start, CycleError> {
        let home = self.home(user)?;
        let error = |source| CycleError::Identity { user: user.to_owned(), source };
        let account = worker_account(&self.settings, user, &home).map_err(error)?;
        let (user, os) = (user.to_owned(), identity::THIS_OS);
        let host = identity::computer_name(&self.settings);
        let begin = Begin { user, home, os, host };
        Ok(Start { program: self.program.clone(), begin, account })
    }

    /// How the user's caches are synchronised. Screens, brake and conflict rules that reach a user
    /// by group or place must not vanish with the directory's answer.
    pub fn rules(&mut self, user: &str, facts: &Facts, rules: SyncRules) -> SyncRules {
        let known = self.users.users.entry(user.to_owned()).or_default();
        if facts.directory == Directory::Away || facts.user.is_none() {
            return known.rules.clone().unwrap_or(rules);
        }
        known.rules = Some(rules.clone());
        rules
    }

    /// What policy says about pins and the disk; kept as the rules are, and for the same reason.
    pub fn keeping(&mut self, user: &str, facts: &Facts, keeping: Keeping) -> Keeping {
        let known = self.users.users.entry(user.to_owned()).or_default();
        if facts.directory == Directory::Away || facts.user.is_none() {
            return known.keeping.clone().unwrap_or(keeping);
        }
        known.keeping = Some(keeping.clone());
        keeping
    }

    fn home(&self, user: &str) -> Result<PathBuf, CycleError> {
        let error = |source| CycleError::Identity { user: user.to_owned(), source };
        identity::home(&self.settings, user).map_err(error)
    }

    /// The user's places on this computer.
    ///
    /// # Errors
    /// [`CycleError::Identity`].
    pub fn paths(&self, user: &str, facts: &Facts) -> Result<UserPaths, CycleError> {
        let sid = facts.user.as_ref().and_then(|user| user.sid.clone());
        let home = self.home(user)?;
        Ok(UserPaths { user: user.to_owned(), sid, home, os: identity::THIS_OS })
    }

    /// What is kept about a user.
    pub fn known(&self, user: &str) -> UserState {
        self.users.users.get(user).cloned().unwrap_or_default()
    }

    /// Everybody who is signed in.
    pub fn signed_in(&self) -> Vec<String> {
        let users = self.users.users.iter().filter(|(_, user)| user.signed_in);
        users.map(|(name, _)| name.clone()).collect()
    }

    /// Carries out a plan, step by step, within the budget of the occasion.
    ///
    /// A step that hangs costs its worker; the steps after it are told so and come again with the
    /// next turn.
    pub async fn execute(
        &mut self,
        mut worker: Worker,
        turn: &Turn,
        plan: &Plan,
        started: Duration,
    ) -> Vec<Outcome> {
        let budget = match turn.occasion {
            Occasion::Logon => Some(self.settings.budget.logon),
            Occasion::Logoff => Some(self.settings.budget.logoff),
            _ => None,
        };
        self.follower.waits = !turn.wish.flags.is_some_and(Flags::async_progress);
        let mut outcomes = Vec::with_capacity(plan.steps.len());
        let mut lost: Option<String> = None;
        for step in &plan.steps {
            let left = budget.map(|all| (started + all).saturating_sub(self.clock.monotonic()));
            let undone = plan.steps.iter().zip(&outcomes).find(|(earlier, outcome)| {
                step.what.depends_on(&earlier.what) && !Outcome::is_good(outcome)
            });
            let outcome = match (&lost, undone) {
                _ if self.follower.is_cancelled() => {
                    Outcome::refused("not tried, because the run was cancelled", "run it again")
                }
                (Some(why), _) => Outcome::not_done(why.clone()),
                (None, Some((earlier, outcome))) => outcome.passed_on(&earlier.what.to_string()),
                (None, None) => match worker.execute(&step.what, left, &mut self.follower).await {
                    Ok((outcome, latency)) => {
                        self.note_exchange(step, &outcome, latency);
                        outcome
                    }
                    Err(error) => {
                        lost = Some(format!("not tried: {}", chain(&error)));
                        Outcome::failed(&error)
                    }
                },
            };
            self.metrics.step(&step.what, &outcome);
            self.log_step(turn, step, &outcome);
            outcomes.push(outcome);
        }
        outcomes
    }

    fn log_step(&self, turn: &Turn, turn_step: &Step, outcome: &Outcome) {
        let (user, step, result) = (&turn.user, turn_step.what.to_string(), outcome.name());
        match outcome {
            Outcome::Done { detail, .. } => {
                tracing::info!(user, step, result, detail, "Step carried out.");
                self.log_undone(turn, &turn_step.what, outcome);
            }
            Outcome::Unchanged => tracing::debug!(user, step, result, "Step carried out."),
            Outcome::Refused { why, hint, .. } => {
                tracing::warn!(user, step, result, why, hint, "Step refused.");
            }
            Outcome::Failed { why, .. } => tracing::warn!(user, step, result, why, "Step failed."),
        }
    }

    /// Each item that an exchange left undone, once: the next exchange mostly finds the same.
    fn log_undone(&self, turn: &Turn, what: &What, outcome: &Outcome) {
        let (What::Sync(exchange), Some(report)) = (what, outcome.report()) else { return };
        let (user, root) = (&turn.user, &exchange.remote.unc);
        let known = self.status.cache(user, root.as_str());
        for left in undone::left(report) {
            if !known.is_some_and(|known| known.undone.contains(&left)) {
                let (path, why) = (network_path(root, &left.path), &left.why);
                tracing::warn!(user, path, why, "Item left undone.");
            }
        }
    }

    /// What an exchange says about the connection, and what it cost.
    fn note_exchange(&mut self, step: &Step, outcome: &Outcome, latency: Option<Duration>) {
        if let Outcome::Done { report: Some(report), .. } = outcome
            && self.status.network_cost != Cost::Unrestricted.name()
        {
            self.users.metered.bytes += report.bytes_in + report.bytes_out;
        }
        let (What::Sync(exchange) | What::Probe(exchange)) = &step.what else { return };
        let probe = match (outcome, latency) {
            (_, Some(latency)) => Probe::Reachable { latency, throughput: None },
            (Outcome::Failed { unreachable: true, .. }, None) => Probe::Unreachable,
            _ => Probe::NotTried,
        };
        self.probes.push((exchange.remote.unc.clone(), probe));
    }

    /// Brings what the turn found, and what policy says, into the state of each connection.
    pub fn note_connections(&mut self, turn: &Turn, decision: &Decision) {
        let now = self.clock.unix_ms();
        let costed = decision.background_sync.action == BackgroundAction::Stopped { costed: true };
        let mut probes: BTreeMap<Unc, Probe> = self.probes.drain(..).collect();
        let user = self.users.users.entry(turn.user.clone()).or_default();
        let caches = decision.caches.iter().map(|cache| &cache.action);
        for cache in caches.clone() {
            probes.entry(cache.path.clone()).or_insert(Probe::NotTried);
        }
        for (unc, probe) in probes {
            let cache = caches.clone().find(|cache| cache.path == unc);
            let seen = Observation {
                at_unix_ms: now,
                probe,
                forced: user.forced.iter().any(|forced| unc.below(forced).is_some()),
                suspended: cache.is_some_and(|cache| cache.suspended) && user.signed_in,
                costed,
                thresholds: cache.and_then(|cache| cache.slow_link.0),
            };
            let state = user.connections.entry(unc).or_insert_with(|| Connection::initial(now));
            *state = state.observe(&seen);
        }
    }

    /// Keeps and tells what a turn came to.
    pub async fn report(&mut self, turn: &Turn, done: &Done, started: Duration) {
        let user = self.users.users.entry(turn.user.clone()).or_default();
        match turn.occasion {
            Occasion::Logon => {
                user.signed_in = true;
                let computer = &self.status.computer;
                // `homeport primary-computers suggest` reads these lines.
                tracing::info!(user = turn.user, computer, "Signed in.");
            }
            Occasion::Logoff => user.signed_in = false,
            _ => {}
        }
        let failed = done.outcomes.iter().any(|outcome| match outcome {
            Outcome::Done { report: Some(report), .. } => {
                report.counts.failed > 0 || report.cancelled
            }
            outcome => !outcome.is_good(),
        });
        let synced = done.plan.steps.iter().any(|step| matches!(step.what, What::Sync(_)));
        // A user without caches has nothing to catch up with, and must not be due for ever.
        if !failed && turn.wish.is_whole() && (synced || turn.occasion == Occasion::Background) {
            user.last_sync_unix_ms = Some(self.clock.unix_ms());
        }
        if let Some(decision) = &done.decision {
            self.metrics.decided(decision.primary_computer.action);
            self.note_connections(turn, decision);
            self.note_schedule(turn, decision);
        }
        let caches = self.caches(turn, done).await;
        let mut told = self.status.users.remove(&turn.user).unwrap_or_default();
        self.tell(turn, done, caches, &mut told);
        self.status.users.insert(turn.user.clone(), told);
        let seconds = (self.clock.monotonic().saturating_sub(started)).as_secs_f64();
        let finished = !done.outcomes.iter().any(|o| matches!(o, Outcome::Failed { .. }));
        self.metrics.cycle(turn.occasion, seconds, finished);
        self.publish();
    }

    fn tell(&self, turn: &Turn, done: &Done, caches: Vec<CacheStatus>, told: &mut UserStatus) {
        let known = self.known(&turn.user);
        told.signed_in = known.signed_in;
        told.cause.clone_from(&turn.cause);
        told.at_unix_ms = self.clock.unix_ms();
        told.last_sync_unix_ms = known.last_sync_unix_ms;
        told.decisions = done.decision.as_ref().map(decision_lines).unwrap_or_default();
        told.error = None;
        told.primary_difference =
            done.rsop.as_ref().zip(done.facts.as_ref()).and_then(|(r, f)| difference(r, f));
        told.caches = caches;
        note_cycle(told, turn.occasion, &done.plan, &done.outcomes);
    }

    /// When the user's next background sync is due.
    fn note_schedule(&mut self, turn: &Turn, decision: &Decision) {
        let user = self.known(&turn.user);
        let next = match &decision.background_sync.action {
            BackgroundAction::Scheduled { schedule } if user.signed_in => {
                let last = user.last_sync_unix_ms.and_then(chrono::DateTime::from_timestamp_millis);
                let last = last.map(|last| last.with_timezone(&chrono::Local));
                let next = next_sync(schedule, last.as_ref(), &self.clock.local(), self.seed);
                next.at.map(|at| at.timestamp_millis())
            }
            _ => None,
        };
        let told = self.status.users.entry(turn.user.clone()).or_default();
        told.next_background_sync_unix_ms = next;
        let all = self.status.users.values().filter_map(|user| user.next_background_sync_unix_ms);
        self.status.next_background_sync_unix_ms = all.min();
    }

    /// Everything that can be told about the user's caches, conflicts and unsent changes included.
    async fn caches(&self, turn: &Turn, done: &Done) -> Vec<CacheStatus> {
        // The turn's own worker may have been given up; this one looks and inspects.
        let Ok(mut worker) = self.worker(&turn.user).await else { return Vec::new() };
        let all = Wish::default();
        let exchanges = self.exchanges(&turn.user, done, &all, &mut worker).await;
        let Ok(mut exchanges) = exchanges else { return Vec::new() };
        let looked_at = |unc: &Unc| done.plan.exchanges().any(|known| known.remote.unc == *unc);
        exchanges.retain(|exchange| !turn.is_look() || looked_at(&exchange.remote.unc));
        let (inspected, error) = match worker.inspect(exchanges.clone()).await {
            Ok(inspected) => (inspected, None),
            Err(error) => (Vec::new(), Some(chain(&error))),
        };
        let known = self.known(&turn.user);
        let each = exchanges.iter().enumerate().map(|(index, exchange)| {
            let inspected = inspected.get(index).cloned().unwrap_or_default();
            let state = known.connections.get(&exchange.remote.unc);
            let mut cache = cache_status(exchange, state, inspected);
            cache.error = cache.error.or_else(|| error.clone());
            let known = self.status.cache(&turn.user, &cache.path);
            let exchanged = caches::exchanged(&done.plan, &done.outcomes, exchange);
            caches::note(&mut cache, known, exchanged);
            cache
        });
        let fresh = each.collect();
        match self.status.users.get(&turn.user).filter(|_| turn.is_look()) {
            Some(told) => among(&told.caches, fresh),
            None => fresh,
        }
    }

    /// Every cache of the user that a person wants, whether it may be exchanged now or not.
    ///
    /// # Errors
    /// [`CycleError`].
    pub async fn exchanges(
        &self,
        user: &str,
        done: &Done,
        wish: &Wish,
        worker: &mut Worker,
    ) -> Result<Vec<Exchange>, CycleError> {
        let (Some(facts), Some(decision), Some(rsop)) = (&done.facts, &done.decision, &done.rsop)
        else {
            return Ok(Vec::new());
        };
        let observed = worker.observe().await?;
        let known = self.known(user);
        Ok(crate::plan::caches(&crate::plan::Ground {
            occasion: Occasion::Manual,
            decision,
            rules: &known.rules.clone().unwrap_or_else(|| sync_rules(rsop)),
            observed: &observed,
            paths: &self.paths(user, facts)?,
            mounts: &self.settings.mounts,
            connections: &known.connections,
            wish,
            disk: known.keeping.unwrap_or_default().disk,
            now_unix_ms: self.clock.unix_ms(),
        }))
    }

    /// Writes state and status; a failure is logged and does not stop the agent.
    pub fn publish(&mut self) {
        self.status.at_unix_ms = self.clock.unix_ms();
        self.metrics.status(&self.status);
        let users = self.state.keep_users(&self.users);
        let status = self.state.publish(&self.status);
        for error in users.err().into_iter().chain(status.err()) {
            tracing::error!(error = chain(&error), "State not kept.");
        }
    }

    /// Notes that a turn could not be finished.
    pub fn note_failure(&mut self, turn: &Turn, error: &CycleError) {
        let error = chain(error);
        tracing::error!(user = turn.user, cause = turn.cause, error, "Cycle not finished.");
        self.metrics.cycle(turn.occasion, 0.0, false);
        let told = self.status.users.entry(turn.user.clone()).or_default();
        turn.occasion.name().clone_into(&mut told.occasion);
        told.cause.clone_from(&turn.cause);
        told.at_unix_ms = self.clock.unix_ms();
        told.error = Some(error);
        self.publish();
    }

    /// A person switches folders to working offline, or back.
    pub fn force(&mut self, user: &str, unc: &Unc, offline: bool) {
        let known = self.users.users.entry(user.to_owned()).or_default();
        known.forced.retain(|forced| forced != unc);
        if offline {
            known.forced.push(unc.clone());
        }
    }
}

fn cache_status(
    exchange: &Exchange,
    state: Option<&Connection>,
    inspected: Inspected,
) -> CacheStatus {
    let pending = inspected.pending.as_ref();
    CacheStatus {
        path: exchange.remote.unc.to_string(),
        local: exchange.local.display().to_string(),
        mode: state.map_or("unknown", |state| state.mode.code()).to_owned(),
        since_unix_ms: state.map_or(0, |state| state.since_unix_ms),
        what_would_change_it: state
            .map(|state| state.explain().text().to_owned())
            .unwrap_or_default(),
        pending_items: pending.map_or(0, |pending| pending.total_items),
        pending_bytes: pending.map_or(0, |pending| pending.total_bytes),
        conflicts: inspected.conflicts,
        recycle: exchange.journal.with_file_name("recycle").display().to_string(),
        error: inspected.error,
        ..CacheStatus::default()
    }
}
