//! Reads one policy file as it was written: a TOML table with places, turned into checked values.
//!
//! Nothing here stops at the first defect. Every function takes the collector and gives back what
//! could be read, so that one run names everything that is wrong with a file.

use std::ops::Range;
use std::sync::Arc;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Code, Collector};
use crate::dn::Dn;
use crate::facts::Os;
use crate::file_value::{read_value, text_list, wrong_type};
use crate::folder::{FOLDERS, Folder};
use crate::layer::{
    Cell, DomainPolicy, Filter, Link, LinkTo, Loopback, Origin, PolicyObject, Sourced,
};
use crate::settings::{FolderId, Half, Slot};
use crate::unc::check_name;
use crate::value::{Glob, Principal, Target, Value};

/// The schema this agent knows.
pub const SCHEMA: u64 = 1;

pub(crate) type Spot<'a> = Spanned<DeValue<'a>>;
type Table<'a> = DeTable<'a>;

/// How unknown keys count: a file for a newer agent may hold some that we cannot know.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unknown {
    /// The agent knows the schema: the key is a mistake.
    Error,
    /// The file is for a newer agent and says that older ones may skip what is new.
    Warning,
}

/// Reads a policy object; `None` when the file is only for newer agents.
///
/// An id that is none is replaced, so that the file's other defects are named too.
pub fn read_object(file: &str, text: &str, found: &mut Collector<'_>) -> Option<PolicyObject> {
    let root = read_table(text, found);
    let root = root.get_ref();
    let unknown = read_schema(root, found)?;
    let known = ["schema", "min-schema", "policy", "link", "filter", "computer", "user"];
    check_keys(root, "", &known, unknown, found);

    let Policy { id, version, description } = read_policy(root, unknown, found);
    // A colon never stands in an id, so that no other file has this one.
    let id = id.unwrap_or_else(|| format!("file:{file}"));
    let file: Arc<str> = file.into();
    let mut object = PolicyObject {
        link: read_link(root, unknown, found),
        filter: read_filter(root, unknown, found),
        computer: Vec::new(),
        user: Vec::new(),
        id: id.as_str().into(),
        version,
        description,
        file: Arc::clone(&file),
    };
    for half in [Half::Computer, Half::User] {
        let Some(table) = sub_table(root, half.name(), found) else { continue };
        let origin = Origin { object: Arc::clone(&object.id), file: Arc::clone(&file), line: 0 };
        let mut cells = Cells { half, unknown, origin, found, cells: Vec::new() };
        cells.read(table, "");
        let mut cells = cells.cells;
        cells.sort_by_key(|cell| cell.slot);
        check_folders(&cells, found, text);
        check_homes(&cells, found, text);
        match half {
            Half::Computer => object.computer = cells,
            Half::User => object.user = cells,
        }
    }
    Some(object)
}

/// Reads `_domain.toml`.
pub fn read_domain(text: &str, found: &mut Collector<'_>) -> Option<DomainPolicy> {
    let root = read_table(text, found);
    let root = root.get_ref();
    let unknown = read_schema(root, found)?;
    check_keys(root, "", &["schema", "min-schema", "block-inheritance", "ou"], unknown, found);
    let mut domain = DomainPolicy::default();
    if let Some(value) = root.get("block-inheritance") {
        for (name, span) in text_list(value, "block-inheritance", found) {
            domain.block_inheritance.extend(read_dn(&name, span, found));
        }
    }
    let Some(units) = sub_table(root, "ou", found) else { return Some(domain) };
    for (name, value) in units {
        let dn = read_dn(name.get_ref(), name.span(), found);
        let Some(table) = as_table(value, name.get_ref(), found) else { continue };
        check_keys(table, "ou.", &["loopback"], unknown, found);
        let Some(loopback) = sub_table(table, "loopback", found) else { continue };
        check_keys(loopback, "loopback.", &["mode"], unknown, found);
        let span = table.get("loopback").map_or(0..0, Spanned::span);
        let Some(mode) = read_loopback(loopback, span, found) else { continue };
        domain.loopback.extend(dn.map(|dn| (dn, mode)));
    }
    Some(domain)
}

