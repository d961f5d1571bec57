//! Distinguished names, compared as the directory compares them (RFC 4514 text, case-insensitive).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest distinguished name accepted, in bytes; Active Directory's own limit is far lower.
pub const DN_LENGTH_MAX: usize = 4_096;

/// A distinguished name, kept as written and in the form that decides equality.
///
/// The comparison form folds case, drops spaces around `,`, `=` and `+`, folds runs of spaces and
/// resolves escapes, so that `CN=Lt-7, DC=corp` and `cn=LT\2D7,dc=CORP` are the same entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Dn {
    text: String,
    /// Relative names from the entry outwards, normalised, joined by [`SEPARATOR`].
    key: String,
}

/// Cannot occur in a normalised relative name, because control characters stay escaped.
const SEPARATOR: char = '\u{1f}';

/// Why a text is no distinguished name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnError {
    /// Nothing written.
    #[error("the distinguished name is empty")]
    Empty,
    /// A part without `attribute=value`.
    #[error("a part of the name is not of the form attribute=value")]
    NoEquals,
    /// A backslash that escapes nothing.
    #[error("a backslash at the end escapes nothing")]
    DanglingEscape,
    /// Hexadecimal escapes that are not UTF-8.
    #[error("the escaped bytes are not UTF-8")]
    NotUtf8,
    /// Longer than [`DN_LENGTH_MAX`].
    #[error("the name is longer than {DN_LENGTH_MAX} bytes")]
    TooLong,
}

impl Dn {
    /// Reads a distinguished name in its string form.
    ///
    /// # Errors
    /// [`DnError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        if text.trim().is_empty() {
            return Err(DnError::Empty);
        }
        if text.len() > DN_LENGTH_MAX {
            return Err(DnError::TooLong);
        }
        let mut key = String::with_capacity(text.len());
        for (index, part) in split_unescaped(text, ',')?.into_iter().enumerate() {
            if index > 0 {
                key.push(SEPARATOR);
            }
            normalise_rdn(part, &mut key)?;
        }
        Ok(Self { text: text.trim().to_owned(), key })
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that decides equality; useful as a map key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How many relative names it has.
    pub fn depth(&self) -> usize {
        self.key.split(SEPARATOR).count()
    }

    /// Whether this entry lies below `container`, at any depth, or is it.
    pub fn is_within(&self, container: &Dn) -> bool {
        self.key == container.key
            || self
                .key
                .strip_suffix(container.key.as_str())
                .is_some_and(|head| head.ends_with(SEPARATOR))
    }

    /// The value of the first relative name (`LT-7` of `CN=LT-7,OU=…`), as written but unescaped.
    pub fn leaf(&self) -> String {
        let first = split_unescaped(&self.text, ',').ok().and_then(|parts| parts.first().copied());
        let value = first.and_then(|rdn| rdn.split_once('=')).map_or("", |(_, value)| value);
        unescape(value.trim()).unwrap_or_else(|_| value.to_owned())
    }

    /// The DNS name that the `DC=` parts spell, if any (`corp.test`).
    pub fn dns_domain(&self) -> Option<String> {
        let labels: Vec<&str> =
            self.key.split(SEPARATOR).filter_map(|rdn| rdn.strip_prefix("dc=")).collect();
        (!labels.is_empty()).then(|| labels.join("."))
    }
}

fn split_unescaped(text: &str, separator: char) -> Result<Vec<&str>, DnError> {
    let mut parts = Vec::new();
    let (mut start, mut escaped, mut quoted) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if escaped {
        return Err(DnError::DanglingEscape);
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// A relative name may hold several pairs joined by `+`; their order means nothing, so they are sorted.
fn normalise_rdn(rdn: &str, out: &mut String) -> Result<(), DnError> {
    let pairs = split_unescaped(rdn, '+')?;
    if let [only] = pairs[..] {
        return normalise_pair(only, out);
    }
    let mut normal = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let mut text = String::new();
        normalise_pair(pair, &mut text)?;
        normal.push(text);
    }
    normal.sort_unstable();
    out.push_str(&normal.join("+"));
    Ok(())
}

fn normalise_pair(pair: &str, out: &mut String) -> Result<(), DnError> {
    let (attribute, value) = pair.split_once('=').ok_or(DnError::NoEquals)?;
    let attribute = attribute.trim();
    if attribute.is_empty() {
        return Err(DnError::NoEquals);
    }
    fold_into(attribute, out);
    out.push('=');
    let value = value.trim();
    // The common name without escapes and double spaces is folded in place, without a detour.
    let is_plain = |char: char| !matches!(char, '\\' | '"' | '+') && !char.is_control();
    if value.chars().all(is_plain) && !value.contains("  ") {
        out.extend(value.chars().flat_map(char::to_lowercase));
        return Ok(());
    }
    let value = unescape(value.trim_matches('"'))?;
    for (at, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
        if at > 0 {
            out.push(' ');
        }
        fold_into(word, out);
    }
    Ok(())
}

/// Adds a text in lower case. What means something between names stays escaped, so that no value
/// can pass for the parents of its entry.
fn fold_into(text: &str, out: &mut String) {
    for char in text.chars().flat_map(char::to_lowercase) {
        if matches!(char, '\\' | '+') || char.is_control() {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                out.push('\\');
                out.push_str(&format!("{byte:02x}"));
            }
        } else {
            out.push(char);
        }
    }
}

