//! The caller's share of an append: limits, and the hashing that needs no position.

use super::facts::{Audit, Source};
use crate::audit::{SEAL_OVERHEAD, SubjectKeys, seal_event};
use crate::env::Entropy;
use foldhash::{HashSet, HashSetExt};
use graven_model::error::Details;
use graven_model::event::{ContentType, Kind, NewEvent};
use graven_model::{AppendRequest, Code, Error, Expected, Idempotency, Receipt, Result};
use graven_model::{ids, limits};
use graven_proof::{Hash, leaf};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Type of the event that ends a stream for ever.
pub(crate) const TOMBSTONE_TYPE: &str = "$streamDeleted";
/// Type of the events of `$$` streams.
pub(crate) const METADATA_TYPE: &str = "$metadata";
/// The stream of the store's own control records.
pub(crate) const AUDIT_STREAM: &str = "$audit";

/// What an append is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Operation {
    /// Events.
    #[default]
    Append,
    /// The first stream is checked and must exist; the metadata that follows hides it.
    Delete,
    /// The first stream gets its tombstone.
    Tombstone,
    /// Events of the store's own, in streams that it alone writes.
    Own,
    /// The store's own record of this kind.
    Control(Kind),
}

/// What was computed for an event before its position is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hashed {
    pub(crate) data_seed: [u8; 16],
    pub(crate) metadata_seed: [u8; 16],
    pub(crate) data: Hash,
    pub(crate) metadata: Hash,
    /// Data and metadata are ciphertext under the data subject's key.
    pub(crate) sealed: bool,
}

/// An append that is within all limits, hashed, and waits for the writer.
pub(crate) struct Prepared {
    pub(crate) operation: Operation,
    pub(crate) source: Source,
    /// Upper bound of the bytes of its frame.
    pub(crate) frame_bytes_max: usize,
    pub(crate) reply: oneshot::Sender<Result<Receipt>>,
}

impl Prepared {
    /// Whether it begins a segment: a record of what is destroyed, so that everything it means stands in segments that
    /// nobody writes to any more.
    pub(crate) fn begins_segment(&self) -> bool {
        matches!(self.source.kind, Kind::Erasure | Kind::Retention)
    }

    /// Tells its caller that it was refused.
    pub(crate) fn refuse(self, error: &Error) {
        let _ = self.reply.send(Err(error.clone()));
    }
}

/// Checks an append against every limit, drops duplicate tags, seals the payloads of data subjects with `sealer`'s keys, and
/// hashes what will be stored.
///
/// # Errors
/// The code of the limit that is exceeded; what keeps a data subject from getting a key. Nothing was queued.
pub(crate) fn prepare(
    operation: Operation,
    mut request: AppendRequest,
    audit: Audit,
    sealer: Option<&SubjectKeys>,
    entropy: &Mutex<Entropy>,
    reply: oneshot::Sender<Result<Receipt>>,
) -> Result<Prepared> {
    check_shape(operation, &request)?;
    let mut frame_bytes_max = crate::log::frame::HEADER_BYTES;
    for (index, (stream, event)) in request.events.iter_mut().enumerate() {
        let stream = &request.streams[*stream as usize].stream;
        if event.tags.len() > 1 {
            drop_duplicates(&mut event.tags);
        }
        check_event(operation, stream.is_metadata(), event)
            .map_err(|error| error.with(Details::Item(index as u64)))?;
        frame_bytes_max += crate::log::frame::record_bytes_max(stream.as_str(), event);
    }
    // Reopening a deleted stream adds a metadata event to the frame.
    frame_bytes_max += request.streams.iter().map(|write| 512 + write.stream.as_str().len()).sum::<usize>();
    if frame_bytes_max > limits::APPEND_BYTES_MAX {
        return Err(Error::new(Code::AppendTooLarge, "the append is too large")
            .expected(format!("at most {} bytes as stored", limits::APPEND_BYTES_MAX))
            .found(format!("about {frame_bytes_max} bytes")));
    }
    let kind = match operation {
        Operation::Append | Operation::Delete | Operation::Own => Kind::Event,
        Operation::Tombstone => Kind::Tombstone,
        Operation::Control(kind) => kind,
    };
    let sealed = match sealer {
        Some(keys) if matches!(operation, Operation::Append | Operation::Own) => {
            seal(&mut request, keys, entropy)?
        }
        _ => Vec::new(),
    };
    frame_bytes_max += sealed.iter().filter(|sealed| **sealed).count() * 2 * SEAL_OVERHEAD;
    // A control record says what it says in clear: there is nothing to commit to.
    let mut hashed = if audit.is_on() && !kind.is_control() {
        let mut hashed = draw_seeds(&request, &mut entropy.lock());
        hash(&request, &mut hashed);
        hashed
    } else {
        vec![Hashed::default(); request.events.len()]
    };
    for (hashed, sealed) in hashed.iter_mut().zip(sealed) {
        hashed.sealed = sealed;
    }
    Ok(Prepared {
        operation,
        source: Source { request, kind, hashed, generation: 0, slots: Vec::new() },
        frame_bytes_max,
        reply,
    })
}

