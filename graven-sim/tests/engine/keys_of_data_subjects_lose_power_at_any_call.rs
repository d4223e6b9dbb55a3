use crate::support::{event, name, seeds};
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, Expected, NewEvent, ReadRequest, Result, Selector};
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::world::{DIR, tiny_options};
use std::collections::BTreeMap;

fn options(machine: &SimMachine, seed: u64) -> Options {
    let keys_dir = seed.is_multiple_of(2).then(|| "/elsewhere/keys".into());
    Options { env: machine.env(), keys_dir, seal_subjects: true, ..tiny_options() }
}

fn about(number: u64) -> NewEvent {
    let subject = format!("p-{}", mix(number) % 4);
    NewEvent { data_subject: Some(subject.as_str().into()), metadata: "{\"m\":1}".into(), ..event(number) }
}

/// What became of an event, as far as its author was told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Told {
    /// Its key is there.
    Readable,
    /// The power went while its key was destroyed.
    Either,
    Erased,
}

/// Appends events of a few people and has keys destroyed, until the power goes.
fn work(machine: &SimMachine, seed: u64, from: u64, told: &mut BTreeMap<u64, Told>) -> Result<()> {
    let store = Store::open(DIR, options(machine, seed))?;
    for number in from..from + 8 {
        let request = AppendRequest::to(name("people"), Expected::Any, [about(number)]);
        store.append(request)?;
        told.insert(number, Told::Readable);
        if mix(seed ^ number).is_multiple_of(3) {
            let subject = about(mix(number) % (number + 1)).data_subject.unwrap();
            let mut mark = |as_what: Told| {
                for (number, told) in told.iter_mut() {
                    let hers = about(*number).data_subject.as_ref() == Some(&subject);
                    *told = if hers && *told != Told::Erased { as_what } else { *told };
                }
            };
            mark(Told::Either);
            store.destroy_subject_key(&subject)?;
            mark(Told::Erased);
        }
    }
    store.close()
}

/// A key is durable before anything is sealed under it, and gone for good once its destruction was acknowledged.
#[test]
fn what_was_acknowledged_is_readable_unless_its_key_was_destroyed_whatever_call_the_power_goes_at() {
    let (mut interrupted, mut read, mut erased) = (0, 0, 0);
    for seed in seeds(250) {
        let mut machine = SimMachine::new(seed);
        let mut told = BTreeMap::new();
        for round in 0..3 {
            machine.disk.power_off_after(if round == 0 { seed } else { mix(seed ^ round) % 150 });
            let outcome = work(&machine, seed, round * 100, &mut told);
            interrupted += u64::from(outcome.is_err());
            assert!(outcome.is_ok() || !machine.disk.is_powered(), "seed {seed}: {outcome:?}");
            machine = match mix(seed ^ round << 24).is_multiple_of(3) {
                true => machine.kill(),
                false => machine.crash(mix(seed ^ round << 16)),
            };
            let store = Store::open(DIR, options(&machine, seed)).unwrap();
            let page = store.read(&ReadRequest::new(Selector::All)).unwrap();
            let events: BTreeMap<_, _> =
                page.events.into_iter().map(|event| (event.event.id, event)).collect();
            for (number, told) in &told {
                let stored = &events[&about(*number).id];
                let open = stored.event == about(*number);
                assert!(open != stored.erased, "seed {seed}, event {number}");
                assert!(!stored.erased || stored.event.data.is_empty());
                match told {
                    Told::Readable => assert!(open, "seed {seed}, event {number} has lost its key"),
                    Told::Erased => assert!(!open, "seed {seed}, event {number} has its key again"),
                    Told::Either => {}
                }
                read += u64::from(open);
                erased += u64::from(!open);
            }
            for number in 0..300 {
                // What is there without having been acknowledged has its key too, unless that was destroyed.
                if let Some(stored) = events.get(&about(number).id).filter(|_| !told.contains_key(&number)) {
                    assert!(stored.event == about(number), "seed {seed}, event {number}: {stored:?}");
                    told.insert(number, Told::Readable);
                }
            }
            drop(store);
            machine = machine.kill();
        }
    }
    assert!(interrupted > 100 && read > 1_000 && erased > 500, "{interrupted} {read} {erased}");
}
