//! Groups and their consumers: what is delivered, to whom, and what is known of it after a restart.

mod groups_support;

use graven_engine::model::*;
use groups_support::*;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn events_are_delivered_acknowledged_and_not_delivered_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..50 {
        append(&store, &format!("loan-{}", number % 5), number);
        append(&store, "other-1", 1_000 + number);
    }
    let groups = store.groups();
    groups.create(&group("g"), &settings("loan")).unwrap();
    let mut consumer = connect(&groups, "g", 10);
    for expected in 0..30 {
        let delivery = next(&mut consumer);
        assert_eq!(number(&delivery.event), expected);
        assert_eq!((delivery.retries, delivery.replayed), (0, false));
        ack(&consumer, &delivery);
    }
    store.close().unwrap();
    assert_eq!(end(&mut consumer), Code::Closed);
    drop((consumer, store));

    let store = open(dir.path());
    let groups = store.groups();
    assert_eq!(groups.info(&group("g")).unwrap().lag_events, 20);
    let mut consumer = connect(&groups, "g", 10);
    for expected in 30..50 {
        let delivery = next(&mut consumer);
        assert_eq!(number(&delivery.event), expected);
        ack(&consumer, &delivery);
    }
    // Live from here.
    append(&store, "loan-9", 50);
    let delivery = next(&mut consumer);
    assert_eq!(number(&delivery.event), 50);
    ack(&consumer, &delivery);
    until("the checkpoint follows", || {
        groups.info(&group("g")).unwrap().checkpoint >= delivery.event.position.next()
    });
    let info = groups.info(&group("g")).unwrap();
    assert_eq!((info.lag_events, info.lag_exact, info.in_flight, info.parked), (0, true, 0, 0));
    assert_eq!(info.lag_time, Duration::ZERO);
    assert_eq!(info.done_total, 21);
}

#[test]
fn what_a_consumer_held_goes_to_another_one_when_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..8 {
        append(&store, "loan-1", number);
    }
    let groups = store.groups();
    groups.create(&group("g"), &settings("loan")).unwrap();
    let mut first = connect(&groups, "g", 4);
    let held: Vec<u64> = (0..4).map(|_| number(&next(&mut first).event)).collect();
    assert_eq!(held, [0, 1, 2, 3]);
    let mut second = connect(&groups, "g", 100);
    drop(first);
    let mut got = BTreeSet::new();
    let mut tried = Vec::new();
    while got.len() < 8 {
        let delivery = next(&mut second);
        assert!(got.insert(number(&delivery.event)));
        if delivery.retries > 0 {
            tried.push(number(&delivery.event));
        }
        ack(&second, &delivery);
    }
    // Only what it was probably at counts as a try.
    assert_eq!(tried, [0]);
}

#[test]
fn settings_change_without_losing_the_place_and_consumers_connect_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..20 {
        append(&store, "loan-1", number);
    }
    let groups = store.groups();
    let mut chosen = settings("loan");
    groups.create(&group("g"), &chosen).unwrap();
    assert_eq!(groups.create(&group("g"), &chosen).unwrap_err().code, Code::GroupExists);
    let mut consumer = connect(&groups, "g", 5);
    for _ in 0..7 {
        let delivery = next(&mut consumer);
        ack(&consumer, &delivery);
    }
    let held = next(&mut consumer);
    chosen.strategy = Strategy::DispatchToSingle;
    chosen.consumers_max = 1;
    groups.update(&group("g"), &chosen).unwrap();
    assert_eq!(end(&mut consumer), Code::GroupChanged);
    assert_eq!(consumer.handle().ack(&[held.event.position]).unwrap_err().code, Code::GroupChanged);
    assert_eq!(groups.info(&group("g")).unwrap().settings, chosen);
    chosen.selector = Selector::All;
    assert_eq!(groups.update(&group("g"), &chosen).unwrap_err().code, Code::InvalidGroup);

    let mut consumer = connect(&groups, "g", 5);
    let full =
        groups.connect(&group("g"), ConsumerOptions { name: "x".into(), address: "".into(), buffer: 1 });
    assert_eq!(full.err().unwrap().code, Code::GroupFull);
    assert_eq!(number(&next(&mut consumer).event), 7);
    groups.reset(&group("g"), Start::Start).unwrap();
    assert_eq!(end(&mut consumer), Code::GroupChanged);
    let mut consumer = connect(&groups, "g", 5);
    assert_eq!(number(&next(&mut consumer).event), 0);
    groups.reset(&group("g"), Start::Position(held.event.position.next())).unwrap();
    let mut consumer = connect(&groups, "g", 5);
    assert_eq!(number(&next(&mut consumer).event), 8);
    groups.restart().unwrap();
    assert_eq!(end(&mut consumer), Code::GroupChanged);
    let mut consumer = connect(&groups, "g", 5);
    assert_eq!(number(&next(&mut consumer).event), 8);
    groups.delete(&group("g")).unwrap();
    assert_eq!(end(&mut consumer), Code::GroupNotFound);
    assert_eq!(groups.info(&group("g")).unwrap_err().code, Code::GroupNotFound);
    assert_eq!(groups.list().unwrap(), []);
    // One of the same name begins anew.
    groups.create(&group("g"), &settings("loan")).unwrap();
    let mut consumer = connect(&groups, "g", 5);
    assert_eq!(number(&next(&mut consumer).event), 0);
}

