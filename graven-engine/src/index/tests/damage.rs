//! Files that are not what was written.

use super::super::format::FOOTER_BYTES;
use super::*;

/// Three files of twenty events each, their paths and contents.
fn three_files() -> (Bench, Vec<(PathBuf, Vec<u8>)>) {
    let mut bench = Bench::new(u64::MAX);
    bench.fill(0..3);
    let files = bench.disk.snapshot();
    assert_eq!(files.len(), 3);
    (bench, files)
}

/// Opens the index without indexing anything again; what it covers.
fn covered(bench: &Bench) -> u64 {
    Index::open(&bench.env, &bench.dir, 64, true).unwrap().1.map_or(0, |(covered, _)| covered)
}

fn restore(bench: &Bench, files: &[(PathBuf, Vec<u8>)]) {
    files.iter().for_each(|(path, content)| bench.disk.put(path, content));
}

#[test]
fn any_flipped_byte_is_found_and_the_file_dropped() {
    let (mut bench, files) = three_files();
    for (number, (path, content)) in files.iter().enumerate() {
        // Every byte of one file, some of the others.
        for at in (0..content.len()).step_by([7, 1, 11][number]) {
            let mut damaged = content.clone();
            damaged[at] ^= 1 << (at % 8);
            bench.disk.put(path, &damaged);
            assert_eq!(covered(&bench), number as u64 * 20, "byte {at} of file {number}");
            assert_eq!(bench.files().len(), number, "what is damaged and what follows is removed");
            restore(&bench, &files);
        }
    }
    assert_eq!(bench.reopen(), 60);
    bench.check();
}

#[test]
fn a_file_of_any_other_length_is_dropped() {
    let (bench, files) = three_files();
    let (path, content) = &files[2];
    for len in (0..content.len()).step_by(13).chain([content.len() - 64, content.len() - 1]) {
        bench.disk.put(path, &content[..len]);
        assert_eq!(covered(&bench), 40, "{len} bytes");
    }
    for more in [1, 64] {
        let longer: Vec<u8> = content.iter().copied().chain(std::iter::repeat_n(0, more)).collect();
        bench.disk.put(path, &longer);
        assert_eq!(covered(&bench), 40, "{more} bytes more");
    }
}

#[test]
fn a_missing_file_in_the_middle_ends_the_coverage_and_is_made_again() {
    let (mut bench, files) = three_files();
    bench.disk.remove(&files[1].0).unwrap();
    assert_eq!(bench.reopen(), 20);
    assert_eq!(bench.files().len(), 1, "what lies behind the gap is removed");
    bench.check();
    bench.seal();
    assert_eq!(bench.reopen(), 60);
    bench.check();
}

#[test]
fn a_missing_first_file_means_an_empty_index() {
    let (mut bench, files) = three_files();
    bench.disk.remove(&files[0].0).unwrap();
    assert_eq!(bench.reopen(), 0);
    assert!(bench.files().is_empty());
    bench.check();
}

#[test]
fn a_file_under_another_files_name_is_dropped() {
    let (bench, files) = three_files();
    bench.disk.put(&files[1].0, &files[0].1);
    assert_eq!(covered(&bench), 20);
}

/// Opens the index as if it were too large to verify at once.
fn open_unverified(bench: &Bench) -> Arc<Index> {
    Index::open_verifying(&bench.env, &bench.dir, 64, true, 0).unwrap().0
}

fn damage_middle(bench: &Bench, (path, content): &(PathBuf, Vec<u8>)) {
    let mut damaged = content.clone();
    damaged[200] ^= 1;
    bench.disk.put(path, &damaged);
}

#[test]
fn damage_found_after_the_start_is_reported_and_repaired_at_the_next_start() {
    let (mut bench, files) = three_files();
    damage_middle(&bench, &files[1]);
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
    let (mut bench, files) = three_files();
    damage_middle(&bench, &files[1]);
    bench.index = open_unverified(&bench);
    bench.fill(3..8);
    assert!(bench.index.damaged());
    assert_eq!(bench.files().len(), 7, "nothing was merged: {:?}", bench.files());
    assert_eq!(bench.reopen(), 20);
    bench.check();
}

#[test]
fn lookups_in_a_damaged_file_that_is_not_verified_yet_do_not_panic() {
    let (bench, files) = three_files();
    let (path, content) = &files[0];
    let sections = 64..content.len() - FOOTER_BYTES;
    for at in sections.step_by(3) {
        let mut damaged = content.clone();
        damaged[at] ^= 0xff;
        bench.disk.put(path, &damaged);
        // The trailer is verified in any case: damage there drops the file.
        look_everywhere(&open_unverified(&bench), &bench.hasher);
        restore(&bench, &files);
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
