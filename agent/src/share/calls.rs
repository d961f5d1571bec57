//! Calls on a share that are under way: since when, and how much file content they carried.
//!
//! A mount whose server is gone holds whoever calls it, for ever and beyond every signal. So each call
//! is noted before it is made, and [`crate::share::mounted`] looks at the notes from outside.
#![expect(clippy::disallowed_methods, reason = "edge: measures")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Less file content says nothing about the throughput of a link.
pub const THROUGHPUT_BYTES_MIN: u64 = 1 << 20;

/// The calls of one process on the share it works with.
#[derive(Debug, Default)]
pub struct Calls {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The mount that is worked with, and since when.
    at: Option<(PathBuf, Instant)>,
    next: u64,
    /// Single calls that a living share answers soon.
    short: Vec<(u64, Instant)>,
    carrying: u32,
    since: Option<Instant>,
    carried: Carried,
}

/// File content that was carried, and the time during which any was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes.
    pub bytes: u64,
    /// How long.
    pub during: Duration,
}

impl Carried {
    /// Bits per second, if it was enough to tell.
    pub fn rate(self) -> Option<u64> {
        let enough = self.bytes >= THROUGHPUT_BYTES_MIN && !self.during.is_zero();
        let bits = u128::from(self.bytes) * 8 * 1_000_000_000;
        enough.then(|| u64::try_from(bits / self.during.as_nanos().max(1)).unwrap_or(u64::MAX))
    }
}

/// What is under way at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// The mount.
    pub mount: PathBuf,
    /// How long it has been worked with.
    pub working: Duration,
    /// How long the oldest single call has been under way.
    pub oldest: Option<Duration>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work with a mount begins; it ends with the returned value.
    pub fn at(&self, mount: &Path) -> At<'_> {
        let mut inner = self.lock();
        inner.at = Some((mount.to_owned(), Instant::now()));
        inner.carried = Carried::default();
        At(self)
    }

    /// What is under way now.
    pub fn under_way(&self) -> Option<UnderWay> {
        let inner = self.lock();
        let (mount, since) = inner.at.as_ref()?;
        let oldest = inner.short.iter().map(|(_, since)| since.elapsed()).max();
        Some(UnderWay { mount: mount.clone(), working: since.elapsed(), oldest })
    }

    /// What was carried since the work began.
    pub fn carried(&self) -> Carried {
        self.lock().carried
    }

    /// One call that a living share answers soon.
    pub fn short<T>(&self, call: impl FnOnce() -> T) -> T {
        let number = {
            let mut inner = self.lock();
            let number = inner.next;
            inner.next += 1;
            inner.short.push((number, Instant::now()));
            number
        };
        let done = call();
        self.lock().short.retain(|(open, _)| *open != number);
        done
    }

    /// A call that carries file content; `bytes` says how much, once it is done.
    pub fn carry<T>(&self, call: impl FnOnce() -> T, bytes: impl FnOnce(&T) -> u64) -> T {
        {
            let mut inner = self.lock();
            inner.carrying += 1;
            inner.since.get_or_insert_with(Instant::now);
        }
        let done = call();
        let mut inner = self.lock();
        inner.carried.bytes += bytes(&done);
        inner.carrying -= 1;
        if inner.carrying == 0
            && let Some(since) = inner.since.take()
        {
            inner.carried.during += since.elapsed();
        }
        done
    }
}

/// See [`Calls::at`].
#[derive(Debug)]
pub struct At<'c>(&'c Calls);

impl Drop for At<'_> {
    fn drop(&mut self) {
        self.0.lock().at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_enough_bytes() {
        let rate = |bytes, ms| Carried { bytes, during: Duration::from_millis(ms) }.rate();
        assert_eq!(rate(THROUGHPUT_BYTES_MIN - 1, 1_000), None);
        assert_eq!(rate(1 << 20, 1_000), Some(8 << 20));
        assert_eq!(rate(1 << 20, 0), None);
        assert_eq!(rate(u64::MAX, 1), Some(u64::MAX));
    }

    #[test]
    fn calls_are_known_while_they_are_under_way() {
        let calls = Calls::default();
        assert_eq!(calls.under_way(), None);
        let at = calls.at(Path::new("/mnt"));
        assert_eq!(
            calls.under_way().map(|way| (way.mount, way.oldest)),
            Some(("/mnt".into(), None))
        );
        calls.short(|| assert!(calls.under_way().is_some_and(|way| way.oldest.is_some())));
        assert_eq!(calls.under_way().and_then(|way| way.oldest), None);
        let two = || calls.carry(|| 5, |bytes| *bytes) + calls.carry(|| 6, |bytes| *bytes);
        calls.carry(two, |_| 0);
        assert_eq!(calls.carried().bytes, 11);
        drop(at);
        assert_eq!(calls.under_way(), None);
    }
}
