//! What is decoded without a message in between is what prost and `TryFrom` make of the same bytes.

use super::{start, stored_event};
use crate::{decode, encode, wire};
use bytes::Bytes;
use graven_model::{Code, FollowStep, Names, Page, Position, Revision, StoredEvent};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

fn page() -> impl Strategy<Value = Page> {
    (vec(stored_event(), 0..5), option::of(start()), any::<u64>(), option::of(any::<u64>())).prop_map(
        |(events, next, head, last)| Page {
            events,
            next,
            head: Position(head),
            last_revision: last.map(Revision),
        },
    )
}

fn step() -> impl Strategy<Value = FollowStep> {
    prop_oneof![
        vec(stored_event(), 0..5).prop_map(FollowStep::Events),
        any::<u64>().prop_map(|head| FollowStep::CaughtUp(Position(head))),
        any::<u64>().prop_map(|position| FollowStep::Checkpoint(Position(position))),
    ]
}

fn encoded_page(page: &Page) -> Vec<u8> {
    let mut out = Vec::new();
    encode::page(&mut out, page);
    out
}

fn encoded_step(step: &FollowStep) -> Vec<u8> {
    let mut out = Vec::new();
    encode::step(&mut out, step);
    out
}

fn page_by_prost(bytes: &Bytes) -> Option<Page> {
    wire::ReadResponse::decode(bytes.clone()).ok()?.try_into().ok()
}

fn step_by_prost(bytes: &Bytes) -> Option<FollowStep> {
    use wire::subscribe_response::Step;
    Some(match wire::SubscribeResponse::decode(bytes.clone()).ok()?.step? {
        Step::Events(events) => {
            let events = events.events.into_iter().map(StoredEvent::try_from);
            FollowStep::Events(events.collect::<Result<_, _>>().ok()?)
        }
        Step::CaughtUp(head) => FollowStep::CaughtUp(Position(head)),
        Step::Checkpoint(position) => FollowStep::Checkpoint(Position(position)),
    })
}

/// Both ways say the same of these bytes, or both refuse them.
fn both_say_the_same(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let (bytes, mut names) = (Bytes::from(bytes), Names::new());
    prop_assert_eq!(decode::page(&bytes, &mut names).ok(), page_by_prost(&bytes));
    prop_assert_eq!(decode::step(&bytes, &mut names).ok(), step_by_prost(&bytes));
    Ok(())
}

/// Only here is prost more patient: it skips groups, which proto3 does not have and nobody sends.
fn no_more_than_prost(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let (bytes, mut names) = (Bytes::from(bytes), Names::new());
    if let Ok(page) = decode::page(&bytes, &mut names) {
        prop_assert_eq!(Some(page), page_by_prost(&bytes));
    }
    if let Ok(step) = decode::step(&bytes, &mut names) {
        prop_assert_eq!(Some(step), step_by_prost(&bytes));
    }
    Ok(())
}

fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    (20u32..2000, 0u8..4, any::<u64>()).prop_map(|(number, kind, value)| {
        let mut out = Vec::new();
        match kind {
            0 => {
                encode_key(number, WireType::Varint, &mut out);
                encode_varint(value, &mut out);
            }
            1 => {
                encode_key(number, WireType::LengthDelimited, &mut out);
                encode_varint(8, &mut out);
                out.extend_from_slice(&value.to_le_bytes());
            }
            2 => {
                encode_key(number, WireType::ThirtyTwoBit, &mut out);
                out.extend_from_slice(&(value as u32).to_le_bytes());
            }
            _ => {
                encode_key(number, WireType::SixtyFourBit, &mut out);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        out
    })
}

/// A message within a message, under the key of its only kind of part here.
fn wrapped(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(1, WireType::LengthDelimited, &mut out);
    encode_varint(inner.len() as u64, &mut out);
    out.extend_from_slice(inner);
    out
}

proptest! {
    #[test]
    fn pages_and_steps_come_back_as_they_were(pages in vec(page(), 1..4), steps in vec(step(), 1..4)) {
        // One memory of names for all, as a call has it.
        let mut names = Names::new();
        for page in pages {
            prop_assert_eq!(decode::page(&encoded_page(&page).into(), &mut names).unwrap(), page);
        }
        for step in steps {
            prop_assert_eq!(decode::step(&encoded_step(&step).into(), &mut names).unwrap(), step);
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_what_it_is_for_prost(page in page(), step in step()) {
        for whole in [encoded_page(&page), encoded_step(&step)] {
            for length in 0..whole.len() {
                both_say_the_same(whole[..length].to_vec())?;
            }
        }
    }

    #[test]
    fn fields_nobody_knows_are_left_out(
        page in page(),
        stored in stored_event(),
        step in step(),
        (before, within, after) in (unknown_field(), unknown_field(), unknown_field()),
    ) {
        let mut event = wire::StoredEvent::from(&stored).encode_to_vec();
        event.extend_from_slice(&within);
        let page = [&before[..], &encoded_page(&page), &wrapped(&event), &after].concat();
        prop_assert!(decode::page(&page.clone().into(), &mut Names::new()).is_ok());
        both_say_the_same(page)?;
        both_say_the_same([&before[..], &encoded_step(&step), &after].concat())?;
    }

    #[test]
    fn what_is_said_twice_is_taken_as_prost_takes_it(
        pages in (page(), page()),
        steps in vec(step(), 2..4),
        events in (stored_event(), stored_event()),
    ) {
        both_say_the_same([encoded_page(&pages.0), encoded_page(&pages.1)].concat())?;
        both_say_the_same(steps.iter().flat_map(encoded_step).collect())?;
        let twice = [&events.0, &events.1].map(|event| wire::StoredEvent::from(event).encode_to_vec()).concat();
        both_say_the_same(wrapped(&twice))?;
        both_say_the_same(wrapped(&wrapped(&twice)))?;
    }

    #[test]
    fn a_flipped_byte_is_what_it_is_for_prost_or_refused(page in page(), step in step(), at: prop::sample::Index, by in 1u8..) {
        for mut bytes in [encoded_page(&page), encoded_step(&step)] {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
                no_more_than_prost(bytes)?;
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_what_they_are_for_prost_or_refused(bytes in vec(any::<u8>(), 0..80)) {
        no_more_than_prost(bytes.clone())?;
        no_more_than_prost(wrapped(&bytes))?;
        no_more_than_prost(wrapped(&wrapped(&bytes)))?;
    }
}

#[test]
fn payloads_share_the_memory_of_their_message() {
    let mut event = wire::StoredEvent {
        stream: "loan-1".to_owned(),
        id: Bytes::from_static(&[7; 16]),
        data: Bytes::from_static(b"{\"amount\":20000}"),
        metadata: Bytes::from_static(b"{\"by\":\"x\"}"),
        ..wire::StoredEvent::default()
    };
    let message = Bytes::from(wrapped(&event.encode_to_vec()));
    let page = decode::page(&message, &mut Names::new()).unwrap();
    let within = message.as_ptr_range();
    assert!(within.contains(&page.events[0].event.data.as_ptr()));
    assert!(within.contains(&page.events[0].event.metadata.as_ptr()));

    event.data = Bytes::new();
    event.metadata = Bytes::new();
    let page = decode::page(&wrapped(&event.encode_to_vec()).into(), &mut Names::new()).unwrap();
    assert!(page.events[0].event.data.is_empty() && page.events[0].event.metadata.is_empty());
}

#[test]
fn what_is_malformed_has_a_code() {
    let code = |event: &wire::StoredEvent| {
        let message = wrapped(&event.encode_to_vec()).into();
        decode::page(&message, &mut Names::new()).unwrap_err().code
    };
    let whole = wire::StoredEvent {
        stream: "loan-1".to_owned(),
        id: Bytes::from_static(&[7; 16]),
        ..wire::StoredEvent::default()
    };
    assert_eq!(code(&wire::StoredEvent { stream: String::new(), ..whole.clone() }), Code::InvalidStreamName);
    assert_eq!(code(&wire::StoredEvent { id: Bytes::new(), ..whole.clone() }), Code::InvalidEventId);
    assert_eq!(code(&wire::StoredEvent { kind: 99, ..whole.clone() }), Code::BadRequest);
    let schema = Some(wire::SchemaRef { check: 9, ..wire::SchemaRef::default() });
    assert_eq!(code(&wire::StoredEvent { schema, ..whole }), Code::BadRequest);
    assert_eq!(decode::step(&Bytes::new(), &mut Names::new()).unwrap_err().code, Code::Internal);
}
