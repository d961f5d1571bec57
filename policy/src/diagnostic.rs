//! What is wrong with a policy file, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// Most diagnostics kept for one set; a file of garbage must not fill the log.
pub const DIAGNOSTICS_MAX: usize = 200;

/// Stable names of the defects, for scripts and for the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "`Code::meaning` describes each")]
pub enum Code {
    BadCron,
    BadDn,
    BadGlob,
    BadTemplate,
    BadUnc,
    Contradiction,
    DuplicateId,
    LowerVersion,
    MissingKey,
    NewerSchema,
    OutOfRange,
    TomlSyntax,
    TooLarge,
    UnknownKey,
    UnknownValue,
    Unreadable,
    WrongHalf,
    WrongType,
}

/// Every code, in alphabetical order.
pub const CODES: [Code; 18] = [
    Code::BadCron,
    Code::BadDn,
    Code::BadGlob,
    Code::BadTemplate,
    Code::BadUnc,
    Code::Contradiction,
    Code::DuplicateId,
    Code::LowerVersion,
    Code::MissingKey,
    Code::NewerSchema,
    Code::OutOfRange,
    Code::TomlSyntax,
    Code::TooLarge,
    Code::UnknownKey,
    Code::UnknownValue,
    Code::Unreadable,
    Code::WrongHalf,
    Code::WrongType,
];

impl Code {
    /// The code as it is printed (`out-of-range`).
    pub fn name(self) -> &'static str {
        match self {
            Self::BadCron => "bad-cron",
            Self::BadDn => "bad-dn",
            Self::BadGlob => "bad-glob",
            Self::BadTemplate => "bad-template",
            Self::BadUnc => "bad-unc",
            Self::Contradiction => "contradiction",
            Self::DuplicateId => "duplicate-id",
            Self::LowerVersion => "lower-version",
            Self::MissingKey => "missing-key",
            Self::NewerSchema => "newer-schema",
            Self::OutOfRange => "out-of-range",
            Self::TomlSyntax => "toml-syntax",
            Self::TooLarge => "too-large",
            Self::UnknownKey => "unknown-key",
            Self::UnknownValue => "unknown-value",
            Self::Unreadable => "unreadable",
            Self::WrongHalf => "wrong-half",
            Self::WrongType => "wrong-type",
        }
    }

    /// One sentence for the reference page.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::BadCron => "The text is no five-field cron expression.",
            Self::BadDn => "The text is no distinguished name.",
            Self::BadGlob => "The text is no glob.",
            Self::BadTemplate => "The text is no path template, or names an unknown variable.",
            Self::BadUnc => "The text is no UNC path.",
            Self::Contradiction => "Two keys of one file cannot both hold.",
            Self::DuplicateId => "Two policy objects have the same id.",
            Self::LowerVersion => "The version is lower than one that was already applied.",
            Self::MissingKey => "A key that must be there is not.",
            Self::NewerSchema => "The file needs a newer agent.",
            Self::OutOfRange => "The value is outside the range of its setting.",
            Self::TomlSyntax => "The file is not TOML.",
            Self::TooLarge => "The file or the set is larger than the agent accepts.",
            Self::UnknownKey => "No setting has this name.",
            Self::UnknownValue => "The word is none of those the setting takes.",
            Self::Unreadable => "The file could not be read.",
            Self::WrongHalf => "The setting belongs to the other half (computer or user).",
            Self::WrongType => "The value has the wrong type.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the set can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The set is rejected.
    Error,
    /// The set is accepted; somebody should look.
    Warning,
}

/// One defect in one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What kind of defect.
    pub code: Code,
    /// Name of the file in its set.
    pub file: String,
    /// 1-based line.
    pub line: u32,
    /// 1-based column, in characters.
    pub column: u32,
    /// What is wrong, in words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Bytes of the file it is about.
    #[serde(skip)]
    pub span: Range<usize>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Self { code, file, line, column, message, hint, .. } = self;
        write!(f, "{file}:{line}:{column}: {severity}[{code}]: {message} ({hint})")
    }
}

/// 1-based line and column of a byte offset; an offset past the end is the end.
pub fn line_and_column(text: &str, offset: usize) -> (u32, u32) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[start..].chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// Collects the diagnostics of one file.
#[derive(Debug)]
pub struct Collector<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Diagnostic>,
}

impl<'a> Collector<'a> {
    /// Starts with nothing found.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// Notes an error.
    pub fn error(
        &mut self,
        code: Code,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, code, span, message.into(), hint.into());
    }

    /// Notes a warning.
    pub fn warning(
        &mut self,
        code: Code,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, span, message.into(), hint.into());
    }

    /// The 1-based line on which a span starts.
    pub fn line(&self, span: &Range<usize>) -> u32 {
        line_and_column(self.text, span.start).0
    }

    /// Everything found, in the order of the file.
    pub fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| diagnostic.span.start);
        keep_most(&mut self.found);
        self.found
    }

    fn push(
        &mut self,
        severity: Severity,
        code: Code,
        span: Range<usize>,
        message: String,
        hint: String,
    ) {
        // What a piece of broken TOML was read as instead is no second defect.
        let broken = |d: &Diagnostic| {
            d.code == Code::TomlSyntax && (span.start..=span.end).contains(&d.span.start)
        };
        if code != Code::TomlSyntax && self.found.iter().any(broken) {
            return;
        }
        let (line, column) = line_and_column(self.text, span.start);
        let file = self.file.to_owned();
        self.found.push(Diagnostic { severity, code, file, line, column, message, hint, span });
    }
}

/// Drops what is too much; warnings first, so that no error is ever lost among them.
pub(crate) fn keep_most(found: &mut Vec<Diagnostic>) {
    if found.len() > DIAGNOSTICS_MAX {
        found.sort_by_key(|diagnostic| diagnostic.severity == Severity::Warning);
        found.truncate(DIAGNOSTICS_MAX);
    }
}

/// Renders diagnostics with an excerpt of their source, the way a compiler does.
///
/// `source` gives the text of a file by its name; without it the one-line form is used.
pub fn render<'a>(
    diagnostics: &[Diagnostic],
    source: impl Fn(&str) -> Option<&'a str>,
    colour: bool,
) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        match source(&diagnostic.file) {
            Some(text) => out.push_str(&render_one(diagnostic, text, &renderer)),
            None => out.push_str(&diagnostic.to_string()),
        }
        out.push_str("\n\n");
    }
    out
}

fn render_one(diagnostic: &Diagnostic, text: &str, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let end = text.len();
    let span = diagnostic.span.start.min(end)..diagnostic.span.end.min(end);
    let snippet = Snippet::source(text)
        .path(diagnostic.file.as_str())
        .annotation(AnnotationKind::Primary.span(span));
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.name());
    let group = title.element(snippet).element(Level::HELP.message(diagnostic.hint.as_str()));
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_they_serialise() {
        for code in CODES {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json.trim_matches('"'), code.name());
        }
        assert!(CODES.is_sorted());
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(line_and_column("aé\nßx", 0), (1, 1));
        assert_eq!(line_and_column("aé\nßx", 6), (2, 2));
        assert_eq!(line_and_column("a", 99), (1, 2));
    }

    #[test]
    fn rendering_shows_the_line() {
        let text = "schema = 1\ncolour = \"red\"\n";
        let mut found = Collector::new("a.toml", text);
        found.error(Code::UnknownKey, 11..17, "no key is named `colour`", "remove it");
        let shown = render(&found.into_diagnostics(), |_| Some(text), false);
        for part in ["a.toml:2:1", "colour = \"red\"", "unknown-key", "remove it"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
