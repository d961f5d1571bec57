//! Watching an exchange: what it tells while it works, and how it is stopped.

use std::sync::atomic::{AtomicU64, Ordering};

use homeport_sync::Control;
use homeport_sync::lines::Event;
use serde::{Deserialize, Serialize};

/// What an exchange tells while it works. Amounts are what came since the message before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// An item is taken up, or done with.
    Item(Event),
    /// So many more file bytes were carried.
    Bytes(u64),
    /// So many more file bytes are to be carried.
    Planned(u64),
}

/// What was told already.
#[derive(Debug, Default)]
pub struct Told {
    bytes: AtomicU64,
    planned: AtomicU64,
}

/// The worker's side: hands on what the engine says, and hears that it is to stop.
#[derive(Clone, Copy)]
pub struct Watch<'w> {
    /// The engine's switches and counters.
    pub control: &'w Control,
    told: &'w Told,
    tell: &'w (dyn Fn(Progress) + Sync),
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({:?})", self.control)
    }
}

impl<'w> Watch<'w> {
    /// Watches one request; `told` begins with nothing.
    pub fn new(control: &'w Control, told: &'w Told, tell: &'w (dyn Fn(Progress) + Sync)) -> Self {
        Self { control, told, tell }
    }

    /// Tells of an item that is taken up.
    pub fn begin(&self, event: Event) {
        (self.tell)(Progress::Item(event));
    }

    /// Tells of an item that is done with.
    pub fn item(&self, event: Event) {
        self.plan();
        (self.tell)(Progress::Item(Event { bytes: self.carried(), ..event }));
    }

    /// Tells how much is planned and was carried, if that is news.
    pub fn tick(&self) {
        self.plan();
        match self.carried() {
            0 => {}
            bytes => (self.tell)(Progress::Bytes(bytes)),
        }
    }

    /// File bytes since it was asked the last time.
    fn carried(&self) -> u64 {
        more(&self.control.bytes, &self.told.bytes)
    }

    fn plan(&self) {
        match more(&self.control.planned, &self.told.planned) {
            0 => {}
            bytes => (self.tell)(Progress::Planned(bytes)),
        }
    }
}

/// How much more there is than was told.
fn more(there_is: &AtomicU64, told: &AtomicU64) -> u64 {
    let now = there_is.load(Ordering::Relaxed);
    now.saturating_sub(told.fetch_max(now, Ordering::Relaxed))
}
