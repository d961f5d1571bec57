//! From settings to a bound connection: find servers, dial, protect, bind; the next one if one fails.
//!
//! Each stage is a function of its own, so that `doctor` can take them one by one and say which one
//! fails. There is no way from a failed protection to a weaker one.

use std::time::Duration;

use ldap3::{LdapConnAsync, LdapConnSettings, StdStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::directory::discover;
use crate::directory::error::{DirectoryError, Kind, Refusal};
use crate::directory::ldap::Connection;
use crate::directory::tally::Tally;
use crate::directory::{guard, kerberos, secret, tls};
use crate::settings::{LdapSettings, Security, Server, TlsStart};

/// LDAP's code for a wrong name or secret.
const INVALID_CREDENTIALS: u32 = 49;

/// Makes connections to one domain.
#[derive(Clone, Debug)]
pub struct Connector {
    settings: LdapSettings,
    /// DNS name of the domain whose servers are meant; absent where the settings name servers only.
    domain: Option<String>,
    site: Option<String>,
    /// Who the agent is, for Kerberos.
    principal: String,
    seed: u64,
    tally: Tally,
}

/// A connection that is dialled and not yet protected.
pub struct Dialled {
    server: Server,
    stream: TcpStream,
}

/// A connection that is protected and not yet bound.
pub struct Protected {
    ldap: ldap3::Ldap,
    driver: JoinSet<()>,
    host: String,
    name: String,
}

impl Dialled {
    /// The address that answered, where the system says it.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.stream.peer_addr().ok()
    }
}

impl Protected {
    /// The server's certificate (DER), if TLS protects the connection.
    pub async fn certificate(&mut self) -> Option<Vec<u8>> {
        self.ldap.get_peer_certificate().await.ok().flatten()
    }
}

impl Connector {
    /// What connects this computer to its domain. `host_domain` is the domain that the operating
    /// system names; it counts where the settings name none.
    pub fn new(
        settings: LdapSettings,
        computer: &str,
        host_domain: Option<String>,
        site: Option<String>,
        seed: u64,
        tally: Tally,
    ) -> Self {
        let named = |server: &Server| server.host.split_once('.').map(|(_, rest)| rest.to_owned());
        let is_name = |domain: &String| domain.contains(|c: char| c.is_ascii_alphabetic());
        let of_server = || settings.servers.first().and_then(named).filter(is_name);
        // A list of servers says where they are; the host's own domain may be another one.
        let domain = settings.domain.clone().or_else(of_server).or(host_domain);
        let principal = match &settings.security {
            Security::Kerberos { principal: Some(principal), .. } => principal.clone(),
            _ => {
                let realm = domain.clone().unwrap_or_default().to_uppercase();
                format!("{}$@{realm}", computer.to_uppercase())
            }
        };
        Self { settings, domain, site, principal, seed, tally }
    }

    /// The same for another domain of the forest: its servers are found by DNS.
    pub fn for_domain(&self, domain: &str) -> Self {
        let mut other = self.clone();
        other.settings.servers.clear();
        other.settings.base = None;
        other.domain = Some(domain.to_owned());
        other.site = None;
        other
    }

    /// DNS name of the domain, where known.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The site whose servers are tried first, where known.
    pub fn site(&self) -> Option<&str> {
        self.site.as_deref()
    }

    /// The settings it follows.
    pub fn settings(&self) -> &LdapSettings {
        &self.settings
    }

    /// What it counts with.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whom the agent binds as.
    pub fn who(&self) -> &str {
        match &self.settings.security {
            Security::Kerberos { .. } => &self.principal,
            Security::Tls { bind_dn, .. } => bind_dn,
        }
    }

    /// The servers in the order they are tried.
    ///
    /// # Errors
    /// [`DirectoryError::Discover`], [`DirectoryError::NoDomain`], [`DirectoryError::Timeout`].
    pub async fn servers(&self, deadline: Instant) -> Result<Vec<Server>, DirectoryError> {
        if !self.settings.servers.is_empty() {
            return Ok(self.settings.servers.clone());
        }
        let domain = self.domain.as_deref().ok_or(DirectoryError::NoDomain)?;
        let found = discover::servers(domain, self.site.as_deref(), self.seed);
        within(deadline, "DNS", "looking for domain controllers", found).await
    }

    /// Opens a connection to the first server that takes one.
    ///
    /// A server gets half of the time that is left, the last one all of it, so that one that hangs
    /// does not take the next one's chance.
    ///
    /// # Errors
    /// Why the last server did not take it. Wrong credentials end it at once: each further attempt
    /// would count towards locking the account.
    pub async fn connect(&self, deadline: Instant) -> Result<Connection, DirectoryError> {
        let servers = self.servers(deadline).await?;
        let mut last = DirectoryError::NoDomain;
        for (at, server) in servers.iter().enumerate() {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            let share = if at + 1 == servers.len() { left } else { left / 2 };
            let error = match self.open(server, now + share).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let code = match &error {
                DirectoryError::Bind { answer, .. } => answer.code,
                _ => 0,
            };
            if code == INVALID_CREDENTIALS {
                return Err(error);
            }
            if at + 1 < servers.len() {
                self.tally.error(error.kind());
                let why = crate::outcome::chain(&error);
                tracing::warn!(%server, error = why, "Trying the next domain controller.");
            }
            last = error;
        }
        Err(last)
    }

    /// Opens a connection to one server: dial, protect, bind, and ask who it is.
    ///
    /// # Errors
    /// [`DirectoryError`], naming the stage.
    pub async fn open(
        &self,
        server: &Server,
        deadline: Instant,
    ) -> Result<Connection, DirectoryError> {
        let dialled = self.dial(server, deadline).await?;
        let protected = self.protect(dialled, deadline).await?;
        let mut connection = self.bind(protected, deadline).await?;
        connection.ask_root(deadline).await?;
        self.tally.connected();
        Ok(connection)
    }

