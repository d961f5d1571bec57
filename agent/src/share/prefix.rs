//! Why a network folder cannot be opened: which part of its path fails first, and how.
//!
//! The exact folder is opened first, and alone decides whether the share is there. Only then its
//! prefixes are looked at, to say what is wrong. Windows asked them first, one after the other, and
//! took the refusal of a parent for unavailability (KB 2512089): whoever may open
//! `\\srv\share\dir\mine` and nothing above it was offline for ever.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// What opening one prefix came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It can be opened and listed.
    Open,
    /// A link, or no folder.
    NoFolder,
    /// It, or the way to it, refuses the user.
    Refused,
    /// Nothing has this name.
    Missing,
    /// Anything else: the share does not answer as it should.
    Away,
}

impl Look {
    /// What an error of opening says.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied => Self::Refused,
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::NotADirectory => Self::NoFolder,
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Self::NoFolder,
            _ => Self::Away,
        }
    }
}

/// The prefix that fails, counted from the mount, and how.
///
/// `prefixes` are the looks at the mount and at each folder below it; the last one is the exact
/// folder, whose opening failed as `exact` before. A prefix above one that opens is not to blame,
/// whatever it says itself; and only one that fails as the exact folder did explains it. (If none
/// does, things changed meanwhile, and the exact folder has the word.)
pub fn first_failing(prefixes: &[Look], exact: Look) -> (usize, Look) {
    let last = prefixes.len().saturating_sub(1);
    let after_open = prefixes.iter().rposition(|look| *look == Look::Open).map_or(0, |at| at + 1);
    let fails_so = |at: &usize| prefixes.get(*at) == Some(&exact);
    // A folder behind a link or a file is simply not found.
    let no_folder = |at: &usize| prefixes.get(*at) == Some(&Look::NoFolder);
    let first = (after_open..last).find(no_folder).map(|at| (at, Look::NoFolder));
    let first = first.filter(|_| matches!(exact, Look::Missing | Look::NoFolder));
    first.unwrap_or_else(|| ((after_open..last).find(fails_so).unwrap_or(last), exact))
}

#[cfg(test)]
mod tests {
    use super::Look::{Away, Missing, NoFolder, Open, Refused};
    use super::*;

    #[test]
    fn the_first_part_that_explains_the_failure_is_named() {
        let cases: &[(&[Look], Look, (usize, Look))] = &[
            // The share's root refuses, the folder below opens: only the last part is to blame.
            (&[Refused, Open, Refused], Refused, (2, Refused)),
            (&[Refused, Refused, Refused], Refused, (0, Refused)),
            (&[Open, Refused, Refused], Refused, (1, Refused)),
            // A parent's refusal is never taken for unavailability, nor for absence.
            (&[Refused, Away], Away, (1, Away)),
            (&[Refused, Refused, Missing], Missing, (2, Missing)),
            (&[Away, Away, Away], Away, (0, Away)),
            (&[Open, Away, Away], Away, (1, Away)),
            (&[Open, Missing, Missing], Missing, (1, Missing)),
            (&[Open, NoFolder, Missing], Missing, (1, NoFolder)),
            (&[Open, NoFolder, NoFolder], NoFolder, (1, NoFolder)),
            // It opens now: what was seen first counts.
            (&[Open, Open], Away, (1, Away)),
            (&[Open], Refused, (0, Refused)),
            (&[], Away, (0, Away)),
        ];
        for (prefixes, exact, expected) in cases {
            assert_eq!(first_failing(prefixes, *exact), *expected, "{prefixes:?} {exact:?}");
        }
    }

    #[test]
    fn the_exact_folder_alone_says_whether_the_share_is_away() {
        let all = [Open, NoFolder, Refused, Missing, Away];
        for exact in all.into_iter().filter(|look| *look != Open && *look != Away) {
            for one in all {
                for other in all {
                    let (_, how) = first_failing(&[one, other, exact], exact);
                    assert_ne!(how, Away, "{one:?} {other:?} {exact:?}");
                }
            }
        }
    }
}
