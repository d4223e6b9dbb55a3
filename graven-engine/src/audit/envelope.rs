//! The envelope of a sealed payload: what stands in the log instead of the data or the metadata of an event that is about a
//! person. Called while an append is prepared and while an event is read. It keeps no keys and draws no randomness.
//!
//! ```text
//! commitment to the key (32) │ nonce (12) │ ciphertext, as long as what was sealed │ tag (16)
//! ```
//!
//! Cipher: ChaCha20-Poly1305 (RFC 8439), under the data subject's key. It does not commit to its key: whoever may choose
//! keys can make bytes that open to two texts under two of them. The commitment at the head, HKDF-SHA256 (RFC 5869) of key and
//! event id, rules that out. The event's id and the part are authenticated with the text, so an envelope opens at its own
//! place only.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use hmac::digest::CtOutput;
use sha2::Sha256;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Bytes an envelope takes beyond what is in it.
pub(crate) const OVERHEAD: usize = COMMITMENT_BYTES + NONCE_BYTES + TAG_BYTES;

const COMMITMENT_BYTES: usize = 32;
/// Bytes of a nonce. Random ones may be drawn for 2^32 envelopes under one key before two of them are likely to meet
/// (chance 2^-33).
pub(crate) const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const COMMITMENT_DOMAIN: &[u8] = b"graven/keycommit/v1";
const SEAL_DOMAIN: &[u8] = b"graven/sealed/v1";

/// A data subject's key. Overwritten when it is dropped.
#[derive(Clone)]
pub(crate) struct DataKey {
    bytes: Zeroizing<[u8; 32]>,
    /// The part of a commitment that is the same for every event, computed when it is first needed. It leads back to no key.
    committing: OnceLock<Hkdf<Sha256>>,
}

impl DataKey {
    pub(crate) fn new(bytes: [u8; 32]) -> DataKey {
        DataKey { bytes: Zeroizing::new(bytes), committing: OnceLock::new() }
    }

    /// The key itself, to be stored.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(self.expose().into())
    }

    fn commitment(&self, event_id: &[u8; 16]) -> CtOutput<Sha256> {
        let mut commitment = [0; COMMITMENT_BYTES];
        self.committing
            .get_or_init(|| Hkdf::new(None, self.expose()))
            .expand_multi_info(&[COMMITMENT_DOMAIN, event_id], &mut commitment)
            .expect("32 bytes are within what HKDF gives");
        CtOutput::new(commitment.into())
    }
}

/// What of an event is in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Data,
    Metadata,
}

impl Part {
    fn associated(self, event_id: &[u8; 16]) -> [u8; SEAL_DOMAIN.len() + 17] {
        let mut bytes = [0; SEAL_DOMAIN.len() + 17];
        bytes[..SEAL_DOMAIN.len()].copy_from_slice(SEAL_DOMAIN);
        bytes[SEAL_DOMAIN.len()..SEAL_DOMAIN.len() + 16].copy_from_slice(event_id);
        bytes[SEAL_DOMAIN.len() + 16] = match self {
            Part::Data => 0,
            Part::Metadata => 1,
        };
        bytes
    }
}

/// Why an envelope does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is shorter than an empty one.
    TooShort,
    /// It was not made with this key for this event.
    OtherKey,
    /// It was altered, or belongs to the event's other part.
    Altered,
}

impl Refused {
    /// In words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Refused::TooShort => "the sealed payload is shorter than its envelope",
            Refused::OtherKey => "the sealed payload was not made with its data subject's key",
            Refused::Altered => "the sealed payload was altered",
        }
    }
}

/// Seals a part of an event. The nonce is never used with this key again.
pub(crate) fn seal(
    key: &DataKey,
    event_id: &[u8; 16],
    part: Part,
    plain: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
    out.extend_from_slice(&key.commitment(event_id).into_bytes());
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = key
        .cipher()
        .encrypt_inout_detached(&nonce.into(), &part.associated(event_id), (&mut out[start..]).into())
        .expect("an event is far shorter than the cipher's 256 GiB");
    out.extend_from_slice(&tag);
    out
}

/// Opens a part of an event and appends what was sealed to `out`, which stays as it was if it is refused.
///
/// # Errors
/// Why it is not what [`seal`] made of that part with that key.
pub(crate) fn open(
    key: &DataKey,
    event_id: &[u8; 16],
    part: Part,
    stored: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let (commitment, rest) = stored.split_first_chunk::<COMMITMENT_BYTES>().ok_or(Refused::TooShort)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Refused::TooShort)?;
    let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Refused::TooShort)?;
    // Compared in constant time.
    if key.commitment(event_id) != CtOutput::new((*commitment).into()) {
        return Err(Refused::OtherKey);
    }
    let start = out.len();
    out.extend_from_slice(text);
    let opened = key.cipher().decrypt_inout_detached(
        nonce.into(),
        &part.associated(event_id),
        (&mut out[start..]).into(),
        tag.into(),
    );
    opened.map_err(|_| {
        out.truncate(start);
        Refused::Altered
    })
}

#[cfg(test)]
mod tests;
