//! [`Cursor`]: where the next page begins, as one opaque word for the outside.

use crate::error::{Code, Error, Result};
use crate::ids::{Position, Revision};
use crate::read::{Direction, Selector, Start};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The place where a paged read goes on. It belongs to the selector and direction it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Where the next page begins: a revision or a position.
    pub start: Start,
    /// The direction of the read.
    pub direction: Direction,
    /// Fingerprint of the selector, so that a cursor is not used on another read by mistake.
    pub selector: u32,
}

const VERSION: u8 = 1;

impl Cursor {
    /// The cursor for the page after `start`.
    #[must_use]
    pub fn new(selector: &Selector, direction: Direction, start: Start) -> Cursor {
        Cursor { start, direction, selector: fingerprint(selector) }
    }

    /// Text form: URL-safe, without padding, 24 characters.
    #[must_use]
    pub fn encode(&self) -> String {
        let (kind, number) = match self.start {
            Start::Start => (0, 0),
            Start::End => (1, 0),
            Start::Revision(revision) => (2, revision.0),
            Start::Position(position) => (3, position.0),
            Start::Time(time) => (4, time.micros() as u64),
        };
        let mut bytes = vec![VERSION, kind << 1 | u8::from(self.direction == Direction::Backward)];
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&self.selector.to_be_bytes());
        let check = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&check.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text form back.
    ///
    /// # Errors
    /// [`Code::InvalidCursor`] for anything this store did not make.
    pub fn decode(text: &str) -> Result<Cursor> {
        let invalid = || Error::new(Code::InvalidCursor, "the cursor was not made by this store");
        if text.len() > 64 {
            return Err(invalid());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let bytes: [u8; 18] = bytes.try_into().map_err(|_| invalid())?;
        let (body, check) = bytes.split_at(14);
        if crc32c::crc32c(body).to_be_bytes() != *check || body[0] != VERSION {
            return Err(invalid());
        }
        let number = u64::from_be_bytes(body[2..10].try_into().expect("eight bytes"));
        let start = match body[1] >> 1 {
            0 => Start::Start,
            1 => Start::End,
            2 => Start::Revision(Revision(number)),
            3 => Start::Position(Position(number)),
            4 => Start::Time(crate::Timestamp::from_micros(number as i64)),
            _ => return Err(invalid()),
        };
        let direction = if body[1] & 1 == 1 { Direction::Backward } else { Direction::Forward };
        let selector = u32::from_be_bytes(body[10..14].try_into().expect("four bytes"));
        Ok(Cursor { start, direction, selector })
    }

    /// Checks that the cursor belongs to this read.
    ///
    /// # Errors
    /// [`Code::InvalidCursor`] if it was made for another selector or direction.
    pub fn check(&self, selector: &Selector, direction: Direction) -> Result<Start> {
        if self.selector != fingerprint(selector) || self.direction != direction {
            return Err(Error::new(Code::InvalidCursor, "the cursor belongs to another read"));
        }
        Ok(self.start)
    }
}

fn fingerprint(selector: &Selector) -> u32 {
    crc32c::crc32c(format!("{selector:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back_what_it_was(number: u64, kind in 0..4, back: bool) {
            let start = match kind {
                0 => Start::End,
                1 => Start::Revision(Revision(number)),
                2 => Start::Position(Position(number)),
                _ => Start::Time(crate::Timestamp::from_micros(number as i64)),
            };
            let direction = if back { Direction::Backward } else { Direction::Forward };
            let cursor = Cursor::new(&Selector::All, direction, start);
            let decoded = Cursor::decode(&cursor.encode()).unwrap();
            prop_assert_eq!(decoded, cursor);
            prop_assert_eq!(decoded.check(&Selector::All, direction).unwrap(), start);
            prop_assert!(decoded.check(&Selector::Category("x".into()), direction).is_err());
        }

        #[test]
        fn foreign_text_is_refused_as_a_cursor(text in ".{0,80}") {
            prop_assert_eq!(Cursor::decode(&text).unwrap_err().code, Code::InvalidCursor);
        }
    }
}
