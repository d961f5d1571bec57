//! Says in words, or as JSON, what was decided and on which object, line and fact it rests.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use crate::decide::{BackgroundAction, Decision, FolderAction, ProfileAction};
use crate::facts::{Directory, Facts};
use crate::filter::{Verdict, verdicts};
use crate::layer::{Origin, PolicySet};
use crate::merge::{Resolved, ResultantSet};
use crate::primary::Primary;
use crate::reason::{Because, Decided};
use crate::settings::{Half, Slot};
use crate::value::duration_text;

/// The whole answer to "why?" for one user on one computer.
#[derive(Debug, Serialize)]
pub struct Explanation<'a> {
    /// sAMAccountName, if the directory knows the user.
    pub user: Option<&'a str>,
    /// The computer's name.
    pub computer: &'a str,
    /// Its operating system.
    pub os: &'static str,
    /// Which objects count, and why the others do not.
    pub objects: Vec<ObjectVerdict<'a>>,
    /// The Resultant Set of Policy.
    pub rsop: Vec<RsopLine>,
    /// What was decided.
    pub decision: &'a Decision,
    #[serde(skip)]
    directory: Directory,
}

/// What became of one object.
#[derive(Debug, Serialize)]
pub struct ObjectVerdict<'a> {
    /// Its id.
    pub object: &'a str,
    /// Its file.
    pub file: &'a str,
    /// Where it is linked.
    pub link: String,
    /// Whether the link is enforced.
    pub enforced: bool,
    /// For Computer Configuration.
    pub computer: Verdict,
    /// For User Configuration.
    pub user: Verdict,
}

/// One configured setting, its winner and its losers.
#[derive(Debug, Serialize)]
pub struct RsopLine {
    /// The full key.
    pub key: String,
    /// The value in force, or each element of a list.
    pub values: Vec<RsopValue>,
    /// The half that won.
    pub half: Option<Half>,
    /// Whether an enforced link won.
    pub enforced: bool,
    /// What was overruled, the strongest first.
    pub overruled: Vec<RsopValue>,
}

/// A value as text, and where it was written.
#[derive(Debug, Serialize)]
pub struct RsopValue {
    /// The value.
    pub value: String,
    /// Where it was written.
    pub origin: Arc<Origin>,
}

/// Puts the answer together.
pub fn explain<'a>(
    set: &'a PolicySet,
    facts: &'a Facts,
    rsop: &ResultantSet,
    decision: &'a Decision,
) -> Explanation<'a> {
    let computer = verdicts(set, facts, Half::Computer);
    let user = verdicts(set, facts, Half::User);
    // Without a user there are no user verdicts; the half then counts as empty.
    let user = user.into_iter().chain(std::iter::repeat(Verdict::Empty));
    let objects = set.objects.iter().zip(computer).zip(user);
    let objects = objects.map(|((object, computer), user)| ObjectVerdict {
        object: &object.id,
        file: &object.file,
        link: object.link.to.to_string(),
        enforced: object.link.enforced,
        computer,
        user,
    });
    Explanation {
        user: facts.user.as_ref().map(|user| user.name.as_str()),
        computer: &facts.computer.name,
        os: facts.computer.os.name(),
        objects: objects.collect(),
        rsop: rsop.configured().map(|(slot, resolved)| rsop_line(slot, resolved)).collect(),
        decision,
        directory: facts.directory,
    }
}

fn rsop_line(slot: Slot, resolved: &Resolved) -> RsopLine {
    let values = |values: &[crate::layer::Sourced]| {
        let each = values.iter().map(|sourced| RsopValue {
            value: sourced.value.to_string(),
            origin: sourced.origin.clone(),
        });
        each.collect::<Vec<_>>()
    };
    RsopLine {
        key: slot.key(),
        values: values(&resolved.values),
        half: resolved.half,
        enforced: resolved.enforced,
        overruled: resolved.losers.iter().flat_map(|loser| values(&loser.values)).collect(),
    }
}

/// What is to happen to a folder, in words.
pub fn folder_text(action: &FolderAction) -> String {
    match action {
        FolderAction::NotConfigured => "not configured".to_owned(),
        FolderAction::Redirect(redirection) => format!("redirect to {}", redirection.target),
        FolderAction::Local { .. } => "keep in the local profile".to_owned(),
        FolderAction::NotHere => "do not redirect on this computer".to_owned(),
        FolderAction::Hold => "leave as it is".to_owned(),
    }
}

/// What is to happen to the profile, in words.
pub fn profile_text(action: &ProfileAction) -> String {
    match action {
        ProfileAction::Local => "local".to_owned(),
        ProfileAction::Roam(roaming) if roaming.upload => format!("roam with {}", roaming.path),
        ProfileAction::Roam(roaming) => format!("download from {}", roaming.path),
    }
}

