//! Dead letters: what is parked and why, and what becomes of it.

mod groups_support;

use graven_engine::Store;
use graven_engine::model::*;
use groups_support::*;
use std::time::Duration;

fn with_events(count: u64, streams: u64) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..count {
        append(&store, &format!("loan-{}", number % streams), number);
    }
    (dir, store)
}

#[test]
fn what_fails_too_often_is_parked_and_leaves_the_list_when_its_replay_is_done() {
    let (dir, store) = with_events(3, 1);
    let groups = store.groups();
    groups.create(&group("g"), &GroupSettings { retries_max: 2, ..settings("loan") }).unwrap();
    let mut consumer = connect(&groups, "g", 1);
    let mut tries = Vec::new();
    for _ in 0..5 {
        let delivery = next(&mut consumer);
        tries.push((number(&delivery.event), delivery.retries));
        if number(&delivery.event) == 0 {
            nack(&consumer, &delivery, Nack::Retry, &format!("no {}", delivery.retries));
        } else {
            ack(&consumer, &delivery);
        }
    }
    let of_the_bad: Vec<_> = tries.iter().filter(|(number, _)| *number == 0).collect();
    assert_eq!(of_the_bad, [&(0, 0), &(0, 1), &(0, 2)]);
    until("it is parked", || groups.info(&group("g")).unwrap().parked == 1);
    let parked = letters(&groups, "g");
    let letter = &parked[0];
    assert_eq!((letter.position, letter.revision), (Position(0), Revision(0)));
    assert_eq!((letter.reason, &*letter.error, letter.attempts), (ParkReason::RetriesExhausted, "no 2", 3));
    assert!(letter.first_failure <= letter.last_failure);
    drop(consumer);
    store.close().unwrap();
    drop(store);

    // Nothing of it changes by a restart.
    let store = open(dir.path());
    let groups = store.groups();
    assert_eq!(letters(&groups, "g"), parked);
    let mut consumer = connect(&groups, "g", 1);
    assert!(next_within(&mut consumer, Duration::from_millis(50)).is_none());

    // A replay that fails leaves it there, with what is new.
    assert_eq!(groups.count_dead_letters(&of_group("g")).unwrap(), 1);
    assert_eq!(groups.replay(&of_group("g"), None).unwrap(), 1);
    assert!(letters(&groups, "g")[0].replaying);
    let delivery = next(&mut consumer);
    assert_eq!((delivery.replayed, delivery.retries), (true, 3));
    nack(&consumer, &delivery, Nack::Park, "still no");
    until("it is parked again", || !letters(&groups, "g")[0].replaying);
    let letter = letters(&groups, "g").remove(0);
    assert_eq!((letter.reason, &*letter.error), (ParkReason::Requested, "still no"));
    assert_eq!((letter.attempts, letter.replays), (4, 1));
    assert!(letter.last_failure > parked[0].last_failure && letter.first_failure == parked[0].first_failure);

    groups.replay(&of_group("g"), None).unwrap();
    let delivery = next(&mut consumer);
    ack(&consumer, &delivery);
    until("it is gone", || groups.info(&group("g")).unwrap().parked == 0);
    drop((consumer, store));
    let store = open(dir.path());
    assert_eq!(letters(&store.groups(), "g"), []);
    assert_eq!(store.groups().info(&group("g")).unwrap().lag_events, 0);
}

