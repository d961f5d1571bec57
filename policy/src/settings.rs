//! The settings catalogue: one table from which parsing, help, JSON Schema and the reference page come.

use crate::folder::{FOLDERS, Folder};

/// Which half of an object may configure a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// Computer Configuration only.
    Computer,
    /// User Configuration only.
    User,
    /// Both; a value in the computer half beats one in the user half (union lists add up).
    Both,
}

/// One half of a policy object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// Counts for the computer account's place.
    Computer,
    /// Counts for the user account's place.
    User,
}

impl Half {
    /// The table's name in a policy file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Computer => "computer",
            Self::User => "user",
        }
    }
}

impl Halves {
    /// Whether the setting may stand in this half.
    pub fn allows(self, half: Half) -> bool {
        match self {
            Self::Computer => half == Half::Computer,
            Self::User => half == Half::User,
            Self::Both => true,
        }
    }
}

/// The type of a setting, with its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Count {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A duration string, in milliseconds from `min` to `max`.
    Duration {
        /// Smallest, in milliseconds.
        min: u64,
        /// Largest, in milliseconds.
        max: u64,
    },
    /// A size string.
    Size,
    /// A size string or a percentage of the volume.
    SizeOrPercent,
    /// A percentage.
    Percent,
    /// A rate string.
    Rate {
        /// Smallest, in bits per second.
        min: u64,
    },
    /// One of these words.
    Words(&'static [&'static str]),
    /// A five-field cron expression.
    Cron,
    /// `{ start = "HH:MM", duration = "2h" }`.
    Blockout,
    /// A UNC path with variables.
    Template,
    /// `{ kind = "…", … }`.
    Target,
    /// A list of UNC paths.
    Uncs,
    /// A list of globs on file names.
    Globs,
    /// A list of relative paths or globs.
    Patterns,
    /// A list of users or groups.
    Principals,
    /// Tables `{ path, latency, throughput }`.
    SlowLinkRules,
    /// Tables `{ path, resolve }`.
    ConflictRules,
    /// Tables `{ user or group, computers }`.
    Assigns,
    /// Tables `{ group, target }`.
    GroupTargets,
}

/// One row of the catalogue.
#[derive(Debug)]
pub struct Setting {
    /// The dotted key below `computer` or `user`. Folder settings hold `FOLDER`.
    pub key: &'static str,
    /// Which halves may hold it.
    pub halves: Halves,
    /// Whether lists add up over objects instead of being replaced whole.
    pub union: bool,
    /// Its type.
    pub kind: Kind,
    /// Whether `"off"` (or `false`) may be written to take back a lower object's value.
    pub off: bool,
    /// The default, as text.
    pub default: &'static str,
    /// The Windows setting whose meaning it takes; `-` where Windows has none.
    pub admx: &'static str,
    /// What it does, in a sentence or two.
    pub help: &'static str,
}

const fn on(
    key: &'static str,
    halves: Halves,
    kind: Kind,
    default: &'static str,
    admx: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, halves, union: false, kind, off: false, default, admx, help }
}

const fn union(setting: Setting) -> Setting {
    Setting { union: true, ..setting }
}

const fn or_off(setting: Setting) -> Setting {
    Setting { off: true, ..setting }
}

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const RESOLVE: &[&str] = &["ask", "keep-local", "keep-remote", "keep-latest", "keep-both"];

/// The words of `offline-files.conflict.resolve`.
pub const RESOLVE_WORDS: &[&str] = RESOLVE;

/// Names a row of [`CATALOGUE`] outside the folders; the order is the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the row of the same name")]
pub enum Id {
    OfflineFilesEnabled,
    Assigned,
    EconomicalAssignment,
    AllowPinning,
    NoPin,
    AllowWorkOffline,
    CacheLimit,
    CacheLimitUnpinned,
    CacheFreeSpaceFloor,
    SlowLinkEnabled,
    SlowLinkRule,
    BackgroundSyncEnabled,
    BackgroundSyncInterval,
    BackgroundSyncVariance,
    BackgroundSyncSchedule,
    BackgroundSyncBlockout,
    BackgroundSyncMaxTimeWithoutSync,
    BackgroundSyncWhenWorkingOffline,
    MeteredAllowBackgroundSync,
    MeteredExempt,
    MeteredDailyLimit,
    Conflict,
    BrakeMaxDeletes,
    BrakeMaxDeletePercent,
    FileScreens,
    Bandwidth,
    SyncAtLogon,
    SyncAtLogoff,
    RedirectionPrimaryOnly,
    ProfilePath,
    ProfilePrimaryOnly,
    ProfileExclude,
    ProfileOnlyLocal,
    ProfilePreventUpload,
    ProfileDeleteCachedCopies,
    ProfileNoTemporary,
    ProfileSkipOwnerCheck,
    ProfileSizeLimit,
    ProfileSlowLinkThroughput,
    ProfileSlowLinkLatency,
    ProfileDetectSlowLink,
    ProfileWaitForNetwork,
    ProfileWriteBack,
    ProfileSyncAtLogonLogoffOnly,
    ProfileDeleteAfterDays,
    PrimarySource,
    PrimaryAssign,
    PrimarySchemaLacks,
    PrimaryMaxCachedAge,
}

