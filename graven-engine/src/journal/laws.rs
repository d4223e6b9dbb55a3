//! The laws suite: what every journal must do, as one program. A new implementation is proven by running it.
//!
//! ```text
//! commit(expected, batch) ── tail == expected ──▶ Appended(tail')      durable, and read gives it
//!                        └── tail != expected ──▶ Conflict(tail)      nothing stored
//!                        └── no answer        ──▶ Unknown             read(expected) tells which
//! ```

mod maker;
mod shared;

pub use shared::{SharedBench, check_shared};

use super::{Batch, Journal, Outcome, Tail};
use crate::append::seed;
use maker::{Maker, appended, frames};

/// What can be made to go wrong at the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The batch is lost before it is stored, and the writer is not told.
    LostBefore,
    /// The batch is stored, and the answer is lost.
    LostAfter,
}

/// An implementation under the suite.
pub trait Bench {
    /// Opens a writer on the journal as a process would after a crash of the one before. `epoch` is the writer's. In a
    /// journal that nodes share it has begun when this returns, and has not begun again if it had.
    fn open(&mut self, epoch: u32) -> Box<dyn Journal>;

    /// Opens a second writer beside the first, if the implementation lets more than one process in; `None` if it keeps
    /// them out by a lock.
    fn open_beside(&mut self, epoch: u32) -> Option<Box<dyn Journal>>;

    /// Makes the next commit go wrong; false if the fault cannot be brought about here.
    fn fail_next(&mut self, fault: Fault) -> bool;

    /// Id of the log the batches are made for.
    fn log_id(&self) -> [u8; 16];
}

/// Runs the laws of every journal. `fresh` makes a bench over an empty journal. One that nodes share has
/// [`check_shared`] to pass too.
///
/// # Panics
/// If a law does not hold.
pub fn check(fresh: &mut dyn FnMut() -> Box<dyn Bench>) {
    batches_are_read_back_in_order_each_once(&mut *fresh());
    a_batch_for_another_tail_is_refused_and_leaves_nothing(&mut *fresh());
    a_duplicate_is_refused(&mut *fresh());
    a_reopened_journal_goes_on_where_it_was(&mut *fresh());
    reading_is_bounded_and_begins_anywhere(&mut *fresh());
    what_is_kept_after_a_trim_is_read_as_before(&mut *fresh());
    an_unknown_outcome_is_resolved_by_reading(&mut *fresh(), Fault::LostBefore);
    an_unknown_outcome_is_resolved_by_reading(&mut *fresh(), Fault::LostAfter);
    of_two_writers_one_wins_every_round(&mut *fresh());
    a_writer_of_an_older_epoch_is_refused(&mut *fresh());
}

fn batches_are_read_back_in_order_each_once(bench: &mut dyn Bench) {
    let mut journal = bench.open(1);
    assert_eq!(journal.tail(), Tail { position: 0, checksum: seed(bench.log_id()) });
    assert!(journal.read(0, 1000).expect("an empty journal can be read").is_empty());
    let mut maker = Maker::new(bench.log_id(), journal.tail());
    let mut written = Vec::new();
    for counts in [&[1][..], &[2, 3], &[1, 1, 1], &[40]] {
        let batch = maker.batch(counts);
        appended(&mut *journal, &batch);
        written.extend_from_slice(&batch.frames);
    }
    assert_eq!(frames(&mut *journal, 0), written);
}

fn a_batch_for_another_tail_is_refused_and_leaves_nothing(bench: &mut dyn Bench) {
    let mut journal = bench.open(1);
    let mut maker = Maker::new(bench.log_id(), journal.tail());
    let first = maker.batch(&[2]);
    appended(&mut *journal, &first);
    let _skipped = maker.batch(&[1]);
    let ahead = maker.batch(&[1]);
    assert_eq!(journal.commit(&ahead), Outcome::Conflict(first.tail));
    let mut other = Maker::new(bench.log_id(), Tail { checksum: first.tail.checksum ^ 1, ..first.tail });
    assert_eq!(journal.commit(&other.batch(&[1])), Outcome::Conflict(first.tail));
    assert_eq!(frames(&mut *journal, 0), first.frames);
}

fn a_duplicate_is_refused(bench: &mut dyn Bench) {
    let mut journal = bench.open(1);
    let mut maker = Maker::new(bench.log_id(), journal.tail());
    let batch = maker.batch(&[3]);
    appended(&mut *journal, &batch);
    assert_eq!(journal.commit(&batch), Outcome::Conflict(batch.tail));
    assert_eq!(frames(&mut *journal, 0), batch.frames);
}

fn a_reopened_journal_goes_on_where_it_was(bench: &mut dyn Bench) {
    let mut maker = None;
    let mut written = Vec::new();
    for epoch in 1..6 {
        let mut journal = bench.open(epoch);
        let maker = maker.get_or_insert_with(|| Maker::new(bench.log_id(), journal.tail()));
        maker.epoch = epoch;
        assert_eq!(journal.tail(), maker.tail);
        let batch = maker.batch(&[1, 2]);
        appended(&mut *journal, &batch);
        written.extend_from_slice(&batch.frames);
        assert_eq!(frames(&mut *journal, 0), written);
    }
}

