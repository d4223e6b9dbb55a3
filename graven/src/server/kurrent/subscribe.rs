//! `Streams.Read` without an end: what there is, then what comes.

use super::Answer;
use super::asked::{Asked, Begin, What};
use super::errors::{About, Refusal};
use super::shown::{Manner, Shown};
use crate::server::feed::{self, Feed};
use crate::server::follow::{STEP_BYTES, STEP_EVENTS};
use crate::server::grpc::answer::streaming;
use crate::server::long_read::{passed, too_late};
use crate::server::{App, stopping};
use graven_engine::env::Env;
use graven_engine::{EventList, FollowRequest, FollowStep, Follower, ListReading, Store};
use graven_model::{
    Code, Direction, Error, EventFilter, EventRef, Position, Result, Revision, Selector, Start, StreamName,
    StreamState,
};
use graven_proto::kurrentdb::streams::read_resp::{self, CaughtUp, Checkpoint, Content};
use graven_proto::kurrentdb::well_known;
use std::sync::Arc;
use tokio::time::Instant;

/// Begins a subscription.
///
/// # Errors
/// A stream that has ended, a filter that does not compile; those of the store.
pub(super) async fn open(
    app: Arc<App>,
    asked: Asked,
    checkpoint_every: u64,
    deadline: Option<Instant>,
) -> Answer {
    let about = match &asked.what {
        What::Stream(stream) => stream.to_string(),
        What::View(name, _) => name.clone(),
        What::Log { .. } => String::new(),
    };
    let env = app.env.clone();
    let subscription = app
        .read(move |store| Subscription::begin(store, asked, checkpoint_every, env))
        .await
        .map_err(|error| Refusal::of(&error, About::stream(&about)))?;
    let (feed, body) = feed::open();
    tokio::spawn(send(app, subscription, feed, deadline, about));
    Ok(streaming(body))
}

async fn send(
    app: Arc<App>,
    subscription: Subscription,
    feed: Feed,
    deadline: Option<Instant>,
    about: String,
) {
    let _open = app.metrics.follower();
    let mut ending = app.stopping.clone();
    let error = tokio::select! {
        error = run(&app, subscription, &feed) => error,
        () = feed.gone() => None,
        () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => Some(stopping()),
        () = passed(deadline) => Some(too_late()),
    };
    // Without an error it was the client who went away.
    if let Some(error) = error {
        app.metrics.refused(error.code);
        tracing::warn!(code = %error.code, "a subscription broke off");
        feed.end_with(Refusal::of(&error, About::stream(&about)).trailers()).await;
    }
}

/// Runs until something is wrong, or the client is gone.
async fn run(app: &Arc<App>, mut subscription: Subscription, feed: &Feed) -> Option<Error> {
    let mut head = app.store.watch_head();
    let confirmation =
        read_resp::SubscriptionConfirmation { subscription_id: app.new_event_id().to_string() };
    let mut first = Some(Content::Confirmation(confirmation));
    loop {
        // The slot first: nothing is read that nobody takes.
        let slot = feed.slot().await?;
        let confirmation = first.take();
        let read = move |store: &Store| {
            let answer = match confirmation {
                Some(content) => {
                    let mut shown = Shown::new(store, subscription.manner, 64);
                    shown.say(content);
                    Some(shown.finish()?)
                }
                None => subscription.next(store)?,
            };
            Ok((answer, subscription))
        };
        match app.read_short(read).await {
            Err(error) => return Some(error),
            Ok((Some((bytes, events)), back)) => {
                subscription = back;
                app.metrics.sent(events);
                slot.send(app.answers.hold(bytes).await);
            }
            Ok((None, back)) => {
                subscription = back;
                let seen = subscription.seen();
                if head.wait_for(|head| *head > seen).await.is_err() {
                    return Some(Error::new(Code::Closed, "the store is closed"));
                }
            }
        }
    }
}

/// A read that never ends.
struct Subscription {
    source: Source,
    manner: Manner,
    env: Env,
    /// Checkpoints are told.
    filtered: bool,
    /// The last one told.
    checkpoint: Option<Position>,
}

enum Source {
    /// The log, or a stream with the last revision known of it.
    Log {
        follower: Follower,
        stream: Option<(StreamName, Option<Revision>)>,
    },
    View {
        name: String,
        list: EventList,
        reading: ListReading,
        caught_up: bool,
    },
}

impl Subscription {
    fn begin(store: &Store, asked: Asked, checkpoint_every: u64, env: Env) -> Result<Subscription> {
        let manner = Manner {
            resolve_links: asked.resolve_links,
            ids_as_text: asked.ids_as_text,
            hides: matches!(asked.what, What::Log { .. }),
        };
        let follow = |selector, filter| {
            let request = FollowRequest {
                filter,
                page_events: STEP_EVENTS,
                page_bytes: STEP_BYTES,
                checkpoint_every,
                ..FollowRequest::new(selector, after(asked.from))
            };
            store.follow(request)
        };
        let mut filtered = false;
        let source = match asked.what {
            What::Stream(stream) => {
                refuse_tombstoned(store, &stream)?;
                if let Some(described) = stream.described() {
                    refuse_tombstoned(store, &described)?;
                }
                let follower = follow(Selector::Stream(stream.clone()), EventFilter::default())?;
                Source::Log { follower, stream: Some((stream, None)) }
            }
            What::Log { selector, filter, filtered: narrowed } => {
                filtered = narrowed;
                Source::Log { follower: follow(selector, filter)?, stream: None }
            }
            What::View(name, list) => {
                let start = match asked.from {
                    Begin::Number(number) => Start::Revision(number.next()),
                    Begin::End => Start::End,
                    Begin::Start | Begin::Position(_) => Start::Start,
                };
                let reading = store.read_list(list.clone(), start, Direction::Forward)?;
                Source::View { name, list, reading, caught_up: false }
            }
        };
        Ok(Subscription { source, manner, env, filtered, checkpoint: None })
    }

