//! Everything about Homeport's policy that can be computed.
//!
//! ```text
//! files ─parse─► PolicySet ─filter, merge─► ResultantSet ─decide─► Decision ─explain─► words
//!                                  Facts ───────┴──────────────────┘
//! ```
//! Nothing here reads a file, a clock, the environment or the network: the world is an argument.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod connection;
pub mod cron_expression;
pub mod decide;
mod decide_cache;
pub mod diagnostic;
pub mod diff;
pub mod dn;
pub mod expand;
pub mod explain;
pub mod facts;
mod file;
mod file_value;
pub mod filter;
pub mod folder;
pub mod layer;
pub mod merge;
pub mod mode_text;
pub mod parse;
pub mod primary;
pub mod reach;
pub mod reason;
pub mod reference;
pub mod schedule;
pub mod settings;
mod standing;
pub mod sync_rules;
pub mod unc;
pub mod value;
