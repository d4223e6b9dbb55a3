//! Finding a snapshot, and reading on from it.

use super::{TRIES_MAX, belongs, deleted_since, made_of, newest_first, serves};
use crate::append::{Pending, Shared};
use crate::log::reader::Reader;
use crate::read::page::{self, Window};
use graven_model::{
    Code, Error, FromSnapshot, FromSnapshotRequest, Page, ReadRequest, Result, Revision, Selector, Snapshot,
    SnapshotOf, Start, StoredEvent, StreamName, snapshot,
};

/// The newest snapshot of a stream, or the newest of a revision or an earlier one, that still serves. What was erased is
/// passed over.
///
/// # Errors
/// [`Code::SnapshotForeign`] if it is not made of the event it names; those of a stream that cannot be read;
/// [`Code::InvalidSnapshot`] for a stream that cannot have any.
pub(crate) fn find(
    shared: &Shared,
    stream: &StreamName,
    at_or_before: Option<Revision>,
) -> Result<Option<Snapshot>> {
    let kept_in = snapshot::stream_of(stream)?;
    Window::of(shared, shared.head(), stream)?;
    let found = newest_first(shared, &kept_in, |event| {
        let of = made_of(&event)?;
        if event.erased || at_or_before.is_some_and(|most| of.revision > most) {
            return Ok(None);
        }
        if !belongs(shared, stream, &of, event.position.0)? {
            return Err(foreign(stream, &of, &event));
        }
        // What is older serves no longer either.
        Ok(Some(serves(shared, stream, &of)?.then(|| shown(stream, &of, event))))
    })?;
    Ok(found.flatten())
}

fn foreign(stream: &StreamName, of: &SnapshotOf, event: &StoredEvent) -> Error {
    Error::new(
        Code::SnapshotForeign,
        format!(
            "the snapshot at position {} is not made of revision {} of stream {:?}",
            event.position,
            of.revision,
            stream.as_str()
        ),
    )
    .expected(format!("that event at position {}, with the leaf hash the snapshot names", of.position))
}

fn shown(stream: &StreamName, of: &SnapshotOf, event: StoredEvent) -> Snapshot {
    Snapshot {
        stream: stream.clone(),
        revision: of.revision,
        event_position: of.position,
        leaf: of.leaf,
        schema_version: event.event.schema.version,
        content_type: event.event.content_type,
        state: event.event.data,
        data_subject: event.event.data_subject,
        position: event.position,
        taken_at: event.committed_at,
    }
}

/// The newest snapshot that serves and the first page of events after it, without a gap between the two.
///
/// # Errors
/// As [`find`], and those of reading a page.
pub(crate) fn read_from(shared: &Shared, request: &FromSnapshotRequest) -> Result<FromSnapshot> {
    let read = |start| {
        let selector = Selector::Stream(request.stream.clone());
        let bounds = ReadRequest::new(selector).from(start).limit(request.limit);
        page::read(shared, &ReadRequest { bytes_max: request.bytes_max, ..bounds })
    };
    for _ in 0..TRIES_MAX {
        let Some(snapshot) = find(shared, &request.stream, None)? else { break };
        let page = read(Start::Revision(snapshot.revision.next()))?;
        let of = SnapshotOf {
            revision: snapshot.revision,
            position: snapshot.event_position,
            leaf: snapshot.leaf,
        };
        // The stream may have been truncated or deleted between the two, perhaps for the sake of a newer snapshot.
        if follows(&page, snapshot.revision) && serves(shared, &request.stream, &of)? {
            return Ok(FromSnapshot { snapshot: Some(snapshot), page });
        }
    }
    Ok(FromSnapshot { snapshot: None, page: read(Start::Start)? })
}

/// Whether a page begins with the event after a revision, or there is none.
fn follows(page: &Page, revision: Revision) -> bool {
    match page.events.first() {
        Some(first) => first.revision == revision.next(),
        None => page.last_revision == Some(revision),
    }
}

/// Whether no snapshot in this stream can serve again: the stream they are made of has ended, was deleted, or was deleted
/// and reopened. False for every other stream.
///
/// # Errors
/// Those of reading the log.
pub(crate) fn obsolete(shared: &Shared, kept_in: &StreamName) -> Result<bool> {
    let Some(stream) = snapshot::described(kept_in.as_str()) else { return Ok(false) };
    let head = shared.head();
    match Window::of(shared, head, &stream) {
        Ok(_) => {}
        Err(error) if matches!(error.code, Code::StreamDeleted | Code::StreamTombstoned) => return Ok(true),
        Err(error) if error.code == Code::StreamNotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let sources = &shared.sources;
    let Some(last) = sources.last(&Pending::none_below(head), kept_in.as_str())? else { return Ok(false) };
    let fetched = Reader::new(&sources.log).fetch(last.position, sources.offset(last.position)?)?;
    let record = fetched.record()?;
    match SnapshotOf::from_tags(record.tags.iter().map(|(tag, _)| *tag)) {
        Some(of) => deleted_since(shared, &stream, of.position.0),
        None => Ok(false),
    }
}
