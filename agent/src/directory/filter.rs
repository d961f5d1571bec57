//! Search filters (RFC 4515): the one place where a foreign text becomes part of a question.
//!
//! Every value is escaped byte by byte, whatever it is, and attribute names are constants of this
//! program. So no name that somebody types can change what is asked.

use std::fmt;

/// Longest account name that is looked up, in bytes; sAMAccountName and userPrincipalName are
/// limited to 256 and 1,024 characters by the schema, and Windows lets people type 104 and 256.
pub const NAME_BYTES_MAX: usize = 512;
/// SIDs or names that are looked up by one search; the filter stays below 32 KiB.
pub const VALUES_MAX: usize = 200;

/// A filter that is well formed by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Filter {
    /// The text that goes to the server.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value as it stands in a filter. Everything but letters, digits and a few harmless signs is
/// written as `\xx`, which RFC 4515 allows for every byte.
pub fn escape(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'@' | b'$' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("\\{byte:02x}")),
        }
    }
    out
}

/// `attribute` has this value.
pub fn equals(attribute: &'static str, value: &[u8]) -> Filter {
    Filter(format!("({attribute}={})", escape(value)))
}

/// `attribute` has any value.
pub fn present(attribute: &'static str) -> Filter {
    Filter(format!("({attribute}=*)"))
}

/// All of these.
pub fn all(parts: impl IntoIterator<Item = Filter>) -> Filter {
    joined('&', parts)
}

/// Any of these.
pub fn any(parts: impl IntoIterator<Item = Filter>) -> Filter {
    joined('|', parts)
}

/// Not this.
pub fn not(part: &Filter) -> Filter {
    Filter(format!("(!{part})"))
}

fn joined(sign: char, parts: impl IntoIterator<Item = Filter>) -> Filter {
    let mut text = format!("({sign}");
    for part in parts {
        text.push_str(&part.0);
    }
    text.push(')');
    Filter(text)
}

/// A user of Active Directory by sAMAccountName. Computers and managed service accounts are users in
/// its schema; they are not people.
pub fn ad_user(name: &str) -> Filter {
    let (name, person) =
        (equals("sAMAccountName", name.as_bytes()), equals("objectClass", b"user"));
    all([name, person, not(&equals("objectClass", b"computer"))])
}

/// A user of Active Directory by userPrincipalName.
pub fn ad_principal(name: &str) -> Filter {
    let name = equals("userPrincipalName", name.as_bytes());
    all([name, equals("objectClass", b"user"), not(&equals("objectClass", b"computer"))])
}

/// A computer of Active Directory by its NetBIOS name.
pub fn ad_computer(name: &str) -> Filter {
    let account = format!("{name}$");
    let name = equals("sAMAccountName", account.as_bytes());
    all([name, equals("objectClass", b"computer")])
}

/// A user of any other directory.
pub fn posix_user(name: &str) -> Filter {
    let classes = [&b"inetOrgPerson"[..], b"posixAccount", b"user"];
    let person = any(classes.map(|class| equals("objectClass", class)));
    all([equals("uid", name.as_bytes()), person])
}

/// A computer of any other directory.
pub fn posix_computer(name: &str) -> Filter {
    let account = format!("{name}$");
    let names = [
        equals("cn", name.as_bytes()),
        equals("uid", account.as_bytes()),
        equals("uid", name.as_bytes()),
    ];
    let classes = [&b"device"[..], b"ipHost", b"computer"];
    let computer = any(classes.map(|class| equals("objectClass", class)));
    let samba = equals("uid", account.as_bytes());
    any([all([any(names), computer]), samba])
}

/// Every account of Active Directory that is a person's.
pub fn ad_users() -> Filter {
    all([equals("objectClass", b"user"), not(&equals("objectClass", b"computer"))])
}

/// Every group of Active Directory that counts for access. Distribution lists do not: they are in
/// nobody's `tokenGroups`, and lead nobody into another group (MS-ADTS 2.2.12, 3.1.1.4.5.19).
pub fn ad_security_groups() -> Filter {
    // LDAP_MATCHING_RULE_BIT_AND, GROUP_TYPE_SECURITY_ENABLED.
    let security = Filter("(groupType:1.2.840.113556.1.4.803:=2147483648)".to_owned());
    all([equals("objectClass", b"group"), security])
}

/// Every user of any other directory.
pub fn posix_users() -> Filter {
    let classes = [&b"inetOrgPerson"[..], b"posixAccount", b"user"];
    all([any(classes.map(|class| equals("objectClass", class))), present("uid")])
}

/// Every computer of any other directory, besides those that are [`posix_users`] by their class.
pub fn posix_computers() -> Filter {
    let classes = [&b"device"[..], b"ipHost", b"computer"];
    any(classes.map(|class| equals("objectClass", class)))
}

/// Every group of any other directory.
pub fn posix_groups() -> Filter {
    any(["member", "uniqueMember", "memberUid"].map(present))
}

/// Entries with one of these SIDs.
pub fn any_sid<'a>(sids: impl IntoIterator<Item = &'a [u8]>) -> Filter {
    any(sids.into_iter().map(|sid| equals("objectSid", sid)))
}

/// Groups that name one of these members, by DN or by uid.
pub fn groups_with<'a>(members: impl IntoIterator<Item = &'a str>, uid: Option<&str>) -> Filter {
    let names = members
        .into_iter()
        .flat_map(|dn| [equals("member", dn.as_bytes()), equals("uniqueMember", dn.as_bytes())]);
    let uid = uid.map(|uid| equals("memberUid", uid.as_bytes()));
    any(names.chain(uid).collect::<Vec<_>>())
}
