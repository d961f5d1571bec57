//! Where users, groups and computers are looked up, and how sure the answer is.

pub mod file;
pub mod ldif;
pub mod ldif_write;
