//! What was seen of a share and of every part of a path on it, and whoever does the seeing.

use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

use homeport_policy::unc::Unc;
use serde::Serialize;

use super::share_access::Descriptor;
use super::share_needs::Place;
use super::smb_negotiate::Negotiated;

/// A status of MS-ERREF 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct NtStatus(pub u32);

impl NtStatus {
    /// No right.
    pub const ACCESS_DENIED: Self = Self(0xc000_0022);
    /// Nothing has this name.
    pub const NOT_FOUND: Self = Self(0xc000_0034);
    /// A part before the last has not.
    pub const PATH_NOT_FOUND: Self = Self(0xc000_003a);
    /// The server has no such share.
    pub const BAD_NETWORK_NAME: Self = Self(0xc000_00cc);
    /// The server's name means nothing.
    pub const BAD_NETWORK_PATH: Self = Self(0xc000_00be);
    /// Wrong name or secret, or no ticket.
    pub const LOGON_FAILURE: Self = Self(0xc000_006d);
    /// The server lets nobody of that account in to the share.
    pub const ACCESS_DENIED_TO_SHARE: Self = Self(0xc000_00ca);
    /// No answer in time.
    pub const IO_TIMEOUT: Self = Self(0xc000_00b5);
    /// The server is there, and refuses connections.
    pub const CONNECTION_REFUSED: Self = Self(0xc000_0236);
    /// The server cannot be reached.
    pub const HOST_UNREACHABLE: Self = Self(0xc000_023d);
    /// The connection was lost.
    pub const CONNECTION_LOST: Self = Self(0xc000_020d);
    /// It is no folder.
    pub const NOT_A_DIRECTORY: Self = Self(0xc000_0103);

    /// The name in ntstatus.h, of those that occur here.
    pub fn name(self) -> &'static str {
        match self {
            Self::ACCESS_DENIED => "STATUS_ACCESS_DENIED",
            Self::NOT_FOUND => "STATUS_OBJECT_NAME_NOT_FOUND",
            Self::PATH_NOT_FOUND => "STATUS_OBJECT_PATH_NOT_FOUND",
            Self::BAD_NETWORK_NAME => "STATUS_BAD_NETWORK_NAME",
            Self::BAD_NETWORK_PATH => "STATUS_BAD_NETWORK_PATH",
            Self::LOGON_FAILURE => "STATUS_LOGON_FAILURE",
            Self::IO_TIMEOUT => "STATUS_IO_TIMEOUT",
            Self::CONNECTION_REFUSED => "STATUS_CONNECTION_REFUSED",
            Self::HOST_UNREACHABLE => "STATUS_HOST_UNREACHABLE",
            Self::CONNECTION_LOST => "STATUS_CONNECTION_RESET",
            Self::NOT_A_DIRECTORY => "STATUS_NOT_A_DIRECTORY",
            _ => "status",
        }
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:08X})", self.name(), self.0)
    }
}

impl From<NtStatus> for String {
    fn from(status: NtStatus) -> Self {
        status.to_string()
    }
}

/// What was tried with one part of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The server's name was looked up.
    Name,
    /// Port 445 was connected to.
    Port,
    /// Dialect and signing were agreed on.
    Dialect,
    /// The user signed in.
    Session,
    /// The share was connected to.
    Tree,
    /// A folder was opened, to read its attributes.
    Open,
    /// A folder was listed.
    List,
}

impl Stage {
    /// The word at the beginning of a finding.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Port => "port",
            Self::Dialect => "dialect",
            Self::Session => "session",
            Self::Tree => "share",
            Self::Open => "open",
            Self::List => "list",
        }
    }

    /// Whether it is about the server, and not about what is on it.
    pub fn is_of_server(self) -> bool {
        self <= Self::Dialect
    }
}

/// How a stage went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Well, with something to tell.
    Well(String),
    /// It failed.
    Failed {
        /// As the server said it, or as Windows would.
        status: Option<NtStatus>,
        /// What came back.
        why: String,
    },
    /// It could not be looked at, and why.
    Unknown(String),
}

/// One stage with one part of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The part: `\\server`, `\\server\share`, `\\server\share\dir1`, …
    pub part: String,
    /// What was tried.
    pub stage: Stage,
    /// How it went.
    pub seen: Seen,
}

/// Somebody's access list, or why it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub place: Place,
    /// The network path.
    pub part: String,
    /// What stands in it.
    pub list: Result<Descriptor, String>,
}

/// What computers may keep of a share (MS-SMB2 2.2.10, ShareFlags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// What users choose.
    Manual,
    /// Everything that is opened.
    Automatic,
    /// The same, programs included.
    Programs,
    /// Nothing.
    Forbidden,
}

