use crate::support::{event, name};
use graven_engine::{FollowRequest, FollowStep, Store};
use graven_model::{AppendRequest, Expected, Position, Receipt, Selector, Start, StoredEvent};
use graven_sim::world::{tiny_options, whole_log};
use graven_sim::{SimMachine, World};
use std::time::Duration;

const APPENDERS: u64 = 4;
const APPENDS: u64 = 60;

/// Appends one to three events at a time, each stream being written by one appender and one shared by all.
fn append(store: &Store, appender: u64) -> Vec<Receipt> {
    let own = name(&format!("own-{appender}"));
    let appends = (0..APPENDS).map(|number| {
        let base = (appender * APPENDS + number) * 3;
        let request =
            AppendRequest::to(own.clone(), Expected::Any, (0..1 + number % 2).map(|at| event(base + at)));
        let request = request.and_to(name("shared"), Expected::Any, [event(base + 2)]);
        store.append(request).unwrap()
    });
    appends.collect()
}

/// Follows until `count` events have come.
fn follow(store: &Store, selector: Selector, count: usize) -> Vec<StoredEvent> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut request = FollowRequest::new(selector, Start::Start);
    request.page_events = 7;
    let mut follower = store.follow(request).unwrap();
    let mut events = Vec::new();
    while events.len() < count {
        match follower.next_timeout(PATIENCE).unwrap() {
            Some(FollowStep::Events(more)) => events.extend(more),
            Some(FollowStep::CaughtUp(_) | FollowStep::Checkpoint(_)) => {}
            None => panic!("{} of {count} events came", events.len()),
        }
    }
    events
}

#[test]
fn positions_are_dense_real_time_order_holds_and_followers_miss_nothing() {
    for threads in [false, true] {
        let machine = SimMachine { threads, ..SimMachine::new(1) };
        let world = World::on(machine, tiny_options()).unwrap();
        let store = world.store();
        let total = (APPENDERS * APPENDS * 5 / 2) as usize;
        let (receipts, all, shared) = std::thread::scope(|scope| {
            let appenders: Vec<_> =
                (0..APPENDERS).map(|appender| scope.spawn(move || append(store, appender))).collect();
            let all = scope.spawn(|| follow(store, Selector::All, total));
            let of_shared = Selector::Stream(name("shared"));
            let shared = scope.spawn(|| follow(store, of_shared, (APPENDERS * APPENDS) as usize));
            let receipts: Vec<Vec<Receipt>> =
                appenders.into_iter().map(|appender| appender.join().unwrap()).collect();
            (receipts, all.join().unwrap(), shared.join().unwrap())
        });
        let log = whole_log(store).unwrap();
        assert_eq!(log.len(), total);
        assert!(log.iter().zip(0..).all(|(event, position)| event.position == Position(position)));
        assert_eq!(all, log);
        let of_shared: Vec<StoredEvent> =
            log.iter().filter(|event| event.stream == name("shared")).cloned().collect();
        assert_eq!(shared, of_shared);
        assert!(shared.iter().zip(0..).all(|(event, revision)| event.revision.0 == revision));
        for own in &receipts {
            let in_order = own.windows(2).all(|pair| pair[0].last_position < Some(pair[1].first_position));
            assert!(in_order, "an append that was answered stands before one that was sent later");
        }
    }
}
