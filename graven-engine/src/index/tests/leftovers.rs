//! What a crash leaves in the directory.

use super::*;
use std::fs;

/// The state before and after the merge of eight files: the first seven of them (copied away), and the merged one.
fn merged_with_originals() -> (Bench, PathBuf) {
    let mut bench = Bench::new(u64::MAX);
    let originals = bench.dir.path().join("originals");
    for round in 0..8 {
        if round == 7 {
            copy_files(&bench.path(), &originals);
        }
        bench.append(&drafts(round * 20..round * 20 + 20));
        bench.seal();
    }
    assert_eq!(bench.files().len(), 1);
    (bench, originals)
}

#[test]
fn files_that_were_merged_but_not_removed_are_removed() {
    let (mut bench, originals) = merged_with_originals();
    let merged = bench.files();
    copy_files(&originals, &bench.path());
    assert_eq!(bench.files().len(), 8);
    assert_eq!(bench.reopen(), 160);
    assert_eq!(bench.files(), merged);
    bench.check();
}

#[test]
fn a_damaged_merged_file_gives_way_to_the_files_it_was_made_from() {
    let (mut bench, originals) = merged_with_originals();
    let merged = bench.path().join(&bench.files()[0]);
    let mut content = fs::read(&merged).unwrap();
    content[500] ^= 1;
    fs::write(&merged, content).unwrap();
    copy_files(&originals, &bench.path());
    assert_eq!(bench.reopen(), 140);
    assert_eq!(bench.files().len(), 7);
    bench.check();
}

#[test]
fn half_written_files_are_removed() {
    let (mut bench, originals) = merged_with_originals();
    let merged = bench.path().join(&bench.files()[0]);
    let half = fs::read(&merged).unwrap();
    fs::write(crate::env::temporary_name(&merged), &half[..half.len() / 2]).unwrap();
    fs::remove_file(&merged).unwrap();
    copy_files(&originals, &bench.path());
    assert_eq!(bench.reopen(), 140);
    assert_eq!(bench.files().len(), 7);
    bench.check();
}

#[test]
fn files_that_overlap_without_one_covering_the_other_do_not_confuse() {
    let mut bench = Bench::new(u64::MAX);
    let elsewhere = bench.dir.path().join("elsewhere");
    for (index_of_cut, cuts) in [[15, 40], [20, 30]].into_iter().enumerate() {
        bench.events.clear();
        Index::wipe(&bench.env, &bench.path()).unwrap();
        bench.reopen();
        for (from, to) in [(0, cuts[0]), (cuts[0], cuts[1])] {
            bench.append(&drafts(from..to));
            bench.seal();
        }
        if index_of_cut == 0 {
            copy_files(&bench.path(), &elsewhere);
        }
    }
    copy_files(&elsewhere, &bench.path());
    assert_eq!(bench.files().len(), 4);
    assert_eq!(bench.reopen(), 30);
    assert_eq!(bench.files().len(), 2);
    bench.check();
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let (mut bench, _) = merged_with_originals();
    fs::write(bench.path().join("notes.txt"), "mine").unwrap();
    bench.reopen();
    Index::wipe(&bench.env, &bench.path()).unwrap();
    assert_eq!(bench.files(), ["notes.txt"]);
}
