//! Access to a file or share: the list that grants it, and what it comes to for somebody (pure).
//!
//! [`super::share_descriptor`] reads the binary form, [`super::share_sddl`] reads and writes text.

use std::collections::BTreeSet;

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It allows.
    Allow,
    /// It denies.
    Deny,
    /// It does neither, or under conditions that cannot be judged from here: audit, callback and
    /// object entries.
    Other(u8),
}

/// Bits of an access mask (MS-DTYP 2.4.3, MS-SMB2 2.2.13.1.2).
pub mod mask {
    /// List a folder, read a file.
    pub const LIST: u32 = 0x1;
    /// Make files in a folder, write into a file.
    pub const ADD_FILE: u32 = 0x2;
    /// Make folders in a folder, append to a file.
    pub const ADD_FOLDER: u32 = 0x4;
    /// Read extended attributes.
    pub const READ_EA: u32 = 0x8;
    /// Write extended attributes.
    pub const WRITE_EA: u32 = 0x10;
    /// Go through a folder, run a file.
    pub const TRAVERSE: u32 = 0x20;
    /// Delete what is in a folder.
    pub const DELETE_CHILD: u32 = 0x40;
    /// Read times, size and attributes.
    pub const READ_ATTRIBUTES: u32 = 0x80;
    /// Change times and attributes.
    pub const WRITE_ATTRIBUTES: u32 = 0x100;
    /// Delete it.
    pub const DELETE: u32 = 0x1_0000;
    /// Read its security descriptor.
    pub const READ_CONTROL: u32 = 0x2_0000;
    /// Change who may do what.
    pub const WRITE_DAC: u32 = 0x4_0000;
    /// Wait for it; every open asks for it.
    pub const SYNCHRONIZE: u32 = 0x10_0000;
    /// FILE_GENERIC_READ, *Read* of `icacls`.
    pub const READ: u32 = 0x12_0089;
    /// FILE_GENERIC_WRITE, *Write* of `icacls`.
    pub const WRITE: u32 = 0x12_0116;
    /// FILE_GENERIC_EXECUTE.
    pub const EXECUTE: u32 = 0x12_00a0;
    /// *Change* of a share, *Modify* of a folder.
    pub const CHANGE: u32 = 0x13_01bf;
    /// *Full control*.
    pub const FULL: u32 = 0x1f_01ff;
}

/// Bits of an entry's flags (MS-DTYP 2.4.4.1).
pub mod flag {
    /// Files below get it.
    pub const FILES: u8 = 0x01;
    /// Folders below get it.
    pub const FOLDERS: u8 = 0x02;
    /// It does not count for the folder itself.
    pub const BELOW_ONLY: u8 = 0x08;
    /// It came from a folder above.
    pub const INHERITED: u8 = 0x10;
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// What it does.
    pub kind: Kind,
    /// See [`flag`].
    pub flags: u8,
    /// See [`mask`]; generic bits as they were written.
    pub mask: u32,
    /// For whom, as text.
    pub sid: String,
}

impl Ace {
    /// An entry that allows, for the object itself.
    pub fn allow(sid: impl Into<String>, mask: u32, flags: u8) -> Self {
        Self { kind: Kind::Allow, flags, mask, sid: sid.into() }
    }

    /// Whether it denies, and was set on the object itself.
    fn is_own_deny(&self) -> bool {
        self.kind == Kind::Deny && self.flags & flag::INHERITED == 0
    }

    /// Whether it says anything about the object itself to somebody who is all of these.
    fn speaks_to(&self, sids: &BTreeSet<String>) -> bool {
        self.flags & flag::BELOW_ONLY == 0 && sids.contains(&self.sid)
    }
}

/// Who owns something, and who may do what with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The owner's SID.
    pub owner: Option<String>,
    /// The group's SID; it grants nothing.
    pub group: Option<String>,
    /// The list; `None` is no list at all, and then everybody may everything.
    pub list: Option<Vec<Ace>>,
}

/// OWNER RIGHTS: an entry for it takes the owner's implicit rights away (MS-DTYP 2.4.2.4).
const OWNER_RIGHTS: &str = "S-1-3-4";

/// Generic rights as what they mean for files (MS-SMB2 2.2.13.1).
pub fn mapped(mask: u32) -> u32 {
    let generic = [
        (0x8000_0000, mask::READ),
        (0x4000_0000, mask::WRITE),
        (0x2000_0000, mask::EXECUTE),
        (0x1000_0000, mask::FULL),
    ];
    generic.iter().fold(
        mask & 0x0fff_ffff,
        |all, (bit, means)| {
            if mask & bit != 0 { all | means } else { all }
        },
    )
}

/// How somebody changes a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Put this entry into it.
    Add(Ace),
    /// Take this entry out of it.
    Remove(Ace),
}