fn read_loopback(
    table: &Table<'_>,
    span: Range<usize>,
    found: &mut Collector<'_>,
) -> Option<Loopback> {
    let Some(value) = table.get("mode") else {
        let hint = "add mode = \"merge\", \"replace\" or \"off\"";
        found.error(Code::MissingKey, span, "loopback has no mode", hint);
        return None;
    };
    let text = as_text(value, "mode", found)?;
    match text {
        "off" => Some(Loopback::Off),
        "merge" => Some(Loopback::Merge),
        "replace" => Some(Loopback::Replace),
        other => {
            let message = format!("{other:?} is no loopback mode");
            found.error(Code::UnknownValue, value.span(), message, "one of: off, merge, replace");
            None
        }
    }
}

fn read_table<'a>(text: &'a str, found: &mut Collector<'_>) -> Spanned<Table<'a>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let hint = "see toml.io; UNC paths are written in single quotes: '\\\\srv\\share'";
        found.error(Code::TomlSyntax, span, error.message().trim().replace('\n', ", "), hint);
    }
    table
}

fn read_schema(root: &Table<'_>, found: &mut Collector<'_>) -> Option<Unknown> {
    let Some(value) = root.get("schema") else {
        let hint = format!("write `schema = {SCHEMA}` on the first line");
        found.error(Code::MissingKey, 0..0, "the file does not say which schema it uses", hint);
        return Some(Unknown::Error);
    };
    // What is no schema is read as the one we know, so that the file's other defects are named.
    let Some(schema) = read_count(value, "schema", found) else { return Some(Unknown::Error) };
    if schema == 0 {
        let hint = format!("write `schema = {SCHEMA}`");
        found.error(Code::OutOfRange, value.span(), "there is no schema 0", hint);
    }
    if schema <= SCHEMA {
        return Some(Unknown::Error);
    }
    let lowest = root.get("min-schema").and_then(|value| read_count(value, "min-schema", found));
    if lowest.is_some_and(|lowest| lowest <= SCHEMA) {
        return Some(Unknown::Warning);
    }
    let message = format!("the file uses schema {schema}; this agent knows {SCHEMA}");
    let hint = "update the agent, or write `min-schema = 1` if older agents may skip what is new";
    found.error(Code::NewerSchema, value.span(), message, hint);
    None
}

/// What `[policy]` says.
#[derive(Default)]
struct Policy {
    /// `None` when there is no good one, which has been noted.
    id: Option<String>,
    version: u64,
    description: String,
}

fn read_policy(root: &Table<'_>, unknown: Unknown, found: &mut Collector<'_>) -> Policy {
    let hint = "write `[policy]` with `id = \"…\"` and `version = 1`";
    let Some(table) = sub_table(root, "policy", found) else {
        if root.get("policy").is_none() {
            found.error(Code::MissingKey, 0..0, "the file has no [policy] table", hint);
        }
        return Policy::default();
    };
    check_keys(table, "policy.", &["id", "version", "description"], unknown, found);
    let span = root.get("policy").map_or(0..0, Spanned::span);
    let mut required = |key: &str| {
        let value = table.get(key);
        if value.is_none() {
            found.error(Code::MissingKey, span.clone(), format!("[policy] has no {key}"), hint);
        }
        value
    };
    let (id, version) = (required("id"), required("version"));
    let version = version.and_then(|value| read_count(value, "policy.version", found));
    let description = table.get("description").and_then(|v| as_text(v, "description", found));
    Policy {
        id: id.and_then(|value| read_id(value, found)),
        version: version.unwrap_or(0),
        description: description.unwrap_or_default().to_owned(),
    }
}

fn read_id(value: &Spot<'_>, found: &mut Collector<'_>) -> Option<String> {
    let text = as_text(value, "policy.id", found)?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
        let message = format!("{text:?} is no policy id");
        let hint = "1 to 64 characters out of a-z, 0-9 and -";
        found.error(Code::UnknownValue, value.span(), message, hint);
        return None;
    }
    Some(text.to_owned())
}