fn unescape(value: &str) -> Result<String, DnError> {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let hex = value.get(at + 1..at + 3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (hex, bytes.get(at + 1)) {
            (Some(byte), _) => {
                out.push(byte);
                at += 3;
            }
            (None, Some(&byte)) => {
                out.push(byte);
                at += 2;
            }
            (None, None) => return Err(DnError::DanglingEscape),
        }
    }
    String::from_utf8(out).map_err(|_| DnError::NotUtf8)
}

impl TryFrom<String> for Dn {
    type Error = DnError;
    fn try_from(text: String) -> Result<Self, DnError> {
        Self::parse(&text)
    }
}

impl From<Dn> for String {
    fn from(dn: Dn) -> Self {
        dn.text
    }
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Dn {}

impl std::hash::Hash for Dn {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dn(text: &str) -> Dn {
        Dn::parse(text).unwrap()
    }

    #[test]
    fn no_value_can_pass_for_the_parents_of_its_entry() {
        let container = Dn::parse("OU=b,DC=x").unwrap();
        for text in [r"CN=a\1fOU=b,DC=x", "CN=a\u{1f}OU=b,DC=x", r"CN=a\\1fOU=b,DC=x"] {
            let forged = Dn::parse(text).unwrap();
            assert_eq!(forged.depth(), 2, "{text:?}");
            assert!(!forged.is_within(&container), "{text:?}");
            assert_ne!(forged, Dn::parse("CN=a,OU=b,DC=x").unwrap(), "{text:?}");
        }
        let (one, two) = (Dn::parse(r"CN=a\+OU=b,DC=x"), Dn::parse("CN=a+OU=b,DC=x"));
        assert_ne!(one.unwrap(), two.unwrap());
        assert_eq!(Dn::parse("CN=a+OU=b").unwrap(), Dn::parse("OU=B+CN=A").unwrap());
    }

    #[test]
    fn spelling_does_not_matter() {
        for (a, b) in [
            ("CN=LT-7,DC=corp,DC=test", "cn=lt-7, dc=CORP , dc=test"),
            (r"CN=Doe\, Jane,DC=corp", r"cn=doe\2c jane,dc=corp"),
            ("CN=a  b,DC=x", "CN=a b,DC=x"),
            ("CN=a+OU=b,DC=x", "ou=B + cn=A,dc=x"),
            (r"CN=Zo\C3\AB,DC=x", "CN=ZOË,DC=x"),
        ] {
            assert_eq!(dn(a), dn(b), "{a} and {b}");
        }
        assert_ne!(dn("CN=LT-7,DC=corp"), dn("CN=LT-70,DC=corp"));
    }

    #[test]
    fn within_compares_whole_names() {
        let ou = dn("OU=Staff,DC=corp,DC=test");
        assert!(dn("CN=alice,ou=staff,dc=corp,dc=test").is_within(&ou));
        assert!(ou.is_within(&ou));
        assert!(!dn("CN=alice,OU=NotStaff,DC=corp,DC=test").is_within(&ou));
        assert!(!dn("OU=xOU=Staff,DC=corp,DC=test").is_within(&ou));
    }

    #[test]
    fn bad_names_say_why() {
        for (text, why) in [
            ("", DnError::Empty),
            ("Staff", DnError::NoEquals),
            ("=x,DC=corp", DnError::NoEquals),
            ("CN=a,", DnError::NoEquals),
            (r"CN=a\", DnError::DanglingEscape),
            (r"CN=\ff", DnError::NotUtf8),
        ] {
            assert_eq!(Dn::parse(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn leaf_and_domain() {
        let name = dn(r"CN=Doe\, Jane,OU=Staff,DC=corp,DC=test");
        assert_eq!(name.leaf(), "Doe, Jane");
        assert_eq!(name.dns_domain().as_deref(), Some("corp.test"));
    }
}
