//! The control word of a synchronisation: which way, what to pin, who is asked, who wins.
//!
//! Names, numbers and rules are those of `Win32_OfflineFilesCache.Synchronize` and, where that is
//! silent (`PinForRedir`, `NoNewFilesOut`, `Console`), of `IOfflineFilesCache::Synchronize`. The
//! table [`FLAGS`] is all there is to know of a flag; parser, help and documents read it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::Resolve;

/// The values, as the documentation gives them.
#[expect(missing_docs, reason = "`FLAGS` says what each means")]
pub mod bits {
    pub const FILL_SPARSE: u32 = 0x1;
    pub const SYNC_IN: u32 = 0x2;
    pub const SYNC_OUT: u32 = 0x4;
    pub const PIN_NEW_FILES: u32 = 0x8;
    pub const PIN_LINK_TARGETS: u32 = 0x10;
    pub const PIN_FOR_USER: u32 = 0x20;
    pub const PIN_FOR_USER_POLICY: u32 = 0x40;
    pub const PIN_FOR_ALL: u32 = 0x80;
    pub const PIN_FOR_REDIR: u32 = 0x100;
    pub const LOW_PRIORITY: u32 = 0x200;
    pub const ASYNC_PROGRESS: u32 = 0x400;
    pub const INTERACTIVE: u32 = 0x800;
    pub const CONSOLE: u32 = 0x1000;
    pub const SKIP_SUSPENDED_DIRS: u32 = 0x2000;
    pub const BACKGROUND: u32 = 0x1_0000;
    pub const NO_NEW_FILES_OUT: u32 = 0x2_0000;
    pub const KEEP_LOCAL: u32 = 0x1000_0000;
    pub const KEEP_REMOTE: u32 = 0x2000_0000;
    /// A number of its own: not `KEEP_LOCAL` and `KEEP_REMOTE` together, though the bits are.
    pub const KEEP_LATEST: u32 = 0x3000_0000;
    /// The four bits that hold one of the three rules, or none.
    pub const CONFLICT_MASK: u32 = 0xF000_0000;
    /// The four ways to say for whom new files are pinned.
    pub const PIN_FOR_ANY: u32 = PIN_FOR_USER | PIN_FOR_USER_POLICY | PIN_FOR_ALL | PIN_FOR_REDIR;
}

/// One flag, or one rule for conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagInfo {
    /// The documented name, without `OfflineFilesSyncControlFlag` or `OfflineFilesSyncControlCr`.
    pub name: &'static str,
    /// The documented number.
    pub value: u32,
    /// What the documentation says, in one sentence.
    pub meaning: &'static str,
    /// What Homeport does with it.
    pub effect: &'static str,
}

const fn flag(
    name: &'static str,
    value: u32,
    meaning: &'static str,
    effect: &'static str,
) -> FlagInfo {
    FlagInfo { name, value, meaning, effect }
}

/// Every flag, then every rule for conflicts, by number.
#[rustfmt::skip] // one row, one flag
pub const FLAGS: [FlagInfo; 19] = [
    flag("FillSparse", bits::FILL_SPARSE,
        "Files that the cache lists without their content are fetched.",
        "Missing content is fetched; nothing else is brought in."),
    flag("SyncIn", bits::SYNC_IN,
        "Changes on the server are brought into the cache; FillSparse is set with it.",
        "Changes on the share are brought in."),
    flag("SyncOut", bits::SYNC_OUT,
        "Changes in the cache are sent to the server.",
        "Changes on this computer are sent out."),
    flag("PinNewFiles", bits::PIN_NEW_FILES,
        "Files that are new on the server, below pinned folders, are pinned; needs SyncIn.",
        "New files below pinned folders are pinned."),
    flag("PinLinkTargets", bits::PIN_LINK_TARGETS,
        "With a shortcut, the file it leads to is pinned, never a folder; needs PinNewFiles.",
        "The file of the tree that a new symbolic link or .lnk shortcut leads to is pinned too."),
    flag("PinForUser", bits::PIN_FOR_USER,
        "New files are pinned for the caller; needs PinNewFiles.",
        "The pin is recorded as the person's own; this is what PinNewFiles alone means."),
    flag("PinForUser_Policy", bits::PIN_FOR_USER_POLICY,
        "New files are pinned for the caller by policy, who cannot undo it; needs PinNewFiles.",
        "The pin is recorded as one that a policy of the user half set."),
    flag("PinForAll", bits::PIN_FOR_ALL,
        "New files are pinned for everybody on the computer; needs PinNewFiles.",
        "The pin is recorded as one for the whole computer."),
    flag("PinForRedir", bits::PIN_FOR_REDIR,
        "New files are pinned because their folder is redirected; needs PinNewFiles.",
        "The pin is recorded as one that a redirected folder set."),
    flag("LowPriority", bits::LOW_PRIORITY,
        "Reserved for the future.",
        "Accepted, without effect."),
    flag("AsyncProgress", bits::ASYNC_PROGRESS,
        "Progress is reported beside the work, not in step with it.",
        "Progress that nobody reads in time is dropped; without it the work waits, 5 s at most."),
    flag("Interactive", bits::INTERACTIVE,
        "The person may be asked, for a password for example.",
        "Nothing by itself, because Homeport has no window; with Console the person is asked."),
    flag("Console", bits::CONSOLE,
        "Questions go to the console; needs Interactive.",
        "After the exchange the person is asked about each open conflict on the terminal."),
    flag("SkipSuspendedDirs", bits::SKIP_SUSPENDED_DIRS,
        "Suspended folders are left out; meant for every run that nobody asked for.",
        "Suspended folders are left out."),
    flag("Background", bits::BACKGROUND,
        "A file that an application wants to open is let go and left for another time.",
        "A file that is open or locked is left for the next run."),
    flag("NoNewFilesOut", bits::NO_NEW_FILES_OUT,
        "Files that are only on the client are not created on the server; needs SyncOut.",
        "Changes are sent out, new files are not."),
    flag("KeepLocal", bits::KEEP_LOCAL,
        "Every conflict is settled by the local copy.",
        "As resolve = \"keep-local\", for this run."),
    flag("KeepRemote", bits::KEEP_REMOTE,
        "Every conflict is settled by the server's copy.",
        "As resolve = \"keep-remote\", for this run."),
    flag("KeepLatest", bits::KEEP_LATEST,
        "Every conflict is settled by the copy that was changed last.",
        "As resolve = \"keep-latest\", for this run."),
];

