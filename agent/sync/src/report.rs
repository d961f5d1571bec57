//! What is asked of the engine, and what it reports; everything travels as JSON.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fs::Volume;
use crate::skip::Skip;

/// Most items listed in one report; all are counted.
pub const ITEMS_MAX: usize = 1_000;

/// The two directories to keep in step, as absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The cache or profile on this computer.
    pub local: PathBuf,
    /// The share's directory.
    pub remote: PathBuf,
    /// The share's side, already open; `remote` is then only its name. `None`: a directory.
    pub share: Option<Share>,
}

/// A share that is no directory of this computer.
#[derive(Clone)]
pub struct Share(pub Arc<dyn Volume>);

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Share")
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Share {}

/// How to keep them in step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// Bring changes in.
    pub sync_in: bool,
    /// Send changes out.
    pub sync_out: bool,
    /// How conflicts are settled; the first glob that matches the relative path decides.
    pub resolve: Vec<ResolveRule>,
    /// Globs on the relative path: untouchable on both sides, with everything below them.
    pub exclude: Vec<String>,
    /// Globs on file names, in any case: never copied, and reported.
    pub screens: Vec<String>,
    /// A run that would delete more items on one side deletes none.
    pub max_deletes: u64,
    /// A run that would delete, or replace, a larger share of a known tree on one side does neither;
    /// for replacing, from a thousand files on.
    pub max_delete_percent: u8,
    /// A person lets through once what the brake holds: mass deletes and mass changes. A root that
    /// is not what it was needs another word.
    pub release_deletes: bool,
    /// What a person says of a root that was swapped, emptied or restored.
    pub root: RootWord,
    /// Bytes per second.
    pub bandwidth: Option<u64>,
    /// File bytes that may cross to and from the share, all in all; what does not fit is put off.
    /// `None`: as many as there are, and nobody counts them.
    #[serde(default)]
    pub byte_budget: Option<u64>,
    /// Which files that are only known here are stored here again.
    pub fill: Fill,
    /// Leave suspended folders alone, on both sides.
    pub skip_suspended: bool,
    /// Nobody asked for this run: back off from every file that an application has open.
    pub background: bool,
    /// Do not send files that the share has never seen.
    pub no_new_files_out: bool,
    /// Everything is pinned, by these (see [`crate::pins`]).
    pub pinned: u32,
    /// Pin what is new on the share in pinned folders, for these.
    pub pin_new: u32,
    /// Pin also what a new link leads to, if it is a file of this tree.
    pub pin_link_targets: bool,
    /// The network path of the share's directory, for shortcuts that lead below it.
    pub root_unc: Option<String>,
    /// If not empty, look at nothing else but these paths, and what is below them.
    pub only: Vec<String>,
    /// How many items to work on at a time; 0 is as many as there are processors, but four at most.
    pub threads: u16,
    /// This computer's name, for the names of conflict copies.
    pub host: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_in: true,
            sync_out: true,
            resolve: Vec::new(),
            exclude: Vec::new(),
            screens: Vec::new(),
            max_deletes: 1_000,
            max_delete_percent: 50,
            release_deletes: false,
            root: RootWord::Doubt,
            bandwidth: None,
            byte_budget: None,
            fill: Fill::Pinned,
            skip_suspended: false,
            background: false,
            no_new_files_out: false,
            pinned: 0,
            pin_new: 0,
            pin_link_targets: false,
            root_unc: None,
            only: Vec::new(),
            threads: 0,
            host: "this computer".to_owned(),
        }
    }
}

/// Which files that are only known here are stored here again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// None.
    None,
    /// Those that are pinned.
    #[default]
    Pinned,
    /// All.
    All,
}

/// How conflicts below some paths are settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResolveRule {
    /// A glob on the relative path.
    pub path: String,
    /// How.
    pub resolve: Resolve,
}

/// How a conflict is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolve {
    /// Both versions stay where they are, and the conflict is listed.
    #[default]
    Ask,
    /// The version here wins.
    KeepLocal,
    /// The version on the share wins.
    KeepRemote,
    /// The later change wins; at equal times nobody does.
    KeepLatest,
    /// Both stay, on both sides; the one from here gets another name.
    KeepBoth,
}

