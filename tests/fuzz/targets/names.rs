//! Names: judging, folding and finding twins hold for every text. One line is one name.
#![no_main]

use std::collections::BTreeSet;

use homeport_sync::names::{Rules, collisions, fold, judge, judge_path, twins};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let names: Vec<&str> = text.split('\n').collect();
    for windows in [false, true] {
        for bits in 0..4 {
            let base = if windows { Rules::WINDOWS } else { Rules::POSIX };
            let rules = Rules { ignores_case: bits & 1 != 0, normalises: bits & 2 != 0, ..base };
            one_by_one(&names, &rules);
            together(&names, &rules);
        }
    }
    two_sides(&names);
});

fn one_by_one(names: &[&str], rules: &Rules) {
    for name in names {
        match judge(name, rules) {
            Ok(()) => assert!(!name.is_empty() && !name.contains(['/', '\0'])),
            Err(fault) => assert!(!fault.to_string().is_empty() && !fault.hint().is_empty()),
        }
        if judge_path(name, 3, rules).is_ok() {
            assert!(name.split('/').all(|part| judge(part, rules).is_ok()));
        }
        let folded = fold(name, rules);
        assert_eq!(fold(&folded, rules), folded, "{name:?} {rules:?}");
    }
}

fn together(names: &[&str], rules: &Rules) {
    let found = collisions(names.iter().copied(), rules);
    assert_eq!(found, collisions(names.iter().rev().copied(), rules));
    let mut left: BTreeSet<&str> = names.iter().copied().collect();
    for group in &found {
        for (other, fault) in group.faults() {
            assert_eq!(fold(other, rules), fold(group.winner, rules));
            assert!(group.winner < other && !fault.to_string().is_empty());
            assert!(left.remove(other));
        }
    }
    let told_apart: BTreeSet<String> = left.iter().map(|name| fold(name, rules)).collect();
    assert_eq!(told_apart.len(), left.len());
}

fn two_sides(names: &[&str]) {
    let mut sides = [Vec::new(), Vec::new()];
    let mut known = BTreeSet::new();
    for (at, name) in names.iter().enumerate() {
        sides[at % 2].push((*name).to_owned());
        if at % 3 == 0 {
            known.insert((*name).to_owned());
        }
    }
    assert!(twins(&sides, &known, [false, false]).is_empty());
    for ignores in [[true, false], [false, true], [true, true]] {
        let hidden = twins(&sides, &known, ignores);
        assert!(hidden.iter().all(|name| names.contains(&name.as_str())));
    }
}
