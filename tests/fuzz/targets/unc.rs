//! UNC paths: a path is read back as it was written, and its parts are names.
#![no_main]

use homeport_policy::unc::{Unc, check_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let unc = match Unc::parse(text) {
        Ok(unc) => unc,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.hint().is_empty());
            return;
        }
    };
    let again = Unc::parse(unc.as_str()).unwrap();
    assert_eq!((&again, again.as_str()), (&unc, unc.as_str()));
    assert_eq!(Unc::parse(&text.to_ascii_uppercase()).as_ref(), Ok(&unc));
    assert_eq!(Unc::parse(&text.to_ascii_lowercase()).as_ref(), Ok(&unc));
    let json = serde_json::to_string(&unc).unwrap();
    assert_eq!(serde_json::from_str::<Unc>(&json).unwrap(), unc);

    let parts: Vec<&str> = unc.parts().collect();
    assert!(parts.len() >= 2);
    assert!(parts.iter().all(|part| check_name(part).is_ok()), "{parts:?}");
    let mut folder = Unc::parse(&format!(r"\\{}\{}", parts[0], parts[1])).unwrap();
    for (at, part) in parts.iter().enumerate().skip(2) {
        assert!(unc.is_within(&folder), "{unc} in {folder}");
        assert_eq!(unc.below(&folder).unwrap(), &parts[at..]);
        let deeper = folder.join(part).unwrap();
        assert!(deeper.is_within(&folder) && !folder.is_within(&deeper));
        folder = deeper;
    }
    assert_eq!(folder, unc);
});