fn read_link(root: &Table<'_>, unknown: Unknown, found: &mut Collector<'_>) -> Link {
    let mut link = Link { to: LinkTo::Domain, order: 1, enforced: false };
    let Some(table) = sub_table(root, "link", found) else { return link };
    check_keys(table, "link.", &["to", "order", "enforced"], unknown, found);
    if let Some(value) = table.get("to")
        && let Some(to) = read_link_to(value, found)
    {
        link.to = to;
    }
    if let Some(value) = table.get("order")
        && let Some(order) = read_count(value, "link.order", found)
    {
        match u32::try_from(order) {
            Ok(order @ 1..=100_000) => link.order = order,
            _ => {
                let message = format!("{order} is no link order");
                found.error(Code::OutOfRange, value.span(), message, "from 1 (wins) to 100000");
            }
        }
    }
    if let Some(value) = table.get("enforced") {
        match value.get_ref() {
            DeValue::Boolean(enforced) => link.enforced = *enforced,
            _ => wrong_type(value, "link.enforced", "true or false", found),
        }
    }
    link
}

fn read_link_to(value: &Spot<'_>, found: &mut Collector<'_>) -> Option<LinkTo> {
    let text = as_text(value, "link.to", found)?;
    let hint = "one of: local, domain, site:NAME, ou:OU=…,DC=…";
    match text.split_once(':') {
        None if text == "local" => Some(LinkTo::Local),
        None if text == "domain" => Some(LinkTo::Domain),
        Some(("site", name)) if !name.trim().is_empty() => {
            Some(LinkTo::Site(name.trim().to_owned()))
        }
        Some(("ou", name)) => read_dn(name, value.span(), found).map(LinkTo::Ou),
        _ => {
            let message = format!("{text:?} is no place to link to");
            found.error(Code::UnknownValue, value.span(), message, hint);
            None
        }
    }
}

fn read_dn(text: &str, span: Range<usize>, found: &mut Collector<'_>) -> Option<Dn> {
    match Dn::parse(text) {
        Ok(dn) => Some(dn),
        Err(error) => {
            let message = format!("{text:?}: {error}");
            found.error(Code::BadDn, span, message, "for example OU=Staff,DC=corp,DC=test");
            None
        }
    }
}

fn read_filter(root: &Table<'_>, unknown: Unknown, found: &mut Collector<'_>) -> Filter {
    let mut filter = Filter::default();
    let Some(table) = sub_table(root, "filter", found) else { return filter };
    let known = ["groups", "not-groups", "users", "computers", "operating-systems"];
    check_keys(table, "filter.", &known, unknown, found);
    filter.groups = table.get("groups").map(|v| read_principals(v, "filter.groups", found));
    filter.not_groups = table
        .get("not-groups")
        .map(|v| read_principals(v, "filter.not-groups", found))
        .unwrap_or_default();
    filter.users = table.get("users").map(|v| read_globs(v, "filter.users", found));
    filter.computers = table.get("computers").map(|v| read_globs(v, "filter.computers", found));
    filter.operating_systems = table.get("operating-systems").map(|value| {
        let mut systems = Vec::new();
        for (name, span) in text_list(value, "filter.operating-systems", found) {
            match name.as_str() {
                "windows" => systems.push(Os::Windows),
                "linux" => systems.push(Os::Linux),
                other => {
                    let message = format!("{other:?} is no operating system");
                    found.error(Code::UnknownValue, span, message, "one of: windows, linux");
                }
            }
        }
        systems
    });
    filter
}

fn read_principals(value: &Spot<'_>, key: &str, found: &mut Collector<'_>) -> Vec<Principal> {
    let mut names = Vec::new();
    for (name, span) in text_list(value, key, found) {
        if Principal::is_well_formed(&name) {
            names.push(Principal::new(&name));
        } else {
            let message = format!("{name:?} is no user or group name");
            found.error(Code::UnknownValue, span, message, r"write 'CORP\Staff' or 'Staff'");
        }
    }
    names
}

