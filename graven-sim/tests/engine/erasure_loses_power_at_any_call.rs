use crate::support::{event, name, seeds};
use graven_engine::audit::{ErasureRequest, ErasureTarget, Part};
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, Expected, NewEvent, Position, ReadRequest, Result, Selector, StoredEvent};
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::world::{DIR, tiny_options};

fn options(machine: &SimMachine, seed: u64) -> Options {
    Options { env: machine.env(), seal_subjects: seed.is_multiple_of(2), ..tiny_options() }
}

fn about(number: u64) -> NewEvent {
    let subject = ["anna", "ben", "carl"][(mix(number) % 3) as usize];
    NewEvent {
        metadata: "{\"m\":1}".into(),
        data_subject: mix(number ^ 7).is_multiple_of(2).then(|| subject.into()),
        ..event(number)
    }
}

fn all(store: &Store) -> Vec<StoredEvent> {
    let mut events = Vec::new();
    let mut request = ReadRequest::new(Selector::All);
    loop {
        let page = store.read(&request).unwrap();
        events.extend(page.events);
        match page.next {
            Some(next) => request = request.from(next),
            None => return events,
        }
    }
}

/// An erasure that was answered, or of which nobody knows.
struct Asked {
    request: ErasureRequest,
    answered: bool,
}

/// Appends and erases, until the power goes.
fn work(machine: &SimMachine, seed: u64, round: u64, asked: &mut Vec<Asked>) -> Result<()> {
    let store = Store::open(DIR, options(machine, seed))?;
    for step in 0..8 {
        let number = (round * 100 + step) * 10;
        let stream = name(&format!("s-{}", mix(seed ^ number) % 3));
        let events = (0..3).map(|at| about(number + at));
        store.append(AppendRequest::to(stream.clone(), Expected::Any, events))?;
        let target = match mix(seed ^ number ^ 5) % 6 {
            0 => ErasureTarget::Subject(["anna", "ben", "carl"][(mix(number) % 3) as usize].to_owned()),
            1 => ErasureTarget::Stream { name: stream, before: None },
            2 => ErasureTarget::Events(vec![Position(mix(seed ^ number) % store.head().0)]),
            _ => continue,
        };
        let request = ErasureRequest {
            target,
            parts: vec![Part::Data, Part::Metadata],
            request: format!("r-{round}-{step}"),
            basis: "b".to_owned(),
            decided_by: "d".to_owned(),
            approved_by: None,
        };
        asked.push(Asked { request: request.clone(), answered: false });
        match store.erase(&request, false) {
            Ok(_) => asked.last_mut().expect("it was just asked").answered = true,
            // Nothing is there to be erased, or it is the store's own: nothing was changed.
            Err(error) if [1741, 1742].contains(&error.code.entry().number) => drop(asked.pop()),
            Err(error) => return Err(error),
        }
    }
    if mix(seed ^ round).is_multiple_of(2) { store.close() } else { Ok(()) }
}

/// Whatever call the power goes at: an erasure that was answered is whole, one that is in the log is whole after the next
/// start, and every leaf is what it was.
#[test]
fn an_erasure_is_whole_or_not_there_whatever_call_the_power_goes_at() {
    let (mut interrupted, mut erased, mut resumed) = (0, 0, 0);
    for seed in seeds(150) {
        let mut machine = SimMachine::new(seed);
        let mut asked = Vec::new();
        let mut known: Vec<StoredEvent> = Vec::new();
        for round in 0..4 {
            machine.disk.power_off_after(40 + mix(seed ^ round) % 260);
            let outcome = work(&machine, seed, round, &mut asked);
            interrupted += u64::from(outcome.is_err());
            assert!(outcome.is_ok() || !machine.disk.is_powered(), "seed {seed}: {outcome:?}");
            machine = match mix(seed ^ round << 24).is_multiple_of(3) {
                true => machine.kill(),
                false => machine.crash(mix(seed ^ round << 16)),
            };
            let at = format!("seed {seed}, round {round}");
            let store =
                Store::open(DIR, options(&machine, seed)).unwrap_or_else(|error| panic!("{at}: {error}"));
            let events = all(&store);
            // What was erased once stays erased, and everything keeps its place.
            for (before, after) in known.iter().zip(&events) {
                assert_eq!((before.position, before.event.id), (after.position, after.event.id), "{at}");
                assert!(!before.erased || after.erased, "{at}: {after:?}");
            }
            let in_log = |asked: &Asked| {
                let id = format!("\"request\":{:?}", asked.request.request);
                events.iter().find(|event| {
                    &*event.event.event_type == "$erasure"
                        && String::from_utf8_lossy(&event.event.data).contains(&id)
                })
            };
            for one in &asked {
                let Some(record) = in_log(one) else {
                    assert!(!one.answered, "{at}: an erasure that was answered is not in the log");
                    continue;
                };
                resumed += u64::from(!one.answered);
                // The first erasure with this record covers everything before it.
                let below = record.position;
                for event in events.iter().filter(|event| event.position < below) {
                    let meant = match &one.request.target {
                        ErasureTarget::Events(positions) => positions.contains(&event.position),
                        ErasureTarget::Stream { name, .. } => event.stream == *name,
                        ErasureTarget::Subject(subject) => {
                            event.event.data_subject.as_deref() == Some(subject.as_str())
                        }
                    };
                    assert!(!meant || event.erased && event.event.metadata.is_empty(), "{at}: {event:?}");
                    erased += u64::from(event.erased);
                }
            }
            for position in 0..store.head().0 {
                store.trail().leaf(position).unwrap_or_else(|error| panic!("{at}: {error}"));
            }
            known = events;
            machine = machine.kill();
        }
        // And all of it can be built again from the log.
        for path in machine.disk.paths() {
            if path.to_string_lossy().contains("/index/") || path.to_string_lossy().contains("/audit/") {
                machine.disk.lose(&path);
            }
        }
        let store =
            Store::open(DIR, options(&machine, seed)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let events = all(&store);
        assert_eq!(events[..known.len()], known[..], "seed {seed}");
    }
    println!("{interrupted} interrupted, {erased} erased, {resumed} resumed");
    assert!(interrupted > 0 && erased > 0 && resumed > 0);
}
