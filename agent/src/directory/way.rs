//! The way to one domain: connected, or down with attempts in the background that nobody waits for.
//!
//! ```text
//! idle ──asked──► up ──failed──► down ──an attempt in the background connects──► up
//! ```
//! Failures are counted until the domain has answered a question, not until it took a connection: one
//! that takes connections and then fails is paused longer and longer as well.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::directory::backoff::pause;
use crate::directory::connect::Connector;
use crate::directory::error::{DirectoryError, Kind};
use crate::directory::ldap::Connection;
use crate::limits::{DIRECTORY_PROBE_TIMEOUT, DIRECTORY_RETRY_TIMEOUT};
use crate::outcome::chain;

/// The way to the controllers of one domain.
#[derive(Debug)]
pub struct Way {
    connector: Arc<Connector>,
    /// Spreads a fleet's attempts over time.
    seed: u64,
    link: Link,
    /// In a row, since the domain answered a question.
    failures: u32,
    /// Why it is down, in words.
    why: Option<(Kind, String)>,
}

#[derive(Debug, Default)]
enum Link {
    #[default]
    Idle,
    Up(Box<Connection>),
    /// The attempts in the background; their task ends with a connection, and with how many failures
    /// there were until then.
    Down(JoinSet<(Connection, u32)>),
}

impl Way {
    /// A way that nobody has gone yet.
    pub fn new(connector: Arc<Connector>, seed: u64) -> Self {
        Self { connector, seed, link: Link::Idle, failures: 0, why: None }
    }

    /// What makes its connections.
    pub fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// Failures in a row, since the domain answered a question.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether nobody is to ask now; what and why it failed. Takes a connection that an attempt in the
    /// background made.
    pub fn down(&mut self) -> Option<(Kind, &str)> {
        let Link::Down(attempts) = &mut self.link else { return None };
        match attempts.try_join_next() {
            Some(Ok((connection, failures))) => {
                self.failures = failures;
                self.link = Link::Up(Box::new(connection));
                return None;
            }
            Some(Err(_)) => self.try_again(), // the attempt failed beyond errors; anew
            None if attempts.is_empty() => self.try_again(),
            None => {}
        }
        Some(self.why.as_ref().map_or((Kind::Connect, ""), |(kind, why)| (*kind, why)))
    }

    /// The connection, taken out while it is in use: whoever cuts that short loses the connection, not
    /// its state.
    pub fn take(&mut self) -> Option<Box<Connection>> {
        let Link::Up(_) = &self.link else { return None };
        match std::mem::take(&mut self.link) {
            Link::Up(mut connection) => (!connection.is_closed()).then_some(connection),
            _ => None,
        }
    }

    /// The domain answered over this connection.
    pub fn answered(&mut self, connection: Box<Connection>) {
        (self.failures, self.why) = (0, None);
        self.link = Link::Up(connection);
    }

    /// The domain failed: attempts begin in the background, after a pause.
    pub fn failed(&mut self, error: &DirectoryError) {
        self.why = Some((error.kind(), chain(error)));
        self.try_again();
    }

    fn try_again(&mut self) {
        let mut attempts = JoinSet::new();
        attempts.spawn(attempt(Arc::clone(&self.connector), self.seed, self.failures));
        self.failures = self.failures.saturating_add(1);
        self.link = Link::Down(attempts);
    }
}

/// Tries again until there is a connection. Nobody waits for it.
async fn attempt(connector: Arc<Connector>, seed: u64, mut failures: u32) -> (Connection, u32) {
    loop {
        sleep(pause(failures, seed)).await;
        failures = failures.saturating_add(1);
        let deadline = Instant::now() + DIRECTORY_RETRY_TIMEOUT;
        match timeout_at(deadline + Duration::from_secs(1), connector.connect(deadline)).await {
            Ok(Ok(mut connection)) => {
                // One that answers slower than anybody waits would make the next turn wait for nothing.
                match connection.ask_root(Instant::now() + DIRECTORY_PROBE_TIMEOUT).await {
                    Ok(()) => return (connection, failures),
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
