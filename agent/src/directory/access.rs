//! What the agent's account may read, and so whether a list that came empty is empty.
//!
//! Active Directory leaves out what may not be read and reports success. A list of primary computers
//! that is gone would bring folders home, so that an empty one is believed only when the user's own
//! access list shows that the agent would see the values if there were any.

use std::collections::BTreeSet;

use ldap3::Scope;
use tokio::time::Instant;

use crate::directory::entry::{Entry, UserRecord, primary_computers};
use crate::directory::error::DirectoryError;
use crate::directory::filter;
use crate::directory::ldap::{Connection, Query, SECURITY_DESCRIPTOR};
use crate::directory::query::{PRIMARY_COMPUTER_ID, Session};
use crate::directory::rights::{Property, may_read};

/// How the schema names a property to access lists.
pub const PROPERTY: [&str; 3] = ["schemaIDGUID", "attributeSecurityGUID", "searchFlags"];
/// The list, and who may read it: asked for together, so that both are of one moment.
pub const LIST_AND_RIGHTS: [&str; 2] = ["msDS-PrimaryComputer", SECURITY_DESCRIPTOR];
/// fCONFIDENTIAL and fRODCFilteredAttribute (MS-ADTS 2.2.10): an access list tells only a part.
const GUARDED: u32 = 0x80 | 0x200;
/// Everybody who is known to the directory is these.
const ALWAYS: [&str; 2] = ["S-1-1-0", "S-1-5-11"];

/// A property as an entry of the schema has it; `None` when the entry lacks what every one has.
pub fn property(entry: &Entry) -> Option<Property> {
    let guid = |name: &str| <[u8; 16]>::try_from(entry.values(name).first()?.as_slice()).ok();
    let flags = entry.texts("searchFlags").next().and_then(|flags| flags.parse().ok());
    let guarded = flags.unwrap_or(0_u32) & GUARDED != 0;
    Some(Property { id: guid(PROPERTY[0])?, set: guid(PROPERTY[1]), guarded })
}

/// How access lists name some attributes, and `msDS-PrimaryComputer` whatever it is called; what the
/// schema does not have is left out.
///
/// # Errors
/// [`DirectoryError`].
pub async fn properties(
    connection: &mut Connection,
    names: &[&str],
    deadline: Instant,
) -> Result<Vec<(String, Property)>, DirectoryError> {
    let Some(schema) = connection.root().schema.clone() else { return Ok(Vec::new()) };
    let by_name = names.iter().map(|name| filter::equals("lDAPDisplayName", name.as_bytes()));
    let by_id = filter::equals("attributeID", PRIMARY_COMPUTER_ID.as_bytes());
    let wanted = filter::any(by_name.chain([by_id]).collect::<Vec<_>>());
    let attributes = [&["lDAPDisplayName"], PROPERTY.as_slice()].concat();
    let query = Query::below("its schema", &schema, wanted, &attributes, names.len() + 1);
    let query = Query { scope: Scope::OneLevel, ..query };
    let found = connection.search(&query, deadline).await?;
    let named = |entry: &Entry| {
        let name = entry.texts("lDAPDisplayName").next()?.to_owned();
        Some((name, property(entry)?))
    };
    let mut properties: Vec<(String, Property)> = found.iter().filter_map(named).collect();
    properties.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(properties)
}

/// Everything an account is, from what the server says that it is; empty when it does not say,
/// because then no list may seem to allow or deny.
pub fn all_of(groups: &BTreeSet<String>) -> BTreeSet<String> {
    let always = ALWAYS.iter().map(|sid| (*sid).to_owned());
    if groups.is_empty() { BTreeSet::new() } else { groups.iter().cloned().chain(always).collect() }
}

/// Whether a property that an entry does not show would be shown if it had values; `None` when that
/// cannot be told.
pub fn would_show(entry: &Entry, property: Property, sids: &BTreeSet<String>) -> Option<bool> {
    let list = entry.values(SECURITY_DESCRIPTOR).first().filter(|_| !sids.is_empty())?;
    may_read(list, sids, property)
}

impl Session<'_> {
    /// Makes sure that a list of primary computers that came empty is empty. `seen` is the user's
    /// entry if it was read with [`LIST_AND_RIGHTS`].
    ///
    /// A list that was found empty before is not looked at again: what it allows stays the same. One
    /// that is not known to be empty keeps its last values and is marked as hidden.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub(super) async fn settle_list(
        &mut self,
        record: UserRecord,
        seen: Option<Entry>,
    ) -> Result<UserRecord, DirectoryError> {
        let has_attribute = self.memory.schema.as_ref().is_some_and(|schema| schema.value);
        let known = self.memory.same(&record).map(|known| &known.value);
        let was_empty =
            known.is_some_and(|known| known.primary_computers.is_empty() && !known.list_is_hidden);
        if !record.primary_computers.is_empty() || was_empty || !has_attribute {
            return Ok(record);
        }
        let last = known.map(|known| known.primary_computers.clone()).unwrap_or_default();
        let seen = match seen {
            Some(seen) => Some(seen),
            None => self.list_and_rights(&record.dn).await?,
        };
        let seen = seen.unwrap_or_default();
        let mut record = record;
        record.primary_computers =
            primary_computers(&seen).map_err(|source| self.bad(&seen.dn, source))?;
        let mut record = self.whole_list(record, &seen).await?;
        let property = self.memory.primary_property;
        let sids = all_of(&self.connection.root().groups);
        let shows = property.and_then(|property| would_show(&seen, property, &sids));
        if record.primary_computers.is_empty() && shows != Some(true) {
            record.primary_computers = last;
            record.list_is_hidden = true;
        }
        Ok(record)
    }

    async fn list_and_rights(&mut self, dn: &str) -> Result<Option<Entry>, DirectoryError> {
        if !self.is_ad() {
            return Ok(None); // nobody else has access lists that could be read
        }
        let query = Query::entry("who may read a list", dn, &LIST_AND_RIGHTS);
        Ok(self.connection.search(&query, self.deadline).await?.pop())
    }
}
