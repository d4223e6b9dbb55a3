use crate::support::{HASTY, append, claimed, founded, fresh_schema, hasty, settings};
use graven_engine::journal::{Journal, SharedJournal};
use graven_model::Code;
use graven_pgtest::{Cluster, Proxy, wait_until};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_commit_wakes_those_who_wait() {
    let settings = settings(Cluster::shared().port(), &fresh_schema());
    let (mut writer, mut maker) = claimed(settings.clone());
    let mut follower = founded(settings);
    follower.wait(0, Duration::from_millis(1)).unwrap(); // it listens from now on
    let began = Instant::now();
    for _ in 0..20 {
        let beyond = follower.tail().position;
        std::thread::scope(|scope| {
            let follower = &mut follower;
            let waiting = scope.spawn(move || follower.wait(beyond, LONG));
            append(&mut writer, &mut maker, 100);
            waiting.join().expect("waiting does not panic").unwrap();
        });
        follower.read(beyond, 1 << 20).unwrap();
        assert_eq!(follower.tail(), maker.tail);
    }
    assert!(began.elapsed() < LONG, "nobody waited in vain");
}

#[test]
fn what_was_told_during_other_calls_or_before_listening_counts() {
    let settings = settings(Cluster::shared().port(), &fresh_schema());
    let (mut writer, mut maker) = claimed(settings.clone());
    let mut follower = founded(settings);
    append(&mut writer, &mut maker, 100);
    follower.wait(0, LONG).unwrap();
    append(&mut writer, &mut maker, 100);
    follower.look(0).unwrap();
    follower.wait(0, LONG).unwrap();
}

#[test]
fn waiting_ends_with_its_time_or_its_connection() {
    let proxy = Proxy::start(Cluster::shared().port());
    let (mut journal, _) = claimed(hasty(proxy.port(), &fresh_schema()));
    let began = Instant::now();
    // Longer than a call may take: a wait is not one.
    let longer = HASTY + Duration::from_millis(200);
    journal.wait(0, longer).unwrap();
    assert!(began.elapsed() >= longer);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| journal.wait(0, LONG));
        // A cut before it waits would only make it connect anew.
        wait_until("the wait ends", || {
            proxy.cut();
            waiting.is_finished().then_some(())
        });
        let outcome = waiting.join().expect("waiting does not panic");
        assert_eq!(outcome.unwrap_err().code, Code::JournalUnreachable);
    });
    assert!(began.elapsed() < LONG);
    journal.wait(0, Duration::from_millis(1)).unwrap();
}
