//! Why the directory did not answer: what was attempted, on which server, and how to mend it.

use std::path::PathBuf;
use std::time::Duration;

use ldap3::LdapError;

use crate::directory::discover::DnsError;
use crate::directory::entry::EntryError;

/// A directory did not answer, or not in a way that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody said which domain.
    #[error("it is not known which domain this computer is in")]
    NoDomain,
    /// DNS named no domain controller.
    #[error("cannot find a domain controller: DNS {} {query}", doing(.source.is_some()))]
    Discover {
        /// What was asked.
        query: String,
        /// Why; absent when DNS answered that there is none.
        source: Option<Box<DnsError>>,
    },
    /// The domain is none of the forest.
    #[error("{domain} is no domain of this forest")]
    NotInForest {
        /// As it was written.
        domain: String,
    },
    /// No connection.
    #[error("cannot connect to {server}")]
    Connect {
        /// Which server.
        server: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection is not safe, or is no TLS.
    #[error("cannot trust {server}")]
    Tls {
        /// Which server.
        server: String,
        /// What is wrong.
        problem: TlsProblem,
        /// Why.
        source: Box<LdapError>,
    },
    /// No certificate authority to trust.
    #[error("cannot use the certificate authorities of {from}")]
    Authorities {
        /// A file, or the system.
        from: String,
        /// Why.
        source: std::io::Error,
    },
    /// The secret cannot be used.
    #[error("cannot use the secret in {path}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SecretError,
    },
    /// The keytab cannot be read.
    #[error("cannot read the keytab {path}")]
    Keytab {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server did not accept who the agent is.
    #[error("{server} does not accept {who}: {answer}")]
    Bind {
        /// Which server.
        server: String,
        /// The name or principal.
        who: String,
        /// What the server said.
        answer: Refusal,
    },
    /// Kerberos gave no ticket.
    #[error("Kerberos gives {who} no ticket for {service}: {message}")]
    Kerberos {
        /// Which service of the server: `ldap/host`, or `ldap/host/domain`.
        service: String,
        /// The principal.
        who: String,
        /// What the library said.
        message: String,
    },
    /// The last attempt has not come back yet.
    #[error("Kerberos still has not answered the last attempt for {server}")]
    KerberosBusy {
        /// Which server.
        server: String,
    },
    /// Another domain failed a moment ago, and is tried again in the background.
    #[error("{domain} is out of reach, and is tried again by itself; the last time: {why}")]
    Resting {
        /// DNS name of the domain.
        domain: String,
        /// What went wrong.
        kind: Kind,
        /// The same in words.
        why: String,
    },
    /// The connection broke.
    #[error("{server} broke off while it was asked for {what}")]
    Broken {
        /// Which server.
        server: String,
        /// What was asked.
        what: &'static str,
        /// Why.
        source: Box<LdapError>,
    },
    /// The server refused to answer.
    #[error("{server} did not answer for {what}: {answer}")]
    Refused {
        /// Which server.
        server: String,
        /// What was asked.
        what: &'static str,
        /// What it said.
        answer: Refusal,
    },
    /// An answer that is none.
    #[error("{server} answered for {what} with something that is no LDAP")]
    Garbled {
        /// Which server.
        server: String,
        /// What was asked.
        what: &'static str,
    },
    /// More than there can be.
    #[error("{server} has more than {limit} entries for {what}")]
    TooMany {
        /// Which server.
        server: String,
        /// What was asked.
        what: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// No answer in time.
    #[error("{server} did not answer within {} ms ({doing})", .after.as_millis())]
    Timeout {
        /// Which server, or what else was asked.
        server: String,
        /// What was being done.
        doing: &'static str,
        /// The time it had.
        after: Duration,
    },
    /// Another domain under the same name.
    #[error("{server} is not the domain it was: it says {found}, and was {remembered}")]
    Stranger {
        /// Which server.
        server: String,
        /// Identity of the domain that answered before.
        remembered: String,
        /// Identity of the one that answers now.
        found: String,
    },
    /// An entry that cannot be used.
    #[error("the entry {dn} on {server} cannot be used")]
    Entry {
        /// Which server.
        server: String,
        /// Which entry.
        dn: String,
        /// Why.
        source: EntryError,
    },
}

fn doing(failed: bool) -> &'static str {
    if failed { "did not answer for" } else { "has no entry" }
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// Signed by nobody we know.
    UnknownAuthority,
    /// For another server.
    WrongName,
    /// Not yet or no longer valid; or the clock is wrong.
    Time,
    /// Revoked, malformed, or no TLS at all.
    Other,
}

/// Why a secret is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    /// Others can read it.
    #[error("its mode {mode:o} lets others read it")]
    Open {
        /// The permission bits.
        mode: u32,
    },
    /// Neither the agent's nor root's.
    #[error("it belongs to account {owner}")]
    Owner {
        /// Whose it is.
        owner: u32,
    },
    /// Without a secret a bind is anonymous and succeeds (RFC 4513 5.1.2).
    #[error("it is empty")]
    Empty,
    /// No text.
    #[error("it is no text, or longer than 4 KiB")]
    NoText,
    /// systemd handed over no credentials.
    #[error("systemd handed over no credentials ($CREDENTIALS_DIRECTORY is not set)")]
    NoCredentials,
}

/// A result code and the server's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({code}){}", code_name(*.code), words(.text))]
pub struct Refusal {
    /// RFC 4511 4.1.9.
    pub code: u32,
    /// The diagnostic message.
    pub text: String,
}

