//! A run of lines that is handed over as one append.

use super::lines::Line;
use graven_model::cloudevents::{self, Incoming, Interner};
use graven_model::error::Details;
use graven_model::{AppendRequest, Error, Expected, Idempotency, StreamName, StreamWrite};
use std::collections::HashMap;

/// Events of one chunk.
pub(super) const CHUNK_EVENTS_MAX: usize = 4_096;
/// Bytes of one chunk; a larger line makes a chunk of its own.
pub(super) const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// NDJSON for a server.
    Body,
    /// An append for a store.
    Append,
}

/// What is handed over.
pub(super) enum Payload {
    /// NDJSON, each line with its line break.
    Body(Vec<u8>),
    /// The events.
    Append(AppendRequest),
}

/// Lines and what they become.
pub(super) struct Chunk {
    /// The lines, to name and reject single ones.
    pub(super) lines: Vec<Line>,
    /// What is handed over.
    pub(super) payload: Payload,
    /// Bytes of the lines.
    pub(super) size_bytes: usize,
    /// Number of the last line that is settled when this chunk is.
    pub(super) last_line: u64,
    /// Bytes of the file read when the chunk was made.
    pub(super) read_bytes: u64,
    indexes: HashMap<StreamName, u32>,
}

impl Chunk {
    /// An empty chunk.
    pub(super) fn new(kind: Kind) -> Chunk {
        let payload = match kind {
            Kind::Body => Payload::Body(Vec::with_capacity(CHUNK_BYTES_MAX / 4)),
            Kind::Append => Payload::Append(AppendRequest {
                events: Vec::with_capacity(CHUNK_EVENTS_MAX),
                idempotency: Idempotency::EachEvent,
                ..AppendRequest::default()
            }),
        };
        let lines = Vec::with_capacity(CHUNK_EVENTS_MAX);
        Chunk { lines, payload, size_bytes: 0, last_line: 0, read_bytes: 0, indexes: HashMap::new() }
    }

    /// Adds a line and the event it holds. `seen` is told its stream, unless the chunk knows that it was told before.
    pub(super) fn push(&mut self, line: Line, incoming: Incoming, seen: impl FnOnce(&StreamName)) {
        self.size_bytes += line.bytes.len();
        self.last_line = line.number;
        match &mut self.payload {
            Payload::Body(body) => {
                seen(&incoming.stream);
                body.extend_from_slice(&line.bytes);
                body.push(b'\n');
            }
            Payload::Append(request) => {
                let Incoming { stream, event } = incoming;
                let index = match self.indexes.get(&stream) {
                    Some(index) => *index,
                    None => {
                        seen(&stream);
                        let index = u32::try_from(request.streams.len()).expect("a chunk is small");
                        self.indexes.insert(stream.clone(), index);
                        request.streams.push(StreamWrite { stream, expected: Expected::Any });
                        index
                    }
                };
                request.events.push((index, event));
            }
        }
        self.lines.push(line);
    }

    /// No line at all.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a line of this many bytes belongs into the next chunk.
    pub(super) fn is_full_for(&self, line_bytes: usize) -> bool {
        self.lines.len() >= CHUNK_EVENTS_MAX
            || !self.is_empty() && self.size_bytes + line_bytes > CHUNK_BYTES_MAX
    }

    fn kind(&self) -> Kind {
        match self.payload {
            Payload::Body(_) => Kind::Body,
            Payload::Append(_) => Kind::Append,
        }
    }

    /// Indexes of the lines an error is about, ascending: the item it names, or the lines of the streams whose checks
    /// failed. Empty if it is about the chunk as a whole.
    pub(super) fn bad_lines(&self, error: &Error) -> Vec<usize> {
        match &error.details {
            Details::Item(item) => {
                usize::try_from(*item).ok().filter(|item| *item < self.lines.len()).into_iter().collect()
            }
            Details::FailedChecks(checks) => {
                let is_bad = |line: &&Line| {
                    let parsed = cloudevents::parse(&line.bytes, &mut Interner::default());
                    parsed.is_ok_and(|incoming| checks.iter().any(|check| check.stream == incoming.stream))
                };
                self.lines
                    .iter()
                    .enumerate()
                    .filter(|(_, line)| is_bad(line))
                    .map(|(index, _)| index)
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The chunk without some of its lines.
    pub(super) fn without(&self, bad: &[usize]) -> Chunk {
        let kept =
            self.lines.iter().enumerate().filter(|(index, _)| !bad.contains(index)).map(|(_, line)| line);
        let mut chunk = self.rebuilt(kept);
        chunk.last_line = self.last_line;
        chunk
    }

    /// The lines before one of them.
    pub(super) fn before(&self, index: usize) -> Chunk {
        self.rebuilt(&self.lines[..index])
    }

    fn rebuilt<'a>(&self, lines: impl IntoIterator<Item = &'a Line>) -> Chunk {
        let mut chunk = Chunk::new(self.kind());
        let mut names = Interner::default();
        for line in lines {
            let incoming = cloudevents::parse(&line.bytes, &mut names).expect("the line was parsed before");
            chunk.push(line.clone(), incoming, |_| ());
        }
        chunk.read_bytes = self.read_bytes;
        chunk
    }
}
