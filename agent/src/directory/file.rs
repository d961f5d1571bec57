//! A directory read from an LDIF export: users, nested groups, computers, schema.
//!
//! Memory counts here: `policy diff` loads a hundred thousand users at once. Distinguished names are
//! interned, memberships are indices, and an account's attributes share one allocation.
#![expect(clippy::disallowed_methods, reason = "edge: reads the export")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeport_policy::dn::Dn;
use homeport_policy::facts::{Computer, Names, Os, User};

use crate::directory::ldif::{self, Defect, Entry, LdifError, Value};
use crate::directory::sid;
use crate::limits::LDIF_BYTES_MAX;

/// Attribute value longer than this is not kept; no path template needs it.
const VALUE_BYTES_MAX: usize = 1_024;
/// Groups of groups of groups: deeper nesting is a loop or a mistake.
const NESTING_MAX: usize = 1_000_000;
/// Seconds from 1601, where Windows begins to count, to 1970.
const FILETIME_UNIX_SECONDS: i64 = 11_644_473_600;
/// `msDS-PrimaryComputer` in any schema, whatever it is called there.
const PRIMARY_COMPUTER_ID: &str = "1.2.840.113556.1.4.2167";

/// Why an export cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file could not be read.
    #[error("cannot read the directory export {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than the agent reads.
    #[error("the directory export {path} has {bytes} bytes; at most {LDIF_BYTES_MAX} are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is no LDIF. Every defect is listed.
    #[error("the directory export {path} is not usable:\n{}", list(.defects))]
    Ldif {
        /// The file.
        path: PathBuf,
        /// What is wrong, each with its line.
        defects: Vec<LdifError>,
    },
}

fn list(defects: &[LdifError]) -> String {
    let lines: Vec<String> = defects.iter().map(|defect| format!("  {defect}")).collect();
    lines.join("\n")
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Class {
    /// Named by somebody, not itself in the export.
    #[default]
    Named,
    User,
    Computer,
    Group,
    Other,
}

#[derive(Debug, Default)]
struct Account {
    class: Class,
    dn: Option<Dn>,
    name: Box<str>,
    sid: Option<Box<str>>,
    primary_group: Option<u32>,
    /// Indices of the groups it is directly in.
    groups: Vec<u32>,
    /// Indices of the computers in `msDS-PrimaryComputer`.
    primary_computers: Vec<u32>,
    /// `name\0value\0…`, names in lower case.
    attributes: Box<str>,
}

/// A directory, as an export gave it.
#[derive(Debug, Default)]
pub struct Snapshot {
    accounts: Vec<Account>,
    by_dn: HashMap<Box<str>, u32>,
    users: HashMap<Box<str>, u32>,
    computers: HashMap<Box<str>, u32>,
    by_sid: HashMap<Box<str>, u32>,
    /// NetBIOS names by DNS domain.
    netbios: HashMap<String, String>,
    schema: Schema,
}

/// What the export says about the schema.
#[derive(Debug, Default)]
struct Schema {
    has_entries: bool,
    has_primary_computer: bool,
    attribute_seen: bool,
}

/// Reads an export from disk.
///
/// # Errors
/// [`FileError`], with every defect of a broken export.
pub fn load(path: &Path) -> Result<Snapshot, FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    if bytes > LDIF_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes });
    }
    let content = std::fs::read(path).map_err(read)?;
    parse(&content).map_err(|defects| FileError::Ldif { path: path.to_owned(), defects })
}

/// What tells one state of an export from the next: time and size.
pub type Stamp = (std::time::SystemTime, u64);

/// The present state of an export; `None` when it cannot be looked at.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// The operating system that a value of `operatingSystem` means.
pub fn os_called(text: &str) -> Os {
    if text.to_lowercase().contains("windows") { Os::Windows } else { Os::Linux }
}

/// Reads an export from memory.
///
/// # Errors
/// Every defect that was found, each with its line.
pub fn parse(content: &[u8]) -> Result<Snapshot, Vec<LdifError>> {
    let mut builder = Builder::default();
    let mut defects = Vec::new();
    for entry in ldif::read(content) {
        match entry {
            Ok(entry) => {
                if let Err(defect) = builder.add(&entry) {
                    defects.push(defect);
                }
            }
            Err(defect) => defects.push(defect),
        }
    }
    if defects.is_empty() { builder.finish() } else { Err(defects) }
}

/// Remembers how each name was spelled, because the same few group names come again and again.
#[derive(Default)]
struct Builder {
    snapshot: Snapshot,
    spelled: HashMap<Box<str>, u32>,
    /// Groups with the members that they name by uid (posixGroup, RFC 2307).
    by_uid: Vec<(u32, Box<str>)>,
}

