//! Keys in the text forms of C2SP signed notes: `name+id+base64` to verify, `PRIVATE+KEY+name+id+base64` to sign.

use super::Signature;
use crate::base64;
use crate::sha256::digest_parts;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Bytes of a key's text form at the most.
const KEY_BYTES_MAX: usize = 4096;

const PRIVATE_KEY: &str = "PRIVATE+KEY+";

/// Why text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not of the form at all. The text is not repeated, it may be secret.
    #[error("expected {0}")]
    Form(&'static str),
    /// No key name.
    #[error("a key name is not empty and has no white space, no control characters and no plus sign")]
    Name,
    /// A kind of key that is not supported here.
    #[error("keys of type {0:#04x} are not supported, only 0x01 (Ed25519) and 0x04 (Ed25519 cosignature)")]
    Algorithm(u8),
    /// The key is not as long as its kind demands.
    #[error("expected a key of 32 bytes, found {0}")]
    Length(usize),
    /// The id is that of another key: the text was changed or put together wrongly.
    #[error("expected key id {expected} for this name and key, found {found}")]
    Id {
        /// The id of the key.
        expected: KeyId,
        /// The id in the text.
        found: KeyId,
    },
    /// The bytes are no point of the curve, or one under which several messages share a signature.
    #[error("the bytes are no usable Ed25519 public key")]
    Point,
}

/// Name of a key: what stands in a signature line. Not empty; no white space, no control characters, no `+`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<KeyName, KeyError> {
        let refused = |symbol: char| symbol.is_whitespace() || symbol < ' ' || symbol == '+';
        if name.is_empty() || name.len() > KEY_BYTES_MAX || name.contains(refused) {
            return Err(KeyError::Name);
        }
        Ok(KeyName(name.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Short name of a key: the first four bytes of `SHA-256(name ‖ 0x0A ‖ type ‖ public key)`. A hint which key is meant;
/// anyone can make another key with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    fn of(name: &KeyName, algorithm: Algorithm, public: &[u8; 32]) -> KeyId {
        let hash = digest_parts([name.0.as_bytes(), b"\n", &[algorithm as u8], public]);
        KeyId([hash[0], hash[1], hash[2], hash[3]])
    }

    fn parse(hex: &str) -> Option<KeyId> {
        let spelled = hex.len() == 8 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u32::from_str_radix(hex, 16).ok().filter(|_| spelled)?;
        Some(KeyId(number.to_be_bytes()))
    }
}

/// Eight hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// What a key signs, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// The text: how a log signs its checkpoints.
    Ed25519 = 0x01,
    /// The text and a time, set apart by a header line: how a witness signs (C2SP tlog-cosignature, v1).
    CosignatureV1 = 0x04,
}

impl Algorithm {
    fn from_u8(number: u8) -> Option<Algorithm> {
        match number {
            0x01 => Some(Algorithm::Ed25519),
            0x04 => Some(Algorithm::CosignatureV1),
            _ => None,
        }
    }
}

/// The message a cosignature is over.
fn cosigned(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// A public key someone trusts: its text form is the vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    algorithm: Algorithm,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// If they are no usable Ed25519 public key.
    pub fn new(name: KeyName, algorithm: Algorithm, public: &[u8; 32]) -> Result<VerifierKey, KeyError> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Point);
        }
        Ok(VerifierKey { id: KeyId::of(&name, algorithm, public), name, algorithm, key })
    }

    /// Name of the key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Id of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What it verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// When this key, which is one for cosignatures, signed the text; `None` if it did not.
    pub(crate) fn cosigned_at(&self, text: &str, signature: &Signature) -> Option<u64> {
        self.verify(text, signature).flatten()
    }

    /// Whether this key made this Ed25519 signature over these very bytes; what authorises a change of keys is signed so.
    #[must_use]
    pub fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }

    /// Whether this key made this signature of the text, and when, if it says so. `None` if it did not.
    pub(super) fn verify(&self, text: &str, signature: &Signature) -> Option<Option<u64>> {
        let holds = |message: &[u8], bytes: &[u8; 64]| {
            self.key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(bytes)).is_ok()
        };
        match self.algorithm {
            Algorithm::Ed25519 => {
                let bytes = signature.bytes().try_into().ok()?;
                holds(text.as_bytes(), bytes).then_some(None)
            }
            Algorithm::CosignatureV1 => {
                let (time, bytes) = signature.bytes().split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                holds(&cosigned(time, text), bytes.try_into().ok()?).then_some(Some(time))
            }
        }
    }
}

