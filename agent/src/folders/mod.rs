//! Known folders on this operating system.

pub mod xdg;
