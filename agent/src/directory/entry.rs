//! What an entry says: from an LDAP answer, whatever is in it, to values that facts are made of.
//!
//! Pure. An entry that contradicts itself is an error and never a guess, because the guess would
//! decide whose data goes where.

use std::collections::BTreeMap;

use homeport_policy::dn::Dn;
use homeport_policy::facts::{Computer, Names, Os, User};
use ldap3::asn1::StructureTag;
use serde::{Deserialize, Serialize};

use crate::directory::ldif::BINARY_ATTRIBUTES;
use crate::directory::sid;

/// Attribute value longer than this is not kept; no path template needs it.
const VALUE_BYTES_MAX: usize = 1_024;
/// Attributes kept of one user.
const ATTRIBUTES_MAX: usize = 500;
/// Values read of one attribute. Beyond it an entry is a mistake, or made to exhaust somebody.
pub const VALUES_MAX: usize = 200_000;

/// One entry, with every value as bytes: LDAP does not say what is text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its distinguished name, as the server writes it.
    pub dn: String,
    /// By name in lower case, options (`;range=…`) included.
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

/// Why an entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Something that every account has.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// Two values where there can be one.
    #[error("it has several values of {0}")]
    Doubled(&'static str),
    /// Bytes where there can be text.
    #[error("its {0} is no text")]
    NoText(&'static str),
    /// Not the form the attribute has.
    #[error("its {0} is malformed")]
    Malformed(&'static str),
    /// More values than anybody can have.
    #[error("it has more than {VALUES_MAX} values of {0}")]
    TooMany(&'static str),
    /// A group of its domain without a name that may be read.
    #[error("it is in the group {0}, whose name may not be read or is not known yet")]
    Nameless(String),
    /// Two accounts of one name.
    #[error("another entry has the same name: {0}")]
    Twin(String),
}

impl Entry {
    /// An entry of known parts; values of one name in any spelling belong together.
    pub fn new(dn: &str, attributes: impl IntoIterator<Item = (String, Vec<Vec<u8>>)>) -> Self {
        let mut entry = Self { dn: dn.to_owned(), attributes: BTreeMap::new() };
        for (name, values) in attributes {
            entry.attributes.entry(name.to_ascii_lowercase()).or_default().extend(values);
        }
        entry
    }

    /// Reads a `SearchResultEntry` (RFC 4511 4.5.2); `None` if it is none.
    pub fn read(tag: StructureTag) -> Option<Self> {
        let mut parts = tag.match_id(4)?.expect_constructed()?.into_iter();
        let dn = String::from_utf8(parts.next()?.expect_primitive()?).ok()?;
        let mut attributes = Vec::new();
        for attribute in parts.next()?.expect_constructed()? {
            let mut parts = attribute.expect_constructed()?.into_iter();
            let name = String::from_utf8(parts.next()?.expect_primitive()?).ok()?;
            let values = parts.next()?.expect_constructed()?.into_iter();
            let values = values.map(StructureTag::expect_primitive).collect::<Option<Vec<_>>>()?;
            attributes.push((name, values));
        }
        Some(Self::new(&dn, attributes))
    }

    /// All values of an attribute, by any spelling of its name.
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        self.attributes.get(&*name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Those values of an attribute that are text.
    pub fn texts<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values(name).iter().filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// Every attribute with its values, names in lower case.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &[Vec<u8>])> {
        self.attributes.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// The only value of an attribute, if it has one.
    ///
    /// # Errors
    /// [`EntryError::Doubled`].
    pub fn one(&self, name: &'static str) -> Result<Option<&[u8]>, EntryError> {
        match self.values(name) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(EntryError::Doubled(name)),
        }
    }

    /// The only value of an attribute that is text.
    ///
    /// # Errors
    /// [`EntryError::Doubled`], [`EntryError::NoText`].
    pub fn one_text(&self, name: &'static str) -> Result<Option<&str>, EntryError> {
        let value = self.one(name)?.map(std::str::from_utf8).transpose();
        match value.map_err(|_| EntryError::NoText(name))? {
            Some(text) if text.contains('\0') => Err(EntryError::NoText(name)),
            text => Ok(text),
        }
    }

    /// objectSid as text.
    ///
    /// # Errors
    /// When there are two, or it is malformed.
    pub fn sid(&self) -> Result<Option<String>, EntryError> {
        const NAME: &str = "objectSid";
        let malformed = EntryError::Malformed(NAME);
        self.one(NAME)?.map(|value| sid::text(value).ok_or(malformed)).transpose()
    }

    /// objectGUID or entryUUID as text.
    ///
    /// # Errors
    /// When there are two, or it is malformed.
    pub fn guid(&self) -> Result<Option<String>, EntryError> {
        const NAME: &str = "objectGUID";
        if let Some(value) = self.one(NAME)? {
            return sid::guid_text(value).ok_or(EntryError::Malformed(NAME)).map(Some);
        }
        Ok(self.one_text("entryUUID")?.map(str::to_lowercase))
    }

    /// SIDs of all groups, nested ones included; what is no SID is an error, not fewer groups.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn token_groups(&self) -> Result<Vec<String>, EntryError> {
        const NAME: &str = "tokenGroups";
        let values = self.values(NAME);
        if values.len() > VALUES_MAX {
            return Err(EntryError::TooMany(NAME));
        }
        // Every account is in its primary group: without any, they may not be read.
        if values.is_empty() {
            return Err(EntryError::Missing(NAME));
        }
        let text = |value: &Vec<u8>| sid::text(value).ok_or(EntryError::Malformed(NAME));
        values.iter().map(text).collect()
    }

    /// If the server gave only a part of an attribute's values (`member;range=0-1499`): the part,
    /// and where the next one begins.
    pub fn part(&self, name: &str) -> Option<(&[Vec<u8>], u32)> {
        let prefix = format!("{};range=", name.to_ascii_lowercase());
        let (found, values) = self.attributes.iter().find(|(key, _)| key.starts_with(&prefix))?;
        let (_, end) = found[prefix.len()..].split_once('-')?;
        let next = end.parse::<u32>().ok()?.checked_add(1)?;
        Some((values, next))
    }

    /// The last part of an attribute's values (`member;range=1500-*`).
    pub fn last_part(&self, name: &str) -> Option<&[Vec<u8>]> {
        let prefix = format!("{};range=", name.to_ascii_lowercase());
        let is_last = |key: &str| key.starts_with(&prefix) && key.ends_with("-*");
        let found = self.attributes.iter().find(|(key, _)| is_last(key));
        found.map(|(_, values)| values.as_slice())
    }
}

/// A domain of the forest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DomainName {
    /// Root of the domain (`DC=corp,DC=test`).
    pub dn: String,
    /// DNS name (`corp.test`).
    pub dns: String,
    /// NetBIOS name (`CORP`).
    pub netbios: String,
}

/// The domain a DN is in; where no list names it, its DNS name and the first part of that.
pub fn domain_of(dn: Option<&Dn>, domains: &[DomainName]) -> DomainName {
    let dns = dn.and_then(Dn::dns_domain).unwrap_or_default();
    let known = domains.iter().find(|domain| domain.dns.eq_ignore_ascii_case(&dns));
    known.cloned().unwrap_or_else(|| {
        let netbios = dns.split('.').next().unwrap_or_default().to_uppercase();
        DomainName { dn: String::new(), dns, netbios }
    })
}

/// A user as the directory described them; what a decision needs, and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserRecord {
    /// sAMAccountName, or uid.
    pub name: String,
    /// NetBIOS name of the domain.
    pub domain: String,
    /// DNS name of the domain.
    pub dns_domain: String,
    /// userPrincipalName in lower case.
    pub principal: Option<String>,
    /// objectSid.
    pub sid: Option<String>,
    /// objectGUID or entryUUID.
    pub guid: Option<String>,
    /// Distinguished name.
    pub dn: String,
    /// `DOMAIN\name` of every group, nested ones included.
    pub groups: Vec<String>,
    /// Values of `msDS-PrimaryComputer`.
    pub primary_computers: Vec<String>,
    /// The directory does not show the list, and it is not known to be empty: the values are the last
    /// that were seen.
    #[serde(default)]
    pub list_is_hidden: bool,
    /// First values, by lower-case name.
    pub attributes: BTreeMap<String, String>,
}