fn read_globs(value: &Spot<'_>, key: &str, found: &mut Collector<'_>) -> Vec<Glob> {
    let mut globs = Vec::new();
    for (text, span) in text_list(value, key, found) {
        match Glob::parse(&text) {
            Ok(glob) => globs.push(glob),
            Err(why) => {
                let message = format!("{text:?}: {why}");
                found.error(Code::BadGlob, span, message, "for example LT-* or ws-0[0-9]");
            }
        }
    }
    globs
}

/// Reads one half of an object, key by key.
struct Cells<'c, 'f> {
    half: Half,
    unknown: Unknown,
    origin: Origin,
    found: &'c mut Collector<'f>,
    cells: Vec<Cell>,
}

impl Cells<'_, '_> {
    /// Walks down the tables until a full key names a setting.
    fn read(&mut self, table: &Table<'_>, above: &str) {
        for (name, value) in table {
            let key = format!("{above}{}", name.get_ref());
            if let Some(slot) = Slot::from_key(&key) {
                self.read_setting(slot, &key, name.span(), value);
                continue;
            }
            let is_table = Slot::all().any(|slot| is_below(&slot.key(), &key));
            match value.get_ref() {
                DeValue::Table(below) if is_table => self.read(below, &format!("{key}.")),
                _ if is_table => wrong_type(value, &key, "a table", self.found),
                _ => {
                    let known: Vec<String> = Slot::all().map(Slot::key).collect();
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    unknown_key(&key, name.span(), &known, self.unknown, self.found);
                }
            }
        }
    }

    fn read_setting(&mut self, slot: Slot, key: &str, name: Range<usize>, value: &Spot<'_>) {
        let setting = slot.setting();
        if !setting.halves.allows(self.half) {
            let other = if self.half == Half::Computer { Half::User } else { Half::Computer };
            let message = format!("{key} is no setting of the {} configuration", self.half.name());
            let hint = format!("write it below [{}.…]", other.name());
            self.found.error(Code::WrongHalf, name, message, hint);
            return;
        }
        // A bad value leaves an empty cell: its set is rejected, and the key is not missing.
        let values = read_value(setting, key, value, self.unknown, self.found).unwrap_or_default();
        let line = self.found.line(&name);
        let values = values
            .into_iter()
            .map(|(value, span)| {
                let origin = Origin { line: self.found.line(&span), ..self.origin.clone() };
                Sourced { value, origin: origin.into() }
            })
            .collect();
        self.cells.push(Cell { slot, line, values });
    }
}

