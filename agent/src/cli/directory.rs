//! `homeport directory …`, `homeport doctor directory`, and the live directory for other commands.
#![expect(clippy::disallowed_methods, reason = "edge: looks whether a file is there")]

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use homeport_policy::facts::{Directory as Answered, Facts, Network, Os};
use serde_json::json;
use tokio::time::Instant;

use super::args_directory::{Directory, DoctorDirectory, Snapshot as Args};
use super::policy::policy_directory;
use super::service::settings;
use super::{Answer, Said, Stopped, complain};
use crate::cli::exit::Exit;
use crate::clock::{Clock, draw};
use crate::directory::connect::Connector;
use crate::directory::entry::may_be_secret;
use crate::directory::error::DirectoryError;
use crate::directory::file::{self, Snapshot, os_called};
use crate::directory::ldap::Query;
use crate::directory::live::{Host, Live, View};
use crate::directory::snapshot::{self, Counts, Progress, SnapshotError};
use crate::directory::{filter, kerberos};
use crate::doctor;
use crate::durable::Beside;
use crate::facts;
use crate::identity::{THIS_OS, computer_name};
use crate::limits::{DIRECTORY_TIMEOUT, SNAPSHOT_ATTRIBUTES_MAX, SNAPSHOT_CONNECT_TIMEOUT};
use crate::outcome::chain;
use crate::settings::{DirectorySettings, LdapSettings, Settings};
use crate::source;

pub(super) fn carry_out(command: &Directory, settings: &Path) -> Answer {
    match command {
        Directory::Snapshot(args) => export(args, settings),
    }
}

fn stopped(error: &SnapshotError) -> Stopped {
    Stopped::new(chain(error), error.hint(), Exit::Environment)
}

fn unreachable(error: &DirectoryError) -> Stopped {
    Stopped::new(chain(error), error.hint(), Exit::Environment)
}

/// Waits for something of the directory. Ctrl-C ends it like an error, so that it can clear up.
fn wait<T>(
    settings: &Settings,
    work: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Stopped> {
    // Before the first thread: the library takes its keytab from the environment.
    kerberos::prepare(&settings.directory).map_err(|error| Stopped::environment(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Stopped::environment(&error))?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => {
                Err(Stopped::new("stopped; nothing was written", "run it again", Exit::Failed))
            }
        }
    });
    // A name that DNS does not resolve in time must not keep anybody waiting at the end.
    runtime.shutdown_background();
    done
}

/// Tells on standard error how far it is: all the time on a terminal, else once for each kind.
fn teller() -> impl FnMut(Progress) {
    let is_terminal = io::stderr().is_terminal();
    move |Progress { what, count, done }| match (is_terminal, done) {
        (true, false) => complain(&format!("\r{count} {what} ")),
        (true, true) => complain(&format!("\r{count} {what}\n")),
        (false, true) => complain(&format!("{count} {what}\n")),
        (false, false) => {}
    }
}

/// Reads the live directory into something.
async fn read(
    connector: &Connector,
    bases: &[String],
    named: &BTreeSet<String>,
    out: &mut dyn io::Write,
    tell: &mut dyn FnMut(Progress),
) -> Result<Counts, Stopped> {
    let connection = connector.connect(Instant::now() + SNAPSHOT_CONNECT_TIMEOUT).await;
    let mut connection = connection.map_err(|error| unreachable(&error))?;
    let base = connector.settings().base.clone();
    let bases = if bases.is_empty() { base.as_slice() } else { bases };
    let taken = snapshot::take(&mut connection, bases, named, out, tell).await;
    taken.map_err(|error| stopped(&error))
}

/// Attributes that are asked for, and those that templates name.
fn attributes(named: &[String], sets: &[&Path]) -> Result<BTreeSet<String>, Stopped> {
    let mut all = BTreeSet::new();
    for set in sets {
        let files = source::read(set).map_err(|error| Stopped::environment(&error))?;
        all.extend(snapshot::named_in(&files));
    }
    for name in named {
        let lower = name.to_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if lower.is_empty() || !lower.chars().all(is_name) || may_be_secret(&lower) {
            let hint = "the agent keeps no attribute whose name looks like that of a secret";
            return Err(Stopped::new(format!("{name:?} is not exported"), hint, Exit::Usage));
        }
        all.insert(lower);
    }
    if all.len() > SNAPSHOT_ATTRIBUTES_MAX {
        let message = format!("more than {SNAPSHOT_ATTRIBUTES_MAX} attributes are named");
        return Err(Stopped::new(message, "name fewer", Exit::Usage));
    }
    Ok(all)
}

