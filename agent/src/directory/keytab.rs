//! Which principals a keytab has keys of (MIT Kerberos, "Keytab file format", version 2). Keys are
//! skipped: this only ever tells a person what is in the file.

/// A principal that a keytab has a key of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    /// `DESK-1$@CORP.TEST`, `host/desk-1.corp.test@CORP.TEST`.
    pub name: String,
    /// The number of the key; it grows with every change of the password.
    pub version: u32,
}

/// The principals of a keytab in its order, one for each key; `None` if it is no keytab.
pub fn principals(content: &[u8]) -> Option<Vec<Principal>> {
    let mut rest = content.strip_prefix(&[5, 2])?;
    let mut found = Vec::new();
    while let Some(length) = take(&mut rest, 4) {
        let length = i32::from_be_bytes(length.try_into().ok()?);
        // A deleted entry is a hole of that size.
        let size = usize::try_from(length.unsigned_abs()).ok()?;
        let entry = take(&mut rest, size)?;
        match length {
            0 => break,
            1.. => found.push(principal(entry)?),
            _ => {}
        }
    }
    Some(found)
}

fn principal(mut entry: &[u8]) -> Option<Principal> {
    let entry = &mut entry;
    let count = number(entry)?;
    let realm = text(entry)?;
    let parts = (0..count).map(|_| text(entry)).collect::<Option<Vec<String>>>()?;
    take(entry, 8)?; // kind of the name, time
    let mut version = u32::from(*take(entry, 1)?.first()?);
    number(entry)?; // kind of the key
    let key = number(entry)?;
    take(entry, usize::from(key))?;
    // Newer programs write the number again, in full.
    if let Some(full) = take(entry, 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) {
        let full = u32::from_be_bytes(full);
        version = if full == 0 { version } else { full };
    }
    Some(Principal { name: format!("{}@{realm}", parts.join("/")), version })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(take(rest, 2)?.try_into().ok()?))
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = number(rest)?;
    let bytes = take(rest, usize::from(length))?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    }

    fn entry(parts: &[&str], version: u8, full: Option<u32>) -> Vec<u8> {
        let mut bytes = u16::try_from(parts.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(counted("CORP.TEST"));
        bytes.extend(parts.iter().flat_map(|part| counted(part)));
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, version, 0, 18]);
        bytes.extend(counted("0123456789abcdef"));
        bytes.extend(full.map(u32::to_be_bytes).into_iter().flatten());
        let length = i32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], &bytes].concat()
    }

    #[test]
    fn names_and_numbers_and_holes() {
        let hole = [&(-3_i32).to_be_bytes()[..], &[1, 2, 3]].concat();
        let content =
            [vec![5, 2], entry(&["DESK-1$"], 3, None), hole, entry(&["host", "d"], 1, Some(300))];
        let found = principals(&content.concat()).unwrap();
        let found: Vec<_> = found.iter().map(|p| (p.name.as_str(), p.version)).collect();
        assert_eq!(found, [("DESK-1$@CORP.TEST", 3), ("host/d@CORP.TEST", 300)]);
        assert_eq!(principals(&[5, 2]), Some(Vec::new()));
    }

    #[test]
    fn whatever_is_in_it_is_no_surprise() {
        let whole = [vec![5, 2], entry(&["DESK-1$"], 3, Some(1))].concat();
        for end in 0..whole.len() {
            let _ = principals(&whole[..end]);
        }
        assert_eq!(principals(b""), None);
        assert_eq!(principals(b"\x05\x01rest"), None);
        assert_eq!(principals(&[5, 2, 0x7f, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(principals(&[5, 2, 0, 0, 0, 2, 0xff, 0xff]), None);
    }
}
