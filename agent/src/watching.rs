//! Watches the caches of people who are signed in, so that what changes here is looked at first.
//!
//! A watcher is a hint and never a proof: what it misses is found by the regular exchange. Each one
//! is tried with a probe file, and one that fails is named once and set up anew with the next try.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homeport_policy::unc::Unc;
use homeport_sync::fs::TEMP_PREFIX;
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::fs::{AtFlags, Mode, OFlags};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::gathered::{Changed, Gathered};
use crate::limits::{WATCHER_CHECK, WATCHER_PROBE_TIMEOUT};
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

/// Whose cache, and of which network folder.
pub type Key = (String, Unc);
/// Wakes whoever looks at changes.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Something to look at.
#[derive(Debug)]
pub struct Look {
    /// Whose cache.
    pub user: String,
    /// Its network folder.
    pub unc: Unc,
    /// Only these paths below its root; if empty, everything.
    pub folders: Vec<String>,
}

/// The caches that are watched.
pub struct Watching {
    caches: BTreeMap<Key, Watched>,
    clock: Clock,
    wake: Wake,
}

struct Watched {
    shared: Arc<Shared>,
    /// Holds the watcher, and tries it now and then.
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the watcher's own thread, the task that tries it and the agent share.
struct Shared {
    root: PathBuf,
    gathered: Mutex<Gathered>,
    healthy: AtomicBool,
    /// There are folders in it that could not be watched.
    incomplete: AtomicBool,
    /// Somebody was told that it is not watched.
    warned: AtomicBool,
    probe_name: String,
    probe_seen: Notify,
    clock: Clock,
    wake: Wake,
}

impl Watching {
    /// Watches nothing yet. `wake` is called when something begins to wait, and when a watcher turns
    /// out to be in order or not.
    pub fn new(clock: Clock, wake: Wake) -> Self {
        Self { caches: BTreeMap::new(), clock, wake }
    }

    /// Watches these caches from now on, and no others.
    pub fn keep(&mut self, wanted: BTreeMap<Key, PathBuf>) {
        self.caches.retain(|key, cache| wanted.get(key) == Some(&cache.shared.root));
        for (key, root) in wanted {
            let (clock, wake) = (&self.clock, &self.wake);
            self.caches.entry(key).or_insert_with(|| Watched::start(root, clock, wake));
        }
    }

    /// Whether every cache has a watcher that was seen to work.
    pub fn is_healthy(&self) -> bool {
        self.caches.values().all(|cache| cache.shared.healthy.load(Ordering::Relaxed))
    }

    /// How long until something is due; `None` while nothing waits.
    pub fn due_in(&self) -> Option<Duration> {
        let due = self.caches.values().filter_map(|cache| cache.shared.gathered().due_at()).min();
        due.map(|due| due.saturating_sub(self.clock.monotonic()))
    }

    /// Takes something that is due. Whoever takes it looks at it at once, and calls [`Self::end`].
    pub fn take(&mut self) -> Option<Look> {
        let now = self.clock.monotonic();
        self.caches.iter().find_map(|((user, unc), cache)| {
            let folders = match cache.shared.gathered().take(now)? {
                Changed::Folders(folders) => folders.into_iter().collect(),
                Changed::Everything => Vec::new(),
            };
            Some(Look { user: user.clone(), unc: unc.clone(), folders })
        })
    }

    /// A turn begins for a user or for everybody; `looks` as [`Gathered::begin`] has it.
    pub fn begin(&mut self, user: Option<&str>, looks: bool) {
        let is_theirs = |known: &str| user.is_none_or(|user| user.eq_ignore_ascii_case(known));
        for (_, cache) in self.caches.iter().filter(|((known, _), _)| is_theirs(known)) {
            cache.shared.gathered().begin(looks);
        }
    }

