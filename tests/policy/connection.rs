//! The online and offline modes of a scope: the whole table, and the laws of its hysteresis.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use homeport_policy::connection::{
    Allowed, Change, FAST_AFTER, Mode, NotAllowed, Observation, OfflineReason, PROBE_INTERVAL,
    Probe, SLOW_AFTER, State, Thresholds, most_specific,
};
use proptest::prelude::*;

const MINUTES_2: i64 = 120_000;
const LIMIT: Thresholds =
    Thresholds { latency: Some(Duration::from_millis(35)), throughput: Some(1_000_000) };
const ALWAYS: Thresholds = Thresholds { latency: Some(Duration::from_millis(1)), throughput: None };

fn probe(latency_ms: u64) -> Probe {
    Probe::Reachable { latency: Duration::from_millis(latency_ms), throughput: None }
}

fn rate(throughput: u64) -> Probe {
    Probe::Reachable { latency: Duration::from_millis(5), throughput: Some(throughput) }
}

fn seen(probe: Probe) -> Observation {
    Observation {
        at_unix_ms: 0,
        probe,
        forced: false,
        suspended: false,
        costed: false,
        thresholds: Some(LIMIT),
    }
}

/// Observes one after the other at the spacing of probes.
fn after(start: State, observations: &[Observation]) -> State {
    observations.iter().fold(start, |state, observation| {
        let at_unix_ms = state.next_probe_unix_ms.max(state.since_unix_ms + 1);
        state.observe(&Observation { at_unix_ms, ..*observation })
    })
}

/// A state in each mode, reached as it is reached in life.
fn in_mode(mode: &str) -> State {
    let good = seen(probe(5));
    let path: Vec<Observation> = match mode {
        "online" => vec![good],
        "always" => vec![Observation { thresholds: Some(ALWAYS), ..good }],
        "slow" => vec![good, seen(probe(500))],
        "error" => vec![good, seen(Probe::Unreachable)],
        "forced" => vec![good, Observation { forced: true, ..seen(Probe::NotTried) }],
        "costed" => vec![good, Observation { costed: true, ..seen(Probe::NotTried) }],
        "suspended" => vec![good, Observation { suspended: true, ..seen(Probe::NotTried) }],
        other => unreachable!("{other}"),
    };
    let state = after(State::initial(0), &path);
    assert_eq!(state.mode.code(), mode);
    state
}

/// Every mode against every class of observation.
#[test]
fn the_whole_table() {
    let nothing = seen(Probe::NotTried);
    let good = seen(probe(5));
    let classes = [
        ("nothing", nothing),
        ("good", good),
        ("slow once", seen(probe(40))),
        ("very slow", seen(probe(140))),
        ("unreachable", seen(Probe::Unreachable)),
        ("forced", Observation { forced: true, ..nothing }),
        ("costed", Observation { costed: true, ..nothing }),
        ("suspended", Observation { suspended: true, ..nothing }),
        ("always", Observation { thresholds: Some(ALWAYS), ..good }),
        ("slow off", Observation { thresholds: None, ..seen(probe(140)) }),
        ("costed, dead", Observation { costed: true, ..seen(Probe::Unreachable) }),
        ("costed, slow", Observation { costed: true, ..seen(probe(140)) }),
        ("forced, dead", Observation { forced: true, ..seen(Probe::Unreachable) }),
        (
            "all",
            Observation {
                forced: true,
                suspended: true,
                costed: true,
                thresholds: Some(ALWAYS),
                ..seen(Probe::Unreachable)
            },
        ),
    ];
    #[rustfmt::skip]
    let table = [
        // from, in the order of the classes
        ("online", ["online", "online", "online", "slow", "error", "forced", "costed",
            "suspended", "always", "online", "error", "costed", "forced", "suspended"]),
        ("slow", ["slow", "slow", "slow", "slow", "error", "forced", "costed",
            "suspended", "always", "online", "error", "costed", "forced", "suspended"]),
        ("error", ["error", "online", "online", "slow", "error", "forced", "error", "suspended",
            "always", "online", "error", "costed", "forced", "suspended"]),
        // the observation no longer names the cause these modes came from
        ("always", ["online", "online", "online", "slow", "error", "forced", "costed",
            "suspended", "always", "online", "error", "costed", "forced", "suspended"]),
        ("forced", ["online", "online", "online", "slow", "error", "forced", "costed",
            "suspended", "always", "online", "error", "costed", "forced", "suspended"]),
        ("costed", ["online", "online", "online", "slow", "error", "forced", "costed",
            "suspended", "always", "online", "error", "costed", "forced", "suspended"]),
        ("suspended", ["online", "online", "online", "slow", "error", "forced", "costed",
            "suspended", "always", "online", "error", "costed", "forced", "suspended"]),
    ];
    for (from, expected) in table {
        for ((class, observation), expected) in classes.iter().zip(expected) {
            let state = in_mode(from);
            let next = after(state, &[*observation]);
            assert_eq!(next.mode.code(), expected, "{from}, {class}");
            let same = next.since_unix_ms == state.since_unix_ms;
            assert_eq!(same, next.mode == state.mode, "{from}, {class}");
        }
    }
}

