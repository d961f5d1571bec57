//! The two-way sync engine: keeps a tree on this computer and a tree on a share in step.
//!
//! ```text
//! roots ─► scan here, scan there ─► compare ─(reconcile)─► apply ─► record in the journal
//! ```
//! Three-way throughout: what both sides last agreed on (the journal) tells an edit from a delete.
//! The engine knows trees, journal and options, and nothing of policy, directory or services.
//!
//! Renames travel as delete and create for now; a later version recognises them by file number and
//! content. Times and permission bits travel with content, and not without it.

#[cfg(not(unix))]
compile_error!("the engine's `fs` module has only its Unix half so far");

mod item;
mod reconcile;
mod report;
pub mod fs;
mod scan;
mod recycle;
mod journal;
mod roots;
mod copy;
mod compare;
mod apply;
mod engine;

pub use engine::{Side, SyncError, pending, settle, sync, sync_through};
pub use item::{Content, Hash, Kind};
pub use journal::{Journal, JournalError};
pub use reconcile::{Action, Clash, reconcile};
pub use report::{
    Conflict, ConflictKind, Counts, Did, FailureKind, Flow, Held, ItemResult, Meta, Options, Pair,
    Pending, PendingChange, PendingItem, Report, Resolve, ResolveRule, Verdict,
};
