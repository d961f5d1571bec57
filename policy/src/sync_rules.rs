//! The settings that govern every exchange of a cache with its share, in the engine's own terms.

use serde::{Deserialize, Serialize};

use crate::merge::ResultantSet;
use crate::settings::Id;
use crate::value::Value;

/// How caches are synchronised; the same for every cache of a user on a computer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SyncRules {
    /// What sign-in synchronises.
    pub at_logon: Extent,
    /// What sign-out synchronises.
    pub at_logoff: Extent,
    /// How conflicts are settled, by UNC pattern; the first match in order of the list wins ties.
    pub conflicts: Vec<(String, String)>,
    /// A sync that would delete more is held.
    pub max_deletes: u64,
    /// A sync that would delete a larger share is held.
    pub max_delete_percent: u8,
    /// Globs on file names that are never cached and never uploaded.
    pub file_screens: Vec<String>,
    /// Bytes per second in each direction.
    pub bandwidth: Option<u64>,
    /// Whether a person may switch to working offline.
    pub allow_work_offline: bool,
    /// Whether background sync reaches folders that a person switched offline.
    pub when_working_offline: bool,
    /// Sign-in leaves folders that policy assigns alone once they are here.
    #[serde(default = "yes")]
    pub economical_assignment: bool,
}

fn yes() -> bool {
    true
}

/// How much a sign-in or sign-out synchronises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Nothing.
    None,
    /// Sign-in: what is missing here. Sign-out: what is only here.
    Quick,
    /// Both directions.
    Full,
}

fn extent(rsop: &ResultantSet, id: Id, default: &'static str) -> Extent {
    match rsop.word(id, default).value {
        "none" => Extent::None,
        "full" => Extent::Full,
        _ => Extent::Quick,
    }
}

/// Reads the rules out of a Resultant Set of Policy.
pub fn sync_rules(rsop: &ResultantSet) -> SyncRules {
    let conflicts = rsop.list(Id::Conflict).iter().filter_map(|sourced| match &sourced.value {
        Value::Conflict(rule) => Some((rule.path.clone(), rule.resolve.to_owned())),
        _ => None,
    });
    let percent = rsop.number(Id::BrakeMaxDeletePercent).unwrap_or(50);
    SyncRules {
        at_logon: extent(rsop, Id::SyncAtLogon, "quick"),
        at_logoff: extent(rsop, Id::SyncAtLogoff, "full"),
        conflicts: conflicts.collect(),
        max_deletes: rsop.number(Id::BrakeMaxDeletes).unwrap_or(1_000),
        max_delete_percent: u8::try_from(percent).unwrap_or(100),
        file_screens: rsop.list(Id::FileScreens).iter().map(|s| s.value.to_string()).collect(),
        bandwidth: rsop.number(Id::Bandwidth).map(|bits| (bits / 8).max(1)),
        allow_work_offline: rsop.flag(Id::AllowWorkOffline, true).value,
        when_working_offline: rsop.flag(Id::BackgroundSyncWhenWorkingOffline, false).value,
        economical_assignment: rsop.flag(Id::EconomicalAssignment, true).value,
    }
}