    /// Everything below this was looked at.
    fn seen(&self) -> Position {
        match &self.source {
            Source::Log { follower, .. } => follower.next_position(),
            Source::View { reading, .. } => reading.end(),
        }
    }

    /// The next messages and the events in them; `None` if something has to come first.
    ///
    /// # Errors
    /// [`Code::StreamTombstoned`] after the last event of a stream that ended; those of the store.
    fn next(&mut self, store: &Store) -> Result<Option<(Vec<u8>, usize)>> {
        loop {
            let mut shown = Shown::new(store, self.manner, 0);
            let waits = match &mut self.source {
                Source::Log { follower, stream } => match follower.poll_next()? {
                    None => true,
                    Some(step) => {
                        tell(
                            store,
                            &self.env,
                            &mut shown,
                            stream,
                            step,
                            (self.filtered, &mut self.checkpoint),
                        )?;
                        false
                    }
                },
                Source::View { name, list, reading, caught_up } => {
                    reading.reach_head();
                    let more = reading.next(STEP_EVENTS as usize, STEP_BYTES, |number, event| {
                        shown.link(name, list, number, event)
                    })?;
                    let behind = more || shown.events > 0;
                    if more && shown.events >= STEP_EVENTS as usize {
                        *caught_up = false;
                    }
                    if !behind && !*caught_up {
                        *caught_up = true;
                        let last = reading.next_number().unwrap_or_default().checked_sub(1);
                        shown.say(Content::CaughtUp(CaughtUp {
                            timestamp: Some(now(&self.env)),
                            stream_revision: last.map(|last| last as i64),
                            position: None,
                        }));
                    }
                    !behind && shown.bytes.is_empty()
                }
            };
            let (bytes, events) = shown.finish()?;
            if !bytes.is_empty() {
                return Ok(Some((bytes, events)));
            }
            if waits {
                return Ok(None);
            }
        }
    }
}

/// Where a follower begins: after a number or position.
fn after(from: Begin) -> Start {
    match from {
        Begin::Start => Start::Start,
        Begin::End => Start::End,
        Begin::Number(revision) => Start::Revision(revision),
        Begin::Position(position) => Start::Position(position),
    }
}

/// Refuses a stream that has ended.
///
/// # Errors
/// [`Code::StreamTombstoned`]; those of the store.
pub(super) fn refuse_tombstoned(store: &Store, stream: &StreamName) -> Result<()> {
    match store.stream_info(stream) {
        Ok(info) if info.state == StreamState::Tombstoned => {
            Err(Error::new(Code::StreamTombstoned, format!("stream {:?} was tombstoned", stream.as_str())))
        }
        Err(error) if error.code != Code::StreamNotFound => Err(error),
        _ => Ok(()),
    }
}

/// Tells a step of a follower.
fn tell(
    store: &Store,
    env: &Env,
    shown: &mut Shown,
    stream: &mut Option<(StreamName, Option<Revision>)>,
    step: FollowStep,
    (filtered, checkpoint): (bool, &mut Option<Position>),
) -> Result<()> {
    let mut tell_checkpoint = |shown: &mut Shown, position: Position| {
        if filtered && checkpoint.is_none_or(|last| position > last) {
            *checkpoint = Some(position);
            shown.say(Content::Checkpoint(Checkpoint {
                commit_position: position.0,
                prepare_position: position.0,
                timestamp: Some(now(env)),
            }));
        }
    };
    match step {
        FollowStep::Events(events) => {
            for event in &events {
                shown.event(&EventRef::from(event));
            }
            if let (Some((_, known)), Some(last)) = (stream, events.last()) {
                *known = Some(last.revision);
            }
        }
        FollowStep::Checkpoint(position) => tell_checkpoint(shown, position),
        FollowStep::CaughtUp(head) => {
            let last = head.0.checked_sub(1).map(Position);
            if let Some(last) = last {
                tell_checkpoint(shown, last);
            }
            let mut caught_up = CaughtUp { timestamp: Some(now(env)), stream_revision: None, position: None };
            match stream {
                Some((stream, known)) => {
                    if known.is_none() {
                        *known = last_revision(store, stream)?;
                    }
                    caught_up.stream_revision = known.map(|last| last.0 as i64);
                }
                None => {
                    caught_up.position = last.map(|last| read_resp::Position {
                        commit_position: last.0,
                        prepare_position: last.0,
                    });
                }
            }
            shown.say(Content::CaughtUp(caught_up));
        }
    }
    Ok(())
}

fn last_revision(store: &Store, stream: &StreamName) -> Result<Option<Revision>> {
    match store.stream_info(stream) {
        Ok(info) => Ok(info.last_revision),
        Err(error) if error.code == Code::StreamNotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The time as messages say it.
fn now(env: &Env) -> well_known::Timestamp {
    let micros = env.clock.now_us();
    well_known::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32,
    }
}
