//! Which names a side can hold, and which names are one and the same to it.
//!
//! The rules of Windows are those of "Naming Files, Paths, and Namespaces". What a name would be
//! called instead is not decided here: a name that one side cannot hold stays where it is, and is
//! reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// The longest name on the usual file systems of Linux, in bytes (`NAME_MAX`).
const LINUX_NAME_BYTES: usize = 255;
/// The longest name on NTFS and over SMB, in UTF-16 units.
const NTFS_NAME_UTF16: usize = 255;
/// The longest path of Windows, in UTF-16 units, for programs that allow long paths.
const WINDOWS_PATH_UTF16: usize = 32_767;
/// What no name holds on Windows, besides the control characters.
const WINDOWS_FORBIDDEN: [char; 9] = ['<', '>', ':', '"', '|', '?', '*', '\\', '/'];
/// Devices that Windows sees in every folder.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// Devices that carry a digit from 1 to 9, and the three superscript digits that count as such.
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];
const SUPERSCRIPT_DIGITS: [char; 3] = ['¹', '²', '³'];

/// What a side holds and tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// It has the devices, characters and endings of Windows.
    pub windows: bool,
    /// `A` and `a` are one name.
    pub ignores_case: bool,
    /// A letter with an accent is one name, written as one character or as two.
    pub normalises: bool,
    /// The longest name, in bytes of UTF-8.
    pub name_max_bytes: usize,
    /// The longest name, in UTF-16 units.
    pub name_max_utf16: usize,
    /// The longest path with its root, in UTF-16 units.
    pub path_max_utf16: Option<usize>,
}

impl Rules {
    /// Linux: anything but a slash and a null, up to 255 bytes.
    pub const POSIX: Self = Self {
        windows: false,
        ignores_case: false,
        normalises: false,
        name_max_bytes: LINUX_NAME_BYTES,
        name_max_utf16: usize::MAX,
        path_max_utf16: None,
    };

    /// Windows with long paths: NTFS and SMB shares of Windows servers.
    pub const WINDOWS: Self = Self {
        windows: true,
        ignores_case: true,
        normalises: false,
        name_max_bytes: usize::MAX,
        name_max_utf16: NTFS_NAME_UTF16,
        path_max_utf16: Some(WINDOWS_PATH_UTF16),
    };
}

/// Why a side cannot hold a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// It has no characters.
    #[error("the name is empty")]
    Empty,
    /// It means the folder itself or the one above.
    #[error("{name} means a folder and is no name")]
    Dots {
        /// The name.
        name: String,
    },
    /// It holds a character that the side forbids.
    #[error("{} at character {at} cannot stand in a name", Shown(*character))]
    Character {
        /// The first such character.
        character: char,
        /// Where, counting characters from 1.
        at: usize,
    },
    /// Windows sees a device under this name, with any extension.
    #[error("Windows keeps {device} for a device, with every extension")]
    Device {
        /// The device, as Windows writes it.
        device: String,
    },
    /// Windows drops dots and spaces at the end, so the name would become another.
    #[error("the name ends with {}, which Windows drops", Shown(*character))]
    Ending {
        /// The dot or space.
        character: char,
    },
    /// The name is too long.
    #[error("the name has {length} {unit}, and {limit} is the most")]
    Long {
        /// What is counted.
        unit: Unit,
        /// How many there are.
        length: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The path is too long.
    #[error("the path has {length} UTF-16 units, and {limit} is the most")]
    LongPath {
        /// How many there are, with the root.
        length: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Another name in the folder is the same to this side.
    #[error("{winner} in the same folder differs {likeness}")]
    Twin {
        /// The name that stays.
        winner: String,
        /// How they differ.
        likeness: Likeness,
    },
}

impl NameFault {
    /// What a person can do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Empty | Self::Dots { .. } => "give it a name",
            Self::Character { .. } => "rename it without this character",
            Self::Device { .. } => "put something in front of it, such as an underscore",
            Self::Ending { .. } => "rename it without the ending",
            Self::Long { .. } => "give it a shorter name",
            Self::LongPath { .. } => "give it or the folders above it shorter names",
            Self::Twin { .. } => "rename one of the two, or remove one if they are the same",
        }
    }
}

/// What the length of a name is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// UTF-16 units.
    Utf16,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Utf16 => "UTF-16 units",
        })
    }
}

