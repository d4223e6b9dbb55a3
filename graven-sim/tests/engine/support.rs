//! What the tests share.

use bytes::Bytes;
use graven_model::{AppendRequest, EventId, Expected, NewEvent, StreamName};
use graven_sim::dice::mix;
use std::ops::Range;
use std::path::PathBuf;

/// Seeds to run: `default` of them unless the environment says otherwise.
pub(crate) fn seeds(default: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a seed is a number"));
    match (number("GRAVEN_SIM_SEED"), number("GRAVEN_SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(default),
    }
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

pub(crate) fn id(number: u64) -> EventId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number).to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    EventId(id)
}

pub(crate) fn event(number: u64) -> NewEvent {
    NewEvent::json(id(number), "Opened", format!("{{\"number\":{number}}}")).tagged(["red"])
}

pub(crate) fn to(stream: &str, expected: Expected, numbers: impl IntoIterator<Item = u64>) -> AppendRequest {
    AppendRequest::to(name(stream), expected, numbers.into_iter().map(event))
}

/// An event with a payload of this many bytes.
pub(crate) fn large(number: u64, bytes: usize) -> NewEvent {
    let mut event = event(number);
    event.content_type = graven_model::ContentType::Binary;
    event.data = Bytes::from(vec![number as u8; bytes]);
    event
}

/// Files of the log, of the index and so on: those whose path contains this.
pub(crate) fn files(disk: &graven_sim::SimDisk, part: &str) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|path| path.to_string_lossy().contains(part)).collect()
}
