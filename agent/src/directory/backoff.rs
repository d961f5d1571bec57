//! When a directory that failed is tried again: doubling, capped, and different on every computer.

use std::time::Duration;

/// The first pause.
pub const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// The longest pause. A directory that comes back is noticed within this time.
pub const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The pause after so many failures in a row: between half of the full pause and all of it, so that
/// a fleet that lost its directory at one moment does not come back at one moment, at the cap either.
pub fn pause(failures: u32, seed: u64) -> Duration {
    let doubled = PAUSE_FIRST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    let full = doubled.min(PAUSE_MAX);
    let half = full / 2;
    let share = mix(seed ^ u64::from(failures)) >> 11; // 53 bits: exact as a float
    half + half.mul_f64(share as f64 / (1_u64 << 53) as f64)
}

/// Spreads a number over all bits (splitmix64).
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
