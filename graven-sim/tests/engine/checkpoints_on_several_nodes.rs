//! Checkpoints where several nodes share a journal: the writer signs, and what it loses of its copy is no rollback.

use crate::support::to;
use graven_engine::Options;
use graven_engine::Store;
use graven_engine::node::NodeOptions;
use graven_model::{Code, Expected};
use graven_sim::SimMachine;
use graven_sim::journal::JournalServer;
use graven_sim::world::{DIR, tiny_options};

fn open(server: &JournalServer, machine: &SimMachine, follow: bool) -> Store {
    let node = NodeOptions { address: String::new(), follow };
    let options = Options { env: machine.env(), index_flush_events: 30, ..tiny_options() };
    Store::open_shared(DIR, Box::new(server.connect()), &options, node, &mut |_, _| {}).unwrap()
}

fn append(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store.append(to("s", Expected::Any, [number])).unwrap();
    }
}

#[test]
fn only_the_writer_signs_and_a_copy_that_lost_its_end_is_no_rollback() {
    let server = JournalServer::new([0; 16]);
    let mut home = SimMachine { threads: true, ..SimMachine::new(1) };
    let elsewhere = SimMachine { threads: true, ..SimMachine::new(2) };
    let mut signed = Vec::new();
    for round in 0..5 {
        let one = open(&server, &home, false);
        let two = open(&server, &elsewhere, true);
        assert_eq!(two.trail().checkpoint(0).unwrap_err().code, Code::NotTheWriter);
        assert_eq!(two.trail().verifier_keys().unwrap_err().code, Code::NotTheWriter);
        append(&one, round * 20..round * 20 + 20);
        let checkpoint = one.trail().checkpoint(one.head().0).unwrap();
        // The first key was told to the log.
        assert_eq!(checkpoint.unverified_head().size, round * 20 + 21);
        signed.push(checkpoint);
        two.close().unwrap();
        // Much of the copy was never flushed.
        home = home.crash(round);
        drop(one);
    }
    let one = open(&server, &home, false);
    let last = one.trail().checkpoint(0).unwrap();
    assert_eq!(Some(&last), signed.last());
    for checkpoint in &signed {
        let kept = one.trail().checkpoint_of(checkpoint.unverified_head().size).unwrap();
        assert_eq!(kept, *checkpoint);
    }
}

#[test]
fn a_node_without_the_keys_of_the_log_makes_none_of_its_own() {
    let server = JournalServer::new([0; 16]);
    let home = SimMachine { threads: true, ..SimMachine::new(1) };
    let one = open(&server, &home, false);
    append(&one, 0..3);
    let key = one.trail().verifier_keys().unwrap();
    assert_eq!(one.trail().checkpoint(4).unwrap().unverified_head().size, 4);
    assert_eq!(one.trail().key_history().unwrap()[0].vkey, key[0]);
    one.close().unwrap();
    let elsewhere = SimMachine { threads: true, ..SimMachine::new(2) };
    let two = open(&server, &elsewhere, false);
    append(&two, 3..6);
    assert_eq!(two.trail().checkpoint(0).unwrap_err().code, Code::NoSigningKey);
    assert_eq!(two.trail().verifier_keys().unwrap_err().code, Code::NoSigningKey);
}
