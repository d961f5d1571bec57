//! Answers questions about items of a user's caches, and changes what is kept about them.

use homeport_policy::unc::Unc;
use homeport_sync::codes::ResultCode;
use homeport_sync::state::SyncState;
use homeport_sync::{Item, Kind, pins};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::control::Answer;
use crate::cycle::{Turn, cycle};
use crate::execute::Worker;
use crate::items::{Ask, Found};
use crate::outcome::{Outcome, chain};
use crate::plan::{Exchange, Occasion, part};
use crate::wish::{Place, Wish, network_path};
use crate::worker::Inspected;

/// The caches that something was asked about, and who can look into them.
#[derive(Debug)]
pub struct Caches {
    /// The user's worker.
    pub worker: Worker,
    /// Each cache, and the path below it that was asked about.
    pub caches: Vec<(Exchange, String)>,
}

/// Finds the cache that a place lies in; without a place, every cache of the user.
///
/// # Errors
/// The [`Answer`] that says why there is none.
pub async fn find(agent: &mut Agent, user: &str, place: Option<&Place>) -> Result<Caches, Answer> {
    let failed = |error: String| Answer { error: Some(error), ..Answer::default() };
    let wish = Wish { only: place.cloned(), ..Wish::default() };
    let (occasion, cause, user) = (Occasion::Manual, "a question".to_owned(), user.to_owned());
    let turn = Turn { user, occasion, cause, wish, dry: true };
    let user = &turn.user;
    let done = cycle(agent, &turn).await.map_err(|error| failed(chain(&error)))?;
    let mut worker = agent.worker(user).await.map_err(|error| failed(chain(&error)))?;
    let caches = agent.exchanges(user, &done, &turn.wish, &mut worker).await;
    let mut caches = caches.map_err(|error| failed(chain(&error)))?;
    if let Some(place) = place
        && caches.is_empty()
    {
        let all = agent.exchanges(user, &done, &Wish::default(), &mut worker).await;
        let all = all.map_err(|error| failed(chain(&error)))?;
        let uncs = all.iter().map(|exchange| &exchange.remote.unc);
        let (why, hint) = part::lies_outside(user, uncs);
        return Err(refused(&place.to_string(), &why, &hint));
    }
    let below = |exchange: &mut Exchange| exchange.how.only.pop().unwrap_or_default();
    let with_path = |mut exchange: Exchange| {
        let below = below(&mut exchange);
        (exchange, below)
    };
    Ok(Caches { worker, caches: caches.drain(..).map(with_path).collect() })
}

fn refused(about: &str, why: &str, hint: &str) -> Answer {
    Answer {
        text: format!("{about}: refused: {why}\n  help: {hint}\n"),
        json: json!({ "path": about, "refused": why, "hint": hint }),
        refused: 1,
        code: Some(ResultCode::ShareOffline),
        ..Answer::default()
    }
}

/// Answers for one user, or for everybody who is known; what belongs together is one list.
pub async fn ask(
    agent: &mut Agent,
    user: Option<String>,
    place: Option<Place>,
    ask: Ask,
) -> Answer {
    let users = match user {
        Some(user) => vec![agent.account_name(&user).await],
        None => agent.status.users.keys().cloned().collect(),
    };
    let mut answer = Answer { json: Value::Array(Vec::new()), ..Answer::default() };
    for user in users {
        let mut found = match find(agent, &user, place.as_ref()).await {
            Ok(found) => found,
            Err(refused) => {
                add(&mut answer, refused);
                continue;
            }
        };
        match ask {
            Ask::Dirty => add(&mut answer, dirty(&user, &mut found).await),
            ask => {
                for (exchange, below) in found.caches {
                    let keeps_off = match ask {
                        Ask::Pin(_) => policy_refuses(agent, &user, &exchange.remote.unc, &below),
                        _ => None,
                    };
                    let more = match keeps_off {
                        Some(answer) => answer,
                        None => one(&user, &mut found.worker, exchange, below, ask).await,
                    };
                    add(&mut answer, more);
                }
            }
        }
    }
    finish(ask, answer)
}

/// What nobody has anything to say about is said in a word.
fn finish(ask: Ask, mut answer: Answer) -> Answer {
    if answer.text.is_empty() && answer.error.is_none() {
        answer.text = match ask {
            Ask::Dirty => "nothing\n",
            _ => "no items\n",
        }
        .to_owned();
    }
    answer
}

fn add(answer: &mut Answer, more: Answer) {
    answer.text.push_str(&more.text);
    answer.refused += more.refused;
    answer.failed += more.failed;
    answer.code = answer.code.or(more.code);
    answer.error = answer.error.take().or(more.error);
    if let (Value::Array(all), false) = (&mut answer.json, more.json.is_null()) {
        all.push(more.json);
    }
}

