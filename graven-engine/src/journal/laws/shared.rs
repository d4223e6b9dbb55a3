//! What a journal that nodes share must do beyond the laws of every journal: laws 6 to 8, and the promises of its calls.

use super::maker::{Maker, appended, frames};
use crate::append::seed;
use crate::journal::{Batch, Claim, Outcome, SharedJournal, Tail, Term, View};
use crate::log::frame::{self, Erase};
use crate::replica::LogIdentity;
use graven_model::error::Details;
use graven_model::{Code, EventId, Result, Timestamp};
use std::sync::Barrier;
use std::thread::scope;
use std::time::{Duration, Instant};

const ONE: [u8; 16] = [1; 16];
const TWO: [u8; 16] = [2; 16];
const LOG: [u8; 16] = [9; 16];

/// Nothing the suite waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A wait that must not come to its end.
const LONG: Duration = Duration::from_secs(90);

/// Rounds of what is raced.
const ROUNDS: u32 = 20;

/// A journal that nodes share, under the suite.
pub trait SharedBench {
    /// Connects to the journal, as another node would.
    fn connect(&mut self) -> Box<dyn SharedJournal>;

    /// Makes the journal lose its last batches, as a standby that never had them; false if it cannot be made to.
    fn lose_last(&mut self, batches: usize) -> bool;

    /// Cuts every connection there is, and lets new ones through; false if it cannot.
    fn cut(&mut self) -> bool;
}

/// Runs the laws of a journal that nodes share. `fresh` makes a bench over a journal that is of no log yet.
///
/// # Panics
/// If a law does not hold.
pub fn check_shared(fresh: &mut dyn FnMut() -> Box<dyn SharedBench>) {
    the_first_to_found_decides_and_everybody_is_told_the_same(&mut *fresh());
    of_many_who_found_at_once_one_decides(&mut *fresh());
    epochs_of_claims_are_dense_and_increase(&mut *fresh());
    after_a_claim_no_batch_of_an_earlier_epoch_is_stored(&mut *fresh());
    a_claim_if_vacant_is_refused_until_the_writer_has_gone(&mut *fresh());
    of_two_claims_at_once_each_begins_an_epoch_or_is_refused(&mut *fresh());
    a_look_tells_tail_term_and_the_checksum_where_a_batch_ends(&mut *fresh());
    a_look_after_a_trim_tells_what_is_kept(&mut *fresh());
    what_the_writer_erases_is_gone_and_everything_else_of_the_batch_stays(&mut *fresh());
    a_look_follows_a_journal_that_lost_its_end(&mut *fresh());
    a_wait_ends_with_a_commit_of_somebody_else_or_with_its_time(&mut *fresh());
    a_connection_that_is_cut_connects_again_and_its_term_goes_on(&mut *fresh());
    a_wait_ends_with_its_connection(&mut *fresh());
}

fn identity(log: [u8; 16]) -> LogIdentity {
    LogIdentity {
        log_id: EventId(log),
        origin: format!("laws.example/{}", log[0]),
        created_at: Timestamp::from_micros(1_234_567 + i64::from(log[0])),
    }
}

/// A connection to the journal of the log [`LOG`].
fn founded(bench: &mut dyn SharedBench) -> Box<dyn SharedJournal> {
    let mut journal = bench.connect();
    assert_eq!(journal.found(&identity(LOG)).expect("a healthy journal can be founded"), identity(LOG));
    journal
}

/// A connection that writes, and what makes its batches.
fn claimed(bench: &mut dyn SharedBench, address: &str) -> (Box<dyn SharedJournal>, Maker) {
    let mut journal = founded(bench);
    let term = taken_over(&mut *journal, ONE, address);
    let maker = maker_of(&mut *journal, &term);
    (journal, maker)
}

fn taken_over(journal: &mut dyn SharedJournal, writer: [u8; 16], address: &str) -> Term {
    journal.claim(writer, address, Claim::TakeOver).expect("a healthy journal can be claimed")
}

