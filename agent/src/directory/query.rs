//! Facts in few round trips: which searches are sent for a user, a computer, groups and the schema.
//!
//! A user who is known is one search by GUID, which gives the nested groups (`tokenGroups`) as well;
//! one who is not known is two, by name and then by DN. Names of groups are remembered, so a third
//! search is sent only for groups that nobody has been in before.

use std::collections::BTreeSet;
use std::time::Duration;

use homeport_policy::dn::Dn;
use ldap3::Scope;
use tokio::time::Instant;

use crate::directory::access;
use crate::directory::account::{Account, Domain};
use crate::directory::cache::{Dated, Memory, is_called};
use crate::directory::entry::{
    ComputerRecord, DomainName, Entry, EntryError, UserRecord, domain_of, primary_computers,
};
use crate::directory::error::DirectoryError;
use crate::directory::filter::{self, Filter};
use crate::directory::ldap::{Connection, Query};
use crate::directory::sid;
use crate::limits::{
    DIRECTORY_COMPUTER_FRESH, DIRECTORY_FOREST_MAX, DIRECTORY_GROUPS_MAX, DIRECTORY_NESTING_MAX,
    DIRECTORY_PARTS_MAX, DIRECTORY_SCHEMA_FRESH,
};

/// `msDS-PrimaryComputer` in any schema, whatever it is called there.
pub const PRIMARY_COMPUTER_ID: &str = "1.2.840.113556.1.4.2167";
/// `sAMAccountName`, which every Active Directory has: the proof that its schema could be read.
pub const PROOF_ID: &str = "1.2.840.113556.1.4.221";
/// Everything of a user, and what is given only when it is asked for. A path template may name any
/// attribute.
const USER: [&str; 3] = ["*", "entryUUID", "memberOf"];
const USER_AND_GROUPS: [&str; 2] = ["*", "tokenGroups"];
const COMPUTER_AND_GROUPS: [&str; 3] = ["objectClass", "objectGUID", "tokenGroups"];

/// Questions over one connection, with what is remembered.
pub struct Session<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) memory: &'a mut Memory,
    /// Where accounts are searched.
    base: String,
    now_unix_ms: i64,
    pub(super) deadline: Instant,
}

/// Whose facts are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The user, if any.
    pub user: Option<&'a Account>,
    /// This computer, if its facts are wanted too.
    pub computer: Option<&'a str>,
}

impl<'a> Session<'a> {
    /// Begins to ask. `base` is the one from the settings.
    pub fn new(
        connection: &'a mut Connection,
        memory: &'a mut Memory,
        base: Option<&str>,
        now_unix_ms: i64,
        deadline: Instant,
    ) -> Self {
        let base = base.unwrap_or(&connection.root().base).to_owned();
        Self { connection, memory, base, now_unix_ms, deadline }
    }

    async fn ask(&mut self, query: &Query<'_>) -> Result<Vec<Entry>, DirectoryError> {
        self.connection.search(query, self.deadline).await
    }

    pub(super) fn bad(&self, dn: &str, source: EntryError) -> DirectoryError {
        let server = self.connection.server().to_owned();
        DirectoryError::Entry { server, dn: dn.to_owned(), source }
    }

    fn blind(&self, what: &'static str) -> DirectoryError {
        DirectoryError::Garbled { server: self.connection.server().to_owned(), what }
    }

    pub(super) fn is_ad(&self) -> bool {
        self.connection.root().is_ad
    }

    /// Makes sure that this is the domain that answered before under this DNS name; without one, this
    /// computer's own.
    ///
    /// # Errors
    /// [`DirectoryError::Stranger`].
    pub async fn check_identity(&mut self, other: Option<&str>) -> Result<(), DirectoryError> {
        let root = self.connection.root().base.clone();
        let query = Query::entry("its domain", &root, &["objectSid", "objectGUID", "entryUUID"]);
        let found = self.ask(&query).await?;
        let entry = found.first().cloned().unwrap_or_default();
        let bad = |source| self.bad(&root, source);
        let identity = match entry.sid().map_err(bad)? {
            Some(sid) => sid,
            // Without either the name is all there is to know it by.
            None => entry.guid().map_err(bad)?.unwrap_or_else(|| root.to_lowercase()),
        };
        if let Some(remembered) = self.memory.identity_of(other).filter(|known| **known != identity)
        {
            return Err(DirectoryError::Stranger {
                server: self.connection.server().to_owned(),
                remembered: remembered.clone(),
                found: identity,
            });
        }
        match other {
            Some(domain) => drop(self.memory.others.insert(domain.to_owned(), identity)),
            None => {
                self.memory.identity = Some(identity);
                self.memory.home = Dn::parse(&self.base).ok().and_then(|dn| dn.dns_domain());
            }
        }
        self.connection.set_verified();
        Ok(())
    }

