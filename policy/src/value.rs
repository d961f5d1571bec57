//! The values a policy can hold: durations, sizes, rates, globs, templates, targets, lists.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use globset::{GlobBuilder, GlobMatcher};

use crate::cron_expression::CronExpression;
use crate::schedule::Blockout;
use crate::unc::{Unc, UncError, folded};

/// One configured value. Which variant a setting takes is fixed by its row in the catalogue.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the kind of the same name in `settings::Kind`")]
pub enum Value {
    Bool(bool),
    /// The word `"off"`, which takes back a value that a lower object set.
    Off,
    Count(u64),
    Duration(Duration),
    /// Bytes.
    Size(u64),
    Percent(u8),
    /// Bits per second.
    Rate(u64),
    /// One of a closed set of words.
    Word(&'static str),
    Cron(CronExpression),
    Blockout(Blockout),
    Template(Template),
    Target(Target),
    Unc(Unc),
    Glob(Glob),
    /// A relative path or glob below a root.
    Pattern(String),
    /// A user or group name, `DOMAIN\name` or bare.
    Principal(Principal),
    SlowLink(SlowLinkRule),
    Conflict(ConflictRule),
    Assign(Assign),
    GroupTarget(GroupTarget),
}

/// A row of `offline-files.slow-link.rule`: when a matching path counts as slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowLinkRule {
    /// A UNC pattern with `*`.
    pub path: String,
    /// Above this round-trip time the link is slow; 1 ms means Always Offline.
    pub latency: Option<Duration>,
    /// Below this many bits per second the link is slow.
    pub throughput: Option<u64>,
}

/// A row of `offline-files.conflict`: how conflicts below a path are settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictRule {
    /// A UNC pattern with `*`.
    pub path: String,
    /// `ask`, `keep-local`, `keep-remote`, `keep-latest` or `keep-both`.
    pub resolve: &'static str,
}

/// A row of `primary-computers.assign`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assign {
    /// Whose primary computers these are.
    pub who: Who,
    /// Globs on the computer name.
    pub computers: Vec<Glob>,
}

/// One person or a group of people.
#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    /// One user, by sAMAccountName.
    User(Principal),
    /// Every member of a group, nested groups included.
    Group(Principal),
}

/// A row of `folder-redirection.FOLDER.group` (Advanced redirection).
#[derive(Clone, Debug, PartialEq)]
pub struct GroupTarget {
    /// The security group whose members get this target.
    pub group: Principal,
    /// Where their folder goes.
    pub target: Target,
}

/// A user or group name as administrators write it: `CORP\Staff` or `Staff`.
#[derive(Clone, Debug)]
pub struct Principal {
    text: String,
    folded: String,
}

impl Principal {
    /// Takes a name; a backslash separates the NetBIOS domain.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), folded: text.to_lowercase() }
    }

    /// Whether the text has the form of a name.
    pub fn is_well_formed(text: &str) -> bool {
        let mut parts = text.split('\\');
        let good = |part: &str| !part.trim().is_empty() && !part.contains(['/', '"', '[', ']']);
        parts.next().is_some_and(good) && parts.next().is_none_or(good) && parts.next().is_none()
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Lower-cased name, for look-ups in [`crate::facts::Names`].
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

/// A case-insensitive glob (`LT-*`, `*.pst`).
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    shape: Shape,
}

/// What a glob asks of a name in lower case; most ask for a name or for one end of it.
#[derive(Clone, Debug)]
enum Shape {
    /// No wildcard.
    Name(String),
    /// One star at the end.
    Start(String),
    /// One star at the start.
    End(String),
    /// Anything else.
    Other(GlobMatcher),
}

impl Shape {
    fn of(folded: &str, matcher: GlobMatcher) -> Self {
        let plain = |text: &str| !text.contains(['*', '?', '[', ']', '{', '}', '\\']);
        if plain(folded) {
            return Self::Name(folded.to_owned());
        }
        match (folded.strip_suffix('*'), folded.strip_prefix('*')) {
            (Some(start), _) if plain(start) => Self::Start(start.to_owned()),
            (_, Some(end)) if plain(end) => Self::End(end.to_owned()),
            _ => Self::Other(matcher),
        }
    }
}

impl Glob {
    /// Compiles a glob.
    ///
    /// # Errors
    /// The reason, in words, when the pattern is malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        // The automaton folds ASCII alone, so that pattern and name are folded before. Backslashes
        // escape on every system, or one file would mean two things.
        let build = |text: &str| {
            GlobBuilder::new(text).case_insensitive(true).backslash_escape(true).build()
        };
        let written = build(text).map_err(|error| error.kind().to_string())?;
        let folded = folded(text);
        // A range that is only one as written, like [Z-a], stays as written.
        let matcher = build(&folded).unwrap_or(written).compile_matcher();
        Ok(Self { text: text.to_owned(), shape: Shape::of(&folded, matcher) })
    }

    /// Whether the whole name matches, without regard to case.
    pub fn matches(&self, name: &str) -> bool {
        let name = folded(name);
        match &self.shape {
            Shape::Name(whole) => *name == **whole,
            Shape::Start(start) => name.starts_with(start.as_str()),
            Shape::End(end) => name.ends_with(end.as_str()),
            Shape::Other(matcher) => matcher.is_match(&*name),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Where a folder is redirected to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `root\USERNAME\Folder`.
    CreatePerUser {
        /// The share or folder below which each user gets one.
        root: Template,
    },
    /// An explicit path.
    Path {
        /// The path, with variables.
        path: Template,
    },
    /// Back to the local profile.
    LocalProfile,
    /// The user's `homeDirectory` from the directory.
    HomeDirectory,
}

/// A UNC path with variables: `\\srv\home\%USERNAME%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pub(crate) parts: Vec<Part>,
    /// What it gives for everybody, when it has no variable.
    pub(crate) fixed: Option<Unc>,
}

