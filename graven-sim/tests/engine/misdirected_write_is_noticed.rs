use crate::support::{event, files, name, seeds, to};
use graven_engine::{Options, Store};
use graven_model::{Code, Expected};
use graven_sim::dice::Dice;
use graven_sim::disk::{Call, Fault, Trouble};
use graven_sim::world::{DIR, tiny_options, whole_log};
use graven_sim::{Step, World};

/// What the store shows must be what was appended, in order; an error that names damage is as good.
fn shows_only_the_truth(store: &Store, world: &World, what: &str) {
    match whole_log(store) {
        Err(error) => assert!(error.contains(&Code::Corrupted.id()), "{what}: {error}"),
        Ok(log) => {
            assert!(log.len() <= world.model.log().len(), "{what}: more than was appended");
            assert_eq!(log[..], world.model.log()[..log.len()], "{what}");
        }
    }
}

fn reopen_after_crash(world: &World, seed: u64, what: &str) {
    let machine = world.machine.crash(seed);
    match Store::open(DIR, Options { env: machine.env(), ..world.options() }) {
        Err(error) => assert_eq!(error.code, Code::Corrupted, "{what}: {error}"),
        Ok(store) => shows_only_the_truth(&store, world, what),
    }
}

#[test]
fn a_write_that_landed_elsewhere_never_shows_wrong_events() {
    for seed in seeds(60) {
        let what = format!("GRAVEN_SIM_SEED={seed}");
        let mut dice = Dice::new(seed);
        let mut world = World::new(seed, tiny_options()).unwrap();
        for number in 0..dice.below(30) {
            let request = to("a-1", Expected::Any, [2 * number]);
            let request = request.and_to(name("b-1"), Expected::Any, [event(2 * number + 1)]);
            world.take(&Step::Append(request)).unwrap();
        }
        let by = *dice.pick(&[-4_096, -512, -100, 1, 512, 4_096, 70_000]);
        world.disk().inject(Fault::eio(Call::Write).on(".seg").with(Trouble::Misdirected(by)));
        let request = to("a-1", Expected::Any, [1_000]);
        world.store().append(request.clone()).unwrap();
        world.model.append(&request, world.now()).unwrap();
        shows_only_the_truth(world.store(), &world, &what);
        for number in 0..dice.below(4) {
            let request = to("a-1", Expected::Any, [2_000 + number]);
            if world.store().append(request.clone()).is_ok() {
                world.model.append(&request, world.now()).unwrap();
            }
        }
        shows_only_the_truth(world.store(), &world, &what);
        reopen_after_crash(&world, seed, &what);
    }
}

#[test]
fn a_disk_that_lies_about_syncs_may_lose_events_but_never_makes_them_up() {
    for seed in seeds(60) {
        let what = format!("GRAVEN_SIM_SEED={seed}");
        let mut world = World::new(seed, tiny_options()).unwrap();
        for number in 0..10 {
            world.take(&Step::Append(to("a-1", Expected::Any, [number]))).unwrap();
        }
        world.disk().inject(Fault::eio(Call::Sync).times(u64::MAX).with(Trouble::Lies));
        for number in 10..10 + Dice::new(seed).below(30) {
            world.take(&Step::Append(to("a-1", Expected::Any, [number]))).unwrap();
        }
        assert!(!files(world.disk(), ".seg").is_empty());
        reopen_after_crash(&world, seed, &what);
    }
}
