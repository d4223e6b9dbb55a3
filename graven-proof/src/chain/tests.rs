use super::*;
use crate::leaf::CheckState;
use crate::trie::StreamTrie;
use proptest::prelude::*;

const ORIGIN: &str = "log.example/1";

/// A log of events of several streams, as bytes, with the stream of each. A stream whose number is even may end.
fn log(streams: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut leaves: Vec<(u8, Vec<u8>)> = Vec::new();
    for (position, stream) in streams.iter().enumerate() {
        let stream_key = [*stream; 32];
        let own = || leaves.iter().filter(|(of, _)| of == stream).map(|(_, bytes)| leaf_hash(bytes));
        let last = streams[position + 1..].iter().all(|other| other != stream);
        let ends = last && stream.is_multiple_of(2);
        let leaf = Leaf {
            kind: if ends { Kind::Tombstone } else { Kind::Event },
            encrypted: false,
            sealed: false,
            has_metadata: false,
            check: CheckState::None,
            position: position as u64,
            commit_time: 1000 + position as i64 / 2,
            stream_version: if ends { TOMBSTONE_VERSION } else { own().count() as u64 },
            stream_key,
            prev_stream: own().next_back().unwrap_or_else(|| stream_genesis(&stream_key)),
            prev_global: leaves.last().map_or_else(|| log_genesis(ORIGIN), |(_, bytes)| leaf_hash(bytes)),
            event_id: [position as u8; 16],
            occurred_at: 0,
            event_type: "T",
            content_type: "",
            schema_version: 0,
            schema_id: 0,
            tags: &[],
            payload_commitment: [position as u8; 32],
            metadata_commitment: [0; 32],
            body: &[],
        };
        let mut bytes = Vec::new();
        leaf.encode(&mut bytes);
        leaves.push((*stream, bytes));
    }
    leaves
}

fn of_stream(log: &[(u8, Vec<u8>)], stream: u8) -> Vec<&[u8]> {
    log.iter().filter(|(of, _)| *of == stream).map(|(_, bytes)| bytes.as_slice()).collect()
}

fn chain(stream: u8, leaves: &[&[u8]]) -> Result<StreamChain, ChainError> {
    let mut chain = StreamChain::new([stream; 32]);
    leaves.iter().try_for_each(|leaf| chain.push(leaf).map(drop))?;
    Ok(chain)
}

#[test]
fn a_stream_is_whole_only_with_all_its_leaves() {
    let log = log(&[1, 2, 1, 1, 2, 3, 1]);
    let whole = of_stream(&log, 1);
    let full = chain(1, &whole).unwrap();
    let head = *full.head().unwrap();
    assert_eq!((head.next_version, head.first_position, head.last_position), (4, 0, 6));
    assert_eq!((head.head, head.tombstoned), (leaf_hash(&log[6].1), false));
    full.expect_complete(&Answer::Present(head)).unwrap();

    // a missing tail, which no version gap shows
    let cut = chain(1, &whole[..3]).unwrap();
    assert!(matches!(cut.expect_complete(&Answer::Present(head)), Err(ChainError::Incomplete { .. })));
    // a missing middle
    let gap = chain(1, &[whole[0], whole[2], whole[3]]).unwrap_err();
    assert_eq!(gap, ChainError::Version { position: 3, expected: 1, found: 2 });
    // a missing beginning
    assert!(matches!(chain(1, &whole[1..]), Err(ChainError::Version { .. })));
    // an event of another stream
    assert_eq!(chain(1, &[whole[0], &log[1].1]), Err(ChainError::OtherStream { position: 1 }));
    // the same leaf twice
    assert!(matches!(chain(1, &[whole[0], whole[0]]), Err(ChainError::Order { .. })));
    // events of a stream that is not to exist
    let denied = ChainError::Incomplete { expected: None, found: Some(Box::new(head)) };
    assert_eq!(full.expect_complete(&Answer::Absent), Err(denied.clone()));
    let text = denied.to_string();
    assert_eq!(text, "the stream is not whole: expected no event, found 4 events, last at position 6");
    chain(1, &[]).unwrap().expect_complete(&Answer::Absent).unwrap();
    assert!(chain(1, &[]).unwrap().expect_complete(&Answer::Present(head)).is_err());
}

