//! What policy says about pins, and about how much of the disk the caches take.

use homeport_policy::merge::ResultantSet;
use homeport_policy::settings::Id;
use homeport_policy::unc::Unc;
use homeport_policy::value::Value;
use serde::{Deserialize, Serialize};

/// What is read out of the merged policy; kept with the user, so that it holds while the directory
/// is out of reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Keeping {
    /// The policy object (and its place) that keeps people from pinning; `None` lets them.
    pub pinning_refused_by: Option<String>,
    /// Folders that people may not pin, each with the policy object that says so.
    pub no_pin: Vec<(Unc, String)>,
    /// How much of the disk caches take.
    pub disk: DiskLimits,
}

/// How much of the disk the caches take. What is not configured is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DiskLimits {
    /// Everything in a cache.
    pub total: Option<Amount>,
    /// What nobody pinned.
    pub unpinned: Option<Amount>,
    /// What stays free on the disk.
    pub floor: Option<Amount>,
}

impl DiskLimits {
    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        self.total.is_some() || self.unpinned.is_some() || self.floor.is_some()
    }
}

/// An amount of disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// This share of the disk.
    Percent(u8),
}

impl Amount {
    /// In bytes, on a disk of this size.
    pub fn of(self, disk: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => disk / 100 * u64::from(percent),
        }
    }
}

impl Keeping {
    /// Reads it out of a Resultant Set of Policy.
    pub fn of(rsop: &ResultantSet) -> Self {
        let allowed = rsop.flag(Id::AllowPinning, true);
        let by = allowed.origin.map_or_else(|| "policy".to_owned(), ToString::to_string);
        let no_pin = rsop.list(Id::NoPin).iter().filter_map(|sourced| match &sourced.value {
            Value::Unc(path) => Some((path.clone(), sourced.origin.to_string())),
            _ => None,
        });
        let amount = |id| match rsop.one(id)?.value {
            Value::Size(bytes) => Some(Amount::Bytes(bytes)),
            Value::Percent(percent) => Some(Amount::Percent(percent)),
            _ => None,
        };
        Self {
            pinning_refused_by: (!allowed.value).then_some(by),
            no_pin: no_pin.collect(),
            disk: DiskLimits {
                total: amount(Id::CacheLimit),
                unpinned: amount(Id::CacheLimitUnpinned),
                floor: amount(Id::CacheFreeSpaceFloor),
            },
        }
    }

    /// Why a person may not pin a path, if so: the setting and the policy object that says it.
    pub fn refuses(&self, path: &Unc) -> Option<String> {
        if let Some(by) = &self.pinning_refused_by {
            return Some(format!(
                "policy does not let people pin (offline-files.allow-pinning = false in {by})"
            ));
        }
        let (_, by) = self.no_pin.iter().find(|(folder, _)| path.is_within(folder))?;
        Some(format!("policy lets nobody pin it (offline-files.no-pin in {by})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_of_the_disk() {
        assert_eq!(Amount::Percent(25).of(1_000), 250);
        assert_eq!(Amount::Bytes(7).of(1_000), 7);
    }

    #[test]
    fn a_pin_is_refused_by_name() {
        let folder = Unc::parse(r"\\files\home\big").unwrap();
        let by = "staff (staff.toml:3)".to_owned();
        let keeping = Keeping { no_pin: vec![(folder, by)], ..Keeping::default() };
        let below = Unc::parse(r"\\FILES\home\Big\x").unwrap();
        assert!(keeping.refuses(&below).unwrap().contains("staff (staff.toml:3)"));
        assert_eq!(keeping.refuses(&Unc::parse(r"\\files\home\small").unwrap()), None);
    }
}
