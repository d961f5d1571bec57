//! One policy object after parsing: where it hangs, whom it is for, and what it configures.

use std::sync::Arc;

use serde::Serialize;

use crate::dn::Dn;
use crate::facts::Os;
use crate::settings::{Half, Slot};
use crate::value::{Glob, Principal, Value};

/// Most objects in one set.
pub const OBJECTS_MAX: usize = 2_000;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// Id of the policy object.
    pub object: Arc<str>,
    /// File name in the set.
    pub file: Arc<str>,
    /// 1-based line.
    pub line: u32,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}:{})", self.object, self.file, self.line)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub origin: Arc<Origin>,
}

/// One setting of one half of an object. A list setting has one entry an element.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Which setting.
    pub slot: Slot,
    /// Line of the key.
    pub line: u32,
    /// The value, or the elements of the list.
    pub values: Vec<Sourced>,
}

/// The place an object is linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkTo {
    /// This computer's own policy.
    Local,
    /// An Active Directory site.
    Site(String),
    /// The whole domain.
    Domain,
    /// An organizational unit and everything below it.
    Ou(Dn),
}

impl std::fmt::Display for LinkTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Site(name) => write!(f, "site:{name}"),
            Self::Domain => f.write_str("domain"),
            Self::Ou(dn) => write!(f, "ou:{dn}"),
        }
    }
}

/// How an object hangs in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where.
    pub to: LinkTo,
    /// Among links of one place, 1 is applied last and wins.
    pub order: u32,
    /// No lower place can overrule it.
    pub enforced: bool,
}

/// Security filtering: whom an object is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The user or the computer is in one of these.
    pub groups: Option<Vec<Principal>>,
    /// Neither is in any of these.
    pub not_groups: Vec<Principal>,
    /// The user's sAMAccountName matches one of these.
    pub users: Option<Vec<Glob>>,
    /// The computer's name matches one of these.
    pub computers: Option<Vec<Glob>>,
    /// The computer runs one of these.
    pub operating_systems: Option<Vec<Os>>,
}

/// One policy object, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyObject {
    /// Its id, unique in the set.
    pub id: Arc<str>,
    /// Never goes back for the same id.
    pub version: u64,
    /// For people.
    pub description: String,
    /// File name in the set.
    pub file: Arc<str>,
    /// Where it hangs.
    pub link: Link,
    /// Whom it is for.
    pub filter: Filter,
    /// Computer Configuration.
    pub computer: Vec<Cell>,
    /// User Configuration.
    pub user: Vec<Cell>,
}

impl PolicyObject {
    /// The cells of one half.
    pub fn half(&self, half: Half) -> &[Cell] {
        match half {
            Half::Computer => &self.computer,
            Half::User => &self.user,
        }
    }
}

/// How user policy is chosen on the computers of an organizational unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loopback {
    /// By the user's place.
    #[default]
    Off,
    /// By the user's place, then by the computer's.
    Merge,
    /// By the computer's place alone.
    Replace,
}

/// What `_domain.toml` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainPolicy {
    /// Organizational units that take nothing from above but what is enforced.
    pub block_inheritance: Vec<Dn>,
    /// Loopback by organizational unit; the innermost one that says something decides.
    pub loopback: Vec<(Dn, Loopback)>,
}

/// A whole set of policy, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    /// The objects, sorted by id.
    pub objects: Vec<PolicyObject>,
    /// What no single object owns.
    pub domain: DomainPolicy,
}
