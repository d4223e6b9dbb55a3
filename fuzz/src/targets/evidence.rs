//! Bundles of evidence: files that somebody hands to an auditor, as one input: path, zero byte, length, bytes, again and
//! again.

use graven_proof::bundle::{
    CHECKPOINT, ERASURES, EVENTS, EventLine, FORMAT, FileEntry, KEY_HISTORY, KEYS, MANIFEST, MANIFEST_DIGEST,
    Manifest, POLICY, RANGE_PROOF, RangeProof, Scope, base64_text, check, hex_bytes, manifest_digest,
};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::leaf::{
    CheckState, Kind, Leaf, NO_TIME, log_genesis, name_key, payload_commitment, stream_genesis,
};
use graven_proof::merkle::{TreeHead, leaf_hash, root_of};
use graven_proof::note::{Algorithm, SignerKey};
use graven_proof::policy::Policy;
use graven_proof::tiles::encode_bundle;
use std::collections::BTreeMap;

const ORIGIN: &str = "log.example/1";
const SALT: [u8; 16] = [1; 16];
const PAYLOAD_SALT: [u8; 32] = [2; 32];
const EVENTS_OF_SEED: u64 = 3;

fn key() -> SignerKey {
    let name = ORIGIN.parse().expect("the name is one");
    SignerKey::from_seed(name, Algorithm::Ed25519, &[7; 32])
}

pub(super) fn run(data: &[u8]) -> bool {
    let Some(files) = unpack(data) else { return false };
    let policy = Policy::operator_alone(vec![key().verifier().clone()]).expect("one key is a policy");
    let believed = check(&files, Some(&policy)).is_clean();
    assert!(!believed || events(&files) == events(&seed()), "events that were changed are believed");
    assert!(!check(&files, None).is_clean(), "a bundle is believed without a key");
    believed
}

/// What a bundle shows: how its lines are spelled, who wrote it when and what else its operator says proves nothing.
fn events(files: &BTreeMap<String, Vec<u8>>) -> Vec<EventLine> {
    let lines = files[EVENTS].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("the line was believed")).collect()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    vec![pack(&seed())]
}

fn unpack(mut data: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    while !data.is_empty() {
        let end = data.iter().position(|byte| *byte == 0)?;
        let path = std::str::from_utf8(&data[..end]).ok()?;
        let (length, rest) = data[end + 1..].split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        files.insert(path.to_owned(), bytes.to_vec());
        data = rest;
    }
    // whoever changes a file can write the manifest anew
    if let Some(Ok(mut manifest)) = files.get(MANIFEST).map(|bytes| serde_json::from_slice::<Manifest>(bytes))
    {
        let listed = |path: &&String| *path != MANIFEST && *path != MANIFEST_DIGEST;
        manifest.files = files.keys().filter(listed).map(|path| FileEntry::of(path, &files[path])).collect();
        put_manifest(&mut files, &manifest);
    }
    Some(files)
}

fn pack(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut data = Vec::new();
    for (path, bytes) in files {
        let length = (bytes.len() as u32).to_be_bytes();
        [path.as_bytes(), &[0], &length, bytes].iter().for_each(|part| data.extend_from_slice(part));
    }
    data
}

fn put_manifest(files: &mut BTreeMap<String, Vec<u8>>, manifest: &Manifest) {
    let bytes = serde_json::to_vec(manifest).expect("a manifest is JSON");
    files.insert(MANIFEST_DIGEST.to_owned(), manifest_digest(&bytes).into());
    files.insert(MANIFEST.to_owned(), bytes);
}

/// The whole log of three events of one stream, as a range.
fn seed() -> BTreeMap<String, Vec<u8>> {
    let stream_key = name_key(&SALT, b"order-1");
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    let mut lines = Vec::new();
    for position in 0..EVENTS_OF_SEED {
        let before = leaves.last().map(|leaf| leaf_hash(leaf));
        let leaf = Leaf {
            kind: Kind::Event,
            encrypted: false,
            sealed: false,
            has_metadata: false,
            check: CheckState::None,
            position,
            commit_time: 1_700_000_000_000_000,
            stream_version: position,
            stream_key,
            prev_stream: before.unwrap_or_else(|| stream_genesis(&stream_key)),
            prev_global: before.unwrap_or_else(|| log_genesis(ORIGIN)),
            event_id: [position as u8; 16],
            occurred_at: NO_TIME,
            event_type: "Happened",
            content_type: "application/json",
            schema_version: 0,
            schema_id: 0,
            tags: &[],
            payload_commitment: payload_commitment(&PAYLOAD_SALT, b"{}"),
            metadata_commitment: [0; 32],
            body: &[],
        };
        let line = EventLine {
            stream: "order-1".to_owned(),
            stream_salt: hex_bytes(&SALT),
            payload: Some(base64_text(b"{}")),
            payload_salt: Some(hex_bytes(&PAYLOAD_SALT)),
            ..EventLine::of_leaf(&leaf)
        };
        serde_json::to_writer(&mut lines, &line).expect("an event is JSON");
        lines.push(b'\n');
        let mut bytes = Vec::new();
        leaf.encode(&mut bytes);
        leaves.push(bytes);
    }
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let head = TreeHead { size: EVENTS_OF_SEED, root: root_of(&hashes) };
    let checkpoint = SignedCheckpoint::sign(&head, &key(), &[], 0).expect("the key is a log's").to_string();
    let mut entries = Vec::new();
    encode_bundle(leaves.iter().map(Vec::as_slice), &mut entries).expect("three leaves are a bundle");
    let range = RangeProof { start: 0, end: EVENTS_OF_SEED, hashes: Vec::new() };
    let vkey = key().verifier().to_string();
    let files = [
        (CHECKPOINT, checkpoint.into_bytes()),
        (ERASURES, Vec::new()),
        (EVENTS, lines),
        (KEY_HISTORY, Vec::new()),
        (KEYS, format!("{vkey}\n").into_bytes()),
        (POLICY, format!("log {vkey}\nquorum none\n").into_bytes()),
        (RANGE_PROOF, serde_json::to_vec(&range).expect("a proof is JSON")),
        ("tile/0/000.p/3", hashes.concat()),
        ("tile/entries/000.p/3", entries),
    ];
    let mut files: BTreeMap<String, Vec<u8>> =
        files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect();
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        origin: ORIGIN.to_owned(),
        size: EVENTS_OF_SEED,
        scope: Scope::Range { start: 0, end: EVENTS_OF_SEED },
        store_version: "0".to_owned(),
        generated_at: "2026-01-01T00:00:00Z".to_owned(),
        files: files.iter().map(|(path, bytes)| FileEntry::of(path, bytes)).collect(),
    };
    put_manifest(&mut files, &manifest);
    files
}
