//! One bound connection: searches with limits, whose answers are whole or an error.
//!
//! A search that did not end well ends the connection: after a timeout nobody knows what the server
//! will still say on it. Referrals are noted and never followed, because whoever can write one could
//! otherwise say where the agent's credentials go.

use std::collections::BTreeSet;
use std::time::Duration;

use ldap3::controls::{ControlType, PagedResults, RawControl};
use ldap3::{Ldap, LdapError, LdapResult, Scope, SearchOptions};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::directory::entry::Entry;
use crate::directory::error::{DirectoryError, Refusal};
use crate::directory::filter::{self, Filter};
use crate::directory::tally::Tally;

/// Entries of one page; Active Directory gives at most 1,000 at a time.
const PAGE: i32 = 500;
const NO_SUCH_OBJECT: u32 = 32;
const SIZE_LIMIT_EXCEEDED: u32 = 4;

/// Who may do what with an object (MS-ADTS 3.1.1.2.1.5).
pub const SECURITY_DESCRIPTOR: &str = "nTSecurityDescriptor";

/// Asks for a security descriptor without its audit list, which only administrators may read: with
/// it, Active Directory gives others none at all (LDAP_SERVER_SD_FLAGS_OID, MS-ADTS 3.1.1.3.4.1.11).
fn without_audit_list() -> RawControl {
    // SEQUENCE { INTEGER 7 }: owner, group and access list.
    let val = Some(vec![0x30, 0x03, 0x02, 0x01, 0x07]);
    RawControl { ctype: "1.2.840.113556.1.4.801".to_owned(), crit: false, val }
}

/// What is asked of a directory.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// What it is for, in words that fit "… did not answer for …".
    pub what: &'static str,
    /// Where to search; also `<GUID=…>`.
    pub base: &'a str,
    /// How deep.
    pub scope: Scope,
    /// Which entries.
    pub filter: Filter,
    /// Which attributes; empty = all but operational ones.
    pub attributes: &'a [&'a str],
    /// Most entries; more are an error, never a shorter list.
    pub limit: usize,
    /// In pages, where the list may be long.
    pub paged: bool,
}

impl<'a> Query<'a> {
    /// One entry by its name.
    pub fn entry(what: &'static str, base: &'a str, attributes: &'a [&'a str]) -> Self {
        let filter = filter::present("objectClass");
        Self { what, base, scope: Scope::Base, filter, attributes, limit: 1, paged: false }
    }

    /// Entries at any depth below a base.
    pub fn below(
        what: &'static str,
        base: &'a str,
        filter: Filter,
        attributes: &'a [&'a str],
        limit: usize,
    ) -> Self {
        Self { what, base, scope: Scope::Subtree, filter, attributes, limit, paged: false }
    }
}

/// What a server says of itself (RFC 4512 5.1, MS-ADTS 3.1.1.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// Whether it is Active Directory.
    pub is_ad: bool,
    /// The domain, or the first naming context.
    pub base: String,
    /// Where the schema is; Active Directory only.
    pub schema: Option<String>,
    /// The subschema entry (RFC 4512 4.2).
    pub subschema: Option<String>,
    /// Where the forest's domains are listed; Active Directory only.
    pub configuration: Option<String>,
    /// Its own name for itself.
    pub host: Option<String>,
    /// Its clock, as generalized time.
    pub time: Option<String>,
    /// SIDs of the account that is bound, and of all its groups; Active Directory only.
    pub groups: BTreeSet<String>,
}

const ROOT_ATTRIBUTES: [&str; 9] = [
    "configurationNamingContext",
    "currentTime",
    "defaultNamingContext",
    "dnsHostName",
    "namingContexts",
    "schemaNamingContext",
    "subschemaSubentry",
    "supportedCapabilities",
    "tokenGroups",
];
/// LDAP_CAP_ACTIVE_DIRECTORY_OID.
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";

/// A connection that is protected and bound.
#[derive(Debug)]
pub struct Connection {
    ldap: Ldap,
    /// Reads and writes the connection; ends with it.
    driver: JoinSet<()>,
    server: String,
    root: Root,
    /// Whether the domain behind it was found to be the one that answered before.
    verified: bool,
    tally: Tally,
}

