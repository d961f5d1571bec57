//! How long each phase of a sign-in or sign-out took, and which of its steps took longest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::SLOWEST_STEPS;
use crate::plan::What;

/// A part of a turn that can be slow for a reason of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the policy.
    Policy,
    /// Asking directory and network.
    Directory,
    /// Merging, deciding and planning.
    Decide,
    /// Starting the person's worker, and what it sees of the home.
    Observe,
    /// Folders that go elsewhere, or come home.
    Redirect,
    /// The profile: comparing and carrying.
    Profile,
    /// Offline folders: comparing and carrying.
    Exchange,
    /// What is pending and in conflict, and writing it down.
    Report,
}

impl Phase {
    /// All, in the order of a turn.
    pub const ALL: [Self; 8] = [
        Self::Policy,
        Self::Directory,
        Self::Decide,
        Self::Observe,
        Self::Redirect,
        Self::Profile,
        Self::Exchange,
        Self::Report,
    ];

    /// The word for status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Directory => "directory",
            Self::Decide => "decide",
            Self::Observe => "observe",
            Self::Redirect => "redirect",
            Self::Profile => "profile",
            Self::Exchange => "exchange",
            Self::Report => "report",
        }
    }

    fn of(what: &What) -> Self {
        match what {
            What::Profile(_) => Self::Profile,
            What::Sync(_) | What::Probe(_) | What::DropCache { .. } => Self::Exchange,
            _ => Self::Redirect,
        }
    }
}

/// Measures one turn. Every moment of it belongs to one phase.
#[derive(Clone, Debug, Default)]
pub struct Stopwatch {
    last: Duration,
    phases: [Duration; Phase::ALL.len()],
    steps: Vec<(String, Duration)>,
}

impl Stopwatch {
    /// Begins now; times only ever go forward.
    pub fn begin(now: Duration) -> Self {
        Self { last: now, ..Self::default() }
    }

    /// What went by since the last call was this phase. Gives how long it was.
    pub fn lap(&mut self, phase: Phase, now: Duration) -> Duration {
        let took = now.saturating_sub(self.last);
        self.last = now;
        self.phases[phase as usize] += took;
        took
    }

    /// What went by since the last call was this step.
    pub fn step(&mut self, what: &What, now: Duration) {
        let took = self.lap(Phase::of(what), now);
        self.steps.push((what.to_string(), took));
    }

    /// What was measured, for the status.
    pub fn timing(&self, at_unix_ms: i64) -> Timing {
        let took = |(name, took): (String, Duration)| Took { name, ms: whole_ms(took) };
        let phases = Phase::ALL.iter().map(|phase| phase.name().to_owned()).zip(self.phases);
        let mut steps = self.steps.clone();
        steps.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        steps.truncate(SLOWEST_STEPS);
        Timing {
            at_unix_ms,
            total_ms: whole_ms(self.phases.iter().sum()),
            phases: phases.map(took).collect(),
            slowest: steps.into_iter().map(took).collect(),
        }
    }

    /// Each phase with the seconds it took.
    pub fn seconds(&self) -> impl Iterator<Item = (Phase, f64)> {
        Phase::ALL.into_iter().zip(self.phases.map(|took| took.as_secs_f64()))
    }
}

fn whole_ms(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

/// How long a sign-in or sign-out took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timing {
    /// When it ended, in milliseconds since 1970.
    pub at_unix_ms: i64,
    /// All of it, in milliseconds.
    pub total_ms: u64,
    /// Every phase, in order.
    pub phases: Vec<Took>,
    /// The steps that took longest, the slowest one first.
    pub slowest: Vec<Took>,
}

/// What took how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Took {
    /// What.
    pub name: String,
    /// How long, in milliseconds.
    pub ms: u64,
}

impl std::fmt::Display for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for phase in &self.phases {
            writeln!(f, "  {:>7} ms  {}", phase.ms, phase.name)?;
        }
        if !self.slowest.is_empty() {
            writeln!(f, "  slowest steps:")?;
        }
        for step in &self.slowest {
            writeln!(f, "  {:>7} ms  {}", step.ms, step.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use homeport_policy::folder::Folder;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn every_moment_belongs_to_one_phase() {
        let mut watch = Stopwatch::begin(ms(1_000));
        watch.lap(Phase::Policy, ms(1_002));
        watch.lap(Phase::Directory, ms(1_052));
        watch.lap(Phase::Decide, ms(1_053));
        watch.lap(Phase::Observe, ms(1_060));
        watch.lap(Phase::Decide, ms(1_062));
        let cannot =
            |about: &str| What::Cannot { about: about.into(), why: "".into(), hint: "".into() };
        for (at, number) in (0..2 * SLOWEST_STEPS).enumerate() {
            watch.step(&cannot(&format!("{}{number}", Folder::Documents)), ms(1_063 + at as u64));
        }
        watch.lap(Phase::Report, ms(2_000));
        let timing = watch.timing(7);
        assert_eq!(timing.total_ms, 1_000);
        let of = |name: &str| timing.phases.iter().find(|phase| phase.name == name).unwrap().ms;
        assert_eq!((of("policy"), of("directory"), of("decide"), of("observe")), (2, 50, 3, 7));
        assert_eq!((of("redirect"), of("profile")), (2 * SLOWEST_STEPS as u64, 0));
        assert_eq!(timing.phases.iter().map(|phase| phase.ms).sum::<u64>(), timing.total_ms);
        assert_eq!(timing.slowest.len(), SLOWEST_STEPS);
        assert!(timing.to_string().contains("     50 ms  directory\n"), "{timing}");
    }
}
