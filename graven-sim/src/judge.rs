//! The judge: does a store say what the model says? Every disagreement is a sentence.

use crate::model::Model;
use graven_engine::{FollowRequest, FollowStep, Follower, Store, StreamListRequest};
use graven_model::error::Details;
use graven_model::{
    Code, Error, EventId, Kind, Position, Query, QueryItem, ReadRequest, Receipt, Result as Answer, Selector,
    Start, StoredEvent, StreamName, StreamState, Text, Timestamp,
};
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Nothing to object to, or what is wrong.
pub type Verdict = Result<(), String>;

/// Objects unless both are the same.
///
/// # Errors
/// What differs.
pub fn same<T: PartialEq + Debug>(what: &str, found: &T, wanted: &T) -> Verdict {
    if found == wanted { Ok(()) } else { Err(format!("{what}:\n  store {found:?}\n  model {wanted:?}")) }
}

/// An answer of the store and one of the model to the same append.
///
/// # Errors
/// What differs.
pub fn same_answer(found: &Answer<Receipt>, wanted: &Answer<Receipt>) -> Verdict {
    match (found, wanted) {
        (Ok(found), Ok(wanted)) => same("receipt", found, wanted),
        (Err(found), Err(wanted)) => same_error(found, wanted),
        _ => Err(format!("answer:\n  store {found:?}\n  model {wanted:?}")),
    }
}

fn same_error(found: &Error, wanted: &Error) -> Verdict {
    const UNSEEN_BYTES_SURE: usize = 1 << 20;
    same("code", &found.code, &wanted.code)?;
    same("details", &without_unseen(&found.details), &without_unseen(&wanted.details))?;
    let (Details::FailedChecks(found), Details::FailedChecks(wanted)) = (&found.details, &wanted.details)
    else {
        return Ok(());
    };
    for (found, wanted) in found.iter().zip(wanted) {
        // A page bounds their bytes too.
        let bytes: usize = wanted.unseen.iter().map(StoredEvent::size_bytes).sum();
        let count = if bytes > UNSEEN_BYTES_SURE { found.unseen.len() } else { wanted.unseen.len() };
        same_events(&found.unseen, wanted.unseen.get(..count).unwrap_or(&wanted.unseen))
            .map_err(|what| format!("unseen of {:?}: {what}", wanted.stream.as_str()))?;
    }
    Ok(())
}

fn without_unseen(details: &Details) -> Details {
    let mut details = details.clone();
    if let Details::FailedChecks(failed) = &mut details {
        failed.iter_mut().for_each(|check| check.unseen.clear());
    }
    details
}

/// Reads page after page and checks what every page has to obey.
///
/// # Errors
/// The outer one is what a page has wrong, the inner one what the store answered.
pub fn read_pages(store: &Store, request: &ReadRequest) -> Result<Answer<Vec<StoredEvent>>, String> {
    const PAGES_MAX: usize = 100_000;
    let mut events: Vec<StoredEvent> = Vec::new();
    let mut request = request.clone();
    for _ in 0..PAGES_MAX {
        let page = match store.read(&request) {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        if page.events.len() > request.limit as usize {
            return Err(format!(
                "a page of {} events where {} are allowed",
                page.events.len(),
                request.limit
            ));
        }
        let bytes: usize = page.events.iter().map(StoredEvent::size_bytes).sum();
        if page.events.len() > 1 && bytes > request.bytes_max {
            return Err(format!("a page of {bytes} bytes where {} are allowed", request.bytes_max));
        }
        events.extend(page.events);
        match page.next {
            None => return Ok(Ok(events)),
            Some(next) if next == request.start => {
                return Err(format!("the next page begins where this one did: {next:?}"));
            }
            Some(next) => request.start = next,
        }
    }
    Err("a read without an end".into())
}

/// A read of the store against one of the model.
///
/// # Errors
/// What differs.
pub fn same_read(store: &Store, model: &Model, request: &ReadRequest, now: Timestamp) -> Verdict {
    let wanted = model.read(request, now);
    let found = read_pages(store, request).map_err(|what| format!("{request:?}: {what}"))?;
    match (&found, &wanted) {
        (Ok(found), Ok(wanted)) => same_events(found, wanted).map_err(|what| format!("{request:?}: {what}")),
        (Err(found), Err(wanted)) => same(&format!("code of {request:?}"), &found.code, &wanted.code),
        _ => Err(format!("{request:?}:\n  store {found:?}\n  model {wanted:?}")),
    }
}

/// Two lists of events.
///
/// # Errors
/// The first place where they differ.
pub fn same_events(found: &[StoredEvent], wanted: &[StoredEvent]) -> Verdict {
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        same(&format!("event {at}"), found, wanted)?;
    }
    if found.len() == wanted.len() {
        return Ok(());
    }
    let positions = |events: &[StoredEvent]| events.iter().map(|event| event.position.0).collect::<Vec<_>>();
    Err(format!("events:\n  store at {:?}\n  model at {:?}", positions(found), positions(wanted)))
}

