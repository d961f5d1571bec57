//! Compares the two lists of primary computers: policy's (`primary-computers.assign`) and the
//! directory's (`msDS-PrimaryComputer`). Every difference is one row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use homeport_policy::dn::Dn;
use homeport_policy::facts::{Os, User};
use homeport_policy::layer::{PolicySet, Sourced};
use homeport_policy::merge::Memo;
use homeport_policy::primary::{Difference, assigned, is_theirs};
use homeport_policy::reach::{ComputerReach, Sieve};
use homeport_policy::settings::{Half, Id, Slot};
use homeport_policy::value::{Assign, Value, Who};
use serde::Serialize;

use crate::directory::file::Snapshot;

/// Rows that are listed; more are counted. A list this long needs another remedy.
pub const ROWS_MAX: usize = 100_000;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// How they differ.
    pub finding: Difference,
    /// sAMAccountName of the user; of a group, `@` and its name.
    pub user: String,
    /// Name of the computer, its distinguished name, or policy's glob.
    pub computer: String,
    /// What it rests on: the place in policy, or the time of the last sign-in.
    pub detail: String,
}

/// All differences.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// Users looked at.
    pub users: usize,
    /// Computers looked at.
    pub computers: usize,
    /// How many differences of each kind there are, the kinds without one too.
    pub counts: BTreeMap<&'static str, usize>,
    /// The differences, sorted; at most [`ROWS_MAX`].
    pub rows: Vec<Row>,
    /// Differences beyond that.
    pub left_out: usize,
}

/// Compares the lists for everybody in a directory. A computer is stale whose last sign-in lies
/// before `stale_before_unix`, in seconds since 1970; `os` counts where the directory names none.
pub fn compare(set: &PolicySet, snapshot: &Snapshot, os: Os, stale_before_unix: i64) -> Comparison {
    let rows = assign_rows(set);
    let computers = snapshot.computer_names();
    let globbed: Vec<(&Assign, Vec<&str>)> = rows
        .iter()
        .map(|(assign, _)| {
            let is_meant = |name: &&str| assign.computers.iter().any(|glob| glob.matches(name));
            (*assign, computers.iter().copied().filter(is_meant).collect())
        })
        .collect();
    let mut compared = Compared::new(snapshot, stale_before_unix);
    let mut lists = Lists { set, snapshot, os, sieve: Sieve::new(set), memo: Memo::default() };
    let mut met = vec![false; rows.len()];
    let names = snapshot.user_names();
    for name in &names {
        let Some(user) = snapshot.user(name) else { continue };
        let theirs = globbed.iter().enumerate().filter(|(_, (assign, _))| is_theirs(assign, &user));
        let mut candidates = BTreeSet::new();
        for (at, (_, meant)) in theirs {
            met[at] = true;
            candidates.extend(meant.iter().copied());
        }
        compared.user(&user, &lists.policy(&user, candidates), !rows.is_empty());
    }
    for (((assign, sourced), (_, meant)), met) in rows.iter().zip(&globbed).zip(met) {
        compared.assignment(assign, sourced, meant.is_empty(), met);
    }
    compared.finish(names.len(), computers.len())
}

/// Every row of `primary-computers.assign` in a set.
fn assign_rows(set: &PolicySet) -> Vec<(&Assign, &Sourced)> {
    let cells = set.objects.iter().flat_map(|object| object.half(Half::Computer));
    let cells = cells.filter(|cell| cell.slot == Slot::from(Id::PrimaryAssign));
    let rows = cells.flat_map(|cell| &cell.values).filter_map(|sourced| match &sourced.value {
        Value::Assign(assign) => Some((assign, sourced)),
        _ => None,
    });
    rows.collect()
}

/// What policy says, as it says it to each user on each computer.
struct Lists<'a> {
    set: &'a PolicySet,
    snapshot: &'a Snapshot,
    os: Os,
    sieve: Sieve<'a>,
    memo: Memo,
}

impl Lists<'_> {
    /// Which of some computers are the user's by policy, with the place where it is written. An
    /// assignment counts only where its object applies.
    fn policy<'c>(
        &mut self,
        user: &User,
        candidates: BTreeSet<&'c str>,
    ) -> BTreeMap<&'c str, String> {
        if candidates.is_empty() {
            return BTreeMap::new();
        }
        let reach = self.sieve.user(user);
        let mut assigned_here = BTreeMap::new();
        for name in candidates {
            let Some(there) = self.reach(name) else { continue };
            let rsop = self.memo.merge(self.set, self.sieve.combine(Some(&reach), &there));
            if let Some(origin) = assigned(&rsop, user, name) {
                assigned_here.insert(name, origin.to_string());
            }
        }
        assigned_here
    }

    fn reach(&self, computer: &str) -> Option<ComputerReach> {
        let os = self.snapshot.computer_os(computer).unwrap_or(self.os);
        Some(self.sieve.computer(&self.snapshot.computer(computer, os, None)?))
    }
}

