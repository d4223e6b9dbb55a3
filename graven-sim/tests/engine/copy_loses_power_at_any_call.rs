use crate::support::{large, name, seeds, to};
use graven_engine::replica::{Backup, Depth, LogIdentity, Replica};
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, Expected, Position, Result};
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::world::{DIR, tiny_options, whole_log};

const BACKUP: &str = "/backup";

fn options(machine: &SimMachine) -> Options {
    Options { env: machine.env(), index_flush_events: 30, heads_max: 3, ..tiny_options() }
}

fn append(store: &Store, seed: u64, count: u64) {
    for number in 0..count {
        let number = seed * 1_000 + number;
        let stream = format!("s-{}", mix(number) % 5);
        let request = match mix(number) % 9 {
            0 => AppendRequest::to(name(&stream), Expected::Any, [large(number, 40_000)]),
            _ => to(&stream, Expected::Any, [10 * number, 10 * number + 1]),
        };
        store.append(request).unwrap();
    }
}

/// Copies what is new in runs of some size, synced now and then, and notes what was reported as durable.
fn copy(source: &Store, machine: &SimMachine, seed: u64, durable: &mut Position) -> Result<()> {
    let identity = LogIdentity::of(&source.info())?;
    let mut replica = Replica::open(BACKUP, &identity, &options(machine))?;
    assert!(replica.head() >= *durable, "{} of {durable} are left", replica.head());
    if replica.head() > Position(0) {
        let frame = source.read_frames(Position(replica.head().0 - 1), 1)?;
        replica.joins(&frame.bytes, frame.head)?;
    }
    for step in 0.. {
        let run = 1 + mix(seed ^ step) % 60_000;
        let frames = source.read_frames(replica.head(), run as usize)?;
        if frames.bytes.is_empty() {
            break;
        }
        replica.append_frames(&frames.bytes)?;
        if mix(seed ^ step ^ 7).is_multiple_of(4) {
            replica.sync()?;
            *durable = replica.synced();
        }
    }
    let head = replica.head();
    replica.close()?;
    *durable = head;
    Ok(())
}

#[test]
fn a_copy_that_loses_power_at_any_call_keeps_what_it_reported_and_goes_on() {
    let source_machine = SimMachine::new(5);
    let source = Store::open(DIR, options(&source_machine)).unwrap();
    append(&source, 0, 40);
    let mut interrupted = 0;
    for seed in seeds(150) {
        let mut machine = SimMachine::new(seed);
        let mut durable = Position(0);
        // The first calls one after the other, later ones at random.
        for round in 0..4 {
            let calls = if round == 0 { seed } else { mix(seed ^ round) % 80 };
            machine.disk.power_off_after(calls);
            let outcome = copy(&source, &machine, mix(seed ^ round << 8), &mut durable);
            interrupted += u64::from(outcome.is_err());
            assert!(outcome.is_ok() || !machine.disk.is_powered(), "seed {seed}: {outcome:?}");
            machine = machine.crash(mix(seed ^ round << 16));
        }
        copy(&source, &machine, seed, &mut durable).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(durable, source.head(), "seed {seed}");
        let checked = Replica::reopen(BACKUP, &options(&machine), Depth::WholeLog, &mut |_| {}).unwrap();
        assert_eq!(checked.root(), source.info().root, "seed {seed}");
        checked.close().unwrap();

        let backup = Backup::open(BACKUP, &options(&machine)).unwrap();
        let mut target = Replica::open(DIR, backup.identity(), &options(&machine)).unwrap();
        backup.restore_into(&mut target, &mut |_| {}).unwrap();
        target.into_store().unwrap();
        let restored = Store::open(DIR, options(&machine)).unwrap();
        assert_eq!(whole_log(&restored).unwrap(), whole_log(&source).unwrap(), "seed {seed}");
    }
    assert!(interrupted > 0, "power was lost");
}
