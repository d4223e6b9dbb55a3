//! Appends and their answers between bytes and the words of the model, without a message in between: the hot path of every
//! append. What is written is what prost would write for the message of the same name, what is read is what prost would
//! read; tests hold the two against each other.

use crate::append::expected;
use crate::encode::{
    bytes, bytes_length, number, number_length, schema, schema_length, some_bytes, some_bytes_length,
    some_number,
};
use crate::event::{self, content_type_text, event_id};
use crate::fields::{Fields, Value};
use crate::{missing, unknown, wire};
use bytes::Bytes;
use graven_model::error::Details;
use graven_model::{
    AppendRequest, Code, Error, Expected, Idempotency, NewEvent, Position, Receipt, Result, Revision,
    StreamName, StreamReceipt, StreamWrite, Timestamp,
};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// `SessionRequest` without its correlation, which [`correlate`] adds.
#[must_use]
pub fn request(append: &AppendRequest) -> Vec<u8> {
    let condition = append.condition.as_ref().map(wire::Condition::from);
    let length = append_length(append, condition.as_ref());
    let mut out = Vec::with_capacity(length + 20);
    begin(&mut out, 1, length);
    for write in &append.streams {
        begin(&mut out, 1, write_length(write));
        bytes(&mut out, 1, write.stream.as_str().as_bytes());
        if let Some((tag, value)) = expected_field(write.expected) {
            begin(&mut out, 2, 1 + encoded_len_varint(value));
            some_number(&mut out, tag, value);
        }
    }
    for (stream, event) in &append.events {
        begin(&mut out, 2, event_length(*stream, event));
        event_fields(&mut out, *stream, event);
    }
    if let Some(condition) = &condition {
        begin(&mut out, 3, condition.encoded_len());
        condition.encode(&mut out).expect("a vector grows");
    }
    number(&mut out, 4, idempotency(append.idempotency));
    number(&mut out, 5, append.unseen_max.into());
    out
}

/// Adds its correlation to a `SessionRequest`.
pub fn correlate(request: &mut Vec<u8>, correlation: u64) {
    number(request, 2, correlation);
}

fn begin(out: &mut Vec<u8>, tag: u32, length: usize) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn append_length(append: &AppendRequest, condition: Option<&wire::Condition>) -> usize {
    let streams = append.streams.iter().map(|write| some_bytes_length(write_length(write)));
    let events = append.events.iter().map(|(stream, event)| some_bytes_length(event_length(*stream, event)));
    streams.sum::<usize>()
        + events.sum::<usize>()
        + condition.map_or(0, |condition| some_bytes_length(condition.encoded_len()))
        + number_length(idempotency(append.idempotency))
        + number_length(append.unseen_max.into())
}

fn idempotency(idempotency: Idempotency) -> u64 {
    match idempotency {
        Idempotency::Whole => 0,
        Idempotency::EachEvent => wire::Idempotency::EachEvent as u64,
    }
}

fn write_length(write: &StreamWrite) -> usize {
    let expected = expected_field(write.expected).map(|(_, value)| 1 + encoded_len_varint(value));
    bytes_length(write.stream.as_str().len()) + expected.map_or(0, some_bytes_length)
}

/// The one field of an `Expected`; [`Expected::Any`] is left out altogether.
fn expected_field(expected: Expected) -> Option<(u32, u64)> {
    match expected {
        Expected::Any => None,
        Expected::NoStream => Some((1, wire::ExpectedState::NoStream as u64)),
        Expected::Exists => Some((1, wire::ExpectedState::Exists as u64)),
        Expected::Deleted => Some((1, wire::ExpectedState::Deleted as u64)),
        Expected::Tombstoned => Some((1, wire::ExpectedState::Tombstoned as u64)),
        Expected::Revision(revision) => Some((2, revision.0)),
    }
}

fn event_length(stream: u32, event: &NewEvent) -> usize {
    let tags: usize = event.tags.iter().map(|tag| some_bytes_length(tag.len())).sum();
    number_length(stream.into())
        + some_bytes_length(event.id.0.len())
        + bytes_length(event.event_type.len())
        + bytes_length(content_type_text(event.content_type.borrowed()).len())
        + bytes_length(event.data.len())
        + bytes_length(event.metadata.len())
        + tags
        + event.occurred_at.map_or(0, |time| 1 + encoded_len_varint(time.micros() as u64))
        + event.data_subject.as_ref().map_or(0, |subject| some_bytes_length(subject.len()))
        + if event.encrypted { 2 } else { 0 }
        + schema_length(event.schema)
}

