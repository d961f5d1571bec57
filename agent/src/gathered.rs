//! Local changes of one cache: where to look first, and when. No disk, no clock.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use homeport_sync::fs::TEMP_PREFIX;
use serde::{Deserialize, Serialize};

use crate::limits::{CHANGE_LONGEST, CHANGE_QUIET, CHANGED_FOLDERS_MAX};
use crate::wish::relative;

/// The engine's own file in a root.
const ROOT_MARKER: &str = ".homeport-root";

/// What of a cache changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// Something in these folders, or in a folder below one of them. Paths below the root, with
    /// `/`; what lies in the root itself is named itself, because the root is everything.
    Folders(BTreeSet<String>),
    /// Nobody knows what.
    Everything,
}

impl Changed {
    /// What a notice about a path means. `None` when there is nothing to look at: the engine's own
    /// files, and names that are no text and are not exchanged.
    pub fn at(root: &Path, path: &Path) -> Option<Self> {
        let Ok(below) = path.strip_prefix(root) else { return Some(Self::Everything) };
        let below = relative(below)?;
        let own = |name: &str| name.starts_with(TEMP_PREFIX) || name.starts_with(ROOT_MARKER);
        if below.split('/').any(own) {
            return None;
        }
        if below.is_empty() {
            return Some(Self::Everything);
        }
        let folder = below.rsplit_once('/').map_or(below.as_str(), |(folder, _)| folder);
        Some(Self::Folders(BTreeSet::from([folder.to_owned()])))
    }

    /// Whether a look at this sees the other, too.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::Folders(_), Self::Everything) => false,
            (Self::Folders(own), Self::Folders(others)) => {
                others.iter().all(|other| own.iter().any(|own| lies_at(other, own)))
            }
        }
    }

    /// Both together. Too many folders are everything.
    fn and(self, other: Self) -> Self {
        if self.covers(&other) {
            return self;
        }
        let (Self::Folders(mut folders), Self::Folders(others)) = (self, other) else {
            return Self::Everything;
        };
        folders.retain(|folder| !others.iter().any(|other| lies_at(folder, other)));
        folders.extend(others);
        match folders.len() > CHANGED_FOLDERS_MAX {
            true => Self::Everything,
            false => Self::Folders(folders),
        }
    }
}

