use crate::support::{event, name};
use graven_engine::audit::{ErasureRequest, ErasureTarget, Part, ScavengeOptions};
use graven_engine::journal::Journal;
use graven_engine::node::NodeOptions;
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, Expected, NewEvent, StoredEvent};
use graven_sim::SimMachine;
use graven_sim::journal::JournalServer;
use graven_sim::world::{DIR, tiny_options, whole_log};
use std::time::{Duration, Instant};

fn open(server: &JournalServer, machine: &SimMachine, follow: bool) -> Store {
    let node = NodeOptions { address: "http://one".to_owned(), follow };
    let options = Options { env: machine.env(), ..tiny_options() };
    Store::open_shared(DIR, Box::new(server.connect()), &options, node, &mut |_, _| {}).unwrap()
}

fn machine(seed: u64) -> SimMachine {
    SimMachine { threads: true, ..SimMachine::new(seed) }
}

fn erased(store: &Store) -> Vec<StoredEvent> {
    whole_log(store).unwrap().into_iter().filter(|event| event.erased).collect()
}

/// Waits until a node shows as many erased events as it has to.
fn shows(store: &Store, count: usize) {
    wait_until(&format!("{count} events are erased"), || erased(store).len() == count);
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long until {what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_the_writer_erased_goes_from_every_copy() {
    let server = JournalServer::new([0; 16]);
    let (home, second) = (machine(1), machine(2));
    let one = open(&server, &home, false);
    let two = open(&server, &second, true);
    for number in 0..40 {
        let event = NewEvent { data_subject: (number % 4 == 0).then(|| "anna".into()), ..event(number) };
        one.append(AppendRequest::to(name(&format!("s-{}", number % 3)), Expected::Any, [event])).unwrap();
    }
    let request = ErasureRequest {
        target: ErasureTarget::Subject("anna".to_owned()),
        parts: vec![Part::Data, Part::Metadata],
        request: "r-1".to_owned(),
        basis: "b".to_owned(),
        decided_by: "d".to_owned(),
        approved_by: None,
    };
    assert_eq!(one.erase(&request, false).unwrap().events, 10);
    shows(&one, 10);
    shows(&two, 10);
    one.set_stream_metadata(&name("s-1"), Expected::Any, "{\"$maxCount\":1}".into()).unwrap();
    let dropped = one.scavenge(ScavengeOptions::default()).unwrap();
    let count = 10 + dropped.events as usize;
    assert!(dropped.events > 0);
    shows(&two, count);
    assert_eq!(erased(&one), erased(&two));
    // The journal has it no more.
    let stored = server.connect().read(0, usize::MAX).unwrap();
    let stands = |text: &[u8]| {
        stored.iter().any(|batch| batch.frames.windows(text.len()).any(|window| window == text))
    };
    assert!(!stands(b"anna") && !stands(b"{\"number\":4}") && stands(b"{\"number\":39}"));
    let three = open(&server, &machine(3), true);
    shows(&three, count);
    // What the journal has no more was never there for this node: all of it may be erased before the last record has come.
    wait_until("the copy is whole", || three.head() == one.head());
    assert_eq!(one.info().root, three.info().root);
    // And a node that takes over goes on from there.
    one.close().unwrap();
    two.take_over().unwrap();
    let again = NewEvent { data_subject: Some("anna".into()), ..event(100) };
    two.append(AppendRequest::to(name("s-1"), Expected::Any, [again])).unwrap();
    assert_eq!(erased(&two).len(), count);
    two.close().unwrap();
    let two = open(&server, &second, false);
    assert_eq!(erased(&two).len(), count);
}
