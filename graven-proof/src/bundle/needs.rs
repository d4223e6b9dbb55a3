//! Which tiles a bundle has to have.

use crate::tiles::{Bundle, TILE_LEVELS, TILE_WIDTH, Tile};
use std::collections::BTreeSet;
use std::ops::Range;

const TILE_BITS: u32 = TILE_WIDTH.trailing_zeros();

/// Collects the tiles that lead from leaves to the root of a tree: those around each leaf on every level, and the tree's
/// right edge.
#[derive(Debug, Clone)]
pub struct TileNeeds {
    size: u64,
    tiles: BTreeSet<(u8, u64)>,
}

impl TileNeeds {
    /// Those that give the root of a tree of `size` leaves.
    #[must_use]
    pub fn new(size: u64) -> TileNeeds {
        let mut needs = TileNeeds { size, tiles: BTreeSet::new() };
        needs.path_above(size);
        needs
    }

    /// Adds those for the leaf at a position.
    pub fn add(&mut self, position: u64) {
        if position < self.size {
            self.path_above(position);
        }
    }

    /// Adds those for the leaves at these positions.
    pub fn add_range(&mut self, positions: Range<u64>) {
        let tiles = positions.start / TILE_WIDTH as u64..positions.end.div_ceil(TILE_WIDTH as u64);
        tiles.for_each(|tile| self.add(tile * TILE_WIDTH as u64));
    }

    /// The tiles, as a tree of this size has them, from the leaves up.
    pub fn iter(&self) -> impl Iterator<Item = Tile> + '_ {
        self.tiles.iter().filter_map(|(level, index)| Tile::of_tree(self.size, *level, *index))
    }

    fn path_above(&mut self, position: u64) {
        for level in 0..TILE_LEVELS {
            let index = position.checked_shr(TILE_BITS * (u32::from(level) + 1)).unwrap_or(0);
            if Tile::of_tree(self.size, level, index).is_some() {
                self.tiles.insert((level, index));
            }
        }
    }
}

/// The bundles of leaves around these positions in a log of `size` leaves.
pub fn bundles_around(size: u64, positions: &Range<u64>) -> impl Iterator<Item = Bundle> {
    let bundles = positions.start / TILE_WIDTH as u64..positions.end.div_ceil(TILE_WIDTH as u64);
    bundles.map_while(move |index| Bundle::of_log(size, index))
}
