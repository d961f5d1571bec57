//! The control word: what is read is written so that it is read the same again.
#![no_main]

use homeport_sync::flags::Flags;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(number) = bytes.first_chunk::<4>() {
        let number = u32::from_le_bytes(*number);
        match Flags::from_bits(number) {
            Ok(flags) => check(flags, Some(number)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Flags>() {
        Ok(flags) => check(flags, None),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn check(flags: Flags, number: Option<u32>) {
    assert!(number.is_none_or(|number| flags.bits() == number));
    assert_eq!(flags.to_string().parse(), Ok(flags), "{flags}");
    assert_eq!(format!("0x{flags:X}").parse(), Ok(flags));
    assert_eq!(Flags::from_bits(flags.bits()), Ok(flags));
    assert_eq!(flags.and(flags), Ok(flags));
    let json = serde_json::to_string(&flags).unwrap();
    assert_eq!(serde_json::from_str::<Flags>(&json).unwrap(), flags);
    if let Ok(normal) = flags.normalised() {
        let again = normal.flags.normalised().unwrap();
        assert_eq!((again.flags, again.notes.len()), (normal.flags, 0), "{flags:#}");
        assert_eq!(normal.notes.is_empty(), normal.flags == flags);
    }
}