fn is_below(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

/// The keys of one folder belong together; a target without its setting would silently do nothing.
fn check_folders(cells: &[Cell], found: &mut Collector<'_>, text: &str) {
    let cell = |slot: Slot| cells.iter().find(|cell| cell.slot == slot);
    for folder in FOLDERS {
        let target = cell(Slot::folder(folder, FolderId::Target));
        let group = cell(Slot::folder(folder, FolderId::Group));
        let Some(setting) = cell(Slot::folder(folder, FolderId::Setting)) else { continue };
        let span = line_span(text, setting.line);
        let Some(Value::Word(word)) = setting.values.first().map(|sourced| &sourced.value) else {
            continue;
        };
        let (needs, has, wrong) = match *word {
            "basic" => ("target", target.is_some(), group),
            "advanced" => ("group", group.is_some(), target),
            _ => ("", true, target.or(group)),
        };
        if !has {
            let message = format!("{folder} is {word} and has no {needs}");
            let hint = format!("write the folder's {needs} beside its setting");
            found.error(Code::MissingKey, span.clone(), message, hint);
        }
        if let Some(wrong) = wrong {
            let message = format!("{} does not go with setting = {word:?}", wrong.slot.key());
            let hint = "basic takes target, advanced takes group, follow-documents takes neither";
            found.error(Code::Contradiction, line_span(text, wrong.line), message, hint);
        }
        if *word == "follow-documents" && !folder.may_follow_documents() {
            let message = format!("{folder} cannot follow the Documents folder");
            found.error(Code::UnknownValue, span, message, "pictures, music and videos can");
        }
    }
}

/// Two folders at the home directory itself would be one place: only Documents may be there.
fn check_homes(cells: &[Cell], found: &mut Collector<'_>, text: &str) {
    let other = |cell: &&Cell| cell.slot.of_folder().is_some_and(|of| of != Folder::Documents);
    for Cell { slot, values, .. } in cells.iter().filter(other) {
        for Sourced { value, origin } in values {
            let target = match value {
                Value::Target(target) => target,
                Value::GroupTarget(row) => &row.target,
                _ => continue,
            };
            if *target == Target::HomeDirectory {
                let folder = slot.of_folder().map_or("", Folder::key);
                let message = format!("{folder} cannot be the home directory itself");
                let hint = "only documents can; give it a folder of its own, like \
                    { kind = \"path\", path = '%HOMESHARE%\\Desktop' }";
                found.error(Code::UnknownValue, line_span(text, origin.line), message, hint);
            }
        }
    }
}

fn line_span(text: &str, line: u32) -> Range<usize> {
    let mut start = 0;
    for (index, content) in text.split_inclusive('\n').enumerate() {
        if index + 1 == line as usize {
            return start..start + content.trim_end().len();
        }
        start += content.len();
    }
    start..start
}

fn check_keys(
    table: &Table<'_>,
    above: &str,
    known: &[&str],
    unknown: Unknown,
    found: &mut Collector<'_>,
) {
    for (name, _) in table {
        if !known.contains(&name.get_ref().as_ref()) {
            let full: Vec<String> = known.iter().map(|key| format!("{above}{key}")).collect();
            let full: Vec<&str> = full.iter().map(String::as_str).collect();
            let key = format!("{above}{}", name.get_ref());
            unknown_key(&key, name.span(), &full, unknown, found);
        }
    }
}

fn unknown_key(
    key: &str,
    span: Range<usize>,
    known: &[&str],
    unknown: Unknown,
    found: &mut Collector<'_>,
) {
    let near = known
        .iter()
        .map(|known| (strsim::jaro_winkler(key, known), *known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.85);
    let hint = match near {
        Some((_, near)) => format!("did you mean {near}?"),
        None => "`homeport policy schema --format text` lists every key".to_owned(),
    };
    let message = format!("no key is named {key}");
    match unknown {
        Unknown::Error => found.error(Code::UnknownKey, span, message, hint),
        Unknown::Warning => found.warning(Code::UnknownKey, span, message, hint),
    }
}

fn sub_table<'t, 'a>(
    table: &'t Table<'a>,
    key: &str,
    found: &mut Collector<'_>,
) -> Option<&'t Table<'a>> {
    as_table(table.get(key)?, key, found)
}

fn as_table<'t, 'a>(
    value: &'t Spot<'a>,
    key: &str,
    found: &mut Collector<'_>,
) -> Option<&'t Table<'a>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => {
            wrong_type(value, key, "a table", found);
            None
        }
    }
}

pub(crate) fn as_text<'t>(
    value: &'t Spot<'_>,
    key: &str,
    found: &mut Collector<'_>,
) -> Option<&'t str> {
    match value.get_ref() {
        DeValue::String(text) => Some(text),
        _ => {
            wrong_type(value, key, "a string", found);
            None
        }
    }
}

pub(crate) fn read_count(value: &Spot<'_>, key: &str, found: &mut Collector<'_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::Integer(integer) => {
            let count = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
            if count.is_none() {
                let message = format!("{key} cannot be {integer}");
                found.error(Code::OutOfRange, value.span(), message, "a whole number from 0");
            }
            count
        }
        _ => {
            wrong_type(value, key, "a whole number", found);
            None
        }
    }
}

/// Says why a pattern below a root cannot be used: it must stay below it.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    let bad = pattern.is_empty()
        || pattern.starts_with(['/', '\\'])
        || pattern.get(1..2) == Some(":")
        || pattern.split(['/', '\\']).any(|part| check_name(part) == check_name(".."));
    if bad {
        return Err("it is no path below the profile".to_owned());
    }
    Glob::parse(pattern).map(|_| ())
}
