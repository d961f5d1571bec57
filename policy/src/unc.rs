//! UNC paths: `\\server\share\folder`, compared the way Windows compares them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest UNC path accepted, in characters (the Win32 limit for an extended path).
pub const UNC_LENGTH_MAX: usize = 32_767;

/// A checked UNC path with a server, a share and any number of folders below.
///
/// Two paths are equal when they differ only in ASCII or Unicode case, as on Windows.
/// The spelling that was written is kept for people to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Unc {
    /// The path as written, then the form that decides equality unless the two are the same. One
    /// shared allocation: decisions hand paths on far more often than they make new ones.
    both: Arc<str>,
    length: u32,
    folded_at: u32,
}

/// Why a text is no UNC path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UncError {
    /// It does not start with two backslashes.
    #[error("a UNC path starts with two backslashes")]
    NoLeadingBackslashes,
    /// It has a server but no share.
    #[error("a UNC path names a server and a share")]
    NoShare,
    /// Two backslashes in a row, or one at the end of the server.
    #[error("a part of the path is empty")]
    EmptyPart,
    /// `.` or `..`.
    #[error("a part of the path is `.` or `..`")]
    DotPart,
    /// A character that no Windows name may hold.
    #[error("the character {0:?} cannot be part of a name")]
    BadCharacter(char),
    /// A space or a dot at the end of a name, which Windows drops.
    #[error("a name cannot end in a space or a dot")]
    BadEnd,
    /// Longer than [`UNC_LENGTH_MAX`].
    #[error("the path is longer than {UNC_LENGTH_MAX} characters")]
    TooLong,
}

impl UncError {
    /// What to write instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoLeadingBackslashes | Self::NoShare | Self::EmptyPart => {
                r"write it as a TOML literal string: '\\server\share\folder'"
            }
            Self::DotPart => "write the full path, without `.` and `..`",
            Self::BadCharacter(_) => {
                r#"Windows names hold none of < > : " / | ? * and no control characters"#
            }
            Self::BadEnd => "Windows drops it, so that two names would be one folder",
            Self::TooLong => "shorten the path",
        }
    }
}

/// Says why one part of a path (a server, share or folder name) cannot be a name.
///
/// # Errors
/// [`UncError`] for an empty part, dots, an end that Windows drops, or a character it forbids.
pub fn check_name(part: &str) -> Result<(), UncError> {
    if part.is_empty() {
        return Err(UncError::EmptyPart);
    }
    if part == "." || part == ".." {
        return Err(UncError::DotPart);
    }
    if count_plain_parts(part) == Some(1) {
        return Ok(());
    }
    match part.chars().find(|c| is_forbidden(*c)) {
        Some(bad) => Err(UncError::BadCharacter(bad)),
        None if part.ends_with([' ', '.']) => Err(UncError::BadEnd),
        None => Ok(()),
    }
}

const fn is_forbidden(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*') || is_control(c)
}

/// [`char::is_control`], for constants too.
const fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')
}

/// The text in lower case; a copy only where that makes a difference.
pub(crate) fn folded(text: &str) -> Cow<'_, str> {
    if is_folded(text) {
        return Cow::Borrowed(text);
    }
    if text.is_ascii() {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    // Character by character: a sigma at the end of a pattern is none at the end of a name.
    Cow::Owned(text.chars().flat_map(char::to_lowercase).collect())
}

fn is_folded(text: &str) -> bool {
    !text.bytes().any(|byte| !byte.is_ascii() || byte.is_ascii_uppercase())
}

/// Which bytes are a character of ASCII that a name may hold.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte: u8 = 0x20;
    while byte < 0x7f {
        plain[byte as usize] = !is_forbidden(byte as char);
        byte += 1;
    }
    plain
};

/// How many names the separators part, if all of them are good.
fn count_parts(text: &str) -> Result<usize, UncError> {
    if let Some(parts) = count_plain_parts(text) {
        return Ok(parts);
    }
    text.split('\\').try_fold(0, |count, part| check_name(part).map(|()| count + 1))
}

/// How many good names the separators part, if they are all of ASCII; else the slow way says why.
fn count_plain_parts(text: &str) -> Option<usize> {
    let mut parts = 1;
    let mut before = b'\\';
    for byte in text.bytes() {
        let at_end = matches!(before, b'\\' | b'.' | b' ');
        match byte {
            b'\\' if at_end => return None,
            b'\\' => parts += 1,
            _ if !PLAIN[usize::from(byte)] => return None,
            _ => {}
        }
        before = byte;
    }
    (!matches!(before, b'\\' | b'.' | b' ')).then_some(parts)
}

