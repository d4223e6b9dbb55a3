//! What the log says about itself: the bodies of control records, which stand in their leaves in clear.
//!
//! A body is a JSON object. What is hashed are the record's bytes, so nobody has to write the object again the same way.
//! Fields that are not known are tolerated: a newer store may say more.

use crate::Hash;
use crate::base64;
use crate::leaf::Kind;
use crate::note::{SignerKey, VerifierKey};
use crate::trie::{Answer, StreamHead, TrieProof, TrieProofError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It is no JSON object of the form its kind has.
    #[error("the body of a {kind:?} record cannot be read: {what}")]
    Form {
        /// Kind of the record.
        kind: Kind,
        /// What the JSON reader says.
        what: String,
    },
    /// The kind has no body.
    #[error("a record of kind {0:?} has no body")]
    NoControl(Kind),
}

/// Why a record is no seal, or a seal does not lead to a stream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// A record of another kind.
    #[error("what is proven is no seal, but a record of kind {0:?}")]
    NoSeal(Kind),
    /// The body does not read.
    #[error("the seal does not read: {0}")]
    Form(ControlError),
    /// It says that it covers leaves that come after it, or itself.
    #[error("the seal at position {position} says that it covers {size} events")]
    CoversItself {
        /// Its position.
        position: u64,
        /// Events it says it covers.
        size: u64,
    },
    /// The path to the stream does not read, or does not hold.
    #[error("the path from the seal to the stream does not hold: {0}")]
    Path(TrieProofError),
    /// The path proves that there is no such stream.
    #[error("the seal knows no stream of this name and salt")]
    NoSuchStream,
}

/// What a control record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// The root of the stream-head trie.
    MapRoot(MapRoot),
    /// An authorised erasure.
    Erasure(Erasure),
    /// A change of signing keys.
    Key(KeyChange),
    /// Evidence from outside.
    Anchor(Anchor),
    /// Where a log comes from that was copied.
    Migration(Migration),
    /// Payloads dropped under a retention rule.
    Retention(Retention),
    /// A legal hold that begins or ends.
    Hold(Hold),
}

impl Control {
    /// Reads the body of a record of this kind.
    ///
    /// # Errors
    /// If the kind has no body, or the body is not of its form.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Control, ControlError> {
        fn read<T: for<'a> Deserialize<'a>>(kind: Kind, body: &[u8]) -> Result<T, ControlError> {
            serde_json::from_slice(body).map_err(|error| ControlError::Form { kind, what: error.to_string() })
        }
        Ok(match kind {
            Kind::MapRoot => Control::MapRoot(read(kind, body)?),
            Kind::Erasure => Control::Erasure(read(kind, body)?),
            Kind::Key => Control::Key(read(kind, body)?),
            Kind::Anchor => Control::Anchor(read(kind, body)?),
            Kind::Migration => Control::Migration(read(kind, body)?),
            Kind::Retention => Control::Retention(read(kind, body)?),
            Kind::Hold => Control::Hold(read(kind, body)?),
            Kind::Event | Kind::Tombstone => return Err(ControlError::NoControl(kind)),
        })
    }

    /// Kind of the record that says this.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Control::MapRoot(_) => Kind::MapRoot,
            Control::Erasure(_) => Kind::Erasure,
            Control::Key(_) => Kind::Key,
            Control::Anchor(_) => Kind::Anchor,
            Control::Migration(_) => Kind::Migration,
            Control::Retention(_) => Kind::Retention,
            Control::Hold(_) => Kind::Hold,
        }
    }

    /// Event type of the record that says this.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Control::MapRoot(_) => "$mapRoot",
            Control::Erasure(_) => "$erasure",
            Control::Key(_) => "$key",
            Control::Anchor(_) => "$anchor",
            Control::Migration(_) => "$migration",
            Control::Retention(_) => "$retention",
            Control::Hold(_) => "$hold",
        }
    }

    /// The body: JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = match self {
            Control::MapRoot(body) => serde_json::to_vec(body),
            Control::Erasure(body) => serde_json::to_vec(body),
            Control::Key(body) => serde_json::to_vec(body),
            Control::Anchor(body) => serde_json::to_vec(body),
            Control::Migration(body) => serde_json::to_vec(body),
            Control::Retention(body) => serde_json::to_vec(body),
            Control::Hold(body) => serde_json::to_vec(body),
        };
        json.expect("numbers, texts and lists under text keys are JSON")
    }
}