/// What is ignored without something else: the flag, and what it needs. A flag that is needed
/// stands above the flags that need it.
const NEEDS: [(u32, u32); 8] = [
    (bits::PIN_NEW_FILES, bits::SYNC_IN),
    (bits::PIN_LINK_TARGETS, bits::PIN_NEW_FILES),
    (bits::PIN_FOR_USER, bits::PIN_NEW_FILES),
    (bits::PIN_FOR_USER_POLICY, bits::PIN_NEW_FILES),
    (bits::PIN_FOR_ALL, bits::PIN_NEW_FILES),
    (bits::PIN_FOR_REDIR, bits::PIN_NEW_FILES),
    (bits::CONSOLE, bits::INTERACTIVE),
    (bits::NO_NEW_FILES_OUT, bits::SYNC_OUT),
];

/// Who wins every conflict of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepRule {
    /// The version here.
    KeepLocal,
    /// The version on the share.
    KeepRemote,
    /// The version that was changed last.
    KeepLatest,
}

impl KeepRule {
    /// The same rule, as the engine's options name it.
    #[must_use]
    pub const fn resolve(self) -> Resolve {
        match self {
            Self::KeepLocal => Resolve::KeepLocal,
            Self::KeepRemote => Resolve::KeepRemote,
            Self::KeepLatest => Resolve::KeepLatest,
        }
    }
}

/// A control word. It holds known flags only, and at most one rule for conflicts.
///
/// It is written as names joined by `+`; `{:#}` adds the number, `{:X}` is the number alone.
/// It travels as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Flags(u32);

/// A control word that a run can follow, and what became of the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalised {
    /// What applies. Normalising it again changes nothing.
    pub flags: Flags,
    /// What differs from what was asked for, and why.
    pub notes: Vec<Note>,
}

/// Why a flag that was not asked for applies, or one that was does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// Another flag sets it.
    #[error("{flag} is set, because {by} implies it")]
    Implied {
        /// The flag.
        flag: &'static str,
        /// The other.
        by: &'static str,
    },
    /// It has no meaning without another.
    #[error("{flag} is ignored without {needs}")]
    Ignored {
        /// The flag.
        flag: &'static str,
        /// The other.
        needs: &'static str,
    },
    /// New files are to be pinned, and nothing says for whom.
    #[error("PinForUser is set, because PinNewFiles does not say for whom")]
    ForUser,
    /// It is reserved.
    #[error("{flag} is reserved and has no effect")]
    Reserved {
        /// The flag.
        flag: &'static str,
    },
}

