//! What clients say, in all the ways they have said it.

use super::*;
use graven_model::{Revision, Selector};
use graven_proto::kurrentdb::persistent::{CreateReq, UpdateReq, create_req, update_req};
use graven_proto::kurrentdb::shared::Empty;
use prost::Message;

fn stream(name: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: name.as_bytes().to_vec().into() }
}

fn settings() -> create_req::Settings {
    create_req::Settings {
        max_retry_count: 10,
        min_checkpoint_count: 10,
        max_checkpoint_count: 1_000,
        live_buffer_size: 500,
        read_batch_size: 20,
        history_buffer_size: 500,
        consumer_strategy: "RoundRobin".to_owned(),
        ..create_req::Settings::default()
    }
}

fn on_stream(settings: create_req::Settings) -> Options {
    let revision = Some(stream_options::RevisionOption::Revision(3));
    Options {
        group_name: "g".to_owned(),
        settings: Some(settings),
        stream_option: Some(StreamOption::Stream(create_req::StreamOptions {
            stream_identifier: Some(stream("loan-1")),
            revision_option: revision,
        })),
        ..Options::default()
    }
}

fn created(settings: create_req::Settings) -> Result<GroupSettings> {
    Wish::of(Some(on_stream(settings))).unwrap().create(Start::Revision(Revision(3)))
}

#[test]
fn a_group_on_a_stream_begins_where_it_was_asked_to() {
    let wish = Wish::of(Some(on_stream(settings()))).unwrap();
    assert_eq!((wish.begin, wish.group.as_str()), (Begin::Number(3), "g"));
    let made = wish.create(Start::Revision(Revision(3))).unwrap();
    assert_eq!(made.selector, Selector::Stream(graven_model::StreamName::new("loan-1").unwrap()));
    assert_eq!(
        (made.strategy, made.message_timeout, made.checkpoint_after),
        (Strategy::RoundRobin, None, None)
    );
    assert_eq!((made.read_batch, made.history_buffer, made.consumers_max), (20, 500, 0));
}

#[test]
fn the_fields_of_old_clients_are_understood() {
    let old = |revision| Options {
        stream_identifier: Some(stream("loan-1")),
        group_name: "g".to_owned(),
        settings: Some(create_req::Settings { revision, ..settings() }),
        ..Options::default()
    };
    for (revision, begin) in [(0, Begin::Number(0)), (7, Begin::Number(7)), (u64::MAX, Begin::End)] {
        assert_eq!(Wish::of(Some(old(revision))).unwrap().begin, begin);
    }
    let nothing = Options { stream_identifier: None, ..old(0) };
    assert!(Wish::of(Some(nothing)).is_err());
}

#[test]
fn time_outs_come_in_milliseconds_or_ticks_and_zero_is_never() {
    use settings::{CheckpointAfter, MessageTimeout};
    let timeout = |said| created(create_req::Settings { message_timeout: Some(said), ..settings() });
    assert_eq!(
        timeout(MessageTimeout::MessageTimeoutMs(2)).unwrap().message_timeout,
        Some(Duration::from_millis(2))
    );
    assert_eq!(
        timeout(MessageTimeout::MessageTimeoutTicks(300_000_000)).unwrap().message_timeout,
        Some(Duration::from_secs(30))
    );
    assert_eq!(timeout(MessageTimeout::MessageTimeoutTicks(0)).unwrap().message_timeout, None);
    assert_eq!(timeout(MessageTimeout::MessageTimeoutMs(-1)).unwrap_err().code, Code::InvalidGroup);
    let after = |said| created(create_req::Settings { checkpoint_after: Some(said), ..settings() });
    assert_eq!(after(CheckpointAfter::CheckpointAfterMs(0)).unwrap().checkpoint_after, None);
    assert_eq!(
        after(CheckpointAfter::CheckpointAfterTicks(20_000_000)).unwrap().checkpoint_after,
        Some(Duration::from_secs(2))
    );
}

