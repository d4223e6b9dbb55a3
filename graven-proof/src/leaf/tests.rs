use super::*;
use crate::merkle::leaf_hash;
use proptest::prelude::*;

/// Every field filled, each with bytes of its own.
fn full(tags: &[Hash]) -> Leaf<'_> {
    Leaf {
        kind: Kind::Tombstone,
        encrypted: true,
        sealed: true,
        has_metadata: true,
        check: CheckState::Failed,
        position: 0x0102_0304_0506_0708,
        commit_time: 0x1112_1314_1516_1718,
        stream_version: 0x2122_2324_2526_2728,
        stream_key: [0x31; 32],
        prev_stream: [0x32; 32],
        prev_global: [0x33; 32],
        event_id: *b"0123456789abcdef",
        occurred_at: -2,
        event_type: "Größe",
        content_type: "text/plain",
        schema_version: 0x4142_4344,
        schema_id: 0x5152_5354,
        tags,
        payload_commitment: [0x61; 32],
        metadata_commitment: [0x62; 32],
        body: &[],
    }
}

/// The same as a record of the store about the log.
fn control<'a>(tags: &'a [Hash], body: &'a [u8]) -> Leaf<'a> {
    Leaf {
        kind: Kind::Anchor,
        has_metadata: false,
        payload_commitment: [0; 32],
        metadata_commitment: [0; 32],
        body,
        ..full(tags)
    }
}

