//! Security identifiers and GUIDs: bytes, text, and the names that are the same in every domain.

/// Most sub-authorities that a SID has (MS-DTYP 2.4.2).
const PARTS_MAX: usize = 15;

/// The text form of a binary SID (MS-DTYP 2.4.2); `None` if it is none.
pub fn text(bytes: &[u8]) -> Option<String> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    if rest.len() != usize::from(head[1]) * 4 {
        return None;
    }
    let authority = head[2..].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mut text = format!("S-{}-{authority}", head[0]);
    for part in rest.chunks_exact(4) {
        let part = <[u8; 4]>::try_from(part).ok()?;
        text.push_str(&format!("-{}", u32::from_le_bytes(part)));
    }
    Some(text)
}

/// The binary form of a SID's text.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix("S-")?.split('-');
    let revision: u8 = parts.next()?.parse().ok()?;
    let authority: u64 = parts.next()?.parse().ok()?;
    let subs = parts.map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<u32>>>()?;
    if subs.len() > PARTS_MAX || authority >= 1 << 48 {
        return None;
    }
    let mut bytes = vec![revision, u8::try_from(subs.len()).ok()?];
    bytes.extend_from_slice(&authority.to_be_bytes()[2..]);
    bytes.extend(subs.iter().flat_map(|sub| sub.to_le_bytes()));
    Some(bytes)
}

/// The usual text of a binary objectGUID: the first three parts are little-endian.
pub fn guid_text(bytes: &[u8]) -> Option<String> {
    let b = <[u8; 16]>::try_from(bytes).ok()?;
    let first = [b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]];
    let mut text = String::with_capacity(36);
    for (at, byte) in first.iter().chain(&b[8..]).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Some(text)
}

/// The name of a SID that means the same in every domain; nobody has to look it up.
pub fn well_known(text: &str) -> Option<&'static str> {
    let found = WELL_KNOWN.iter().find(|(sid, _)| *sid == text);
    found.map(|(_, name)| *name)
}

/// MS-DTYP 2.4.2.4, as far as they occur in `tokenGroups`.
const WELL_KNOWN: [(&str, &str); 22] = [
    ("S-1-1-0", "Everyone"),
    ("S-1-5-2", "NT AUTHORITY\\NETWORK"),
    ("S-1-5-4", "NT AUTHORITY\\INTERACTIVE"),
    ("S-1-5-9", "NT AUTHORITY\\ENTERPRISE DOMAIN CONTROLLERS"),
    ("S-1-5-11", "Authenticated Users"),
    ("S-1-5-15", "NT AUTHORITY\\This Organization"),
    ("S-1-5-32-544", "BUILTIN\\Administrators"),
    ("S-1-5-32-545", "BUILTIN\\Users"),
    ("S-1-5-32-546", "BUILTIN\\Guests"),
    ("S-1-5-32-547", "BUILTIN\\Power Users"),
    ("S-1-5-32-548", "BUILTIN\\Account Operators"),
    ("S-1-5-32-549", "BUILTIN\\Server Operators"),
    ("S-1-5-32-550", "BUILTIN\\Print Operators"),
    ("S-1-5-32-551", "BUILTIN\\Backup Operators"),
    ("S-1-5-32-552", "BUILTIN\\Replicator"),
    ("S-1-5-32-554", "BUILTIN\\Pre-Windows 2000 Compatible Access"),
    ("S-1-5-32-555", "BUILTIN\\Remote Desktop Users"),
    ("S-1-5-32-556", "BUILTIN\\Network Configuration Operators"),
    ("S-1-5-32-558", "BUILTIN\\Performance Monitor Users"),
    ("S-1-5-32-559", "BUILTIN\\Performance Log Users"),
    ("S-1-5-32-562", "BUILTIN\\Distributed COM Users"),
    ("S-1-5-32-580", "BUILTIN\\Remote Management Users"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for sid in ["S-1-1-0", "S-1-5-32-545", "S-1-5-21-1-4294967295-3-513", "S-1-5"] {
            assert_eq!(text(&bytes(sid).unwrap()).unwrap(), sid);
        }
        let long = format!("S-1-5{}", "-1".repeat(PARTS_MAX + 1));
        for bad in ["", "S-", "S-1", "S-1-x", "S-1-5-4294967296", "s-1-1-0", long.as_str()] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(text(&[1, 2, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0]), None);
        assert_eq!(text(b"S-1-1-0"), None);
    }

    #[test]
    fn guids_as_people_read_them() {
        let bytes: Vec<u8> = (0..16).collect();
        let text = guid_text(&bytes).unwrap();
        assert_eq!(text, "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(guid_text(&bytes[1..]), None);
    }
}
