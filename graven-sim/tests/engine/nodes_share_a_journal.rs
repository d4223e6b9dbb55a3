//! Several nodes, each on a computer of its own, and one journal with a bad line.

use crate::support::{id, seeds, to};
use graven_engine::journal::{Claim, Journal, SharedJournal};
use graven_engine::node::{NodeOptions, Role};
use graven_engine::replica::{Backup, LogIdentity, Replica};
use graven_engine::{Options, Store};
use graven_model::error::Details;
use graven_model::{Code, Expected, FollowRequest, Position, ReadRequest, Result, Revision, Selector, Start};
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::journal::{JournalServer, Line};
use graven_sim::world::{DIR, tiny_options, whole_log};
use std::time::{Duration, Instant};

fn machine(seed: u64) -> SimMachine {
    SimMachine { threads: true, ..SimMachine::new(seed) }
}

fn options(machine: &SimMachine) -> Options {
    Options { env: machine.env(), index_flush_events: 30, heads_max: 3, ..tiny_options() }
}

fn open(server: &JournalServer, machine: &SimMachine, address: &str, follow: bool) -> Result<Store> {
    let node = NodeOptions { address: address.to_owned(), follow };
    Store::open_shared(DIR, Box::new(server.connect()), &options(machine), node, &mut |_, _| {})
}

fn writer(server: &JournalServer, machine: &SimMachine) -> Store {
    open(server, machine, "http://one", false).unwrap()
}

fn follower(server: &JournalServer, machine: &SimMachine) -> Store {
    open(server, machine, "http://two", true).unwrap()
}

/// Waits until something holds; it has to, sooner or later.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}

/// Waits until a node holds as much as another one, and compares them.
fn same(one: &Store, other: &Store) {
    eventually("both hold the same", || one.head() == other.head());
    assert_eq!(one.info().root, other.info().root);
    assert_eq!(whole_log(one).unwrap(), whole_log(other).unwrap());
    assert_eq!(one.stats(), other.stats());
}

fn append(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store
            .append(to(&format!("s-{}", mix(number) % 5), Expected::Any, [2 * number, 2 * number + 1]))
            .unwrap();
    }
}

#[test]
fn a_follower_shows_what_the_writer_wrote_and_sends_writers_to_it() {
    let server = JournalServer::new([0; 16]);
    let one = writer(&server, &machine(1));
    let two = follower(&server, &machine(2));
    append(&one, 0..100);
    same(&one, &two);
    let error = two.append(to("s", Expected::Any, [9_000])).unwrap_err();
    assert_eq!(error.code, Code::NotTheWriter);
    assert_eq!(error.details, Details::Writer("http://one".to_owned()));
    let standing = two.standing().unwrap();
    assert_eq!((standing.role, standing.epoch), (Role::Follower, 1));
    assert_eq!(one.standing().unwrap().role, Role::Writer);
    // A subscription at the follower is live.
    let request = FollowRequest::new(Selector::All, Start::End);
    let mut follow = two.follow(request).unwrap();
    one.append(to("s", Expected::Any, [9_001])).unwrap();
    let mut seen = None;
    eventually("the event is delivered", || {
        seen = follow.poll_next().unwrap().or(seen.take());
        format!("{seen:?}").contains("9001")
    });
    two.close().unwrap();
    one.close().unwrap();
}

#[test]
fn an_empty_copy_fetches_everything_and_a_stale_one_the_rest() {
    let server = JournalServer::new([0; 16]);
    let home = machine(1);
    let one = writer(&server, &home);
    append(&one, 0..50);
    let second = machine(2);
    let two = follower(&server, &second);
    same(&one, &two);
    two.close().unwrap();
    append(&one, 50..120);
    let two = follower(&server, &second);
    same(&one, &two);
    one.close().unwrap();
    // The writer's disk is lost, and the writer with it.
    let one = writer(&server, &machine(3));
    same(&one, &two);
    append(&one, 120..130);
    same(&one, &two);
    assert_eq!(one.standing().unwrap().epoch, 2);
}

#[test]
fn a_second_writer_follows_while_the_first_is_connected() {
    let server = JournalServer::new([0; 16]);
    let one = writer(&server, &machine(1));
    let second = machine(2);
    let two = open(&server, &second, "http://two", false).unwrap();
    assert_eq!(two.standing().unwrap().role, Role::Follower);
    one.close().unwrap();
    drop(one);
    drop(two);
    let two = open(&server, &second, "http://two", false).unwrap();
    assert_eq!(two.standing().unwrap().role, Role::Writer);
}

