//! Why a decision came out as it did: a closed list of reasons with stable codes.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::layer::Origin;

macro_rules! reasons {
    ($($name:ident $code:literal $text:literal;)*) => {
        /// A reason for doing something, or for not doing it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the text of each is its documentation")]
        pub enum Reason { $($name,)* }

        /// Every reason, in the order of the table.
        pub const REASONS: &[Reason] = &[$(Reason::$name,)*];

        impl Reason {
            /// The stable code (`not-configured`), for scripts, logs and metrics.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason in words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    NotConfigured "not-configured" "no policy that applies configures it";
    NoSuchPlace "no-such-place" "this operating system has no such folder";
    BasicTarget "basic-target" "policy gives everybody this target";
    AdvancedMatch "advanced-match" "the user is in the group of this target";
    AdvancedNoMatch "advanced-no-match" "the user is in none of the groups of this folder";
    FollowsDocuments "follows-documents" "the folder follows the Documents folder";
    TargetMissing "target-missing" "the folder's setting has no target that goes with it";
    TargetIsLocal "target-is-local" "policy keeps the folder in the local profile";
    TargetCannotExpand "target-cannot-expand" "the target cannot be worked out for this user";
    RemovalLeave "removal-leave" "the policy that redirected it said: leave it there";
    RemovalRestore "removal-restore" "the policy that redirected it said: bring it home";
    PrimaryRequired "primary-required" "policy allows it on primary computers only";
    PrimaryListed "primary-listed" "this is one of the user's primary computers";
    PrimaryNotListed "primary-not-listed" "this is not one of the user's primary computers";
    PrimaryHidden "primary-hidden" "the directory does not show the list of primary computers, and it is not known to be empty; nothing is brought in and nothing is removed";
    PrimaryAssigned "primary-assigned" "policy lists this computer for the user";
    PrimaryNotAssigned "primary-not-assigned" "policy does not list this computer for the user";
    SchemaLacksAttribute "schema-lacks-attribute" "the directory's schema has no msDS-PrimaryComputer";
    SchemaLacksApply "schema-lacks-apply" "without the attribute the check is skipped";
    SchemaLacksRefuse "schema-lacks-refuse" "without the attribute nothing new is brought in";
    ComputerUnknown "computer-unknown" "this computer has no account in the directory";
    DirectoryCached "directory-cached" "the directory is out of reach; its last answer decides";
    DirectoryCacheExpired "directory-cache-expired" "the directory is out of reach and its last answer is too old";
    DirectoryAway "directory-away" "the directory is out of reach and there is no earlier answer to go by; nothing is brought in and nothing is removed";
    UserUnknown "user-unknown" "the directory has no such user";
    ProfilePathPolicy "profile-path-policy" "policy names the profile's path";
    ProfilePathDirectory "profile-path-directory" "the user's profilePath names the profile's path";
    ProfilePathNone "profile-path-none" "neither policy nor directory names a profile path";
    ProfileOnlyLocal "profile-only-local" "policy allows local profiles only";
    ProfileSlowLink "profile-slow-link" "the link to the profile share is slow";
    ProfilePreventUpload "profile-prevent-upload" "policy does not let changes go up";
    OfflineFilesDisabled "offline-files-disabled" "policy turns offline files off";
    CacheRedirected "cache-redirected" "a redirected folder is available offline";
    CacheAssigned "cache-assigned" "policy assigns this folder";
    CacheSuspended "cache-suspended" "policy synchronises it at sign-in and sign-out only";
    CacheLeft "cache-left" "the folder is elsewhere now; what is left is its cache on this computer";
    AlwaysOffline "always-offline" "the latency threshold of 1ms means Always Offline";
    SlowLinkRule "slow-link-rule" "policy sets when this path is slow";
    SlowLinkDefault "slow-link-default" "by default a latency above 35ms is slow";
    SlowLinkDisabled "slow-link-disabled" "policy does not use slow-link mode";
    BackgroundInterval "background-interval" "background sync runs at an interval";
    BackgroundSchedule "background-schedule" "background sync follows a schedule";
    BackgroundDisabled "background-disabled" "policy turns background sync off";
    BackgroundBlockout "background-blockout" "no background sync starts in the blockout window";
    CostBlocks "cost-blocks" "the network is roaming, near or over its limit; manual sync still works";
    CostDailyLimit "cost-daily-limit" "the daily limit for metered networks is reached; manual sync still works";
    CostAllowed "cost-allowed" "policy lets background sync go on whatever the network costs";
    CostExempt "cost-exempt" "the user is exempt from cost limits";
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// One reason, with the line of policy and the fact of the directory that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Because {
    /// Which reason.
    pub reason: Reason,
    /// The line of policy that said so; `None` for defaults and plain facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<Origin>>,
    /// What was found, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact: Option<Arc<str>>,
}

impl Because {
    /// A reason that rests on nothing more.
    pub const fn plain(reason: Reason) -> Self {
        Self { reason, origin: None, fact: None }
    }

    /// A reason that rests on a line of policy, or on a default.
    pub fn policy(reason: Reason, origin: Option<&Arc<Origin>>) -> Self {
        Self { reason, origin: origin.cloned(), fact: None }
    }

    /// A reason that rests on a fact.
    pub fn fact(reason: Reason, fact: impl Into<Arc<str>>) -> Self {
        Self { reason, origin: None, fact: Some(fact.into()) }
    }

    /// Adds the fact to a reason.
    #[must_use]
    pub fn with_fact(self, fact: impl Into<Arc<str>>) -> Self {
        Self { fact: Some(fact.into()), ..self }
    }
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason.text())?;
        if let Some(fact) = &self.fact {
            write!(f, ": {fact}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " — {origin}")?;
        }
        Ok(())
    }
}

/// The reasons of one decision; read as a slice.
///
/// Many decisions rest on the same reasons, so that these are shared where they can be.
#[derive(Clone)]
pub enum Reasons {
    /// Reasons that rest on nothing but the code.
    Fixed(&'static [Because]),
    /// Reasons of this decision alone.
    Own(Vec<Because>),
    /// Reasons of several decisions.
    Shared(Arc<[Because]>),
}

impl Reasons {
    /// Adds a reason.
    pub fn push(&mut self, because: Because) {
        if let Self::Own(own) = self {
            return own.push(because);
        }
        let mut own = self.to_vec();
        own.push(because);
        *self = Self::Own(own);
    }
}

impl std::ops::Deref for Reasons {
    type Target = [Because];
    fn deref(&self) -> &[Because] {
        match self {
            Self::Fixed(fixed) => fixed,
            Self::Own(own) => own,
            Self::Shared(shared) => shared,
        }
    }
}

impl From<Vec<Because>> for Reasons {
    fn from(own: Vec<Because>) -> Self {
        Self::Own(own)
    }
}

impl<'a> IntoIterator for &'a Reasons {
    type Item = &'a Because;
    type IntoIter = std::slice::Iter<'a, Because>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Reasons {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl std::fmt::Debug for Reasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

/// Something decided, and why. The reasons are in the order in which they were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use]
pub struct Decided<T> {
    /// What was decided.
    pub action: T,
    /// Why; never empty.
    pub because: Reasons,
}

impl<T> Decided<T> {
    /// Ties a decision to its reasons; `last` is the one that settled it.
    pub fn new(action: T, mut because: Vec<Because>, last: Because) -> Self {
        because.push(last);
        Self { action, because: because.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_kebab_case() {
        let mut codes: Vec<&str> = REASONS.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
        for code in codes {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
        }
    }
}
