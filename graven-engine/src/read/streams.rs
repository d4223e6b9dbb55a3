//! What is known of streams: one by name, or all in order of creation.

use super::page::Window;
use crate::append::{Pending, Shared, Sources};
use crate::index::{Item, StreamFrom, TermQuery};
use crate::log::reader::Reader;
use bytes::Bytes;
use graven_model::{
    Code, Direction, Error, Position, Result, Revision, StreamInfo, StreamList, StreamListRequest,
    StreamName, StreamState, Timestamp, limits,
};

/// What is known of one stream.
///
/// # Errors
/// [`Code::StreamNotFound`] if it never had an event.
pub(crate) fn info(shared: &Shared, stream: &StreamName) -> Result<StreamInfo> {
    let head = shared.head();
    let pending = Pending::none_below(head);
    let sources = &shared.sources;
    let name = stream.as_str();
    let last = sources.last(&pending, name)?;
    let tombstone = sources.tombstone(&pending, name)?;
    let Some(newest) = tombstone.or(last) else {
        return Err(Error::new(Code::StreamNotFound, format!("stream {name:?} has no events")));
    };
    let window = Window::of(shared, head, stream);
    let state = match (&window, last) {
        (Err(error), _) if error.code == Code::StreamTombstoned => StreamState::Tombstoned,
        (Err(error), Some(last)) if error.code == Code::StreamDeleted => {
            StreamState::SoftDeleted(Revision(last.revision))
        }
        (Ok(_), Some(last)) => StreamState::At(Revision(last.revision)),
        (Err(error), _) => return Err(error.clone()),
        (Ok(_), None) => StreamState::NoStream,
    };
    let first = sources.scan_stream(&pending, name, StreamFrom::Revision(0), Direction::Forward, |view| {
        Some(view.place.commit_time)
    })?;
    Ok(StreamInfo {
        stream: stream.clone(),
        state,
        first_revision: window
            .ok()
            .map_or(Ok(None), |window| first_shown(sources, &pending, stream, &window))?,
        last_revision: last.map(|last| Revision(last.revision)),
        last_position: Some(Position(newest.position)),
        created_at: Some(Timestamp::from_micros(first.unwrap_or(newest.commit_time))),
        updated_at: Some(Timestamp::from_micros(newest.commit_time)),
        metadata: metadata(shared, stream)?.map(|(_, json)| json),
    })
}

/// The first revision a read shows. Commit times never decrease along a stream, so what is too old is found by halving.
fn first_shown(
    sources: &Sources,
    pending: &Pending,
    stream: &StreamName,
    window: &Window,
) -> Result<Option<Revision>> {
    let (mut low, mut high) = (window.first, window.last + 1);
    if !window.by_age() {
        return Ok((low < high).then_some(Revision(low)));
    }
    while low < high {
        let middle = low + (high - low) / 2;
        let shown = sources
            .at(pending, stream, middle)?
            .is_some_and(|(_, place)| window.shows(place.revision, place.commit_time));
        (low, high) = if shown { (low, middle) } else { (middle + 1, high) };
    }
    Ok((low <= window.last).then_some(Revision(low)))
}

/// A stream's metadata object and the revision it has in the metadata stream.
///
/// # Errors
/// [`Code::InvalidStreamName`] for a metadata stream.
pub(crate) fn metadata(shared: &Shared, stream: &StreamName) -> Result<Option<(Revision, Bytes)>> {
    if stream.is_metadata() {
        return Ok(None);
    }
    let name = stream.metadata()?;
    let pending = Pending::none_below(shared.head());
    shared.sources.scan_stream(&pending, name.as_str(), StreamFrom::End, Direction::Backward, |view| {
        Some((Revision(view.place.revision), Bytes::copy_from_slice(view.data)))
    })
}

/// A page of streams in order of creation.
///
/// # Errors
/// [`Code::InvalidLimit`].
pub(crate) fn list(shared: &Shared, request: &StreamListRequest) -> Result<StreamList> {
    if request.limit == 0 || request.limit > limits::STREAM_LIST_MAX {
        return Err(Error::new(Code::InvalidLimit, "the number of streams a page is out of bounds")
            .expected(format!("1 to {}", limits::STREAM_LIST_MAX))
            .found(request.limit.to_string()));
    }
    const STEP: usize = 256;
    let sources = &shared.sources;
    let head = shared.head();
    let births = TermQuery { items: vec![Item { births: true, ..Item::default() }] };
    let mut from = request.after.map_or(0, |after| after.0.saturating_add(1));
    let mut streams = Vec::new();
    let mut reader = Reader::new(&sources.log);
    let mut looked_at = 0u64;
    loop {
        let mut candidates = Vec::new();
        let next = sources.index.query(&births, from, Direction::Forward, head, STEP, &mut candidates);
        for position in candidates {
            looked_at += 1;
            let name = {
                let fetched = reader.fetch(position, sources.offset(position)?)?;
                let record = fetched.record()?;
                let wanted = record.revision == 0
                    && record.stream.starts_with(&*request.prefix)
                    && (request.include_system || !record.stream.starts_with('$'));
                if wanted { Some(StreamName::new(record.stream)?) } else { None }
            };
            if let Some(name) = name {
                streams.push(info(shared, &name)?);
            }
            if streams.len() >= request.limit as usize || looked_at >= limits::PAGE_SCAN_MAX {
                let more = next.is_some() || position + 1 < head;
                return Ok(StreamList { streams, next: more.then_some(Position(position)) });
            }
        }
        match next {
            Some(next) => from = next,
            None => return Ok(StreamList { streams, next: None }),
        }
    }
}
