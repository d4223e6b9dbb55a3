//! Bodies of appends in Graven's own JSON. Payloads become slices of the body: what was sent is what is stored.

use super::preconditions::ExpectedField;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::{
    AppendRequest, Code, Condition, ContentType, Error, EventId, Expected, NewEvent, Position, Query,
    QueryItem, Result, SchemaRef, StreamName, StreamWrite, Text, Timestamp, limits,
};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Body of `POST /v1/streams/{stream}`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SingleBody<'a> {
    expected: Option<ExpectedField>,
    #[serde(borrow)]
    events: Vec<EventBody<'a>>,
    condition: Option<ConditionBody>,
    #[serde(default)]
    unseen: u32,
}

/// Body of `POST /v1/append`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MultiBody<'a> {
    #[serde(borrow, default)]
    streams: Vec<StreamBody<'a>>,
    #[serde(borrow, default)]
    events: Vec<EventBody<'a>>,
    condition: Option<ConditionBody>,
    #[serde(default)]
    unseen: u32,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamBody<'a> {
    #[serde(borrow)]
    stream: TextBody<'a>,
    expected: Option<ExpectedField>,
    #[serde(borrow, default)]
    events: Vec<EventBody<'a>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EventBody<'a> {
    #[serde(borrow)]
    stream: Option<TextBody<'a>>,
    #[serde(borrow)]
    id: Option<TextBody<'a>>,
    #[serde(borrow, rename = "type")]
    event_type: TextBody<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<TextBody<'a>>,
    #[serde(borrow)]
    content_type: Option<TextBody<'a>>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata_base64: Option<TextBody<'a>>,
    #[serde(borrow, default)]
    tags: Vec<TextBody<'a>>,
    #[serde(borrow)]
    time: Option<TextBody<'a>>,
    #[serde(borrow)]
    data_subject: Option<TextBody<'a>>,
}

/// A condition as it stands in a body.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionBody {
    query: QueryBody,
    after: Option<u64>,
}

/// A DCB query as it stands in a body.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryBody {
    items: Vec<QueryItemBody>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryItemBody {
    #[serde(default)]
    types: Vec<Text>,
    #[serde(default)]
    tags: Vec<Text>,
    #[serde(default)]
    all: bool,
}

impl From<QueryBody> for Query {
    fn from(body: QueryBody) -> Query {
        let item = |item: QueryItemBody| QueryItem { types: item.types, tags: item.tags, all: item.all };
        Query { items: body.items.into_iter().map(item).collect() }
    }
}

impl From<ConditionBody> for Condition {
    fn from(body: ConditionBody) -> Condition {
        Condition { query: body.query.into(), after: body.after.map(Position) }
    }
}

/// Text that borrows from the body where it has no escapes.
struct TextBody<'a>(Cow<'a, str>);

impl std::ops::Deref for TextBody<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TextBody<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Read).map(TextBody)
    }
}

/// `"data": null` is a payload, not its absence.
pub(super) fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a JSON body.
///
/// # Errors
/// [`Code::InvalidJson`] with line and column if it is not JSON in UTF-8, [`Code::BadRequest`] if a field is unknown,
/// missing or of the wrong type.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::new(Code::InvalidJson, "the body is not valid UTF-8")
            .found(format!("an invalid byte at offset {}", error.valid_up_to()))
    })?;
    serde_json::from_str(text).map_err(|error| {
        let code = if error.is_data() { Code::BadRequest } else { Code::InvalidJson };
        let what = if error.is_data() { "the body does not fit" } else { "the body is not valid JSON" };
        let position = format!("line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let reason = message.strip_suffix(&format!(" at {position}")).unwrap_or(&message);
        // The reason may quote a field name as long as the body.
        let reason: String = reason.chars().take(300).collect();
        Error::new(code, format!("{what} at {position}: {reason}"))
    })
}

/// The append that a body for one stream asks for, with the expected revision the body names.
///
/// # Errors
/// As [`parse`], and the code of the first event that is wrong, with its index.
pub(super) fn single(
    body: &Bytes,
    stream: StreamName,
    make_id: impl Fn() -> EventId,
) -> Result<(AppendRequest, Option<Expected>)> {
    let parsed: SingleBody<'_> = parse(body)?;
    let expected = parsed.expected.map(|field| field.0);
    let mut builder = Builder::new(body, make_id, parsed.events.len());
    builder.request.streams.push(StreamWrite { stream, expected: expected.unwrap_or_default() });
    for event in parsed.events {
        builder.push(0, event)?;
    }
    Ok((builder.finish(parsed.condition, parsed.unseen), expected))
}

