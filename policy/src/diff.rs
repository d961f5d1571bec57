//! What changes for one user on one computer when one policy set replaces another.

use serde::Serialize;

use crate::decide::{
    Cache, Decision, FolderAction, OnRemoval, ProfileAction, Redirection, Roaming,
};
use crate::explain::{background_text, folder_text, profile_text};
use crate::reason::Because;
use crate::value::{Value, duration_text};

/// One decision that comes out differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// A folder's key, `profile`, `background sync` or the path of a cache.
    pub what: String,
    /// What held before.
    pub from: String,
    /// What will hold.
    pub to: String,
    /// Why, by the new set.
    pub because: Vec<Because>,
}

/// The decisions that differ; reasons and origins alone are no difference.
pub fn changes(old: &Decision, new: &Decision) -> Vec<Change> {
    let mut found = Vec::new();
    let mut note = |what: &str, from: String, to: String, because: &[Because]| {
        if from != to {
            let (what, because) = (what.to_owned(), because.to_vec());
            found.push(Change { what, from, to, because });
        }
    };
    for (old, new) in old.folders.iter().zip(&new.folders) {
        let because = &new.decided.because;
        let (a, b) = (&old.decided.action, &new.decided.action);
        note(new.folder.key(), folder_text(a), folder_text(b), because);
        if let (FolderAction::Redirect(a), FolderAction::Redirect(b)) = (a, b) {
            let what = format!("{} options", new.folder);
            note(&what, options_text(a), options_text(b), because);
        }
    }
    let (a, b) = (&old.profile, &new.profile);
    note("profile", profile_text(&a.action), profile_text(&b.action), &b.because);
    if let (ProfileAction::Roam(from), ProfileAction::Roam(to)) = (&a.action, &b.action) {
        note("profile options", roaming_text(from), roaming_text(to), &b.because);
    }
    let (a, b) = (&old.background_sync, &new.background_sync);
    note("background sync", background_text(&a.action), background_text(&b.action), &b.because);
    for cache in &new.caches {
        let before = old.caches.iter().find(|other| other.action.path == cache.action.path);
        let from = before.map_or("not kept offline".to_owned(), |c| cache_text(&c.action));
        let what = cache.action.path.as_str();
        note(what, from, cache_text(&cache.action), &cache.because);
    }
    for cache in &old.caches {
        if !new.caches.iter().any(|other| other.action.path == cache.action.path) {
            let (what, from) = (cache.action.path.as_str(), cache_text(&cache.action));
            note(what, from, "not kept offline".to_owned(), &[]);
        }
    }
    found
}

fn cache_text(cache: &Cache) -> String {
    let suspended = if cache.suspended { ", suspended while signed in" } else { "" };
    format!("kept offline; slow: {}{suspended}", cache.slow_link)
}

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

fn roaming_text(roaming: &Roaming) -> String {
    // Path and upload are in the text of the profile itself.
    let Roaming {
        path: _,
        upload: _,
        exclude,
        size_limit,
        check_owner,
        delete_cached_copy,
        no_temporary,
        wait,
        write_back,
    } = roaming;
    let off = |text: Option<String>| text.unwrap_or_else(|| "off".to_owned());
    format!(
        "exclude [{}], size limit {}, check owner {}, delete cached copies {}, \
         no temporary profiles {}, wait {}, write back {}",
        exclude.join(", "),
        off(size_limit.map(|bytes| Value::Size(bytes).to_string())),
        yes(*check_owner),
        yes(*delete_cached_copy),
        yes(*no_temporary),
        duration_text(*wait),
        off(write_back.map(duration_text)),
    )
}

fn options_text(redirection: &Redirection) -> String {
    let Redirection { exclusive_rights, move_contents, on_removal, available_offline, .. } =
        redirection;
    format!(
        "exclusive rights {}, move contents {}, on removal {}, available offline {}",
        yes(*exclusive_rights),
        yes(*move_contents),
        match on_removal {
            OnRemoval::Leave => "leave",
            OnRemoval::Restore => "restore",
        },
        yes(*available_offline)
    )
}
