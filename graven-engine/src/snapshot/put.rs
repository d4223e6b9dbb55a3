//! What is appended when a snapshot is kept, or dropped.

use super::{Kept, belongs, deleted_since, made_of, newest_first};
use crate::append::{METADATA_TYPE, Pending, Shared};
use crate::read::page::Window;
use graven_model::{
    AppendRequest, CheckState, Code, Error, EventId, Expected, NewEvent, NewSnapshot, Result, SchemaRef,
    SnapshotOf, SnapshotReceipt, StreamName, snapshot,
};

/// What is to be done to keep a snapshot.
pub(crate) enum Put {
    /// Nothing: it is there.
    Done(SnapshotReceipt),
    /// This is to be appended; the snapshot is its first event. If a revision is not the expected one, somebody else was
    /// faster.
    Append(AppendRequest),
}

/// How a snapshot is kept. `id` draws ids of events.
///
/// # Errors
/// [`Code::InvalidSnapshot`], [`Code::EventTooLarge`]; [`Code::SnapshotAhead`]; [`Code::SnapshotOutdated`]; those of a stream
/// that cannot be read.
pub(crate) fn put(shared: &Shared, new: &NewSnapshot, mut id: impl FnMut() -> EventId) -> Result<Put> {
    new.check()?;
    let of = event_of(shared, new)?;
    let kept = Kept::of(shared, &new.stream)?;
    let (keep, dropped_before) = kept.bounds();
    let keeps_as_many = keep == Some(new.keep.into());
    let newest = newest_first(shared, &kept.stream, |event| Ok(Some(event)))?;
    if let Some(event) = newest
        && let Ok(before) = made_of(&event)
        && belongs(shared, &new.stream, &before, event.position.0)?
        && !deleted_since(shared, &new.stream, before.position.0)?
    {
        if before.revision > of.revision {
            return Err(Error::new(
                Code::SnapshotOutdated,
                format!("there is a newer snapshot of stream {:?}", new.stream.as_str()),
            )
            .expected(format!("one of revision {} or later", before.revision))
            .found(format!("one of revision {}", of.revision)));
        }
        let same = !event.erased
            && before == of
            && event.event.data == new.state
            && event.event.content_type == new.content_type
            && event.event.schema.version == new.schema_version
            && event.event.data_subject == new.data_subject;
        if same && keeps_as_many {
            let (position, taken_at) = (event.position, event.committed_at);
            return Ok(Put::Done(SnapshotReceipt { position, taken_at, stored: false }));
        }
    }
    let event = NewEvent {
        content_type: new.content_type.clone(),
        schema: SchemaRef { version: new.schema_version, id: 0, check: CheckState::None },
        tags: vec![of.to_tag().into()],
        data_subject: new.data_subject.clone(),
        ..NewEvent::json(id(), snapshot::EVENT_TYPE, new.state.clone())
    };
    let mut request = AppendRequest::default().check(new.stream.clone(), Expected::Exists).and_to(
        kept.stream.clone(),
        kept.expected(),
        [event],
    );
    if !keeps_as_many {
        let json = bounds_json(Some(new.keep.into()), dropped_before);
        let event = NewEvent::json(id(), METADATA_TYPE, json);
        request = request.and_to(kept.stream.metadata()?, kept.expected_metadata(), [event]);
    }
    Ok(Put::Append(request))
}

/// The event a snapshot is made of.
fn event_of(shared: &Shared, new: &NewSnapshot) -> Result<SnapshotOf> {
    let head = shared.head();
    let (stream, revision) = (&new.stream, new.revision);
    let window = Window::of(shared, head, stream)?;
    let place = shared.sources.at(&Pending::none_below(head), stream, revision.0)?;
    let Some((_, place)) = place.filter(|_| revision.0 <= window.last) else {
        return Err(Error::new(
            Code::SnapshotAhead,
            format!("stream {:?} has no revision {revision} yet", stream.as_str()),
        )
        .expected(format!("a revision up to {}", window.last)));
    };
    if !window.shows(place.revision, place.commit_time) {
        return Err(Error::new(
            Code::InvalidSnapshot,
            format!("revision {revision} of stream {:?} is hidden", stream.as_str()),
        )
        .expected("the revision of an event that a read of the stream shows"));
    }
    Ok(SnapshotOf {
        revision,
        position: graven_model::Position(place.position),
        leaf: shared.sources.leaf(place.position)?,
    })
}

/// What drops all snapshots of a stream: they are hidden then, and their bytes go with the next scavenging.
///
/// # Errors
/// [`Code::SnapshotNotFound`]; [`Code::InvalidSnapshot`] for a stream that cannot have any.
pub(crate) fn delete(shared: &Shared, stream: &StreamName, id: EventId) -> Result<AppendRequest> {
    let kept = Kept::of(shared, stream)?;
    let any = newest_first(shared, &kept.stream, |_| Ok(Some(())))?;
    let (Some(()), Some(last)) = (any, kept.last) else { return Err(not_found(stream)) };
    let json = bounds_json(kept.bounds().0, last + 1);
    let event = NewEvent::json(id, METADATA_TYPE, json);
    Ok(AppendRequest::default().check(kept.stream.clone(), kept.expected()).and_to(
        kept.stream.metadata()?,
        kept.expected_metadata(),
        [event],
    ))
}

pub(crate) fn not_found(stream: &StreamName) -> Error {
    Error::new(Code::SnapshotNotFound, format!("stream {:?} has no snapshot", stream.as_str()))
}

/// Metadata of a stream of snapshots.
fn bounds_json(keep: Option<u64>, dropped_before: u64) -> String {
    let keep = keep.map_or(String::new(), |keep| format!("\"$maxCount\":{keep},"));
    format!("{{{keep}\"$tb\":{dropped_before}}}")
}
