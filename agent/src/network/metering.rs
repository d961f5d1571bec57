//! Keeps count of what an exchange costs, and gives each its part of the day's limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::NaiveDate;
use homeport_policy::facts::Network;

use super::judge::Finding;
use super::manager::Wake;
use super::meter::{Level, Meter};
use super::{CostError, Sensor};
use crate::settings::NetworkSettings;

/// What a turn may cost, and what its present step has cost so far.
#[derive(Debug, Default)]
pub struct Metering {
    sensor: Sensor,
    last: Option<Finding>,
    /// The network is metered, so that exchanges are counted.
    counts: bool,
    /// How much may travel today in this turn.
    limit: Option<u64>,
    level: Level,
    /// What the step under way has spent, as far as its worker told.
    spent: Option<Arc<AtomicU64>>,
}

impl Metering {
    /// Wakes somebody from now on when the network changes.
    pub async fn watch(&mut self, settings: &NetworkSettings, wake: Wake) {
        self.sensor.watch(settings, wake).await;
    }

    /// What the network costs now, and how much was used up on this local day.
    ///
    /// # Errors
    /// [`CostError`] beside what holds meanwhile.
    pub async fn observe(
        &mut self,
        settings: &NetworkSettings,
        meter: &mut Meter,
        today: NaiveDate,
    ) -> (Network, Finding, Option<CostError>) {
        self.end(meter); // a step that was cut off
        meter.roll(today);
        let (found, error) = self.sensor.observe(settings).await;
        if self.last.as_ref() != Some(&found) {
            let (cost, source) = (found.cost.name(), found.source.name());
            tracing::info!(cost, source, why = found.why, "Network cost observed.");
            self.last = Some(found.clone());
        }
        let network = Network { cost: found.cost, metered_bytes_today: meter.bytes };
        (network, found, error)
    }

    /// Begins a turn. `limit` is how much may travel today over the metered network; `None` where
    /// nothing limits this user, or a person asks for the turn.
    pub fn begin_turn(&mut self, network: Network, limit: Option<u64>) {
        self.counts = network.cost.is_metered();
        self.limit = limit;
        let level = Level::of(network.metered_bytes_today, limit);
        let (used, was) = (network.metered_bytes_today, std::mem::replace(&mut self.level, level));
        match level {
            _ if level == was => {}
            Level::Near => tracing::warn!(used, limit, "Daily limit of metered networks is near."),
            Level::Over => tracing::warn!(used, limit, "Daily limit of metered networks reached."),
            Level::Within | Level::Free => {}
        }
    }

    /// Begins an exchange: how many bytes may cross, if they count at all. From now on they are at
    /// stake, which must be kept before anything travels.
    pub fn begin(&mut self, meter: &mut Meter, spent: &Arc<AtomicU64>) -> Option<u64> {
        if !self.counts {
            return None;
        }
        spent.store(0, Ordering::Relaxed);
        self.spent = Some(Arc::clone(spent));
        meter.at_stake = self.limit.map_or(0, |limit| meter.left(limit));
        Some(self.limit.map_or(u64::MAX, |limit| meter.left(limit)))
    }

    /// Ends an exchange, whatever became of it: what crossed counts, also of one that failed.
    pub fn end(&mut self, meter: &mut Meter) {
        if let Some(spent) = self.spent.take() {
            meter.spend(spent.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use homeport_policy::facts::Cost;

    use super::*;

    fn network(cost: Cost) -> Network {
        Network { cost, metered_bytes_today: 0 }
    }

    #[test]
    fn steps_share_what_is_left_of_the_day() {
        let (mut metering, mut meter) = (Metering::default(), Meter::default());
        let spent = Arc::new(AtomicU64::new(0));
        metering.begin_turn(network(Cost::Metered), Some(100));
        assert_eq!(metering.begin(&mut meter, &spent), Some(100));
        assert_eq!(meter.at_stake, 100);
        spent.store(70, Ordering::Relaxed);
        metering.end(&mut meter);
        assert_eq!((meter.bytes, meter.at_stake), (70, 0));
        assert_eq!(metering.begin(&mut meter, &spent), Some(30));
        metering.end(&mut meter);
        assert_eq!(meter.bytes, 70, "what an earlier step spent does not count twice");
        metering.end(&mut meter);
        assert_eq!(meter.bytes, 70);
    }

    #[test]
    fn without_a_limit_it_only_counts_and_unmetered_it_does_not() {
        let (mut metering, mut meter) = (Metering::default(), Meter::default());
        let spent = Arc::new(AtomicU64::new(0));
        metering.begin_turn(network(Cost::Roaming), None);
        assert_eq!(metering.begin(&mut meter, &spent), Some(u64::MAX));
        assert_eq!(meter.at_stake, 0);
        spent.store(5, Ordering::Relaxed);
        metering.end(&mut meter);
        metering.begin_turn(network(Cost::Unrestricted), None);
        assert_eq!(metering.begin(&mut meter, &spent), None);
        metering.end(&mut meter);
        assert_eq!(meter.bytes, 5);
    }
}
