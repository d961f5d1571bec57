//! Whether an access list of Active Directory lets somebody read a property (MS-ADTS 5.1.3.3.3).
//!
//! The server says nothing when it leaves out what may not be read, so the agent reads the list itself.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::directory::sid;

/// A property as access lists name it: by its own id, or by the set it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Property {
    /// schemaIDGUID.
    pub id: [u8; 16],
    /// attributeSecurityGUID.
    pub set: Option<[u8; 16]>,
    /// The schema hides it from some beyond what access lists say (confidential, or filtered from
    /// read-only domain controllers).
    pub guarded: bool,
}

/// ADS_RIGHT_DS_READ_PROP, GENERIC_READ and GENERIC_ALL.
const READS: u32 = 0x10 | 0x8000_0000 | 0x1000_0000;
/// The list is for what lies below (INHERIT_ONLY_ACE).
const BELOW_ONLY: u8 = 0x08;
/// A list is there (SE_DACL_PRESENT).
const HAS_LIST: u16 = 0x0004;

/// Whether somebody who is all of these SIDs may read a property of the object with this security
/// descriptor; `None` when it is malformed or does not tell.
pub fn may_read(descriptor: &[u8], sids: &BTreeSet<String>, property: Property) -> Option<bool> {
    if property.guarded {
        return None;
    }
    let control = u16::from_le_bytes(part(descriptor, 2)?);
    let at = usize::try_from(u32::from_le_bytes(part(descriptor, 16)?)).ok()?;
    if control & HAS_LIST == 0 || at == 0 {
        return Some(true); // no list: everybody may everything
    }
    let list = descriptor.get(at..)?;
    let count = u16::from_le_bytes(part(list, 4)?);
    let mut rest = list.get(8..)?;
    for _ in 0..count {
        let size = usize::from(u16::from_le_bytes(part(rest, 2)?));
        let (entry, next) = rest.split_at_checked(size.max(4))?;
        rest = next;
        // Lists are in the order in which they count: the first that says something decides.
        if let Some(allowed) = says(entry, sids, property)? {
            return Some(allowed);
        }
    }
    Some(false)
}

/// What one entry says: allowed, denied, or nothing.
#[expect(clippy::option_option, reason = "the outer one is for entries that are malformed")]
fn says(entry: &[u8], sids: &BTreeSet<String>, property: Property) -> Option<Option<bool>> {
    let [kind, flags] = part(entry, 0)?;
    let (allows, is_object) = match kind {
        0 => (true, false),
        1 => (false, false),
        5 => (true, true),
        6 => (false, true),
        10 | 12 => return None, // denied on a condition, which no directory is known to use
        _ => return Some(None), // audit, and what is allowed on a condition
    };
    let mask = u32::from_le_bytes(part(entry, 4)?);
    if mask & READS == 0 || flags & BELOW_ONLY != 0 {
        return Some(None);
    }
    let mut at = 8;
    if is_object {
        let present = u32::from_le_bytes(part(entry, 8)?);
        at += 4;
        if present & 1 != 0 {
            let object: [u8; 16] = part(entry, at)?;
            at += 16;
            if object != property.id && Some(object) != property.set {
                return Some(None);
            }
        }
        at += if present & 2 != 0 { 16 } else { 0 };
    }
    let sid = entry.get(at..)?;
    let parts = usize::from(*sid.get(1)?);
    let sid = sid::text(sid.get(..8 + 4 * parts)?)?;
    Some(sids.contains(&sid).then_some(allows))
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPERTY: Property = Property { id: [1; 16], set: Some([2; 16]), guarded: false };

    /// `(kind, flags, mask, object, sid)`.
    type Ace<'a> = (u8, u8, u32, Option<[u8; 16]>, &'a str);

    fn descriptor(entries: &[Ace<'_>]) -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, flags, mask, object, sid) in entries {
            let mut body = mask.to_le_bytes().to_vec();
            if *kind >= 5 {
                body.extend(u32::from(object.is_some()).to_le_bytes());
                body.extend(object.iter().flatten());
            }
            body.extend(sid::bytes(sid).unwrap());
            let size = u16::try_from(body.len() + 4).unwrap().to_le_bytes();
            list.extend([*kind, *flags, size[0], size[1]]);
            list.extend(body);
        }
        let count = u8::try_from(entries.len()).unwrap();
        let mut bytes = vec![1, 0, 4, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0];
        bytes.extend([4, 0, 0, 0, count, 0, 0, 0]);
        bytes.extend(list);
        bytes
    }

    #[test]
    fn the_first_entry_that_says_something_decides() {
        let me: BTreeSet<String> = ["S-1-5-11", "S-1-5-21-1-2-3-4"].map(str::to_owned).into();
        let (all, own) = ("S-1-5-11", "S-1-5-21-1-2-3-4");
        let (id, set, other) = (Some([1; 16]), Some([2; 16]), Some([3; 16]));
        for (entries, allowed) in [
            (vec![], false),
            (vec![(0, 0, 0x10, None, all)], true),
            (vec![(0, 0, 0x8000_0000, None, all)], true),
            (vec![(0, 0, 0x20, None, all)], false),
            (vec![(0, BELOW_ONLY, 0x10, None, all)], false),
            (vec![(0, 0, 0x10, None, "S-1-5-32-544")], false),
            (vec![(6, 0, 0x10, id, own), (0, 0, 0x10, None, all)], false),
            (vec![(6, 0, 0x10, other, own), (0, 0, 0x10, None, all)], true),
            (vec![(5, 0, 0x10, set, all)], true),
            (vec![(5, 0, 0x10, None, all)], true),
            (vec![(9, 0, 0x10, None, all)], false),
            (vec![(0, 0, 0x10, None, all), (1, 0, 0x10, None, own)], true),
        ] {
            let found = may_read(&descriptor(&entries), &me, PROPERTY);
            assert_eq!(found, Some(allowed), "{entries:?}");
        }
    }

    #[test]
    fn a_descriptor_cut_short_says_nothing() {
        let me = BTreeSet::from(["S-1-1-0".to_owned()]);
        let whole = descriptor(&[(5, 0, 0x10, Some([9; 16]), "S-1-1-0")]);
        for end in 0..whole.len() {
            assert_eq!(may_read(&whole[..end], &me, PROPERTY), None, "{end}");
        }
        let guarded = Property { guarded: true, ..PROPERTY };
        assert_eq!(may_read(&whole, &me, guarded), None, "the list is not all there is");
        let conditional = descriptor(&[(10, 0, 0x10, None, "S-1-1-0")]);
        assert_eq!(may_read(&conditional, &me, PROPERTY), None);
        let mut no_list = whole;
        no_list[2] = 0;
        assert_eq!(may_read(&no_list, &me, PROPERTY), Some(true));
    }
}
