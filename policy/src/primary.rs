//! Whether a computer is one of a user's primary computers, and on what that rests.
//!
//! Seed 002 and `windows-semantics` 5: is the policy set → does the schema have the attribute →
//! is this computer's DN among the user's values. The first question is asked by `decide`.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::facts::{Directory, Facts, User};
use crate::layer::{Origin, Sourced};
use crate::merge::ResultantSet;
use crate::reason::{Because, Decided, Reason};
use crate::settings::Id;
use crate::value::{Assign, Value, Who, duration_text};

/// The answer to "is this one of the user's primary computers?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Primary {
    /// It is, or the check does not hold anybody back.
    Yes,
    /// It is not: data is not brought in, and what was brought in is undone.
    No,
    /// It cannot be known: data is not brought in, and nothing is undone.
    Unknown,
}

/// How policy's list of primary computers and the directory's differ in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Policy assigns the computer; the user's `msDS-PrimaryComputer` does not have it.
    MissingInDirectory,
    /// The user's `msDS-PrimaryComputer` has the computer; no policy assigns it.
    MissingInPolicy,
    /// The directory has no such computer (any more).
    UnknownComputer,
    /// The directory has no such user, or nobody in such a group.
    UnknownUser,
    /// The computer has not signed in to the domain for long.
    StaleComputer,
}

impl Difference {
    /// Every finding.
    pub const ALL: [Self; 5] = [
        Self::MissingInDirectory,
        Self::MissingInPolicy,
        Self::UnknownComputer,
        Self::UnknownUser,
        Self::StaleComputer,
    ];

    /// The word in reports and in the label of the metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingInDirectory => "missing-in-directory",
            Self::MissingInPolicy => "missing-in-policy",
            Self::UnknownComputer => "unknown-computer",
            Self::UnknownUser => "unknown-user",
            Self::StaleComputer => "stale-computer",
        }
    }
}

/// How long a cached answer decides while the directory is out of reach.
const CACHED_AGE_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Asks the lists that policy names (`primary-computers.source`).
pub fn primary_computer(rsop: &ResultantSet, facts: &Facts) -> Decided<Primary> {
    let Some(user) = facts.user.as_deref() else {
        let reason = match facts.directory {
            Directory::Away => Reason::DirectoryAway,
            _ => Reason::UserUnknown,
        };
        return Decided::new(Primary::Unknown, Vec::new(), Because::plain(reason));
    };
    let source = rsop.word(Id::PrimarySource, "directory").value;
    match source {
        "policy" => in_policy(rsop, facts, user),
        "either" => {
            let (policy, directory) = both(rsop, facts, user);
            combine(policy, directory, Primary::Yes, Primary::No)
        }
        "both" => {
            let (policy, directory) = both(rsop, facts, user);
            combine(policy, directory, Primary::No, Primary::Yes)
        }
        _ => in_directory(rsop, facts, user),
    }
}

fn both(rsop: &ResultantSet, facts: &Facts, user: &User) -> (Decided<Primary>, Decided<Primary>) {
    (in_policy(rsop, facts, user), in_directory(rsop, facts, user))
}

/// `decisive` from either list settles it; `other` needs both; otherwise it is unknown.
fn combine(
    policy: Decided<Primary>,
    directory: Decided<Primary>,
    decisive: Primary,
    other: Primary,
) -> Decided<Primary> {
    for decided in [&policy, &directory] {
        if decided.action == decisive {
            return decided.clone();
        }
    }
    let action = match (policy.action, directory.action) {
        (a, b) if a == other && b == other => other,
        _ => Primary::Unknown,
    };
    let because = [&policy.because[..], &directory.because[..]].concat();
    Decided { action, because: because.into() }
}

/// Whether a row of `primary-computers.assign` is about this person.
pub fn is_theirs(assign: &Assign, user: &User) -> bool {
    match &assign.who {
        Who::User(name) => user.is_called(name),
        Who::Group(group) => user.groups.contains(group),
    }
}

/// Where policy's own list (`primary-computers.assign`) makes a computer one of a user's.
pub fn assigned<'r>(
    rsop: &'r ResultantSet,
    user: &User,
    computer: &str,
) -> Option<&'r Arc<Origin>> {
    let is_theirs = |sourced: &&Sourced| match &sourced.value {
        Value::Assign(assign) => {
            is_theirs(assign, user) && assign.computers.iter().any(|glob| glob.matches(computer))
        }
        _ => false,
    };
    rsop.list(Id::PrimaryAssign).iter().find(is_theirs).map(|sourced| &sourced.origin)
}

/// How the two lists differ about this user on this computer, where both say something: the
/// directory answered, and policy assigns computers at all.
pub fn difference(rsop: &ResultantSet, facts: &Facts) -> Option<Difference> {
    let (user, computer) = (facts.user.as_deref()?, facts.computer.dn.as_ref()?);
    let is_told = facts.directory == Directory::Answered && !user.list_is_hidden;
    if !is_told || rsop.list(Id::PrimaryAssign).is_empty() {
        return None;
    }
    let in_policy = assigned(rsop, user, &facts.computer.name).is_some();
    match (in_policy, user.primary_computers.contains(computer)) {
        (true, false) => Some(Difference::MissingInDirectory),
        (false, true) => Some(Difference::MissingInPolicy),
        _ => None,
    }
}

fn in_policy(rsop: &ResultantSet, facts: &Facts, user: &User) -> Decided<Primary> {
    let name = facts.computer.name.as_str();
    if let Some(origin) = assigned(rsop, user, name) {
        let because = Because::policy(Reason::PrimaryAssigned, Some(origin));
        return Decided::new(Primary::Yes, Vec::new(), because.with_fact(name));
    }
    let last = Because::fact(Reason::PrimaryNotAssigned, facts.computer.name.as_str());
    Decided::new(Primary::No, Vec::new(), last)
}

