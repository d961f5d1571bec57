//! What becomes of two changes of one item: settled by a rule, or kept and listed for a person.

use globset::GlobBuilder;

use crate::apply::Applier;
use crate::engine::SyncError;
use crate::fs::Tree;
use crate::item::Entry;
use crate::journal::Record;
use crate::look::Stop;
use crate::path::{self, beside, parent};
use crate::reconcile::Clash;
use crate::report::{Conflict, ConflictKind, Did, Meta, Options, Resolve, Verdict};
use crate::scan::PatternError;
use crate::skip::Skip;
use crate::walk::Delta;

/// Longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;
/// How much of this computer's name stands in the names of conflict copies.
const HOST_BYTES_MAX: usize = 64;
/// How many names are tried for a second version.
const NAMES_MAX: u32 = 1_000;

/// How conflicts are settled, by path.
pub type Resolver = Box<dyn Fn(&str) -> Resolve>;

/// The rules of the options, or one for all.
///
/// # Errors
/// [`PatternError`] names the pattern.
pub fn resolver(options: &Options, only: Option<Resolve>) -> Result<Resolver, SyncError> {
    if let Some(how) = only {
        return Ok(Box::new(move |_| how));
    }
    let mut rules = Vec::new();
    for rule in &options.resolve {
        // Network paths make no difference of case.
        let glob = GlobBuilder::new(&rule.path).case_insensitive(true).build();
        let glob = glob.map_err(|source| PatternError::new(&rule.path, source))?;
        rules.push((glob.compile_matcher(), rule.resolve));
    }
    Ok(Box::new(move |path| {
        let rule = rules.iter().find(|(glob, _)| glob.is_match(path));
        rule.map_or(Resolve::Ask, |(_, resolve)| *resolve)
    }))
}

impl Applier<'_, '_, '_> {
    /// Settles or lists a conflict; gives which way the winner goes, if there is one.
    pub(crate) fn conflict(&mut self, delta: &Delta, clash: Clash) -> Option<bool> {
        let (Some(here), Some(there)) = (&delta.here, &delta.there) else { return None };
        let path = delta.path.as_str();
        self.seen_conflicts.insert(path.to_owned());
        if clash == Clash::TypeDiffers {
            self.clashing_folders.push(path.to_owned());
        }
        let options = self.run.options;
        let (may_in, may_out) = (options.sync_in, options.sync_out);
        let how = match (clash, (self.resolve)(path)) {
            (_, Resolve::KeepBoth) => Resolve::KeepBoth,
            (Clash::TypeDiffers, _) => Resolve::Ask,
            (_, Resolve::KeepLatest) => match here.stamp.mtime_ns.cmp(&there.stamp.mtime_ns) {
                std::cmp::Ordering::Greater => Resolve::KeepLocal,
                std::cmp::Ordering::Less => Resolve::KeepRemote,
                std::cmp::Ordering::Equal => Resolve::Ask,
            },
            (_, how) => how,
        };
        match how {
            Resolve::KeepLocal if may_out => return Some(true),
            Resolve::KeepRemote if may_in => return Some(false),
            Resolve::KeepBoth if may_in && may_out => {
                self.keep_both(path);
                return None;
            }
            _ => {}
        }
        let kind = match clash {
            Clash::BothCreated => ConflictKind::BothCreated,
            Clash::BothChanged => ConflictKind::BothChanged,
            Clash::TypeDiffers => ConflictKind::TypeDiffers,
        };
        let since_unix = self.run.now_ns / 1_000_000_000;
        let (local, remote) = (meta(here), meta(there));
        let conflict = Conflict { path: path.to_owned(), kind, local, remote, since_unix };
        self.records.push(Record::Conflict(conflict));
        let new = !self.open_conflicts.contains(path);
        self.run.report.counts.conflicts_new += u64::from(new);
        if new || self.settling {
            self.run.note(path, Did::Settle, Verdict::Conflict);
        }
        None
    }

    /// The version here gets another name; the one on the share comes in under the old name.
    fn keep_both(&mut self, path: &str) {
        let name = match self.other_name(path) {
            Ok(name) => name,
            Err(stop) => return self.run.note(path, Did::Settle, stop.verdict(path)),
        };
        let other = beside(path, &name);
        let renamed = self.run.sides.local.rename(path, &other);
        let durable = renamed.and_then(|()| self.run.sides.local.sync_folder(parent(path)));
        if let Err(error) = durable {
            let result = Stop::Io("rename", error).verdict(path);
            return self.run.note(path, Did::Settle, result);
        }
        self.kept_both.push(other);
        self.run.note(path, Did::Settle, Verdict::Done);
    }

    /// `Plan.odt` → `Plan (LT-7 2026-11-21).odt`, with a number where that is taken on a side.
    fn other_name(&self, path: &str) -> Result<String, Stop> {
        let leaf = path::name(path);
        let (stem, extension) = match leaf.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && extension.len() <= HOST_BYTES_MAX => {
                (stem, format!(".{extension}"))
            }
            _ => (leaf, String::new()),
        };
        let day = chrono::DateTime::from_timestamp_nanos(self.run.now_ns).format("%Y-%m-%d");
        let host = shortened(&self.run.options.host, HOST_BYTES_MAX).replace('/', "-");
        for number in 1..NAMES_MAX {
            let count = if number == 1 { String::new() } else { format!(" {number}") };
            let tail = format!(" ({host} {day}{count}){extension}");
            let stem = shortened(stem, NAME_BYTES_MAX.saturating_sub(tail.len()));
            let name = format!("{stem}{tail}");
            let full = beside(path, &name);
            let taken = |tree: &Tree<'_>| {
                tree.look(&full).map(|look| look.is_some()).map_err(|e| Stop::Io("look at", e))
            };
            if !taken(self.run.sides.local)? && !taken(self.run.sides.remote)? {
                return Ok(name);
            }
        }
        Err(Stop::Left(Skip::NoFreeName))
    }
}

/// The start of a name, cut between characters.
fn shortened(name: &str, bytes_max: usize) -> &str {
    let ends = name.char_indices().map(|(at, char)| at + char.len_utf8());
    &name[..ends.take_while(|end| *end <= bytes_max).last().unwrap_or(0)]
}

fn meta(entry: &Entry) -> Meta {
    Meta { size: entry.stamp.size, mtime_unix_ms: entry.stamp.mtime_ns / 1_000_000 }
}