#[test]
fn a_lifted_reason_shows_the_one_beneath() {
    let forced = |probe| Observation { forced: true, ..seen(probe) };
    let dead = after(in_mode("online"), &[forced(Probe::Unreachable)]);
    assert_eq!(dead.mode.code(), "forced");
    assert_eq!(after(dead, &[seen(Probe::NotTried)]).mode.code(), "error");
    let slow = after(in_mode("online"), &[forced(probe(500))]);
    assert_eq!(after(slow, &[seen(Probe::NotTried)]).mode.code(), "slow");
}

#[test]
fn slow_is_entered_and_left_after_several_measurements() {
    for (worse, between, better) in
        [(probe(40), probe(30), probe(28)), (rate(900_000), rate(1_100_000), rate(1_250_000))]
    {
        let mut state = in_mode("online");
        for count in 1..=SLOW_AFTER {
            assert_eq!(state.mode.code(), "online", "after {count} measurements");
            state = after(state, &[seen(worse)]);
        }
        assert_eq!(state.mode.code(), "slow");
        state = after(state, &[seen(better), seen(better), seen(between), seen(better)]);
        for _ in 1..FAST_AFTER {
            assert_eq!(state.mode.code(), "slow");
            state = after(state, &[seen(better)]);
        }
        assert_eq!(state.mode.code(), "online");
    }
    assert_eq!(after(in_mode("online"), &[seen(rate(250_000))]).mode.code(), "slow");
    assert_eq!(after(in_mode("online"), &[seen(rate(0))]).mode.code(), "slow");
}

#[test]
fn an_outage_does_not_forgive_slowness() {
    let state = after(in_mode("slow"), &[seen(Probe::Unreachable), seen(probe(5))]);
    assert_eq!(state.mode.code(), "slow");
}

#[test]
fn probes_come_every_two_minutes_and_at_once_for_a_person() {
    let fresh = State::initial(1_000);
    assert_eq!((fresh.mode.code(), fresh.next_probe_unix_ms), ("error", 1_000));
    let online = fresh.observe(&Observation { at_unix_ms: 2_000, ..seen(probe(5)) });
    assert_eq!(online.next_probe_unix_ms, 2_000 + MINUTES_2);
    assert_eq!(PROBE_INTERVAL, Duration::from_millis(120_000));
    let told = online.observe(&Observation { at_unix_ms: 5_000, ..seen(Probe::NotTried) });
    assert_eq!(told.next_probe_unix_ms, online.next_probe_unix_ms);
    // A clock that goes back does not leave the probe in a far future.
    let back = online.observe(&Observation { at_unix_ms: -900_000, ..seen(Probe::NotTried) });
    assert_eq!(back.next_probe_unix_ms, -900_000 + MINUTES_2);
    let forced = in_mode("forced");
    let released = forced.observe(&Observation { at_unix_ms: 130_000, ..seen(Probe::NotTried) });
    assert_eq!(released.next_probe_unix_ms, 130_000);
    let far =
        State::initial(i64::MAX).observe(&Observation { at_unix_ms: i64::MAX, ..seen(probe(1)) });
    assert_eq!(far.next_probe_unix_ms, i64::MAX);
}