#[test]
fn a_copy_is_of_the_log_its_journal_is_of() {
    let home = machine(1);
    let store = Store::open(DIR, options(&home)).unwrap();
    store.append(to("s", Expected::Any, [1])).unwrap();
    store.close().unwrap();
    let server = JournalServer::new([0; 16]);
    let error = open(&server, &home, "", false).err().unwrap();
    assert_eq!(error.code, Code::UnknownFormat, "a store is not taken for a copy");
    assert_eq!(server.connect().identity().unwrap(), None, "and leaves nothing in the journal");

    let second = machine(2);
    writer(&server, &second).close().unwrap();
    let error = Store::open(DIR, options(&second)).err().unwrap();
    assert_eq!(error.code, Code::UnknownFormat, "a copy is not taken for a store");
    let error = open(&JournalServer::new([0; 16]), &second, "", false).err().unwrap();
    assert_eq!(error.code, Code::HistoryDiverged, "the journal is empty");
    let other = JournalServer::new([0; 16]);
    writer(&other, &machine(3)).close().unwrap();
    let error = open(&other, &second, "", false).err().unwrap();
    assert_eq!(error.code, Code::HistoryDiverged, "the journal is of another log");
}

#[test]
fn a_bad_line_costs_nothing_but_time() {
    for seed in seeds(20) {
        let server = JournalServer::new([0; 16]);
        let one = writer(&server, &machine(seed));
        let two = follower(&server, &machine(seed + 1_000));
        for number in 0..40 {
            let line = match mix(seed ^ number << 8) % 8 {
                0 => Line::LostBefore,
                1 => Line::LostAfter,
                2 => Line::Late,
                3 => Line::Twice,
                _ => Line::Good,
            };
            server.plan([line]);
            let receipt = one.append(to("s", Expected::Any, [number])).unwrap();
            assert_eq!(receipt.first_position, Position(number), "seed {seed}: each is there once");
            if mix(seed ^ number).is_multiple_of(3) {
                server.deliver();
            }
        }
        server.deliver();
        same(&one, &two);
    }
}

#[test]
fn appends_wait_while_the_journal_is_down_and_go_on_afterwards() {
    let server = JournalServer::new([0; 16]);
    let one = writer(&server, &machine(1));
    let two = follower(&server, &machine(2));
    append(&one, 0..10);
    same(&one, &two);
    server.set_down(true);
    let waiting = one.submit(to("s", Expected::Any, [900])).unwrap();
    let behind = one.submit(to("s", Expected::NoStream, [901])).unwrap();
    eventually("both notice", || [&one, &two].iter().all(|node| node.standing().unwrap().trouble.is_some()));
    assert_eq!(one.head(), Position(20), "nothing is visible that is not durable");
    assert_eq!(one.read(&ReadRequest::new(Selector::All).limit(5)).unwrap().events.len(), 5, "reads go on");
    server.set_down(false);
    assert_eq!(waiting.wait().unwrap().first_position, Position(20));
    assert_eq!(behind.wait().unwrap_err().code, Code::WrongExpectedRevision);
    same(&one, &two);
    eventually("all is well", || two.standing().unwrap().trouble.is_none());
}

#[test]
fn a_node_that_stops_while_the_journal_is_down_says_that_the_outcome_is_unknown() {
    let server = JournalServer::new([0; 16]);
    let home = machine(1);
    let one = writer(&server, &home);
    append(&one, 0..10);
    server.set_down(true);
    let waiting = one.submit(to("s", Expected::Any, [900])).unwrap();
    let _ = one.close();
    assert_eq!(waiting.wait().unwrap_err().code, Code::OutcomeUnknown);
    server.set_down(false);
    drop(one);
    let one = writer(&server, &home);
    assert_eq!(one.head(), Position(20));
}

#[test]
fn nodes_that_start_while_the_journal_is_down_show_what_they_have_and_go_on_when_it_is_back() {
    let server = JournalServer::new([0; 16]);
    let homes = [machine(1), machine(2)];
    let one = writer(&server, &homes[0]);
    let two = follower(&server, &homes[1]);
    append(&one, 0..20);
    same(&one, &two);
    [one, two].iter().for_each(|node| node.close().unwrap());
    server.set_down(true);
    let error =
        open(&server, &machine(3), "", false).err().expect("a node without a copy has nothing to show");
    assert_eq!(error.code, Code::JournalUnreachable);
    let one = writer(&server, &homes[0]);
    let two = follower(&server, &homes[1]);
    for node in [&one, &two] {
        assert_eq!(whole_log(node).unwrap().len(), 40);
        assert_eq!(node.append(to("s", Expected::Any, [900])).unwrap_err().code, Code::NotTheWriter);
        assert!(node.standing().unwrap().trouble.is_some());
    }
    server.set_down(false);
    eventually("the one that may writes", || one.standing().unwrap().role == Role::Writer);
    append(&one, 20..30);
    same(&one, &two);
    assert_eq!(two.standing().unwrap().role, Role::Follower);
}

