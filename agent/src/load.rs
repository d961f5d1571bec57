//! Loads policy: the newest set if it is good, else the last good one, never a part of either.

use std::collections::BTreeMap;
use std::path::Path;

use homeport_policy::diagnostic::{Diagnostic, Severity};
use homeport_policy::layer::PolicySet;
use homeport_policy::parse::{Parsed, SourceFile, parse};
use serde::{Deserialize, Serialize};

use crate::outcome::chain;
use crate::source;
use crate::state::{GoodPolicy, StateDir};

/// The policy in force, and what is wrong with the one that is not.
#[derive(Debug, Default)]
#[must_use]
pub struct Loaded {
    /// The set in force; `None` when there never was a good one: then nothing is done at all.
    pub set: Option<PolicySet>,
    /// What became of the newest set.
    pub state: PolicyState,
    /// Everything there is to say about the newest set, one line each.
    pub problems: Vec<String>,
    /// Objects in force, by id.
    pub versions: BTreeMap<String, u64>,
    /// When the set in force was first applied, in seconds since 1970.
    pub since_unix: i64,
}

/// What became of the newest policy set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyState {
    /// There is none, and never was.
    #[default]
    None,
    /// It is in force.
    Current,
    /// It was rejected; the last good one is in force.
    LastGood,
}

/// Loads the policy directory and settles which set is in force; `keep_it` records a new good set.
pub fn load(directory: &Path, state: &StateDir, now_unix: i64, keep_it: bool) -> Loaded {
    let mut problems = Vec::new();
    let good = state.good_policy().unwrap_or_else(|error| {
        problems.push(chain(&error));
        None
    });
    let good = good.unwrap_or_default();
    let files = match source::read(directory) {
        Ok(files) => files,
        Err(error) => {
            problems.push(chain(&error));
            return fall_back(&good, problems);
        }
    };
    if files.is_empty() && !good.files.is_empty() {
        // A copy that is under way, or a mount that is not there, would bring every folder home.
        let directory = directory.display();
        problems.push(format!(
            "{directory} holds no policy file any more; to withdraw policy on purpose, leave an \
             object that configures nothing"
        ));
        return fall_back(&good, problems);
    }
    let Parsed { set, diagnostics } = parse(&files, &good.applied);
    problems.extend(diagnostics.iter().map(Diagnostic::to_string));
    let Some(set) = set else { return fall_back(&good, problems) };
    let keep = advance(&good, &files, &set, now_unix);
    if keep_it
        && keep != good
        && let Err(error) = state.keep_good_policy(&keep)
    {
        // Without a record a later rollback could not be told; the set is not applied.
        problems.push(chain(&error));
        return fall_back(&good, problems);
    }
    let since_unix = keep.since_unix;
    Loaded {
        versions: versions(&set),
        set: Some(set),
        state: PolicyState::Current,
        problems,
        since_unix,
    }
}

fn versions(set: &PolicySet) -> BTreeMap<String, u64> {
    set.objects.iter().map(|object| (object.id.to_string(), object.version)).collect()
}

/// The record of a good set: unchanged files keep their time, versions only rise.
fn advance(good: &GoodPolicy, files: &[SourceFile], set: &PolicySet, now_unix: i64) -> GoodPolicy {
    let texts = files.iter().filter_map(|file| Some((file.name.clone(), file.text()?.to_owned())));
    let files: BTreeMap<String, String> = texts.collect();
    let mut applied = good.applied.clone();
    applied.extend(versions(set));
    let since_unix = if files == good.files { good.since_unix } else { now_unix };
    GoodPolicy { files, applied, since_unix }
}

fn fall_back(good: &GoodPolicy, problems: Vec<String>) -> Loaded {
    let files: Vec<SourceFile> =
        good.files.iter().map(|(name, text)| SourceFile::new(name, text)).collect();
    if good.since_unix == 0 {
        return Loaded { problems, ..Loaded::default() };
    }
    // It was good when it was kept; versions are not compared with themselves.
    let Parsed { set, diagnostics } = parse(&files, &BTreeMap::new());
    debug_assert!(diagnostics.iter().all(|found| found.severity == Severity::Warning));
    let versions = set.as_ref().map(versions).unwrap_or_default();
    let state = if set.is_some() { PolicyState::LastGood } else { PolicyState::None };
    Loaded { set, state, problems, versions, since_unix: good.since_unix }
}