fn encoded(leaf: &Leaf<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    leaf.encode(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_format_does_not_drift() {
    let bytes = encoded(&full(&[[0x71; 32], [0x72; 32]]));
    let wanted = [
        "47525631",
        "05",
        "1b",
        "0102030405060708",
        "1112131415161718",
        "2122232425262728",
        &"31".repeat(32),
        &"32".repeat(32),
        &"33".repeat(32),
        "30313233343536373839616263646566",
        "fffffffffffffffe",
        "00074772c3b6c39f65",
        "000a746578742f706c61696e",
        "41424344",
        "51525354",
        "0002",
        &"71".repeat(32),
        &"72".repeat(32),
        &"61".repeat(32),
        &"62".repeat(32),
    ]
    .concat();
    assert_eq!(hex(&bytes), wanted);
    assert_eq!(hex(&leaf_hash(&bytes)), "f2c61131f7438f458f5971f357b810cc5193f4bf227dc0ab8bedac278f97ddc7");
}

#[test]
fn commitments_and_keys_do_not_drift() {
    let salt = salt(&[1; 16], &[2; 16]);
    assert_eq!(hex(&salt), ["01".repeat(16), "02".repeat(16)].concat());
    assert_eq!(
        hex(&payload_commitment(&salt, b"{}")),
        "dcf53c46ebbf5ddc44bc165c01e4d6daf0d1dd3d862facbc43e66a672ed8ffa0"
    );
    assert_eq!(
        hex(&metadata_commitment(&salt, b"{}")),
        "9cb5a56f97946993066decc647d408e42bc1f5d1af537b36d5e198be9bc39f15"
    );
    assert_eq!(
        hex(&name_key(&[3; 16], b"loan-1")),
        "1752a8c5b86f0c1709132bf85ae0187ee0faf7528cc52f8977fe0367e581357e"
    );
    assert_eq!(
        hex(&stream_genesis(&[4; 32])),
        "d0a50f11bf66d626f1b75421c08284be87dcf04d466b9a61605ea723a1b2c4a6"
    );
    assert_eq!(
        hex(&log_genesis("graven.test/log")),
        "75ff1273c426c225233d443bbfcd71fe808f60b205939eee06faf7dcd0498af5"
    );
}

#[test]
fn a_leaf_cut_anywhere_is_refused() {
    let bytes = encoded(&full(&[[0x71; 32], [0x72; 32]]));
    for end in 0..bytes.len() {
        assert!(matches!(Leaf::decode(&bytes[..end]), Err(DecodeError::Truncated { .. })), "cut at {end}");
    }
}

#[test]
fn what_encode_does_not_write_is_refused() {
    let tags = [[0x71; 32], [0x72; 32]];
    let bytes = encoded(&full(&tags));
    let altered = |offset: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[offset] = byte;
        Leaf::decode(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(altered(0, b'g'), DecodeError::Magic);
    assert_eq!(altered(4, 9), DecodeError::Kind(9));
    for bit in 5..8 {
        assert_eq!(altered(5, 1 << bit), DecodeError::Flags(1 << bit));
    }
    assert_eq!(altered(5, 0), DecodeError::StrayMetadata);
    let type_offset = 150 + 2;
    assert_eq!(altered(type_offset, 0xff), DecodeError::Text { field: "event type", offset: type_offset });
    let media_offset = type_offset + "Größe".len() + 2;
    assert_eq!(
        altered(media_offset, 0xc3),
        DecodeError::Text { field: "content type", offset: media_offset }
    );
    let tags_offset = media_offset + "text/plain".len() + 8 + 2;
    assert_eq!(altered(tags_offset, 0x73), DecodeError::TagOrder(1));
    let mut twice = bytes.clone();
    twice[tags_offset..tags_offset + 32].fill(0x72);
    assert_eq!(Leaf::decode(&twice).unwrap_err(), DecodeError::TagOrder(1));
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Leaf::decode(&longer).unwrap_err(), DecodeError::TrailingBytes { end: bytes.len(), extra: 1 });
    assert_eq!(Leaf::decode(&vec![0; 65_536]).unwrap_err(), DecodeError::TooLong(65_536));
}

#[test]
fn media_types_are_ascii() {
    let leaf = Leaf { content_type: "täxt", ..full(&[]) };
    assert!(matches!(Leaf::decode(&encoded(&leaf)), Err(DecodeError::Text { field: "content type", .. })));
}

#[test]
#[should_panic(expected = "ascend")]
fn a_leaf_with_unsorted_tags_is_never_written() {
    encoded(&full(&[[2; 32], [1; 32]]));
}

#[test]
#[should_panic(expected = "a control record has a body")]
fn a_leaf_with_body_and_commitments_is_never_written() {
    encoded(&Leaf { kind: Kind::Key, ..full(&[]) });
}

#[test]
fn what_a_control_record_says_stands_in_its_leaf() {
    let leaf = control(&[], b"{\"size\":7}");
    let bytes = encoded(&leaf);
    assert!(bytes.ends_with(b"\x00\x0a{\"size\":7}"));
    assert_eq!(Leaf::decode(&bytes).unwrap(), leaf);
    let mut with_metadata = bytes.clone();
    with_metadata[5] |= 2;
    assert_eq!(Leaf::decode(&with_metadata).unwrap_err(), DecodeError::StrayMetadata);
    assert!(matches!(
        Leaf::decode(&bytes[..bytes.len() - 1]),
        Err(DecodeError::Truncated { field: "body", .. })
    ));
}

#[test]
fn the_largest_leaf_within_the_limits_fits_an_entry_bundle() {
    let tags: Vec<Hash> = (0..64).map(|tag| [tag; 32]).collect();
    let (event_type, content_type) = ("t".repeat(512), "c".repeat(255));
    let leaf = Leaf { event_type: &event_type, content_type: &content_type, ..full(&tags) };
    assert!(encoded(&leaf).len() <= LEAF_BYTES_MAX);
    let body = vec![7; BODY_BYTES_MAX];
    let leaf = Leaf { event_type: &event_type, content_type: &content_type, ..control(&tags, &body) };
    assert!(encoded(&leaf).len() <= LEAF_BYTES_MAX);
}

prop_compose! {
    fn tags()(set in prop::collection::btree_set(any::<Hash>(), 0..5)) -> Vec<Hash> {
        set.into_iter().collect()
    }
}

proptest! {
    #[test]
    fn a_leaf_reads_back_what_it_was(
        numbers in (0..9u8, 0..32u8, any::<u64>(), any::<i64>(), any::<u64>(), any::<i64>()),
        hashes: [Hash; 5],
        event_id: [u8; 16],
        event_type in ".{0,40}",
        content_type in "[ -~]{0,40}",
        schema in any::<(u32, u32)>(),
        tags in tags(),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (kind, flags, position, commit_time, stream_version, occurred_at) = numbers;
        let [stream_key, prev_stream, prev_global, payload_commitment, metadata_commitment] = hashes;
        let kind = Kind::from_u8(kind).unwrap();
        let has_metadata = flags & 2 != 0 && !kind.is_control();
        let leaf = Leaf {
            kind,
            encrypted: flags & 1 != 0,
            sealed: flags & 16 != 0,
            has_metadata,
            check: CheckState::from_bits(flags >> 2),
            position, commit_time, stream_version, stream_key, prev_stream, prev_global, event_id, occurred_at,
            event_type: &event_type,
            content_type: &content_type,
            schema_version: schema.0,
            schema_id: schema.1,
            tags: &tags,
            payload_commitment: if kind.is_control() { [0; 32] } else { payload_commitment },
            body: if kind.is_control() { &body } else { &[] },
            metadata_commitment: if has_metadata { metadata_commitment } else { [0; 32] },
        };
        let bytes = encoded(&leaf);
        prop_assert_eq!(leaf.hash(&mut vec![7; 9]), leaf_hash(&bytes));
        prop_assert_eq!(Leaf::decode(&bytes).unwrap(), leaf);
    }

    #[test]
    fn whatever_is_accepted_encodes_to_the_same_bytes(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        changes in prop::collection::vec((0..400usize, any::<u8>()), 0..4),
        from_noise: bool,
    ) {
        let tags = [[0x71; 32], [0x72; 32]];
        let mut bytes = if from_noise { noise } else { encoded(&full(&tags)) };
        for (offset, byte) in changes {
            if let Some(place) = bytes.get_mut(offset) {
                *place = byte;
            }
        }
        if let Ok(leaf) = Leaf::decode(&bytes) {
            prop_assert_eq!(encoded(&leaf), bytes);
        }
    }
}
