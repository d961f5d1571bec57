//! The command line of `homeport directory` and `homeport doctor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `homeport directory …`
#[derive(Debug, Subcommand)]
pub enum Directory {
    /// Export from the live directory what `policy` and `primary-computers` ask, as LDIF.
    Snapshot(Snapshot),
}

/// `homeport directory snapshot`
#[derive(Debug, Args)]
pub struct Snapshot {
    /// The file. It appears when it is whole, and only its owner may read it.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where users and computers are; without it the base of the settings, or the whole domain.
    /// May be given more than once. Groups are always those of the whole domain.
    #[arg(long = "base", value_name = "DN")]
    pub bases: Vec<String>,
    /// A policy directory whose templates name attributes (%AD:department%) that are needed; without
    /// it the one of the settings. May be given more than once.
    #[arg(long = "policy", value_name = "DIR")]
    pub policies: Vec<PathBuf>,
    /// One more attribute of users. May be given more than once.
    #[arg(long = "attribute", value_name = "NAME")]
    pub attributes: Vec<String>,
    /// Replace the file if it is there.
    #[arg(long)]
    pub force: bool,
}

/// `homeport doctor …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Doctor {
    /// What to check, if it is not a network folder.
    #[command(subcommand)]
    pub what: Option<DoctorOf>,
    /// The network folder to check, part by part, as whoever runs this: '\\srv\share\folder'.
    #[arg(value_name = "PATH", required = true)]
    pub path: Option<String>,
    /// The user whose rights count, with all groups, as the directory knows them. Root looks at the
    /// share as this user, and at none without: nobody's files are opened as root.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A SID of the user whose rights count, the one that is to be granted something first. May be
    /// given more than once. Everyone and Authenticated Users always count.
    #[arg(long = "sid", value_name = "SID")]
    pub sids: Vec<String>,
    /// The account to become before the share is looked at; whoever started it found it out.
    #[arg(long, hide = true, requires = "groups")]
    pub uid: Option<u32>,
    /// Its groups, the primary one first.
    #[arg(long, hide = true, value_delimiter = ',', requires = "uid")]
    pub groups: Vec<u32>,
}

/// `homeport doctor …`, of something else than a network folder.
#[derive(Debug, Subcommand)]
pub enum DoctorOf {
    /// Check everything between this computer and its directory, and say how to mend it.
    Directory(DoctorDirectory),
}

/// `homeport doctor directory`
#[derive(Debug, Args)]
pub struct DoctorDirectory {
    /// Look this user up as a sign-in does, and check the rights to read this one.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}
