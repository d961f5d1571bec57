//! The Homeport agent: policy, decision, plan, and folders, profiles and caches that follow it.
//!
//! Start with [`cycle`]. A module uses only modules above it in this list (`tests/tidy.rs` checks).

// A: values.
pub mod limits;
pub mod settings;
pub mod observed;
pub mod outcome;
pub mod keeping;
pub mod wish;
pub mod gathered;
pub mod watch;
pub mod plan;
// B: edges.
pub mod clock;
pub mod durable;
pub mod directory;
pub mod share;
pub mod network;
pub mod folders;
pub mod identity;
pub mod source;
pub mod state;
pub mod watching;
// C: doers.
pub mod load;
pub mod facts;
pub mod moving;
pub mod retained;
pub mod redirect;
pub mod jobs;
pub mod items;
pub mod worker;
pub mod execute;
// D: telling.
pub mod report;
// E: turning.
pub mod agent;
pub mod cycle;
pub mod rehearse;
pub mod assignments;
pub mod suggestions;
pub mod control;
pub mod inventory;
pub mod perform;
pub mod daemon;
pub mod cli;