/// The root of the stream-head trie over the first `size` leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRoot {
    /// Leaves the trie covers; at most the position of the record that says so.
    pub size: u64,
    /// Streams in the trie.
    pub streams: u64,
    /// Its root.
    #[serde(with = "hex")]
    pub root: Hash,
}

impl MapRoot {
    /// Reads the seal that stands at a position from its record.
    ///
    /// # Errors
    /// [`SealError::NoSeal`], [`SealError::Form`], [`SealError::CoversItself`].
    pub fn at(position: u64, kind: Kind, body: &[u8]) -> Result<MapRoot, SealError> {
        let root = match Control::decode(kind, body) {
            Ok(Control::MapRoot(root)) => root,
            Ok(_) | Err(ControlError::NoControl(_)) => return Err(SealError::NoSeal(kind)),
            Err(error) => return Err(SealError::Form(error)),
        };
        if root.size > position {
            return Err(SealError::CoversItself { position, size: root.size });
        }
        Ok(root)
    }

    /// Where the stream of a key stood when this was sealed, by the encoded path to it; and the path.
    ///
    /// # Errors
    /// [`SealError::Path`], [`SealError::NoSuchStream`].
    pub fn stream(&self, key: &Hash, path: &[u8]) -> Result<(StreamHead, TrieProof), SealError> {
        let path = TrieProof::decode(path).map_err(SealError::Path)?;
        match path.verify(key, &self.root).map_err(SealError::Path)? {
            Answer::Present(head) => Ok((head, path)),
            Answer::Absent => Err(SealError::NoSuchStream),
        }
    }
}

/// Which parts of an event are destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Payload and its salt.
    Data,
    /// Metadata and its salt.
    Metadata,
    /// Name of the data subject.
    Subject,
}

/// Which events are meant. All of them stand before the record that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Target {
    /// Those at these positions, ascending.
    Positions {
        /// Positions.
        positions: Vec<u64>,
    },
    /// Those of a stream with a version below.
    Stream {
        /// Keyed hash of the stream's name.
        #[serde(with = "hex")]
        stream_key: Hash,
        /// First version that is not meant.
        before_version: u64,
    },
    /// Those of a data subject.
    Subject {
        /// Keyed hash of the subject's name, as it stands among the tags of its leaves.
        #[serde(with = "hex")]
        subject_key: Hash,
    },
}

/// An authorised erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Whose events.
    pub target: Target,
    /// What of them.
    pub parts: Vec<Part>,
    /// Events it covers, as counted when it was decided.
    pub events: u64,
    /// Position of the first event of the stream or subject, where the salt of its name stands: who has the log finds what is
    /// meant from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Pseudonymous id of the request.
    pub request: String,
    /// Legal basis, as a code.
    pub basis: String,
    /// Who decided.
    pub decided_by: String,
    /// Who approved, if a second person had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// Payloads dropped under a retention rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Which events.
    pub target: Target,
    /// What of them.
    pub parts: Vec<Part>,
    /// Events it covers.
    pub events: u64,
    /// Position of the first event of the stream or subject, where the salt of its name stands: who has the log finds what is
    /// meant from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The rule: `max-count`, `max-age`, `truncated`, `deleted`.
    pub rule: String,
}

/// A change of signing keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum KeyChange {
    /// A key signs from a size on.
    Add {
        /// The new key, as a C2SP verifier key.
        vkey: String,
        /// Smallest size it signs.
        valid_from: u64,
        /// Who authorised it: signatures over [`KeyChange::text`].
        signatures: Vec<KeySignature>,
    },
    /// A key signs nothing above a size.
    Retire {
        /// The key, as a C2SP verifier key.
        vkey: String,
        /// Largest size it signs.
        valid_until: u64,
        /// Who authorised it.
        signatures: Vec<KeySignature>,
    },
    /// A key is known to others: what it signed above a size proves nothing.
    Revoke {
        /// The key, as a C2SP verifier key.
        vkey: String,
        /// Largest size it is believed for.
        last_good: u64,
        /// Who authorised it.
        signatures: Vec<KeySignature>,
    },
}