/// The vkey: `name+id+base64(type ‖ public key)`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.algorithm as u8], &self.key.as_bytes()[..]].concat();
        write!(out, "{}+{}+{}", self.name, self.id, base64::encode(&bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<VerifierKey, KeyError> {
        let (name, found, algorithm, public) =
            parts(vkey).ok_or(KeyError::Form("name+id+base64 of a public key"))??;
        let key = VerifierKey::new(name, algorithm, &public)?;
        expect_id(key.id, found)?;
        Ok(key)
    }
}

/// A key to sign with: its text form, the skey, is secret, and so is everything about it but its public half.
#[derive(Clone)]
pub struct SignerKey {
    public: VerifierKey,
    key: SigningKey,
}

impl SignerKey {
    /// The key made from 32 random bytes (the seed of RFC 8032).
    #[must_use]
    pub fn from_seed(name: KeyName, algorithm: Algorithm, seed: &[u8; 32]) -> SignerKey {
        let key = SigningKey::from_bytes(seed);
        let public = VerifierKey::new(name, algorithm, key.verifying_key().as_bytes());
        SignerKey { public: public.expect("the public half of a key is a point of the curve"), key }
    }

    /// The half that others may know.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.public
    }

    /// The skey: `PRIVATE+KEY+name+id+base64(type ‖ seed)`. Whoever has it can sign.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        let bytes = [&[self.public.algorithm as u8], &self.key.as_bytes()[..]].concat();
        format!("{PRIVATE_KEY}{}+{}+{}", self.public.name, self.public.id, base64::encode(&bytes))
    }

    /// Signs bytes as they are (RFC 8032), whatever kind of key it is. What is signed so must not be taken for a note.
    #[must_use]
    pub fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// Signs the text of a note. A cosignature says that the signer saw it at `time`, in seconds since 1970; a plain
    /// signature has no place for the time.
    #[must_use]
    pub fn sign(&self, text: &str, time: u64) -> Signature {
        let bytes = match self.public.algorithm {
            Algorithm::Ed25519 => self.key.sign(text.as_bytes()).to_bytes().to_vec(),
            Algorithm::CosignatureV1 => {
                let signature = self.key.sign(&cosigned(time, text)).to_bytes();
                [&time.to_be_bytes()[..], &signature].concat()
            }
        };
        Signature { name: self.public.name.clone(), id: self.public.id, bytes }
    }
}

impl FromStr for SignerKey {
    type Err = KeyError;

    fn from_str(skey: &str) -> Result<SignerKey, KeyError> {
        let (name, found, algorithm, seed) = skey
            .strip_prefix(PRIVATE_KEY)
            .and_then(parts)
            .ok_or(KeyError::Form("PRIVATE+KEY+name+id+base64 of a seed"))??;
        let key = SignerKey::from_seed(name, algorithm, &seed);
        expect_id(key.public.id, found)?;
        Ok(key)
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SignerKey").field("public", &self.public).finish_non_exhaustive()
    }
}

type Parts = (KeyName, KeyId, Algorithm, [u8; 32]);

/// `name+id+base64(type ‖ 32 bytes)`; `None` if it is not of this form.
fn parts(text: &str) -> Option<Result<Parts, KeyError>> {
    if text.len() > KEY_BYTES_MAX {
        return None;
    }
    let (name, rest) = text.split_once('+')?;
    let (id, encoded) = rest.split_once('+')?;
    let id = KeyId::parse(id)?;
    let bytes = base64::decode(encoded)?;
    let (algorithm, key) = bytes.split_first()?;
    let checked = || {
        let algorithm = Algorithm::from_u8(*algorithm).ok_or(KeyError::Algorithm(*algorithm))?;
        let key = key.try_into().map_err(|_| KeyError::Length(key.len()))?;
        Ok((name.parse()?, id, algorithm, key))
    };
    Some(checked())
}

fn expect_id(expected: KeyId, found: KeyId) -> Result<(), KeyError> {
    if expected == found { Ok(()) } else { Err(KeyError::Id { expected, found }) }
}