    /// No turn is under way.
    pub fn end(&mut self) {
        self.caches.values().for_each(|cache| cache.shared.gathered().end());
    }
}

impl Watched {
    fn start(root: PathBuf, clock: &Clock, wake: &Wake) -> Self {
        let shared = Arc::new(Shared {
            root,
            gathered: Mutex::default(),
            healthy: AtomicBool::new(false),
            incomplete: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            probe_name: format!("{TEMP_PREFIX}probe-{}", std::process::id()),
            probe_seen: Notify::new(),
            clock: clock.clone(),
            wake: wake.clone(),
        });
        let task = tokio::spawn(attend(shared.clone()));
        Self { shared, task }
    }
}

/// Sets the watcher up, tries it now and then, and sets it up anew when it failed.
async fn attend(shared: Arc<Shared>) {
    let mut watcher: Option<RecommendedWatcher> = None;
    loop {
        if shared.incomplete.swap(false, Ordering::Relaxed) {
            watcher = None;
        }
        match attempt(&shared, &mut watcher).await {
            // Something may have been left out in the meantime.
            Ok(()) if shared.incomplete.load(Ordering::Relaxed) => {}
            Ok(()) => {
                shared.warned.store(false, Ordering::Relaxed);
                shared.note_health(true);
            }
            Err(error) => {
                watcher = None; // what it holds of the computer's watches is of use to others
                shared.complain(&error);
            }
        }
        sleep(WATCHER_CHECK).await;
    }
}

async fn attempt(
    shared: &Arc<Shared>,
    watcher: &mut Option<RecommendedWatcher>,
) -> Result<(), WatchError> {
    if watcher.is_none() {
        let shared = shared.clone();
        // It walks the whole cache, which takes a while.
        let set_up = spawn_blocking(move || set_up(shared)).await;
        *watcher = Some(set_up.map_err(io::Error::other)??);
    }
    // The probe before this one is long gone; its end was noticed, too.
    let _ = timeout(Duration::ZERO, shared.probe_seen.notified()).await;
    leave_probe(&shared.root, &shared.probe_name)?;
    let seen = timeout(WATCHER_PROBE_TIMEOUT, shared.probe_seen.notified()).await;
    seen.map_err(|_| WatchError::Silent(WATCHER_PROBE_TIMEOUT))
}

fn set_up(shared: Arc<Shared>) -> notify::Result<RecommendedWatcher> {
    let root = shared.root.clone();
    // Links in a cache are links, and lead anywhere.
    let config = Config::default().with_follow_symlinks(false);
    let mut watcher = RecommendedWatcher::new(move |event| shared.notice(event), config)?;
    watcher.watch(&root, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Makes and removes a file in the very directory that is watched; never through a link.
fn leave_probe(root: &Path, name: &str) -> io::Result<()> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let directory = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let make = flags | OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    match rustix::fs::openat(&directory, name, make, Mode::RUSR | Mode::WUSR) {
        Ok(_) => {}
        // An agent of the same number ended in between. Its end is as good a sign.
        Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::fs::unlinkat(&directory, name, AtFlags::empty())?)
}

impl Shared {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on the watcher's own thread.
    fn notice(&self, event: notify::Result<notify::Event>) {
        let changed = match event {
            Ok(event) if event.need_rescan() => vec![Changed::Everything],
            Ok(event) if event.kind.is_access() => return,
            Ok(event) => {
                let is_probe = |path: &PathBuf| path.ends_with(&self.probe_name);
                if event.paths.iter().any(is_probe) {
                    self.probe_seen.notify_one();
                }
                let paths = event.paths.iter();
                paths.filter_map(|path| Changed::at(&self.root, path)).collect()
            }
            Err(error) => {
                if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                    self.incomplete.store(true, Ordering::Relaxed);
                    self.complain(&error.into());
                }
                vec![Changed::Everything]
            }
        };
        let now = self.clock.monotonic();
        let mut begins = false;
        for changed in changed {
            begins |= self.gathered().add(changed, now);
        }
        if begins {
            (self.wake)();
        }
    }

    fn complain(&self, error: &WatchError) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let (cache, error) = (self.root.display().to_string(), chain(error));
            tracing::warn!(
                cache,
                error,
                "Changes in a cache are not noticed at once; the regular exchange finds them."
            );
        }
        self.note_health(false);
    }

    fn note_health(&self, healthy: bool) {
        if self.healthy.swap(healthy, Ordering::Relaxed) != healthy {
            (self.wake)();
        }
    }
}
