//! The watching worker: watches one person's caches as that person, and tells the agent what changed.
//!
//! It ends with the agent's pipe. Each watcher is tried with a probe file, when it is set up and every
//! hour; one that fails is said to be in trouble and set up anew with the next try.
#![expect(clippy::disallowed_methods, reason = "edge: waits from one try to the next")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use homeport_sync::fs::TEMP_PREFIX;
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::gathered::Changed;
use crate::limits::{NOTICES_WAITING_MAX, WATCHER_CHECK, WATCHER_PROBE_TIMEOUT};
use crate::outcome::chain;

/// A cache is not watched, or its watcher tells nothing.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("cannot watch it")]
    Watch(#[from] notify::Error),
    #[error("cannot leave a probe file in it")]
    Probe(#[from] io::Error),
    #[error("a probe file was not noticed within {} s", .0.as_secs())]
    Silent(Duration),
}

/// What is told of one cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// Something changed.
    Changed(Changed),
    /// Its watcher was seen to work.
    Healthy,
    /// It is not watched, or not all of it is; why.
    Trouble(String),
}

/// One cache that is watched.
struct Root {
    number: usize,
    path: PathBuf,
    probe_name: String,
    probe: Probe,
    /// There are folders in it that could not be watched.
    incomplete: AtomicBool,
    tell: SyncSender<Option<(usize, Notice)>>,
}

/// Whether the probe file was noticed.
#[derive(Default)]
struct Probe {
    seen: Mutex<bool>,
    changed: Condvar,
}

impl Probe {
    fn set(&self, seen: bool) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.changed.notify_all();
    }

    fn wait(&self, limit: Duration) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(seen, limit, |seen| !*seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Watches these directories and tells of each by its number in the list, until `over` ends: then
/// the agent is gone, or wants no more.
///
/// # Errors
/// As the pipe.
pub fn serve<T: Send + 'static>(
    roots: Vec<PathBuf>,
    over: Receiver<T>,
    mut tell: impl FnMut(usize, Notice) -> io::Result<()>,
) -> io::Result<()> {
    // Whoever notices faster than the agent reads waits; what the system then drops it says.
    let (to, notices) = sync_channel(NOTICES_WAITING_MAX);
    for (number, path) in roots.into_iter().enumerate() {
        let root = Arc::new(Root {
            number,
            path,
            probe_name: format!("{TEMP_PREFIX}probe-{}", std::process::id()),
            probe: Probe::default(),
            incomplete: AtomicBool::new(false),
            tell: to.clone(),
        });
        std::thread::spawn(move || attend(&root));
    }
    std::thread::spawn(move || {
        while over.recv().is_ok() {}
        let _ = to.send(None); // the other end is gone already
    });
    while let Ok(Some((number, notice))) = notices.recv() {
        tell(number, notice)?;
    }
    Ok(())
}

/// Sets the watcher up, tries it now and then, and sets it up anew when it failed.
fn attend(root: &Arc<Root>) {
    let mut watcher: Option<RecommendedWatcher> = None;
    loop {
        if root.incomplete.swap(false, Ordering::Relaxed) {
            watcher = None;
        }
        let notice = match attempt(root, &mut watcher) {
            // Something may have been left out in the meantime.
            Ok(()) if root.incomplete.load(Ordering::Relaxed) => None,
            Ok(()) => Some(Notice::Healthy),
            Err(error) => {
                watcher = None; // what it holds of the computer's watches is of use to others
                Some(Notice::Trouble(chain(&error)))
            }
        };
        if notice.is_some_and(|notice| !root.tell(notice)) {
            return;
        }
        std::thread::sleep(WATCHER_CHECK);
    }
}

fn attempt(root: &Arc<Root>, watcher: &mut Option<RecommendedWatcher>) -> Result<(), WatchError> {
    if watcher.is_none() {
        *watcher = Some(set_up(root)?); // it walks the whole cache, which takes a while
    }
    root.probe.set(false);
    leave_probe(&root.path, &root.probe_name)?;
    match root.probe.wait(WATCHER_PROBE_TIMEOUT) {
        true => Ok(()),
        false => Err(WatchError::Silent(WATCHER_PROBE_TIMEOUT)),
    }
}

fn set_up(root: &Arc<Root>) -> notify::Result<RecommendedWatcher> {
    // Links in a cache are links, and lead anywhere.
    let config = Config::default().with_follow_symlinks(false);
    let own = Arc::clone(root);
    let mut watcher = RecommendedWatcher::new(move |event| own.notice(event), config)?;
    watcher.watch(&root.path, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Makes and removes a file in the very directory that is watched; never through a link.
fn leave_probe(root: &Path, name: &str) -> io::Result<()> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let make = flags | OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    match rustix::fs::openat(&directory, name, make, Mode::RUSR | Mode::WUSR) {
        Ok(_) => {}
        // A worker of the same number ended in between. Its end is as good a sign.
        Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::fs::unlinkat(&directory, name, AtFlags::empty())?)
}

impl Root {
    /// Gives whether anybody still wants to know.
    fn tell(&self, notice: Notice) -> bool {
        self.tell.send(Some((self.number, notice))).is_ok()
    }

    /// Runs on the watcher's own thread.
    fn notice(&self, event: notify::Result<notify::Event>) {
        let changed = match event {
            Ok(event) if event.need_rescan() => vec![Changed::Everything],
            Ok(event) if event.kind.is_access() => return,
            Ok(event) => {
                let is_probe = |path: &PathBuf| path.ends_with(&self.probe_name);
                if event.paths.iter().any(is_probe) {
                    self.probe.set(true);
                }
                let paths = event.paths.iter();
                paths.filter_map(|path| Changed::at(&self.path, path)).collect()
            }
            Err(error) => {
                if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                    self.incomplete.store(true, Ordering::Relaxed);
                    self.tell(Notice::Trouble(chain(&WatchError::from(error))));
                }
                vec![Changed::Everything]
            }
        };
        for changed in changed {
            self.tell(Notice::Changed(changed));
        }
    }
}
