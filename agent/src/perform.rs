//! Carries out one command, whether it came over the socket or from the command line.

mod sitting;

use homeport_policy::unc::Unc;
use homeport_sync::codes::{ResultCode, code_of};
use homeport_sync::{ItemResult, Report, Resolve, Verdict};
use serde_json::json;

use crate::agent::Agent;
use crate::control::{Answer, Command};
use crate::cycle::{Done, Turn, cycle};
use crate::inventory;
use crate::load::PolicyState;
use crate::outcome::{Outcome, chain};
use crate::plan::{Occasion, Step, What};
use crate::report::status::step_line;
use crate::state::UserState;
use crate::undone;
use crate::wish::{Place, Wish, network_path};

/// Carries out one command.
pub async fn perform(agent: &mut Agent, command: Command) -> Answer {
    match command {
        Command::Turn { user, occasion, wish, dry, cause } => {
            let users = user.map_or_else(|| agent.signed_in(), |user| vec![user]);
            let mut answer = Answer::default();
            let signs_in = occasion == Occasion::Logon;
            for name in users {
                let Some(user) = agent.account_name(&name, signs_in).await else {
                    add(&mut answer, Answer::no_user(&name));
                    continue;
                };
                let (cause, wish) = (cause.clone(), wish.clone());
                let turn = Turn { user, occasion, cause, wish, dry };
                add(&mut answer, take(agent, &turn).await);
            }
            if answer.text.is_empty() {
                answer.text = "nobody is signed in\n".to_owned();
            }
            answer
        }
        Command::Session { user, occasion } => sitting::session(agent, &user, occasion).await,
        Command::Settle { user, path, how } => match agent.account_name(&user, false).await {
            Some(user) => settle(agent, &user, &path, how).await,
            None => Answer::no_user(&user),
        },
        Command::Items { user, place, ask } => inventory::ask(agent, user, place, ask).await,
        Command::Force { user, path, offline } => {
            let mut answer = Answer::default();
            for name in user.map_or_else(|| agent.signed_in(), |user| vec![user]) {
                let one = match agent.account_name(&name, false).await {
                    Some(user) => force(agent, user, path.as_ref(), offline).await,
                    None => Answer::no_user(&name),
                };
                add(&mut answer, one);
            }
            if answer == Answer::default() {
                answer.text = "nobody is signed in\n".to_owned();
            }
            answer
        }
    }
}

/// Takes a turn and tells what it came to.
pub async fn take(agent: &mut Agent, turn: &Turn) -> Answer {
    match cycle(agent, turn).await {
        Ok(done) => tell(agent, turn, &done),
        Err(error) => {
            agent.note_failure(turn, &error);
            Answer { error: Some(chain(&error)), ..Answer::default() }
        }
    }
}

/// Switches folders to working offline, or back, if policy and the path allow it.
async fn force(agent: &mut Agent, user: String, path: Option<&Unc>, offline: bool) -> Answer {
    let told = path.map_or_else(|| user.clone(), Unc::to_string);
    if let Some(why) = not_switched(&agent.known(&user), path, offline) {
        let text = format!("{told}: refused: {why}\n");
        return Answer { text, refused: 1, ..Answer::default() };
    }
    agent.force(&user, path, offline);
    let (occasion, cause) = match offline {
        true => (Occasion::Refresh, "`homeport work-offline`"),
        false => (Occasion::Manual, "`homeport work-online`"),
    };
    let turn = Turn { user, occasion, cause: cause.to_owned(), wish: Wish::default(), dry: false };
    let mut answer = take(agent, &turn).await;
    if offline && answer.error.is_none() {
        let whose = if path.is_none() { ", in every network folder," } else { "" };
        answer.text = format!("{told}{whose} works offline until `homeport work-online`\n");
    }
    answer
}

