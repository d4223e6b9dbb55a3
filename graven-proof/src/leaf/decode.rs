//! The strict reader of leaves: what it accepts encodes to the same bytes again.

use super::{CheckState, Kind, LEAF_BYTES_MAX, Leaf, MAGIC};
use crate::Hash;
use thiserror::Error;

/// Why bytes are not a leaf. Offsets count from the leaf's first byte.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than any leaf has.
    #[error("a leaf has at most {LEAF_BYTES_MAX} bytes, found {0}")]
    TooLong(usize),
    /// The bytes end within a field.
    #[error("the leaf ends at byte {end} within the field {field}")]
    Truncated {
        /// The field that is cut.
        field: &'static str,
        /// Where the bytes end.
        end: usize,
    },
    /// Bytes follow the last field.
    #[error("the leaf ends at byte {end}, but {extra} more follow")]
    TrailingBytes {
        /// Where the leaf ends.
        end: usize,
        /// How many bytes follow.
        extra: usize,
    },
    /// The first four bytes are others.
    #[error("the leaf does not begin with GRV1")]
    Magic,
    /// The kind has no meaning.
    #[error("kind {0} is unknown")]
    Kind(u8),
    /// A flag is set that has no meaning.
    #[error("flags {0:#010b} have unknown bits")]
    Flags(u8),
    /// A name is not UTF-8, or a media type not ASCII.
    #[error("{field} at byte {offset} is not valid text")]
    Text {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// The tags do not strictly ascend.
    #[error("tag {0} is not above the one before it")]
    TagOrder(usize),
    /// The metadata flag is clear, but there is a commitment; or it is set where there can be no metadata.
    #[error("flags and commitments do not agree on whether there is metadata")]
    StrayMetadata,
}

impl<'a> Leaf<'a> {
    /// Reads a leaf back, borrowing from `bytes`. Whatever is accepted encodes to the same bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for anything [`Leaf::encode`] does not write.
    pub fn decode(bytes: &'a [u8]) -> Result<Leaf<'a>, DecodeError> {
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let mut reader = Reader { bytes, at: 0 };
        if reader.array("magic")? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let [kind, flags] = reader.array("kind and flags")?;
        let kind = Kind::from_u8(kind).ok_or(DecodeError::Kind(kind))?;
        if flags >> 5 != 0 {
            return Err(DecodeError::Flags(flags));
        }
        let mut leaf = Leaf {
            kind,
            encrypted: flags & 1 != 0,
            sealed: flags & 16 != 0,
            has_metadata: flags & 2 != 0,
            check: CheckState::from_bits(flags >> 2),
            position: u64::from_be_bytes(reader.array("position")?),
            commit_time: i64::from_be_bytes(reader.array("commit time")?),
            stream_version: u64::from_be_bytes(reader.array("stream version")?),
            stream_key: reader.array("stream key")?,
            prev_stream: reader.array("prev stream")?,
            prev_global: reader.array("prev global")?,
            event_id: reader.array("event id")?,
            occurred_at: i64::from_be_bytes(reader.array("occurred at")?),
            event_type: reader.text("event type")?,
            content_type: reader.ascii("content type")?,
            schema_version: u32::from_be_bytes(reader.array("schema version")?),
            schema_id: u32::from_be_bytes(reader.array("schema id")?),
            tags: reader.tags()?,
            payload_commitment: [0; 32],
            metadata_commitment: [0; 32],
            body: &[],
        };
        if kind.is_control() {
            let length = reader.count("body")?;
            leaf.body = reader.take("body", length)?;
        } else {
            leaf.payload_commitment = reader.array("payload commitment")?;
            leaf.metadata_commitment = reader.array("metadata commitment")?;
        }
        if reader.at < bytes.len() {
            return Err(DecodeError::TrailingBytes { end: reader.at, extra: bytes.len() - reader.at });
        }
        if kind.is_control() && leaf.has_metadata || !leaf.has_metadata && leaf.metadata_commitment != [0; 32]
        {
            return Err(DecodeError::StrayMetadata);
        }
        Ok(leaf)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(DecodeError::Truncated { field, end: self.bytes.len() })?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        Ok(self.take(field, N)?.try_into().expect("exactly N bytes were taken"))
    }

    fn count(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        Ok(usize::from(u16::from_be_bytes(self.array(field)?)))
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = self.count(field)?;
        let offset = self.at;
        std::str::from_utf8(self.take(field, length)?).map_err(|_| DecodeError::Text { field, offset })
    }

    fn ascii(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let offset = self.at + 2;
        let text = self.text(field)?;
        if text.is_ascii() { Ok(text) } else { Err(DecodeError::Text { field, offset }) }
    }

    fn tags(&mut self) -> Result<&'a [Hash], DecodeError> {
        let count = self.count("tags")?;
        let (tags, _) = self.take("tags", count * size_of::<Hash>())?.as_chunks();
        match tags.windows(2).position(|pair| pair[0] >= pair[1]) {
            Some(before) => Err(DecodeError::TagOrder(before + 1)),
            None => Ok(tags),
        }
    }
}
