//! The reading thread: lines in, checked chunks out.

use super::chunk::{Chunk, Kind};
use super::lines::{Line, Lines, at_line};
use super::rejects::Rejects;
use super::source::Source;
use graven_model::cloudevents::{self, Incoming, Interner};
use graven_model::{Code, Error, Result, StreamName, limits};
use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// What the thread finds, in the order of the file.
pub(super) enum Found {
    /// Good lines.
    Chunk(Chunk),
    /// Nothing comes after this.
    End {
        /// The bad line, or why the file cannot be read on; `None` at the end of the file.
        bad: Option<Error>,
        /// Streams of all chunks.
        streams: StreamCount,
    },
}

/// Distinct streams, by the 64-bit hash of their names.
#[derive(Default)]
pub(super) struct StreamCount {
    hashes: HashSet<u64>,
    hasher: BuildHasherDefault<DefaultHasher>,
}

/// Streams counted one by one: 64 MiB of memory.
const STREAMS_COUNTED_MAX: usize = 2_000_000;

impl StreamCount {
    fn add(&mut self, stream: &StreamName) {
        if self.hashes.len() < STREAMS_COUNTED_MAX {
            self.hashes.insert(self.hasher.hash_one(stream.as_str()));
        }
    }

    /// The number, with "more than" if counting stopped.
    pub(super) fn shown(&self) -> String {
        let number = crate::config::units::show_count(self.hashes.len() as u64);
        if self.hashes.len() < STREAMS_COUNTED_MAX { number } else { format!("more than {number}") }
    }
}

/// The reading side of an import.
pub(super) struct Reader {
    lines: Lines,
    kind: Kind,
    from_line: u64,
    rejects: Option<Rejects>,
    names: Interner,
    streams: StreamCount,
}

impl Reader {
    /// Reads a source from a line on. With `rejects`, bad lines go there; without, the first one is the end.
    pub(super) fn new(source: Source, kind: Kind, from_line: u64, rejects: Option<Rejects>) -> Reader {
        let (names, streams) = (Interner::default(), StreamCount::default());
        Reader { lines: Lines::new(source), kind, from_line, rejects, names, streams }
    }

    /// Reads to the end or until `emit` says no.
    pub(super) fn run(mut self, mut emit: impl FnMut(Found) -> bool) {
        let mut chunk = Chunk::new(self.kind);
        let bad = loop {
            let (line, incoming) = match self.next_good() {
                Ok(Some(found)) => found,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            if chunk.is_full_for(line.bytes.len()) {
                let mut full = std::mem::replace(&mut chunk, Chunk::new(self.kind));
                full.read_bytes = self.lines.source().read_bytes();
                if !emit(Found::Chunk(full)) {
                    return;
                }
            }
            chunk.push(line, incoming, |stream| self.streams.add(stream));
        };
        chunk.read_bytes = self.lines.source().read_bytes();
        if chunk.is_empty() || emit(Found::Chunk(chunk)) {
            emit(Found::End { bad, streams: self.streams });
        }
    }

    /// The next line that is an event; blank lines are passed over.
    fn next_good(&mut self) -> Result<Option<(Line, Incoming)>> {
        while let Some(line) = self.lines.next()? {
            let wanted = line.number >= self.from_line;
            if line.is_too_long() {
                self.too_long(&line, wanted)?;
                continue;
            }
            if !wanted || line.is_blank() {
                continue;
            }
            match (cloudevents::parse(&line.bytes, &mut self.names), &self.rejects) {
                (Ok(incoming), _) => return Ok(Some((line, incoming))),
                (Err(error), Some(rejects)) => rejects.write(&line, &error)?,
                (Err(error), None) => return Err(at_line(self.lines.source().name(), line.number, &error)),
            }
        }
        Ok(None)
    }

    fn too_long(&mut self, line: &Line, wanted: bool) -> Result<()> {
        let error = Error::new(Code::EventTooLarge, "the line is too long")
            .expected(format!("at most {} bytes", limits::IMPORT_LINE_BYTES_MAX));
        match &self.rejects {
            _ if !wanted => self.lines.rest(|_| Ok(())),
            Some(rejects) => rejects.write_pieces(line, &error, |piece| self.lines.rest(piece)),
            None => Err(at_line(self.lines.source().name(), line.number, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::CHUNK_EVENTS_MAX;
    use super::*;
    use std::io::Cursor;

    fn line(id: u32, stream: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"00000000-0000-4000-8000-{id:012}","source":"s","type":"T","subject":"{stream}","data":{{}}}}"#
        )
    }

    fn read(text: String, rejects: Option<Rejects>, from_line: u64) -> (Vec<Chunk>, Option<Error>, String) {
        let source = Source::from_reader("x", None, Box::new(Cursor::new(text.into_bytes()))).unwrap();
        let (mut chunks, mut last) = (Vec::new(), None);
        Reader::new(source, Kind::Append, from_line, rejects).run(|found| {
            match found {
                Found::Chunk(chunk) => chunks.push(chunk),
                Found::End { bad, streams } => last = Some((bad, streams.shown())),
            }
            true
        });
        let (bad, streams) = last.unwrap();
        (chunks, bad, streams)
    }

    #[test]
    fn chunks_hold_the_lines_in_order_and_are_bounded() {
        let count = CHUNK_EVENTS_MAX + 10;
        let text: String = (0..count).map(|id| line(id as u32, &format!("s-{}", id % 7)) + "\n").collect();
        let (chunks, bad, streams) = read(text, None, 1);
        assert_eq!((bad, streams.as_str()), (None, "7"));
        assert_eq!(chunks.iter().map(|chunk| chunk.lines.len()).collect::<Vec<_>>(), [CHUNK_EVENTS_MAX, 10]);
        let numbers = chunks.iter().flat_map(|chunk| chunk.lines.iter().map(|line| line.number));
        assert!(numbers.eq(1..=count as u64));
        assert_eq!(chunks[1].last_line, count as u64);
    }

    #[test]
    fn a_bad_line_ends_the_reading_after_what_came_before() {
        let text = format!("{}\n\n{}\nnonsense\n{}\n", line(1, "a"), line(2, "b"), line(3, "c"));
        let (chunks, bad, _) = read(text, None, 1);
        assert_eq!(chunks.iter().map(|chunk| chunk.lines.len()).collect::<Vec<_>>(), [2]);
        let error = bad.unwrap();
        assert!(error.message.starts_with("x, line 4"), "{error}");
    }

    #[test]
    fn with_rejects_bad_lines_go_there_as_they_are_and_reading_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects");
        let rejects = Rejects::new(path.clone());
        let text = format!("{}\nnonsense\r\n{}\n{{\"half\":", line(1, "a"), line(3, "c"));
        let (chunks, bad, _) = read(text, Some(rejects.clone()), 1);
        assert_eq!((chunks[0].lines.len(), bad), (2, None));
        rejects.finish().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "nonsense\r\n{\"half\":\n");
    }

    #[test]
    fn reading_can_begin_at_a_later_line() {
        let text = format!("nonsense\n{}\n{}\n", line(1, "a"), line(2, "b"));
        let (chunks, bad, _) = read(text, None, 3);
        assert_eq!((chunks[0].lines[0].number, chunks[0].lines.len(), bad), (3, 1, None));
    }
}
