//! Rehearses a policy before it is pushed: for whom does which decision change, and why?
//!
//! Every user is tried on their own primary computers and on one computer of every *kind*: computers
//! that no filter, link or list of either set can tell apart decide alike, so one stands for all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use homeport_policy::decide::decide;
use homeport_policy::diff::{Change, changes};
use homeport_policy::facts::{Computer, Directory, Facts, Network, Os, User};
use homeport_policy::layer::PolicySet;
use homeport_policy::merge::{Memo, ResultantSet};
use homeport_policy::reach::{ComputerReach, Sieve, UserReach};
use homeport_policy::settings::{Half, Id, Slot};
use homeport_policy::value::{Glob, Value};
use serde::Serialize;

use crate::directory::file::Snapshot;
use crate::limits::{EXAMPLES_MAX, KINDS_MAX};

/// What a rehearsal found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rehearsal {
    /// Users tried.
    pub users: usize,
    /// Pairs of user and computer tried.
    pub pairs: usize,
    /// Users for whom something changes.
    pub users_changed: usize,
    /// Pairs for which something changes.
    pub pairs_changed: usize,
    /// Kinds of computers, each with the one that stood for it and how many it stands for.
    pub kinds: Vec<Kind>,
    /// Kinds beyond the bound, which were not tried with everybody.
    pub kinds_left_out: usize,
    /// What changes, the most frequent first.
    pub changes: Vec<Counted>,
}

/// A kind of computer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kind {
    /// The computer that stood for it.
    pub computer: String,
    /// How many computers are of this kind.
    pub count: usize,
}

/// A change, and for how many.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counted {
    /// What changes, with the user's own name as %USERNAME%.
    #[serde(flatten)]
    pub change: Change,
    /// For how many pairs.
    pub pairs: usize,
    /// Some of them, or all where that was asked.
    pub examples: Vec<String>,
}

/// Compares two sets over a whole directory.
pub fn rehearse(
    old: &PolicySet,
    new: &PolicySet,
    snapshot: &Snapshot,
    os: Os,
    all: bool,
) -> Rehearsal {
    let (kinds, left_out) = kinds(old, new, snapshot, os);
    let mut found = Rehearsal { kinds_left_out: left_out, ..Rehearsal::default() };
    let mut counted: BTreeMap<(String, String, String), Counted> = BTreeMap::new();
    let (before, after) = (Sieve::new(old), Sieve::new(new));
    let (mut old, mut new) = (Side::new(old, &before), Side::new(new, &after));
    let mut same = Same::default();
    let reach = |computer: &Computer| (before.computer(computer), after.computer(computer));
    let kinds: Vec<_> = kinds
        .into_iter()
        .map(|(kind, computer)| (kind, Tried { reach: reach(&computer), computer }))
        .collect();
    let own = |name: &str| {
        let os = snapshot.computer_os(name).unwrap_or(os);
        let computer = Arc::new(snapshot.computer(name, os, None)?);
        Some(Tried { reach: reach(&computer), computer })
    };
    for name in snapshot.user_names() {
        let Some(user) = snapshot.user(name) else { continue };
        found.users += 1;
        let mut changed = false;
        let primary: Vec<Tried> =
            user.primary_computers.iter().filter_map(|dn| own(&dn.leaf())).collect();
        let others = kinds.iter().map(|(_, tried)| tried);
        let others =
            others.filter(|other| !primary.iter().any(|own| own.computer.dn == other.computer.dn));
        let user_reach = (before.user(&user), after.user(&user));
        for Tried { computer, reach } in primary.iter().chain(others) {
            found.pairs += 1;
            let (from, to) =
                (old.merge(&user_reach.0, &reach.0), new.merge(&user_reach.1, &reach.1));
            if same.holds(&from, &to) {
                continue; // what is merged alike is decided alike
            }
            let facts = facts(&user, computer, snapshot);
            let changes = changes(&decide(&from, &facts), &decide(&to, &facts));
            changed |= !changes.is_empty();
            found.pairs_changed += usize::from(!changes.is_empty());
            for change in changes {
                count(&mut counted, change, &user, computer, all);
            }
        }
        found.users_changed += usize::from(changed);
    }
    found.kinds = kinds.into_iter().map(|(kind, _)| kind).collect();
    found.changes = counted.into_values().collect();
    found.changes.sort_by_key(|counted| std::cmp::Reverse(counted.pairs));
    found
}

/// One of the two sets, and what is remembered of it.
struct Side<'a> {
    set: &'a PolicySet,
    sieve: &'a Sieve<'a>,
    memo: Memo,
}

impl<'a> Side<'a> {
    fn new(set: &'a PolicySet, sieve: &'a Sieve<'a>) -> Self {
        Self { set, sieve, memo: Memo::default() }
    }

    fn merge(&mut self, user: &UserReach, computer: &ComputerReach) -> Arc<ResultantSet> {
        self.memo.merge(self.set, self.sieve.combine(Some(user), computer))
    }
}

/// Which merged sets of the two sides hold the same values. Most of a fleet is not touched by a
/// change of policy; for them one look at a remembered pair is all it takes.
#[derive(Default)]
struct Same {
    known: HashMap<(usize, usize), Compared>,
}

/// Two merged sets, and whether they hold the same values.
type Compared = (Arc<ResultantSet>, Arc<ResultantSet>, bool);

