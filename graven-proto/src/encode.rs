//! Answers of reads encoded from the words of the model, without a message in between: the hot path of every read.
//!
//! What is written is what prost would write for the message of the same name; tests hold the two against each other.

use crate::event::content_type_text;
use bytes::BufMut;
use graven_model::{
    EventRef, FollowStep, Frames, Page, PageEnd, Position, Revision, SchemaRef, Start, StoredEvent,
};
use prost::encoding::{WireType, encoded_len_varint};

/// Bytes a message needs at the most beside the payloads it carries; for reserving room.
const OVERHEAD_BYTES: usize = 96;

/// Room for these events, about.
#[must_use]
pub fn room(events: &[StoredEvent]) -> usize {
    events.iter().map(|event| event.size_bytes() + OVERHEAD_BYTES).sum::<usize>() + OVERHEAD_BYTES
}

/// `ReadResponse`.
pub fn page(out: &mut Vec<u8>, page: &Page) {
    events(out, &page.events);
    page_fields(out, page.next, page.head, page.last_revision);
}

/// `ReadResponse` after its events, each of which [`event`] wrote.
pub fn page_end(out: &mut Vec<u8>, end: &PageEnd) {
    page_fields(out, end.next, end.head, end.last_revision);
}

fn page_fields(out: &mut Vec<u8>, next: Option<Start>, head: Position, last_revision: Option<Revision>) {
    if let Some(next) = next {
        start(out, 2, next);
    }
    number(out, 3, head.0);
    if let Some(revision) = last_revision {
        some_number(out, 4, revision.0);
    }
}

/// `Events`, and the first field of `ReadResponse`.
pub fn events(out: &mut Vec<u8>, events: &[StoredEvent]) {
    for stored in events {
        event(out, &stored.into());
    }
}

/// One of the events of `Events` or of `ReadResponse`, with its key.
pub fn event(out: &mut Vec<u8>, event: &EventRef<'_>) {
    let length = event_length(event);
    out.reserve(length + 8);
    key(out, 1, WireType::LengthDelimited);
    varint(out, length as u64);
    event_fields(out, event);
}

/// `SubscribeResponse`.
pub fn step(out: &mut Vec<u8>, step: &FollowStep) {
    match step {
        FollowStep::Events(batch) => step_events(out, batch),
        FollowStep::CaughtUp(head) => some_number(out, 2, head.0),
        FollowStep::Checkpoint(position) => some_number(out, 3, position.0),
    }
}

fn step_events(out: &mut Vec<u8>, batch: &[StoredEvent]) {
    let length: usize = batch
        .iter()
        .map(|event| {
            let length = event_length(&event.into());
            1 + encoded_len_varint(length as u64) + length
        })
        .sum();
    key(out, 1, WireType::LengthDelimited);
    varint(out, length as u64);
    events(out, batch);
}

/// `ReadFramesResponse` up to where its frames begin: they follow as they are.
pub fn frames_head(out: &mut Vec<u8>, frames: &Frames) {
    number(out, 1, frames.first.0);
    number(out, 2, frames.next.0);
    number(out, 3, frames.head.0);
    if !frames.bytes.is_empty() {
        key(out, 4, WireType::LengthDelimited);
        varint(out, frames.bytes.len() as u64);
    }
}

/// The number and type of a field: one byte, as all fields that come here are numbered up to 15.
fn key(out: &mut Vec<u8>, tag: u32, wire_type: WireType) {
    debug_assert!(tag < 16, "the key takes more than a byte");
    out.push((tag << 3) as u8 | wire_type as u8);
}

/// A number by seven bits a byte, the lowest first. Most are a length or a small number.
#[inline]
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number that is left out when it is 0.
pub(crate) fn number(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        some_number(out, tag, value);
    }
}

pub(crate) fn some_number(out: &mut Vec<u8>, tag: u32, value: u64) {
    key(out, tag, WireType::Varint);
    varint(out, value);
}

