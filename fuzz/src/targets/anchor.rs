//! What comes from outside to vouch for a log: requests to witnesses, timestamps. Beyond one spelling each: a witness never
//! remembers a head that the log did not sign, and no timestamp is taken for one of other bytes.

use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::merkle::{Tree, TreeHead, leaf_hash, root_of};
use graven_proof::note::{Algorithm, SignerKey};
use graven_proof::timestamp::{Timestamp, TimestampRequest};
use graven_proof::witness::{AddCheckpoint, judge, nothing_seen, parse_cosignatures, parse_size};
use std::convert::Infallible;

const SEEN: u64 = 5;
const SIZE: u64 = 11;

fn log() -> SignerKey {
    SignerKey::from_seed("log.example/store/1".parse().expect("a name"), Algorithm::Ed25519, &[1; 32])
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
}

fn head(size: u64) -> TreeHead {
    TreeHead { size, root: root_of(&leaves(size)) }
}

fn request(from: u64, to: u64) -> AddCheckpoint {
    let nodes = |level: u8, index: u64| {
        let start = (index as usize) << level;
        Ok::<_, Infallible>(root_of(&leaves(to)[start..start + (1 << level)]))
    };
    let proof = if from == 0 { Vec::new() } else { Tree::new(to, nodes).consistency(from).expect("a proof") };
    let checkpoint = SignedCheckpoint::sign(&head(to), &log(), &[], 0).expect("a checkpoint");
    AddCheckpoint::new(from, proof, checkpoint).expect("a request")
}

/// Requests to a witness, and its answers.
pub(super) fn witness_request(data: &[u8]) -> bool {
    let _ = (parse_size(data), parse_cosignatures(data));
    let Ok(request) = AddCheckpoint::parse(data) else { return false };
    assert_eq!(request.to_string().as_bytes(), data, "a request has one spelling");
    let known = [log().verifier().clone()];
    for seen in [nothing_seen(), head(SEEN), head(SIZE)] {
        if let Ok(new) = judge(&seen, &request, &known) {
            assert!([SEEN, SIZE].map(head).contains(&new), "a head that was never signed");
            assert!(new.size >= seen.size, "a smaller head");
        }
    }
    true
}

pub(super) fn witness_request_seeds() -> Vec<Vec<u8>> {
    [(0, SEEN), (0, SIZE), (SEEN, SIZE), (SIZE, SIZE)]
        .map(|(from, to)| request(from, to).to_string().into_bytes())
        .into()
}

const STAMPED: &[u8] = b"some bytes";
const NONCE: u64 = 0x0123_4567_89ab_cdef;

/// Answers of a timestamp authority.
pub(super) fn timestamp(data: &[u8]) -> bool {
    let _ = Timestamp::parse_token(data);
    let Ok(timestamp) = Timestamp::parse_response(data) else { return false };
    assert_eq!(Timestamp::parse_token(timestamp.token()), Ok(timestamp.clone()));
    if let Ok(accepted) = TimestampRequest::new(STAMPED, NONCE).accept(data) {
        assert_eq!(accepted.expect_of(STAMPED), Ok(()), "a timestamp of other bytes");
        assert!(data.windows(8).any(|bytes| bytes == NONCE.to_be_bytes()), "an answer to another request");
    }
    true
}

/// An answer as an authority gives it, its certificates and signature aside. The imprint is cut out of a request.
pub(super) fn timestamp_seeds() -> Vec<Vec<u8>> {
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut out = vec![tag];
        match content.len() {
            short @ 0..=0x7f => out.push(short as u8),
            long @ 0x80..=0xff => out.extend([0x81, long as u8]),
            longer => out.extend([0x82, (longer >> 8) as u8, longer as u8]),
        }
        out.extend(content);
        out
    }
    let query = TimestampRequest::new(STAMPED, NONCE).encode();
    let imprint = &query[5..5 + 51];
    let nonce = der(2, &[&NONCE.to_be_bytes()]);
    let response = |time: &[u8], extra: &[u8]| {
        let info = der(
            0x30,
            &[
                &der(2, &[&[1]]),
                &der(6, &[&[0x2a, 3]]),
                imprint,
                &der(2, &[&[9]]),
                &der(0x18, &[time]),
                extra,
                &nonce,
            ],
        );
        let kind = der(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4]]);
        let encapsulated = der(0x30, &[&kind, &der(0xa0, &[&der(4, &[&info])])]);
        let signers = der(0x31, &[&der(0x30, &[b"signed"])]);
        let certificates = der(0xa0, &[&[7; 200]]);
        let signed = der(0x30, &[&der(2, &[&[3]]), &der(0x31, &[]), &encapsulated, &certificates, &signers]);
        let kind = der(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2]]);
        let token = der(0x30, &[&kind, &der(0xa0, &[&signed])]);
        der(0x30, &[&der(0x30, &[&der(2, &[&[0]])]), &token])
    };
    vec![
        response(b"20260101120000Z", &[]),
        response(b"20260101120000.25Z", &[der(0x30, &[&der(2, &[&[1]])]), der(1, &[&[0xff]])].concat()),
    ]
}
