//! What the network costs, as far as this computer can tell.
#![expect(clippy::disallowed_methods, reason = "edge: reads the cost file")]

use homeport_policy::facts::{Cost, Network};

use crate::settings::NetworkSettings;

/// The cost file could not be used; the configured cost holds meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the network cost file {path}")]
pub struct CostError {
    path: std::path::PathBuf,
    source: std::io::Error,
}

/// What the network costs now.
///
/// # Errors
/// [`CostError`] beside the cost that holds meanwhile, so that a broken file is seen but stops nobody.
pub fn observe(
    settings: &NetworkSettings,
    metered_bytes_today: u64,
) -> (Network, Option<CostError>) {
    let configured = Network { cost: settings.cost, metered_bytes_today };
    let Some(path) = &settings.cost_file else { return (configured, None) };
    let fail = |source| CostError { path: path.clone(), source };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (configured, None),
        Err(error) => return (configured, Some(fail(error))),
    };
    match Cost::ALL.into_iter().find(|cost| cost.name() == text.trim()) {
        Some(cost) => (Network { cost, metered_bytes_today }, None),
        None => {
            let words: Vec<&str> = Cost::ALL.iter().map(|cost| cost.name()).collect();
            let message = format!("{:?} is none of {}", text.trim(), words.join(", "));
            (configured, Some(fail(std::io::Error::other(message))))
        }
    }
}
