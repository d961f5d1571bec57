//! Progress lines: an event is read back as it was told, whatever its path holds.
#![no_main]

use homeport_sync::codes::CODES;
use homeport_sync::lines::{Event, Reason, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(event) = parse(text) {
        assert_eq!(event, event.as_told());
        assert_eq!(parse(&event.to_string()).as_ref(), Ok(&event), "{event}");
        let json = serde_json::to_string(&event).unwrap();
        assert!(!json.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }
    let mut bytes = text.bytes();
    let (first, second) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
    let reason = Reason::ALL[usize::from(first) % Reason::ALL.len()];
    let code = CODES[usize::from(second) % CODES.len()];
    let (hresult, path, message) = (code.hresult(), Some(text.to_owned()), Some(text.to_owned()));
    let event = Event { reason, code, hresult, path, message, action: None, bytes: 7 };
    assert_eq!(parse(&event.to_string()), Ok(event.as_told()));
    let _ = serde_json::from_str::<Event>(text);
});
