//! The repository's own rules: layering, sizes, voice, and documents in step with the code.
#![allow(clippy::disallowed_methods, reason = "tests read the repository")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINE_MAX: usize = 100;
const FILE_MAX: usize = 600;
const FUNCTION_MAX: usize = 70;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below some directories with one of the endings, with its text.
fn files(below: &[&str], endings: &[&str]) -> Vec<(String, String)> {
    let root = repository();
    let mut waiting: Vec<PathBuf> = below.iter().map(|dir| root.join(dir)).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn rust() -> Vec<(String, String)> {
    files(&["policy/src", "agent/src", "agent/sync/src", "agent/smb", "tests"], &[".rs"])
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_file_begins_with_what_it_is_responsible_for() {
    let bad = |(_, text): &(String, String)| !text.starts_with("//! ");
    none(&rust().into_iter().filter(bad).map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn lines_functions_and_files_fit_a_readers_mind() {
    let mut problems = Vec::new();
    for (name, text) in rust() {
        let lines = text.lines().count();
        if lines > FILE_MAX {
            problems.push(format!("{name} has {lines} lines"));
        }
        for (at, line) in text.lines().enumerate() {
            let is_table = line.contains('"'); // a long literal is no long thought
            if line.chars().count() > LINE_MAX && !is_table && !line.contains("//") {
                problems.push(format!("{name}:{} is longer than {LINE_MAX}", at + 1));
            }
            if line.ends_with(' ') && name != "tests/agent/ldif.rs" {
                problems.push(format!("{name}:{} ends in a space", at + 1));
            }
        }
        problems.extend(long_functions(&name, &text));
    }
    none(&problems);
}

/// rustfmt puts a function's last brace at the indentation of its first word.
fn long_functions(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().collect();
        let modifier =
            |word: &&str| !["pub", "pub(crate)", "pub(super)", "const", "async"].contains(word);
        if words.iter().copied().find(modifier) != Some("fn") || line.ends_with(';') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let length = lines[at..].iter().position(|line| **line == close).unwrap_or(0) + 1;
        if length > FUNCTION_MAX {
            found.push(format!("{name}:{} has {length} lines", at + 1));
        }
    }
    found
}

/// The order of `lib.rs` is the order of use: a module uses only modules above it.
#[test]
fn a_module_uses_only_modules_above_it() {
    let lib = fs::read_to_string(repository().join("agent/src/lib.rs")).unwrap();
    let order: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let rank = |module: &str| order.iter().position(|known| *known == module);
    // A test of a turn needs the report's lines, and the cycle is told to the report: the one knot
    // is between `agent` (its parts) and `cycle` (its order), which are two halves of one thing.
    let knot = [("agent", "cycle")];
    let mut problems = Vec::new();
    for (name, text) in files(&["agent/src"], &[".rs"]) {
        let below = name.trim_start_matches("agent/src/");
        let module = below.split(['/', '.']).next().unwrap();
        let Some(own) = rank(module) else { continue };
        for (at, line) in text.lines().enumerate() {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                let upward = rank(used).is_some_and(|rank| rank > own);
                if upward && !knot.contains(&(module, used)) {
                    problems.push(format!("{name}:{}: {module} uses {used}", at + 1));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn policy_and_engine_know_nothing_of_each_other_nor_of_the_agent() {
    let mut problems = Vec::new();
    for (dir, forbidden) in [
        ("policy", &["homeport-sync", "homeport-agent", "tokio", "ldap3"][..]),
        ("agent/sync", &["homeport-policy", "homeport-agent", "tokio"]),
    ] {
        let manifest = fs::read_to_string(repository().join(dir).join("Cargo.toml")).unwrap();
        let used = forbidden.iter().filter(|name| manifest.contains(&format!("\n{name}")));
        problems.extend(used.map(|name| format!("{dir} depends on {name}")));
    }
    let lib = fs::read_to_string(repository().join("policy/src/lib.rs")).unwrap();
    assert!(
        lib.contains("forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)")
    );
    none(&problems);
}

/// Executors make no policy choice: they never see a decision.
#[test]
fn executors_do_not_see_decisions() {
    let mut problems = Vec::new();
    for module in ["redirect", "moving", "jobs", "worker", "retained"] {
        let path = format!("agent/src/{module}.rs");
        let text = fs::read_to_string(repository().join(&path)).unwrap();
        for word in ["homeport_policy::merge", "decide::Decision", "decide::decide", "PolicySet"] {
            if text.contains(word) {
                problems.push(format!("{path} uses {word}"));
            }
        }
    }
    none(&problems);
}

#[test]
fn every_module_is_on_the_code_map() {
    let map = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let lib = fs::read_to_string(repository().join("agent/src/lib.rs")).unwrap();
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<String> = modules
        .filter(|module| {
            let names = [format!("{module}.rs`"), format!("{module}/`")];
            !names.iter().any(|name| map.contains(name.as_str()))
        })
        .map(|module| format!("{module} is not on the code map"))
        .collect();
    none(&missing);
}

#[test]
fn every_dependency_has_its_reason() {
    let table = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let mut missing = BTreeSet::new();
    for dir in ["policy", "agent", "agent/sync", "agent/smb"] {
        let manifest = fs::read_to_string(repository().join(dir).join("Cargo.toml")).unwrap();
        let sections = manifest.split("\n[").filter(|section| section.contains("dependencies]"));
        for line in sections.flat_map(str::lines).skip(1) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let is_name = !name.is_empty() && !name.starts_with(['#', '[']) && line.contains('=');
            if is_name && !name.starts_with("homeport") && !table.contains(&format!("`{name}`")) {
                missing.insert(format!("{dir}: {name} has no reason in ARCHITECTURE.md"));
            }
        }
    }
    none(&missing.into_iter().collect::<Vec<_>>());
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for dir in ["policy", "agent", "agent/sync", "agent/smb"] {
        let manifest = fs::read_to_string(repository().join(dir).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{dir}");
    }
}

#[test]
fn no_leftovers() {
    let words = ["dbg!(", "todo!(", "unimplemented!(", concat!("FIX", "ME"), concat!("XX", "X")];
    let mut problems = Vec::new();
    for (name, text) in rust() {
        for word in words.iter().filter(|word| text.contains(**word)) {
            if name != "tests/tidy.rs" {
                problems.push(format!("{name} contains {word}"));
            }
        }
    }
    none(&problems);
}

#[test]
fn the_doorway_stays_a_doorway() {
    let main = fs::read_to_string(repository().join("agent/src/main.rs")).unwrap();
    assert!(main.lines().count() <= 40);
    let cycle = fs::read_to_string(repository().join("agent/src/cycle.rs")).unwrap();
    let stages =
        ["load(", "gather(", "merge(", "decide(", ".observe()", "plan(", ".execute(", ".report("];
    let body = cycle.split("pub async fn cycle(").nth(1).unwrap();
    for stage in stages {
        assert!(body.contains(stage), "cycle() does not name {stage}");
    }
}

/// The exit codes of the help text are those of the table.
#[test]
fn help_and_table_agree_on_exit_codes() {
    let args = fs::read_to_string(repository().join("agent/src/cli/args.rs")).unwrap();
    let args: String = args.split_whitespace().collect::<Vec<_>>().join(" ").replace("\\ ", "");
    let words = ["done", "internal", "usage", "policy", "environment", "refused", "failed"];
    for (_, code, _) in homeport_agent::cli::exit::TABLE {
        let pair = format!("{code} {}", words[usize::from(*code)]);
        assert!(args.contains(&pair), "{pair} is not in the help text");
    }
}

#[test]
fn the_rules_catch_what_they_should() {
    let long = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_MAX));
    assert_eq!(long_functions("a.rs", &long).len(), 1);
    let short = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_MAX - 2));
    assert_eq!(long_functions("a.rs", &short), Vec::<String>::new());
}
