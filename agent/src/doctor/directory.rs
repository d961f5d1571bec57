//! Looks at everything between this computer and its directory, and changes nothing: settings, keys,
//! discovery, every server, the schema, this computer's object, rights, a sign-in, the cache.
#![expect(clippy::disallowed_methods, reason = "edge: looks at keytab and cache")]

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use homeport_policy::dn::Dn;
use homeport_policy::facts::Directory;
use tokio::time::Instant;

use crate::clock::{Clock, draw};
use crate::directory::cache::{Memory, Store, Unbelieved};
use crate::directory::connect::Connector;
use crate::directory::discover::{self, Srv};
use crate::directory::error::{DirectoryError, SecretError};
use crate::directory::ldap::Connection;
use crate::directory::live::{Host, Live, store};
use crate::directory::query::Session;
use crate::directory::{file, keytab, secret};
use crate::doctor::account::Eyes;
use crate::doctor::server::{Servers, deadline};
use crate::doctor::{Finding, Report, judge};
use crate::facts;
use crate::identity::{THIS_OS, computer_name};
use crate::limits::{DOCTOR_SERVERS_MAX, KEYTAB_BYTES_MAX};
use crate::outcome::chain;
use crate::settings::{DirectorySettings, LdapSettings, Security, Server, Settings};

/// Looks at everything. `user`: whose sign-in is tried.
pub async fn examine(settings: &Settings, user: Option<&str>, clock: &Clock) -> Report {
    match &settings.directory {
        DirectorySettings::File { path } => Report::of(vec![export(path)]),
        DirectorySettings::Ldap(ldap) => live(settings, ldap, user, clock).await,
    }
}

fn export(path: &Path) -> Finding {
    match file::load(path) {
        Ok(found) => {
            let (users, computers) = (found.user_names().len(), found.computer_names().len());
            let text =
                format!("the export {}: {users} users, {computers} computers", path.display());
            Finding::ok("settings", text)
        }
        Err(error) => {
            let mend = "export it again: `homeport directory snapshot`, ldapsearch or ldifde";
            Finding::fail("settings", chain(&error), mend)
        }
    }
}

async fn live(
    settings: &Settings,
    ldap: &LdapSettings,
    user: Option<&str>,
    clock: &Clock,
) -> Report {
    let connector = facts::connector(settings, ldap, draw());
    let computer = computer_name(settings);
    let mut findings = vec![about_settings(&connector, &computer)];
    findings.extend(credentials(&connector));
    let servers = discovered(&connector, &mut findings).await;
    let mut looked = Servers::new(&connector, clock);
    let mut first = None;
    for server in &servers {
        let connection = looked.look(server).await;
        first = first.or(connection);
    }
    findings.append(&mut looked.findings);
    let store = store(&connector, &computer, &settings.state_dir);
    match first {
        Some(mut connection) => {
            let remembered = store.look().ok().flatten().unwrap_or_default();
            findings.extend(domain(&mut connection, remembered, clock).await);
            let base = ldap.base.clone().unwrap_or_else(|| connection.root().base.clone());
            let mut eyes = Eyes { connection: &mut connection, base: &base, who: connector.who() };
            let is_it = matches!(ldap.security, Security::Kerberos { principal: None, .. });
            findings.push(eyes.computer(&computer, is_it).await);
            let found = match user {
                Some(user) => Some(sign_in(&connector, &computer, user, clock).await),
                None => None,
            };
            findings.extend(rights(&mut eyes, found.as_ref().map(|(_, dn)| dn.as_ref())).await);
            findings.extend(found.map(|(finding, _)| finding));
        }
        None => {
            let found = "schema, this computer, rights and sign-in were not looked at";
            findings.push(Finding::warn("rest", found, "mend what failed above, and look again"));
        }
    }
    findings.push(cache(&store, clock));
    Report::of(findings)
}

fn about_settings(connector: &Connector, computer: &str) -> Finding {
    let security = connector.settings().security.name();
    let domain = connector.domain().unwrap_or("an unnamed domain");
    let site = connector.site().map(|site| format!(", site {site}")).unwrap_or_default();
    let who = connector.who();
    let found = format!("{security} to {domain} as {who}; this computer is {computer}{site}");
    Finding::ok("settings", found)
}