/// Most of a server's words that are repeated.
const WORDS_MAX: usize = 200;

fn words(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

fn code_name(code: u32) -> &'static str {
    match code {
        1 => "operationsError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        12 => "unavailableCriticalExtension",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "result",
    }
}

/// What went wrong, in one word; a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the word of the label")]
pub enum Kind {
    Discovery,
    Connect,
    Tls,
    Secret,
    Bind,
    Kerberos,
    Timeout,
    Search,
    Identity,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Discovery,
        Self::Connect,
        Self::Tls,
        Self::Secret,
        Self::Bind,
        Self::Kerberos,
        Self::Timeout,
        Self::Search,
        Self::Identity,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Secret => "secret",
            Self::Bind => "bind",
            Self::Kerberos => "kerberos",
            Self::Timeout => "timeout",
            Self::Search => "search",
            Self::Identity => "identity",
        }
    }
}

impl DirectoryError {
    /// What went wrong, in one word.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoDomain | Self::Discover { .. } | Self::NotInForest { .. } => Kind::Discovery,
            Self::Connect { .. } => Kind::Connect,
            Self::Tls { .. } | Self::Authorities { .. } => Kind::Tls,
            Self::Secret { .. } | Self::Keytab { .. } => Kind::Secret,
            Self::Bind { .. } => Kind::Bind,
            Self::Kerberos { .. } | Self::KerberosBusy { .. } => Kind::Kerberos,
            Self::Timeout { .. } => Kind::Timeout,
            Self::Resting { kind, .. } => *kind,
            Self::Broken { .. }
            | Self::Refused { .. }
            | Self::Garbled { .. }
            | Self::TooMany { .. }
            | Self::Entry { .. } => Kind::Search,
            Self::Stranger { .. } => Kind::Identity,
        }
    }

    /// How to mend it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoDomain => "set directory.domain or directory.servers",
            Self::Discover { source: Some(_), .. } => "check the DNS servers of this computer",
            Self::Discover { source: None, .. } => {
                "check directory.domain, or name directory.servers"
            }
            Self::NotInForest { .. } => "write the name with a domain of this forest, or without",
            Self::Connect { .. } => "check that the server runs and that no firewall is between",
            Self::Tls { problem, .. } => match problem {
                TlsProblem::UnknownAuthority => "set directory.ca-file to the CA's certificate",
                TlsProblem::WrongName => {
                    "use a name of the certificate's subjectAltName in directory.servers"
                }
                TlsProblem::Time => "check the clocks, or renew the server's certificate",
                TlsProblem::Other => "check that the server has a certificate and speaks TLS there",
            },
            Self::Authorities { .. } => "directory.ca-file must hold certificates as PEM",
            Self::Secret { source, .. } => match source {
                SecretError::Open { .. } => "chmod 600 the file, and change the secret",
                SecretError::Owner { .. } => "chown the file to the agent's account or root",
                SecretError::NoCredentials => "add LoadCredential= to the service, or secret-file",
                _ => "write the secret into the file as one line",
            },
            Self::Keytab { .. } => "join the domain, or set directory.keytab",
            Self::Bind { answer: Refusal { code: 8 | 13, .. }, .. } => {
                "the server wants another protection; try another directory.security"
            }
            Self::Bind { .. } => "check the name and its secret, and that it is not locked",
            Self::Kerberos { message, service, .. } => kerberos_hint(message, service),
            Self::KerberosBusy { .. } => {
                "check that the domain's Kerberos servers answer (port 88)"
            }
            Self::Resting { .. } => "check that the domain's controllers run and are in DNS",
            Self::Broken { .. } | Self::Timeout { .. } => "it is tried again by itself",
            Self::Garbled { .. } => "check that this server is an LDAP server",
            Self::Refused { answer: Refusal { code: 50, .. }, .. } => {
                "give the agent's account the right to read this"
            }
            Self::Refused { answer: Refusal { code: 10 | 32, .. }, .. } => "check directory.base",
            Self::Refused { answer: Refusal { code: 3 | 4 | 11, .. }, .. } => {
                "raise the server's limits for the agent's account"
            }
            Self::Refused { .. } => "see the server's log",
            Self::TooMany { .. } | Self::Entry { .. } => "mend the entries in the directory",
            Self::Stranger { .. } => {
                "if the domain was set up anew, remove directory.json from the state directory"
            }
        }
    }
}

/// MIT Kerberos says it in words only.
fn kerberos_hint(message: &str, service: &str) -> &'static str {
    let message = message.to_lowercase();
    let has = |part: &str| message.contains(part);
    match () {
        () if has("skew") => "set this computer's clock by the domain's",
        // Only domain controllers may have such a name; what has none is not trusted to be one.
        () if has("not found in kerberos database")
            && has("server")
            && service.matches('/').count() > 1 =>
        {
            "add this servicePrincipalName to the domain controller, or name directory.servers"
        }
        () if has("not found in kerberos database") && has("server") => {
            "use the server's full DNS name in directory.servers"
        }
        () if has("not found in kerberos database") => "check directory.principal; join the domain",
        () if has("preauthentication") || has("integrity") => "the keytab is old; join again",
        // Before what mentions credentials: the library says that they are missing as well.
        () if has("cannot contact") || has("cannot find kdc") => "check DNS and port 88",
        () if has("expired") => "the account or its ticket expired; see the domain",
        () if has("keytab") || has("credentials") => "check directory.keytab and its principal",
        () => "try `kinit -k` with the same keytab",
    }
}