/// Why the switch is not for somebody, or not for a folder.
fn not_switched(known: &UserState, path: Option<&Unc>, offline: bool) -> Option<String> {
    if offline && known.rules.as_ref().is_some_and(|rules| !rules.allow_work_offline) {
        let why = "policy does not let people switch (offline-files.allow-work-offline)";
        return Some(why.to_owned());
    }
    let path = path?;
    let mut caches = known.connections.keys();
    if let Some(whole) = caches.find(|cached| path.is_within(cached))
        && whole != path
    {
        return Some(format!("it is a part of the offline folder {whole}; name that one"));
    }
    if !known.connections.keys().any(|cached| cached.below(path).is_some()) {
        return Some("nothing below it is kept offline for this user".to_owned());
    }
    if !offline && known.works_offline {
        let why = "everything works offline; `homeport work-online` without a folder ends that";
        return Some(why.to_owned());
    }
    if !offline && !known.forced.contains(path) {
        let above = known.forced.iter().find(|forced| path.is_within(forced));
        return above.map(|above| format!("{above} works offline as a whole; name that one"));
    }
    None
}

fn add(answer: &mut Answer, more: Answer) {
    answer.text.push_str(&more.text);
    answer.refused += more.refused;
    answer.failed += more.failed;
    answer.policy_rejected |= more.policy_rejected;
    answer.code = answer.code.or(more.code);
    answer.bytes += more.bytes;
    answer.error = answer.error.take().or(more.error);
    answer.hint = answer.hint.take().or(more.hint);
    answer.usage |= more.usage;
    match &mut answer.json {
        serde_json::Value::Array(all) => all.push(more.json),
        json => *json = serde_json::Value::Array(vec![more.json]),
    }
}

fn tell(agent: &Agent, turn: &Turn, done: &Done) -> Answer {
    let Turn { user, occasion, .. } = turn;
    let state = agent.status.policy.state;
    let mut answer = Answer { policy_rejected: state != PolicyState::Current, ..Answer::default() };
    if done.decision.is_none() {
        answer.text = format!("{user}: no policy is in force; nothing is done\n");
        for problem in &agent.status.policy.problems {
            answer.text.push_str(&format!("    {problem}\n"));
        }
        answer.json = json!({ "user": user, "policy": "none" });
        return answer;
    }
    if state == PolicyState::LastGood {
        let rejected =
            "the newest policy is REJECTED (see `homeport status`); the last good one holds";
        answer.text = format!("{rejected}\n");
    }
    answer.text.push_str(&format!("{user}, {}:\n", occasion.name()));
    for (step, outcome) in done.plan.steps.iter().zip(&done.outcomes) {
        answer.text.push_str(&step_text(step, outcome));
    }
    if turn.dry {
        let plan = done.plan.to_string();
        let lines = plan.lines().map(|line| format!("  {line}\n"));
        answer.text.extend(lines);
    } else {
        for not_now in &done.plan.not_now {
            answer.text.push_str(&format!("  not now: {}: {}\n", not_now.about, not_now.why));
        }
        if done.plan.steps.is_empty() && done.plan.not_now.is_empty() {
            answer.text.push_str("  nothing to do\n");
        }
    }
    (answer.refused, answer.failed) = count_bad(&done.outcomes, turn);
    answer.code = done.plan.steps.iter().zip(&done.outcomes).find_map(|of| code_of_step(of, turn));
    answer.bytes = done.outcomes.iter().filter_map(Outcome::report).map(carried).sum();
    answer.json = json!({
        "user": user, "occasion": occasion.name(), "decision": done.decision,
        "plan": done.plan, "outcomes": done.outcomes,
    });
    answer
}

