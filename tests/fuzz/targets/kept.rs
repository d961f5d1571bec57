//! What the agent keeps as JSON on disk: a damaged file is an error, never one that is not there.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use homeport_agent::retained;
use homeport_agent::state::{GoodPolicy, Users, read};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let below = if memory.is_dir() { memory } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("homeport-fuzz-").tempdir_in(below).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    let path = PLACE.path().join("redirections.json");
    fs::write(&path, bytes).unwrap();
    if let Ok(found) = read::<Users>(&path) {
        let found = found.expect("it is there");
        fs::write(&path, serde_json::to_vec(&found).unwrap()).unwrap();
        assert_eq!(read::<Users>(&path).unwrap(), Some(found));
        fs::write(&path, bytes).unwrap();
    }
    if let Ok(found) = read::<GoodPolicy>(&path) {
        let found = found.expect("it is there");
        fs::write(&path, serde_json::to_vec(&found).unwrap()).unwrap();
        assert_eq!(read::<GoodPolicy>(&path).unwrap(), Some(found));
        fs::write(&path, bytes).unwrap();
    }
    match retained::read(PLACE.path()) {
        Ok(found) => {
            assert!(!bytes.is_empty());
            retained::write(PLACE.path(), &found).unwrap();
            assert_eq!(retained::read(PLACE.path()).unwrap(), found);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
