//! Splits a source into numbered lines that share the memory they were read into.

use super::source::Source;
use bytes::{Bytes, BytesMut};
use graven_model::{Error, Result, limits};
use std::io::BufRead as _;

/// Memory that lines share.
const BLOCK_BYTES: usize = 1 << 20;
/// One read: what an unpacker gives at a time.
const READ_BYTES: usize = 128 << 10;

/// A line without its line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// Its bytes; for a line that is too long, its beginning.
    pub(super) bytes: Bytes,
}

impl Line {
    /// Longer than a line may be.
    pub(super) fn is_too_long(&self) -> bool {
        self.bytes.len() > limits::IMPORT_LINE_BYTES_MAX
    }

    /// Nothing but white space.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }
}

/// The lines of a source.
pub(super) struct Lines {
    source: Source,
    buffer: BytesMut,
    scanned: usize,
    number: u64,
    ended: bool,
}

impl Lines {
    /// The lines of a source, from its beginning.
    pub(super) fn new(source: Source) -> Lines {
        Lines { source, buffer: BytesMut::new(), scanned: 0, number: 0, ended: false }
    }

    /// Where they come from.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The next line; `None` at the end. After a line that is too long, [`Lines::rest`] gives what is left of it.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        let end = loop {
            let mut unseen = &self.buffer[self.scanned..];
            let passed = unseen.skip_until(b'\n').expect("bytes in memory are read without fail");
            self.scanned += passed;
            if self.scanned > 0 && self.buffer[self.scanned - 1] == b'\n' && passed > 0 {
                break self.scanned;
            }
            if self.scanned > limits::IMPORT_LINE_BYTES_MAX + 1 {
                self.number += 1;
                self.scanned = 0;
                return Ok(Some(Line { number: self.number, bytes: self.buffer.split().freeze() }));
            }
            if self.ended {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                break self.buffer.len();
            }
            self.fill()?;
        };
        self.number += 1;
        self.scanned = 0;
        let mut bytes = self.buffer.split_to(end).freeze();
        if bytes.ends_with(b"\n") {
            bytes.truncate(bytes.len() - 1);
        }
        if self.number == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes = bytes.slice(3..);
        }
        Ok(Some(Line { number: self.number, bytes }))
    }

    /// What is left of the line that [`Lines::next`] gave the beginning of, piece by piece, without the line break.
    ///
    /// # Errors
    /// Those of [`Source::read`] and of `piece`.
    pub(super) fn rest(&mut self, mut piece: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        loop {
            let mut unseen = &self.buffer[..];
            let passed = unseen.skip_until(b'\n').expect("bytes in memory are read without fail");
            let found = self.buffer.split_to(passed);
            if let Some(last) = found.strip_suffix(b"\n") {
                return piece(last);
            }
            piece(&found)?;
            if self.ended {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let start = self.buffer.len();
        if self.buffer.capacity() - start < READ_BYTES {
            self.buffer.reserve(BLOCK_BYTES.max(start));
        }
        self.buffer.resize(start + READ_BYTES, 0);
        let outcome = self.source.read(&mut self.buffer[start..]);
        let read = *outcome.as_ref().unwrap_or(&0);
        self.buffer.truncate(start + read);
        self.ended = outcome? == 0;
        Ok(())
    }
}

/// The error of a line, with the line's place in the file.
pub(super) fn at_line(file: &str, number: u64, error: &Error) -> Error {
    Error { message: format!("{file}, {}", place(number, error)), ..error.clone() }
}

/// `line 7, column 9: what is wrong`
pub(super) fn place(number: u64, error: &Error) -> String {
    // A server counts from the first line of the request, a JSON parser calls its text "line 1".
    let message = error.message.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    let message = message.map_or(&*error.message, |(_, rest)| rest);
    match message.rsplit_once(" at line 1 column ") {
        Some((message, column)) => format!("line {number}, column {column}: {message}"),
        None => format!("line {number}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    fn lines(bytes: Vec<u8>) -> Lines {
        lines_of(Box::new(Cursor::new(bytes)))
    }

    fn lines_of(reader: Box<dyn Read + Send>) -> Lines {
        Lines::new(Source::from_reader("x", None, reader).unwrap())
    }

    /// Gives one byte a call.
    struct Drops(Cursor<Vec<u8>>);

    impl Read for Drops {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let one = buffer.len().min(1);
            self.0.read(&mut buffer[..one])
        }
    }

    #[test]
    fn lines_are_numbered_from_one_whatever_the_reads_give() {
        let text = b"\xef\xbb\xbfa\n\nbc\r\n\xff".to_vec();
        for mut lines in [lines(text.clone()), lines_of(Box::new(Drops(Cursor::new(text))))] {
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                found.push((line.number, line.bytes.to_vec()));
            }
            assert_eq!(
                found,
                [(1, b"a".to_vec()), (2, vec![]), (3, b"bc\r".to_vec()), (4, b"\xff".to_vec())]
            );
        }
    }

    #[test]
    fn an_error_names_line_and_column_of_the_file() {
        let named =
            |message: &str| at_line("f", 7, &Error::new(graven_model::Code::InvalidJson, message)).message;
        assert_eq!(
            named("malformed: expected value at line 1 column 9"),
            "f, line 7, column 9: malformed: expected value"
        );
        assert_eq!(named("line 3: attribute \"id\": is missing"), "f, line 7: attribute \"id\": is missing");
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces_and_the_next_is_whole() {
        let long = limits::IMPORT_LINE_BYTES_MAX + (3 << 20);
        let mut text = vec![b'x'; long];
        text.extend_from_slice(b"\nnext\n");
        let mut lines = lines(text);
        let line = lines.next().unwrap().unwrap();
        assert!(line.is_too_long());
        let mut total = line.bytes.len();
        lines
            .rest(|piece| {
                assert!(piece.iter().all(|byte| *byte == b'x'));
                total += piece.len();
                Ok(())
            })
            .unwrap();
        assert_eq!(total, long);
        assert_eq!(&*lines.next().unwrap().unwrap().bytes, b"next");
        assert_eq!(lines.next().unwrap(), None);
    }
}