fn check_shape(operation: Operation, request: &AppendRequest) -> Result<()> {
    let invalid = |what: &str| Err(Error::new(Code::InvalidAppend, what.to_owned()));
    if request.streams.is_empty() && request.condition.is_none() {
        return invalid("the append names no stream");
    }
    if request.streams.len() > limits::APPEND_STREAMS_MAX || request.events.len() > limits::APPEND_EVENTS_MAX
    {
        return Err(Error::new(Code::AppendTooLarge, "the append names too many streams or events")
            .expected(format!(
                "at most {} streams and {} events",
                limits::APPEND_STREAMS_MAX,
                limits::APPEND_EVENTS_MAX
            ))
            .found(format!("{} streams and {} events", request.streams.len(), request.events.len())));
    }
    let mut seen = HashSet::with_capacity(if request.streams.len() > 1 { request.streams.len() } else { 0 });
    for write in &request.streams {
        if request.streams.len() > 1 && !seen.insert(write.stream.as_str()) {
            return invalid(&format!("the append names stream {:?} twice", write.stream.as_str()));
        }
        if ids::is_of_the_store(write.stream.as_str())
            && !matches!(operation, Operation::Control(_) | Operation::Own)
        {
            return Err(Error::new(
                Code::InvalidStreamName,
                format!("stream {:?} is written by the store alone", limits::shorten(write.stream.as_str())),
            ));
        }
        if operation == Operation::Tombstone && write.stream.is_metadata() {
            return Err(Error::new(Code::InvalidStreamName, "a metadata stream cannot be tombstoned"));
        }
        if request.idempotency == Idempotency::EachEvent && write.expected != Expected::Any {
            return invalid("an append whose events stand for themselves takes no expected revision");
        }
    }
    if request.events.iter().any(|(stream, _)| *stream as usize >= request.streams.len()) {
        return invalid("an event names a stream the append does not list");
    }
    if let Some(condition) = &request.condition {
        crate::read::select::check_query(&condition.query)?;
    }
    Ok(())
}

