use crate::support::{large, name};
use graven_model::{AppendRequest, Code, Expected};
use graven_sim::world::tiny_options;
use graven_sim::{Step, World};

const CAPACITY_BYTES: u64 = 4 << 20;

fn append(number: u64) -> Step {
    let stream = name(&format!("a-{}", number % 7));
    Step::Append(AppendRequest::to(stream, Expected::Any, [large(number, 100_000)]))
}

/// A store on a disk that is full, and the number of the append that did not fit.
fn full_world() -> (World, u64) {
    let mut world = World::new(1, tiny_options()).unwrap();
    world.disk().set_capacity(CAPACITY_BYTES);
    for number in 0.. {
        let Step::Append(request) = append(number) else { unreachable!() };
        match world.store().append(request.clone()) {
            Ok(_) => drop(world.model.append(&request, world.now())),
            Err(error) => {
                assert_eq!(error.code, Code::DiskFull, "{error}");
                return (world, number);
            }
        }
    }
    unreachable!("the disk has an end")
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let (mut world, refused) = full_world();
    assert!(refused > 10, "{refused} appends of 100 kB fit on 4 MiB");
    assert_eq!(world.store().health().map(|error| error.code), Some(Code::DiskFull));
    world.check().unwrap();
    world.restart(|machine| machine.crash(7)).unwrap();
    world.check().unwrap();
}

#[test]
fn appends_go_on_when_there_is_space_again() {
    let (mut world, refused) = full_world();
    world.disk().set_capacity(2 * CAPACITY_BYTES);
    for number in refused..refused + 10 {
        world.take(&append(number)).unwrap();
    }
    assert_eq!(world.store().health(), None);
    world.check().unwrap();
    world.reopen().unwrap();
    world.check().unwrap();
}

#[test]
fn a_store_opens_and_reads_on_a_full_disk() {
    let (mut world, _) = full_world();
    world.disk().set_capacity(world.disk().used_bytes());
    world.restart(graven_sim::SimMachine::kill).unwrap();
    world.check().unwrap();
}

#[test]
fn the_disk_may_fill_up_at_any_write_of_small_files_too() {
    for spare_bytes in (0..40).map(|kilobytes| kilobytes * 2_048) {
        let mut world = World::new(2, tiny_options()).unwrap();
        world.take(&append(0)).unwrap();
        world.disk().set_capacity(world.disk().used_bytes() + spare_bytes);
        let mut number = 1;
        for _ in 0..60 {
            let small = AppendRequest::to(name("a-1"), Expected::Any, [large(number, 10)]);
            match world.store().append(small.clone()) {
                Ok(_) => {
                    world.model.append(&small, world.now()).unwrap();
                    number += 1;
                }
                Err(error) => assert_eq!(error.code, Code::DiskFull, "{spare_bytes} bytes to spare: {error}"),
            }
        }
        world.check().unwrap_or_else(|what| panic!("{spare_bytes} bytes to spare: {what}"));
        world.disk().set_capacity(u64::MAX);
        // An append that comes while the index still waits to be written may be refused once more.
        let first = AppendRequest::to(name("a-1"), Expected::Any, [large(number, 10)]);
        let answer = world.store().append(first.clone()).or_else(|_| world.store().append(first.clone()));
        assert_eq!(answer.unwrap().last_position.unwrap(), world.model.head());
        world.model.append(&first, world.now()).unwrap();
        for number in number + 1..number + 20 {
            let more = AppendRequest::to(name("a-1"), Expected::Any, [large(number, 10)]);
            world.take(&Step::Append(more)).unwrap();
        }
        world.reopen().unwrap();
        world.check().unwrap_or_else(|what| panic!("{spare_bytes} bytes to spare: {what}"));
    }
}
