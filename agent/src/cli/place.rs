//! Reads what a person writes for a place: a network path, an address, a path on this computer.

use std::path::{Component, Path, PathBuf};

use homeport_policy::unc::Unc;

use super::Stopped;
use crate::cli::exit::Exit;
use crate::wish::Place;

const HINT: &str = r"like '\\srv\share\folder', smb://srv/share/folder or /home/me/Documents";

/// Whether an argument that may also be a user's name is a place: whatever has a separator in it,
/// but for `CORP\alice`.
pub(super) fn is_place(text: &str) -> bool {
    let is_account = |(domain, name): (&str, &str)| {
        let is_name = |part: &str| !part.is_empty() && !part.contains(['\\', '/', '.']);
        is_name(domain) && !name.is_empty() && !name.contains(['\\', '/'])
    };
    match text {
        "." | ".." => true,
        text if text.split_once('\\').is_some_and(is_account) => false,
        text => text.contains(['\\', '/']),
    }
}

/// Reads a place; a relative path counts from the directory that the person is in.
pub(super) fn place(text: &str) -> Result<Place, Stopped> {
    let wrong = |why: &str| Stopped::new(format!("'{text}': {why}"), HINT, Exit::Usage);
    let network = match text {
        text if text.starts_with(r"\\") => Some(text.to_owned()),
        text if text.starts_with("smb://") => {
            let path = decoded(&text["smb://".len()..]).ok_or_else(|| wrong("a bad % escape"))?;
            Some(format!(r"\\{}", path.replace('/', r"\")))
        }
        text if text.starts_with("//") => Some(text.replace('/', r"\")),
        _ => None,
    };
    if let Some(network) = network {
        let unc = Unc::parse(&network).map_err(|error| wrong(&error.to_string()))?;
        return Ok(Place::Network(unc));
    }
    let path = match text {
        "" => return Err(wrong("no path")),
        text if text.starts_with('\\') => {
            return Err(wrong("a network path begins with two backslashes"));
        }
        text if text.starts_with('/') => PathBuf::from(text),
        text => here().map_err(|error| Stopped::environment(&error))?.join(text),
    };
    match straight(&path) {
        Some(path) => Ok(Place::Local(path)),
        None => Err(wrong("write the path without `..`, which a link may lead elsewhere")),
    }
}

/// A path without `.`, and not at all with `..`.
fn straight(path: &Path) -> Option<PathBuf> {
    let upwards = path.components().any(|part| part == Component::ParentDir);
    (!upwards).then(|| path.components().filter(|part| *part != Component::CurDir).collect())
}

#[expect(clippy::disallowed_methods, reason = "edge: a relative path needs it")]
fn here() -> std::io::Result<PathBuf> {
    // The shell's own idea keeps the links by which somebody came here, such as a redirected folder.
    match std::env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(shell) if same(&shell, &std::env::current_dir()?) => Ok(shell),
        _ => std::env::current_dir(),
    }
}

#[expect(clippy::disallowed_methods, reason = "edge: a relative path needs it")]
fn same(one: &Path, other: &Path) -> bool {
    std::fs::canonicalize(one).is_ok_and(|one| Some(one) == std::fs::canonicalize(other).ok())
}

/// An address's `%20` as what it means.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_has_a_separator_is_a_place() {
        for text in
            ["a/b", "./a", "../x", ".", r"\files\home", r"\\srv\share", r"a\b\c", "smb://x/y"]
        {
            assert!(is_place(text), "{text}");
        }
        for text in ["alice", r"CORP\alice", "alice@corp.test", "anna.smith", ""] {
            assert!(!is_place(text), "{text}");
        }
    }

    #[test]
    fn places_are_read_as_people_write_them() {
        for text in [r"\\srv\share\a b", "//srv/share/a b", "smb://srv/share/a%20b"] {
            let Place::Network(unc) = place(text).unwrap() else { panic!("{text}") };
            assert_eq!(unc.as_str(), r"\\srv\share\a b");
        }
        let Place::Local(path) = place("/home/./alice/Documents/").unwrap() else { panic!() };
        assert_eq!(path, Path::new("/home/alice/Documents"));
        for text in ["", r"\srv\share", "smb://srv/%zz", "smb://srv", r"\\srv", "/home/../x"] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