/// What is wrong with a control word. `at` counts characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// There is nothing between two separators, or nothing at all.
    #[error("a flag is missing at character {at}; write a name such as SyncIn, or a number")]
    Missing {
        /// Where.
        at: usize,
    },
    /// No flag has this name.
    #[error("{name} at character {at} is no flag; {hint}")]
    UnknownName {
        /// The name.
        name: String,
        /// Where.
        at: usize,
        /// What to write instead.
        hint: String,
    },
    /// It starts like a number and is none, or does not fit into 32 bits.
    #[error("{text} at character {at} is no number of 32 bits; write 6 or 0x6")]
    BadNumber {
        /// What was written.
        text: String,
        /// Where.
        at: usize,
    },
    /// No flag has these bits.
    #[error("no flag has the bits 0x{bits:X}; without them 0x{rest:X} is left, which is {rest}")]
    UnknownBits {
        /// The bits.
        bits: u32,
        /// The other bits.
        rest: Flags,
    },
    /// The top four bits hold no rule.
    #[error("{rule} in the top four bits is no rule; 1 KeepLocal, 2 KeepRemote, 3 KeepLatest")]
    UnknownRule {
        /// The value of the four bits.
        rule: u32,
    },
    /// Two rules for conflicts, which is not the same as both bits.
    #[error("{first} and {second} exclude each other; write one of them")]
    TwoRules {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Nothing would move.
    #[error("{flags} says no direction; add SyncIn, SyncOut or FillSparse")]
    NoDirection {
        /// The control word.
        flags: Flags,
    },
}

impl Flags {
    /// A control word from its number.
    ///
    /// # Errors
    /// On bits that no flag has, and on a rule for conflicts that does not exist.
    pub fn from_bits(number: u32) -> Result<Self, FlagError> {
        let rule = number & bits::CONFLICT_MASK;
        if rule > bits::KEEP_LATEST {
            return Err(FlagError::UnknownRule {
                rule: rule >> bits::CONFLICT_MASK.trailing_zeros(),
            });
        }
        let known = FLAGS.iter().fold(bits::CONFLICT_MASK, |known, flag| known | flag.value);
        match number & !known {
            0 => Ok(Self(number)),
            unknown => Err(FlagError::UnknownBits { bits: unknown, rest: Self(number & known) }),
        }
    }

    /// The number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both control words in one.
    ///
    /// # Errors
    /// If both have a rule for conflicts, and not the same.
    pub fn and(self, other: Self) -> Result<Self, FlagError> {
        match (self.rule(), other.rule()) {
            (Some(a), Some(b)) if a != b => {
                Err(FlagError::TwoRules { first: a.name, second: b.name })
            }
            _ => Ok(Self(self.0 | other.0)),
        }
    }

    /// What of it applies, after what the flags imply and need.
    ///
    /// # Errors
    /// If neither `FillSparse` nor `SyncIn` nor `SyncOut` is set: such a run could do nothing, and
    /// whoever asked for it meant something else.
    pub fn normalised(self) -> Result<Normalised, FlagError> {
        let (mut word, mut notes) = (self.0, Vec::new());
        if self.sync_in() && !self.fill_sparse() {
            word |= bits::FILL_SPARSE;
            notes.push(Note::Implied { flag: "FillSparse", by: "SyncIn" });
        }
        if word & (bits::FILL_SPARSE | bits::SYNC_OUT) == 0 {
            return Err(FlagError::NoDirection { flags: self });
        }
        for (flag, needed) in NEEDS {
            if word & flag != 0 && word & needed == 0 {
                word &= !flag;
                notes.push(Note::Ignored { flag: name_of(flag), needs: name_of(needed) });
            }
        }
        if word & bits::PIN_NEW_FILES != 0 && word & bits::PIN_FOR_ANY == 0 {
            word |= bits::PIN_FOR_USER;
            notes.push(Note::ForUser);
        }
        if self.low_priority() {
            word &= !bits::LOW_PRIORITY;
            notes.push(Note::Reserved { flag: "LowPriority" });
        }
        Ok(Normalised { flags: Self(word), notes })
    }

    /// Who wins conflicts; `None`: they stay open, and a person decides.
    #[must_use]
    pub const fn conflicts(self) -> Option<KeepRule> {
        match self.0 & bits::CONFLICT_MASK {
            bits::KEEP_LOCAL => Some(KeepRule::KeepLocal),
            bits::KEEP_REMOTE => Some(KeepRule::KeepRemote),
            bits::KEEP_LATEST => Some(KeepRule::KeepLatest),
            _ => None,
        }
    }

    /// What is set, by number.
    pub fn iter(self) -> impl Iterator<Item = &'static FlagInfo> {
        FLAGS.iter().filter(move |flag| match flag.value & bits::CONFLICT_MASK {
            0 => self.has(flag.value),
            rule => self.0 & bits::CONFLICT_MASK == rule,
        })
    }

    fn rule(self) -> Option<&'static FlagInfo> {
        self.iter().find(|flag| flag.value & bits::CONFLICT_MASK != 0)
    }

    const fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