fn maker_of(journal: &mut dyn SharedJournal, term: &Term) -> Maker {
    let mut maker = Maker::new(LOG, look(journal, 0).tail);
    (maker.epoch, maker.writer) = (term.epoch, term.writer);
    maker
}

fn look(journal: &mut dyn SharedJournal, at: u64) -> View {
    journal.look(at).expect("a healthy journal can be looked at")
}

/// Asks again and again until there is an answer.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn the_first_to_found_decides_and_everybody_is_told_the_same(bench: &mut dyn SharedBench) {
    let (mut one, mut two) = (bench.connect(), bench.connect());
    for journal in [&mut one, &mut two] {
        assert_eq!(journal.identity().expect("an empty journal can be asked"), None);
    }
    let first = identity([1; 16]);
    assert_eq!(one.found(&first).expect("an empty journal can be founded"), first);
    assert_eq!(two.found(&identity([2; 16])).expect("it can be asked again"), first, "the first decides");
    assert_eq!(one.found(&identity([3; 16])).expect("it can be asked again"), first, "and nobody afterwards");
    for mut journal in [one, two, bench.connect()] {
        assert_eq!(journal.identity().expect("a healthy journal can be asked"), Some(first.clone()));
        assert_eq!(
            look(&mut *journal, 0).tail.checksum,
            seed(first.log_id.0),
            "it begins with the log's seed"
        );
    }
}

fn of_many_who_found_at_once_one_decides(bench: &mut dyn SharedBench) {
    let mut journals: Vec<_> = (0..4).map(|_| bench.connect()).collect();
    let start = Barrier::new(journals.len());
    let told: Vec<LogIdentity> = scope(|scope| {
        let founding: Vec<_> = journals
            .iter_mut()
            .zip(1..)
            .map(|(journal, number)| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    journal.found(&identity([number; 16])).expect("a healthy journal can be founded")
                })
            })
            .collect();
        founding.into_iter().map(|founding| founding.join().expect("founding does not panic")).collect()
    });
    assert!((1..=4).any(|number| told[0] == identity([number; 16])), "{told:?}");
    assert!(told.iter().all(|other| *other == told[0]), "everybody is told the same: {told:?}");
}

fn epochs_of_claims_are_dense_and_increase(bench: &mut dyn SharedBench) {
    let mut journals = [founded(bench), founded(bench)];
    assert_eq!(look(&mut *journals[0], 0).term.epoch, 0, "nobody claimed it yet");
    for epoch in 1..=6 {
        // Each claims twice in a row; a writer does not stand in its own way.
        let claimant = usize::from(epoch % 4 >= 2);
        let claim = if epoch % 2 == 1 { Claim::IfVacant } else { Claim::TakeOver };
        let writer = [epoch as u8; 16];
        let address = format!("http://{epoch}");
        let wanted = Term { epoch, writer, address };
        let term = journals[claimant].claim(writer, &wanted.address, claim);
        assert_eq!(term.expect("a healthy journal can be claimed"), wanted);
        for journal in &mut journals {
            assert_eq!(look(&mut **journal, 0).term, wanted);
        }
    }
}

fn after_a_claim_no_batch_of_an_earlier_epoch_is_stored(bench: &mut dyn SharedBench) {
    let (mut old, mut maker) = claimed(bench, "http://one");
    let mut new = founded(bench);
    for round in 0..3 {
        // Of an empty journal too, and of one whose last batch is of that very epoch.
        let before = maker.tail;
        if round > 0 {
            appended(&mut *old, &maker.batch(&[2]));
        }
        let tail = maker.tail;
        let late = maker.batch(&[1]);
        let term = taken_over(&mut *new, TWO, "http://two");
        assert_eq!(late.expected, tail, "it would follow");
        assert_eq!(old.commit(&late), Outcome::Conflict(tail), "its epoch is over");
        assert_eq!(old.tail(), tail, "and the tail is known by then");
        assert_eq!(new.commit(&late), Outcome::Conflict(tail), "whoever brings it");
        assert!(frames(&mut *new, tail.position).is_empty(), "nothing was stored");
        assert_eq!(look(&mut *new, before.position).tail, tail);
        let mut next = maker_of(&mut *new, &term);
        appended(&mut *new, &next.batch(&[1, 1]));
        assert_eq!(old.commit(&late), Outcome::Conflict(next.tail));
        maker = next;
        std::mem::swap(&mut old, &mut new);
    }
}

