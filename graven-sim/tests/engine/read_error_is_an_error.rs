use crate::support::{seeds, to};
use graven_model::{AppendRequest, Code, Expected, Position, ReadRequest, Selector};
use graven_sim::disk::{Call, Fault};
use graven_sim::judge::read_pages;
use graven_sim::world::{run_steps, tiny_options, write, write_model};
use graven_sim::{Step, Workload, World};

#[test]
fn a_read_that_fails_says_so_and_the_next_one_goes_well() {
    let mut world = World::new(1, tiny_options()).unwrap();
    for number in 0..40 {
        world.take(&Step::Append(to("a-1", Expected::Any, [number]))).unwrap();
    }
    for after in 0..20 {
        world.disk().inject(Fault::eio(Call::Read).on(".seg").after(after));
        let read = ReadRequest::new(Selector::All).limit(3);
        match read_pages(world.store(), &read).unwrap() {
            Ok(events) => assert_eq!(events, world.model.log()),
            Err(error) => assert_eq!(error.code, Code::Io),
        }
        world.disk().clear_faults();
        assert_eq!(world.store().event_at(Position(7)).unwrap(), world.model.log()[7]);
    }
    world.check().unwrap();
}

#[test]
fn a_store_that_cannot_be_read_while_it_opens_says_so_and_opens_later() {
    let mut world = World::new(2, tiny_options()).unwrap();
    for number in 0..40 {
        world.take(&Step::Append(to("a-1", Expected::Any, [number]))).unwrap();
    }
    let mut failed = 0;
    for after in 0..40 {
        world.machine = world.machine.kill();
        world.store = None;
        world.disk().inject(Fault::eio(Call::Read).after(after));
        failed += u32::from(world.open().is_err());
        world.store = None;
        world.disk().clear_faults();
        world.open().unwrap();
        world.check().unwrap_or_else(|what| panic!("after {after} reads: {what}"));
    }
    assert!(failed > 0);
}

#[test]
fn appends_decided_while_reads_fail_are_right_or_refused() {
    for seed in seeds(20) {
        let mut world = World::new(seed, tiny_options()).unwrap();
        let mut workload = Workload::new(seed);
        let mut steps = Vec::new();
        for _ in 0..150 {
            // The events a conflict would bring along are left out where they cannot be read.
            let step = Step::Append(AppendRequest { unseen_max: 0, ..workload.append(&world.model) });
            world.disk().inject_chance(Call::Read, 20_000);
            let found = write(world.store(), &step);
            world.disk().clear_faults();
            let before = world.model.log().len();
            match found {
                Err(error) if error.code == Code::Io => {}
                found => {
                    let now = world.now();
                    let wanted = write_model(&mut world.model, &step, now);
                    graven_sim::judge::same_answer(&found, &wanted)
                        .unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {step}: {what}"));
                    steps.push(step);
                }
            }
            world.learn(before).unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
        }
        world.check().unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
        run_steps(seed, &steps, &tiny_options()).unwrap();
    }
}
