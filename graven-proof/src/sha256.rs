//! SHA-256 of short messages without the hasher's buffering, a tenth to a fifth of their time; the compression
//! itself is `sha2`'s.

use crate::Hash;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

const BLOCK: usize = 64;

/// Payloads of the usual size fit; longer messages go through the hasher.
const SHORT_BLOCKS_MAX: usize = 8;

/// SHA-256 of the parts, one after the other.
pub(crate) fn digest_parts<const N: usize>(parts: [&[u8]; N]) -> Hash {
    let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
    if length > SHORT_BLOCKS_MAX * BLOCK - PADDING_MIN {
        return parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into();
    }
    let mut blocks = [[0; BLOCK]; SHORT_BLOCKS_MAX];
    let message = blocks.as_flattened_mut();
    let mut at = 0;
    for part in parts {
        message[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let padded = (length + PADDING_MIN).next_multiple_of(BLOCK);
    message[length] = 0x80;
    message[padded - 8..padded].copy_from_slice(&bits(length));
    digest_blocks(&blocks[..padded / BLOCK])
}

/// SHA-256 of `message`, which is padded where it stands and so of no more use.
pub(crate) fn digest_in_place(message: &mut Vec<u8>) -> Hash {
    let length = message.len();
    message.push(0x80);
    message.resize((length + PADDING_MIN).next_multiple_of(BLOCK) - 8, 0);
    message.extend_from_slice(&bits(length));
    digest_blocks(message.as_chunks().0)
}

/// `SHA-256(0x01 ‖ left ‖ right)`: always 65 bytes, so always these two blocks.
pub(crate) fn digest_node(left: &Hash, right: &Hash) -> Hash {
    let mut blocks = [[0; BLOCK]; 2];
    blocks[0][0] = 1;
    blocks[0][1..33].copy_from_slice(left);
    blocks[0][33..].copy_from_slice(&right[..31]);
    blocks[1][0] = right[31];
    blocks[1][1] = 0x80;
    blocks[1][56..].copy_from_slice(&bits(65));
    digest_blocks(&blocks)
}

/// A one bit, then zeros up to the length in bits (FIPS 180-4, section 5.1.1).
const PADDING_MIN: usize = 9;

fn bits(length: usize) -> [u8; 8] {
    (length as u64 * 8).to_be_bytes()
}

fn digest_blocks(padded: &[[u8; BLOCK]]) -> Hash {
    let mut state = INITIAL;
    compress256(&mut state, padded);
    let mut hash = [0; 32];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_node_hashes_as_the_plain_hasher_does(left: Hash, right: Hash) {
            let plain: Hash = Sha256::digest([&[1][..], &left, &right].concat()).into();
            prop_assert_eq!(digest_node(&left, &right), plain);
        }

        #[test]
        fn parts_hash_as_the_plain_hasher_does(
            first in prop::collection::vec(any::<u8>(), 0..600),
            second in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let plain: Hash = Sha256::digest([&first[..], &second].concat()).into();
            prop_assert_eq!(digest_parts([&first, &second]), plain);
            prop_assert_eq!(digest_in_place(&mut [first, second].concat()), plain);
        }
    }
}
