use super::*;
use proptest::prelude::*;

fn path(text: &str) -> Result<TilePath, TilePathError> {
    text.parse()
}

fn hashes(level: u8, index: u64, width: u16) -> TilePath {
    TilePath::Hashes(Tile { level, index, width })
}

#[test]
fn paths_are_spelled_as_in_the_specification() {
    let cases = [
        ("tile/0/000", hashes(0, 0, 256)),
        ("tile/0/x001/x234/067", hashes(0, 1_234_067, 256)),
        ("tile/0/x001/x234/067.p/8", hashes(0, 1_234_067, 8)),
        ("tile/3/x123/456.p/255", hashes(3, 123_456, 255)),
        ("tile/63/999", hashes(63, 999, 256)),
        ("tile/entries/x001/000", TilePath::Entries(Bundle { index: 1000, width: 256 })),
        ("tile/entries/007.p/112", TilePath::Entries(Bundle { index: 7, width: 112 })),
        ("tile/0/x018/x446/x744/x073/x709/x551/615", hashes(0, u64::MAX, 256)),
    ];
    for (text, wanted) in cases {
        assert_eq!(path(text), Ok(wanted), "{text}");
        assert_eq!(wanted.to_string(), text);
    }
}

#[test]
fn other_spellings_are_refused() {
    let refused = [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/0/x01/002",
        "tile/0/X001/002",
        "tile/0/x001//002",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/+1/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/+1",
        "tile/0/000.p/1.p/1",
        "tile/0/000.p/1/",
        "tile/Entries/000",
        "tile/entries",
        "tile/data/000",
        "tile/0/+12",
        "tile/0/٠٠٠",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x001/x018/x446/x744/x073/x709/x551/615",
    ];
    for text in refused {
        assert!(path(text).is_err(), "{text}");
    }
    assert!(path(&format!("tile/0/{}000", "x000/".repeat(1000))).is_err());
}

/// The examples of the specification.
#[test]
fn a_tree_has_the_tiles_the_specification_says() {
    let of = |size| Tile::all_of_tree(size).collect::<Vec<_>>();
    let big = of(70_000);
    assert_eq!(big.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(big[272], Tile { level: 0, index: 272, width: 256 });
    assert_eq!(big[273], Tile { level: 0, index: 273, width: 112 });
    assert_eq!(big[274], Tile { level: 1, index: 0, width: 256 });
    assert_eq!(big[275], Tile { level: 1, index: 1, width: 17 });
    assert_eq!(big[276], Tile { level: 2, index: 0, width: 1 });
    assert_eq!(of(256), [Tile { level: 0, index: 0, width: 256 }, Tile { level: 1, index: 0, width: 1 }]);
    assert!(of(0).is_empty());
    assert_eq!(Tile::of_tree(u64::MAX, 7, 0), Some(Tile { level: 7, index: 0, width: 255 }));
    assert_eq!(Tile::of_tree(u64::MAX, 8, 0), None);
    assert_eq!(Tile::of_tree(u64::MAX, 0, u64::MAX), None);
    assert_eq!(Bundle::of_log(257, 1), Some(Bundle { index: 1, width: 1 }));
    assert_eq!(Bundle::of_log(256, 1), None);
}

#[test]
fn a_bundle_of_another_width_or_cut_short_is_refused() {
    let mut bytes = vec![9];
    encode_bundle([&b"one"[..], b"", b"three"], &mut bytes).unwrap();
    assert_eq!(bytes.split_off(1), b"\0\x03one\0\0\0\x05three");
    let bytes = b"\0\x03one\0\0\0\x05three";
    assert_eq!(decode_bundle(bytes, 3).unwrap(), [&b"one"[..], b"", b"three"]);
    assert_eq!(decode_bundle(bytes, 2), Err(BundleError::Width { expected: 2, found: 3 }));
    assert_eq!(decode_bundle(bytes, 4), Err(BundleError::Width { expected: 4, found: 3 }));
    for end in [1, 4, 6, 8, 13] {
        assert!(matches!(decode_bundle(&bytes[..end], 3), Err(BundleError::Truncated { .. })), "{end}");
    }
    assert_eq!(decode_bundle(&[], 0), Err(BundleError::Width { expected: 0, found: 0 }));
    assert_eq!(decode_bundle(&[], 257), Err(BundleError::Width { expected: 257, found: 0 }));

    let mut out = vec![1];
    let long = vec![0; 65_536];
    let too_long = BundleError::LeafTooLong { leaf: 1, bytes: 65_536 };
    assert_eq!(encode_bundle([&[][..], &long], &mut out), Err(too_long));
    assert_eq!(encode_bundle([], &mut out), Err(BundleError::Width { expected: 1, found: 0 }));
    assert!(encode_bundle(vec![&[][..]; 257], &mut out).is_err());
    assert_eq!(out, [1], "what is refused leaves nothing behind");
    encode_bundle([&long[1..]], &mut out).unwrap();
    assert_eq!(decode_bundle(&out[1..], 1).unwrap(), [&long[1..]]);
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0..64u8, index: u64, shift in 0..64u32, width in 1..=256u16, entries: bool) {
        let index = index >> shift;
        let wanted = if entries { TilePath::Entries(Bundle { index, width }) } else { hashes(level, index, width) };
        prop_assert_eq!(path(&wanted.to_string()), Ok(wanted));
    }

    #[test]
    fn what_is_accepted_is_spelled_that_way(text in "tile/(0|7|entries)/(x[0-9]{3}/){0,3}[0-9]{2,4}(\\.p/[0-9]{1,3})?") {
        if let Ok(parsed) = path(&text) {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn bundles_round_trip(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let mut bytes = Vec::new();
        encode_bundle(leaves.iter().map(Vec::as_slice), &mut bytes).unwrap();
        prop_assert_eq!(decode_bundle(&bytes, leaves.len() as u16).unwrap(), leaves);
    }
}