impl Unc {
    /// Reads `\\server\share\…`; one trailing backslash is dropped.
    ///
    /// # Errors
    /// [`UncError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, UncError> {
        let rest = Self::check(text)?;
        Ok(Self::new(&[r"\\", rest]))
    }

    /// What [`Unc::parse`] says, without making a path; gives what follows the two backslashes.
    pub(crate) fn check(text: &str) -> Result<&str, UncError> {
        if text.len() > UNC_LENGTH_MAX && text.chars().count() > UNC_LENGTH_MAX {
            return Err(UncError::TooLong);
        }
        let rest = text.strip_prefix(r"\\").ok_or(UncError::NoLeadingBackslashes)?;
        let rest = rest.strip_suffix('\\').unwrap_or(rest);
        let parts = count_parts(rest)?;
        if parts < 2 {
            return Err(UncError::NoShare);
        }
        Ok(rest)
    }

    /// Takes a text that has been checked.
    fn new(pieces: &[&str]) -> Self {
        // A checked text has at most 32,767 characters, so that no length is out of range.
        let bounded = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let length = pieces.iter().map(|piece| piece.len()).sum();
        let mut both = String::with_capacity(2 * length);
        pieces.iter().for_each(|piece| both.push_str(piece));
        let mut folded_at = 0;
        if !is_folded(&both) {
            folded_at = length;
            if both.is_ascii() {
                pieces.iter().for_each(|piece| both.push_str(piece));
                both[length..].make_ascii_lowercase();
            } else {
                both.push_str(&both.to_lowercase());
            }
        }
        Self { both: both.into(), length: bounded(length), folded_at: bounded(folded_at) }
    }

    /// The form that decides equality.
    pub(crate) fn folded(&self) -> &str {
        &self.both[self.folded_at as usize..]
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.both[..self.length as usize]
    }

    /// Server, share and folders, in order.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.as_str().trim_start_matches('\\').split('\\')
    }

    /// The parts below `base`, or `None` when `self` is not `base` or below it.
    pub fn below<'a>(&'a self, base: &Unc) -> Option<Vec<&'a str>> {
        self.is_within(base).then(|| self.parts().skip(base.parts().count()).collect())
    }

    /// Whether `self` is `base` or lies below it.
    pub fn is_within(&self, base: &Unc) -> bool {
        let rest = self.folded().strip_prefix(base.folded());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
    }

    /// This path with one or more names added (`Documents`, `AppData\Roaming`).
    ///
    /// # Errors
    /// [`UncError`] when a name is not one that Windows allows.
    pub fn join(&self, names: &str) -> Result<Self, UncError> {
        let kept = names.strip_suffix('\\').unwrap_or(names);
        count_parts(kept)?;
        Self::joined(&[self.as_str(), r"\", kept])
    }

    /// This path with a name of somebody's making, which is checked, and fixed names below it.
    pub(crate) fn join_own(&self, name: &str, fixed: &'static str) -> Result<Self, UncError> {
        check_name(name)?;
        Self::joined(&[self.as_str(), r"\", name, r"\", fixed])
    }

    /// This path with a suffix of its last name, like `.V6`, which must be a good end of a name.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Result<Self, UncError> {
        Self::joined(&[self.as_str(), suffix])
    }

    fn joined(pieces: &[&str]) -> Result<Self, UncError> {
        let count = |piece: &&str| piece.chars().count();
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        if bytes > UNC_LENGTH_MAX && pieces.iter().map(count).sum::<usize>() > UNC_LENGTH_MAX {
            return Err(UncError::TooLong);
        }
        Ok(Self::new(pieces))
    }
}

impl FromStr for Unc {
    type Err = UncError;
    fn from_str(text: &str) -> Result<Self, UncError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Unc {
    type Error = UncError;
    fn try_from(text: String) -> Result<Self, UncError> {
        Self::parse(&text)
    }
}

impl From<Unc> for String {
    fn from(unc: Unc) -> Self {
        unc.as_str().to_owned()
    }
}

impl PartialEq for Unc {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for Unc {}

impl PartialOrd for Unc {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Unc {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(other.folded())
    }
}

impl std::hash::Hash for Unc {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl fmt::Display for Unc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_paths() {
        for good in [r"\\srv\share", r"\\srv\share$\a b\c", r"\\corp.test\dfs\home\"] {
            assert!(Unc::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            (r"srv\share", UncError::NoLeadingBackslashes),
            ("//srv/share", UncError::NoLeadingBackslashes),
            (r"\\srv", UncError::NoShare),
            (r"\\srv\\share", UncError::EmptyPart),
            (r"\\srv\share\..\x", UncError::DotPart),
            (r"\\srv\share\a*b", UncError::BadCharacter('*')),
            (r"\\srv\share\a \b", UncError::BadEnd),
            (r"\\srv\share\a.", UncError::BadEnd),
            (r"\\srv\ ", UncError::BadEnd),
        ] {
            assert_eq!(Unc::parse(bad).unwrap_err(), why, "{bad}");
        }
    }

    #[test]
    fn case_does_not_matter_and_spelling_is_kept() {
        let a = Unc::parse(r"\\SRV\Home").unwrap();
        let b = Unc::parse(r"\\srv\home").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), r"\\SRV\Home");
    }

    #[test]
    fn below_compares_whole_parts() {
        let base = Unc::parse(r"\\srv\home").unwrap();
        let inside = Unc::parse(r"\\SRV\HOME\alice\Documents").unwrap();
        assert_eq!(inside.below(&base), Some(vec!["alice", "Documents"]));
        assert_eq!(base.below(&base), Some(vec![]));
        assert_eq!(Unc::parse(r"\\srv\home2").unwrap().below(&base), None);
    }
}
