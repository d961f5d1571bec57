//! Reads where a Windows shortcut (`.lnk`) leads, from its bytes alone.
//!
//! The format is that of MS-SHLLINK, sections 2.1 to 2.4: a header, a list of shell items (skipped),
//! where the target was (`LinkInfo`), and strings. Only two things are taken from it: the target
//! relative to the shortcut's folder, and its network path. What follows the strings is not read.
//!
//! Shortcuts come from a share, so from anybody: every length and offset is checked before it is
//! used, nothing is reserved by a length that the file claims, and no byte can make this fail other
//! than with an error. The crates that read shortcuts do not hold to that, see ARCHITECTURE.md.
//!
//! Strings that are not Unicode are in the code page of the computer that wrote them, which the file
//! does not name. Only ASCII is the same in all of them; anything else is taken for unknown.

/// The largest file that is taken for a shortcut, in bytes; Windows writes a few thousand.
pub const SHORTCUT_BYTES_MAX: u64 = 1 << 20;
/// The ending of a shortcut's name, which counts in any case.
const ENDING: &str = ".lnk";
/// The size of the header, which it also begins with (2.1 `HeaderSize`).
const HEADER_BYTES: usize = 0x4C;
/// What says that it is a shortcut (2.1 `LinkCLSID`, 00021401-0000-0000-C000-000000000046).
const CLASS: [u8; 16] = [1, 0x14, 2, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46];
/// The smallest `LinkInfoHeaderSize` of a `LinkInfo` with Unicode strings (2.3).
const WITH_UNICODE_INFO: usize = 0x24;
/// A `NetNameOffset` above this says that there are Unicode strings (2.3.2).
const WITHOUT_UNICODE_NET: usize = 0x14;

/// Bits of `LinkFlags` (2.1.1).
mod flag {
    pub const HAS_ID_LIST: u32 = 1;
    pub const HAS_LINK_INFO: u32 = 1 << 1;
    pub const HAS_NAME: u32 = 1 << 2;
    pub const HAS_RELATIVE_PATH: u32 = 1 << 3;
    pub const IS_UNICODE: u32 = 1 << 7;
    pub const FORCE_NO_LINK_INFO: u32 = 1 << 8;
}

/// The bit of `LinkInfoFlags` for a target on the network (2.3).
const ON_THE_NETWORK: u32 = 1 << 1;

/// Where a shortcut leads, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortcut {
    /// The target relative to the shortcut's folder, with `\` (2.4 `RELATIVE_PATH`).
    pub relative: Option<String>,
    /// The target's network path, such as `\\srv\share\folder\file` (2.3 `CommonNetworkRelativeLink`
    /// and `CommonPathSuffix`).
    pub network: Option<String>,
}

/// Why bytes are no shortcut that can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShortcutError {
    /// It does not begin as shortcuts do.
    #[error("it does not begin as a shortcut does")]
    NoShortcut,
    /// It ends early, or a length or offset in it leads out of it.
    #[error("its {part} leads out of it")]
    Short {
        /// Which part, as MS-SHLLINK names it.
        part: &'static str,
    },
    /// A Unicode string in it is none.
    #[error("its {part} is no text")]
    Text {
        /// Which part, as MS-SHLLINK names it.
        part: &'static str,
    },
}

/// Whether a name is that of a shortcut.
#[must_use]
pub fn is_shortcut(name: &str) -> bool {
    let start = name.len().saturating_sub(ENDING.len());
    name.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(ENDING))
}

/// Reads a shortcut.
///
/// # Errors
/// [`ShortcutError`] says which part is damaged; nothing of the file is used then.
pub fn read(bytes: &[u8]) -> Result<Shortcut, ShortcutError> {
    let header = Part { name: "ShellLinkHeader", bytes };
    let is_header = bytes.len() >= HEADER_BYTES
        && header.u32(0)? as usize == HEADER_BYTES
        && bytes[4..20] == CLASS;
    if !is_header {
        return Err(ShortcutError::NoShortcut);
    }
    let flags = header.u32(20)?;
    let has = |flag: u32| flags & flag != 0;
    let mut rest = &bytes[HEADER_BYTES..];
    if has(flag::HAS_ID_LIST) {
        let list = Part { name: "LinkTargetIDList", bytes: rest };
        rest = list.from(2 + usize::from(list.u16(0)?))?;
    }
    let mut shortcut = Shortcut::default();
    if has(flag::HAS_LINK_INFO) {
        let info = Part { name: "LinkInfo", bytes: rest };
        let size = info.u32(0)? as usize;
        rest = info.from(size)?;
        if !has(flag::FORCE_NO_LINK_INFO) {
            shortcut.network = network(Part { bytes: info.to(size)?, ..info })?;
        }
    }
    let is_unicode = has(flag::IS_UNICODE);
    if has(flag::HAS_NAME) {
        (_, rest) = counted(Part { name: "NAME_STRING", bytes: rest }, is_unicode)?;
    }
    if has(flag::HAS_RELATIVE_PATH) {
        let part = Part { name: "RELATIVE_PATH", bytes: rest };
        let (text, _) = counted(part, is_unicode)?;
        shortcut.relative = if is_unicode { Some(part.unicode(text)?) } else { ascii(text) };
    }
    Ok(shortcut)
}

