//! What asking the directory costs and how often it fails, counted until somebody collects it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::directory::error::Kind;

/// Durations kept until they are collected; more are dropped, the counts are not.
const DURATIONS_MAX: usize = 1_000;

/// Counts since the last collection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Searches sent; the further pages of one search count too.
    pub searches: u64,
    /// Connections that were bound.
    pub connections: u64,
    /// Failures.
    pub errors: BTreeMap<Kind, u64>,
    /// How long searches took.
    pub durations: Vec<Duration>,
}

/// Counts from the connection and from the attempts in the background.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    fn with(&self, note: impl FnOnce(&mut Counts)) {
        // A counter is good whatever happened to the thread that held it.
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A search was sent.
    pub fn search(&self) {
        self.with(|counts| counts.searches += 1);
    }

    /// A search was answered.
    pub fn took(&self, duration: Duration) {
        self.with(|counts| {
            if counts.durations.len() < DURATIONS_MAX {
                counts.durations.push(duration);
            }
        });
    }

    /// A connection was bound.
    pub fn connected(&self) {
        self.with(|counts| counts.connections += 1);
    }

    /// Something failed.
    pub fn error(&self, kind: Kind) {
        self.with(|counts| *counts.errors.entry(kind).or_default() += 1);
    }

    /// What was counted since the last time.
    pub fn collect(&self) -> Counts {
        let mut collected = Counts::default();
        self.with(|counts| collected = std::mem::take(counts));
        collected
    }
}
