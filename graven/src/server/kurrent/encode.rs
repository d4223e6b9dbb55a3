//! Events as KurrentDB's clients read them, written without a message in between: the hot path of every read.
//!
//! What is written is what prost would write for the message of the same name; tests hold the two against each other.

use super::words::{announced, ticks};
use crate::server::grpc::message::PREFIX_BYTES;
use graven_model::{EventId, EventRef, Position, Timestamp};
use prost::encoding::{WireType, encode_varint, encoded_len_varint};

/// Media type of a payload there is nothing left of: no client should take it for JSON.
const ERASED: &str = "application/octet-stream";

/// An event as it stands in a stream or a view: `RecordedEvent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded<'a> {
    /// Identity.
    pub(super) id: EventId,
    /// The stream or view.
    pub(super) stream: &'a str,
    /// Its place there.
    pub(super) revision: u64,
    /// Its place in the log.
    pub(super) position: Position,
    /// When it was committed.
    pub(super) committed_at: Timestamp,
    /// Type name.
    pub(super) event_type: &'a str,
    /// Media type, one of the two that clients know.
    pub(super) content_type: &'static str,
    /// Metadata of its producer.
    pub(super) metadata: &'a [u8],
    /// Payload.
    pub(super) data: &'a [u8],
}

impl<'a> From<&EventRef<'a>> for Recorded<'a> {
    fn from(event: &EventRef<'a>) -> Recorded<'a> {
        Recorded {
            id: event.id,
            stream: event.stream,
            revision: event.revision.0,
            position: event.position,
            committed_at: event.committed_at,
            event_type: event.event_type,
            content_type: if event.erased { ERASED } else { announced(event.content_type) },
            metadata: event.metadata,
            data: event.data,
        }
    }
}

/// What is sent of one event: `ReadEvent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    /// The event, or the target of the link if there still is one.
    pub(super) event: Option<Recorded<'a>>,
    /// The link that led to it.
    pub(super) link: Option<Recorded<'a>>,
    /// The place in the log that is read.
    pub(super) position: Position,
    /// Tries before this one, for consumers of groups.
    pub(super) retries: Option<u32>,
}

impl<'a> Sent<'a> {
    /// An event as it is.
    pub(super) fn plain(event: Recorded<'a>) -> Sent<'a> {
        Sent { event: Some(event), link: None, position: event.position, retries: None }
    }

    /// What a link leads to, if it leads anywhere.
    pub(super) fn resolved(link: Recorded<'a>, event: Option<Recorded<'a>>) -> Sent<'a> {
        Sent { event, link: Some(link), position: link.position, retries: None }
    }
}

/// `ReadResp` with an event, of a read or of a consumer group, behind its prefix. `ids_as_text`: ids are texts and not two
/// halves.
pub(super) fn read_event(out: &mut Vec<u8>, sent: &Sent<'_>, ids_as_text: bool) {
    let lengths = [&sent.event, &sent.link]
        .map(|part| part.as_ref().map_or(0, |recorded| recorded_length(recorded, ids_as_text)));
    let parts: usize = lengths.iter().filter(|length| **length > 0).map(|length| delimited(*length)).sum();
    let retries = sent.retries.map_or(0, |retries| 1 + encoded_len_varint(retries.into()));
    let length = parts + 1 + encoded_len_varint(sent.position.0) + retries;
    let whole = delimited(length);
    out.reserve(PREFIX_BYTES + whole);
    out.push(0);
    out.extend_from_slice(&u32::try_from(whole).expect("an event is bounded far below 4 GiB").to_be_bytes());
    head(out, 1, length);
    for (tag, (part, length)) in (1..).zip([&sent.event, &sent.link].into_iter().zip(lengths)) {
        if let Some(recorded) = part {
            head(out, tag, length);
            put_recorded(out, recorded, ids_as_text);
        }
    }
    some_number(out, 3, sent.position.0);
    if let Some(retries) = sent.retries {
        some_number(out, 5, retries.into());
    }
}

fn recorded_length(event: &Recorded<'_>, ids_as_text: bool) -> usize {
    let text = |text: &str| delimited(text.len());
    let entry = |key: &str, value: usize| delimited(text(key) + delimited(value));
    let bytes = |bytes: &[u8]| if bytes.is_empty() { 0 } else { delimited(bytes.len()) };
    delimited(id_length(event.id, ids_as_text))
        + delimited(text(event.stream))
        + number_length(event.revision)
        + 2 * number_length(event.position.0)
        + entry("type", event.event_type.len())
        + entry("created", Digits::of(event.committed_at).text().len())
        + entry("content-type", event.content_type.len())
        + bytes(event.metadata)
        + bytes(event.data)
}

fn put_recorded(out: &mut Vec<u8>, event: &Recorded<'_>, ids_as_text: bool) {
    head(out, 1, id_length(event.id, ids_as_text));
    put_id(out, event.id, ids_as_text);
    head(out, 2, delimited(event.stream.len()));
    bytes(out, 3, event.stream.as_bytes());
    number(out, 3, event.revision);
    number(out, 4, event.position.0);
    number(out, 5, event.position.0);
    let created = Digits::of(event.committed_at);
    for (key, value) in [
        ("type", event.event_type.as_bytes()),
        ("created", created.text()),
        ("content-type", event.content_type.as_bytes()),
    ] {
        head(out, 6, delimited(key.len()) + delimited(value.len()));
        bytes(out, 1, key.as_bytes());
        bytes(out, 2, value);
    }
    for (tag, value) in [(7, event.metadata), (8, event.data)] {
        if !value.is_empty() {
            bytes(out, tag, value);
        }
    }
}