impl KeyChange {
    /// What the keys that authorise a change sign: a text that names the log and says all of the change but its signatures.
    #[must_use]
    pub fn text(&self, origin: &str) -> String {
        let (word, vkey, size) = match self {
            KeyChange::Add { vkey, valid_from, .. } => ("add", vkey, valid_from),
            KeyChange::Retire { vkey, valid_until, .. } => ("retire", vkey, valid_until),
            KeyChange::Revoke { vkey, last_good, .. } => ("revoke", vkey, last_good),
        };
        format!("graven/key-change/v1\n{origin}\n{word}\n{vkey}\n{size}\n")
    }
}

/// A signature that authorises a change of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySignature {
    /// Verifier key of the signer: a key of the log, or its root key.
    pub vkey: String,
    /// Ed25519 signature (RFC 8032) over [`KeyChange::text`], in base64.
    pub signature: String,
}

impl KeySignature {
    /// The signature of this key over a change of the keys of the log with this origin.
    #[must_use]
    pub fn of(change: &KeyChange, origin: &str, key: &SignerKey) -> KeySignature {
        KeySignature {
            vkey: key.verifier().to_string(),
            signature: base64::encode(&key.sign_message(change.text(origin).as_bytes())),
        }
    }

    /// Who made it, if whoever it names did sign the change. Whether he may is for the caller to know.
    #[must_use]
    pub fn signer(&self, change: &KeyChange, origin: &str) -> Option<VerifierKey> {
        let key: VerifierKey = self.vkey.parse().ok()?;
        let bytes = <[u8; 64]>::try_from(base64::decode(&self.signature)?).ok()?;
        key.signed(change.text(origin).as_bytes(), &bytes).then_some(key)
    }
}

/// Evidence from outside, or of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "anchor", rename_all = "snake_case")]
pub enum Anchor {
    /// A timestamp authority's token (RFC 3161) over a checkpoint.
    Timestamp {
        /// Size of the checkpoint.
        size: u64,
        /// SHA-256 of the checkpoint's bytes.
        #[serde(with = "hex")]
        checkpoint: Hash,
        /// SHA-256 of the token.
        #[serde(with = "hex")]
        token: Hash,
    },
    /// The operator went back to an older copy of the log on purpose: what this checkpoint covers above the record's position
    /// is lost.
    RolledBack {
        /// Size of the newest checkpoint there was.
        size: u64,
        /// Its root.
        #[serde(with = "hex")]
        root: Hash,
        /// SHA-256 of its bytes.
        #[serde(with = "hex")]
        checkpoint: Hash,
    },
    /// Everything up to a size was read and compared.
    Scrubbed {
        /// Positions below this.
        size: u64,
    },
}

/// Where a log comes from that was copied from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Origin of the log it was copied from; empty if that had no audit trail.
    pub origin: String,
    /// SHA-256 of that log's last checkpoint.
    #[serde(with = "hex")]
    pub checkpoint: Hash,
    /// Root over how its positions became these.
    #[serde(with = "hex")]
    pub mapping: Hash,
}

/// A legal hold that begins or ends: what is held is neither erased nor dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Name of the hold.
    pub id: String,
    /// Whether it begins; it ends otherwise.
    pub begins: bool,
    /// What is held.
    pub scope: HoldScope,
    /// Why, as a code or reference.
    pub reason: String,
    /// Who decided.
    pub decided_by: String,
}

/// What a legal hold covers. Names of streams and subjects stand as keyed hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum HoldScope {
    /// One stream.
    Stream {
        /// Keyed hash of its name.
        #[serde(with = "hex")]
        stream_key: Hash,
    },
    /// Every stream of a category.
    Category {
        /// The category.
        category: String,
    },
    /// Every event of a data subject.
    Subject {
        /// Keyed hash of its name.
        #[serde(with = "hex")]
        subject_key: Hash,
    },
}

/// Hashes as 64 lower-case hexadecimal digits.
pub mod hex {
    use crate::Hash;
    use serde::{Deserialize, Deserializer, Serializer};

    /// 64 digits.
    #[must_use]
    pub fn encode(hash: &Hash) -> String {
        hash.iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| DIGITS[usize::from(digit)] as char)
            .collect()
    }

    /// The hash; `None` for anything but 64 lower-case digits.
    #[must_use]
    pub fn decode(text: &str) -> Option<Hash> {
        let mut hash = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return None;
        }
        let value = |digit: u8| DIGITS.iter().position(|known| *known == digit);
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            *byte = (value(pair[0])? << 4 | value(pair[1])?) as u8;
        }
        Some(hash)
    }

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(hash))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        decode(&text)
            .ok_or_else(|| serde::de::Error::custom("expected a hash of 64 lower-case hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests;
