//! Reads a directory of policy files as it is; whether it makes sense is decided by `load`.
#![expect(clippy::disallowed_methods, reason = "edge: reads policy files")]

use std::path::{Path, PathBuf};

use homeport_policy::parse::SourceFile;

use crate::durable;
use crate::limits::POLICY_FILES_MAX;

/// The directory could not be read at all. That is not an empty policy.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The directory could not be listed.
    #[error("cannot list the policy directory {path}")]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds more files than a policy can have.
    #[error("the policy directory {path} holds more than {POLICY_FILES_MAX} policy files")]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

/// Reads every `*.toml` file of a directory, hidden ones left out, in order of their names.
///
/// A file that cannot be read is part of the result, with the reason: it makes the set invalid.
///
/// # Errors
/// [`SourceError`] when the directory itself cannot be read.
pub fn read(path: &Path) -> Result<Vec<SourceFile>, SourceError> {
    let list = |source| SourceError::List { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(list)? {
        let name = entry.map_err(list)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") && !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > POLICY_FILES_MAX {
            return Err(SourceError::TooMany { path: path.to_owned() });
        }
    }
    names.sort();
    let file = |name: String| {
        let content = durable::read_small(&path.join(&name)).map_err(|error| error.to_string());
        SourceFile { name, content }
    };
    Ok(names.into_iter().map(file).collect())
}
