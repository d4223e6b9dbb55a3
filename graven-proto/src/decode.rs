//! Answers of reads decoded into the words of the model, without a message in between: the hot path of whoever reads.
//!
//! What comes out is what prost would read and `TryFrom` would make of it; tests hold the two against each other.
//! Payloads share the memory of the message, and names that repeat share theirs.

use crate::fields::{Fields, Value};
use crate::{event, read, wire};
use bytes::Bytes;
use graven_model::{
    Code, Error, FollowStep, Names, NewEvent, Page, Position, Result, Revision, StoredEvent, Timestamp,
};

/// Bytes of the shortest event there can be, with its key: an id and the name of a stream.
const EVENT_BYTES_MIN: usize = 23;

/// `ReadResponse`.
///
/// # Errors
/// [`Code::BadRequest`] if it is not one; otherwise the code of what is malformed.
pub fn page(message: &Bytes, names: &mut Names) -> Result<Page> {
    let mut page =
        Page { events: room_for_events(message), next: None, head: Position(0), last_revision: None };
    let mut next = None;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => page.events.push(stored_event(message, value.bytes()?, names)?),
            2 => start(&mut next, value.bytes()?)?,
            3 => page.head = Position(value.number()?),
            4 => page.last_revision = Some(Revision(value.number()?)),
            _ => {}
        }
    }
    page.next = read::start(Some(wire::Start { kind: next }))?;
    Ok(page)
}

/// `SubscribeResponse`.
///
/// # Errors
/// [`Code::BadRequest`] if it is not one; [`Code::Internal`] if it says nothing; otherwise the code of what is
/// malformed.
pub fn step(message: &Bytes, names: &mut Names) -> Result<FollowStep> {
    let mut step = None;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                let batch = value.bytes()?;
                // Of events that come in two parts, which no server of ours sends, the second goes on with the first.
                let mut events = match step {
                    Some(FollowStep::Events(events)) => events,
                    _ => room_for_events(batch),
                };
                let mut fields = Fields::of(batch);
                while let Some((number, value)) = fields.next()? {
                    if number == 1 {
                        events.push(stored_event(message, value.bytes()?, names)?);
                    }
                }
                step = Some(FollowStep::Events(events));
            }
            2 => step = Some(FollowStep::CaughtUp(Position(value.number()?))),
            3 => step = Some(FollowStep::Checkpoint(Position(value.number()?))),
            _ => {}
        }
    }
    step.ok_or_else(|| Error::new(Code::Internal, "a step of the subscription is empty"))
}

/// A vector for the events of a message that has them as its first field. What it takes is bounded by the message.
fn room_for_events(message: &[u8]) -> Vec<StoredEvent> {
    let mut fields = Fields::of(message);
    let mut count = 0;
    while let Ok(Some((1, Value::Bytes(_)))) = fields.next() {
        count += 1;
    }
    Vec::with_capacity(count.min(message.len() / EVENT_BYTES_MIN))
}

/// `Start`, on top of what was said before.
fn start(kind: &mut Option<wire::start::Kind>, start: &[u8]) -> Result<()> {
    use wire::start::Kind;
    let mut fields = Fields::of(start);
    while let Some((number, value)) = fields.next()? {
        *kind = Some(match number {
            1 => Kind::End(value.number()? as i32),
            2 => Kind::Revision(value.number()?),
            3 => Kind::Position(value.number()?),
            4 => Kind::Time(value.number()?.cast_signed()),
            _ => continue,
        });
    }
    Ok(())
}

/// `StoredEvent`, whose bytes are part of the message's.
fn stored_event(message: &Bytes, event: &[u8], names: &mut Names) -> Result<StoredEvent> {
    let (mut stream, mut id, mut event_type, mut media_type) = ("", &[][..], "", "");
    let (mut data, mut metadata, mut subject) = (&[][..], &[][..], None);
    let (mut position, mut revision, mut committed_at, mut kind) = (0, 0, 0, 0);
    let (mut occurred_at, mut encrypted, mut erased, mut schema) = (None, false, false, None);
    let mut tags = Vec::new();
    let mut fields = Fields::of(event);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => position = value.number()?,
            2 => stream = value.text()?,
            3 => revision = value.number()?,
            4 => committed_at = value.number()?,
            5 => id = value.bytes()?,
            6 => event_type = value.text()?,
            7 => media_type = value.text()?,
            8 => data = value.bytes()?,
            9 => metadata = value.bytes()?,
            10 => tags.push(names.text(value.text()?)),
            11 => occurred_at = Some(value.number()?),
            12 => subject = Some(value.text()?),
            13 => encrypted = value.number()? != 0,
            14 => schema_ref(schema.get_or_insert_default(), value.bytes()?)?,
            15 => kind = value.number()? as i32,
            16 => erased = value.number()? != 0,
            _ => {}
        }
    }
    let time = |micros: u64| Timestamp::from_micros(micros.cast_signed());
    Ok(StoredEvent {
        position: Position(position),
        stream: names.stream(stream)?,
        revision: Revision(revision),
        committed_at: time(committed_at),
        kind: event::kind(kind)?,
        erased,
        event: NewEvent {
            id: event::event_id(id)?,
            event_type: names.text(event_type),
            content_type: event::content_type(media_type),
            data: message.slice_ref(data),
            metadata: message.slice_ref(metadata),
            occurred_at: occurred_at.map(time),
            schema: event::schema_ref(schema)?,
            tags,
            data_subject: subject.map(|subject| names.text(subject)),
            encrypted,
        },
    })
}

/// `SchemaRef`, on top of what was said before.
fn schema_ref(schema: &mut wire::SchemaRef, encoded: &[u8]) -> Result<()> {
    let mut fields = Fields::of(encoded);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => schema.version = value.number()? as u32,
            2 => schema.id = value.number()? as u32,
            3 => schema.check = value.number()? as i32,
            _ => {}
        }
    }
    Ok(())
}