    /// Dials.
    ///
    /// # Errors
    /// [`DirectoryError::Connect`], [`DirectoryError::Timeout`].
    pub async fn dial(
        &self,
        server: &Server,
        deadline: Instant,
    ) -> Result<Dialled, DirectoryError> {
        let port = server.port.unwrap_or_else(|| self.settings.security.port());
        let name = server.to_string();
        let connect = TcpStream::connect((server.host.as_str(), port));
        let failed = |source| DirectoryError::Connect { server: name.clone(), source };
        let connect = async { connect.await.map_err(failed) };
        let stream = within(deadline, &name, "connecting", connect).await?;
        let _ = stream.set_nodelay(true); // slower without it, and no worse
        Ok(Dialled { server: server.clone(), stream })
    }

    /// Begins TLS, if that is what protects the connection.
    ///
    /// # Errors
    /// [`DirectoryError::Tls`], [`DirectoryError::Authorities`], [`DirectoryError::Timeout`].
    pub async fn protect(
        &self,
        dialled: Dialled,
        deadline: Instant,
    ) -> Result<Protected, DirectoryError> {
        let Dialled { server, stream } = dialled;
        let name = server.to_string();
        let failed = |source| DirectoryError::Connect { server: name.clone(), source };
        let mut driver = JoinSet::new();
        let mut scheme = "ldap";
        let stream = match &self.settings.security {
            Security::Kerberos { .. } => {
                scheme = "ldapi"; // the library's word for a socket that is not of the network
                let (stream, watch) = guard::between(stream, name.clone()).map_err(failed)?;
                driver.spawn(watch);
                StdStream::Unix(stream)
            }
            Security::Tls { .. } => StdStream::Tcp(stream.into_std().map_err(failed)?),
        };
        let mut settings = LdapConnSettings::new().set_std_stream(stream);
        if let Security::Tls { start, .. } = &self.settings.security {
            let config = tls::config(self.settings.ca_file.as_deref())?;
            settings = settings.set_config(config);
            match start {
                TlsStart::Ldaps => scheme = "ldaps",
                TlsStart::StartTls => settings = settings.set_starttls(true),
            }
        }
        let url = format!("{scheme}://{}", server.host);
        let begin = async {
            let begun = LdapConnAsync::with_settings(settings, &url).await;
            begun.map_err(|source| {
                let problem = tls::problem(&source);
                let source = Box::new(source);
                DirectoryError::Tls { server: name.clone(), problem, source }
            })
        };
        let (driven, ldap) = within(deadline, &name, "beginning TLS", begin).await?;
        driver.spawn(async move {
            if let Err(error) = driven.drive().await {
                tracing::debug!(%error, "The directory's connection ended.");
            }
        });
        Ok(Protected { ldap, driver, host: server.host, name })
    }

    /// What comes after `ldap/` in the name of a server's service. Whoever answers for DNS may name any
    /// computer of the domain, and each has a key for `ldap/host`; only the domain's controllers may
    /// have a name with the domain in it. A server that the settings name is meant itself.
    fn service(&self, host: &str) -> String {
        match self.domain.as_deref().filter(|_| self.settings.servers.is_empty()) {
            Some(domain) => format!("{host}/{}", domain.trim_end_matches('.').to_lowercase()),
            None => host.to_owned(),
        }
    }

    /// Says who the agent is.
    ///
    /// # Errors
    /// [`DirectoryError::Bind`], [`DirectoryError::Kerberos`], [`DirectoryError::Secret`],
    /// [`DirectoryError::Keytab`], [`DirectoryError::Timeout`].
    pub async fn bind(
        &self,
        protected: Protected,
        deadline: Instant,
    ) -> Result<Connection, DirectoryError> {
        let Protected { mut ldap, driver, host, name } = protected;
        match &self.settings.security {
            Security::Kerberos { keytab, .. } => {
                kerberos::check_keytab(keytab)?;
                let (server, principal) = (name.clone(), self.principal.clone());
                let peer = kerberos::Peer { server, service: self.service(&host), principal };
                let bound = kerberos::bind(ldap.clone(), &peer);
                within(deadline, &name, "getting a ticket and binding with it", bound).await?;
            }
            Security::Tls { bind_dn, secret: source, .. } => {
                let secret = secret::read(source)?;
                let bound = async {
                    let answer = ldap.simple_bind(bind_dn, secret.expose()).await;
                    answer.map_err(|source| DirectoryError::Broken {
                        server: name.clone(),
                        what: "the bind",
                        source: Box::new(source),
                    })
                };
                let answer = within(deadline, &name, "binding", bound).await?;
                if answer.rc != 0 {
                    let answer = Refusal { code: answer.rc, text: answer.text };
                    let (server, who) = (name, bind_dn.clone());
                    return Err(DirectoryError::Bind { server, who, answer });
                }
            }
        }
        Ok(Connection::new(ldap, driver, name, self.tally.clone()))
    }

    /// Counts a failure and says so once.
    pub fn note(&self, error: &DirectoryError) -> Kind {
        let kind = error.kind();
        self.tally.error(kind);
        kind
    }
}

/// Waits for an answer until the deadline.
async fn within<T>(
    deadline: Instant,
    server: &str,
    doing: &'static str,
    answer: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<T, DirectoryError> {
    let begun = Instant::now();
    let after: Duration = deadline.saturating_duration_since(begun);
    match timeout_at(deadline, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(DirectoryError::Timeout { server: server.to_owned(), doing, after }),
    }
}
