//! The directory as it is now, or as it last was: asks when it helps, and never makes anybody wait
//! for a directory that is known to be away.
//!
//! While a domain is down ([`Way`]), every turn gets the cached answer at once. Only the turn that
//! finds out waits, and not longer than `limits::DIRECTORY_TIMEOUT`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeport_policy::facts::{Computer, Directory, Os, User};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::directory::account::{Account, Domain};
use crate::directory::cache::{CacheError, Dated, Memory, Store};
use crate::directory::connect::Connector;
use crate::directory::entry::{ComputerRecord, DomainName, UserRecord};
use crate::directory::error::DirectoryError;
use crate::directory::ldap::Connection;
use crate::directory::query::{Session, Wanted};
use crate::directory::way::Way;
use crate::limits::{
    DIRECTORY_CACHED_TIMEOUT, DIRECTORY_COMPUTER_FRESH, DIRECTORY_DOMAINS_MAX, DIRECTORY_TIMEOUT,
};
use crate::outcome::chain;

/// Names that the directory does not know, remembered so that a timer does not ask all the time.
const ABSENT_MAX: usize = 100;

/// What is seen of one user and this computer.
#[derive(Clone, Debug)]
pub struct View {
    /// The user; `None` if the directory has none, or nothing is known.
    pub user: Option<Arc<User>>,
    /// This computer.
    pub computer: Arc<Computer>,
    /// Whether the schema has `msDS-PrimaryComputer`.
    pub schema_has_primary_computer: bool,
    /// How far this can be trusted.
    pub directory: Directory,
}

/// A live directory and what is remembered of it.
#[derive(Debug)]
pub struct Live {
    computer: String,
    os: Os,
    site: Option<String>,
    clock: Clock,
    seed: u64,
    store: Store,
    memory: Memory,
    /// The way to this computer's own domain.
    home: Way,
    /// Those to other domains of the forest, by DNS name.
    others: BTreeMap<String, Way>,
    /// Names that the directory said it does not have.
    absent: BTreeMap<String, Dated<()>>,
    error: Option<DirectoryError>,
    cache_error: Option<CacheError>,
    server: Option<String>,
    answered_unix_ms: Option<i64>,
}

/// This computer, as facts name it.
#[derive(Clone, Debug)]
pub struct Host {
    /// NetBIOS name.
    pub name: String,
    /// Its operating system.
    pub os: Os,
    /// Active Directory site, where known.
    pub site: Option<String>,
}

/// Where the answers that one computer got from one domain are kept.
pub fn store(connector: &Connector, computer: &str, state_dir: &Path) -> Store {
    let base = connector.settings().base.as_deref().unwrap_or_default();
    let domain = connector.domain().unwrap_or_default();
    Store::new(state_dir, format!("{computer}\n{domain}\n{base}").to_lowercase())
}

impl Live {
    /// A directory that nobody has asked yet, with what is remembered in the state directory. A
    /// memory that cannot be believed is an error in the log, and the same as none.
    pub fn new(
        connector: Connector,
        host: Host,
        clock: Clock,
        state_dir: &Path,
        seed: u64,
    ) -> Self {
        let store = store(&connector, &host.name, state_dir);
        let (mut memory, cache_error) = match store.load() {
            Ok(memory) => (memory, None),
            Err(error) => (Memory::default(), Some(error)),
        };
        if let Some(error) = &cache_error {
            tracing::error!(error = chain(error), "The directory's last answers are not used.");
        }
        if memory.home.is_none() {
            memory.home = own_domain(&memory, connector.domain());
        }
        let Host { name, os, site } = host;
        Self {
            computer: name,
            os,
            site,
            clock,
            seed,
            store,
            memory,
            home: Way::new(Arc::new(connector), seed),
            others: BTreeMap::new(),
            absent: BTreeMap::new(),
            error: None,
            cache_error,
            server: None,
            answered_unix_ms: None,
        }
    }

    /// What makes connections; for whoever wants to ask something else.
    pub fn connector(&self) -> &Arc<Connector> {
        self.home.connector()
    }

    /// Why it is out of reach, if it is.
    pub fn error(&self) -> Option<&DirectoryError> {
        self.error.as_ref()
    }

