//! The command line of what concerns offline folders: sync, release, ls, pins, conflicts.

use std::str::FromStr as _;

use clap::{Args, Subcommand, ValueEnum};
use homeport_sync::flags::{FlagError, Flags, bits};

/// `homeport sync`
#[derive(Debug, Args)]
pub struct Sync {
    /// Whose offline folders, or which one: a user's name, or a network path
    /// (`\\srv\share\folder`, smb://srv/share/folder) or a path on this computer.
    /// Without it, those of everybody who is signed in.
    #[arg(value_name = "USER|PATH")]
    pub what: Option<String>,
    /// Whose folder the path is in; needed only when several users have it.
    #[arg(long)]
    pub user: Option<String>,
    /// What to do, as Win32_OfflineFilesCache.Synchronize has it: a number (0x10006) or names
    /// (SyncIn+SyncOut+Background).
    #[arg(long, value_name = "FLAGS", value_parser = read_flags)]
    pub flags: Option<Flags>,
    /// What to do, flag by flag.
    #[command(flatten)]
    pub single: Single,
    /// How to show what happens; without it a bar on a terminal.
    #[arg(long, value_enum, value_name = "FORM")]
    pub progress: Option<ProgressForm>,
    /// As `homeport release`.
    #[arg(long, hide = true)]
    pub release: bool,
}

fn read_flags(text: &str) -> Result<Flags, FlagError> {
    Flags::from_str(text)
}

/// The flags of `homeport sync`, one by one. Where none says a direction, both are meant.
#[derive(Debug, Args)]
pub struct Single {
    /// Bring changes in (SyncIn); what is missing here is fetched with it.
    #[arg(long = "in")]
    pub sync_in: bool,
    /// Send changes out (SyncOut).
    #[arg(long = "out")]
    pub sync_out: bool,
    /// Fetch what is known here and stored on the share alone (FillSparse).
    #[arg(long)]
    pub fill_sparse: bool,
    /// Pin what is new on the share in pinned folders (PinNewFiles).
    #[arg(long)]
    pub pin_new_files: bool,
    /// Pin also the files that new links and .lnk shortcuts lead to (PinLinkTargets).
    #[arg(long)]
    pub pin_link_targets: bool,
    /// Pin for the user (PinForUser).
    #[arg(long)]
    pub pin_for_user: bool,
    /// Pin for the user by policy (PinForUser_Policy).
    #[arg(long)]
    pub pin_for_user_policy: bool,
    /// Pin for everybody on this computer (PinForAll).
    #[arg(long)]
    pub pin_for_all: bool,
    /// Reserved; without effect, as in Windows (LowPriority).
    #[arg(long)]
    pub low_priority: bool,
    /// Leave out progress that nobody reads in time, instead of waiting up to 5 s (AsyncProgress).
    #[arg(long)]
    pub async_progress: bool,
    /// You may be asked about open conflicts (Interactive). Homeport has no window: without --console
    /// nothing is asked.
    #[arg(long)]
    pub interactive: bool,
    /// Questions are asked on the terminal, after the exchange, and answered line by line (Console);
    /// needs --interactive.
    #[arg(long)]
    pub console: bool,
    /// Leave suspended folders alone (SkipSuspendedDirs).
    #[arg(long)]
    pub skip_suspended: bool,
    /// Leave files alone that are open (Background).
    #[arg(long)]
    pub background: bool,
    /// Send changes, but no new files (NoNewFilesOut).
    #[arg(long)]
    pub no_new_files_out: bool,
    /// Settle every conflict by this version (KeepLocal, KeepRemote, KeepLatest).
    #[arg(long, value_enum, value_name = "VERSION")]
    pub keep: Option<KeepOne>,
}

impl Single {
    /// All of them as one control word; `None` when none was written.
    pub fn flags(&self) -> Option<Result<Flags, FlagError>> {
        let all = [
            (self.sync_in, bits::SYNC_IN),
            (self.sync_out, bits::SYNC_OUT),
            (self.fill_sparse, bits::FILL_SPARSE),
            (self.pin_new_files, bits::PIN_NEW_FILES),
            (self.pin_link_targets, bits::PIN_LINK_TARGETS),
            (self.pin_for_user, bits::PIN_FOR_USER),
            (self.pin_for_user_policy, bits::PIN_FOR_USER_POLICY),
            (self.pin_for_all, bits::PIN_FOR_ALL),
            (self.low_priority, bits::LOW_PRIORITY),
            (self.async_progress, bits::ASYNC_PROGRESS),
            (self.interactive, bits::INTERACTIVE),
            (self.console, bits::CONSOLE),
            (self.skip_suspended, bits::SKIP_SUSPENDED_DIRS),
            (self.background, bits::BACKGROUND),
            (self.no_new_files_out, bits::NO_NEW_FILES_OUT),
            (self.keep == Some(KeepOne::Local), bits::KEEP_LOCAL),
            (self.keep == Some(KeepOne::Remote), bits::KEEP_REMOTE),
            (self.keep == Some(KeepOne::Latest), bits::KEEP_LATEST),
        ];
        let word = all.iter().filter(|(is, _)| *is).fold(0, |word, (_, bit)| word | bit);
        let says_a_direction = word & (bits::SYNC_IN | bits::SYNC_OUT | bits::FILL_SPARSE) != 0;
        let both = if says_a_direction { 0 } else { bits::SYNC_IN | bits::SYNC_OUT };
        (word != 0).then(|| Flags::from_bits(word | both))
    }
}

