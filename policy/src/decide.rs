//! Decides, from the Resultant Set of Policy and the facts, what holds for one user on one computer.
//!
//! The order of the checks for a folder is fixed: is the directory's answer known, is the folder
//! configured, does it exist on this system, may it be redirected here (primary computer), where to.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::expand::{expand, home_directory};
use crate::facts::{Directory, Facts, User};
use crate::folder::{FOLDERS, Folder};
use crate::layer::{Origin, Sourced};
use crate::merge::{InForce, ResultantSet};
use crate::primary::{Primary, expired, primary_computer};
use crate::reason::{Because, Decided, Reason, Reasons};
use crate::settings::{FolderId, Id, Slot};
use crate::unc::Unc;
use crate::value::{Target, Template, Value};

pub use crate::decide_cache::{BackgroundAction, Cache, CacheKind, SlowLink, metered_limit};

/// Everything decided for one user on one computer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use]
pub struct Decision {
    /// Whether this computer is one of the user's primary computers.
    pub primary_computer: Decided<Primary>,
    /// Each of the 13 known folders, in Windows' order.
    pub folders: Vec<FolderDecision>,
    /// The roaming profile.
    pub profile: Decided<ProfileAction>,
    /// The network folders kept offline.
    pub caches: Vec<Arc<Decided<Cache>>>,
    /// Whether and how offline folders are synchronised in the background.
    pub background_sync: Arc<Decided<BackgroundAction>>,
}

/// What happens to one known folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FolderDecision {
    /// Which folder.
    pub folder: Folder,
    /// What and why.
    #[serde(flatten)]
    pub decided: Decided<FolderAction>,
}

/// What policy wants of a folder. What is done also depends on the state the folder is in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum FolderAction {
    /// No policy speaks of it; an earlier redirection ends by its retained removal action.
    NotConfigured,
    /// It belongs at the target.
    Redirect(Redirection),
    /// It belongs in the local profile.
    Local {
        /// Move what is at the old target back.
        move_contents: bool,
    },
    /// Not on this computer; an earlier redirection ends by its retained removal action.
    NotHere,
    /// Not known well enough to change anything: it stays as it is.
    Hold,
}

/// A redirection that policy wants.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Redirection {
    /// Where the folder goes.
    pub target: Unc,
    /// Only the user gets access to a folder that is created.
    pub exclusive_rights: bool,
    /// Move what is in the old place.
    pub move_contents: bool,
    /// What the next removal does; kept from now on.
    pub on_removal: OnRemoval,
    /// Whether it is kept available offline.
    pub available_offline: bool,
    /// The line that redirects it.
    pub policy: Arc<Origin>,
}

/// What the end of a policy does to a folder that it redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemoval {
    /// The folder stays where it is.
    Leave,
    /// The folder comes home, its contents with it.
    Restore,
}

/// How the user's profile is handled.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum ProfileAction {
    /// The local copy alone, new or cached.
    Local,
    /// Down at sign-in, up at sign-out.
    Roam(Roaming),
}

/// A roaming profile that policy or directory wants.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Roaming {
    /// The folder on the share, with the suffix for the operating system.
    pub path: Unc,
    /// Whether changes go up.
    pub upload: bool,
    /// What does not roam, besides the built-in list.
    pub exclude: Arc<[String]>,
    /// Larger profiles are not uploaded.
    pub size_limit: Option<u64>,
    /// Whether the folder must belong to the user or an administrator.
    pub check_owner: bool,
    /// Whether the local copy goes at sign-out.
    pub delete_cached_copy: bool,
    /// Whether a sign-in without the profile is refused.
    pub no_temporary: bool,
    /// Longest a sign-in waits for the share.
    pub wait: Duration,
    /// How often changes go up in between.
    pub write_back: Option<Duration>,
}

/// Latency above which a link to the profile share is slow (SlowLinkTimeOut).
const PROFILE_LATENCY_DEFAULT: Duration = Duration::from_millis(120);
/// Bits per second below which a link to the profile share is slow (UserProfileMinTransferRate).
const PROFILE_THROUGHPUT_DEFAULT: u64 = 500_000;
const WAIT_FOR_NETWORK_DEFAULT: Duration = Duration::from_secs(30);

/// Decides everything. Deterministic: equal arguments give equal decisions, reasons included.
pub fn decide(rsop: &ResultantSet, facts: &Facts) -> Decision {
    let primary = primary_computer(rsop, facts);
    let folders = decide_folders(rsop, facts, &primary);
    let profile = decide_profile(rsop, facts, &primary);
    let caches = crate::decide_cache::decide_caches(rsop, &folders);
    let background_sync = crate::decide_cache::decide_background(rsop, facts);
    Decision { primary_computer: primary, folders, profile, caches, background_sync }
}

