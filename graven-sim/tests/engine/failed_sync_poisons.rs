use crate::support::{name, seeds, to};
use graven_model::{Code, Expected, ReadRequest, Selector};
use graven_sim::disk::{Call, Fault};
use graven_sim::judge::read_pages;
use graven_sim::world::tiny_options;
use graven_sim::{SimMachine, Step, World};

fn world(seed: u64) -> World {
    let mut world = World::new(seed, tiny_options()).unwrap();
    world.take(&Step::Append(to("a-1", Expected::Any, 0..5))).unwrap();
    world
}

#[test]
fn a_failed_sync_leaves_the_outcome_unknown_and_stops_the_writer() {
    for call in [Call::Sync, Call::Write] {
        let world = world(1);
        world.disk().inject(Fault::eio(call).on(".seg"));
        let error = world.store().append(to("a-1", Expected::Any, [10])).unwrap_err();
        assert_eq!(error.code, Code::OutcomeUnknown, "{call:?}: {error}");
        let error = world.store().append(to("a-1", Expected::Any, [11])).unwrap_err();
        assert_eq!(error.code, Code::Poisoned, "{call:?}: {error}");
        assert_eq!(world.store().health().map(|error| error.code), Some(Code::Poisoned));
        let read = ReadRequest::new(Selector::Stream(name("a-1")));
        assert_eq!(read_pages(world.store(), &read).unwrap().unwrap(), world.model.log(), "reads go on");
        assert_eq!(world.store().head(), world.model.head(), "what may be lost is not visible");
    }
}

#[test]
fn a_poisoned_store_never_writes_to_its_log_again() {
    let world = world(2);
    world.disk().inject(Fault::eio(Call::Sync).on(".seg"));
    world.store().append(to("a-1", Expected::Any, [10])).unwrap_err();
    let trace = world.disk().trace();
    world.store().append(to("a-1", Expected::Any, [11])).unwrap_err();
    world.store().append(to("b-1", Expected::Any, [12])).unwrap_err();
    let _ = world.store().close();
    assert_eq!(world.disk().trace(), trace);
}

#[test]
fn after_a_failed_sync_what_the_store_shows_when_it_opens_again_survives_power_loss() {
    for seed in seeds(40) {
        let mut world = world(seed);
        world.disk().inject(Fault::eio(Call::Sync).on(".seg"));
        let append = Step::Append(to("a-1", Expected::Any, 10..40));
        let Step::Append(request) = &append else { unreachable!() };
        world.store().append(request.clone()).unwrap_err();
        world.machine = world.machine.kill();
        world.store = None;
        world.open().unwrap();
        // The retry says "already done" or does it now; either way it is acknowledged.
        world.store().append(request.clone()).unwrap();
        world.model.append(request, world.now()).unwrap();
        world
            .restart(|machine| machine.crash(seed))
            .unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
        world.check().unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
    }
}

#[test]
fn what_a_killed_process_left_unsynced_survives_power_loss_once_it_was_shown() {
    for seed in seeds(40) {
        let mut world = world(seed);
        // The process is killed between writing the batch and syncing it.
        world.disk().inject(Fault::eio(Call::Sync).on(".seg").with(graven_sim::disk::Trouble::Lies));
        let step = Step::Append(to("a-1", Expected::Any, 10..40));
        world.take(&step).unwrap();
        world.restart(SimMachine::kill).unwrap();
        world.take(&step).expect("the retry is recognised: the events are there");
        world
            .restart(|machine| machine.crash(seed))
            .unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
        world.check().unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
    }
}
