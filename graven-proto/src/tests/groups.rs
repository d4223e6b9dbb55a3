//! What is said of groups and dead letters comes back as it was.

use super::{selector, start, stream, text};
use crate::wire;
use graven_model::group::{
    Backoff, ConsumerInfo, DeadLetter, DeadLetterFilter, DeadLetterPage, Delivery, GroupInfo, GroupName,
    GroupSettings, Nack, ParkReason, ReplayPolicy, Strategy as GroupStrategy,
};
use graven_model::{
    Code, Error, EventFilter, EventId, NewEvent, Pattern, Position, Revision, Selector, StoredEvent,
    StreamName, Timestamp, limits,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::time::Duration;

fn duration() -> impl Strategy<Value = Duration> {
    (0..u64::from(u32::MAX)).prop_map(Duration::from_micros)
}

fn some_duration() -> impl Strategy<Value = Duration> {
    (1..u64::from(u32::MAX)).prop_map(Duration::from_micros)
}

fn backoff() -> impl Strategy<Value = Backoff> {
    (duration(), duration()).prop_map(|(first, max)| Backoff { first, max })
}

fn strategy() -> impl Strategy<Value = GroupStrategy> {
    prop_oneof![
        Just(GroupStrategy::RoundRobin),
        Just(GroupStrategy::DispatchToSingle),
        Just(GroupStrategy::Pinned),
        Just(GroupStrategy::PinnedByCorrelation),
        Just(GroupStrategy::Ordered),
    ]
}

fn reason() -> impl Strategy<Value = ParkReason> {
    prop_oneof![
        Just(ParkReason::Requested),
        Just(ParkReason::RetriesExhausted),
        Just(ParkReason::TimedOut),
        Just(ParkReason::Behind),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn name() -> impl Strategy<Value = GroupName> {
    "[a-z$:é]{1,20}".prop_map(|name| GroupName::new(name).unwrap())
}

prop_compose! {
    fn settings()(
        selector in selector(), start in start(), strategy in strategy(), message_timeout in option::of(some_duration()),
        retry_backoff in backoff(), checkpoint_after in option::of(some_duration()), numbers in any::<[u32; 7]>(),
        replay in option::of((backoff(), any::<u32>())), flags in any::<[bool; 3]>(), prefix in option::of(text()),
    ) -> GroupSettings {
        let [retries_max, checkpoint_min, checkpoint_max, consumers_max, live_buffer, read_batch, history_buffer] = numbers;
        GroupSettings {
            filter: EventFilter {
                stream: None,
                event_type: prefix.map(|prefix| Pattern::Prefixes(vec![prefix])),
                exclude_system: flags[2],
            },
            start, strategy, message_timeout, retries_max, retry_backoff, checkpoint_after, checkpoint_min,
            checkpoint_max, consumers_max, live_buffer, read_batch, history_buffer,
            replay: replay.map(|(backoff, times_max)| ReplayPolicy { backoff, times_max }),
            resolve_links: flags[0],
            extra_statistics: flags[1],
            ..GroupSettings::new(selector)
        }
    }
}

prop_compose! {
    fn consumer()(
        id: u64, name in text(), address in text(), connected_at in time(), counts in any::<(u32, u32, u64, u64)>(),
        samples_us in vec(any::<u64>(), 0..5),
    ) -> ConsumerInfo {
        let (buffer, in_flight, done_total, done_last_second) = counts;
        ConsumerInfo { id, name, address, connected_at, buffer, in_flight, done_total, done_last_second, samples_us }
    }
}

fn place() -> impl Strategy<Value = Option<(Position, Revision)>> {
    option::of(any::<(u64, u64)>())
        .prop_map(|place| place.map(|(at, revision)| (Position(at), Revision(revision))))
}

prop_compose! {
    fn info()(
        name in name(), settings in settings(), created_at in time(), flags in any::<[bool; 3]>(), n in any::<[u64; 10]>(),
        checkpointed_event in place(), last_event in place(), lag_time in duration(),
        oldest_parked in option::of(duration()), consumers in vec(consumer(), 0..3), in_trouble: bool,
    ) -> GroupInfo {
        GroupInfo {
            name, settings, created_at, live: flags[0], replaying: flags[1], checkpoint: Position(n[0]),
            done_below: Position(n[1]), checkpointed_event, last_event, lag_events: n[2], lag_exact: flags[2], lag_time,
            parked: n[3], oldest_parked, buffered: n[4], buffered_live: n[5], retrying: n[6], in_flight: n[7],
            done_total: n[8], done_last_second: n[9], consumers,
            trouble: in_trouble.then(|| Error::new(Code::DeadLettersFull, "too many").found("a million")),
        }
    }
}

prop_compose! {
    fn letter()(
        group in name(), numbers in any::<(u64, u64, u32, u32)>(), stream in stream(), id in any::<[u8; 16]>(),
        texts in [text(), text(), text()], reason in reason(), first_failure in time(), last_failure in time(),
        replaying: bool,
    ) -> DeadLetter {
        let (position, revision, attempts, replays) = numbers;
        let [event_type, error, consumer] = texts;
        DeadLetter {
            group, position: Position(position), stream, revision: Revision(revision), event_id: EventId(id), event_type,
            reason, error, attempts, first_failure, last_failure, consumer, replays, replaying,
        }
    }
}

prop_compose! {
    fn filter()(
        group in option::of(name()), stream in option::of(stream()), event_type in option::of(text()),
        reason in option::of(reason()), failed_before in option::of(time()), failed_since in option::of(time()),
        positions in vec(any::<u64>(), 0..4),
    ) -> DeadLetterFilter {
        let positions = positions.into_iter().map(Position).collect();
        DeadLetterFilter { group, stream, event_type, reason, failed_before, failed_since, positions }
    }
}

proptest! {
    #[test]
    fn settings_come_back(settings in settings(), name in name()) {
        let definition =
            wire::GroupDefinition { group: name.to_string(), settings: Some((&settings).into()) };
        prop_assert_eq!(<(GroupName, GroupSettings)>::try_from(definition).unwrap(), (name, settings));
    }

    #[test]
    fn how_a_group_stands_comes_back(info in info()) {
        prop_assert_eq!(GroupInfo::try_from(wire::GroupDescription::from(&info)).unwrap(), info);
    }

    #[test]
    fn dead_letters_come_back(
        letters in vec(letter(), 0..4), next in option::of((name(), any::<u64>())), filter in filter()
    ) {
        let page = DeadLetterPage { letters, next: next.map(|(group, at)| (group, Position(at))) };
        prop_assert_eq!(DeadLetterPage::try_from(wire::DeadLettersResponse::from(&page)).unwrap(), page);
        prop_assert_eq!(DeadLetterFilter::try_from(wire::DeadLetterFilter::from(&filter)).unwrap(), filter);
    }

    #[test]
    fn a_delivery_comes_back(retries: u32, round: u32, replayed: bool, position: u64, data in super::bytes()) {
        let event = StoredEvent {
            position: Position(position),
            stream: StreamName::new("loan-1").unwrap(),
            revision: Revision(3),
            committed_at: Timestamp::from_micros(7),
            kind: graven_model::Kind::Event,
            erased: false,
            event: NewEvent::json(EventId([9; 16]), "Opened", data),
        };
        let delivery = Delivery { event, retries, round, replayed };
        prop_assert_eq!(Delivery::try_from(wire::Delivery::from(&delivery)).unwrap(), delivery);
    }
}

#[test]
fn what_is_absent_has_its_default() {
    let said =
        wire::GroupSettings { selector: Some((&Selector::All).into()), ..wire::GroupSettings::default() };
    assert_eq!(GroupSettings::try_from(said.clone()).unwrap(), GroupSettings::new(Selector::All));
    let never = wire::GroupSettings { message_timeout_us: Some(0), checkpoint_after_us: Some(0), ..said };
    let never = GroupSettings::try_from(never).unwrap();
    assert_eq!((never.message_timeout, never.checkpoint_after), (None, None));
    let options = wire::ConsumeOptions { group: "g".to_owned(), ..wire::ConsumeOptions::default() };
    assert_eq!(options.with_address("").unwrap().1.buffer, crate::group::CONSUMER_BUFFER_DEFAULT);
}

#[test]
fn what_is_said_of_groups_and_makes_no_sense_is_refused_by_name() {
    let all = Some((&Selector::All).into());
    let settings = |settings: wire::GroupSettings| GroupSettings::try_from(settings).unwrap_err().code;
    assert_eq!(settings(wire::GroupSettings::default()), Code::BadRequest);
    let strategy =
        wire::GroupSettings { selector: all.clone(), strategy: 9, ..wire::GroupSettings::default() };
    assert_eq!(settings(strategy), Code::BadRequest);
    let replay = wire::GroupSettings {
        selector: all,
        replay: Some(wire::ReplayPolicy { backoff: None, times_max: 1 }),
        ..wire::GroupSettings::default()
    };
    assert_eq!(settings(replay), Code::BadRequest);
    let definition = wire::GroupDefinition { group: "g".to_owned(), settings: None };
    assert_eq!(<(GroupName, GroupSettings)>::try_from(definition).unwrap_err().code, Code::BadRequest);
    assert_eq!(crate::group::nack(3).unwrap_err().code, Code::BadRequest);
    assert_eq!(crate::group::nack(wire::NackAction::from(Nack::Skip) as i32).unwrap(), Nack::Skip);
    let max = limits::CONSUMER_BUFFER_MAX as usize;
    assert_eq!(crate::group::positions(vec![0; max]).unwrap().len(), max);
    assert_eq!(crate::group::positions(vec![0; max + 1]).unwrap_err().code, Code::InvalidLimit);
    let many = wire::DeadLetterFilter {
        positions: vec![0; limits::DEAD_LETTER_PAGE_MAX + 1],
        ..wire::DeadLetterFilter::default()
    };
    assert_eq!(DeadLetterFilter::try_from(many).unwrap_err().code, Code::InvalidLimit);
    let letter = wire::DeadLetter { group: "g".to_owned(), ..wire::DeadLetter::default() };
    assert!(DeadLetter::try_from(letter).is_err());
    assert_eq!(Delivery::try_from(wire::Delivery::default()).unwrap_err().code, Code::BadRequest);
}