/// The rows so far.
struct Compared<'a> {
    snapshot: &'a Snapshot,
    stale_before_unix: i64,
    found: Comparison,
}

impl<'a> Compared<'a> {
    fn new(snapshot: &'a Snapshot, stale_before_unix: i64) -> Self {
        let counts = Difference::ALL.iter().map(|finding| (finding.name(), 0)).collect();
        let found = Comparison { counts, ..Comparison::default() };
        Self { snapshot, stale_before_unix, found }
    }

    fn add(&mut self, finding: Difference, user: &str, computer: &str, detail: String) {
        *self.found.counts.entry(finding.name()).or_default() += 1;
        if self.found.rows.len() >= ROWS_MAX {
            self.found.left_out += 1;
            return;
        }
        let (user, computer) = (user.to_owned(), computer.to_owned());
        self.found.rows.push(Row { finding, user, computer, detail });
    }

    /// One user: `policy` is what policy assigns; `decides`, whether it assigns anything at all.
    fn user(&mut self, user: &User, policy: &BTreeMap<&str, String>, decides: bool) {
        let mut listed = BTreeSet::new();
        for dn in &user.primary_computers {
            let Some(name) = self.snapshot.computer_called(dn) else {
                self.add(Difference::UnknownComputer, &user.name, &text(dn), listed_by(user));
                continue;
            };
            listed.insert(name);
            if decides && !policy.contains_key(name) {
                self.add(Difference::MissingInPolicy, &user.name, name, listed_by(user));
            }
            self.stale(&user.name, name);
        }
        for (name, origin) in policy.iter().filter(|(name, _)| !listed.contains(*name)) {
            self.add(
                Difference::MissingInDirectory,
                &user.name,
                name,
                format!("assigned by {origin}"),
            );
            self.stale(&user.name, name);
        }
    }

    fn stale(&mut self, user: &str, computer: &str) {
        if let Some(at) = self.snapshot.computer_last_logon(computer)
            && at < self.stale_before_unix
        {
            let day = chrono::DateTime::from_timestamp(at, 0).unwrap_or_default();
            let detail = format!("last signed in to the domain about {}", day.format("%Y-%m-%d"));
            self.add(Difference::StaleComputer, user, computer, detail);
        }
    }

    /// One row of policy: whether it means no computer at all, and whether it met anybody.
    fn assignment(&mut self, assign: &Assign, sourced: &Sourced, nowhere: bool, met: bool) {
        let who = match &assign.who {
            Who::User(name) => name.as_str().to_owned(),
            Who::Group(group) => format!("@{}", group.as_str()),
        };
        let globs: Vec<&str> = assign.computers.iter().map(|glob| glob.as_str()).collect();
        let detail = || format!("assigned by {}", sourced.origin);
        if nowhere {
            self.add(Difference::UnknownComputer, &who, &globs.join(", "), detail());
        }
        if !met {
            self.add(Difference::UnknownUser, &who, &globs.join(", "), detail());
        }
    }

    fn finish(mut self, users: usize, computers: usize) -> Comparison {
        self.found.rows.sort();
        Comparison { users, computers, ..self.found }
    }
}

fn text(dn: &Dn) -> String {
    dn.to_string()
}

fn listed_by(user: &User) -> String {
    format!("listed in msDS-PrimaryComputer of {}", user.name)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Row) -> &str, title: &str| {
            let widths = self.rows.iter().map(|row| of(row).chars().count());
            widths.chain([title.len()]).max().unwrap_or_default().min(WIDTH_MAX)
        };
        let (a, b) = (width(|row| row.finding.name(), "finding"), width(|row| &row.user, "user"));
        let c = width(|row| &row.computer, "computer");
        if !self.rows.is_empty() {
            writeln!(f, "{:a$}  {:b$}  {:c$}  detail", "finding", "user", "computer")?;
        }
        for Row { finding, user, computer, detail } in &self.rows {
            writeln!(f, "{:a$}  {user:b$}  {computer:c$}  {detail}", finding.name())?;
        }
        if self.left_out > 0 {
            writeln!(f, "… and {} more", self.left_out)?;
        }
        let counts = self.counts.iter().filter(|(_, count)| **count > 0);
        let counts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
        let counts = if counts.is_empty() { "no difference".to_owned() } else { counts.join(", ") };
        write!(f, "{} users, {} computers: {counts}", self.users, self.computers)
    }
}

/// Wider columns are not lined up: distinguished names would push everything off the screen.
const WIDTH_MAX: usize = 40;
