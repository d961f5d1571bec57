//! Windows shortcuts: what is read from them, that no damage does harm, and what they pin.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use harness::{Pairing, Side};
use homeport_sync::pins::USER;
use homeport_sync::shortcut::{SHORTCUT_BYTES_MAX, Shortcut, ShortcutError, is_shortcut, read};

/// A shortcut to be written byte by byte, as MS-SHLLINK has it.
#[derive(Clone, Default)]
struct Lnk<'a> {
    id_list: Option<&'a [u8]>,
    info: Option<Vec<u8>>,
    name: Option<&'a str>,
    relative: Option<&'a str>,
    working_dir: Option<&'a str>,
    ansi: bool,
    ignores_info: bool,
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn counted(text: &str, ansi: bool) -> Vec<u8> {
    let bytes = if ansi { text.as_bytes().to_vec() } else { wide(text) };
    let count = if ansi { bytes.len() } else { bytes.len() / 2 } as u16;
    [&count.to_le_bytes()[..], &bytes].concat()
}

fn words(words: &[usize]) -> Vec<u8> {
    words.iter().flat_map(|word| (*word as u32).to_le_bytes()).collect()
}

impl Lnk<'_> {
    fn bytes(&self) -> Vec<u8> {
        let Lnk { id_list, info, name, relative, working_dir, ansi, ignores_info } = self;
        let bits = [
            id_list.is_some(),
            info.is_some(),
            name.is_some(),
            relative.is_some(),
            working_dir.is_some(),
            false,
            false,
            !ansi,
            *ignores_info,
        ];
        let flags = bits.iter().enumerate().fold(0, |all, (at, bit)| all | u32::from(*bit) << at);
        let mut out = vec![0x4C, 0, 0, 0];
        out.extend([1, 0x14, 2, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46]);
        out.extend(flags.to_le_bytes());
        out.resize(0x4C, 0);
        if let Some(list) = id_list {
            out.extend((list.len() as u16).to_le_bytes());
            out.extend(*list);
        }
        out.extend(info.iter().flatten());
        let strings = [name, relative, working_dir];
        out.extend(strings.iter().filter_map(|text| **text).flat_map(|text| counted(text, *ansi)));
        out.extend([0; 4]); // no extra data
        out
    }
}

/// A `CommonNetworkRelativeLink`, with its name as ANSI alone or as Unicode too.
fn network_link(share: &[u8], unicode: Option<&str>) -> Vec<u8> {
    let header = if unicode.is_some() { 0x1C } else { 0x14 };
    let wide = unicode.map(|text| [wide(text), vec![0, 0]].concat()).unwrap_or_default();
    let size = header + share.len() + 1 + wide.len();
    let mut out = words(&[size, 2, header, 0, 0x0002_0000]);
    if unicode.is_some() {
        out.extend(words(&[header + share.len() + 1, 0]));
    }
    [&out[..], share, &[0], &wide].concat()
}

/// A `LinkInfo` of a target on the network.
fn info(link: &[u8], suffix: &[u8], unicode: Option<&str>) -> Vec<u8> {
    let header = if unicode.is_some() { 0x24 } else { 0x1C };
    let wide = unicode.map(|text| [wide(text), vec![0, 0]].concat()).unwrap_or_default();
    let after = header + link.len();
    let size = after + suffix.len() + 1 + wide.len();
    let mut out = words(&[size, header, 2, 0, 0, header, after]);
    if unicode.is_some() {
        out.extend(words(&[0, after + suffix.len() + 1]));
    }
    [&out[..], link, suffix, &[0], &wide].concat()
}

/// A `LinkInfo` of a target on a disk.
fn disk_info() -> Vec<u8> {
    let (volume, path) = (words(&[0x11, 3, 7, 0x10, 0]), b"C:\\x\0\0");
    let size = 0x1C + volume.len() + path.len();
    let base = 0x1C + volume.len();
    [&words(&[size, 0x1C, 1, 0x1C, base, 0, size - 1])[..], &volume, path].concat()
}

fn plain_info() -> Vec<u8> {
    info(&network_link(br"\\srv\share", None), br"dir\file.txt", None)
}

fn found(relative: Option<&str>, network: Option<&str>) -> Result<Shortcut, ShortcutError> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Ok(Shortcut { relative: owned(relative), network: owned(network) })
}

/// Everything at once, as Windows writes it.
fn full() -> Lnk<'static> {
    let link = network_link(b"\\\\srv\\sch\xFCler", Some(r"\\srv\schüler"));
    Lnk {
        id_list: Some(&[3, 0, 9, 0, 0]),
        info: Some(info(&link, b"d\xFCr\\f.txt", Some(r"dür\f.txt"))),
        name: Some("a comment"),
        relative: Some(r"..\dür\f.txt"),
        working_dir: Some(r"\\srv\schüler"),
        ..Lnk::default()
    }
}

