//! Which background sync is due when: one at a time for each scope, and whoever waits longest first.

use std::collections::BTreeMap;

use homeport_policy::unc::Unc;

use crate::limits::BACKGROUND_PAUSE;

/// The next background sync of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it is due, in milliseconds since 1970; `None` if it is not.
    pub at_unix_ms: Option<i64>,
    /// Why then, or why not at all.
    pub why: String,
    /// The stable word for that in metrics.
    pub code: &'static str,
}

/// A background sync that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub user: String,
    /// The scope.
    pub unc: Unc,
    /// Why now.
    pub why: String,
    /// The stable word for that.
    pub code: &'static str,
}

/// The background syncs of everybody's scopes.
#[derive(Debug, Default)]
pub struct Schedule {
    users: BTreeMap<String, BTreeMap<Unc, Entry>>,
}

#[derive(Debug)]
struct Entry {
    planned: Planned,
    /// When it was handed out last.
    begun_unix_ms: Option<i64>,
}

impl Entry {
    /// One that fails stays due, but is not tried all the time. A clock that was set back does not
    /// put it off.
    fn at(&self, now_unix_ms: i64) -> Option<i64> {
        let at = self.planned.at_unix_ms?;
        let pause = i64::try_from(BACKGROUND_PAUSE.as_millis()).unwrap_or(i64::MAX);
        let begun = self.begun_unix_ms.filter(|begun| *begun <= now_unix_ms);
        Some(begun.map_or(at, |begun| at.max(begun.saturating_add(pause))))
    }
}

impl Schedule {
    /// Replaces what is planned for a user.
    pub fn plan(&mut self, user: &str, planned: impl IntoIterator<Item = (Unc, Planned)>) {
        let mut before = self.users.remove(user).unwrap_or_default();
        let entries = planned.into_iter().map(|(unc, planned)| {
            let begun_unix_ms = before.remove(&unc).and_then(|entry| entry.begun_unix_ms);
            (unc, Entry { planned, begun_unix_ms })
        });
        let entries: BTreeMap<Unc, Entry> = entries.collect();
        if !entries.is_empty() {
            self.users.insert(user.to_owned(), entries);
        }
    }

    /// What is planned for a scope.
    pub fn of(&self, user: &str, unc: &Unc) -> Option<&Planned> {
        Some(&self.users.get(user)?.get(unc)?.planned)
    }

    /// When a user's next background sync is due.
    pub fn next_of(&self, user: &str, now_unix_ms: i64) -> Option<i64> {
        let entries = self.users.get(user)?.values();
        entries.filter_map(|entry| entry.at(now_unix_ms)).min()
    }

    /// When the next background sync of all is due.
    pub fn next(&self, now_unix_ms: i64) -> Option<i64> {
        self.users.keys().filter_map(|user| self.next_of(user, now_unix_ms)).min()
    }

    /// Hands out what is due, the one that has waited longest first.
    pub fn take_due(&mut self, now_unix_ms: i64) -> Vec<Due> {
        let mut due = Vec::new();
        for (user, entries) in &mut self.users {
            for (unc, entry) in entries {
                let Some(at) = entry.at(now_unix_ms).filter(|at| *at <= now_unix_ms) else {
                    continue;
                };
                entry.begun_unix_ms = Some(now_unix_ms);
                let Planned { why, code, .. } = entry.planned.clone();
                due.push((at, Due { user: user.clone(), unc: unc.clone(), why, code }));
            }
        }
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, due)| due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: i64 = BACKGROUND_PAUSE.as_millis() as i64;

    fn unc(text: &str) -> Unc {
        Unc::parse(text).unwrap()
    }

    fn at(at_unix_ms: Option<i64>) -> Planned {
        Planned { at_unix_ms, why: "for a test".to_owned(), code: "interval" }
    }

    fn taken(schedule: &mut Schedule, now: i64) -> Vec<String> {
        schedule.take_due(now).into_iter().map(|due| due.unc.to_string()).collect()
    }

    #[test]
    fn each_scope_has_a_time_of_its_own_and_the_longest_waiting_goes_first() {
        let mut schedule = Schedule::default();
        let [a, b, c, d] = [r"\\s\a", r"\\s\b", r"\\s\c", r"\\s\d"];
        schedule.plan("alice", [(unc(a), at(Some(30))), (unc(b), at(Some(10)))]);
        schedule.plan("bob", [(unc(c), at(Some(20))), (unc(d), at(None))]);
        assert_eq!(schedule.next(0), Some(10));
        assert_eq!(schedule.next_of("bob", 0), Some(20));
        assert_eq!(taken(&mut schedule, 9), [""; 0]);
        assert_eq!(taken(&mut schedule, 30), [b, c, a]);
        assert_eq!(taken(&mut schedule, 30), [""; 0], "handed out once");
    }

    #[test]
    fn one_that_failed_comes_again_after_a_pause_and_others_do_not_wait_for_it() {
        let mut schedule = Schedule::default();
        let (a, b) = (r"\\s\a", r"\\s\b");
        schedule.plan("alice", [(unc(a), at(Some(0))), (unc(b), at(Some(50)))]);
        assert_eq!(taken(&mut schedule, 10), [a]);
        // It failed, so it is still due when the turn is over.
        schedule.plan("alice", [(unc(a), at(Some(0))), (unc(b), at(Some(50)))]);
        assert_eq!(taken(&mut schedule, 60), [b]);
        assert_eq!(schedule.next(60), Some(10 + PAUSE));
        assert_eq!(taken(&mut schedule, 10 + PAUSE), [a]);
        // Also under a clock that was set back.
        assert_eq!(schedule.next(5), Some(0));
    }

    #[test]
    fn whoever_signs_out_has_nothing_due() {
        let mut schedule = Schedule::default();
        schedule.plan("alice", [(unc(r"\\s\a"), at(Some(0)))]);
        schedule.plan("alice", []);
        assert_eq!(schedule.next(100), None);
    }
}