/// Bytes that are left out when there are none.
pub(crate) fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    if !value.is_empty() {
        some_bytes(out, tag, value);
    }
}

pub(crate) fn some_bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    key(out, tag, WireType::LengthDelimited);
    varint(out, value.len() as u64);
    out.put_slice(value);
}

pub(crate) fn number_length(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
}

pub(crate) fn bytes_length(length: usize) -> usize {
    if length == 0 { 0 } else { some_bytes_length(length) }
}

pub(crate) fn some_bytes_length(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn start(out: &mut Vec<u8>, tag: u32, start: Start) {
    let (field, value) = match start {
        Start::Start => (1, 0),
        Start::End => (1, 1),
        Start::Revision(revision) => (2, revision.0),
        Start::Position(position) => (3, position.0),
        Start::Time(time) => (4, time.micros() as u64),
    };
    key(out, tag, WireType::LengthDelimited);
    varint(out, 1 + encoded_len_varint(value) as u64);
    some_number(out, field, value);
}

/// A schema with its key; nothing for "no schema".
pub(crate) fn schema_length(schema: SchemaRef) -> usize {
    if schema == SchemaRef::default() { 0 } else { some_bytes_length(schema_fields_length(schema)) }
}

fn schema_fields_length(schema: SchemaRef) -> usize {
    number_length(schema.version.into())
        + number_length(schema.id.into())
        + number_length(schema.check as u64)
}

/// `SchemaRef`, left out for "no schema".
pub(crate) fn schema(out: &mut Vec<u8>, tag: u32, schema: SchemaRef) {
    if schema == SchemaRef::default() {
        return;
    }
    key(out, tag, WireType::LengthDelimited);
    varint(out, schema_fields_length(schema) as u64);
    number(out, 1, schema.version.into());
    number(out, 2, schema.id.into());
    number(out, 3, schema.check as u64);
}

/// All keys of a stored event's fields are one byte, but for the last: its fields are numbered up to 16.
fn event_length(event: &EventRef<'_>) -> usize {
    number_length(event.position.0)
        + bytes_length(event.stream.len())
        + number_length(event.revision.0)
        + number_length(event.committed_at.micros() as u64)
        + some_bytes_length(event.id.0.len())
        + bytes_length(event.event_type.len())
        + bytes_length(content_type_text(event.content_type).len())
        + bytes_length(event.data.len())
        + bytes_length(event.metadata.len())
        + event.tags.iter().map(|tag| some_bytes_length(tag.len())).sum::<usize>()
        + event.occurred_at.map_or(0, |time| 1 + encoded_len_varint(time.micros() as u64))
        + event.data_subject.map_or(0, |subject| some_bytes_length(subject.len()))
        + if event.encrypted { 2 } else { 0 }
        + if event.erased { 3 } else { 0 }
        + schema_length(event.schema)
        + number_length(event.kind as u64)
}

fn event_fields(out: &mut Vec<u8>, event: &EventRef<'_>) {
    number(out, 1, event.position.0);
    bytes(out, 2, event.stream.as_bytes());
    number(out, 3, event.revision.0);
    number(out, 4, event.committed_at.micros() as u64);
    some_bytes(out, 5, &event.id.0);
    bytes(out, 6, event.event_type.as_bytes());
    bytes(out, 7, content_type_text(event.content_type).as_bytes());
    bytes(out, 8, event.data);
    bytes(out, 9, event.metadata);
    for tag in event.tags.iter() {
        some_bytes(out, 10, tag.as_bytes());
    }
    if let Some(time) = event.occurred_at {
        some_number(out, 11, time.micros() as u64);
    }
    if let Some(subject) = event.data_subject {
        some_bytes(out, 12, subject.as_bytes());
    }
    number(out, 13, event.encrypted.into());
    schema(out, 14, event.schema);
    number(out, 15, event.kind as u64);
    if event.erased {
        // The field is numbered 16: its key takes two bytes.
        out.extend_from_slice(&[0x80, 0x01, 1]);
    }
}