    /// Why the cached answers were not believed, or are not kept.
    pub fn cache_error(&self) -> Option<&CacheError> {
        self.cache_error.as_ref()
    }

    /// The server that answered last.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// When it last answered, in milliseconds since 1970.
    pub fn answered_unix_ms(&self) -> Option<i64> {
        let computer = self.memory.computer.as_ref().map(|computer| computer.at_unix_ms);
        let users = self.memory.users.values().map(|user| user.at_unix_ms);
        self.answered_unix_ms.or_else(|| users.chain(computer).max())
    }

    /// The name under which everything about an account is kept ([`Memory::account_name`]), if the
    /// account is remembered.
    pub fn remembered_name(&self, name: &str) -> Option<String> {
        let account = Account::parse(name).ok()?;
        self.memory.user(&account).map(|user| self.memory.account_name(&user.value))
    }

    /// Everybody whom a remembered user is, as SIDs: the user first, then the groups that have a name.
    pub fn remembered_sids(&self, name: &str) -> Vec<String> {
        let account = Account::parse(name).ok();
        let Some(user) = account.and_then(|account| self.memory.user(&account)) else {
            return Vec::new();
        };
        let is_of = |name: &str| user.value.groups.iter().any(|group| group == name);
        let groups =
            self.memory.groups.iter().filter(|(_, name)| name.value.as_deref().is_some_and(is_of));
        user.value.sid.iter().cloned().chain(groups.map(|(sid, _)| sid.clone())).collect()
    }

    /// Asks about this computer and the forest in time, so that no sign-in has to.
    pub async fn keep_warm(&mut self) {
        let _ = self.refresh(None, DIRECTORY_COMPUTER_FRESH).await; // nobody waits for the view
    }

    /// Everything about a user and this computer that is not older than `max_age`, if the directory
    /// answers in time; else what is remembered, with its age.
    pub async fn refresh(&mut self, name: Option<&str>, max_age: Duration) -> View {
        let account = name.and_then(|name| match Account::parse(name) {
            Ok(account) => Some(account),
            Err(error) => {
                tracing::debug!(%error, "A name that nobody can have was not looked up.");
                None
            }
        });
        let account = account.as_ref();
        let now = self.clock.unix_ms();
        if self.home.down().is_some() {
            return self.view(account, false);
        }
        let age = self.age(account, now);
        let absent = account.and_then(|account| self.absent.get(&absent_key(account)));
        let absent = absent.is_some_and(|absent| absent.is_fresh(now, max_age));
        if absent || age.is_some_and(|age| age <= max_age) && self.error.is_none() {
            return self.view(account, true);
        }
        let limit = if age.is_some() { DIRECTORY_CACHED_TIMEOUT } else { DIRECTORY_TIMEOUT };
        let begun = Instant::now();
        match self.ask(account, begun + limit).await {
            Ok(()) => {
                self.note_answer(account);
                self.view(account, true)
            }
            Err(Failed::Home(error)) => {
                self.connector().note(&error);
                self.home.failed(&error);
                self.error = Some(error);
                self.view(account, false)
            }
            Err(Failed::Other(error)) => {
                self.note_answer(None); // the own domain did answer
                self.note_other(&error);
                self.view(account, error_is_answer(&error))
            }
        }
    }

    async fn ask(&mut self, account: Option<&Account>, deadline: Instant) -> Result<(), Failed> {
        if let Some(mut connection) = self.home.take() {
            match self.ask_over(&mut connection, account, deadline).await {
                // The server closed it meanwhile, as servers do; that says nothing about the server.
                Err(Failed::Home(DirectoryError::Broken { .. })) => {}
                done => return self.note_way(connection, done),
            }
        }
        let connector = Arc::clone(self.connector());
        let mut connection = Box::new(connector.connect(deadline).await.map_err(Failed::Home)?);
        let done = self.ask_over(&mut connection, account, deadline).await;
        self.note_way(connection, done)
    }

    /// A connection whose domain answered is used again.
    fn note_way(
        &mut self,
        connection: Box<Connection>,
        done: Result<(), Failed>,
    ) -> Result<(), Failed> {
        if !matches!(done, Err(Failed::Home(_))) {
            self.home.answered(connection);
        }
        done
    }

