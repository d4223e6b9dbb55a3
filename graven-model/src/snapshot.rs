//! Snapshots: what a stream's events came to at a revision, kept so that nobody has to read them all again.

use crate::error::{Code, Error, Result};
use crate::event::ContentType;
use crate::ids::{Position, Revision, StreamName, Text};
use crate::limits;
use crate::read::Page;
use crate::time::Timestamp;
use bytes::Bytes;

/// What the names of the streams begin with in which the store keeps snapshots: those of `x` are in `$snapshot-x`.
pub const STREAM_PREFIX: &str = "$snapshot-";

/// Type of the events that hold snapshots.
pub const EVENT_TYPE: &str = "$snapshot";

/// A state to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The stream it is made of.
    pub stream: StreamName,
    /// The last event that went into it.
    pub revision: Revision,
    /// Version of the state's shape, by which a program tells whether it still understands it; 0 = none.
    pub schema_version: u32,
    /// Media type of the state.
    pub content_type: ContentType,
    /// The state, at most [`limits::EVENT_BYTES_MAX`] bytes, stored byte for byte.
    pub state: Bytes,
    /// The person the state is about: it is sealed under that person's key, as payloads are.
    pub data_subject: Option<Text>,
    /// How many snapshots of the stream are kept, this one among them: 1 to [`limits::SNAPSHOTS_KEPT_MAX`].
    pub keep: u32,
}

impl NewSnapshot {
    /// A state as JSON, without schema version, of which the newest alone is kept.
    #[must_use]
    pub fn json(stream: StreamName, revision: Revision, state: impl Into<Bytes>) -> NewSnapshot {
        NewSnapshot {
            stream,
            revision,
            schema_version: 0,
            content_type: ContentType::Json,
            state: state.into(),
            data_subject: None,
            keep: 1,
        }
    }

    /// Checks what can be checked without a store.
    ///
    /// # Errors
    /// [`Code::InvalidSnapshot`], [`Code::EventTooLarge`].
    pub fn check(&self) -> Result<()> {
        check_stream(&self.stream)?;
        if self.keep == 0 || self.keep > limits::SNAPSHOTS_KEPT_MAX {
            return Err(Error::new(
                Code::InvalidSnapshot,
                "the number of snapshots to keep is out of bounds",
            )
            .expected(format!("1 to {}", limits::SNAPSHOTS_KEPT_MAX))
            .found(self.keep.to_string()));
        }
        if self.state.len() > limits::EVENT_BYTES_MAX {
            return Err(Error::new(Code::EventTooLarge, "the state is too large for a snapshot")
                .expected(format!("at most {} bytes", limits::EVENT_BYTES_MAX))
                .found(format!("{} bytes", self.state.len())));
        }
        Ok(())
    }
}

/// Checks that a stream can have snapshots.
///
/// # Errors
/// [`Code::InvalidSnapshot`] for system streams, and for names that are too long.
pub fn check_stream(stream: &StreamName) -> Result<()> {
    let name = stream.as_str();
    if stream.is_system() {
        return Err(Error::new(
            Code::InvalidSnapshot,
            format!("stream {:?} cannot have snapshots", limits::shorten(name)),
        )
        .expected("a stream whose name does not begin with '$'"));
    }
    if name.len() > limits::SNAPSHOT_STREAM_BYTES_MAX {
        return Err(Error::new(Code::InvalidSnapshot, "the name of the stream is too long for a snapshot")
            .expected(format!("at most {} bytes", limits::SNAPSHOT_STREAM_BYTES_MAX))
            .found(format!("{} bytes", name.len())));
    }
    Ok(())
}

/// What came of keeping a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotReceipt {
    /// Place of the snapshot in the log.
    pub position: Position,
    /// When it was kept.
    pub taken_at: Timestamp,
    /// False if the very same snapshot was there already.
    pub stored: bool,
}

/// A snapshot as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stream it is made of.
    pub stream: StreamName,
    /// The last event that went into it.
    pub revision: Revision,
    /// Place of that event in the log.
    pub event_position: Position,
    /// Hash of that event's leaf in the log's tree, which is compared with the tree whenever the snapshot is read.
    pub leaf: [u8; 32],
    /// Version of the state's shape; 0 = none.
    pub schema_version: u32,
    /// Media type of the state.
    pub content_type: ContentType,
    /// The state.
    pub state: Bytes,
    /// The person the state is about.
    pub data_subject: Option<Text>,
    /// Place of the snapshot itself in the log.
    pub position: Position,
    /// When it was kept.
    pub taken_at: Timestamp,
}

/// A read of a stream that begins with its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromSnapshotRequest {
    /// The stream.
    pub stream: StreamName,
    /// Events at the most, 1 to [`limits::PAGE_EVENTS_MAX`].
    pub limit: u32,
    /// Bytes of them at the most; at least one event is returned however large.
    pub bytes_max: usize,
}

