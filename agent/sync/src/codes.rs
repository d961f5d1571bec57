//! Result codes: what became of an item, as a Win32 number, as an HRESULT and in words.
//!
//! The numbers are those of winerror.h, so that scripts written for Offline Files understand them.
//! Where Windows has no code of its own for something, the closest documented one stands for it;
//! the table below says which and why.

use serde::{Deserialize, Serialize};

use crate::report::{FailureKind, Verdict};
use crate::skip::Skip;

/// The upper half of an HRESULT made of a Win32 number: severity 1, facility 7 (Win32).
const WIN32_FACILITY: u32 = 0x8007_0000;

/// The one table: variant, Win32 number, name in winerror.h, one sentence.
macro_rules! codes {
    ($($(#[$why:meta])* $variant:ident = $win32:literal, $symbol:literal, $text:literal;)*) => {
        /// What became of an item or a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u32)]
        pub enum ResultCode {
            $(#[doc = $text] $(#[$why])* $variant = $win32,)*
        }

        /// Every code, by what it is about.
        pub const CODES: &[ResultCode] = &[$(ResultCode::$variant),*];

        impl ResultCode {
            /// The name in winerror.h, without meaning for people.
            #[must_use]
            pub const fn symbol(self) -> &'static str {
                match self {
                    $(Self::$variant => $symbol,)*
                }
            }

            /// One plain sentence for people. It holds no colon, see `lines`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

codes! {
    Ok = 0, "ERROR_SUCCESS", "The operation completed successfully.";
    Cancelled = 1223, "ERROR_CANCELLED",
        "The run was cancelled; what is in step stays in step.";
    /// Windows has none for a brake. A paused request is the closest: nothing failed, nobody gave
    /// up, and it goes on when a person says so. `ERROR_CANCELLED` would say that it is over.
    Held = 3050, "ERROR_REQUEST_PAUSED",
        "It waits until a person says so; see `homeport release --help`.";
    /// Offline Files gives a conflict a state and no code. This is the one documented code that
    /// says the two versions of a file are not in step; its wording speaks of a cloud.
    Conflict = 377, "ERROR_CLOUD_FILE_NOT_IN_SYNC",
        "Both sides changed it; both versions stay, and a person decides.";
    /// What may travel over a metered network is a quota of its own; Windows only goes offline.
    PutOff = 1816, "ERROR_NOT_ENOUGH_QUOTA",
        "The day's data for metered networks does not suffice; it goes later, by itself.";
    /// A file screen of this agent or of the server: Windows means its storage policy.
    Screened = 1296, "ERROR_CONTENT_BLOCKED",
        "A file screen keeps files with such names out.";
    /// Windows has no code for a file that changed while it was read, and an opportunistic lock
    /// that breaks is no result for people. The advice in this code is the right one: once more.
    FileChanged = 1237, "ERROR_RETRY",
        "It is not as it was expected to be; the next run looks again.";

    ShareOffline = 1262, "ERROR_CSCSHARE_OFFLINE",
        "The share is offline or does not exist.";
    FileOffline = 4350, "ERROR_FILE_OFFLINE",
        "The file is not stored on this computer, and the share is offline.";
    BadNetPath = 53, "ERROR_BAD_NETPATH", "The server was not found on the network.";
    BadNetName = 67, "ERROR_BAD_NET_NAME", "The server has no share of this name.";
    NetNameDeleted = 64, "ERROR_NETNAME_DELETED", "The connection to the share was lost.";
    TimedOut = 121, "ERROR_SEM_TIMEOUT", "The server did not answer in time.";

    AccessDenied = 5, "ERROR_ACCESS_DENIED",
        "Permission denied, here or on the share.";
    InvalidOwner = 1307, "ERROR_INVALID_OWNER",
        "The folder belongs to somebody else, or its owner cannot be set.";

    DiskFull = 112, "ERROR_DISK_FULL", "No space is left on the disk.";
    QuotaExceeded = 1295, "ERROR_DISK_QUOTA_EXCEEDED", "The quota of this person is used up.";
    WriteFault = 29, "ERROR_WRITE_FAULT", "It could not be written.";
    ReadFault = 30, "ERROR_READ_FAULT", "It could not be read.";
    IoDevice = 1117, "ERROR_IO_DEVICE", "The disk or the share failed.";

    SharingViolation = 32, "ERROR_SHARING_VIOLATION",
        "It is open in an application; the next run tries again.";
    LockViolation = 33, "ERROR_LOCK_VIOLATION",
        "An application has locked a part of it; the next run tries again.";
    FileNotFound = 2, "ERROR_FILE_NOT_FOUND", "The file is not there any more.";
    /// Whoever asks Windows about a path that is not in its cache hears this.
    NotCached = 1168, "ERROR_NOT_FOUND", "It lies in no offline folder of this user.";
    PathNotFound = 3, "ERROR_PATH_NOT_FOUND", "The folder it lies in is not there.";
    AlreadyExists = 183, "ERROR_ALREADY_EXISTS", "Something else stands under this name.";
    DirNotEmpty = 145, "ERROR_DIR_NOT_EMPTY",
        "The folder holds something that is not to be deleted.";

    InvalidName = 123, "ERROR_INVALID_NAME", "One of the sides cannot hold this name.";
    FilenameTooLong = 206, "ERROR_FILENAME_EXCED_RANGE", "The name or the path is too long.";

    InvalidParameter = 87, "ERROR_INVALID_PARAMETER", "The request is malformed.";
    NotSupported = 50, "ERROR_NOT_SUPPORTED", "Homeport does not do this.";
    InternalError = 1359, "ERROR_INTERNAL_ERROR", "Homeport failed; the log says more.";
}

impl ResultCode {
    /// The number in winerror.h.
    #[must_use]
    pub const fn win32(self) -> u32 {
        self as u32
    }

    /// The HRESULT: `HRESULT_FROM_WIN32`, 0 for success.
    #[must_use]
    pub const fn hresult(self) -> u32 {
        match self.win32() {
            0 => 0,
            number => WIN32_FACILITY | number,
        }
    }

    /// The code with a Win32 number; `None` for one that is never reported.
    #[must_use]
    pub fn from_win32(number: u32) -> Option<Self> {
        CODES.iter().copied().find(|code| code.win32() == number)
    }

    /// The code with an HRESULT; `None` for one that is never reported.
    #[must_use]
    pub fn from_hresult(hresult: u32) -> Option<Self> {
        CODES.iter().copied().find(|code| code.hresult() == hresult)
    }

    /// Whether it is done.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Ok)
    }
}

impl std::fmt::Display for ResultCode {
    /// The HRESULT and the sentence.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{:08X} {}", self.hresult(), self.text())
    }
}

/// The code of what became of an item.
///
/// A skipped item is one that was not as expected when its turn came, so it is `FileChanged`; two
/// reasons, which the engine gives in words, have codes of their own.
#[must_use]
pub fn code_of(verdict: &Verdict) -> ResultCode {
    match verdict {
        Verdict::Done => ResultCode::Ok,
        Verdict::Conflict => ResultCode::Conflict,
        Verdict::Held => ResultCode::Held,
        Verdict::Screened => ResultCode::Screened,
        Verdict::Skipped { why: Skip::Special | Skip::Mount } => ResultCode::NotSupported,
        Verdict::Skipped { why: Skip::Cancelled } => ResultCode::Cancelled,
        Verdict::Skipped { .. } => ResultCode::FileChanged,
        Verdict::Busy => ResultCode::SharingViolation,
        Verdict::PutOff => ResultCode::PutOff,
        Verdict::Failed { kind, .. } => code_of_failure(*kind),
    }
}

/// The code of a kind of failure; a new kind gets one more line here.
#[must_use]
pub const fn code_of_failure(kind: FailureKind) -> ResultCode {
    match kind {
        FailureKind::Denied => ResultCode::AccessDenied,
        FailureKind::Full => ResultCode::DiskFull,
        FailureKind::Io => ResultCode::IoDevice,
        FailureKind::Name => ResultCode::InvalidName,
        FailureKind::Quota => ResultCode::QuotaExceeded,
        FailureKind::Busy => ResultCode::LockViolation,
    }
}
