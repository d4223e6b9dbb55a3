//! A file without its name: what a read sees, what a power loss leaves, and the changes in between.

use super::content::{Change, Content, SECTOR_BYTES};
use crate::dice::Dice;
use std::collections::BTreeMap;

/// How much of what was not synced a power loss leaves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Luck {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Each sector is up to date this many times out of eight, else as old as chance has it, now and then torn.
    Some(u64),
}

impl Luck {
    pub(super) fn throw(dice: &mut Dice) -> Luck {
        match dice.below(8) {
            0 | 1 => Luck::None,
            2 => Luck::All,
            _ => Luck::Some(*dice.pick(&[1, 4, 7])),
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    /// What a read sees: the page cache.
    pub(super) live: Content,
    /// What is on the platter.
    pub(super) durable: Content,
    /// Changes to `live` that a sync would carry over to `durable`, oldest first.
    pub(super) pending: Vec<Change>,
    /// Open handles.
    pub(super) handles: usize,
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        self.live.apply(&change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            self.durable.apply(&change);
        }
    }

    /// A sync that failed: some of it reached the platter, the kernel forgets about the rest, and readers go on
    /// seeing it until the cache is dropped.
    pub(super) fn sync_failing(&mut self, dice: &mut Dice) {
        self.durable = self.after_power_loss(dice, Luck::Some(4));
        self.pending.clear();
    }

    /// What the platter holds if the power goes now.
    pub(super) fn after_power_loss(&self, dice: &mut Dice, luck: Luck) -> Content {
        let mut left = self.durable.clone();
        match luck {
            Luck::None => {}
            Luck::All => self.pending.iter().for_each(|change| left.apply(change)),
            Luck::Some(eighths) => self.keep_some(&mut left, dice, eighths),
        }
        left
    }

    fn keep_some(&self, left: &mut Content, dice: &mut Dice, eighths: u64) {
        let mut touching: BTreeMap<u64, Vec<&Change>> = BTreeMap::new();
        let mut lengths = vec![left.len()];
        let mut len = left.len();
        for change in &self.pending {
            let (start, end) = change.range(len);
            for sector in start / SECTOR_BYTES as u64..end.div_ceil(SECTOR_BYTES as u64) {
                touching.entry(sector).or_default().push(change);
            }
            len = change.len_after(len);
            lengths.push(len);
        }
        let longest = *lengths.iter().max().expect("there is the length before all changes");
        let kept_len = if dice.chance(eighths, 8) { len } else { *dice.pick(&lengths) };
        left.set_len(longest);
        for (sector, changes) in touching {
            let count = if dice.chance(eighths, 8) { changes.len() } else { dice.index(changes.len() + 1) };
            let start = sector * SECTOR_BYTES as u64;
            let mut bytes = self.sector_after(start, &changes[..count]);
            if dice.chance(1, 8) {
                let other = self.sector_after(start, &changes[..dice.index(changes.len() + 1)]);
                let tear = dice.index(SECTOR_BYTES);
                bytes[tear..].copy_from_slice(&other[tear..]);
            }
            let part = SECTOR_BYTES.min(longest.saturating_sub(start) as usize);
            left.apply(&Change::write(&bytes[..part], start));
        }
        left.set_len(kept_len);
    }

    /// A sector as it was after these of the changes that touch it.
    fn sector_after(&self, start: u64, changes: &[&Change]) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        self.durable.read(&mut sector, start);
        let end = start + SECTOR_BYTES as u64;
        for change in changes {
            let (from, to) = match change {
                Change::SetLen(cut) => (*cut, end),
                other => other.range(0),
            };
            let (from, to) = (from.max(start), to.min(end));
            if from >= to {
                continue;
            }
            let slot = &mut sector[(from - start) as usize..(to - start) as usize];
            match change {
                Change::Write { offset, bytes } => {
                    slot.copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
                }
                Change::Zeros { .. } | Change::SetLen(_) => slot.fill(0),
            }
        }
        sector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(change: &[(u64, &[u8])]) -> Inode {
        let mut inode = Inode::default();
        for (offset, bytes) in change {
            inode.change(Change::write(bytes, *offset));
        }
        inode
    }

    #[test]
    fn synced_bytes_survive_every_power_loss() {
        let mut inode = written(&[(0, &[7; 3_000])]);
        inode.sync();
        inode.change(Change::write(&[9; 2_000], 3_000));
        for seed in 0..500 {
            let mut dice = Dice::new(seed);
            let luck = Luck::throw(&mut dice);
            let left = inode.after_power_loss(&mut dice, luck).to_vec();
            assert_eq!(left[..3_000], [7; 3_000], "seed {seed}");
            assert!(left[3_000..].iter().all(|byte| matches!(byte, 0 | 9)), "seed {seed}");
        }
    }

    #[test]
    fn unsynced_sectors_are_lost_kept_reordered_and_torn() {
        let inode = written(&[(0, &[1; 512]), (512, &[2; 512])]);
        let (mut neither, mut both, mut second_only, mut torn) = (0, 0, 0, 0);
        for seed in 0..2_000 {
            let mut dice = Dice::new(seed);
            let luck = Luck::throw(&mut dice);
            let mut left = inode.after_power_loss(&mut dice, luck).to_vec();
            left.resize(1_024, 0);
            let first = left[..512].iter().filter(|byte| **byte == 1).count();
            let second = left[512..].iter().filter(|byte| **byte == 2).count();
            match (first, second) {
                (0, 0) => neither += 1,
                (512, 512) => both += 1,
                (0, 512) => second_only += 1,
                (_, 1..512) | (1..512, _) => torn += 1,
                _ => {}
            }
        }
        assert!(
            neither > 50 && both > 50 && second_only > 10 && torn > 50,
            "{neither} {both} {second_only} {torn}"
        );
    }

    #[test]
    fn a_rewritten_sector_is_left_as_it_was_at_some_moment() {
        let mut inode = written(&[(0, &[1; 512])]);
        inode.sync();
        inode.change(Change::write(&[2; 100], 100));
        inode.change(Change::write(&[3; 100], 200));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let mut dice = Dice::new(seed);
            let left = inode.after_power_loss(&mut dice, Luck::Some(0)).to_vec();
            assert!(left[..100] == [1; 100] && left[300..] == [1; 212], "seed {seed}");
            seen.insert((left[150], left[250]));
        }
        assert!(seen.contains(&(1, 1)) && seen.contains(&(2, 1)) && seen.contains(&(2, 3)), "{seen:?}");
    }

    #[test]
    fn a_failed_sync_loses_what_a_later_sync_does_not_bring_back() {
        let lost = (0..100).filter(|seed| {
            let mut inode = written(&[(0, &[1; 4_096])]);
            inode.sync_failing(&mut Dice::new(*seed));
            inode.sync();
            assert_eq!(inode.live.to_vec(), [1; 4_096], "readers still see it");
            inode.durable.to_vec() != [1; 4_096]
        });
        assert!(lost.count() > 50);
    }
}
