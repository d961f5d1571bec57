//! Turns one TOML value into the kind of value its setting takes, or says why it cannot.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::NaiveTime;
use toml::de::DeValue;

use crate::cron_expression::CronExpression;
use crate::diagnostic::{Code, Collector};
use crate::file::{Spot, Unknown, as_text, check_pattern, read_count};
use crate::schedule::{BLOCKOUT_MAX, Blockout};
use crate::settings::{Kind, RESOLVE_WORDS, Setting};
use crate::unc::Unc;
use crate::value::{
    Assign, ConflictRule, Glob, GroupTarget, Principal, SlowLinkRule, Target, Template, Value, Who,
    parse_rate,
};

/// Shortest blockout, as in the ADMX.
const BLOCKOUT_MIN: Duration = Duration::from_secs(60);

/// Lowest latency threshold of a rule, which means Always Offline.
const LATENCY_MIN: Duration = Duration::from_millis(1);

/// Most elements in one list of one file.
pub const LIST_MAX: usize = 10_000;

type Values = Vec<(Value, Range<usize>)>;

/// Reads the value of a setting; lists give one entry an element. `None` when it is no such value.
pub(crate) fn read_value(
    setting: &Setting,
    key: &str,
    value: &Spot<'_>,
    unknown: Unknown,
    found: &mut Collector<'_>,
) -> Option<Values> {
    if setting.off && is_off(value) {
        return Some(vec![(Value::Off, value.span())]);
    }
    let reader = Reader { key, kind: setting.kind, unknown };
    let one = |value: Option<Value>, span| value.map(|value| vec![(value, span)]);
    match setting.kind {
        Kind::Uncs | Kind::Globs | Kind::Patterns | Kind::Principals => {
            Some(reader.texts(value, found))
        }
        Kind::SlowLinkRules | Kind::ConflictRules | Kind::Assigns | Kind::GroupTargets => {
            reader.tables(value, found)
        }
        _ => one(reader.scalar(value, found), value.span()),
    }
}

fn is_off(value: &Spot<'_>) -> bool {
    match value.get_ref() {
        DeValue::String(text) => text == "off",
        DeValue::Boolean(value) => !value,
        _ => false,
    }
}

/// Notes that a value has the wrong type.
pub(crate) fn wrong_type(value: &Spot<'_>, key: &str, wanted: &str, found: &mut Collector<'_>) {
    let is = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let message = format!("{key} is {is}");
    found.error(Code::WrongType, value.span(), message, format!("it takes {wanted}"));
}

/// The strings of a list, each with its place.
pub(crate) fn text_list(
    value: &Spot<'_>,
    key: &str,
    found: &mut Collector<'_>,
) -> Vec<(String, Range<usize>)> {
    let DeValue::Array(items) = value.get_ref() else {
        wrong_type(value, key, "a list of strings", found);
        return Vec::new();
    };
    if items.len() > LIST_MAX {
        let message = format!("{key} has {} elements", items.len());
        found.error(Code::TooLarge, value.span(), message, format!("at most {LIST_MAX}"));
        return Vec::new();
    }
    let mut texts = Vec::new();
    for item in items.iter() {
        if let Some(text) = as_text(item, key, found) {
            texts.push((text.to_owned(), item.span()));
        }
    }
    texts
}

struct Reader<'a> {
    key: &'a str,
    kind: Kind,
    unknown: Unknown,
}

