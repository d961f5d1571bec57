//! What became of a step: done, unchanged, refused or failed, and why.

use homeport_sync::Report;
use homeport_sync::codes::ResultCode;
use serde::{Deserialize, Serialize};

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
#[must_use]
pub enum Outcome {
    /// The world is now as the step wanted.
    Done {
        /// What was done, in words.
        detail: String,
        /// For exchanges: what moved.
        report: Option<Box<Report>>,
    },
    /// It already was.
    Unchanged,
    /// The world is not as the step expects; nothing was touched.
    Refused {
        /// What was found.
        why: String,
        /// What a person can do about it.
        hint: String,
        /// As Windows would say it, where that is known.
        #[serde(default)]
        code: Option<ResultCode>,
    },
    /// It was tried and did not work; nothing is lost.
    Failed {
        /// What was tried, on what, and what came back.
        why: String,
        /// Whether the share could not be reached, so that the folder is offline.
        unreachable: bool,
        /// As Windows would say it, where that is known.
        #[serde(default)]
        code: Option<ResultCode>,
    },
}

impl Outcome {
    /// The word for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Unchanged => "unchanged",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether the world now is as the step wanted.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Unchanged)
    }

    /// The same, with something more to tell.
    pub fn with_more(self, more: Option<String>) -> Self {
        match (self, more) {
            (Self::Unchanged, Some(more)) => Self::done(more),
            (Self::Done { detail, report }, Some(more)) => {
                Self::Done { detail: format!("{detail}, {more}"), report }
            }
            (outcome, _) => outcome,
        }
    }

    /// What moved, where something was exchanged.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Done { report, .. } => report.as_deref(),
            _ => None,
        }
    }

    /// The outcome of a step that depends on one that ended like this.
    pub fn passed_on(&self, earlier: &str) -> Self {
        let why = format!("not tried, because this was not done: {earlier}");
        match self {
            Self::Failed { unreachable, code, .. } => {
                Self::Failed { why, unreachable: *unreachable, code: *code }
            }
            _ => Self::refused(why, "the next run tries both"),
        }
    }

    /// Done, with a sentence.
    pub fn done(detail: impl Into<String>) -> Self {
        Self::Done { detail: detail.into(), report: None }
    }

    /// Refused, with what was found and what helps.
    pub fn refused(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { why: why.into(), hint: hint.into(), code: None }
    }

    /// Failed, with the whole chain of causes.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        Self::not_done(chain(error))
    }

    /// Failed, with what was tried and what came back.
    pub fn not_done(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), unreachable: false, code: None }
    }

    /// Failed, because the share cannot be used; `away`: because it cannot be reached.
    pub fn share(error: &dyn std::error::Error, away: bool) -> Self {
        let code = match is_denied(error) {
            true => Some(ResultCode::AccessDenied),
            false => away.then_some(ResultCode::ShareOffline),
        };
        Self::Failed { why: chain(error), unreachable: away, code }
    }

    /// The same, as Windows would say it.
    pub fn as_code(mut self, new: ResultCode) -> Self {
        if let Self::Refused { code, .. } | Self::Failed { code, .. } = &mut self {
            *code = Some(new);
        }
        self
    }

    /// What came of it, as Windows would say it; `None` is success.
    pub fn code(&self) -> Option<ResultCode> {
        match self {
            Self::Done { .. } | Self::Unchanged => None,
            Self::Refused { code, .. } => Some(code.unwrap_or(ResultCode::FileChanged)),
            Self::Failed { code: None, unreachable: true, .. } => Some(ResultCode::ShareOffline),
            Self::Failed { code, .. } => Some(code.unwrap_or(ResultCode::InternalError)),
        }
    }

    /// Why an exchange waits for a word of a person about one of its roots, and what helps.
    pub fn halted(&self) -> Option<(&str, &str)> {
        match self {
            Self::Refused { why, hint, code: Some(ResultCode::Held) } => Some((why, hint)),
            _ => None,
        }
    }
}

/// Whether somebody has no right to something, however deep that lies in the causes.
fn is_denied(error: &dyn std::error::Error) -> bool {
    let denied = |error: &(dyn std::error::Error + 'static)| {
        let io = error.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let mut cause = error.source();
    while let Some(next) = cause {
        if denied(next) {
            return true;
        }
        cause = next.source();
    }
    false
}

/// An error and its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.ends_with(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}
