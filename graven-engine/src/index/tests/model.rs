//! Random appends, freezes, merges and reopenings against the model.

use super::*;
use std::path::Path;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Draft>),
    /// Freeze, and the events are durable.
    Seal,
    /// Freeze; the events become durable with the next `Durable` or `Seal`.
    Freeze,
    Durable,
    /// Clean stop: what is frozen and durable is on disk.
    Close,
    /// What was not written is lost.
    Drop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(draft(), 1..30).prop_map(Step::Append),
        8 => Just(Step::Seal),
        2 => Just(Step::Freeze),
        1 => Just(Step::Durable),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
    ];
    prop::collection::vec(step, 1..70)
}

fn run(bench: &mut Bench, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Append(drafts) => bench.append(&drafts),
            Step::Seal => bench.seal(),
            Step::Freeze => bench.index.freeze((bench.events.len() as u64).to_le_bytes().to_vec()),
            Step::Durable => bench.index.durable(bench.events.len() as u64),
            Step::Close => {
                bench.seal();
                bench.index.close().unwrap();
                assert_eq!(bench.reopen(), bench.events.len() as u64);
            }
            Step::Drop => {
                bench.reopen();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn lookups_agree_with_the_model(steps in steps()) {
        let mut bench = Bench::new(u64::MAX);
        run(&mut bench, steps);
        bench.check();
    }

    #[test]
    fn lookups_agree_with_the_model_when_hashes_collide(steps in steps(), bits in 0..4u32) {
        let mut bench = Bench::new((1 << bits) - 1);
        run(&mut bench, steps);
        bench.check();
    }
}

#[test]
fn parts_merge_level_by_level_and_stay_few() {
    let mut bench = Bench::new(u64::MAX);
    for round in 0..8 * 8 * 2 + 3 {
        bench.append(&drafts(round * 10..round * 10 + 10));
        bench.seal();
    }
    assert_eq!(bench.files().len(), 2 + 3, "two of level 2, three of level 0: {:?}", bench.files());
    bench.check();
    let events = bench.events.len() as u64;
    assert_eq!(bench.reopen(), events);
    bench.check();
}

#[test]
fn the_disk_of_the_operating_system_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(u64::MAX);
    bench.env = Env::real();
    bench.dir = dir.path().join("index");
    bench.reopen();
    bench.fill(0..10);
    assert_eq!(bench.files().len(), 3);
    bench.check();
    assert_eq!(bench.reopen(), 200);
    bench.check();
    assert!(bench.index.size_bytes() > 0);
}

#[test]
fn long_lists_survive_a_merge() {
    let mut bench = Bench::new(u64::MAX);
    for round in 0..8 {
        bench.append(&drafts(round * 400..round * 400 + 400));
        bench.seal();
    }
    assert_eq!(bench.files().len(), 1);
    bench.check();
}

#[test]
fn a_freeze_without_events_makes_no_part() {
    let mut bench = Bench::new(u64::MAX);
    bench.seal();
    assert!(bench.files().is_empty());
    bench.append(&drafts(0..3));
    bench.seal();
    bench.seal();
    assert_eq!(bench.files().len(), 1);
}

#[test]
fn frozen_events_are_not_written_before_they_are_durable() {
    let mut bench = Bench::new(u64::MAX);
    bench.append(&drafts(0..20));
    bench.index.freeze(20u64.to_le_bytes().to_vec());
    bench.index.durable(19);
    assert!(bench.files().is_empty());
    bench.index.durable(20);
    assert_eq!(bench.files().len(), 1);
    bench.check();
}

#[test]
fn a_query_of_many_terms_over_many_events_comes_back_in_bounded_pieces() {
    let mut bench = Bench::new(u64::MAX);
    // Tags 1 and 2 alternate and never meet: the join has to walk both lists to the end.
    let alternating = |number: usize| Draft { tags: vec![1 + (number % 2) as u8], ..draft_number(number) };
    let drafts: Vec<Draft> = (0..6_000).map(|number| Draft { stream: 1, ..alternating(number) }).collect();
    for chunk in drafts.chunks(3_000) {
        let first = bench.events.len();
        bench.events.extend(chunk.iter().enumerate().map(|(number, draft)| Event {
            stream: 1,
            revision: (first + number) as u64,
            tombstone: false,
            event_type: draft.event_type,
            tags: draft.tags.clone(),
            id: draft.id,
        }));
        bench.index_from(first);
        if first == 0 {
            bench.seal();
        }
    }
    let item = Wish { tags: vec![1, 2], ..Wish::default() }.item(&bench.hasher);
    let query = TermQuery { items: vec![item; 64] };
    for direction in DIRECTIONS {
        let (mut next, mut calls, mut out) =
            (Some(if direction == Direction::Forward { 0 } else { 5_999 }), 0, Vec::new());
        while let Some(from) = next {
            next = bench.index.query(&query, from, direction, u64::MAX, 10, &mut out);
            calls += 1;
        }
        assert!(out.is_empty());
        assert!((2..50).contains(&calls), "{calls}");
    }
}

#[test]
fn wiping_leaves_nothing() {
    let mut bench = Bench::new(u64::MAX);
    bench.append(&drafts(0..20));
    bench.seal();
    Index::wipe(&bench.env, &bench.dir).unwrap();
    assert!(bench.files().is_empty());
    assert_eq!(bench.reopen(), 0);
    bench.check();
    Index::wipe(&bench.env, Path::new("missing")).unwrap();
}