#[test]
fn which_sync_is_allowed_in_which_mode() {
    use NotAllowed::{Costed, OnlineAlready, Suspended, Unreachable, WorkingOffline};
    let no = Allowed::No;
    #[rustfmt::skip]
    let table = [
        // mode, background, background when working offline, by hand, what would change it
        ("online", no(OnlineAlready), no(OnlineAlready), Allowed::Yes, Change::OnTrouble),
        ("slow", Allowed::Yes, Allowed::Yes, Allowed::Yes, Change::OnFasterLink),
        ("always", Allowed::Yes, Allowed::Yes, Allowed::Yes, Change::ByPolicy),
        ("forced", no(WorkingOffline), Allowed::Yes, Allowed::Yes, Change::ByPerson),
        ("costed", no(Costed), no(Costed), Allowed::Yes, Change::OnCheaperNetwork),
        ("error", no(Unreachable), no(Unreachable), Allowed::Yes, Change::OnReachable),
        ("suspended", no(Suspended), no(Suspended), no(Suspended), Change::OnSignOut),
    ];
    for (mode, background, when_working_offline, by_hand, change) in table {
        let state = in_mode(mode);
        assert_eq!(state.background_sync_allowed(false), background, "{mode}");
        assert_eq!(state.background_sync_allowed(true), when_working_offline, "{mode}");
        assert_eq!(state.manual_sync_allowed(), by_hand, "{mode}");
        assert_eq!(state.explain(), change, "{mode}");
        assert!(change.text().ends_with('.'));
    }
}

#[test]
fn a_person_working_offline_on_a_costed_network_is_not_charged() {
    let both = Observation { forced: true, costed: true, ..seen(Probe::NotTried) };
    let state = after(in_mode("online"), &[both]);
    assert_eq!(state.mode.code(), "forced");
    assert_eq!(state.background_sync_allowed(true), Allowed::No(NotAllowed::Costed));
    assert_eq!(state.manual_sync_allowed(), Allowed::Yes);
}

#[test]
fn a_state_survives_a_restart() {
    for mode in ["online", "always", "slow", "error", "forced", "costed", "suspended"] {
        let state = in_mode(mode);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
    let reason = serde_json::to_value(Mode::Offline(OfflineReason::Forced)).unwrap();
    assert_eq!(reason, serde_json::json!({ "offline": "forced" }));
}

#[test]
fn the_most_specific_rule_wins() {
    let rules = [
        ("*", 0),
        (r"\\server\*", 1),
        (r"\\server\share\*", 2),
        (r"\\SERVER\Share\Dir\*", 3),
        (r"\\server\share\*\media\*", 4),
        (r"\\files\home$", 5),
        (r"\\server\share\*", 6),
        (r"\\*\public\*", 7),
        ("", 8),
    ];
    let cases = [
        (r"\\other\x", Some(0)),
        (r"\\server\else", Some(1)),
        (r"\\server", Some(1)),
        (r"\\server2\x", Some(0)),
        (r"\\Server\SHARE", Some(2)),
        (r"\\server\share\", Some(2)),
        (r"\\server\share\file", Some(2)),
        (r"\\server\share2\file", Some(1)),
        (r"\\server\share\dir\a\b", Some(3)),
        (r"//server/share/dir", Some(3)),
        (r"\\files\home$\anna", Some(5)),
        (r"\\files\home$2", Some(0)),
        (r"\\any\public\x", Some(7)),
    ];
    for (unc, expected) in cases {
        assert_eq!(most_specific(rules.into_iter(), unc), expected, "{unc}");
    }
    assert_eq!(most_specific(rules[1..3].iter().copied(), r"\\other\x"), None);
    let ties = [(r"\\s\a*c", 1), (r"\\s\a*", 2)];
    assert_eq!(most_specific(ties.into_iter(), r"\\s\abc"), Some(1));
    assert_eq!(most_specific(ties.into_iter(), r"\\s\abd"), Some(2));
    assert_eq!(most_specific([(r"*aa", 1)].into_iter(), "a"), None);
}

/// Quiet exchanges, which measure a good latency and no throughput, do not take back what the last
/// large one showed; but after an hour nothing is known of it any more.
#[test]
fn a_throughput_that_was_too_low_counts_while_nothing_better_is_measured() {
    let slow_rate = seen(rate(700_000));
    let quiet = seen(probe(5));
    let mut told = vec![quiet];
    for _ in 0..SLOW_AFTER {
        told.extend([slow_rate, quiet, quiet]);
    }
    let slow = after(State::initial(0), &told);
    assert_eq!(slow.mode.code(), "slow");
    assert_eq!(after(slow, &vec![quiet; 25]).mode.code(), "slow");
    assert_eq!(after(slow, &vec![seen(rate(9_000_000)); 3]).mode.code(), "online");
    let an_hour = 30 + usize::from(FAST_AFTER);
    assert_eq!(after(slow, &vec![quiet; an_hour]).mode.code(), "online");
    // A latency that is bad speaks for itself.
    let start = after(State::initial(0), &[quiet, slow_rate]);
    assert_eq!(after(start, &[seen(probe(40)), seen(probe(40))]).mode.code(), "slow");
}

#[test]
fn another_network_is_probed_at_once() {
    let error = in_mode("error");
    assert!(error.is_probed() && error.next_probe_unix_ms > 5);
    assert_eq!(error.probed_at(5).next_probe_unix_ms, 5);
    assert_eq!(error.probed_at(i64::MAX), error);
    for mode in ["online", "always", "forced", "costed", "suspended"] {
        assert!(!in_mode(mode).is_probed(), "{mode}");
    }
}

fn any_probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::NotTried),
        Just(Probe::Unreachable),
        (0..200_u64).prop_map(probe),
        (0..5_000_000_u64).prop_map(rate),
    ]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let thresholds = proptest::sample::select(vec![None, Some(LIMIT), Some(ALWAYS)]);
    let rare = || proptest::bool::weighted(0.1);
    (any_probe(), rare(), rare(), rare(), thresholds).prop_map(
        |(probe, forced, suspended, costed, thresholds)| Observation {
            at_unix_ms: 0,
            probe,
            forced,
            suspended,
            costed,
            thresholds,
        },
    )
}

