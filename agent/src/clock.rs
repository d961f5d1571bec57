//! Time and chance, handed in so that tests can choose them.
#![expect(clippy::disallowed_methods, reason = "edge: the one place that asks for the time")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local};

/// Where the agent's time comes from.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    origin: Instant,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { now: Arc::new(SystemTime::now), origin: Instant::now() }
    }

    /// A clock that shows what it is told.
    pub fn given(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), origin: Instant::now() }
    }

    /// Wall-clock time.
    pub fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// Wall-clock time in the computer's zone.
    pub fn local(&self) -> DateTime<Local> {
        self.now().into()
    }

    /// Seconds since 1970.
    pub fn unix(&self) -> i64 {
        self.unix_ms() / 1000
    }

    /// Milliseconds since 1970; a clock before that shows 0.
    pub fn unix_ms(&self) -> i64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Time that only ever goes forward.
    pub fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A number drawn once, to tell this computer's timers from others'.
pub fn draw() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library's hasher keys are random; no other randomness is needed.
    RandomState::new().hash_one(SystemTime::now())
}
