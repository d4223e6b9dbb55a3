//! The tiles of a bundle: all hashes in them lead to the root of the checkpoint, so what a tile says of a leaf is as good
//! as an inclusion proof.

use super::{Stop, hex, malformed, read};
use crate::Hash;
use crate::bundle::{Files, Manifest};
use crate::finding::{Finding, FindingCode};
use crate::merkle::{TILE_WIDTH, Tiled, Tree, TreeHead, root_of};
use crate::tiles::{Bundle, Tile, TilePath, decode_bundle};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Verified tiles. Those above the leaves' are kept, the leaves' own read again when they are needed.
pub(super) struct Tiles<'a> {
    files: &'a dyn Files,
    manifest: &'a Manifest,
    size: u64,
    last: RefCell<Option<(u64, Vec<Hash>)>>,
}

impl<'a> Tiles<'a> {
    /// Verifies every tile of the bundle.
    pub(super) fn verified(
        files: &'a dyn Files,
        manifest: &'a Manifest,
        head: &TreeHead,
    ) -> Result<Tiles<'a>, Stop> {
        let tiles = Tiles { files, manifest, size: head.size, last: RefCell::new(None) };
        let mut listed: Vec<Tile> = Vec::new();
        for file in &manifest.files {
            if let Ok(TilePath::Hashes(tile)) = file.path.parse() {
                if Tile::of_tree(head.size, tile.level, tile.index) != Some(tile) {
                    return Err(malformed(&file.path, "a tile of a tree of the checkpoint's size"));
                }
                listed.push(tile);
            }
        }
        tiles.expect_root(head)?;
        // from the root down: a full tile is vouched for by a hash one level up
        listed.sort_by_key(|tile| (std::cmp::Reverse(tile.level), tile.index));
        let mut above: BTreeMap<(u8, u64), Hash> = BTreeMap::new();
        for tile in listed {
            let hashes = tiles.read(tile)?;
            if tile.is_full() {
                let found = root_of(&hashes);
                match above.get(&(tile.level + 1, tile.index)) {
                    Some(expected) if *expected == found => {}
                    Some(expected) => {
                        let finding = Finding::new(FindingCode::TileMismatch, hex(expected), hex(&found));
                        return Err(Box::new(finding.in_tile(tile.level, tile.first())));
                    }
                    None => return Err(missing(&tile, "the tile above it")),
                }
            }
            if tile.level > 0 {
                let numbered = (tile.first()..).zip(hashes);
                above.extend(numbered.map(|(index, hash)| ((tile.level, index), hash)));
            }
        }
        Ok(tiles)
    }

    /// Hash of the leaf at a position.
    pub(super) fn leaf_hash(&self, position: u64) -> Result<Hash, Stop> {
        let index = position / TILE_WIDTH as u64;
        let mut last = self.last.borrow_mut();
        let hashes = match &*last {
            Some((kept, hashes)) if *kept == index => hashes,
            _ => {
                let tile = Tile::of_tree(self.size, 0, index).ok_or_else(|| {
                    let expected = format!("a position below {}", self.size);
                    super::stop(FindingCode::PositionMismatch, expected, position.to_string(), position)
                })?;
                let hashes = self.read(tile)?;
                &last.insert((index, hashes)).1
            }
        };
        hashes.get((position % TILE_WIDTH as u64) as usize).copied().ok_or_else(|| {
            let expected = format!("a position below {}", self.size);
            super::stop(FindingCode::PositionMismatch, expected, position.to_string(), position)
        })
    }

    /// The leaves around a position, if the bundle has them.
    pub(super) fn entries(&self, position: u64) -> Result<Option<Entries>, Stop> {
        let index = position / TILE_WIDTH as u64;
        let Some(bundle) = Bundle::of_log(self.size, index) else { return Ok(None) };
        let path = TilePath::Entries(bundle).to_string();
        if !self.manifest.lists(&path) {
            return Ok(None);
        }
        let bytes = read(self.files, &path)?;
        let broken = |error| {
            let finding =
                Finding::new(FindingCode::BundleMalformed, "a bundle of leaves", format!("{error}"));
            Box::new(finding.shown_by(&path))
        };
        let leaves = decode_bundle(&bytes, bundle.width).map_err(broken)?;
        let leaves = leaves.into_iter().map(<[u8]>::to_vec).collect();
        Ok(Some(Entries { first: bundle.first(), leaves }))
    }

    fn read(&self, tile: Tile) -> Result<Vec<Hash>, Stop> {
        let path = TilePath::Hashes(tile).to_string();
        if !self.manifest.lists(&path) {
            return Err(missing(&tile, &path));
        }
        let bytes = read(self.files, &path)?;
        let (hashes, rest) = bytes.as_chunks();
        if hashes.len() != usize::from(tile.width) || !rest.is_empty() {
            return Err(malformed(&path, &format!("{} hashes", tile.width)));
        }
        Ok(hashes.to_vec())
    }

    fn expect_root(&self, head: &TreeHead) -> Result<(), Stop> {
        let mut failed = None;
        let nodes = Tiled::new(head.size, |tile| self.read(tile).map_err(|stop| failed = Some(stop)));
        let found = Tree::new(head.size, nodes).head();
        match found {
            Ok(found) if found == *head => Ok(()),
            Ok(found) => {
                Err(Box::new(Finding::new(FindingCode::RootMismatch, hex(&head.root), hex(&found.root))))
            }
            Err(error) => Err(failed.unwrap_or_else(|| {
                Box::new(Finding::new(FindingCode::RootMismatch, hex(&head.root), format!("{error:?}")))
            })),
        }
    }
}

/// Leaves of one bundle of leaves.
pub(super) struct Entries {
    pub(super) first: u64,
    pub(super) leaves: Vec<Vec<u8>>,
}

fn missing(tile: &Tile, what: &str) -> Stop {
    let finding = Finding::new(FindingCode::TileMismatch, what, "no such file");
    Box::new(finding.in_tile(tile.level, tile.first()))
}
