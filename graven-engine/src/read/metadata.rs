//! Stream metadata: the JSON object in a `$$` stream's last event.

use bytes::Bytes;
use graven_model::{Code, Error, Result, Revision};
use serde_json::{Map, Value};

/// `$tb` of a deleted stream.
const DELETED: u64 = i64::MAX as u64;

/// The keys the store itself looks at. All others, `$acl` and `$cacheControl` among them, are kept for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StreamMetadata {
    /// `$maxCount`: only the last so many events are visible.
    pub(crate) max_count: Option<u64>,
    /// `$maxAge` in seconds: older events are not visible.
    pub(crate) max_age_s: Option<u64>,
    /// `$tb`: events below this revision are not visible.
    pub(crate) truncate_before: Option<u64>,
}

impl StreamMetadata {
    /// Reads the object.
    ///
    /// # Errors
    /// [`Code::InvalidMetadata`] if it is not a JSON object, or a key the store knows has the wrong type.
    pub(crate) fn parse(json: &[u8]) -> Result<StreamMetadata> {
        let object = object(json)?;
        let number = |key: &str, min: u64| match object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().filter(|number| (min..=DELETED).contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(invalid(format!("{key} is not valid"))
                    .expected(format!("a whole number from {min}"))
                    .found(value.to_string())),
            },
        };
        if let Some(acl) = object.get("$acl")
            && !(acl.is_object() || acl.is_null())
        {
            return Err(invalid("$acl is not valid".into()).expected("an object").found(acl.to_string()));
        }
        Ok(StreamMetadata {
            max_count: number("$maxCount", 1)?,
            max_age_s: number("$maxAge", 1)?,
            truncate_before: number("$tb", 0)?,
        })
    }

    /// True if the stream is deleted and may be reopened.
    pub(crate) fn is_deleted(&self) -> bool {
        self.truncate_before == Some(DELETED)
    }

    /// The object that deletes a stream.
    pub(crate) fn deleted() -> Bytes {
        Bytes::from(format!("{{\"$tb\":{DELETED}}}"))
    }

    /// The object that hides everything below a revision and says nothing else.
    pub(crate) fn truncated_before(revision: Revision) -> Bytes {
        Bytes::from(format!("{{\"$tb\":{revision}}}"))
    }

    /// The object of a deleted stream that is reopened: `$tb` hides what was deleted, other keys stay as they are.
    ///
    /// # Errors
    /// As [`StreamMetadata::parse`].
    pub(crate) fn reopened(json: &[u8], before: Revision) -> Result<Bytes> {
        let mut object = object(json)?;
        object.insert("$tb".into(), before.0.into());
        text(&object)
    }

    /// The same object with `$tb` raised to a revision; other keys stay as they are.
    ///
    /// # Errors
    /// As [`StreamMetadata::parse`].
    pub(crate) fn with_truncation(&self, json: &[u8], revision: Revision) -> Result<Bytes> {
        let mut object = object(json)?;
        let before = self.truncate_before.unwrap_or_default().max(revision.0);
        object.insert("$tb".into(), before.into());
        text(&object)
    }

    /// First revision a read shows, by count and truncation, of a stream whose last revision is `last`.
    pub(crate) fn first_visible(&self, last: u64) -> u64 {
        let by_count = self.max_count.map_or(0, |count| (last + 1).saturating_sub(count));
        by_count.max(self.truncate_before.unwrap_or(0))
    }

    /// Events committed before this are not visible, given the time now; both in microseconds.
    pub(crate) fn oldest_visible(&self, now: i64) -> Option<i64> {
        let age = i64::try_from(self.max_age_s?).ok()?.checked_mul(1_000_000)?;
        now.checked_sub(age)
    }
}

fn object(json: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(invalid("stream metadata is not an object".into())
            .expected("a JSON object")
            .found(other.to_string())),
        Err(error) => Err(invalid(format!("stream metadata is not JSON: {error}")).expected("a JSON object")),
    }
}

fn text(object: &Map<String, Value>) -> Result<Bytes> {
    serde_json::to_vec(object)
        .map(Bytes::from)
        .map_err(|error| Error::new(Code::Internal, format!("metadata cannot be written: {error}")))
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidMetadata, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_window_is_the_narrower_of_count_and_truncation() {
        let both = StreamMetadata::parse(br#"{"$maxCount":3,"$tb":5,"own":true}"#).unwrap();
        assert_eq!(both.first_visible(4), 5);
        assert_eq!(both.first_visible(20), 18);
        assert!(!both.is_deleted());
        assert!(StreamMetadata::parse(&StreamMetadata::deleted()).unwrap().is_deleted());
    }

    #[test]
    fn reopening_keeps_other_keys() {
        let json = br#"{"$acl":{"$r":"ops"},"$maxCount":3}"#;
        let metadata = StreamMetadata::parse(json).unwrap();
        let raised = metadata.with_truncation(json, Revision(9)).unwrap();
        assert_eq!(&raised[..], br#"{"$acl":{"$r":"ops"},"$maxCount":3,"$tb":9}"#);
    }

    #[test]
    fn metadata_that_cannot_be_is_refused() {
        for bad in
            [&b"[]"[..], b"{", b"{\"$maxCount\":0}", b"{\"$maxAge\":-1}", b"{\"$tb\":\"1\"}", b"{\"$acl\":1}"]
        {
            assert_eq!(StreamMetadata::parse(bad).unwrap_err().code, Code::InvalidMetadata);
        }
    }
}
