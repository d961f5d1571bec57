//! Why an item was left for another run, or for good.

use serde::{Deserialize, Serialize};

/// Why an item was left as it is. Nothing is wrong with it, and nothing was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// It is a pipe, socket or device.
    Special,
    /// Another file system is mounted there.
    Mount,
    /// Its name is that of an unfinished file of ours, and a person can only have made it.
    OurName,
    /// A person, or the service, cut the run short.
    Cancelled,
    /// It changed after it was looked at, or while it was read or written.
    Changed,
    /// It changed on the share, and size and time do not show it.
    Hidden,
    /// It went away before it could be carried.
    WentAway,
    /// The place it was to go to changed.
    TargetChanged,
    /// Another file took its name.
    NameTaken,
    /// It was to go because the other side does not have it, which has it again.
    BackAgain,
    /// A folder that was to go holds something that the engine leaves alone.
    HoldsOther,
    /// A folder that was to go is not empty.
    NotEmpty,
    /// It was moved, and goes under its old name when it is there under its new one.
    Moved,
    /// A name that differs from it only in case waits for its place.
    TwinWaits,
    /// No free name was found for the second version of a conflict.
    NoFreeName,
    /// In a part of the tree it went back to an earlier time: only a look at everything can tell
    /// whether the whole was restored.
    WentBack,
}

impl Skip {
    /// For people, as the end of a sentence about the item.
    pub fn text(self) -> &'static str {
        match self {
            Self::Special => "it is a pipe, socket or device",
            Self::Mount => "another file system is mounted there",
            Self::OurName => "its name is that of an unfinished file of Homeport",
            Self::Cancelled => "the run was cancelled",
            Self::Changed => "it changed just now; the next run takes it as it is then",
            Self::Hidden => "it changed on the share, and its size and time do not show it",
            Self::WentAway => "it went away just now",
            Self::TargetChanged => "the other side changed just now",
            Self::NameTaken => "another file took its name just now",
            Self::BackAgain => "it is there again on the other side",
            Self::HoldsOther => "it holds something that is left alone",
            Self::NotEmpty => "it is not empty",
            Self::Moved => "it was moved, and is not there under its new name yet",
            Self::TwinWaits => "a name that differs from it only in case waits for its place",
            Self::NoFreeName => "no free name was found for the second version",
            Self::WentBack => {
                "it went back to an earlier time; the next exchange of the whole folder looks \
                 whether all of it did"
            }
        }
    }
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}
