//! The agent's own parts around a turn: facts, workers, execution within a budget, bookkeeping.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use homeport_policy::connection::Probe;
use homeport_policy::facts::{Directory, Facts, Network};
use homeport_policy::layer::PolicySet;
use homeport_policy::primary::difference;
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
use crate::network::manager::Wake;
use crate::network::metering::Metering;
use crate::outcome::{Outcome, chain};
use crate::plan::{Exchange, Occasion, Plan, Step, UserPaths, What};
use crate::report::caches;
use crate::report::metrics::Metrics;
use crate::report::status::{
    CacheStatus, DirectoryStatus, PolicyStatus, Status, UserStatus, among, decision_lines,
    note_cycle,
};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::state::{StateDir, StateError, UserState, Users};
use crate::undone;
use crate::wish::{Wish, network_path};
use crate::worker::Begin;

mod scopes;

mod sessions;

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
    network: Metering,
    /// The directory answered after it had not.
    directory_is_back: bool,
    /// What belongs to signing in and out.
    signing: sessions::Signing,
    /// What the steps of the present turn found out about their shares.
    probes: Vec<(Unc, Probe)>,
    /// The background syncs of each user's scopes.
    schedule: Schedule,
    /// Scopes whose local changes the steps of the present turn sent out.
    sent: BTreeSet<Unc>,
    /// Users of whom a scope came back and was not exchanged yet.
    returned: BTreeSet<String>,
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
        let lost = users.metered.settle();
        if lost > 0 {
            tracing::warn!(lost, "An exchange over a metered network was lost; its bytes count.");
        }
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
            network: Metering::default(),
            directory_is_back: false,
            signing: sessions::Signing::default(),
            probes,
            schedule: Schedule::default(),
            sent: BTreeSet::new(),
            returned: BTreeSet::new(),
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
        let network = self.look_at_network().await;
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

    /// Looks what the network costs, and tells it.
    pub async fn look_at_network(&mut self) -> Network {
        let (settings, today) = (&self.settings.network, self.clock.local().date_naive());
        let meter = &mut self.users.metered;
        let (network, found, error) = self.network.observe(settings, meter, today).await;
        if let Some(error) = error {
            tracing::warn!(error = chain(&error), "Network cost is not known.");
        }
        self.metrics.network(network.cost, found.source, network.metered_bytes_today);
        self.status.note_network(network, found);
        network
    }

    /// Wakes somebody from now on when the network changes.
    pub async fn watch_network(&mut self, wake: Wake) {
        self.network.watch(&self.settings.network, wake).await;
    }

    /// What a turn may cost: a person's own wish is not limited.
    pub fn allow(&mut self, turn: &Turn, network: Network, limit: Option<u64>) {
        self.status.metered_limit = limit;
        self.metrics.metered_limit(limit);
        let limit = limit.filter(|_| turn.occasion != Occasion::Manual);
        self.network.begin_turn(network, limit);
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
        self.metrics.directory(facts.directory, status.error.is_none(), &self.seen.collect());
        self.status.directory = status;
    }

    /// Whether the directory answered after it had not, since this was asked the last time.
    pub fn take_directory_is_back(&mut self) -> bool {
        std::mem::take(&mut self.directory_is_back)
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
        let account = account.map(|account| self.with_tickets(account));
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
                (None, None) => {
                    let (what, patience) = (self.counted(&step.what), self.patience(turn, step));
                    match worker.execute(&what, left, patience, &mut self.follower).await {
                        Ok((outcome, measured)) => {
                            self.note_exchange(turn, step, &outcome, measured);
                            outcome
                        }
                        Err(error) => {
                            lost = Some(format!("not tried: {}", chain(&error)));
                            Outcome::failed(&error)
                        }
                    }
                }
            };
            self.network.end(&mut self.users.metered);
            self.signing.stopwatch.step(&step.what, self.clock.monotonic());
            self.metrics.step(&step.what, &outcome);
            self.log_step(turn, step, &outcome);
            outcomes.push(outcome);
        }
        outcomes
    }

    /// A step as it goes over this network. What it may spend is kept before it begins.
    fn counted(&mut self, what: &What) -> What {
        if what.exchange().is_none() {
            return what.clone();
        }
        let meter = &mut self.users.metered;
        let budget = self.network.begin(meter, &self.follower.crossed);
        if meter.at_stake > 0
            && let Err(error) = self.state.keep_users(&self.users)
        {
            tracing::error!(error = chain(&error), "State not kept.");
        }
        what.within(budget)
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
        if let Some(decision) = &done.decision {
            self.metrics.decided(decision.primary_computer.action);
            self.note_connections(turn, decision);
            self.note_last_sync(turn, decision);
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
        told.works_offline = known.works_offline;
        told.may_work_offline = known.rules.as_ref().is_none_or(|rules| rules.allow_work_offline);
        told.next_background_sync_unix_ms = self.schedule.next_of(&turn.user, self.clock.unix_ms());
        note_cycle(told, turn.occasion, &done.plan, &done.outcomes);
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
            let mut cache = caches::status(exchange, inspected);
            cache.error = cache.error.or_else(|| error.clone());
            let unc = &exchange.remote.unc;
            caches::note_mode(&mut cache, exchange, state, done.decision.as_ref());
            caches::note_sync(&mut cache, known.syncs.get(unc), self.schedule.of(&turn.user, unc));
            let before = self.status.cache(&turn.user, &cache.path);
            caches::note(&mut cache, before, (&done.plan, &done.outcomes), exchange);
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
            syncs: &known.syncs,
            wish,
            disk: known.keeping.unwrap_or_default().disk,
            now_unix_ms: self.clock.unix_ms(),
        }))
    }

    /// Writes state and status; a failure is logged and does not stop the agent.
    pub fn publish(&mut self) {
        self.status.at_unix_ms = self.clock.unix_ms();
        self.status.metered_bytes_today = self.users.metered.bytes;
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
}
