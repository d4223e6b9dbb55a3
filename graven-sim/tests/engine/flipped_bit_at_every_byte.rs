use crate::support::{event, files, name, to};
use graven_engine::{Options, Store};
use graven_model::{Code, Expected};
use graven_sim::world::{DIR, tiny_options, whole_log};
use graven_sim::{SimMachine, Step, World};
use std::path::Path;

/// A store that was closed, with index files and an open segment.
fn closed_world() -> World {
    let mut world = World::new(1, tiny_options()).unwrap();
    for number in 0..12 {
        let request = to("a-1", Expected::Any, [10 * number]).and_to(
            name("b-1"),
            Expected::Any,
            [event(10 * number + 1)],
        );
        world.take(&Step::Append(request)).unwrap();
    }
    world.reopen().unwrap();
    world.store.take().unwrap().close().unwrap();
    world
}

/// Opens the store on this machine and reads everything it says, the Merkle root too. `None` if it reports damage.
fn read_everything(world: &World, machine: &SimMachine, what: &str) -> Option<()> {
    let options = Options { env: machine.env(), ..world.options() };
    let damage =
        |code: Code| assert!(matches!(code, Code::Corrupted | Code::UnknownFormat), "{what}: {code}");
    let store = match Store::open(DIR, options) {
        Ok(store) => store,
        Err(error) => {
            damage(error.code);
            return None;
        }
    };
    match whole_log(&store) {
        Err(error) => assert!(error.contains(&Code::Corrupted.id()), "{what}: {error}"),
        Ok(log) => {
            assert_eq!(log, world.model.log(), "{what}");
            graven_sim::judge::same_everything(&store, &world.model, world.now())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            return Some(());
        }
    }
    None
}

/// Flips a bit of every byte that `flip` picks, one at a time; how many of them went unnoticed, their bytes being unused.
fn flip_all(world: &World, path: &Path, offsets: impl Iterator<Item = u64>) -> (u64, u64) {
    let (mut unnoticed, mut noticed) = (0, 0);
    for offset in offsets {
        let machine = world.machine.fork();
        machine.disk.flip(path, offset, (offset % 8) as u8);
        match read_everything(world, &machine, &format!("{} byte {offset}", path.display())) {
            Some(()) => unnoticed += 1,
            None => noticed += 1,
        }
    }
    (unnoticed, noticed)
}

#[test]
fn no_flipped_bit_of_the_log_yields_wrong_data() {
    let world = closed_world();
    let path = files(world.disk(), ".seg").pop().unwrap();
    let bytes = world.disk().bytes_of(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let (_, noticed) = flip_all(&world, &path, 4_096..used);
    assert_eq!(noticed, used - 4_096, "every byte of a frame counts");
    let (_, noticed) = flip_all(&world, &path, (0..4_096).step_by(13));
    assert!(noticed > 50, "the segment header counts");
}

#[test]
fn a_flipped_bit_of_any_other_file_changes_no_answer() {
    let world = closed_world();
    for path in world.disk().paths() {
        let length = world.disk().bytes_of(&path).unwrap().len() as u64;
        if path.to_string_lossy().contains(".seg") || length == 0 || length > 1 << 19 {
            continue;
        }
        let step = (length / 300).max(1) as usize;
        flip_all(&world, &path, (0..length).step_by(step));
    }
}
