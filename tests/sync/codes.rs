//! Every result code has one number, one HRESULT and one sentence, and every verdict has a code.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use homeport_sync::codes::{CODES, ResultCode, code_of, code_of_failure};
use homeport_sync::{FailureKind, Skip, Verdict};

#[test]
fn the_documented_numbers() {
    for (code, win32, hresult) in [
        (ResultCode::Ok, 0, 0),
        (ResultCode::Cancelled, 1223, 0x8007_04C7),
        (ResultCode::ShareOffline, 1262, 0x8007_04EE),
        (ResultCode::FileOffline, 4350, 0x8007_10FE),
        (ResultCode::AccessDenied, 5, 0x8007_0005),
        (ResultCode::InvalidOwner, 1307, 0x8007_051B),
        (ResultCode::BadNetPath, 53, 0x8007_0035),
        (ResultCode::BadNetName, 67, 0x8007_0043),
        (ResultCode::QuotaExceeded, 1295, 0x8007_050F),
        (ResultCode::Screened, 1296, 0x8007_0510),
        (ResultCode::Conflict, 377, 0x8007_0179),
        (ResultCode::Held, 3050, 0x8007_0BEA),
        (ResultCode::FileChanged, 1237, 0x8007_04D5),
    ] {
        assert_eq!((code.win32(), code.hresult()), (win32, hresult), "{code:?}");
    }
}

#[test]
fn numbers_symbols_and_sentences_are_unique_and_lead_back() {
    let (mut numbers, mut symbols, mut texts) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for &code in CODES {
        assert!(numbers.insert(code.win32()), "{code:?}");
        assert!(symbols.insert(code.symbol()), "{code:?}");
        assert!(texts.insert(code.text()), "{code:?}");
        assert_eq!(ResultCode::from_win32(code.win32()), Some(code));
        assert_eq!(ResultCode::from_hresult(code.hresult()), Some(code));
        assert_eq!(code.is_ok(), code.hresult() == 0);
    }
}

#[test]
fn sentences_can_stand_between_colons() {
    for code in CODES {
        let text = code.text();
        assert!(text.ends_with('.') && !text.contains([':', '[', ']', '\n']), "{text}");
        assert!(code.symbol().starts_with("ERROR_"), "{code:?}");
    }
}

#[test]
fn numbers_that_are_never_reported_are_no_code() {
    for number in [1, 4, 0x8000_4005, u32::MAX] {
        assert_eq!(ResultCode::from_win32(number), None, "{number}");
        assert_eq!(ResultCode::from_hresult(number), None, "{number}");
    }
    assert_eq!(ResultCode::from_hresult(5), None, "a Win32 number is no HRESULT");
    assert_eq!(ResultCode::from_hresult(0x8007_0000), None, "success has no facility");
}

#[test]
fn every_verdict_has_a_code() {
    let skipped = |why| Verdict::Skipped { why };
    let failed = |kind| Verdict::Failed { kind, message: "for a reason".to_owned() };
    for (verdict, code) in [
        (Verdict::Done, ResultCode::Ok),
        (Verdict::Conflict, ResultCode::Conflict),
        (Verdict::Held, ResultCode::Held),
        (Verdict::Screened, ResultCode::Screened),
        (Verdict::PutOff, ResultCode::PutOff),
        (skipped(Skip::Changed), ResultCode::FileChanged),
        (skipped(Skip::Special), ResultCode::NotSupported),
        (skipped(Skip::Cancelled), ResultCode::Cancelled),
        (failed(FailureKind::Denied), ResultCode::AccessDenied),
        (failed(FailureKind::Full), ResultCode::DiskFull),
        (failed(FailureKind::Io), ResultCode::IoDevice),
        (failed(FailureKind::Name), ResultCode::InvalidName),
    ] {
        assert_eq!(code_of(&verdict), code, "{verdict:?}");
        assert_eq!(code_of(&verdict).is_ok(), verdict == Verdict::Done);
    }
    assert_eq!(code_of_failure(FailureKind::Io), ResultCode::IoDevice);
}

#[test]
fn codes_travel_by_name_and_are_shown_with_their_number() {
    let line = serde_json::to_string(&ResultCode::AccessDenied).unwrap();
    assert_eq!(line, r#""access-denied""#);
    assert_eq!(serde_json::from_str::<ResultCode>(&line).unwrap(), ResultCode::AccessDenied);
    let shown = ResultCode::AccessDenied.to_string();
    assert_eq!(shown, "0x80070005 Permission denied, here or on the share.");
}
