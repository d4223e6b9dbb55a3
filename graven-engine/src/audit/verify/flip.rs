//! Which byte a checksum says was changed: CRC-32C is linear, so the difference between the checksum that is stored and
//! the one of the bytes depends only on what was changed and how far from the end.

const TABLE: [u32; 256] = table();
/// Which entry of the table has this top byte; each top byte stands there once.
const BY_TOP: [u8; 256] = by_top();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

const fn by_top() -> [u8; 256] {
    let mut by_top = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        by_top[(TABLE[byte] >> 24) as usize] = byte as u8;
        byte += 1;
    }
    by_top
}

/// Every change of a single byte in a message of this length that explains the difference between two checksums of it:
/// the byte's offset, and what its value was changed by. One bit comes before several. One step a byte.
pub(super) fn changed_bytes(length: usize, stored: u32, computed: u32) -> Vec<(usize, u8)> {
    let mut state = stored ^ computed;
    let mut found = Vec::new();
    if state == 0 {
        return found;
    }
    for offset in (0..length).rev() {
        let last = BY_TOP[(state >> 24) as usize];
        state = (state ^ TABLE[usize::from(last)]) << 8 | u32::from(last);
        if state < 256 {
            found.push((offset, state as u8));
        }
    }
    found.sort_by_key(|(_, change)| change.count_ones());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_changed_byte_is_found(bytes in prop::collection::vec(any::<u8>(), 1..600), at: prop::sample::Index, change in 1u8..) {
            let stored = crc32c::crc32c(&bytes);
            let mut changed = bytes;
            let at = at.index(changed.len());
            changed[at] ^= change;
            let found = changed_bytes(changed.len(), stored, crc32c::crc32c(&changed));
            prop_assert!(found.contains(&(at, change)));
            if change.is_power_of_two() {
                prop_assert_eq!(found[0], (at, change), "no other single bit explains it");
            }
            for (at, change) in found {
                let mut put_back = changed.clone();
                put_back[at] ^= change;
                prop_assert_eq!(crc32c::crc32c(&put_back), stored);
            }
        }
    }

    #[test]
    fn no_difference_is_no_change() {
        assert!(changed_bytes(100, 7, 7).is_empty());
        assert!(changed_bytes(0, 7, 8).is_empty());
    }
}
