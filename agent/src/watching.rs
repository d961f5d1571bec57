//! What is watched of whom, so that what changes here is looked at first.
//!
//! A watcher is a hint and never a proof: what it misses is found by the regular exchange. The agent
//! itself looks into nobody's home: for each person who is signed in one worker, which is that
//! person, watches their caches and tells (`watcher.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homeport_policy::unc::Unc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::execute::{Start, WorkerError};
use crate::gathered::{Changed, Gathered};
use crate::limits::{WATCHER_CHECK, WATCHER_PAUSE};
use crate::outcome::chain;
use crate::watcher::Notice;

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
    users: BTreeMap<String, Watched>,
    clock: Clock,
    wake: Wake,
}

/// What is watched of one person.
struct Watched {
    caches: Vec<Arc<Cache>>,
    /// Holds the worker, and starts another when it is lost.
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One cache, as the task of its person and the agent share it.
struct Cache {
    unc: Unc,
    root: PathBuf,
    gathered: Mutex<Gathered>,
    healthy: AtomicBool,
    /// Somebody was told that it is not watched.
    warned: AtomicBool,
}

impl Watching {
    /// Watches nothing yet. `wake` is called when something begins to wait, and when a watcher turns
    /// out to be in order or not.
    pub fn new(clock: Clock, wake: Wake) -> Self {
        Self { users: BTreeMap::new(), clock, wake }
    }

    /// Watches these caches from now on, and no others. `start` says how a person's worker is
    /// started; for whom it cannot say, nothing is watched.
    pub fn keep(&mut self, wanted: BTreeMap<Key, PathBuf>, start: impl Fn(&str) -> Option<Start>) {
        let mut by_user: BTreeMap<String, Vec<(Unc, PathBuf)>> = BTreeMap::new();
        for ((user, unc), root) in wanted {
            by_user.entry(user).or_default().push((unc, root));
        }
        let is_same = |watched: &Watched, wanted: &Vec<(Unc, PathBuf)>| {
            let caches = watched.caches.iter().map(|cache| (&cache.unc, &cache.root));
            caches.eq(wanted.iter().map(|(unc, root)| (unc, root)))
        };
        self.users.retain(|user, watched| {
            by_user.get(user).is_some_and(|wanted| is_same(watched, wanted))
        });
        for (user, caches) in by_user {
            if self.users.contains_key(&user) {
                continue;
            }
            let Some(start) = start(&user) else { continue };
            let cache = |(unc, root)| Cache {
                unc,
                root,
                gathered: Mutex::default(),
                healthy: AtomicBool::new(false),
                warned: AtomicBool::new(false),
            };
            let caches: Vec<Arc<Cache>> = caches.into_iter().map(cache).map(Arc::new).collect();
            let told = (caches.clone(), self.clock.clone(), Arc::clone(&self.wake));
            let task = tokio::spawn(attend(start, told));
            self.users.insert(user, Watched { caches, task });
        }
    }

    fn caches(&self) -> impl Iterator<Item = (&str, &Arc<Cache>)> {
        self.users.iter().flat_map(|(user, watched)| {
            watched.caches.iter().map(move |cache| (user.as_str(), cache))
        })
    }

    /// Whether every cache has a watcher that was seen to work.
    pub fn is_healthy(&self) -> bool {
        self.caches().all(|(_, cache)| cache.healthy.load(Ordering::Relaxed))
    }

    /// How long until something is due; `None` while nothing waits.
    pub fn due_in(&self) -> Option<Duration> {
        let due = self.caches().filter_map(|(_, cache)| cache.gathered().due_at()).min();
        due.map(|due| due.saturating_sub(self.clock.monotonic()))
    }

    /// Takes something that is due. Whoever takes it looks at it at once, and calls [`Self::end`].
    pub fn take(&mut self) -> Option<Look> {
        let now = self.clock.monotonic();
        self.caches().find_map(|(user, cache)| {
            let folders = match cache.gathered().take(now)? {
                Changed::Folders(folders) => folders.into_iter().collect(),
                Changed::Everything => Vec::new(),
            };
            Some(Look { user: user.to_owned(), unc: cache.unc.clone(), folders })
        })
    }

    /// A turn begins for a user or for everybody; `looks` as [`Gathered::begin`] has it.
    pub fn begin(&mut self, user: Option<&str>, looks: bool) {
        let is_theirs = |known: &str| user.is_none_or(|user| user.eq_ignore_ascii_case(known));
        for (_, cache) in self.caches().filter(|(known, _)| is_theirs(known)) {
            cache.gathered().begin(looks);
        }
    }

    /// No turn is under way.
    pub fn end(&mut self) {
        self.caches().for_each(|(_, cache)| cache.gathered().end());
    }
}

/// Keeps a person's worker, and starts another after a pause when it is lost; the pause grows.
async fn attend(start: Start, told: (Vec<Arc<Cache>>, Clock, Wake)) {
    let mut pause = WATCHER_PAUSE;
    loop {
        let began = told.1.monotonic();
        if let Err(error) = follow(&start, &told).await {
            told.0.iter().for_each(|cache| cache.complain(&chain(&error), &told.2));
        }
        let lasted = told.1.monotonic().saturating_sub(began);
        pause = if lasted > WATCHER_CHECK { WATCHER_PAUSE } else { pause };
        sleep(pause).await;
        pause = (pause * 2).min(WATCHER_CHECK);
    }
}

async fn follow(
    start: &Start,
    (caches, clock, wake): &(Vec<Arc<Cache>>, Clock, Wake),
) -> Result<(), WorkerError> {
    let mut worker = start.worker().await?;
    worker.watch(caches.iter().map(|cache| cache.root.clone()).collect()).await?;
    loop {
        let (number, notice) = worker.noticed().await?;
        let Some(cache) = caches.get(number) else { continue };
        match notice {
            Notice::Changed(changed) => {
                if cache.gathered().add(changed, clock.monotonic()) {
                    wake();
                }
            }
            Notice::Healthy => {
                cache.warned.store(false, Ordering::Relaxed);
                cache.note_health(true, wake);
            }
            Notice::Trouble(why) => cache.complain(&why, wake),
        }
    }
}

impl Cache {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complain(&self, error: &str, wake: &Wake) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            let cache = self.root.display().to_string();
            tracing::warn!(
                cache,
                error,
                "Changes in a cache are not noticed at once; the regular exchange finds them."
            );
        }
        self.note_health(false, wake);
    }

    fn note_health(&self, healthy: bool, wake: &Wake) {
        if self.healthy.swap(healthy, Ordering::Relaxed) != healthy {
            wake();
        }
    }
}
