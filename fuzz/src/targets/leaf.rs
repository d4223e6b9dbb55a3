//! Leaves: what an auditor reads from a log he does not trust.

use graven_proof::leaf::{CheckState, Kind, Leaf, NO_TIME};

pub(super) fn run(data: &[u8]) -> bool {
    let Ok(leaf) = Leaf::decode(data) else { return false };
    let mut again = Vec::new();
    leaf.encode(&mut again);
    assert_eq!(again, data, "a leaf has one encoding");
    true
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let tags = [[1; 32], [2; 32], [0xff; 32]];
    let full = Leaf {
        kind: Kind::Event,
        encrypted: true,
        sealed: true,
        has_metadata: true,
        check: CheckState::Ok,
        position: 262_199,
        commit_time: 1_317_422_324_546_000,
        stream_version: 7,
        stream_key: [3; 32],
        prev_stream: [4; 32],
        prev_global: [5; 32],
        event_id: [6; 16],
        occurred_at: -1,
        event_type: "Überwiesen",
        content_type: "application/json",
        schema_version: 3,
        schema_id: 12,
        tags: &tags,
        payload_commitment: [7; 32],
        metadata_commitment: [8; 32],
        body: &[],
    };
    let bare = Leaf {
        kind: Kind::Tombstone,
        encrypted: false,
        sealed: false,
        has_metadata: false,
        check: CheckState::None,
        occurred_at: NO_TIME,
        event_type: "",
        content_type: "",
        tags: &[],
        metadata_commitment: [0; 32],
        ..full.clone()
    };
    let control =
        Leaf { kind: Kind::MapRoot, payload_commitment: [0; 32], body: br#"{"size":7}"#, ..bare.clone() };
    [full, bare, control]
        .into_iter()
        .map(|leaf| {
            let mut bytes = Vec::new();
            leaf.encode(&mut bytes);
            bytes
        })
        .collect()
}
