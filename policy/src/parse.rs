//! Parses a whole set of policy files; either all of it counts or none.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Collector, Diagnostic, Severity, keep_most};
use crate::file::{read_domain, read_object};
use crate::layer::{OBJECTS_MAX, PolicyObject, PolicySet};

/// Largest policy file, in bytes.
pub const FILE_SIZE_MAX: usize = 1 << 20;

/// The file that holds what no single object owns.
pub const DOMAIN_FILE: &str = "_domain.toml";

/// One policy file as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name in the set.
    pub name: String,
    /// Its bytes, or why they could not be had.
    pub content: Result<Vec<u8>, String>,
}

impl SourceFile {
    /// A file with this text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), content: Ok(text.into().into_bytes()) }
    }

    /// The text that diagnostics point into, if the file could be read and is UTF-8.
    pub fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.content.as_ref().ok()?).ok()?;
        Some(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

/// What parsing a set gives.
#[must_use]
#[derive(Debug)]
pub struct Parsed {
    /// The set, unless something in it is an error.
    pub set: Option<PolicySet>,
    /// Everything there is to say about the files.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses every file of a set and names everything that is wrong with it.
///
/// `applied` holds the highest version already applied for each id: going back is an error.
/// One error anywhere rejects the whole set (the last good one stays in force).
pub fn parse(files: &[SourceFile], applied: &BTreeMap<String, u64>) -> Parsed {
    let mut set = PolicySet::default();
    let mut diagnostics = Vec::new();
    let mut files: Vec<&SourceFile> = files.iter().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    for file in files {
        let text = match readable(file) {
            Ok(text) => text,
            Err(diagnostic) => {
                diagnostics.push(diagnostic);
                continue;
            }
        };
        let mut found = Collector::new(&file.name, text);
        if file.name == DOMAIN_FILE {
            set.domain = read_domain(text, &mut found).unwrap_or_default();
        } else if let Some(object) = read_object(&file.name, text, &mut found) {
            check_object(&object, &set, applied, text, &mut found);
            set.objects.push(object);
        }
        diagnostics.extend(found.into_diagnostics());
    }
    if set.objects.len() > OBJECTS_MAX {
        let message = format!("the set has {} objects", set.objects.len());
        let hint = format!("at most {OBJECTS_MAX}");
        diagnostics.push(whole_file(DOMAIN_FILE, Code::TooLarge, message, hint));
    }
    keep_most(&mut diagnostics);
    set.objects.sort_by(|a, b| a.id.cmp(&b.id));
    let rejected = diagnostics.iter().any(|found| found.severity == Severity::Error);
    Parsed { set: (!rejected).then_some(set), diagnostics }
}

fn readable(file: &SourceFile) -> Result<&str, Diagnostic> {
    let bytes = file.content.as_ref().map_err(|why| {
        let message = format!("the file cannot be read: {why}");
        let hint = "the agent needs to read every file of the set";
        whole_file(&file.name, Code::Unreadable, message, hint.to_owned())
    })?;
    if bytes.len() > FILE_SIZE_MAX {
        let message = format!("the file has {} bytes", bytes.len());
        let hint = format!("at most {FILE_SIZE_MAX}; split the object");
        return Err(whole_file(&file.name, Code::TooLarge, message, hint));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the file is not UTF-8 from byte {}", error.valid_up_to());
        whole_file(&file.name, Code::TomlSyntax, message, "save it as UTF-8".to_owned())
    })
}

fn whole_file(name: &str, code: Code, message: String, hint: String) -> Diagnostic {
    let file = name.to_owned();
    let severity = Severity::Error;
    Diagnostic { severity, code, file, line: 1, column: 1, message, hint, span: 0..0 }
}

fn check_object(
    object: &PolicyObject,
    set: &PolicySet,
    applied: &BTreeMap<String, u64>,
    text: &str,
    found: &mut Collector<'_>,
) {
    let place = |key: &str| {
        let is_key = |at: usize| {
            !text[..at].ends_with(|c: char| c.is_alphanumeric() || "-_".contains(c))
                && text[at + key.len()..].trim_start().starts_with('=')
        };
        let mut found = text.match_indices(key).map(|(at, _)| at);
        let start = found.find(|at| is_key(*at)).unwrap_or(0);
        start..start + text[start..].find('\n').unwrap_or(0)
    };
    if let Some(twin) = set.objects.iter().find(|other| other.id == object.id) {
        let message = format!("the id {} is also that of {}", object.id, twin.file);
        found.error(Code::DuplicateId, place("id"), message, "give one of them another id");
    }
    if let Some(&version) = applied.get(&*object.id)
        && object.version < version
    {
        let message = format!(
            "version {} of {} is older than version {version}, which was applied before",
            object.version, object.id
        );
        let hint = "raise the version; to go back to an old content, give it a new version";
        found.error(Code::LowerVersion, place("version"), message, hint);
    }
}