impl FromSnapshotRequest {
    /// With default bounds.
    #[must_use]
    pub fn new(stream: StreamName) -> FromSnapshotRequest {
        FromSnapshotRequest {
            stream,
            limit: limits::PAGE_EVENTS_DEFAULT,
            bytes_max: limits::PAGE_BYTES_DEFAULT,
        }
    }
}

/// A snapshot and the events after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromSnapshot {
    /// The newest snapshot that still serves; `None` if there is none, and the page begins with the stream's first event.
    pub snapshot: Option<Snapshot>,
    /// The first page of events after it. [`Page::next`] says where to read on.
    pub page: Page,
}

/// Which event a snapshot is made of, as the store writes it on the snapshot: a tag, which is part of what the log's tree
/// covers, is never sealed, and stays when the state is erased.
///
/// `$snapshot/<revision>/<position>/<leaf hash in lower-case hexadecimal>`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotOf {
    /// The event's place in its stream.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
    /// Hash of its leaf.
    pub leaf: [u8; 32],
}

/// What the tag begins with.
const TAG_PREFIX: &str = "$snapshot/";

impl SnapshotOf {
    /// The tag.
    #[must_use]
    pub fn to_tag(&self) -> String {
        use std::fmt::Write as _;
        let mut tag = format!("{TAG_PREFIX}{}/{}/", self.revision, self.position);
        for byte in self.leaf {
            write!(tag, "{byte:02x}").expect("a String takes everything");
        }
        tag
    }

    /// Reads a tag; `None` if it is another one, or not written as [`SnapshotOf::to_tag`] writes it.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<SnapshotOf> {
        let mut parts = tag.strip_prefix(TAG_PREFIX)?.split('/');
        let (revision, position, hex) = (parts.next()?, parts.next()?, parts.next()?);
        let mut leaf = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in leaf.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        let of = SnapshotOf {
            revision: Revision(revision.parse().ok()?),
            position: Position(position.parse().ok()?),
            leaf,
        };
        (of.to_tag() == tag).then_some(of)
    }

    /// Reads the one tag a snapshot has; `None` if there is another number of them, or it does not read.
    #[must_use]
    pub fn from_tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Option<SnapshotOf> {
        let mut tags = tags.into_iter();
        let of = SnapshotOf::from_tag(tags.next()?)?;
        tags.next().is_none().then_some(of)
    }
}

/// The stream in which the snapshots of a stream are kept.
///
/// # Errors
/// [`Code::InvalidSnapshot`] if the stream cannot have any.
pub fn stream_of(stream: &StreamName) -> Result<StreamName> {
    check_stream(stream)?;
    StreamName::new(format!("{STREAM_PREFIX}{}", stream.as_str()))
}

/// The stream whose snapshots are kept in the stream of this name.
#[must_use]
pub fn described(name: &str) -> Option<StreamName> {
    StreamName::new(name.strip_prefix(STREAM_PREFIX)?).ok().filter(|stream| check_stream(stream).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_event_a_snapshot_is_made_of_reads_back_from_its_tag_and_from_no_other_text() {
        let of = SnapshotOf { revision: Revision(41), position: Position(907), leaf: [0xab; 32] };
        let tag = of.to_tag();
        assert_eq!(tag, format!("$snapshot/41/907/{}", "ab".repeat(32)));
        assert_eq!(SnapshotOf::from_tag(&tag), Some(of));
        assert!(tag.len() <= limits::TAG_BYTES_MAX);
        let hex = "ab".repeat(32);
        for bad in [
            format!("$snapshot/041/907/{hex}"),
            format!("$snapshot/+41/907/{hex}"),
            format!("$snapshot/41/907/{}", "AB".repeat(32)),
            format!("$snapshot/41/907/{hex}/"),
            format!("$snapshot/41/907/{}", &hex[2..]),
            format!("$snapshot/41/907/{}é", &hex[2..]),
            format!("snapshot/41/907/{hex}"),
            "$snapshot/41/907".into(),
        ] {
            assert_eq!(SnapshotOf::from_tag(&bad), None, "{bad}");
        }
        assert_eq!(SnapshotOf::from_tags([&*tag]), Some(of));
        assert_eq!(SnapshotOf::from_tags([&*tag, "more"]), None);
        assert_eq!(SnapshotOf::from_tags([]), None);
    }

    #[test]
    fn streams_that_cannot_have_snapshots_are_refused() {
        let stream = |name: &str| StreamName::new(name).unwrap();
        let longest = "x".repeat(limits::SNAPSHOT_STREAM_BYTES_MAX);
        let kept_in = stream_of(&stream(&longest)).unwrap();
        assert!(kept_in.metadata().is_ok());
        assert_eq!(described(kept_in.as_str()), Some(stream(&longest)));
        for bad in [format!("{longest}x"), "$audit".into(), "$snapshot-loan-1".into(), "$$loan-1".into()] {
            assert_eq!(stream_of(&stream(&bad)).unwrap_err().code, Code::InvalidSnapshot, "{bad}");
        }
        assert_eq!(described("loan-1"), None);
    }
}
