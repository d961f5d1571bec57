//! The content of files: hashed by blocks, copied whole, or patched where it differs.
//!
//! A content's hash is plain BLAKE3. That of a large file is put together from the hashes of its
//! blocks (the subtrees of BLAKE3's own tree), which are kept, so that a later change tells which
//! blocks changed.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root,
    merge_subtrees_root,
};

use crate::crew::Crew;
use crate::fs::{Reader, Writer};
use crate::item::Hash;
use crate::throttle::Throttle;

/// Bytes of a block; a whole subtree of BLAKE3's tree.
pub const BLOCK_BYTES: usize = 256 << 10;
/// Files of at least this size have their blocks' hashes kept.
pub const LARGE_BYTES: u64 = 16 << 20;
/// How much one thread hashes at a time.
const SPAN_BLOCKS: u64 = 16;

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

fn summed(blocks: Blocks, bytes: u64) -> Summed {
    let blocks = (bytes >= LARGE_BYTES).then_some(blocks);
    match &blocks {
        Some(list) => Summed { hash: list.root(bytes), bytes, blocks },
        None => Summed { hash: Hash::default(), bytes, blocks },
    }
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
/// As `pread`.
pub fn sum(from: &dyn Reader, size: u64, control: &Control, crew: Crew) -> io::Result<Summed> {
    if size < LARGE_BYTES {
        return pass(from, size, control, &mut |_, _| Ok(()));
    }
    let count = size.div_ceil(BLOCK_BYTES as u64);
    let spans: Vec<u64> = (0..count).step_by(SPAN_BLOCKS as usize).collect();
    let read = |first: &u64| -> io::Result<(Vec<ChainingValue>, u64)> {
        control.go_on()?;
        let blocks = SPAN_BLOCKS.min(count - first);
        let mut buffer = vec![0; blocks as usize * BLOCK_BYTES];
        let filled = read_full(from, &mut buffer, first * BLOCK_BYTES as u64)?;
        let list = buffer[..filled].chunks(BLOCK_BYTES).zip(*first..);
        Ok((list.map(|(bytes, at)| block_hash(bytes, at)).collect(), filled as u64))
    };
    let lists = crew.map(&spans, read).into_iter().collect::<io::Result<Vec<_>>>()?;
    let bytes: u64 = lists.iter().map(|(_, bytes)| bytes).sum();
    if bytes != size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it changed while it was read"));
    }
    Ok(summed(Blocks(lists.into_iter().flat_map(|(list, _)| list).collect()), size))
}

/// Reads a file from its beginning to its end, and hands each block on.
fn pass(
    from: &dyn Reader,
    size: u64,
    control: &Control,
    each: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<Summed> {
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
        let part = &buffer[..filled];
        each(part, bytes)?;
        if size >= LARGE_BYTES {
            blocks.0.push(block_hash(part, bytes / BLOCK_BYTES as u64));
        } else {
            plain.update(part);
        }
        bytes += filled as u64;
        if filled < buffer.len() {
            break;
        }
    }
    if size >= LARGE_BYTES && bytes == size {
        return Ok(summed(blocks, bytes));
    }
    Ok(Summed { hash: plain.finalize().into(), bytes, blocks: None })
}

/// Copies a file whose size is known.
///
/// # Errors
/// As `pread`, `pwrite`.
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
/// # Errors
/// `Unsupported` where the target cannot copy by itself; nothing is written then. As `pread`,
/// `pwrite`.
pub fn patch(
    (from, known): (&dyn Reader, Option<&Summed>),
    old: (&dyn Reader, &Blocks),
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
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut travelled = 0;
    for number in differing {
        control.go_on()?;
        let offset = number * BLOCK_BYTES as u64;
        let filled = read_full(from, &mut buffer, offset)?;
        let part = &buffer[..filled];
        if blocks.0.get(number as usize) != Some(&block_hash(part, number)) {
            let error = "it changed while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
        }
        to.write_at(part, offset)?;
        travelled += filled as u64;
        control.bytes.fetch_add(filled as u64, Ordering::Relaxed);
        throttle.spend(filled as u64, &control.cancel);
    }
    Ok((new, travelled))
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
        let file = Bytes(vec![1; LARGE_BYTES as usize]);
        for expected in [0, 10, LARGE_BYTES - 1] {
            let found = sum(&file, expected, &Control::default(), Crew::Alone).unwrap();
            assert_ne!(found.bytes, expected);
        }
        sum(&file, LARGE_BYTES + 1, &Control::default(), Crew::All).unwrap_err();
    }
}
