use crate::support::seeds;
use graven_sim::crash::{Tally, run_crashes};
use graven_sim::world::tiny_options;

fn crash_many(count: u64, threads: bool) {
    let mut tally = Tally::default();
    for seed in seeds(count) {
        let run = run_crashes(seed, 6, threads, &tiny_options());
        tally.add(run.unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed}\n{what}")));
    }
    println!("{tally:?}");
    if std::env::var_os("GRAVEN_SIM_SEED").is_none() {
        let met = [tally.while_opening, tally.acknowledged, tally.unknown_there, tally.unknown_gone];
        assert!(met.iter().all(|count| *count > tally.crashes / 50), "the runs miss something: {tally:?}");
    }
}

#[test]
fn what_was_acknowledged_survives_and_nothing_else_appears() {
    crash_many(120, false);
}

#[test]
fn the_same_holds_for_a_store_with_its_own_threads() {
    crash_many(40, true);
}
