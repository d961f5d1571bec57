//! The command line of `homeport primary-computers`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::args::OsName;

/// `homeport primary-computers …`
#[derive(Debug, Subcommand)]
pub enum PrimaryComputers {
    /// Compare policy's list of primary computers with the directory's.
    Report(Report),
    /// Propose primary computers from the sign-ins that were seen, as LDIF to review.
    Suggest(Suggest),
}

/// `homeport primary-computers report`
#[derive(Debug, Args)]
pub struct Report {
    /// The policy directory; without it the one of the settings.
    #[arg(long)]
    pub policy: Option<PathBuf>,
    /// An LDIF export of the directory; without it the directory of the settings.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// The operating system of computers of which the directory does not say it.
    #[arg(long, value_enum, default_value = "windows")]
    pub os: OsName,
    /// A computer that has not signed in to the domain for this long is stale. The directory
    /// itself is up to two weeks behind.
    #[arg(long, value_name = "AGE", default_value = "90d")]
    pub stale_after: String,
    /// A table for people, CSV, or metrics for Prometheus' textfile collector.
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    Table,
    /// One row a line, with a header.
    Csv,
    /// How many differences of each kind, as metrics.
    Prometheus,
}

/// `homeport primary-computers suggest`
#[derive(Debug, Args)]
pub struct Suggest {
    /// Sign-ins: CSV with the columns user, computer and time (RFC 3339), or the agent's log in its
    /// JSON form. May be given more than once.
    #[arg(long, value_name = "FILE", required = true)]
    pub from: Vec<PathBuf>,
    /// An LDIF export of the directory; without it the directory of the settings.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// How far back sign-ins count.
    #[arg(long, value_name = "AGE", default_value = "30d")]
    pub within: String,
    /// At least so many sign-ins.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub min_sign_ins: usize,
    /// On at least so many different days.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub min_days: usize,
    /// At most so many computers for one user.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub max_computers: usize,
}