/// One piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Literal(String),
    /// A variable between percent signs.
    Variable(Variable),
}

/// A name that may stand between percent signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// sAMAccountName.
    UserName,
    /// NetBIOS domain of the user.
    UserDomain,
    /// DNS domain of the user.
    UserDnsDomain,
    /// Name of this computer.
    ComputerName,
    /// The user's home directory, itself a UNC path; only at the start.
    HomeShare,
    /// The domain controller that answered, without backslashes.
    LogonServer,
    /// Any attribute of the user object.
    Ad(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `%` without its partner.
    #[error("a percent sign has no partner")]
    Unpaired,
    /// A name that is none of the variables.
    #[error("%{0}% is no variable")]
    Unknown(String),
    /// `%HOMESHARE%` after other text.
    #[error("%HOMESHARE% is a whole path and can only stand at the start")]
    HomeShareInside,
    /// What is left is no UNC path.
    #[error("this is no UNC path: {0}")]
    Unc(UncError),
}

impl TemplateError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unpaired | Self::Unknown(_) => {
                "known: %USERNAME% %USERDOMAIN% %USERDNSDOMAIN% %COMPUTERNAME% %HOMESHARE% \
                 %LOGONSERVER% %AD:attribute%"
            }
            Self::HomeShareInside => r"write '%HOMESHARE%\folder'",
            Self::Unc(error) => error.hint(),
        }
    }
}

impl Template {
    /// Reads a UNC path with variables.
    ///
    /// # Errors
    /// [`TemplateError`]; an unknown variable is named.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        // With every variable filled in by a harmless word, the rest must be a UNC path.
        let mut sample = String::with_capacity(text.len());
        let mut pieces = 0_usize;
        for (index, piece) in text.split('%').enumerate() {
            pieces += 1;
            if index % 2 == 0 {
                if !piece.is_empty() {
                    parts.push(Part::Literal(piece.to_owned()));
                    sample.push_str(piece);
                }
                continue;
            }
            let variable = Variable::parse(piece)?;
            if variable == Variable::HomeShare {
                if !parts.is_empty() {
                    return Err(TemplateError::HomeShareInside);
                }
                sample.push_str(r"\\home\share");
            } else {
                sample.push('x');
            }
            parts.push(Part::Variable(variable));
        }
        if pieces.is_multiple_of(2) {
            return Err(TemplateError::Unpaired);
        }
        Unc::check(&sample).map_err(TemplateError::Unc)?;
        let fixed = if pieces == 1 { Unc::parse(text).ok() } else { None };
        Ok(Self { text: text.to_owned(), parts, fixed })
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Variable {
    fn parse(name: &str) -> Result<Self, TemplateError> {
        if let Some((prefix, attribute)) = name.split_once(':') {
            let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if prefix.eq_ignore_ascii_case("AD")
                && !attribute.is_empty()
                && attribute.chars().all(good)
            {
                return Ok(Self::Ad(attribute.to_lowercase()));
            }
        }
        let known = [
            ("USERNAME", Self::UserName),
            ("USERDOMAIN", Self::UserDomain),
            ("USERDNSDOMAIN", Self::UserDnsDomain),
            ("COMPUTERNAME", Self::ComputerName),
            ("HOMESHARE", Self::HomeShare),
            ("LOGONSERVER", Self::LogonServer),
        ];
        let found = known.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, variable)| variable).ok_or_else(|| TemplateError::Unknown(name.to_owned()))
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserName => f.write_str("%USERNAME%"),
            Self::UserDomain => f.write_str("%USERDOMAIN%"),
            Self::UserDnsDomain => f.write_str("%USERDNSDOMAIN%"),
            Self::ComputerName => f.write_str("%COMPUTERNAME%"),
            Self::HomeShare => f.write_str("%HOMESHARE%"),
            Self::LogonServer => f.write_str("%LOGONSERVER%"),
            Self::Ad(attribute) => write!(f, "%AD:{attribute}%"),
        }
    }
}

/// Reads `"500kbit/s"`, `"10Mbit/s"`, `"1MiB/s"`; the result is bits per second.
///
/// # Errors
/// The reason in words.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let number: u64 = number.parse().map_err(|_| "a rate starts with a whole number".to_owned())?;
    let factor: u64 = match unit.trim() {
        "bit/s" => 1,
        "kbit/s" => 1_000,
        "Mbit/s" => 1_000_000,
        "Gbit/s" => 1_000_000_000,
        "KiB/s" => 8 << 10,
        "MiB/s" => 8 << 20,
        other => return Err(format!("{other:?} is no unit of a rate")),
    };
    number.checked_mul(factor).ok_or_else(|| "the rate is too large".to_owned())
}

