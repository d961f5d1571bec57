//! `homeport policy …`: answers for any user, computer and system, from files or the directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use homeport_policy::decide::decide;
use homeport_policy::diagnostic::{Severity, render};
use homeport_policy::explain::explain;
use homeport_policy::facts::{Cost, Directory, Facts, Network, Os};
use homeport_policy::filter::applicable;
use homeport_policy::layer::{Cell, PolicySet, Sourced};
use homeport_policy::merge::merge;
use homeport_policy::parse::{Parsed, parse};
use homeport_policy::reference;
use homeport_policy::settings::{Id, Slot};
use homeport_policy::value::Value;
use serde_json::json;

use super::args::{Diff, Explain, OsName, Policy, SchemaFormat};
use super::directory::About;
use super::service::settings;
use super::{Answer, Said, Stopped, directory};
use crate::cli::exit::Exit;
use crate::directory::file::{Snapshot, load};
use crate::facts::facts_for;
use crate::identity::{THIS_OS, computer_name};
use crate::outcome::chain;
use crate::rehearse::rehearse;
use crate::settings::DirectorySettings;
use crate::{source, words};

pub(super) fn carry_out(command: Policy, settings: &Path, colour: bool) -> Answer {
    match command {
        Policy::Check { directory } => check(directory, settings, colour),
        Policy::Explain(args) => explain_one(&args, settings),
        Policy::Diff(args) => diff(&args, settings),
        Policy::Schema { format, filter } => Ok(schema(format, &filter)),
    }
}

pub(super) fn policy_directory(named: Option<PathBuf>, path: &Path) -> Result<PathBuf, Stopped> {
    match named {
        Some(named) => Ok(named),
        None => Ok(settings(path)?.policy_dir),
    }
}

fn check(directory: Option<PathBuf>, path: &Path, colour: bool) -> Answer {
    let directory = policy_directory(directory, path)?;
    let files = source::read(&directory).map_err(|error| Stopped::environment(&error))?;
    let Parsed { set, diagnostics } = parse(&files, &BTreeMap::new());
    let count = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let idle = set.as_ref().map(not_carried_out).unwrap_or_default();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning) + idle.len());
    let text_of = |name: &str| files.iter().find(|file| file.name == name)?.text();
    let mut text = render(&diagnostics, text_of, colour);
    let objects = set.as_ref().map_or(0, |set| set.objects.len());
    idle.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    let warned = words::count(warnings as u64, "warning");
    text.push_str(&match errors {
        0 => format!("{}, {warned}: good\n", words::count(objects as u64, "object")),
        _ => {
            let errors = words::count(errors as u64, "error");
            format!("{errors}, {warned}: this set would be rejected whole\n")
        }
    });
    let exit = if set.is_some() { Exit::Ok } else { Exit::Policy };
    let text = if colour { text } else { super::plain(&text) };
    let json = json!({
        "objects": objects, "good": set.is_some(), "diagnostics": diagnostics,
        "not-carried-out": idle,
    });
    Ok(Said { text, json, exit, coloured: colour, aside: false })
}

/// Settings that this version explains, and does not carry out.
const NOT_CARRIED_OUT: [Id; 8] = [
    Id::ProfileSlowLinkThroughput,
    Id::ProfileSlowLinkLatency,
    Id::ProfileDetectSlowLink,
    Id::ProfileWaitForNetwork,
    Id::ProfileNoTemporary,
    Id::ProfileDeleteCachedCopies,
    Id::ProfileWriteBack,
    Id::ProfileDeleteAfterDays,
];

/// What a set asks for in vain. What is switched off is carried out.
fn not_carried_out(set: &PolicySet) -> Vec<String> {
    let idle = NOT_CARRIED_OUT.map(Slot::from);
    let mut lines = Vec::new();
    for object in &set.objects {
        let asks = |cell: &&Cell| {
            let is_off = |of: &Sourced| matches!(of.value, Value::Bool(false) | Value::Off);
            idle.contains(&cell.slot) && !cell.values.iter().all(is_off)
        };
        for cell in object.computer.iter().chain(&object.user).filter(asks) {
            let (file, line, key) = (&object.file, cell.line, cell.slot.key());
            let why = "is explained, and not carried out by this version";
            lines.push(format!("{file}:{line}: warning: {key} {why}"));
        }
    }
    lines
}

/// The set of a directory, or everything that is wrong with it.
pub(super) fn load_set(directory: &Path) -> Result<PolicySet, Stopped> {
    let files = source::read(directory).map_err(|error| Stopped::environment(&error))?;
    let Parsed { set, diagnostics } = parse(&files, &BTreeMap::new());
    set.ok_or_else(|| {
        let lines: Vec<String> = diagnostics.iter().map(|found| format!("\n  {found}")).collect();
        let message =
            format!("the policy in {} has errors:{}", directory.display(), lines.concat());
        Stopped::new(message, "`homeport policy check` shows each in its place", Exit::Policy)
    })
}

