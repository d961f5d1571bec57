//! `[directory]`: where users, groups and computers are looked up, and how securely.
//!
//! What is written is checked once, as a whole, and becomes values that cannot contradict each other:
//! a secret never goes over an unencrypted connection, because that cannot be expressed.

use std::path::PathBuf;

use serde::Deserialize;

/// Longest DNS name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;
/// Servers that are tried one after the other; a longer list would outlast every deadline.
const SERVERS_MAX: usize = 16;

/// Where users, groups and computers are looked up.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub enum DirectorySettings {
    /// An LDIF export.
    File {
        /// The export.
        path: PathBuf,
    },
    /// A domain controller or another LDAP server.
    Ldap(Box<LdapSettings>),
}

impl DirectorySettings {
    /// Every file that it names.
    pub fn files(&mut self) -> Vec<&mut PathBuf> {
        let ldap = match self {
            Self::File { path } => return vec![path],
            Self::Ldap(ldap) => ldap,
        };
        let of_security = match &mut ldap.security {
            Security::Kerberos { keytab, .. } => Some(keytab),
            Security::Tls { secret: SecretSource::File(path), .. } => Some(path),
            Security::Tls { .. } => None,
        };
        ldap.ca_file.iter_mut().chain(of_security).collect()
    }
}

/// How a live directory is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct LdapSettings {
    /// DNS name of the domain; absent = the one this computer is in.
    pub domain: Option<String>,
    /// Servers in the order they are tried; empty = found by DNS.
    pub servers: Vec<Server>,
    /// How the connection is protected and the agent proves who it is.
    pub security: Security,
    /// More certificate authorities than those of the system, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Where accounts are searched; absent = the whole domain.
    pub base: Option<String>,
}

/// A server by name; certificates and tickets are checked against this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// DNS name or IPv4 address.
    pub host: String,
    /// Absent = the usual one for the kind of protection.
    pub port: Option<u16>,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// How the connection is protected and the agent proves who it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Security {
    /// Kerberos, with everything sealed by it; no certificate is needed.
    Kerberos {
        /// The key of the computer account.
        keytab: PathBuf,
        /// Absent = `COMPUTER$@REALM`.
        principal: Option<String>,
    },
    /// TLS, and a name with a secret inside of it.
    Tls {
        /// On a port of its own, or begun on the usual one.
        start: TlsStart,
        /// The name.
        bind_dn: String,
        /// Where the secret is.
        secret: SecretSource,
    },
}

impl Security {
    /// The word in `agent.toml`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kerberos { .. } => "kerberos",
            Self::Tls { start: TlsStart::Ldaps, .. } => "ldaps",
            Self::Tls { start: TlsStart::StartTls, .. } => "starttls",
        }
    }

    /// The usual port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Tls { start: TlsStart::Ldaps, .. } => 636,
            _ => 389,
        }
    }
}

/// Where TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsStart {
    /// With the connection (636).
    Ldaps,
    /// By an extended operation (389).
    StartTls,
}

/// Where a secret is; never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that nobody but its owner can read.
    File(PathBuf),
    /// A credential that systemd hands to the service, by name.
    Credential(String),
}

/// What may stand in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    kind: Option<Kind>,
    path: Option<PathBuf>,
    domain: Option<String>,
    servers: Option<Vec<String>>,
    security: Option<SecurityWord>,
    ca_file: Option<PathBuf>,
    keytab: Option<PathBuf>,
    principal: Option<String>,
    bind_dn: Option<String>,
    secret_file: Option<PathBuf>,
    secret_credential: Option<String>,
    base: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    File,
    Ldap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SecurityWord {
    #[default]
    Kerberos,
    Ldaps,
    StartTls,
}