    /// Makes sure that schema and domains are known. A sign-in makes do with older ones, because the
    /// daemon asks again in time.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn know_forest(&mut self, in_a_hurry: bool) -> Result<(), DirectoryError> {
        let now = self.now_unix_ms;
        let fresh = DIRECTORY_SCHEMA_FRESH * if in_a_hurry { 2 } else { 1 };
        let known = self.memory.schema.as_ref().filter(|schema| schema.is_fresh(now, fresh));
        // An earlier version did not keep how access lists name the attribute.
        let lacks = known.is_some_and(|known| known.value) && self.is_ad();
        if known.is_none() || lacks && self.memory.primary_property.is_none() {
            let has = self.schema_has_primary_computer().await?;
            self.memory.schema = Some(Dated::new(has, now));
        }
        if !self.memory.domains.as_ref().is_some_and(|known| known.is_fresh(now, fresh)) {
            let domains = self.domains().await?;
            self.memory.domains = Some(Dated::new(domains, now));
        }
        Ok(())
    }

    /// Whether the schema has `msDS-PrimaryComputer`, by attributeID; how access lists name it is
    /// remembered.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn schema_has_primary_computer(&mut self) -> Result<bool, DirectoryError> {
        let root = self.connection.root();
        let what = "its schema";
        if let (true, Some(schema)) = (root.is_ad, root.schema.clone()) {
            let ids = [PRIMARY_COMPUTER_ID, PROOF_ID];
            let filter = filter::any(ids.map(|id| filter::equals("attributeID", id.as_bytes())));
            let names = [&["attributeID"], access::PROPERTY.as_slice()].concat();
            let query =
                Query { scope: Scope::OneLevel, ..Query::below(what, &schema, filter, &names, 10) };
            let found = self.ask(&query).await?;
            let is = |entry: &&Entry, id| entry.texts("attributeID").any(|i| i == id);
            // A schema that may not be read is no schema without the attribute.
            if !found.iter().any(|entry| is(&entry, PROOF_ID)) {
                return Err(self.blind(what));
            }
            let primary = found.iter().find(|entry| is(entry, PRIMARY_COMPUTER_ID));
            self.memory.primary_property = primary.and_then(access::property);
            return Ok(primary.is_some());
        }
        let Some(subschema) = root.subschema.clone() else { return Err(self.blind(what)) };
        let filter = filter::equals("objectClass", b"subschema");
        let query = Query { filter, ..Query::entry(what, &subschema, &["attributeTypes"]) };
        let found = self.ask(&query).await?;
        let types = found.first().filter(|entry| !entry.values("attributeTypes").is_empty());
        let Some(entry) = types else { return Err(self.blind(what)) };
        let of_oid = |text: &str| text.split_whitespace().any(|word| word == PRIMARY_COMPUTER_ID);
        Ok(entry.texts("attributeTypes").any(of_oid))
    }

    /// The domains of the forest; only their controllers ever get the agent's credentials.
    async fn domains(&mut self) -> Result<Vec<DomainName>, DirectoryError> {
        let Some(configuration) = self.connection.root().configuration.clone() else {
            return Ok(Vec::new());
        };
        let base = format!("CN=Partitions,{configuration}");
        let class = filter::equals("objectClass", b"crossRef");
        let filter = filter::all([class, filter::present("nETBIOSName")]);
        let names = ["nCName", "dnsRoot", "nETBIOSName"];
        let query = Query::below("its domains", &base, filter, &names, DIRECTORY_FOREST_MAX);
        let query = Query { scope: Scope::OneLevel, paged: true, ..query };
        let found = self.ask(&query).await?;
        let text = |entry: &Entry, name: &str| entry.texts(name).next().map(str::to_owned);
        let domain = |entry: &Entry| {
            let (dn, dns) = (text(entry, "nCName")?, text(entry, "dnsRoot")?);
            Some(DomainName { dn, dns: dns.to_lowercase(), netbios: text(entry, "nETBIOSName")? })
        };
        Ok(found.iter().filter_map(domain).collect())
    }

    fn known_domains(&self) -> &[DomainName] {
        self.memory.domains.as_ref().map_or(&[], |domains| &domains.value)
    }

    /// Brings what is remembered of a user and this computer up to date.
    ///
    /// # Errors
    /// [`DirectoryError`]; what was remembered then stays as it was.
    pub async fn look_up(&mut self, wanted: Wanted<'_>) -> Result<(), DirectoryError> {
        let now = self.now_unix_ms;
        // The daemon asks about the computer in time; a sign-in only where nobody did.
        let limit = match wanted.user {
            Some(_) => DIRECTORY_SCHEMA_FRESH,
            None => DIRECTORY_COMPUTER_FRESH,
        };
        let fresh = |known: &&Dated<ComputerRecord>| known.is_fresh(now, limit);
        let is_known = self.memory.computer.as_ref().filter(fresh).is_some();
        let due = wanted.computer.filter(|_| !is_known);
        let computer_guid = self.memory.computer.as_ref().and_then(|c| c.value.guid.clone());
        let computer_guid = computer_guid.filter(|_| self.is_ad());
        // A computer whose GUID is known is asked for by it; another one comes with the user.
        let (mut user, mut by_name) = (None, None);
        if let Some(account) = wanted.user {
            user = self.known_user(account).await?;
        }
        if wanted.user.is_some() && user.is_none() || due.is_some() && computer_guid.is_none() {
            let account = wanted.user.filter(|_| user.is_none());
            let computer = due.filter(|_| computer_guid.is_none());
            let (found_user, found_computer) = self.by_name(account, computer).await?;
            let found = found_user.map(|entry| Ok((self.read_user(&entry)?, entry))).transpose()?;
            // A name without its domain may have been found in another one than was meant.
            let meant = found.filter(|(record, _)| account.is_some_and(|a| is_called(record, a)));
            if let Some((record, entry)) = meant {
                let record = self.whole_list(record, &entry).await?;
                let (groups, seen) = self.groups_of(&entry, true).await?;
                user = Some((self.settle_list(record, seen).await?, groups));
            }
            by_name = found_computer;
        }
        let computer = match due {
            Some(name) => Some(self.computer(name, computer_guid, by_name).await?),
            None => None,
        };
        let sids: BTreeSet<&str> =
            [user.as_ref().map(|(_, g)| g), computer.as_ref().map(|(_, g)| g)]
                .into_iter()
                .flatten()
                .flat_map(Groups::sids)
                .collect();
        self.name_groups(&sids.into_iter().map(str::to_owned).collect::<Vec<_>>()).await?;
        if let Some((record, groups)) = &user {
            self.check_named(record, groups)?;
        }
        if let Some(account) = wanted.user {
            self.memory.forget(account);
        }
        if let Some((mut record, groups)) = user {
            record.groups = self.group_names(groups);
            self.memory.remember(record, now);
        }
        if let Some((mut record, groups)) = computer {
            record.groups = self.group_names(groups);
            // One controller may not have it yet, or not let it be read. What reached the computer
            // by its place or its groups would vanish, so a known one is kept with its age.
            let is_worse = |known: &Dated<ComputerRecord>| known.value.dn.is_some();
            if record.dn.is_some() || !self.memory.computer.as_ref().is_some_and(is_worse) {
                self.memory.computer = Some(Dated::new(record, now));
            }
        }
        Ok(())
    }

    /// A user whose GUID is known: one search for everything. `None` if the account is gone or is
    /// called something else now.
    async fn known_user(
        &mut self,
        account: &Account,
    ) -> Result<Option<(UserRecord, Groups)>, DirectoryError> {
        let known = self.memory.user(account).and_then(|user| user.value.guid.clone());
        let Some(guid) = known.filter(|_| self.is_ad()) else { return Ok(None) };
        let base = format!("<GUID={guid}>");
        let query = Query::entry("a user", &base, &USER_AND_GROUPS);
        let found = self.ask(&query).await?;
        let Some(entry) = found.first() else { return Ok(None) };
        let deleted = entry.texts("isDeleted").any(|value| value == "TRUE");
        let record = self.read_user(entry)?;
        if deleted || !is_called(&record, account) {
            return Ok(None);
        }
        let record = self.whole_list(record, entry).await?;
        let groups = entry.token_groups().map_err(|source| self.bad(&entry.dn, source))?;
        let record = self.settle_list(record, None).await?;
        Ok(Some((record, Groups::Sids(groups))))
    }

    /// A user and a computer by their names, in one search.
    async fn by_name(
        &mut self,
        user: Option<&Account>,
        computer: Option<&str>,
    ) -> Result<(Option<Entry>, Option<Entry>), DirectoryError> {
        let is_ad = self.is_ad();
        let mut parts: Vec<Filter> = Vec::new();
        if let Some(account) = user {
            parts.extend(self.user_filters(account));
        }
        if let Some(name) = computer {
            let filter = if is_ad { filter::ad_computer } else { filter::posix_computer };
            parts.push(filter(name));
        }
        let base = self.base.clone();
        // Two of each are enough to see that a name is not unique.
        let query = Query::below("an account", &base, filter::any(parts), &USER, 4);
        let (mut users, mut computers) = (Vec::new(), Vec::new());
        for entry in self.ask(&query).await? {
            let is_computer = computer.is_some_and(|name| is_computer_of(&entry, name, is_ad));
            if is_computer { computers.push(entry) } else { users.push(entry) }
        }
        let principal = user.and_then(Account::principal).map(|name| name.to_lowercase());
        if users.len() > 1 {
            // One user's principal name may be another one's account name; the former is meant.
            users.retain(|entry| {
                let mut names = entry.texts("userPrincipalName").map(str::to_lowercase);
                principal.as_ref().is_some_and(|principal| names.any(|name| name == *principal))
            });
            if users.is_empty() {
                return Err(self.bad(&base, EntryError::Twin(user.map_or("", |u| &u.name).into())));
            }
        }
        for entries in [&users, &computers] {
            if let [first, second, ..] = entries.as_slice() {
                return Err(self.bad(&first.dn, EntryError::Twin(second.dn.clone())));
            }
        }
        Ok((users.pop(), computers.pop()))
    }

    fn user_filters(&self, account: &Account) -> Vec<Filter> {
        let name = &account.name;
        if !self.is_ad() {
            return vec![filter::posix_user(name)];
        }
        let own = domain_of(Dn::parse(&self.base).ok().as_ref(), &[]).dns;
        match &account.domain {
            Some(Domain::Suffix(suffix)) => {
                let principal = filter::ad_principal(&format!("{name}@{suffix}"));
                let here = suffix.eq_ignore_ascii_case(&own).then(|| filter::ad_user(name));
                [principal].into_iter().chain(here).collect()
            }
            _ => vec![filter::ad_user(name)],
        }
    }

    fn read_user(&self, entry: &Entry) -> Result<UserRecord, DirectoryError> {
        let record = UserRecord::read(entry, self.known_domains());
        record.map_err(|source| self.bad(&entry.dn, source))
    }

    /// Reads the rest of a list of primary computers that the server gave in parts (MaxValRange). A
    /// part must not be taken for all of it: this computer may be in the rest.
    pub(super) async fn whole_list(
        &mut self,
        mut record: UserRecord,
        entry: &Entry,
    ) -> Result<UserRecord, DirectoryError> {
        const NAME: &str = "msDS-PrimaryComputer";
        let mut part = entry.clone();
        for _ in 0..DIRECTORY_PARTS_MAX {
            let Some((values, next)) = part.part(NAME) else {
                let last = part.last_part(NAME).unwrap_or_default();
                record.primary_computers.extend(texts(last));
                return Ok(record);
            };
            record.primary_computers.extend(texts(values));
            let wanted = format!("{NAME};range={next}-*");
            let wanted = [wanted.as_str()];
            let query = Query::entry("the rest of a list", &entry.dn, &wanted);
            let found = self.connection.search(&query, self.deadline).await?.pop();
            part = found.ok_or_else(|| self.bad(&entry.dn, EntryError::Missing(NAME)))?;
            if part.part(NAME).is_none() && part.last_part(NAME).is_none() {
                let whole = primary_computers(&part).map_err(|e| self.bad(&entry.dn, e))?;
                record.primary_computers.extend(whole);
                return Ok(record);
            }
        }
        Err(self.bad(&entry.dn, EntryError::TooMany(NAME)))
    }

    async fn computer(
        &mut self,
        name: &str,
        guid: Option<String>,
        by_name: Option<Entry>,
    ) -> Result<(ComputerRecord, Groups), DirectoryError> {
        let unknown = || ComputerRecord { name: name.to_owned(), ..ComputerRecord::default() };
        let read = |this: &Self, entry: &Entry| {
            ComputerRecord::read(name, entry).map_err(|source| this.bad(&entry.dn, source))
        };
        if let Some(guid) = guid {
            let base = format!("<GUID={guid}>");
            let mut wanted = COMPUTER_AND_GROUPS.to_vec();
            wanted.push("sAMAccountName");
            let query = Query::entry("this computer", &base, &wanted);
            let found = self.ask(&query).await?;
            let same = found.first().filter(|entry| is_computer_of(entry, name, true));
            if let Some(entry) = same {
                let groups = entry.token_groups().map_err(|source| self.bad(&entry.dn, source))?;
                return Ok((read(self, entry)?, Groups::Sids(groups)));
            }
            // Joined anew, renamed or deleted: by its name, whoever that is now.
            let (_, found) = Box::pin(self.by_name(None, Some(name))).await?;
            return match found {
                Some(entry) => Ok((read(self, &entry)?, self.groups_of(&entry, false).await?.0)),
                None => Ok((unknown(), Groups::Names(Vec::new()))),
            };
        }
        match by_name {
            Some(entry) => Ok((read(self, &entry)?, self.groups_of(&entry, false).await?.0)),
            None => Ok((unknown(), Groups::Names(Vec::new()))),
        }
    }

    /// The groups of an entry that was found by its name; and for a user, in the same answer, whether
    /// the list of primary computers may be read ([`access::LIST_AND_RIGHTS`]).
    async fn groups_of(
        &mut self,
        entry: &Entry,
        is_user: bool,
    ) -> Result<(Groups, Option<Entry>), DirectoryError> {
        if !self.is_ad() {
            let uid = entry.texts("uid").next().filter(|_| is_user).map(str::to_owned);
            let names = self.groups_by_member(&entry.dn, uid.as_deref()).await?;
            return Ok((Groups::Names(names), None));
        }
        let more: &[&str] = if is_user { &access::LIST_AND_RIGHTS } else { &[] };
        let wanted = [&["tokenGroups"], more].concat();
        let query = Query::entry("the groups of an account", &entry.dn, &wanted);
        let found = self.ask(&query).await?;
        let gone = || self.bad(&entry.dn, EntryError::Missing("tokenGroups"));
        let found = found.into_iter().next().ok_or_else(gone)?;
        let groups = found.token_groups().map_err(|source| self.bad(&entry.dn, source))?;
        Ok((Groups::Sids(groups), Some(found)))
    }

    /// Groups, and groups of groups, where the directory does not resolve them: one search a level.
    async fn groups_by_member(
        &mut self,
        dn: &str,
        uid: Option<&str>,
    ) -> Result<Vec<String>, DirectoryError> {
        let base = self.connection.root().base.clone();
        let mut known: BTreeSet<String> = BTreeSet::new();
        let (mut names, mut members, mut uid) = (Vec::new(), vec![dn.to_owned()], uid);
        for _ in 0..DIRECTORY_NESTING_MAX {
            let mut found = Vec::new();
            for some in members.chunks(filter::VALUES_MAX) {
                let filter = filter::groups_with(some.iter().map(String::as_str), uid.take());
                let what = "the groups of an account";
                let query = Query::below(what, &base, filter, &["cn"], DIRECTORY_GROUPS_MAX);
                found.extend(self.ask(&Query { paged: true, ..query }).await?);
            }
            members.clear();
            for entry in found {
                if !known.insert(entry.dn.to_lowercase()) {
                    continue;
                }
                let dn = Dn::parse(&entry.dn).ok();
                let domain = domain_of(dn.as_ref(), self.known_domains()).netbios;
                names.extend(entry.texts("cn").next().map(|name| format!("{domain}\\{name}")));
                members.push(entry.dn);
            }
            if members.is_empty() {
                return Ok(names);
            }
        }
        Err(self.bad(dn, EntryError::TooMany("groups in groups")))
    }

    /// Makes sure that the names of these groups are known.
    async fn name_groups(&mut self, sids: &[String]) -> Result<(), DirectoryError> {
        let now = self.now_unix_ms;
        if sids.len() > DIRECTORY_GROUPS_MAX {
            let base = self.base.clone();
            return Err(self.bad(&base, EntryError::TooMany("tokenGroups")));
        }
        let is_known = |sid: &str| {
            let known = self.memory.groups.get(sid);
            sid::well_known(sid).is_some()
                || known.is_some_and(|known| match known.value {
                    Some(_) => known.is_fresh(now, DIRECTORY_SCHEMA_FRESH),
                    None => known.is_fresh(now, DIRECTORY_COMPUTER_FRESH),
                })
        };
        let unknown: Vec<String> = sids.iter().filter(|sid| !is_known(sid)).cloned().collect();
        let base = self.connection.root().base.clone();
        for some in unknown.chunks(filter::VALUES_MAX) {
            let bytes: Vec<Vec<u8>> = some.iter().filter_map(|sid| sid::bytes(sid)).collect();
            let filter = filter::any_sid(bytes.iter().map(Vec::as_slice));
            let names = ["objectSid", "sAMAccountName"];
            let query = Query::below("the names of groups", &base, filter, &names, some.len());
            let found = self.ask(&query).await?;
            let mut left: BTreeSet<&String> = some.iter().collect();
            for entry in &found {
                let bad = |source| self.bad(&entry.dn, source);
                let (sid, name) =
                    (entry.sid().map_err(bad)?, entry.one_text("sAMAccountName").map_err(bad)?);
                let (Some(sid), Some(name)) = (sid, name) else { continue };
                let dn = Dn::parse(&entry.dn).ok();
                let domain = domain_of(dn.as_ref(), self.known_domains()).netbios;
                let name = format!("{domain}\\{name}");
                left.remove(&sid);
                self.memory.remember_group(&sid, Some(name), now);
            }
            for sid in left {
                self.memory.remember_group(sid, None, now);
            }
        }
        Ok(())
    }

    /// Makes sure that every group of the user's own domain has a name. A filter by a group whose name
    /// is not known would not match, and folders would come home for that.
    fn check_named(&self, user: &UserRecord, groups: &Groups) -> Result<(), DirectoryError> {
        let domain = user.sid.as_deref().and_then(|sid| Some(sid.rsplit_once('-')?.0));
        let is_own = |sid: &&str| sid.rsplit_once('-').map(|(of, _)| of) == domain;
        let has_name = |sid: &str| {
            let known = self.memory.groups.get(sid);
            sid::well_known(sid).is_some() || known.is_some_and(|known| known.value.is_some())
        };
        match groups.sids().filter(is_own).find(|sid| !has_name(sid)) {
            Some(sid) => {
                let dn = user.dn.clone();
                Err(self.bad(&dn, EntryError::Nameless(sid.to_owned())))
            }
            None => Ok(()),
        }
    }

    /// A group that nobody could name goes by its SID, which a policy may name as well.
    fn group_names(&self, groups: Groups) -> Vec<String> {
        let sids = match groups {
            Groups::Names(names) => return names,
            Groups::Sids(sids) => sids,
        };
        let name = |sid: String| {
            let known = self.memory.groups.get(&sid).and_then(|known| known.value.clone());
            known.or_else(|| sid::well_known(&sid).map(str::to_owned)).unwrap_or(sid)
        };
        sids.into_iter().map(name).collect()
    }
}