fn lies_at(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The changes of one cache that nobody has looked at yet.
///
/// An exchange changes the cache, too, and is noticed. So what changes where an exchange is under
/// way causes one more look, and what changes during that one causes none: whatever it was, the
/// regular exchange finds it.
#[derive(Debug, Default)]
pub struct Gathered {
    waiting: Option<Waiting>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Waiting {
    changed: Changed,
    first: Duration,
    last: Duration,
    /// Not all of it can come from an exchange.
    fresh: bool,
}

#[derive(Debug)]
struct Running {
    covers: Changed,
    /// It looks only at what may come from the exchange before it.
    echo: bool,
}

impl Gathered {
    /// Adds a change. Says whether it is the first that waits.
    pub fn add(&mut self, changed: Changed, now: Duration) -> bool {
        let running = self.running.as_ref().filter(|running| running.covers.covers(&changed));
        if running.is_some_and(|running| running.echo) {
            return false;
        }
        let fresh = running.is_none();
        let before = self.waiting.take();
        let is_first = before.is_none();
        self.waiting = Some(match before {
            None => Waiting { changed, first: now, last: now, fresh },
            Some(waiting) => Waiting {
                changed: waiting.changed.and(changed),
                first: waiting.first,
                last: now,
                fresh: waiting.fresh || fresh,
            },
        });
        is_first
    }

    /// When what waits is due: once it has been quiet, but not later than a while after the first.
    pub fn due_at(&self) -> Option<Duration> {
        let waiting = self.waiting.as_ref()?;
        Some((waiting.last + CHANGE_QUIET).min(waiting.first + CHANGE_LONGEST))
    }

    /// Takes what is due. A look at it begins, which ends with [`Self::end`].
    pub fn take(&mut self, now: Duration) -> Option<Changed> {
        self.due_at().filter(|due| *due <= now)?;
        let Waiting { changed, fresh, .. } = self.waiting.take()?;
        self.running = Some(Running { covers: changed.clone(), echo: !fresh });
        Some(changed)
    }

    /// A turn begins that may touch all of the cache; `looks` says that it looks at everything, so
    /// that what waited is done with. A look that began already goes on.
    pub fn begin(&mut self, looks: bool) {
        if self.running.is_none() {
            self.running = Some(Running { covers: Changed::Everything, echo: false });
            self.waiting.take_if(|_| looks);
        }
    }

    /// The turn is over.
    pub fn end(&mut self) {
        self.running = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(names: &[&str]) -> Changed {
        Changed::Folders(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_notice_names_the_folder_to_look_at() {
        for (path, expected) in [
            ("/c/a/b/file", Some(folders(&["a/b"]))),
            ("/c/a/file", Some(folders(&["a"]))),
            ("/c/file", Some(folders(&["file"]))),
            ("/c", Some(Changed::Everything)),
            ("/elsewhere/file", Some(Changed::Everything)),
            ("/c/.homeport-root", None),
            ("/c/a/.homeport-tmp-1f-3", None),
            ("/c/.homeport-tmp-1f-3/below", None),
            ("/c/.homeport-tmp-probe-17", None),
            ("/c/a/not.homeport-tmp-", Some(folders(&["a"]))),
        ] {
            assert_eq!(Changed::at(Path::new("/c"), Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_name_that_is_no_text_is_nothing_to_look_at() {
        use std::os::unix::ffi::OsStrExt as _;
        let name = std::ffi::OsStr::from_bytes(b"/c/a/\xff");
        assert_eq!(Changed::at(Path::new("/c"), Path::new(name)), None);
    }

    #[test]
    fn changes_add_up() {
        for (one, other, both) in [
            (folders(&["a"]), folders(&["b"]), folders(&["a", "b"])),
            (folders(&["a"]), folders(&["a/x"]), folders(&["a"])),
            (folders(&["a/x", "a/y", "ab"]), folders(&["a"]), folders(&["a", "ab"])),
            (folders(&["a"]), Changed::Everything, Changed::Everything),
            (Changed::Everything, folders(&["a"]), Changed::Everything),
        ] {
            assert_eq!(one.clone().and(other.clone()), both, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn too_many_folders_are_everything() {
        let mut gathered = Gathered::default();
        for number in 0..CHANGED_FOLDERS_MAX {
            gathered.add(folders(&[&format!("f{number}")]), at(0));
        }
        let waiting = |gathered: &Gathered| gathered.waiting.as_ref().unwrap().changed.clone();
        assert!(
            matches!(waiting(&gathered), Changed::Folders(f) if f.len() == CHANGED_FOLDERS_MAX)
        );
        gathered.add(folders(&["one more"]), at(1));
        assert_eq!(waiting(&gathered), Changed::Everything);
    }

    #[test]
    fn a_change_is_due_once_it_is_quiet_or_has_waited_long_enough() {
        // Changes at these moments are due at that one.
        for (moments, due) in [
            (&[0][..], 2_000),
            (&[0, 500], 2_500),
            (&[100, 1_900, 3_700], 5_700),
            (&[0, 1_900, 3_800, 5_700, 7_600, 9_500], 10_000),
        ] {
            let mut gathered = Gathered::default();
            for (index, moment) in moments.iter().enumerate() {
                assert_eq!(gathered.add(folders(&["a"]), at(*moment)), index == 0, "{moments:?}");
            }
            assert_eq!(gathered.due_at(), Some(at(due)), "{moments:?}");
            assert_eq!(gathered.take(at(due - 1)), None, "{moments:?}");
            assert_eq!(gathered.take(at(due)), Some(folders(&["a"])), "{moments:?}");
            assert_eq!((gathered.due_at(), gathered.take(at(60_000))), (None, None));
        }
    }

    /// What happens to a cache in a story.
    enum Happens {
        /// A folder changes.
        Change(&'static str),
        /// What is due is this, and a look at it begins.
        Look(Option<&'static str>),
        /// A turn of everything begins; whether it looks.
        Turn(bool),
        /// Whatever runs is over.
        End,
    }
    use Happens::{Change, End, Look, Turn};

    fn play(name: &str, story: &[Happens]) {
        let mut gathered = Gathered::default();
        for (step, happens) in story.iter().enumerate() {
            let now = at(step as u64 * 60_000);
            match happens {
                Change(folder) => drop(gathered.add(folders(&[folder]), now)),
                Look(expected) => {
                    let expected = expected.map(|folder| folders(&[folder]));
                    assert_eq!(gathered.take(now), expected, "{name}, step {step}");
                }
                Turn(looks) => gathered.begin(*looks),
                End => gathered.end(),
            }
        }
    }

    #[test]
    fn our_own_changes_cause_at_most_one_more_look() {
        for (name, story) in [
            ("nothing happens", &[Look(None), Turn(true), End, Look(None)][..]),
            ("a person changes something", &[Change("a"), Look(Some("a")), End, Look(None)]),
            (
                "a look changes what it looks at, and so does the look after it",
                &[
                    Change("a"),
                    Look(Some("a")),
                    Change("a/b"),
                    End,
                    Look(Some("a/b")),
                    Change("a/b"),
                    Change("a/b/c"),
                    End,
                    Look(None),
                ],
            ),
            (
                "something else changes during the one more look",
                &[
                    Change("a"),
                    Look(Some("a")),
                    Change("a"),
                    End,
                    Look(Some("a")),
                    Change("b"),
                    End,
                    Look(Some("b")),
                    Change("b"),
                    End,
                    Look(Some("b")), // `b` was fresh, so it has its own one more look
                    Change("b"),
                    End,
                    Look(None),
                ],
            ),
            (
                "a regular exchange brings something in",
                &[Turn(true), Change("a"), End, Look(Some("a")), Change("a"), End, Look(None)],
            ),
            ("a regular exchange finds what waited", &[Change("a"), Turn(true), End, Look(None)]),
            (
                "a turn that need not look leaves what waited",
                &[Change("a"), Turn(false), End, Look(Some("a"))],
            ),
            (
                "a person goes on between exchange and look",
                &[
                    Turn(true),
                    Change("a"),
                    End,
                    Change("a"),
                    Look(Some("a")),
                    Change("a"),
                    End,
                    Look(Some("a")),
                    End,
                    Look(None),
                ],
            ),
        ] {
            play(name, story);
        }
    }
}
