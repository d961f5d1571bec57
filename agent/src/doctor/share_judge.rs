//! What was seen of a share, judged: the first part that fails, the right that is missing, and the
//! entry that gives it (pure).

use std::fmt;

use serde::Serialize;

use super::share_access::{Ace, Change, mask, names};
use super::share_facts::{Caching, Facts, Listed, NtStatus, Seen, Stage, Step};
use super::share_needs::{At, Command, NEEDS, Place, Who, need};
use super::{Finding, Level, Report, judge};

/// The longest path that programs of Windows know without asking for more (MAX_PATH, less its end).
const PATH_MAX: usize = 259;
/// What stands for a SID that nobody named.
const SOMEBODY: &str = "<SID of a group that the user is in>";
/// BUILTIN\Administrators.
const ADMINISTRATORS: &str = "S-1-5-32-544";

/// What it comes to, for the exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing failed.
    #[default]
    Well,
    /// A right is missing.
    Denied,
    /// The server or share cannot be reached.
    Away,
    /// Something else does not work.
    Broken,
}

/// The first part of the path that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct First {
    /// The part.
    pub part: String,
    /// What failed.
    pub stage: Stage,
    /// How.
    pub status: Option<NtStatus>,
    /// The right that is missing, where it is one.
    pub missing: Option<String>,
}

/// A change of an access list that mends something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mend {
    /// Whose list.
    pub part: String,
    /// Whether it is the share's own list, and not that of its root.
    pub of_share: bool,
    /// `add` or `remove`.
    pub what: &'static str,
    /// The entry, and how each tool takes it.
    #[serde(flatten)]
    pub command: Command,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShareReport {
    /// One line for each thing.
    #[serde(flatten)]
    pub report: Report,
    /// What it comes to.
    pub verdict: Verdict,
    /// The first part that fails.
    pub first_failure: Option<First>,
    /// What mends missing rights, in order.
    pub changes: Vec<Mend>,
}

impl fmt::Display for ShareReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.report)?;
        if let Some(First { part, stage, status, missing }) = &self.first_failure {
            write!(f, "the first part that fails: {part} ({}", stage.word())?;
            status.map_or(Ok(()), |status| write!(f, ", {status}"))?;
            missing.as_ref().map_or(Ok(()), |missing| write!(f, ", missing: {missing}"))?;
            writeln!(f, ")")?;
        }
        for Mend { part, of_share, what, command } in &self.changes {
            let list = if *of_share { " (share permissions)" } else { "" };
            writeln!(f, "{what} at {part}{list}: {}", command.sddl)?;
            writeln!(f, "    Windows: {}\n    Samba:   {}", command.windows, command.samba)?;
        }
        Ok(())
    }
}

struct Judge<'f> {
    facts: &'f Facts,
    findings: Vec<Finding>,
    verdict: Verdict,
    first: Option<First>,
    changes: Vec<Mend>,
}

/// Judges what was seen.
pub fn judge(facts: &Facts) -> ShareReport {
    let (findings, changes) = (Vec::new(), Vec::new());
    let mut it = Judge { facts, findings, verdict: Verdict::Well, first: None, changes };
    for step in &facts.steps {
        it.step(step);
        if step.stage == Stage::Dialect {
            it.negotiated();
        }
    }
    for listed in &facts.lists {
        it.list(listed);
    }
    it.owner();
    it.flags();
    it.path();
    let Judge { findings, verdict, first, changes, .. } = it;
    ShareReport { report: Report::of(findings), verdict, first_failure: first, changes }
}

