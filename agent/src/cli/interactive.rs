//! Asks about open conflicts on the terminal, after an exchange of which a person may be asked (the
//! flags Interactive and Console).

use std::io::{BufRead, Read as _};

use homeport_policy::unc::Unc;
use homeport_sync::codes::ResultCode;
use serde_json::Value;
use tokio::sync::mpsc;

use super::args::{Keep, ProgressForm};
use super::offline::{Open, open_conflicts, resolve};
use super::progress::Teller;
use super::run::run;
use super::service::read_status;
use super::{Stopped, complain, plain, print};
use crate::cli::exit::Exit;
use crate::control::{Answer, Command};
use crate::outcome::Outcome;
use crate::plan::What;
use crate::report::status::Status;
use crate::settings::Settings;

/// How much of an answer is read, in bytes; the rest of its line counts for nothing.
const ANSWER_BYTES_MAX: u64 = 64;
/// How often somebody is asked again who gave no answer that is known.
const AGAIN_MAX: u32 = 3;
const PROMPT: &str = "keep [l]ocal, [r]emote, [b]oth, or [s]kip? ";

/// Whether a person wants to be asked on the terminal what to do about conflicts.
pub(super) fn is_wished(command: &Command) -> bool {
    let Command::Turn { wish, dry: false, .. } = command else { return false };
    wish.flags.is_some_and(|flags| flags.interactive() && flags.console())
}

/// What is asked, and where it is said.
#[derive(Debug)]
pub(super) struct Asking<'s> {
    /// The agent's settings.
    pub settings: &'s Settings,
    /// Standard output is one JSON document: nothing else goes there.
    pub json: bool,
    /// Standard output is taken by progress.
    pub aside: bool,
}

/// A part of the network that was just exchanged.
struct Scope {
    user: String,
    cache: Unc,
    /// If not empty, only these paths below it.
    only: Vec<String>,
}

/// What was answered.
enum Chosen {
    Keep(Keep),
    Skip,
    /// Nobody answers any more.
    End,
}

/// How many conflicts were asked about, and what became of them.
#[derive(Default)]
struct Tally {
    settled: u32,
    left: u32,
}

impl Asking<'_> {
    /// Says what the exchange came to, asks about each open conflict of it and settles those that
    /// are answered. The answer of the exchange then says how many, and counts what failed.
    ///
    /// # Errors
    /// When the status cannot be read, or when somebody stops a settlement.
    pub(super) async fn about(&self, answer: &mut Answer) -> Result<(), Stopped> {
        if answer.error.is_some() || answer.code == Some(ResultCode::Cancelled) {
            return Ok(());
        }
        let scopes = scopes(&answer.json);
        let status = read_status(self.settings)?;
        let open: Vec<(String, String)> =
            scopes.iter().flat_map(|scope| scope.open(&status)).collect();
        if open.is_empty() {
            return Ok(());
        }
        match (self.json, self.aside) {
            (true, _) => {}
            (false, true) => complain(&plain(&answer.text)),
            (false, false) => print(&plain(&answer.text)),
        }
        let (mut heard, mut tally, mut ended) = (listen(), Tally::default(), false);
        for (user, path) in &open {
            // Somebody else, or the answer before, may have settled it.
            let Some(told) = self.told(user, path)? else { continue };
            tally.left += 1;
            if ended {
                continue;
            }
            complain(&plain(&format!("\n{told}")));
            match choose(&mut heard).await {
                Chosen::Keep(keep) => self.settle(user, path, keep, answer, &mut tally).await?,
                Chosen::Skip => {}
                Chosen::End => ended = true,
            }
        }
        let Tally { settled, left } = tally;
        let summary = format!("conflicts: {settled} settled, {left} left open\n");
        match self.json {
            true => complain(&summary),
            false => answer.text = summary,
        }
        Ok(())
    }

    /// Both versions of a conflict, for whoever chooses; `None` when it is open no more.
    fn told(&self, user: &str, path: &str) -> Result<Option<String>, Stopped> {
        let status = read_status(self.settings)?;
        let found = status.users.get(user).and_then(|known| {
            open_conflicts(known).find(|open| open.path() == path).map(|open| open.told(user))
        });
        Ok(found)
    }

    /// Settles one as `homeport conflicts resolve` does. What cannot be settled is told, and the next
    /// one is asked about.
    async fn settle(
        &self,
        user: &str,
        path: &str,
        keep: Keep,
        answer: &mut Answer,
        tally: &mut Tally,
    ) -> Result<(), Stopped> {
        let mut teller = Teller::begin(Some(ProgressForm::None));
        let done = match resolve(path, keep, Some(user.to_owned()), self.settings) {
            Err(stopped) => Err(stopped),
            Ok(command) => tokio::select! {
                done = run(command, self.settings.clone(), &mut teller) => done,
                () = interrupted() => {
                    let hint = "`homeport conflicts list` says what is open";
                    return Err(Stopped::new("stopped at once", hint, Exit::Failed));
                }
            },
        };
        match done {
            Ok(Answer { error: None, text, refused, failed, .. }) => {
                answer.refused += refused;
                answer.failed += failed;
                // What was answered may not be possible here; the status knows what came of it.
                if self.told(user, path)?.is_none() {
                    (tally.settled, tally.left) = (tally.settled + 1, tally.left - 1);
                    complain("settled\n");
                } else if refused + failed == 0 {
                    complain("it stays open: of a folder and a file only both can be kept\n");
                } else {
                    complain(&plain(&text));
                }
            }
            Ok(Answer { error: Some(why), .. }) | Err(Stopped { message: why, .. }) => {
                answer.failed += 1;
                complain(&plain(&format!("error: {why}\n")));
            }
        }
        Ok(())
    }
}

