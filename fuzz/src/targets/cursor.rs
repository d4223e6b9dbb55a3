//! Cursors: text that clients send back to us.

use graven_model::{Cursor, Direction, Position, Revision, Selector, Start, Timestamp};

pub(super) fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(cursor) = Cursor::decode(text) else { return false };
    assert_eq!(cursor.encode(), text, "a cursor has one spelling");
    true
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let starts = [
        Start::Start,
        Start::End,
        Start::Revision(Revision(41)),
        Start::Position(Position(u64::MAX)),
        Start::Time(Timestamp::from_micros(-1)),
    ];
    let directions = [Direction::Forward, Direction::Backward];
    let of = |start| {
        directions.map(|direction| Cursor::new(&Selector::All, direction, start).encode().into_bytes())
    };
    starts.into_iter().flat_map(of).collect()
}