/// Why the last answer counts no longer, if it does not (`primary-computers.max-cached-age`). Not
/// only the list of primary computers: nobody's groups are still the same after so long either.
pub(crate) fn expired(rsop: &ResultantSet, facts: &Facts) -> Option<Because> {
    let Directory::Cached { age } = facts.directory else { return None };
    let limit = rsop.duration(Id::PrimaryMaxCachedAge, CACHED_AGE_DEFAULT);
    let fact = format!("{}, limit {}", age_text(age), duration_text(limit.value));
    let because = Because::policy(Reason::DirectoryCacheExpired, limit.origin).with_fact(fact);
    (age > limit.value).then_some(because)
}

fn age_text(age: Duration) -> String {
    format!("{} old", duration_text(Duration::from_secs(age.as_secs())))
}

fn in_directory(rsop: &ResultantSet, facts: &Facts, user: &User) -> Decided<Primary> {
    let mut because = Vec::new();
    match facts.directory {
        Directory::Answered => {}
        Directory::Away => {
            let last = Because::plain(Reason::DirectoryAway);
            return Decided::new(Primary::Unknown, because, last);
        }
        Directory::Cached { age } => {
            if let Some(last) = expired(rsop, facts) {
                return Decided::new(Primary::Unknown, because, last);
            }
            because.push(Because::fact(Reason::DirectoryCached, age_text(age)));
        }
    }
    if !facts.schema_has_primary_computer {
        return schema_lacks(rsop, because);
    }
    listed(facts, user, because)
}

fn schema_lacks(rsop: &ResultantSet, mut because: Vec<Because>) -> Decided<Primary> {
    because.push(Because::plain(Reason::SchemaLacksAttribute));
    let setting = rsop.word(Id::PrimarySchemaLacks, "apply");
    let (action, reason) = match setting.value {
        "refuse" => (Primary::Unknown, Reason::SchemaLacksRefuse),
        _ => (Primary::Yes, Reason::SchemaLacksApply),
    };
    Decided::new(action, because, Because::policy(reason, setting.origin))
}

fn listed(facts: &Facts, user: &User, because: Vec<Because>) -> Decided<Primary> {
    let Some(computer) = &facts.computer.dn else {
        let last = Because::fact(Reason::ComputerUnknown, facts.computer.name.as_str());
        return Decided::new(Primary::Unknown, because, last);
    };
    if user.list_is_hidden {
        let fact = format!(
            "let the agent's account read msDS-PrimaryComputer and the permissions of {}; \
             `homeport doctor directory` says what is missing",
            user.name
        );
        return Decided::new(Primary::Unknown, because, Because::fact(Reason::PrimaryHidden, fact));
    }
    if user.primary_computers.contains(computer) {
        let fact = format!("msDS-PrimaryComputer of {} has {computer}", user.name);
        let last = Because::fact(Reason::PrimaryListed, fact);
        return Decided::new(Primary::Yes, because, last);
    }
    let fact = match user.primary_computers.len() {
        0 => format!("msDS-PrimaryComputer of {} is empty", user.name),
        1 => format!(
            "msDS-PrimaryComputer of {} is {}, not {computer}",
            user.name, user.primary_computers[0]
        ),
        n => {
            format!("none of the {n} values of msDS-PrimaryComputer of {} is {computer}", user.name)
        }
    };
    Decided::new(Primary::No, because, Because::fact(Reason::PrimaryNotListed, fact))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dn::Dn;
    use crate::facts::{Computer, Names, Network, Os};

    fn facts(listed: &[&str], directory: Directory) -> Facts {
        let dn = |name: &str| Dn::parse(&format!("CN={name},DC=corp,DC=test")).ok();
        let primary_computers = listed.iter().filter_map(|name| dn(name)).collect();
        let user = User { primary_computers, list_is_hidden: true, ..User::default() };
        let (name, groups) = ("LT-1".to_owned(), Names::default());
        let (os, site, logon_server) = (Os::Linux, None, None);
        let computer = Computer { dn: dn("LT-1"), name, groups, os, site, logon_server };
        Facts {
            user: Some(Arc::new(user)),
            computer: Arc::new(computer),
            directory,
            schema_has_primary_computer: true,
            network: Network::default(),
            profile_link: None,
        }
    }

    #[test]
    fn what_was_seen_last_decides_nothing_while_the_list_is_hidden() {
        for listed in [&[][..], &["LT-1"], &["PC-9"]] {
            let facts = facts(listed, Directory::Answered);
            let user = facts.user.as_deref().unwrap();
            let decided = super::listed(&facts, user, Vec::new());
            assert_eq!(decided.action, Primary::Unknown, "{listed:?}");
            assert_eq!(decided.because[0].reason, Reason::PrimaryHidden);
        }
    }

    #[test]
    fn a_list_that_is_unknown_settles_only_what_the_other_list_settles() {
        use Primary::{No, Unknown, Yes};
        let only = |action| Decided::new(action, Vec::new(), Because::plain(Reason::PrimaryHidden));
        for (policy, either, both) in
            [(Yes, Yes, Unknown), (No, Unknown, No), (Unknown, Unknown, Unknown)]
        {
            let combined =
                |decisive, other| combine(only(policy), only(Unknown), decisive, other).action;
            assert_eq!((combined(Yes, No), combined(No, Yes)), (either, both), "{policy:?}");
        }
    }
}