/// Why `[directory]` cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectorySettingsError {
    /// `kind` is missing.
    #[error("[directory] needs `kind`: \"file\" (an LDIF export) or \"ldap\" (a domain)")]
    NoKind,
    /// A key that the others need.
    #[error("[directory] with {with} needs `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
        /// What needs it.
        with: &'static str,
    },
    /// A key that the others leave no meaning.
    #[error("[directory] with {with} has no use for `{key}`")]
    Useless {
        /// The key.
        key: &'static str,
        /// What makes it useless.
        with: &'static str,
    },
    /// No host name.
    #[error("{0:?} is no server name; like \"dc1.corp.test\" or \"dc1.corp.test:636\"")]
    Server(String),
    /// No domain name.
    #[error("{0:?} is no DNS domain name; like \"corp.test\"")]
    Domain(String),
    /// More servers than are ever tried.
    #[error("[directory] names more than {SERVERS_MAX} servers")]
    Servers,
    /// Not a credential's name.
    #[error("{0:?} is no name of a systemd credential")]
    Credential(String),
    /// The program was built without Kerberos.
    #[error(
        "security = \"kerberos\" (the default) is not part of this program; install the package, \
         build with `--features kerberos`, or set security = \"ldaps\" with bind-dn and secret-file"
    )]
    NoKerberos,
}

use DirectorySettingsError as Error;

impl TryFrom<Written> for DirectorySettings {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self, Error> {
        match written.kind.ok_or(Error::NoKind)? {
            Kind::File => file(written),
            Kind::Ldap => ldap(written).map(|ldap| Self::Ldap(Box::new(ldap))),
        }
    }
}

fn file(written: Written) -> Result<DirectorySettings, Error> {
    let with = "kind = \"file\"";
    let useless = [
        ("domain", written.domain.is_some()),
        ("servers", written.servers.is_some()),
        ("security", written.security.is_some()),
        ("ca-file", written.ca_file.is_some()),
        ("keytab", written.keytab.is_some()),
        ("principal", written.principal.is_some()),
        ("bind-dn", written.bind_dn.is_some()),
        ("secret-file", written.secret_file.is_some()),
        ("secret-credential", written.secret_credential.is_some()),
        ("base", written.base.is_some()),
    ];
    refuse(&useless, with)?;
    let path = written.path.ok_or(Error::Missing { key: "path", with })?;
    Ok(DirectorySettings::File { path })
}

fn refuse(keys: &[(&'static str, bool)], with: &'static str) -> Result<(), Error> {
    match keys.iter().find(|(_, is_there)| *is_there) {
        Some((key, _)) => Err(Error::Useless { key, with }),
        None => Ok(()),
    }
}

fn ldap(written: Written) -> Result<LdapSettings, Error> {
    refuse(&[("path", written.path.is_some())], "kind = \"ldap\"")?;
    let servers = written.servers.as_deref().unwrap_or_default();
    if servers.len() > SERVERS_MAX {
        return Err(Error::Servers);
    }
    let servers = servers.iter().map(|text| server(text)).collect::<Result<_, _>>()?;
    let domain = written.domain.as_ref().map(|text| {
        let domain = text.trim_end_matches('.');
        if is_host(domain) { Ok(domain.to_lowercase()) } else { Err(Error::Domain(text.clone())) }
    });
    let (domain, base) = (domain.transpose()?, written.base.clone());
    let ca_file = written.ca_file.clone();
    Ok(LdapSettings { domain, servers, security: security(written)?, ca_file, base })
}

fn security(written: Written) -> Result<Security, Error> {
    let Written { bind_dn, secret_file, secret_credential, keytab, principal, .. } = written;
    let start = match written.security.unwrap_or_default() {
        SecurityWord::Kerberos => {
            let useless = [
                ("bind-dn", bind_dn.is_some()),
                ("secret-file", secret_file.is_some()),
                ("secret-credential", secret_credential.is_some()),
                ("ca-file", written.ca_file.is_some()),
            ];
            refuse(&useless, "security = \"kerberos\"")?;
            if !cfg!(feature = "kerberos") {
                return Err(Error::NoKerberos);
            }
            let keytab = keytab.unwrap_or_else(|| "/etc/krb5.keytab".into());
            return Ok(Security::Kerberos { keytab, principal });
        }
        SecurityWord::Ldaps => TlsStart::Ldaps,
        SecurityWord::StartTls => TlsStart::StartTls,
    };
    let with = "a bind-dn over TLS";
    refuse(&[("keytab", keytab.is_some()), ("principal", principal.is_some())], with)?;
    let bind_dn = bind_dn.filter(|dn| !dn.is_empty());
    let bind_dn = bind_dn.ok_or(Error::Missing { key: "bind-dn", with: "TLS" })?;
    let secret = match (secret_file, secret_credential) {
        (Some(file), None) => SecretSource::File(file),
        (None, Some(name)) if is_credential(&name) => SecretSource::Credential(name),
        (None, Some(name)) => return Err(Error::Credential(name)),
        (Some(_), Some(_)) => {
            return Err(Error::Useless { key: "secret-credential", with: "a secret-file" });
        }
        (None, None) => {
            return Err(Error::Missing { key: "secret-file` or `secret-credential", with });
        }
    };
    Ok(Security::Tls { start, bind_dn, secret })
}

fn server(text: &str) -> Result<Server, Error> {
    let error = || Error::Server(text.to_owned());
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| error())?)),
        None => (text, None),
    };
    let host = host.trim_end_matches('.');
    if !is_host(host) || port == Some(0) {
        return Err(error());
    }
    Ok(Server { host: host.to_lowercase(), port })
}

