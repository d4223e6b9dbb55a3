//! `Streams.Read`: reads that end. Those that do not are in [`super::subscribe`].

use super::asked::{Asked, Begin, How, What, invalid_position};
use super::errors::{About, Refusal};
use super::shown::{Manner, Shown};
use super::subscribe::{self, refuse_tombstoned};
use super::words::identifier;
use super::{Answer, Call};
use crate::server::App;
use crate::server::feed;
use crate::server::grpc::answer::{streaming, trailers, whole};
use crate::server::grpc::message::Messages;
use crate::server::long_read::{self, Ended, PAGE_BYTES, PAGE_EVENTS, Piece, Pieces};
use bytes::Bytes;
use graven_engine::{EventList, ListReading, Store};
use graven_model::{
    Code, Direction, EventFilter, Position, ReadRequest, Result, Revision, Selector, Start, StreamName,
};
use graven_proto::kurrentdb::streams::ReadReq;
use graven_proto::kurrentdb::streams::read_resp::{Content, StreamNotFound};
use std::sync::Arc;
use tokio::time::Instant;

/// Answers a call.
///
/// # Errors
/// What is wrong with its options; what the store refuses.
pub(super) async fn answer(call: Call) -> Answer {
    let Call { app, body, deadline, .. } = call;
    let asked: ReadReq = Messages::only(app.clone(), body).await?;
    let options = asked.options.ok_or_else(|| Refusal::invalid("options are missing"))?;
    let asked = Asked::of(options)?;
    if let Begin::Position(position) = asked.from
        && position > app.store.head()
    {
        return Err(invalid_position());
    }
    let (count, direction) = match asked.how {
        How::Read { count, direction } => (count, direction),
        How::Subscribe { checkpoint_every } => {
            return subscribe::open(app, asked, checkpoint_every, deadline).await;
        }
    };
    let manner = Manner {
        resolve_links: asked.resolve_links,
        ids_as_text: asked.ids_as_text,
        hides: matches!(asked.what, What::Log { .. }),
    };
    let ends = asked.tells_ends.then_some(asked.from);
    match asked.what {
        What::View(name, list) => {
            let pages = ViewPages {
                start: view_start(asked.from),
                name: name.clone(),
                list,
                direction,
                reading: None,
                ends,
                manner,
                left: count,
                room: FIRST_PAGE_ROOM,
            };
            send(app, pages, deadline, name).await
        }
        What::Stream(stream) => {
            let name = stream.to_string();
            let start = stream_start(asked.from, direction);
            let request = request(Selector::Stream(stream.clone()), EventFilter::default(), start, direction);
            let pages = LogPages { stream: Some(stream), ends, ..LogPages::new(request, manner, count) };
            send(app, pages, deadline, name).await
        }
        What::Log { selector, filter, .. } => {
            let Some(start) = log_start(asked.from, direction) else {
                return Ok(whole(Bytes::new()));
            };
            let request = request(selector, filter, start, direction);
            send(app, LogPages::new(request, manner, count), deadline, String::new()).await
        }
    }
}

fn request(selector: Selector, filter: EventFilter, start: Start, direction: Direction) -> ReadRequest {
    ReadRequest { filter, direction, bytes_max: PAGE_BYTES, ..ReadRequest::new(selector).from(start) }
}

/// Numbers are included, both ways; the start is the first of them and the end the last.
fn stream_start(from: Begin, direction: Direction) -> Start {
    match (from, direction) {
        (Begin::Number(revision), _) => Start::Revision(revision),
        (Begin::Start, Direction::Backward) => Start::Revision(Revision(0)),
        (Begin::Start | Begin::Position(_), _) => Start::Start,
        (Begin::End, _) => Start::End,
    }
}

fn view_start(from: Begin) -> Start {
    match from {
        Begin::Number(number) => Start::Revision(number),
        Begin::Start | Begin::Position(_) => Start::Revision(Revision(0)),
        Begin::End => Start::End,
    }
}

