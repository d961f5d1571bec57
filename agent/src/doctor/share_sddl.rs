//! Security descriptors as text: the language SDDL (MS-DTYP 2.5.1), as far as files use it.

use std::fmt;

use super::share_access::{Ace, Descriptor, Kind, mask};
use crate::directory::sid;

/// Longest text that is read.
const TEXT_MAX: usize = 64 << 10;

/// Why a text is no security descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SddlError {
    /// Something else was expected at this byte.
    #[error("byte {at} of the security descriptor: {what} was expected")]
    Expected {
        /// Where, from 0.
        at: usize,
        /// What.
        what: &'static str,
    },
    /// It is longer than 64 KiB.
    #[error("the security descriptor has more than 64 KiB")]
    TooLong,
}

/// Two letters that stand for a SID (MS-DTYP 2.5.1.1), as far as they are the same everywhere.
const ALIASES: [(&str, &str); 13] = [
    ("WD", "S-1-1-0"),
    ("CO", "S-1-3-0"),
    ("CG", "S-1-3-1"),
    ("OW", "S-1-3-4"),
    ("NU", "S-1-5-2"),
    ("IU", "S-1-5-4"),
    ("AN", "S-1-5-7"),
    ("AU", "S-1-5-11"),
    ("SY", "S-1-5-18"),
    ("BA", "S-1-5-32-544"),
    ("BU", "S-1-5-32-545"),
    ("BG", "S-1-5-32-546"),
    ("BO", "S-1-5-32-551"),
];

/// Two letters that stand for rights.
const RIGHTS: [(&str, u32); 21] = [
    ("GA", 0x1000_0000),
    ("GX", 0x2000_0000),
    ("GW", 0x4000_0000),
    ("GR", 0x8000_0000),
    ("FA", mask::FULL),
    ("FR", mask::READ),
    ("FW", mask::WRITE),
    ("FX", mask::EXECUTE),
    ("RC", mask::READ_CONTROL),
    ("SD", mask::DELETE),
    ("WD", mask::WRITE_DAC),
    ("WO", 0x8_0000),
    ("CC", 0x1),
    ("DC", 0x2),
    ("LC", 0x4),
    ("SW", 0x8),
    ("RP", 0x10),
    ("WP", 0x20),
    ("DT", 0x40),
    ("LO", 0x80),
    ("CR", 0x100),
];

/// Two letters that stand for flags of an entry.
const FLAGS: [(&str, u8); 7] = [
    ("OI", 0x01),
    ("CI", 0x02),
    ("NP", 0x04),
    ("IO", 0x08),
    ("ID", 0x10),
    ("SA", 0x40),
    ("FA", 0x80),
];

impl fmt::Display for Ace {
    /// As SDDL has it, with the rights as a number and the SID in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Allow => "A",
            Kind::Deny => "D",
            Kind::Other(_) => "AU",
        };
        write!(f, "({kind};")?;
        for (word, _) in FLAGS.iter().filter(|(_, bit)| self.flags & bit != 0) {
            f.write_str(word)?;
        }
        write!(f, ";0x{:x};;;{})", self.mask, self.sid)
    }
}

struct Text<'t> {
    all: &'t str,
    at: usize,
}

impl<'t> Text<'t> {
    fn rest(&self) -> &'t str {
        &self.all[self.at..]
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, SddlError> {
        Err(SddlError::Expected { at: self.at, what })
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Up to one of some characters, which stays.
    fn until(&mut self, ends: &[char]) -> &'t str {
        let rest = self.rest();
        let end = rest.find(ends).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn must(&mut self, word: &str, what: &'static str) -> Result<(), SddlError> {
        if self.take(word) { Ok(()) } else { self.expected(what) }
    }

    fn sid(&mut self) -> Result<String, SddlError> {
        let rest = self.rest();
        if let Some(more) = rest.strip_prefix("S-") {
            let end = more.find(|c: char| !c.is_ascii_digit() && c != '-');
            let text = &rest[..end.map_or(rest.len(), |end| end + 2)];
            if sid::bytes(text).is_none() {
                return self.expected("a SID");
            }
            self.at += text.len();
            return Ok(text.to_owned());
        }
        let known = ALIASES.iter().find(|(word, _)| rest.starts_with(word));
        let Some((word, sid)) = known else {
            return self.expected("a SID, or one of WD, AU, SY, …");
        };
        self.at += word.len();
        Ok((*sid).to_owned())
    }

    fn rights(&mut self) -> Result<u32, SddlError> {
        let start = self.at;
        let text = self.until(&[';', ')']);
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok(),
            None => pairs(text, &RIGHTS),
        };
        self.at = if number.is_some() { self.at } else { start };
        number.map_or_else(|| self.expected("rights"), Ok)
    }

