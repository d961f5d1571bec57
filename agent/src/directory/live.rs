//! The directory as it is now, or as it last was: asks when it helps, and never makes anybody wait
//! for a directory that is known to be away.
//!
//! ```text
//! idle ──ask──► up ──error──► down ──an attempt in the background connects──► up
//! ```
//! While it is down, every turn gets the cached answer at once. Only the turn that finds out waits,
//! and not longer than `limits::DIRECTORY_TIMEOUT`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeport_policy::facts::{Computer, Directory, Os, User};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::clock::Clock;
use crate::directory::account::{Account, Domain};
use crate::directory::backoff::pause;
use crate::directory::cache::{CacheError, Dated, Memory, Store};
use crate::directory::connect::Connector;
use crate::directory::entry::{ComputerRecord, DomainName, UserRecord};
use crate::directory::error::DirectoryError;
use crate::directory::ldap::Connection;
use crate::directory::query::{Session, Wanted};
use crate::limits::{
    DIRECTORY_CACHED_TIMEOUT, DIRECTORY_COMPUTER_FRESH, DIRECTORY_DOMAINS_MAX,
    DIRECTORY_PROBE_TIMEOUT, DIRECTORY_RETRY_TIMEOUT, DIRECTORY_TIMEOUT,
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

#[derive(Debug, Default)]
enum Link {
    #[default]
    Idle,
    Up(Box<Connection>),
    /// The attempts in the background; their task ends with a connection.
    Down(JoinSet<Connection>),
}

/// A live directory and what is remembered of it.
#[derive(Debug)]
pub struct Live {
    connector: Arc<Connector>,
    computer: String,
    os: Os,
    site: Option<String>,
    clock: Clock,
    seed: u64,
    store: Store,
    memory: Memory,
    link: Link,
    /// Connections to other domains of the forest, by DNS name.
    others: BTreeMap<String, Connection>,
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
        let (memory, cache_error) = match store.load() {
            Ok(memory) => (memory, None),
            Err(error) => (Memory::default(), Some(error)),
        };
        if let Some(error) = &cache_error {
            tracing::error!(error = chain(error), "The directory's last answers are not used.");
        }
        let Host { name, os, site } = host;
        Self {
            connector: Arc::new(connector),
            computer: name,
            os,
            site,
            clock,
            seed,
            store,
            memory,
            link: Link::Idle,
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
        &self.connector
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

    /// The account's own spelling of a name, if it is remembered.
    pub fn remembered_name(&self, name: &str) -> Option<&str> {
        let account = Account::parse(name).ok()?;
        self.memory.user(&account).map(|user| user.value.name.as_str())
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
        self.adopt();
        let now = self.clock.unix_ms();
        if matches!(self.link, Link::Down(_)) {
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
                self.note_failure(error);
                self.view(account, false)
            }
            Err(Failed::Other(error)) => {
                self.connector.note(&error);
                tracing::warn!(error = chain(&error), hint = error.hint(), "A user is not known.");
                self.view(account, error_is_answer(&error))
            }
        }
    }

    /// Takes a connection that an attempt in the background made.
    fn adopt(&mut self) {
        let Link::Down(attempts) = &mut self.link else { return };
        match attempts.try_join_next() {
            Some(Ok(connection)) => self.link = Link::Up(Box::new(connection)),
            Some(Err(_)) => self.link = Link::Idle, // the attempt failed beyond errors; anew
            None if attempts.is_empty() => self.link = Link::Idle,
            None => {}
        }
    }

    async fn ask(&mut self, account: Option<&Account>, deadline: Instant) -> Result<(), Failed> {
        // Taken out while it is in use: whoever cuts this short loses the connection, not its state.
        let link = std::mem::take(&mut self.link);
        if let Link::Up(mut connection) = link
            && !connection.is_closed()
        {
            match self.ask_over(&mut connection, account, deadline).await {
                // The server closed it meanwhile, as servers do; that says nothing about the server.
                Err(Failed::Home(DirectoryError::Broken { .. })) => {}
                done => {
                    let is_good = !matches!(done, Err(Failed::Home(_)));
                    self.link = if is_good { Link::Up(connection) } else { Link::Idle };
                    return done;
                }
            }
        }
        let connector = Arc::clone(&self.connector);
        let mut connection = connector.connect(deadline).await.map_err(Failed::Home)?;
        self.ask_over(&mut connection, account, deadline).await?;
        self.link = Link::Up(Box::new(connection));
        Ok(())
    }

    async fn ask_over(
        &mut self,
        connection: &mut Connection,
        account: Option<&Account>,
        deadline: Instant,
    ) -> Result<(), Failed> {
        let (now, base) = (self.clock.unix_ms(), self.connector.settings().base.clone());
        let is_new = !connection.is_verified();
        let mut session =
            Session::new(connection, &mut self.memory, base.as_deref(), now, deadline);
        if is_new {
            session.check_identity().await.map_err(Failed::Home)?;
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
        let known = self.others.remove(&domain.dns).and_then(|mut connection| {
            if connection.is_closed() { None } else { Some(connection) }
        });
        let mut connection = match known {
            Some(connection) => connection,
            None => self.connector.for_domain(&domain.dns).connect(deadline).await?,
        };
        if !connection.root().base.eq_ignore_ascii_case(&domain.dn) {
            return Err(DirectoryError::Stranger {
                server: connection.server().to_owned(),
                remembered: domain.dn.clone(),
                found: connection.root().base.clone(),
            });
        }
        let now = self.clock.unix_ms();
        let mut session = Session::new(&mut connection, &mut self.memory, None, now, deadline);
        session.look_up(Wanted { user: Some(account), computer: None }).await?;
        if self.others.len() < DIRECTORY_DOMAINS_MAX {
            self.others.insert(domain.dns.clone(), connection);
        }
        Ok(())
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

    fn note_failure(&mut self, error: DirectoryError) {
        self.connector.note(&error);
        self.error = Some(error);
        let mut attempts = JoinSet::new();
        attempts.spawn(attempt(Arc::clone(&self.connector), self.seed));
        self.link = Link::Down(attempts);
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

/// Tries again until there is a connection. Nobody waits for it.
async fn attempt(connector: Arc<Connector>, seed: u64) -> Connection {
    let mut failures = 0_u32;
    loop {
        sleep(pause(failures, seed)).await;
        failures = failures.saturating_add(1);
        let deadline = Instant::now() + DIRECTORY_RETRY_TIMEOUT;
        match timeout_at(deadline + Duration::from_secs(1), connector.connect(deadline)).await {
            Ok(Ok(mut connection)) => {
                // One that answers slower than anybody waits would make the next turn wait for nothing.
                match connection.ask_root(Instant::now() + DIRECTORY_PROBE_TIMEOUT).await {
                    Ok(()) => return connection,
                    Err(error) => tracing::debug!(error = chain(&error), "Directory is too slow."),
                }
            }
            Ok(Err(error)) => {
                connector.note(&error);
                tracing::debug!(error = chain(&error), failures, "Directory is still away.");
            }
            Err(_) => tracing::debug!(failures, "Directory is still away."),
        }
    }
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
