//! `agent.toml`: a mistake has a place in the text, and good settings have absolute paths.
#![no_main]

use std::path::Path;

use homeport_agent::settings::{Settings, SettingsError};
use homeport_policy::diagnostic::line_and_column;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = Path::new("/etc/homeport/agent.toml");
    let settings = match Settings::parse(file, text) {
        Ok(settings) => settings,
        Err(SettingsError::Parse { line, column, message, .. }) => {
            let (last, _) = line_and_column(text, text.len());
            assert!((1..=last).contains(&line) && column >= 1, "{line}:{column} {message}");
            let widest = text.split('\n').map(|line| line.chars().count() as u32).max().unwrap();
            assert!(column <= widest + 1, "{line}:{column} {message}");
            assert!(!message.is_empty() && !message.contains('\n'));
            return;
        }
        Err(other) => panic!("{other}"),
    };
    assert_eq!(Settings::parse(file, text).unwrap(), settings);
    let Settings { state_dir, policy_dir, directory, network, homes, mounts, .. } = &settings;
    let mut paths = vec![state_dir, policy_dir, &directory.path];
    paths.extend(network.cost_file.iter().chain(&homes.root));
    paths.extend(mounts.iter().map(|mount| &mount.path));
    assert!(paths.iter().all(|path| path.is_absolute()), "{settings:?}");
});
