//! The content of files: hashed by blocks, copied whole, or patched where it differs.
//!
//! A content's hash is plain BLAKE3. That of a large file is put together from the hashes of its
//! blocks (the subtrees of BLAKE3's own tree), which are kept, so that a later change tells which
//! blocks changed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root,
    merge_subtrees_root,
};

use crate::crew::Crew;
use crate::fs::{Reader, Toll, Writer};
use crate::item::Hash;
use crate::throttle::Throttle;

/// Bytes of a block; a whole subtree of BLAKE3's tree.
pub const BLOCK_BYTES: usize = 256 << 10;
/// Files of at least this size have their blocks' hashes kept.
pub const LARGE_BYTES: u64 = 16 << 20;
/// Files of at most this size have their blocks' hashes kept: 128 MiB of them at most.
pub const LISTED_BYTES_MAX: u64 = 1 << 40;
/// The largest file that is read. A hole takes no room on a disk, so a few bytes may claim to be a
/// file that nobody could read in a year.
pub const FILE_BYTES_MAX: u64 = 16 << 40;
/// How much one thread hashes at a time.
const SPAN_BLOCKS: u64 = 16;
/// How many spans are given out to the threads at a time.
const WINDOW_SPANS: u64 = 256;

/// The hashes of a file's blocks, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(Vec<ChainingValue>);

impl Blocks {
    /// From the bytes of the journal; `None` if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (blocks, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Self(blocks.to_vec()))
    }

    /// For the journal.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// The hash of the whole content of this length, which is more than one block.
    fn root(&self, length: u64) -> Hash {
        let left = left_subtree_len(length);
        let (a, b) = self.0.split_at((left / BLOCK_BYTES as u64) as usize);
        let (a, b) = (subtree(a, left), subtree(b, length - left));
        merge_subtrees_root(&a, &b, Mode::Hash).into()
    }

    /// The numbers of the blocks that differ from another version's.
    fn differing<'b>(&'b self, old: &'b Self) -> impl Iterator<Item = u64> + 'b {
        let differs = |at: &usize| old.0.get(*at) != self.0.get(*at);
        (0..self.0.len()).filter(differs).map(|at| at as u64)
    }
}

fn subtree(blocks: &[ChainingValue], length: u64) -> ChainingValue {
    let [block] = blocks else {
        let left = left_subtree_len(length);
        let (a, b) = blocks.split_at((left / BLOCK_BYTES as u64) as usize);
        let (a, b) = (subtree(a, left), subtree(b, length - left));
        return merge_subtrees_non_root(&a, &b, Mode::Hash);
    };
    *block
}

fn block_hash(bytes: &[u8], number: u64) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(number * BLOCK_BYTES as u64);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// A content as it was read.
#[derive(Clone, Debug)]
pub struct Summed {
    /// Its hash.
    pub hash: Hash,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its blocks, if it is large.
    pub blocks: Option<Blocks>,
}

/// Whether the hashes of the blocks of a file of this size are kept.
fn is_listed(size: u64) -> bool {
    (LARGE_BYTES..=LISTED_BYTES_MAX).contains(&size)
}

/// A file was longer or shorter than it should be, or holds something else.
fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it changed while it was read")
}