    async fn ask_over(
        &mut self,
        connection: &mut Connection,
        account: Option<&Account>,
        deadline: Instant,
    ) -> Result<(), Failed> {
        let (now, base) = (self.clock.unix_ms(), self.connector().settings().base.clone());
        let is_new = !connection.is_verified();
        let mut session =
            Session::new(connection, &mut self.memory, base.as_deref(), now, deadline);
        if is_new {
            session.check_identity(None).await.map_err(Failed::Home)?;
        }
        session.know_forest(account.is_some()).await.map_err(Failed::Home)?;
        let domains = self.memory.domains.as_ref().map_or(&[][..], |domains| &domains.value);
        let place = place(account, domains, &connection.root().base);
        let here = account.filter(|_| place == Place::Here);
        let wanted = Wanted { user: here, computer: Some(&self.computer) };
        let (memory, base) = (&mut self.memory, base.as_deref());
        let mut session = Session::new(connection, memory, base, now, deadline);
        session.look_up(wanted).await.map_err(|error| match error {
            // What is wrong with one account is nothing against the directory.
            DirectoryError::Entry { .. } => Failed::Other(error),
            error => Failed::Home(error),
        })?;
        self.server = Some(connection.server().to_owned());
        match (place, account) {
            (Place::Domain(domain), Some(account)) => {
                self.ask_other(&domain, account, deadline).await.map_err(Failed::Other)
            }
            (Place::Nowhere(domain), _) => {
                Err(Failed::Other(DirectoryError::NotInForest { domain }))
            }
            _ => Ok(()),
        }
    }

    /// Asks another domain of the forest about its user. One step and never further: its domain
    /// controllers are found by the name in our own forest's list, not by what a referral says.
    async fn ask_other(
        &mut self,
        domain: &DomainName,
        account: &Account,
        deadline: Instant,
    ) -> Result<(), DirectoryError> {
        let known = self.others.remove(&domain.dns);
        let mut way = known.unwrap_or_else(|| {
            Way::new(Arc::new(self.connector().for_domain(&domain.dns)), self.seed)
        });
        let done = match way.down() {
            Some((kind, why)) => {
                let (domain, why) = (domain.dns.clone(), why.to_owned());
                Err(DirectoryError::Resting { domain, kind, why })
            }
            None => self.go(&mut way, domain, account, deadline).await,
        };
        if self.others.len() >= DIRECTORY_DOMAINS_MAX {
            self.others.pop_first();
        }
        self.others.insert(domain.dns.clone(), way);
        done
    }

    /// Goes the way to another domain.
    async fn go(
        &mut self,
        way: &mut Way,
        domain: &DomainName,
        account: &Account,
        deadline: Instant,
    ) -> Result<(), DirectoryError> {
        let mut known = way.take();
        loop {
            let (connection, is_old) = match known.take() {
                Some(connection) => (Ok(connection), true),
                None => (way.connector().connect(deadline).await.map(Box::new), false),
            };
            let mut connection = connection.inspect_err(|error| way.failed(error))?;
            match self.look_up_in(&mut connection, domain, account, deadline).await {
                Err(DirectoryError::Broken { .. }) if is_old => {} // as for the own domain
                Err(error) if !matches!(error, DirectoryError::Entry { .. }) => {
                    way.failed(&error);
                    return Err(error);
                }
                done => {
                    way.answered(connection);
                    return done;
                }
            }
        }
    }

    async fn look_up_in(
        &mut self,
        connection: &mut Connection,
        domain: &DomainName,
        account: &Account,
        deadline: Instant,
    ) -> Result<(), DirectoryError> {
        if !connection.root().base.eq_ignore_ascii_case(&domain.dn) {
            return Err(DirectoryError::Stranger {
                server: connection.server().to_owned(),
                remembered: domain.dn.clone(),
                found: connection.root().base.clone(),
            });
        }
        let is_new = !connection.is_verified();
        let mut session =
            Session::new(connection, &mut self.memory, None, self.clock.unix_ms(), deadline);
        if is_new {
            session.check_identity(Some(&domain.dns)).await?;
        }
        session.look_up(Wanted { user: Some(account), computer: None }).await
    }

