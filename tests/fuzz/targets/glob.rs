//! Globs of filters, screens and rules: the first line is the pattern, the others are names.
#![no_main]

use homeport_policy::value::{Glob, Principal, parse_rate, rate_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (pattern, names) = text.split_once('\n').unwrap_or((text, ""));
    let is_plain = !pattern.contains(['*', '?', '[', ']', '{', '}', '\\']);
    match Glob::parse(pattern) {
        Ok(glob) => {
            assert_eq!(glob.as_str(), pattern);
            let again = Glob::parse(pattern).unwrap();
            for name in names.split('\n') {
                assert_eq!(glob.matches(name), again.matches(name));
                assert_eq!(glob.matches(name), glob.matches(&name.to_ascii_uppercase()));
                assert_eq!(glob.matches(name), glob.matches(&name.to_ascii_lowercase()));
                if is_plain {
                    ends(pattern, name);
                }
            }
            assert!(!is_plain || glob.matches(pattern), "{pattern:?}");
        }
        Err(why) => assert!(!why.is_empty() && (!is_plain || pattern.trim().is_empty())),
    }
    let rate = parse_rate(pattern);
    assert!(rate.is_err() || rate == parse_rate(&rate_text(*rate.as_ref().unwrap())));
    if Principal::is_well_formed(pattern) {
        let principal = Principal::new(pattern);
        assert_eq!(principal, Principal::new(principal.as_str()));
    }
});

/// A star stands for anything before or after.
fn ends(plain: &str, more: &str) {
    let start = Glob::parse(&format!("{plain}*")).unwrap();
    assert!(start.matches(&format!("{plain}{more}")), "{plain:?}* and {more:?}");
    let end = Glob::parse(&format!("*{plain}")).unwrap();
    assert!(end.matches(&format!("{more}{plain}")), "*{plain:?} and {more:?}");
}
