//! Exports from the live directory what policy is asked with, as LDIF that `file.rs` reads.
//!
//! Only what [`WANTED`] names and what policy's templates name is asked for. Members are written with
//! their groups, once each; lists that the server gives in parts are read to their end. What comes
//! out is whole or an error. It is no picture of one instant: the directory goes on while it is read.

use std::collections::BTreeSet;
use std::io::{self, Write};

use homeport_policy::dn::Dn;
use homeport_policy::parse::SourceFile;
use ldap3::Scope;
use serde::Serialize;
use tokio::time::Instant;

use crate::directory::entry::{Entry, EntryError, may_be_secret};
use crate::directory::error::DirectoryError;
use crate::directory::filter::{self, Filter};
use crate::directory::ldap::{Connection, Query};
use crate::directory::ldif_write;
use crate::directory::query::{PRIMARY_COMPUTER_ID, PROOF_ID};
use crate::limits::{
    DIRECTORY_FOREST_MAX, LDIF_BYTES_MAX, SNAPSHOT_ATTRIBUTES_MAX, SNAPSHOT_BASES_MAX,
    SNAPSHOT_ENTRIES_MAX, SNAPSHOT_PAGE_TIMEOUT, SNAPSHOT_PARTS_MAX,
};

/// Attributes of each kind of entry that are always exported.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of users, besides those that policy's templates name (`%AD:department%`).
    pub users: &'static [&'static str],
    /// Of computers.
    pub computers: &'static [&'static str],
    /// Of groups.
    pub groups: &'static [&'static str],
    /// Of the forest's domains.
    pub domains: &'static [&'static str],
    /// Of the schema's attributes.
    pub schema: &'static [&'static str],
}

/// The one list of what is exported. A directory that has no attribute of a name gives none.
pub const WANTED: Wanted = Wanted {
    users: &[
        "objectClass",
        "sAMAccountName",
        "uid",
        "userPrincipalName",
        "objectSid",
        "primaryGroupID",
        "msDS-PrimaryComputer",
        "profilePath",
        "homeDirectory",
        "homeDrive",
    ],
    computers: &[
        "objectClass",
        "sAMAccountName",
        "cn",
        "uid",
        "objectSid",
        "primaryGroupID",
        "operatingSystem",
        "lastLogonTimestamp",
    ],
    groups: &[
        "objectClass",
        "sAMAccountName",
        "cn",
        "objectSid",
        "member",
        "uniqueMember",
        "memberUid",
    ],
    domains: &["objectClass", "nCName", "dnsRoot", "nETBIOSName"],
    schema: &["objectClass", "attributeID", "lDAPDisplayName"],
};

/// What an export holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Users.
    pub users: usize,
    /// Computers.
    pub computers: usize,
    /// Groups.
    pub groups: usize,
    /// Domains of the forest.
    pub domains: usize,
    /// Bytes of LDIF.
    pub bytes: u64,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The directory did not answer, or not to the end.
    #[error("the directory was not read to its end")]
    Directory(#[from] DirectoryError),
    /// It could not be written.
    #[error("the export could not be written")]
    Write(#[source] io::Error),
    /// It would be larger than anybody reads.
    #[error(
        "the export would be larger than {LDIF_BYTES_MAX} bytes, which is the most that is read"
    )]
    TooLarge,
    /// More entries than any directory has.
    #[error("there are more than {SNAPSHOT_ENTRIES_MAX} entries")]
    TooMany,
    /// More bases than anybody names.
    #[error("more than {SNAPSHOT_BASES_MAX} bases are named")]
    Bases,
    /// No distinguished name.
    #[error("{0:?} is no distinguished name")]
    Base(String),
    /// The schema cannot be read, so nobody can tell what it lacks.
    #[error("{0} does not show its schema")]
    NoSchema(String),
    /// Not one user: the account sees nothing, or the base is wrong.
    #[error("there is no user below {0}")]
    NoUsers(String),
}

