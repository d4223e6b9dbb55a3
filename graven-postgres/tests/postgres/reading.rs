use crate::support::{all, append, claimed, fresh_schema, settings};
use graven_engine::journal::{Journal, Outcome, SharedJournal};
use graven_model::Code;
use graven_model::limits::{APPEND_BYTES_MAX, BATCH_BYTES_MAX};
use graven_pgtest::Cluster;

#[test]
fn the_largest_batches_come_back_and_larger_ones_are_refused() {
    let (mut journal, mut maker) = claimed(settings(Cluster::shared().port(), &fresh_schema()));
    for bytes in [BATCH_BYTES_MAX, APPEND_BYTES_MAX] {
        let batch = append(&mut journal, &mut maker, bytes);
        assert!(journal.read(batch.expected.position, 1).unwrap() == [batch], "{bytes} bytes");
    }
    let tail = maker.tail;
    let Outcome::Unknown(error) = journal.commit(&maker.batch(APPEND_BYTES_MAX + 1)) else {
        panic!("it is too large")
    };
    assert_eq!(error.code, Code::AppendTooLarge);
    assert_eq!(journal.look(0).unwrap().tail, tail);
}

#[test]
fn reading_begins_with_the_batch_that_holds_the_position() {
    let (mut journal, mut maker) = claimed(settings(Cluster::shared().port(), &fresh_schema()));
    let batches: Vec<_> = (0..6).map(|_| append(&mut journal, &mut maker, 100)).collect();
    for (at, batch) in batches.iter().enumerate() {
        for position in batch.expected.position..batch.tail.position {
            assert_eq!(journal.read(position, 1 << 20).unwrap(), batches[at..]);
            assert_eq!(journal.read(position, 150).unwrap().len(), 2.min(batches.len() - at));
            assert_eq!(journal.read(position, 0).unwrap().len(), 1);
        }
    }
    assert_eq!(journal.read(u64::MAX, 100).unwrap(), []);
}

#[test]
fn reading_stops_at_a_gap() {
    let cluster = Cluster::shared();
    let schema = fresh_schema();
    let (mut journal, mut maker) = claimed(settings(cluster.port(), &schema));
    let batches: Vec<_> = (0..6).map(|_| append(&mut journal, &mut maker, 100)).collect();
    let gap = batches[2].expected.position;
    cluster.sql(&format!("UPDATE {schema}.batches SET checksum = 5 WHERE first_position = {gap}"));
    let read = journal.read(0, 1 << 20).unwrap();
    assert_eq!(read.len(), 3, "what follows a batch has to follow its checksum");
    cluster.sql(&format!("DELETE FROM {schema}.batches WHERE first_position = {gap}"));
    assert_eq!(journal.read(0, 1 << 20).unwrap(), batches[..2]);
}

#[test]
fn a_view_tells_what_stands_at_a_position_now() {
    let (mut journal, mut maker) = claimed(settings(Cluster::shared().port(), &fresh_schema()));
    let begin = journal.tail();
    let batches: Vec<_> = (0..4).map(|_| append(&mut journal, &mut maker, 100)).collect();
    assert_eq!(journal.look(0).unwrap().checksum, Some(begin.checksum));
    for batch in &batches {
        let view = journal.look(batch.tail.position).unwrap();
        assert_eq!((view.tail, view.checksum), (maker.tail, Some(batch.tail.checksum)));
        for inside in batch.expected.position + 1..batch.tail.position {
            assert_eq!(journal.look(inside).unwrap().checksum, None);
        }
    }
    for beyond in [maker.tail.position + 1, u64::MAX] {
        assert_eq!(journal.look(beyond).unwrap().checksum, None);
    }
}

#[test]
fn a_trim_keeps_what_is_needed_and_the_last_batch() {
    let cluster = Cluster::shared();
    let (mut journal, mut maker) = claimed(settings(cluster.port(), &fresh_schema()));
    journal.trim(5).unwrap(); // of nothing
    let batches: Vec<_> = (0..6).map(|_| append(&mut journal, &mut maker, 100)).collect();
    let before = batches[2].tail.position + 1;
    journal.trim(before).unwrap();
    assert_eq!(all(&mut journal, batches[3].expected.position), batches[3..]);
    assert_eq!(journal.look(batches[0].tail.position).unwrap().checksum, None);
    journal.trim(u64::MAX).unwrap();
    assert_eq!(all(&mut journal, batches[5].expected.position), batches[5..]);
    assert_eq!(journal.look(0).unwrap().tail, maker.tail);
    append(&mut journal, &mut maker, 100);
}

#[test]
fn frames_are_stored_as_they_are() {
    let cluster = Cluster::shared();
    let schema = fresh_schema();
    let (mut journal, mut maker) = claimed(settings(cluster.port(), &schema));
    let mut batch = maker.batch(100_000);
    batch.frames = vec![b'a'; 100_000].into();
    assert_eq!(journal.commit(&batch), Outcome::Appended(batch.tail));
    assert_eq!(cluster.sql(&format!("SELECT pg_column_size(frames) FROM {schema}.batches")), "100000");
}