#[test]
fn a_shortcut_says_where_it_leads() {
    let relative = || Lnk { relative: Some(r".\f.txt"), ..Lnk::default() };
    let ansi = |text| Lnk { relative: Some(text), ansi: true, ..Lnk::default() };
    let network = |info| Lnk { info: Some(info), ..Lnk::default() };
    let link = network_link(br"\\srv\share", None);
    let strange = network_link(b"\\\\srv\\sch\xFCler", None);
    let path = Some(r"\\srv\share\dir\file.txt");
    for (name, lnk, expected) in [
        ("nothing", Lnk::default(), found(None, None)),
        ("a relative path", relative(), found(Some(r".\f.txt"), None)),
        ("after a comment", Lnk { name: Some("x"), ..relative() }, found(Some(r".\f.txt"), None)),
        ("in ASCII", ansi(r"a\b"), found(Some(r"a\b"), None)),
        ("in a code page", ansi("ü"), found(None, None)),
        (
            "after a list",
            Lnk { id_list: Some(&[0; 9]), ..relative() },
            found(Some(r".\f.txt"), None),
        ),
        ("on a disk", network(disk_info()), found(None, None)),
        ("on the network", network(plain_info()), found(None, path)),
        ("a share itself", network(info(&link, b"", None)), found(None, Some(r"\\srv\share"))),
        (
            "a share of backslashes",
            network(info(&network_link(br"\\", None), b"f", None)),
            found(None, None),
        ),
        ("a share in a code page", network(info(&strange, b"f", None)), found(None, None)),
        ("a suffix in a code page", network(info(&link, b"\xFC", None)), found(None, None)),
        (
            "a suffix in both",
            network(info(&link, b"\xFC", Some("ü"))),
            found(None, Some(r"\\srv\share\ü")),
        ),
        (
            "information to be ignored",
            Lnk { info: Some(plain_info()), ignores_info: true, ..relative() },
            found(Some(r".\f.txt"), None),
        ),
        ("all", full(), found(Some(r"..\dür\f.txt"), Some(r"\\srv\schüler\dür\f.txt"))),
    ] {
        assert_eq!(read(&lnk.bytes()), expected, "{name}");
    }
}

#[test]
fn only_the_ending_makes_a_shortcut() {
    for name in ["a.lnk", "A.LNK", ".Lnk", "ü.lnk"] {
        assert!(is_shortcut(name), "{name}");
    }
    for name in ["", "lnk", "a.lnk2", "a.url", "alnk", "ü"] {
        assert!(!is_shortcut(name), "{name}");
    }
}

#[test]
fn what_is_cut_off_anywhere_is_an_error_and_no_other_path() {
    let lnk = Lnk { working_dir: None, ..full() };
    let (bytes, whole) = (lnk.bytes(), read(&lnk.bytes()).unwrap());
    let end = bytes.len() - 4; // what follows the relative path is not read
    for at in 0..end {
        let error = read(&bytes[..at]).unwrap_err();
        assert_eq!(error == ShortcutError::NoShortcut, at < 0x4C, "{at}: {error}");
    }
    assert_eq!(read(&bytes[..end]).as_ref(), Ok(&whole));
}

#[test]
fn no_byte_and_no_length_does_harm() {
    let bytes = full().bytes();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x14, 0x7F, 0x80, 0xFF, bytes[at].wrapping_add(1)] {
            let mut changed = bytes.clone();
            changed[at] = value;
            let _ = read(&changed);
        }
        for length in [1, 4, 0x13, 0x14, 0x15, u32::MAX - 1, u32::MAX] {
            let mut changed = bytes.clone();
            let size = changed.len().min(at + 4) - at;
            changed[at..at + size].copy_from_slice(&length.to_le_bytes()[..size]);
            let _ = read(&changed);
        }
    }
}

#[test]
fn what_is_damaged_is_named() {
    let with = |info: Vec<u8>| read(&Lnk { info: Some(info), ..Lnk::default() }.bytes());
    let short = |part| Err(ShortcutError::Short { part });
    let mut other = full().bytes();
    other[4] = 2;
    assert_eq!(read(&other), Err(ShortcutError::NoShortcut));
    assert_eq!(with(words(&[0, 0, 0])), short("LinkInfo"));
    assert_eq!(with(words(&[u32::MAX as usize; 9])), short("LinkInfo"));
    let link = network_link(br"\\srv\share", None);
    let endless = info(&link, b"f", None);
    let mut cut = endless.clone();
    cut[0] -= 1; // without the null of the suffix
    assert_eq!(with(cut), short("LinkInfo"));
    let mut cut = endless;
    cut[0x1C] -= 1; // without the null of the share
    assert_eq!(with(cut), short("CommonNetworkRelativeLink"));
    let mut broken = Lnk { relative: Some("x"), ..Lnk::default() }.bytes();
    broken[0x4E..0x50].copy_from_slice(&[0x00, 0xD8]); // half a character
    assert_eq!(read(&broken), Err(ShortcutError::Text { part: "RELATIVE_PATH" }));
}