/// When background sync runs, in words.
pub fn background_text(action: &BackgroundAction) -> String {
    match action {
        BackgroundAction::Scheduled { schedule } => crate::decide_cache::describe(schedule),
        BackgroundAction::Stopped { .. } => "stopped".to_owned(),
    }
}

fn primary_text(action: Primary) -> &'static str {
    match action {
        Primary::Yes => "yes",
        Primary::No => "no",
        Primary::Unknown => "unknown",
    }
}

impl std::fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_head(&mut out);
        self.write_decision(&mut out);
        self.write_rsop(&mut out);
        self.write_objects(&mut out);
        f.write_str(out.trim_end())
    }
}

impl Explanation<'_> {
    fn write_head(&self, out: &mut String) -> std::fmt::Result {
        let user = self.user.unwrap_or("(no user)");
        writeln!(out, "{user} on {} ({})", self.computer, self.os)?;
        match self.directory {
            Directory::Answered => Ok(()),
            Directory::Cached { age } => {
                let age = duration_text(std::time::Duration::from_secs(age.as_secs()));
                writeln!(out, "the directory is out of reach; its answer is {age} old")
            }
            Directory::Away => writeln!(out, "the directory is out of reach"),
        }
    }

    fn write_decision(&self, out: &mut String) {
        out.push_str("\nDECISIONS\n");
        let decision = self.decision;
        let plain: Vec<&str> = decision
            .folders
            .iter()
            .filter(|folder| is_plain(&folder.decided))
            .map(|folder| folder.folder.key())
            .collect();
        for folder in decision.folders.iter().filter(|folder| !is_plain(&folder.decided)) {
            let text = folder_text(&folder.decided.action);
            write_decided(out, folder.folder.key(), &text, &folder.decided.because);
        }
        if !plain.is_empty() {
            let _ = writeln!(out, "  {}: not configured", plain.join(", "));
        }
        let profile = profile_text(&decision.profile.action);
        write_decided(out, "profile", &profile, &decision.profile.because);
        for cache in &decision.caches {
            let Decided { action, because } = &**cache;
            let suspended = if action.suspended { ", suspended while signed in" } else { "" };
            let text = format!("kept offline; slow: {}{suspended}", action.slow_link);
            write_decided(out, action.path.as_str(), &text, because);
        }
        let background = background_text(&decision.background_sync.action);
        write_decided(out, "background sync", &background, &decision.background_sync.because);
        let primary = primary_text(decision.primary_computer.action);
        write_decided(out, "primary computer", primary, &decision.primary_computer.because);
    }

    fn write_rsop(&self, out: &mut String) {
        out.push_str("\nRESULTANT SET OF POLICY\n");
        if self.rsop.is_empty() {
            out.push_str("  nothing is configured\n");
        }
        for line in &self.rsop {
            let mark = if line.enforced { ", enforced" } else { "" };
            for RsopValue { value, origin } in &line.values {
                let _ = writeln!(out, "  {} = {value} — {origin}{mark}", line.key);
            }
            for RsopValue { value, origin } in &line.overruled {
                let _ = writeln!(out, "      overruled: {value} — {origin}");
            }
        }
    }

    fn write_objects(&self, out: &mut String) {
        out.push_str("\nPOLICY OBJECTS\n");
        for object in &self.objects {
            let ObjectVerdict { object, file, link, enforced, computer, user } = object;
            let mark = if *enforced { ", enforced" } else { "" };
            let verdict = match (computer, user) {
                (Verdict::Applies, Verdict::Applies) => "applies".to_owned(),
                (Verdict::Applies, Verdict::Empty) => "applies (computer)".to_owned(),
                (Verdict::Empty, Verdict::Applies) => "applies (user)".to_owned(),
                (Verdict::Empty, other) | (other, Verdict::Empty) => other.text().to_owned(),
                (a, b) if a == b => a.text().to_owned(),
                (a, b) => format!("computer: {}; user: {}", a.text(), b.text()),
            };
            let _ = writeln!(out, "  {object} ({file}, {link}{mark}): {verdict}");
        }
    }
}

fn is_plain(decided: &Decided<FolderAction>) -> bool {
    decided.action == FolderAction::NotConfigured
        && decided.because.iter().all(|because| because.origin.is_none())
}

fn write_decided(out: &mut String, what: &str, text: &str, because: &[Because]) {
    let _ = writeln!(out, "  {what}: {text}");
    for because in because {
        let _ = writeln!(out, "      because {because}");
    }
}
