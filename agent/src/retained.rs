//! The file in a user's data in which everything retained about redirections is kept.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use homeport_policy::folder::Folder;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::observed::Retained;

/// What is retained, by folder.
pub type RetainedMap = BTreeMap<Folder, Retained>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    version: u32,
    folders: RetainedMap,
}

const VERSION: u32 = 1;
const NAME: &str = "redirections.json";

/// The file cannot be used. Nothing is redirected or restored without it.
#[derive(Debug, thiserror::Error)]
pub enum RetainedError {
    /// It could not be read.
    #[error("cannot read what is retained about redirections in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is damaged, or of a newer agent.
    #[error("{path} is damaged or was written by a newer Homeport")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why, where there is more to say.
        source: Option<serde_json::Error>,
    },
    /// It could not be written.
    #[error("cannot keep what is retained about redirections in {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads what is retained; a file that is not there means nothing is.
///
/// # Errors
/// [`RetainedError`]; a damaged file is never taken for an empty one.
pub fn read(data: &Path) -> Result<RetainedMap, RetainedError> {
    let path = data.join(NAME);
    let text = match durable::read_small(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(RetainedError::Read { path, source }),
    };
    match serde_json::from_slice::<File>(&text) {
        Ok(file) if file.version == VERSION => Ok(file.folders),
        Ok(_) => Err(RetainedError::Damaged { path, source: None }),
        Err(source) => Err(RetainedError::Damaged { path, source: Some(source) }),
    }
}

/// Writes what is retained, durable before it returns.
///
/// # Errors
/// [`RetainedError::Write`]; the old file is then still there.
pub fn write(data: &Path, folders: &RetainedMap) -> Result<(), RetainedError> {
    let path = data.join(NAME);
    let file = File { version: VERSION, folders: folders.clone() };
    let text = serde_json::to_vec_pretty(&file)
        .map_err(|source| RetainedError::Write { path: path.clone(), source: source.into() })?;
    durable::replace(&path, &text).map_err(|source| RetainedError::Write { path, source })
}
