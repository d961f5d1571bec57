//! Keeps all copies of a run together within a rate.
#![expect(clippy::disallowed_methods, reason = "edge: bandwidth limits wait")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest it waits without looking whether it is to stop.
const NAP: Duration = Duration::from_millis(50);

/// Waits so that a rate is not exceeded by more than one block.
#[derive(Debug)]
pub struct Throttle {
    /// The rate in bytes per second, and when the next block may be sent.
    state: Option<(f64, Mutex<Instant>)>,
}

impl Throttle {
    /// Bytes per second; `None` is as fast as it goes.
    pub fn new(rate: Option<u64>) -> Self {
        let rate = rate.filter(|rate| *rate > 0);
        Self { state: rate.map(|rate| (rate as f64, Mutex::new(Instant::now()))) }
    }

    /// Accounts for some bytes, and waits until they are due, or until it is to stop.
    pub fn spend(&self, bytes: u64, stop: &AtomicBool) {
        let Some((rate, next)) = &self.state else { return };
        let wait = {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            *next = (*next).max(now) + Duration::from_secs_f64(bytes as f64 / rate);
            next.duration_since(now)
        };
        let due = Instant::now() + wait;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
