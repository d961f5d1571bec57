//! `user-dirs.dirs`: the first line is a value, the others are the file; no other line changes.
#![no_main]

use homeport_agent::folders::xdg::{get, quoted, set};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "XDG_MUSIC_DIR";

fuzz_target!(|text: &str| {
    let (value, file) = text.split_once('\n').unwrap_or((text, ""));
    // Lines end in a line feed alone, as shells want them.
    let (value, file) = (quoted(&value.replace('\r', "")), file.replace('\r', ""));
    let file = file.as_str();
    let changed = set(file, NAME, Some(&value));
    assert_eq!(get(&changed, NAME), Some(value.as_str()), "{changed:?}");
    assert_eq!(set(&changed, NAME, Some(&value)), changed);
    let without = set(&changed, NAME, None);
    assert_eq!(get(&without, NAME), None);
    assert_eq!(without, set(file, NAME, None));
    if let Some(before) = get(file, NAME) {
        assert_eq!(get(&set(&changed, NAME, Some(before)), NAME), Some(before));
    }
    let other = |text: &str| get(text, "XDG_DOCUMENTS_DIR").map(str::to_owned);
    assert_eq!(other(&changed), other(file));
});