#[test]
fn dead_letters_are_chosen_by_everything_known_of_them() {
    let (dir, store) = with_events(20, 4);
    let groups = store.groups();
    groups.create(&group("g"), &settings("loan")).unwrap();
    groups.create(&group("other"), &settings("loan")).unwrap();
    let mut consumer = connect(&groups, "g", 50);
    for _ in 0..20 {
        let delivery = next(&mut consumer);
        match number(&delivery.event) {
            n if n % 2 == 0 => nack(&consumer, &delivery, Nack::Park, &format!("no {n}")),
            3 => nack(&consumer, &delivery, Nack::Skip, "never mind"),
            _ => ack(&consumer, &delivery),
        }
    }
    until("all are done or parked", || groups.info(&group("g")).unwrap().lag_events == 0);
    let count = |filter: DeadLetterFilter| groups.count_dead_letters(&filter).unwrap();
    assert_eq!(count(DeadLetterFilter::default()), 10);
    assert_eq!(count(of_group("other")), 0);
    assert_eq!(count(DeadLetterFilter { stream: Some(stream("loan-2")), ..of_group("g") }), 5);
    assert_eq!(count(DeadLetterFilter { event_type: Some("Happened".into()), ..of_group("g") }), 10);
    assert_eq!(count(DeadLetterFilter { event_type: Some("Other".into()), ..of_group("g") }), 0);
    assert_eq!(count(DeadLetterFilter { reason: Some(ParkReason::Requested), ..of_group("g") }), 10);
    assert_eq!(count(DeadLetterFilter { reason: Some(ParkReason::TimedOut), ..of_group("g") }), 0);
    let some = DeadLetterFilter { positions: vec![Position(4), Position(5), Position(8)], ..of_group("g") };
    assert_eq!(count(some.clone()), 2);
    let last = letters(&groups, "g")[4].last_failure;
    let before = DeadLetterFilter { failed_before: Some(last), ..of_group("g") };
    let since = DeadLetterFilter { failed_since: Some(last), ..of_group("g") };
    assert_eq!(count(before) + count(since), 10);
    let missing = groups.count_dead_letters(&of_group("nobody")).unwrap_err();
    assert_eq!(missing.code, Code::GroupNotFound);

    // In pages.
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = groups.dead_letters(&DeadLetterFilter::default(), after.as_ref(), 3).unwrap();
        pages.extend(page.letters.iter().map(|letter| letter.position.0));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, (0..10).map(|n| n * 2).collect::<Vec<_>>());

    // What is skipped is gone for good.
    assert_eq!(groups.skip(&some, None).unwrap(), 2);
    assert_eq!(groups.skip(&of_group("g"), Some(3)).unwrap(), 3);
    let left = |groups: &graven_engine::Groups| -> Vec<u64> {
        letters(groups, "g").iter().map(|letter| letter.position.0).collect()
    };
    assert_eq!(left(&groups), [10, 12, 14, 16, 18]);
    drop((consumer, groups, store));
    let store = open(dir.path());
    assert_eq!(left(&store.groups()), [10, 12, 14, 16, 18]);
}

#[test]
fn in_an_ordered_group_a_parked_event_parks_what_follows_it_and_both_come_back_in_order() {
    let (dir, store) = with_events(12, 2);
    let groups = store.groups();
    let chosen = GroupSettings { strategy: Strategy::Ordered, retries_max: 1, ..settings("loan") };
    groups.create(&group("g"), &chosen).unwrap();
    let mut first = connect(&groups, "g", 10);
    let mut second = connect(&groups, "g", 10);
    let mut done = Vec::new();
    // The first of "loan-0" is poisoned.
    while done.len() < 6 {
        for consumer in [&mut first, &mut second] {
            let Some(delivery) = next_within(consumer, Duration::from_millis(20)) else { continue };
            let delivery = delivery.unwrap();
            if delivery.event.stream == stream("loan-0") {
                assert_eq!(number(&delivery.event), 0);
                nack(consumer, &delivery, Nack::Retry, "bad");
            } else {
                done.push(number(&delivery.event));
                ack(consumer, &delivery);
            }
        }
    }
    assert_eq!(done, [1, 3, 5, 7, 9, 11]);
    until("the rest is parked", || groups.info(&group("g")).unwrap().parked == 6);
    let reasons: Vec<_> = letters(&groups, "g").iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons[0], ParkReason::RetriesExhausted);
    assert!(reasons[1..].iter().all(|reason| *reason == ParkReason::Behind));
    drop((first, second, groups, store));

    let store = open(dir.path());
    let groups = store.groups();
    assert_eq!(groups.info(&group("g")).unwrap().parked, 6);
    // Repaired, and something newer comes meanwhile.
    append(&store, "loan-0", 12);
    let mut consumer = connect(&groups, "g", 10);
    until("what is new is parked, too", || groups.info(&group("g")).unwrap().parked == 7);
    let one = DeadLetterFilter { positions: vec![Position(0)], ..of_group("g") };
    assert_eq!(groups.replay(&one, Some(1)).unwrap(), 1);
    append(&store, "loan-0", 14);
    let mut again = Vec::new();
    while again.len() < 8 {
        let delivery = next(&mut consumer);
        again.push(number(&delivery.event));
        ack(&consumer, &delivery);
    }
    assert_eq!(again, [0, 2, 4, 6, 8, 10, 12, 14]);
    until("nothing is left", || {
        let info = groups.info(&group("g")).unwrap();
        (info.parked, info.lag_events) == (0, 0)
    });
}

