//! One turn of the agent, for one user: the file to read first.
//!
//! ```text
//! load policy → gather facts → merge → decide → observe the home → plan → execute → report
//! ```
//! `plan` stops after planning; `apply`, `logon`, `logoff`, `sync` and `run` go all the way. The same
//! stages up to `decide`, from files alone, are `policy explain` and `policy diff` (`cli/policy.rs`).

use std::sync::Arc;

use homeport_policy::decide::{Decision, decide, metered_limit};
use homeport_policy::facts::Facts;
use homeport_policy::filter::applicable;
use homeport_policy::merge::{ResultantSet, merge};
use homeport_policy::sync_rules::sync_rules;

use crate::agent::{Agent, CycleError};
use crate::keeping::Keeping;
use crate::load::load;
use crate::outcome::Outcome;
use crate::plan::{Ground, Occasion, Plan, plan};
use crate::report::phases::Phase;
use crate::wish::Wish;

/// What a turn is for.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Whose turn it is.
    pub user: String,
    /// The occasion.
    pub occasion: Occasion,
    /// What woke the agent, in words; it ends up in log and status.
    pub cause: String,
    /// What a person asks of the exchanges.
    pub wish: Wish,
    /// Stop after planning.
    pub dry: bool,
}

impl Turn {
    /// Whether it looks at local changes of one cache, and tells nothing new of the others.
    pub fn is_look(&self) -> bool {
        self.occasion == Occasion::Exchange && self.wish.only.is_some()
    }
}

/// What a turn came to.
#[derive(Debug, Default)]
#[must_use]
pub struct Done {
    /// The facts it rested on; `None` without any policy.
    pub facts: Option<Facts>,
    /// The merged policy.
    pub rsop: Option<Arc<ResultantSet>>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// What was planned.
    pub plan: Plan,
    /// What became of each step, in order; empty for a dry turn.
    pub outcomes: Vec<Outcome>,
}

/// Takes one turn for one user.
///
/// Nothing in here chooses: `decide` chooses what should hold, `plan` chooses the steps, and every
/// stage gets the world as an argument, so that each can be shown and tested without the others.
///
/// # Errors
/// [`CycleError`] when the home is not known or its worker is lost. What went wrong with a single
/// step is an [`Outcome`], and the other steps go on.
pub async fn cycle(agent: &mut Agent, turn: &Turn) -> Result<Done, CycleError> {
    let started = agent.clock.monotonic();
    agent.begin_phases();

    let loaded = load(&agent.settings.policy_dir, &agent.state, agent.clock.unix(), !turn.dry);
    let Some(set) = agent.note_policy(loaded) else { return Ok(agent.idle(turn)) };
    agent.lap(Phase::Policy);

    let facts = agent.gather(Some(turn)).await;
    agent.lap(Phase::Directory);
    agent.claim(&turn.user, &facts)?;
    let rsop = Arc::new(merge(&set, &applicable(&set, &facts)));
    let decision = decide(&rsop, &facts);
    agent.note_connections(turn, &decision);
    agent.allow(turn, facts.network, metered_limit(&rsop, &facts));
    agent.lap(Phase::Decide);

    let mut worker = agent.worker(&turn.user).await?;
    let observed = worker.observe().await?;
    agent.lap(Phase::Observe);
    let known = agent.known(&turn.user);
    let disk = agent.keeping(&turn.user, &facts, Keeping::of(&rsop)).disk;
    let plan = plan(&Ground {
        occasion: turn.occasion,
        decision: &decision,
        rules: &agent.rules(&turn.user, &facts, sync_rules(&rsop)),
        observed: &observed,
        paths: &agent.paths(&turn.user, &facts)?,
        mounts: &agent.settings.mounts,
        connections: &known.connections,
        syncs: &known.syncs,
        wish: &turn.wish,
        disk,
        now_unix_ms: agent.clock.unix_ms(),
    });
    agent.lap(Phase::Decide);

    let outcomes = match turn.dry {
        true => Vec::new(),
        false => agent.execute(worker, turn, &plan, started).await,
    };
    let (facts, rsop, decision) = (Some(facts), Some(rsop), Some(decision));
    let done = Done { facts, rsop, decision, plan, outcomes };
    if !turn.dry {
        agent.report(turn, &done, started).await;
        agent.note_phases(turn);
    }
    Ok(done)
}