/// The keytab, or the secret.
fn credentials(connector: &Connector) -> Option<Finding> {
    match &connector.settings().security {
        Security::Kerberos { keytab, .. } => Some(about_keytab(keytab, connector.who())),
        Security::Tls { secret: source, .. } => Some(match secret::read(source) {
            Ok(_) => Finding::ok("secret", "can be read, and by nobody else"),
            Err(DirectoryError::Secret { source: SecretError::NoCredentials, .. }) => {
                let found = "systemd hands the credential to the service alone";
                let mend = "run doctor as the service is run: systemd-run --pipe --wait -p \
                            LoadCredential=NAME:FILE homeport doctor directory";
                Finding::warn("secret", found, mend)
            }
            Err(error) => judge::failure("secret", &error),
        }),
    }
}

fn about_keytab(path: &Path, who: &str) -> Finding {
    let read = || {
        let file = std::fs::File::open(path)?;
        let meta = file.metadata()?;
        let mut content = Vec::new();
        file.take(KEYTAB_BYTES_MAX).read_to_end(&mut content)?;
        std::io::Result::Ok((meta, content))
    };
    let shown = path.display();
    match read() {
        Ok((meta, content)) => match keytab::principals(&content) {
            Some(principals) => judge::keytab(path, &meta, &principals, who),
            None => {
                let mend = "join the domain again, which writes a new one";
                Finding::fail("keytab", format!("{shown} is no keytab"), mend)
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let mend = "run doctor as the agent's account";
            Finding::fail("keytab", format!("cannot read {shown}: {error}"), mend)
        }
        Err(error) => {
            let mend = "join the domain (`adcli join`, `net ads join`), or set directory.keytab";
            Finding::fail("keytab", format!("cannot read {shown}: {error}"), mend)
        }
    }
}

/// The servers that are looked at: those of the list, or all that DNS names.
async fn discovered(connector: &Connector, findings: &mut Vec<Finding>) -> Vec<Server> {
    let listed = &connector.settings().servers;
    if !listed.is_empty() {
        let names: Vec<String> = listed.iter().map(ToString::to_string).collect();
        let found = format!("the settings' list: {}", names.join(", "));
        findings.push(Finding::ok("discovery", found));
        return listed.clone();
    }
    let Some(domain) = connector.domain() else {
        findings.push(judge::failure("discovery", &DirectoryError::NoDomain));
        return Vec::new();
    };
    let mut servers = Vec::new();
    for query in discover::queries(domain, connector.site()) {
        let of_site = query.contains("._sites.");
        match discover::records(&query).await {
            Ok(records) => {
                findings.push(named(&query, of_site, &records));
                discover::add(&mut servers, discover::order(records, 0));
            }
            Err(error) => findings.push(judge::failure("discovery", &error)),
        }
    }
    if servers.len() > DOCTOR_SERVERS_MAX {
        let found = format!("{DOCTOR_SERVERS_MAX} of {} servers are looked at", servers.len());
        findings.push(Finding::warn("discovery", found, "set computer.site to have the near ones"));
        servers.truncate(DOCTOR_SERVERS_MAX);
    }
    servers
}

/// What DNS has under one name.
fn named(query: &str, of_site: bool, records: &[Srv]) -> Finding {
    let query = query.trim_end_matches('.');
    let record = |srv: &Srv| {
        let Srv { host, priority, weight } = srv;
        format!("{host} (priority {priority}, weight {weight})")
    };
    match records {
        [] if of_site => {
            let mend = "check computer.site; the domain's other controllers are used";
            Finding::warn("discovery", format!("DNS has no {query}"), mend)
        }
        [] => {
            let mend = "check directory.domain and the DNS servers, or name directory.servers";
            Finding::fail("discovery", format!("DNS has no {query}"), mend)
        }
        records => {
            let shown = records.iter().take(DOCTOR_SERVERS_MAX).map(record);
            let shown = shown.collect::<Vec<_>>().join(", ");
            Finding::ok("discovery", format!("{query}: {shown}"))
        }
    }
}

/// Which domain it is, and what its schema has.
async fn domain(connection: &mut Connection, mut memory: Memory, clock: &Clock) -> Vec<Finding> {
    let now = clock.unix_ms();
    let was_known = memory.identity.is_some();
    let mut session = Session::new(connection, &mut memory, None, now, deadline());
    let identity = session.check_identity(None).await;
    let schema = session.schema_has_primary_computer().await;
    let identity = match identity {
        Ok(()) => {
            let known = memory.identity.unwrap_or_default();
            let as_before = if was_known { ", as before" } else { "" };
            Finding::ok("domain", format!("{known}{as_before}"))
        }
        Err(error) => judge::failure("domain", &error),
    };
    let schema = schema.map_or_else(|error| judge::failure("schema", &error), judge::schema);
    vec![identity, schema]
}

/// `user`: somebody asked about one, who is at this name, or is not known.
async fn rights(eyes: &mut Eyes<'_>, user: Option<Option<&Dn>>) -> Vec<Finding> {
    let home = Dn::parse(&eyes.connection.root().base).ok().and_then(|dn| dn.dns_domain());
    let mend = "see what is said of the sign-in";
    match user {
        None => eyes.rights(None).await,
        Some(Some(dn)) if dn.dns_domain() == home => eyes.rights(Some(dn.as_str())).await,
        Some(Some(dn)) => {
            let found = format!("not looked at: {dn} is in another domain");
            vec![Finding::warn("rights", found, "run doctor on a computer of that domain")]
        }
        Some(None) => vec![Finding::warn("rights", "not looked at: the user is not known", mend)],
    }
}

/// A sign-in as the agent would look it up, with a memory of its own: once by somebody new, and once
/// by somebody who was here before. With the name at which the user was found.
async fn sign_in(
    connector: &Connector,
    computer: &str,
    user: &str,
    clock: &Clock,
) -> (Finding, Option<Dn>) {
    const CHECK: &str = "sign-in";
    let Ok(memory) = tempfile::tempdir() else {
        return (Finding::warn(CHECK, "no place for temporary files", "check $TMPDIR"), None);
    };
    let site = connector.site().map(str::to_owned);
    let host = Host { name: computer.to_owned(), os: THIS_OS, site };
    let tally = connector.tally().clone();
    let mut live = Live::new(connector.clone(), host, clock.clone(), memory.path(), draw());
    live.keep_warm().await; // what the service has done before anybody signs in
    let mut costs = Vec::new();
    let mut view = None;
    for _ in 0..2 {
        tally.collect();
        let begun = Instant::now();
        view = Some(live.refresh(Some(user), Duration::ZERO).await);
        let (searches, took) = (tally.collect().searches, begun.elapsed().as_millis());
        costs.push(format!("{searches} searches in {took} ms"));
    }
    if let Some(error) = live.error() {
        return (judge::failure(CHECK, error), None);
    }
    let costs = costs.join(", again ");
    let view = view.filter(|view| view.directory == Directory::Answered);
    let Some(view) = view else {
        let mend = "check that the domain of this user has controllers in DNS and trusts this one";
        return (Finding::fail(CHECK, format!("{user}: their domain did not answer"), mend), None);
    };
    let Some(known) = view.user else {
        let mend = "write alice, CORP\\alice or alice@corp.test, and check directory.base";
        return (Finding::fail(CHECK, format!("{user}: no such user ({costs})"), mend), None);
    };
    let is_theirs =
        view.computer.dn.as_ref().is_some_and(|dn| known.primary_computers.contains(dn));
    let list = known.primary_computers.len();
    let theirs = if is_theirs { "is" } else { "is not" };
    let dn = known.dn.as_ref().map(ToString::to_string).unwrap_or_default();
    let (domain, name) = (&known.domain, &known.name);
    if known.list_is_hidden {
        let found = format!(
            "{domain}\\{name} is {dn}; whether they have primary computers is not shown, so nothing \
             is brought in or removed for them; {costs}"
        );
        let mend = "see what is said of rights";
        return (Finding::warn(CHECK, found, mend), known.dn.clone());
    }
    let found = format!(
        "{domain}\\{name} is {dn}; this computer {theirs} among their primary computers ({list}); \
         {costs}"
    );
    (Finding::ok(CHECK, found), known.dn.clone())
}

fn cache(store: &Store, clock: &Clock) -> Finding {
    let path = store.path();
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::ok("cache", format!("{}: none yet", path.display()));
        }
        Err(error) => {
            let mend = "run doctor as the agent's account";
            return Finding::warn("cache", format!("{}: {error}", path.display()), mend);
        }
    };
    let age = meta.modified().ok().and_then(|at| clock.now().duration_since(at).ok());
    let intact = match store.look() {
        Ok(memory) => Ok(memory.map_or(0, |memory| memory.users.len())),
        Err(Unbelieved::Refused(why)) => Err(why),
        Err(Unbelieved::Read(error)) => {
            return Finding::warn("cache", chain(&error), "run doctor as the agent's account");
        }
    };
    judge::cache(path, &meta, age.unwrap_or_default(), intact)
}
