//! The two-way sync engine: keeps a tree on this computer and a tree on a share in step.
//!
//! ```text
//! open ─► prove ─► walk both sides and the journal ─► follow renames ─► brake ─► batches ─► record
//!                        └ look, reconcile                                └ stage, commit, delete
//! ```
//! Three-way throughout: what both sides last agreed on (the journal) tells an edit from a delete.
//! The engine knows trees, journal and options, and nothing of policy, directory or services.
//!
//! Times and permission bits travel with content, and not without it.

#[cfg(not(unix))]
compile_error!("the engine's `fs` module has only its Unix half so far");

mod path;
mod item;
mod reconcile;
mod skip;
mod report;
mod crew;
pub mod codes;
pub mod flags;
pub mod lines;
pub mod names;
pub mod state;
pub mod fs;
mod throttle;
mod content;
mod scan;
mod recycle;
mod journal;
mod roots;
mod open;
mod look;
mod walk;
mod plan;
mod stage;
mod commit;
mod run;
mod halt;
pub mod shortcut;
pub mod pins;
mod conflict;
mod intents;
mod renames;
mod apply;
mod batch;
mod delete;
mod pending;
mod engine;
mod ls;
mod evict;

pub use content::Control;
pub use engine::{
    Moment, Side, Sides, SyncError, settle, sync, sync_sides, sync_volumes, sync_with,
};
pub use evict::{Evicted, Limits, evict, evict_volumes};
pub use item::{Content, Entry, Hash, Kind, Stamp};
pub use journal::{Journal, JournalError};
pub use ls::{Item, Listed, ls, ls_volumes};
pub use open::open as open_sides;
pub use pending::pending;
pub use reconcile::{Action, Clash, reconcile};
pub use report::{
    Conflict, ConflictKind, Counts, Did, FailureKind, Fill, Flow, Held, ItemResult, Meta, Options,
    Pair, Pending, PendingChange, PendingItem, Progress, Report, Resolve, ResolveRule, RootWord,
    Share, Tell, Verdict,
};
pub use skip::Skip;
