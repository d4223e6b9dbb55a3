use crate::support::seeds;
use graven_sim::world::{run_random, shrink, tiny_options};

#[test]
fn random_operations_agree_with_the_model() {
    for seed in seeds(40) {
        let options = tiny_options();
        if let Err(failure) = run_random(seed, 250, &options) {
            let first = failure.what.clone();
            let shrunk = shrink(seed, failure, &options);
            let steps: Vec<String> = shrunk.steps.iter().map(|step| format!("  {step}")).collect();
            panic!("GRAVEN_SIM_SEED={seed}\n{first}\nshrunk to:\n{}\n{}", steps.join("\n"), shrunk.what);
        }
    }
}

#[test]
fn random_operations_with_large_payloads_roll_segments() {
    let mut segments = 0;
    for seed in seeds(4) {
        let mut run = || {
            let mut world = graven_sim::World::new(seed, tiny_options())?;
            let mut workload = graven_sim::Workload::new(seed);
            workload.payload_bytes_max = 900_000;
            for _ in 0..300 {
                let step = workload.step(&world.model);
                world.take(&step).map_err(|what| format!("{step}: {what}"))?;
            }
            world.check()?;
            segments = segments.max(world.store().info().segments);
            world.reopen()?;
            world.check()
        };
        run().unwrap_or_else(|what: String| panic!("GRAVEN_SIM_SEED={seed}\n{what}"));
    }
    assert!(segments > 1, "hardly a segment was rolled");
}