impl Descriptor {
    /// What somebody who is all of these SIDs may do (MS-DTYP 2.5.3.2): the first entry that says
    /// something about a right decides.
    pub fn granted(&self, sids: &BTreeSet<String>) -> u32 {
        let Some(list) = &self.list else { return mask::FULL };
        let (mut granted, mut denied) = (0, 0);
        let is_owner = self.owner.as_ref().is_some_and(|owner| sids.contains(owner));
        let owner_rights =
            |ace: &&Ace| ace.sid == OWNER_RIGHTS && ace.flags & flag::BELOW_ONLY == 0;
        if is_owner && !list.iter().any(|ace| owner_rights(&ace)) {
            granted = mask::READ_CONTROL | mask::WRITE_DAC;
        }
        for ace in list {
            let speaks = ace.speaks_to(sids) || is_owner && owner_rights(&ace);
            if !speaks {
                continue;
            }
            let bits = mapped(ace.mask);
            match ace.kind {
                Kind::Allow => granted |= bits & !denied,
                Kind::Deny => denied |= bits & !granted,
                Kind::Other(_) => {}
            }
        }
        granted
    }

    /// What has to change so that somebody who is all of these SIDs may do this; `who` is one of
    /// them. Empty where they may already.
    ///
    /// An entry that allows goes behind those that deny and were set here, and before all others:
    /// that is where Windows puts it. So only those stand in its way.
    pub fn changes(
        &self,
        sids: &BTreeSet<String>,
        who: &str,
        wanted: u32,
        flags: u8,
    ) -> Vec<Change> {
        let mut fixed = self.clone();
        let mut changes = Vec::new();
        let missing = |it: &Self| wanted & !it.granted(sids);
        while let Some(denies) = fixed.in_the_way(sids, missing(&fixed)) {
            fixed.apply(&Change::Remove(denies.clone()));
            changes.push(Change::Remove(denies));
        }
        if missing(&fixed) != 0 {
            changes.push(Change::Add(Ace::allow(who, wanted, flags)));
        }
        changes
    }

    /// An entry that would still deny some of these rights after an entry was added.
    fn in_the_way(&self, sids: &BTreeSet<String>, missing: u32) -> Option<Ace> {
        let own = self.list.iter().flatten().take_while(|ace| ace.is_own_deny());
        let mut denies = own.filter(|ace| ace.speaks_to(sids) || ace.sid == OWNER_RIGHTS);
        denies.find(|ace| mapped(ace.mask) & missing != 0).cloned()
    }

    /// The same, changed.
    pub fn apply(&mut self, change: &Change) {
        let Some(list) = &mut self.list else { return };
        match change {
            Change::Add(ace) => {
                let at = list.iter().take_while(|ace| ace.is_own_deny()).count();
                list.insert(at, ace.clone());
            }
            Change::Remove(ace) => list.retain(|known| known != ace),
        }
    }
}