/// A position is included forwards and not backwards. `None` if nothing comes before it.
fn log_start(from: Begin, direction: Direction) -> Option<Start> {
    match (from, direction) {
        (Begin::Position(position), Direction::Forward) => Some(Start::Position(position)),
        (Begin::Position(position), Direction::Backward) => {
            position.0.checked_sub(1).map(|before| Start::Position(Position(before)))
        }
        (Begin::End, _) => Some(Start::End),
        (Begin::Start | Begin::Number(_), Direction::Forward) => Some(Start::Start),
        (Begin::Start | Begin::Number(_), Direction::Backward) => None,
    }
}

/// Sends all pieces; the first alone at once if there is no other. `about` is the stream a refusal names.
async fn send<P: Pieces>(app: Arc<App>, pieces: P, deadline: Option<Instant>, about: String) -> Answer {
    let first =
        long_read::next(&app, pieces).await.map_err(|error| Refusal::of(&error, About::stream(&about)))?;
    if !first.0.more {
        app.metrics.sent(first.0.events);
        return Ok(whole(app.answers.hold(first.0.bytes).await));
    }
    let (feed, body) = feed::open();
    tokio::spawn(async move {
        match long_read::feed_all(&app, first, &feed, deadline).await {
            Ended::Gone => {}
            Ended::Complete(_) => feed.end_with(trailers(None)).await,
            Ended::Broken(error) => {
                app.metrics.refused(error.code);
                tracing::warn!(code = %error.code, "a long answer broke off");
                feed.end_with(Refusal::of(&error, About::stream(&about)).trailers()).await;
            }
        }
    });
    Ok(streaming(body))
}

/// Room for the first page; for a later one there is as much as the one before took.
const FIRST_PAGE_ROOM: usize = 4 << 10;

/// Events up to which a read is short.
const SHORT_EVENTS: u64 = 64;

/// Events KurrentDB reads at a time: within so many it finds the first one that is left of a stream.
const FIRST_LOOK_EVENTS: u64 = 32;

/// A stream or the log, page by page.
struct LogPages {
    request: ReadRequest,
    manner: Manner,
    /// Events still wanted.
    left: u64,
    /// The head when it began: a read forwards ends there, however fast the log grows.
    end: Option<Position>,
    stream: Option<StreamName>,
    /// Where the read began, if the client wants to be told where the stream begins and ends.
    ends: Option<Begin>,
    begun: bool,
    room: usize,
}

impl LogPages {
    fn new(request: ReadRequest, manner: Manner, count: u64) -> LogPages {
        LogPages {
            request,
            manner,
            left: count,
            end: None,
            stream: None,
            ends: None,
            begun: false,
            room: FIRST_PAGE_ROOM,
        }
    }

    /// The last event is where a read forwards from the end begins. Metadata of a stream that has ended is not read.
    fn begin(&mut self, store: &Store) -> Result<()> {
        if let Some(described) = self.stream.as_ref().and_then(StreamName::described) {
            refuse_tombstoned(store, &described)?;
        }
        if let (Some(stream), Start::End, Direction::Forward) =
            (&self.stream, self.request.start, self.request.direction)
            && let Some(last) = store.stream_info(stream)?.last_revision
        {
            self.request.start = Start::Revision(last);
        }
        Ok(())
    }

