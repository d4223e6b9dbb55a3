use crate::support::{TWO, all, append, claimed, founded, fresh_schema, hasty, identity, settings};
use graven_engine::journal::{Claim, Journal, Outcome, SharedJournal};
use graven_model::Code;
use graven_pgtest::{Cluster, PASSWORD, Proxy, Replication, Way, wait_until};
use graven_postgres::{PostgresJournal, Settings};
use std::time::Duration;

#[test]
fn a_standby_that_is_promoted_without_the_last_commits_shows_it() {
    let mut first = Cluster::start();
    let schema = fresh_schema();
    let line = Proxy::start(first.port());
    let second = first.standby(Replication::Asynchronous, line.port());
    let url = format!(
        "postgresql://postgres:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        first.port(),
        second.port()
    );
    let both = Settings { schema: schema.clone(), ..Settings::new(url) };
    let (mut writer, mut maker) = claimed(both.clone());
    let kept = append(&mut writer, &mut maker, 100);
    let mut reader = wait_until("the standby has it", || {
        let reader = PostgresJournal::open(settings(second.port(), &schema)).ok()?;
        (reader.tail() == kept.tail).then_some(reader)
    });
    assert_eq!(all(&mut reader, 0), std::slice::from_ref(&kept), "a standby can be read");
    line.pause(Way::ToClient);
    let lost = append(&mut writer, &mut maker, 100);
    let mut follower = founded(both);
    assert_eq!(follower.look(lost.tail.position).unwrap().checksum, Some(lost.tail.checksum));

    first.sigkill();
    drop(line);
    second.promote();
    let view = follower.look(lost.tail.position).expect("the other host is found");
    assert_eq!((view.tail, view.checksum), (kept.tail, None));
    assert_eq!(follower.look(kept.tail.position).unwrap().checksum, Some(kept.tail.checksum));
    // The writer is told where the journal ends now, not where it once did.
    assert_eq!(writer.commit(&maker.batch(10)), Outcome::Conflict(kept.tail));
    assert_eq!(writer.tail(), kept.tail);
    assert_eq!(follower.claim(TWO, "", Claim::TakeOver).unwrap().epoch, 2);
}

#[test]
fn a_standby_is_read_and_followed_and_takes_nothing() {
    let first = Cluster::start();
    let schema = fresh_schema();
    let (mut writer, mut maker) = claimed(settings(first.port(), &schema));
    append(&mut writer, &mut maker, 100);
    let second = first.standby(Replication::Synchronous, first.port());
    let mut reader = PostgresJournal::open(settings(second.port(), &schema)).unwrap();
    assert_eq!(reader.identity().unwrap(), Some(identity()));
    let batch = append(&mut writer, &mut maker, 100);
    reader.wait(batch.expected.position, Duration::from_secs(30)).unwrap();
    assert_eq!(reader.read(batch.expected.position, 100).unwrap(), [batch]);

    let next = maker.batch(10);
    let Outcome::Unknown(error) = reader.commit(&next) else { panic!("it is a standby") };
    let errors = [
        error,
        reader.claim(TWO, "", Claim::TakeOver).unwrap_err(),
        reader.found(&identity()).unwrap_err(),
        reader.trim(1).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code, Code::JournalUnreachable);
        assert!(error.message.contains("standby"), "{error}");
        assert!(error.to_string().contains("target_session_attrs=read-write"), "{error}");
    }
    let error = PostgresJournal::open(Settings {
        schema: schema.clone(),
        ..Settings::new(format!("{}?target_session_attrs=read-write", second.url()))
    })
    .unwrap_err();
    assert!(error.message.contains("does not allow writes"), "{error}");
    // Where there is no journal yet, none can be made.
    let mut none = PostgresJournal::open(settings(second.port(), &fresh_schema())).unwrap();
    assert_eq!(none.identity().unwrap(), None);
    assert_eq!(none.read(0, 100).unwrap(), []);
}

#[test]
fn a_commit_that_the_standby_did_not_acknowledge_is_not_acknowledged() {
    let first = Cluster::start();
    let schema = fresh_schema();
    let line = Proxy::start(first.port());
    let second = first.standby(Replication::Synchronous, line.port());
    let (mut writer, mut maker) = claimed(hasty(first.port(), &schema));
    append(&mut writer, &mut maker, 100);
    line.pause(Way::ToClient);
    let batch = maker.batch(100);
    assert!(matches!(writer.commit(&batch), Outcome::Unknown(_)), "no standby has it");
    // Nor is it by reading: over the writer's new connection, a transaction waits for the standby before anything is read.
    assert_eq!(writer.read(batch.expected.position, 100).unwrap_err().code, Code::JournalUnreachable);
    line.resume(Way::ToClient);
    let found = wait_until("the standby is back", || writer.read(batch.expected.position, 100).ok());
    assert_eq!(found, [batch]);
    drop(second);
}

#[test]
fn a_commit_whose_wait_for_the_standby_is_ended_by_hand_is_not_acknowledged() {
    let first = Cluster::start();
    let schema = fresh_schema();
    let line = Proxy::start(first.port());
    let _second = first.standby(Replication::Synchronous, line.port());
    let (mut writer, mut maker) = claimed(settings(first.port(), &schema));
    append(&mut writer, &mut maker, 100);
    line.pause(Way::ToClient);
    let batch = maker.batch(100);
    std::thread::scope(|scope| {
        let writer = &mut writer;
        let committing = scope.spawn(|| writer.commit(&batch));
        wait_until("the commit waits", || {
            let ended = first.sql(
                "SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
            );
            (ended == "1").then_some(())
        });
        let outcome = committing.join().expect("a commit does not panic");
        let Outcome::Unknown(error) = outcome else { panic!("no standby has it: {outcome:?}") };
        assert!(error.message.contains("synchronous replication"), "{error}");
    });
    line.resume(Way::ToClient);
    assert_eq!(writer.read(batch.expected.position, 100).unwrap(), [batch]);
}

#[test]
fn a_claim_waits_for_commits_under_way() {
    let first = Cluster::start();
    let schema = fresh_schema();
    let line = Proxy::start(first.port());
    let _second = first.standby(Replication::Synchronous, line.port());
    let (mut writer, mut maker) = claimed(settings(first.port(), &schema));
    append(&mut writer, &mut maker, 100);
    let mut other = founded(hasty(first.port(), &schema));
    line.pause(Way::ToClient);
    let batch = maker.batch(100);
    std::thread::scope(|scope| {
        let (writer, batch) = (&mut writer, &batch);
        let committing = scope.spawn(move || writer.commit(batch));
        wait_until("the commit waits", || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            (first.sql(waiting) == "1").then_some(())
        });
        let error = other.claim(TWO, "", Claim::TakeOver).unwrap_err();
        assert!(error.message.contains("in time"), "{error}");
        line.resume(Way::ToClient);
        assert_eq!(committing.join().expect("a commit does not panic"), Outcome::Appended(batch.tail));
    });
    wait_until("it is claimed", || other.claim(TWO, "", Claim::TakeOver).ok());
    assert_eq!(writer.commit(&maker.batch(10)), Outcome::Conflict(batch.tail));
}
