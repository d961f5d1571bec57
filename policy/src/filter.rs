//! Which objects apply to an account, in which order, and why the others do not.

use std::cmp::Reverse;

use serde::Serialize;

use crate::dn::Dn;
use crate::facts::Facts;
use crate::layer::{Link, LinkTo, Loopback, PolicyObject, PolicySet};
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
    Applicable { computer: order(set, facts, Half::Computer), user: order(set, facts, Half::User) }
}

/// The verdict on every object for one half, for people who ask why.
#[must_use]
pub fn verdicts(set: &PolicySet, facts: &Facts, half: Half) -> Vec<Verdict> {
    let places = places(set, facts, half);
    set.objects
        .iter()
        .map(|object| {
            let all = places.iter().map(|place| judge(set, facts, half, object, *place));
            // With loopback merge an object may be reached by either account; the best answer counts.
            let mut worst = Verdict::LinkedElsewhere;
            for verdict in all {
                if verdict.is_ok() {
                    return Verdict::Applies;
                }
                worst = verdict.err().unwrap_or(worst);
            }
            worst
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

fn order(set: &PolicySet, facts: &Facts, half: Half) -> Vec<u16> {
    let mut found: Vec<(SortKey<'_>, u16)> = Vec::new();
    for (stage, place) in places(set, facts, half).into_iter().enumerate() {
        for (index, object) in set.objects.iter().enumerate() {
            let Ok(rank) = judge(set, facts, half, object, place) else { continue };
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            found.retain(|(_, other)| *other != index);
            found.push((sort_key(&object.link, stage, rank, &object.id), index));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, index)| index).collect()
}

type SortKey<'a> = (bool, usize, i64, Reverse<u32>, Reverse<&'a str>);

fn sort_key<'a>(link: &Link, stage: usize, rank: i64, id: &'a str) -> SortKey<'a> {
    // Among enforced links the outermost is applied last.
    let place = if link.enforced { -rank } else { rank };
    (link.enforced, stage, place, Reverse(link.order), Reverse(id))
}

fn judge(
    set: &PolicySet,
    facts: &Facts,
    half: Half,
    object: &PolicyObject,
    place: Place<'_>,
) -> Result<i64, Verdict> {
    if object.half(half).is_empty() {
        return Err(Verdict::Empty);
    }
    let site = facts.computer.site.as_deref();
    let rank = rank(&object.link.to, place.dn, site).ok_or(Verdict::LinkedElsewhere)?;
    if !object.link.enforced && is_blocked(set, place.dn, rank) {
        return Err(Verdict::InheritanceBlocked);
    }
    match security(object, facts) {
        Verdict::Applies => Ok(rank),
        other => Err(other),
    }
}

const RANK_SITE: i64 = 1;
const RANK_DOMAIN: i64 = 2;

/// How far down a place lies; `None` when the account is not below it.
fn rank(to: &LinkTo, dn: Option<&Dn>, site: Option<&str>) -> Option<i64> {
    match to {
        LinkTo::Local => Some(0),
        LinkTo::Site(name) => site.is_some_and(|site| same_name(site, name)).then_some(RANK_SITE),
        LinkTo::Domain => Some(RANK_DOMAIN),
        LinkTo::Ou(ou) => dn?.is_within(ou).then(|| ou_rank(ou)),
    }
}

fn ou_rank(ou: &Dn) -> i64 {
    RANK_DOMAIN + i64::try_from(ou.depth()).unwrap_or(i64::MAX / 2)
}

fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// A blocking unit keeps out site, domain and outer units; local policy stays, as in Windows.
fn is_blocked(set: &PolicySet, dn: Option<&Dn>, rank: i64) -> bool {
    let Some(dn) = dn else { return false };
    rank >= RANK_SITE
        && set.domain.block_inheritance.iter().any(|ou| dn.is_within(ou) && rank < ou_rank(ou))
}

fn security(object: &PolicyObject, facts: &Facts) -> Verdict {
    let filter = &object.filter;
    let user = facts.user.as_deref();
    let computer = &facts.computer;
    if let Some(systems) = &filter.operating_systems
        && !systems.contains(&computer.os)
    {
        return Verdict::OtherOperatingSystem;
    }
    let any = |globs: &[Glob], name: &str| globs.iter().any(|glob| glob.matches(name));
    if let Some(computers) = &filter.computers
        && !any(computers, &computer.name)
    {
        return Verdict::OtherComputer;
    }
    if let Some(users) = &filter.users
        && !user.is_some_and(|user| any(users, &user.name))
    {
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
