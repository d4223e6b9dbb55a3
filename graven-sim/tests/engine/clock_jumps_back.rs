use crate::support::to;
use graven_model::Expected;
use graven_sim::world::tiny_options;
use graven_sim::{Step, World};

#[test]
fn commit_times_never_decrease_though_the_clock_jumps_back() {
    let mut world = World::new(1, tiny_options()).unwrap();
    for number in 0..60 {
        world.take(&Step::Append(to("a-1", Expected::Any, [number]))).unwrap();
        world.take(&Step::Clock(if number % 3 == 0 { -7_000_000 } else { 1_000_000 })).unwrap();
        if number % 20 == 10 {
            world.take(&Step::Reopen).unwrap();
        }
        if number % 20 == 0 {
            world.take(&Step::Crash(number)).unwrap();
        }
    }
    let times: Vec<i64> = world.model.log().iter().map(|event| event.committed_at.micros()).collect();
    assert!(times.is_sorted());
    world.check().unwrap();
}
