//! Tells what happened and what holds: status, metrics, log.

pub mod caches;
pub mod metrics;
pub mod names;
pub mod phases;
pub mod serve;
pub mod status;
