//! Which objects apply to an account, in which order, and why the others do not.

use serde::Serialize;

use crate::dn::Dn;
use crate::facts::{Computer, Facts, User};
use crate::layer::{Filter, LinkTo, Loopback, PolicyObject, PolicySet};
use crate::reach::Sieve;
use crate::settings::Half;
use crate::value::Glob;

/// Why an object does or does not count for one half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It counts.
    Applies,
    /// The account does not lie below the place the object is linked to.
    LinkedElsewhere,
    /// An organizational unit blocks inheritance and the object is not enforced.
    InheritanceBlocked,
    /// Neither the user nor the computer is in the groups it is for.
    NotInGroup,
    /// The user or the computer is in a group it is not for.
    InExcludedGroup,
    /// The user's name does not match.
    OtherUser,
    /// The computer's name does not match.
    OtherComputer,
    /// The computer runs another operating system.
    OtherOperatingSystem,
    /// The object configures nothing in this half.
    Empty,
}

impl Verdict {
    /// In words, for `explain`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Applies => "applies",
            Self::LinkedElsewhere => "is linked elsewhere",
            Self::InheritanceBlocked => "is kept out by block-inheritance",
            Self::NotInGroup => "is for groups that neither the user nor the computer is in",
            Self::InExcludedGroup => "is not for a group that the user or the computer is in",
            Self::OtherUser => "is for other users",
            Self::OtherComputer => "is for other computers",
            Self::OtherOperatingSystem => "is for other operating systems",
            Self::Empty => "configures nothing in this half",
        }
    }

    /// How many of the checks the object passed before it got this verdict.
    fn distance(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::LinkedElsewhere => 1,
            Self::InheritanceBlocked => 2,
            Self::NotInGroup
            | Self::InExcludedGroup
            | Self::OtherUser
            | Self::OtherComputer
            | Self::OtherOperatingSystem => 3,
            Self::Applies => 4,
        }
    }
}

/// The objects that count, as indices into the set, each half in order of application: the last wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applicable {
    /// For Computer Configuration.
    pub computer: Vec<u16>,
    /// For User Configuration.
    pub user: Vec<u16>,
}

/// Finds the objects that count for both halves.
///
/// Order (MS-GPOL processing): local, site, domain, outer to inner OU, then what is enforced with
/// the outermost last. Within a place order 1 is applied last; at equal order the lower id wins.
#[must_use]
pub fn applicable(set: &PolicySet, facts: &Facts) -> Applicable {
    let sieve = Sieve::new(set);
    let computer = sieve.computer(&facts.computer);
    match &facts.user {
        Some(user) => sieve.combine(Some(&sieve.user(user)), &computer),
        None => sieve.combine(None, &computer),
    }
}

/// The verdict on every object for one half, for people who ask why.
#[must_use]
pub fn verdicts(set: &PolicySet, facts: &Facts, half: Half) -> Vec<Verdict> {
    let places = places(set, facts, half);
    set.objects
        .iter()
        .map(|object| {
            // With loopback merge an object may be reached by either account; the answer that got
            // furthest tells most.
            let all = places.iter().map(|place| judge(set, facts, half, object, *place));
            all.max_by_key(|verdict| verdict.distance()).unwrap_or(Verdict::LinkedElsewhere)
        })
        .collect()
}

/// The account whose place decides: the computer's or the user's.
#[derive(Clone, Copy)]
struct Place<'a> {
    dn: Option<&'a Dn>,
}

fn places<'a>(set: &PolicySet, facts: &'a Facts, half: Half) -> Vec<Place<'a>> {
    let computer = Place { dn: facts.computer.dn.as_ref() };
    let user = facts.user.as_ref().map(|user| Place { dn: user.dn.as_ref() });
    match (half, user) {
        (Half::Computer, _) => vec![computer],
        (Half::User, None) => vec![],
        (Half::User, Some(user)) => match loopback(set, facts.computer.dn.as_ref()) {
            Loopback::Off => vec![user],
            Loopback::Merge => vec![user, computer],
            Loopback::Replace => vec![computer],
        },
    }
}

