//! What all groups of an open store have done.

use std::sync::atomic::{AtomicU64, Ordering};

/// What all groups have done since the store was opened. None of it ever goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GroupTotals {
    /// Events consumers took, every try counted.
    pub delivered: u64,
    /// Events consumers acknowledged, replayed ones among them.
    pub done: u64,
    /// Tries that failed and are followed by another.
    pub retried: u64,
    /// Events that became dead letters; a replay that fails makes none.
    pub parked: u64,
    /// Dead letters that left the list since their replay was acknowledged.
    pub replayed: u64,
    /// Events that were skipped, by consumers or out of the list of dead letters.
    pub skipped: u64,
}

/// The same, for all groups to add to.
#[derive(Default)]
pub(super) struct Totals {
    delivered: AtomicU64,
    done: AtomicU64,
    retried: AtomicU64,
    parked: AtomicU64,
    replayed: AtomicU64,
    skipped: AtomicU64,
}

impl Totals {
    pub(super) fn add(&self, more: GroupTotals) {
        if more == GroupTotals::default() {
            return;
        }
        let add = |total: &AtomicU64, more: u64| {
            total.fetch_add(more, Ordering::Relaxed);
        };
        add(&self.delivered, more.delivered);
        add(&self.done, more.done);
        add(&self.retried, more.retried);
        add(&self.parked, more.parked);
        add(&self.replayed, more.replayed);
        add(&self.skipped, more.skipped);
    }

    pub(super) fn now(&self) -> GroupTotals {
        let of = |total: &AtomicU64| total.load(Ordering::Relaxed);
        GroupTotals {
            delivered: of(&self.delivered),
            done: of(&self.done),
            retried: of(&self.retried),
            parked: of(&self.parked),
            replayed: of(&self.replayed),
            skipped: of(&self.skipped),
        }
    }
}
