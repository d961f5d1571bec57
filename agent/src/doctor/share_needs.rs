//! The least rights that offline files need: one table, each row with its source.

use super::share_access::{Ace, flag, mask};

/// Where rights are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The share's own list.
    Share,
    /// The folder that is the share's root.
    Root,
    /// A folder on the way to the one that is kept offline.
    Above,
    /// The folder that is kept offline.
    Folder,
}

impl Place {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Share => "share permissions",
            Self::Root => "root folder",
            Self::Above => "folder on the way",
            Self::Folder => "folder",
        }
    }
}

/// Who needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The person, mostly by a security group.
    User,
    /// Local System.
    System,
    /// Whoever makes something in it.
    CreatorOwner,
}

impl Who {
    /// The SID, if it is the same everywhere.
    pub fn sid(self) -> Option<&'static str> {
        match self {
            Self::User => None,
            Self::System => Some("S-1-5-18"),
            Self::CreatorOwner => Some("S-1-3-0"),
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Where.
    pub place: Place,
    /// Who.
    pub who: Who,
    /// What; see [`mask`].
    pub mask: u32,
    /// For what below it; see [`flag`].
    pub flags: u8,
    /// As the dialogs of Windows call it.
    pub name: &'static str,
    /// Without it the user cannot work offline; else it is the documented minimum, and whether it is
    /// there shows only for other people.
    pub is_vital: bool,
    /// Where that is said.
    pub source: &'static str,
}

const KB: &str = "KB 2512089";
/// Only the folder itself has to be readable (deploy-folder-redirection; safer than what the KB says).
const KB_NARROWED: &str = "KB 2512089; this folder only, as in \"Deploy Folder Redirection\"";
const BELOW: u8 = flag::FILES | flag::FOLDERS;

/// The tables of KB 2512089. *Administrators* and *Everyone* need nothing anywhere. The reference's
/// repair is to make every part of the path readable, so each folder on the way is like the root.
pub const NEEDS: [Need; 8] = [
    Need {
        place: Place::Share,
        who: Who::User,
        mask: mask::CHANGE,
        flags: 0,
        name: "Change",
        is_vital: true,
        source: KB,
    },
    Need {
        place: Place::Root,
        who: Who::User,
        mask: mask::READ,
        flags: 0,
        name: "List Folder/Read Data, this folder only",
        is_vital: true,
        source: KB_NARROWED,
    },
    Need {
        place: Place::Root,
        who: Who::CreatorOwner,
        mask: mask::FULL,
        flags: BELOW | flag::BELOW_ONLY,
        name: "Full Control, subfolders and files only",
        is_vital: false,
        source: KB,
    },
    Need {
        place: Place::Root,
        who: Who::System,
        mask: mask::FULL,
        flags: BELOW,
        name: "Full Control, this folder, subfolders and files",
        is_vital: false,
        source: KB,
    },
    Need {
        place: Place::Above,
        who: Who::User,
        mask: mask::READ,
        flags: 0,
        name: "List Folder/Read Data, this folder only",
        is_vital: true,
        source: KB_NARROWED,
    },
    Need {
        place: Place::Folder,
        who: Who::User,
        mask: mask::READ | mask::WRITE,
        flags: BELOW,
        name: "Read, Write",
        is_vital: true,
        source: KB,
    },
    Need {
        place: Place::Folder,
        who: Who::System,
        mask: mask::FULL,
        flags: BELOW,
        name: "Full Control",
        is_vital: false,
        source: KB,
    },
    Need {
        place: Place::Above,
        who: Who::System,
        mask: mask::FULL,
        flags: BELOW,
        name: "Full Control",
        is_vital: false,
        source: KB,
    },
];

/// What somebody needs at a place.
pub fn need(place: Place, who: Who) -> Option<&'static Need> {
    NEEDS.iter().find(|need| need.place == place && need.who == who)
}

/// How an entry is added or removed, in the words of each tool.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Command {
    /// The entry in SDDL.
    pub sddl: String,
    /// For a Windows server.
    pub windows: String,
    /// For a Samba server.
    pub samba: String,
}

/// Where an entry belongs: `\\server\share\dir1`.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Whose list.
    pub place: Place,
    /// The network path.
    pub unc: &'a str,
}

