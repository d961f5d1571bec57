//! `homeport primary-computers …`: the two lists of primary computers, and proposals for them.
#![expect(clippy::disallowed_methods, reason = "edge: reads lists of sign-ins")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::args_primary::{PrimaryComputers, Report, ReportFormat, Suggest};
use super::policy::{directory_of, load_set, os, policy_directory};
use super::{Answer, Said, Stopped};
use crate::assignments::{Comparison, compare};
use crate::cli::exit::Exit;
use crate::clock::Clock;
use crate::limits::SIGN_INS_BYTES_MAX;
use crate::outcome::chain;
use crate::report::names::PRIMARY_DIFFERENCES;
use crate::suggestions::{self, Rule, SignIn, suggest};

pub(super) fn carry_out(command: &PrimaryComputers, settings: &Path) -> Answer {
    match command {
        PrimaryComputers::Report(args) => report(args, settings),
        PrimaryComputers::Suggest(args) => propose(args, settings),
    }
}

fn age(text: &str) -> Result<Duration, Stopped> {
    humantime::parse_duration(text).map_err(|error| {
        Stopped::new(format!("{text:?}: {error}"), "for example 90d or 12h", Exit::Usage)
    })
}

/// So long ago, in seconds since 1970.
fn before(text: &str) -> Result<i64, Stopped> {
    let age = i64::try_from(age(text)?.as_secs()).unwrap_or(i64::MAX);
    Ok(Clock::system().unix_ms() / 1_000 - age)
}

fn report(args: &Report, settings: &Path) -> Answer {
    let set = load_set(&policy_directory(args.policy.clone(), settings)?)?;
    let stale_before = before(&args.stale_after)?;
    let snapshot = directory_of(args.directory.as_deref(), settings, &[])?;
    let found = compare(&set, &snapshot, os(args.os), stale_before);
    let json = serde_json::to_value(&found).map_err(|error| Stopped::environment(&error))?;
    let text = match args.format {
        ReportFormat::Table => found.to_string(),
        ReportFormat::Csv => table(&found).map_err(|error| Stopped::environment(&error))?,
        ReportFormat::Prometheus => metrics(&found),
    };
    Ok(Said { text, json, exit: Exit::Ok, coloured: false, aside: false })
}

fn table(found: &Comparison) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["finding", "user", "computer", "detail"])?;
    for row in &found.rows {
        writer.write_record([row.finding.name(), &row.user, &row.computer, &row.detail])?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The text format of Prometheus; labels and values are ours and need no escaping.
fn metrics(found: &Comparison) -> String {
    let (name, help) = (PRIMARY_DIFFERENCES.name, PRIMARY_DIFFERENCES.help);
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (finding, count) in &found.counts {
        text.push_str(&format!("{name}{{finding=\"{finding}\"}} {count}\n"));
    }
    text
}

fn propose(args: &Suggest, settings: &Path) -> Answer {
    let mut sign_ins = Vec::new();
    for file in &args.from {
        sign_ins.extend(read(file)?);
    }
    let rule = Rule {
        since_unix: before(&args.within)?,
        sign_ins_min: args.min_sign_ins,
        days_min: args.min_days,
        computers_max: args.max_computers,
    };
    let snapshot = directory_of(args.directory.as_deref(), settings, &[])?;
    let found = suggest(&snapshot, &sign_ins, rule)
        .map_err(|error| Stopped::new(chain(&error), "mend the list of sign-ins", Exit::Usage))?;
    let json = json!({ "sign-ins": sign_ins.len(), "suggested": found, "ldif": found.ldif() });
    let mut text = found.ldif();
    for name in &found.unknown {
        text.push_str(&format!("# the directory does not have {}\n", super::plain(name)));
    }
    Ok(Said { text, json, exit: Exit::Ok, coloured: false, aside: false })
}

fn read(file: &PathBuf) -> Result<Vec<SignIn>, Stopped> {
    let cannot = |why: String, hint: &str| {
        let message = format!("cannot read the sign-ins {}: {why}", file.display());
        Stopped::new(message, hint, Exit::Environment)
    };
    let size = std::fs::metadata(file).map_err(|error| cannot(error.to_string(), "name a file"))?;
    if size.len() > SIGN_INS_BYTES_MAX {
        let why = format!("it has {} bytes; at most {SIGN_INS_BYTES_MAX} are read", size.len());
        return Err(cannot(why, "split it, and name the parts"));
    }
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| cannot(error.to_string(), "name a file"))?;
    let hint = "write CSV with the header user,computer,time, or take the agent's JSON log";
    suggestions::read(&text).map_err(|error| cannot(chain(&error), hint))
}
