//! Reads LDIF content records (RFC 2849) as `ldapsearch` and Windows `ldifde` export them.
//!
//! One entry at a time, and on past a bad record, so that all defects of a file are told at once.
//! A search that the server cut short says so in its output; that is a defect too, because the
//! entries it leaves out must never look like entries that do not exist.
//!
//! Left to others: opening the file, what attributes mean, and change records, which are refused.

use std::{borrow::Cow, collections::VecDeque, fmt};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Longest line after unfolding; a photograph in a directory is far smaller.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Defects after which a file is given up: it is probably no LDIF at all.
pub const DEFECTS_MAX: usize = 100;

/// How much of a line an error message repeats.
const EXCERPT_CHARS_MAX: usize = 60;

/// Attributes of Active Directory that are bytes even where the bytes happen to be text.
pub(super) const BINARY_ATTRIBUTES: [&str; 14] = [
    "cACertificate",
    "dnsRecord",
    "jpegPhoto",
    "logonHours",
    "msDS-AllowedToActOnBehalfOfOtherIdentity",
    "mS-DS-ConsistencyGuid",
    "nTSecurityDescriptor",
    "objectGUID",
    "objectSid",
    "sIDHistory",
    "schemaIDGUID",
    "thumbnailPhoto",
    "tokenGroups",
    "userCertificate",
];

/// Exports exist with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line of its `dn:`, counted from 1.
    pub line: usize,
    /// Its distinguished name as written; empty for the root of the directory.
    pub dn: String,
    /// Attributes in the order of the file, with the name as written and one value each.
    pub attributes: Vec<(String, Value)>,
}

/// One value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// UTF-8 without NUL.
    Text(String),
    /// Anything else, and every value of an attribute known to be binary.
    Binary(Vec<u8>),
}

/// A defect and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct LdifError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub kind: Defect,
}

/// What can be wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A record begins with something else than `dn:`.
    #[error("the record begins with \"{0}\" instead of dn")]
    MissingDn(String),
    /// A second `dn:` within one record.
    #[error("a second dn within one record")]
    SecondDn,
    /// A distinguished name that is not UTF-8.
    #[error("\"{0}\" is no distinguished name")]
    BadDn(String),
    /// Only a part of a long list was exported.
    #[error("the values of {0} are only a part of the list")]
    PartOfList(String),
    /// Two accounts of one kind have the same name; which one is meant cannot be told.
    #[error("{0} has the account name of another entry")]
    SameName(String),
    /// A `dn` that is not UTF-8.
    #[error("the dn is not UTF-8")]
    DnNotUtf8,
    /// A continuation line that continues nothing.
    #[error("a line that begins with a space continues no line")]
    StrayContinuation,
    /// A line without a colon.
    #[error("no colon in \"{0}\"")]
    NoColon(String),
    /// An attribute name with characters that none has.
    #[error("\"{0}\" is no attribute name")]
    BadName(String),
    /// A value after `::` that is not base64.
    #[error("the value of {0} is not base64")]
    BadBase64(String),
    /// A value to be fetched from elsewhere.
    #[error("the value of {0} is a reference to a URL, which is never fetched")]
    Url(String),
    /// A version of LDIF other than 1.
    #[error("LDIF version \"{0}\" is not known")]
    Version(String),
    /// A change record other than an addition.
    #[error("a change record (changetype: {0}) is no content")]
    ChangeType(String),
    /// A line beyond [`LINE_BYTES_MAX`].
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// The search that wrote the file did not succeed.
    #[error("the search ended with \"{0}\", so entries may be missing")]
    SearchFailed(String),
    /// `ldapsearch` began this file but did not finish it.
    #[error("the end of the search is missing, so entries may be missing")]
    Truncated,
    /// A byte order mark of UTF-16 with the high byte first.
    #[error("the file is UTF-16 with the high byte first")]
    Utf16BigEndian,
    /// More than [`DEFECTS_MAX`] defects.
    #[error("more than {DEFECTS_MAX} defects, the rest of the file was not read")]
    TooManyDefects,
}

