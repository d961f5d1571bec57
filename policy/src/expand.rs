//! Fills in the variables of a path template; what comes out is always a plain UNC path.

use crate::facts::{Facts, User};
use crate::unc::{Unc, UncError, check_name};
use crate::value::{Part, Template, Variable};

/// Why a template gives no path for this user on this computer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The directory has no value for it.
    #[error("{0} has no value for this user")]
    NoValue(String),
    /// The value cannot be one part of a path.
    #[error("{variable} is {value:?}, which cannot be one part of a path")]
    BadValue {
        /// The variable as written.
        variable: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: UncError,
    },
    /// What came out is no UNC path.
    #[error("{0:?} is no UNC path")]
    NoPath(String),
}

/// Fills in a template.
///
/// A value never brings a separator, `..` or an empty part with it, so a user who may edit an
/// attribute of their own account cannot point a folder elsewhere.
///
/// # Errors
/// [`ExpandError`] names the variable.
pub fn expand(template: &Template, user: &User, facts: &Facts) -> Result<Unc, ExpandError> {
    if let Some(fixed) = &template.fixed {
        return Ok(fixed.clone());
    }
    let mut text = String::with_capacity(template.as_str().len() + 32);
    for part in &template.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Variable(Variable::HomeShare) => {
                text.push_str(home_directory(user)?.as_str());
            }
            Part::Variable(variable) => text.push_str(value_of(variable, user, facts)?),
        }
    }
    Unc::parse(&text).map_err(|_| ExpandError::NoPath(text))
}

/// The user's home directory, if the directory names one that is a UNC path.
///
/// # Errors
/// [`ExpandError`] when there is none or it is a local path.
pub fn home_directory(user: &User) -> Result<Unc, ExpandError> {
    let name = || "homeDirectory".to_owned();
    let text = user.attribute("homedirectory").filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| ExpandError::NoValue(name()))?;
    Unc::parse(text).map_err(|source| {
        let value = text.to_owned();
        ExpandError::BadValue { variable: name(), value, source }
    })
}

fn value_of<'a>(
    variable: &Variable,
    user: &'a User,
    facts: &'a Facts,
) -> Result<&'a str, ExpandError> {
    let value = match variable {
        Variable::UserName => Some(user.name.as_str()),
        Variable::UserDomain => Some(user.domain.as_str()),
        Variable::UserDnsDomain => Some(user.dns_domain.as_str()),
        Variable::ComputerName => Some(facts.computer.name.as_str()),
        Variable::LogonServer => facts.computer.logon_server.as_deref(),
        Variable::Ad(attribute) => user.attribute(attribute),
        Variable::HomeShare => None,
    };
    let value = value.filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| ExpandError::NoValue(variable.to_string()))?;
    match check_name(value) {
        Ok(()) => Ok(value),
        Err(source) => {
            let (variable, value) = (variable.to_string(), value.to_owned());
            Err(ExpandError::BadValue { variable, value, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::{Computer, Directory, Names, Network, Os};

    fn facts(department: &str) -> Facts {
        let user = User {
            name: "alice".to_owned(),
            attributes: [("department".to_owned(), department.to_owned())].into(),
            ..User::default()
        };
        let computer = Computer {
            name: "LT-1".to_owned(),
            dn: None,
            groups: Names::default(),
            os: Os::Linux,
            site: None,
            logon_server: None,
        };
        Facts {
            user: Some(Arc::new(user)),
            computer: Arc::new(computer),
            directory: Directory::Answered,
            schema_has_primary_computer: true,
            network: Network::default(),
            profile_link: None,
        }
    }

    #[test]
    fn a_value_that_windows_would_shorten_is_none() {
        let template = Template::parse(r"\\srv\%AD:department%\%USERNAME%").unwrap();
        for (value, good) in [
            ("Sales", true),
            (" Sales", true),
            ("Sales & Co", true),
            ("Sales ", false),
            ("Sales.", false),
            ("   ", false),
            ("...", false),
        ] {
            let facts = facts(value);
            let user = facts.user.as_deref().unwrap();
            match expand(&template, user, &facts) {
                Ok(path) => assert!(good, "{value:?}: {path}"),
                Err(error) => assert!(!good && matches!(error, ExpandError::BadValue { .. })),
            }
        }
    }
}
