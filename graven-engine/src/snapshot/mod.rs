//! Snapshots: kept as events of the log like all else, in a stream beside the one they are made of. Called by the front
//! door, by erasures and by retention. Nothing here writes: what is to be appended is handed back.
//!
//! A snapshot says which event it is made of, in a tag that the log's tree covers: the event's revision, its position, and
//! the hash of its leaf. That is compared with the log whenever the snapshot is read. It serves as long as that event was
//! not deleted with its stream and the event after it can still be read.

mod find;
mod put;

pub(crate) use find::{find, obsolete, read_from};
pub(crate) use put::{Put, delete, not_found, put};

use crate::append::{Pending, Shared};
use crate::read::metadata::StreamMetadata;
use crate::read::page::{self, Window};
use crate::read::streams;
use graven_model::{
    Code, Direction, Error, Expected, ReadRequest, Result, Revision, Selector, SnapshotOf, StoredEvent,
    StreamName, snapshot,
};

/// Other calls that change the same snapshots at the same moment, before one gives up.
pub(crate) const TRIES_MAX: u32 = 32;

/// Metadata events of a stream that are looked through for a deletion, from the newest. A snapshot before more of them does
/// not serve any more.
const METADATA_LOOKED_AT_MAX: u32 = 1_000;

/// Where a stream's snapshots are kept, and how that stands.
struct Kept {
    stream: StreamName,
    /// Last revision there; `None` if there was never a snapshot.
    last: Option<u64>,
    /// Metadata of that stream with their revision.
    metadata: Option<(Revision, StreamMetadata)>,
}

impl Kept {
    fn of(shared: &Shared, stream: &StreamName) -> Result<Kept> {
        let kept_in = snapshot::stream_of(stream)?;
        let pending = Pending::none_below(shared.head());
        let last = shared.sources.last(&pending, kept_in.as_str())?.map(|last| last.revision);
        let metadata = match streams::metadata(shared, &kept_in)? {
            Some((revision, json)) => Some((revision, StreamMetadata::parse(&json)?)),
            None => None,
        };
        Ok(Kept { stream: kept_in, last, metadata })
    }

    /// What the stream has to look like for this to be still so.
    fn expected(&self) -> Expected {
        self.last.map_or(Expected::NoStream, |last| Expected::Revision(Revision(last)))
    }

    /// The same for its metadata.
    fn expected_metadata(&self) -> Expected {
        self.metadata.map_or(Expected::NoStream, |(revision, _)| Expected::Revision(revision))
    }

    /// How many snapshots are kept, and before which revision they were dropped.
    fn bounds(&self) -> (Option<u64>, u64) {
        let metadata = self.metadata.map(|(_, metadata)| metadata).unwrap_or_default();
        (metadata.max_count, metadata.truncate_before.unwrap_or(0))
    }
}

/// Calls `each` for the events in a stream of snapshots that are not hidden, the newest first, until it gives something.
fn newest_first<T>(
    shared: &Shared,
    kept_in: &StreamName,
    mut each: impl FnMut(StoredEvent) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut request = ReadRequest::new(Selector::Stream(kept_in.clone())).backward().limit(1);
    loop {
        let page = match page::read(shared, &request) {
            Err(error) if error.code == Code::StreamNotFound => return Ok(None),
            page => page?,
        };
        for event in page.events {
            let found = each(event)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        match page.next {
            Some(next) => request.start = next,
            None => return Ok(None),
        }
    }
}

/// Which event a stored snapshot is made of.
///
/// # Errors
/// [`Code::SnapshotForeign`] if it does not say.
fn made_of(event: &StoredEvent) -> Result<SnapshotOf> {
    SnapshotOf::from_tags(event.event.tags.iter().map(|tag| &**tag)).ok_or_else(|| {
        Error::new(
            Code::SnapshotForeign,
            format!("the snapshot at position {} does not say which event it is made of", event.position),
        )
    })
}

/// Whether the event a snapshot says it is made of is in the log, before the snapshot.
fn belongs(shared: &Shared, stream: &StreamName, of: &SnapshotOf, snapshot_at: u64) -> Result<bool> {
    let pending = Pending::none_below(shared.head());
    let sources = &shared.sources;
    let place = sources.at(&pending, stream, of.revision.0)?.map(|(_, place)| place);
    Ok(of.position.0 < snapshot_at
        && place.is_some_and(|place| place.position == of.position.0)
        && sources.leaf(of.position.0)? == of.leaf)
}

/// Whether a snapshot still stands for what a reader of its stream could have seen.
///
/// # Errors
/// Those of a stream that cannot be read.
fn serves(shared: &Shared, stream: &StreamName, of: &SnapshotOf) -> Result<bool> {
    let head = shared.head();
    let window = Window::of(shared, head, stream)?;
    let pending = Pending::none_below(head);
    let shown = |revision: u64| -> Result<bool> {
        let place = shared.sources.at(&pending, stream, revision)?;
        Ok(place.is_some_and(|(_, place)| window.shows(place.revision, place.commit_time)))
    };
    let revision = of.revision.0;
    if shown(revision)? {
        return Ok(true);
    }
    let followed = revision == window.last || shown(revision.saturating_add(1))?;
    Ok(followed && !deleted_since(shared, stream, of.position.0)?)
}

/// Whether a stream was deleted after a position, as far as its metadata tell; it may have been reopened since.
fn deleted_since(shared: &Shared, stream: &StreamName, position: u64) -> Result<bool> {
    let pending = Pending::none_below(shared.head());
    let name = stream.metadata()?;
    let from = crate::index::StreamFrom::End;
    let mut looked_at = 0;
    let deleted = shared.sources.scan_stream(&pending, name.as_str(), from, Direction::Backward, |view| {
        if view.place.position < position {
            return Some(false);
        }
        looked_at += 1;
        let deleted = StreamMetadata::parse(view.data).is_ok_and(|metadata| metadata.is_deleted());
        (deleted || looked_at >= METADATA_LOOKED_AT_MAX).then_some(true)
    })?;
    Ok(deleted.unwrap_or(false))
}
