use crate::support::{name, to};
use graven_engine::Store;
use graven_model::{Code, Expected};
use graven_sim::world::{DIR, tiny_options};
use graven_sim::{SimMachine, Step, World};

#[test]
fn a_store_that_does_not_know_it_is_dead_acknowledges_nothing_and_changes_nothing() {
    for restart in [SimMachine::kill as fn(&SimMachine) -> SimMachine, |machine| machine.crash(5)] {
        let mut world = World::new(1, tiny_options()).unwrap();
        world.take(&Step::Append(to("a-1", Expected::Any, 0..3))).unwrap();
        let zombie = world.store().clone();
        world.restart(restart).unwrap();
        zombie.append(to("a-1", Expected::Any, [50])).unwrap_err();
        world.take(&Step::Append(to("a-1", Expected::Any, [51]))).unwrap();
        zombie.append(to("a-1", Expected::Any, [52])).unwrap_err();
        let _ = zombie.close();
        world.check().unwrap();
        world.reopen().unwrap();
        world.check().unwrap();
    }
}

#[test]
fn a_second_store_in_the_same_directory_is_refused() {
    let mut world = World::new(1, tiny_options()).unwrap();
    let error = Store::open(DIR, world.options()).err().expect("the directory is in use");
    assert_eq!(error.code, Code::DataInUse, "{error}");
    world.take(&Step::Append(to("a-1", Expected::Any, [1]))).unwrap();
    assert_eq!(world.store().stream_info(&name("a-1")).unwrap().last_revision.map(|last| last.0), Some(0));
}
