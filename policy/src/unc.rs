//! UNC paths: `\\server\share\folder`, compared the way Windows compares them.

use std::fmt;
use std::str::FromStr;

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
    text: String,
    folded: String,
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
            Self::TooLong => "shorten the path",
        }
    }
}

/// Says why one part of a path (a server, share or folder name) cannot be a name.
///
/// # Errors
/// [`UncError`] for an empty part, dots, or a character that Windows forbids.
pub fn check_name(part: &str) -> Result<(), UncError> {
    if part.is_empty() {
        return Err(UncError::EmptyPart);
    }
    if part == "." || part == ".." {
        return Err(UncError::DotPart);
    }
    match part.chars().find(|c| c.is_control() || r#"<>:"/\|?*"#.contains(*c)) {
        Some(bad) => Err(UncError::BadCharacter(bad)),
        None => Ok(()),
    }
}

impl Unc {
    /// Reads `\\server\share\…`; one trailing backslash is dropped.
    ///
    /// # Errors
    /// [`UncError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, UncError> {
        if text.chars().count() > UNC_LENGTH_MAX {
            return Err(UncError::TooLong);
        }
        let rest = text.strip_prefix(r"\\").ok_or(UncError::NoLeadingBackslashes)?;
        let rest = rest.strip_suffix('\\').unwrap_or(rest);
        let mut parts = 0;
        for part in rest.split('\\') {
            check_name(part)?;
            parts += 1;
        }
        if parts < 2 {
            return Err(UncError::NoShare);
        }
        let text = format!(r"\\{rest}");
        let folded = text.to_lowercase();
        Ok(Self { text, folded })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Server, share and folders, in order.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.text.trim_start_matches('\\').split('\\')
    }

    /// The parts below `base`, or `None` when `self` is not `base` or below it.
    pub fn below<'a>(&'a self, base: &Unc) -> Option<Vec<&'a str>> {
        let inside = self.folded == base.folded
            || self.folded.strip_prefix(&base.folded).is_some_and(|rest| rest.starts_with('\\'));
        inside.then(|| self.parts().skip(base.parts().count()).collect())
    }

    /// This path with one or more names added (`Documents`, `AppData\Roaming`).
    ///
    /// # Errors
    /// [`UncError`] when a name is not one that Windows allows.
    pub fn join(&self, names: &str) -> Result<Self, UncError> {
        Self::parse(&format!(r"{}\{names}", self.text))
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
        unc.text
    }
}

impl PartialEq for Unc {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
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
        self.folded.cmp(&other.folded)
    }
}

impl std::hash::Hash for Unc {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for Unc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
