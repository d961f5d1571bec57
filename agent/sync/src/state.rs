//! How the two sides of a name stand to each other: the states of Offline Files.
//!
//! Numbers and names are those of `OFFLINEFILES_SYNC_STATE` and
//! `OFFLINEFILES_SYNC_CONFLICT_RESOLVE` in cscobj.h. A state is a label for people, logs and
//! scripts; what is done with a name is decided by `reconcile` and not by its label.
//!
//! Windows reserves the four states of a rename (40, 43, 45, 48) and reports a rename as a delete
//! and a create. Homeport follows renames, and uses the four at the old name.

use std::fmt;

use serde::{Deserialize, Serialize};

use self::Shape::{Dir, File};
use self::SyncState as S;
use crate::item::Kind;
use crate::report::Resolve;

/// The one table: number, name in the documentation, one sentence.
macro_rules! states {
    ($($number:literal $variant:ident $text:literal;)*) => {
        /// How the two sides of a name stand to each other.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        #[expect(non_camel_case_types, reason = "the names are those of the documentation")]
        #[repr(u8)]
        pub enum SyncState {
            $(#[doc = $text] $variant = $number,)*
        }

        /// Every state, by number.
        pub const STATES: &[SyncState] = &[$(SyncState::$variant),*];

        impl SyncState {
            /// The documented name, without `OFFLINEFILES_SYNC_STATE_`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// One plain sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

states! {
    0 Stable "Both sides are in step.";
    1 FileOnClient_DirOnServer "A file here, a folder on the share.";
    2 FileOnClient_NoServerCopy "A file that is only here.";
    3 DirOnClient_FileOnServer "A folder here, a file on the share.";
    4 DirOnClient_FileChangedOnServer "A folder here, a changed file on the share.";
    5 DirOnClient_NoServerCopy "A folder that is only here.";
    6 FileCreatedOnClient_NoServerCopy "A new file here, nothing on the share.";
    7 FileCreatedOnClient_FileChangedOnServer "A new file here, a changed file on the share.";
    8 FileCreatedOnClient_DirChangedOnServer "A new file here, a changed folder on the share.";
    9 FileCreatedOnClient_FileOnServer "A new file here, another file on the share.";
    10 FileCreatedOnClient_DirOnServer "A new file here, a folder on the share.";
    11 FileCreatedOnClient_DeletedOnServer "A new file here; the one on the share was deleted.";
    12 FileChangedOnClient_ChangedOnServer "The file was changed on both sides.";
    13 FileChangedOnClient_DirOnServer "A changed file here, a folder on the share.";
    14 FileChangedOnClient_DirChangedOnServer "A changed file here, a changed folder on the share.";
    15 FileChangedOnClient_DeletedOnServer "The file was changed here and deleted on the share.";
    16 FileSparseOnClient_ChangedOnServer
        "The file is not stored here and was changed on the share.";
    17 FileSparseOnClient_DeletedOnServer
        "The file was not stored here and is gone from the share.";
    18 FileSparseOnClient_DirOnServer "A file that is not stored here, a folder on the share.";
    19 FileSparseOnClient_DirChangedOnServer
        "A file that is not stored here, a changed folder on the share.";
    20 DirCreatedOnClient_NoServerCopy "A new folder here, nothing on the share.";
    21 DirCreatedOnClient_DirOnServer "A new folder here, and a folder on the share.";
    22 DirCreatedOnClient_FileOnServer "A new folder here, a file on the share.";
    23 DirCreatedOnClient_FileChangedOnServer "A new folder here, a changed file on the share.";
    24 DirCreatedOnClient_DirChangedOnServer "A new folder here, a changed folder on the share.";
    25 DirCreatedOnClient_DeletedOnServer "A new folder here; the one on the share was deleted.";
    26 DirChangedOnClient_FileOnServer "A changed folder here, a file on the share.";
    27 DirChangedOnClient_FileChangedOnServer "A changed folder here, a changed file on the share.";
    28 DirChangedOnClient_ChangedOnServer "The folder was changed on both sides.";
    29 DirChangedOnClient_DeletedOnServer "The folder was changed here and deleted on the share.";
    30 NoClientCopy_FileOnServer "A file that is only on the share.";
    31 NoClientCopy_DirOnServer "A folder that is only on the share.";
    32 NoClientCopy_FileChangedOnServer "A file that is only on the share, and was changed there.";
    33 NoClientCopy_DirChangedOnServer "A folder that is only on the share, and was changed there.";
    34 DeletedOnClient_FileOnServer "Deleted here; the file is still on the share.";
    35 DeletedOnClient_DirOnServer "Deleted here; the folder is still on the share.";
    36 DeletedOnClient_FileChangedOnServer "Deleted here, and a changed file on the share.";
    37 DeletedOnClient_DirChangedOnServer "Deleted here, and a changed folder on the share.";
    38 FileSparseOnClient "The file is not stored here.";
    39 FileChangedOnClient "The file was changed here.";
    40 FileRenamedOnClient "The file got another name here.";
    41 DirSparseOnClient "The folder is not stored here.";
    42 DirChangedOnClient "The folder was changed here.";
    43 DirRenamedOnClient "The folder got another name here.";
    44 FileChangedOnServer "The file was changed on the share.";
    45 FileRenamedOnServer "The file got another name on the share.";
    46 FileDeletedOnServer "The file was deleted on the share.";
    47 DirChangedOnServer "The folder was changed on the share.";
    48 DirRenamedOnServer "The folder got another name on the share.";
    49 DirDeletedOnServer "The folder was deleted on the share.";
    50 FileReplacedAndDeletedOnClient_FileOnServer
        "The file was deleted here and its name used again; the file is still on the share.";
    51 FileReplacedAndDeletedOnClient_FileChangedOnServer
        "The file was deleted here and its name used again, and it was changed on the share.";
    52 FileReplacedAndDeletedOnClient_DirOnServer
        "The file was deleted here and its name used again; a folder is on the share.";
    53 FileReplacedAndDeletedOnClient_DirChangedOnServer
        "The file was deleted here and its name used again; a changed folder is on the share.";
}

impl SyncState {
    /// The documented number, 0 to 53.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The state with a number; `None` above 53.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        STATES.get(usize::from(number)).copied()
    }
}

impl fmt::Display for SyncState {
    /// The number and the documented name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

/// What stands under a name, as far as a state tells things apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A file, or a link: a link's text is its content.
    File,
    /// A folder.
    Dir,
}

impl From<Kind> for Shape {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File | Kind::Link => Self::File,
            Kind::Dir => Self::Dir,
        }
    }
}

/// A name on this computer, compared with what the journal last recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Here {
    /// Nothing stands there; a proven absence, never an error.
    Absent,
    /// The journal knows it, and its content is not stored here.
    Sparse(Shape),
    /// It is as recorded.
    Unchanged(Shape),
    /// It is the recorded one with other content.
    Changed(Shape),
    /// The journal has nothing under this name.
    Created(Shape),
    /// The recorded one was deleted, and this one took its name.
    ///
    /// Programs that save by renaming a new file over the old one look like this as well. A file
    /// that only has a new number is better told as `Changed`; another kind never is.
    Replaced(Shape),
    /// It was as recorded, and stands under another name now. The shape is the recorded one.
    Renamed(Shape),
}

