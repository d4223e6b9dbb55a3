//! The events all targets are given: 256 bytes of JSON, one tag, ten events a stream, all in the category `loan`.

use bytes::Bytes;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Bytes of a payload.
pub(crate) const PAYLOAD_BYTES: usize = 256;
/// Events of an entity: of its stream, and with its tag.
pub(crate) const ENTITY_EVENTS: u64 = 10;
/// A type no event has.
pub(crate) const ABSENT_TYPE: &str = "LoanForgotten";

const TYPES: [&str; 5] = ["LoanSubmitted", "LoanChecked", "OfferMade", "OfferAccepted", "LoanPaid"];
const PAYLOADS: usize = 1024;

/// One event, in nobody's dialect.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Stream it goes to; the tag of targets without streams.
    pub(crate) stream: String,
    /// Its only tag: `customer:` and the number of the entity.
    pub(crate) tag: String,
    /// Unique.
    pub(crate) id: [u8; 16],
    /// Type.
    pub(crate) kind: &'static str,
    /// Payload.
    pub(crate) data: Bytes,
}

/// Makes events; no two sources with different numbers ever make the same id or stream.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    number: u64,
    made: u64,
}

impl Source {
    /// The source with this number.
    pub(crate) fn new(number: u64) -> Source {
        Source::from(number, 0)
    }

    /// The same one after it made this many.
    pub(crate) fn from(number: u64, made: u64) -> Source {
        Source { number, made }
    }

    /// The next events of one stream, which gets [`ENTITY_EVENTS`] before the next one begins.
    pub(crate) fn batch(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.event()).collect()
    }

    fn event(&mut self) -> Event {
        let made = self.made;
        self.made += 1;
        let entity = entity(self.number, made / ENTITY_EVENTS);
        let place = usize::try_from(made % ENTITY_EVENTS).expect("a small number");
        let (high, low) = (mix(self.number << 40 | made), mix(!(self.number << 40 | made)));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&high.to_be_bytes());
        id[8..].copy_from_slice(&low.to_be_bytes());
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        Event {
            stream: format!("loan-{entity}"),
            tag: format!("customer:{entity}"),
            id,
            kind: TYPES[place / 2],
            data: PAYLOAD_POOL[usize::try_from(high).unwrap_or_default() % PAYLOADS].clone(),
        }
    }
}

/// Number `index` of the entities of a source, as names carry it.
pub(crate) fn entity(source: u64, index: u64) -> String {
    format!("{source}{index:07}")
}

/// An id as text.
pub(crate) fn uuid_text(id: &[u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (place, byte) in id.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        write!(out, "{byte:02x}").expect("a String takes everything");
    }
    out
}

/// A number that looks random (splitmix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

static PAYLOAD_POOL: LazyLock<Vec<Bytes>> = LazyLock::new(|| (0..PAYLOADS).map(payload).collect());

fn payload(number: usize) -> Bytes {
    let amount = mix(number as u64) % 100_000;
    let mut text = format!(r#"{{"amount":{amount},"currency":"EUR","term_months":{},"note":""#, number % 96);
    for word in 0.. {
        if text.len() >= PAYLOAD_BYTES - 2 {
            break;
        }
        write!(text, "{:x} ", mix((number * 64 + word) as u64)).expect("a String takes everything");
    }
    text.truncate(PAYLOAD_BYTES - 2);
    text.push_str("\"}");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn payloads_are_json_of_the_promised_size() {
        for data in PAYLOAD_POOL.iter() {
            assert_eq!(data.len(), PAYLOAD_BYTES);
            serde_json::from_slice::<serde_json::Value>(data).unwrap();
        }
    }

    #[test]
    fn sources_make_different_ids_and_ten_events_a_stream() {
        let mut ids = HashSet::new();
        for number in 0..3 {
            let events = Source::new(number).batch(40);
            assert!(events.iter().all(|event| ids.insert(event.id)));
            assert_eq!(events.iter().map(|event| &event.stream).collect::<HashSet<_>>().len(), 4);
            assert_eq!(events[39].stream, format!("loan-{}", entity(number, 3)));
        }
    }
}