/// Whether a text can be a host or domain name. It ends up in URLs and DNS queries.
pub fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let chars = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(chars)
    };
    text.len() <= HOST_BYTES_MAX && text.split('.').all(label)
}

/// A credential is a file of that name; systemd allows no path in it.
fn is_credential(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DirectorySettings, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        for (text, why) in [
            ("path = 'a'", "needs `kind`"),
            ("kind = 'file'", "needs `path`"),
            ("kind = 'file'\npath = 'a'\nbase = 'dc=x'", "no use for `base`"),
            ("kind = 'ldap'\npath = 'a'", "no use for `path`"),
            ("kind = 'ldap'\nsecurity = 'plain'", "unknown variant `plain`"),
            ("kind = 'ldap'\nsecurity = 'ldaps'", "needs `bind-dn`"),
            ("kind = 'ldap'\nsecurity = 'ldaps'\nbind-dn = ''", "needs `bind-dn`"),
            ("kind = 'ldap'\nsecurity = 'ldaps'\nbind-dn = 'a'", "needs `secret-file`"),
            ("kind = 'ldap'\nbind-dn = 'a'", "no use for `bind-dn`"),
            ("kind = 'ldap'\nsecret = 'a'", "unknown field `secret`"),
            ("kind = 'ldap'\nservers = ['dc1 x']", "no server name"),
            ("kind = 'ldap'\nservers = ['dc1:0']", "no server name"),
            ("kind = 'ldap'\nservers = ['ldap://dc1']", "no server name"),
            ("kind = 'ldap'\ndomain = 'a..b'", "no DNS domain name"),
            (
                "kind = 'ldap'\nsecurity = 'starttls'\nbind-dn = 'a'\nsecret-credential = '../x'",
                "no name of a systemd credential",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn tls_with_a_name_and_a_secret() {
        let text = "kind = 'ldap'\nservers = ['DC1.corp.test', '127.0.0.1:1636']\n\
                    security = 'ldaps'\nbind-dn = 'svc@corp.test'\nsecret-file = '/etc/s'\n";
        let Ok(DirectorySettings::Ldap(ldap)) = read(text) else { panic!("not read") };
        assert_eq!(ldap.servers[0].to_string(), "dc1.corp.test");
        assert_eq!(ldap.servers[1], Server { host: "127.0.0.1".to_owned(), port: Some(1636) });
        assert_eq!((ldap.security.name(), ldap.security.port()), ("ldaps", 636));
    }

    #[test]
    fn kerberos_is_the_default_where_it_was_built_in() {
        let read = read("kind = 'ldap'\ndomain = 'Corp.Test.'\n");
        if !cfg!(feature = "kerberos") {
            assert!(read.unwrap_err().contains("--features kerberos"));
            return;
        }
        let Ok(DirectorySettings::Ldap(ldap)) = read else { panic!("not read") };
        assert_eq!(ldap.domain.as_deref(), Some("corp.test"));
        let keytab = PathBuf::from("/etc/krb5.keytab");
        assert_eq!(ldap.security, Security::Kerberos { keytab, principal: None });
    }
}