fn event_fields(out: &mut Vec<u8>, stream: u32, event: &NewEvent) {
    number(out, 1, stream.into());
    some_bytes(out, 2, &event.id.0);
    bytes(out, 3, event.event_type.as_bytes());
    bytes(out, 4, content_type_text(event.content_type.borrowed()).as_bytes());
    bytes(out, 5, &event.data);
    bytes(out, 6, &event.metadata);
    for tag in &event.tags {
        some_bytes(out, 7, tag.as_bytes());
    }
    if let Some(time) = event.occurred_at {
        some_number(out, 8, time.micros() as u64);
    }
    if let Some(subject) = &event.data_subject {
        some_bytes(out, 9, subject.as_bytes());
    }
    number(out, 10, event.encrypted.into());
    schema(out, 11, event.schema);
}

/// `SessionResponse`. The names of the streams stay out of a receipt: the caller has them, in this order.
pub fn answer(out: &mut Vec<u8>, correlation: u64, outcome: &Result<Receipt>) {
    match outcome {
        Ok(receipt) => {
            let streams = receipt.streams.iter().map(|share| some_bytes_length(share_length(share)));
            let length = number_length(receipt.first_position.0)
                + receipt.last_position.map_or(0, |last| 1 + encoded_len_varint(last.0))
                + streams.sum::<usize>()
                + number_length(receipt.committed_at.micros() as u64)
                + number_length(receipt.appended.into())
                + number_length(receipt.duplicates.into());
            begin(out, 1, length);
            number(out, 1, receipt.first_position.0);
            if let Some(last) = receipt.last_position {
                some_number(out, 2, last.0);
            }
            for share in &receipt.streams {
                begin(out, 3, share_length(share));
                if let Some(revision) = share.revision {
                    some_number(out, 2, revision.0);
                }
            }
            number(out, 4, receipt.committed_at.micros() as u64);
            number(out, 5, receipt.appended.into());
            number(out, 6, receipt.duplicates.into());
        }
        Err(error) => {
            let error = wire::Error::from(error);
            begin(out, 2, error.encoded_len());
            error.encode(out).expect("a vector grows");
        }
    }
    number(out, 3, correlation);
}

fn share_length(share: &StreamReceipt) -> usize {
    share.revision.map_or(0, |revision| 1 + encoded_len_varint(revision.0))
}

/// What a [`answer`] says: the correlation of the request and what came of it.
///
/// # Errors
/// [`Code::BadRequest`] for what is no `SessionResponse` or answers nothing.
pub fn read_answer(message: &Bytes) -> Result<(u64, Result<Outcome>)> {
    let mut correlation = 0;
    let mut outcome = None;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => outcome = Some(Ok(Outcome::read(value.bytes()?)?)),
            2 => {
                outcome = Some(Err(part::<wire::Error>(value, "the error")?.into()));
            }
            3 => correlation = value.number()?,
            _ => {}
        }
    }
    Ok((correlation, outcome.ok_or_else(|| missing("the outcome of the append"))?))
}

/// A receipt without the names of its streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    first_position: u64,
    last_position: Option<u64>,
    revisions: Vec<Option<Revision>>,
    committed_at: i64,
    appended: u32,
    duplicates: u32,
}

impl Outcome {
    fn read(message: &[u8]) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut fields = Fields::of(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => outcome.first_position = value.number()?,
                2 => outcome.last_position = Some(value.number()?),
                3 => {
                    let mut share = Fields::of(value.bytes()?);
                    let mut revision = None;
                    while let Some((number, value)) = share.next()? {
                        if number == 2 {
                            revision = Some(Revision(value.number()?));
                        }
                    }
                    outcome.revisions.push(revision);
                }
                4 => outcome.committed_at = value.number()?.cast_signed(),
                5 => outcome.appended = value.number()? as u32,
                6 => outcome.duplicates = value.number()? as u32,
                _ => {}
            }
        }
        Ok(outcome)
    }

    /// The receipt of this append.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it is about another number of streams.
    pub fn receipt(self, append: &AppendRequest) -> Result<Receipt> {
        if self.revisions.len() != append.streams.len() {
            return Err(missing("the revision of a stream"));
        }
        let streams = append.streams.iter().zip(self.revisions);
        Ok(Receipt {
            first_position: Position(self.first_position),
            last_position: self.last_position.map(Position),
            streams: streams
                .map(|(write, revision)| StreamReceipt { stream: write.stream.clone(), revision })
                .collect(),
            committed_at: Timestamp::from_micros(self.committed_at),
            appended: self.appended,
            duplicates: self.duplicates,
        })
    }
}