/// Bytes of an id as text.
const ID_TEXT_BYTES: usize = 36;

fn halves(id: EventId) -> [u64; 2] {
    let (halves, _) = id.0.as_chunks::<8>();
    [u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1])]
}

fn halves_length(id: EventId) -> usize {
    halves(id).map(number_length).iter().sum()
}

fn id_length(id: EventId, as_text: bool) -> usize {
    delimited(if as_text { ID_TEXT_BYTES } else { halves_length(id) })
}

fn put_id(out: &mut Vec<u8>, id: EventId, as_text: bool) {
    if as_text {
        bytes(out, 2, id.to_string().as_bytes());
    } else {
        head(out, 1, halves_length(id));
        let [most, least] = halves(id);
        number(out, 1, most);
        number(out, 2, least);
    }
}

/// A time as clients are told it, in decimal digits.
struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    fn of(time: Timestamp) -> Digits {
        let mut rest = ticks(time).max(0) as u64;
        let mut digits = Digits { bytes: [b'0'; 20], start: 20 };
        loop {
            digits.start -= 1;
            digits.bytes[digits.start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return digits;
            }
        }
    }

    fn text(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Bytes of a field of so many bytes, with its key; all fields that come here are numbered up to 15.
fn delimited(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn number_length(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number) }
}

fn head(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag << 3 | WireType::LengthDelimited as u8);
    encode_varint(length as u64, out);
}

fn bytes(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    head(out, tag, value.len());
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, tag: u8, value: u64) {
    if value != 0 {
        some_number(out, tag, value);
    }
}

fn some_number(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag << 3 | WireType::Varint as u8);
    encode_varint(value, out);
}

#[cfg(test)]
mod tests {
    use super::super::words::{identifier, uuid};
    use super::*;
    use graven_proto::kurrentdb::persistent;
    use graven_proto::kurrentdb::streams::{ReadResp, read_resp};
    use proptest::prelude::*;
    use prost::Message;

    type Parts = ([u8; 16], String, [u64; 2], i64, (String, bool), Vec<u8>, Vec<u8>);

    fn recorded(parts: &Parts) -> Recorded<'_> {
        let (id, stream, [revision, position], time, (event_type, json), metadata, data) = parts;
        Recorded {
            id: EventId(*id),
            stream,
            revision: *revision,
            position: Position(*position),
            committed_at: Timestamp::from_micros(*time),
            event_type,
            content_type: if *json { "application/json" } else { "application/octet-stream" },
            metadata,
            data,
        }
    }

    fn message(event: &Recorded<'_>, as_text: bool) -> read_resp::read_event::RecordedEvent {
        read_resp::read_event::RecordedEvent {
            id: Some(uuid(event.id, as_text)),
            stream_identifier: Some(identifier(event.stream)),
            stream_revision: event.revision,
            prepare_position: event.position.0,
            commit_position: event.position.0,
            metadata: [
                ("type", event.event_type.to_owned()),
                ("created", (event.committed_at.micros() * 10).to_string()),
                ("content-type", event.content_type.to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
            custom_metadata: event.metadata.to_vec().into(),
            data: event.data.to_vec().into(),
        }
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let number = prop_oneof![Just(0), 0..200u64, any::<u64>()];
        (
            prop_oneof![Just([0; 16]), any::<[u8; 16]>()],
            "\\PC{1,40}",
            [number.clone(), number],
            0..2_000_000_000_000_000i64,
            ("\\PC{1,200}", any::<bool>()),
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any::<u8>(), 0..20_000),
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_message(
            event in prop::option::of(parts()),
            link in prop::option::of(parts()),
            position in prop_oneof![Just(0), any::<u64>()],
            as_text: bool,
        ) {
            let (event, link) = (event.as_ref().map(recorded), link.as_ref().map(recorded));
            let sent = Sent { event, link, position: Position(position), retries: None };
            let mut out = vec![7; 3];
            read_event(&mut out, &sent, as_text);
            let whole = &out[3..];
            prop_assert_eq!(whole[0], 0);
            let length = u32::from_be_bytes(whole[1..5].try_into().unwrap());
            prop_assert_eq!(length as usize, whole.len() - 5);
            let wanted = ReadResp {
                content: Some(read_resp::Content::Event(read_resp::ReadEvent {
                    event: event.map(|event| message(&event, as_text)),
                    link: link.map(|link| message(&link, as_text)),
                    position: Some(read_resp::read_event::Position::CommitPosition(position)),
                })),
            };
            prop_assert_eq!(ReadResp::decode(&whole[5..]).unwrap(), wanted.clone());
            prop_assert_eq!(wanted.encoded_len(), whole.len() - 5);
        }

        #[test]
        fn a_consumer_is_told_its_tries(event in parts(), retries in prop_oneof![Just(0), any::<u16>()], as_text: bool) {
            use persistent::read_resp::{Content, read_event::Count};
            let sent = Sent { retries: Some(retries.into()), ..Sent::plain(recorded(&event)) };
            let mut out = Vec::new();
            read_event(&mut out, &sent, as_text);
            let told = persistent::ReadResp::decode(&out[5..]).unwrap();
            let Some(Content::Event(told)) = told.content else { panic!("{told:?}") };
            prop_assert_eq!(told.count, Some(Count::RetryCount(retries.into())));
            prop_assert_eq!(told.event.unwrap().data, event.6);
        }
    }
}
