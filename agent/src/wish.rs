//! What a person asks of an exchange, and how an exchange goes that nobody asked for.

use std::path::{Path, PathBuf};

use homeport_policy::unc::Unc;
use homeport_sync::RootWord;
use homeport_sync::flags::Flags;
use serde::{Deserialize, Serialize};

use crate::keeping::DiskLimits;

/// A place that a person names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A network path.
    Network(Unc),
    /// An absolute path on this computer: below a redirected folder, or in the cache itself.
    Local(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(unc) => f.write_str(unc.as_str()),
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a person asks of the exchanges of one turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Wish {
    /// Let through what the brake holds.
    pub release: bool,
    /// What a person says of a root that was replaced, emptied or set back.
    pub root: RootWord,
    /// Which way, what to pin, who wins; without it both directions.
    pub flags: Option<Flags>,
    /// Only this place and what is below it.
    pub only: Option<Place>,
    /// If not empty, only these paths below that place.
    pub folders: Vec<String>,
}

impl Wish {
    /// Whether everything is to be exchanged in the usual way.
    pub fn is_whole(&self) -> bool {
        self.flags.is_none() && self.only.is_none()
    }
}

/// How one exchange goes. The default is an exchange of everything that a person asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct How {
    /// Nobody asked for it: it backs off from files that are open.
    pub background: bool,
    /// It leaves suspended folders alone.
    pub skip_suspended: bool,
    /// Everything in it is pinned, by these (see `homeport_sync::pins`).
    pub pinned: u32,
    /// See [`Wish::release`].
    pub release: bool,
    /// See [`Wish::root`].
    pub root: RootWord,
    /// See [`Wish::flags`].
    pub flags: Option<Flags>,
    /// If not empty, only these paths below the root.
    pub only: Vec<String>,
    /// A person named these paths: one that is nowhere is a mistake.
    pub named: bool,
    /// How much of the disk the cache may take.
    pub disk: DiskLimits,
    /// The network is metered: how many file bytes may cross to and from the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte_budget: Option<u64>,
}

/// The network path of an item of a network folder.
pub fn network_path(root: &Unc, below: &str) -> String {
    below_text(root.as_str(), below)
}

/// The same, where the folder is known as a text.
pub fn below_text(root: &str, below: &str) -> String {
    match below {
        "" => root.to_owned(),
        below => format!(r"{root}\{}", below.replace('/', r"\")),
    }
}

/// A path of this computer as the engine writes it: relative, with `/`. `None` when a name in it is
/// no text, or leads upwards.
pub fn relative(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => parts.push(name.to_str()?),
            std::path::Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/"))
}
