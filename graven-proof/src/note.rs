//! C2SP signed notes: text, and the signatures of one or more keys below it.
//!
//! [`Note`] is what was read and proves nothing. [`Note::verify`] gives a [`VerifiedNote`], which can be had in no other
//! way: the text, and which of the trusted keys signed it. Signatures of other keys are kept and mean nothing.

mod key;

use crate::base64;
pub use key::{Algorithm, KeyError, KeyId, KeyName, SignerKey, VerifierKey};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Bytes of a note at the most.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// Signatures of a note at the most. The specification demands 16; witnesses and post-quantum keys may add theirs.
pub const SIGNATURES_MAX: usize = 64;

/// Bytes of one signature at the most, the key id aside.
pub const SIGNATURE_BYTES_MAX: usize = 16 << 10;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Why bytes are not a note, or a note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// More bytes than any note of ours has.
    #[error("a note has at most {NOTE_BYTES_MAX} bytes, found {0}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the note is not UTF-8 from byte {0} on")]
    Encoding(usize),
    /// A control character other than the line feed.
    #[error("the note has a control character at byte {0}")]
    Control(usize),
    /// The text is empty or does not end in a line feed.
    #[error("the text of a note ends in a line feed")]
    Text,
    /// There is no empty line, or no signature below the last one.
    #[error("the note has no signatures below its last empty line")]
    NoSignatures,
    /// More signatures than a note may have.
    #[error("a note has at most {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A line below the last empty one is not of the form of a signature.
    #[error("signature line {0} is not an em dash, a key name and base64 of a key id and a signature")]
    SignatureLine(usize),
    /// A signature that claims to be of a trusted key is not.
    #[error("the signature of {name} with key id {id} does not verify")]
    Forged {
        /// Name of the trusted key.
        name: KeyName,
        /// Its id.
        id: KeyId,
    },
    /// None of the trusted keys signed.
    #[error("the note is signed by none of the {0} trusted keys")]
    Unsigned(usize),
    /// Two of the trusted keys cannot be told apart in a note.
    #[error("two trusted keys have the name {name} and the key id {id}")]
    AmbiguousKeys {
        /// Name of both.
        name: KeyName,
        /// Id of both.
        id: KeyId,
    },
}

/// One signature as it stands in a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: KeyName,
    id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    /// Name of the key it claims to be of.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Id of that key: a hint, no proof.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What follows the key id.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the line of a note, without the line feed; what a witness answers with.
impl FromStr for Signature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Signature, NoteError> {
        let parse = || {
            let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
            let name = name.parse().ok()?;
            let decoded = base64::decode(encoded)?;
            let (id, bytes) = decoded.split_first_chunk()?;
            let fits = (1..=SIGNATURE_BYTES_MAX).contains(&bytes.len());
            fits.then(|| Signature { name, id: KeyId(*id), bytes: bytes.to_vec() })
        };
        parse().ok_or(NoteError::SignatureLine(0))
    }
}

/// As the line of a note, without the line feed.
impl fmt::Display for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0[..], &self.bytes].concat();
        write!(out, "{SIGNATURE_MARK}{} {}", self.name, base64::encode(&bytes))
    }
}