#[test]
fn a_journal_that_cannot_be_used_any_more_ends_all_writing() {
    let server = JournalServer::new([0; 16]);
    let one = writer(&server, &machine(1));
    append(&one, 0..10);
    server.plan([Line::Broken]);
    assert_eq!(one.append(to("s", Expected::Any, [900])).unwrap_err().code, Code::OutcomeUnknown);
    assert_eq!(one.append(to("s", Expected::Any, [901])).unwrap_err().code, Code::Poisoned);
    assert_eq!(whole_log(&one).unwrap().len(), 20, "reads go on");
}

#[test]
fn a_take_over_under_load_loses_nothing_and_ends_the_old_writer() {
    for seed in seeds(10) {
        let server = JournalServer::new([0; 16]);
        let one = writer(&server, &machine(seed));
        let two = follower(&server, &machine(seed + 1_000));
        let acknowledged = std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    match one.append(to("s", Expected::Any, [number])) {
                        Ok(receipt) => acknowledged.push((receipt.first_position, id(number))),
                        Err(error) => {
                            assert_eq!(error.code, Code::NotTheWriter, "{error}");
                            return acknowledged;
                        }
                    }
                }
                unreachable!("the old writer goes on for ever");
            });
            eventually("some appends", || one.head() > Position(20 + seed));
            let term = two.take_over().unwrap();
            assert_eq!((term.epoch, term.address.as_str()), (2, "http://two"));
            append(&two, 100_000..100_020);
            load.join().unwrap()
        });
        assert_eq!(one.standing().unwrap().role, Role::SteppedDown);
        for (position, id) in acknowledged {
            assert_eq!(two.event_at(position).unwrap().event.id, id, "seed {seed}");
        }
        // Opened again it follows the other one, with the very same log.
        let error = one.append(to("s", Expected::Any, [77])).unwrap_err();
        assert_eq!(error.details, Details::Writer("http://two".to_owned()));
        one.close().unwrap();
    }
}

#[test]
fn a_writer_that_stepped_down_follows_with_the_copy_it_has() {
    let server = JournalServer::new([0; 16]);
    let home = machine(1);
    let one = writer(&server, &home);
    let two = follower(&server, &machine(2));
    append(&one, 0..30);
    two.take_over().unwrap();
    append(&two, 30..40);
    // A writer without appends learns it too.
    eventually("the idle writer steps down", || one.standing().unwrap().role == Role::SteppedDown);
    one.close().unwrap();
    drop(one);
    let one = open(&server, &home, "http://one", false).unwrap();
    assert_eq!(one.standing().unwrap().role, Role::Follower, "another one writes");
    append(&two, 40..60);
    same(&one, &two);
    // And back again.
    one.take_over().unwrap();
    append(&one, 60..70);
    eventually("the other one steps down", || two.standing().unwrap().role == Role::SteppedDown);
}

#[test]
fn a_writer_that_was_overtaken_refuses_nothing_on_the_ground_of_what_it_remembers() {
    let server = JournalServer::new([0; 16]);
    let one = writer(&server, &machine(1));
    one.append(to("s", Expected::NoStream, [1])).unwrap();
    let two = follower(&server, &machine(2));
    two.take_over().unwrap();
    two.append(to("s", Expected::Any, [2])).unwrap();
    // Right by now, wrong by what the old writer knows.
    let error = one.append(to("s", Expected::Revision(Revision(1)), [3])).unwrap_err();
    assert_eq!(error.code, Code::NotTheWriter);
}

#[test]
fn a_journal_that_went_back_is_noticed_by_every_node() {
    let server = JournalServer::new([0; 16]);
    let homes = [machine(1), machine(2)];
    let one = writer(&server, &homes[0]);
    let two = follower(&server, &homes[1]);
    append(&one, 0..20);
    same(&one, &two);
    server.lose_last(2);
    let error = one.append(to("s", Expected::Any, [900])).unwrap_err();
    assert_eq!(error.code, Code::HistoryDiverged, "{error}");
    eventually("the follower notices", || two.health().is_some());
    assert_eq!(two.health().unwrap().code, Code::HistoryDiverged);
    assert_eq!(two.take_over().unwrap_err().code, Code::HistoryDiverged);
    assert_eq!(server.connect().look(0).unwrap().term.epoch, 1, "and keeps nobody else from writing");
    for (store, home) in [(one, &homes[0]), (two, &homes[1])] {
        assert_eq!(whole_log(&store).unwrap().len(), 40, "reads go on");
        store.close().unwrap();
        drop(store);
        for follow in [false, true] {
            let error = open(&server, home, "", follow).err().expect("a copy that is ahead of its journal");
            assert_eq!(error.code, Code::HistoryDiverged);
        }
    }
}

