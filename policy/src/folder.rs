//! The 13 known folders that can be redirected, and where each lies on both systems.

use serde::{Deserialize, Serialize};

use crate::facts::Os;

/// A known folder, named as Windows names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are Windows' own; ROWS below says all there is to say")]
pub enum Folder {
    AppDataRoaming,
    Desktop,
    StartMenu,
    Documents,
    Pictures,
    Music,
    Videos,
    Favorites,
    Contacts,
    Downloads,
    Links,
    Searches,
    SavedGames,
}

/// Every folder, in the order in which Windows lists them.
pub const FOLDERS: [Folder; 13] = [
    Folder::AppDataRoaming,
    Folder::Desktop,
    Folder::StartMenu,
    Folder::Documents,
    Folder::Pictures,
    Folder::Music,
    Folder::Videos,
    Folder::Favorites,
    Folder::Contacts,
    Folder::Downloads,
    Folder::Links,
    Folder::Searches,
    Folder::SavedGames,
];

struct Row {
    key: &'static str,
    name: &'static str,
    known_folder_id: &'static str,
    windows: &'static str,
    xdg: Option<&'static str>,
    linux: Option<&'static str>,
}

const fn row(
    key: &'static str,
    name: &'static str,
    known_folder_id: &'static str,
    windows: &'static str,
    xdg: Option<&'static str>,
    linux: Option<&'static str>,
) -> Row {
    Row { key, name, known_folder_id, windows, xdg, linux }
}

/// In the order of the enum. Columns: policy key, folder name below the user's root on the share,
/// KNOWNFOLDERID, place in the Windows profile, variable of user-dirs.dirs, place in a Linux home.
#[rustfmt::skip]
static ROWS: [Row; 13] = [
    row("app-data-roaming", r"AppData\Roaming", "3EB685DB-65F9-4CF6-A03A-E3EF65729F3D", r"AppData\Roaming", None, Some(".config")),
    row("desktop", "Desktop", "B4BFCC3A-DB2C-424C-B029-7FE99A87C641", "Desktop", Some("XDG_DESKTOP_DIR"), Some("Desktop")),
    row("start-menu", "Start Menu", "625B53C3-AB48-4EC1-BA1F-A1EF4146FC19", r"AppData\Roaming\Microsoft\Windows\Start Menu", None, Some(".local/share/applications")),
    row("documents", "Documents", "FDD39AD0-238F-46AF-ADB4-6C85480369C7", "Documents", Some("XDG_DOCUMENTS_DIR"), Some("Documents")),
    row("pictures", "Pictures", "33E28130-4E1E-4676-835A-98395C3BC3BB", "Pictures", Some("XDG_PICTURES_DIR"), Some("Pictures")),
    row("music", "Music", "4BD8D571-6D19-48D3-BE97-422220080E43", "Music", Some("XDG_MUSIC_DIR"), Some("Music")),
    row("videos", "Videos", "18989B1D-99B5-455B-841C-AB7C74E4DDFC", "Videos", Some("XDG_VIDEOS_DIR"), Some("Videos")),
    row("favorites", "Favorites", "1777F761-68AD-4D8A-87BD-30B759FA33DD", "Favorites", None, None),
    row("contacts", "Contacts", "56784854-C6CB-462B-8169-88E350ACB882", "Contacts", None, None),
    row("downloads", "Downloads", "374DE290-123F-4565-9164-39C4925E467B", "Downloads", Some("XDG_DOWNLOAD_DIR"), Some("Downloads")),
    row("links", "Links", "BFB9D5E0-C6A9-404C-B2B2-AE6DB6AF4968", "Links", None, None),
    row("searches", "Searches", "7D1D3A04-DEBB-4115-95CF-2F29DA2920DA", "Searches", None, None),
    row("saved-games", "Saved Games", "4C5C32FF-BB9D-43B0-B5B4-2D72E54EAAA4", "Saved Games", None, None),
];

impl Folder {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The word in policy files (`documents`, `app-data-roaming`).
    pub fn key(self) -> &'static str {
        self.row().key
    }

    /// The folder's name below a user's root on the share (`Documents`, `AppData\Roaming`).
    pub fn share_name(self) -> &'static str {
        self.row().name
    }

    /// The KNOWNFOLDERID, without braces.
    pub fn known_folder_id(self) -> &'static str {
        self.row().known_folder_id
    }

    /// The variable in `user-dirs.dirs` that names this folder on Linux, where there is one.
    pub fn xdg_variable(self) -> Option<&'static str> {
        self.row().xdg
    }

    /// The folder's default place below the user's profile or home, where the system has one.
    pub fn local_place(self, os: Os) -> Option<&'static str> {
        match os {
            Os::Windows => Some(self.row().windows),
            Os::Linux => self.row().linux,
        }
    }

    /// The folder that a policy key names.
    pub fn from_key(key: &str) -> Option<Self> {
        FOLDERS.into_iter().find(|folder| folder.key() == key)
    }

    /// Whether the folder may follow the Documents folder (Windows offers it for these three).
    pub fn may_follow_documents(self) -> bool {
        matches!(self, Self::Pictures | Self::Music | Self::Videos)
    }
}

impl std::fmt::Display for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_the_enum() {
        for folder in FOLDERS {
            let json = serde_json::to_string(&folder).unwrap();
            assert_eq!(json.trim_matches('"'), folder.key());
            assert_eq!(Folder::from_key(folder.key()), Some(folder));
        }
    }
}