/// Writes a rate the way [`parse_rate`] reads it.
pub fn rate_text(bits_per_second: u64) -> String {
    for (factor, unit) in [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s")] {
        if bits_per_second >= factor && bits_per_second.is_multiple_of(factor) {
            return format!("{}{unit}", bits_per_second / factor);
        }
    }
    format!("{bits_per_second}bit/s")
}

/// Writes a duration the way policy files have it (`2h`, `35ms`, `1h 30m`).
pub fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatePerUser { root } => write!(f, "create-per-user below {}", root.text),
            Self::Path { path } => f.write_str(&path.text),
            Self::LocalProfile => f.write_str("local-profile"),
            Self::HomeDirectory => f.write_str("home-directory"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Off => f.write_str("off"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Duration(duration) => f.write_str(&duration_text(*duration)),
            Self::Size(bytes) => write!(f, "{}", ByteSize::b(*bytes).display().iec()),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rate(rate) => f.write_str(&rate_text(*rate)),
            Self::Word(word) => f.write_str(word),
            Self::Cron(cron) => write!(f, "{cron}"),
            Self::Blockout(blockout) => {
                let duration = duration_text(blockout.duration);
                write!(f, "from {} for {duration}", blockout.start.format("%H:%M"))
            }
            Self::Template(template) => f.write_str(&template.text),
            Self::Target(target) => write!(f, "{target}"),
            Self::Unc(unc) => write!(f, "{unc}"),
            Self::Glob(glob) => f.write_str(&glob.text),
            Self::Pattern(pattern) => f.write_str(pattern),
            Self::Principal(principal) => f.write_str(&principal.text),
            Self::SlowLink(rule) => write!(f, "{rule}"),
            Self::Conflict(rule) => write!(f, "{}: {}", rule.path, rule.resolve),
            Self::Assign(assign) => write!(f, "{assign}"),
            Self::GroupTarget(row) => write!(f, "{} → {}", row.group.text, row.target),
        }
    }
}

impl fmt::Display for SlowLinkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(latency) = self.latency {
            write!(f, ", latency above {}", duration_text(latency))?;
        }
        if let Some(throughput) = self.throughput {
            write!(f, ", throughput below {}", rate_text(throughput))?;
        }
        Ok(())
    }
}

impl fmt::Display for Assign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let computers: Vec<&str> = self.computers.iter().map(Glob::as_str).collect();
        match &self.who {
            Who::User(user) => write!(f, "user {}", user.text)?,
            Who::Group(group) => write!(f, "group {}", group.text)?,
        }
        write!(f, ": {}", computers.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for good in [
            r"\\srv\home\%USERNAME%",
            r"\\srv\%AD:department%\%username%",
            r"%HOMESHARE%\Documents",
            r"\\%LOGONSERVER%\home",
        ] {
            assert!(Template::parse(good).is_ok(), "{good}: {:?}", Template::parse(good));
        }
        for (bad, why) in [
            (r"\\srv\home\%USERNAM%", TemplateError::Unknown("USERNAM".into())),
            (r"\\srv\home\%USERNAME", TemplateError::Unknown("USERNAME".into())),
            (r"\\srv\%HOMESHARE%", TemplateError::HomeShareInside),
            (r"\\srv\home\..\%USERNAME%", TemplateError::Unc(UncError::DotPart)),
        ] {
            let got = Template::parse(bad).unwrap_err();
            assert!(got == why || got == TemplateError::Unpaired, "{bad}: {got:?}");
        }
    }

    #[test]
    fn globs_fold_the_case_of_every_script() {
        for (glob, good, bad) in [
            ("LT-*", "lt-0007", "xlt-0007"),
            ("MÜ-*", "mü-1", "mu-1"),
            ("*-ÄÖ", "x-äö", "x-äöx"),
            ("Ünal", "üNAL", "ünall"),
            ("ws-0[0-9]", "WS-07", "WS-17"),
            ("ß?-[Ä-Ö]*", "ßx-ÄÖ", "ßx-a"),
            ("{LT,ws}-*", "Ws-1", "pc-1"),
            ("*", "", "\0never\0"),
        ] {
            let compiled = Glob::parse(glob).unwrap();
            assert!(compiled.matches(good), "{glob} {good}");
            assert!(glob == "*" || !compiled.matches(bad), "{glob} {bad}");
        }
    }

    #[test]
    fn rates_read_what_they_write() {
        for text in ["500kbit/s", "10Mbit/s", "1Gbit/s", "7bit/s"] {
            assert_eq!(rate_text(parse_rate(text).unwrap()), text);
        }
        assert_eq!(parse_rate("1MiB/s"), Ok(8_388_608));
        assert!(parse_rate("fast").is_err() && parse_rate("5 apples").is_err());
        assert!(parse_rate("99999999999999999999Gbit/s").is_err());
    }
}
