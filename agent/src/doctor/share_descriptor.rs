//! Reads a security descriptor in its self-relative binary form (MS-DTYP 2.4.6), bounded.

use super::share_access::{Ace, Descriptor, Kind};
use crate::directory::sid;

/// Most entries of one list that are read. A list has 64 KiB, so it cannot have many more.
const ENTRIES_MAX: usize = 2_000;
/// SE_DACL_PRESENT.
const HAS_LIST: u16 = 0x0004;
/// SE_SELF_RELATIVE.
const SELF_RELATIVE: u16 = 0x8000;

/// Why something is no security descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// It ends before it says everything.
    #[error("the security descriptor is cut short at byte {0}")]
    Short(usize),
    /// Its first byte is not 1, or it holds addresses instead of offsets.
    #[error("it is no self-relative security descriptor")]
    NotOne,
    /// A SID in it is none.
    #[error("the SID at byte {0} of the security descriptor is none")]
    Sid(usize),
    /// An entry of its list is shorter than an entry is.
    #[error("the entry at byte {0} of the access list is malformed")]
    Entry(usize),
    /// More entries than [`ENTRIES_MAX`].
    #[error("the access list has {0} entries; {ENTRIES_MAX} are read")]
    Entries(usize),
}

/// Reads a descriptor.
///
/// # Errors
/// [`DescriptorError`] with the place.
pub fn parse(bytes: &[u8]) -> Result<Descriptor, DescriptorError> {
    let control = u16::from_le_bytes(part(bytes, 2)?);
    if bytes[0] != 1 || control & SELF_RELATIVE == 0 {
        return Err(DescriptorError::NotOne);
    }
    let offset = |at| part(bytes, at).map(|found| u32::from_le_bytes(found) as usize);
    let (owner, group, list) = (offset(4)?, offset(8)?, offset(16)?);
    let sid_at = |at: usize| (at != 0).then(|| sid(bytes, at).map(|(sid, _)| sid)).transpose();
    let list = match control & HAS_LIST != 0 && list != 0 {
        true => Some(entries(bytes, list)?),
        false => None,
    };
    Ok(Descriptor { owner: sid_at(owner)?, group: sid_at(group)?, list })
}

fn entries(bytes: &[u8], at: usize) -> Result<Vec<Ace>, DescriptorError> {
    let count = usize::from(u16::from_le_bytes(part(bytes, at.saturating_add(4))?));
    if count > ENTRIES_MAX {
        return Err(DescriptorError::Entries(count));
    }
    let mut entries = Vec::new();
    let mut at = at.saturating_add(8);
    for _ in 0..count {
        let [kind, flags] = part(bytes, at)?;
        let size = usize::from(u16::from_le_bytes(part(bytes, at + 2)?));
        let entry = bytes.get(at..at + size).ok_or(DescriptorError::Short(bytes.len()))?;
        let kind = match kind {
            0 => Kind::Allow,
            1 => Kind::Deny,
            other => Kind::Other(other),
        };
        match kind {
            Kind::Other(_) if size < 4 => return Err(DescriptorError::Entry(at)),
            // What stands in it is not known, and grants nothing.
            Kind::Other(_) => entries.push(Ace { kind, flags, mask: 0, sid: String::new() }),
            _ => {
                let inner = |_| DescriptorError::Entry(at);
                let mask = u32::from_le_bytes(part(entry, 4).map_err(inner)?);
                let (sid, _) = sid(entry, 8).map_err(inner)?;
                entries.push(Ace { kind, flags, mask, sid });
            }
        }
        at += size;
    }
    Ok(entries)
}