impl LdifError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.kind {
            Defect::MissingDn(_) => "begin each record with dn:, and end each with an empty line",
            Defect::SecondDn => "put an empty line between two records",
            Defect::BadDn(_) => "a name looks like CN=Alice,OU=Staff,DC=corp,DC=test",
            Defect::SameName(_) => "export one domain at a time",
            Defect::PartOfList(_) => "fetch the rest of the list, or export memberOf instead",
            Defect::DnNotUtf8 => "export as UTF-8, with ldifde -u as UTF-16",
            Defect::StrayContinuation => "remove the empty line or the comment before it",
            Defect::NoColon(_) => "write \"name: value\", or begin a continuation with a space",
            Defect::BadName(_) => "names have letters, digits, - and ; with options",
            Defect::BadBase64(_) => "write the value after one colon if it is plain text",
            Defect::Url(_) => "export the value itself, in ldapsearch without -t",
            Defect::Version(_) => "export as version: 1",
            Defect::ChangeType(_) => "export entries, not changes",
            Defect::LineTooLong => "export only the attributes that are needed",
            Defect::SearchFailed(_) => "search again with paging: ldapsearch -E pr=1000/noprompt",
            Defect::Truncated => "export again and check that the disk is not full",
            Defect::Utf16BigEndian => "save the file as UTF-8 or as UTF-16 little endian",
            Defect::TooManyDefects => "check that the file is an LDIF export",
        }
    }
}

/// The part of an attribute name before its options: `member` of `member;range=0-1499`.
pub fn base_name(name: &str) -> &str {
    name.split_once(';').map_or(name, |(base, _)| base)
}

/// Whether a name says that the server has more values than the file: its range has an end.
pub fn incomplete_range(name: &str) -> bool {
    name.split(';').skip(1).any(|option| {
        let range = option.get(..6).filter(|start| start.eq_ignore_ascii_case("range="));
        range.is_some() && !option.ends_with("-*")
    })
}

/// Reads the entries of a file, which may begin with the byte order mark of UTF-8 or UTF-16LE.
///
/// UTF-8 is read in place; UTF-16 is converted first and takes its size in UTF-8 once more.
pub fn read(input: &[u8]) -> Reader<'_> {
    let mut pending = VecDeque::new();
    let input = match input {
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        [0xff, 0xfe, rest @ ..] => Cow::Owned(from_utf16_le(rest).into_bytes()),
        [0xfe, 0xff, ..] => {
            pending.push_back(LdifError { line: 1, kind: Defect::Utf16BigEndian });
            Cow::Borrowed(&[][..])
        }
        _ => Cow::Borrowed(input),
    };
    Reader { input, cursor: Cursor::default(), pending, defects: 0, finished: false }
}

/// The entries and defects of a file, in its order.
pub struct Reader<'a> {
    input: Cow<'a, [u8]>,
    cursor: Cursor,
    pending: VecDeque<LdifError>,
    defects: usize,
    finished: bool,
}

impl fmt::Debug for Reader<'_> {
    /// Only the place: the content of a directory does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("line", &self.cursor.line).finish_non_exhaustive()
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Entry, LdifError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(defect) = self.pending.pop_front() {
                return Some(Err(self.count(defect)));
            }
            if self.finished {
                return None;
            }
            let Some(first) = self.cursor.content_line(&self.input) else {
                self.finished = true;
                if self.cursor.search_open {
                    let line = self.cursor.line;
                    self.pending.push_back(LdifError { line, kind: Defect::Truncated });
                }
                continue;
            };
            let found = self.cursor.record(&self.input, &first, &mut self.pending);
            if let Some(entry) = found.filter(|_| self.pending.is_empty()) {
                return Some(Ok(entry));
            }
        }
    }
}

impl Reader<'_> {
    /// Passes a defect on, or the last one that is told.
    fn count(&mut self, defect: LdifError) -> LdifError {
        self.defects += 1;
        if self.defects <= DEFECTS_MAX {
            return defect;
        }
        self.finished = true;
        self.pending.clear();
        LdifError { line: defect.line, kind: Defect::TooManyDefects }
    }
}

/// A line after unfolding.
struct Line<'i> {
    number: usize,
    text: Cow<'i, [u8]>,
    too_long: bool,
}

/// A line taken apart.
struct Attribute<'l> {
    name: &'l str,
    value: Spec<'l>,
}