/// What a step did, with the items that it left undone.
fn step_text(step: &Step, outcome: &Outcome) -> String {
    let line = step_line(step, outcome);
    let mut text = format!("  {}: {}\n", line.about, line.text);
    for because in &line.because {
        text.push_str(&format!("      because {because}\n"));
    }
    let exchange = match &step.what {
        What::Sync(exchange) | What::DropCache { exchange, .. } => exchange,
        What::Profile(profile) => &profile.exchange,
        _ => return text,
    };
    let Some(report) = outcome.report() else { return text };
    let left = undone::left(report);
    for item in &left {
        let path = network_path(&exchange.remote.unc, &item.path);
        text.push_str(&format!("      left undone: {path}: {}\n", item.why));
    }
    let more = undone::count(report).saturating_sub(left.len() as u64);
    if more > 0 {
        text.push_str(&format!("      left undone: {more} more\n"));
    }
    text
}

/// How many steps were refused, and how many failed. Items that failed inside an exchange, and deletes
/// that the brake holds, count too: somebody has to look.
fn count_bad(outcomes: &[Outcome], turn: &Turn) -> (u32, u32) {
    let (mut refused, mut failed) = (0, 0);
    for outcome in outcomes {
        match outcome {
            Outcome::Refused { .. } => refused += 1,
            // A share that is away is no failure of the command: the folder is offline, and says so.
            // But somebody who names a folder wants just that one.
            Outcome::Failed { unreachable, .. } => {
                failed += u32::from(!unreachable || turn.wish.only.is_some());
            }
            Outcome::Done { report: Some(report), .. } => {
                refused += u32::from(report.held.is_some());
                failed += u32::from(report.counts.failed > 0 || report.cancelled);
            }
            Outcome::Done { .. } | Outcome::Unchanged => {}
        }
    }
    (refused, failed)
}

/// File bytes of an exchange, both ways.
fn carried(report: &Report) -> u64 {
    report.bytes_in + report.bytes_out
}

/// What came of a step, as Windows would say it; `None` is success.
fn code_of_step((step, outcome): (&Step, &Outcome), turn: &Turn) -> Option<ResultCode> {
    match (&step.what, outcome) {
        (What::Cannot { about, .. }, Outcome::Refused { .. }) => {
            let is_named = turn.wish.only.as_ref().is_some_and(|only| only.to_string() == *about);
            Some(if is_named { ResultCode::NotCached } else { ResultCode::ShareOffline })
        }
        (_, Outcome::Done { report: Some(report), .. }) if report.cancelled => {
            Some(ResultCode::Cancelled)
        }
        (_, Outcome::Done { report: Some(report), .. }) => {
            let bad = |item: &&ItemResult| matches!(item.result, Verdict::Failed { .. });
            let failed = report.items.iter().find(bad).map(|item| code_of(&item.result));
            failed.or(report.held.map(|_| ResultCode::Held))
        }
        (_, outcome) => outcome.code(),
    }
}

/// Settles a conflict: finds the cache that holds the path, and asks the worker.
async fn settle(agent: &mut Agent, user: &str, path: &Unc, how: Resolve) -> Answer {
    let place = Place::Network(path.clone());
    let mut found = match inventory::find(agent, user, Some(&place), false).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let (exchange, below) = found.caches.swap_remove(0);
    let outcome = match found.worker.settle(exchange, below, how).await {
        Ok(outcome) => outcome,
        Err(error) => return Answer { error: Some(chain(&error)), ..Answer::default() },
    };
    let mut answer = Answer { json: json!({ "outcome": outcome }), ..Answer::default() };
    match outcome {
        Outcome::Done { .. } | Outcome::Unchanged => {
            answer.text = format!("{path} is settled\n");
        }
        Outcome::Refused { why, hint, .. } => {
            answer.refused = 1;
            answer.text = format!("{path}: refused: {why} ({hint})\n");
        }
        Outcome::Failed { why, .. } => {
            answer.failed = 1;
            answer.text = format!("{path}: failed: {why}\n");
        }
    }
    // The other cached state follows from a turn, which also brings the status up to date.
    let (cause, user) = ("`homeport conflicts resolve`".to_owned(), user.to_owned());
    let (occasion, wish) = (Occasion::Manual, Wish::default());
    let synced = take(agent, &Turn { user, occasion, cause, wish, dry: false }).await;
    answer.error = synced.error;
    answer
}
