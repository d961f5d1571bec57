//! Windows shortcuts: what is read is text of the file, and what is cut off is no other path.
#![no_main]

use homeport_sync::shortcut::{Shortcut, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Shortcut { relative, network } = match read(bytes) {
        Ok(shortcut) => shortcut,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for text in [&relative, &network].into_iter().flatten() {
        assert!(text.len() <= 2 * bytes.len(), "{text:?}");
    }
    assert!(network.as_ref().is_none_or(|path| !path.is_empty() && !path.contains('\0')));
    for end in 0..bytes.len().min(2_000) {
        let Ok(cut) = read(&bytes[..end]) else { continue };
        assert_eq!(cut, Shortcut { relative: relative.clone(), network: network.clone() });
    }
});