/// How two names differ that are one to a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// In capital and small letters.
    Case,
    /// In how letters with accents are written down.
    Accents,
    /// In both.
    CaseAndAccents,
}

impl fmt::Display for Likeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Case => "only in capital and small letters",
            Self::Accents => "only in how its accents are stored",
            Self::CaseAndAccents => "only in capital and small letters and in stored accents",
        })
    }
}

/// A character as people can see it.
struct Shown(char);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ' ' => f.write_str("a space"),
            '.' => f.write_str("a dot"),
            c if c.is_control() => write!(f, "the control character U+{:04X}", u32::from(c)),
            c => write!(f, "{c}"),
        }
    }
}

/// Judges one name, without the folders above it.
///
/// # Errors
/// The first of the faults that it has, in this order: no name at all, a character, a device, the
/// ending, the length.
pub fn judge(name: &str, rules: &Rules) -> Result<(), NameFault> {
    match name {
        "" => return Err(NameFault::Empty),
        "." | ".." => return Err(NameFault::Dots { name: name.to_owned() }),
        _ => {}
    }
    if let Some((index, character)) =
        name.chars().enumerate().find(|(_, character)| is_forbidden(*character, rules))
    {
        return Err(NameFault::Character { character, at: index + 1 });
    }
    if rules.windows {
        if let Some(device) = device(name) {
            return Err(NameFault::Device { device });
        }
        if let Some(character) = name.chars().next_back().filter(|last| matches!(last, '.' | ' ')) {
            return Err(NameFault::Ending { character });
        }
    }
    within(Unit::Bytes, name.len(), rules.name_max_bytes)?;
    within(Unit::Utf16, utf16(name), rules.name_max_utf16)
}

/// Judges a path below a root, name by name and as a whole.
///
/// `root_utf16` is the length of the root in UTF-16 units, without a separator at its end.
///
/// # Errors
/// The first fault of the first name that has one, or else that the path is too long.
pub fn judge_path(path: &str, root_utf16: usize, rules: &Rules) -> Result<(), NameFault> {
    for name in path.split('/') {
        judge(name, rules)?;
    }
    let length = root_utf16.saturating_add(1).saturating_add(utf16(path));
    match rules.path_max_utf16 {
        Some(limit) if length > limit => Err(NameFault::LongPath { length, limit }),
        _ => Ok(()),
    }
}

fn within(unit: Unit, length: usize, limit: usize) -> Result<(), NameFault> {
    if length > limit { Err(NameFault::Long { unit, length, limit }) } else { Ok(()) }
}

fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}

fn is_forbidden(character: char, rules: &Rules) -> bool {
    match character {
        '/' | '\0' => true,
        '\u{1}'..='\u{1F}' => rules.windows,
        _ => rules.windows && WINDOWS_FORBIDDEN.contains(&character),
    }
}

/// The device that Windows sees in a name. What follows the first dot does not matter, nor do
/// spaces in front of it.
fn device(name: &str) -> Option<String> {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    if DEVICES.contains(&stem.as_str()) {
        return Some(stem);
    }
    let is_digit = |c: char| matches!(c, '1'..='9') || SUPERSCRIPT_DIGITS.contains(&c);
    let is_numbered = NUMBERED_DEVICES.iter().any(|kind| {
        let mut rest = stem.strip_prefix(kind).unwrap_or_default().chars();
        rest.next().is_some_and(is_digit) && rest.next().is_none()
    });
    is_numbered.then_some(stem)
}

/// Names of one folder that are one and the same to a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twins<'a> {
    /// The name that stays: the first by its bytes.
    pub winner: &'a str,
    /// The names that cannot be held beside it, by their bytes; at least one.
    pub others: Vec<&'a str>,
}

impl<'a> Twins<'a> {
    /// The names that are left out, each with its fault.
    pub fn faults(&self) -> impl Iterator<Item = (&'a str, NameFault)> {
        self.others.iter().map(|other| {
            let likeness = likeness(self.winner, other);
            (*other, NameFault::Twin { winner: self.winner.to_owned(), likeness })
        })
    }
}

