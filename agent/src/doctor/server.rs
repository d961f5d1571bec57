//! One directory server, stage by stage: reach, protection, bind, what it says of itself, its clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::directory::connect::{Connector, Protected};
use crate::directory::error::{DirectoryError, Refusal};
use crate::directory::ldap::{Connection, Query};
use crate::directory::query::clock_skew;
use crate::doctor::{Finding, judge};
use crate::limits::DOCTOR_TIMEOUT;
use crate::settings::{Security, Server};

/// LDAP's code for a wrong name or secret.
const INVALID_CREDENTIALS: u32 = 49;
/// Naming contexts that are shown.
const CONTEXTS_SHOWN: usize = 3;

/// Looks at servers one after the other.
pub struct Servers<'a> {
    connector: &'a Connector,
    clock: &'a Clock,
    /// A server refused who the agent is; every further attempt could lock the account.
    refused: bool,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// So long from now.
pub fn deadline() -> Instant {
    Instant::now() + DOCTOR_TIMEOUT
}

fn since(begun: Instant) -> String {
    format!("{} ms", begun.elapsed().as_millis())
}

impl<'a> Servers<'a> {
    /// Nothing was looked at yet.
    pub fn new(connector: &'a Connector, clock: &'a Clock) -> Self {
        Self { connector, clock, refused: false, findings: Vec::new() }
    }

    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Looks at one server; gives the connection if it came that far.
    pub async fn look(&mut self, server: &Server) -> Option<Connection> {
        let protected = self.protected(server).await?;
        let mut connection = self.bound(server, protected).await?;
        if let Err(error) = connection.ask_root(deadline()).await {
            self.add(judge::failure("root", &error));
            return None;
        }
        let skew = self.skew(&connection);
        self.root(server, &mut connection).await?;
        self.add(judge::skew(&server.to_string(), skew));
        Some(connection)
    }

    async fn protected(&mut self, server: &Server) -> Option<Protected> {
        let begun = Instant::now();
        let dialled = match self.connector.dial(server, deadline()).await {
            Ok(dialled) => dialled,
            Err(error) => {
                self.add(judge::failure("reach", &error));
                return None;
            }
        };
        let address = dialled.address().map(|at| at.to_string()).unwrap_or_default();
        self.add(Finding::ok("reach", format!("{server}: {address} in {}", since(begun))));
        let mut protected = match self.connector.protect(dialled, deadline()).await {
            Ok(protected) => protected,
            Err(error) => {
                self.add(judge::failure("tls", &error));
                return None;
            }
        };
        if let Security::Tls { .. } = self.connector.settings().security {
            let shown = tokio::time::timeout_at(deadline(), protected.certificate()).await;
            let shown = shown.ok().flatten();
            let now = self.clock.unix();
            self.add(judge::certificate(&server.to_string(), shown.as_deref(), now));
        }
        Some(protected)
    }

    async fn bound(&mut self, server: &Server, protected: Protected) -> Option<Connection> {
        let who = self.connector.who();
        if self.refused {
            let found = format!("{server}: not tried as {who}, which another server refused");
            let mend = "mend that first; more attempts could lock the account";
            self.add(Finding::warn("bind", found, mend));
            return None;
        }
        let begun = Instant::now();
        match self.connector.bind(protected, deadline()).await {
            Ok(connection) => {
                let how = match self.connector.settings().security {
                    Security::Kerberos { .. } => "by a Kerberos ticket, sealed",
                    Security::Tls { .. } => "by its secret, over TLS",
                };
                let found = format!("{server}: as {who} {how}, in {}", since(begun));
                self.add(Finding::ok("bind", found));
                Some(connection)
            }
            Err(error) => {
                self.refused = is_refusal(&error);
                self.add(judge::failure("bind", &error));
                None
            }
        }
    }

    fn skew(&self, connection: &Connection) -> Option<Duration> {
        let time = connection.root().time.as_deref()?;
        clock_skew(time, self.clock.unix_ms())
    }

    /// What the server says of itself.
    async fn root(&mut self, server: &Server, connection: &mut Connection) -> Option<()> {
        let names = ["domainFunctionality", "isReadOnlyDomainController", "namingContexts"];
        let query = Query::entry("its own description", "", &names);
        let entry = match connection.search(&query, deadline()).await {
            Ok(found) => found.into_iter().next().unwrap_or_default(),
            Err(error) => {
                self.add(judge::failure("root", &error));
                return None;
            }
        };
        let root = connection.root();
        let kind = match entry.texts("domainFunctionality").next() {
            _ if !root.is_ad => "no Active Directory".to_owned(),
            Some(level) => format!("Active Directory, level {}", judge::functional_level(level)),
            None => "Active Directory".to_owned(),
        };
        let contexts: Vec<&str> = entry.texts("namingContexts").collect();
        let shown = contexts.iter().take(CONTEXTS_SHOWN).copied().collect::<Vec<_>>().join(", ");
        let more = contexts.len().saturating_sub(CONTEXTS_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let found = format!("{server}: {kind}, with {shown}{more}");
        self.add(match root.base.is_empty() {
            true => Finding::fail("root", found, "set directory.base"),
            false => Finding::ok("root", found),
        });
        Some(())
    }
}

/// Whether the account itself was refused, and not the way to the server.
fn is_refusal(error: &DirectoryError) -> bool {
    match error {
        DirectoryError::Bind { answer: Refusal { code, .. }, .. } => *code == INVALID_CREDENTIALS,
        DirectoryError::Kerberos { message, .. } => message.to_lowercase().contains("preauth"),
        _ => false,
    }
}
