//! Entries as the command line tools print them.
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One entry; attribute names are lower case, values are bytes.
#[derive(Debug, Default)]
pub struct Entry {
    pub dn: String,
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    /// The values of an attribute as text, in the order of the server.
    pub fn texts(&self, attribute: &str) -> Vec<String> {
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        self.bytes(attribute).iter().map(text).collect()
    }

    /// The only value of an attribute, as text.
    pub fn text(&self, attribute: &str) -> String {
        let mut texts = self.texts(attribute);
        assert_eq!(texts.len(), 1, "{attribute} of {}: {texts:?}", self.dn);
        texts.remove(0)
    }

    pub fn bytes(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes.get(&attribute.to_lowercase()).map_or(&[], Vec::as_slice)
    }
}

/// Reads what `ldapsearch -LLL` or `ldbsearch` printed.
pub fn entries(text: &str) -> Vec<Entry> {
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "");
    let mut found: Vec<Entry> = Vec::new();
    for line in unfolded.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let value = match rest.strip_prefix(':') {
            Some(coded) => STANDARD.decode(coded.trim()).unwrap(),
            None => rest.trim_start().as_bytes().to_vec(),
        };
        if name.eq_ignore_ascii_case("dn") {
            let dn = String::from_utf8(value).unwrap();
            found.push(Entry { dn, ..Entry::default() });
        } else if let Some(entry) = found.last_mut() {
            entry.attributes.entry(name.to_lowercase()).or_default().push(value);
        }
    }
    found
}

/// A password as a domain controller takes it: quoted, UTF-16, and base64 for the file.
pub fn password(clear: &str) -> String {
    let units =
        format!("\"{clear}\"").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    format!("unicodePwd:: {}\n", STANDARD.encode(units))
}

/// Bytes as an LDIF line.
pub fn binary(attribute: &str, value: &[u8]) -> String {
    format!("{attribute}:: {}\n", STANDARD.encode(value))
}