impl UserRecord {
    /// Reads a user; groups are found out separately.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn read(entry: &Entry, domains: &[DomainName]) -> Result<Self, EntryError> {
        let name = match entry.one_text("sAMAccountName")? {
            Some(name) => name,
            None => entry.texts("uid").next().ok_or(EntryError::Missing("sAMAccountName"))?,
        };
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(EntryError::Malformed("sAMAccountName"));
        }
        let dn = Dn::parse(&entry.dn).map_err(|_| EntryError::Malformed("distinguishedName"))?;
        let domain = domain_of(Some(&dn), domains);
        Ok(Self {
            name: name.to_owned(),
            domain: domain.netbios,
            dns_domain: domain.dns,
            principal: entry.texts("userPrincipalName").next().map(str::to_lowercase),
            sid: entry.sid()?,
            guid: entry.guid()?,
            dn: entry.dn.clone(),
            groups: Vec::new(),
            primary_computers: primary_computers(entry)?,
            list_is_hidden: false,
            attributes: first_values(entry),
        })
    }

    /// As facts.
    pub fn facts(&self) -> User {
        let listed = self.primary_computers.iter();
        User {
            name: self.name.clone(),
            domain: self.domain.clone(),
            dns_domain: self.dns_domain.clone(),
            sid: self.sid.clone(),
            dn: Dn::parse(&self.dn).ok(),
            groups: names(&self.groups),
            // A value that is no DN is no computer; the rest of the list still counts.
            primary_computers: listed.filter_map(|dn| Dn::parse(dn).ok()).collect(),
            list_is_hidden: self.list_is_hidden,
            attributes: self.attributes.clone(),
        }
    }
}