fn check_event(operation: Operation, metadata_stream: bool, event: &NewEvent) -> Result<()> {
    let event_type: &str = &event.event_type;
    let bounded =
        |text: &str, max: usize| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    if !bounded(event_type, limits::EVENT_TYPE_BYTES_MAX) {
        return Err(Error::new(
            Code::InvalidEventType,
            format!("event type {:?} is not valid", limits::shorten(event_type)),
        )
        .expected(format!("1 to {} bytes without control characters", limits::EVENT_TYPE_BYTES_MAX)));
    }
    if matches!(operation, Operation::Control(_)) && event.data.len() > leaf::BODY_BYTES_MAX {
        return Err(Error::new(Code::EventTooLarge, "what a control record says is too long")
            .expected(format!("at most {} bytes", leaf::BODY_BYTES_MAX))
            .found(format!("{} bytes", event.data.len())));
    }
    if operation != Operation::Tombstone && event_type == TOMBSTONE_TYPE {
        return Err(Error::new(
            Code::InvalidEventType,
            "event type \"$streamDeleted\" is written by the store alone",
        ));
    }
    let size = event.data.len() + event.metadata.len();
    if size > limits::EVENT_BYTES_MAX {
        return Err(Error::new(Code::EventTooLarge, format!("event {} is too large", event.id))
            .expected(format!("at most {} bytes of data and metadata", limits::EVENT_BYTES_MAX))
            .found(format!("{size} bytes")));
    }
    if let ContentType::Other(text) = &event.content_type
        && (text.is_empty()
            || text.len() > limits::CONTENT_TYPE_BYTES_MAX
            || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
    {
        return Err(Error::new(
            Code::InvalidContentType,
            format!("content type {:?} is not valid", limits::shorten(text)),
        )
        .expected(format!("1 to {} visible ASCII characters", limits::CONTENT_TYPE_BYTES_MAX)));
    }
    if event.tags.len() > limits::TAGS_MAX {
        return Err(Error::new(Code::InvalidTag, format!("event {} has too many tags", event.id))
            .expected(format!("at most {}", limits::TAGS_MAX))
            .found(event.tags.len().to_string()));
    }
    for tag in &event.tags {
        if !bounded(tag, limits::TAG_BYTES_MAX) || tag.starts_with('$') && operation != Operation::Own {
            return Err(Error::new(Code::InvalidTag, format!("tag {:?} is not valid", limits::shorten(tag)))
                .expected(format!(
                    "1 to {} bytes without control characters that do not start with '$'",
                    limits::TAG_BYTES_MAX
                )));
        }
    }
    if let Some(subject) = &event.data_subject
        && !bounded(subject, limits::DATA_SUBJECT_BYTES_MAX)
    {
        return Err(Error::new(Code::InvalidDataSubject, "the data subject is not valid")
            .expected(format!("1 to {} bytes without control characters", limits::DATA_SUBJECT_BYTES_MAX)));
    }
    if event.content_type.is_json() && !event.encrypted && !event.data.is_empty() {
        check_json(&event.data).map_err(|what| {
            Error::new(Code::InvalidJson, format!("the data of event {}: {what}", event.id))
        })?;
    }
    if metadata_stream {
        if event_type != METADATA_TYPE {
            return Err(Error::new(
                Code::InvalidEventType,
                "a metadata stream takes only \"$metadata\" events",
            )
            .found(format!("{event_type:?}")));
        }
        if event.data_subject.is_some() {
            return Err(Error::new(Code::InvalidDataSubject, "what describes a stream is about no person")
                .expected("a metadata event without data subject")
                .found(format!("event {}", event.id)));
        }
        crate::read::metadata::StreamMetadata::parse(&event.data)?;
    }
    Ok(())
}

fn check_json(data: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<serde::de::IgnoredAny>(data).map(|_| ()).map_err(|error| error.to_string())
}

fn drop_duplicates(tags: &mut Vec<graven_model::Text>) {
    let mut kept = 0;
    for at in 0..tags.len() {
        if !tags[..kept].contains(&tags[at]) {
            tags.swap(kept, at);
            kept += 1;
        }
    }
    tags.truncate(kept);
}

/// Puts data and metadata of every event with a data subject into an envelope under the subject's key, and answers with which
/// events those are; with nothing if there are none. What describes a stream stays readable.
fn seal(request: &mut AppendRequest, keys: &SubjectKeys, entropy: &Mutex<Entropy>) -> Result<Vec<bool>> {
    let AppendRequest { streams, events, .. } = request;
    let about_somebody = |stream: u32, event: &NewEvent| {
        event.data_subject.is_some() && !streams[stream as usize].stream.is_metadata()
    };
    let sealed: Vec<bool> = events.iter().map(|(stream, event)| about_somebody(*stream, event)).collect();
    let count = sealed.iter().filter(|sealed| **sealed).count();
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut nonces = Vec::with_capacity(2 * count);
    {
        let mut entropy = entropy.lock();
        nonces.resize_with(2 * count, || entropy.bytes());
    }
    let chosen = || events.iter().zip(&sealed).filter(|(_, sealed)| **sealed).map(|((_, event), _)| event);
    let subjects: Vec<&str> = chosen().filter_map(|event| event.data_subject.as_deref()).collect();
    let keys = keys.get_or_create(&subjects)?;
    let mut nonces = nonces.into_iter();
    let chosen = events.iter_mut().zip(&sealed).filter(|(_, sealed)| **sealed).map(|((_, event), _)| event);
    for (event, key) in chosen.zip(&keys) {
        seal_event(event, key, || nonces.next().expect("two were drawn for each event"));
    }
    Ok(sealed)
}

/// Random seeds for the commitments of a request's events.
pub(crate) fn draw_seeds(request: &AppendRequest, entropy: &mut Entropy) -> Vec<Hashed> {
    request
        .events
        .iter()
        .map(|(_, event)| Hashed {
            data_seed: entropy.bytes(),
            metadata_seed: if event.metadata.is_empty() { [0; 16] } else { entropy.bytes() },
            data: [0; 32],
            metadata: [0; 32],
            sealed: false,
        })
        .collect()
}

/// Fills in the commitments.
pub(crate) fn hash(request: &AppendRequest, hashed: &mut [Hashed]) {
    for ((_, event), hashed) in request.events.iter().zip(hashed) {
        hashed.data = leaf::payload_commitment(&leaf::salt(&hashed.data_seed, &event.id.0), &event.data);
        if !event.metadata.is_empty() {
            hashed.metadata =
                leaf::metadata_commitment(&leaf::salt(&hashed.metadata_seed, &event.id.0), &event.metadata);
        }
    }
}