/// The network path of a `LinkInfo` (2.3), if it has one.
fn network(info: Part<'_>) -> Result<Option<String>, ShortcutError> {
    let header_size = info.u32(4)? as usize;
    if info.u32(8)? & ON_THE_NETWORK == 0 {
        return Ok(None);
    }
    let link =
        Part { name: "CommonNetworkRelativeLink", bytes: info.from(info.u32(20)? as usize)? };
    let link = Part { bytes: link.to(link.u32(0)? as usize)?, ..link };
    let net_name = link.u32(8)? as usize;
    let share = match net_name > WITHOUT_UNICODE_NET {
        true => Some(link.unicode_at(link.u32(20)? as usize)?),
        false => ascii(link.until_null(net_name)?),
    };
    let suffix = match header_size >= WITH_UNICODE_INFO {
        true => Some(info.unicode_at(info.u32(32)? as usize)?),
        false => ascii(info.until_null(info.u32(24)? as usize)?),
    };
    let (Some(share), Some(suffix)) = (share, suffix) else { return Ok(None) };
    let (share, suffix) = (share.trim_end_matches('\\'), suffix.trim_matches('\\'));
    Ok(match (share, suffix) {
        ("", _) => None,
        (share, "") => Some(share.to_owned()),
        (share, suffix) => Some(format!(r"{share}\{suffix}")),
    })
}

/// The bytes of a string that says how many characters it has (2.4), and what follows it.
fn counted(part: Part<'_>, is_unicode: bool) -> Result<(&[u8], &[u8]), ShortcutError> {
    let characters = usize::from(part.u16(0)?);
    let end = 2 + if is_unicode { 2 * characters } else { characters };
    Ok((&part.to(end)?[2..], part.from(end)?))
}

/// A string in an unknown code page; `None` where that makes a difference.
fn ascii(bytes: &[u8]) -> Option<String> {
    bytes.is_ascii().then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Some bytes of a shortcut, and what they are. Offsets count from their start.
#[derive(Clone, Copy)]
struct Part<'a> {
    name: &'static str,
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    fn short(&self) -> ShortcutError {
        ShortcutError::Short { part: self.name }
    }

    fn from(&self, at: usize) -> Result<&'a [u8], ShortcutError> {
        self.bytes.get(at..).ok_or(self.short())
    }

    fn to(&self, end: usize) -> Result<&'a [u8], ShortcutError> {
        self.bytes.get(..end).ok_or(self.short())
    }

    fn u16(&self, at: usize) -> Result<u16, ShortcutError> {
        let bytes = self.from(at)?.first_chunk();
        bytes.map(|bytes| u16::from_le_bytes(*bytes)).ok_or(self.short())
    }

    fn u32(&self, at: usize) -> Result<u32, ShortcutError> {
        let bytes = self.from(at)?.first_chunk();
        bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or(self.short())
    }

    /// The bytes up to a null, which must be there.
    fn until_null(&self, at: usize) -> Result<&'a [u8], ShortcutError> {
        let bytes = self.from(at)?;
        let end = bytes.iter().position(|byte| *byte == 0).ok_or(self.short())?;
        Ok(&bytes[..end])
    }

    /// The Unicode string up to a null, which must be there.
    fn unicode_at(&self, at: usize) -> Result<String, ShortcutError> {
        let bytes = self.from(at)?;
        let (units, _) = bytes.as_chunks::<2>();
        let end = units.iter().position(|unit| *unit == [0; 2]).ok_or(self.short())?;
        self.unicode(&bytes[..2 * end])
    }

    fn unicode(&self, bytes: &[u8]) -> Result<String, ShortcutError> {
        let (units, _) = bytes.as_chunks();
        let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        String::from_utf16(&units).map_err(|_| ShortcutError::Text { part: self.name })
    }
}
