//! What an auditor reads: notes, checkpoints, proofs, keys, policies, tiles. Beyond one spelling each: whatever is done
//! to something signed or proven, nothing else is ever believed than what was.

use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::merkle::{Tree, TreeHead, leaf_hash, node_hash, root_of};
use graven_proof::note::{Algorithm, Note, SignerKey, VerifierKey};
use graven_proof::policy::Policy;
use graven_proof::tiles::{Bundle, Tile, TilePath, decode_bundle, encode_bundle};
use graven_proof::tlog_proof::TlogProof;
use graven_proof::trie::{Answer, StreamHead, StreamTrie, TrieProof};
use std::convert::Infallible;
use std::sync::LazyLock;

const ORIGIN: &str = "log.example/store/1";
const TEXT: &str = "ours\n\nand nobody else's\n";
const POSITION: u64 = 5;
const LEAVES: u64 = 7;

fn log() -> SignerKey {
    SignerKey::from_seed(ORIGIN.parse().expect("a name"), Algorithm::Ed25519, &[1; 32])
}

fn witness() -> SignerKey {
    SignerKey::from_seed("witness.example".parse().expect("a name"), Algorithm::CosignatureV1, &[2; 32])
}

static TRUSTED: LazyLock<[VerifierKey; 2]> =
    LazyLock::new(|| [log(), witness()].map(|key| key.verifier().clone()));

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let [log, witness] = TRUSTED.clone();
    Policy::witnessed(vec![log], vec![witness], 1).expect("a policy")
});

/// Signed notes.
pub(super) fn note(data: &[u8]) -> bool {
    let Ok(note) = Note::parse(data) else { return false };
    assert_eq!(note.to_string().as_bytes(), data, "a note has one spelling");
    if let Ok(verified) = note.verify(&*TRUSTED) {
        assert_eq!(verified.text(), TEXT, "a text that was never signed");
    }
    true
}

pub(super) fn note_seeds() -> Vec<Vec<u8>> {
    let note = |keys: &[&SignerKey]| Note::sign(TEXT, keys, 1_700_000_000).expect("a note");
    [note(&[&log()]), note(&[&witness()]), note(&[&log(), &witness()])]
        .map(|note| note.to_string().into_bytes())
        .into()
}

/// Checkpoints, of ours and of other logs.
pub(super) fn checkpoint(data: &[u8]) -> bool {
    let Ok(checkpoint) = SignedCheckpoint::parse_foreign(data) else { return false };
    assert_eq!(checkpoint.to_string().as_bytes(), data, "a checkpoint has one spelling");
    if let Ok(ours) = SignedCheckpoint::parse(data) {
        assert_eq!(ours, checkpoint);
    }
    if let Ok(verified) = checkpoint.verify(&POLICY) {
        assert_eq!((verified.origin(), *verified.head()), (ORIGIN, head()), "a head that was never signed");
        assert!(!verified.cosignatures().is_empty());
    }
    true
}

pub(super) fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let extended = format!("{}extension\n", signed().note().unverified_text());
    let extended = Note::sign(
        &extended,
        &[&SignerKey::from_seed("other.example".parse().expect("a name"), Algorithm::Ed25519, &[3; 32])],
        0,
    );
    let alone = SignedCheckpoint::sign(&head(), &log(), &[], 0).expect("a checkpoint");
    [signed().to_string(), alone.to_string(), extended.expect("a note").to_string()]
        .map(String::into_bytes)
        .into()
}

fn leaves() -> Vec<Hash> {
    (0..LEAVES).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
}

fn head() -> TreeHead {
    TreeHead { size: LEAVES, root: root_of(&leaves()) }
}

fn signed() -> SignedCheckpoint {
    SignedCheckpoint::sign(&head(), &log(), &[&witness()], 1_700_000_000).expect("a checkpoint")
}

/// Proofs of inclusion as text.
pub(super) fn tlog_proof(data: &[u8]) -> bool {
    let Ok(proof) = TlogProof::parse(data) else { return false };
    assert_eq!(proof.to_string().as_bytes(), data, "a proof has one spelling");
    if proof.verify(&leaves()[POSITION as usize], &POLICY).is_ok() {
        assert_eq!(proof.unverified_position(), POSITION, "a leaf is at one position only");
    }
    true
}

pub(super) fn tlog_proof_seeds() -> Vec<Vec<u8>> {
    let nodes = |level: u8, index: u64| {
        let start = (index as usize) << level;
        Ok::<_, Infallible>(root_of(&leaves()[start..start + (1 << level)]))
    };
    let hashes = Tree::new(LEAVES, nodes).inclusion(POSITION).expect("a proof");
    let proof = TlogProof::new(POSITION, hashes, signed()).expect("a proof");
    let extra = proof.clone().with_extra(POSITION.to_be_bytes().to_vec()).expect("a proof");
    [proof, extra].map(|proof| proof.to_string().into_bytes()).into()
}

