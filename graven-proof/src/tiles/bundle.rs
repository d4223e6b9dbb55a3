//! Entry bundles: leaves one after the other, each behind its length in 16 bits, big-endian.

use super::TILE_WIDTH;
use thiserror::Error;

/// Why bytes are not the bundle that was asked for. Offsets count from the bundle's first byte.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bytes end within a leaf or its length.
    #[error("the bundle ends at byte {end} within leaf {leaf}")]
    Truncated {
        /// Number of the leaf in the bundle, from 0.
        leaf: usize,
        /// Where the bytes end.
        end: usize,
    },
    /// Another number of leaves than the bundle is wide.
    #[error("expected a bundle of {expected} leaves, found {found}")]
    Width {
        /// Leaves there should be.
        expected: usize,
        /// Leaves there are; one more than the widest bundle stands for anything above.
        found: usize,
    },
    /// A leaf that 16 bits of length cannot carry.
    #[error("leaf {leaf} has {bytes} bytes, at most 65,535 fit into a bundle")]
    LeafTooLong {
        /// Number of the leaf in the bundle, from 0.
        leaf: usize,
        /// Its length.
        bytes: usize,
    },
}

/// Appends the bundle of these leaves to `out`.
///
/// # Errors
/// If there is no leaf, more than 256, or one that is too long; `out` is then as it was.
pub fn encode_bundle<'a>(
    leaves: impl IntoIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), BundleError> {
    let start = out.len();
    let mut count = 0;
    let append = || {
        for leaf in leaves {
            if count == TILE_WIDTH {
                return Err(BundleError::Width { expected: TILE_WIDTH, found: count + 1 });
            }
            let length = u16::try_from(leaf.len())
                .map_err(|_| BundleError::LeafTooLong { leaf: count, bytes: leaf.len() })?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(leaf);
            count += 1;
        }
        if count == 0 { Err(BundleError::Width { expected: 1, found: 0 }) } else { Ok(()) }
    };
    let outcome = append();
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

/// The leaves of a bundle that is `width` leaves wide, borrowed from `bytes`.
///
/// # Errors
/// If the bytes hold more or fewer leaves, or end within one.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let expected = usize::from(width);
    if !(1..=TILE_WIDTH).contains(&expected) {
        return Err(BundleError::Width { expected, found: 0 });
    }
    let mut leaves = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let leaf = leaves.len();
        if leaf == expected {
            return Err(BundleError::Width { expected, found: leaf + 1 });
        }
        let cut = BundleError::Truncated { leaf, end: bytes.len() };
        let (length, after) = rest.split_first_chunk().ok_or_else(|| cut.clone())?;
        let (taken, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(cut)?;
        leaves.push(taken);
        rest = after;
    }
    if leaves.len() != expected {
        return Err(BundleError::Width { expected, found: leaves.len() });
    }
    Ok(leaves)
}