fn a_claim_if_vacant_is_refused_until_the_writer_has_gone(bench: &mut dyn SharedBench) {
    let refused = |journal: &mut dyn SharedJournal, address: &str| {
        let before = look(journal, 0).term;
        let error =
            journal.claim([7; 16], "http://seven", Claim::IfVacant).expect_err("a writer is connected");
        assert_eq!(error.code, Code::NotTheWriter, "{error}");
        assert_eq!(error.details, Details::Writer(address.to_owned()), "{error}");
        assert_eq!(look(journal, 0).term, before, "nothing has changed");
    };
    let (mut one, _) = claimed(bench, "http://one");
    let (mut two, mut three) = (founded(bench), founded(bench));
    refused(&mut *two, "http://one");
    taken_over(&mut *two, TWO, "http://two");
    refused(&mut *three, "http://two");
    // A courtesy: it may depend on that the writer of before has noticed, and the one of now after that.
    look(&mut *one, 0);
    look(&mut *two, 0);
    refused(&mut *one, "http://two");
    drop(one);
    refused(&mut *three, "http://two");
    drop(two);
    let term = eventually("the writer's end is noticed", || {
        match three.claim([7; 16], "http://seven", Claim::IfVacant) {
            Ok(term) => Some(term),
            Err(error) => {
                assert_eq!(error.code, Code::NotTheWriter, "{error}");
                None
            }
        }
    });
    assert_eq!(term, Term { epoch: 3, writer: [7; 16], address: "http://seven".to_owned() });
}

fn of_two_claims_at_once_each_begins_an_epoch_or_is_refused(bench: &mut dyn SharedBench) {
    let mut journals = [founded(bench), founded(bench)];
    let mut last = 0;
    for _ in 0..ROUNDS {
        let start = Barrier::new(2);
        let claims: Vec<Result<Term>> = scope(|scope| {
            let claims: Vec<_> = journals
                .iter_mut()
                .zip([ONE, TWO])
                .map(|(journal, writer)| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        journal.claim(writer, "", Claim::TakeOver)
                    })
                })
                .collect();
            claims.into_iter().map(|claim| claim.join().expect("a claim does not panic")).collect()
        });
        let mut begun: Vec<&Term> = claims.iter().flatten().collect();
        begun.sort_by_key(|term| term.epoch);
        assert!(!begun.is_empty(), "one of them is heard: {claims:?}");
        let epochs: Vec<u32> = begun.iter().map(|term| term.epoch).collect();
        let wanted: Vec<u32> = (last + 1..).take(begun.len()).collect();
        assert_eq!(epochs, wanted, "an epoch has one writer, and none is left out: {claims:?}");
        for error in claims.iter().filter_map(|claim| claim.as_ref().err()) {
            assert_eq!(error.code, Code::NotTheWriter, "{error}");
        }
        last += begun.len() as u32;
        for (term, journal) in claims.iter().flatten().zip(&mut journals) {
            assert_eq!(look(&mut **journal, 0).term.epoch, last, "{term:?}");
        }
        // Whoever was overtaken at once writes nothing.
        for term in begun {
            let journal = &mut *journals[usize::from(term.writer == TWO)];
            let batch = maker_of(journal, term).batch(&[1]);
            let outcome = journal.commit(&batch);
            let wanted = if term.epoch == last {
                Outcome::Appended(batch.tail)
            } else {
                Outcome::Conflict(batch.expected)
            };
            assert_eq!(outcome, wanted);
        }
    }
}