impl Judge<'_> {
    /// The worse word stays: what is away hides what is denied behind it.
    fn fail(&mut self, finding: Finding, verdict: Verdict) {
        if finding.level == Level::Fail && self.verdict == Verdict::Well {
            self.verdict = verdict;
        }
        self.findings.push(finding);
    }

    fn step(&mut self, step: &Step) {
        let Step { part, stage, seen } = step;
        let check = stage.word();
        let (status, why) = match seen {
            Seen::Well(found) => {
                return self.findings.push(Finding::ok(check, format!("{part}: {found}")));
            }
            Seen::Unknown(why) => {
                let found = format!("{part}: not looked at: {why}");
                return self.findings.push(Finding::ok(check, found));
            }
            Seen::Failed { status, why } => (*status, why),
        };
        let said = status.map_or(String::new(), |status| format!("{status}: "));
        let found = format!("{part}: {said}{why}");
        if stage.is_of_server() && !self.facts.by_smb {
            let mend = "nothing, as long as the share is reached otherwise";
            return self.findings.push(Finding::warn(check, found, mend));
        }
        let is_denied = status == Some(NtStatus::ACCESS_DENIED);
        let missing = is_denied.then(|| self.missing(step)).flatten();
        let verdict = match stage {
            _ if is_denied => Verdict::Denied,
            Stage::Name | Stage::Port => Verdict::Away,
            _ if status.is_some_and(is_away) => Verdict::Away,
            _ => Verdict::Broken,
        };
        let mend = match &missing {
            Some(right) => format!("give the user {right} there; see the entry below"),
            None => hint(*stage, status).to_owned(),
        };
        self.fail(Finding::fail(check, found, mend), verdict);
        if self.first.is_none() {
            let part = part.clone();
            self.first = Some(First { part, stage: *stage, status, missing });
        }
    }

    /// The right that a refusal shows to be missing. Where the access list cannot be read, the entry
    /// of the table is what mends it.
    fn missing(&mut self, step: &Step) -> Option<String> {
        let listed = |place: fn(Place) -> bool| {
            self.facts.lists.iter().find(|listed| listed.part == step.part && place(listed.place))
        };
        let (right, listed) = match step.stage {
            Stage::Tree => (mask::CHANGE, listed(|place| place == Place::Share)),
            Stage::Open => (mask::READ_ATTRIBUTES, listed(|place| place != Place::Share)),
            Stage::List => (mask::LIST, listed(|place| place != Place::Share)),
            _ => return None,
        };
        let known = listed.and_then(|listed| listed.list.as_ref().ok());
        let grants = known.is_some_and(|list| right & !list.granted(&self.facts.sids) == 0);
        if grants && step.stage != Stage::Tree && !self.knows_share_list() {
            return Some(self.missing_in_share());
        }
        let is_known = known.is_some();
        let place = match (step.stage, listed) {
            (Stage::Tree, _) => Place::Share,
            (_, Some(listed)) => listed.place,
            (_, None) => Place::Folder,
        };
        if !is_known && let Some(row) = need(place, Who::User) {
            let who = self.facts.who.clone().unwrap_or_else(|| SOMEBODY.to_owned());
            self.change(place, &step.part, &Change::Add(Ace::allow(who, row.mask, row.flags)));
        }
        Some(if step.stage == Stage::Tree { "Change".to_owned() } else { names(right) })
    }

    fn knows_share_list(&self) -> bool {
        let lists = &self.facts.lists;
        lists.iter().any(|listed| listed.place == Place::Share && listed.list.is_ok())
    }

    /// The folder's list grants what the server refuses, so the share's own, which only
    /// administrators may read, is in the way.
    fn missing_in_share(&mut self) -> String {
        let mut names = self.facts.unc.parts();
        let (server, share) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        let part = format!(r"\\{server}\{share}");
        if let Some(row) = need(Place::Share, Who::User) {
            let who = self.facts.who.clone().unwrap_or_else(|| SOMEBODY.to_owned());
            let entry = Ace::allow(who, row.mask, row.flags);
            self.change(Place::Share, &part, &Change::Add(entry));
        }
        "Change in the share permissions".to_owned()
    }

    fn change(&mut self, place: Place, part: &str, change: &Change) {
        let at = At { place, unc: part };
        let (what, command) = match change {
            Change::Add(ace) => ("add", at.adding(ace)),
            Change::Remove(ace) => ("remove", at.removing(ace)),
        };
        let of_share = place == Place::Share;
        let mend = Mend { part: part.to_owned(), of_share, what, command };
        if !self.changes.contains(&mend) {
            self.changes.push(mend);
        }
    }

    /// One access list against the table.
    fn list(&mut self, listed: &Listed) {
        let Listed { place, part, list } = listed;
        let list = match list {
            Ok(list) => list,
            Err(why) => {
                let found = format!("{part}: the list of the {} is not known: {why}", place.name());
                return self.findings.push(Finding::ok("rights", found));
            }
        };
        for row in NEEDS.iter().filter(|row| row.place == *place) {
            let what = format!("{part}: {}: {} ({})", place.name(), row.name, row.source);
            if let Some(sid) = row.who.sid() {
                let has = |ace: &Ace| ace.sid == sid && ace.mask != 0;
                if list.list.as_ref().is_some_and(|list| !list.iter().any(has)) {
                    let entry = Ace::allow(sid, row.mask, row.flags);
                    let mend = format!("add {entry}, the documented minimum");
                    self.findings.push(Finding::warn("rights", format!("{what} is missing"), mend));
                }
                continue;
            }
            let missing = row.mask & !list.granted(&self.facts.sids);
            if missing == 0 {
                self.findings.push(Finding::ok("rights", format!("{what}: the user has it")));
                continue;
            }
            let Some(who) = &self.facts.who else {
                let mend =
                    "name the user's SIDs with --sid (`whoami /groups`, `wbinfo --user-sids`)";
                let found = format!("{what}: nobody said who the user is");
                self.findings.push(Finding::warn("rights", found, mend));
                continue;
            };
            for change in list.changes(&self.facts.sids, who, row.mask, row.flags) {
                self.change(*place, part, &change);
            }
            let right = names(missing);
            let found = format!("{what}: the user lacks {right}");
            self.fail(Finding::fail("rights", found, "change the list as below"), Verdict::Denied);
            if self.first.is_none() {
                let stage = if *place == Place::Share { Stage::Tree } else { Stage::Open };
                let (part, missing) = (part.clone(), Some(right));
                self.first = Some(First { part, stage, status: None, missing });
            }
        }
    }

    fn negotiated(&mut self) {
        let Some(said) = &self.facts.negotiated else { return };
        let server = self.facts.unc.parts().next().unwrap_or_default();
        if said.dialect < 0x0300 {
            let found = format!("{}, which cannot encrypt", said.dialect_name());
            self.findings.push(Finding::warn("dialect", found, "raise the server to SMB 3"));
        }
        if !said.signing_required {
            let mend = "require signing on the server (`server signing = mandatory`)";
            let found = "the server does not require signing; whoever is between may change data";
            self.findings.push(Finding::warn("signing", found, mend));
        }
        let skew = said.time.map(|time| {
            let now = self.facts.now;
            now.duration_since(time).unwrap_or_else(|before| before.duration())
        });
        let finding = judge::skew(server, skew);
        self.fail(finding, Verdict::Broken);
    }

    fn owner(&mut self) {
        let folder = self.facts.lists.iter().find(|listed| listed.place == Place::Folder);
        let list = folder.and_then(|listed| listed.list.as_ref().ok());
        let (Some(owner), Some(_)) = (list.and_then(|it| it.owner.as_ref()), &self.facts.who)
        else {
            return;
        };
        if self.facts.sids.contains(owner) || owner == ADMINISTRATORS {
            return self.findings.push(Finding::ok("owner", format!("the folder's is {owner}")));
        }
        let found = format!("the folder belongs to {owner}, neither the user nor Administrators");
        let mend = "give it to the user; folder redirection with exclusive rights and roaming \
                    profiles refuse it else (events 502, 1307)";
        self.findings.push(Finding::warn("owner", found, mend));
    }

    fn flags(&mut self) {
        match self.facts.caching {
            None => {}
            Some(Caching::Forbidden) => {
                let mend = "allow it (`Set-SmbShare -CachingMode Manual`, `csc policy = manual`)";
                let found = "the share forbids Windows computers to keep anything offline";
                self.findings.push(Finding::warn("caching", found, mend));
            }
            Some(caching) => {
                self.findings.push(Finding::ok("caching", format!("{caching:?}")));
            }
        }
        if self.facts.continuous == Some(true) {
            let mend = "turn it off for shares with offline files \
                        (`Set-SmbShare -ContinuouslyAvailable $false`)";
            let found = "the share is continuously available: Windows computers take minutes to \
                         go offline";
            self.findings.push(Finding::warn("caching", found, mend));
        }
    }

    fn path(&mut self) {
        let unc = self.facts.unc.to_string();
        let length = unc.encode_utf16().count();
        if length > PATH_MAX {
            let found = format!("the path has {length} characters; many programs know {PATH_MAX}");
            self.findings.push(Finding::warn("path", found, "shorten it, or map it deeper"));
        }
        for referral in &self.facts.referrals {
            let targets = referral.targets.join(", ");
            let found = match referral.targets.is_empty() {
                true => format!("{} is a link to another place", referral.part),
                false => format!("{} leads to {targets}", referral.part),
            };
            self.findings.push(match referral.targets.len() {
                0 | 1 => Finding::ok("dfs", found),
                _ => {
                    let mend = "leave one target enabled: replication is no lock, and people's \
                                files would diverge";
                    Finding::warn("dfs", found, mend)
                }
            });
        }
        for other in &self.facts.other_names {
            let found = format!("{other} is the same server under another name");
            let mend = "use one name everywhere; each name is a cache of its own, and moving \
                        between them deletes on Windows";
            self.findings.push(Finding::warn("names", found, mend));
        }
    }
}