/// The SID at a place, and its length.
fn sid(bytes: &[u8], at: usize) -> Result<(String, usize), DescriptorError> {
    let rest = bytes.get(at..).ok_or(DescriptorError::Short(bytes.len()))?;
    let [_, count] = part(rest, 0)?;
    let length = 8 + 4 * usize::from(count);
    let found = rest.get(..length).ok_or(DescriptorError::Short(bytes.len()))?;
    // Fifteen parts at most: MS-DTYP 2.4.2.2.
    let text = sid::text(found).filter(|_| found[0] == 1 && count <= 15);
    text.map(|text| (text, length)).ok_or(DescriptorError::Sid(at))
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], DescriptorError> {
    let end = at.checked_add(N);
    let found = end.and_then(|end| bytes.get(at..end)?.try_into().ok());
    found.ok_or(DescriptorError::Short(bytes.len()))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::doctor::share_access::mask;

    /// The binary form of a descriptor.
    pub(crate) fn bytes(it: &Descriptor) -> Vec<u8> {
        let mut out = vec![0; 20];
        out[0] = 1;
        let mut control = SELF_RELATIVE;
        for (place, sid) in [(4, &it.owner), (8, &it.group)] {
            if let Some(sid) = sid {
                let at = u32::try_from(out.len()).unwrap();
                out[place..place + 4].copy_from_slice(&at.to_le_bytes());
                out.extend(sid::bytes(sid).unwrap());
            }
        }
        if let Some(list) = &it.list {
            control |= HAS_LIST;
            let at = u32::try_from(out.len()).unwrap();
            out[16..20].copy_from_slice(&at.to_le_bytes());
            let mut body = Vec::new();
            for ace in list {
                let kind = match ace.kind {
                    Kind::Allow => 0,
                    Kind::Deny => 1,
                    Kind::Other(other) => other,
                };
                let sid = sid::bytes(&ace.sid).unwrap();
                let size = u16::try_from(8 + sid.len()).unwrap().to_le_bytes();
                body.extend([kind, ace.flags, size[0], size[1]]);
                body.extend(ace.mask.to_le_bytes());
                body.extend(sid);
            }
            let size = u16::try_from(8 + body.len()).unwrap().to_le_bytes();
            let count = u16::try_from(list.len()).unwrap().to_le_bytes();
            out.extend([2, 0, size[0], size[1], count[0], count[1], 0, 0]);
            out.extend(body);
        }
        out[2..4].copy_from_slice(&control.to_le_bytes());
        out
    }

    fn sample() -> Descriptor {
        let me = "S-1-5-21-1-2-3-1001";
        Descriptor {
            owner: Some(me.to_owned()),
            group: Some("S-1-5-32-545".to_owned()),
            list: Some(vec![
                Ace { kind: Kind::Deny, ..Ace::allow("S-1-1-0", mask::DELETE, 0) },
                Ace::allow(me, mask::FULL, 3),
            ]),
        }
    }

    #[test]
    fn there_and_back() {
        assert_eq!(parse(&bytes(&sample())), Ok(sample()));
        for list in [None, Some(Vec::new())] {
            let it = Descriptor { list, ..Descriptor::default() };
            assert_eq!(parse(&bytes(&it)), Ok(it));
        }
    }

    #[test]
    fn every_beginning_of_one_is_an_error() {
        let whole = bytes(&sample());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn entries_that_claim_nonsense() {
        let whole = bytes(&sample());
        let list = u32::from_le_bytes(whole[16..20].try_into().unwrap()) as usize;
        for (at, value, error) in [
            (0, 2, DescriptorError::NotOne),
            (3, 0, DescriptorError::NotOne),
            (list + 5, 0xff, DescriptorError::Entries(0xff02)),
            (list + 10, 0, DescriptorError::Entry(list + 8)),
            (list + 10, 6, DescriptorError::Entry(list + 8)),
        ] {
            let mut bad = whole.clone();
            bad[at] = value;
            assert_eq!(parse(&bad), Err(error), "{at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_changed_byte_makes_it_panic(at in 0..100_usize, value: u8) {
            let mut bytes = bytes(&sample());
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = parse(&bytes);
        }
    }
}
