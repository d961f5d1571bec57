//! Distinguished names: as many parts as were written, and a value is what was escaped.
#![no_main]

use homeport_policy::dn::Dn;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Dn::parse(text) {
        Ok(dn) => check(&dn),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // Any value at all, each character escaped (RFC 4514, section 2.4), names one child.
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let parent = Dn::parse("OU=Staff,DC=corp,DC=test").unwrap();
    let Ok(child) = Dn::parse(&format!("CN={escaped},{parent}")) else {
        assert!(3 * text.len() + 30 > homeport_policy::dn::DN_LENGTH_MAX, "{text:?}");
        return;
    };
    assert_eq!(child.leaf(), text);
    assert_eq!(child.depth(), parent.depth() + 1, "{text:?}");
    assert!(child.is_within(&parent) && !parent.is_within(&child));
    check(&child);
});

fn check(dn: &Dn) {
    let again = Dn::parse(dn.as_str()).unwrap();
    assert_eq!((&again, again.as_str()), (dn, dn.as_str()));
    assert_eq!(dn.depth(), parts(dn.as_str()), "{:?}", dn.as_str());
    assert!(dn.is_within(dn));
    assert!(!dn.leaf().contains('\n') || dn.as_str().contains(['\n', '\\']));
    let json = serde_json::to_string(dn).unwrap();
    assert_eq!(&serde_json::from_str::<Dn>(&json).unwrap(), dn);
    let sub = Dn::parse(&format!("CN=x,{dn}"));
    assert!(sub.is_ok_and(|sub| sub.is_within(dn)) || dn.as_str().len() > 4_000);
}

/// How many names the commas part that are neither escaped nor quoted.
fn parts(text: &str) -> usize {
    let (mut parts, mut escaped, mut quoted) = (1, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => parts += 1,
            _ => {}
        }
    }
    parts
}
