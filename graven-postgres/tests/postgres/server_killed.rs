use crate::support::{all, append, claimed, fresh_schema, settings};
use graven_engine::journal::{Batch, Journal, Outcome, SharedJournal};
use graven_model::Code;
use graven_pgtest::{Cluster, wait_until};
use std::sync::Mutex;

#[test]
fn what_was_acknowledged_is_there_after_the_server_was_killed() {
    let mut cluster = Cluster::start();
    let (mut journal, mut maker) = claimed(settings(cluster.port(), &fresh_schema()));
    let mut acknowledged: Vec<Batch> = Vec::new();
    for round in 0..3 {
        for _ in 0..10 {
            acknowledged.push(append(&mut journal, &mut maker, 20_000));
        }
        // Between commits first, then in the middle of them.
        if round == 0 {
            cluster.sigkill();
            let batch = maker.batch(10);
            maker.tail = batch.expected;
            let Outcome::Unknown(error) = journal.commit(&batch) else { panic!("there is no server") };
            assert_eq!(error.code, Code::JournalUnreachable);
        } else {
            let told = Mutex::new(Vec::new());
            let mut sent = None;
            std::thread::scope(|scope| {
                let (journal, maker, sent, told) = (&mut journal, &mut maker, &mut sent, &told);
                let writing = scope.spawn(move || {
                    loop {
                        let batch = maker.batch(200_000);
                        match journal.commit(&batch) {
                            Outcome::Appended(_) => told.lock().unwrap().push(batch),
                            Outcome::Unknown(_) => break *sent = Some(batch),
                            Outcome::Conflict(tail) => panic!("nobody else writes, and it ends at {tail:?}"),
                        }
                    }
                });
                wait_until("some are acknowledged", || (told.lock().unwrap().len() > 3).then_some(()));
                cluster.sigkill();
                writing.join().expect("the writer does not panic");
            });
            acknowledged.append(&mut told.into_inner().unwrap());
            cluster.restart();
            // The last one is there or not: what is read decides.
            let sent = sent.expect("the server was killed");
            let found = wait_until("the server is back", || journal.read(sent.expected.position, 1).ok());
            maker.tail = journal.tail();
            match found.first() {
                Some(found) => acknowledged.push(found.clone()),
                None => assert_eq!(journal.tail(), sent.expected),
            }
        }
        cluster.restart();
        assert_eq!(all(&mut journal, 0), acknowledged);
        assert_eq!(journal.look(0).unwrap().tail, maker.tail);
    }
}
