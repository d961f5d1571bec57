//! The Homeport agent: policy, decision, plan, and folders, profiles and caches that follow it.
//!
//! Start with [`cycle`]. A module uses only modules above it in this list (`tests/tidy.rs` checks).

// A: values.
pub mod limits;
pub mod observed;
pub mod outcome;
pub mod plan;
pub mod settings;
// B: edges.
pub mod clock;
pub mod directory;
pub mod durable;
pub mod folders;
pub mod identity;
pub mod network;
pub mod share;
pub mod source;
pub mod state;
// C: doers.
pub mod execute;
pub mod facts;
pub mod jobs;
pub mod load;
pub mod moving;
pub mod redirect;
pub mod retained;
pub mod worker;
// D: telling.
pub mod report;
// E: turning.
pub mod agent;
pub mod cli;
pub mod control;
pub mod cycle;
pub mod daemon;
pub mod perform;
pub mod rehearse;