/// The user behind the facts, or why nothing may change for lack of one.
fn known_user<'f>(rsop: &ResultantSet, facts: &'f Facts) -> Result<&'f User, Because> {
    if let Some(because) = expired(rsop, facts) {
        return Err(because);
    }
    match (&facts.user, facts.directory) {
        (_, Directory::Away) => Err(Because::plain(Reason::DirectoryAway)),
        (None, _) => Err(Because::plain(Reason::UserUnknown)),
        (Some(user), _) => Ok(user),
    }
}

fn decide_folders(
    rsop: &ResultantSet,
    facts: &Facts,
    primary: &Decided<Primary>,
) -> Vec<FolderDecision> {
    let user = match known_user(rsop, facts) {
        Ok(user) => user,
        Err(because) => {
            let because = Reasons::Shared([because].into());
            let hold = || Decided { action: FolderAction::Hold, because: because.clone() };
            return FOLDERS.map(|folder| FolderDecision { folder, decided: hold() }).into();
        }
    };
    let gate = gate(&rsop.flag(Id::RedirectionPrimaryOnly, false), primary);
    let decide = |folder, documents: Option<&Decided<FolderAction>>| {
        Redirecting { rsop, facts, user, gate: &gate, folder }.decide(documents)
    };
    let documents = decide(Folder::Documents, None);
    let mut folders = Vec::with_capacity(FOLDERS.len());
    for folder in FOLDERS.into_iter().filter(|folder| *folder != Folder::Documents) {
        folders.push(FolderDecision { folder, decided: decide(folder, Some(&documents)) });
    }
    let documents = FolderDecision { folder: Folder::Documents, decided: documents };
    folders.insert(Folder::Documents as usize, documents);
    folders
}

/// Whether a feature that policy may limit to primary computers may act here.
fn gate(only: &InForce<'_, bool>, primary: &Decided<Primary>) -> Decided<Primary> {
    if !only.value {
        return Decided { action: Primary::Yes, because: Reasons::Fixed(&[]) };
    }
    let required = Because::policy(Reason::PrimaryRequired, only.origin);
    let because = std::iter::once(required).chain(primary.because.iter().cloned());
    Decided { action: primary.action, because: Reasons::Shared(because.collect()) }
}

/// What is said of a folder that no policy speaks of; most folders of most people are such.
static NOT_CONFIGURED: [Because; 1] = [Because::plain(Reason::NotConfigured)];

struct Redirecting<'a> {
    rsop: &'a ResultantSet,
    facts: &'a Facts,
    user: &'a User,
    gate: &'a Decided<Primary>,
    folder: Folder,
}