enum Spec<'l> {
    Plain(&'l [u8]),
    Base64(&'l [u8]),
    Url,
}

/// How far the input has been read.
#[derive(Default)]
struct Cursor {
    at: usize,
    /// Physical lines taken so far.
    line: usize,
    /// `ldapsearch` has written its heading but not yet its end.
    search_open: bool,
}

impl Cursor {
    /// Takes one physical line without its end.
    fn physical<'i>(&mut self, input: &'i [u8]) -> Option<&'i [u8]> {
        let rest = input.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (line, taken) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&rest[..end], end + 1),
            None => (rest, rest.len()),
        };
        self.at += taken;
        self.line += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Takes one line with its continuations.
    fn unfolded<'i>(&mut self, input: &'i [u8]) -> Option<Line<'i>> {
        let first = self.physical(input)?;
        let number = self.line;
        let mut text = Cow::Borrowed(first);
        let mut too_long = first.len() > LINE_BYTES_MAX;
        // An empty line ends a record; what follows it with a space continues nothing.
        while !first.is_empty() && input.get(self.at) == Some(&b' ') {
            let Some(more) = self.physical(input) else { break };
            if text.len() + more.len() > LINE_BYTES_MAX {
                too_long = true; // taken to its end, so that the next record is found
            } else {
                text.to_mut().extend_from_slice(&more[1..]);
            }
        }
        Some(Line { number, text, too_long })
    }

    /// Takes the next line that is no comment.
    fn line<'i>(&mut self, input: &'i [u8]) -> Option<Line<'i>> {
        loop {
            let line = self.unfolded(input)?;
            if line.text.first() != Some(&b'#') {
                return Some(line);
            }
            match &*line.text {
                b"# LDAPv3" => self.search_open = true,
                b"# search result" => self.search_open = false,
                text if text.starts_with(b"# numResponses") => self.search_open = false,
                _ => {}
            }
        }
    }

    /// Takes the next line that is neither comment nor empty.
    fn content_line<'i>(&mut self, input: &'i [u8]) -> Option<Line<'i>> {
        loop {
            let line = self.line(input)?;
            if !line.text.is_empty() {
                return Some(line);
            }
        }
    }

    /// Reads the record that begins with a line; `None` if it is no entry.
    fn record(
        &mut self,
        input: &[u8],
        first: &Line<'_>,
        defects: &mut VecDeque<LdifError>,
    ) -> Option<Entry> {
        let attribute = match take_apart(first) {
            Ok(attribute) => attribute,
            Err(defect) => {
                defects.push_back(defect);
                self.skip_record(input);
                return None;
            }
        };
        let mut fail = |kind| defects.push_back(LdifError { line: first.number, kind });
        let is = |name: &str| attribute.name.eq_ignore_ascii_case(name);
        if is("version") {
            // The first record may follow without an empty line.
            if attribute.text() != "1" {
                fail(Defect::Version(excerpt(attribute.text().as_bytes())));
            }
            return None;
        }
        if is("dn") {
            let dn = match attribute.decoded().map(String::from_utf8) {
                Ok(Ok(dn)) => dn,
                Ok(Err(_)) => {
                    fail(Defect::DnNotUtf8);
                    String::new()
                }
                Err(kind) => {
                    fail(kind);
                    String::new()
                }
            };
            return Some(self.entry(input, first.number, dn, defects));
        }
        if is("search") || is("result") {
            self.trailer(input, first, defects);
        } else if is("ref") {
            // A continuation reference: the place of entries that another server holds.
            self.skip_record(input);
        } else {
            fail(Defect::MissingDn(excerpt(&first.text)));
            self.skip_record(input);
        }
        None
    }

    fn entry(
        &mut self,
        input: &[u8],
        line: usize,
        dn: String,
        defects: &mut VecDeque<LdifError>,
    ) -> Entry {
        let mut attributes = Vec::new();
        while let Some(line) = self.line(input).filter(|line| !line.text.is_empty()) {
            let read = take_apart(&line).and_then(|attribute| {
                let at = |kind| LdifError { line: line.number, kind };
                if attribute.name.eq_ignore_ascii_case("dn") {
                    return Err(at(Defect::SecondDn));
                }
                if attribute.name.eq_ignore_ascii_case("changetype") {
                    let change = attribute.text();
                    // ldifde writes its exports as additions.
                    let add = change.eq_ignore_ascii_case("add");
                    let refused = at(Defect::ChangeType(excerpt(change.as_bytes())));
                    return if add { Ok(None) } else { Err(refused) };
                }
                let value = attribute.value().map_err(at)?;
                Ok(Some((attribute.name.to_owned(), value)))
            });
            match read {
                Ok(Some(attribute)) => attributes.push(attribute),
                Ok(None) => {}
                // The lines of a change record are no attributes; one defect says it all.
                Err(defect @ LdifError { kind: Defect::ChangeType(_), .. }) => {
                    defects.push_back(defect);
                    self.skip_record(input);
                    break;
                }
                Err(defect) => note(defects, defect),
            }
        }
        Entry { line, dn, attributes }
    }

    /// Reads what `ldapsearch` writes after the entries; only success is no defect.
    fn trailer(&mut self, input: &[u8], first: &Line<'_>, defects: &mut VecDeque<LdifError>) {
        let mut check = |line: &Line<'_>| {
            let Ok(attribute) = take_apart(line) else { return };
            let text = attribute.text();
            let succeeded = text.split_ascii_whitespace().next() == Some("0");
            if attribute.name.eq_ignore_ascii_case("result") && !succeeded {
                let kind = Defect::SearchFailed(excerpt(text.as_bytes()));
                note(defects, LdifError { line: line.number, kind });
            }
        };
        check(first);
        while let Some(line) = self.line(input).filter(|line| !line.text.is_empty()) {
            check(&line);
        }
    }

    fn skip_record(&mut self, input: &[u8]) {
        while self.line(input).is_some_and(|line| !line.text.is_empty()) {}
    }
}

