//! Which objects apply, for many users on many computers.
//!
//! Whether an object applies to a pair depends on the user, on the computer, or on both only by way
//! of an "and" or an "or" of the two. What depends on one account is worked out once for it and
//! kept as bits, one an object; a pair then takes a few operations on words.

use std::cmp::Reverse;

use crate::dn::Dn;
use crate::facts::{Computer, Names, User};
use crate::filter::{
    Applicable, in_place, in_site, is_blocked, is_for_computer, is_for_system, is_for_user,
    loopback, rank,
};
use crate::layer::{Link, Loopback, PolicyObject, PolicySet};
use crate::settings::Half;
use crate::value::Principal;

/// One bit for each object of a set, in order of application.
type Bits = Box<[u64]>;

/// A policy set, made ready to be asked about many accounts.
#[derive(Debug)]
pub struct Sieve<'a> {
    set: &'a PolicySet,
    /// Indices into the set in order of application, as far as one place is concerned.
    order: Vec<u16>,
    enforced: Bits,
    /// What applies without regard to the user's name and groups.
    anybody: Groups,
    any_name: Bits,
}

/// What a user's own account decides. Only for the [`Sieve`] it comes from.
#[derive(Clone, Debug)]
pub struct UserReach {
    /// Reached through the user's place, with something in the user half.
    open: Bits,
    named: Bits,
    groups: Groups,
}

/// What a computer's own account decides. Only for the [`Sieve`] it comes from.
#[derive(Clone, Debug)]
pub struct ComputerReach {
    /// Reached through the computer's place, with something in the computer half.
    open: Bits,
    /// Reached through the computer's place, with something in the user half (loopback).
    open_user: Bits,
    /// For this site, name and operating system.
    named: Bits,
    groups: Groups,
    loopback: Loopback,
}

#[derive(Clone, Debug)]
struct Groups {
    /// For everybody, or for a group that the account is in.
    inside: Bits,
    /// Not for a group that the account is in.
    excluded: Bits,
}

impl<'a> Sieve<'a> {
    /// Makes a set ready.
    #[must_use]
    pub fn new(set: &'a PolicySet) -> Self {
        let mut order: Vec<u16> = (0..=u16::MAX).take(set.objects.len()).collect();
        order.sort_by_cached_key(|index| {
            let object = &set.objects[usize::from(*index)];
            sort_key(&object.link, object.id.to_string())
        });
        let none: Bits = Box::default();
        let anybody = Groups { inside: none.clone(), excluded: none.clone() };
        let enforced = none.clone();
        let mut sieve = Self { set, order, enforced, anybody, any_name: none };
        sieve.enforced = sieve.bits(|object| object.link.enforced);
        sieve.anybody = sieve.groups(&Names::default());
        sieve.any_name = sieve.bits(|object| is_for_user(&object.filter, None));
        sieve
    }

    /// What depends on the user alone.
    #[must_use]
    pub fn user(&self, user: &User) -> UserReach {
        UserReach {
            open: self.open(user.dn.as_ref(), Half::User),
            named: self.bits(|object| is_for_user(&object.filter, Some(user))),
            groups: self.groups(&user.groups),
        }
    }

    /// What depends on the computer alone.
    #[must_use]
    pub fn computer(&self, computer: &Computer) -> ComputerReach {
        let dn = computer.dn.as_ref();
        let site = computer.site.as_deref();
        ComputerReach {
            open: self.open(dn, Half::Computer),
            open_user: self.open(dn, Half::User),
            named: self.bits(|object| {
                in_site(&object.link.to, site)
                    && is_for_system(&object.filter, computer)
                    && is_for_computer(&object.filter, computer)
            }),
            groups: self.groups(&computer.groups),
            loopback: loopback(self.set, dn),
        }
    }

    /// The objects that count for a user on a computer, or for the computer alone.
    #[must_use]
    pub fn combine(&self, user: Option<&UserReach>, computer: &ComputerReach) -> Applicable {
        let (named, groups) = match user {
            Some(user) => (&user.named, &user.groups),
            None => (&self.any_name, &self.anybody),
        };
        let passes = |word: usize| {
            let inside = groups.inside[word] | computer.groups.inside[word];
            let excluded = groups.excluded[word] | computer.groups.excluded[word];
            named[word] & computer.named[word] & inside & !excluded
        };
        let here = |word: usize| computer.open_user[word];
        let user = match (user, computer.loopback) {
            (None, _) => Vec::new(),
            (Some(user), Loopback::Off) => self.list(|word| passes(word) & user.open[word]),
            (Some(_), Loopback::Replace) => self.list(|word| passes(word) & here(word)),
            (Some(user), Loopback::Merge) => {
                let enforced = |word: usize| self.enforced[word];
                // What both places reach counts for the later one, the computer's.
                let there = |word: usize| user.open[word] & !here(word);
                let mut user = self.list(|word| passes(word) & there(word) & !enforced(word));
                user.extend(self.list(|word| passes(word) & here(word) & !enforced(word)));
                user.extend(self.list(|word| passes(word) & there(word) & enforced(word)));
                user.extend(self.list(|word| passes(word) & here(word) & enforced(word)));
                user
            }
        };
        Applicable { computer: self.list(|word| passes(word) & computer.open[word]), user }
    }

    /// Reached through a place, as far as sites are not concerned, and not empty.
    fn open(&self, dn: Option<&Dn>, half: Half) -> Bits {
        self.bits(|object| {
            let link = &object.link;
            !object.half(half).is_empty()
                && in_place(&link.to, dn)
                && (link.enforced || !is_blocked(self.set, dn, rank(&link.to)))
        })
    }

    fn groups(&self, member_of: &Names) -> Groups {
        let any = |groups: &[Principal]| groups.iter().any(|group| member_of.contains(group));
        Groups {
            inside: self
                .bits(|object| object.filter.groups.as_ref().is_none_or(|groups| any(groups))),
            excluded: self.bits(|object| any(&object.filter.not_groups)),
        }
    }

    fn bits(&self, test: impl Fn(&PolicyObject) -> bool) -> Bits {
        let bit = |index: &u16| u64::from(test(&self.set.objects[usize::from(*index)]));
        let word = |chunk: &[u16]| {
            chunk.iter().enumerate().fold(0, |word, (at, index)| word | (bit(index) << at))
        };
        self.order.chunks(64).map(word).collect()
    }

    /// The objects whose bits are set, in order.
    fn list(&self, words: impl Fn(usize) -> u64) -> Vec<u16> {
        let chunks = || self.order.chunks(64).enumerate();
        let count: u32 = chunks().map(|(at, _)| words(at).count_ones()).sum();
        let mut list = Vec::with_capacity(count as usize);
        for (at, chunk) in chunks() {
            let mut word = words(at);
            while word != 0 {
                list.push(chunk[word.trailing_zeros() as usize]);
                word &= word - 1;
            }
        }
        list
    }
}

/// Among enforced links the outermost is applied last; then order 1, then the lower id.
fn sort_key(link: &Link, id: String) -> (bool, i64, Reverse<u32>, Reverse<String>) {
    let rank = rank(&link.to);
    let place = if link.enforced { -rank } else { rank };
    (link.enforced, place, Reverse(link.order), Reverse(id))
}