impl Builder {
    fn index(&mut self, text: &str) -> Option<u32> {
        if let Some(&index) = self.spelled.get(text) {
            return Some(index);
        }
        let dn = Dn::parse(text).ok()?;
        let snapshot = &mut self.snapshot;
        let next = u32::try_from(snapshot.accounts.len()).ok()?;
        let index = *snapshot.by_dn.entry(dn.key().into()).or_insert(next);
        if index == next {
            let name = dn.leaf().into_boxed_str();
            snapshot.accounts.push(Account { dn: Some(dn), name, ..Account::default() });
        }
        self.spelled.insert(text.into(), index);
        Some(index)
    }

    fn add(&mut self, entry: &Entry) -> Result<(), LdifError> {
        let Some(index) = self.index(&entry.dn) else {
            return Err(LdifError { line: entry.line, kind: Defect::BadDn(entry.dn.clone()) });
        };
        // A part of a group's members taken for all of them would take policy away from the rest.
        if let Some((name, _)) = entry.attributes.iter().find(|(n, _)| ldif::incomplete_range(n)) {
            return Err(LdifError { line: entry.line, kind: Defect::PartOfList(name.clone()) });
        }
        let mut found = Found::default();
        let by_uid = self.by_uid.len();
        for (name, value) in &entry.attributes {
            self.attribute(index, name, value, &mut found);
        }
        if found.sam.is_some() {
            self.by_uid.truncate(by_uid); // Active Directory stores memberUid and does not count it
        }
        self.schema(&found);
        let account = &mut self.snapshot.accounts[index as usize];
        account.class = found.class();
        account.attributes = found.packed.into_boxed_str();
        account.sid = found.sid.map(String::into_boxed_str);
        account.primary_group = found.primary_group;
        if let Some(name) = found.sam.or(found.uid) {
            account.name = name.trim_end_matches('$').into();
        }
        if let (Some(netbios), Some(root)) = (found.netbios, found.dns_root) {
            self.snapshot.netbios.insert(root.to_lowercase(), netbios);
        }
        Ok(())
    }

    fn attribute(&mut self, index: u32, name: &str, value: &Value, found: &mut Found) {
        let base = ldif::base_name(name).to_ascii_lowercase();
        let Value::Text(text) = value else {
            if let (Value::Binary(bytes), "objectsid") = (value, base.as_str()) {
                found.sid = sid::text(bytes);
            }
            return;
        };
        match base.as_str() {
            "memberuid" => self.by_uid.push((index, text.to_lowercase().into_boxed_str())),
            "member" | "uniquemember" => {
                if let Some(member) = self.index(text) {
                    self.snapshot.accounts[member as usize].groups.push(index);
                }
            }
            "memberof" => {
                if let Some(group) = self.index(text) {
                    self.snapshot.accounts[index as usize].groups.push(group);
                }
            }
            "msds-primarycomputer" => {
                self.snapshot.schema.attribute_seen = true;
                if let Some(computer) = self.index(text) {
                    self.snapshot.accounts[index as usize].primary_computers.push(computer);
                }
            }
            _ => found.note(&base, text),
        }
    }

    fn schema(&mut self, found: &Found) {
        let schema = &mut self.snapshot.schema;
        schema.has_entries |= found.attribute_id.is_some();
        schema.has_primary_computer |= found.attribute_id.as_deref() == Some(PRIMARY_COMPUTER_ID);
    }

    fn finish(self) -> Result<Snapshot, Vec<LdifError>> {
        let mut snapshot = self.snapshot;
        let mut twins = Vec::new();
        snapshot.join_by_uid(&self.by_uid);
        for (index, account) in snapshot.accounts.iter_mut().enumerate() {
            let Ok(index) = u32::try_from(index) else { break };
            account.groups.sort_unstable();
            account.groups.dedup();
            account.groups.shrink_to_fit();
            let name = account.name.to_lowercase().into_boxed_str();
            let twin = match account.class {
                Class::User => snapshot.users.insert(name, index),
                Class::Computer => snapshot.computers.insert(name, index),
                _ => None,
            };
            if let (Some(_), Some(dn)) = (twin, &account.dn) {
                twins.push(LdifError { line: 0, kind: Defect::SameName(dn.to_string()) });
            }
            if let Some(sid) = &account.sid {
                snapshot.by_sid.insert(sid.clone(), index);
            }
        }
        if twins.is_empty() { Ok(snapshot) } else { Err(twins) }
    }
}

