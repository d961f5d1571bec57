//! What a user's worker sees of the home and its redirections; the planner's view of the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use homeport_policy::decide::OnRemoval;
use homeport_policy::folder::Folder;
use homeport_policy::unc::Unc;
use serde::{Deserialize, Serialize};

/// What is kept about a redirection from the moment it is applied, because its end is decided by it
/// and not by the policy that is gone by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retained {
    /// Where the folder was redirected to.
    pub target: Unc,
    /// The local directory that the folder now is: in the cache, or on the mounted share.
    pub place: PathBuf,
    /// Whether `place` lies in the cache.
    pub cached: bool,
    /// What the next removal does.
    pub on_removal: OnRemoval,
    /// Whether contents move with the folder, also on its way home.
    pub move_contents: bool,
    /// Id of the policy object that redirected it.
    pub policy: String,
    /// sAMAccountName (and SID, where known) of the user it was done for.
    pub user: String,
    /// objectSid of that user.
    pub sid: Option<String>,
    /// What the folder was before.
    pub before: Before,
    /// Network folders whose caches were this folder's once and are still to be given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Unc>,
    /// How far the change has come; anything but `Applied` is finished by the next cycle.
    pub phase: Phase,
}

/// The state of a known folder before it was first redirected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Before {
    /// The value in `user-dirs.dirs`, if there was one.
    pub xdg: Option<String>,
    /// Whether there was a directory at the local place.
    pub existed: bool,
    /// Where the old directory was put when its contents were not to move.
    pub set_aside: Option<PathBuf>,
}

/// How far a redirection has come. Written before each step, so that a crash leaves no doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Contents are being moved.
    Moving,
    /// The link is in place.
    Applied,
    /// The folder is home again; only its cache is still to be given up.
    Restored,
}

/// What stands at the local place of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A link to this place.
    Link(PathBuf),
    /// Something else; never touched.
    Other,
    /// It could not be looked at, and is therefore never touched.
    Unknown(String),
}

/// What a worker sees of one home.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Observed {
    /// What stands at each folder's local place.
    pub places: BTreeMap<Folder, Place>,
    /// What is retained about redirected folders.
    pub retained: BTreeMap<Folder, Retained>,
}
