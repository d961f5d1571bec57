//! The name of an account as somebody gave it: `alice`, `CORP\alice` or `alice@corp.test`.

use crate::directory::filter::NAME_BYTES_MAX;

/// A name that may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Without the domain.
    pub name: String,
    /// The domain, as it was given.
    pub domain: Option<Domain>,
}

/// How a domain was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `CORP\`.
    NetBios(String),
    /// `@corp.test`; it may also be another suffix that the forest allows.
    Suffix(String),
}

/// Why nobody can be called that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Nothing written, or nothing beside the domain.
    #[error("the account name is empty")]
    Empty,
    /// Longer than any account name.
    #[error("the account name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// Active Directory allows none of them in sAMAccountName, and a NUL ends names elsewhere.
    #[error("the account name contains a control character or one of \" / [ ] : ; | = , + * ? < >")]
    Character,
}

/// What sAMAccountName may not contain (MS-SAMR 3.1.1.6), besides what separates the domain.
const FORBIDDEN: &str = "\"/\\[]:;|=,+*?<>@";

impl Account {
    /// Reads a name.
    ///
    /// # Errors
    /// [`AccountError`]: there can be no such account, so nobody has to be asked.
    pub fn parse(text: &str) -> Result<Self, AccountError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(AccountError::TooLong);
        }
        let (name, domain) = match (text.split_once('\\'), text.rsplit_once('@')) {
            (Some((domain, name)), _) => (name, Some(Domain::NetBios(domain.to_owned()))),
            (None, Some((name, suffix))) => (name, Some(Domain::Suffix(suffix.to_lowercase()))),
            (None, None) => (text, None),
        };
        let of_domain = match &domain {
            Some(Domain::NetBios(domain) | Domain::Suffix(domain)) => domain.as_str(),
            None => "none",
        };
        if name.trim().is_empty() || of_domain.trim().is_empty() {
            return Err(AccountError::Empty);
        }
        let bad = |c: char| c.is_control() || FORBIDDEN.contains(c);
        if name.chars().any(bad) || of_domain.chars().any(bad) {
            return Err(AccountError::Character);
        }
        Ok(Self { name: name.to_owned(), domain })
    }

    /// The whole name with its suffix, if that is how it was given.
    pub fn principal(&self) -> Option<String> {
        match &self.domain {
            Some(Domain::Suffix(suffix)) => Some(format!("{}@{suffix}", self.name)),
            _ => None,
        }
    }
}
