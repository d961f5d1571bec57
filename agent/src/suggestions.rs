//! Proposes primary computers from the sign-ins that were seen, as LDIF for a person to review.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate};
use homeport_policy::dn::Dn;
use serde::{Deserialize, Serialize};

use crate::directory::file::Snapshot;
use crate::directory::ldif_write;

/// One sign-in of a user on a computer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// As it signed in: alice, CORP\alice or alice@corp.test.
    pub user: String,
    /// NetBIOS name of the computer.
    pub computer: String,
    /// When, as RFC 3339 has it. The agent's log calls it `timestamp`.
    #[serde(alias = "timestamp")]
    pub time: String,
}

/// How often a user must have signed in on a computer for it to be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Earlier sign-ins do not count, in seconds since 1970.
    pub since_unix: i64,
    /// At least so many sign-ins.
    pub sign_ins_min: usize,
    /// On at least so many different days (UTC): one long afternoon makes nobody's computer.
    pub days_min: usize,
    /// At most so many computers for one user, those of most days first.
    pub computers_max: usize,
}

/// One proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suggestion {
    /// sAMAccountName.
    pub user: String,
    /// Where the user's entry lies.
    pub user_dn: Dn,
    /// Name of the computer.
    pub computer: String,
    /// Where the computer's entry lies.
    pub computer_dn: Dn,
    /// How many sign-ins were seen.
    pub sign_ins: usize,
    /// On how many days.
    pub days: usize,
}

/// All proposals, and what could not be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suggested {
    /// By user, then by computer.
    pub suggestions: Vec<Suggestion>,
    /// Names among the sign-ins that the directory does not have.
    pub unknown: BTreeSet<String>,
}

/// Why a list of sign-ins cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SignInsError {
    /// A row of CSV is malformed.
    #[error("the list of sign-ins is no CSV with the columns user, computer, time")]
    Csv(#[from] csv::Error),
    /// A line of JSON is malformed.
    #[error("line {line} of the log is no JSON object")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// A time is malformed.
    #[error("{time:?} is no time as RFC 3339 has it, such as 2026-11-21T08:30:00Z")]
    Time {
        /// What stands there.
        time: String,
        /// Why.
        source: chrono::ParseError,
    },
}

/// The message of the agent's log that tells a sign-in.
pub const SIGNED_IN: &str = "Signed in.";

/// Reads sign-ins: CSV with the columns `user`, `computer` and `time`, or the agent's own log in its
/// JSON form, of which all other lines are passed over.
///
/// # Errors
/// [`SignInsError`].
pub fn read(text: &str) -> Result<Vec<SignIn>, SignInsError> {
    if !text.trim_start().starts_with('{') {
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        return Ok(reader.deserialize().collect::<Result<_, _>>()?);
    }
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let json = |source| SignInsError::Json { line: at + 1, source };
        let entry: serde_json::Value = serde_json::from_str(line).map_err(json)?;
        if entry.get("message").and_then(|message| message.as_str()) == Some(SIGNED_IN) {
            found.push(serde_json::from_value(entry).map_err(json)?);
        }
    }
    Ok(found)
}

/// Proposes what the directory does not have yet.
///
/// # Errors
/// [`SignInsError::Time`].
pub fn suggest(
    snapshot: &Snapshot,
    sign_ins: &[SignIn],
    rule: Rule,
) -> Result<Suggested, SignInsError> {
    let mut seen: BTreeMap<(String, String), (usize, BTreeSet<NaiveDate>)> = BTreeMap::new();
    let mut suggested = Suggested::default();
    for SignIn { user, computer, time } in sign_ins {
        let at = DateTime::parse_from_rfc3339(time)
            .map_err(|source| SignInsError::Time { time: time.clone(), source })?;
        if at.timestamp() < rule.since_unix {
            continue;
        }
        let Some(known) = snapshot.user(user) else {
            suggested.unknown.insert(user.clone());
            continue;
        };
        let entry = seen.entry((known.name.clone(), computer.to_lowercase())).or_default();
        entry.0 += 1;
        entry.1.insert(at.to_utc().date_naive());
    }
    let mut of_user: BTreeMap<String, Vec<Suggestion>> = BTreeMap::new();
    for ((user, computer), (sign_ins, days)) in seen {
        if sign_ins < rule.sign_ins_min || days.len() < rule.days_min {
            continue;
        }
        match proposal(snapshot, &user, &computer) {
            Ok(Some((user_dn, computer, computer_dn))) => {
                let days = days.len();
                let suggestions = of_user.entry(user.clone()).or_default();
                suggestions.push(Suggestion {
                    user,
                    user_dn,
                    computer,
                    computer_dn,
                    sign_ins,
                    days,
                });
            }
            Ok(None) => {}
            Err(unknown) => drop(suggested.unknown.insert(unknown)),
        }
    }
    for mut suggestions in of_user.into_values() {
        suggestions.sort_by(|a, b| b.days.cmp(&a.days).then(b.sign_ins.cmp(&a.sign_ins)));
        suggestions.truncate(rule.computers_max);
        suggested.suggestions.extend(suggestions);
    }
    Ok(suggested)
}

/// The entries of a user and a computer, if the one does not list the other yet; an error names a
/// computer that the directory does not have.
fn proposal(
    snapshot: &Snapshot,
    user: &str,
    computer: &str,
) -> Result<Option<(Dn, String, Dn)>, String> {
    let Some(user) = snapshot.user(user) else { return Ok(None) };
    let known = snapshot.computer(computer, crate::identity::THIS_OS, None);
    let Some((name, dn)) = known.and_then(|known| Some((known.name, known.dn?))) else {
        return Err(computer.to_owned());
    };
    let listed = user.primary_computers.contains(&dn);
    Ok(user.dn.clone().filter(|_| !listed).map(|user_dn| (user_dn, name, dn)))
}

impl Suggested {
    /// Change records that add what is proposed; nothing else of an entry is touched.
    pub fn ldif(&self) -> String {
        let mut out = String::from(ldif_write::VERSION);
        ldif_write::comment(&mut out, "Proposed by homeport primary-computers suggest.");
        ldif_write::comment(&mut out, "Review it, then hand it to ldapmodify or ldifde -i.");
        for Suggestion { user_dn, computer, computer_dn, sign_ins, days, .. } in &self.suggestions {
            out.push('\n');
            let why = format!("{computer}: {sign_ins} sign-ins on {days} days");
            ldif_write::comment(&mut out, &why);
            let lines = [
                ("dn", user_dn.to_string()),
                ("changetype", "modify".to_owned()),
                ("add", "msDS-PrimaryComputer".to_owned()),
                ("msDS-PrimaryComputer", computer_dn.to_string()),
            ];
            for (name, value) in lines {
                ldif_write::attribute(&mut out, name, value.as_bytes());
            }
            out.push_str("-\n");
        }
        out
    }
}