/// Finds the names of one folder that a side cannot tell apart.
///
/// The same names give the same answer in whatever order they come: groups and names are sorted
/// by bytes. A name that comes twice is one name.
pub fn collisions<'a>(names: impl Iterator<Item = &'a str>, rules: &Rules) -> Vec<Twins<'a>> {
    if !rules.ignores_case && !rules.normalises {
        return Vec::new();
    }
    let mut groups: BTreeMap<String, BTreeSet<&'a str>> = BTreeMap::new();
    for name in names {
        groups.entry(fold(name, rules)).or_default().insert(name);
    }
    let twins = groups.into_values().filter_map(|group| {
        let mut names = group.into_iter();
        let winner = names.next()?;
        let others: Vec<&str> = names.collect();
        (!others.is_empty()).then_some(Twins { winner, others })
    });
    let mut twins: Vec<_> = twins.collect();
    twins.sort_unstable_by_key(|twins| twins.winner);
    twins
}

/// What is left of a name when a side's blindness is taken away: equal for names that are one and
/// the same to it, and for no others. It is for comparing only and names nothing.
#[must_use]
pub fn fold(name: &str, rules: &Rules) -> String {
    match (rules.ignores_case, rules.normalises) {
        (false, false) => name.to_owned(),
        (true, false) => name.chars().map(upper).collect(),
        (false, true) => name.nfc().collect(),
        // The accents come off first, so that a letter is judged alike with and without them, and
        // are sorted once more, because case decides the place of a few.
        (true, true) => name.nfd().map(upper).nfd().collect(),
    }
}

/// One character as a capital letter, one to one as in the table of NTFS.
///
/// That table knows the characters of 16 bits, no letter that becomes two, and none that becomes
/// an ASCII letter without being one: the Turkish `ı` is no `I` to it. It is older than that of
/// the compiler, so a few more names are taken for twins here than on a disk.
fn upper(character: char) -> char {
    let is_wide = |c: char| u32::from(c) > 0xFFFF;
    if is_wide(character) {
        return character;
    }
    let mut capital = character.to_uppercase();
    match (capital.next(), capital.next()) {
        (Some(letter), None) if is_wide(letter) => character,
        (Some(letter), None) if letter.is_ascii() && !character.is_ascii() => character,
        (Some(letter), None) => letter,
        // A capital of two letters: there may be one for titles, which is one letter. Both meet at
        // the small letter.
        _ => character.to_lowercase().next().unwrap_or(character),
    }
}

/// How two names differ that are one to a side.
fn likeness(a: &str, b: &str) -> Likeness {
    let accents = Rules { normalises: true, ..Rules::POSIX };
    let case = Rules { ignores_case: true, ..Rules::POSIX };
    if fold(a, &accents) == fold(b, &accents) {
        Likeness::Accents
    } else if fold(a, &case) == fold(b, &case) {
        Likeness::Case
    } else {
        Likeness::CaseAndAccents
    }
}

/// Which names of one folder have to be left alone because a side ignores case: all but one of
/// those that the other side tells apart, and those that are new while the other side has the same
/// name in another case. A mere change of case of what both sides agreed on (`known`) is none.
///
/// `sides` are the names here and there; `ignores` says which of them ignores case.
pub fn twins(
    sides: &[Vec<String>; 2],
    known: &BTreeSet<String>,
    ignores: [bool; 2],
) -> BTreeSet<String> {
    let rules = Rules { ignores_case: true, ..Rules::POSIX };
    let mut groups: BTreeMap<String, [BTreeSet<&str>; 2]> = BTreeMap::new();
    for (side, names) in sides.iter().enumerate() {
        for name in names {
            groups.entry(fold(name, &rules)).or_default()[side].insert(name);
        }
    }
    let mut hidden = BTreeSet::new();
    for group in groups.values() {
        for side in [0, 1] {
            let (own, other) = (&group[side], &group[1 - side]);
            if !ignores[1 - side] {
                continue;
            }
            let is_new = |name: &&str| !known.contains(*name);
            if own.len() > 1 {
                // The one that the other side shows stays; else the first.
                let kept = own
                    .intersection(other)
                    .next()
                    .or_else(|| if other.is_empty() { own.first() } else { None });
                hidden.extend(own.iter().filter(|name| Some(*name) != kept).map(|n| n.to_string()));
            } else if own.is_disjoint(other)
                && !other.is_empty()
                && own.iter().all(is_new)
                && other.iter().all(is_new)
            {
                hidden.extend(own.iter().map(|name| name.to_string()));
            }
        }
    }
    hidden
}
