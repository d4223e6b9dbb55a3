//! C2SP tlog-tiles: the names under which a tree's hashes and leaves are published, and the bundles the leaves come in.
//!
//! Called by whoever serves or reads a log as static files. Fetches nothing itself.

mod bundle;
mod path;

pub use crate::merkle::TILE_WIDTH;
pub use bundle::{BundleError, decode_bundle, encode_bundle};
pub(crate) use path::decimal;
pub use path::{TilePath, TilePathError};

const TILE_BITS: u32 = TILE_WIDTH.trailing_zeros();

/// Levels of tiles that 64 bits of size can need.
pub const TILE_LEVELS: u8 = (u64::BITS / TILE_BITS) as u8;

/// A run of neighbouring hashes of one level, beginning at a multiple of [`TILE_WIDTH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    /// 0 for the leaf hashes; each hash one level up is the root over a full tile.
    pub level: u8,
    /// Number of the tile in its level, from 0.
    pub index: u64,
    /// Hashes in it, 1 to 256.
    pub width: u16,
}

impl Tile {
    /// The tile at this place as a tree of `size` leaves has it: full, or partial at the right edge; `None` if that
    /// tree has no hash there.
    #[must_use]
    pub fn of_tree(size: u64, level: u8, index: u64) -> Option<Tile> {
        let complete = if level < TILE_LEVELS { size >> (TILE_BITS * u32::from(level)) } else { 0 };
        let width = width_at(complete, index)?;
        Some(Tile { level, index, width })
    }

    /// Every tile of a tree of `size` leaves, level by level from the leaves up.
    pub fn all_of_tree(size: u64) -> impl Iterator<Item = Tile> {
        (0..TILE_LEVELS)
            .flat_map(move |level| (0..).map_while(move |index| Tile::of_tree(size, level, index)))
    }

    /// Index of the first hash among those of its level.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH as u64)
    }

    /// Whether all 256 hashes are there; such a tile never changes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        usize::from(self.width) == TILE_WIDTH
    }
}

/// A run of neighbouring leaves, beginning at a multiple of [`TILE_WIDTH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bundle {
    /// Number of the bundle, from 0.
    pub index: u64,
    /// Leaves in it, 1 to 256.
    pub width: u16,
}

impl Bundle {
    /// The bundle at this place as a log of `size` leaves has it; `None` if it has no leaf there.
    #[must_use]
    pub fn of_log(size: u64, index: u64) -> Option<Bundle> {
        Some(Bundle { index, width: width_at(size, index)? })
    }

    /// Position of the first leaf.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH as u64)
    }
}

fn width_at(complete: u64, index: u64) -> Option<u16> {
    let rest = complete.checked_sub(index.checked_mul(TILE_WIDTH as u64)?)?;
    let width = rest.min(TILE_WIDTH as u64) as u16;
    (width > 0).then_some(width)
}

#[cfg(test)]
mod tests;
