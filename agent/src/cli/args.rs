//! The command line: what can be asked. Parsing does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use super::args_directory::{Directory, Doctor};
pub use super::args_primary::PrimaryComputers;
pub use super::args_sync::{
    Conflicts, Dirty, Keep, Ls, Pin, PinFor, ProgressForm, Release, Suspend, Sync,
};

/// Keeps a fleet's people and their files together: folder redirection, offline files and roaming
/// profiles, by policy, with a reason for everything.
#[derive(Debug, Parser)]
#[command(name = "homeport", version, max_term_width = 100, after_help = AFTER)]
pub struct Cli {
    /// The agent's settings.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/homeport/agent.toml")]
    pub settings: PathBuf,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Start with `homeport demo`. Standard output is data, standard error is talk; \
    NO_COLOR is honoured. Exit codes: 0 done, 1 internal, 2 usage, 3 policy, 4 environment, \
    5 refused, 6 failed.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show everything at work, in a scratch directory.
    Demo(Demo),
    /// Run the agent (the service does this).
    Run,
    /// Check, explain, compare and describe policy.
    #[command(subcommand)]
    Policy(Policy),
    /// Compare and propose the lists of primary computers.
    #[command(subcommand)]
    PrimaryComputers(PrimaryComputers),
    /// Export the directory.
    #[command(subcommand)]
    Directory(Directory),
    /// Find out what is wrong with a network folder or the directory, and how to mend it.
    Doctor(Doctor),
    /// Show what would be done for a user now, and why.
    Plan(Plan),
    /// Bring policy into force now, for one user or for everybody who is signed in.
    Apply(OneOrAll),
    /// Sign a user in, as a session that begins does.
    Logon(User),
    /// Sign a user out, as the last session that ends does.
    Logoff(User),
    /// A session begins or ends (`pam_exec` calls this; always ends with 0, within the budget).
    Pam(Pam),
    /// Synchronise offline folders now, whatever the network costs.
    Sync(Sync),
    /// Let through what the brake holds (mass deletes, mass changes), or settle a halted folder.
    Release(Release),
    /// List what is kept offline, and how it stands to its share.
    Ls(Ls),
    /// Keep a folder or file always stored on this computer.
    Pin(Pin),
    /// Take a pin back.
    Unpin(Pin),
    /// Keep every exchange that nobody asks for away from a folder.
    Suspend(Suspend),
    /// Let a suspended folder be exchanged with the rest again.
    Resume(Suspend),
    /// Say what would be lost if this disk died now.
    Dirty(Dirty),
    /// List old versions of files that exchanges replaced or removed, and where they are kept.
    Recycled(Dirty),
    /// Show what holds on this computer, and why.
    Status(StatusOf),
    /// List, show and settle conflicts.
    #[command(subcommand)]
    Conflicts(Conflicts),
    /// Work offline, everywhere or in a network folder, until told otherwise, also over a restart.
    WorkOffline(Force),
    /// Work online again, everywhere or in a network folder.
    WorkOnline(Force),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    Man {
        /// The directory.
        directory: PathBuf,
    },
    /// Work for one user; the agent starts this.
    #[command(hide = true)]
    Worker(Worker),
}

/// `homeport status`
#[derive(Debug, Args)]
pub struct StatusOf {
    /// How long the last sign-in and sign-out of each user took, by phase, and the slowest steps.
    #[arg(long)]
    pub last_logon: bool,
}

/// `homeport pam`
#[derive(Debug, Args)]
pub struct Pam {
    /// Do the work for the process that PAM waits for; this one opened the session.
    #[arg(long, hide = true)]
    pub leader: Option<u32>,
}

/// `homeport worker`
#[derive(Debug, Args)]
pub struct Worker {
    /// The account to become before anything is read; without it none other.
    #[arg(long, requires = "groups")]
    pub uid: Option<u32>,
    /// Its groups, the primary one first.
    #[arg(long, value_delimiter = ',', requires = "uid")]
    pub groups: Vec<u32>,
}

/// `homeport demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// An empty directory to play in; without it a new one is made.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// `homeport policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say everything that is wrong with a policy directory.
    Check {
        /// The directory; without it the one of the settings.
        directory: Option<PathBuf>,
    },
    /// Say what holds for a user on a computer, and which object, line and fact led to it.
    Explain(Explain),
    /// Say for whom what changes when one policy directory replaces another.
    Diff(Diff),
    /// Describe every setting.
    Schema {
        /// As JSON Schema for editors, as text, or as the reference page.
        #[arg(long, value_enum, default_value = "json")]
        format: SchemaFormat,
        /// Only settings whose key contains this (text only).
        #[arg(default_value = "")]
        filter: String,
    },
}

/// How settings are described.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SchemaFormat {
    /// JSON Schema, draft 2020-12.
    Json,
    /// For a terminal.
    Text,
    /// The reference page: settings, folders, reasons, diagnostics, metrics, exit codes.
    Markdown,
}

/// An operating system.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OsName {
    /// Windows.
    Windows,
    /// Linux.
    Linux,
}

/// `homeport policy explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The policy directory; without it the one of the settings.
    #[arg(long)]
    pub policy: Option<PathBuf>,
    /// An LDIF export of the directory; without it the directory of the settings.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// The user: alice, CORP\alice or alice@corp.test.
    #[arg(long)]
    pub user: String,
    /// The computer; without it this one.
    #[arg(long)]
    pub computer: Option<String>,
    /// Its operating system; without it what the directory says, else this one's.
    #[arg(long, value_enum)]
    pub os: Option<OsName>,
    /// Its Active Directory site.
    #[arg(long)]
    pub site: Option<String>,
    /// What its network costs: unrestricted, metered, roaming, near-limit or over-limit.
    #[arg(long, default_value = "unrestricted")]
    pub cost: String,
    /// Suppose that the directory is out of reach and its last answer is this old (3d).
    #[arg(long, value_name = "AGE", conflicts_with = "directory_away")]
    pub directory_cached: Option<String>,
    /// Suppose that the directory is out of reach and never answered.
    #[arg(long)]
    pub directory_away: bool,
}

/// `homeport policy diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The policy directory in force.
    pub old: PathBuf,
    /// The policy directory that is to replace it.
    pub new: PathBuf,
    /// An LDIF export of the directory; without it the directory of the settings.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// The operating system of computers of which the directory does not say it.
    #[arg(long, value_enum, default_value = "windows")]
    pub os: OsName,
    /// List every user and computer, not only examples.
    #[arg(long)]
    pub all: bool,
}

/// `homeport plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Whom to plan for.
    pub user: String,
    /// What for.
    #[arg(long, value_enum, default_value = "logon")]
    pub occasion: OccasionName,
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OccasionName {
    Logon,
    Logoff,
    Refresh,
    Background,
    Manual,
}

/// One user.
#[derive(Debug, Args)]
pub struct User {
    /// The user's name.
    pub user: String,
}

/// One user, or everybody who is signed in.
#[derive(Debug, Args)]
pub struct OneOrAll {
    /// The user; without a name everybody who is signed in.
    pub user: Option<String>,
}

/// `homeport work-offline` and `work-online`
#[derive(Debug, Args)]
pub struct Force {
    /// The network folder; everything below it is meant too. Without one, every network folder.
    pub path: Option<String>,
    /// The user; without a name whoever is signed in (with a folder: the only one who is).
    #[arg(long)]
    pub user: Option<String>,
}
