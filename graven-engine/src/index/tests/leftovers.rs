//! What a crash leaves in the directory.

use super::*;

type Files = Vec<(PathBuf, Vec<u8>)>;

fn restore(bench: &Bench, files: &Files) {
    files.iter().for_each(|(path, content)| bench.disk.put(path, content));
}

/// After the merge of eight files: with the first seven of them, and the merged one.
fn merged_with_originals() -> (Bench, Files, PathBuf) {
    let mut bench = Bench::new(u64::MAX);
    bench.fill(0..7);
    let originals = bench.disk.snapshot();
    bench.fill(7..8);
    let mut merged = bench.paths();
    assert_eq!((originals.len(), merged.len()), (7, 1));
    (bench, originals, merged.remove(0))
}

#[test]
fn files_that_were_merged_but_not_removed_are_removed() {
    let (mut bench, originals, merged) = merged_with_originals();
    restore(&bench, &originals);
    assert_eq!(bench.files().len(), 8);
    assert_eq!(bench.reopen(), 160);
    assert_eq!(bench.paths(), [merged]);
    bench.check();
}

#[test]
fn a_damaged_merged_file_gives_way_to_the_files_it_was_made_from() {
    let (mut bench, originals, merged) = merged_with_originals();
    let mut content = bench.disk.content(&merged);
    content[500] ^= 1;
    bench.disk.put(&merged, &content);
    restore(&bench, &originals);
    assert_eq!(bench.reopen(), 140);
    assert_eq!(bench.files().len(), 7);
    bench.check();
}

#[test]
fn half_written_files_are_removed() {
    let (mut bench, originals, merged) = merged_with_originals();
    let content = bench.disk.content(&merged);
    bench.disk.put(&crate::env::temporary_name(&merged), &content[..content.len() / 2]);
    bench.disk.remove(&merged).unwrap();
    restore(&bench, &originals);
    assert_eq!(bench.reopen(), 140);
    assert_eq!(bench.files().len(), 7);
    bench.check();
}

#[test]
fn files_that_overlap_without_one_covering_the_other_do_not_confuse() {
    let cut_at = |cuts: [usize; 2]| {
        let mut bench = Bench::new(u64::MAX);
        for (from, to) in [(0, cuts[0]), (cuts[0], cuts[1])] {
            bench.append(&drafts(from..to));
            bench.seal();
        }
        bench
    };
    let mut bench = cut_at([20, 40]);
    restore(&bench, &cut_at([15, 30]).disk.snapshot());
    assert_eq!(bench.files().len(), 4);
    assert_eq!(bench.reopen(), 40);
    assert_eq!(bench.files().len(), 2);
    bench.check();
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let (mut bench, ..) = merged_with_originals();
    bench.disk.put(&bench.dir.join("notes.txt"), b"mine");
    bench.reopen();
    Index::wipe(&bench.env, &bench.dir).unwrap();
    assert_eq!(bench.files(), ["notes.txt"]);
}