impl Caching {
    /// From the two bits of ShareFlags.
    pub fn from_share_flags(flags: u32) -> Self {
        match flags & 0x30 {
            0x00 => Self::Manual,
            0x10 => Self::Automatic,
            0x20 => Self::Programs,
            _ => Self::Forbidden,
        }
    }
}

/// A DFS referral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// The part of the path that it is about.
    pub part: String,
    /// Where it leads, in the order of the answer; only those that are enabled. Empty where that is
    /// not told.
    pub targets: Vec<String>,
}

/// What connecting to a share tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// What may be kept offline.
    pub caching: Option<Caching>,
    /// Continuous availability.
    pub continuous: Option<bool>,
    /// The share's own access list, or why it is not known.
    pub list: Option<Result<Descriptor, String>>,
}

/// Whoever can look at a share as the user: a mount, or the helper program.
pub trait Look {
    /// Signs in.
    fn session(&mut self) -> Seen;
    /// Connects to the share.
    fn tree(&mut self) -> (Seen, Tree);
    /// Opens a folder of the share with the right to read its attributes; none is its root.
    fn open(&mut self, below: &[&str]) -> Seen;
    /// Lists a folder, at least its first entry.
    fn list(&mut self, below: &[&str]) -> Seen;
    /// The security descriptor of a folder.
    ///
    /// # Errors
    /// Why it is not known.
    fn descriptor(&mut self, below: &[&str]) -> Result<Descriptor, String>;
    /// DFS referrals on the way to a folder, step by step.
    fn referrals(&mut self, below: &[&str]) -> Vec<Referral>;
}

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The path, as it was asked for.
    pub unc: Unc,
    /// Stage by stage, from the server to the folder.
    pub steps: Vec<Step>,
    /// Access lists, from the share to the folder.
    pub lists: Vec<Listed>,
    /// Everybody whom the user is; empty where nobody said.
    pub sids: BTreeSet<String>,
    /// For whom an entry is to be added: one of them.
    pub who: Option<String>,
    /// What the server said of itself.
    pub negotiated: Option<Negotiated>,
    /// The time at which it said that.
    pub now: SystemTime,
    /// What may be kept offline.
    pub caching: Option<Caching>,
    /// Continuous availability.
    pub continuous: Option<bool>,
    /// DFS.
    pub referrals: Vec<Referral>,
    /// Other names under which the same share is used here.
    pub other_names: Vec<String>,
    /// The agent gets there by SMB itself, so that what fails there matters.
    pub by_smb: bool,
}

impl Facts {
    /// Nothing was seen yet.
    pub fn new(unc: Unc, now: SystemTime) -> Self {
        Self {
            unc,
            steps: Vec::new(),
            lists: Vec::new(),
            sids: BTreeSet::new(),
            who: None,
            negotiated: None,
            now,
            caching: None,
            continuous: None,
            referrals: Vec::new(),
            other_names: Vec::new(),
            by_smb: true,
        }
    }

    /// Notes how a stage went.
    pub fn step(&mut self, part: &str, stage: Stage, seen: Seen) {
        self.steps.push(Step { part: part.to_owned(), stage, seen });
    }

    fn listed(&mut self, place: Place, part: &str, list: Result<Descriptor, String>) {
        self.lists.push(Listed { place, part: part.to_owned(), list });
    }

    /// Looks at the share and at each part of the path. A part that refuses stops nothing: that the
    /// next one opens all the same is the point of KB 2512089.
    pub fn look(&mut self, eyes: &mut dyn Look) {
        let text = self.unc.to_string();
        let parts: Vec<&str> = text.trim_start_matches('\\').split('\\').collect();
        let [server, share, below @ ..] = parts.as_slice() else { return };
        let (server, mut part) = (format!(r"\\{server}"), format!(r"\\{server}\{share}"));
        self.step(&server, Stage::Session, eyes.session());
        let (seen, tree) = eyes.tree();
        self.step(&part, Stage::Tree, seen);
        (self.caching, self.continuous) = (tree.caching, tree.continuous);
        if let Some(list) = tree.list {
            self.listed(Place::Share, &part, list);
        }
        for count in 0..=below.len() {
            let now = &below[..count];
            if let Some(name) = now.last() {
                part = format!(r"{part}\{name}");
            }
            let place = match count {
                _ if count == below.len() => Place::Folder,
                0 => Place::Root,
                _ => Place::Above,
            };
            self.step(&part, Stage::Open, eyes.open(now));
            self.step(&part, Stage::List, eyes.list(now));
            self.listed(place, &part, eyes.descriptor(now));
        }
        self.referrals = eyes.referrals(below);
    }
}
