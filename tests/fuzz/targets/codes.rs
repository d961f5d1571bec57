//! HRESULT and Win32 numbers: each is either no code of ours, or comes back as it was.
#![no_main]

use homeport_sync::codes::{CODES, ResultCode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|number: u32| {
    let known = |of: fn(ResultCode) -> u32| CODES.iter().copied().find(|code| of(*code) == number);
    assert_eq!(ResultCode::from_win32(number), known(ResultCode::win32));
    assert_eq!(ResultCode::from_hresult(number), known(ResultCode::hresult));
    for code in [ResultCode::from_win32(number), ResultCode::from_hresult(number)] {
        let Some(code) = code else { continue };
        assert_eq!(ResultCode::from_hresult(code.hresult()), Some(code));
        assert_eq!(ResultCode::from_win32(code.win32()), Some(code));
        assert_eq!(code.is_ok(), code.hresult() == 0);
        assert!(!code.text().contains(':') && !code.symbol().is_empty());
    }
});
