//! The settings catalogue for people and editors: reference page, help text and JSON Schema.

use serde_json::{Map, Value as Json, json};

use crate::folder::FOLDERS;
use crate::settings::{CATALOGUE, Half, Halves, Kind, Setting, Slot};

/// The type of a setting in a few words.
pub fn type_text(kind: Kind) -> String {
    let text = crate::value::duration_text;
    let millis = std::time::Duration::from_millis;
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Count { min, max } => format!("whole number, {min} to {max}"),
        Kind::Duration { min, max } => {
            format!("duration, {} to {}", text(millis(min)), text(millis(max)))
        }
        Kind::Size => "size".to_owned(),
        Kind::SizeOrPercent => "size or percentage".to_owned(),
        Kind::Percent => "percentage".to_owned(),
        Kind::Rate { .. } => "rate".to_owned(),
        Kind::Words(words) => words.join(", "),
        Kind::Cron => "five-field cron expression".to_owned(),
        Kind::Blockout => "{ start, duration }".to_owned(),
        Kind::Template => "UNC path with variables".to_owned(),
        Kind::Target => "{ kind, root or path }".to_owned(),
        Kind::Uncs => "list of UNC paths".to_owned(),
        Kind::Globs => "list of globs".to_owned(),
        Kind::Patterns => "list of relative paths or globs".to_owned(),
        Kind::Principals => "list of users or groups".to_owned(),
        Kind::SlowLinkRules => "tables of path, latency, throughput".to_owned(),
        Kind::ConflictRules => "tables of path, resolve".to_owned(),
        Kind::Assigns => "tables of user or group, computers".to_owned(),
        Kind::GroupTargets => "tables of group, target".to_owned(),
    }
}

fn halves_text(setting: &Setting) -> &'static str {
    match setting.halves {
        Halves::Computer => "computer",
        Halves::User => "user",
        Halves::Both if setting.union => "both, added up",
        Halves::Both => "both, computer wins",
    }
}

/// The reference page, in Markdown.
pub fn markdown() -> String {
    let mut out = String::from(
        "| key | half | type | default | Windows setting | meaning |\n|---|---|---|---|---|---|\n",
    );
    for setting in &CATALOGUE {
        let Setting { key, default, admx, help, kind, .. } = setting;
        let off = if setting.off { ", or `\"off\"`" } else { "" };
        let union = if setting.union { " (union)" } else { "" };
        let (half, kind) = (halves_text(setting), type_text(*kind));
        out.push_str(&format!(
            "| `{key}` | {half} | {kind}{off}{union} | {default} | {admx} | {help} |\n"
        ));
    }
    out
}

/// The catalogue as plain text, for a terminal.
pub fn text(filter: &str) -> String {
    let mut out = String::new();
    for setting in CATALOGUE.iter().filter(|setting| setting.key.contains(filter)) {
        let Setting { key, default, admx, help, kind, .. } = setting;
        let off = if setting.off { ", or \"off\"" } else { "" };
        out.push_str(&format!(
            "{key}\n    {help}\n    {}{off}; {}; default {default}; Windows: {admx}\n",
            type_text(*kind),
            halves_text(setting)
        ));
    }
    out
}

/// A JSON Schema (draft 2020-12) of a policy file, for completion in editors.
pub fn json_schema() -> Json {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Homeport policy object",
        "type": "object",
        "required": ["schema", "policy"],
        "additionalProperties": false,
        "properties": {
            "schema": { "const": 1 },
            "min-schema": { "type": "integer", "minimum": 1 },
            "policy": object(&["id", "version"], &[
                ("id", json!({ "type": "string", "pattern": "^[a-z0-9-]{1,64}$" })),
                ("version", json!({ "type": "integer", "minimum": 0 })),
                ("description", json!({ "type": "string" })),
            ]),
            "link": object(&[], &[
                ("to", json!({ "type": "string", "pattern": "^(local|domain|site:.+|ou:.+)$" })),
                ("order", json!({ "type": "integer", "minimum": 1, "maximum": 100_000 })),
                ("enforced", json!({ "type": "boolean" })),
            ]),
            "filter": object(&[], &[
                ("groups", strings()),
                ("not-groups", strings()),
                ("users", strings()),
                ("computers", strings()),
                ("operating-systems", json!({
                    "type": "array", "items": { "enum": ["windows", "linux"] }
                })),
            ]),
            "computer": half_schema(Half::Computer),
            "user": half_schema(Half::User),
        }
    })
}