/// What one entry says of itself.
#[derive(Default)]
struct Found {
    classes: Vec<String>,
    packed: String,
    sam: Option<String>,
    /// A name only where there is no sAMAccountName: in Active Directory users may write it.
    uid: Option<String>,
    sid: Option<String>,
    primary_group: Option<u32>,
    attribute_id: Option<String>,
    netbios: Option<String>,
    dns_root: Option<String>,
}

impl Found {
    fn note(&mut self, name: &str, text: &str) {
        let text_owned = || Some(text.to_owned());
        match name {
            "objectclass" => self.classes.push(text.to_ascii_lowercase()),
            "samaccountname" => self.sam = text_owned(),
            "uid" => self.uid = text_owned(),
            "objectsid" => self.sid = text_owned(),
            "primarygroupid" => self.primary_group = text.parse().ok(),
            "attributeid" => self.attribute_id = text_owned(),
            "attributetypes" if text.contains(PRIMARY_COMPUTER_ID) => {
                self.attribute_id = Some(PRIMARY_COMPUTER_ID.to_owned());
            }
            "attributetypes" => {
                self.attribute_id.get_or_insert_default();
            }
            "netbiosname" => self.netbios = text_owned(),
            "dnsroot" => self.dns_root = text_owned(),
            _ => {}
        }
        if text.len() <= VALUE_BYTES_MAX && !text.contains('\0') && name != "objectclass" {
            for part in [name, "\0", text, "\0"] {
                self.packed.push_str(part);
            }
        }
    }

    fn class(&self) -> Class {
        let is = |class: &str| self.classes.iter().any(|known| known == class);
        // A computer is also a user in Active Directory's schema.
        let groups = ["group", "groupofnames", "groupofuniquenames", "posixgroup"];
        let is_user = is("user") || is("inetorgperson") || is("posixaccount");
        // The account of a computer outside of Active Directory, as Samba makes it.
        let is_machine = self.sam.is_none() && self.uid.as_ref().is_some_and(|u| u.ends_with('$'));
        match () {
            () if is("computer") || is_user && is_machine => Class::Computer,
            () if groups.iter().any(|class| is(class)) => Class::Group,
            () if is_user => Class::User,
            () if is("device") || is("iphost") => Class::Computer,
            () => Class::Other,
        }
    }
}

impl Snapshot {
    /// Puts those into their groups whom the groups name by uid. No uid has two users here: `finish`
    /// refuses that.
    fn join_by_uid(&mut self, members: &[(u32, Box<str>)]) {
        if members.is_empty() {
            return;
        }
        let is_user = |account: &&mut Account| account.class == Class::User;
        let users = self.accounts.iter_mut().filter(is_user);
        let mut users: HashMap<String, &mut Account> =
            users.map(|account| (account.name.to_lowercase(), account)).collect();
        for (group, uid) in members {
            if let Some(account) = users.get_mut(&**uid) {
                account.groups.push(*group);
            }
        }
    }

    /// Whether the schema has `msDS-PrimaryComputer`.
    ///
    /// An export without any schema entry says nothing; then the attribute is taken to be there,
    /// as in every domain since Windows Server 2012, so that nobody's data goes where it may not.
    pub fn schema_has_primary_computer(&self) -> bool {
        let schema = &self.schema;
        schema.attribute_seen || schema.has_primary_computer || !schema.has_entries
    }