/// What a `SessionRequest` says: its correlation, as far as it can be read, and the append.
pub fn read_request(message: &Bytes) -> (u64, Result<AppendRequest>) {
    let mut correlation = 0;
    let append = (|| {
        let mut append = None;
        let mut fields = Fields::of(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => append = Some(value.bytes()?),
                2 => correlation = value.number()?,
                _ => {}
            }
        }
        read_append_in(message, append.unwrap_or_default(), Asked::InSession)
    })();
    (correlation, append)
}

/// What an `AppendRequest` says.
///
/// # Errors
/// [`Code::BadRequest`] for what is none; [`Code::InvalidStreamName`];
/// [`Code::InvalidEventId`] with the index of the event. All other bounds are the store's to check.
pub fn read_append(message: &Bytes) -> Result<AppendRequest> {
    read_append_in(message, message, Asked::Alone)
}

/// Whether an `AppendRequest` asks for a proof. Looks at nothing else.
///
/// # Errors
/// [`Code::BadRequest`] for what is none.
pub fn asks_for_proof(message: &[u8]) -> Result<bool> {
    let mut asked = false;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 6 {
            asked = value.number()? != 0;
        }
    }
    Ok(asked)
}

/// How an append came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Alone,
    /// Where answers come one after the other, and none waits for a signature.
    InSession,
}

/// `message` is a part of `all`, whose memory the payloads share.
fn read_append_in(all: &Bytes, message: &[u8], asked: Asked) -> Result<AppendRequest> {
    let mut append = AppendRequest::default();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => append.streams.push(read_write(value.bytes()?)?),
            2 => {
                let item = append.events.len() as u64;
                let event = read_event(all, value.bytes()?);
                append.events.push(event.map_err(|error| error.with(Details::Item(item)))?);
            }
            3 => {
                let condition: wire::Condition = part(value, "the condition")?;
                append.condition = Some(condition.try_into()?);
            }
            4 => {
                append.idempotency = match value.number()? {
                    0 => Idempotency::Whole,
                    1 => Idempotency::EachEvent,
                    other => return Err(unknown("idempotency", other as i32)),
                }
            }
            5 => append.unseen_max = value.number()? as u32,
            6 if asked == Asked::InSession && value.number()? != 0 => {
                return Err(Error::new(Code::BadRequest, "a session gives no proofs")
                    .expected("an append that asks for none, or the call Append"));
            }
            _ => {}
        }
    }
    Ok(append)
}

fn read_write(message: &[u8]) -> Result<StreamWrite> {
    let (mut stream, mut demanded) = ("", None);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => stream = value.text()?,
            2 => {
                let mut kind = None;
                let mut fields = Fields::of(value.bytes()?);
                while let Some((number, value)) = fields.next()? {
                    match number {
                        1 => kind = Some(wire::expected::Kind::State(value.number()? as i32)),
                        2 => kind = Some(wire::expected::Kind::Revision(value.number()?)),
                        _ => {}
                    }
                }
                demanded = Some(wire::Expected { kind });
            }
            _ => {}
        }
    }
    Ok(StreamWrite { stream: StreamName::new(stream)?, expected: expected(demanded)? })
}

/// An event and the index of its stream.
fn read_event(all: &Bytes, message: &[u8]) -> Result<(u32, NewEvent)> {
    let (mut stream, mut id, mut event_type, mut content_type) = (0, &[][..], "", "");
    let (mut data, mut metadata, mut tags) = (Bytes::new(), Bytes::new(), Vec::new());
    let (mut occurred_at, mut data_subject, mut encrypted, mut schema) = (None, None, false, None);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => stream = value.number()? as u32,
            2 => id = value.bytes()?,
            3 => event_type = value.text()?,
            4 => content_type = value.text()?,
            5 => data = payload(all, value)?,
            6 => metadata = payload(all, value)?,
            7 => tags.push(value.text()?.into()),
            8 => occurred_at = Some(Timestamp::from_micros(value.number()?.cast_signed())),
            9 => data_subject = Some(value.text()?.into()),
            10 => encrypted = value.number()? != 0,
            11 => schema = Some(part(value, "the schema")?),
            _ => {}
        }
    }
    let event = NewEvent {
        id: event_id(id)?,
        event_type: event_type.into(),
        content_type: event::content_type(content_type),
        data,
        metadata,
        occurred_at,
        schema: event::schema_ref(schema)?,
        tags,
        data_subject,
        encrypted,
    };
    Ok((stream, event))
}

/// A part that is rare enough to be left to prost.
fn part<M: Message + Default>(value: Value<'_>, what: &str) -> Result<M> {
    M::decode(value.bytes()?).map_err(|_| Error::new(Code::BadRequest, format!("{what} does not decode")))
}

fn payload(all: &Bytes, value: Value<'_>) -> Result<Bytes> {
    Ok(all.slice_ref(value.bytes()?))
}