impl Same {
    fn holds(&mut self, from: &Arc<ResultantSet>, to: &Arc<ResultantSet>) -> bool {
        // The entry keeps both sets alive, so that an address never means another set.
        let key = (Arc::as_ptr(from) as usize, Arc::as_ptr(to) as usize);
        let fresh = || (Arc::clone(from), Arc::clone(to), from.has_values_of(to));
        self.known.entry(key).or_insert_with(fresh).2
    }
}

/// A computer, and what of the old and of the new set reaches it.
struct Tried {
    computer: Arc<Computer>,
    reach: (ComputerReach, ComputerReach),
}

fn facts(user: &Arc<User>, computer: &Arc<Computer>, snapshot: &Snapshot) -> Facts {
    Facts {
        user: Some(Arc::clone(user)),
        computer: Arc::clone(computer),
        directory: Directory::Answered,
        schema_has_primary_computer: snapshot.schema_has_primary_computer(),
        network: Network::default(),
        profile_link: None,
    }
}

fn count(
    counted: &mut BTreeMap<(String, String, String), Counted>,
    change: Change,
    user: &User,
    computer: &Computer,
    all: bool,
) {
    let general = |text: &str| text.replace(user.name.as_str(), "%USERNAME%");
    let key = (general(&change.what), general(&change.from), general(&change.to));
    let entry = counted.entry(key.clone()).or_insert_with(|| {
        let because = change.because.clone();
        let (what, from, to) = key;
        Counted { change: Change { what, from, to, because }, pairs: 0, examples: Vec::new() }
    });
    entry.pairs += 1;
    if all || entry.examples.len() < EXAMPLES_MAX {
        entry.examples.push(format!("{} on {}", user.name, computer.name));
    }
}

/// One computer for each kind, with how many it stands for; and how many kinds are left out.
fn kinds(
    old: &PolicySet,
    new: &PolicySet,
    snapshot: &Snapshot,
    os: Os,
) -> (Vec<(Kind, Arc<Computer>)>, usize) {
    let globs: Vec<&Glob> = [old, new].into_iter().flat_map(computer_globs).collect();
    let mut kinds: BTreeMap<String, (Kind, Arc<Computer>)> = BTreeMap::new();
    for name in snapshot.computer_names() {
        let os = snapshot.computer_os(name).unwrap_or(os);
        let Some(computer) = snapshot.computer(name, os, None) else { continue };
        let matches: String =
            globs.iter().map(|glob| if glob.matches(name) { '1' } else { '0' }).collect();
        // The place decides by the organizational units above, so siblings are alike.
        let dn = computer.dn.as_ref().map_or("", |dn| dn.key());
        let parent = dn.split_once('\u{1f}').map_or("", |(_, parent)| parent);
        let groups = group_signature(old, new, &computer);
        let key = format!("{parent}|{}|{matches}|{groups}", os.name());
        let fresh = || (Kind { computer: name.to_owned(), count: 0 }, Arc::new(computer));
        kinds.entry(key).or_insert_with(fresh).0.count += 1;
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by(|a, b| b.0.count.cmp(&a.0.count).then_with(|| a.0.computer.cmp(&b.0.computer)));
    let left_out = kinds.len().saturating_sub(KINDS_MAX);
    kinds.truncate(KINDS_MAX);
    (kinds, left_out)
}

/// Every glob on computer names that either set can test.
fn computer_globs(set: &PolicySet) -> Vec<&Glob> {
    let mut globs = Vec::new();
    for object in &set.objects {
        globs.extend(object.filter.computers.iter().flatten());
        let assigned = object.half(Half::Computer).iter();
        let assigned = assigned.filter(|cell| cell.slot == Slot::from(Id::PrimaryAssign));
        for sourced in assigned.flat_map(|cell| &cell.values) {
            if let Value::Assign(assign) = &sourced.value {
                globs.extend(&assign.computers);
            }
        }
    }
    globs
}

/// Which groups of either set's filters the computer is in.
fn group_signature(old: &PolicySet, new: &PolicySet, computer: &Computer) -> String {
    let filters = [old, new].into_iter().flat_map(|set| &set.objects).map(|object| &object.filter);
    let groups =
        filters.flat_map(|filter| filter.groups.iter().flatten().chain(&filter.not_groups));
    groups.map(|group| if computer.groups.contains(group) { '1' } else { '0' }).collect()
}

impl std::fmt::Display for Rehearsal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { users, pairs, users_changed, pairs_changed, .. } = self;
        let kinds = self.kinds.len();
        writeln!(f, "{users} users tried on their own computers and on {kinds} kinds of others")?;
        for Kind { computer, count } in &self.kinds {
            writeln!(f, "    {computer} stands for {count}")?;
        }
        if self.kinds_left_out > 0 {
            writeln!(f, "    {} rarer kinds were left out", self.kinds_left_out)?;
        }
        writeln!(f, "{users_changed} users, {pairs_changed} of {pairs} pairs change\n")?;
        if self.changes.is_empty() {
            return f.write_str("no decision changes");
        }
        for Counted { change, pairs, examples } in &self.changes {
            let Change { what, from, to, because } = change;
            writeln!(f, "{pairs} × {what}: {from} → {to}")?;
            for because in because {
                writeln!(f, "      because {because}")?;
            }
            let more = pairs - examples.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            writeln!(f, "      {}{more}", examples.join(", "))?;
        }
        Ok(())
    }
}
