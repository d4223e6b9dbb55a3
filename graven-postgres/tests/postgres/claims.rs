use crate::support::{ONE, TWO, append, claimed, founded, fresh_schema, settings};
use graven_engine::journal::{Claim, Journal, Outcome, SharedJournal};
use graven_model::Code;
use graven_model::error::Details;
use graven_pgtest::{Cluster, Proxy, wait_until};
use std::sync::Barrier;

#[test]
fn of_two_claims_at_once_one_wins() {
    let settings = settings(Cluster::shared().port(), &fresh_schema());
    let mut journals = [founded(settings.clone()), founded(settings)];
    for round in 1..=20 {
        let start = Barrier::new(2);
        let claims: Vec<_> = std::thread::scope(|scope| {
            let claims: Vec<_> = journals
                .iter_mut()
                .zip([ONE, TWO])
                .map(|(journal, writer)| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        journal.claim(writer, "http://w", Claim::TakeOver)
                    })
                })
                .collect();
            claims.into_iter().map(|claim| claim.join().expect("no claim panics")).collect()
        });
        let mut epochs: Vec<u32> = claims.iter().flatten().map(|term| term.epoch).collect();
        epochs.dedup();
        assert_eq!(epochs.len(), claims.iter().flatten().count(), "an epoch has one writer: {claims:?}");
        assert!(!epochs.is_empty(), "one of them wins: {claims:?}");
        for error in claims.iter().filter_map(|claim| claim.as_ref().err()) {
            assert_eq!(error.code, Code::NotTheWriter, "round {round}");
        }
        let term = journals[0].look(0).unwrap().term;
        assert!(claims.iter().flatten().any(|claimed| *claimed == term), "{claims:?}, {term:?}");
    }
}

#[test]
fn a_claim_if_vacant_is_refused_while_a_writer_is_connected() {
    let settings = settings(Cluster::shared().port(), &fresh_schema());
    let (writer, _) = claimed(settings.clone());
    let mut other = founded(settings);
    let error = other.claim(TWO, "http://two", Claim::IfVacant).unwrap_err();
    assert_eq!(error.code, Code::NotTheWriter);
    assert_eq!(error.details, Details::Writer("http://one".to_owned()));
    assert_eq!(other.look(0).unwrap().term.epoch, 1);
    drop(writer);
    let term =
        wait_until("the writer's end is noticed", || other.claim(TWO, "http://two", Claim::IfVacant).ok());
    assert_eq!((term.epoch, &*term.address), (2, "http://two"));
}

#[test]
fn a_writer_that_connects_anew_keeps_others_out_again() {
    let proxy = Proxy::start(Cluster::shared().port());
    let schema = fresh_schema();
    let (mut writer, mut maker) = claimed(settings(proxy.port(), &schema));
    append(&mut writer, &mut maker, 10);
    proxy.cut();
    append(&mut writer, &mut maker, 10);
    // Once its old session is gone, which the server has to notice, the lock is free, and had again with the next look.
    let sessions = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = ";
    let session = |pid: &str| Cluster::shared().sql(&format!("{sessions}{pid}")) == "1";
    wait_until("the lock is had again", || {
        writer.look(0).unwrap();
        let pid = Cluster::shared().sql(&format!(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '%{schema}%' AND pid <> pg_backend_pid() LIMIT 1"
        ));
        (!pid.is_empty() && session(&pid)).then_some(())
    });
    let mut other = founded(settings(Cluster::shared().port(), &schema));
    assert_eq!(other.claim(TWO, "", Claim::IfVacant).unwrap_err().code, Code::NotTheWriter);
}

#[test]
fn a_take_over_ends_a_writer_that_is_connected() {
    let settings = settings(Cluster::shared().port(), &fresh_schema());
    let (mut old, mut maker) = claimed(settings.clone());
    append(&mut old, &mut maker, 10);
    let mut new = founded(settings.clone());
    assert_eq!(new.claim(TWO, "http://two", Claim::TakeOver).unwrap().epoch, 2);
    assert_eq!(old.commit(&maker.batch(10)), Outcome::Conflict(new.tail()));
    // The old one has left the lock to the new one by now, which takes it when it looks.
    new.look(0).unwrap();
    drop(old);
    let error = founded(settings).claim(ONE, "", Claim::IfVacant).unwrap_err();
    assert_eq!(error.details, Details::Writer("http://two".to_owned()));
}

#[test]
fn a_batch_of_an_epoch_nobody_began_is_refused() {
    let (mut journal, mut maker) = claimed(settings(Cluster::shared().port(), &fresh_schema()));
    let first = append(&mut journal, &mut maker, 10);
    maker.epoch = 7;
    assert_eq!(journal.commit(&maker.batch(10)), Outcome::Conflict(first.tail));
}
