//! Graven as a library: the engine in the process that loads it.

use crate::events::Event;
use crate::target::{Ask, By, Client, Follow, Later, Layout, Target};
use anyhow::{Context, Result, ensure};
use graven_engine::{Follower, Options, Store};
use graven_model::{
    AppendRequest, Direction, EventFilter, EventId, Expected, FollowRequest, FollowStep, NewEvent, Position,
    Query, ReadRequest, Selector, Start, StreamName, frame, limits,
};
use std::path::Path;

/// An open store.
#[derive(Clone)]
pub(crate) struct GravenProcess {
    store: Store,
    /// Whole logs are read as stored frames, decoded by the reader, instead of as pages.
    frames: bool,
}

impl GravenProcess {
    /// Opens or makes the store in this directory.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub(crate) fn open(dir: &Path) -> Result<GravenProcess> {
        GravenProcess::open_with(dir, Options::default())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub(crate) fn open_with(dir: &Path, options: Options) -> Result<GravenProcess> {
        let store = Store::open(dir, options).context("cannot open the store")?;
        Ok(GravenProcess { store, frames: false })
    }

    /// The store itself.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The same store, read as frames.
    pub(crate) fn by_frames(&self) -> GravenProcess {
        GravenProcess { frames: true, ..self.clone() }
    }
}

impl Target for GravenProcess {
    fn name(&self) -> &'static str {
        if self.frames { "Graven, library, frames" } else { "Graven, library" }
    }

    fn layout(&self) -> Layout {
        Layout::InProcess
    }

    fn offers(&self, ask: Ask) -> bool {
        match ask {
            Ask::ReadAll => true,
            Ask::ReadCategory | Ask::Consume => false,
            _ => !self.frames,
        }
    }

    fn connect(&self) -> Later<'_, Box<dyn Client>> {
        Box::pin(async { Ok(Box::new(Caller(self.clone())) as Box<dyn Client>) })
    }

    fn processes(&self) -> Vec<u32> {
        vec![std::process::id()]
    }
}

struct Caller(GravenProcess);

impl Caller {
    fn read_frames(&self) -> Result<u64> {
        let mut count = 0;
        let mut next = Position(0);
        loop {
            let frames = self.0.store.read_opened_frames(next, limits::PAGE_BYTES_DEFAULT)?;
            if frames.bytes.is_empty() {
                return Ok(count);
            }
            next = frames.next;
            for event in frame::events(&frames.bytes) {
                count += u64::from(!event?.event.data.is_empty());
            }
        }
    }
}

impl Client for Caller {
    fn append<'a>(&'a mut self, events: &'a [Event], unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            let request = append_request(events, unless)?;
            self.0.store.submit(request)?.await?;
            Ok(())
        })
    }

    fn read_all(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            if self.0.frames {
                return self.read_frames();
            }
            let mut count = 0;
            let mut start = Some(Start::Start);
            while let Some(from) = start {
                let page = self.0.store.read(&page_of(Selector::All, from))?;
                count += page.events.len() as u64;
                start = page.next;
            }
            Ok(count)
        })
    }

    fn read_entity<'a>(&'a mut self, by: By, entity: &'a str) -> Later<'a, u64> {
        Box::pin(async move {
            let page = self.0.store.read(&ReadRequest::new(selector(by, entity)?))?;
            Ok(page.events.len() as u64)
        })
    }

    fn follow(&mut self) -> Later<'_, Box<dyn Follow>> {
        Box::pin(async {
            let follower = self.0.store.follow(FollowRequest::new(Selector::All, Start::End))?;
            Ok(Box::new(Followed(follower)) as Box<dyn Follow>)
        })
    }
}

struct Followed(Follower);

impl Follow for Followed {
    fn next(&mut self) -> Later<'_, u64> {
        Box::pin(async {
            loop {
                match self.0.poll_next()? {
                    Some(FollowStep::Events(events)) => return Ok(events.len() as u64),
                    Some(FollowStep::CaughtUp(_) | FollowStep::Checkpoint(_)) => {}
                    None => self.0.wait().await?,
                }
            }
        })
    }
}

/// The events of an append, stream by stream.
pub(crate) fn append_request(events: &[Event], unless: Option<&str>) -> Result<AppendRequest> {
    let mut request = AppendRequest::default();
    for of_stream in events.chunk_by(|a, b| a.stream == b.stream) {
        let stream = StreamName::new(of_stream[0].stream.as_str())?;
        request = request.and_to(stream, Expected::Any, of_stream.iter().map(new_event));
    }
    ensure!(!events.is_empty(), "an append of nothing");
    Ok(match unless {
        Some(kind) => request.unless(Query::item([kind], [] as [&str; 0]), None),
        None => request,
    })
}

/// What is asked for by an entity's number.
pub(crate) fn selector(by: By, entity: &str) -> Result<Selector> {
    Ok(match by {
        By::Stream => Selector::Stream(StreamName::new(format!("loan-{entity}"))?),
        By::Tag => Selector::Tags(vec![format!("customer:{entity}").into()]),
    })
}

fn new_event(event: &Event) -> NewEvent {
    NewEvent::json(EventId(event.id), event.kind, event.data.clone()).tagged([event.tag.as_str()])
}

fn page_of(selector: Selector, start: Start) -> ReadRequest {
    ReadRequest {
        selector,
        start,
        direction: Direction::Forward,
        limit: limits::PAGE_EVENTS_MAX,
        bytes_max: limits::PAGE_BYTES_DEFAULT,
        filter: EventFilter::default(),
    }
}