/// The names of rights, as the security dialog has them.
pub fn names(mask: u32) -> String {
    const NAMES: [(u32, &str); 13] = [
        (mask::LIST, "List Folder/Read Data"),
        (mask::READ_ATTRIBUTES, "Read Attributes"),
        (mask::ADD_FILE, "Create Files/Write Data"),
        (mask::ADD_FOLDER, "Create Folders/Append Data"),
        (mask::WRITE_ATTRIBUTES, "Write Attributes"),
        (mask::READ_EA, "Read Extended Attributes"),
        (mask::WRITE_EA, "Write Extended Attributes"),
        (mask::TRAVERSE, "Traverse Folder/Execute File"),
        (mask::DELETE_CHILD, "Delete Subfolders and Files"),
        (mask::DELETE, "Delete"),
        (mask::READ_CONTROL, "Read Permissions"),
        (mask::WRITE_DAC, "Change Permissions"),
        (mask::SYNCHRONIZE, "Synchronize"),
    ];
    let has = |(bit, _): &&(u32, &str)| mask & bit != 0;
    let named: Vec<&str> = NAMES.iter().filter(has).map(|(_, name)| *name).collect();
    match named.as_slice() {
        [] => format!("0x{mask:x}"),
        named => named.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: &str = "S-1-5-21-1-2-3-1001";
    const STAFF: &str = "S-1-5-21-1-2-3-1200";
    const OTHER: &str = "S-1-5-21-1-2-3-1300";

    fn me() -> BTreeSet<String> {
        [ME, STAFF, "S-1-1-0", "S-1-5-11"].map(str::to_owned).into()
    }

    fn ace(kind: Kind, sid: &str, mask: u32, flags: u8) -> Ace {
        Ace { kind, flags, mask, sid: sid.to_owned() }
    }

    fn list(aces: &[Ace]) -> Descriptor {
        Descriptor { list: Some(aces.to_vec()), ..Descriptor::default() }
    }

    #[test]
    fn the_first_entry_that_says_something_about_a_right_decides() {
        use Kind::{Allow, Deny, Other};
        let all = 0x1000_0000;
        for (aces, granted) in [
            (vec![], 0),
            (vec![ace(Allow, STAFF, mask::READ, 0)], mask::READ),
            (vec![ace(Allow, OTHER, mask::READ, 0)], 0),
            (vec![ace(Allow, STAFF, all, 0)], mask::FULL),
            (vec![ace(Allow, STAFF, mask::READ, flag::BELOW_ONLY | flag::FILES)], 0),
            (
                vec![ace(Deny, ME, mask::LIST, 0), ace(Allow, STAFF, mask::READ, 0)],
                mask::READ & !mask::LIST,
            ),
            (vec![ace(Allow, STAFF, mask::READ, 0), ace(Deny, ME, mask::LIST, 0)], mask::READ),
            (vec![ace(Other(9), ME, mask::READ, 0)], 0),
            (vec![ace(Allow, "S-1-3-0", mask::FULL, 0)], 0),
        ] {
            assert_eq!(list(&aces).granted(&me()), granted, "{aces:?}");
        }
        assert_eq!(Descriptor::default().granted(&me()), mask::FULL, "no list at all");
    }

    #[test]
    fn an_owner_may_read_and_change_the_list() {
        let owned = |aces: &[Ace]| Descriptor { owner: Some(ME.to_owned()), ..list(aces) };
        assert_eq!(owned(&[]).granted(&me()), mask::READ_CONTROL | mask::WRITE_DAC);
        let limited = ace(Kind::Allow, OWNER_RIGHTS, mask::READ_CONTROL, 0);
        assert_eq!(owned(&[limited]).granted(&me()), mask::READ_CONTROL);
    }

    #[test]
    fn what_denies_goes_before_anything_is_added() {
        let deny = ace(Kind::Deny, ME, mask::LIST, 0);
        let mut it = list(&[deny.clone(), ace(Kind::Allow, STAFF, mask::READ, 0)]);
        let changes = it.changes(&me(), ME, mask::READ, 0);
        assert_eq!(changes, [Change::Remove(deny)], "the other entry allows it then");
        for change in &changes {
            it.apply(change);
        }
        assert_eq!(it.changes(&me(), ME, mask::READ, 0), []);
        assert_eq!(list(&[]).changes(&me(), ME, mask::READ, 0).len(), 1);
    }

    #[test]
    fn rights_have_the_names_of_the_dialog() {
        assert_eq!(
            names(mask::LIST | mask::READ_ATTRIBUTES),
            "List Folder/Read Data, Read Attributes"
        );
        assert_eq!(names(0x8000), "0x8000");
    }

    pub(crate) fn any_ace() -> impl Strategy<Value = Ace> {
        let kind = prop_oneof![
            4 => Just(Kind::Allow),
            3 => Just(Kind::Deny),
            1 => Just(Kind::Other(2))
        ];
        let sid = prop::sample::select(vec![ME, STAFF, OTHER, "S-1-1-0", "S-1-3-0", OWNER_RIGHTS]);
        let flags = prop::sample::select(vec![0, 0, 0x03, 0x0b, 0x10, 0x13]);
        let bits = prop_oneof![
            any::<u32>(),
            prop::sample::select(vec![mask::READ, mask::WRITE, mask::CHANGE, mask::FULL])
        ];
        (kind, sid, flags, bits).prop_map(|(kind, sid, flags, mask)| ace(kind, sid, mask, flags))
    }

    pub(crate) fn any_descriptor() -> impl Strategy<Value = Descriptor> {
        let owner = prop::option::of(prop::sample::select(vec![ME, OTHER]).prop_map(str::to_owned));
        let list = prop::option::weighted(0.95, prop::collection::vec(any_ace(), 0..8));
        (owner, list).prop_map(|(owner, list)| Descriptor { owner, group: None, list })
    }

    proptest! {
        /// The point of it: what doctor tells to do makes what it found go away.
        #[test]
        fn the_changes_give_what_was_missing(
            mut it in any_descriptor(),
            wanted in prop::sample::select(vec![
                mask::READ, mask::READ | mask::WRITE, mask::CHANGE, mask::LIST | mask::SYNCHRONIZE
            ]),
        ) {
            let before = it.granted(&me());
            let changes = it.changes(&me(), ME, wanted, 0);
            prop_assert_eq!(changes.is_empty(), before & wanted == wanted);
            for change in &changes {
                it.apply(change);
            }
            prop_assert_eq!(it.granted(&me()) & wanted, wanted);
            prop_assert_eq!(it.changes(&me(), ME, wanted, 0), []);
        }
    }
}