/// A name on the share, compared with how it looked there the last time.
///
/// That is not always what both sides agreed on: a clash of a file here and a folder there that
/// was seen before, and stayed, is `Unchanged(Dir)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum There {
    /// Nothing stands there, and nothing is known to have stood there.
    Absent,
    /// It was there, and is there no more; a proven absence, never an error.
    Deleted,
    /// It is as it was, or is seen for the first time.
    Unchanged(Shape),
    /// It is not as it was.
    Changed(Shape),
    /// It was as recorded, and stands under another name now. The shape is the recorded one.
    Renamed(Shape),
}

/// The state of a name, from what both sides last agreed on and how each differs from it.
///
/// Total: a combination that the journal cannot produce gets the state of the closest one that it
/// can. What is not in the journal is new; what has another kind than recorded took its name; a
/// rename is followed only where the other side is untouched, and is a delete otherwise.
#[must_use]
pub fn classify(base: Option<Shape>, here: Here, there: There) -> SyncState {
    use Here::{Absent, Changed, Created, Renamed, Replaced, Sparse, Unchanged};
    match (base, here) {
        (_, Sparse(shape)) => sparse(shape, there),
        (None, Absent | Renamed(_)) => no_client_copy(there),
        (None, Unchanged(shape) | Changed(shape) | Created(shape) | Replaced(shape)) => {
            created(shape, there)
        }
        (Some(base), Absent) => deleted(base, there),
        (Some(base), Renamed(_)) => renamed(base, there),
        (Some(base), Unchanged(shape)) if shape == base => unchanged(base, there),
        (Some(base), Changed(shape)) if shape == base => changed(base, there),
        (Some(Shape::File), Unchanged(now) | Changed(now) | Created(now) | Replaced(now)) => {
            replaced(now, there)
        }
        // There is no such state for folders: what took the name of one is simply new.
        (Some(Shape::Dir), Unchanged(now) | Changed(now) | Created(now) | Replaced(now)) => {
            created(now, there)
        }
    }
}

