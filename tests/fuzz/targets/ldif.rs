//! Directory exports: every defect has a line, and the encoding of a file changes nothing.
#![no_main]

use homeport_agent::directory::file::parse;
use homeport_agent::directory::ldif::{DEFECTS_MAX, Entry, LdifError, Value, read};
use homeport_policy::facts::Os;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let found: Vec<Result<Entry, LdifError>> = read(bytes).collect();
    let lines = bytes.split(|byte| *byte == b'\n').count().max(bytes.len());
    let mut last = 0;
    for entry in &found {
        match entry {
            Ok(entry) => {
                assert!(entry.line > last && entry.line <= lines);
                last = entry.line;
                for (name, value) in &entry.attributes {
                    assert!(!name.is_empty() && name.is_ascii());
                    assert!(!matches!(value, Value::Text(text) if text.contains('\0')));
                }
            }
            Err(error) => {
                assert!(error.line <= lines.max(1) && !error.hint().is_empty(), "{error}");
            }
        }
    }
    assert!(found.iter().filter(|entry| entry.is_err()).count() <= DEFECTS_MAX + 1);

    let marked = bytes.starts_with(b"\xef\xbb\xbf") || bytes.starts_with(b"\xff\xfe");
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|_| !marked) {
        let mut wide = vec![0xff, 0xfe];
        wide.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(read(&wide).collect::<Vec<_>>(), found);
        let windows = text.replace('\r', "").replace('\n', "\r\n");
        let unix = text.replace('\r', "");
        let entries = |text: &str| read(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(entries(&windows), entries(&unix));
    }

    match parse(bytes) {
        Ok(snapshot) => {
            assert!(found.iter().all(Result::is_ok));
            for name in snapshot.user_names() {
                let user = snapshot.user(name);
                assert!(user.is_some_and(|u| u.name == name) || name.contains(['\\', '@']));
            }
            for name in snapshot.computer_names() {
                let computer = snapshot.computer(name, Os::Windows, None).unwrap();
                assert_eq!(computer.name, name);
                let _ = snapshot.computer_os(name);
            }
        }
        Err(defects) => assert!(!defects.is_empty()),
    }
});