/// One question for each flag.
macro_rules! questions {
    ($($question:ident $bit:ident $name:literal;)*) => {
        impl Flags {
            $(
                #[doc = concat!("Whether `", $name, "` is set; [`FLAGS`] says what it means.")]
                #[must_use]
                pub const fn $question(self) -> bool {
                    self.has(bits::$bit)
                }
            )*
        }
    };
}

questions! {
    fill_sparse FILL_SPARSE "FillSparse";
    sync_in SYNC_IN "SyncIn";
    sync_out SYNC_OUT "SyncOut";
    pin_new_files PIN_NEW_FILES "PinNewFiles";
    pin_link_targets PIN_LINK_TARGETS "PinLinkTargets";
    pin_for_user PIN_FOR_USER "PinForUser";
    pin_for_user_policy PIN_FOR_USER_POLICY "PinForUser_Policy";
    pin_for_all PIN_FOR_ALL "PinForAll";
    pin_for_redir PIN_FOR_REDIR "PinForRedir";
    low_priority LOW_PRIORITY "LowPriority";
    async_progress ASYNC_PROGRESS "AsyncProgress";
    interactive INTERACTIVE "Interactive";
    console CONSOLE "Console";
    skip_suspended_dirs SKIP_SUSPENDED_DIRS "SkipSuspendedDirs";
    background BACKGROUND "Background";
    no_new_files_out NO_NEW_FILES_OUT "NoNewFilesOut";
}

impl TryFrom<u32> for Flags {
    type Error = FlagError;

    fn try_from(number: u32) -> Result<Self, FlagError> {
        Self::from_bits(number)
    }
}

impl From<Flags> for u32 {
    fn from(flags: Flags) -> Self {
        flags.0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(|flag| flag.name).collect();
        match names.as_slice() {
            [] => f.write_str("0x0"),
            names if f.alternate() => write!(f, "{} (0x{:08X})", names.join("+"), self.0),
            names => f.write_str(&names.join("+")),
        }
    }
}

impl fmt::UpperHex for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::UpperHex::fmt(&self.0, f)
    }
}

impl FromStr for Flags {
    type Err = FlagError;

    /// Reads names and numbers, separated by `,`, `|` or `+`. Names may be written in any case,
    /// with or without `-`, `_` and the long beginning of the documentation.
    fn from_str(text: &str) -> Result<Self, FlagError> {
        let (mut word, mut at) = (Self::default(), 1);
        for piece in text.split([',', '|', '+']) {
            let blank = piece.chars().take_while(|c| c.is_whitespace()).count();
            word = word.and(read_piece(piece.trim(), at + blank)?)?;
            at += piece.chars().count() + 1;
        }
        Ok(word)
    }
}

/// Reads one name or number that starts at a character.
fn read_piece(text: &str, at: usize) -> Result<Flags, FlagError> {
    if text.is_empty() {
        return Err(FlagError::Missing { at });
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return read_name(text, at);
    }
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let radix = if digits.is_some() { 16 } else { 10 };
    let digits = digits.unwrap_or(text);
    // The parser of numbers would take a sign as well.
    let is_number = digits.starts_with(|c: char| c.is_digit(radix));
    match u32::from_str_radix(digits, radix) {
        Ok(number) if is_number => Flags::from_bits(number),
        _ => Err(FlagError::BadNumber { text: text.to_owned(), at }),
    }
}

fn read_name(text: &str, at: usize) -> Result<Flags, FlagError> {
    let name = plain(text);
    let short = name.strip_prefix("offlinefilessynccontrol").unwrap_or(&name);
    let short = short.strip_prefix("flag").or_else(|| short.strip_prefix("cr")).unwrap_or(short);
    match FLAGS.iter().find(|flag| plain(flag.name) == short) {
        Some(flag) => Ok(Flags(flag.value)),
        None => Err(FlagError::UnknownName { name: text.to_owned(), at, hint: hint(short) }),
    }
}

/// A name without case and joints.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// What somebody who wrote this may have meant.
fn hint(wanted: &str) -> String {
    if wanted == "keepboth" || wanted == "keepallchanges" {
        return "the control word has no rule that keeps both; settle the conflict itself"
            .to_owned();
    }
    let near = FLAGS.iter().map(|flag| (distance(wanted, &plain(flag.name)), flag.name));
    match near.min() {
        Some((steps, name)) if steps * 3 <= wanted.chars().count() => {
            format!("did you mean {name}?")
        }
        _ => {
            let names: Vec<&str> = FLAGS.iter().map(|flag| flag.name).collect();
            format!("there are {}", names.join(", "))
        }
    }
}

/// How many letters to add, drop or replace to make one word the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(x != *y);
            next.push(replaced.min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// The name of a flag of the table.
fn name_of(value: u32) -> &'static str {
    FLAGS.iter().find(|flag| flag.value == value).map_or("?", |flag| flag.name)
}