fn unchanged(base: Shape, there: There) -> SyncState {
    match (base, there) {
        (File, There::Absent) => S::FileOnClient_NoServerCopy,
        (File, There::Deleted) => S::FileDeletedOnServer,
        (File, There::Unchanged(File)) => S::Stable,
        (File, There::Changed(File)) => S::FileChangedOnServer,
        (File, There::Unchanged(Dir) | There::Changed(Dir)) => S::FileOnClient_DirOnServer,
        (File, There::Renamed(_)) => S::FileRenamedOnServer,
        (Dir, There::Absent) => S::DirOnClient_NoServerCopy,
        (Dir, There::Deleted) => S::DirDeletedOnServer,
        (Dir, There::Unchanged(Dir)) => S::Stable,
        (Dir, There::Changed(Dir)) => S::DirChangedOnServer,
        (Dir, There::Unchanged(File)) => S::DirOnClient_FileOnServer,
        (Dir, There::Changed(File)) => S::DirOnClient_FileChangedOnServer,
        (Dir, There::Renamed(_)) => S::DirRenamedOnServer,
    }
}

fn changed(base: Shape, there: There) -> SyncState {
    match (base, there) {
        (File, There::Absent) => S::FileOnClient_NoServerCopy,
        (File, There::Deleted | There::Renamed(_)) => S::FileChangedOnClient_DeletedOnServer,
        (File, There::Unchanged(File)) => S::FileChangedOnClient,
        (File, There::Changed(File)) => S::FileChangedOnClient_ChangedOnServer,
        (File, There::Unchanged(Dir)) => S::FileChangedOnClient_DirOnServer,
        (File, There::Changed(Dir)) => S::FileChangedOnClient_DirChangedOnServer,
        (Dir, There::Absent) => S::DirOnClient_NoServerCopy,
        (Dir, There::Deleted | There::Renamed(_)) => S::DirChangedOnClient_DeletedOnServer,
        (Dir, There::Unchanged(Dir)) => S::DirChangedOnClient,
        (Dir, There::Changed(Dir)) => S::DirChangedOnClient_ChangedOnServer,
        (Dir, There::Unchanged(File)) => S::DirChangedOnClient_FileOnServer,
        (Dir, There::Changed(File)) => S::DirChangedOnClient_FileChangedOnServer,
    }
}

