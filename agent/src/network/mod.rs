//! What the network costs, as far as this computer can tell.
//!
//! The file that the settings name comes first, then what NetworkManager and ModemManager say, then
//! the fixed cost of the settings. Each answer says where it came from.
#![expect(clippy::disallowed_methods, reason = "edge: reads the cost file")]

pub mod judge;
pub mod manager;
pub mod meter;
pub mod metering;

use homeport_policy::facts::Cost;

use crate::settings::NetworkSettings;
use judge::{Finding, Source};
use manager::{Wake, Watch};

/// The cost file could not be used; what else is known holds meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the network cost file {path}")]
pub struct CostError {
    path: std::path::PathBuf,
    source: std::io::Error,
}

/// Tells what the network costs. Without being told to watch, it asks each time.
#[derive(Debug, Default)]
pub struct Sensor {
    watch: Option<Watch>,
}

impl Sensor {
    /// Keeps up to date from now on, and wakes somebody with what is new. Ends with this value.
    pub async fn watch(&mut self, settings: &NetworkSettings, wake: Wake) {
        if settings.ask_manager {
            self.watch = Some(Watch::start(settings.cost, wake).await);
        }
    }

    /// What the network costs now, within [`manager::ASK_LONGEST`].
    ///
    /// # Errors
    /// [`CostError`] beside what holds meanwhile, so that a broken file is seen but stops nobody.
    pub async fn observe(&self, settings: &NetworkSettings) -> (Finding, Option<CostError>) {
        let error = match from_file(settings) {
            Ok(Some(cost)) => {
                let found = Finding::new(cost, Source::CostFile, "the cost file says so");
                return (found, None);
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let found = match &self.watch {
            Some(watch) => watch.finding(),
            None if settings.ask_manager => {
                manager::found(manager::ask().await.ok().as_ref(), settings.cost)
            }
            None => Finding::new(settings.cost, Source::Settings, "the settings say so"),
        };
        (found, error)
    }
}

fn from_file(settings: &NetworkSettings) -> Result<Option<Cost>, CostError> {
    let Some(path) = &settings.cost_file else { return Ok(None) };
    let fail = |source| CostError { path: path.clone(), source };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let known = Cost::ALL.into_iter().find(|cost| cost.name() == text.trim());
    known.map(Some).ok_or_else(|| {
        let words: Vec<&str> = Cost::ALL.iter().map(|cost| cost.name()).collect();
        let message = format!("{:?} is none of {}", text.trim(), words.join(", "));
        fail(std::io::Error::other(message))
    })
}