/// A signed note as it was read: nothing in it is verified. [`Display`](fmt::Display) writes it as it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Reads a note. What is accepted is written again as the same bytes.
    ///
    /// # Errors
    /// If the bytes are not of the form of a note, or exceed a bound.
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let whole = std::str::from_utf8(bytes).map_err(|error| NoteError::Encoding(error.valid_up_to()))?;
        refuse_controls(whole)?;
        let split = whole.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = (&whole[..=split], &whole[split + 2..]);
        if text == "\n" {
            return Err(NoteError::Text);
        }
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let mut signatures = Vec::new();
        for (number, line) in lines.split_inclusive('\n').enumerate() {
            if number == SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            let signature = line.strip_suffix('\n').and_then(|line| line.parse().ok());
            signatures.push(signature.ok_or(NoteError::SignatureLine(number))?);
        }
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// Signs a text, which ends in a line feed, with every key; `time`, in seconds since 1970, is said by those that
    /// are for cosignatures.
    ///
    /// # Errors
    /// If the text cannot be that of a note, there is no key, or there are too many.
    pub fn sign(text: &str, keys: &[&SignerKey], time: u64) -> Result<Note, NoteError> {
        refuse_controls(text)?;
        if !text.ends_with('\n') || text == "\n" {
            return Err(NoteError::Text);
        }
        let signatures = keys.iter().map(|key| key.sign(text, time)).collect();
        Note { text: text.to_owned(), signatures }.within_bounds()
    }

    /// The note with this signature added as its last. Whether it verifies is not looked at.
    ///
    /// # Errors
    /// If the note would exceed a bound.
    pub fn with(mut self, signature: Signature) -> Result<Note, NoteError> {
        self.signatures.push(signature);
        self.within_bounds()
    }

    fn within_bounds(self) -> Result<Note, NoteError> {
        match self.signatures.len() {
            0 => return Err(NoteError::NoSignatures),
            1..=SIGNATURES_MAX => {}
            _ => return Err(NoteError::TooManySignatures),
        }
        match self.to_string().len() {
            length if length > NOTE_BYTES_MAX => Err(NoteError::TooLong(length)),
            _ => Ok(self),
        }
    }

    /// The text, with the line feed it ends in. Not to be believed yet.
    #[must_use]
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// All signatures, also of keys nobody knows.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Verifies every signature that claims to be of a trusted key. Signatures of other keys are ignored, also if they
    /// share a name or an id, but not both, with a trusted one.
    ///
    /// # Errors
    /// If no trusted key signed; if one signature of a trusted key does not verify, whatever the others say; if two of
    /// the keys have the same name and id.
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<VerifiedNote<'_>, NoteError> {
        let verified = self.verify_any(trusted)?;
        if verified.signers.is_empty() {
            return Err(NoteError::Unsigned(trusted.len()));
        }
        Ok(verified)
    }

    /// As [`Note::verify`], but content with no signature at all.
    pub(crate) fn verify_any(&self, trusted: &[VerifierKey]) -> Result<VerifiedNote<'_>, NoteError> {
        for (number, key) in trusted.iter().enumerate() {
            let same = |other: &VerifierKey| other.name() == key.name() && other.id() == key.id();
            if trusted[..number].iter().any(same) {
                return Err(NoteError::AmbiguousKeys { name: key.name().clone(), id: key.id() });
            }
        }
        let mut signers: Vec<Signer> = Vec::new();
        for signature in &self.signatures {
            let known = |key: &VerifierKey| *key.name() == signature.name && key.id() == signature.id;
            let Some(index) = trusted.iter().position(known) else { continue };
            let key = &trusted[index];
            let forged = || NoteError::Forged { name: key.name().clone(), id: key.id() };
            let time = key.verify(&self.text, signature).ok_or_else(forged)?;
            // a witness that signed twice is one witness, which saw it last at the later time
            match signers.iter_mut().find(|signer| signer.key == index) {
                Some(signer) => signer.time = signer.time.max(time),
                None => signers.push(Signer { key: index, time }),
            }
        }
        Ok(VerifiedNote { text: &self.text, signers })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(out, "{signature}"))
    }
}

/// One of the trusted keys, which signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// Index of the key among those that were given.
    pub key: usize,
    /// When, in seconds since 1970, by the signer's own clock; only cosignatures say it.
    pub time: Option<u64>,
}

/// A note that at least one trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNote<'a> {
    text: &'a str,
    signers: Vec<Signer>,
}

impl<'a> VerifiedNote<'a> {
    /// The text, with the line feed it ends in.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Which trusted keys signed, each once, in the order of the signatures.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }
}

fn refuse_controls(text: &str) -> Result<(), NoteError> {
    match text.bytes().position(|byte| byte < 0x20 && byte != b'\n') {
        Some(at) => Err(NoteError::Control(at)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
