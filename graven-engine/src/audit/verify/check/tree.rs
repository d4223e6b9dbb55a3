//! Which hash is right where a leaf and its stored hash differ, and what the tree gives as it grows: tiles, roots, signed
//! heads.

use super::{Checker, Undecided};
use crate::append::{LeafPlace, leaf_of};
use crate::audit::verify::stored::LEVELS;
use crate::log::frame::Record;
use graven_model::Result;
use graven_proof::Hash;
use graven_proof::control::hex;
use graven_proof::finding::{Finding, FindingCode};
use graven_proof::merkle::{TILE_WIDTH, root_of};
use std::ops::Range;

impl Checker<'_> {
    /// The leaf hash of a record; decides about the leaf before it, if that differs from its stored hash.
    pub(super) fn leaf(
        &mut self,
        record: &Record<'_>,
        at: &LeafPlace,
        slot: u32,
        stored: Option<Hash>,
    ) -> Result<Hash> {
        let computed = leaf_of(record, at, &self.tags).hash(&mut self.scratch);
        let Some(undecided) = &self.undecided else { return Ok(computed) };
        let otherwise = LeafPlace {
            prev_global: undecided.stored,
            prev_stream: if undecided.slot == Some(slot) { undecided.stored } else { at.prev_stream },
            ..*at
        };
        let other = leaf_of(record, &otherwise, &self.tags).hash(&mut self.scratch);
        let computed_right = match stored {
            Some(stored) if stored == computed => true,
            Some(stored) if stored == other => false,
            _ => self.likely()?,
        };
        self.decide(computed_right)?;
        Ok(if computed_right { computed } else { other })
    }

    /// Which hash of the leaf before is right, where the leaf behind it does not tell. A root in a frame is no help: the
    /// frame is as easily written anew as the record.
    pub(super) fn likely(&mut self) -> Result<bool> {
        Ok(self.parents()?.unwrap_or(false))
    }

    /// What stands above the leaf says: a signed root, or the stored hash over its tile.
    pub(super) fn parents(&mut self) -> Result<Option<bool>> {
        let Some(undecided) = &self.undecided else { return Ok(None) };
        if undecided.signed.is_some() {
            return Ok(undecided.signed);
        }
        let (position, computed) = (undecided.position, undecided.computed);
        let width = TILE_WIDTH as u64;
        let Some(parent) = self.stored.hash(1, position / width)? else { return Ok(None) };
        let first = position - position % width;
        let mut leaves = Vec::with_capacity(TILE_WIDTH);
        for index in first..first + width {
            leaves.extend(self.stored.hash(0, index)?);
        }
        if root_of(&leaves) == parent {
            return Ok(Some(false));
        }
        if let Some(leaf) = leaves.get_mut((position - first) as usize) {
            *leaf = computed;
        }
        Ok((root_of(&leaves) == parent).then_some(true))
    }

    /// Settles which hash of the leaf before is right.
    pub(super) fn decide(&mut self, computed_right: bool) -> Result<()> {
        let Some(undecided) = self.undecided.take() else { return Ok(()) };
        let Undecided { position, slot, computed, stored, finding, reported, .. } = undecided;
        if computed_right {
            let tile = Finding::new(FindingCode::TileMismatch, hex::encode(&computed), hex::encode(&stored));
            self.report.add(tile.at(position).in_tile(0, position).shown_by(self.stored.place(0, position)));
            return self.push(position, computed);
        }
        if !reported {
            self.report.add(finding);
        }
        if let Some(slot) = slot
            && let Some(head) = &mut self.heads.at(slot).head
            && head.last_position == position
        {
            head.head = stored;
        }
        self.push(position, stored)
    }

    /// Takes a leaf for what it is.
    pub(super) fn believe(&mut self, position: u64, hash: Hash) -> Result<()> {
        if self.undecided.is_some() {
            let computed_right = self.likely()?;
            self.decide(computed_right)?;
        }
        self.push(position, hash)
    }

    pub(super) fn believe_stored(&mut self, position: u64, stored: Option<Hash>) -> Result<()> {
        match stored {
            Some(stored) => self.believe(position, stored),
            None => self.lose(position..position + 1),
        }
    }

    /// Adds a leaf to the tree and compares what it completes.
    pub(super) fn push(&mut self, position: u64, hash: Hash) -> Result<()> {
        self.last_leaf = hash;
        if self.blind {
            return Ok(());
        }
        if let Some(root) = self.frontier.push_tiled(hash) {
            self.complete(root)?;
        }
        if position + 1 >= self.next_signed {
            self.compare_signed(position + 1)?;
        }
        Ok(())
    }

    /// Compares the hashes that a complete tile gives, on its level and above.
    pub(super) fn complete(&mut self, root: Hash) -> Result<()> {
        let (mut hash, mut size) = (root, self.frontier.size());
        for level in 1..LEVELS {
            size /= TILE_WIDTH as u64;
            let index = size - 1;
            if let Some(stored) = self.stored.hash(level, index)?
                && stored != hash
            {
                let finding =
                    Finding::new(FindingCode::TileMismatch, hex::encode(&hash), hex::encode(&stored));
                let finding = finding.in_tile(level as u8, index).shown_by(self.stored.place(level, index));
                self.report.add(finding);
            }
            let filling = &mut self.filling[level];
            let place = (index % TILE_WIDTH as u64) as usize;
            if place == 0 {
                filling.clear();
            }
            filling.push(hash);
            if place + 1 < TILE_WIDTH || filling.len() < TILE_WIDTH {
                break;
            }
            hash = root_of(filling);
        }
        Ok(())
    }

    /// These events cannot be read: the tree goes on with their stored hashes, if there are any.
    pub(in crate::audit::verify) fn lose(&mut self, positions: Range<u64>) -> Result<()> {
        self.lost_below = self.lost_below.max(positions.end);
        self.map.give_up("events are lost");
        for position in positions {
            match self.stored.hash(0, position)? {
                Some(stored) => self.believe(position, stored)?,
                None => {
                    if self.undecided.is_some() {
                        let computed_right = self.likely()?;
                        self.decide(computed_right)?;
                    }
                    self.blind = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Root of the tree so far; a second one if the last leaf is undecided: with its stored hash.
    pub(super) fn roots(&self) -> (Hash, Option<Hash>) {
        match &self.undecided {
            None => (self.frontier.root(), None),
            Some(undecided) => {
                let with = |hash| {
                    let mut frontier = self.frontier.clone();
                    frontier.push(hash);
                    frontier.root()
                };
                (with(undecided.computed), Some(with(undecided.stored)))
            }
        }
    }

    /// Compares the signed heads of this size; leaves out smaller ones.
    pub(super) fn compare_signed(&mut self, size: u64) -> Result<()> {
        while self.next_signed <= size {
            let taken = self.signed.take(&mut self.report)?;
            self.next_signed = self.signed.next_size();
            let Some(signed) = taken else { continue };
            if signed.head.size < size || self.blind {
                continue;
            }
            self.report.checkpoints += 1;
            let (computed, otherwise) = self.roots();
            let root = signed.head.root;
            if computed == root || otherwise == Some(root) {
                if let Some(undecided) = &mut self.undecided {
                    undecided.signed = Some(computed == root);
                }
                self.signed_until = size;
                self.report.last_good_checkpoint = Some(signed.named());
                continue;
            }
            let since = self.report.last_good_checkpoint.as_ref().map_or(0, |good| good.size);
            let finding = Finding::new(
                FindingCode::InconsistentHistory,
                format!("the root {} over {size} events, as it was signed", hex::encode(&root)),
                format!(
                    "the root {}; the first event that differs is one of those at positions {since} to {}",
                    hex::encode(&otherwise.unwrap_or(computed)),
                    size - 1
                ),
            );
            self.report.add(finding.shown_by(signed.place.clone()));
            if self.report.first_bad_checkpoint.is_none() {
                self.report.first_bad_checkpoint = Some(signed.named());
            }
        }
        Ok(())
    }
}