/// What a person says of a root that is not what it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootWord {
    /// Nothing: the run halts.
    #[default]
    Doubt,
    /// Take it as it is and merge: the journal is forgotten, so that nothing is deleted or replaced;
    /// what differs on both sides is a conflict.
    Merge,
    /// It was emptied, or went back, on purpose: the other side follows. A root that holds another
    /// mark is never believed.
    Believe,
}

/// What a run tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Tell<'t> {
    /// An item is taken up; once for each item, before its result.
    Begin {
        /// Its path.
        path: &'t str,
        /// What is to be done.
        action: Did,
    },
    /// An item is done with.
    Item(&'t ItemResult),
}

/// Who is told.
pub type Progress<'p> = dyn FnMut(Tell<'_>) -> Flow + 'p;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop. What is synchronised stays synchronised.
    Cancel,
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// How many items.
    pub counts: Counts,
    /// File bytes brought in.
    pub bytes_in: u64,
    /// File bytes sent out.
    pub bytes_out: u64,
    /// What happened, item by item; at most [`ITEMS_MAX`].
    pub items: Vec<ItemResult>,
    /// What the brake held.
    pub held: Option<Held>,
    /// The run was cancelled before its end.
    pub cancelled: bool,
}

/// How many items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub uploaded: u64,
    pub downloaded: u64,
    pub deleted_local: u64,
    pub deleted_remote: u64,
    pub renamed: u64,
    pub unchanged: u64,
    pub conflicts_new: u64,
    pub conflicts_open: u64,
    pub screened: u64,
    pub skipped: u64,
    pub failed: u64,
    #[serde(default)]
    pub put_off: u64,
}

/// What the brake held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Held {
    /// Deletes on this computer.
    pub deletes_local: u64,
    /// Deletes on the share.
    pub deletes_remote: u64,
    /// Replaced files on this computer.
    #[serde(default)]
    pub changes_local: u64,
    /// Replaced files on the share.
    #[serde(default)]
    pub changes_remote: u64,
}

/// What happened to one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ItemResult {
    /// The path below the root, with `/`.
    pub path: String,
    /// What was to be done.
    pub action: Did,
    /// What became of it.
    pub result: Verdict,
}

/// What was to be done with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Did {
    /// Bring it in.
    Download,
    /// Send it out.
    Upload,
    /// Remove it here.
    DeleteLocal,
    /// Remove it on the share.
    DeleteRemote,
    /// Give it the name that the other side gave it.
    Rename,
    /// Look at it.
    Scan,
    /// Settle two changes.
    Settle,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It is done.
    Done,
    /// Both sides changed it; both versions stay, and a person decides.
    Conflict,
    /// The brake holds it.
    Held,
    /// A file screen keeps it out.
    Screened,
    /// An application has it open; the next run tries again.
    Busy,
    /// More would have travelled than may; a later run carries it, by itself.
    PutOff,
    /// Left for the next run.
    Skipped {
        /// Why.
        why: Skip,
    },
    /// It did not work; the next run tries again.
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// What was attempted and what came back.
        message: String,
    },
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// No right to do it.
    Denied,
    /// No space is left.
    Full,
    /// No quota is left.
    Quota,
    /// It is locked.
    Busy,
    /// The disk or the share failed.
    Io,
    /// The name cannot be handled.
    Name,
}

/// An open conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Conflict {
    /// The path below the root.
    pub path: String,
    /// How the changes clash.
    pub kind: ConflictKind,
    /// The version here.
    pub local: Meta,
    /// The version on the share.
    pub remote: Meta,
    /// When it was found, seconds since 1970.
    pub since_unix: i64,
}

/// How two changes clash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// Both sides created it.
    BothCreated,
    /// Both sides changed it.
    BothChanged,
    /// One side has a folder where the other has a file.
    TypeDiffers,
}

/// A version of a file, for people to choose by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Meta {
    /// Bytes.
    pub size: u64,
    /// Milliseconds since 1970.
    pub mtime_unix_ms: i64,
}