fn a_look_tells_tail_term_and_the_checksum_where_a_batch_ends(bench: &mut dyn SharedBench) {
    let (mut writer, mut maker) = claimed(bench, "http://one");
    let term = look(&mut *writer, 0).term;
    let mut other = founded(bench);
    let mut ends = vec![maker.tail];
    for counts in [&[1][..], &[2, 3], &[1, 1, 1], &[40]] {
        appended(&mut *writer, &maker.batch(counts));
        ends.push(maker.tail);
        for journal in [&mut writer, &mut other] {
            for at in (0..maker.tail.position + 3).chain([u64::MAX]) {
                let here = ends.iter().find(|end| end.position == at).map(|end| end.checksum);
                let wanted = View { tail: maker.tail, checksum: here, term: term.clone() };
                assert_eq!(look(&mut **journal, at), wanted, "at {at}");
            }
        }
    }
}

fn a_look_after_a_trim_tells_what_is_kept(bench: &mut dyn SharedBench) {
    let (mut writer, mut maker) = claimed(bench, "http://one");
    let batches: Vec<Batch> = (0..6).map(|_| maker.batch(&[2])).collect();
    for batch in &batches {
        appended(&mut *writer, batch);
    }
    for before in [5, maker.tail.position, u64::MAX] {
        writer.trim(before).expect("a healthy journal can be trimmed");
        for Batch { tail, .. } in &batches {
            let view = look(&mut *writer, tail.position);
            assert_eq!(view.tail, maker.tail, "the end is told whatever is gone");
            if tail.position > before || *tail == maker.tail {
                assert_eq!(view.checksum, Some(tail.checksum), "what ends after {before} stays");
            } else {
                assert!(view.checksum.is_none_or(|checksum| checksum == tail.checksum));
            }
        }
    }
    appended(&mut *writer, &maker.batch(&[1]));
}

fn what_the_writer_erases_is_gone_and_everything_else_of_the_batch_stays(bench: &mut dyn SharedBench) {
    let (mut writer, mut maker) = claimed(bench, "");
    let batches: Vec<Batch> = (0..3).map(|_| maker.batch(&[2])).collect();
    for batch in &batches {
        appended(&mut *writer, batch);
    }
    let all =
        |journal: &mut dyn SharedJournal| journal.read(0, usize::MAX >> 1).expect("the journal can be read");
    let before = all(&mut *writer);
    let mut left = Vec::new();
    let erase = Erase { data: true, ..Erase::default() };
    let changed = frame::rewrite(&before[1].frames, &mut left, |_, _| erase);
    assert!(changed.is_some_and(|changed| changed > 0), "the batch is one frame with data");
    let erased = Batch { frames: left.into(), ..before[1].clone() };
    assert_eq!(writer.rewrite(&erased), Ok(true));
    let mut expected = before.clone();
    expected[1] = erased.clone();
    assert_eq!(all(&mut *writer), expected);
    assert_eq!(all(&mut *bench.connect()), expected);
    assert_eq!(look(&mut *writer, batches[1].tail.position).checksum, Some(batches[1].tail.checksum));

    let elsewhere = Tail { checksum: erased.tail.checksum ^ 1, ..erased.tail };
    assert_eq!(writer.rewrite(&Batch { tail: elsewhere, ..erased }), Ok(false));
    let mut other = bench.connect();
    taken_over(&mut *other, TWO, "");
    let late = writer.rewrite(&before[1]).expect_err("the term is over");
    assert_eq!(late.code, Code::NotTheWriter);
    assert_eq!(all(&mut *other), expected);
}

