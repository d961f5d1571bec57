//! What an exchange left undone, and why: so that a person need not search for it.

use std::collections::BTreeMap;

use homeport_sync::codes::{ResultCode, code_of};
use homeport_sync::{ItemResult, Report, Verdict};
use serde::{Deserialize, Serialize};

use crate::limits::UNDONE_MAX;

/// How many items the engine lists of one run.
const LISTED_MAX: usize = 1_000;

/// An item that an exchange left undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Left {
    /// The path below the root, with `/`.
    pub path: String,
    /// Why, in words.
    pub why: String,
    /// The same, as Windows would say it.
    pub code: ResultCode,
}

impl Left {
    /// What became of an item, if it was left undone and no other list tells it.
    fn of(item: &ItemResult) -> Option<Self> {
        let code = code_of(&item.result);
        let why = match &item.result {
            Verdict::Failed { message, .. } => message.clone(),
            Verdict::Skipped { why } => why.text().to_owned(),
            Verdict::Screened | Verdict::Busy | Verdict::PutOff => {
                code.text().trim_end_matches('.').to_owned()
            }
            Verdict::Done | Verdict::Conflict | Verdict::Held => return None,
        };
        Some(Self { path: item.path.clone(), why, code })
    }
}

/// Everything that an exchange left undone: what failed first, and not too much of it.
pub fn left(report: &Report) -> Vec<Left> {
    let is_failed = |item: &&ItemResult| matches!(item.result, Verdict::Failed { .. });
    let (failed, others): (Vec<_>, Vec<_>) = report.items.iter().partition(is_failed);
    failed.into_iter().chain(others).filter_map(Left::of).take(UNDONE_MAX).collect()
}

/// How many items an exchange left undone.
pub fn count(report: &Report) -> u64 {
    report.counts.failed + report.counts.skipped + report.counts.screened + report.counts.put_off
}

/// What the brake holds of an exchange, item by item, and not too much of it.
pub fn held(report: &Report) -> Vec<String> {
    let held = report.items.iter().filter(|item| item.result == Verdict::Held);
    let mut paths: Vec<String> = held.map(|item| item.path.clone()).collect();
    paths.sort();
    paths.truncate(UNDONE_MAX);
    paths
}

/// Items that were told as undone while an exchange goes on. The engine's own list is full after the
/// first thousand items, whatever became of them.
#[derive(Debug, Default)]
pub struct Undone(BTreeMap<String, ItemResult>);

impl Undone {
    /// Notes what became of an item; the last word counts.
    pub fn note(&mut self, item: &ItemResult) {
        let is_due = item.result == Verdict::Held || Left::of(item).is_some();
        if !is_due {
            self.0.remove(&item.path);
        } else if self.0.len() < 2 * UNDONE_MAX || matches!(item.result, Verdict::Failed { .. }) {
            if self.0.len() >= 4 * UNDONE_MAX {
                return;
            }
            self.0.insert(item.path.clone(), item.clone());
        }
    }

    /// The report, with what was left undone in its list.
    pub fn listed_in(self, mut report: Report) -> Report {
        if report.items.len() >= LISTED_MAX {
            let known: Vec<&String> = report.items.iter().map(|item| &item.path).collect();
            let missing = self.0.values().filter(|item| !known.contains(&&item.path));
            let missing: Vec<ItemResult> = missing.cloned().collect();
            report.items.extend(missing);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use homeport_sync::{Did, FailureKind};

    use super::*;

    fn item(path: &str, result: Verdict) -> ItemResult {
        ItemResult { path: path.to_owned(), action: Did::Upload, result }
    }

    fn failed(path: &str) -> ItemResult {
        let message = format!("cannot send {path}");
        item(path, Verdict::Failed { kind: FailureKind::Io, message })
    }

    #[test]
    fn what_failed_is_listed_also_behind_a_thousand_that_did_not() {
        let mut undone = Undone::default();
        let mut report = Report::default();
        for number in 0..LISTED_MAX {
            report.items.push(item(&number.to_string(), Verdict::Done));
        }
        undone.note(&item("busy", Verdict::Busy));
        undone.note(&failed("z"));
        undone.note(&failed("tried again"));
        undone.note(&item("tried again", Verdict::Done));
        let left = left(&undone.listed_in(report));
        let paths: Vec<&str> = left.iter().map(|left| left.path.as_str()).collect();
        assert_eq!(paths, ["z", "busy"], "what failed comes first");
        assert_eq!(left[0].why, "cannot send z");
    }

    #[test]
    fn a_list_stays_short() {
        let items = (0..100).map(|number| failed(&number.to_string())).collect();
        let report = Report { items, ..Report::default() };
        assert_eq!(left(&report).len(), UNDONE_MAX);
    }
}
