//! Names and numbers: [`Position`], [`Revision`], [`EventId`], [`StreamName`].

use crate::error::{Code, Error, Result};
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Shared text that is cheap to clone: type names, tags and stream names repeat over and over.
pub type Text = Arc<str>;

/// Place of an event in the whole log, dense from 0. Also the leaf index in the Merkle tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// Place of an event in its stream, dense from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision a tombstone carries: the largest signed 64-bit number, as KurrentDB clients expect.
    pub const TOMBSTONE: Revision = Revision(i64::MAX as u64);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }
}

impl Position {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Position {
        Position(self.0.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of an event, chosen by the producer: a UUID. The key of idempotency within a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// Parses the 36-character hyphenated form or 32 hexadecimal digits, in either case.
    ///
    /// # Errors
    /// [`Code::InvalidEventId`] for anything else.
    pub fn parse(text: &str) -> Result<EventId> {
        let bytes = text.as_bytes();
        let invalid = || {
            Error::new(Code::InvalidEventId, format!("event id {:?} is not a UUID", limits::shorten(text)))
                .expected("36 characters as in 0192f0c1-23e4-7abc-8def-0123456789ab")
        };
        let hyphenated = match bytes.len() {
            36 => true,
            32 => false,
            _ => return Err(invalid()),
        };
        let mut out = [0u8; 16];
        let mut at = 0;
        for (index, slot) in out.iter_mut().enumerate() {
            if hyphenated && matches!(index, 4 | 6 | 8 | 10) {
                if bytes.get(at) != Some(&b'-') {
                    return Err(invalid());
                }
                at += 1;
            }
            let high = bytes.get(at).copied().and_then(hex_digit).ok_or_else(invalid)?;
            let low = bytes.get(at + 1).copied().and_then(hex_digit).ok_or_else(invalid)?;
            *slot = high << 4 | low;
            at += 2;
        }
        Ok(EventId(out))
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        f.pad(std::str::from_utf8(&text).expect("hexadecimal digits and hyphens are ASCII"))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        EventId::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A valid stream name: 1 to [`limits::STREAM_NAME_BYTES_MAX`] bytes of UTF-8 without control characters, and not a
/// pseudo stream.
///
/// Names that start with `$` are system streams; `$$name` holds the metadata of `name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StreamName(Text);

impl StreamName {
    /// Checks a name and wraps it.
    ///
    /// # Errors
    /// [`Code::InvalidStreamName`] if it is empty, too long, holds a control character, or is `$all`, `$$` or a
    /// metadata stream of a metadata stream.
    pub fn new(name: impl Into<Text>) -> Result<StreamName> {
        let name = name.into();
        StreamName::check(&name)?;
        Ok(StreamName(name))
    }

    /// Checks a name that nobody keeps.
    ///
    /// # Errors
    /// As [`StreamName::new`].
    pub fn check(name: &str) -> Result<()> {
        let refuse = |what: String| Err(Error::new(Code::InvalidStreamName, what));
        if name.is_empty() {
            return refuse("stream name is empty".into());
        }
        if name.len() > limits::STREAM_NAME_BYTES_MAX {
            return Err(Error::new(Code::InvalidStreamName, "stream name is too long")
                .expected(format!("at most {} bytes", limits::STREAM_NAME_BYTES_MAX))
                .found(format!("{} bytes", name.len())));
        }
        let beyond_ascii = || !name.is_ascii() && name.chars().any(char::is_control);
        if name.bytes().any(|byte| byte.is_ascii_control()) || beyond_ascii() {
            return refuse(format!("stream name {name:?} holds a control character"));
        }
        if name == "$all" || name == "$$" || name.starts_with("$$$$") {
            return refuse(format!("stream name {name:?} is reserved"));
        }
        Ok(())
    }

    /// Checks bytes from outside: UTF-8 first, then as [`StreamName::new`].
    ///
    /// # Errors
    /// [`Code::InvalidStreamName`].
    pub fn from_utf8(bytes: &[u8]) -> Result<StreamName> {
        let name = std::str::from_utf8(bytes).map_err(|error| {
            Error::new(Code::InvalidStreamName, "stream name is not valid UTF-8")
                .found(format!("an invalid byte at offset {}", error.valid_up_to()))
        })?;
        StreamName::new(name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// True for names that start with `$`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// True for `$$name`.
    #[must_use]
    pub fn is_metadata(&self) -> bool {
        self.0.starts_with("$$")
    }

    /// The stream this one holds the metadata of: `name` for `$$name`.
    #[must_use]
    pub fn described(&self) -> Option<StreamName> {
        self.0.strip_prefix("$$").map(|name| StreamName(name.into()))
    }

    /// The stream that holds this one's metadata: `$$name`.
    ///
    /// # Errors
    /// [`Code::InvalidStreamName`] if this already is a metadata stream, or its name is too long to prefix.
    pub fn metadata(&self) -> Result<StreamName> {
        StreamName::new(format!("$${}", self.0))
    }

    /// The category: the text before the first `-`, if there is one.
    #[must_use]
    pub fn category(&self) -> Option<&str> {
        category_of(&self.0)
    }
}

/// Whether the store alone writes the stream of this name: its own records, what it keeps for consumer groups and as snapshots,
/// and the metadata of those streams. They mean something in this log and in no other.
#[must_use]
pub fn is_of_the_store(stream: &str) -> bool {
    let described = stream.strip_prefix("$$").unwrap_or(stream);
    matches!(described, "$audit" | "$groups")
        || ["$group-", crate::snapshot::STREAM_PREFIX].iter().any(|prefix| described.starts_with(prefix))
}

/// The category of a stream name: the text before the first `-`; none without a `-` or for system streams.
#[must_use]
pub fn category_of(stream: &str) -> Option<&str> {
    if stream.starts_with('$') {
        return None;
    }
    stream.split_once('-').map(|(category, _)| category).filter(|category| !category.is_empty())
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for StreamName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        StreamName::new(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_reads_back_what_it_prints() {
        let text = "dbfe5d37-8a38-578b-a901-e862f11b7888";
        assert_eq!(EventId::parse(text).unwrap().to_string(), text);
        assert_eq!(EventId::parse(&text.replace('-', "").to_uppercase()).unwrap().to_string(), text);
    }

    #[test]
    fn an_event_id_that_is_no_uuid_is_refused() {
        for bad in
            ["", "1", "dbfe5d37-8a38-578b-a901-e862f11b788", "dbfe5d37x8a38-578b-a901-e862f11b7888", "é"]
        {
            assert_eq!(EventId::parse(bad).unwrap_err().code, Code::InvalidEventId, "{bad}");
        }
    }

    #[test]
    fn stream_names_that_cannot_be_are_refused() {
        for bad in ["", "$all", "$$", "a\nb", "\u{7f}", "$$$$x", &"x".repeat(1025)] {
            assert_eq!(StreamName::new(bad).unwrap_err().code, Code::InvalidStreamName, "{bad}");
        }
        assert_eq!(StreamName::from_utf8(&[b'a', 0xff]).unwrap_err().code, Code::InvalidStreamName);
    }

    #[test]
    fn the_streams_of_the_store_are_known_by_their_names() {
        for own in ["$audit", "$groups", "$group-mail", "$snapshot-loan-1", "$$$snapshot-loan-1", "$$$audit"]
        {
            assert!(is_of_the_store(own), "{own}");
        }
        for other in ["loan-1", "$$loan-1", "$snapshots", "$group", "$ce-loan", "snapshot-loan-1"] {
            assert!(!is_of_the_store(other), "{other}");
        }
    }

    #[test]
    fn a_category_is_the_text_before_the_first_hyphen() {
        assert_eq!(category_of("loan-1-2"), Some("loan"));
        assert_eq!(category_of("loan"), None);
        assert_eq!(category_of("-x"), None);
        assert_eq!(category_of("$ce-loan"), None);
        assert_eq!(
            StreamName::new("loan-1").unwrap().metadata().unwrap().described().unwrap().as_str(),
            "loan-1"
        );
    }
}
