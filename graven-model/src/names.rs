//! Names repeat from event to event: allocate and check them once.

use crate::error::Result;
use crate::ids::{StreamName, Text};

/// Slots for stream names and for other names, unless somebody wants more.
const SLOTS: usize = 256;
/// Longer names are not remembered; with the slots this bounds the memory.
const REMEMBERED_BYTES_MAX: usize = 256;
/// Names before which nothing is remembered: whoever decodes a handful of events pays for no slots.
const HANDFUL: u32 = 8;

/// Stream names, type names and tags of the events decoded so far, to be shared by the next ones. Bounded: each name has
/// one slot, which the last name that fell into it holds; by default that makes 128 KiB at the most. Making one is free.
#[derive(Debug)]
pub struct Names {
    streams: Slots<StreamName>,
    texts: Slots<Text>,
}

impl Default for Names {
    fn default() -> Names {
        Names::with_stream_slots(SLOTS)
    }
}

impl Names {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new() -> Names {
        Names::default()
    }

    /// One for so many stream names at the most, for a source that has many of them.
    #[must_use]
    pub fn with_stream_slots(slots: usize) -> Names {
        Names { streams: Slots::new(slots), texts: Slots::new(SLOTS) }
    }

    /// The stream of this name.
    ///
    /// # Errors
    /// As [`StreamName::new`].
    pub fn stream(&mut self, name: &str) -> Result<StreamName> {
        self.streams.get(name, StreamName::as_str, || StreamName::new(name))
    }

    /// A type name, a tag, or another text that repeats.
    pub fn text(&mut self, text: &str) -> Text {
        let Ok(text) = self.texts.get(text, |known| known, || Ok::<_, std::convert::Infallible>(text.into()));
        text
    }
}

#[derive(Debug)]
struct Slots<T> {
    /// Empty until there was a handful of names.
    slots: Box<[Option<T>]>,
    wanted: usize,
    seen: u32,
}

impl<T: Clone> Slots<T> {
    fn new(wanted: usize) -> Slots<T> {
        Slots { slots: Box::default(), wanted: wanted.max(1), seen: 0 }
    }

    fn get<E>(
        &mut self,
        name: &str,
        text: impl Fn(&T) -> &str,
        make: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if name.len() > REMEMBERED_BYTES_MAX {
            return make();
        }
        if self.slots.is_empty() {
            if self.seen < HANDFUL {
                self.seen += 1;
                return make();
            }
            self.slots = vec![None; self.wanted].into();
        }
        let slot = &mut self.slots[slot(name, self.wanted)];
        match slot {
            Some(known) if text(known) == name => Ok(known.clone()),
            _ => Ok(slot.insert(make()?).clone()),
        }
    }
}

/// A quick hash; names that collide only forget one another.
fn slot(name: &str, slots: usize) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut hash = name.len() as u64;
    for word in words {
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    hash = (hash.rotate_left(23) ^ last).wrapping_mul(FACTOR);
    (hash >> 32) as usize % slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use std::sync::Arc;

    #[test]
    fn a_name_that_repeats_is_allocated_once() {
        let mut names = Names::new();
        for number in 0..HANDFUL {
            names.text(&number.to_string());
            names.stream(&number.to_string()).unwrap();
        }
        let (one, again) = (names.text("Submitted"), names.text("Submitted"));
        assert!(Arc::ptr_eq(&one, &again));
        let (one, again) = (names.stream("loan-1").unwrap(), names.stream("loan-1").unwrap());
        assert!(Arc::ptr_eq(one.text(), again.text()));
    }

    #[test]
    fn a_handful_of_names_takes_no_slots() {
        let mut names = Names::new();
        for number in 0..HANDFUL {
            names.text(&number.to_string());
        }
        assert!(names.texts.slots.is_empty() && names.streams.slots.is_empty());
    }

    #[test]
    fn names_that_push_each_other_out_stay_who_they_are() {
        let mut names = Names::new();
        for _ in 0..3 {
            for number in 0..10 * SLOTS {
                let name = format!("name-{number}");
                assert_eq!(&*names.text(&name), name);
                assert_eq!(names.stream(&name).unwrap().as_str(), name);
            }
            let long = "x".repeat(REMEMBERED_BYTES_MAX + 1);
            assert!(!Arc::ptr_eq(&names.text(&long), &names.text(&long)));
        }
    }

    #[test]
    fn a_name_no_stream_can_have_is_refused_every_time() {
        let mut names = Names::new();
        for _ in 0..2 * HANDFUL {
            assert_eq!(names.stream("$all").unwrap_err().code, Code::InvalidStreamName);
            assert_eq!(&*names.text("$all"), "$all");
            assert_eq!(&*names.text(""), "");
        }
    }
}
