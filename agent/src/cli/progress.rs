//! Shows how an exchange goes: documented lines, JSON lines, a bar, or nothing.

use std::io::{IsTerminal as _, Write as _};

use homeport_sync::codes::ResultCode;
use homeport_sync::lines::{Event, Reason};
use indicatif::{ProgressBar, ProgressStyle};

use super::args::ProgressForm;
use crate::watch::Progress;

/// Once it is known how much there is to carry, the rest of the time is too.
const WITH_END: &str = "{bar:24} {binary_bytes} of {binary_total_bytes} at \
    {binary_bytes_per_sec}, {eta} left  {wide_msg}";

/// Shows how one command goes.
#[derive(Debug)]
pub(super) struct Teller {
    form: ProgressForm,
    bar: ProgressBar,
    items: u64,
    planned: u64,
}

fn set_style(bar: &ProgressBar, template: &str) {
    // A template is a constant here: one that is wrong leaves the usual style.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

impl Teller {
    /// Begins in the form that was asked for; without one a bar on a terminal, and nothing otherwise.
    pub(super) fn begin(form: Option<ProgressForm>) -> Self {
        let usual = match std::io::stderr().is_terminal() {
            true => ProgressForm::Bar,
            false => ProgressForm::None,
        };
        let form = form.unwrap_or(usual);
        let bar = match form {
            ProgressForm::Bar => ProgressBar::no_length(),
            _ => ProgressBar::hidden(),
        };
        set_style(
            &bar,
            "{spinner} {binary_bytes} at {binary_bytes_per_sec}, {elapsed}  {wide_msg}",
        );
        let teller = Self { form, bar, items: 0, planned: 0 };
        teller.line(&Event::begin());
        teller
    }

    /// Whether anybody wants to know.
    pub(super) fn listens(&self) -> bool {
        self.form != ProgressForm::None
    }

    /// Whether standard output is taken by the lines.
    pub(super) fn takes_output(&self) -> bool {
        matches!(self.form, ProgressForm::Text | ProgressForm::Json)
    }

    /// Shows one message.
    pub(super) fn hear(&mut self, progress: Progress) {
        match progress {
            Progress::Item(event) => {
                self.items += u64::from(event.reason == Reason::ItemResult);
                self.bar.inc(event.bytes);
                let path = super::plain(event.path.as_deref().unwrap_or_default());
                self.bar.set_message(format!("{} items, {path}", self.items));
                self.line(&event);
            }
            Progress::Bytes(bytes) => self.bar.inc(bytes),
            Progress::Planned(bytes) => {
                self.planned += bytes;
                self.bar.set_length(self.planned);
                set_style(&self.bar, WITH_END);
            }
        }
    }

    /// Ends: the last line, or no bar any more.
    pub(super) fn end(&self, code: ResultCode, bytes: u64) {
        self.bar.finish_and_clear();
        self.line(&Event::end(code, bytes));
    }

    fn line(&self, event: &Event) {
        let line = match self.form {
            // A line break in a path would make two lines of one.
            ProgressForm::Text => super::plain(&event.to_string()).replace('\n', r"\n"),
            ProgressForm::Json => serde_json::to_string(event).unwrap_or_default(),
            ProgressForm::Bar | ProgressForm::None => return,
        };
        // A reader that went away is no reason to stop the work.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}