/// Groups as they were found.
enum Groups {
    Sids(Vec<String>),
    Names(Vec<String>),
}

impl Groups {
    fn sids(&self) -> impl Iterator<Item = &str> {
        let sids = match self {
            Self::Sids(sids) => sids.as_slice(),
            Self::Names(_) => &[],
        };
        sids.iter().map(String::as_str)
    }
}

fn texts(values: &[Vec<u8>]) -> impl Iterator<Item = String> {
    values.iter().filter_map(|value| String::from_utf8(value.clone()).ok())
}

/// Whether an entry is the account of a computer of this name.
fn is_computer_of(entry: &Entry, name: &str, is_ad: bool) -> bool {
    let is_name = |text: &str| text.trim_end_matches('$').eq_ignore_ascii_case(name);
    if is_ad {
        return entry.texts("sAMAccountName").any(|text| text.ends_with('$') && is_name(text));
    }
    let person = ["inetorgperson", "person"];
    let mut classes = entry.texts("objectClass").map(str::to_lowercase);
    let is_person = classes.any(|class| person.contains(&class.as_str()));
    let by_account = entry.texts("uid").any(|text| text.ends_with('$') && is_name(text));
    by_account || !is_person && entry.texts("cn").chain(entry.texts("uid")).any(is_name)
}

/// How far a server's clock is from this computer's; `None` where it does not say its time.
pub fn clock_skew(server_time: &str, now_unix_ms: i64) -> Option<Duration> {
    let digits = server_time.get(..14)?;
    let time = chrono::NaiveDateTime::parse_from_str(digits, "%Y%m%d%H%M%S").ok()?;
    Some(Duration::from_millis(now_unix_ms.abs_diff(time.and_utc().timestamp_millis())))
}
