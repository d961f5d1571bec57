//! Decides what to do with one name, from what both sides last agreed on and what they hold now.
//!
//! Pure and total. Equal content is never a conflict; an edit beats a delete; without a base
//! nothing is ever deleted.

use crate::item::{Content, Kind};

/// What to do with one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Both sides are as recorded.
    Nothing,
    /// Both sides agree on something new: record it.
    Adopt,
    /// Both sides lost it: forget it.
    Forget,
    /// Bring it from the share, in place of what is here.
    CopyIn,
    /// Send it to the share, in place of what is there.
    CopyOut,
    /// Remove it here: it was removed on the share and not changed here.
    DeleteHere,
    /// Remove it on the share: it was removed here and not changed there.
    DeleteThere,
    /// Both sides changed it, differently.
    Conflict(Clash),
}

/// How two changes clash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Both sides have something new that was never in step.
    BothCreated,
    /// Both sides changed what was in step.
    BothChanged,
    /// One side has a folder where the other has a file or link.
    TypeDiffers,
}

/// Decides for one name. `None` is a proven absence, never an error.
pub fn reconcile(
    base: Option<&Content>,
    here: Option<&Content>,
    there: Option<&Content>,
) -> Action {
    let unchanged = |side: &Content| base.is_some_and(|base| base.same(side));
    match (here, there) {
        (None, None) if base.is_some() => Action::Forget,
        (None, None) => Action::Nothing,
        (Some(here), None) if unchanged(here) => Action::DeleteHere,
        (Some(_), None) => Action::CopyOut,
        (None, Some(there)) if unchanged(there) => Action::DeleteThere,
        (None, Some(_)) => Action::CopyIn,
        (Some(here), Some(there)) => match (unchanged(here), unchanged(there)) {
            (true, true) => Action::Nothing,
            (true, false) => Action::CopyIn,
            (false, true) => Action::CopyOut,
            (false, false) if here.same(there) => Action::Adopt,
            (false, false) => Action::Conflict(clash(base.is_some(), here, there)),
        },
    }
}

fn clash(known: bool, here: &Content, there: &Content) -> Clash {
    if (here.kind() == Kind::Dir) != (there.kind() == Kind::Dir) {
        Clash::TypeDiffers
    } else if known {
        Clash::BothChanged
    } else {
        Clash::BothCreated
    }
}