    /// The user of a name: `alice`, `CORP\alice` or `alice@corp.test`.
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        let bare = name.split_once('\\').map_or(name, |(_, bare)| bare);
        let bare = bare.split_once('@').map_or(bare, |(bare, _)| bare);
        let index = *self.users.get(bare.to_lowercase().as_str())?;
        let user = self.user_facts(index);
        let (domain, dns) = (&user.domain, &user.dns_domain);
        let right_domain = match (name.split_once('\\'), name.split_once('@')) {
            (Some((wanted, _)), _) => domain.eq_ignore_ascii_case(wanted),
            (_, Some((_, wanted))) => dns.eq_ignore_ascii_case(wanted),
            _ => true,
        };
        right_domain.then(|| Arc::new(user))
    }

    /// The computer of a name, as it is for a given operating system and site.
    pub fn computer(&self, name: &str, os: Os, site: Option<String>) -> Option<Computer> {
        let index = *self.computers.get(name.to_lowercase().as_str())?;
        let account = &self.accounts[index as usize];
        let groups = self.group_names(index);
        let (name, dn) = (account.name.to_string(), account.dn.clone());
        Some(Computer { name, dn, groups, os, site, logon_server: None })
    }

    /// Every user, by name.
    pub fn user_names(&self) -> Vec<&str> {
        self.names(&self.users)
    }

    /// Every computer, by name.
    pub fn computer_names(&self) -> Vec<&str> {
        self.names(&self.computers)
    }

    fn names<'a>(&'a self, index: &'a HashMap<Box<str>, u32>) -> Vec<&'a str> {
        let mut names: Vec<&str> =
            index.values().map(|index| &*self.accounts[*index as usize].name).collect();
        names.sort_unstable();
        names
    }

    /// The name of a computer account of the directory, by its distinguished name; `None` for one
    /// that is not in it (any more).
    pub fn computer_called(&self, dn: &Dn) -> Option<&str> {
        let index = *self.by_dn.get(dn.key())?;
        let account = &self.accounts[index as usize];
        (account.class == Class::Computer).then_some(&*account.name)
    }

    /// When a computer last signed in to the domain, in seconds since 1970. Active Directory
    /// brings `lastLogonTimestamp` up to date every nine to fourteen days only (MS-ADA1 2.351).
    pub fn computer_last_logon(&self, name: &str) -> Option<i64> {
        let index = *self.computers.get(name.to_lowercase().as_str())?;
        let ticks: i64 = self.attribute(index, "lastlogontimestamp")?.parse().ok()?;
        (ticks > 0).then_some(ticks / 10_000_000 - FILETIME_UNIX_SECONDS)
    }

    /// The operating system that a computer account names, if it names one we know.
    pub fn computer_os(&self, name: &str) -> Option<Os> {
        let index = *self.computers.get(name.to_lowercase().as_str())?;
        self.attribute(index, "operatingsystem").map(os_called)
    }

    fn attribute(&self, index: u32, wanted: &str) -> Option<&str> {
        let mut parts = self.accounts[index as usize].attributes.split_terminator('\0');
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if name == wanted {
                return Some(value);
            }
        }
        None
    }

    fn user_facts(&self, index: u32) -> User {
        let account = &self.accounts[index as usize];
        let mut attributes = BTreeMap::new();
        let mut parts = account.attributes.split_terminator('\0');
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            attributes.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let dns_domain = account.dn.as_ref().and_then(Dn::dns_domain).unwrap_or_default();
        let computers = account.primary_computers.iter();
        User {
            name: account.name.to_string(),
            domain: self.netbios_of(&dns_domain),
            sid: account.sid.as_deref().map(str::to_owned),
            dn: account.dn.clone(),
            groups: self.group_names(index),
            primary_computers: computers
                .filter_map(|index| self.accounts[*index as usize].dn.clone())
                .collect(),
            // An export has no access lists: what its maker may not read is not in it.
            list_is_hidden: false,
            attributes,
            dns_domain,
        }
    }

    fn netbios_of(&self, dns_domain: &str) -> String {
        let first = || dns_domain.split('.').next().unwrap_or_default().to_uppercase();
        self.netbios.get(dns_domain).cloned().unwrap_or_else(first)
    }

    /// Everybody whom a user is, as SIDs: the user first, then the groups, nested ones included.
    /// Empty for nobody who is known, and where the export has no SIDs.
    pub fn sids(&self, name: &str) -> Vec<String> {
        let user = self.user(name);
        let index = user.and_then(|user| self.users.get(user.name.to_lowercase().as_str()));
        let all = index.map(|index| self.with_groups(*index)).unwrap_or_default();
        let sid = |index: u32| self.accounts[index as usize].sid.as_deref().map(str::to_owned);
        all.into_iter().filter_map(sid).collect()
    }

    /// An account and all groups it is in, through any nesting.
    fn with_groups(&self, index: u32) -> Vec<u32> {
        let mut seen = vec![index];
        let mut at = 0;
        let primary = self.primary_group(index);
        seen.extend(primary);
        while at < seen.len() && seen.len() < NESTING_MAX {
            for group in &self.accounts[seen[at] as usize].groups {
                if !seen.contains(group) {
                    seen.push(*group);
                }
            }
            at += 1;
        }
        seen
    }

    /// Names of all groups an account is in, through any nesting, as `DOMAIN\name`.
    fn group_names(&self, index: u32) -> Names {
        let seen = self.with_groups(index);
        let account = &self.accounts[index as usize];
        let mut names: Vec<String> = seen[1..].iter().map(|index| self.full_name(*index)).collect();
        let domain_group = match (account.primary_group, account.class) {
            (Some(513), _) => Some("Domain Users"),
            (Some(515), _) => Some("Domain Computers"),
            _ => None,
        };
        if let Some(group) = domain_group {
            let domain = account.dn.as_ref().and_then(Dn::dns_domain).unwrap_or_default();
            names.push(format!("{}\\{group}", self.netbios_of(&domain)));
        }
        names.extend(["Authenticated Users".to_owned(), "Everyone".to_owned()]);
        Names::new(names.iter().map(String::as_str))
    }

    /// The group that `primaryGroupID` means; it is in neither `member` nor `memberOf`.
    fn primary_group(&self, index: u32) -> Option<u32> {
        let account = &self.accounts[index as usize];
        let (domain, _) = account.sid.as_deref()?.rsplit_once('-')?;
        self.by_sid.get(format!("{domain}-{}", account.primary_group?).as_str()).copied()
    }

    fn full_name(&self, index: u32) -> String {
        let account = &self.accounts[index as usize];
        // BUILTIN\Users lies in the domain and is not of it.
        if let Some(name) = account.sid.as_deref().and_then(sid::well_known) {
            return name.to_owned();
        }
        let domain = account.dn.as_ref().and_then(Dn::dns_domain).unwrap_or_default();
        format!("{}\\{}", self.netbios_of(&domain), account.name)
    }
}

