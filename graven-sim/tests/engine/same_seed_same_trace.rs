use crate::support::seeds;
use graven_sim::dice::{fingerprint, mix};
use graven_sim::world::tiny_options;
use graven_sim::{Step, Workload, World};

/// What a run left: calls on the disk in order, what the store said after each step, contents of all files.
fn run(seed: u64) -> (u64, u64, u64) {
    let mut world = World::new(seed, tiny_options()).unwrap();
    let mut workload = Workload::new(seed);
    let (mut trace, mut answers) = (0, 0);
    for _ in 0..150 {
        let mut step = workload.step(&world.model);
        if matches!(step, Step::Kill | Step::Crash(_)) {
            // The writer still has tiles to write after it acknowledged; closing waits for that, a crash does not.
            step = Step::Reopen;
        }
        if matches!(step, Step::Reopen) {
            trace = mix(trace ^ world.disk().trace());
        }
        world.take(&step).unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
        let said = format!("{:?} {:?}", world.store().info(), world.model.log().last());
        answers = mix(answers ^ fingerprint(said.as_bytes()));
    }
    world.store.take().unwrap().close().unwrap();
    trace = mix(trace ^ world.disk().trace());
    let contents = world.disk().paths().iter().fold(0, |hash, path| {
        let bytes = world.disk().bytes_of(path).unwrap();
        mix(hash ^ fingerprint(path.as_os_str().as_encoded_bytes()) ^ fingerprint(&bytes))
    });
    (trace, answers, contents)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in seeds(4) {
        let first = run(seed);
        assert_eq!(first, run(seed), "seed {seed}");
        assert!(seen.insert(first), "another seed gives another trace");
    }
}