    /// Tells that something else than the own domain failed.
    fn note_other(&self, error: &DirectoryError) {
        if let DirectoryError::Resting { .. } = error {
            tracing::debug!(error = chain(error), "A user is not known.");
            return;
        }
        self.connector().note(error);
        tracing::warn!(error = chain(error), hint = error.hint(), "A user is not known.");
    }

    fn note_answer(&mut self, account: Option<&Account>) {
        let now = self.clock.unix_ms();
        self.answered_unix_ms = Some(now);
        if self.error.take().is_some() {
            tracing::info!(server = self.server, "The directory answers again.");
        }
        if let Some(account) = account {
            let key = absent_key(account);
            match self.memory.user(account) {
                Some(_) => drop(self.absent.remove(&key)),
                None => {
                    if self.absent.len() >= ABSENT_MAX {
                        self.absent.clear();
                    }
                    self.absent.insert(key, Dated::new((), now));
                }
            }
        }
        let kept = self.store.keep(&self.memory);
        if let Err(error) = &kept {
            tracing::error!(error = chain(error), "The directory's answer is not kept.");
        }
        self.cache_error = kept.err();
    }

    /// How old what is remembered is; `None` if nothing is.
    fn age(&self, account: Option<&Account>, now: i64) -> Option<Duration> {
        let computer = self.memory.computer.as_ref()?;
        self.memory.schema.as_ref()?;
        match account {
            // The older one counts: what reaches a user also depends on the computer's place.
            Some(account) => {
                let user = self.memory.user(account)?;
                Some(user.age(now).max(computer.age(now)))
            }
            None => Some(computer.age(now)),
        }
    }

    fn view(&self, account: Option<&Account>, answered: bool) -> View {
        let user = account.and_then(|account| self.memory.user(account));
        let now = self.clock.unix_ms();
        let directory = match self.age(account, now) {
            _ if answered => Directory::Answered,
            Some(age) => Directory::Cached { age },
            None => Directory::Away,
        };
        let unknown = ComputerRecord { name: self.computer.clone(), ..ComputerRecord::default() };
        let computer = self.memory.computer.as_ref().map_or(&unknown, |known| &known.value);
        let schema = self.memory.schema.as_ref();
        View {
            user: user.map(|user: &Dated<UserRecord>| Arc::new(user.value.facts())),
            computer: Arc::new(computer.facts(self.os, self.site.clone())),
            // Without an answer nobody's data goes where it may not: see `primary.rs`.
            schema_has_primary_computer: schema.is_none_or(|schema| schema.value),
            directory,
        }
    }
}

/// This computer's own domain, where an earlier version kept the forest's domains and not which of
/// them it is.
fn own_domain(memory: &Memory, named: Option<&str>) -> Option<String> {
    let domains = memory.domains.as_ref()?.value.iter();
    let own = domains.map(|domain| &domain.dns).find(|dns| Some(dns.as_str()) == named);
    own.cloned()
}

/// Whose connection failed.
enum Failed {
    /// The own domain's.
    Home(DirectoryError),
    /// Another one's; the own domain answered.
    Other(DirectoryError),
}

/// That a domain does not exist is an answer: nobody of it can be known here.
fn error_is_answer(error: &DirectoryError) -> bool {
    matches!(error, DirectoryError::NotInForest { .. })
}

fn absent_key(account: &Account) -> String {
    format!("{account:?}").to_lowercase()
}

/// In which domain an account has to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Here,
    Domain(DomainName),
    Nowhere(String),
}

fn place(account: Option<&Account>, domains: &[DomainName], base: &str) -> Place {
    let Some(named) = account.and_then(|account| account.domain.as_ref()) else {
        return Place::Here;
    };
    let found = domains.iter().find(|domain| match named {
        Domain::NetBios(name) => domain.netbios.eq_ignore_ascii_case(name),
        Domain::Suffix(name) => domain.dns.eq_ignore_ascii_case(name),
    });
    match (found, named) {
        (Some(domain), _) if domain.dn.eq_ignore_ascii_case(base) => Place::Here,
        (Some(domain), _) => Place::Domain(domain.clone()),
        // Without a list of domains there is only one. A suffix may be one that the forest allows
        // besides its domains' names; our own domain knows the people of it that it has.
        (None, Domain::NetBios(name)) if !domains.is_empty() => Place::Nowhere(name.clone()),
        (None, _) => Place::Here,
    }
}
