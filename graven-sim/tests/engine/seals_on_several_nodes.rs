//! Seals where several nodes share a journal: the one that writes makes them, every one proves by them.

use crate::support::{name, to};
use graven_engine::node::NodeOptions;
use graven_engine::{Options, Store};
use graven_model::{Code, Expected};
use graven_proof::trie::Answer;
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::journal::JournalServer;
use graven_sim::world::{DIR, tiny_options};
use std::time::{Duration, Instant};

fn open(server: &JournalServer, machine: &SimMachine, follow: bool) -> Store {
    let options = Options {
        env: machine.env(),
        index_flush_events: 30,
        heads_max: 3,
        seal_interval: Some(Duration::from_secs(60)),
        ..tiny_options()
    };
    let node = NodeOptions { address: String::new(), follow };
    Store::open_shared(DIR, Box::new(server.connect()), &options, node, &mut |_, _| {}).unwrap()
}

fn machine(seed: u64) -> SimMachine {
    SimMachine { threads: true, ..SimMachine::new(seed) }
}

fn append(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let stream = format!("s-{}", mix(number) % 5);
        store.append(to(&stream, Expected::Any, [2 * number, 2 * number + 1])).unwrap();
    }
}

fn same_head(one: &Store, other: &Store) {
    let begun = Instant::now();
    while one.head() != other.head() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: both hold the same");
        std::thread::yield_now();
    }
}

#[test]
fn a_follower_proves_by_what_the_writer_sealed_and_seals_itself_once_it_writes() {
    let server = JournalServer::new([0; 16]);
    let one = open(&server, &machine(1), false);
    let two = open(&server, &machine(2), true);
    for round in 0..3 {
        append(&one, round * 40..round * 40 + 40);
        let seal = one.trail().seal().unwrap();
        same_head(&one, &two);
        assert_eq!(two.trail().last_seal().unwrap(), Some(seal.clone()));
        let proven = two.trail().completeness(&name("s-1")).unwrap();
        assert_eq!(proven, one.trail().completeness(&name("s-1")).unwrap());
        let answer = proven.proof.verify(&proven.stream_key, &seal.root).unwrap();
        assert_eq!(answer, Answer::Present(proven.head.unwrap()));
        assert_eq!(two.trail().seal().unwrap_err().code, Code::NotTheWriter);
    }
    append(&one, 200..210);
    same_head(&one, &two);
    two.take_over().unwrap();
    append(&two, 300..310);
    let seal = two.trail().seal().unwrap();
    assert_eq!(seal.size + 1, two.head().0);
    assert_eq!(one.trail().seal().unwrap_err().code, Code::NotTheWriter);
    two.close().unwrap();
    // Nothing new: the node that closed left its last seal as it was.
    let two = open(&server, &machine(3), false);
    assert_eq!(two.trail().last_seal().unwrap(), Some(seal.clone()));
    assert_eq!(two.trail().seal().unwrap(), seal);
}

#[test]
fn a_node_whose_journal_is_away_closes_without_its_last_seal() {
    let server = JournalServer::new([0; 16]);
    let home = machine(1);
    let one = open(&server, &home, false);
    append(&one, 0..10);
    server.set_down(true);
    server.cut();
    // Whether the node has noticed yet decides what closing it answers, not that it ends.
    let _ = one.close();
    server.set_down(false);
    let one = open(&server, &home, false);
    assert_eq!(one.trail().last_seal().unwrap(), None);
    assert_eq!(one.trail().seal().unwrap().streams, 5);
}