/// Policy may keep people from pinning, everywhere or below some folders.
fn policy_refuses(agent: &Agent, user: &str, cache: &Unc, below: &str) -> Option<Answer> {
    let path = match below {
        "" => Some(cache.clone()),
        below => cache.join(&below.replace('/', r"\")).ok(),
    };
    let keeping = agent.known(user).keeping?;
    let why = keeping.refuses(path.as_ref().unwrap_or(cache))?;
    let refused = refused(&network_path(cache, below), &why, "ask whoever writes the policy");
    Some(Answer { code: Some(ResultCode::AccessDenied), ..refused })
}

async fn one(
    user: &str,
    worker: &mut Worker,
    exchange: Exchange,
    below: String,
    ask: Ask,
) -> Answer {
    let root = exchange.remote.unc.clone();
    let path = network_path(&root, &below);
    let found = match worker.items(exchange, below, ask).await {
        Ok(found) => found,
        Err(error) => return Answer { error: Some(chain(&error)), ..Answer::default() },
    };
    let (text, json) = match found {
        Found::Listed { rows, more } => listed(user, &root, &rows, more),
        Found::Pinned(who) => {
            let text = match who {
                0 => "not pinned".to_owned(),
                who => format!("pinned for {}", pinned_for(who).join(", ")),
            };
            let json = json!({ "user": user, "path": path, "pinned": pinned_for(who) });
            (format!("{path}: {text}\n"), json)
        }
        Found::Suspended(suspended) => {
            let text = match suspended {
                true => "suspended; exchanges that nobody asks for leave it alone",
                false => "exchanged again with the rest",
            };
            let json = json!({ "user": user, "path": path, "suspended": suspended });
            (format!("{path}: {text}\n"), json)
        }
        Found::Not(outcome) => return not(&path, &outcome),
    };
    Answer { text, json, ..Answer::default() }
}

fn not(path: &str, outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Refused { why, hint } => {
            Answer { code: Some(ResultCode::FileNotFound), ..refused(path, why, hint) }
        }
        Outcome::Failed { why, unreachable } => {
            let code =
                if *unreachable { ResultCode::ShareOffline } else { ResultCode::InternalError };
            Answer {
                text: format!("{path}: failed: {why}\n  {code}\n"),
                json: json!({ "path": path, "failed": why }),
                failed: 1,
                code: Some(code),
                ..Answer::default()
            }
        }
        Outcome::Done { .. } | Outcome::Unchanged => Answer::default(),
    }
}

/// For whom something is pinned, in words.
fn pinned_for(who: u32) -> Vec<&'static str> {
    let all = [
        (pins::USER, "the user"),
        (pins::USER_POLICY, "policy"),
        (pins::ALL, "everybody"),
        (pins::REDIRECTED, "a redirected folder"),
    ];
    all.iter().filter(|(bit, _)| who & bit != 0).map(|(_, word)| *word).collect()
}

fn listed(user: &str, root: &Unc, rows: &[Item], more: u64) -> (String, Value) {
    let list: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut json = json!(row);
            json["network-path"] = network_path(root, &row.path).into();
            json["pinned-for"] = pinned_for(row.pinned).into();
            json
        })
        .collect();
    let json = json!({ "user": user, "path": root.as_str(), "items": list, "more": more });
    let mut text = String::new();
    if !rows.is_empty() {
        text = format!("{root}\n");
    }
    for row in rows {
        text.push_str(&format!("{:>14}  {}\n", row.bytes, row_words(row)));
    }
    if more > 0 {
        text.push_str(&format!("  {more} more are not listed; name a folder\n"));
    }
    (text, json)
}

fn row_words(row: &Item) -> String {
    let mut words = Vec::new();
    if row.pinned != 0 {
        words.push(format!("pinned for {}", pinned_for(row.pinned).join(", ")));
    }
    let marks = [
        (row.sparse, "not stored here"),
        (row.suspended, "suspended"),
        (row.dirty, "not on the share yet"),
        (row.conflict, "conflict"),
    ];
    words.extend(marks.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()));
    if row.state != SyncState::Stable {
        words.push(row.state.text().trim_end_matches('.').to_owned());
    }
    let slash = if row.kind == Kind::Dir { "/" } else { "" };
    match words.is_empty() {
        true => format!("{}{slash}", row.path),
        false => format!("{}{slash} ({})", row.path, words.join("; ")),
    }
}

/// What would be lost if this disk died now.
async fn dirty(user: &str, found: &mut Caches) -> Answer {
    let exchanges: Vec<Exchange> = found.caches.drain(..).map(|(exchange, _)| exchange).collect();
    let inspected = match found.worker.inspect(exchanges.clone()).await {
        Ok(inspected) => inspected,
        Err(error) => return Answer { error: Some(chain(&error)), ..Answer::default() },
    };
    let mut answer = Answer::default();
    let (mut items, mut bytes, mut caches) = (0, 0, Vec::new());
    for (exchange, Inspected { pending, error, .. }) in exchanges.iter().zip(inspected) {
        let root = &exchange.remote.unc;
        let pending = pending.unwrap_or_default();
        items += pending.total_items;
        bytes += pending.total_bytes;
        for item in &pending.items {
            let (path, change) = (network_path(root, &item.path), item.change);
            let change = format!("{change:?}").to_lowercase();
            answer.text.push_str(&format!("{path} ({change}, {} bytes)\n", item.bytes));
        }
        let unlisted = pending.total_items.saturating_sub(pending.items.len() as u64);
        if unlisted > 0 {
            answer.text.push_str(&format!("{root}: {unlisted} more are not listed\n"));
        }
        if let Some(error) = &error {
            answer.failed += 1;
            answer.text.push_str(&format!("{root}: {error}\n"));
        }
        caches.push(json!({ "path": root.as_str(), "pending": pending, "error": error }));
    }
    if items > 0 {
        let total = format!("{items} items with {bytes} bytes are only on this computer");
        answer.text.push_str(&format!("{user}: {total}\n"));
    }
    let json = json!({ "user": user, "items": items, "bytes": bytes, "caches": caches });
    Answer { json, ..answer }
}
