//! What is known of the world when a decision is made; nothing here is ever looked up later.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dn::Dn;
use crate::unc::folded;
use crate::value::Principal;

/// The operating system whose rules a decision follows. Not the one this code runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Os {
    /// Windows 10 or later, or Windows Server.
    Windows,
    /// Any Linux with XDG user directories.
    Linux,
}

impl Os {
    /// The word in policy files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Linux => "linux",
        }
    }
}

/// Group names an account belongs to, directly or through other groups.
///
/// Each group is found under `DOMAIN\name` and under its bare name, without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(HashSet<Box<str>>);

impl Names {
    /// Collects `DOMAIN\name` or bare names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = HashSet::new();
        for name in names {
            let folded = name.to_lowercase();
            if let Some((_, bare)) = folded.split_once('\\') {
                set.insert(bare.into());
            }
            set.insert(folded.into_boxed_str());
        }
        Self(set)
    }

    /// Whether the account is a member.
    pub fn contains(&self, group: &Principal) -> bool {
        self.0.contains(group.folded())
    }

    /// No group is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The person who signs in, as the directory describes them.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// sAMAccountName.
    pub name: String,
    /// NetBIOS name of the domain (`CORP`).
    pub domain: String,
    /// DNS name of the domain (`corp.test`).
    pub dns_domain: String,
    /// objectSid in its text form, where known.
    pub sid: Option<String>,
    /// Where the account lies; decides which links reach it.
    pub dn: Option<Dn>,
    /// Memberships, nested ones included.
    pub groups: Names,
    /// Values of `msDS-PrimaryComputer`.
    pub primary_computers: Vec<Dn>,
    /// The directory does not show the list, and it is not known to be empty. Nothing may rest on the
    /// values then.
    pub list_is_hidden: bool,
    /// Attributes by lower-case name, first value only (`homedirectory`, `profilepath`, …).
    pub attributes: BTreeMap<String, String>,
}

impl User {
    /// The first value of an attribute, by any spelling of its name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(&*folded(name)).map(String::as_str)
    }

    /// Whether a name in a policy file means this person.
    pub fn is_called(&self, name: &Principal) -> bool {
        match name.folded().split_once('\\') {
            Some((domain, bare)) => domain == folded(&self.domain) && bare == folded(&self.name),
            None => name.folded() == folded(&self.name),
        }
    }
}

/// The computer the agent runs on (or answers for).
#[derive(Clone, Debug)]
pub struct Computer {
    /// NetBIOS name, without `$`.
    pub name: String,
    /// Where the computer account lies.
    pub dn: Option<Dn>,
    /// Memberships, nested ones included.
    pub groups: Names,
    /// Its operating system.
    pub os: Os,
    /// Active Directory site, where known.
    pub site: Option<String>,
    /// The domain controller that answered, for `%LOGONSERVER%`.
    pub logon_server: Option<String>,
}

/// How the directory's answer was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directory {
    /// The directory answered now.
    Answered,
    /// It is out of reach; the facts are its last answer.
    Cached {
        /// How old that answer is.
        age: Duration,
    },
    /// It is out of reach and there is no last answer.
    Away,
}

/// What the network costs, in the words of NLM_CONNECTION_COST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// No limit known.
    #[default]
    Unrestricted,
    /// Metered (fixed or variable), within its plan. Does not block by itself.
    Metered,
    /// On another provider's network.
    Roaming,
    /// Close to the plan's limit.
    NearLimit,
    /// Past the plan's limit.
    OverLimit,
}

impl Cost {
    /// Every cost, from the cheapest word to the dearest.
    pub const ALL: [Self; 5] =
        [Self::Unrestricted, Self::Metered, Self::Roaming, Self::NearLimit, Self::OverLimit];

    /// Whether background sync stops unless policy says otherwise.
    pub fn blocks(self) -> bool {
        matches!(self, Self::Roaming | Self::NearLimit | Self::OverLimit)
    }

    /// Whether transfers count towards `offline-files.metered.daily-limit`.
    pub fn is_metered(self) -> bool {
        self != Self::Unrestricted
    }

    /// The word in facts files and in status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unrestricted => "unrestricted",
            Self::Metered => "metered",
            Self::Roaming => "roaming",
            Self::NearLimit => "near-limit",
            Self::OverLimit => "over-limit",
        }
    }
}

/// The network as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// What it costs.
    pub cost: Cost,
    /// Bytes moved over metered networks since local midnight.
    pub metered_bytes_today: u64,
}

/// What was measured on the way to the profile share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Round trip.
    pub latency: Duration,
    /// Bits per second, where enough was moved to tell.
    pub throughput: Option<u64>,
}

/// Everything a decision may rest on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who signs in; `None` for decisions about the computer alone.
    pub user: Option<Arc<User>>,
    /// Which computer.
    pub computer: Arc<Computer>,
    /// How far the directory's part of these facts can be trusted.
    pub directory: Directory,
    /// Whether the schema has `msDS-PrimaryComputer` (attributeID 1.2.840.113556.1.4.2167).
    pub schema_has_primary_computer: bool,
    /// What the network costs.
    pub network: Network,
    /// The way to the profile share, if measured.
    pub profile_link: Option<Link>,
}