/// The loopback mode on a computer: that of the innermost organizational unit that has one.
#[must_use]
pub fn loopback(set: &PolicySet, computer: Option<&Dn>) -> Loopback {
    let Some(computer) = computer else { return Loopback::Off };
    set.domain
        .loopback
        .iter()
        .filter(|(ou, _)| computer.is_within(ou))
        .max_by_key(|(ou, _)| ou.depth())
        .map_or(Loopback::Off, |(_, mode)| *mode)
}

fn judge(
    set: &PolicySet,
    facts: &Facts,
    half: Half,
    object: &PolicyObject,
    place: Place<'_>,
) -> Verdict {
    let link = &object.link;
    if object.half(half).is_empty() {
        return Verdict::Empty;
    }
    if !in_site(&link.to, facts.computer.site.as_deref()) || !in_place(&link.to, place.dn) {
        return Verdict::LinkedElsewhere;
    }
    if !link.enforced && is_blocked(set, place.dn, rank(&link.to)) {
        return Verdict::InheritanceBlocked;
    }
    security(object, facts)
}

const RANK_SITE: i64 = 1;
const RANK_DOMAIN: i64 = 2;

/// How far down a place lies.
pub(crate) fn rank(to: &LinkTo) -> i64 {
    match to {
        LinkTo::Local => 0,
        LinkTo::Site(_) => RANK_SITE,
        LinkTo::Domain => RANK_DOMAIN,
        LinkTo::Ou(ou) => ou_rank(ou),
    }
}

fn ou_rank(ou: &Dn) -> i64 {
    RANK_DOMAIN + i64::try_from(ou.depth()).unwrap_or(i64::MAX / 2)
}

/// Whether a link to a site is to this one; other links are to every site.
pub(crate) fn in_site(to: &LinkTo, site: Option<&str>) -> bool {
    match to {
        LinkTo::Site(name) => site.is_some_and(|site| same_name(site, name)),
        _ => true,
    }
}

/// Whether an account lies below the unit of a link; every account lies below the other links.
pub(crate) fn in_place(to: &LinkTo, dn: Option<&Dn>) -> bool {
    match to {
        LinkTo::Ou(ou) => dn.is_some_and(|dn| dn.is_within(ou)),
        _ => true,
    }
}

fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// A blocking unit keeps out site, domain and outer units; local policy stays, as in Windows.
pub(crate) fn is_blocked(set: &PolicySet, dn: Option<&Dn>, rank: i64) -> bool {
    let Some(dn) = dn else { return false };
    rank >= RANK_SITE
        && set.domain.block_inheritance.iter().any(|ou| dn.is_within(ou) && rank < ou_rank(ou))
}

fn security(object: &PolicyObject, facts: &Facts) -> Verdict {
    let filter = &object.filter;
    let user = facts.user.as_deref();
    let computer = &facts.computer;
    if !is_for_system(filter, computer) {
        return Verdict::OtherOperatingSystem;
    }
    if !is_for_computer(filter, computer) {
        return Verdict::OtherComputer;
    }
    if !is_for_user(filter, user) {
        return Verdict::OtherUser;
    }
    let member = |group| {
        user.is_some_and(|user| user.groups.contains(group)) || computer.groups.contains(group)
    };
    if filter.not_groups.iter().any(member) {
        return Verdict::InExcludedGroup;
    }
    match &filter.groups {
        Some(groups) if !groups.iter().any(member) => Verdict::NotInGroup,
        _ => Verdict::Applies,
    }
}

pub(crate) fn is_for_system(filter: &Filter, computer: &Computer) -> bool {
    filter.operating_systems.as_ref().is_none_or(|systems| systems.contains(&computer.os))
}

pub(crate) fn is_for_computer(filter: &Filter, computer: &Computer) -> bool {
    let any = |globs: &Vec<Glob>| globs.iter().any(|glob| glob.matches(&computer.name));
    filter.computers.as_ref().is_none_or(any)
}

pub(crate) fn is_for_user(filter: &Filter, user: Option<&User>) -> bool {
    let any = |globs: &Vec<Glob>| {
        user.is_some_and(|user| globs.iter().any(|glob| glob.matches(&user.name)))
    };
    filter.users.as_ref().is_none_or(any)
}
