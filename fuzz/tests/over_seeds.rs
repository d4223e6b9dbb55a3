//! Every target over its seeds, over inputs that once broke it, and over a fixed number of mutations of both.

use graven_fuzz::{TARGETS, Target, mutate};
use graven_sim::dice::Dice;
use std::fs;
use std::path::{Path, PathBuf};

macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            over_seeds(Target::named(stringify!($name)).expect("the target is listed"));
        })*
    };
}

targets! { cursor cloudevent cloudevent_batch leaf note checkpoint tlog_proof key policy trie_proof bundle evidence tile_path witness_request timestamp message recovery frame }

#[test]
fn every_target_is_tested_here_and_has_a_binary() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let manifest = fs::read_to_string(here().join("Cargo.toml")).unwrap();
    for name in names {
        let file = format!("fuzz_targets/{name}.rs");
        assert!(here().join(&file).is_file(), "{file} is missing");
        assert!(manifest.contains(&format!("path = \"{file}\"")), "{file} is not in Cargo.toml");
    }
}

#[test]
fn mutations_are_the_same_for_the_same_number() {
    let run = |seed| {
        let (mut dice, mut input) = (Dice::new(seed), b"some input to be changed".to_vec());
        (0..100).for_each(|_| mutate(&mut dice, &mut input, b"another one"));
        input
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

fn over_seeds(target: &Target) {
    let mut inputs = (target.seeds)();
    for (number, input) in inputs.iter().enumerate() {
        assert!(feed(target, input, &format!("seed {number}")), "seed {number} is not accepted");
    }
    for (number, input) in regressions(target.name).into_iter().enumerate() {
        feed(target, &input, &format!("regression {number}"));
        inputs.push(input);
    }
    for number in 0..target.mutations {
        let mut dice = Dice::new(number.into());
        let mut input = dice.pick(&inputs).clone();
        let other = dice.index(inputs.len());
        mutate(&mut dice, &mut input, &inputs[other]);
        feed(target, &input, &format!("mutation {number}"));
    }
}

/// Feeds one input and says whether it was accepted; one that breaks the target is kept in a file.
fn feed(target: &Target, input: &[u8], what: &str) -> bool {
    std::panic::catch_unwind(|| (target.run)(input)).unwrap_or_else(|panic| {
        let folder = here().join("artifacts").join(target.name);
        let path = folder.join(format!("broke-{}", what.replace(' ', "-")));
        let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
        eprintln!("{what} broke {}, kept: {} {kept:?}", target.name, path.display());
        std::panic::resume_unwind(panic)
    })
}

fn regressions(name: &str) -> Vec<Vec<u8>> {
    let Ok(folder) = fs::read_dir(here().join("regressions").join(name)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