impl At<'_> {
    /// `(//server/share, share, dir1\dir2)`.
    fn parts(self) -> (String, String, String) {
        let mut parts = self.unc.trim_start_matches('\\').splitn(3, '\\');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (server, share, below) = (next(), next(), next());
        let below = if below.is_empty() { "\\".to_owned() } else { below };
        (format!("//{server}/{share}"), share, below)
    }

    /// How to add an entry.
    pub fn adding(self, ace: &Ace) -> Command {
        let (address, share, below) = self.parts();
        let Ace { sid, mask, flags, .. } = ace;
        let sddl = ace.to_string();
        if self.place == Place::Share {
            let windows = format!(
                "Grant-SmbShareAccess -Name {} -AccountName {} -AccessRight Change",
                quoted(&share),
                quoted(sid)
            );
            let samba = format!(
                "sharesec {} --add={}",
                quoted(&share),
                quoted(&format!("{sid}:ALLOWED/0x0/0x{mask:08x}"))
            );
            return Command { sddl, windows, samba };
        }
        let inherits = match flags & BELOW {
            BELOW => "(OI)(CI)",
            _ => "",
        };
        let only = if flags & flag::BELOW_ONLY != 0 { "(IO)" } else { "" };
        let windows = format!(
            "icacls \"{}\" /grant \"*{sid}:{inherits}{only}({})\"",
            self.unc,
            icacls_rights(*mask)
        );
        let samba = format!(
            "smbcacls {} {} --add {}",
            quoted(&address),
            quoted(&below),
            quoted(&format!("ACL:{sid}:ALLOWED/0x{flags:x}/0x{mask:08x}"))
        );
        Command { sddl, windows, samba }
    }

    /// How to remove an entry that denies.
    pub fn removing(self, ace: &Ace) -> Command {
        let (address, share, below) = self.parts();
        let Ace { sid, mask, flags, .. } = ace;
        let sddl = ace.to_string();
        let entry = format!("{sid}:DENIED/0x{flags:x}/0x{mask:08x}");
        if self.place == Place::Share {
            let (share, sid) = (quoted(&share), quoted(sid));
            let windows = format!("Unblock-SmbShareAccess -Name {share} -AccountName {sid}");
            return Command {
                sddl,
                windows,
                samba: format!("sharesec {share} --remove={}", quoted(&entry)),
            };
        }
        let windows = format!("icacls \"{}\" /remove:d \"*{sid}\"", self.unc);
        let entry = quoted(&format!("ACL:{entry}"));
        let samba = format!("smbcacls {} {} --delete {entry}", quoted(&address), quoted(&below));
        Command { sddl, windows, samba }
    }
}

/// Rights in the letters of `icacls`.
fn icacls_rights(mask: u32) -> String {
    match mask {
        mask::READ => "R".to_owned(),
        mask::CHANGE => "M".to_owned(),
        mask::FULL => "F".to_owned(),
        both if both == mask::READ | mask::WRITE => "R,W".to_owned(),
        other => format!("0x{other:x}"),
    }
}

/// For a shell: names on shares may hold quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_the_tools_take_them() {
        let sid = "S-1-5-21-1-2-3-1200";
        let root = At { place: Place::Root, unc: r"\\files\home$" };
        let need = need(Place::Root, Who::User).unwrap();
        let command = root.adding(&Ace::allow(sid, need.mask, need.flags));
        assert_eq!(command.sddl, "(A;;0x120089;;;S-1-5-21-1-2-3-1200)");
        assert_eq!(command.windows, r#"icacls "\\files\home$" /grant "*S-1-5-21-1-2-3-1200:(R)""#);
        assert_eq!(
            command.samba,
            r"smbcacls '//files/home$' '\' --add 'ACL:S-1-5-21-1-2-3-1200:ALLOWED/0x0/0x00120089'"
        );
        let folder = At { place: Place::Folder, unc: r"\\files\home$\al'ice\Documents" };
        let command = folder.adding(&Ace::allow(sid, mask::READ | mask::WRITE, BELOW));
        assert!(command.windows.ends_with(":(OI)(CI)(R,W)\""), "{}", command.windows);
        assert!(command.samba.contains(r"'al'\''ice\Documents' --add"), "{}", command.samba);
        let share = At { place: Place::Share, unc: r"\\files\home$" };
        let command = share.adding(&Ace::allow(sid, mask::CHANGE, 0));
        assert!(command.windows.starts_with("Grant-SmbShareAccess -Name 'home$'"));
        assert!(command.samba.starts_with("sharesec 'home$' --add="), "{}", command.samba);
        let deny = Ace { kind: super::super::share_access::Kind::Deny, ..Ace::allow(sid, 1, 0) };
        let command = root.removing(&deny);
        assert!(command.samba.contains("--delete 'ACL:S-1-5-21-1-2-3-1200:DENIED/0x0/0x00000001'"));
    }

    #[test]
    fn every_place_has_a_row_for_the_user() {
        for place in [Place::Share, Place::Root, Place::Above, Place::Folder] {
            assert!(need(place, Who::User).unwrap().is_vital);
        }
    }
}
