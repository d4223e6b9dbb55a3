use crate::support::{large, name, to};
use graven_engine::{Consumer, Options, Store};
use graven_model::{
    AppendRequest, Code, ConsumerOptions, DeadLetterFilter, Delivery, Expected, GroupName, GroupSettings,
    Nack, Position, Selector, Start,
};
use graven_sim::SimMachine;
use graven_sim::world::{DIR, tiny_options};
use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};

const EVENTS: u64 = 30;

fn take(consumer: &mut Consumer) -> Option<Delivery> {
    match consumer.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => Some(next.expect("a full disk ends no consumer")),
        Poll::Pending => None,
    }
}

/// A group works while the disk is full: it says so, what cannot be parked stays with it, and with space it goes on. After a
/// restart what was done is not delivered again, and what was parked is parked.
#[test]
fn a_group_waits_on_a_full_disk_and_loses_nothing() {
    let machine = SimMachine::new(3);
    let options = || Options { env: machine.env(), ..tiny_options() };
    let store = Store::open(DIR, options()).unwrap();
    let groups = store.groups();
    let group = GroupName::new("workers").unwrap();
    let settings = GroupSettings {
        start: Start::Start,
        retries_max: 0,
        checkpoint_min: 1,
        checkpoint_max: 5,
        ..GroupSettings::new(Selector::Category("s".into()))
    };
    groups.create(&group, &settings).unwrap();
    store.append(to("s-1", Expected::Any, 0..EVENTS)).unwrap();
    let connect = || ConsumerOptions { name: "c".into(), address: "".into(), buffer: 4 };
    let mut consumer = groups.connect(&group, connect()).unwrap();
    let first = take(&mut consumer).expect("the first event");
    consumer.handle().ack(&[first.event.position]).unwrap();

    machine.disk.set_capacity(machine.disk.used_bytes());
    let filler = AppendRequest::to(name("other"), Expected::Any, [large(1_000, 100_000)]);
    assert_eq!(store.append(filler.clone()).unwrap_err().code, Code::DiskFull);
    let (mut done, mut poisoned) = (BTreeSet::from([first.event.position]), BTreeSet::new());
    let mut process = |consumer: &mut Consumer| {
        while let Some(delivery) = take(consumer) {
            let position = delivery.event.position;
            assert!(!done.contains(&position) && !poisoned.contains(&position), "{position} comes again");
            if position.0.is_multiple_of(4) {
                poisoned.insert(position);
                consumer.handle().nack(&[position], Nack::Retry, "poisoned").unwrap();
            } else {
                done.insert(position);
                consumer.handle().ack(&[position]).unwrap();
            }
        }
    };
    process(&mut consumer);
    machine.clock.advance(2_000_000);
    process(&mut consumer);
    let info = groups.info(&group).unwrap();
    assert_eq!(info.trouble.map(|error| error.code), Some(Code::DiskFull));
    assert_eq!(info.parked, 0, "nothing counts as parked that is not durable");
    assert!(info.lag_events > 0);

    machine.disk.set_capacity(u64::MAX);
    // An append that comes while the index still waits to be written may be refused once more.
    store.append(filler.clone()).or_else(|_| store.append(filler)).unwrap();
    for _ in 0..20 {
        machine.clock.advance(2_000_000);
        process(&mut consumer);
    }
    let info = groups.info(&group).unwrap();
    assert_eq!((info.trouble, info.lag_events, info.parked), (None, 0, poisoned.len() as u64));
    assert_eq!(done.len() + poisoned.len(), EVENTS as usize);
    drop(consumer);
    store.close().unwrap();

    let store = Store::open(DIR, options()).unwrap();
    let groups = store.groups();
    let letters = groups.dead_letters(&DeadLetterFilter::default(), None, 100).unwrap().letters;
    let parked: BTreeSet<Position> = letters.into_iter().map(|letter| letter.position).collect();
    assert_eq!(parked, poisoned);
    let mut consumer = groups.connect(&group, connect()).unwrap();
    assert!(take(&mut consumer).is_none(), "what is done or parked does not come again");
    drop(consumer);
    store.close().unwrap();
}