impl Reader<'_> {
    fn scalar(&self, value: &Spot<'_>, found: &mut Collector<'_>) -> Option<Value> {
        let key = self.key;
        match self.kind {
            Kind::Bool => match value.get_ref() {
                DeValue::Boolean(value) => Some(Value::Bool(*value)),
                _ => {
                    wrong_type(value, key, "true or false", found);
                    None
                }
            },
            Kind::Count { min, max } => {
                let count = read_count(value, key, found)?;
                let good = (min..=max).contains(&count);
                let hint = format!("from {min} to {max}");
                self.in_range(good, value, &count, hint, found).then_some(Value::Count(count))
            }
            Kind::Duration { min, max } => {
                let duration = self.duration(value, key, found)?;
                let range = Duration::from_millis(min)..=Duration::from_millis(max);
                let text = crate::value::duration_text;
                let hint = format!("from {} to {}", text(*range.start()), text(*range.end()));
                self.in_range(range.contains(&duration), value, &text(duration), hint, found)
                    .then_some(Value::Duration(duration))
            }
            Kind::Blockout => self.blockout(value, found),
            Kind::Target => self.target(value, found).map(Value::Target),
            _ => self.text(value, found),
        }
    }

    fn in_range(
        &self,
        good: bool,
        value: &Spot<'_>,
        shown: &dyn std::fmt::Display,
        hint: String,
        found: &mut Collector<'_>,
    ) -> bool {
        if !good {
            let message = format!("{} cannot be {shown}", self.key);
            found.error(Code::OutOfRange, value.span(), message, hint);
        }
        good
    }

    fn text(&self, value: &Spot<'_>, found: &mut Collector<'_>) -> Option<Value> {
        let text = as_text(value, self.key, found)?;
        let size = |text: &str| ByteSize::from_str(text).map(|size| Value::Size(size.as_u64()));
        let percent = || parse_percent(text).map(Value::Percent);
        let (code, result, hint) = match self.kind {
            Kind::Size => (Code::WrongType, size(text), "for example \"10GiB\""),
            Kind::SizeOrPercent => {
                let result = percent().map_or_else(|| size(text), Ok);
                (Code::WrongType, result, "for example \"10GiB\" or \"25%\"")
            }
            Kind::Percent => {
                let result = percent().ok_or_else(|| "it is no percentage".to_owned());
                (Code::OutOfRange, result, "from \"1%\" to \"100%\"")
            }
            Kind::Rate { min } => {
                let result = parse_rate(text);
                if result.as_ref().is_ok_and(|rate| *rate < min) {
                    let hint = format!("from {}", crate::value::rate_text(min));
                    self.in_range(false, value, &text, hint, found);
                    return None;
                }
                (Code::WrongType, result.map(Value::Rate), "for example \"500kbit/s\"")
            }
            Kind::Words(words) => {
                let result = words.iter().find(|word| **word == text).map(|word| Value::Word(word));
                let hint = format!("one of: {}", words.join(", "));
                if result.is_none() {
                    let message = format!("{} cannot be {text:?}", self.key);
                    found.error(Code::UnknownValue, value.span(), message, hint);
                }
                return result;
            }
            Kind::Cron => {
                let result = CronExpression::parse(text).map(Value::Cron);
                (Code::BadCron, result.map_err(|error| error.to_string()), CRON_HINT)
            }
            Kind::Template => match Template::parse(text) {
                Ok(template) => return Some(Value::Template(template)),
                Err(error) => {
                    template_error(text, &error, value.span(), found);
                    return None;
                }
            },
            _ => return None,
        };
        match result {
            Ok(value) => Some(value),
            Err(why) => {
                let message = format!("{} cannot be {text:?}: {why}", self.key);
                found.error(code, value.span(), message, hint);
                None
            }
        }
    }

    fn duration(&self, value: &Spot<'_>, key: &str, found: &mut Collector<'_>) -> Option<Duration> {
        let text = as_text(value, key, found)?;
        match humantime::parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let message = format!("{key} cannot be {text:?}: {error}");
                let hint = "for example \"35ms\", \"30s\", \"120m\", \"1d\"";
                found.error(Code::WrongType, value.span(), message, hint);
                None
            }
        }
    }

    fn blockout(&self, value: &Spot<'_>, found: &mut Collector<'_>) -> Option<Value> {
        let [start, duration] = self.fields(value, ["start", "duration"], 2, found)?;
        let duration_value = duration?;
        let duration = self.duration(duration_value, "duration", found);
        let start_value = start?;
        let text = as_text(start_value, "start", found)?;
        let Some(start) = parse_clock(text) else {
            let message = format!("start cannot be {text:?}");
            found.error(
                Code::OutOfRange,
                start_value.span(),
                message,
                "from \"00:00\" to \"23:59\"",
            );
            return None;
        };
        let duration = duration?;
        let good = BLOCKOUT_MIN <= duration && duration <= BLOCKOUT_MAX;
        let shown = crate::value::duration_text(duration);
        self.in_range(good, duration_value, &shown, "from 1m to 24h".to_owned(), found)
            .then_some(Value::Blockout(Blockout { start, duration }))
    }

    fn target(&self, value: &Spot<'_>, found: &mut Collector<'_>) -> Option<Target> {
        let [kind, root, path] = self.fields(value, ["kind", "root", "path"], 1, found)?;
        let kind_value = kind?;
        let kind = as_text(kind_value, "kind", found)?;
        let (name, needed, other) = match kind {
            "create-per-user" => ("root", root, path),
            "path" => ("path", path, root),
            "local-profile" | "home-directory" => ("", None, root.or(path)),
            other => {
                let message = format!("{other:?} is no kind of target");
                let hint = "one of: create-per-user, path, local-profile, home-directory";
                found.error(Code::UnknownValue, kind_value.span(), message, hint);
                return None;
            }
        };
        if let Some(other) = other {
            let message = format!("a {kind} target has no such key");
            found.error(Code::Contradiction, other.span(), message, "remove it");
            return None;
        }
        if kind == "local-profile" {
            return Some(Target::LocalProfile);
        }
        if kind == "home-directory" {
            return Some(Target::HomeDirectory);
        }
        let Some(needed) = needed else {
            let message = format!("a {kind} target needs a {name}");
            found.error(Code::MissingKey, value.span(), message, format!("add {name} = '…'"));
            return None;
        };
        let template = self.template(needed, name, found)?;
        Some(match kind {
            "path" => Target::Path { path: template },
            _ => Target::CreatePerUser { root: template },
        })
    }

    fn template(&self, value: &Spot<'_>, key: &str, found: &mut Collector<'_>) -> Option<Template> {
        let text = as_text(value, key, found)?;
        match Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => {
                template_error(text, &error, value.span(), found);
                None
            }
        }
    }

    fn texts(&self, value: &Spot<'_>, found: &mut Collector<'_>) -> Values {
        let mut values = Vec::new();
        for (text, span) in text_list(value, self.key, found) {
            let (code, result, hint) = match self.kind {
                Kind::Uncs => match Unc::parse(&text) {
                    Ok(unc) => (Code::BadUnc, Ok(Value::Unc(unc)), ""),
                    Err(error) => (Code::BadUnc, Err(error.to_string()), error.hint()),
                },
                Kind::Globs => (Code::BadGlob, Glob::parse(&text).map(Value::Glob), "like *.pst"),
                Kind::Patterns => {
                    let result = check_pattern(&text).map(|()| Value::Pattern(text.clone()));
                    (Code::BadGlob, result, "a path below the profile, like .cache or */Trash")
                }
                _ if Principal::is_well_formed(&text) => {
                    (Code::UnknownValue, Ok(Value::Principal(Principal::new(&text))), "")
                }
                _ => {
                    let why = "it is no user or group name".to_owned();
                    (Code::UnknownValue, Err(why), r"write 'CORP\Staff' or 'Staff'")
                }
            };
            match result {
                Ok(value) => values.push((value, span)),
                Err(why) => found.error(code, span, format!("{text:?}: {why}"), hint),
            }
        }
        values
    }

    fn tables(&self, value: &Spot<'_>, found: &mut Collector<'_>) -> Option<Values> {
        let DeValue::Array(items) = value.get_ref() else {
            wrong_type(value, self.key, "a list of tables", found);
            return None;
        };
        if items.len() > LIST_MAX {
            let message = format!("{} has {} rows", self.key, items.len());
            found.error(Code::TooLarge, value.span(), message, format!("at most {LIST_MAX}"));
            return None;
        }
        let mut values = Vec::new();
        for item in items.iter() {
            let row = match self.kind {
                Kind::SlowLinkRules => self.slow_link(item, found).map(Value::SlowLink),
                Kind::ConflictRules => self.conflict(item, found).map(Value::Conflict),
                Kind::Assigns => self.assign(item, found).map(Value::Assign),
                _ => self.group_target(item, found).map(Value::GroupTarget),
            };
            values.extend(row.map(|row| (row, item.span())));
        }
        Some(values)
    }

    fn slow_link(&self, item: &Spot<'_>, found: &mut Collector<'_>) -> Option<SlowLinkRule> {
        let [path, latency, throughput] =
            self.fields(item, ["path", "latency", "throughput"], 1, found)?;
        let path = unc_pattern(path?, found);
        let latency = match latency {
            Some(value) => Some(self.latency(value, found)?),
            None => None,
        };
        let throughput = match throughput {
            Some(value) => {
                let text = as_text(value, "throughput", found)?;
                match parse_rate(text) {
                    Ok(rate) => Some(rate),
                    Err(why) => {
                        let message = format!("throughput cannot be {text:?}: {why}");
                        found.error(Code::WrongType, value.span(), message, "like \"500kbit/s\"");
                        return None;
                    }
                }
            }
            None => None,
        };
        if latency.is_none() && throughput.is_none() {
            let message = "the rule has neither latency nor throughput";
            found.error(Code::MissingKey, item.span(), message, "add latency = \"35ms\"");
            return None;
        }
        Some(SlowLinkRule { path: path?, latency, throughput })
    }

    fn latency(&self, value: &Spot<'_>, found: &mut Collector<'_>) -> Option<Duration> {
        let latency = self.duration(value, "latency", found)?;
        if latency < LATENCY_MIN {
            let message = format!("latency cannot be {}", crate::value::duration_text(latency));
            let hint = "from 1ms, which means Always Offline";
            found.error(Code::OutOfRange, value.span(), message, hint);
            return None;
        }
        Some(latency)
    }

    fn conflict(&self, item: &Spot<'_>, found: &mut Collector<'_>) -> Option<ConflictRule> {
        let [path, resolve] = self.fields(item, ["path", "resolve"], 2, found)?;
        let path = unc_pattern(path?, found);
        let text = as_text(resolve?, "resolve", found)?;
        let Some(word) = RESOLVE_WORDS.iter().find(|word| **word == text) else {
            let message = format!("resolve cannot be {text:?}");
            let hint = format!("one of: {}", RESOLVE_WORDS.join(", "));
            found.error(Code::UnknownValue, resolve?.span(), message, hint);
            return None;
        };
        Some(ConflictRule { path: path?, resolve: word })
    }

    fn assign(&self, item: &Spot<'_>, found: &mut Collector<'_>) -> Option<Assign> {
        let [computers, user, group] =
            self.fields(item, ["computers", "user", "group"], 1, found)?;
        let globs =
            Reader { key: "computers", kind: Kind::Globs, ..*self }.texts(computers?, found);
        let computers = globs.into_iter().filter_map(|(value, _)| match value {
            Value::Glob(glob) => Some(glob),
            _ => None,
        });
        let name = |value: &Spot<'_>, key: &str, found: &mut Collector<'_>| {
            let text = as_text(value, key, found)?;
            if Principal::is_well_formed(text) {
                return Some(Principal::new(text));
            }
            let message = format!("{text:?} is no user or group name");
            found.error(Code::UnknownValue, value.span(), message, r"write 'CORP\Staff'");
            None
        };
        let who = match (user, group) {
            (Some(user), None) => Who::User(name(user, "user", found)?),
            (None, Some(group)) => Who::Group(name(group, "group", found)?),
            _ => {
                let message = "the row names not exactly one of user and group";
                found.error(Code::Contradiction, item.span(), message, "keep one of them");
                return None;
            }
        };
        Some(Assign { who, computers: computers.collect() })
    }

    fn group_target(&self, item: &Spot<'_>, found: &mut Collector<'_>) -> Option<GroupTarget> {
        let [group, target] = self.fields(item, ["group", "target"], 2, found)?;
        let target = self.target(target?, found);
        let text = as_text(group?, "group", found)?;
        if !Principal::is_well_formed(text) {
            let message = format!("{text:?} is no group name");
            found.error(Code::UnknownValue, group?.span(), message, r"write 'CORP\Staff'");
            return None;
        }
        Some(GroupTarget { group: Principal::new(text), target: target? })
    }

    /// The values of a table's fields; the first `needed` must be there, no others may.
    fn fields<'t, 'v, const N: usize>(
        &self,
        value: &'t Spot<'v>,
        names: [&str; N],
        needed: usize,
        found: &mut Collector<'_>,
    ) -> Option<[Option<&'t Spot<'v>>; N]> {
        let DeValue::Table(table) = value.get_ref() else {
            let wanted = format!("a table with {}", names.join(", "));
            wrong_type(value, self.key, &wanted, found);
            return None;
        };
        let mut good = true;
        for (name, _) in table {
            if !names.contains(&name.get_ref().as_ref()) {
                let message = format!("{} has no key {}", self.key, name.get_ref());
                let hint = format!("known: {}", names.join(", "));
                match self.unknown {
                    Unknown::Warning => found.warning(Code::UnknownKey, name.span(), message, hint),
                    Unknown::Error => {
                        found.error(Code::UnknownKey, name.span(), message, hint);
                        good = false;
                    }
                }
            }
        }
        for name in &names[..needed] {
            if !table.contains_key(*name) {
                let message = format!("{} has no {name}", self.key);
                found.error(Code::MissingKey, value.span(), message, format!("add {name} = …"));
                good = false;
            }
        }
        good.then(|| names.map(|name| table.get(name)))
    }
}