fn reading_is_bounded_and_begins_anywhere(bench: &mut dyn Bench) {
    let mut journal = bench.open(1);
    let mut maker = Maker::new(bench.log_id(), journal.tail());
    let batches: Vec<Batch> = (0..10).map(|_| maker.batch(&[2])).collect();
    for batch in &batches {
        appended(&mut *journal, batch);
    }
    for (at, batch) in batches.iter().enumerate() {
        let rest: Vec<u8> = batches[at..].iter().flat_map(|batch| batch.frames.to_vec()).collect();
        assert_eq!(frames(&mut *journal, batch.expected.position), rest);
        let one = journal.read(batch.expected.position, 1).expect("a healthy journal can be read");
        assert_eq!(one.len(), 1, "at least one batch, and no more than the bound asks for");
        assert_eq!(
            (one[0].expected, one[0].tail, &one[0].frames),
            (batch.expected, batch.tail, &batch.frames)
        );
    }
    assert!(journal.read(journal.tail().position, 1000).expect("the end can be read").is_empty());
}

fn what_is_kept_after_a_trim_is_read_as_before(bench: &mut dyn Bench) {
    let mut journal = bench.open(1);
    let mut maker = Maker::new(bench.log_id(), journal.tail());
    let batches: Vec<Batch> = (0..6).map(|_| maker.batch(&[1])).collect();
    for batch in &batches {
        appended(&mut *journal, batch);
    }
    journal.trim(3).expect("a healthy journal can be trimmed");
    let rest: Vec<u8> = batches[3..].iter().flat_map(|batch| batch.frames.to_vec()).collect();
    assert_eq!(frames(&mut *journal, 3), rest);
    appended(&mut *journal, &maker.batch(&[1]));
}

fn an_unknown_outcome_is_resolved_by_reading(bench: &mut dyn Bench, fault: Fault) {
    let mut journal = bench.open(1);
    let mut maker = Maker::new(bench.log_id(), journal.tail());
    let first = maker.batch(&[1]);
    appended(&mut *journal, &first);
    let second = maker.batch(&[2, 1]);
    if !bench.fail_next(fault) {
        return;
    }
    assert!(matches!(journal.commit(&second), Outcome::Unknown(_)), "{fault:?} must not look like an answer");
    drop(journal);
    let mut journal = bench.open(1);
    let found = frames(&mut *journal, first.tail.position);
    if journal.tail() == first.tail {
        assert!(found.is_empty(), "what is not below the tail is not read");
        appended(&mut *journal, &second);
    } else {
        // A part of a batch may have survived, but only whole frames of it, in order.
        assert!(second.frames.starts_with(&found));
        assert!(journal.tail().position <= second.tail.position);
    }
    assert!(fault != Fault::LostBefore || found.is_empty());
    maker.tail = journal.tail();
    drop(journal);
    let mut journal = bench.open(2);
    assert_eq!(journal.tail(), maker.tail);
    maker.epoch = 2;
    appended(&mut *journal, &maker.batch(&[1]));
}

fn of_two_writers_one_wins_every_round(bench: &mut dyn Bench) {
    let mut one = bench.open(1);
    let Some(mut two) = bench.open_beside(1) else { return };
    let mut makers = [Maker::new(bench.log_id(), one.tail()), Maker::new(bench.log_id(), one.tail())];
    makers[1].writer = [2; 16];
    for round in 0..20u32 {
        let batches = [makers[0].batch(&[1]), makers[1].batch(&[1 + round % 2])];
        let outcomes = [one.commit(&batches[0]), two.commit(&batches[1])];
        let winner = outcomes.iter().position(|outcome| matches!(outcome, Outcome::Appended(_)));
        let winner = winner.expect("one of two writers wins");
        assert_eq!(
            outcomes[1 - winner],
            Outcome::Conflict(batches[winner].tail),
            "the other is told the tail"
        );
        for maker in &mut makers {
            maker.tail = batches[winner].tail;
        }
    }
    assert_eq!(frames(&mut *one, 0), frames(&mut *two, 0));
}

fn a_writer_of_an_older_epoch_is_refused(bench: &mut dyn Bench) {
    let mut zombie = bench.open(1);
    let mut maker = Maker::new(bench.log_id(), zombie.tail());
    let first = maker.batch(&[1]);
    appended(&mut *zombie, &first);
    let Some(mut successor) = bench.open_beside(2) else { return };
    let old = maker.batch(&[1]);
    assert_eq!(zombie.commit(&old), Outcome::Conflict(first.tail), "though nothing came after its tail yet");
    maker.tail = first.tail;
    maker.epoch = 2;
    let new = maker.batch(&[2]);
    appended(&mut *successor, &new);
    assert_eq!(zombie.commit(&old), Outcome::Conflict(new.tail));
    let mut old_again = Maker::new(bench.log_id(), new.tail);
    assert!(matches!(zombie.commit(&old_again.batch(&[1])), Outcome::Conflict(_)), "the old epoch is over");
}
