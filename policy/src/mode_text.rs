//! Why a scope works online or offline, in words.

use std::time::Duration;

use crate::connection::{Measured, Mode, NotAllowed, OfflineReason, State, Thresholds};
use crate::value::{duration_text, rate_text};

/// Why a scope is in its mode, in words, with what was measured and what was asked for.
pub fn why_text(state: &State, thresholds: Option<Thresholds>) -> String {
    let Measured { latency_us, throughput, throughput_is_low, .. } = state.measured();
    let limits = thresholds.unwrap_or_default();
    let latency = latency_us.map(|us| format!("latency {}", milliseconds(us)));
    let rate = throughput.map(|rate| format!("throughput {}", rounded(rate)));
    match state.mode {
        Mode::Online => match (latency, rate) {
            (Some(latency), Some(rate)) => format!("the share answers: {latency}, {rate}"),
            (Some(latency), None) => format!("the share answers: {latency}"),
            (None, _) => "the share answers".to_owned(),
        },
        Mode::Offline(OfflineReason::Always) => {
            "the policy says Always Offline (a latency threshold of 1 ms)".to_owned()
        }
        Mode::Offline(OfflineReason::Slow) => {
            let limit = limits.throughput.filter(|_| throughput_is_low).zip(rate);
            let low = limit.map(|(limit, rate)| format!("{rate}, below {}", rate_text(limit)));
            let is_high =
                |limit: &Duration| latency_us.is_some_and(|us| u128::from(us) > limit.as_micros());
            let high = limits.latency.filter(is_high).zip(latency);
            let high =
                high.map(|(limit, latency)| format!("{latency}, above {}", duration_text(limit)));
            let both: Vec<String> = high.into_iter().chain(low).collect();
            match both.is_empty() {
                true => "the link was too slow, and has not been good for long enough".to_owned(),
                false => format!("the link is slow: {}", both.join("; ")),
            }
        }
        Mode::Offline(OfflineReason::Error) => NotAllowed::Unreachable.text().to_owned(),
        Mode::Offline(OfflineReason::Forced) => NotAllowed::WorkingOffline.text().to_owned(),
        Mode::Offline(OfflineReason::Costed) => NotAllowed::Costed.text().to_owned(),
        Mode::Offline(OfflineReason::Suspended) => NotAllowed::Suspended.text().to_owned(),
    }
}

/// Microseconds in words; small ones are told apart.
fn milliseconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        us => format!("{} ms", us / 1_000),
    }
}

/// A measured rate in words, as exactly as it can be meant.
fn rounded(bits_per_second: u64) -> String {
    match bits_per_second {
        0..1_000 => format!("{bits_per_second} bit/s"),
        1_000..1_000_000 => format!("{} kbit/s", bits_per_second / 1_000),
        1_000_000..1_000_000_000 => format!("{} Mbit/s", bits_per_second / 1_000_000),
        _ => format!("{} Gbit/s", bits_per_second / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Observation, Probe};

    fn after(probes: &[(u64, Option<u64>)], thresholds: Option<Thresholds>) -> State {
        let start = State::initial(0);
        probes.iter().fold(start, |state, (ms, throughput)| {
            let latency = Duration::from_millis(*ms);
            state.observe(&Observation {
                at_unix_ms: 0,
                probe: Probe::Reachable { latency, throughput: *throughput },
                forced: false,
                suspended: false,
                costed: false,
                thresholds,
            })
        })
    }

    #[test]
    fn what_was_measured_stands_beside_what_was_asked_for() {
        let limits =
            Thresholds { latency: Some(Duration::from_millis(35)), throughput: Some(500_000) };
        let told =
            |probes: &[(u64, Option<u64>)]| why_text(&after(probes, Some(limits)), Some(limits));
        assert_eq!(told(&[(2, None)]), "the share answers: latency 2.0 ms");
        assert_eq!(told(&[(200, None)]), "the link is slow: latency 200 ms, above 35ms");
        assert_eq!(
            told(&[(2, Some(80_000))]),
            "the link is slow: throughput 80 kbit/s, below 500kbit/s"
        );
        assert_eq!(
            told(&[(200, None), (2, None)]),
            "the link was too slow, and has not been good for long enough"
        );
        assert_eq!(why_text(&State::initial(0), None), "the share does not answer");
    }
}
