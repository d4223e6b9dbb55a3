use crate::support::{files, seeds};
use graven_sim::dice::Dice;
use graven_sim::judge::same;
use graven_sim::world::tiny_options;
use graven_sim::{Workload, World};
use std::path::PathBuf;

fn busy_world(seed: u64) -> World {
    let mut world = World::new(seed, tiny_options()).unwrap();
    let mut workload = Workload::new(seed);
    for _ in 0..200 {
        let step = workload.step(&world.model);
        world.take(&step).unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
    }
    world
}

/// Closes the store, lets `damage` loose on its derived files, and opens it again: the same answers, the same tree.
fn survives(seed: u64, damage: impl FnOnce(&World)) {
    let mut world = busy_world(seed);
    let before = world.store().info();
    world.store.take().unwrap().close().unwrap();
    damage(&world);
    let verdict = world.open().and_then(|()| {
        let after = world.store().info();
        same("root", &(after.head, after.root), &(before.head, before.root))?;
        world.check()?;
        world.reopen()?;
        world.check()
    });
    verdict.unwrap_or_else(|what| panic!("GRAVEN_SIM_SEED={seed} {what}"));
}

/// Files that can be worked out from the log.
fn derived(world: &World) -> Vec<PathBuf> {
    let mut paths = files(world.disk(), "/index/");
    paths.extend(files(world.disk(), "/audit/"));
    assert!(!paths.is_empty(), "there are derived files among {:?}", world.disk().paths());
    paths
}

#[test]
fn a_store_without_its_index_and_tiles_rebuilds_them() {
    for seed in seeds(6) {
        survives(seed, |world| derived(world).iter().for_each(|path| world.disk().lose(path)));
    }
}

#[test]
fn a_store_without_any_one_of_them_rebuilds_it() {
    for seed in seeds(12) {
        survives(seed, |world| {
            let paths = derived(world);
            let path: &PathBuf = Dice::new(seed).pick(&paths);
            world.disk().lose(path);
        });
    }
}

#[test]
fn a_store_with_a_cut_or_flipped_one_rebuilds_it() {
    for seed in seeds(24) {
        survives(seed, |world| {
            let mut dice = Dice::new(seed);
            let paths = derived(world);
            let path: &PathBuf = dice.pick(&paths);
            let length = world.disk().bytes_of(path).unwrap().len() as u64;
            if length == 0 {
                return;
            }
            let at = dice.below(length);
            if dice.chance(1, 2) {
                world.disk().cut(path, at);
            } else {
                world.disk().flip(path, at, dice.below(8) as u8);
            }
        });
    }
}