/// Which version wins every conflict of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeepOne {
    /// The one on this computer.
    Local,
    /// The one on the share.
    Remote,
    /// The one that was changed last.
    Latest,
}

/// How to show what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressForm {
    /// Lines `Reason:Result:ResultText:[Path]` on standard output, as the documentation has them.
    Text,
    /// The same as JSON, one object a line.
    Json,
    /// A bar on standard error.
    Bar,
    /// Nothing.
    None,
}

/// `homeport release`
#[derive(Debug, Args)]
#[command(after_help = RELEASE_AFTER)]
pub struct Release {
    /// Whose brake, or which folder's: a user's name, a network path or a path on this computer.
    /// Without it, those of everybody who is signed in.
    #[arg(value_name = "USER|PATH")]
    pub what: Option<String>,
    /// Whose folder the path is in; needed only when several users have it.
    #[arg(long)]
    pub user: Option<String>,
    /// List what is held or halted, as the last exchange found it, and release nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// A folder was replaced, emptied or set back: take it as it is and merge both sides. What was
    /// known of it is forgotten; nothing is deleted or replaced, and what differs becomes a conflict.
    /// What the brake holds stays held.
    #[arg(long)]
    pub merge_root: bool,
    /// A folder was emptied, or went back to an earlier state, on purpose: the other side follows, and
    /// what goes is kept in the recycle area. A root that holds another mark is never believed.
    #[arg(long, conflicts_with = "merge_root")]
    pub believe_root: bool,
    /// How to show what happens; without it a bar on a terminal.
    #[arg(long, value_enum, value_name = "FORM")]
    pub progress: Option<ProgressForm>,
}

const RELEASE_AFTER: &str = "Without --merge-root and --believe-root only the brake lets go: mass \
    deletes and mass changes. A folder that was replaced, emptied or set back stays halted.";

/// `homeport ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// A folder or file: a network path or a path on this computer; of a folder above offline
    /// folders, all of them. Without it, everything.
    pub path: Option<String>,
    /// Only what has changes that the share does not have.
    #[arg(long)]
    pub dirty: bool,
    /// Only what is pinned.
    #[arg(long)]
    pub pinned: bool,
    /// Only what has an open conflict.
    #[arg(long)]
    pub conflicts: bool,
    /// Whose; needed only when several users have it.
    #[arg(long)]
    pub user: Option<String>,
}

/// `homeport pin` and `unpin`
#[derive(Debug, Args)]
pub struct Pin {
    /// A folder or file: a network path or a path on this computer.
    pub path: String,
    /// For whom.
    #[arg(long = "for", value_enum, value_name = "WHOM", default_value = "user")]
    pub whom: PinFor,
    /// Whose; needed only when several users have it.
    #[arg(long)]
    pub user: Option<String>,
}

/// For whom something is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PinFor {
    /// The user.
    User,
    /// Everybody on this computer.
    All,
}

/// `homeport suspend` and `resume`
#[derive(Debug, Args)]
pub struct Suspend {
    /// A folder: a network path or a path on this computer.
    pub path: String,
    /// Whose; needed only when several users have it.
    #[arg(long)]
    pub user: Option<String>,
}

/// `homeport dirty` and `recycled`
#[derive(Debug, Args)]
pub struct Dirty {
    /// A user, or a folder or file as for `homeport ls`. Without it, everybody who is known here.
    #[arg(value_name = "USER|PATH")]
    pub what: Option<String>,
    /// Whose folder the path is in; needed only when several users have it.
    #[arg(long)]
    pub user: Option<String>,
}

/// `homeport conflicts …`
#[derive(Debug, Subcommand)]
pub enum Conflicts {
    /// List the open conflicts.
    List,
    /// Show both versions of one, how it came about and how to settle it.
    Show {
        /// The network path of the item (see `homeport conflicts list`), or its path in the cache.
        path: String,
        /// Whose conflict it is; needed only when several users have one.
        #[arg(long)]
        user: Option<String>,
    },
    /// Settle one.
    Resolve {
        /// The network path of the item (see `homeport conflicts list`), or its path in the cache.
        path: String,
        /// The version to keep.
        #[arg(long, value_enum)]
        keep: Keep,
        /// Whose conflict it is; needed only when several users have one.
        #[arg(long)]
        user: Option<String>,
    },
}

/// Which version is kept. The other one stays in the recycle area for 30 days.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Keep {
    /// The one on this computer.
    Local,
    /// The one on the share.
    Remote,
    /// The one that was changed last.
    Latest,
    /// Both, the one from here under another name.
    Both,
}