/// Follows until caught up, against the model: all events, once, in order, and no checkpoint that says too much.
///
/// # Errors
/// What differs.
pub fn same_follow(store: &Store, model: &Model, request: &FollowRequest, now: Timestamp) -> Verdict {
    let complain = |what: String| format!("{request:?}: {what}");
    let wanted = model.follow(&request.selector, request.after, &request.filter, now);
    let mut follower = store.follow(request.clone()).map_err(|error| complain(error.to_string()))?;
    let mut found = Vec::new();
    let mut caught_up = false;
    if let Selector::Stream(stream) = &request.selector
        && model.state(stream) == StreamState::Tombstoned
    {
        let tombstone = model
            .follow_to_the_end(stream, request.after, &request.filter)
            .map_err(|error| complain(error.to_string()))?;
        return ends_tombstoned(&mut follower, tombstone.as_ref()).map_err(complain);
    }
    let steps_max = 3 * (model.log().len() + 10);
    for steps in 0.. {
        let Some(step) = follower.poll_next().map_err(|error| complain(error.to_string()))? else { break };
        if steps > steps_max {
            return Err(complain(format!("no end of steps, the last is {step:?}")));
        }
        match step {
            FollowStep::Events(events) => {
                if events.is_empty() || events.len() > request.page_events as usize {
                    return Err(complain(format!("a step of {} events", events.len())));
                }
                found.extend(events);
            }
            FollowStep::Checkpoint(position) => {
                let passed = wanted.iter().take_while(|event| event.position <= position).count();
                same("events before a checkpoint", &found.len(), &passed).map_err(complain)?;
            }
            FollowStep::CaughtUp(head) => {
                same("head when caught up", &head, &model.head()).map_err(complain)?;
                caught_up = true;
            }
        }
    }
    if !caught_up {
        return Err(complain("it never caught up".into()));
    }
    same_events(&found, &wanted).map_err(complain)
}

/// A stream that ended may still give what was not delivered before, its tombstone at last, and then says that it ended.
fn ends_tombstoned(follower: &mut Follower, tombstone: Option<&StoredEvent>) -> Verdict {
    const STEPS_MAX: usize = 100_000;
    let mut last = None;
    for _ in 0..STEPS_MAX {
        match follower.poll_next() {
            Ok(Some(FollowStep::Events(events))) => last = events.last().cloned(),
            Ok(Some(_)) => {}
            Ok(None) => return Err("it does not say that the stream ended".into()),
            Err(error) => {
                let told = last.as_ref().filter(|event| event.kind == Kind::Tombstone);
                same("tombstone", &told, &tombstone)?;
                return same("code", &error.code, &Code::StreamTombstoned);
            }
        }
    }
    Err("no end of steps".into())
}

/// What is known of a stream.
///
/// # Errors
/// What differs.
pub fn same_stream(store: &Store, model: &Model, stream: &StreamName, now: Timestamp) -> Verdict {
    let complain = |what: String| format!("stream {:?}: {what}", stream.as_str());
    let found = store.stream_info(stream);
    match (found, model.stream_info(stream, now)) {
        (Ok(found), Some(wanted)) => same("info", &found, &wanted).map_err(complain)?,
        (Err(error), None) => same("code", &error.code, &Code::StreamNotFound).map_err(complain)?,
        (found, wanted) => return Err(complain(format!("info:\n  store {found:?}\n  model {wanted:?}"))),
    }
    if stream.is_metadata() {
        return Ok(());
    }
    let found = store.stream_metadata(stream).map_err(|error| complain(error.to_string()))?;
    let wanted = model.metadata_event(stream).map(|event| (event.revision, event.event.data.clone()));
    same("metadata", &found, &wanted).map_err(complain)
}

