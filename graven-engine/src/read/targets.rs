//! [`Targets`]: events that others point to, as readers of their streams see them.

use super::page::Window;
use crate::append::{Pending, Shared};
use crate::index::StreamFrom;
use crate::log::reader::Reader;
use foldhash::{HashMap, HashMapExt};
use graven_model::{Code, Direction, EventRef, Result, Revision, StoredEvent, StreamName};
use std::sync::Arc;

/// Streams remembered at a time.
const STREAMS_MAX: usize = 4_096;

/// Events that others point to, as readers of their streams see them at one moment: for a page of them, not for longer.
pub struct Targets {
    shared: Arc<Shared>,
    head: u64,
    /// What is visible of streams asked for before.
    known: HashMap<String, Visible>,
    reader: Reader,
}

#[derive(Clone, Copy)]
enum Visible {
    Everything,
    Nothing,
    Within(Window),
}

impl Targets {
    pub(crate) fn new(shared: &Arc<Shared>) -> Targets {
        Targets {
            shared: Arc::clone(shared),
            head: shared.head(),
            known: HashMap::new(),
            reader: Reader::new(&shared.sources.log),
        }
    }

    /// Whether a reader of its stream sees an event: false once the stream was deleted, tombstoned, truncated beyond it, or
    /// holds newer ones than it keeps.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn shows(&mut self, event: &EventRef<'_>) -> Result<bool> {
        Ok(match self.visible(event.stream)? {
            Visible::Everything => true,
            Visible::Nothing => false,
            Visible::Within(window) => window.shows(event.revision.0, event.committed_at.micros()),
        })
    }

    /// The event of a stream at a revision, if a reader of the stream sees it.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn find(&mut self, stream: &str, revision: Revision) -> Result<Option<StoredEvent>> {
        let sources = &self.shared.sources;
        let key = sources.hasher.stream(stream);
        let (mut from, mut step) = (StreamFrom::Revision(revision.0), 1);
        loop {
            let mut candidates = Vec::new();
            sources.index.stream(key, from, Direction::Forward, self.head, step, &mut candidates);
            let Some(last) = candidates.last().copied() else { return Ok(None) };
            for position in candidates {
                let fetched = self.reader.fetch(position, sources.offset(position)?)?;
                let record = fetched.record()?;
                if record.stream != stream || record.revision < revision.0 {
                    continue;
                }
                if record.revision > revision.0 {
                    return Ok(None);
                }
                let event = fetched.event(&sources.subjects)?;
                return Ok(self.shows(&(&event).into())?.then_some(event));
            }
            // Only where hashes collide.
            (from, step) = (StreamFrom::After(last), 64);
        }
    }

    fn visible(&mut self, stream: &str) -> Result<Visible> {
        if let Some(visible) = self.known.get(stream) {
            return Ok(*visible);
        }
        let visible = self.look_up(stream)?;
        if self.known.len() >= STREAMS_MAX {
            self.known.clear();
        }
        self.known.insert(stream.to_owned(), visible);
        Ok(visible)
    }

    fn look_up(&self, stream: &str) -> Result<Visible> {
        let sources = &self.shared.sources;
        let pending = Pending::none_below(self.head);
        // Most streams have neither an end nor metadata.
        if !stream.starts_with("$$")
            && sources.tombstone(&pending, stream)?.is_none()
            && sources.metadata(&pending, stream, |_| ())?.is_none()
        {
            return Ok(Visible::Everything);
        }
        match Window::of(&self.shared, self.head, &StreamName::new(stream)?) {
            Ok(window) => Ok(Visible::Within(window)),
            Err(error) => match error.code {
                Code::StreamTombstoned | Code::StreamDeleted | Code::StreamNotFound => Ok(Visible::Nothing),
                _ => Err(error),
            },
        }
    }
}
