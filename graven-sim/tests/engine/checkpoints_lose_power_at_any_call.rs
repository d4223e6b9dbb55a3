use crate::support::{seeds, to};
use graven_engine::env::Disk;
use graven_engine::{Options, Store};
use graven_model::{Expected, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::policy::Policy;
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::world::{DIR, tiny_options};
use std::path::Path;

fn options(machine: &SimMachine, seed: u64) -> Options {
    let high_water = seed.is_multiple_of(2).then(|| "/elsewhere/high-water".into());
    Options { env: machine.env(), high_water, ..tiny_options() }
}

fn policy(store: &Store) -> Policy {
    let keys = store.trail().verifier_keys().unwrap();
    let logs: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    Policy::parse(&format!("{logs}quorum none\n")).unwrap()
}

/// Appends and asks for checkpoints, until the power goes.
fn work(machine: &SimMachine, seed: u64, handed_out: &mut Vec<SignedCheckpoint>) -> Result<()> {
    let store = Store::open(DIR, options(machine, seed))?;
    for step in 0..6 {
        let number = seed * 1_000 + step;
        store.append(to(&format!("s-{}", mix(number) % 3), Expected::Any, [2 * number, 2 * number + 1]))?;
        if !mix(seed ^ step).is_multiple_of(3) {
            let checkpoint = store.trail().checkpoint(store.head().0)?;
            handed_out.push(checkpoint);
        }
        if mix(seed ^ step ^ 7).is_multiple_of(7) {
            store.trail().rotate(step % 2 == 0, None)?;
        }
        if mix(seed ^ step ^ 99).is_multiple_of(4) {
            store.trail().seal()?;
        }
    }
    if mix(seed).is_multiple_of(2) { store.close() } else { Ok(()) }
}

/// Whatever call the power goes at, no checkpoint is out for events that were lost, and no start is refused.
#[test]
fn a_checkpoint_outlives_the_power_whatever_call_it_goes_at() {
    let (mut interrupted, mut kept) = (0, 0);
    for seed in seeds(200) {
        let mut machine = SimMachine::new(seed);
        let mut handed_out = Vec::new();
        for round in 0..4 {
            let calls = if round == 0 { seed } else { mix(seed ^ round) % 120 };
            machine.disk.create_dir(Path::new("/elsewhere")).unwrap();
            machine.disk.power_off_after(calls);
            let outcome = work(&machine, mix(seed ^ round << 8) >> 24 << 1 | seed & 1, &mut handed_out);
            interrupted += u64::from(outcome.is_err());
            assert!(outcome.is_ok() || !machine.disk.is_powered(), "seed {seed}: {outcome:?}");
            machine = match mix(seed ^ round << 24).is_multiple_of(3) {
                true => machine.kill(),
                false => machine.crash(mix(seed ^ round << 16)),
            };
            let store = Store::open(DIR, options(&machine, seed))
                .unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
            let trail = store.trail();
            for checkpoint in &handed_out {
                let head = checkpoint.unverified_head();
                assert_eq!(trail.checkpoint_of(head.size).as_ref(), Ok(checkpoint), "seed {seed}");
                checkpoint.verify(&policy(&store)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                if head.size > 0 {
                    let now = trail.checkpoint(store.head().0).unwrap().unverified_head();
                    let proof = trail.consistency(head.size, now.size).unwrap();
                    now.verify_consistency(&head, &proof)
                        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                }
                kept += 1;
            }
            machine = machine.kill();
        }
    }
    assert!(interrupted > 0 && kept > 0, "power was lost, and checkpoints were not");
}