    fn ace(&mut self) -> Result<Ace, SddlError> {
        let kind = match self.until(&[';', ')']) {
            "A" => Kind::Allow,
            "D" => Kind::Deny,
            "XA" => Kind::Other(9),
            "XD" => Kind::Other(10),
            "OA" => Kind::Other(5),
            "OD" => Kind::Other(6),
            "AU" => Kind::Other(2),
            _ => return self.expected("the kind of an entry before this"),
        };
        self.must(";", "`;`")?;
        let flags = pairs(self.until(&[';', ')']), &FLAGS);
        let Some(flags) = flags else { return self.expected("flags before this") };
        self.must(";", "`;`")?;
        let mask = self.rights()?;
        for _ in 0..2 {
            self.must(";", "`;`")?;
            self.until(&[';', ')']); // an object, which files have none of
        }
        self.must(";", "`;`")?;
        let sid = self.sid()?;
        if let Kind::Other(_) = kind {
            self.conditions();
        }
        self.must(")", "`)`")?;
        Ok(Ace { kind, flags, mask, sid })
    }

    /// Passes over the conditions of an entry, which may hold parentheses.
    fn conditions(&mut self) {
        let mut depth = 0_usize;
        let ends = |(_, c): &(usize, char)| {
            let is_end = *c == ')' && depth == 0;
            depth = match c {
                '(' => depth + 1,
                ')' => depth.saturating_sub(1),
                _ => depth,
            };
            is_end
        };
        let end = self.rest().char_indices().find(ends).map(|(at, _)| at);
        self.at += end.unwrap_or(self.rest().len());
    }

    fn list(&mut self) -> Result<Option<Vec<Ace>>, SddlError> {
        if self.take("NO_ACCESS_CONTROL") {
            return Ok(None);
        }
        while self.take("P") || self.take("AR") || self.take("AI") {}
        let mut list = Vec::new();
        while self.take("(") {
            list.push(self.ace()?);
        }
        Ok(Some(list))
    }
}

/// The bits that some pairs of letters stand for.
fn pairs<T: Copy + Default + std::ops::BitOr<Output = T>>(
    text: &str,
    table: &[(&str, T)],
) -> Option<T> {
    let mut rest = text;
    let mut bits = T::default();
    while !rest.is_empty() {
        let (word, bit) = table.iter().find(|(word, _)| rest.starts_with(word))?;
        rest = &rest[word.len()..];
        bits = bits | *bit;
    }
    Some(bits)
}

/// Reads a descriptor; an audit list is passed over.
///
/// # Errors
/// [`SddlError`] with the place.
pub fn parse(text: &str) -> Result<Descriptor, SddlError> {
    if text.len() > TEXT_MAX {
        return Err(SddlError::TooLong);
    }
    let mut text = Text { all: text.trim(), at: 0 };
    let mut found = Descriptor::default();
    while !text.rest().is_empty() {
        if text.take("O:") {
            found.owner = Some(text.sid()?);
        } else if text.take("G:") {
            found.group = Some(text.sid()?);
        } else if text.take("D:") {
            found.list = text.list()?;
        } else if text.take("S:") {
            text.list()?;
        } else {
            return text.expected("O:, G:, D: or S:");
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_windows_and_samba_print_is_read() {
        let text = "O:BAG:S-1-5-21-1-2-3-513D:PAI(A;OICI;FA;;;SY)(D;;0x1;;;S-1-5-21-1-2-3-1001)\
                    (A;OICIIO;GA;;;CO)(XA;;FR;;;WD;(a==1))S:AI(AU;SA;FA;;;WD)";
        let found = parse(text).unwrap();
        assert_eq!(found.owner.as_deref(), Some("S-1-5-32-544"));
        assert_eq!(found.group.as_deref(), Some("S-1-5-21-1-2-3-513"));
        let list = found.list.unwrap();
        assert_eq!(list.len(), 4);
        assert_eq!(list[0], Ace::allow("S-1-5-18", mask::FULL, 3));
        assert_eq!((list[1].kind, list[1].mask), (Kind::Deny, 1));
        assert_eq!((list[2].flags, list[2].mask), (0x0b, 0x1000_0000));
        assert_eq!(list[3].kind, Kind::Other(9));
        assert_eq!(parse("D:NO_ACCESS_CONTROL").unwrap().list, None);
        assert_eq!(parse("D:").unwrap().list, Some(vec![]));
    }

    #[test]
    fn a_mistake_has_its_place() {
        for (text, at) in [
            ("x", 0),
            ("O:XX", 2),
            ("O:S-1-x", 2),
            ("D:(A;;ZZ;;;WD)", 6),
            ("D:(Q;;FA;;;WD)", 4),
            ("D:(A;QQ;FA;;;WD)", 7),
            ("D:(A;;FA;;;WD", 13),
            ("D:(A;;FA;;WD)", 12),
            ("D:(A;;0xfffffffff;;;WD)", 6),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                matches!(error, SddlError::Expected { at: found, .. } if found == at),
                "{text}: {error}"
            );
        }
        assert_eq!(parse(&"D".repeat(TEXT_MAX + 1)), Err(SddlError::TooLong));
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_is_written(
            mask: u32, flags in 0..0x20_u8, deny: bool, last: u32,
        ) {
            let kind = if deny { Kind::Deny } else { Kind::Allow };
            let ace = Ace { kind, flags, mask, sid: format!("S-1-5-21-1-2-3-{last}") };
            let found = parse(&format!("D:{ace}")).unwrap();
            prop_assert_eq!(found.list, Some(vec![ace]));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ODGSA:;()x0-9ä-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