/// Keeps a defect unless enough are waiting: one record may have a million bad lines.
fn note(defects: &mut VecDeque<LdifError>, defect: LdifError) {
    if defects.len() <= DEFECTS_MAX {
        defects.push_back(defect);
    }
}

fn take_apart<'l>(line: &'l Line<'_>) -> Result<Attribute<'l>, LdifError> {
    let fail = |kind| Err(LdifError { line: line.number, kind });
    if line.too_long {
        return fail(Defect::LineTooLong);
    }
    if line.text.first() == Some(&b' ') {
        return fail(Defect::StrayContinuation);
    }
    let Some(colon) = line.text.iter().position(|byte| *byte == b':') else {
        return fail(Defect::NoColon(excerpt(&line.text)));
    };
    let (name, rest) = (&line.text[..colon], &line.text[colon + 1..]);
    let valid = name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.;=*_".contains(byte));
    let Some(name) = str::from_utf8(name).ok().filter(|_| valid) else {
        return fail(Defect::BadName(excerpt(name)));
    };
    let value = match rest {
        [b':', value @ ..] => Spec::Base64(value.trim_ascii()),
        [b'<', ..] => Spec::Url,
        value => {
            let start = value.iter().position(|byte| *byte != b' ').unwrap_or(value.len());
            Spec::Plain(&value[start..])
        }
    };
    Ok(Attribute { name, value })
}

impl Attribute<'_> {
    fn decoded(&self) -> Result<Vec<u8>, Defect> {
        match self.value {
            Spec::Plain(value) => Ok(value.to_vec()),
            Spec::Base64(value) => {
                BASE64.decode(value).map_err(|_| Defect::BadBase64(self.name.to_owned()))
            }
            Spec::Url => Err(Defect::Url(self.name.to_owned())),
        }
    }

    fn value(&self) -> Result<Value, Defect> {
        let bytes = self.decoded()?;
        if bytes.contains(&0) || is_binary(self.name) {
            return Ok(Value::Binary(bytes));
        }
        let text = String::from_utf8(bytes);
        Ok(text.map_or_else(|error| Value::Binary(error.into_bytes()), Value::Text))
    }

    /// The value of a line that is no attribute, for comparing and for messages.
    fn text(&self) -> String {
        let bytes = self.decoded().unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

fn is_binary(name: &str) -> bool {
    let base = base_name(name);
    let marked = name.split(';').skip(1).any(|option| option.eq_ignore_ascii_case("binary"));
    marked || BINARY_ATTRIBUTES.iter().any(|known| known.eq_ignore_ascii_case(base))
}

/// Enough of a line to recognise it.
fn excerpt(text: &[u8]) -> String {
    let enough = &text[..text.len().min(4 * EXCERPT_CHARS_MAX)];
    let text = String::from_utf8_lossy(enough);
    text.chars().filter(|c| !c.is_control()).take(EXCERPT_CHARS_MAX).collect()
}

fn from_utf16_le(bytes: &[u8]) -> String {
    let units = bytes.chunks(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0xfffd, // half a character at the end
    });
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