#[test]
fn a_strategy_is_named_or_numbered() {
    for (strategy, name) in STRATEGIES {
        let made =
            created(create_req::Settings { consumer_strategy: name.to_owned(), ..settings() }).unwrap();
        assert_eq!((made.strategy, name_of(strategy)), (strategy, name));
    }
    let numbered = |number| {
        let said = create_req::Settings {
            consumer_strategy: String::new(),
            named_consumer_strategy: number,
            ..settings()
        };
        created(said).map(|made| made.strategy).map_err(|error| error.code)
    };
    assert_eq!(numbered(0), Ok(Strategy::DispatchToSingle));
    assert_eq!(numbered(1), Ok(Strategy::RoundRobin));
    assert_eq!(numbered(2), Ok(Strategy::Pinned));
    assert_eq!(numbered(3), Err(Code::InvalidGroup));
    let unknown = create_req::Settings { consumer_strategy: "roundrobin".to_owned(), ..settings() };
    assert_eq!(created(unknown).unwrap_err().code, Code::InvalidGroup);
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let batch = create_req::Settings { read_batch_size: 500, ..settings() };
    assert_eq!(created(batch).unwrap_err().code, Code::InvalidGroup);
    let negative = create_req::Settings { max_subscriber_count: -1, ..settings() };
    assert_eq!(created(negative).unwrap_err().code, Code::InvalidGroup);
    assert!(Wish::of(None).is_err());
    assert!(Wish::of(Some(Options { settings: None, ..on_stream(settings()) })).is_err());
}

#[test]
fn a_group_on_the_log_may_have_a_filter() {
    use all_options::filter_options::{Expression, Filter};
    let of = |filter| {
        let all = create_req::AllOptions {
            all_option: Some(all_options::AllOption::Start(Empty {})),
            filter_option: Some(all_options::FilterOption::Filter(all_options::FilterOptions {
                filter: Some(filter),
                ..all_options::FilterOptions::default()
            })),
        };
        let options = Options { stream_option: Some(StreamOption::All(all)), ..on_stream(settings()) };
        Wish::of(Some(options)).unwrap().create(Start::Start).unwrap().filter
    };
    let both = Expression { regex: "^a".to_owned(), prefix: vec!["b".to_owned()] };
    assert_eq!(of(Filter::EventType(both)).event_type, Some(Pattern::Regex("^a".into())));
    let prefixes = Expression { regex: String::new(), prefix: vec!["b".to_owned()] };
    assert_eq!(of(Filter::StreamIdentifier(prefixes)).stream, Some(Pattern::Prefixes(vec!["b".into()])));
    assert!(of(Filter::EventType(Expression::default())).is_empty());
}

#[test]
fn a_change_reads_as_a_creation_and_keeps_what_it_cannot_say() {
    let change = UpdateReq {
        options: Some(update_req::Options {
            group_name: "g".to_owned(),
            settings: Some(update_req::Settings {
                resolve_links: true,
                max_retry_count: 5,
                read_batch_size: 1,
                history_buffer_size: 2,
                named_consumer_strategy: update_req::ConsumerStrategy::Pinned as i32,
                message_timeout: Some(update_req::settings::MessageTimeout::MessageTimeoutMs(9)),
                checkpoint_after: Some(update_req::settings::CheckpointAfter::CheckpointAfterTicks(70)),
                ..update_req::Settings::default()
            }),
            stream_option: Some(update_req::options::StreamOption::All(update_req::AllOptions {
                all_option: Some(update_req::all_options::AllOption::Position(update_req::Position {
                    commit_position: 4,
                    prepare_position: 4,
                })),
            })),
            ..update_req::Options::default()
        }),
    };
    let read = CreateReq::decode(&change.encode_to_vec()[..]).unwrap();
    let wish = Wish::of(read.options).unwrap();
    assert_eq!((&wish.source, wish.begin), (&Source::All, Begin::Position(4)));
    for (before, after) in [
        (Strategy::RoundRobin, Strategy::Pinned),
        (Strategy::Ordered, Strategy::Ordered),
        (Strategy::PinnedByCorrelation, Strategy::PinnedByCorrelation),
    ] {
        let filter = EventFilter { exclude_system: true, ..EventFilter::default() };
        let before = GroupSettings { strategy: before, filter, ..GroupSettings::new(Selector::All) };
        let made = wish.update(&before, Start::Start).unwrap();
        assert_eq!(made.strategy, after);
        assert_eq!((made.retries_max, made.resolve_links, made.live_buffer), (5, true, 0));
        assert_eq!(made.message_timeout, Some(Duration::from_millis(9)));
        assert_eq!(made.checkpoint_after, Some(Duration::from_micros(7)));
        assert_eq!((made.filter, made.retry_backoff), (before.filter, before.retry_backoff));
    }
}