#[cfg(test)]
mod tests {
    use homeport_policy::value::Principal;

    use super::*;

    const UNIX: &str = "dn: uid=alice,dc=x,dc=y\nobjectClass: posixAccount\nuid: alice\n\n\
        dn: uid=desk-2$,dc=x,dc=y\nobjectClass: posixAccount\nuid: desk-2$\n\n\
        dn: cn=DESK-1,dc=x,dc=y\nobjectClass: device\ncn: DESK-1\n\n\
        dn: cn=staff,dc=x,dc=y\nobjectClass: posixGroup\nmemberUid: Alice\nmemberUid: none\n\n\
        dn: cn=all,dc=x,dc=y\nobjectClass: groupOfUniqueNames\nuniqueMember: CN=staff,DC=x,DC=y\n";

    #[test]
    fn people_machines_and_groups_as_unix_has_them() {
        let found = parse(UNIX.as_bytes()).unwrap();
        assert_eq!(found.user_names(), ["alice"]);
        assert_eq!(found.computer_names(), ["DESK-1", "desk-2"]);
        let groups = found.user("alice").unwrap().groups.clone();
        for group in ["staff", r"X\all"] {
            assert!(groups.contains(&Principal::new(group)), "{groups:?}");
        }
    }

    #[test]
    fn active_directory_names_built_in_groups_its_own_way_and_counts_no_uids() {
        let text = "dn: CN=Users,CN=Builtin,DC=x,DC=y\nobjectClass: group\nsAMAccountName: Users\n\
            objectSid:: AQIAAAAAAAUgAAAAIQIAAA==\nmember: CN=A,DC=x,DC=y\n\n\
            dn: CN=A,DC=x,DC=y\nobjectClass: user\nsAMAccountName: a\n\n\
            dn: CN=Old,DC=x,DC=y\nobjectClass: group\nsAMAccountName: Old\nmemberUid: a\n";
        let groups = parse(text.as_bytes()).unwrap().user("a").unwrap().groups.clone();
        assert!(groups.contains(&Principal::new(r"BUILTIN\Users")), "{groups:?}");
        for group in [r"X\Users", "Old"] {
            assert!(!groups.contains(&Principal::new(group)), "{groups:?}");
        }
    }

    #[test]
    fn everybody_whom_a_user_is_has_a_sid() {
        let text = "dn: CN=Users,CN=Builtin,DC=x,DC=y\nobjectClass: group\nsAMAccountName: Users\n\
            objectSid:: AQIAAAAAAAUgAAAAIQIAAA==\nmember: CN=G,DC=x,DC=y\n\n\
            dn: CN=G,DC=x,DC=y\nobjectClass: group\nsAMAccountName: g\nmember: CN=A,DC=x,DC=y\n\n\
            dn: CN=A,DC=x,DC=y\nobjectClass: user\nsAMAccountName: a\n\
            objectSid:: AQUAAAAAAAUVAAAAAQAAAAIAAAADAAAA6QMAAA==\n";
        let found = parse(text.as_bytes()).unwrap();
        let expected = ["S-1-5-21-1-2-3-1001", "S-1-5-32-545"];
        assert_eq!(found.sids("A"), expected, "through a group that has none");
        assert_eq!(found.sids(r"X\a"), expected);
        assert!(found.sids("nobody").is_empty() && found.sids(r"other\a").is_empty());
    }
}
