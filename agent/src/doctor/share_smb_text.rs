//! Security descriptors in libsmbclient's words (pure):
//! `REVISION:1,OWNER:S-1-5-…,GROUP:S-1-5-…,ACL:S-1-5-…:0/3/0x001f01ff,…`.

use super::share_access::{Ace, Descriptor, Kind};
use crate::directory::sid;

/// Most entries of one list that are read; a list has 64 KiB.
const ENTRIES_MAX: usize = 2_000;

/// Why a text is no security descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A part is none of those that there are.
    #[error("part {0} of the security descriptor is malformed")]
    Part(usize),
    /// There are more parts than any list has.
    #[error("the access list has more than {ENTRIES_MAX} entries")]
    TooMany,
    /// It has no entry. libsmbclient says the same of a list that is empty, which grants nothing, and
    /// of none at all, which grants everything.
    #[error("the server told no entry, and whether there is a list at all cannot be seen")]
    NoEntry,
}

/// Reads a descriptor whose SIDs are not names.
///
/// # Errors
/// [`TextError`], with the number of the part from 1.
pub fn parse(text: &str) -> Result<Descriptor, TextError> {
    let mut found = Descriptor::default();
    let mut list = Vec::new();
    for (at, part) in text.split([',', '\n']).enumerate() {
        let bad = || TextError::Part(at + 1);
        if at > ENTRIES_MAX {
            return Err(TextError::TooMany);
        }
        let (key, value) = part.trim().split_once(':').ok_or_else(bad)?;
        match key {
            "REVISION" => {}
            "OWNER" => found.owner = Some(known(value).ok_or_else(bad)?),
            "GROUP" => found.group = Some(known(value).ok_or_else(bad)?),
            "ACL" => list.push(ace(value).ok_or_else(bad)?),
            _ => return Err(bad()),
        }
    }
    if list.is_empty() {
        return Err(TextError::NoEntry);
    }
    found.list = Some(list);
    Ok(found)
}

fn known(text: &str) -> Option<String> {
    sid::bytes(text).map(|_| text.to_owned())
}

/// `SID:kind/flags/mask`, the mask in hexadecimal.
fn ace(text: &str) -> Option<Ace> {
    let (sid, rest) = text.rsplit_once(':')?;
    let mut numbers = rest.split('/');
    let (kind, flags, mask) = (numbers.next()?, numbers.next()?, numbers.next()?);
    if numbers.next().is_some() {
        return None;
    }
    let kind = match kind.parse().ok()? {
        0 => Kind::Allow,
        1 => Kind::Deny,
        other => Kind::Other(other),
    };
    let mask = u32::from_str_radix(mask.strip_prefix("0x")?, 16).ok()?;
    Some(Ace { kind, flags: flags.parse().ok()?, mask, sid: known(sid)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWNER: &str = "S-1-5-21-1-2-3-1001";

    #[test]
    fn what_libsmbclient_says_is_read() {
        let text = format!(
            "REVISION:1,OWNER:{OWNER},GROUP:S-1-22-2-0,ACL:{OWNER}:1/0/0x00000001,\
             ACL:S-1-5-18:0/3/0x001f01ff"
        );
        let found = parse(&text).unwrap();
        let deny = Ace { kind: Kind::Deny, ..Ace::allow(OWNER, 1, 0) };
        assert_eq!(found.owner.as_deref(), Some(OWNER));
        assert_eq!(found.group.as_deref(), Some("S-1-22-2-0"));
        assert_eq!(found.list, Some(vec![deny, Ace::allow("S-1-5-18", 0x1f_01ff, 3)]));
    }

    #[test]
    fn a_mistake_has_its_place_and_no_list_is_no_grant() {
        let entry = format!("ACL:{OWNER}:0/0/0x1");
        for (text, error) in [
            ("REVISION:1".to_owned(), TextError::NoEntry),
            (String::new(), TextError::Part(1)),
            (format!("{entry},OWNER:alice"), TextError::Part(2)),
            (format!("{entry},ACL:{OWNER}:0/0/1"), TextError::Part(2)),
            (format!("{entry},ACL:{OWNER}:0/0x0/0x1"), TextError::Part(2)),
            (format!("{entry},ACL:{OWNER}:0/0/0x1/2"), TextError::Part(2)),
            (format!("{entry},MORE:1"), TextError::Part(2)),
            (vec![entry.clone(); ENTRIES_MAX + 2].join(","), TextError::TooMany),
        ] {
            assert_eq!(parse(&text), Err(error), "{text:.80}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Z:,/0-9xS-]{0,80}") {
            let _ = parse(&text);
        }
    }
}