/// How many rows of [`CATALOGUE`] are not about one folder.
pub const BASE_COUNT: usize = Id::PrimaryMaxCachedAge as usize + 1;

/// Names a row about one redirected folder; the order is the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the row of the same name")]
pub enum FolderId {
    Setting,
    Target,
    Group,
    ExclusiveRights,
    MoveContents,
    OnRemoval,
    AvailableOffline,
}

/// How many rows each folder has.
pub const FOLDER_COUNT: usize = FolderId::AvailableOffline as usize + 1;

use Halves::{Both, Computer, User};
use Kind::*;

/// Every setting. Ranges are those of the ADMX where it has one.
#[rustfmt::skip]
pub static CATALOGUE: [Setting; BASE_COUNT + FOLDER_COUNT] = [
    on("offline-files.enabled", Computer, Bool, "true", "Pol_Enabled",
       "Whether this computer keeps offline caches at all."),
    union(on("offline-files.assigned", Both, Uncs, "[]", "Pol_AssignedOfflineFiles",
       "Network folders that are always available offline.")),
    on("offline-files.economical-assignment", Computer, Bool, "true", "Pol_QuickAdimPin",
       "Sign-in fills only what is new in assigned folders; background sync does the rest."),
    on("offline-files.allow-pinning", Both, Bool, "true", "Pol_NoMakeAvailableOffline",
       "Whether people may make folders available offline themselves."),
    union(on("offline-files.no-pin", Both, Uncs, "[]", "Pol_NoPinFiles",
       "Folders that people may not make available offline.")),
    on("offline-files.allow-work-offline", Both, Bool, "true", "Pol_WorkOfflineDisabled",
       "Whether people may switch to working offline."),
    on("offline-files.cache.limit", Computer, SizeOrPercent, "25%", "Pol_CacheSize",
       "Most disk space the caches may take, pinned and unpinned."),
    on("offline-files.cache.limit-unpinned", Computer, SizeOrPercent, "= limit", "Pol_CacheSize",
       "Most disk space for items that nobody pinned."),
    on("offline-files.cache.free-space-floor", Computer, SizeOrPercent, "1GiB", "-",
       "Free space that the caches always leave on the disk."),
    on("offline-files.slow-link.enabled", Computer, Bool, "true", "Pol_SlowLinkSettings",
       "Whether a slow link makes a cached folder work offline."),
    on("offline-files.slow-link.rule", Computer, SlowLinkRules, "* latency 35ms", "Pol_SlowLinkSettings",
       "Below the throughput or above the latency a path is slow; the most specific pattern wins; a latency of 1ms means Always Offline."),
    on("offline-files.background-sync.enabled", Computer, Bool, "true", "Pol_BackgroundSyncSettings",
       "Whether offline folders are synchronised in the background."),
    on("offline-files.background-sync.interval", Computer, Duration { min: MINUTE, max: DAY }, "2h", "Pol_BackgroundSyncSettings",
       "Time from one background sync to the next."),
    on("offline-files.background-sync.variance", Computer, Duration { min: 0, max: 3600 * MINUTE }, "1h", "Pol_BackgroundSyncSettings",
       "A random time up to this is added to the interval, so that a fleet spreads."),
    or_off(on("offline-files.background-sync.schedule", Computer, Cron, "off", "-",
       "A five-field cron expression in local time, instead of the interval.")),
    or_off(on("offline-files.background-sync.blockout", Computer, Blockout, "off", "Pol_BackgroundSyncSettings",
       "A daily window in local time in which no background sync starts.")),
    or_off(on("offline-files.background-sync.max-time-without-sync", Computer, Duration { min: MINUTE, max: 3650 * DAY }, "off", "Pol_BackgroundSyncSettings",
       "After this long without a sync the blockout no longer holds.")),
    on("offline-files.background-sync.when-working-offline", Computer, Bool, "false", "Pol_BackgroundSyncSettings",
       "Whether folders that a person switched offline are synchronised too."),
    on("offline-files.metered.allow-background-sync", Computer, Bool, "false", "Pol_SyncOnCostedNetwork",
       "Whether background sync goes on while roaming, near or over the plan's limit."),
    union(on("offline-files.metered.exempt", Both, Principals, "[]", "-",
       "Users and groups whose background sync never stops because of the network's cost.")),
    or_off(on("offline-files.metered.daily-limit", Computer, Size, "off", "-",
       "Bytes a day over metered networks, after which the network counts as over its limit.")),
    on("offline-files.conflict", Computer, ConflictRules, "ask", "SyncConflictHandling",
       "How conflicts below a path are settled; `ask` keeps both versions and lists them."),
    on("offline-files.brake.max-deletes", Computer, Count { min: 1, max: 1_000_000_000 }, "1000", "-",
       "A sync that would delete more items than this on one side is held for a person."),
    on("offline-files.brake.max-delete-percent", Computer, Percent, "50%", "-",
       "A sync that would delete a larger share of the whole cache than this (from 20 items on), or replace as large a share and at least 1,000 files, is held for a person."),
    union(on("offline-files.file-screens", Computer, Globs, "[]", "Pol_ExclusionListSettings",
       "File names that are never cached and never uploaded; each is reported.")),
    or_off(on("offline-files.bandwidth", Computer, Rate { min: 1 }, "off", "-",
       "Most bits per second in each direction.")),
    on("offline-files.sync-at-logon", Both, Words(&["none", "quick", "full"]), "quick", "Pol_SyncAtLogon",
       "What a sign-in synchronises: nothing, what is missing, or everything."),
    on("offline-files.sync-at-logoff", Both, Words(&["none", "quick", "full"]), "full", "Pol_SyncAtLogoff",
       "What a sign-out synchronises: nothing, local changes, or everything."),
    on("folder-redirection.primary-computers-only", Both, Bool, "false", "PrimaryComputer_FR",
       "Redirect folders only on the user's primary computers."),
    on("roaming-profiles.path", Computer, Template, "the user's profilePath", "MachineProfilePath",
       "Where the profiles of everybody who signs in here are kept."),
    on("roaming-profiles.primary-computers-only", Computer, Bool, "false", "PrimaryComputer_RUP",
       "Download roaming profiles only on the user's primary computers."),
    union(on("roaming-profiles.exclude", User, Patterns, "[]", "ExcludeDirectories",
       "Relative folders or globs that do not roam, besides the built-in list.")),
    on("roaming-profiles.only-local", Computer, Bool, "false", "LocalProfile",
       "Everybody gets a local profile on this computer."),
    on("roaming-profiles.prevent-upload", Computer, Bool, "false", "Readonlyuserprofile",
       "Profiles are downloaded and never uploaded."),
    on("roaming-profiles.delete-cached-copies", Computer, Bool, "false", "DeleteRoamingCachedProfiles",
       "Delete the local copy at sign-out, once every change of it is on the share."),
    on("roaming-profiles.no-temporary-profiles", Computer, Bool, "false", "ProfileErrorAction",
       "Refuse the sign-in rather than start with an empty profile when the profile cannot be had."),
    on("roaming-profiles.skip-owner-check", Computer, Bool, "false", "CompatibleRUPSecurity",
       "Use a profile folder that neither the user nor an administrator owns."),
    or_off(on("roaming-profiles.size-limit", User, Size, "off", "LimitSize",
       "A profile larger than this is not uploaded, and reported.")),
    on("roaming-profiles.slow-link.throughput", Computer, Rate { min: 0 }, "500kbit/s", "SlowLinkTimeOut",
       "Below this the local copy of the profile is used."),
    on("roaming-profiles.slow-link.latency", Computer, Duration { min: 0, max: 20_000 }, "120ms", "SlowLinkTimeOut",
       "Above this the local copy of the profile is used."),
    on("roaming-profiles.detect-slow-link", Computer, Bool, "true", "EnableSlowLinkDetect",
       "Whether the link to the profile share is measured at all."),
    on("roaming-profiles.wait-for-network", Computer, Duration { min: 0, max: 300_000 }, "30s", "WaitForNetwork",
       "Longest a sign-in waits for the profile share."),
    or_off(on("roaming-profiles.write-back", Computer, Duration { min: MINUTE, max: 30 * DAY }, "off", "UploadHive",
       "How often changes of the profile go up while the user is signed in.")),
    union(on("roaming-profiles.sync-at-logon-logoff-only", User, Uncs, "[]", "CscSuspendDirs",
       "Network folders that are suspended while the user is signed in.")),
    or_off(on("roaming-profiles.delete-after-days", Computer, Count { min: 1, max: 99_999 }, "off", "CleanupProfiles",
       "Local copies unused for this many days are deleted, once every change of them is on the share.")),
    on("primary-computers.source", Computer, Words(&["directory", "policy", "either", "both"]), "directory", "-",
       "Which list says what a user's primary computers are."),
    union(on("primary-computers.assign", Computer, Assigns, "[]", "-",
       "The policy's own list of primary computers.")),
    on("primary-computers.when-schema-lacks-attribute", Computer, Words(&["apply", "refuse"]), "apply", "-",
       "What holds when the directory's schema has no msDS-PrimaryComputer."),
    on("primary-computers.max-cached-age", Computer, Duration { min: 0, max: 3650 * DAY }, "30d", "-",
       "How long the directory's last answer decides while it is out of reach."),
    on("folder-redirection.FOLDER.setting", User, Words(&["basic", "advanced", "follow-documents"]), "not configured", "fdeploy",
       "Basic: one target for everybody. Advanced: by group. Follow-documents: below the Documents folder."),
    on("folder-redirection.FOLDER.target", User, Target, "none", "fdeploy",
       "Where the folder goes (basic)."),
    on("folder-redirection.FOLDER.group", User, GroupTargets, "[]", "fdeploy",
       "Where the folder goes by security group; the first match wins (advanced)."),
    on("folder-redirection.FOLDER.exclusive-rights", User, Bool, "true", "fdeploy",
       "Only the user gets access to a folder that is created."),
    on("folder-redirection.FOLDER.move-contents", User, Bool, "true", "fdeploy",
       "Move what is in the old place to the new one."),
    on("folder-redirection.FOLDER.on-removal", User, Words(&["leave", "restore"]), "leave", "fdeploy",
       "What happens when this policy no longer applies; kept on the computer from the moment it is applied."),
    on("folder-redirection.FOLDER.available-offline", User, Bool, "true", "DisableFRAdminPinByFolder",
       "Keep the redirected folder available offline."),
];