fn live(settings: &Settings) -> Result<&LdapSettings, Stopped> {
    match &settings.directory {
        DirectorySettings::Ldap(ldap) => Ok(ldap),
        DirectorySettings::File { path } => {
            let message = format!("the settings name the export {}", path.display());
            let hint = "set directory.kind = \"ldap\" to export from a live directory";
            Err(Stopped::new(message, hint, Exit::Usage))
        }
    }
}

fn export(args: &Args, path: &Path) -> Answer {
    let settings = settings(path)?;
    let ldap = live(&settings)?;
    let exists = || {
        let message = format!("{} is there already", args.out.display());
        Stopped::new(message, "name another file, or use --force", Exit::Usage)
    };
    if !args.force && std::fs::symlink_metadata(&args.out).is_ok() {
        return Err(exists());
    }
    let sets = match args.policies.as_slice() {
        [] => vec![policy_directory(None, path)?],
        named => named.to_vec(),
    };
    // The settings' own policy may not be there yet; what was named has to be.
    let is_there = |set: &&Path| !args.policies.is_empty() || std::fs::metadata(set).is_ok();
    let sets: Vec<&Path> = sets.iter().map(AsRef::as_ref).filter(is_there).collect();
    let named = attributes(&args.attributes, &sets)?;
    let cannot = |error: io::Error| stopped(&SnapshotError::Write(error));
    let connector = facts::connector(&settings, ldap, draw());
    let counts = wait(&settings, async {
        let mut file = io::BufWriter::new(Beside::begin(&args.out).map_err(cannot)?);
        let counts = read(&connector, &args.bases, &named, &mut file, &mut teller()).await?;
        let file = file.into_inner().map_err(|error| cannot(error.into_error()))?;
        // What the agent cannot read must not look like an export.
        let read = file::load(file.path());
        read.map_err(|e| Stopped::new(chain(&e), "mend the entries", Exit::Environment))?;
        file.finish(args.force).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => cannot(error),
        })?;
        Ok(counts)
    })?;
    let Counts { users, computers, groups, domains, bytes } = counts;
    let out = args.out.display();
    let text = format!(
        "{out}: {users} users, {computers} computers, {groups} groups, {domains} domains, \
         {bytes} bytes\n"
    );
    let json = json!({ "out": args.out, "holds": counts });
    Ok(Said { text, json, exit: Exit::Ok, coloured: false, aside: false })
}

/// The whole of a live directory, as an export would give it. `sets`: the policy directories whose
/// templates it has to serve.
pub(super) fn whole(
    settings: &Settings,
    ldap: &LdapSettings,
    sets: &[&Path],
) -> Result<Snapshot, Stopped> {
    let named = attributes(&[], sets)?;
    let connector = facts::connector(settings, ldap, draw());
    wait(settings, async {
        let mut content = Vec::new();
        let mut quiet = |_: Progress| {};
        let mut talk = teller();
        let tell: &mut dyn FnMut(Progress) =
            if io::stderr().is_terminal() { &mut talk } else { &mut quiet };
        read(&connector, &[], &named, &mut content, tell).await?;
        file::parse(&content).map_err(|defects| {
            let lines: Vec<String> = defects.iter().map(|defect| format!("\n  {defect}")).collect();
            let message = format!("the directory's answer is not usable:{}", lines.concat());
            let hint = "mend the entries, or export a part with `homeport directory snapshot`";
            Stopped::new(message, hint, Exit::Environment)
        })
    })
}

/// About whom a live directory is asked.
#[derive(Clone, Debug)]
pub(super) struct About<'a> {
    /// As somebody wrote it.
    pub user: &'a str,
    /// NetBIOS name.
    pub computer: &'a str,
    /// Absent = what the directory says, else this one's.
    pub os: Option<Os>,
    /// Active Directory site.
    pub site: Option<String>,
}