/// The append that a body for several streams asks for.
///
/// # Errors
/// As [`single`], and [`Code::InvalidAppend`] if events stand both in their streams and beside them.
pub(super) fn several(body: &Bytes, make_id: impl Fn() -> EventId) -> Result<AppendRequest> {
    let parsed: MultiBody<'_> = parse(body)?;
    let mut builder = Builder::new(body, make_id, parsed.events.len());
    let mut indexes = HashMap::with_capacity(parsed.streams.len());
    for part in parsed.streams {
        let stream = StreamName::new(&*part.stream)?;
        let index =
            u32::try_from(builder.request.streams.len()).expect("a body names fewer than 2^32 streams");
        if indexes.insert(stream.clone(), index).is_some() {
            return Err(Error::new(
                Code::InvalidAppend,
                format!("stream {:?} is named twice", stream.as_str()),
            ));
        }
        if !part.events.is_empty() && !parsed.events.is_empty() {
            return Err(Error::new(
                Code::InvalidAppend,
                "events stand both in their streams and beside them",
            )
            .expected("one of the two, so that their order is clear"));
        }
        let expected = part.expected.map_or(Expected::Any, |field| field.0);
        builder.request.streams.push(StreamWrite { stream, expected });
        for event in part.events {
            builder.push(index, event)?;
        }
    }
    for mut event in parsed.events {
        let item = builder.request.events.len();
        let Some(name) = event.stream.take() else {
            return Err(at(
                item,
                Error::new(Code::BadRequest, format!("event {item} does not name its stream")),
            ));
        };
        let stream = StreamName::new(&*name).map_err(|error| at(item, error))?;
        let index = match indexes.get(&stream) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(builder.request.streams.len())
                    .expect("a body names fewer than 2^32 streams");
                indexes.insert(stream.clone(), index);
                builder.request.streams.push(StreamWrite { stream, expected: Expected::Any });
                index
            }
        };
        builder.push(index, event)?;
    }
    Ok(builder.finish(parsed.condition, parsed.unseen))
}

struct Builder<'a, F> {
    body: &'a Bytes,
    make_id: F,
    names: Names,
    request: AppendRequest,
}

impl<'a, F: Fn() -> EventId> Builder<'a, F> {
    fn new(body: &'a Bytes, make_id: F, events: usize) -> Self {
        let request = AppendRequest { events: Vec::with_capacity(events), ..AppendRequest::default() };
        Builder { body, make_id, names: Names::default(), request }
    }

    fn push(&mut self, stream: u32, event: EventBody<'_>) -> Result<()> {
        let item = self.request.events.len();
        let event = self.event(event).map_err(|error| at(item, error))?;
        self.request.events.push((stream, event));
        Ok(())
    }

    fn event(&mut self, event: EventBody<'_>) -> Result<NewEvent> {
        if event.stream.is_some() {
            return Err(Error::new(Code::BadRequest, "an event inside a stream names a stream once more"));
        }
        let id = match &event.id {
            Some(text) => EventId::parse(text)?,
            None => (self.make_id)(),
        };
        let given_type = event.content_type.as_deref().map(ContentType::from_text);
        let (content_type, data) = match (event.data, event.data_base64) {
            (Some(raw), None) => {
                let content_type = given_type.unwrap_or_default();
                let data = self.payload(raw, &content_type)?;
                (content_type, data)
            }
            (None, Some(text)) => (given_type.unwrap_or(ContentType::Binary), decode("data_base64", &text)?),
            (None, None) => (given_type.unwrap_or_default(), Bytes::new()),
            (Some(_), Some(_)) => return Err(both("data", "data_base64")),
        };
        let metadata = match (event.metadata, event.metadata_base64) {
            (Some(raw), None) => self.body.slice_ref(raw.get().as_bytes()),
            (None, Some(text)) => decode("metadata_base64", &text)?,
            (None, None) => Bytes::new(),
            (Some(_), Some(_)) => return Err(both("metadata", "metadata_base64")),
        };
        Ok(NewEvent {
            id,
            event_type: self.names.text(&event.event_type),
            content_type,
            data,
            metadata,
            occurred_at: event.time.as_deref().map(Timestamp::parse).transpose()?,
            schema: SchemaRef::default(),
            tags: event.tags.iter().map(|tag| self.names.text(tag)).collect(),
            data_subject: event.data_subject.as_deref().map(Text::from),
            encrypted: false,
        })
    }

    fn payload(&self, raw: &RawValue, content_type: &ContentType) -> Result<Bytes> {
        if content_type.is_json() {
            return Ok(self.body.slice_ref(raw.get().as_bytes()));
        }
        // Text of another media type is a JSON string here, as in CloudEvents.
        match serde_json::from_str::<String>(raw.get()) {
            Ok(text) => Ok(Bytes::from(text)),
            Err(_) => Err(Error::new(
                Code::BadRequest,
                format!("data of content type {:?} is not a string", limits::shorten(content_type.as_str())),
            )
            .expected("a JSON string with the text, or data_base64")),
        }
    }

    fn finish(mut self, condition: Option<ConditionBody>, unseen: u32) -> AppendRequest {
        self.request.condition = condition.map(Condition::from);
        self.request.unseen_max = unseen.min(limits::UNSEEN_EVENTS_MAX);
        self.request
    }
}

/// Names repeat from event to event: the first few are shared.
#[derive(Default)]
struct Names(Vec<Text>);

impl Names {
    const SHARED_MAX: usize = 32;

    fn text(&mut self, name: &str) -> Text {
        if let Some(known) = self.0.iter().find(|known| &***known == name) {
            return known.clone();
        }
        let new = Text::from(name);
        if self.0.len() < Self::SHARED_MAX {
            self.0.push(new.clone());
        }
        new
    }
}

fn decode(field: &str, text: &str) -> Result<Bytes> {
    STANDARD
        .decode(text)
        .map(Bytes::from)
        .map_err(|error| Error::new(Code::BadRequest, format!("{field} is not base64 with padding: {error}")))
}

fn both(one: &str, other: &str) -> Error {
    Error::new(Code::BadRequest, format!("both {one} and {other} are given")).expected("one of them")
}

/// The same error, naming the event by its index.
fn at(item: usize, mut error: Error) -> Error {
    if error.details == Details::None {
        error.details = Details::Item(item as u64);
    }
    error
}

#[cfg(test)]
mod tests;