/// Every value of `msDS-PrimaryComputer`.
///
/// # Errors
/// [`EntryError`] when there are more than anybody can have.
pub fn primary_computers(entry: &Entry) -> Result<Vec<String>, EntryError> {
    const NAME: &str = "msDS-PrimaryComputer";
    if entry.values(NAME).len() > VALUES_MAX {
        return Err(EntryError::TooMany(NAME));
    }
    Ok(entry.texts(NAME).map(str::to_owned).collect())
}

/// A computer as the directory described it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ComputerRecord {
    /// Its NetBIOS name, as it was asked for.
    pub name: String,
    /// Distinguished name; absent when the directory has no such computer.
    pub dn: Option<String>,
    /// objectGUID or entryUUID.
    pub guid: Option<String>,
    /// `DOMAIN\name` of every group, nested ones included.
    pub groups: Vec<String>,
}

impl ComputerRecord {
    /// Reads a computer; groups are found out separately.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn read(name: &str, entry: &Entry) -> Result<Self, EntryError> {
        Dn::parse(&entry.dn).map_err(|_| EntryError::Malformed("distinguishedName"))?;
        let (name, groups) = (name.to_owned(), Vec::new());
        Ok(Self { name, dn: Some(entry.dn.clone()), guid: entry.guid()?, groups })
    }

    /// As facts.
    ///
    /// `logon_server` stays empty: a share that is named by it would move with every failover.
    pub fn facts(&self, os: Os, site: Option<String>) -> Computer {
        let dn = self.dn.as_deref().and_then(|dn| Dn::parse(dn).ok());
        let name = self.name.clone();
        Computer { name, dn, groups: names(&self.groups), os, site, logon_server: None }
    }
}

fn names(groups: &[String]) -> Names {
    // Who is in the directory is both, whether the directory says so or not.
    let always = ["Authenticated Users", "Everyone"];
    Names::new(groups.iter().map(String::as_str).chain(always))
}

/// Whether the name of an attribute, in lower case, looks like that of a secret.
pub fn may_be_secret(name: &str) -> bool {
    ["password", "pwd", "laps", "key", "hash", "secret"].iter().any(|part| name.contains(part))
}

/// The first value of every attribute that a path template can use. Nothing that could be a secret
/// is kept: what is kept is written to disk.
fn first_values(entry: &Entry) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, values) in entry.attributes() {
        let base = name.split(';').next().unwrap_or_default();
        let binary = BINARY_ATTRIBUTES.iter().any(|known| known.eq_ignore_ascii_case(base));
        let skipped = binary || base == "objectclass" || may_be_secret(base);
        let text = values.first().and_then(|value| std::str::from_utf8(value).ok());
        let Some(text) = text.filter(|_| !skipped && name == base) else { continue };
        let fits = text.len() <= VALUE_BYTES_MAX && !text.contains('\0');
        if fits && kept.len() < ATTRIBUTES_MAX {
            kept.insert(base.to_owned(), text.to_owned());
        }
    }
    kept
}