fn is_away(status: NtStatus) -> bool {
    [
        NtStatus::IO_TIMEOUT,
        NtStatus::HOST_UNREACHABLE,
        NtStatus::CONNECTION_REFUSED,
        NtStatus::CONNECTION_LOST,
        NtStatus::BAD_NETWORK_PATH,
    ]
    .contains(&status)
}

/// How to mend a stage that failed without a right that is missing.
fn hint(stage: Stage, status: Option<NtStatus>) -> &'static str {
    match (stage, status) {
        (Stage::Name, _) => "check the name, and this computer's DNS",
        (Stage::Port, _) => "check that the server runs, and that no firewall closes port 445",
        (Stage::Dialect, _) => "raise the server to SMB 2 or later",
        (Stage::Session, _) => "check the user's ticket (`klist`) and the server's account",
        (Stage::Open | Stage::List, Some(NtStatus::BAD_NETWORK_NAME)) => {
            "a link on the way leads to a share that is not there: mend its target"
        }
        (_, Some(NtStatus::BAD_NETWORK_NAME)) => "check the share's name; it may be renamed",
        (_, Some(NtStatus::NOT_FOUND | NtStatus::PATH_NOT_FOUND)) => {
            "check the name; somebody may have moved the folder"
        }
        (_, Some(status)) if is_away(status) => "wait for the server, or mount the share again",
        _ => "see the server's log",
    }
}

#[cfg(test)]
#[path = "share_judge_tests.rs"]
mod tests;
