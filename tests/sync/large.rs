//! Large files: only the blocks that changed travel, and the file is replaced all the same.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::io::Read as _;

use harness::{Pairing, Side};

const BLOCK: usize = 256 << 10;
const LARGE: usize = 16 << 20;
const BOTH: [Side; 2] = [Side::Local, Side::Remote];

fn other(side: Side) -> Side {
    if side == Side::Local { Side::Remote } else { Side::Local }
}

/// Bytes in which no two blocks are alike.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Both sides agree on a large file.
fn scene(length: usize) -> (Pairing, Vec<u8>) {
    let it = Pairing::new();
    let content = bytes(length, 1);
    it.write(Side::Local, "big", &content);
    it.run();
    it.assert_equal();
    (it, content)
}

#[test]
fn a_change_of_a_few_bytes_travels_as_one_block() {
    for side in BOTH {
        for length in [LARGE, LARGE + 1, LARGE + 5 * BLOCK + 77] {
            let (it, mut content) = scene(length);
            content[LARGE / 2..LARGE / 2 + 4_096].fill(7);
            it.write(side, "big", &content);
            let mut old = fs::File::open(it.at(other(side), "big")).unwrap();
            let report = it.run();
            assert_eq!(report.bytes_in + report.bytes_out, BLOCK as u64, "{side} {length}");
            it.assert_equal();
            let mut still = Vec::new();
            old.read_to_end(&mut still).unwrap();
            assert_eq!(blake3::hash(&still), blake3::hash(&bytes(length, 1)), "{side} {length}");
            it.assert_idle();
        }
    }
}

#[test]
fn the_last_and_the_first_block_may_change() {
    let (it, mut content) = scene(LARGE + 100);
    *content.first_mut().unwrap() ^= 1;
    *content.last_mut().unwrap() ^= 1;
    it.write(Side::Local, "big", &content);
    assert_eq!(it.run().bytes_out, BLOCK as u64 + 100);
    it.assert_equal();
}

#[test]
fn of_a_file_that_grew_only_the_new_end_travels() {
    for side in BOTH {
        let (it, mut content) = scene(LARGE + 100);
        content.extend_from_slice(&bytes(BLOCK, 3));
        it.write(side, "big", &content);
        let report = it.run();
        assert_eq!(report.bytes_in + report.bytes_out, 100 + BLOCK as u64, "{side}");
        it.assert_equal();
        it.assert_idle();
    }
}

#[test]
fn what_changed_all_over_or_shrank_travels_whole() {
    for length in [LARGE, LARGE - 1, LARGE + BLOCK, 10] {
        let (it, _) = scene(LARGE);
        it.write(Side::Local, "big", bytes(length, 2));
        assert_eq!(it.run().bytes_out, length as u64);
        it.assert_equal();
        it.assert_idle();
    }
}

#[test]
fn a_second_change_is_told_from_the_first() {
    let (it, mut content) = scene(LARGE);
    for (round, side) in [Side::Local, Side::Remote, Side::Local].into_iter().enumerate() {
        content[round * BLOCK..][..10].fill(9);
        it.write(side, "big", &content);
        let report = it.run();
        assert_eq!(report.bytes_in + report.bytes_out, BLOCK as u64);
        it.assert_equal();
    }
}

#[test]
fn two_changes_are_a_conflict_and_neither_is_lost() {
    let (it, content) = scene(LARGE);
    let mut versions = [content.clone(), content];
    for (side, version) in BOTH.into_iter().zip(&mut versions) {
        version[if side == Side::Local { 0 } else { BLOCK }] ^= 1;
        it.write(side, "big", &version);
    }
    it.run();
    assert_eq!(it.conflicts().len(), 1);
    for (side, version) in BOTH.into_iter().zip(&versions) {
        assert!(fs::read(it.at(side, "big")).unwrap() == *version);
    }
}

#[test]
fn the_base_of_a_share_with_poor_stamps_is_read_before_it_is_patched() {
    let mut it = Pairing::new();
    it.doubted = true;
    let content = bytes(LARGE, 1);
    it.write(Side::Local, "big", &content);
    it.run();
    let there = it.at(Side::Remote, "big");
    let time = fs::metadata(&there).unwrap().modified().unwrap();
    let mut hidden = content.clone();
    hidden[3 * BLOCK] ^= 1;
    fs::write(&there, &hidden).unwrap();
    harness::set_mtime(&there, time);
    let mut mine = content;
    mine[0] ^= 1;
    it.write(Side::Local, "big", &mine);
    it.run();
    assert!(fs::read(&there).unwrap() == hidden, "somebody's change is lost");
    it.run();
    assert_eq!(it.conflicts().len(), 1);
}
