//! Policy files: whatever the bytes, every diagnostic has a place in the text, and a set that is
//! accepted can be decided by.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use homeport_policy::decide::decide;
use homeport_policy::diagnostic::{DIAGNOSTICS_MAX, Severity, line_and_column, render};
use homeport_policy::explain::explain;
use homeport_policy::facts::{Computer, Directory, Facts, Names, Network, Os, User};
use homeport_policy::filter::applicable;
use homeport_policy::layer::PolicySet;
use homeport_policy::merge::merge;
use homeport_policy::parse::{DOMAIN_FILE, SourceFile, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["staff.toml", DOMAIN_FILE] {
        let file = SourceFile { name: name.to_owned(), content: Ok(bytes.to_vec()) };
        check(&file);
    }
});

fn check(file: &SourceFile) {
    let files = std::slice::from_ref(file);
    let parsed = parse(files, &BTreeMap::new());
    let again = parse(files, &BTreeMap::new());
    assert_eq!(parsed.diagnostics, again.diagnostics);
    assert_eq!(parsed.set, again.set);
    let found = &parsed.diagnostics;
    assert!(found.len() <= DIAGNOSTICS_MAX);
    let rejected = found.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(parsed.set.is_none(), rejected);

    let text = file.text().unwrap_or_default();
    for diagnostic in found {
        let span = &diagnostic.span;
        assert!(span.start <= span.end && span.end <= text.len(), "{diagnostic} at {span:?}");
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
        let place = line_and_column(text, span.start);
        assert_eq!((diagnostic.line, diagnostic.column), place, "{diagnostic}");
        assert!(!diagnostic.message.is_empty() && !diagnostic.hint.is_empty(), "{diagnostic}");
    }
    let shown = render(found, |_| file.text(), false);
    assert!(found.is_empty() || !shown.is_empty());

    let Some(set) = parsed.set else { return };
    use_it(&set);
    for object in &set.objects {
        let Some(higher) = object.version.checked_add(1) else { continue };
        let applied = [(object.id.to_string(), higher)].into();
        assert!(parse(files, &applied).set.is_none(), "went back to {}", object.version);
    }
}

fn use_it(set: &PolicySet) {
    let user = User { name: "alice".to_owned(), domain: "CORP".to_owned(), ..User::default() };
    let computer = Computer {
        name: "LT-7".to_owned(),
        dn: None,
        groups: Names::default(),
        os: Os::Linux,
        site: Some("Berlin".to_owned()),
        logon_server: None,
    };
    let facts = Facts {
        user: Some(Arc::new(user)),
        computer: Arc::new(computer),
        directory: Directory::Answered,
        schema_has_primary_computer: true,
        network: Network::default(),
        profile_link: None,
    };
    let rsop = merge(set, &applicable(set, &facts));
    let decision = decide(&rsop, &facts);
    assert_eq!(decision, decide(&merge(set, &applicable(set, &facts)), &facts));
    let told = explain(set, &facts, &rsop, &decision);
    assert_eq!(told.objects.len(), set.objects.len());
    assert!(!serde_json::to_string(&told).unwrap().is_empty());
}