#[test]
fn what_times_out_is_delivered_again_and_a_late_acknowledgement_means_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "loan-1", 1);
    let groups = store.groups();
    let chosen = GroupSettings {
        message_timeout: Some(Duration::from_millis(30)),
        retries_max: 2,
        ..settings("loan")
    };
    groups.create(&group("g"), &chosen).unwrap();
    let mut slow = connect(&groups, "g", 1);
    let first = next(&mut slow);
    let second = next(&mut slow);
    assert_eq!((first.retries, second.retries), (0, 1));
    let third = next(&mut slow);
    assert_eq!(third.retries, 2);
    until("it is parked", || groups.info(&group("g")).unwrap().parked == 1);
    assert_eq!(slow.handle().ack(&[third.event.position]).unwrap(), 0);
    let letter = &letters(&groups, "g")[0];
    assert_eq!((letter.reason, letter.attempts), (ParkReason::TimedOut, 3));
    assert_eq!((&*letter.consumer, &*letter.error), ("consumer of g", "no answer in time"));
}

#[test]
fn groups_on_everything_never_get_what_groups_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let groups = store.groups();
    let all = GroupSettings { selector: Selector::All, ..settings("x") };
    groups.create(&group("all"), &all).unwrap();
    groups.create(&group("loans"), &settings("loan")).unwrap();
    let mut everything = connect(&groups, "all", 100);
    let mut loans = connect(&groups, "loans", 100);
    for number in 0..30 {
        append(&store, "loan-1", number);
        let delivery = next(&mut loans);
        ack(&loans, &delivery);
        let delivery = next(&mut everything);
        assert_eq!(delivery.event.stream, stream("loan-1"));
        ack(&everything, &delivery);
    }
    until("both have their checkpoints", || {
        groups.list().unwrap().iter().all(|info| info.checkpointed_event == info.last_event)
    });
    let head = store.head();
    // Nothing leads to anything more.
    assert!(next_within(&mut everything, Duration::from_millis(100)).is_none());
    assert_eq!(store.head(), head);
    for bad in ["$groups", "$group-all", "$$$group-all", "$$$groups"] {
        let refused = store.append(AppendRequest::to(stream(bad), Expected::Any, [event(1)])).unwrap_err();
        assert_eq!(refused.code, Code::InvalidStreamName, "{bad}");
    }
}

#[test]
fn a_group_on_a_stream_begins_at_a_revision_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, "loan-1", 0);
    let groups = store.groups();
    let chosen = GroupSettings {
        selector: Selector::Stream(stream("loan-1")),
        start: Start::Revision(Revision(3)),
        ..settings("loan")
    };
    groups.create(&group("g"), &chosen).unwrap();
    let mut consumer = connect(&groups, "g", 10);
    for number in 1..5 {
        append(&store, "loan-1", number);
    }
    assert_eq!(number(&next(&mut consumer).event), 3);
    assert_eq!(number(&next(&mut consumer).event), 4);
}
