//! Progress events: the documented text, its reading, and JSON.
#![allow(clippy::unwrap_used, reason = "tests")]

use homeport_sync::codes::{CODES, ResultCode};
use homeport_sync::lines::{Event, LineError, Reason, parse};
use homeport_sync::{Did, FailureKind, ItemResult, Verdict};
use proptest::prelude::*;

const PATH: &str = r"\\server\share\plan.txt";

fn item(result: Verdict) -> ItemResult {
    ItemResult { path: "plan.txt".to_owned(), action: Did::Upload, result }
}

#[test]
fn the_documented_text() {
    let denied = Verdict::Failed { kind: FailureKind::Denied, message: "not told".to_owned() };
    for (event, text) in [
        (Event::begin(), "0:0x00000000:The operation completed successfully.:[]"),
        (
            Event::end(ResultCode::Cancelled, 9),
            "1:0x800704C7:The run was cancelled; what is in step stays in step.:[]",
        ),
        (
            Event::item_begin(PATH, Did::Upload),
            r"2:0x00000000:The operation completed successfully.:[\\server\share\plan.txt]",
        ),
        (
            Event::item_result(PATH, &item(Verdict::Done), 12),
            r"3:0x00000000:The operation completed successfully.:[\\server\share\plan.txt]",
        ),
        (
            Event::item_result(PATH, &item(denied), 0),
            r"3:0x80070005:Permission denied, here or on the share.:[\\server\share\plan.txt]",
        ),
        (
            Event::item_result("a:[b]]", &item(Verdict::Conflict), 0),
            "3:0x80070179:Both sides changed it; both versions stay, and a person decides.\
             :[a:[b]]]",
        ),
    ] {
        assert_eq!(event.to_string(), text);
        assert_eq!(parse(text), Ok(event.as_told()));
    }
}

#[test]
fn a_name_forges_no_event() {
    let forged = "a]\n1:0x00000000:It is done.:[]\nb";
    let event = Event::item_result(forged, &item(Verdict::Done), 0);
    let text = event.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(
        text,
        "3:0x00000000:The operation completed successfully.:[a]%0A1:0x00000000:It is done.:[]%0Ab]"
    );
    assert_eq!(parse(&text).unwrap().path.as_deref(), Some(forged));
    for (path, written) in [
        ("\r\u{1b}[2J\u{7f}\u{85}\u{2028}", "%0D%1B[2J%7F%C2%85%E2%80%A8"),
        ("100 %.txt", "100 %25.txt"),
        ("%0A%", "%250A%25"),
        ("ü€%", "ü€%25"),
    ] {
        let text = Event::item_begin(path, Did::Upload).to_string();
        assert_eq!(text, format!("2:0x00000000:The operation completed successfully.:[{written}]"));
        assert_eq!(parse(&text).unwrap().path.as_deref(), Some(path));
    }
    // What others write without escaping stays as it is.
    for path in ["100 %.txt", "%zz", "%", "%4", "%+1", "%ff"] {
        let text = format!("2:0:x:[{path}]");
        assert_eq!(parse(&text).unwrap().path.as_deref(), Some(path));
    }
}

#[test]
fn results_in_every_form_and_words_in_every_language() {
    for (text, code) in [
        ("3:0x80070005:Zugriff verweigert:[a]", ResultCode::AccessDenied),
        ("3:0X80070005::[a]", ResultCode::AccessDenied),
        ("3:2147942405:Accès refusé : non:[a]", ResultCode::AccessDenied),
        ("3:-2147024891:Access is denied.\r\n:[a]", ResultCode::AccessDenied),
        ("3:0:x:[a]", ResultCode::Ok),
    ] {
        let event = parse(text).unwrap();
        assert_eq!((event.code, event.path.as_deref()), (code, Some("a")), "{text}");
    }
}

#[test]
fn what_is_no_event() {
    let incomplete = |missing| LineError::Incomplete { missing };
    let result = |result: &str| LineError::Result { result: result.to_owned() };
    for (text, error) in [
        ("", incomplete("Result")),
        ("0", incomplete("Result")),
        ("0:0", incomplete("ResultText")),
        ("0:0:done", incomplete("[Path]")),
        ("0:0:done:path", incomplete("[Path]")),
        ("2:0:done:[path", incomplete("the closing bracket")),
        ("2:0:done:[path]\n", incomplete("the closing bracket")),
        ("4:0:done:[]", LineError::Reason { reason: "4".to_owned() }),
        ("00:0:done:[]", LineError::Reason { reason: "00".to_owned() }),
        ("0:yes:done:[]", result("yes")),
        ("0:0x:done:[]", result("0x")),
        ("0:+0:done:[]", result("+0")),
        ("0:0x+0:done:[]", result("0x+0")),
        ("0:4294967296:done:[]", result("4294967296")),
        ("0:0x80004005:done:[]", LineError::UnknownResult { hresult: 0x8000_4005 }),
        ("1:0:done:[a]", LineError::UnexpectedPath { path: "a".to_owned() }),
    ] {
        assert_eq!(parse(text), Err(error.clone()), "{text}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn reasons_have_the_documented_numbers() {
    for (reason, number) in Reason::ALL.into_iter().zip(0..) {
        assert_eq!(reason.number(), number);
    }
}

#[test]
fn as_json_it_is_one_line_without_empty_keys() {
    let event = Event::item_result("a\nb", &item(Verdict::Held), 3);
    let line = serde_json::to_string(&event).unwrap();
    assert_eq!(
        line,
        r#"{"reason":"item-result","code":"held","hresult":2147945450,"path":"a\nb","action":"upload","bytes":3}"#
    );
    let line = serde_json::to_string(&Event::begin()).unwrap();
    assert_eq!(line, r#"{"reason":"begin","code":"ok","hresult":0,"bytes":0}"#);
    assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), Event::begin());
}

#[test]
fn json_says_why_something_was_not_done() {
    let kind = homeport_sync::FailureKind::Denied;
    let failed = Verdict::Failed { kind, message: "cannot read a: denied".to_owned() };
    let line = serde_json::to_string(&Event::item_result("a", &item(failed), 0)).unwrap();
    let message = r#""code":"access-denied","hresult":2147942405,"path":"a","message":"cannot"#;
    assert!(line.contains(message), "{line}");
}

/// Any event that a run can tell, with paths that look like the text around them.
fn events() -> impl Strategy<Value = Event> {
    let path = prop_oneof!["(?s).{1,20}", r"[:\[\]\n%0-3xA ]{1,12}", Just(PATH.to_owned())];
    let reason = prop::sample::select(Reason::ALL.to_vec());
    let action = prop::option::of(Just(Did::Download));
    (reason, prop::sample::select(CODES), path, action, any::<u64>()).prop_map(
        |(reason, code, path, action, bytes)| {
            let path = reason.is_item().then_some(path);
            let hresult = code.hresult();
            Event { reason, code, hresult, path, message: None, action, bytes }
        },
    )
}

proptest! {
    #[test]
    fn the_text_leads_back(event in events()) {
        prop_assert!(!event.to_string().contains(char::is_control));
        prop_assert_eq!(parse(&event.to_string()), Ok(event.as_told()));
        prop_assert_eq!(event.to_string().parse::<Event>(), Ok(event.as_told()));
    }

    #[test]
    fn json_is_one_line_and_leads_back(event in events()) {
        let line = serde_json::to_string(&event).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn any_text_is_read_or_refused(text in r"[0-4]?[:x0-9\[\]a]{0,20}") {
        if let Ok(event) = parse(&text) {
            prop_assert_eq!(parse(&event.to_string()), Ok(event));
        }
    }
}