impl Redirecting<'_> {
    fn decide(&self, documents: Option<&Decided<FolderAction>>) -> Decided<FolderAction> {
        let configured = self.rsop.standing().folders[self.folder as usize];
        let setting = || self.rsop.one(self.slot(FolderId::Setting));
        let Some(setting) = configured.then(setting).flatten() else {
            let because = Reasons::Fixed(&NOT_CONFIGURED);
            return Decided { action: FolderAction::NotConfigured, because };
        };
        let origin = Some(&setting.origin);
        if self.folder.local_place(self.facts.computer.os).is_none() {
            let system = self.facts.computer.os.name();
            let last = Because::policy(Reason::NoSuchPlace, origin).with_fact(system);
            return Decided::new(FolderAction::NotConfigured, Vec::new(), last);
        }
        let held = |action| Decided { action, because: self.gate.because.clone() };
        match self.gate.action {
            Primary::Yes => {}
            Primary::No => return held(FolderAction::NotHere),
            Primary::Unknown => return held(FolderAction::Hold),
        }
        // Room for what a target adds, so that the list is not moved while it grows.
        let mut because = Vec::with_capacity(self.gate.because.len() + 1);
        because.extend_from_slice(&self.gate.because);
        match &setting.value {
            Value::Word("follow-documents") => self.follow(&setting.origin, because, documents),
            Value::Word("advanced") => self.advanced(&setting.origin, because),
            _ => self.basic(&setting.origin, because),
        }
    }

    fn slot(&self, id: FolderId) -> Slot {
        Slot::folder(self.folder, id)
    }

    fn basic(&self, setting: &Arc<Origin>, because: Vec<Because>) -> Decided<FolderAction> {
        match self.rsop.one(self.slot(FolderId::Target)) {
            Some(Sourced { value: Value::Target(target), origin }) => {
                self.to_target(target, origin, Reason::BasicTarget, None, because)
            }
            _ => {
                let last = Because::policy(Reason::TargetMissing, Some(setting));
                Decided::new(FolderAction::Hold, because, last)
            }
        }
    }

    fn advanced(&self, setting: &Arc<Origin>, because: Vec<Because>) -> Decided<FolderAction> {
        let rows = &self.rsop.get(self.slot(FolderId::Group)).values;
        let matching = rows.iter().find_map(|row| match &row.value {
            Value::GroupTarget(group) if self.user.groups.contains(&group.group) => {
                Some((group, &row.origin))
            }
            _ => None,
        });
        match matching {
            Some((row, origin)) => {
                let fact = row.group.as_str().into();
                let reason = Reason::AdvancedMatch;
                self.to_target(&row.target, origin, reason, Some(fact), because)
            }
            None => {
                let last = Because::policy(Reason::AdvancedNoMatch, Some(setting));
                Decided::new(FolderAction::NotConfigured, because, last)
            }
        }
    }

    fn follow(
        &self,
        setting: &Arc<Origin>,
        mut because: Vec<Because>,
        documents: Option<&Decided<FolderAction>>,
    ) -> Decided<FolderAction> {
        because.push(Because::policy(Reason::FollowsDocuments, Some(setting)));
        let Some(documents) = documents else {
            let last = Because::policy(Reason::TargetMissing, Some(setting));
            return Decided::new(FolderAction::Hold, because, last);
        };
        for reason in &documents.because {
            if !because.contains(reason) {
                because.push(reason.clone());
            }
        }
        let action = match &documents.action {
            FolderAction::Redirect(redirection) => {
                match redirection.target.join(self.folder.share_name()) {
                    Ok(target) => FolderAction::Redirect(self.redirection(target, setting)),
                    Err(_) => FolderAction::Hold,
                }
            }
            other => other.clone(),
        };
        Decided { action, because: because.into() }
    }

    fn to_target(
        &self,
        target: &Target,
        origin: &Arc<Origin>,
        reason: Reason,
        fact: Option<Arc<str>>,
        mut because: Vec<Because>,
    ) -> Decided<FolderAction> {
        because.push(Because { reason, origin: Some(origin.clone()), fact });
        let path = match target {
            Target::LocalProfile => {
                let move_contents = self.flag(FolderId::MoveContents);
                let last = Because::policy(Reason::TargetIsLocal, Some(origin));
                return Decided::new(FolderAction::Local { move_contents }, because, last);
            }
            Target::HomeDirectory => home_directory(self.user).map_err(|error| error.to_string()),
            Target::Path { path } => self.expand(path),
            Target::CreatePerUser { root } => self.expand(root).and_then(|root| {
                let path = root.join_own(&self.user.name, self.folder.share_name());
                path.map_err(|error| error.to_string())
            }),
        };
        match path {
            Ok(target) => {
                let action = FolderAction::Redirect(self.redirection(target, origin));
                Decided { action, because: because.into() }
            }
            Err(why) => {
                let last = Because::policy(Reason::TargetCannotExpand, Some(origin)).with_fact(why);
                Decided::new(FolderAction::Hold, because, last)
            }
        }
    }

    fn expand(&self, template: &Template) -> Result<Unc, String> {
        expand(template, self.user, self.facts).map_err(|error| error.to_string())
    }

    fn flag(&self, id: FolderId) -> bool {
        self.rsop.flag(self.slot(id), true).value
    }

    fn redirection(&self, target: Unc, policy: &Arc<Origin>) -> Redirection {
        let on_removal = match self.rsop.word(self.slot(FolderId::OnRemoval), "leave").value {
            "restore" => OnRemoval::Restore,
            _ => OnRemoval::Leave,
        };
        Redirection {
            target,
            exclusive_rights: self.flag(FolderId::ExclusiveRights),
            move_contents: self.flag(FolderId::MoveContents),
            on_removal,
            available_offline: self.flag(FolderId::AvailableOffline),
            policy: policy.clone(),
        }
    }
}

/// The suffix of a profile folder: settings of one system never reach the other.
/// Windows 10 1607 and later use `.V6`.
fn profile_suffix(facts: &Facts) -> &'static str {
    match facts.computer.os {
        crate::facts::Os::Windows => ".V6",
        crate::facts::Os::Linux => ".Linux",
    }
}

