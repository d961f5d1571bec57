//! What the agent's account may see: this computer's object, and what decides about users.

use std::collections::BTreeSet;

use crate::directory::access;
use crate::directory::entry::Entry;
use crate::directory::error::DirectoryError;
use crate::directory::filter::{self, Filter};
use crate::directory::ldap::{Connection, Query, SECURITY_DESCRIPTOR};
use crate::directory::rights::Property;
use crate::doctor::Finding;
use crate::doctor::judge::{self, Right};
use crate::doctor::server::deadline;

/// What decides about a user, besides the groups.
const DECISIVE: [&str; 4] = ["homeDirectory", "memberOf", "msDS-PrimaryComputer", "profilePath"];
/// ACCOUNTDISABLE (MS-ADTS 2.2.16).
const DISABLED: u32 = 2;

/// Who looks, and where.
pub struct Eyes<'a> {
    /// A connection that works.
    pub connection: &'a mut Connection,
    /// Where accounts are.
    pub base: &'a str,
    /// Whom the agent binds as.
    pub who: &'a str,
}

impl Eyes<'_> {
    /// This computer's object. `needed`: the agent is that account, so nothing works without it.
    pub async fn computer(&mut self, name: &str, needed: bool) -> Finding {
        let is_ad = self.connection.root().is_ad;
        let of = if is_ad { filter::ad_computer } else { filter::posix_computer };
        let names = ["userAccountControl"];
        let query = Query::below("this computer", self.base, of(name), &names, 2);
        let found = match self.connection.search(&query, deadline()).await {
            Ok(found) => found,
            Err(error) => return judge::failure("computer", &error),
        };
        let mend = "join the domain, or set computer.name to the account's name";
        let base = self.base;
        match found.as_slice() {
            [] if needed => Finding::fail("computer", format!("no {name} below {base}"), mend),
            [] => {
                let found =
                    format!("no {name} below {base}: it is nobody's primary computer there");
                Finding::warn("computer", found, mend)
            }
            [one] => {
                let flags = one.texts("userAccountControl").next().and_then(|t| t.parse().ok());
                if flags.unwrap_or(0_u32) & DISABLED != 0 {
                    let mend = "enable the computer's account";
                    return Finding::fail("computer", format!("{} is disabled", one.dn), mend);
                }
                let state = if flags.is_some() { ", enabled" } else { "" };
                Finding::ok("computer", format!("{name} is {}{state}", one.dn))
            }
            [one, other, ..] => {
                let found = format!("{} and {} are both called {name}", one.dn, other.dn);
                Finding::fail("computer", found, "set directory.base so that one of them is left")
            }
        }
    }

    /// The rights to read what decides about the user of this name (DN); without one, about the first
    /// users there are.
    pub async fn rights(&mut self, user: Option<&str>) -> Vec<Finding> {
        let found = match self.connection.root().is_ad {
            true => self.listed_rights(user).await,
            false => self.seen_rights(user).await,
        };
        found.unwrap_or_else(|error| vec![judge::failure("rights", &error)])
    }

    /// Users with what is asked for: the one who was named, or the first page.
    async fn users(
        &mut self,
        user: Option<&str>,
        all: Filter,
        names: &[&str],
    ) -> Result<Vec<Entry>, DirectoryError> {
        if let Some(dn) = user {
            let query = Query::entry("a user", dn, names);
            return self.connection.search(&query, deadline()).await;
        }
        let query =
            Query { paged: true, ..Query::below("users", self.base, all, names, usize::MAX) };
        let page = self.connection.one_page(&query, Vec::new(), deadline()).await;
        page.map(|(found, _)| found)
    }

    /// Active Directory: what is not there is either not set or not to be read; the access list of
    /// the user says which.
    async fn listed_rights(&mut self, user: Option<&str>) -> Result<Vec<Finding>, DirectoryError> {
        let mut names = vec!["sAMAccountName", SECURITY_DESCRIPTOR];
        names.extend(DECISIVE);
        let users = self.users(user, filter::ad_users(), &names).await?;
        let Some(first) = users.first() else {
            let mend = "check directory.base, and that the agent's account may read there";
            let name = user.unwrap_or("any user");
            return Ok(vec![Finding::fail("rights", format!("sees no {name}"), mend)]);
        };
        let query = Query::entry("the groups of an account", &first.dn, &["tokenGroups"]);
        let groups = self.connection.search(&query, deadline()).await?;
        let groups = groups.first().map_or(0, |entry| entry.values("tokenGroups").len());
        let mut findings = vec![match groups {
            0 => {
                let mend = format!("add {} to Windows Authorization Access Group", self.who);
                Finding::fail(
                    "rights",
                    format!("tokenGroups may not be read of {}", first.dn),
                    mend,
                )
            }
            _ => Finding::ok("rights", "tokenGroups may be read"),
        }];
        let sids = access::all_of(&self.connection.root().groups);
        for (name, property) in access::properties(self.connection, &DECISIVE, deadline()).await? {
            let right = right_to(&name, property, &users, &sids);
            findings.push(judge::right(&right, self.who, user.is_some()));
        }
        Ok(findings)
    }

    /// Any other directory: nobody can tell a value that is not shown from one that is not there.
    async fn seen_rights(&mut self, user: Option<&str>) -> Result<Vec<Finding>, DirectoryError> {
        let names = ["uid", "homeDirectory", "memberOf", "msDS-PrimaryComputer", "profilePath"];
        let users = self.users(user, filter::posix_users(), &names).await?;
        if users.is_empty() {
            let mend = "check directory.base, and that the agent's account may read there";
            let name = user.unwrap_or("any user");
            return Ok(vec![Finding::fail("rights", format!("sees no {name}"), mend)]);
        }
        let is_seen = |name: &&&str| users.iter().any(|entry| !entry.values(name).is_empty());
        let seen: Vec<&str> = names.iter().filter(is_seen).copied().collect();
        let unseen: Vec<&str> = names.iter().filter(|name| !seen.contains(name)).copied().collect();
        let seen = format!("sees {} of {} users", seen.join(", "), users.len());
        if unseen.is_empty() {
            return Ok(vec![Finding::ok("rights", seen)]);
        }
        let unseen = unseen.join(", ");
        let found = format!("{seen}; whether {unseen} is hidden or not set cannot be told");
        let mend = format!("compare with what an administrator sees; let {} read it", self.who);
        Ok(vec![Finding::warn("rights", found, mend)])
    }
}

fn right_to(name: &str, property: Property, users: &[Entry], sids: &BTreeSet<String>) -> Right {
    let mut right = Right { attribute: name.to_owned(), users: users.len(), ..Right::default() };
    for entry in users {
        let is_shown = !entry.values(name).is_empty() || entry.part(name).is_some();
        if is_shown {
            continue;
        }
        match access::would_show(entry, property, sids) {
            Some(true) => {}
            Some(false) => {
                let user = entry.texts("sAMAccountName").next().unwrap_or(&entry.dn);
                right.denied.push(user.to_owned());
            }
            None => right.untold += 1,
        }
    }
    right
}