/// The event at a position and the events of an id.
///
/// # Errors
/// What differs.
pub fn same_lookups(store: &Store, model: &Model, id: EventId, position: Position) -> Verdict {
    const BY_ID_MAX: usize = 100;
    let found = store.events_by_id(id).map_err(|error| error.to_string())?;
    let mut wanted = model.events_by_id(id);
    wanted.truncate(BY_ID_MAX);
    same_events(&found, &wanted).map_err(|what| format!("events of id {id}: {what}"))?;
    let wanted = model.log().get(position.0 as usize);
    match (store.event_at(position), wanted) {
        (Ok(found), Some(wanted)) => same("event at a position", &found, wanted),
        (Err(error), None) => same("code beyond the head", &error.code, &Code::EventNotFound),
        (found, wanted) => Err(format!("event at {position}:\n  store {found:?}\n  model {wanted:?}")),
    }
}

/// Everything: the log and every stream both ways, every category, type, tag and id, the listing, the counts.
///
/// # Errors
/// The first difference.
pub fn same_everything(store: &Store, model: &Model, now: Timestamp) -> Verdict {
    same("head", &store.head(), &model.head())?;
    same("head in info", &store.info().head, &model.head())?;
    let mut selectors = vec![Selector::All];
    let (mut types, mut tags, mut categories) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for event in model.log() {
        types.insert(event.event.event_type.clone());
        tags.extend(event.event.tags.iter().cloned());
        categories.extend(event.stream.category().map(Text::from));
    }
    let item = |types: Vec<Text>, tags: Vec<Text>| QueryItem { types, tags, all: false };
    for (event_type, tag) in types.iter().zip(tags.iter().cycle()) {
        selectors.push(Selector::Types(vec![event_type.clone()]));
        let items = vec![item(vec![event_type.clone()], vec![tag.clone()]), item(vec![], vec![tag.clone()])];
        selectors.push(Selector::Query(Query { items }));
    }
    selectors.extend(tags.iter().map(|tag| Selector::Tags(vec![tag.clone()])));
    selectors.extend(categories.into_iter().map(Selector::Category));
    selectors.extend(model.stream_names().into_iter().map(Selector::Stream));
    for selector in selectors {
        let request = ReadRequest::new(selector).limit(1_000);
        same_read(store, model, &request, now)?;
        if matches!(request.selector, Selector::All | Selector::Stream(_)) {
            same_read(store, model, &request.backward(), now)?;
        }
    }
    same_follow(store, model, &FollowRequest::new(Selector::All, Start::Start), now)?;
    for stream in model.stream_names() {
        same_stream(store, model, &stream, now)?;
    }
    for event in model.log() {
        same_lookups(store, model, event.event.id, event.position)?;
    }
    same_listing(store, model, now)?;
    same("statistics", &store.stats(), &model.stats())
}

fn same_listing(store: &Store, model: &Model, now: Timestamp) -> Verdict {
    for (prefix, include_system, limit) in
        [("", true, 2), ("", false, 1_000), ("loan-", false, 1), ("$", true, 3)]
    {
        let mut request = StreamListRequest {
            prefix: prefix.into(),
            include_system,
            limit,
            ..StreamListRequest::default()
        };
        let mut found = Vec::new();
        loop {
            let list = store.streams(&request).map_err(|error| format!("{request:?}: {error}"))?;
            if list.streams.len() > limit as usize {
                return Err(format!("{request:?}: {} streams", list.streams.len()));
            }
            found.extend(list.streams);
            match list.next {
                None => break,
                next if next == request.after => {
                    return Err(format!("{request:?}: the listing stands still"));
                }
                next => request.after = next,
            }
        }
        let names = model.born_streams().into_iter();
        let fits =
            |name: &StreamName| name.as_str().starts_with(prefix) && (include_system || !name.is_system());
        let wanted: Vec<_> = names.filter(fits).filter_map(|name| model.stream_info(&name, now)).collect();
        same(&format!("streams by {prefix:?}"), &found, &wanted)?;
    }
    Ok(())
}