fn relative_to(path: &str) -> Vec<u8> {
    Lnk { relative: Some(path), ..Lnk::default() }.bytes()
}

/// What is pinned after a run in which files came in new below the pinned folder `d`.
fn pinned(it: &mut Pairing, new: &[(&str, Vec<u8>)]) -> Vec<String> {
    it.journal().pin("d", USER).unwrap();
    (it.options.pin_new, it.options.pin_link_targets) = (USER, true);
    for (path, bytes) in new {
        it.write(Side::Remote, path, bytes);
    }
    it.run();
    let pins = it.journal().pins().unwrap().into_iter().map(|(path, _)| path);
    pins.filter(|path| path != "d" && !new.iter().any(|(new, _)| new == path)).collect()
}

#[test]
fn the_file_that_a_new_shortcut_leads_to_is_pinned() {
    let mut it = Pairing::in_step(&[
        ("d/f", "f"),
        ("other/target", "t"),
        ("other/dir/x", "x"),
        ("Other Case/Tärget.TXT", "t"),
        ("twins/a", "a"),
        ("twins/A", "A"),
    ]);
    let large = [relative_to(r"..\other\dir\x"), vec![0; SHORTCUT_BYTES_MAX as usize]].concat();
    let leads_to = pinned(
        &mut it,
        &[
            ("d/file.lnk", relative_to(r"..\other\target")),
            ("d/case.LNK", relative_to(r".\..\other case\TÄRGET.txt")),
            ("d/exact.lnk", relative_to(r"..\twins\a")),
            ("d/folder.lnk", relative_to(r"..\other\dir")),
            ("d/root.lnk", relative_to(r"..")),
            ("d/outside.lnk", relative_to(r"..\..\other\target")),
            ("d/absolute.lnk", relative_to(r"\other\dir\x")),
            ("d/nowhere.lnk", relative_to(r"..\other\nothing")),
            ("d/below a file.lnk", relative_to(r"..\other\dir\x\y")),
            ("d/large.lnk", large),
            ("d/damaged.lnk", relative_to(r"..\other\dir\x")[..0x50].to_vec()),
            ("d/empty.lnk", Vec::new()),
            ("d/no shortcut.txt", relative_to(r"..\other\dir\x")),
            ("other/not pinned.lnk", relative_to(r"dir\x")),
        ],
    );
    assert_eq!(leads_to, ["Other Case/Tärget.TXT", "other/target", "twins/a"]);
}

#[test]
fn a_network_path_below_the_share_is_followed_where_the_relative_one_leads_nowhere() {
    let mut it = Pairing::in_step(&[("Dir/File.txt", "f"), ("d/f", "f"), ("other/x", "x")]);
    it.options.root_unc = Some(r"\\SRV\share".to_owned());
    let network = |share: &[u8], suffix: &[u8], relative| {
        let info = Some(info(&network_link(share, None), suffix, None));
        Lnk { info, relative, ..Lnk::default() }.bytes()
    };
    let leads_to = pinned(
        &mut it,
        &[
            ("d/case.lnk", network(br"\\srv\share", br"dir\file.txt", None)),
            ("d/stale.lnk", network(br"\\srv\share", br"other\x", Some(r".\gone"))),
            ("d/elsewhere.lnk", network(br"\\srv\other", br"d\f", None)),
            ("d/folder.lnk", network(br"\\srv\share", b"Dir", None)),
            ("d/root.lnk", network(br"\\srv\share", b"", None)),
        ],
    );
    assert_eq!(leads_to, ["Dir/File.txt", "other/x"]);
}

#[test]
fn a_shortcut_pins_a_file_that_came_in_with_it_and_nothing_unless_that_is_asked_for() {
    let new = [("d/a.lnk", relative_to(r"..\e\new")), ("e/new", b"new".to_vec())];
    let mut it = Pairing::in_step(&[("d/f", "f"), ("e/f", "f")]);
    pinned(&mut it, &new);
    assert!(it.journal().pins().unwrap().contains(&("e/new".to_owned(), USER)));
    let it = Pairing::in_step(&[("d/f", "f"), ("e/f", "f")]);
    it.journal().pin("d", USER).unwrap();
    for (path, bytes) in &new {
        it.write(Side::Remote, path, bytes);
    }
    let options = homeport_sync::Options { pin_new: USER, ..it.options.clone() };
    it.try_run(&options).unwrap();
    let pins: Vec<_> = it.journal().pins().unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(pins, ["d", "d/a.lnk"]);
}