/// One configurable place: a row of the catalogue, for one folder where the row is about folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

/// How many slots there are.
pub const SLOT_COUNT: usize = BASE_COUNT + FOLDERS.len() * FOLDER_COUNT;

impl From<Id> for Slot {
    fn from(id: Id) -> Self {
        Self(id as u16)
    }
}

impl Slot {
    /// The slot of a folder's setting.
    pub fn folder(folder: Folder, id: FolderId) -> Self {
        let index = BASE_COUNT + folder as usize * FOLDER_COUNT + id as usize;
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }

    /// Every slot, in the order of the catalogue.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..u16::try_from(SLOT_COUNT).unwrap_or(u16::MAX)).map(Self)
    }

    /// Its place in a table of [`SLOT_COUNT`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Its row.
    pub fn setting(self) -> &'static Setting {
        match self.index().checked_sub(BASE_COUNT) {
            None => &CATALOGUE[self.index()],
            Some(rest) => &CATALOGUE[BASE_COUNT + rest % FOLDER_COUNT],
        }
    }

    /// The folder it is about, if any.
    pub fn of_folder(self) -> Option<Folder> {
        let rest = self.index().checked_sub(BASE_COUNT)?;
        FOLDERS.get(rest / FOLDER_COUNT).copied()
    }

    /// The full key (`folder-redirection.documents.target`).
    pub fn key(self) -> String {
        match self.of_folder() {
            None => self.setting().key.to_owned(),
            Some(folder) => self.setting().key.replace("FOLDER", folder.key()),
        }
    }

    /// The slot that a full key names.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::all().find(|slot| slot.key() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_point_at_their_rows() {
        for (id, key) in [
            (Id::OfflineFilesEnabled, "offline-files.enabled"),
            (Id::SlowLinkRule, "offline-files.slow-link.rule"),
            (Id::BackgroundSyncBlockout, "offline-files.background-sync.blockout"),
            (Id::Bandwidth, "offline-files.bandwidth"),
            (Id::RedirectionPrimaryOnly, "folder-redirection.primary-computers-only"),
            (Id::ProfileSizeLimit, "roaming-profiles.size-limit"),
            (Id::ProfileDeleteAfterDays, "roaming-profiles.delete-after-days"),
            (Id::PrimaryMaxCachedAge, "primary-computers.max-cached-age"),
        ] {
            assert_eq!(Slot::from(id).key(), key);
        }
        let slot = Slot::folder(Folder::SavedGames, FolderId::AvailableOffline);
        assert_eq!(slot.key(), "folder-redirection.saved-games.available-offline");
        assert_eq!(slot.index(), SLOT_COUNT - 1);
    }

    #[test]
    fn keys_are_unique_and_found_again() {
        for slot in Slot::all() {
            assert_eq!(Slot::from_key(&slot.key()), Some(slot));
        }
    }
}