fn decide_profile(
    rsop: &ResultantSet,
    facts: &Facts,
    primary: &Decided<Primary>,
) -> Decided<ProfileAction> {
    let local = |because: Vec<Because>, last| Decided::new(ProfileAction::Local, because, last);
    let user = match known_user(rsop, facts) {
        Ok(user) => user,
        Err(because) => return local(Vec::new(), because),
    };
    let only_local = rsop.flag(Id::ProfileOnlyLocal, false);
    if only_local.value {
        let last = Because::policy(Reason::ProfileOnlyLocal, only_local.origin);
        return local(Vec::new(), last);
    }
    let mut because = Vec::new();
    let path = match profile_path(rsop, user, facts, &mut because) {
        Ok(path) => path,
        Err(last) => return local(because, last),
    };
    let only = rsop.flag(Id::ProfilePrimaryOnly, false);
    let gate = gate(&only, primary);
    because.extend(gate.because.iter().cloned());
    if gate.action != Primary::Yes {
        return Decided { action: ProfileAction::Local, because: because.into() };
    }
    if let Some(last) = slow_profile_link(rsop, facts) {
        return local(because, last);
    }
    let no_upload = rsop.flag(Id::ProfilePreventUpload, false);
    if no_upload.value {
        because.push(Because::policy(Reason::ProfilePreventUpload, no_upload.origin));
    }
    let action = ProfileAction::Roam(roaming(rsop, path, !no_upload.value));
    Decided { action, because: because.into() }
}

/// Order as in Windows: the computer's policy, then the user's attribute.
fn profile_path(
    rsop: &ResultantSet,
    user: &User,
    facts: &Facts,
    because: &mut Vec<Because>,
) -> Result<Unc, Because> {
    let suffix = |path: Unc| path.with_suffix(profile_suffix(facts));
    let cannot =
        |origin, why: String| Because::policy(Reason::TargetCannotExpand, origin).with_fact(why);
    if let Some(got) = rsop.one(Id::ProfilePath)
        && let Value::Template(template) = &got.value
    {
        because.push(Because::policy(Reason::ProfilePathPolicy, Some(&got.origin)));
        let path = expand(template, user, facts)
            .map_err(|error| cannot(Some(&got.origin), error.to_string()))?;
        return suffix(path).map_err(|error| cannot(Some(&got.origin), error.to_string()));
    }
    let text = user.attribute("profilepath").filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Because::plain(Reason::ProfilePathNone))?;
    because.push(Because::fact(Reason::ProfilePathDirectory, ["profilePath = ", text].concat()));
    // The attribute is a template too; only administrators can write it.
    let template = Template::parse(text).map_err(|error| cannot(None, error.to_string()))?;
    let path = expand(&template, user, facts).map_err(|error| cannot(None, error.to_string()))?;
    suffix(path).map_err(|error| cannot(None, error.to_string()))
}

/// Slow when the rate is below or the delay above its threshold (SlowLinkTimeOut).
fn slow_profile_link(rsop: &ResultantSet, facts: &Facts) -> Option<Because> {
    let link = facts.profile_link?;
    if !rsop.flag(Id::ProfileDetectSlowLink, true).value {
        return None;
    }
    let latency = rsop.duration(Id::ProfileSlowLinkLatency, PROFILE_LATENCY_DEFAULT);
    let configured = rsop.number(Id::ProfileSlowLinkThroughput);
    let throughput = configured.unwrap_or(PROFILE_THROUGHPUT_DEFAULT);
    let text = crate::value::duration_text;
    if link.latency > latency.value {
        let fact = format!("{} is above {}", text(rounded(link.latency)), text(latency.value));
        return Some(Because::policy(Reason::ProfileSlowLink, latency.origin).with_fact(fact));
    }
    let measured = link.throughput.filter(|measured| *measured < throughput)?;
    let rate = crate::value::rate_text;
    let fact = format!("{} is below {}", rate(measured), rate(throughput));
    let origin = rsop.one(Id::ProfileSlowLinkThroughput).map(|got| &got.origin);
    Some(Because::policy(Reason::ProfileSlowLink, origin).with_fact(fact))
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn roaming(rsop: &ResultantSet, path: Unc, upload: bool) -> Roaming {
    Roaming {
        path,
        upload,
        exclude: Arc::clone(&rsop.standing().exclude),
        size_limit: rsop.number(Id::ProfileSizeLimit),
        check_owner: !rsop.flag(Id::ProfileSkipOwnerCheck, false).value,
        delete_cached_copy: rsop.flag(Id::ProfileDeleteCachedCopies, false).value,
        no_temporary: rsop.flag(Id::ProfileNoTemporary, false).value,
        wait: rsop.duration(Id::ProfileWaitForNetwork, WAIT_FOR_NETWORK_DEFAULT).value,
        write_back: rsop.optional_duration(Id::ProfileWriteBack),
    }
}