impl Connection {
    pub(super) fn new(ldap: Ldap, driver: JoinSet<()>, server: String, tally: Tally) -> Self {
        Self { ldap, driver, server, root: Root::default(), verified: false, tally }
    }

    /// The server, as it was dialled.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What the server says of itself.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Whether the domain behind it was found to be the one that answered before.
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    pub(super) fn set_verified(&mut self) {
        self.verified = true;
    }

    /// Whether it is known to be gone.
    pub fn is_closed(&mut self) -> bool {
        self.driver.try_join_next().is_some() || self.driver.is_empty() || self.ldap.is_closed()
    }

    /// Asks the server what it says of itself.
    ///
    /// # Errors
    /// As [`Connection::search`].
    pub async fn ask_root(&mut self, deadline: Instant) -> Result<(), DirectoryError> {
        let query = Query::entry("its own description", "", &ROOT_ATTRIBUTES);
        let found = self.search(&query, deadline).await?;
        let Some(entry) = found.first() else {
            let (server, what) = (self.server.clone(), query.what);
            return Err(DirectoryError::Garbled { server, what });
        };
        let text = |name: &str| entry.texts(name).next().map(str::to_owned);
        self.root = Root {
            is_ad: entry.texts("supportedCapabilities").any(|oid| oid == ACTIVE_DIRECTORY),
            base: text("defaultNamingContext")
                .or_else(|| text("namingContexts"))
                .unwrap_or_default(),
            schema: text("schemaNamingContext"),
            subschema: text("subschemaSubentry"),
            configuration: text("configurationNamingContext"),
            host: text("dnsHostName"),
            time: text("currentTime"),
            groups: entry.token_groups().unwrap_or_default().into_iter().collect(),
        };
        Ok(())
    }

    /// Asks; the answer is whole.
    ///
    /// An object that does not exist is an empty answer if it was asked for by name.
    ///
    /// # Errors
    /// [`DirectoryError`]. The connection must not be used again after one.
    pub async fn search(
        &mut self,
        query: &Query<'_>,
        deadline: Instant,
    ) -> Result<Vec<Entry>, DirectoryError> {
        let begun = Instant::now();
        let mut entries = Vec::new();
        let mut cookie = Vec::new();
        loop {
            self.tally.search();
            let page = query.paged.then(|| PagedResults { size: PAGE, cookie: cookie.clone() });
            let (result, next) = self.page(query, page, &mut entries, deadline).await?;
            match result.rc {
                0 => {}
                NO_SUCH_OBJECT if query.scope == Scope::Base => return Ok(Vec::new()),
                // Below our own limit it was the server's: that says nothing about the entries.
                SIZE_LIMIT_EXCEEDED if entries.len() >= query.limit => {
                    return Err(self.too_many(query));
                }
                code => {
                    let answer = Refusal { code, text: result.text };
                    let (server, what) = (self.server.clone(), query.what);
                    return Err(DirectoryError::Refused { server, what, answer });
                }
            }
            cookie = next;
            if !query.paged || cookie.is_empty() {
                self.tally.took(begun.elapsed());
                return Ok(entries);
            }
        }
    }

    /// One page of a search whose whole would be too much to hold: its entries, and where the next
    /// page begins (empty: there is none). `query.limit` counts for this page alone.
    ///
    /// # Errors
    /// [`DirectoryError`]. The connection must not be used again after one.
    pub async fn one_page(
        &mut self,
        query: &Query<'_>,
        cookie: Vec<u8>,
        deadline: Instant,
    ) -> Result<(Vec<Entry>, Vec<u8>), DirectoryError> {
        let begun = Instant::now();
        self.tally.search();
        let mut entries = Vec::new();
        let page = Some(PagedResults { size: PAGE, cookie });
        let (result, next) = self.page(query, page, &mut entries, deadline).await?;
        if result.rc != 0 {
            let answer = Refusal { code: result.rc, text: result.text };
            let (server, what) = (self.server.clone(), query.what);
            return Err(DirectoryError::Refused { server, what, answer });
        }
        self.tally.took(begun.elapsed());
        Ok((entries, next))
    }

    fn too_many(&self, query: &Query<'_>) -> DirectoryError {
        let (server, what, limit) = (self.server.clone(), query.what, query.limit);
        DirectoryError::TooMany { server, what, limit }
    }

