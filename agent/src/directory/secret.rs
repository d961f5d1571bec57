//! The secret of a simple bind: read when it is needed, wiped when it was used, shown to nobody.
#![expect(clippy::disallowed_methods, reason = "edge: $CREDENTIALS_DIRECTORY is the environment's")]

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::directory::error::{DirectoryError, SecretError};
use crate::settings::SecretSource;

/// Longest secret.
const BYTES_MAX: u64 = 4_096;

/// A secret. It is wiped from memory when it is dropped.
pub struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// The secret itself, for the one place that sends it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// Reads a secret. It is read for every bind, so that a new one counts without a restart.
///
/// # Errors
/// [`DirectoryError::Secret`] when others can read it too, or there is none.
pub fn read(source: &SecretSource) -> Result<Secret, DirectoryError> {
    let (path, is_credential) = match source {
        SecretSource::File(path) => (path.clone(), false),
        SecretSource::Credential(name) => {
            let error = || DirectoryError::Secret {
                path: PathBuf::from(name),
                source: SecretError::NoCredentials,
            };
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(error)?;
            (PathBuf::from(directory).join(name), true)
        }
    };
    let error = |source| DirectoryError::Secret { path: path.clone(), source };
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(no_wait).open(&path);
    let file = file.map_err(|source| error(SecretError::Read(source)))?;
    let meta = file.metadata().map_err(|source| error(SecretError::Read(source)))?;
    // systemd keeps credentials readable for the service alone, by an access list where need be,
    // which shows as group permissions.
    let open = if is_credential { 0o007 } else { 0o077 };
    if meta.mode() & open != 0 {
        return Err(error(SecretError::Open { mode: meta.mode() & 0o7777 }));
    }
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own && meta.uid() != 0 {
        return Err(error(SecretError::Owner { owner: meta.uid() }));
    }
    // With its capacity from the start, no copy of it is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX as usize + 1));
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| error(SecretError::Read(source)))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| error(SecretError::NoText))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        "" => Err(error(SecretError::Empty)),
        _ if bytes.len() as u64 > BYTES_MAX || text.contains(['\n', '\0']) => {
            Err(error(SecretError::NoText))
        }
        text => Ok(Secret(Zeroizing::new(text.to_owned()))),
    }
}