const CRON_HINT: &str = "minute hour day-of-month month day-of-week, like \"0 */2 * * 1-5\"";

fn template_error(
    text: &str,
    error: &crate::value::TemplateError,
    span: Range<usize>,
    found: &mut Collector<'_>,
) {
    let code = match error {
        crate::value::TemplateError::Unc(_) => Code::BadUnc,
        _ => Code::BadTemplate,
    };
    found.error(code, span, format!("{text:?}: {error}"), error.hint());
}

/// `*`, `\\server\*`, `\\server\share\*` or deeper; stars stand for whole names or their ends.
fn unc_pattern(value: &Spot<'_>, found: &mut Collector<'_>) -> Option<String> {
    let text = as_text(value, "path", found)?;
    let filled = text.replace('*', "x");
    let deep = filled.matches('\\').count() > 2 || !text.contains('*');
    let good = text == "*"
        || (filled.starts_with(r"\\")
            && (!deep || Unc::parse(&filled).is_ok())
            && filled.len() > 2);
    if !good {
        let message = format!("{text:?} is no UNC pattern");
        found.error(Code::BadUnc, value.span(), message, r"like '*', '\\srv\*', '\\srv\share\*'");
    }
    good.then(|| text.to_owned())
}

fn parse_percent(text: &str) -> Option<u8> {
    let number: u8 = text.strip_suffix('%')?.trim().parse().ok()?;
    (1..=100).contains(&number).then_some(number)
}

fn parse_clock(text: &str) -> Option<NaiveTime> {
    let two_digits = text.len() == 5; // chrono also reads "8:5"
    NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| two_digits)
}
