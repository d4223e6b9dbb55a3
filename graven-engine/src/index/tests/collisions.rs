//! Different names with one hash: every caller that verifies gets what it asked for, and nothing is missing.

use super::*;

fn event_of(stream: u8, id: u8) -> Draft {
    Draft { stream, tombstone: false, event_type: 0, tags: vec![], id }
}

/// A bench in which all names of a kind have the same key.
fn colliding(streams: &[u8], seal_after: &[usize]) -> Bench {
    let mut bench = Bench::new(0);
    for (number, &stream) in streams.iter().enumerate() {
        bench.append(&[event_of(stream, number as u8)]);
        if seal_after.contains(&number) {
            bench.seal();
        }
    }
    bench
}

#[test]
fn two_streams_with_one_key_in_one_part_are_told_apart() {
    for seal_after in [&[][..], &[9]] {
        let bench = colliding(&[1, 2, 1, 1, 2, 2, 1, 2, 1, 1], seal_after);
        bench.check();
    }
}

#[test]
fn colliding_streams_whose_revisions_look_like_one_stream_are_told_apart() {
    // The second part holds 1@3, 2@4: consecutive, but of two streams.
    for seal_after in [&[6][..], &[6, 8], &[6, 7, 8]] {
        let bench = colliding(&[1, 1, 1, 2, 2, 2, 2, 1, 2], seal_after);
        bench.check();
    }
}

#[test]
fn colliding_streams_stay_apart_through_a_merge() {
    let streams: Vec<u8> = (0..64).map(|number| if number % 3 == 0 { 1 } else { 2 }).collect();
    let bench = colliding(&streams, &[7, 15, 23, 31, 39, 47, 55, 63]);
    assert_eq!(bench.files().len(), 1);
    bench.check();
}

#[test]
fn parts_that_each_know_one_stream_are_told_apart_once_merged() {
    let every_second: Vec<usize> = (0..8).map(|part| part * 2 + 1).collect();
    let taking_turns = [1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2];
    let only_the_last_part_mixed = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2];
    for streams in [taking_turns, only_the_last_part_mixed] {
        let bench = colliding(&streams, &every_second);
        assert_eq!(bench.files().len(), 1);
        bench.check();
    }
}

#[test]
fn a_tombstone_of_another_stream_with_the_same_key_is_only_a_candidate() {
    let mut bench = Bench::new(0);
    bench.append(&[event_of(1, 0), Draft { tombstone: true, ..event_of(2, 1) }, event_of(1, 2)]);
    bench.check();
    bench.seal();
    bench.check();
}

#[test]
fn one_id_in_two_streams_is_two_events() {
    let mut bench = Bench::new(u64::MAX);
    bench.append(&[event_of(0, 7), event_of(5, 7), event_of(0, 8)]);
    bench.check();
    bench.seal();
    bench.check();
    let (mut exact, mut any) = (Vec::new(), Vec::new());
    let key = bench.hasher.id(&[7; 16], bench.hasher.stream("5"));
    bench.index.id(key, u64::MAX, &mut exact);
    bench.index.id_prefix(key, u64::MAX, 10, &mut any);
    assert_eq!((exact, any), (vec![1], vec![0, 1]));
}

#[test]
fn narrow_hashes_of_every_width_give_right_answers() {
    for bits in 1..=6 {
        let mut bench = Bench::new((1 << bits) - 1);
        for round in 0..9 {
            bench.append(&drafts(round * 40..round * 40 + 40));
            if round < 8 {
                bench.seal();
            }
        }
        bench.check();
    }
}
