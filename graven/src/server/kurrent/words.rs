//! Words of KurrentDB's clients and the store's words for the same.

use super::errors::Refusal;
use bytes::Bytes;
use graven_model::{
    Code, ContentType, ContentTypeRef, Error, EventId, Position, Result, StreamName, Timestamp,
};
use graven_proto::kurrentdb::shared::{AllStreamPosition, StreamIdentifier, Uuid, uuid};

/// Media type of an event that its producer announced as JSON and that is not: told to KurrentDB's clients as they
/// announced it, to everybody else as it is.
const MALFORMED_JSON: &str = "application/x-malformed-json";

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";

/// The stream a message names.
///
/// # Errors
/// [`Code::InvalidStreamName`], also if it names none.
pub(super) fn stream_name(identifier: Option<&StreamIdentifier>) -> Result<StreamName> {
    let named = identifier.ok_or_else(|| Error::new(Code::InvalidStreamName, "no stream is named"))?;
    StreamName::from_utf8(&named.stream_name)
}

/// A stream's name as a message.
pub(super) fn identifier(stream: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: Bytes::copy_from_slice(stream.as_bytes()) }
}

/// The id in a message.
///
/// # Errors
/// [`Code::InvalidEventId`], also if there is none.
pub(super) fn event_id(id: Option<&Uuid>) -> Result<EventId> {
    match id.and_then(|id| id.value.as_ref()) {
        Some(uuid::Value::String(text)) => EventId::parse(text),
        Some(uuid::Value::Structured(halves)) => {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&halves.most_significant_bits.to_be_bytes());
            bytes[8..].copy_from_slice(&halves.least_significant_bits.to_be_bytes());
            Ok(EventId(bytes))
        }
        None => Err(Error::new(Code::InvalidEventId, "there is no id")),
    }
}

/// An id as a message, as text or as its two halves.
pub(super) fn uuid(id: EventId, as_text: bool) -> Uuid {
    let value = if as_text {
        uuid::Value::String(id.to_string())
    } else {
        let half = |from: usize| i64::from_be_bytes(id.0[from..from + 8].try_into().expect("eight bytes"));
        uuid::Value::Structured(uuid::Structured {
            most_significant_bits: half(0),
            least_significant_bits: half(8),
        })
    };
    Uuid { value: Some(value) }
}

/// The media type of an event, by what its producer announced and what it holds. KurrentDB knows two, and takes the
/// producer's word for it.
pub(super) fn content_type(announced: &str, data: &[u8]) -> ContentType {
    match announced {
        JSON if data.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() => {
            ContentType::Json
        }
        JSON => ContentType::Other(MALFORMED_JSON.into()),
        _ => ContentType::Binary,
    }
}

/// The media type KurrentDB's clients are told.
pub(super) fn announced(content_type: ContentTypeRef<'_>) -> &'static str {
    let is_json = content_type.is_json() || content_type.as_str() == MALFORMED_JSON;
    if is_json { JSON } else { BINARY }
}

/// A time in tenths of a microsecond since 1970.
pub(super) fn ticks(time: Timestamp) -> i64 {
    time.micros().saturating_mul(10)
}

/// A place in the log: the store has one number for what KurrentDB counts twice.
pub(super) fn position(position: Position) -> AllStreamPosition {
    AllStreamPosition { commit_position: position.0, prepare_position: position.0 }
}

/// Whether a stream is one of the views made from the indexes, which nobody writes.
pub(super) fn is_view(stream: &StreamName) -> bool {
    is_view_name(stream.as_str())
}

fn is_view_name(name: &str) -> bool {
    name == "$streams" || ["$ce-", "$et-", "$idx-"].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether somebody may write a stream: not a view, and not the metadata of one, which nothing would follow.
pub(super) fn is_writable(stream: &StreamName) -> bool {
    let name = stream.as_str();
    !is_view_name(name) && !name.strip_prefix("$$").is_some_and(is_view_name)
}

/// Refuses to write what [`is_writable`] says is not to be written.
///
/// # Errors
/// "Access Denied".
pub(super) fn check_writable(stream: &StreamName) -> Result<(), Refusal> {
    if is_writable(stream) { Ok(()) } else { Err(Refusal::access_denied()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_as_text_and_as_halves() {
        let id = EventId::parse("dbfe5d37-8a38-578b-a901-e862f11b7888").unwrap();
        for as_text in [true, false] {
            assert_eq!(event_id(Some(&uuid(id, as_text))).unwrap(), id);
        }
        let Some(uuid::Value::Structured(halves)) = uuid(id, false).value else { panic!("halves") };
        assert_eq!(halves.most_significant_bits, 0xdbfe_5d37_8a38_578b_u64 as i64);
        assert_eq!(halves.least_significant_bits, 0xa901_e862_f11b_7888_u64 as i64);
        let broken = Uuid { value: Some(uuid::Value::String("7".to_owned())) };
        for bad in [None, Some(&Uuid { value: None }), Some(&broken)] {
            assert_eq!(event_id(bad).unwrap_err().code, Code::InvalidEventId);
        }
    }

    #[test]
    fn a_stream_without_a_name_is_none() {
        assert_eq!(stream_name(Some(&identifier("größe"))).unwrap().as_str(), "größe");
        let invalid = StreamIdentifier { stream_name: Bytes::from_static(&[0xff]) };
        for bad in [None, Some(&identifier("")), Some(&identifier("$all")), Some(&invalid)] {
            assert_eq!(stream_name(bad).unwrap_err().code, Code::InvalidStreamName);
        }
    }

    #[test]
    fn what_was_announced_as_json_is_told_as_json() {
        for (said, data, stored) in [
            (JSON, "{}", ContentType::Json),
            (JSON, "", ContentType::Json),
            (JSON, "\u{1}", ContentType::Other(MALFORMED_JSON.into())),
            (BINARY, "{}", ContentType::Binary),
        ] {
            let content_type = content_type(said, data.as_bytes());
            assert_eq!(content_type, stored);
            assert_eq!(announced(content_type.borrowed()), said);
        }
        assert_eq!(content_type("text/plain", b"x"), ContentType::Binary);
        assert_eq!(announced(ContentTypeRef::Other("application/vnd.x+json")), JSON);
    }

    #[test]
    fn a_tick_is_a_tenth_of_a_microsecond() {
        assert_eq!(ticks(Timestamp::from_micros(1_317_422_324_546_000)), 13_174_223_245_460_000);
    }

    #[test]
    fn nobody_writes_a_view() {
        for (name, view) in [("$ce-loan", true), ("$et-Opened", true), ("$streams", true), ("$idx-all", true)]
            .into_iter()
            .chain([("loan-1", false), ("$$ce", false), ("$$ce-loan", false), ("$settings", false)])
        {
            let stream = StreamName::new(name).unwrap();
            assert_eq!((is_view(&stream), check_writable(&stream).is_err()), (view, view), "{name}");
        }
    }

    #[test]
    fn nobody_writes_the_metadata_of_a_view() {
        for (name, refused) in [
            ("$$$ce-loan", true),
            ("$$$et-Opened", true),
            ("$$$streams", true),
            ("$$$idx-all", true),
            ("$$loan-1", false),
            ("$$$settings", false),
        ] {
            let stream = StreamName::new(name).unwrap();
            assert_eq!((is_view(&stream), check_writable(&stream).is_err()), (false, refused), "{name}");
        }
    }
}