#[test]
fn an_event_that_ends_its_consumers_is_parked_and_its_neighbours_are_not() {
    let (_dir, store) = with_events(10, 10);
    let groups = store.groups();
    groups.create(&group("g"), &GroupSettings { retries_max: 3, ..settings("loan") }).unwrap();
    let mut done = Vec::new();
    while done.len() < 9 || groups.info(&group("g")).unwrap().parked == 0 {
        let mut consumer = connect(&groups, "g", 5);
        while let Some(delivery) = next_within(&mut consumer, Duration::from_millis(200)) {
            let delivery = delivery.unwrap();
            if number(&delivery.event) == 4 {
                // It falls over with others in its hands.
                let _ = next_within(&mut consumer, Duration::from_millis(20));
                break;
            }
            done.push(number(&delivery.event));
            ack(&consumer, &delivery);
        }
    }
    let parked = letters(&groups, "g");
    assert_eq!(
        (parked[0].position, parked[0].reason, parked[0].attempts),
        (Position(4), ParkReason::TimedOut, 4)
    );
    done.sort_unstable();
    assert_eq!(done, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn a_policy_replays_by_itself_so_often_and_no_more() {
    let (_dir, store) = with_events(1, 1);
    let groups = store.groups();
    let chosen = GroupSettings {
        retries_max: 0,
        replay: Some(ReplayPolicy {
            backoff: Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) },
            times_max: 2,
        }),
        ..settings("loan")
    };
    groups.create(&group("g"), &chosen).unwrap();
    let mut consumer = connect(&groups, "g", 1);
    for round in 0..3 {
        let delivery = next(&mut consumer);
        assert_eq!((delivery.replayed, delivery.retries), (round > 0, round));
        nack(&consumer, &delivery, Nack::Retry, "no");
    }
    until("it stays parked", || letters(&groups, "g").first().is_some_and(|letter| letter.replays == 2));
    assert!(next_within(&mut consumer, Duration::from_millis(50)).is_none());
    assert_eq!(groups.replay(&of_group("g"), None).unwrap(), 1);
    let delivery = next(&mut consumer);
    ack(&consumer, &delivery);
    until("it is gone", || letters(&groups, "g").is_empty());
}

#[test]
fn the_stream_of_a_group_stays_short_although_an_old_event_stays_parked() {
    const COUNT: u64 = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(AppendRequest::to(stream("loan-1"), Expected::Any, (0..COUNT).map(event))).unwrap();
    let groups = store.groups();
    groups.create(&group("g"), &settings("loan")).unwrap();
    let mut consumer = connect(&groups, "g", 500);
    for _ in 0..COUNT {
        let delivery = next(&mut consumer);
        let reason = if delivery.event.position == Position(0) { "kept for long" } else { "no" };
        nack(&consumer, &delivery, Nack::Park, reason);
    }
    until("all are parked", || groups.info(&group("g")).unwrap().parked == COUNT);
    let all: Vec<u64> = (1..COUNT).collect();
    for some in all.chunks(1_000) {
        let positions = some.iter().copied().map(Position).collect();
        let skipped = groups.skip(&DeadLetterFilter { positions, ..of_group("g") }, None).unwrap();
        assert_eq!(skipped, some.len() as u64);
    }
    // Checkpoints are what keeps the stream short.
    for number in 0..3 {
        append(&store, "loan-1", COUNT + number);
        let delivery = next(&mut consumer);
        ack(&consumer, &delivery);
        until("it is in a checkpoint", || {
            groups.info(&group("g")).unwrap().checkpoint > delivery.event.position
        });
    }
    drop(consumer);
    store.close().unwrap();
    drop((groups, store));
    let store = open(dir.path());
    let visible =
        store.read(&ReadRequest::new(Selector::Stream(stream("$group-g"))).limit(1)).unwrap().events;
    assert!(visible[0].revision.0 > 4_000, "cut off below {}", visible[0].revision);
    let parked = letters(&store.groups(), "g");
    assert_eq!((parked.len(), &*parked[0].error), (1, "kept for long"));
    let info = store.groups().info(&group("g")).unwrap();
    assert_eq!((info.parked, info.lag_events), (1, 0));
}