    /// One search operation. It runs as a task of its own: the decoder of foreign bytes below panics
    /// on some of them, and that must cost the connection and not the agent.
    async fn page(
        &self,
        query: &Query<'_>,
        page: Option<PagedResults>,
        entries: &mut Vec<Entry>,
        deadline: Instant,
    ) -> Result<(LdapResult, Vec<u8>), DirectoryError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = query.limit.saturating_sub(entries.len());
        let operation = Operation {
            ldap: self.ldap.clone(),
            base: query.base.to_owned(),
            scope: query.scope,
            filter: query.filter.as_str().to_owned(),
            attributes: match query.attributes {
                [] => vec!["*".to_owned()],
                names => names.iter().map(|name| (*name).to_owned()).collect(),
            },
            options: SearchOptions::new()
                .timelimit(whole_seconds(left))
                // One more than is allowed, so that the limit is noticed whoever keeps it. A page
                // has a limit of its own, and servers take the lower of both for the whole list.
                .sizelimit(if page.is_some() { 0 } else { bounded(limit + 1) }),
            page,
            limit,
        };
        let mut task = JoinSet::new(); // aborts the operation when nobody waits for it any more
        task.spawn(operation.run());
        let (server, what) = (self.server.clone(), query.what);
        let done = match timeout_at(deadline, task.join_next()).await {
            Ok(Some(Ok(done))) => done,
            Ok(_) => return Err(DirectoryError::Garbled { server, what }),
            Err(_) => return Err(DirectoryError::Timeout { server, doing: what, after: left }),
        };
        match done {
            Ok((found, ..)) if found.len() > limit => Err(self.too_many(query)),
            Ok((found, result, next)) => {
                entries.extend(found);
                Ok((result, next))
            }
            Err(Failed::Ldap(source)) => {
                Err(DirectoryError::Broken { server, what, source: Box::new(source) })
            }
            Err(Failed::Garbled) => Err(DirectoryError::Garbled { server, what }),
        }
    }
}

/// A search on its way.
struct Operation {
    ldap: Ldap,
    base: String,
    scope: Scope,
    filter: String,
    attributes: Vec<String>,
    options: SearchOptions,
    page: Option<PagedResults>,
    limit: usize,
}

enum Failed {
    Ldap(LdapError),
    Garbled,
}

impl From<LdapError> for Failed {
    fn from(error: LdapError) -> Self {
        Self::Ldap(error)
    }
}

impl Operation {
    /// The entries, how it ended, and where the next page begins.
    async fn run(mut self) -> Result<(Vec<Entry>, LdapResult, Vec<u8>), Failed> {
        self.ldap.with_search_options(self.options);
        let mut controls: Vec<RawControl> = self.page.into_iter().map(RawControl::from).collect();
        if self.attributes.iter().any(|name| name == SECURITY_DESCRIPTOR) {
            controls.push(without_audit_list());
        }
        if !controls.is_empty() {
            self.ldap.with_controls(controls);
        }
        let search =
            self.ldap.streaming_search(&self.base, self.scope, &self.filter, self.attributes);
        let mut stream = search.await?;
        let mut entries = Vec::new();
        while let Some(found) = stream.next().await? {
            if found.is_ref() {
                tracing::debug!(base = self.base, "A referral was not followed.");
            } else if !found.is_intermediate() {
                entries.push(Entry::read(found.0).ok_or(Failed::Garbled)?);
            }
            if entries.len() > self.limit {
                break; // the caller takes that for what it is
            }
        }
        let result = stream.finish().await;
        let next = next_page(&result);
        Ok((entries, result, next))
    }
}

fn next_page(result: &LdapResult) -> Vec<u8> {
    let is_page =
        |control: &&ldap3::controls::Control| matches!(control.0, Some(ControlType::PagedResults));
    let page = result.ctrls.iter().find(is_page).map(|control| control.1.parse::<PagedResults>());
    page.map(|page| page.cookie).unwrap_or_default()
}

/// The server's own limit; it knows whole seconds only, and 0 would be none.
fn whole_seconds(left: Duration) -> i32 {
    i32::try_from(left.as_secs()).unwrap_or(i32::MAX).saturating_add(1)
}

fn bounded(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}