#[test]
fn a_journal_that_went_back_and_on_is_noticed_too() {
    let server = JournalServer::new([0; 16]);
    let homes = [machine(1), machine(2)];
    let one = writer(&server, &homes[0]);
    let two = follower(&server, &homes[1]);
    append(&one, 0..20);
    same(&one, &two);
    two.close().unwrap();
    drop(two);
    one.close().unwrap();
    drop(one);
    server.lose_last(2);
    let three = writer(&server, &machine(3));
    append(&three, 500..600);
    for home in &homes {
        let error = open(&server, home, "", true).err().expect("two histories");
        assert_eq!(error.code, Code::HistoryDiverged, "{error}");
    }
}

#[test]
fn nodes_that_lose_power_at_any_time_come_back_with_everything() {
    for seed in seeds(8) {
        let server = JournalServer::new([0; 16]);
        let mut homes = [machine(seed), machine(seed + 1_000)];
        let mut acknowledged = 0;
        for round in 0..6u64 {
            let dice = mix(seed ^ round << 20);
            let one = writer(&server, &homes[0]);
            assert_eq!(one.head(), Position(acknowledged), "seed {seed} round {round}");
            let two = follower(&server, &homes[1]);
            let count = dice % 60;
            append(&one, 1_000 * round..1_000 * round + count);
            acknowledged += 2 * count;
            if dice.is_multiple_of(3) {
                same(&one, &two);
            }
            for (at, home) in homes.iter_mut().enumerate() {
                *home = match (dice >> (8 * at)) % 3 {
                    0 => home.crash(dice),
                    1 => home.kill(),
                    _ => home.clone(),
                };
            }
            drop(one);
            drop(two);
        }
        let one = writer(&server, &homes[0]);
        let two = follower(&server, &homes[1]);
        same(&one, &two);
        assert_eq!(one.head(), Position(acknowledged));
    }
}

#[test]
fn a_claim_that_was_lost_is_not_taken_for_one() {
    let server = JournalServer::new([0; 16]);
    let one = writer(&server, &machine(1));
    append(&one, 0..5);
    let mut other = server.connect();
    assert_eq!(other.claim([9; 16], "", Claim::IfVacant).unwrap_err().code, Code::NotTheWriter);
    append(&one, 5..10);
    assert_eq!(other.claim([9; 16], "", Claim::TakeOver).unwrap().epoch, 2);
    assert_eq!(one.append(to("s", Expected::Any, [99])).unwrap_err().code, Code::NotTheWriter);
    assert_eq!(other.read(0, usize::MAX).unwrap().last().unwrap().tail.position, 20);
}

#[test]
fn a_backup_is_restored_into_a_journal_even_if_that_is_interrupted() {
    let home = machine(1);
    let source = Store::open(DIR, options(&home)).unwrap();
    append(&source, 0..200);
    let away = machine(2);
    let identity = LogIdentity::of(&source.info()).unwrap();
    let mut copy = Replica::open("/backup", &identity, &options(&away)).unwrap();
    while copy.head() < source.head() {
        copy.append_frames(&source.read_frames(copy.head(), 10_000).unwrap().bytes).unwrap();
    }
    copy.close().unwrap();

    let server = JournalServer::new([0; 16]);
    let restore = |dir: &str| {
        let backup = Backup::open("/backup", &options(&away)).unwrap();
        let mut copy = Replica::open(dir, backup.identity(), &options(&away)).unwrap();
        let outcome = backup.restore_into_journal(&mut copy, &mut server.connect(), [7; 16], &mut |_| {});
        drop(copy);
        outcome
    };
    for line in [Line::LostBefore, Line::LostAfter] {
        server.plan([line]);
        let error = restore(&format!("/{line:?}")).unwrap_err();
        assert_eq!(error.code, Code::JournalUnreachable);
    }
    restore("/whole").unwrap();
    let one = writer(&server, &machine(3));
    same(&source, &one);
    // Over a journal that has gone on it is refused.
    append(&one, 200..201);
    one.close().unwrap();
    drop(one);
    assert_eq!(restore("/again").unwrap_err().code, Code::HistoryDiverged);
}