fn strings() -> Json {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn object(required: &[&str], properties: &[(&str, Json)]) -> Json {
    let properties: Map<String, Json> =
        properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    json!({
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn half_schema(half: Half) -> Json {
    let mut root = object(&[], &[]);
    for slot in Slot::all().filter(|slot| slot.setting().halves.allows(half)) {
        insert(&mut root, &slot.key(), setting_schema(slot));
    }
    root
}

/// Puts a schema at a dotted key, making the tables on the way.
fn insert(table: &mut Json, key: &str, schema: Json) {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let Some(properties) = table.get_mut("properties").and_then(Json::as_object_mut) else {
        return;
    };
    if rest.is_empty() {
        properties.insert(first.to_owned(), schema);
        return;
    }
    let below = properties.entry(first).or_insert_with(|| object(&[], &[]));
    insert(below, rest, schema);
}

fn setting_schema(slot: Slot) -> Json {
    let setting = slot.setting();
    let mut schema = kind_schema(setting.kind);
    if setting.off {
        schema = json!({ "anyOf": [schema, { "enum": ["off", false] }] });
    }
    if let Some(schema) = schema.as_object_mut() {
        let help = format!("{} Default: {}.", setting.help, setting.default);
        schema.insert("description".to_owned(), Json::String(help));
    }
    schema
}

fn kind_schema(kind: Kind) -> Json {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let duration = || text(r"^(\d+ ?[a-z]+ ?)+$");
    let rows = |row: Json| json!({ "type": "array", "items": row });
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => duration(),
        Kind::Size => text(r"^\d+(\.\d+)? ?[kKMGTP]?i?B?$"),
        Kind::SizeOrPercent => text(r"^(\d+(\.\d+)? ?[kKMGTP]?i?B?|\d{1,3}%)$"),
        Kind::Percent => text(r"^\d{1,3}%$"),
        Kind::Rate { .. } => text(r"^\d+ ?(bit|kbit|Mbit|Gbit|KiB|MiB)/s$"),
        Kind::Words(words) => json!({ "enum": words }),
        Kind::Cron => json!({ "type": "string" }),
        Kind::Blockout => object(
            &["start", "duration"],
            &[("start", text(r"^\d{2}:\d{2}$")), ("duration", duration())],
        ),
        Kind::Template => json!({ "type": "string" }),
        Kind::Target => target_schema(),
        Kind::Uncs => json!({ "type": "array", "items": text(r"^\\\\[^\\]+\\.+$") }),
        Kind::Globs | Kind::Patterns | Kind::Principals => strings(),
        Kind::SlowLinkRules => rows(object(
            &["path"],
            &[
                ("path", json!({ "type": "string" })),
                ("latency", duration()),
                ("throughput", kind_schema(Kind::Rate { min: 0 })),
            ],
        )),
        Kind::ConflictRules => rows(object(
            &["path", "resolve"],
            &[
                ("path", json!({ "type": "string" })),
                ("resolve", json!({ "enum": crate::settings::RESOLVE_WORDS })),
            ],
        )),
        Kind::Assigns => rows(object(
            &["computers"],
            &[
                ("user", json!({ "type": "string" })),
                ("group", json!({ "type": "string" })),
                ("computers", strings()),
            ],
        )),
        Kind::GroupTargets => rows(object(
            &["group", "target"],
            &[("group", json!({ "type": "string" })), ("target", target_schema())],
        )),
    }
}

fn target_schema() -> Json {
    object(
        &["kind"],
        &[
            (
                "kind",
                json!({ "enum": ["create-per-user", "path", "local-profile", "home-directory"] }),
            ),
            ("root", json!({ "type": "string" })),
            ("path", json!({ "type": "string" })),
        ],
    )
}

/// The known folders and their places, in Markdown.
pub fn folders_markdown() -> String {
    let mut out = String::from("| folder | on the share | Windows | Linux |\n|---|---|---|---|\n");
    for folder in FOLDERS {
        let place = |os| folder.local_place(os).unwrap_or("–");
        out.push_str(&format!(
            "| `{folder}` | `{}` | `{}` | `{}` |\n",
            folder.share_name(),
            place(crate::facts::Os::Windows),
            place(crate::facts::Os::Linux)
        ));
    }
    out
}
