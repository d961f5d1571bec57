//! What the engine knows of a file, folder or link: its kind, its content and its stamps.

/// The content hash of a file (BLAKE3).
pub type Hash = [u8; 32];

/// What stands under a name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link; its text is its content, and it is never followed.
    Link,
}

/// What tells one state of a file from the next without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since 1970; 0 where it cannot be relied on (shares).
    pub ctime_ns: i64,
    /// File number; where there is no change time it is a hint, not a proof.
    pub inode: u64,
}

impl Stamp {
    /// Whether nothing shows that the file changed in between. A change time of 0 says that the
    /// side's change times and file numbers prove nothing; then size and time must do.
    #[must_use]
    pub fn agrees(self, other: Self) -> bool {
        let rough = self.ctime_ns == 0 || other.ctime_ns == 0;
        self.size == other.size
            && self.mtime_ns == other.mtime_ns
            && (rough || (self.ctime_ns == other.ctime_ns && self.inode == other.inode))
    }

    /// Whether another look shows more than this one did.
    #[must_use]
    pub fn lacks(self, other: Self) -> bool {
        self.ctime_ns == 0 && other.ctime_ns != 0
    }

    /// As [`Stamp::agrees`], but for the change time, which a new name sets.
    #[must_use]
    pub fn agrees_but_for_name(self, other: Self) -> bool {
        let rough = self.ctime_ns == 0 || other.ctime_ns == 0;
        self.size == other.size
            && self.mtime_ns == other.mtime_ns
            && (rough || self.inode == other.inode)
    }
}

/// One entry as a scan saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its stamp.
    pub stamp: Stamp,
    /// Permission bits.
    pub mode: u32,
    /// It has another name besides; what is written there is written here.
    pub shared: bool,
    /// The text of a link.
    pub link: Option<Box<str>>,
}

impl Entry {
    /// Whether another look found the same thing, maybe under another name.
    #[must_use]
    pub fn is_still(&self, found: &Self) -> bool {
        self.kind == found.kind
            && (self.kind == Kind::Dir || self.stamp.agrees_but_for_name(found.stamp))
            && self.link == found.link
    }
}

/// The content of an entry, as far as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A folder has none of its own.
    Dir,
    /// A file, by its hash.
    File(Hash),
    /// A link, by its text.
    Link(Box<str>),
    /// Not read, because nothing depends on it. Equal to nothing, not even to itself.
    Unread(Kind),
}

impl Content {
    /// The kind of entry that has this content.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Dir => Kind::Dir,
            Self::File(_) => Kind::File,
            Self::Link(_) => Kind::Link,
            Self::Unread(kind) => *kind,
        }
    }

    /// Whether two contents are known to be the same.
    pub fn same(&self, other: &Self) -> bool {
        !matches!(self, Self::Unread(_)) && self == other
    }
}

/// What both sides last agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The content.
    pub content: Content,
    /// The stamp on this computer.
    pub here: Stamp,
    /// The stamp on the share.
    pub there: Stamp,
    /// When it was recorded, nanoseconds since 1970.
    pub recorded_ns: i64,
    /// It is known here and stored on the share alone; its absence here is no deletion.
    pub sparse: bool,
}

impl Base {
    /// A folder of which nothing else is known.
    pub(crate) fn folder() -> Self {
        let (here, there) = (Stamp::default(), Stamp::default());
        Self { content: Content::Dir, here, there, recorded_ns: 0, sparse: false }
    }
}