fn check_size(size: u64) -> io::Result<()> {
    if size <= FILE_BYTES_MAX {
        return Ok(());
    }
    let most = FILE_BYTES_MAX >> 40;
    let error = format!("it is too large: {size} bytes, and {most} TiB is the most that is read");
    Err(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// What a person or a sign-out may want of a copy while it runs.
#[derive(Debug, Default)]
pub struct Control {
    /// Stop as soon as possible.
    pub cancel: AtomicBool,
    /// File bytes written so far.
    pub bytes: AtomicU64,
    /// File bytes that are to be written, as far as is known; 0 before anything is planned.
    pub planned: AtomicU64,
    /// File bytes that crossed to and from the share, where the run counts them.
    pub toll: Arc<Toll>,
}

impl Control {
    fn go_on(&self) -> io::Result<()> {
        match self.cancel.load(Ordering::Relaxed) {
            true => Err(io::Error::other(Cancelled)),
            false => Ok(()),
        }
    }
}

/// A copy was cut short because somebody asked for it.
#[derive(Debug, thiserror::Error)]
#[error("it was cancelled")]
pub struct Cancelled;

/// Fills a buffer as far as there is content.
///
/// # Errors
/// As `pread`.
pub fn read_full(from: &dyn Reader, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Reads a file whose size is known, with all threads if it is large.
///
/// # Errors
/// `InvalidData` for one that is larger than [`FILE_BYTES_MAX`]; `UnexpectedEof` for one that is
/// longer than it should be, or a large one that is shorter; as `pread`.
pub fn sum(from: &dyn Reader, size: u64, control: &Control, crew: Crew) -> io::Result<Summed> {
    if !is_listed(size) {
        return pass(from, size, control, &mut |_, _| Ok(()));
    }
    let count = size.div_ceil(BLOCK_BYTES as u64);
    let read = |first: &u64| -> io::Result<(Vec<ChainingValue>, u64)> {
        control.go_on()?;
        let blocks = SPAN_BLOCKS.min(count - first);
        let mut buffer = vec![0; blocks as usize * BLOCK_BYTES];
        let filled = read_full(from, &mut buffer, first * BLOCK_BYTES as u64)?;
        let list = buffer[..filled].chunks(BLOCK_BYTES).zip(*first..);
        Ok((list.map(|(bytes, at)| block_hash(bytes, at)).collect(), filled as u64))
    };
    let mut blocks = Blocks::default();
    let mut bytes = 0;
    // A window at a time: how much memory it takes is to follow from what was read, not from the
    // size that the file claims to have.
    for window in (0..count).step_by((SPAN_BLOCKS * WINDOW_SPANS) as usize) {
        let end = count.min(window + SPAN_BLOCKS * WINDOW_SPANS);
        let spans: Vec<u64> = (window..end).step_by(SPAN_BLOCKS as usize).collect();
        for list in crew.map(&spans, read) {
            let (list, filled) = list?;
            blocks.0.extend(list);
            bytes += filled;
        }
        if bytes != size.min(end * BLOCK_BYTES as u64) {
            return Err(changed());
        }
    }
    // One byte more than expected shows that it has grown.
    if bytes != size || from.read_at(&mut [0], size)? != 0 {
        return Err(changed());
    }
    Ok(Summed { hash: blocks.root(size), bytes, blocks: Some(blocks) })
}

/// Reads a file from its beginning to its end, and hands each block on.
fn pass(
    from: &dyn Reader,
    size: u64,
    control: &Control,
    each: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<Summed> {
    check_size(size)?;
    // One byte more than expected shows at once that a file has grown.
    let room = usize::try_from(size.saturating_add(1)).unwrap_or(BLOCK_BYTES);
    let mut buffer = vec![0; room.min(BLOCK_BYTES)];
    let mut plain = Hasher::new();
    let mut blocks = Blocks::default();
    let mut bytes = 0;
    loop {
        control.go_on()?;
        let filled = read_full(from, &mut buffer, bytes)?;
        if filled == 0 {
            break;
        }
        // A file that grows as fast as it is read has no end.
        if bytes + filled as u64 > size {
            return Err(changed());
        }
        let part = &buffer[..filled];
        each(part, bytes)?;
        if is_listed(size) {
            blocks.0.push(block_hash(part, bytes / BLOCK_BYTES as u64));
        } else {
            plain.update(part);
        }
        bytes += filled as u64;
        if filled < buffer.len() {
            break;
        }
    }
    match is_listed(size) {
        true if bytes == size => {
            Ok(Summed { hash: blocks.root(size), bytes, blocks: Some(blocks) })
        }
        true => Err(changed()),
        false => Ok(Summed { hash: plain.finalize().into(), bytes, blocks: None }),
    }
}

/// Copies a file whose size is known.
///
/// # Errors
/// As [`sum`]; as `pwrite`.
pub fn copy(
    from: &dyn Reader,
    to: &mut dyn Writer,
    size: u64,
    control: &Control,
    throttle: &Throttle,
) -> io::Result<Summed> {
    pass(from, size, control, &mut |part, at| {
        to.write_at(part, at)?;
        control.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
        throttle.spend(part.len() as u64, &control.cancel);
        Ok(())
    })
}

/// Copies a large file of which the target has an older version with known blocks: the target's
/// version is copied there, and the blocks that differ are written over. Gives the new version and
/// how many bytes travelled. What is known of the new version already is not read again, but for
/// the blocks that travel.
///
/// Where the stamp of the older version does not tell every change (the word after its blocks is
/// whether it does), what came of it is read back and
/// compared: somebody may have written to it. What then differs travels as well.
///
/// # Errors
/// `Unsupported` where the target cannot copy by itself; nothing is written then. `UnexpectedEof`
/// when either file changed meanwhile. As `pread`, `pwrite`.
pub fn patch(
    (from, known): (&dyn Reader, Option<&Summed>),
    old: (&dyn Reader, &Blocks, bool),
    to: &mut dyn Writer,
    size: u64,
    (control, throttle, crew): (&Control, &Throttle, Crew),
) -> io::Result<(Summed, u64)> {
    let new = match known {
        Some(known) => known.clone(),
        None => sum(from, size, control, crew)?,
    };
    let Some(blocks) = &new.blocks else { return Err(io::ErrorKind::Unsupported.into()) };
    let differing: Vec<u64> = blocks.differing(old.1).collect();
    // Where most of it changed, reading it twice gains nothing.
    let gains = differing.len() * 2 <= blocks.0.len();
    if !gains {
        return Err(io::ErrorKind::Unsupported.into());
    }
    to.copy_whole(old.0, true)?;
    let mut travelled = carry(from, blocks, differing, to, (control, throttle))?;
    if to.stamp()?.size != size {
        return Err(changed());
    }
    if old.2 {
        return Ok((new, travelled));
    }
    let assembled = sum(&*to.reader()?, size, control, crew)?;
    if assembled.hash != new.hash {
        let others: Vec<u64> =
            blocks.differing(assembled.blocks.as_ref().unwrap_or(&Blocks::default())).collect();
        travelled += carry(from, blocks, others, to, (control, throttle))?;
    }
    Ok((new, travelled))
}

/// Copies some blocks, each proven to be the one that is listed; gives how many bytes they have.
fn carry(
    from: &dyn Reader,
    blocks: &Blocks,
    numbers: Vec<u64>,
    to: &mut dyn Writer,
    (control, throttle): (&Control, &Throttle),
) -> io::Result<u64> {
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut travelled = 0;
    for number in numbers {
        control.go_on()?;
        let offset = number * BLOCK_BYTES as u64;
        let filled = read_full(from, &mut buffer, offset)?;
        let part = &buffer[..filled];
        if blocks.0.get(number as usize) != Some(&block_hash(part, number)) {
            return Err(changed());
        }
        to.write_at(part, offset)?;
        travelled += filled as u64;
        control.bytes.fetch_add(filled as u64, Ordering::Relaxed);
        throttle.spend(filled as u64, &control.cancel);
    }
    Ok(travelled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::item::Stamp;

    struct Bytes(Vec<u8>);

    impl Reader for Bytes {
        fn stamp(&self) -> io::Result<Stamp> {
            Ok(Stamp::default())
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len()).min(100_000); // short reads
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    #[test]
    fn a_hash_put_together_from_blocks_is_that_of_the_whole() {
        let large = LARGE_BYTES as usize;
        let sizes = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, large - 1];
        let more = [large, large + 1, large + BLOCK_BYTES, large + 37 * BLOCK_BYTES + 12_345];
        for size in sizes.into_iter().chain(more) {
            let bytes: Vec<u8> = (0..size).map(|at| (at / 997) as u8).collect();
            let expected = *blake3::hash(&bytes).as_bytes();
            let file = Bytes(bytes);
            for crew in [Crew::Alone, Crew::All] {
                let found = sum(&file, size as u64, &Control::default(), crew).unwrap();
                assert_eq!((found.hash, found.bytes), (expected, size as u64), "{size}");
                let blocks = found.blocks.map(|blocks| blocks.to_bytes().len());
                let kept = (size >= large).then_some(size.div_ceil(BLOCK_BYTES) * 32);
                assert_eq!(blocks, kept, "{size}");
            }
        }
    }

    #[test]
    fn a_file_that_has_another_length_than_expected_shows_it() {
        let file = Bytes(vec![1; LARGE_BYTES as usize + 1]);
        for expected in [0, 10, BLOCK_BYTES as u64, LARGE_BYTES - 1, LARGE_BYTES] {
            let error = sum(&file, expected, &Control::default(), Crew::Alone).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{expected}");
        }
        sum(&file, LARGE_BYTES + 2, &Control::default(), Crew::All).unwrap_err();
        let short = sum(&Bytes(vec![1; 9]), 10, &Control::default(), Crew::Alone).unwrap();
        assert_eq!(short.bytes, 9);
    }

    /// Grows as fast as it is read, and counts how often it is.
    #[derive(Default)]
    struct Endless(AtomicU64);

    impl Reader for Endless {
        fn stamp(&self) -> io::Result<Stamp> {
            Ok(Stamp::default())
        }

        fn read_at(&self, buffer: &mut [u8], _: u64) -> io::Result<usize> {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) < 1_000, "it is read for ever");
            buffer.fill(0);
            Ok(buffer.len())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    struct Written(Vec<u8>);

    impl Writer for Written {
        fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
            assert_eq!(offset, self.0.len() as u64);
            self.0.extend_from_slice(bytes);
            Ok(())
        }

        fn copy_whole(&mut self, _: &dyn Reader, _: bool) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn reader(&self) -> io::Result<Box<dyn Reader>> {
            Ok(Box::new(Bytes(self.0.clone())))
        }

        fn dress(&mut self, _: u32, _: Option<i64>) -> io::Result<()> {
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn stamp(&self) -> io::Result<Stamp> {
            Ok(Stamp { size: self.0.len() as u64, ..Stamp::default() })
        }
    }

    #[test]
    fn no_more_is_copied_than_a_file_had() {
        for size in [0, 10, 3 * BLOCK_BYTES as u64, LARGE_BYTES + 7] {
            let mut to = Written(Vec::new());
            let (control, throttle) = (Control::default(), Throttle::new(None));
            let error = copy(&Endless::default(), &mut to, size, &control, &throttle).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(to.0.len() as u64 <= size, "{size}");
        }
    }

    #[test]
    fn a_size_that_nobody_could_read_is_an_error() {
        for size in [FILE_BYTES_MAX + 1, 7 << 60, u64::MAX] {
            let error = sum(&Endless::default(), size, &Control::default(), Crew::All).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{size}");
        }
        // Nothing is set aside for what a file only claims to have.
        sum(&Bytes(vec![1]), LISTED_BYTES_MAX, &Control::default(), Crew::Alone).unwrap_err();
    }
}