fn created(now: Shape, there: There) -> SyncState {
    match (now, there) {
        (File, There::Absent) => S::FileCreatedOnClient_NoServerCopy,
        (File, There::Deleted | There::Renamed(_)) => S::FileCreatedOnClient_DeletedOnServer,
        (File, There::Unchanged(File)) => S::FileCreatedOnClient_FileOnServer,
        (File, There::Changed(File)) => S::FileCreatedOnClient_FileChangedOnServer,
        (File, There::Unchanged(Dir)) => S::FileCreatedOnClient_DirOnServer,
        (File, There::Changed(Dir)) => S::FileCreatedOnClient_DirChangedOnServer,
        (Dir, There::Absent) => S::DirCreatedOnClient_NoServerCopy,
        (Dir, There::Deleted | There::Renamed(_)) => S::DirCreatedOnClient_DeletedOnServer,
        (Dir, There::Unchanged(Dir)) => S::DirCreatedOnClient_DirOnServer,
        (Dir, There::Changed(Dir)) => S::DirCreatedOnClient_DirChangedOnServer,
        (Dir, There::Unchanged(File)) => S::DirCreatedOnClient_FileOnServer,
        (Dir, There::Changed(File)) => S::DirCreatedOnClient_FileChangedOnServer,
    }
}

fn sparse(shape: Shape, there: There) -> SyncState {
    match (shape, there) {
        (_, There::Renamed(_)) => unchanged(shape, there),
        (File, There::Absent | There::Deleted) => S::FileSparseOnClient_DeletedOnServer,
        (File, There::Unchanged(File)) => S::FileSparseOnClient,
        (File, There::Changed(File)) => S::FileSparseOnClient_ChangedOnServer,
        (File, There::Unchanged(Dir)) => S::FileSparseOnClient_DirOnServer,
        (File, There::Changed(Dir)) => S::FileSparseOnClient_DirChangedOnServer,
        (Dir, There::Unchanged(Dir)) => S::DirSparseOnClient,
        // Nothing of it is stored here, so nothing of it can be the only copy.
        (Dir, There::Absent) => S::DirDeletedOnServer,
        (Dir, There::Deleted | There::Changed(_) | There::Unchanged(File)) => {
            unchanged(shape, there)
        }
    }
}

fn deleted(base: Shape, there: There) -> SyncState {
    match there {
        There::Absent | There::Deleted | There::Renamed(_) => S::Stable,
        There::Unchanged(File) if base == File => S::DeletedOnClient_FileOnServer,
        There::Unchanged(Dir) if base == Dir => S::DeletedOnClient_DirOnServer,
        // What has another kind is not what was deleted here, however long it stands there.
        There::Unchanged(File) | There::Changed(File) => S::DeletedOnClient_FileChangedOnServer,
        There::Unchanged(Dir) | There::Changed(Dir) => S::DeletedOnClient_DirChangedOnServer,
    }
}

fn renamed(base: Shape, there: There) -> SyncState {
    match (base, there) {
        (File, There::Unchanged(File) | There::Renamed(_)) => S::FileRenamedOnClient,
        (Dir, There::Unchanged(Dir) | There::Renamed(_)) => S::DirRenamedOnClient,
        _ => deleted(base, there),
    }
}

fn replaced(now: Shape, there: There) -> SyncState {
    match there {
        There::Absent | There::Deleted | There::Renamed(_) => created(now, there),
        There::Unchanged(File) => S::FileReplacedAndDeletedOnClient_FileOnServer,
        There::Changed(File) => S::FileReplacedAndDeletedOnClient_FileChangedOnServer,
        There::Unchanged(Dir) => S::FileReplacedAndDeletedOnClient_DirOnServer,
        There::Changed(Dir) => S::FileReplacedAndDeletedOnClient_DirChangedOnServer,
    }
}

fn no_client_copy(there: There) -> SyncState {
    match there {
        There::Absent | There::Deleted | There::Renamed(_) => S::Stable,
        There::Unchanged(File) => S::NoClientCopy_FileOnServer,
        There::Changed(File) => S::NoClientCopy_FileChangedOnServer,
        There::Unchanged(Dir) => S::NoClientCopy_DirOnServer,
        There::Changed(Dir) => S::NoClientCopy_DirChangedOnServer,
    }
}

