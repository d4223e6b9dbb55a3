use crate::support::{large, name, seeds, to};
use graven_engine::audit::{Sealed, Trail};
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, Code, Expected, Result};
use graven_proof::Hash;
use graven_proof::chain::StreamChain;
use graven_proof::leaf::Leaf;
use graven_proof::trie::{Answer, StreamTrie};
use graven_sim::SimMachine;
use graven_sim::dice::mix;
use graven_sim::world::{DIR, tiny_options};
use std::collections::BTreeMap;
use std::time::Duration;

fn options(machine: &SimMachine, seed: u64) -> Options {
    // With an interval, a seal is made when the store closes; nobody seals by himself on a simulated machine.
    let seal_interval = seed.is_multiple_of(2).then(|| Duration::from_secs(60));
    Options { env: machine.env(), index_flush_events: 20, heads_max: 3, seal_interval, ..tiny_options() }
}

/// Appends, ends streams, seals, proves, until the power goes.
fn work(machine: &SimMachine, seed: u64, sealed: &mut Vec<Sealed>) -> Result<()> {
    let store = Store::open(DIR, options(machine, seed))?;
    for step in 0..8 {
        let number = mix(seed ^ step << 32);
        let stream = format!("s-{}", number % 40);
        match number >> 8 & 15 {
            0 => store.tombstone_stream(&name(&stream), Expected::Any).map(drop),
            1 => store.delete_stream(&name(&stream), Expected::Any).map(drop),
            _ => store.append(to(&stream, Expected::Any, [number, number + 1])).map(drop),
        }
        .or_else(|error| {
            if error.code.entry().no_side_effects && machine.disk.is_powered() { Ok(()) } else { Err(error) }
        })?;
        if number >> 16 & 1 == 0 {
            sealed.push(store.trail().seal()?);
        }
        if number >> 17 & 3 == 0 && !sealed.is_empty() {
            store.trail().absence([7; 32])?;
        }
    }
    if seed % 4 < 3 { store.close() } else { Ok(()) }
}

/// Where each stream stands after the first `size` leaves, by nothing but the leaves.
fn heads(trail: &Trail, size: u64) -> BTreeMap<Hash, StreamChain> {
    let mut chains: BTreeMap<Hash, StreamChain> = BTreeMap::new();
    trail
        .leaves(0..size, |_, bytes| {
            let key = Leaf::decode(bytes).unwrap().stream_key;
            chains.entry(key).or_insert_with(|| StreamChain::new(key)).push(bytes).unwrap();
            Ok(())
        })
        .unwrap();
    chains
}

/// Whatever call the power goes at: a seal that was answered is there, whatever seal is there says where its streams stood,
/// and the next start goes on from it, with or without its file.
#[test]
fn what_a_seal_says_outlives_the_power_whatever_call_it_goes_at() {
    let (mut interrupted, mut kept, mut filed) = (0, 0, 0);
    for seed in seeds(150) {
        let mut machine = SimMachine::new(seed);
        let mut sealed = Vec::new();
        for round in 0..4 {
            let calls = if round == 0 { seed } else { mix(seed ^ round) % 90 };
            machine.disk.power_off_after(calls);
            let outcome = work(&machine, mix(seed ^ round << 8), &mut sealed);
            interrupted += u64::from(outcome.is_err());
            assert!(outcome.is_ok() || !machine.disk.is_powered(), "seed {seed}: {outcome:?}");
            machine = match mix(seed ^ round << 24).is_multiple_of(3) {
                true => machine.kill(),
                false => machine.crash(mix(seed ^ round << 16)),
            };
            filed += u64::from(machine.disk.paths().iter().any(|path| path.ends_with("audit/streams")));
            let store = Store::open(DIR, options(&machine, 1))
                .unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
            let trail = store.trail();
            let last = trail.last_seal().unwrap();
            if let Some(answered) = sealed.last() {
                let last = last.as_ref().unwrap_or_else(|| panic!("seed {seed}: a seal was lost"));
                assert!(last == answered || last.size > answered.size, "seed {seed}: {last:?}, {answered:?}");
                kept += 1;
            }
            let chains = heads(&trail, last.as_ref().map_or(0, |seal| seal.size));
            if let Some(seal) = &last {
                let mut trie = StreamTrie::new();
                trie.extend(chains.iter().map(|(key, chain)| (*key, *chain.head().unwrap())));
                assert_eq!((seal.streams, seal.root), (trie.len() as u64, trie.root()), "seed {seed}");
            }
            for (key, chain) in &chains {
                let proven = trail.absence(*key).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                assert_eq!(Some(&proven.seal), last.as_ref(), "seed {seed}");
                let answer = proven.proof.verify(key, &proven.seal.root).unwrap();
                assert_eq!(answer, Answer::Present(*chain.head().unwrap()), "seed {seed}");
            }
            sealed.push(trail.seal().unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}")));
            assert!(store.health().is_none(), "seed {seed}");
            machine = machine.kill();
        }
    }
    assert!(interrupted > 0 && kept > 0 && filed > 0, "power was lost, and seals were not");
}

#[test]
fn a_seal_that_finds_the_disk_full_is_made_when_there_is_space_again() {
    const CAPACITY_BYTES: u64 = 3 << 20;
    let machine = SimMachine::new(1);
    let store = Store::open(DIR, options(&machine, 1)).unwrap();
    let trail = store.trail();
    store.append(to("first", Expected::Any, [1])).unwrap();
    let seal = trail.seal().unwrap();
    machine.disk.set_capacity(CAPACITY_BYTES);
    let mut number = 2;
    for bytes in [100_000, 1_000, 1] {
        let full = loop {
            number += 1;
            let stream = name(&format!("s-{}", number % 7));
            let request = AppendRequest::to(stream, Expected::Any, [large(number, bytes)]);
            if let Err(error) = store.append(request) {
                break error;
            }
        };
        assert_eq!(full.code, Code::DiskFull, "{full}");
    }
    assert_eq!(trail.seal().unwrap_err().code, Code::DiskFull);
    let proven = trail.completeness(&name("first")).unwrap();
    assert_eq!(proven.seal, seal);
    proven.proof.verify(&proven.stream_key, &seal.root).unwrap();
    machine.disk.set_capacity(2 * CAPACITY_BYTES);
    let seal = trail.seal().unwrap();
    let mut trie = StreamTrie::new();
    trie.extend(heads(&trail, seal.size).iter().map(|(key, chain)| (*key, *chain.head().unwrap())));
    assert_eq!((seal.streams, seal.root), (trie.len() as u64, trie.root()));
    store.close().unwrap();
}
