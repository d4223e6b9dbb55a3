//! Blocked Bloom filter: every key sets its bits in one cache line (Putze, Sanders, Singler 2007).
//!
//! The line is chosen by the key's high bits. Keys are written in ascending order, so the filter is written line by
//! line and never held in memory.

/// Bytes of one block.
pub(super) const BLOCK_BYTES: usize = 64;
const BITS_PER_KEY: u64 = 12;
const PROBES: u32 = 6;

/// Blocks a filter for `keys` keys has; at least one.
pub(super) fn blocks(keys: u64) -> u64 {
    (keys * BITS_PER_KEY).div_ceil(BLOCK_BYTES as u64 * 8).max(1)
}

/// Block of a key among `blocks`.
pub(super) fn block_of(key: u64, blocks: u64) -> u64 {
    ((u128::from(key) * u128::from(blocks)) >> 64) as u64
}

/// Sets the bits of a key in its block.
pub(super) fn set(block: &mut [u8; BLOCK_BYTES], key: u64) {
    for bit in bits(key) {
        block[bit / 8] |= 1 << (bit % 8);
    }
}

/// False only if the key was never added. A filter too short for its blocks says true.
pub(super) fn may_contain(filter: &[u8], key: u64) -> bool {
    let blocks = (filter.len() / BLOCK_BYTES) as u64;
    let start = block_of(key, blocks) as usize * BLOCK_BYTES;
    let Some(block) = filter.get(start..start + BLOCK_BYTES) else { return true };
    bits(key).all(|bit| block[bit / 8] & (1 << (bit % 8)) != 0)
}

fn bits(key: u64) -> impl Iterator<Item = usize> {
    let mixed = (key ^ (key >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (0..PROBES).map(move |probe| (mixed >> (64 - 9 * (probe + 1))) as usize & (BLOCK_BYTES * 8 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_keys_are_found_and_few_others() {
        let mut keys: Vec<u64> = (1..=20_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        keys.sort_unstable();
        let count = blocks(keys.len() as u64);
        let mut filter = vec![0u8; count as usize * BLOCK_BYTES];
        for &key in &keys {
            let start = block_of(key, count) as usize * BLOCK_BYTES;
            let block: &mut [u8; BLOCK_BYTES] = (&mut filter[start..start + BLOCK_BYTES]).try_into().unwrap();
            set(block, key);
        }
        assert!(keys.iter().all(|&key| may_contain(&filter, key)));
        let wrong = (1..=20_000u64)
            .map(|i| i.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5555)
            .filter(|&key| may_contain(&filter, key))
            .count();
        assert!(wrong < 400, "{wrong} of 20000 keys that were not added pass");
    }
}