/// Whether both sides want something else of the name.
///
/// The documentation calls 12 and 36 the classic conflicts and treats 15 as one. All that can keep
/// both versions is one, and so is a delete against a change and a delete against another kind.
/// Two folders are none: a folder has no content of its own, so two are merged. A file that is not
/// stored here has no second version. The engine settles 15, 29, 36 and 37 by itself, since an
/// edit beats a delete.
#[must_use]
pub const fn is_conflict(state: SyncState) -> bool {
    keeps_both(state)
        || matches!(
            state,
            S::FileChangedOnClient_DeletedOnServer
                | S::DirChangedOnClient_DeletedOnServer
                | S::DeletedOnClient_FileChangedOnServer
                | S::DeletedOnClient_DirChangedOnServer
                | S::FileReplacedAndDeletedOnClient_FileChangedOnServer
                | S::FileReplacedAndDeletedOnClient_DirOnServer
                | S::FileReplacedAndDeletedOnClient_DirChangedOnServer
        )
}

/// The documented states in which both copies can be kept: both exist, and one is a file.
const fn keeps_both(state: SyncState) -> bool {
    matches!(
        state,
        S::FileOnClient_DirOnServer
            | S::DirOnClient_FileOnServer
            | S::DirOnClient_FileChangedOnServer
            | S::FileCreatedOnClient_FileChangedOnServer
            | S::FileCreatedOnClient_DirChangedOnServer
            | S::FileCreatedOnClient_FileOnServer
            | S::FileCreatedOnClient_DirOnServer
            | S::FileChangedOnClient_ChangedOnServer
            | S::FileChangedOnClient_DirOnServer
            | S::FileChangedOnClient_DirChangedOnServer
            | S::DirCreatedOnClient_FileOnServer
            | S::DirCreatedOnClient_FileChangedOnServer
            | S::DirChangedOnClient_FileOnServer
            | S::DirChangedOnClient_FileChangedOnServer
    )
}

/// The one table: number, variant, documented name, one sentence.
macro_rules! resolutions {
    ($($number:literal $variant:ident $name:literal $text:literal;)*) => {
        /// How a conflict is settled, or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u8)]
        pub enum Resolution {
            $(#[doc = $text] $variant = $number,)*
        }

        /// Every resolution, by number.
        pub const RESOLUTIONS: &[Resolution] = &[$(Resolution::$variant),*];

        impl Resolution {
            /// The documented number, 0 to 7.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The documented name, without `OFFLINEFILES_SYNC_CONFLICT_`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// One plain sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

resolutions! {
    0 None "RESOLVE_NONE" "Nobody settled it; another rule may.";
    1 KeepLocal "RESOLVE_KEEPLOCAL" "The version here wins; a delete here is one on the share.";
    2 KeepRemote "RESOLVE_KEEPREMOTE" "The version on the share wins; a delete there is one here.";
    3 KeepAllChanges "RESOLVE_KEEPALLCHANGES" "Both versions stay, one under another name.";
    4 KeepLatest "RESOLVE_KEEPLATEST"
        "The later change wins; a delete on the share has no time and never wins.";
    5 Log "RESOLVE_LOG" "It is listed, and a person decides.";
    6 Skip "RESOLVE_SKIP" "It is left alone and not listed.";
    7 Abort "ABORT" "The run is cancelled.";
}

impl From<Resolve> for Resolution {
    fn from(resolve: Resolve) -> Self {
        match resolve {
            Resolve::Ask => Self::Log,
            Resolve::KeepLocal => Self::KeepLocal,
            Resolve::KeepRemote => Self::KeepRemote,
            Resolve::KeepLatest => Self::KeepLatest,
            Resolve::KeepBoth => Self::KeepAllChanges,
        }
    }
}

/// Whether a resolution can be carried out in a state. Only keeping both is limited: both copies
/// must exist, and one must be a file, as the documentation of `KEEPALLCHANGES` lists.
#[must_use]
pub const fn allows(state: SyncState, resolution: Resolution) -> bool {
    !matches!(resolution, Resolution::KeepAllChanges) || keeps_both(state)
}