impl SnapshotError {
    /// How to mend it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Directory(error) => error.hint(),
            Self::Write(_) => "check the disk and the directory that --out names",
            Self::TooLarge | Self::TooMany => "name parts of the directory with --base",
            Self::Bases => "name one base above them",
            Self::Base(_) => "a base looks like OU=Staff,DC=corp,DC=test",
            Self::NoSchema(_) => "give the agent's account the right to read the schema",
            Self::NoUsers(_) => "check the base, and that the agent's account may read there",
        }
    }
}

/// How far an export is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being read.
    pub what: &'static str,
    /// How many so far.
    pub count: usize,
    /// Whether these are all.
    pub done: bool,
}

/// Attributes that policy files name in templates (`%AD:department%`), in lower case. Those whose
/// name looks like that of a secret are left out: the agent does not keep them either.
pub fn named_in(files: &[SourceFile]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in files.iter().filter_map(SourceFile::text) {
        let text = text.to_ascii_lowercase();
        for part in text.split("%ad:").skip(1) {
            let Some((name, _)) = part.split_once('%') else { continue };
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let good = !name.is_empty() && name.chars().all(is_name) && !may_be_secret(name);
            if good && names.len() < SNAPSHOT_ATTRIBUTES_MAX {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// Writes what lies below the bases (users and computers) and what they need (groups of the whole
/// domain, domains, schema). `named`: attributes of users besides [`WANTED`]. No base is the
/// settings' one, or else the domain.
///
/// # Errors
/// [`SnapshotError`]; what was written until then is worth nothing.
pub async fn take(
    connection: &mut Connection,
    bases: &[String],
    named: &BTreeSet<String>,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(Progress),
) -> Result<Counts, SnapshotError> {
    let bases = outermost(bases, &connection.root().base)?;
    let is_ad = connection.root().is_ad;
    let mut users: Vec<&str> = WANTED.users.to_vec();
    let is_new = |name: &&str| !WANTED.users.iter().any(|known| known.eq_ignore_ascii_case(name));
    users.extend(named.iter().map(String::as_str).filter(is_new));
    let mut export = Export { connection, out, tell, entries: 0, bytes: 0 };
    export.begin()?;
    export.schema().await?;
    let mut counts = Counts { domains: export.domains().await?, ..Counts::default() };
    let root = export.connection.root().base.clone();
    let (all_groups, all_users, all_computers) = match is_ad {
        true => {
            let computers = filter::equals("objectClass", b"computer");
            (filter::ad_security_groups(), filter::ad_users(), computers)
        }
        false => (filter::posix_groups(), filter::posix_users(), filter::posix_computers()),
    };
    counts.groups = export.kind("groups", &[root], &all_groups, WANTED.groups).await?;
    counts.users = export.kind("users", &bases, &all_users, &users).await?;
    counts.computers = export.kind("computers", &bases, &all_computers, WANTED.computers).await?;
    if counts.users == 0 {
        return Err(SnapshotError::NoUsers(bases.join(" and below ")));
    }
    counts.bytes = export.bytes;
    Ok(counts)
}

/// The bases that lie in no other one: nothing is exported twice.
fn outermost(bases: &[String], root: &str) -> Result<Vec<String>, SnapshotError> {
    if bases.is_empty() {
        return Ok(vec![root.to_owned()]);
    }
    if bases.len() > SNAPSHOT_BASES_MAX {
        return Err(SnapshotError::Bases);
    }
    let read = |text: &String| Dn::parse(text).map_err(|_| SnapshotError::Base(text.clone()));
    let mut parsed = bases.iter().map(read).collect::<Result<Vec<Dn>, _>>()?;
    parsed.sort_by_key(Dn::depth);
    let mut kept: Vec<Dn> = Vec::new();
    for dn in parsed {
        if !kept.iter().any(|outer| dn.is_within(outer)) {
            kept.push(dn);
        }
    }
    Ok(kept.iter().map(|dn| dn.as_str().to_owned()).collect())
}

/// An export on its way.
struct Export<'a> {
    connection: &'a mut Connection,
    out: &'a mut dyn Write,
    tell: &'a mut dyn FnMut(Progress),
    entries: usize,
    bytes: u64,
}

impl Export<'_> {
    fn put(&mut self, text: &str) -> Result<(), SnapshotError> {
        self.bytes += text.len() as u64;
        if self.bytes > LDIF_BYTES_MAX {
            return Err(SnapshotError::TooLarge);
        }
        self.out.write_all(text.as_bytes()).map_err(SnapshotError::Write)
    }

    fn begin(&mut self) -> Result<(), SnapshotError> {
        let mut text = ldif_write::VERSION.to_owned();
        let (base, server) = (&self.connection.root().base, self.connection.server());
        ldif_write::comment(&mut text, &format!("{base}, as {server} showed it to Homeport"));
        self.put(&text)
    }

    async fn schema(&mut self) -> Result<(), SnapshotError> {
        let root = self.connection.root().clone();
        let blind = || SnapshotError::NoSchema(self.connection.server().to_owned());
        let deadline = Instant::now() + SNAPSHOT_PAGE_TIMEOUT;
        if let (true, Some(schema)) = (root.is_ad, &root.schema) {
            let ids = [PRIMARY_COMPUTER_ID, PROOF_ID];
            let wanted = filter::any(ids.map(|id| filter::equals("attributeID", id.as_bytes())));
            let query = Query::below("its schema", schema, wanted, WANTED.schema, 10);
            let query = Query { scope: Scope::OneLevel, ..query };
            let found = self.connection.search(&query, deadline).await?;
            let is_proof = |entry: &Entry| entry.texts("attributeID").any(|id| id == PROOF_ID);
            if !found.iter().any(is_proof) {
                return Err(SnapshotError::NoSchema(self.connection.server().to_owned()));
            }
            for entry in found {
                self.entry(&entry, WANTED.schema).await?;
            }
            return Ok(());
        }
        let Some(subschema) = root.subschema else { return Err(blind()) };
        let filter = filter::equals("objectClass", b"subschema");
        let query = Query { filter, ..Query::entry("its schema", &subschema, &["attributeTypes"]) };
        let found = self.connection.search(&query, deadline).await?;
        let types = found.first().map_or(&[][..], |entry| entry.values("attributeTypes"));
        let is_ours = |value: &&Vec<u8>| {
            let text = String::from_utf8_lossy(value);
            text.split_whitespace().any(|word| word == PRIMARY_COMPUTER_ID)
        };
        // One type that is not ours shows that there is a schema, and that ours is not in it.
        let shown = types.iter().find(is_ours).or_else(|| types.first());
        let Some(shown) = shown else {
            return Err(SnapshotError::NoSchema(self.connection.server().to_owned()));
        };
        let values = vec![("attributeTypes".to_owned(), vec![shown.clone()])];
        self.entry(&Entry::new(&subschema, values), &["attributeTypes"]).await
    }

    /// The forest's domains; a domain that is no Active Directory has none to list.
    async fn domains(&mut self) -> Result<usize, SnapshotError> {
        let Some(configuration) = self.connection.root().configuration.clone() else {
            return Ok(0);
        };
        let class = filter::equals("objectClass", b"crossRef");
        let filter = filter::all([class, filter::present("nETBIOSName")]);
        let base = format!("CN=Partitions,{configuration}");
        let names = WANTED.domains;
        let query = Query::below("its domains", &base, filter, names, DIRECTORY_FOREST_MAX);
        let query = Query { scope: Scope::OneLevel, paged: true, ..query };
        let deadline = Instant::now() + SNAPSHOT_PAGE_TIMEOUT;
        let found = self.connection.search(&query, deadline).await?;
        for entry in &found {
            self.entry(entry, names).await?;
        }
        (self.tell)(Progress { what: "domains", count: found.len(), done: true });
        Ok(found.len())
    }

    /// Everything of one kind below some bases, page by page.
    async fn kind(
        &mut self,
        what: &'static str,
        bases: &[String],
        filter: &Filter,
        names: &[&str],
    ) -> Result<usize, SnapshotError> {
        let mut count = 0;
        for base in bases {
            let mut cookie = Vec::new();
            loop {
                let left = SNAPSHOT_ENTRIES_MAX.saturating_sub(self.entries);
                let query = Query::below(what, base, filter.clone(), names, left);
                let query = Query { paged: true, ..query };
                let deadline = Instant::now() + SNAPSHOT_PAGE_TIMEOUT;
                let page = self.connection.one_page(&query, cookie, deadline).await;
                let (found, next) = page.map_err(|error| match error {
                    DirectoryError::TooMany { .. } => SnapshotError::TooMany,
                    error => error.into(),
                })?;
                for entry in &found {
                    self.entry(entry, names).await?;
                }
                self.entries += found.len();
                count += found.len();
                (self.tell)(Progress { what, count, done: false });
                cookie = next;
                if cookie.is_empty() {
                    break;
                }
            }
        }
        (self.tell)(Progress { what, count, done: true });
        Ok(count)
    }

    async fn entry(&mut self, entry: &Entry, names: &[&str]) -> Result<(), SnapshotError> {
        let mut text = String::from("\n");
        ldif_write::attribute(&mut text, "dn", entry.dn.as_bytes());
        for name in names {
            for value in entry.values(name) {
                ldif_write::attribute(&mut text, name, value);
            }
            if entry.part(name).is_some() || entry.last_part(name).is_some() {
                for value in self.in_parts(entry, name).await? {
                    ldif_write::attribute(&mut text, name, &value);
                }
            }
        }
        self.put(&text)
    }

    /// A list that the server gives in parts (MaxValRange), to its end.
    async fn in_parts(&mut self, entry: &Entry, name: &str) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let mut values = Vec::new();
        let mut part = entry.clone();
        let bad = |server: &str, source| {
            let (server, dn) = (server.to_owned(), entry.dn.clone());
            SnapshotError::from(DirectoryError::Entry { server, dn, source })
        };
        for _ in 0..SNAPSHOT_PARTS_MAX {
            let Some((some, next)) = part.part(name) else {
                values.extend_from_slice(part.last_part(name).unwrap_or_default());
                return Ok(values);
            };
            values.extend_from_slice(some);
            let wanted = format!("{name};range={next}-*");
            let wanted = [wanted.as_str()];
            let query = Query::entry("the rest of a list", &entry.dn, &wanted);
            let deadline = Instant::now() + SNAPSHOT_PAGE_TIMEOUT;
            let found = self.connection.search(&query, deadline).await?.pop();
            let gone = EntryError::Missing("members any more");
            part = found.ok_or_else(|| bad(self.connection.server(), gone))?;
            // A server that takes no ranges gives all that is left, or all there is, under the name.
            if part.part(name).is_none() && part.last_part(name).is_none() {
                values.extend_from_slice(part.values(name));
                return Ok(values);
            }
        }
        Err(bad(self.connection.server(), EntryError::TooMany("a list")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_within_others_are_left_out() {
        let bases = |texts: &[&str]| {
            outermost(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(), "DC=x")
        };
        assert_eq!(bases(&[]).unwrap(), ["DC=x"]);
        let two = bases(&["OU=B,OU=A,DC=x", "ou=a,dc=x", "OU=C,DC=x", "OU=A, DC=x"]).unwrap();
        assert_eq!(two, ["ou=a,dc=x", "OU=C,DC=x"]);
        assert!(matches!(bases(&["staff"]), Err(SnapshotError::Base(_))));
        let many = vec!["DC=x".to_owned(); SNAPSHOT_BASES_MAX + 1];
        assert!(matches!(outermost(&many, "DC=x"), Err(SnapshotError::Bases)));
    }

    #[test]
    fn templates_name_attributes_and_no_secrets() {
        let file = |text: &str| SourceFile {
            name: "a.toml".to_owned(),
            content: Ok(text.as_bytes().to_vec()),
        };
        let text =
            r"a = '\\s\%AD:Department%\%ad:l%' b = '%AD:%%AD:userPassword%%AD:a b%' c='%AD:x";
        let names: Vec<String> = named_in(&[file(text)]).into_iter().collect();
        assert_eq!(names, ["department", "l"]);
    }

    /// BER with a long length, which is good for any.
    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, &body].concat()
    }

    /// A server with one group of seven members, which gives at most three at a time.
    async fn serve(listener: tokio::net::TcpListener, ends: bool) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut request).await {
            let (text, skip) = (&request[..length], if request[1] < 0x80 { 2 } else { 3 });
            let id = tlv(2, &[&text[skip + 2..skip + 2 + usize::from(text[skip + 1])]]);
            let text = String::from_utf8_lossy(text);
            let (_, from) = text.split_once("member;range=").unwrap();
            let from: usize = from.split_once('-').unwrap().0.parse().unwrap();
            let to = from + 3;
            let end = if to >= 7 && ends { "*".to_owned() } else { (to - 1).to_string() };
            let name = format!("member;range={from}-{end}");
            let values = (from..to.min(7)).map(|at| tlv(4, &[format!("CN={at}").as_bytes()]));
            let values = tlv(0x31, &[&values.collect::<Vec<_>>().concat()]);
            let list = tlv(0x30, &[&tlv(0x30, &[&tlv(4, &[name.as_bytes()]), &values])]);
            let entry = tlv(0x64, &[&tlv(4, &[b"CN=G"]), &list]);
            let done = tlv(0x65, &[&tlv(0x0a, &[&[0]]), &tlv(4, &[]), &tlv(4, &[])]);
            let answer = [tlv(0x30, &[&id, &entry]), tlv(0x30, &[&id, &done])].concat();
            stream.write_all(&answer).await.unwrap();
        }
    }

    async fn members(ends: bool) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(serve(listener, ends));
        let stream = ldap3::StdStream::Tcp(stream.into_std().unwrap());
        let settings = ldap3::LdapConnSettings::new().set_std_stream(stream);
        let connected = ldap3::LdapConnAsync::with_settings(settings, "ldap://localhost").await;
        let (driven, ldap) = connected.unwrap();
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(async move { driven.drive().await.unwrap_or_default() });
        let tally = crate::directory::tally::Tally::default();
        let mut connection = Connection::new(ldap, driver, "dc1".to_owned(), tally);
        let (mut out, mut tell) = (Vec::new(), |_: Progress| {});
        let mut export = Export {
            connection: &mut connection,
            out: &mut out,
            tell: &mut tell,
            entries: 0,
            bytes: 0,
        };
        let first = ["CN=0", "CN=1", "CN=2"].map(|text| text.as_bytes().to_vec());
        let entry = Entry::new("CN=G", [("member;range=0-2".to_owned(), first.to_vec())]);
        export.in_parts(&entry, "member").await
    }

    #[tokio::test]
    async fn members_in_parts_are_read_to_their_end() {
        let found = members(true).await.unwrap();
        let wanted: Vec<Vec<u8>> = (0..7).map(|at| format!("CN={at}").into_bytes()).collect();
        assert_eq!(found, wanted);
        // A list that never ends is an error, and no shorter list.
        let error = members(false).await.unwrap_err();
        assert!(matches!(error, SnapshotError::Directory(DirectoryError::Entry { .. })), "{error}");
    }
}
