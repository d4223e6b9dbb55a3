//! CloudEvents 1.0 (JSON format) to and from Graven's events.
//!
//! | CloudEvents attribute | here |
//! | --- | --- |
//! | `subject` | the stream |
//! | `id` | the event id, if it is a UUID; else a UUIDv8 made of `source` and `id` (see [`derived_id`]) |
//! | `type` | the event type |
//! | `time` | `occurred_at`, RFC 3339, to the microsecond |
//! | `datacontenttype` | the content type; `application/json` when absent |
//! | `data` | the payload, byte for byte; see below |
//! | `data_base64` | the payload |
//! | `source`, `dataschema`, extension attributes | `{"ce":{…}}` at the head of the metadata |
//! | `specversion` | always `1.0` |
//!
//! Only what the event does not say elsewhere is kept under `ce`: an event with nothing special has the metadata
//! `{"ce":{"source":"urn:loan"}}`. An `id` is kept there if it is not the event id as we print it; a `time` only if it
//! names an offset or says more than microseconds do. A `null` attribute is an absent one.
//!
//! The payload of a JSON content type is the raw text of `data`, not parsed and printed again; `"data":null` is the
//! JSON text `null`. With any other content type `data` must be a string, and its characters in UTF-8 are the payload.
//! An event without `data` has an empty payload.
//!
//! [`write()`] is the inverse: what it writes, [`parse`] reads back to the same id, payload, metadata, time, tags, data
//! subject and schema, whichever way the event came in. What CloudEvents has no word for travels in these extension
//! attributes; other names that begin with `graven` are refused.
//!
//! | extension | value |
//! | --- | --- |
//! | `graventags` | tags, separated by commas; or a JSON array as text |
//! | `gravensubject` | the data subject |
//! | `gravenschema` | `version/id/check`, as in `2/17/ok` |
//! | `gravenencrypted` | `true` |
//! | `gravenmetadata` | metadata beside `ce`, as text |
//! | `gravenmetadatab64` | the same where it is not UTF-8 |
//! | `graventime` | `occurred_at` in microseconds, for years RFC 3339 cannot say |
//! | `gravenkind` | a record that is no plain event (a tombstone); not accepted back |
//! | `gravenerased` | `true`: the payload was erased; not accepted back |

mod attributes;
mod intern;
mod kept;
mod parse;
mod rfc3339;
mod write;

use crate::error::{Code, Details, Error, Result};
use crate::event::NewEvent;
use crate::ids::{EventId, StreamName};
use crate::limits;
use bytes::Bytes;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use intern::Interner;
pub use write::write;

/// An event with the stream it is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Where to append it.
    pub stream: StreamName,
    /// The event.
    pub event: NewEvent,
}

/// The `source` of events that came in another way. As a `source` that comes in it is not kept.
pub const DEFAULT_SOURCE: &str = "urn:graven";

/// Reads one CloudEvent, a JSON object. Payloads are slices of `line` wherever its bytes are the payload's.
///
/// # Errors
/// [`Code::InvalidJson`] if it is not JSON, [`Code::InvalidCloudEvent`] naming the attribute that is wrong.
pub fn parse(line: &Bytes, interner: &mut Interner) -> Result<Incoming> {
    parse::event(line, text_of(line)?, None, interner)
}

/// [`parse`] where the request names the stream: `subject` may be absent, or is the same.
///
/// # Errors
/// As [`parse`], and [`Code::InvalidCloudEvent`] if `subject` is another stream.
pub fn parse_with_default_stream(
    line: &Bytes,
    stream: &StreamName,
    interner: &mut Interner,
) -> Result<Incoming> {
    parse::event(line, text_of(line)?, Some(stream), interner)
}

/// Reads a JSON array of CloudEvents, each as [`parse`] or, given a stream, [`parse_with_default_stream`].
///
/// # Errors
/// As those, with [`Details::Item`] saying which event is wrong. [`Code::AppendTooLarge`] if there are more events
/// than one append takes.
pub fn parse_batch(
    body: &Bytes,
    stream: Option<&StreamName>,
    interner: &mut Interner,
) -> Result<Vec<Incoming>> {
    let mut json = serde_json::Deserializer::from_str(text_of(body)?);
    let items = (&mut json).deserialize_seq(Items).and_then(|items| json.end().map(|()| items));
    let items = items.map_err(|error| invalid(&error, "a batch is a JSON array of CloudEvents"))?;
    if items.len() > limits::APPEND_EVENTS_MAX {
        return Err(Error::new(Code::AppendTooLarge, "the batch has too many events")
            .expected(format!("at most {} events", limits::APPEND_EVENTS_MAX)));
    }
    let event = |(index, item): (usize, &RawValue)| {
        parse::event(body, item.get(), stream, interner)
            .map_err(|error| error.with(Details::Item(index as u64)))
    };
    items.into_iter().enumerate().map(event).collect()
}

/// The items of an array, at most one more than an append takes.
struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of CloudEvents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> std::result::Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            if items.len() <= limits::APPEND_EVENTS_MAX {
                items.push(item);
            }
        }
        Ok(items)
    }
}

fn text_of(bytes: &Bytes) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        Error::new(Code::InvalidJson, "the JSON text is not valid UTF-8")
            .found(format!("an invalid byte at offset {}", error.valid_up_to()))
    })
}

fn invalid(error: &serde_json::Error, shape: &str) -> Error {
    if error.is_data() {
        Error::new(Code::InvalidCloudEvent, shape)
    } else {
        Error::new(Code::InvalidJson, format!("the JSON text is malformed: {error}"))
    }
}

fn wrong(attribute: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidCloudEvent, format!("attribute {:?} {what}", limits::shorten(attribute)))
}

/// The event id of a CloudEvent whose `id` is not a UUID: a UUIDv8 (RFC 9562) of
/// `SHA-256("graven/cloudevent-id/v1" ‖ u64 length of source ‖ source ‖ id)`, so that a retry is recognised.
#[must_use]
pub fn derived_id(source: &str, id: &str) -> EventId {
    let hash = Sha256::new()
        .chain_update(b"graven/cloudevent-id/v1")
        .chain_update((source.len() as u64).to_be_bytes())
        .chain_update(source)
        .chain_update(id)
        .finalize();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    EventId(uuid)
}

#[cfg(test)]
mod tests;