    fn read(&mut self, store: &Store, shown: &mut Shown) -> Result<bool> {
        if !self.begun {
            self.begin(store)?;
        }
        let forward = self.request.direction == Direction::Forward;
        let mut first_look = match (self.begun, forward, self.ends) {
            (false, true, Some(Begin::Start)) => Some(0),
            (false, true, Some(Begin::Number(revision))) => Some(revision.0),
            _ => None,
        };
        self.begun = true;
        let look_events = FIRST_LOOK_EVENTS.min(self.left);
        self.request.limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(PAGE_EVENTS);
        let mut page = store.read_each(&self.request, self.end, |event| {
            if let Some(from) = first_look.take()
                && event.revision.0.saturating_sub(from) >= look_events
            {
                shown.say(Content::FirstStreamPosition(event.revision.0));
            }
            shown.event(event);
        })?;
        if let (Some(from), Some(last)) = (first_look, page.last_revision)
            && last.0 + 1 != from
        {
            shown.say(Content::FirstStreamPosition(last.0 + 1));
        }
        if forward {
            let end = *self.end.get_or_insert(page.head);
            // What came since belongs to another read.
            page.next = page.next.filter(|_| page.last_position.is_none_or(|last| last.next() < end));
        }
        if let Some(next) = page.next {
            self.request.start = next;
        }
        self.left -= shown.events as u64;
        let more = page.next.is_some() && self.left > 0;
        if let (false, Some(_), Some(last)) = (more, self.ends, page.last_revision) {
            shown.say(Content::LastStreamPosition(last.0));
        }
        Ok(more)
    }
}

impl Pieces for LogPages {
    fn next(&mut self, store: &Store) -> Result<Piece> {
        let mut shown = Shown::new(store, self.manner, self.room);
        if self.left == 0 {
            return piece(shown, false);
        }
        let first = !self.begun;
        let more = match self.read(store, &mut shown) {
            Ok(more) => more,
            Err(error) => match &self.stream {
                Some(stream) if matches!(error.code, Code::StreamNotFound | Code::StreamDeleted) => {
                    if first {
                        shown.say(not_found(stream.as_str()));
                    }
                    false
                }
                _ => return Err(error),
            },
        };
        self.room = shown.bytes.len();
        piece(shown, more)
    }

    fn is_short(&self) -> bool {
        self.left <= SHORT_EVENTS && self.request.filter.is_empty()
    }
}

fn piece(shown: Shown, more: bool) -> Result<Piece> {
    let (bytes, events) = shown.finish()?;
    Ok(Piece { bytes, tail: Bytes::new(), events, more })
}

/// What is told of a stream that is not there.
pub(super) fn not_found(stream: &str) -> Content {
    Content::StreamNotFound(StreamNotFound { stream_identifier: Some(identifier(stream)) })
}

/// A view, page by page.
struct ViewPages {
    name: String,
    list: EventList,
    start: Start,
    direction: Direction,
    reading: Option<ListReading>,
    ends: Option<Begin>,
    manner: Manner,
    left: u64,
    room: usize,
}

impl ViewPages {
    fn begin(&self, store: &Store) -> Result<ListReading> {
        let reading = store.read_list(self.list.clone(), self.start, self.direction)?;
        match (self.start, self.direction, reading.count().checked_sub(1)) {
            // The last event is where a read forwards from the end begins.
            (Start::End, Direction::Forward, Some(last)) => {
                store.read_list(self.list.clone(), Start::Revision(Revision(last)), self.direction)
            }
            _ => Ok(reading),
        }
    }
}

impl Pieces for ViewPages {
    fn next(&mut self, store: &Store) -> Result<Piece> {
        let mut shown = Shown::new(store, self.manner, self.room);
        if self.left == 0 {
            return piece(shown, false);
        }
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => {
                let reading = self.begin(store)?;
                if reading.count() == 0 {
                    shown.say(not_found(&self.name));
                    return piece(shown, false);
                }
                self.reading.insert(reading)
            }
        };
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(PAGE_EVENTS as usize);
        let goes_on = reading
            .next(wanted, PAGE_BYTES, |number, event| shown.link(&self.name, &self.list, number, event))?;
        self.left -= shown.events as u64;
        let more = goes_on && self.left > 0;
        if !more && self.ends.is_some() {
            shown.say(Content::LastStreamPosition(reading.count() - 1));
        }
        self.room = shown.bytes.len();
        piece(shown, more)
    }

    fn is_short(&self) -> bool {
        self.left <= SHORT_EVENTS
    }
}