/// Keys, public and secret.
pub(super) fn key(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text, "a key has one spelling");
        return true;
    }
    let Ok(key) = text.parse::<SignerKey>() else { return false };
    assert_eq!(key.to_secret_text(), text, "a key has one spelling");
    true
}

pub(super) fn key_seeds() -> Vec<Vec<u8>> {
    [log(), witness()]
        .into_iter()
        .flat_map(|key| [key.verifier().to_string(), key.to_secret_text()])
        .map(String::into_bytes)
        .collect()
}

/// Policies.
pub(super) fn policy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(policy) = Policy::parse(text) else { return false };
    assert_eq!(policy.quorum() == "none", policy.trusts_operator_alone());
    let believed = signed().verify(&policy).is_ok();
    let has =
        |parties: &[graven_proof::policy::Party], key| parties.iter().any(|party| party.key == TRUSTED[key]);
    assert!(!believed || has(policy.logs(), 0), "a log that is not in the policy");
    assert!(!believed || policy.trusts_operator_alone() || has(policy.witnesses(), 1), "nobody cosigned");
    true
}

pub(super) fn policy_seeds() -> Vec<Vec<u8>> {
    let [log, witness] = &*TRUSTED;
    let alone = format!("# a comment\nlog {log} https://log.example/\nquorum none\n");
    let groups = format!(
        "log {log}\nwitness w {witness} https://witness.example/\ngroup g any w\ngroup h all g\nquorum h\n"
    );
    let one = format!("\tlog {log} \nwitness w {witness}\ngroup g 1 w\nquorum w\n");
    [alone, groups, one].map(String::into_bytes).into()
}

/// Proofs of the trie of stream heads.
pub(super) fn trie_proof(data: &[u8]) -> bool {
    let Ok(proof) = TrieProof::decode(data) else { return false };
    assert_eq!(proof.encode(), data, "a proof has one encoding");
    let mut trie = trie();
    let root = trie.root();
    for number in 0..=STREAMS {
        let key = stream_key(number);
        if let Ok(answer) = proof.verify(&key, &root) {
            let wanted = trie.get(&key).map_or(Answer::Absent, |head| Answer::Present(*head));
            assert_eq!(answer, wanted, "one answer for each stream");
        }
    }
    true
}

const STREAMS: u64 = 9;

fn stream_key(number: u64) -> Hash {
    leaf_hash(&number.to_be_bytes())
}

fn trie() -> StreamTrie {
    let mut trie = StreamTrie::new();
    trie.extend((0..STREAMS).map(|number| {
        let key = stream_key(number);
        let head = node_hash(&key, &key);
        let last_position = number * 7;
        let tombstoned = number == 3;
        (
            key,
            StreamHead { next_version: number + 1, first_position: number, last_position, head, tombstoned },
        )
    }));
    trie
}

pub(super) fn trie_proof_seeds() -> Vec<Vec<u8>> {
    let mut trie = trie();
    let keys = [0, 3, STREAMS].map(stream_key);
    let proofs = keys.map(|key| trie.prove(&key).encode());
    proofs.into_iter().chain([StreamTrie::new().prove(&keys[0]).encode()]).collect()
}

/// Entry bundles: the first byte says how many leaves there should be, less one.
pub(super) fn bundle(data: &[u8]) -> bool {
    let Some((width, bytes)) = data.split_first() else { return false };
    let Ok(leaves) = decode_bundle(bytes, u16::from(*width) + 1) else { return false };
    let mut again = Vec::new();
    encode_bundle(leaves, &mut again).expect("what was a bundle is one");
    assert_eq!(again, bytes, "a bundle has one encoding");
    true
}

pub(super) fn bundle_seeds() -> Vec<Vec<u8>> {
    let of = |leaves: &[&[u8]]| {
        let mut bytes = vec![(leaves.len() - 1) as u8];
        encode_bundle(leaves.iter().copied(), &mut bytes).expect("a bundle");
        bytes
    };
    vec![of(&[b""]), of(&[b"one", b"", &[7; 300]]), of(&[&b"x"[..]; 256])]
}

/// Paths of tiles.
pub(super) fn tile_path(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(path) = text.parse::<TilePath>() else { return false };
    assert_eq!(path.to_string(), text, "a path has one spelling");
    true
}

pub(super) fn tile_path_seeds() -> Vec<Vec<u8>> {
    let hashes = |level, index, width| TilePath::Hashes(Tile { level, index, width });
    let paths = [
        hashes(0, 0, 256),
        hashes(63, 1_234_067, 1),
        hashes(7, u64::MAX, 255),
        TilePath::Entries(Bundle { index: 999, width: 256 }),
        TilePath::Entries(Bundle { index: 1000, width: 10 }),
    ];
    paths.map(|path| path.to_string().into_bytes()).into()
}