fn a_look_follows_a_journal_that_lost_its_end(bench: &mut dyn SharedBench) {
    let (mut writer, mut maker) = claimed(bench, "http://one");
    let mut other = founded(bench);
    let batches: Vec<Batch> = (0..5).map(|_| maker.batch(&[1, 1])).collect();
    for batch in &batches {
        appended(&mut *writer, batch);
        assert_eq!(look(&mut *other, batch.tail.position).checksum, Some(batch.tail.checksum));
    }
    if !bench.lose_last(2) {
        return;
    }
    let (kept, end) = (batches[2].tail, batches[4].tail);
    for journal in [&mut writer, &mut other] {
        for lost in &batches[3..] {
            let view = look(&mut **journal, lost.tail.position);
            assert_eq!((view.tail, view.checksum), (kept, None), "it does not answer from memory");
        }
        assert_eq!(look(&mut **journal, kept.position).checksum, Some(kept.checksum));
        assert!(frames(&mut **journal, kept.position).is_empty());
    }
    assert_eq!(writer.commit(&maker.batch(&[1])), Outcome::Conflict(kept), "it ends elsewhere now");
    // Somebody else writes something else in that place.
    let term = taken_over(&mut *other, TWO, "http://two");
    let mut next = maker_of(&mut *other, &term);
    for counts in [&[2][..], &[2], &[1]] {
        appended(&mut *other, &next.batch(counts));
    }
    let view = look(&mut *writer, end.position);
    assert_eq!(view.tail, next.tail);
    assert!(view.checksum.is_some_and(|checksum| checksum != end.checksum), "{view:?}");
}

fn a_wait_ends_with_a_commit_of_somebody_else_or_with_its_time(bench: &mut dyn SharedBench) {
    let (mut writer, mut maker) = claimed(bench, "http://one");
    let mut other = founded(bench);
    let began = Instant::now();
    for round in 0..ROUNDS {
        let beyond = maker.tail.position;
        scope(|scope| {
            let other = &mut *other;
            let waiting = scope.spawn(move || {
                // Early is allowed; late is not.
                while look(other, 0).tail.position <= beyond {
                    other.wait(beyond, LONG).expect("a healthy journal can be waited for");
                }
            });
            appended(&mut *writer, &maker.batch(&[1]));
            waiting.join().expect("waiting does not panic");
        });
        // What came before the wait counts as well.
        other.wait(beyond, LONG).expect("a healthy journal can be waited for");
        assert!(began.elapsed() < LONG, "nobody told of the commit of round {round}");
    }
    other.wait(maker.tail.position, Duration::from_millis(50)).expect("that nothing comes is no error");
    assert!(began.elapsed() < LONG, "a wait ends with its time");
}

fn a_connection_that_is_cut_connects_again_and_its_term_goes_on(bench: &mut dyn SharedBench) {
    let (mut writer, mut maker) = claimed(bench, "http://one");
    let term = look(&mut *writer, 0).term;
    let mut other = founded(bench);
    for _ in 0..3 {
        if !bench.cut() {
            return;
        }
        let batch = maker.batch(&[1, 2]);
        let stored = eventually("the batch is stored", || match writer.commit(&batch) {
            Outcome::Appended(_) => Some((batch.writer, batch.number)),
            Outcome::Conflict(_) | Outcome::Unknown(_) => {
                let found = writer.read(batch.expected.position, 1).ok()?;
                found.first().map(|found| (found.writer, found.number))
            }
        });
        assert_eq!(stored, (batch.writer, batch.number));
        let view = eventually("it is seen", || other.look(batch.tail.position).ok());
        assert_eq!(view, View { tail: batch.tail, checksum: Some(batch.tail.checksum), term: term.clone() });
    }
}

fn a_wait_ends_with_its_connection(bench: &mut dyn SharedBench) {
    let (_writer, maker) = claimed(bench, "http://one");
    let mut other = founded(bench);
    if !bench.cut() {
        return;
    }
    let began = Instant::now();
    scope(|scope| {
        let other = &mut *other;
        let waiting = scope.spawn(move || other.wait(maker.tail.position, LONG).err());
        // Before it waits a cut would only make it connect again.
        eventually("the wait ends", || {
            bench.cut();
            waiting.is_finished().then_some(())
        });
        if let Some(error) = waiting.join().expect("waiting does not panic") {
            assert_eq!(error.code, Code::JournalUnreachable, "{error}");
        }
    });
    assert!(began.elapsed() < LONG, "it ended by its time");
    eventually("it connects again", || other.look(0).ok());
}
