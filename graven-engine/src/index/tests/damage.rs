//! Files that are not what was written.

use super::*;
use std::fs;

/// Three files of twenty events each, and their paths.
fn three_files() -> (Bench, Vec<PathBuf>) {
    let mut bench = Bench::new(u64::MAX);
    for round in 0..3 {
        bench.append(&drafts(round * 20..round * 20 + 20));
        bench.seal();
    }
    let paths: Vec<PathBuf> = bench.files().iter().map(|name| bench.path().join(name)).collect();
    assert_eq!(paths.len(), 3);
    (bench, paths)
}

/// Opens the index without indexing anything again; what it covers.
fn covered(bench: &Bench) -> u64 {
    Index::open(&bench.env, &bench.path(), 64, true).unwrap().1.map_or(0, |(covered, _)| covered)
}

#[test]
fn any_flipped_byte_is_found_and_the_file_dropped() {
    let (mut bench, paths) = three_files();
    let contents: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    for (number, path) in paths.iter().enumerate() {
        // Every byte of header and footer, and every seventh between.
        let len = contents[number].len();
        let places = (0..len).filter(|&at| at < 64 || at + 700 > len || at % 7 == number);
        for at in places {
            let mut damaged = contents[number].clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(path, damaged).unwrap();
            assert_eq!(covered(&bench), number as u64 * 20, "byte {at} of file {number}");
            assert_eq!(bench.files().len(), number, "what is damaged and what follows is removed");
            for (path, content) in paths.iter().zip(&contents) {
                fs::write(path, content).unwrap();
            }
        }
    }
    assert_eq!(bench.reopen(), 60);
    bench.check();
}

#[test]
fn a_file_of_any_other_length_is_dropped() {
    let (bench, paths) = three_files();
    let content = fs::read(&paths[2]).unwrap();
    for len in [0, 1, 63, 64, 100, content.len() / 2, content.len() - 64, content.len() - 1] {
        fs::write(&paths[2], &content[..len]).unwrap();
        assert_eq!(covered(&bench), 40, "{len} bytes");
    }
    let longer: Vec<u8> = content.iter().copied().chain([0; 64]).collect();
    fs::write(&paths[2], longer).unwrap();
    assert_eq!(covered(&bench), 40);
}

#[test]
fn a_missing_file_in_the_middle_ends_the_coverage_and_is_made_again() {
    let (mut bench, paths) = three_files();
    fs::remove_file(&paths[1]).unwrap();
    assert_eq!(bench.reopen(), 20);
    assert_eq!(bench.files().len(), 1, "what lies behind the gap is removed");
    bench.check();
    bench.seal();
    assert_eq!(bench.reopen(), 60);
    bench.check();
}

#[test]
fn a_missing_first_file_means_an_empty_index() {
    let (mut bench, paths) = three_files();
    fs::remove_file(&paths[0]).unwrap();
    assert_eq!(bench.reopen(), 0);
    assert!(bench.files().is_empty());
    bench.check();
}

#[test]
fn a_file_under_another_files_name_is_dropped() {
    let (bench, paths) = three_files();
    fs::copy(&paths[0], &paths[1]).unwrap();
    assert_eq!(covered(&bench), 20);
}

/// Opens the index as if it were too large to verify at once.
fn open_unverified(bench: &Bench) -> Arc<Index> {
    Index::open_verifying(&bench.env, &bench.path(), 64, true, 0).unwrap().0
}

fn damage_middle(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content[200] ^= 1;
    fs::write(path, content).unwrap();
}

#[test]
fn damage_found_after_the_start_is_reported_and_repaired_at_the_next_start() {
    let (mut bench, paths) = three_files();
    damage_middle(&paths[1]);
    let index = open_unverified(&bench);
    assert!(!index.damaged());
    index.shared.verify_parts();
    assert!(index.damaged());
    drop(index);
    assert_eq!(bench.reopen(), 20);
    bench.check();
}

#[test]
fn intact_files_verified_after_the_start_stay() {
    let (bench, _) = three_files();
    let index = open_unverified(&bench);
    index.shared.verify_parts();
    assert!(!index.damaged());
    assert_eq!(bench.files().len(), 3);
}

#[test]
fn a_merge_does_not_give_damage_a_right_checksum() {
    let (mut bench, paths) = three_files();
    damage_middle(&paths[1]);
    bench.index = open_unverified(&bench);
    for round in 3..8 {
        bench.append(&drafts(round * 20..round * 20 + 20));
        bench.seal();
    }
    assert!(bench.index.damaged());
    assert_eq!(bench.files().len(), 7, "nothing was merged: {:?}", bench.files());
    assert_eq!(bench.reopen(), 20);
    bench.check();
}

#[test]
fn lookups_in_a_damaged_file_that_is_not_verified_yet_do_not_panic() {
    let (bench, paths) = three_files();
    let content = fs::read(&paths[0]).unwrap();
    let sections = 64..content.len() - super::super::format::FOOTER_BYTES;
    for at in sections.step_by(5) {
        let mut damaged = content.clone();
        damaged[at] ^= 0xff;
        fs::write(&paths[0], damaged).unwrap();
        // The trailer is verified in any case: damage there drops the file.
        let index = open_unverified(&bench);
        look_everywhere(&index, &bench.hasher);
        for (path, content) in paths.iter().zip([&content]) {
            fs::write(path, content).unwrap();
        }
    }
}

fn look_everywhere(index: &Index, hasher: &Hasher) {
    let mut out = Vec::new();
    for name in 0..14u8 {
        let text = name.to_string();
        let stream = hasher.stream(&text);
        for direction in DIRECTIONS {
            for from in [StreamFrom::End, StreamFrom::Revision(1), StreamFrom::After(9)] {
                index.stream(stream, from, direction, u64::MAX, 100, &mut out);
            }
            let item = Item {
                types: vec![hasher.event_type(&text)],
                tags: vec![hasher.tag("1")],
                ..Item::default()
            };
            let query = TermQuery { items: vec![item, Item { births: true, ..Item::default() }] };
            index.query(&query, 30, direction, u64::MAX, 100, &mut out);
        }
        index.tombstone(stream, u64::MAX, &mut out);
        index.id(hasher.id(&[name; 16], stream), u64::MAX, &mut out);
        index.id_prefix(hasher.id(&[name; 16], stream), u64::MAX, 100, &mut out);
        index.last(Term::Type(hasher.event_type(&text)), u64::MAX);
    }
    assert!(out.iter().all(|&position| position < 60));
}