/// How often the mode changes over observations at the spacing of probes.
fn transitions(start: State, observations: &[Observation]) -> usize {
    let mut state = start;
    observations
        .iter()
        .filter(|observation| {
            let before = state.mode;
            state = after(state, &[**observation]);
            state.mode != before
        })
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Measurements that dance around the threshold, none much worse, never change the mode.
    #[test]
    fn no_flapping_around_the_threshold(
        pairs in proptest::collection::vec((36..139_u64, 0..=35_u64), 1..60),
        mode in proptest::sample::select(vec!["online", "slow"]),
    ) {
        let both = |(above, below): &(u64, u64)| [seen(probe(*above)), seen(probe(*below))];
        let dance: Vec<_> = pairs.iter().flat_map(both).collect();
        prop_assert_eq!(transitions(in_mode(mode), &dance), 0);
    }

    /// An hour holds 30 probes.  With a share that answers, going and coming take four of them, so
    /// at most 16 changes; with one that dies and revives at each probe, one change each.
    #[test]
    fn changes_per_hour_are_bounded(
        probes in proptest::collection::vec(any_probe(), 30),
        mode in proptest::sample::select(vec!["online", "slow", "error"]),
    ) {
        let all: Vec<_> = probes.iter().map(|probe| seen(*probe)).collect();
        prop_assert!(transitions(in_mode(mode), &all) <= 30);
        let mut alive = all;
        alive.retain(|seen| seen.probe != Probe::Unreachable);
        prop_assert!(transitions(in_mode(mode), &alive) <= 16);
    }

    /// The same observations give the same state, and the mode names a reason that holds.
    #[test]
    fn a_state_is_determined_and_justified(
        observations in proptest::collection::vec(any_observation(), 1..40),
    ) {
        let state = after(State::initial(0), &observations);
        prop_assert_eq!(after(State::initial(0), &observations), state);
        let last = observations.last().unwrap();
        let holds = match state.mode {
            Mode::Online => {
                !(last.forced || last.suspended || last.costed || last.thresholds == Some(ALWAYS))
            }
            Mode::Offline(OfflineReason::Suspended) => last.suspended,
            Mode::Offline(OfflineReason::Forced) => last.forced && !last.suspended,
            Mode::Offline(OfflineReason::Costed) => last.costed && !last.forced,
            Mode::Offline(OfflineReason::Always) => last.thresholds == Some(ALWAYS),
            Mode::Offline(OfflineReason::Slow) => last.thresholds == Some(LIMIT),
            Mode::Offline(OfflineReason::Error) => !matches!(last.probe, Probe::Reachable { .. }),
        };
        prop_assert!(holds, "{:?} after {:?}", state.mode, last);
    }

    #[test]
    fn any_pattern_is_survived(
        pattern in "[*\\\\/a-b\u{130}]{0,12}",
        unc in "[\\\\/a-b\u{130}]{0,12}",
    ) {
        let _ = most_specific([(pattern.as_str(), ())].into_iter(), &unc);
        if !unc.is_empty() {
            prop_assert_eq!(most_specific([("*", 1)].into_iter(), &unc), Some(1));
        }
    }
}