/// What a live directory says of one user and one computer now. What the agent remembers is neither
/// used nor changed.
pub(super) fn one(
    settings: &Settings,
    ldap: &LdapSettings,
    about: About<'_>,
) -> Result<Facts, Stopped> {
    let connector = facts::connector(settings, ldap, draw());
    let memory = tempfile::tempdir().map_err(|error| Stopped::environment(&error))?;
    wait(settings, async {
        let os = match about.os {
            Some(os) => os,
            None if about.computer.eq_ignore_ascii_case(&computer_name(settings)) => THIS_OS,
            None => {
                let found = operating_system(&connector, about.computer).await;
                found.map_err(|error| unreachable(&error))?.unwrap_or(THIS_OS)
            }
        };
        let (name, site) = (about.computer.to_owned(), about.site);
        let host = Host { name, os, site };
        let mut live = Live::new(connector, host, Clock::system(), memory.path(), draw());
        let view = live.refresh(Some(about.user), Duration::ZERO).await;
        if let Some(error) = live.error() {
            return Err(unreachable(error));
        }
        let View { user, computer, schema_has_primary_computer, directory } = view;
        if directory != Answered::Answered {
            let message = format!("the domain of {} did not answer", about.user);
            let hint = format!("`homeport doctor directory --user '{}'` says why", about.user);
            return Err(Stopped::new(message, hint, Exit::Environment));
        }
        let (network, profile_link) = (Network::default(), None);
        Ok(Facts { user, computer, directory, schema_has_primary_computer, network, profile_link })
    })
}

/// BUILTIN\Users, in which everybody is on every server of a domain.
const USERS: &str = "S-1-5-32-545";

/// Everybody whom a user is on a file server, as SIDs, the user first: of the export, or of the live
/// directory now. Other built-in groups are those of the domain's controllers, and not of the server.
pub(super) fn sids(settings: &Settings, user: &str) -> Result<Vec<String>, Stopped> {
    let mut found = match &settings.directory {
        DirectorySettings::File { path } => {
            file::load(path).map_err(|error| Stopped::environment(&error))?.sids(user)
        }
        DirectorySettings::Ldap(ldap) => {
            let connector = facts::connector(settings, ldap, draw());
            let memory = tempfile::tempdir().map_err(|error| Stopped::environment(&error))?;
            wait(settings, async {
                let name = computer_name(settings);
                let host = Host { name, os: THIS_OS, site: settings.computer.site.clone() };
                let mut live = Live::new(connector, host, Clock::system(), memory.path(), draw());
                live.refresh(Some(user), Duration::ZERO).await;
                match live.error() {
                    Some(error) => Err(unreachable(error)),
                    None => Ok(live.remembered_sids(user)),
                }
            })?
        }
    };
    found.retain(|sid| sid == USERS || !sid.starts_with("S-1-5-32-"));
    if found.is_empty() {
        let message = format!("the directory names no SID of '{user}'");
        let hint = "check the name, or name the SIDs with --sid";
        return Err(Stopped::new(message, hint, Exit::Environment));
    }
    Ok(found)
}

/// The operating system that a computer's account names.
async fn operating_system(
    connector: &Connector,
    computer: &str,
) -> Result<Option<Os>, DirectoryError> {
    let deadline = Instant::now() + DIRECTORY_TIMEOUT;
    let mut connection = connector.connect(deadline).await?;
    let base = connector.settings().base.clone();
    let base = base.unwrap_or_else(|| connection.root().base.clone());
    let of = if connection.root().is_ad { filter::ad_computer } else { filter::posix_computer };
    let names = ["operatingSystem"];
    let query = Query::below("a computer", &base, of(computer), &names, 2);
    let found = connection.search(&query, deadline).await?;
    Ok(found.first().and_then(|entry| entry.texts("operatingSystem").next()).map(os_called))
}

pub(super) fn examine(args: &DoctorDirectory, path: &Path) -> Answer {
    let report = match settings(path) {
        Ok(settings) => wait(&settings, async {
            Ok(doctor::directory::examine(&settings, args.user.as_deref(), &Clock::system()).await)
        })?,
        Err(Stopped { message, hint, .. }) => doctor::unsettled(message, hint.unwrap_or_default()),
    };
    let exit = if report.has_failed() { Exit::Environment } else { Exit::Ok };
    let json = serde_json::to_value(&report).map_err(|error| Stopped::environment(&error))?;
    Ok(Said { text: report.to_string(), json, exit, coloured: false, aside: false })
}
