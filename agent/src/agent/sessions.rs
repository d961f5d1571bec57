//! The agent's part of sessions: whom it leaves alone, what it has yet to do for whom, and how long a
//! sign-in takes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Agent;
use crate::cycle::Turn;
use crate::identity::Account;
use crate::limits::BACKGROUND_PAUSE;
use crate::outcome::chain;
use crate::plan::Occasion;
use crate::report::phases::{Phase, Stopwatch};
use crate::sessions::Sessions;

/// What belongs to signing in and out.
#[derive(Debug, Default)]
pub(super) struct Signing {
    /// Whose sessions were looked after by themselves, and when.
    looked_after: BTreeMap<String, Duration>,
    /// Measures the present turn.
    pub(super) stopwatch: Stopwatch,
}

impl Agent {
    /// A turn begins, and is measured.
    pub fn begin_phases(&mut self) {
        self.signing.stopwatch = Stopwatch::begin(self.clock.monotonic());
    }

    /// A phase of the turn has ended.
    pub fn lap(&mut self, phase: Phase) {
        self.signing.stopwatch.lap(phase, self.clock.monotonic());
    }

    /// Tells how long a sign-in or sign-out took.
    pub fn note_phases(&mut self, turn: &Turn) {
        if !matches!(turn.occasion, Occasion::Logon | Occasion::Logoff) {
            return;
        }
        self.lap(Phase::Report);
        let stopwatch = &self.signing.stopwatch;
        self.metrics.phases(stopwatch);
        let timing = Some(stopwatch.timing(self.clock.unix_ms()));
        let told = self.status.users.entry(turn.user.clone()).or_default();
        match turn.occasion {
            Occasion::Logon => told.last_logon = timing,
            _ => told.last_logoff = timing,
        }
        self.publish();
    }

    /// The sessions of this computer.
    pub fn sessions(&self) -> Sessions {
        Sessions::at(&self.settings.sessions_dir)
    }

    /// Whether somebody is of this computer alone: the directory answers and does not know the
    /// name, and nothing was ever done for it.
    pub async fn is_local(&mut self, user: &str) -> bool {
        self.seen.account_name(&self.settings, user).await.is_none()
            && self.seen.standing(&self.settings).error.is_none()
            && self.users.knows_nothing_of(user)
    }

    /// Those whom a restart of the computer signed out without a word. Nobody sits here after it, but
    /// whoever has signed in since.
    pub fn left_by_restart(&mut self) -> Vec<String> {
        let is_new = self.state.is_new_start().unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "Whether the computer restarted is not known.");
            false
        });
        if !is_new {
            return Vec::new();
        }
        let sessions = self.sessions();
        let sits_here = |name: &String| sessions.is_open(name).unwrap_or(true);
        let left: Vec<String> = self.signed_in().into_iter().filter(|n| !sits_here(n)).collect();
        for name in &left {
            self.users.users.entry(name.clone()).or_default().signed_in = false;
            self.status.users.entry(name.clone()).or_default().signed_in = false;
        }
        left
    }

    /// What follows from sessions and nobody has seen to: the service was not running, was not
    /// answering, or a server was away. The same person is not tried again at once.
    pub fn session_due(&mut self) -> Option<(String, Occasion)> {
        let (people, errors) = match self.sessions().everybody() {
            Ok(found) => found,
            Err(error) => (Vec::new(), vec![error]),
        };
        for error in errors {
            tracing::warn!(error = chain(&error), "Sessions are not known.");
        }
        let now = self.clock.monotonic();
        self.signing.looked_after.retain(|_, at| now.saturating_sub(*at) < BACKGROUND_PAUSE);
        let mut left = people.into_iter().filter(|person| !person.is_asked_for());
        let due = left.find_map(|person| {
            let is_signed_in = self.known(&person.user).signed_in;
            let occasion = person.due(is_signed_in)?;
            (!self.signing.looked_after.contains_key(&person.user))
                .then_some((person.user, occasion))
        })?;
        self.signing.looked_after.insert(due.0.clone(), now);
        Some(due)
    }

    /// The account with the tickets of its newest session.
    pub(super) fn with_tickets(&self, account: Account) -> Account {
        let ticket_cache = self.sessions().ticket_cache(account.uid);
        Account { ticket_cache, ..account }
    }
}