#[test]
fn a_stream_that_ended_says_so_and_goes_no_further() {
    let log = log(&[2, 2, 2]);
    let whole = of_stream(&log, 2);
    let head = *chain(2, &whole).unwrap().head().unwrap();
    assert_eq!((head.next_version, head.last_position, head.tombstoned), (2, 2, true));
    let mut ended = chain(2, &whole).unwrap();
    assert_eq!(ended.push(whole[1]), Err(ChainError::AfterTombstone { position: 1 }));
    assert_eq!(ended, chain(2, &whole).unwrap(), "a refused leaf changes nothing");
    // without its end
    let open = chain(2, &whole[..2]).unwrap();
    assert!(open.expect_complete(&Answer::Present(head)).is_err());
}

#[test]
fn the_log_is_followed_from_its_genesis_or_from_any_position() {
    let log = log(&[1, 2, 1, 3]);
    let mut chain = LogChain::from_genesis(ORIGIN);
    for (_, bytes) in &log {
        let (leaf, hash) = chain.push(bytes).unwrap();
        assert_eq!((leaf.position + 1, &hash), (chain.next_position(), chain.last_hash()));
    }
    let mut later = LogChain::after(leaf_hash(&log[1].1), 2);
    later.push(&log[2].1).unwrap();
    assert_eq!(later.push(&log[2].1), Err(ChainError::Position { expected: 3, found: 2 }));
    later.push(&log[3].1).unwrap();

    assert!(matches!(LogChain::from_genesis("other").push(&log[0].1), Err(ChainError::PrevGlobal { .. })));
    assert!(matches!(LogChain::after([0; 32], 2).push(&log[2].1), Err(ChainError::PrevGlobal { .. })));
    assert!(matches!(chain.push(b"GRV1"), Err(ChainError::Malformed { number: 4, .. })));
    let mut early = log[1].1.clone();
    early[14..22].copy_from_slice(&999i64.to_be_bytes());
    let mut chain = LogChain::from_genesis(ORIGIN);
    chain.push(&log[0].1).unwrap();
    assert_eq!(chain.push(&early), Err(ChainError::TimeWentBack { position: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_stream_of_a_log_is_whole_by_the_trie_and_none_without_any_of_its_leaves(
        streams in prop::collection::vec(0..6u8, 1..40), absent in 6..9u8,
    ) {
        let log = log(&streams);
        let mut trie = StreamTrie::new();
        for stream in 0..6 {
            if let Some(head) = chain(stream, &of_stream(&log, stream)).unwrap().head() {
                trie.set([stream; 32], *head);
            }
        }
        let root = trie.root();
        for stream in (0..6).chain([absent]) {
            let answer = trie.prove(&[stream; 32]).verify(&[stream; 32], &root).unwrap();
            let leaves = of_stream(&log, stream);
            prop_assert_eq!(chain(stream, &leaves).unwrap().expect_complete(&answer), Ok(()));
            for left_out in 0..leaves.len() {
                let mut fewer = leaves.clone();
                fewer.remove(left_out);
                prop_assert!(chain(stream, &fewer).and_then(|chain| chain.expect_complete(&answer)).is_err());
            }
        }
    }

    #[test]
    fn any_changed_bit_of_a_log_is_found(
        streams in prop::collection::vec(0..3u8, 2..8), at: prop::sample::Index, byte: prop::sample::Index, bit in 0..8u8,
    ) {
        let mut log = log(&streams);
        let mut whole = LogChain::from_genesis(ORIGIN);
        for (_, bytes) in &log {
            whole.push(bytes).unwrap();
        }
        let changed = &mut log[at.index(streams.len())].1;
        let index = byte.index(changed.len());
        changed[index] ^= 1 << bit;
        let mut chain = LogChain::from_genesis(ORIGIN);
        let followed = log.iter().try_for_each(|(_, bytes)| chain.push(bytes).map(drop));
        prop_assert!(followed.is_err() || chain.last_hash() != whole.last_hash());
    }
}
