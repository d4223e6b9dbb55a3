//! Readers beside the writer, the flusher and the merger.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn readers_see_exactly_what_is_below_their_watermark_while_parts_come_and_go() {
    let mut bench = Bench::new(u64::MAX);
    // The model first; the index that is looked at gets it piece by piece.
    bench.append(&drafts(0..4_000));
    bench.index = Index::open(&bench.env, &bench.dir, 64, false).unwrap().0;
    let watermark = AtomicU64::new(0);
    let all = bench.events.len() as u64;
    std::thread::scope(|scope| {
        for reader in 0..2u8 {
            let (bench, watermark) = (&bench, &watermark);
            scope.spawn(move || {
                let mut round = reader;
                loop {
                    let below = watermark.load(Ordering::Acquire);
                    let checker = bench.checker(below);
                    checker.stream(round % 14, &[3, below / 2]);
                    checker.id(round);
                    checker.numbers();
                    checker.query(&[Wish { tags: vec![1, 2], ..Wish::default() }], &[below / 2]);
                    let newest =
                        bench.events[..below as usize].iter().rposition(|event| event.event_type == 3);
                    let last = bench.index.last(Term::Type(bench.hasher.event_type("3")), below);
                    assert_eq!(last, newest.map(|position| position as u64));
                    if below == all {
                        break;
                    }
                    round = round.wrapping_add(2);
                }
            });
        }
        let mut next = 0;
        while next < all {
            let to = (next + 37).min(all);
            insert(&bench.index, &bench.hasher, &bench.events[..to as usize], next as usize);
            if bench.index.open_events() >= 50 {
                bench.index.freeze(to.to_le_bytes().to_vec());
            }
            bench.index.durable(to);
            watermark.store(to, Ordering::Release);
            next = to;
        }
    });
    bench.seal();
    bench.index.settle();
    bench.check();
    bench.index.close().unwrap();
    assert_eq!(bench.reopen(), all);
    bench.check();
}
