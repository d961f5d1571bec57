//! Shares as seen from this computer: whether they are there, how to reach into them, and how long
//! to wait for one that does not answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod helper;
pub mod prefix;
pub mod reach;
pub mod calls;
pub mod mounted;
pub mod timed;
pub mod links;

/// How quickly a share answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Measured {
    /// Median round trip of several small operations.
    pub latency: Duration,
    /// Bits per second of file content, if enough of it was carried to tell.
    pub throughput: Option<u64>,
}
