//! The parts of appends, until an append has all of them.

use super::reply::Subject;
use crate::server::App;
use crate::server::body::HeldBody;
use crate::server::kurrent::errors::Refusal;
use crate::server::kurrent::propose::{Events, Flaw, at_revision, no_expectation};
use crate::server::kurrent::words::{event_id, is_writable, stream_name};
use graven_model::{AppendRequest, Code, Error, EventId, Expected, Result, StreamName, limits};
use graven_proto::kurrentdb::streams::BatchAppendReq;
use graven_proto::kurrentdb::streams::batch_append_req::Options;
use graven_proto::kurrentdb::streams::batch_append_req::options::{DeadlineOption, ExpectedStreamPosition};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Appends of one call that wait for more parts.
const PARTIAL_MAX: usize = 1_024;

/// Bytes of all their messages: one maximal append with what frames it.
const PARTIAL_BYTES_MAX: usize = limits::HTTP_BODY_BYTES_MAX;

/// Events of all of them.
const PARTIAL_EVENTS_MAX: usize = 2 * limits::APPEND_EVENTS_MAX;

/// Appends that were answered before their last part came.
const ABANDONED_MAX: usize = 4_096;

/// The appends of a call of which parts are missing.
#[derive(Default)]
pub(super) struct Gathering {
    appends: HashMap<EventId, Partial>,
    /// Of all of them.
    bytes: usize,
    events: usize,
    /// Ids that were answered although parts are yet to come, which are left unread.
    abandoned: HashSet<EventId>,
}

struct Partial {
    subject: Subject,
    /// `None` until there were options.
    target: Option<(StreamName, Expected)>,
    events: Events,
    due: Instant,
    bytes: usize,
    room: OwnedSemaphorePermit,
}

/// An append that has all its parts.
pub(super) struct Append {
    pub(super) subject: Subject,
    pub(super) request: AppendRequest,
    /// When its answer is due.
    pub(super) due: Instant,
    /// Bytes of its messages, and the room they take.
    pub(super) bytes: usize,
    pub(super) room: OwnedSemaphorePermit,
}

/// What came of a part.
pub(super) enum Taken {
    /// More parts are missing; the answer is due then.
    More(Instant),
    /// It was the last.
    Whole(Append),
    /// It makes its append one that is not tried.
    Flawed(Subject, Instant, Flaw),
    /// It belongs to an append that was answered before.
    Nothing,
}

impl Gathering {
    /// Takes in a part.
    ///
    /// # Errors
    /// What ends the call: it is not known which append the part belongs to, or there are too many that were given up.
    pub(super) fn take(&mut self, app: &App, part: BatchAppendReq, held: HeldBody) -> Result<Taken, Refusal> {
        let BatchAppendReq { correlation_id, options, proposed_messages, is_final } = part;
        let id = event_id(correlation_id.as_ref()).map_err(|error| {
            Refusal::invalid(format!("the correlation id of a part does not read: {}", error.message))
        })?;
        if self.abandoned.contains(&id) {
            if is_final {
                self.abandoned.remove(&id);
            }
            return Ok(Taken::Nothing);
        }
        let HeldBody { bytes, room } = held;
        let size = bytes.len();
        let mut partial = match self.appends.remove(&id) {
            Some(mut partial) => {
                self.bytes -= partial.bytes;
                self.events -= partial.events.events.len();
                partial.room.merge(room);
                partial.bytes += size;
                partial
            }
            None => {
                let subject = Subject::new(correlation_id, options.as_ref());
                let due = Instant::now() + app.options.append_timeout;
                Partial { subject, target: None, events: Events::default(), due, bytes: size, room }
            }
        };
        let read = read_options(app, &mut partial, options.as_ref()).and_then(|()| {
            proposed_messages.into_iter().try_for_each(|proposed| partial.events.add(proposed))
        });
        let flaw = match read {
            Err(flaw) => Some(flaw),
            Ok(()) if is_final => None,
            Ok(()) => self.crowded(&partial),
        };
        if let Some(flaw) = flaw {
            if !is_final {
                self.abandon(id)?;
            }
            return Ok(Taken::Flawed(partial.subject, partial.due, flaw));
        }
        if !is_final {
            let due = partial.due;
            self.bytes += partial.bytes;
            self.events += partial.events.events.len();
            self.appends.insert(id, partial);
            return Ok(Taken::More(due));
        }
        let Partial { subject, target, events, due, bytes, room } = partial;
        let (stream, expected) = target.expect("options were read");
        let request = AppendRequest { events: events.events, ..AppendRequest::to(stream, expected, []) };
        Ok(Taken::Whole(Append { subject, request, due, bytes, room }))
    }