fn load_directory(path: &Path) -> Result<Snapshot, Stopped> {
    load(path).map_err(|error| {
        let hint = "export it with ldapsearch -LLL or ldifde, all attributes";
        Stopped::new(chain(&error), hint, Exit::Environment)
    })
}

/// The whole of a directory: an export that was named, else what the settings name. `sets`: the
/// policy directories whose templates it has to serve.
pub(super) fn directory_of(
    export: Option<&Path>,
    path: &Path,
    sets: &[&Path],
) -> Result<Snapshot, Stopped> {
    if let Some(export) = export {
        return load_directory(export);
    }
    let settings = settings(path)?;
    match &settings.directory {
        DirectorySettings::File { path } => load_directory(path),
        DirectorySettings::Ldap(ldap) => directory::whole(&settings, ldap, sets),
    }
}

pub(super) fn os(name: OsName) -> Os {
    match name {
        OsName::Windows => Os::Windows,
        OsName::Linux => Os::Linux,
    }
}

fn cost(word: &str) -> Result<Cost, Stopped> {
    Cost::ALL.into_iter().find(|cost| cost.name() == word).ok_or_else(|| {
        let words: Vec<&str> = Cost::ALL.iter().map(|cost| cost.name()).collect();
        let hint = format!("one of: {}", words.join(", "));
        Stopped::new(format!("{word:?} is no network cost"), hint, Exit::Usage)
    })
}

/// What the directory says about the user and the computer that were named.
fn facts_of(args: &Explain, path: &Path) -> Result<Facts, Stopped> {
    let computer = match &args.computer {
        Some(computer) => computer.clone(),
        None => computer_name(&settings(path)?),
    };
    if args.directory.is_none() {
        let settings = settings(path)?;
        if let DirectorySettings::Ldap(ldap) = &settings.directory {
            let about = About {
                user: &args.user,
                computer: &computer,
                os: args.os.map(os),
                site: args.site.clone(),
            };
            return directory::one(&settings, ldap, about);
        }
    }
    let snapshot = directory_of(args.directory.as_deref(), path, &[])?;
    let known = args.os.map(os).or_else(|| snapshot.computer_os(&computer));
    let (user, os, site) = (Some(args.user.as_str()), known.unwrap_or(THIS_OS), args.site.clone());
    let (answered, network) = (Directory::Answered, Network::default());
    Ok(facts_for(&snapshot, user, &computer, os, site, answered, network))
}

fn explain_one(args: &Explain, path: &Path) -> Answer {
    let set = load_set(&policy_directory(args.policy.clone(), path)?)?;
    let directory = match (&args.directory_cached, args.directory_away) {
        (_, true) => Directory::Away,
        (None, false) => Directory::Answered,
        (Some(age), false) => Directory::Cached {
            age: humantime::parse_duration(age).map_err(|error| {
                Stopped::new(format!("{age:?}: {error}"), "for example 3d or 12h", Exit::Usage)
            })?,
        },
    };
    let network = Network { cost: cost(&args.cost)?, metered_bytes_today: 0 };
    let user = args.user.as_str();
    let facts = Facts { directory, network, ..facts_of(args, path)? };
    if facts.user.is_none() {
        let message = format!("the directory has no user {user}");
        let hint = "write alice, CORP\\alice or alice@corp.test";
        return Err(Stopped::new(message, hint, Exit::Environment));
    }
    let rsop = merge(&set, &applicable(&set, &facts));
    let decision = decide(&rsop, &facts);
    let explanation = explain(&set, &facts, &rsop, &decision);
    let json = serde_json::to_value(&explanation).map_err(|e| Stopped::environment(&e))?;
    Ok(Said {
        text: format!("{explanation}\n"),
        json,
        exit: Exit::Ok,
        coloured: false,
        aside: false,
    })
}

fn diff(args: &Diff, path: &Path) -> Answer {
    let (old, new) = (load_set(&args.old)?, load_set(&args.new)?);
    let snapshot = directory_of(args.directory.as_deref(), path, &[&args.old, &args.new])?;
    let found = rehearse(&old, &new, &snapshot, os(args.os), args.all);
    let json = serde_json::to_value(&found).map_err(|error| Stopped::environment(&error))?;
    Ok(Said { text: found.to_string(), json, exit: Exit::Ok, coloured: false, aside: false })
}

fn schema(format: SchemaFormat, filter: &str) -> Said {
    let json = reference::json_schema();
    let text = match format {
        SchemaFormat::Json => format!("{json:#}\n"),
        SchemaFormat::Text => reference::text(filter),
        SchemaFormat::Markdown => crate::cli::reference_page(),
    };
    Said { text, json, exit: Exit::Ok, coloured: false, aside: false }
}
