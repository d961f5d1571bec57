//! Shares as seen from this computer: whether they are there, and how to reach into them.

pub mod reach;
