//! Merges the objects that apply into the Resultant Set of Policy (RSoP), winners beside losers.
//!
//! Laws, each with a property test in `tests/policy/laws.rs`: the result depends on nothing but the
//! arguments; merging twice is merging once; the last in order wins; an enforced value is never
//! overruled by one that is not; an object that won nothing can be removed without a difference.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::filter::Applicable;
use crate::layer::{Origin, PolicySet, Sourced};
use crate::settings::{Half, Id, SLOT_COUNT, Slot};
use crate::standing::Standing;
use crate::value::Value;

/// What one setting came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// The value; for a list its elements. Empty when not configured (or an empty list won).
    pub values: Vec<Sourced>,
    /// Which half won; for union lists of both halves, the last.
    pub half: Option<Half>,
    /// Whether the winner's link is enforced.
    pub enforced: bool,
    /// What was overruled, the strongest loser first.
    pub losers: Vec<Loser>,
}

/// A value that another one overruled.
#[derive(Clone, Debug, PartialEq)]
pub struct Loser {
    /// What it said; for a list its elements.
    pub values: Vec<Sourced>,
    /// The half it stood in.
    pub half: Half,
}

/// The Resultant Set of Policy for one user on one computer.
#[derive(Clone, Debug)]
#[must_use]
pub struct ResultantSet {
    slots: Vec<Resolved>,
    /// What follows from the slots alone, worked out when first asked for.
    standing: OnceLock<Box<Standing>>,
}

impl PartialEq for ResultantSet {
    fn eq(&self, other: &Self) -> bool {
        self.slots == other.slots
    }
}

/// A value in force: configured, or the default when `origin` is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InForce<'a, T> {
    /// The value.
    pub value: T,
    /// Where it was written; `None` for a default.
    pub origin: Option<&'a Arc<Origin>>,
}

/// Merges the applicable objects of a set.
pub fn merge(set: &PolicySet, applicable: &Applicable) -> ResultantSet {
    let mut slots = vec![Resolved::default(); SLOT_COUNT];
    // The computer half comes last: where a setting may stand in both, it beats the user half.
    for (half, objects) in [(Half::User, &applicable.user), (Half::Computer, &applicable.computer)]
    {
        for object in objects.iter().filter_map(|index| set.objects.get(usize::from(*index))) {
            for cell in object.half(half) {
                let resolved = &mut slots[cell.slot.index()];
                let union = cell.slot.setting().union;
                if !union && let Some(beaten) = resolved.half {
                    let values = std::mem::take(&mut resolved.values);
                    resolved.losers.insert(0, Loser { values, half: beaten });
                }
                resolved.values.extend(cell.values.iter().cloned());
                resolved.half = Some(half);
                resolved.enforced = object.link.enforced;
            }
        }
    }
    ResultantSet { slots, standing: OnceLock::new() }
}

/// Remembers merged sets: most accounts of a fleet share a few lists of applicable objects.
#[derive(Debug, Default)]
pub struct Memo {
    known: HashMap<Applicable, Arc<ResultantSet>>,
}

/// Most sets remembered before starting afresh; a fleet has tens.
const MEMO_MAX: usize = 4_096;

impl Memo {
    /// The merged set of these objects, computed once.
    pub fn merge(&mut self, set: &PolicySet, applicable: Applicable) -> Arc<ResultantSet> {
        if let Some(known) = self.known.get(&applicable) {
            return Arc::clone(known);
        }
        if self.known.len() >= MEMO_MAX {
            self.known.clear();
        }
        let merged = Arc::new(merge(set, &applicable));
        self.known.insert(applicable, Arc::clone(&merged));
        merged
    }
}

impl ResultantSet {
    /// What is decided alike for everybody to whom this set applies.
    pub(crate) fn standing(&self) -> &Standing {
        self.standing.get_or_init(|| Box::new(Standing::new(self)))
    }

    /// What one setting came to.
    pub fn get(&self, slot: impl Into<Slot>) -> &Resolved {
        &self.slots[slot.into().index()]
    }

    /// Whether two sets hold the same values, whoever wrote them. Equal values decide alike: a decision
    /// rests on values and facts, and only its reasons name origins.
    pub fn has_values_of(&self, other: &Self) -> bool {
        let values = |resolved: &Resolved| {
            resolved.values.iter().map(|sourced| sourced.value.clone()).collect::<Vec<_>>()
        };
        Slot::all().all(|slot| values(self.get(slot)) == values(other.get(slot)))
    }

    /// Every configured setting, in the order of the catalogue.
    pub fn configured(&self) -> impl Iterator<Item = (Slot, &Resolved)> {
        Slot::all().map(|slot| (slot, self.get(slot))).filter(|(_, got)| got.half.is_some())
    }

    /// The single value of a setting, unless it is not configured or `off`.
    pub fn one(&self, slot: impl Into<Slot>) -> Option<&Sourced> {
        self.get(slot).values.first().filter(|sourced| sourced.value != Value::Off)
    }

    fn typed<T>(
        &self,
        slot: impl Into<Slot>,
        default: T,
        read: impl Fn(&Value) -> Option<T>,
    ) -> InForce<'_, T> {
        let found = self.one(slot).and_then(|got| read(&got.value).map(|value| (value, got)));
        match found {
            Some((value, got)) => InForce { value, origin: Some(&got.origin) },
            None => InForce { value: default, origin: None },
        }
    }

    /// A yes or no.
    pub fn flag(&self, slot: impl Into<Slot>, default: bool) -> InForce<'_, bool> {
        self.typed(slot, default, |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A word of a closed set.
    pub fn word(&self, slot: impl Into<Slot>, default: &'static str) -> InForce<'_, &'static str> {
        self.typed(slot, default, |value| match value {
            Value::Word(word) => Some(*word),
            _ => None,
        })
    }

    /// A duration.
    pub fn duration(&self, slot: impl Into<Slot>, default: Duration) -> InForce<'_, Duration> {
        self.typed(slot, default, |value| match value {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        })
    }

    /// A duration, where `off` and not configured mean none.
    pub fn optional_duration(&self, slot: impl Into<Slot>) -> Option<Duration> {
        match self.one(slot)?.value {
            Value::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    /// A count, size or rate, where `off` and not configured mean none.
    pub fn number(&self, slot: impl Into<Slot>) -> Option<u64> {
        match self.one(slot)?.value {
            Value::Count(number) | Value::Size(number) | Value::Rate(number) => Some(number),
            Value::Percent(percent) => Some(u64::from(percent)),
            _ => None,
        }
    }

    /// The elements of a list, each with its origin.
    pub fn list(&self, id: Id) -> &[Sourced] {
        &self.get(id).values
    }
}
