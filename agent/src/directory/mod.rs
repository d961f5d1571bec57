//! Where users, groups and computers are looked up, and how sure the answer is.
//!
//! An export is [`file`] over [`ldif`]. A live directory is [`live`]: it decides whether to ask at
//! all, asks by [`query`] over one [`ldap`] connection that [`connect`] made, and falls back to what
//! [`cache`] remembers; [`way`] is when a domain is asked. [`filter`], [`account`], [`entry`], [`sid`] and [`backoff`] are pure.

pub mod access;
pub mod error;
pub mod tally;
pub mod account;
pub mod backoff;
pub mod cache;
pub mod connect;
pub mod discover;
pub mod entry;
pub mod file;
pub mod filter;
pub mod guard;
pub mod kerberos;
pub mod keytab;
pub mod ldap;
pub mod ldif;
pub mod ldif_write;
pub mod live;
pub mod query;
pub mod rights;
pub mod secret;
pub mod sid;
pub mod snapshot;
pub mod tls;
pub mod way;
