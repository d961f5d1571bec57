//! Answers questions about items of a user's caches, and changes what is kept about them.

use homeport_policy::unc::Unc;
use homeport_sync::codes::{ResultCode, code_of};
use homeport_sync::state::SyncState;
use homeport_sync::{
    FailureKind, Item, ItemResult, Kind, Pending, PendingChange, PendingItem, Verdict, pins,
};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::control::Answer;
use crate::cycle::{Turn, cycle};
use crate::execute::Worker;
use crate::items::{Ask, Found, Kept};
use crate::outcome::{Outcome, chain};
use crate::plan::{Exchange, Occasion, part};
use crate::report::status::moment;
use crate::wish::{Place, Wish, network_path};
use crate::words::count;
use crate::worker::Inspected;

/// The caches that something was asked about, and who can look into them.
#[derive(Debug)]
pub struct Caches {
    /// The user's worker.
    pub worker: Worker,
    /// Each cache, and the path below it that was asked about.
    pub caches: Vec<(Exchange, String)>,
}

/// Finds the cache that a place lies in, and with `below` those that lie below it; without a place,
/// every cache of the user.
///
/// # Errors
/// The [`Answer`] that says why there is none.
pub async fn find(
    agent: &mut Agent,
    user: &str,
    place: Option<&Place>,
    below: bool,
) -> Result<Caches, Answer> {
    let failed = |error: String| Answer { error: Some(error), ..Answer::default() };
    let wish = Wish { only: place.cloned(), ..Wish::default() };
    let (occasion, cause, user) = (Occasion::Manual, "a question".to_owned(), user.to_owned());
    let turn = Turn { user, occasion, cause, wish, dry: true };
    let user = &turn.user;
    let done = cycle(agent, &turn).await.map_err(|error| failed(chain(&error)))?;
    let mut worker = agent.worker(user).await.map_err(|error| failed(chain(&error)))?;
    let caches = agent.exchanges(user, &done, &turn.wish, &mut worker).await;
    let mut caches = caches.map_err(|error| failed(chain(&error)))?;
    caches.retain(|exchange| below || place.is_none_or(|place| !is_above(place, exchange)));
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

/// Whether a place is not the cache nor in it, but a folder above it.
fn is_above(place: &Place, exchange: &Exchange) -> bool {
    let Exchange { remote, local, .. } = exchange;
    match place {
        Place::Network(unc) => remote.unc.is_within(unc) && remote.unc != *unc,
        Place::Local(path) => local.starts_with(path) && local != path,
    }
}

fn refused(about: &str, why: &str, hint: &str) -> Answer {
    Answer {
        text: format!("{about}: refused: {why}\n  help: {hint}\n"),
        json: json!({ "path": about, "refused": why, "hint": hint }),
        refused: 1,
        code: Some(ResultCode::NotCached),
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
    let is_named = user.is_some();
    let users = match user {
        Some(name) => match agent.account_name(&name, false).await {
            Some(user) => vec![user],
            None => return Answer::no_user(&name),
        },
        None => agent.status.users.keys().cloned().collect(),
    };
    let is_list = matches!(ask, Ask::List(_) | Ask::Dirty | Ask::Recycled);
    let mut answer = Answer { json: Value::Array(Vec::new()), ..Answer::default() };
    for user in users {
        let mut found = match find(agent, &user, place.as_ref(), is_list).await {
            Ok(found) => found,
            // What cannot be told of one must not hide the others.
            Err(Answer { error: Some(why), .. }) if !is_named => {
                let (text, json) =
                    (format!("{user}: failed: {why}\n"), json!({ "user": user, "error": why }));
                add(&mut answer, Answer { text, json, failed: 1, ..Answer::default() });
                continue;
            }
            Err(refused) => {
                add(&mut answer, refused);
                continue;
            }
        };
        match ask {
            Ask::Dirty => add(&mut answer, dirty(agent, &user, &mut found).await),
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
            Ask::Recycled => "no old versions\n",
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
        Found::Listed { rows, more, notes, more_notes } => {
            let (mut text, mut json) = listed(user, &root, &rows, more);
            text.push_str(&note_lines(&root, &notes, more_notes, "could not be read"));
            json["notes"] = json!(notes);
            let mut unread = notes.iter().filter(|note| is_unread(&note.result));
            let code = unread.next().map(|note| code_of(&note.result));
            let failed = u32::from(code.is_some());
            return Answer { text, json, failed, code, ..Answer::default() };
        }
        Found::Pinned { now: who, was } => {
            let text = pin_words(ask, who, was);
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
        Found::Recycled { rows, more } => recycled(user, &root, &rows, more),
        Found::Not(outcome) => return not(&path, &outcome),
    };
    Answer { text, json, ..Answer::default() }
}

fn not(path: &str, outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Refused { why, hint, code } => {
            let code = code.or(Some(ResultCode::FileNotFound));
            Answer { code, ..refused(path, why, hint) }
        }
        Outcome::Failed { why, .. } => {
            let code = outcome.code().unwrap_or(ResultCode::InternalError);
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

/// For whom an item is pinned now, and what a person's word changed about that.
fn pin_words(ask: Ask, now: u32, was: u32) -> String {
    let words = |who| pinned_for(who).join(", ");
    match (ask, now) {
        (Ask::Unpin(who), now) if was & who == 0 => match now {
            0 => "it was not pinned".to_owned(),
            now => format!("it was not pinned for {}; pinned for {}", words(who), words(now)),
        },
        (Ask::Unpin(who), 0) => format!("no longer pinned for {}", words(who)),
        (Ask::Unpin(who), now) if now & who != 0 => {
            let above = "by a folder above it, which is not unpinned";
            format!("still pinned for {} {above}; pinned for {}", words(who), words(now))
        }
        (Ask::Unpin(who), now) => {
            format!("no longer pinned for {}, but still for {}", words(who), words(now))
        }
        (_, 0) => "not pinned".to_owned(),
        (_, now) => format!("pinned for {}", words(now)),
    }
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
    // What is new here says all there is to say; of what changed the state tells on which side.
    let is_new = matches!(
        row.state,
        SyncState::FileCreatedOnClient_NoServerCopy | SyncState::DirCreatedOnClient_NoServerCopy
    );
    let is_sparse =
        matches!(row.state, SyncState::FileSparseOnClient | SyncState::DirSparseOnClient);
    let marks = [
        (row.sparse, "not stored here"),
        (row.suspended, "suspended"),
        (is_new, "not on the share yet"),
        (row.conflict, "conflict"),
    ];
    words.extend(marks.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()));
    if row.state != SyncState::Stable && !is_new && !is_sparse {
        words.push(inside_a_sentence(row.state.text()));
    }
    let slash = if row.kind == Kind::Dir { "/" } else { "" };
    match words.is_empty() {
        true => format!("{}{slash}", row.path),
        false => format!("{}{slash} ({})", row.path, words.join("; ")),
    }
}

fn recycled(user: &str, root: &Unc, rows: &[Kept], more: u64) -> (String, Value) {
    let mut text = String::new();
    for row in rows {
        let side = if row.here { "the one here" } else { "the one on the share" };
        let (when, bytes) = (moment(row.since_unix.saturating_mul(1000)), count(row.bytes, "byte"));
        text.push_str(&format!(
            "{}\n    {side}, {bytes}, kept since {when}\n",
            network_path(root, &row.path)
        ));
        text.push_str(&format!("    {}\n", row.place.display()));
    }
    if more > 0 {
        text.push_str(&format!("{root}: {more} more are not listed; name a folder\n"));
    }
    let json = json!({ "user": user, "path": root.as_str(), "versions": rows, "more": more });
    (text, json)
}

/// A sentence as a part of another one.
fn inside_a_sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

/// Whether something could not be read: what is in it is not known.
fn is_unread(result: &Verdict) -> bool {
    matches!(result, Verdict::Failed { kind, .. } if *kind != FailureKind::Name)
}

/// What could not be read, or takes no part, and why; `unread` is said of the former.
fn note_lines(root: &Unc, notes: &[ItemResult], more: u64, unread: &str) -> String {
    let mut text = String::new();
    for note in notes {
        let path = network_path(root, &note.path);
        let what = if is_unread(&note.result) { unread } else { "cannot be sent" };
        text.push_str(&format!("{path}: {what}: {}\n", reason(&note.result)));
    }
    if more > 0 {
        text.push_str(&format!("{root}: {more} more {unread}, and are not listed\n"));
    }
    text
}

/// Why something takes no part, in words.
fn reason(result: &Verdict) -> String {
    match result {
        Verdict::Skipped { why } => why.text().to_owned(),
        Verdict::Failed { message, .. } => message.clone(),
        other => code_of(other).text().trim_end_matches('.').to_owned(),
    }
}

/// What would be lost if this disk died now, and apart from it what is still to be deleted.
async fn dirty(agent: &Agent, user: &str, found: &mut Caches) -> Answer {
    let (exchanges, below): (Vec<Exchange>, Vec<String>) = found.caches.drain(..).unzip();
    let inspected = match found.worker.inspect(exchanges.clone()).await {
        Ok(inspected) => inspected,
        Err(error) => return Answer { error: Some(chain(&error)), ..Answer::default() },
    };
    let mut answer = Answer::default();
    let (mut items, mut bytes, mut deletes, mut caches) = (0, 0, 0, Vec::new());
    for ((exchange, below), inspected) in exchanges.iter().zip(below).zip(inspected) {
        let Inspected { pending, error, .. } = inspected;
        let root = &exchange.remote.unc;
        let pending = only_below(pending.unwrap_or_default(), &below);
        let known = agent.status.cache(user, root.as_str());
        if let Some(why) = known.and_then(|known| known.halted.as_ref()) {
            let alone = "the share is not proved; everything here may be the only copy";
            answer.text.push_str(&format!("{root}: {alone}: {why}\n"));
        }
        let is_delete = |item: &&PendingItem| item.change == PendingChange::Removed;
        let (removed, rest): (Vec<_>, Vec<_>) = pending.items.iter().partition(is_delete);
        deletes += removed.len() as u64;
        items += pending.total_items - removed.len() as u64;
        bytes += pending.total_bytes;
        for item in rest.into_iter().chain(removed) {
            let (path, change) = (network_path(root, &item.path), item.change);
            let change = format!("{change:?}").to_lowercase();
            answer.text.push_str(&format!("{path} ({change}, {} bytes)\n", item.bytes));
        }
        let unlisted = pending.total_items.saturating_sub(pending.items.len() as u64);
        if unlisted > 0 {
            answer.text.push_str(&format!("{root}: {unlisted} more are not listed\n"));
        }
        let more = pending.total_unsent.saturating_sub(pending.unsent.len() as u64);
        answer.text.push_str(&note_lines(root, &pending.unsent, more, "cannot be sent"));
        if let Some(error) = &error {
            answer.failed += 1;
            answer.text.push_str(&format!("{root}: {error}\n"));
        }
        caches.push(json!({ "path": root.as_str(), "pending": pending, "error": error }));
    }
    if items > 0 {
        let (bytes, are) = (count(bytes, "byte"), if items == 1 { "is" } else { "are" });
        let total = format!("{} with {bytes} {are} only on this computer", count(items, "item"));
        answer.text.push_str(&format!("{user}: {total}\n"));
    }
    if deletes > 0 {
        let total = format!(
            "{} not on the share yet; nothing of it would be lost",
            count(deletes, "delete")
        );
        answer.text.push_str(&format!("{user}: {total}\n"));
    }
    let json = json!({
        "user": user, "items": items, "bytes": bytes, "deletes": deletes, "caches": caches,
    });
    Answer { json, ..answer }
}

/// What of it lies at a path or below it. Of a part, only what is listed can be counted.
fn only_below(mut pending: Pending, below: &str) -> Pending {
    if below.is_empty() {
        return pending;
    }
    let lies_in = |path: &str| {
        let rest = path.strip_prefix(below);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    pending.items.retain(|item| lies_in(&item.path));
    pending.unsent.retain(|item| lies_in(&item.path));
    pending.total_unsent = pending.unsent.len() as u64;
    pending.total_bytes = pending.items.iter().map(|item| item.bytes).sum();
    pending.total_items = pending.items.len() as u64;
    pending
}
