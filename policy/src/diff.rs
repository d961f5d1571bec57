//! What changes for one user on one computer when one policy set replaces another.

use serde::Serialize;

use crate::decide::{Decision, FolderAction};
use crate::explain::{background_text, folder_text, profile_text};
use crate::reason::Because;

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
    let (a, b) = (&old.background_sync, &new.background_sync);
    note("background sync", background_text(&a.action), background_text(&b.action), &b.because);
    for cache in &new.caches {
        let before = old.caches.iter().find(|other| other.action.path == cache.action.path);
        let text = |link| format!("kept offline; slow: {link}");
        let from = before.map_or("not kept offline".to_owned(), |c| text(c.action.slow_link));
        let what = cache.action.path.as_str();
        note(what, from, text(cache.action.slow_link), &cache.because);
    }
    for cache in &old.caches {
        if !new.caches.iter().any(|other| other.action.path == cache.action.path) {
            let from = format!("kept offline; slow: {}", cache.action.slow_link);
            note(cache.action.path.as_str(), from, "not kept offline".to_owned(), &[]);
        }
    }
    found
}

fn options_text(redirection: &crate::decide::Redirection) -> String {
    let crate::decide::Redirection {
        exclusive_rights,
        move_contents,
        on_removal,
        available_offline,
        ..
    } = redirection;
    let yes = |flag: &bool| if *flag { "yes" } else { "no" };
    format!(
        "exclusive rights {}, move contents {}, on removal {}, available offline {}",
        yes(exclusive_rights),
        yes(move_contents),
        match on_removal {
            crate::decide::OnRemoval::Leave => "leave",
            crate::decide::OnRemoval::Restore => "restore",
        },
        yes(available_offline)
    )
}
