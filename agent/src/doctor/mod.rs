//! What was found out about this computer's surroundings, and how to mend what is not well.
//!
//! [`directory`] does the looking, [`server`] at one server and [`account`] at what an account may
//! see; [`judge`] makes findings of what was seen. Findings and their text are pure.
//!
//! The same for shares: [`share_look`] and [`share_smb_look`] do the looking and [`smb_negotiate`] speaks to the server;
//! [`share_judge`] compares it with the table of [`share_needs`].

pub mod account;
pub mod directory;
pub mod judge;
pub mod server;
pub mod share_access;
pub mod share_descriptor;
pub mod share_facts;
pub mod share_judge;
pub mod share_look;
pub mod share_needs;
pub mod share_sddl;
pub mod share_smb_look;
pub mod share_smb_text;
pub mod smb_negotiate;

use std::fmt;

use serde::Serialize;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Well.
    Ok,
    /// It works, or nobody can tell; somebody should look.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    /// The word at the beginning of a line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What was looked at, in one word (`tls`).
    pub check: &'static str,
    /// How it stands.
    pub level: Level,
    /// What was found; one line.
    pub found: String,
    /// How to mend it; absent where there is nothing to mend.
    pub mend: Option<String>,
}

impl Finding {
    /// Something that is well.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: line(&found.into()), mend: None }
    }

    /// Something that somebody should look at.
    pub fn warn(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let (found, mend) = (line(&found.into()), Some(line(&mend.into())));
        Self { check, level: Level::Warn, found, mend }
    }

    /// Something that does not work.
    pub fn fail(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(check, found, mend) }
    }
}

/// Servers and libraries write what they like; a finding stays one line.
fn line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, level, found, mend } = self;
        write!(f, "{:<5} {check:<9} {found}", level.word())?;
        match mend {
            Some(mend) => write!(f, " — to mend: {mend}"),
            None => Ok(()),
        }
    }
}

/// Everything that was looked at, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// One for each thing.
    pub findings: Vec<Finding>,
    /// How many are well.
    pub ok: usize,
    /// How many somebody should look at.
    pub warn: usize,
    /// How many do not work.
    pub fail: usize,
}

impl Report {
    /// Counts what was found.
    pub fn of(findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|found| found.level == level).count();
        let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
        Self { findings, ok, warn, fail }
    }

    /// Whether anything does not work.
    pub fn has_failed(&self) -> bool {
        self.fail > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Self { ok, warn, fail, .. } = self;
        writeln!(f, "{ok} ok, {warn} to look at, {fail} failed")
    }
}

/// What is left to say where the settings cannot be read.
pub fn unsettled(why: impl Into<String>, mend: impl Into<String>) -> Report {
    Report::of(vec![Finding::fail("settings", why, mend)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each_and_a_sum() {
        let report = Report::of(vec![
            Finding::ok("settings", "ldaps as svc@corp.test"),
            Finding::warn("clock", "dc1: 61 s apart", "set the clock"),
            Finding::fail("bind", "no\r\n  ticket\n", "join"),
        ]);
        let text = "ok    settings  ldaps as svc@corp.test\n\
                    warn  clock     dc1: 61 s apart — to mend: set the clock\n\
                    FAIL  bind      no ticket — to mend: join\n\
                    1 ok, 1 to look at, 1 failed\n";
        assert_eq!(report.to_string(), text);
        assert!(report.has_failed());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][1]["level"], "warn");
        assert_eq!(json["findings"][0]["mend"], serde_json::Value::Null);
        assert_eq!((&json["ok"], &json["fail"]), (&1.into(), &1.into()));
    }

    #[test]
    fn warnings_are_no_failure() {
        let warn = Finding::warn("schema", "lacks it", "raise it");
        assert!(!Report::of(vec![warn]).has_failed());
        assert!(unsettled("no settings", "name them").has_failed());
        assert!(!Report::default().has_failed());
    }
}
