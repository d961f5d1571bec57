//! What is done when a session begins or ends, and what its person is told.

use std::collections::BTreeSet;

use super::tell;
use crate::agent::Agent;
use crate::control::Answer;
use crate::cycle::{Done, Turn, cycle};
use crate::outcome::{Outcome, chain};
use crate::plan::{Occasion, What};
use crate::wish::Wish;

/// Signs somebody in or out because a session began or ended. Whoever is of this computer alone is
/// left alone, and nobody is signed out who sits here again.
pub(super) async fn session(agent: &mut Agent, name: &str, occasion: Occasion) -> Answer {
    let signs_in = occasion != Occasion::Logoff;
    let mut answer = Answer::default();
    if agent.is_local(name).await {
        tracing::info!(user = name, "Left alone: the directory does not know this account.");
        answer.text = format!("{name}: the directory does not know this account; left alone\n");
        settle(agent, name, signs_in);
        return answer;
    }
    match agent.sessions().is_open(name) {
        Ok(true) if !signs_in => {
            answer.text = format!("{name}: another session is open\n");
            return answer;
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(user = name, error = chain(&error), "Sessions are not known."),
    }
    let Some(user) = agent.account_name(name, signs_in).await else {
        return Answer::no_user(name);
    };
    let cause = match occasion {
        Occasion::Logon => "a session began",
        Occasion::Logoff => "the last session ended",
        _ => "what a sign-in left undone",
    };
    let (cause, wish) = (cause.to_owned(), Wish::default());
    let turn = Turn { user, occasion, cause, wish, dry: false };
    match cycle(agent, &turn).await {
        Ok(done) => {
            answer = tell(agent, &turn, &done);
            let away = agent.status.directory.error.is_some();
            answer.notice = notice(&answer, away, &done);
            if !(signs_in && is_left(&done)) {
                settle(agent, name, signs_in);
            }
        }
        Err(error) => {
            agent.note_failure(&turn, &error);
            let not = "your folders could not be looked after; what is on this computer is at hand";
            answer.notice = Some(format!("Homeport: {not}."));
            answer.error = Some(chain(&error));
        }
    }
    answer
}

fn settle(agent: &Agent, name: &str, signed_in: bool) {
    if let Err(error) = agent.sessions().settle(name, signed_in) {
        tracing::warn!(user = name, error = chain(&error), "Sessions are not kept.");
    }
}

/// The servers that steps did not reach.
fn away(done: &Done) -> impl Iterator<Item = (&What, &Outcome)> {
    let steps = done.plan.steps.iter().map(|step| &step.what).zip(&done.outcomes);
    steps.filter(|(_, outcome)| matches!(outcome, Outcome::Failed { unreachable: true, .. }))
}

/// Whether a server was away for something that no timer does again. Exchanges have timers.
fn is_left(done: &Done) -> bool {
    away(done).any(|(what, _)| !matches!(what, What::Sync(_) | What::Probe(_)))
}

/// What the person is told, in one line, if there is anything to tell.
fn notice(answer: &Answer, directory_away: bool, done: &Done) -> Option<String> {
    let mut names: BTreeSet<String> = away(done).filter_map(|(what, _)| share(what)).collect();
    if directory_away {
        names.insert("the directory".to_owned());
    }
    if !names.is_empty() {
        let names: Vec<String> = names.into_iter().collect();
        return Some(format!(
            "Homeport: {} cannot be reached. You work with the copies on this computer; \
             the rest follows by itself.",
            names.join(" and ")
        ));
    }
    let bad = answer.refused + answer.failed;
    (bad > 0).then(|| {
        let steps = if bad == 1 { "one thing".to_owned() } else { format!("{bad} things") };
        format!("Homeport: {steps} could not be done; `homeport status` tells an administrator.")
    })
}

/// The share of a step.
fn share(what: &What) -> Option<String> {
    let unc = match what {
        What::Redirect(redirect) => &redirect.remote.unc,
        What::Restore(restore) => &restore.retained.target,
        What::Sync(exchange) | What::Probe(exchange) | What::DropCache { exchange, .. } => {
            &exchange.remote.unc
        }
        What::Profile(profile) => &profile.exchange.remote.unc,
        _ => return None,
    };
    let mut parts = unc.as_str().trim_start_matches('\\').split('\\');
    let (server, share) = (parts.next()?, parts.next()?);
    Some(format!(r"\\{server}\{share}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_only_what_is_not_well() {
        let done = Done::default();
        for (refused, failed, directory_away, expected) in [
            (0, 0, false, None),
            (1, 0, false, Some("Homeport: one thing could not be done")),
            (1, 1, false, Some("Homeport: 2 things could not be done")),
            (1, 0, true, Some("Homeport: the directory cannot be reached.")),
        ] {
            let answer = Answer { refused, failed, ..Answer::default() };
            let notice = notice(&answer, directory_away, &done);
            let said = notice.as_deref().zip(expected).is_some_and(|(is, of)| is.starts_with(of));
            assert!(said || notice.as_deref() == expected, "{notice:?}");
        }
    }
}