/// What an exchange went through: the caches of its plan that were reached.
fn scopes(answer: &Value) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for turn in answer.as_array().into_iter().flatten() {
        let (steps, outcomes) = (&turn["plan"]["steps"], &turn["outcomes"]);
        let steps = steps.as_array().into_iter().flatten();
        for (step, outcome) in steps.zip(outcomes.as_array().into_iter().flatten()) {
            let what = serde_json::from_value(step["what"].clone());
            let outcome = serde_json::from_value::<Outcome>(outcome.clone());
            let (Ok(What::Sync(exchange)), Ok(outcome)) = (what, outcome) else { continue };
            if outcome.is_good() {
                let user = turn["user"].as_str().unwrap_or_default().to_owned();
                let (cache, only) = (exchange.remote.unc, exchange.how.only);
                scopes.push(Scope { user, cache, only });
            }
        }
    }
    scopes
}

impl Scope {
    /// The open conflicts in it: whose, and their network paths.
    fn open<'s>(&'s self, status: &'s Status) -> impl Iterator<Item = (String, String)> + 's {
        let open = status.users.get(&self.user).into_iter().flat_map(open_conflicts);
        open.filter(|open| self.holds(open)).map(|open| (self.user.clone(), open.path()))
    }

    fn holds(&self, open: &Open<'_>) -> bool {
        let lies_at = |top: &String| {
            let rest = open.conflict.path.strip_prefix(top.as_str());
            top.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Unc::parse(&open.cache.path).as_ref() == Ok(&self.cache)
            && (self.only.is_empty() || self.only.iter().any(lies_at))
    }
}

/// Asks until there is an answer that is known.
async fn choose(heard: &mut mpsc::Receiver<String>) -> Chosen {
    for _ in 0..=AGAIN_MAX {
        complain(PROMPT);
        let line = tokio::select! {
            line = heard.recv() => line,
            () = interrupted() => None,
        };
        let Some(line) = line else {
            complain("\n");
            return Chosen::End;
        };
        match line.trim().to_ascii_lowercase().as_str() {
            "l" | "local" => return Chosen::Keep(Keep::Local),
            "r" | "remote" => return Chosen::Keep(Keep::Remote),
            "b" | "both" => return Chosen::Keep(Keep::Both),
            "s" | "skip" => return Chosen::Skip,
            _ => complain("answer with l, r, b or s\n"),
        }
    }
    complain("skipped\n");
    Chosen::Skip
}

/// Reads answers from standard input beside the work, so that Ctrl-C is heard while one is due.
fn listen() -> mpsc::Receiver<String> {
    let (to, heard) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        // An input that fails is one that ended.
        while let Ok(Some(line)) = read_answer(&mut input) {
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    });
    heard
}

/// Reads one line; `None` is the end of the input.
fn read_answer(input: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// Returns at Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_answer_is_one_line_however_long() {
        let long = "l".repeat(1_000);
        let mut input = std::io::Cursor::new(format!("l\n\n{long}\nr"));
        let mut next = || read_answer(&mut input).unwrap();
        assert_eq!((next().as_deref(), next().as_deref()), (Some("l\n"), Some("\n")));
        assert_eq!(next().unwrap().len() as u64, ANSWER_BYTES_MAX);
        assert_eq!((next().as_deref(), next()), (Some("r"), None));
    }
}
