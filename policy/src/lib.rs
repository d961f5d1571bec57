//! Everything about Homeport's policy that can be computed.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]