/// What is only on this computer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pending {
    /// Item by item; at most [`ITEMS_MAX`].
    pub items: Vec<PendingItem>,
    /// How many there are.
    pub total_items: u64,
    /// Their size.
    pub total_bytes: u64,
    /// What stands here and no run can send, and why: names that are not UTF-8, pipes, what a file
    /// screen keeps out, folders that cannot be read. At most [`ITEMS_MAX`].
    #[serde(default)]
    pub unsent: Vec<ItemResult>,
    /// How many of those there are; what is in a folder that cannot be read is not counted.
    #[serde(default)]
    pub total_unsent: u64,
}

/// A local change that is not on the share yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PendingItem {
    /// The path below the root.
    pub path: String,
    /// What changed.
    pub change: PendingChange,
    /// Bytes that are only here.
    pub bytes: u64,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PendingChange {
    /// It is new.
    Created,
    /// Its content is new.
    Changed,
    /// It was removed.
    Removed,
}

impl Counts {
    /// As one line, without what is zero.
    pub fn line(&self) -> String {
        let all = [
            (self.downloaded, "in"),
            (self.uploaded, "out"),
            (self.renamed, "renamed"),
            (self.deleted_local, "removed here"),
            (self.deleted_remote, "removed on the share"),
            (self.unchanged, "unchanged"),
            (self.conflicts_open, "open conflicts"),
            (self.screened, "screened"),
            (self.skipped, "skipped"),
            (self.put_off, "put off"),
            (self.failed, "failed"),
        ];
        let told = all.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told.map(|(count, text)| format!("{count} {text}")).collect();
        if told.is_empty() { "nothing to do".to_owned() } else { told.join(", ") }
    }
}

impl Report {
    /// Counts and lists what happened to an item.
    pub(crate) fn note(&mut self, item: ItemResult) {
        let counts = &mut self.counts;
        match (&item.result, item.action) {
            (Verdict::Done, Did::Download) => counts.downloaded += 1,
            (Verdict::Done, Did::Upload) => counts.uploaded += 1,
            (Verdict::Done, Did::DeleteLocal) => counts.deleted_local += 1,
            (Verdict::Done, Did::DeleteRemote) => counts.deleted_remote += 1,
            (Verdict::Done, Did::Rename) => counts.renamed += 1,
            (Verdict::Screened, _) => counts.screened += 1,
            (Verdict::Skipped { .. } | Verdict::Busy, _) => counts.skipped += 1,
            (Verdict::Failed { .. }, _) => counts.failed += 1,
            (Verdict::PutOff, _) => counts.put_off += 1,
            (Verdict::Held, did) => {
                let held = self.held.get_or_insert_default();
                match did {
                    Did::DeleteLocal => held.deletes_local += 1,
                    Did::DeleteRemote => held.deletes_remote += 1,
                    Did::Download => held.changes_local += 1,
                    _ => held.changes_remote += 1,
                }
            }
            (Verdict::Done | Verdict::Conflict, _) => {}
        }
        if self.items.len() < ITEMS_MAX {
            self.items.push(item);
        }
    }

    /// Adds what a second pass did; its view of what is left undone is the newer one.
    pub(crate) fn absorb(&mut self, more: Self) {
        let (a, b) = (&mut self.counts, more.counts);
        a.uploaded += b.uploaded;
        a.downloaded += b.downloaded;
        a.deleted_local += b.deleted_local;
        a.deleted_remote += b.deleted_remote;
        a.renamed += b.renamed;
        a.conflicts_new += b.conflicts_new;
        (a.failed, a.skipped, a.screened) = (b.failed, b.skipped, b.screened);
        a.put_off = b.put_off;
        a.conflicts_open = b.conflicts_open;
        a.unchanged = b.unchanged;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.held = more.held;
        self.cancelled |= more.cancelled;
        let is_kept = |item: &ItemResult| matches!(item.result, Verdict::Done | Verdict::Conflict);
        self.items.retain(is_kept);
        let room = ITEMS_MAX.saturating_sub(self.items.len());
        self.items.extend(more.items.into_iter().take(room));
    }
}