    /// What keeps one more append from waiting for its parts.
    fn crowded(&self, partial: &Partial) -> Option<Flaw> {
        let fits = self.appends.len() < PARTIAL_MAX
            && self.bytes + partial.bytes <= PARTIAL_BYTES_MAX
            && self.events + partial.events.events.len() <= PARTIAL_EVENTS_MAX;
        (!fits).then(|| {
            Flaw::Invalid(Error::new(Code::InvalidAppend, "too much of this call waits for its last parts").expected(
                format!(
                    "at most {PARTIAL_MAX} appends of {PARTIAL_EVENTS_MAX} events and {PARTIAL_BYTES_MAX} bytes"
                ),
            ))
        })
    }

    fn abandon(&mut self, id: EventId) -> Result<(), Refusal> {
        if self.abandoned.len() == ABANDONED_MAX {
            return Err(Refusal::invalid(
                "too many appends of this call were given up before their last parts",
            ));
        }
        self.abandoned.insert(id);
        Ok(())
    }

    /// Gives up the appends whose time is over. Those for which there is no room to remember that stay, and end the call
    /// with the next part of a new one.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Subject> {
        let over: Vec<EventId> =
            self.appends.iter().filter(|(_, partial)| partial.due <= now).map(|(id, _)| *id).collect();
        let mut given_up = Vec::with_capacity(over.len());
        for id in over {
            let Some(partial) = self.appends.remove(&id) else { continue };
            self.bytes -= partial.bytes;
            self.events -= partial.events.events.len();
            // At most as many as wait for parts, beyond the bound.
            self.abandoned.insert(id);
            given_up.push(partial.subject);
        }
        given_up
    }

    /// When the first of the answers is due.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.appends.values().map(|partial| partial.due).min()
    }
}

/// Reads the options of a part: the first has some, and later ones may only repeat them.
fn read_options(app: &App, partial: &mut Partial, options: Option<&Options>) -> Result<(), Flaw> {
    let options = match (options, &partial.target) {
        (Some(options), None) => options,
        (None, Some(_)) => return Ok(()),
        (Some(options), Some(_)) if partial.subject.repeats(options) => return Ok(()),
        (Some(_), Some(_)) => {
            return Err(Error::new(Code::InvalidAppend, "a later part of an append has other options").into());
        }
        (None, None) => {
            return Err(Error::new(Code::InvalidAppend, "the first part of an append has no options").into());
        }
    };
    let expected = match options.expected_stream_position {
        Some(ExpectedStreamPosition::StreamPosition(revision)) => at_revision(revision)?,
        Some(ExpectedStreamPosition::NoStream(())) => Expected::NoStream,
        Some(ExpectedStreamPosition::Any(())) => Expected::Any,
        Some(ExpectedStreamPosition::StreamExists(())) => Expected::Exists,
        None => return Err(no_expectation().into()),
    };
    let stream = stream_name(options.stream_identifier.as_ref())?;
    if !is_writable(&stream) {
        return Err(Flaw::NotWritable);
    }
    let Some(left) = left(app, options) else { return Err(Flaw::TimedOut) };
    partial.due = partial.due.min(Instant::now() + left);
    partial.target = Some((stream, expected));
    Ok(())
}

/// How long the client waits for the answer, as far as that is shorter than the server does; `None` if that is over.
/// Some clients send what makes no sense as a duration: a moment, or ten thousand years.
fn left(app: &App, options: &Options) -> Option<Duration> {
    let longest = app.options.append_timeout;
    let since = |seconds: i64, nanos: i32, from_us: i64| {
        let micros = i128::from(seconds) * 1_000_000 + i128::from(nanos / 1_000) - i128::from(from_us);
        let micros = u64::try_from(micros.min(longest.as_micros() as i128)).ok()?;
        (micros > 0).then(|| Duration::from_micros(micros))
    };
    match &options.deadline_option {
        None => Some(longest),
        Some(DeadlineOption::Deadline(length)) => since(length.seconds, length.nanos, 0),
        Some(DeadlineOption::Deadline21100(moment)) => {
            since(moment.seconds, moment.nanos, app.env.clock.now_us())
        }
    }
}
