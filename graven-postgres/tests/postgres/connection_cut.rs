use crate::support::{Maker, all, append, claimed, founded, fresh_schema, hasty, settings, wait_until_quiet};
use graven_engine::journal::{Claim, Journal, Outcome, SharedJournal};
use graven_model::Code;
use graven_pgtest::{Cluster, Proxy, Way};

/// A batch that takes many reads to arrive.
const BYTES: usize = 300_000;

#[test]
fn a_batch_that_is_cut_off_is_there_wholly_or_not_at_all() {
    let server = Cluster::shared().port();
    let proxy = Proxy::start(server);
    let schema = fresh_schema();
    let (mut journal, mut maker) = claimed(settings(proxy.port(), &schema));
    let mut stored = vec![append(&mut journal, &mut maker, 10)];
    let mut beside = founded(settings(server, &schema));
    for bytes in [0, 1, 100, 4_096, 100_000, BYTES - 1, BYTES, BYTES + 50] {
        let batch = maker.batch(BYTES);
        wait_until_quiet(&proxy);
        proxy.cut_after_bytes(Way::ToServer, bytes);
        let outcome = journal.commit(&batch);
        assert!(
            matches!(&outcome, Outcome::Unknown(error) if error.code == Code::JournalUnreachable),
            "{outcome:?}"
        );
        // The journal finds out by reading, over a new connection.
        let found = journal.read(batch.expected.position, 1 << 20).expect("it connects anew");
        assert_eq!(found, [], "after {bytes} bytes of {BYTES}");
        assert_eq!(journal.tail(), batch.expected);
        maker.tail = batch.expected;
        stored.push(append(&mut journal, &mut maker, BYTES));
    }
    assert_eq!(all(&mut beside, 0), stored);
}

#[test]
fn a_batch_whose_answer_is_lost_is_found_by_reading() {
    let server = Cluster::shared().port();
    let proxy = Proxy::start(server);
    let (mut journal, mut maker) = claimed(settings(proxy.port(), &fresh_schema()));
    append(&mut journal, &mut maker, 10);
    for bytes in [0, 1, 5, 10, 15] {
        let batch = maker.batch(BYTES);
        wait_until_quiet(&proxy);
        proxy.cut_after_bytes(Way::ToClient, bytes);
        assert!(matches!(journal.commit(&batch), Outcome::Unknown(_)), "after {bytes} bytes of the answer");
        assert_eq!(journal.read(batch.expected.position, 1 << 20).unwrap(), std::slice::from_ref(&batch));
        assert_eq!(journal.commit(&batch), Outcome::Conflict(batch.tail), "it is not stored twice");
    }
    append(&mut journal, &mut maker, 10);
}

#[test]
fn a_server_that_does_not_answer_in_time_leaves_the_outcome_unknown() {
    let server = Cluster::shared().port();
    let proxy = Proxy::start(server);
    let schema = fresh_schema();
    let (mut journal, mut maker) = claimed(hasty(proxy.port(), &schema));
    append(&mut journal, &mut maker, 10);
    proxy.pause(Way::ToClient);
    let batch = maker.batch(100);
    let Outcome::Unknown(error) = journal.commit(&batch) else { panic!("nobody answered") };
    assert_eq!(error.code, Code::JournalUnreachable);
    assert!(error.message.contains("in time"), "{error}");
    // As long as nobody answers, calls end in time all the same.
    assert_eq!(journal.read(0, 100).unwrap_err().code, Code::JournalUnreachable);
    proxy.resume(Way::ToClient);
    assert_eq!(journal.read(batch.expected.position, 1 << 20).unwrap(), [batch]);
}

#[test]
fn a_batch_that_is_held_up_is_not_stored_after_a_claim() {
    let server = Cluster::shared().port();
    let proxy = Proxy::start(server);
    let schema = fresh_schema();
    let (mut old, mut maker) = claimed(settings(proxy.port(), &schema));
    let first = append(&mut old, &mut maker, 10);
    let mut new = founded(settings(server, &schema));
    std::thread::scope(|scope| {
        proxy.pause(Way::ToServer);
        let late = maker.batch(1_000);
        let old = &mut old;
        let sent = scope.spawn(move || old.commit(&late));
        proxy.wait_until_held(Way::ToServer);
        let term = new.claim([2; 16], "http://two", Claim::TakeOver).unwrap();
        assert_eq!(term.epoch, 2);
        proxy.resume(Way::ToServer);
        // Whatever it is told: it is not stored.
        assert_eq!(sent.join().expect("it does not panic"), Outcome::Conflict(first.tail));
    });
    assert_eq!(all(&mut new, 0), std::slice::from_ref(&first));
    let mut next = Maker::after(first.tail, 2);
    append(&mut new, &mut next, 10);
}

#[test]
fn a_batch_that_was_cut_off_and_runs_on_is_refused_after_its_place_was_trimmed() {
    let server = Cluster::shared();
    let schema = fresh_schema();
    let (mut journal, mut maker) = claimed(settings(server.port(), &schema));
    append(&mut journal, &mut maker, 10);
    let late = maker.batch(10);
    maker.tail = late.expected;
    append(&mut journal, &mut maker, 10);
    append(&mut journal, &mut maker, 10);
    journal.trim(maker.tail.position).unwrap();
    assert_eq!(server.sql(&format!("SELECT count(*) FROM {schema}.batches")), "1");
    // The statement as it would go on that saw the journal end where the late batch expects it: no key is in its way.
    let stored = server.sql(&format!(
        "WITH stored AS (INSERT INTO {schema}.batches
            SELECT {first}, {end}, 0, 0, 1, decode(repeat('00', 16), 'hex'), 1, '', 0
            FROM (SELECT FROM {schema}.meta WHERE epoch = 1 AND trimmed <= {first} FOR SHARE) AS term RETURNING 1)
        SELECT count(*) FROM stored",
        first = late.expected.position,
        end = late.tail.position,
    ));
    assert_eq!(stored, "0");
}
