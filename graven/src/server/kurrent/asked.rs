//! What a read asks for, checked: the options of `Streams.Read` in the store's words.

use super::errors::Refusal;
use super::views::{index_of, list_of};
use super::words::stream_name;
use graven_engine::EventList;
use graven_model::{Direction, EventFilter, Pattern, Position, Revision, Selector, StreamName};
use graven_proto::kurrentdb::streams::read_req::Options;
use graven_proto::kurrentdb::streams::read_req::options::all_options::AllOption;
use graven_proto::kurrentdb::streams::read_req::options::filter_options::{Expression, Filter, Window};
use graven_proto::kurrentdb::streams::read_req::options::stream_options::RevisionOption;
use graven_proto::kurrentdb::streams::read_req::options::uuid_option::Content;
use graven_proto::kurrentdb::streams::read_req::options::{
    CountOption, FilterOption, FilterOptions, ReadDirection, StreamOption,
};

/// What a read asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// Which events.
    pub(super) what: What,
    /// Where it begins.
    pub(super) from: Begin,
    /// How many, which way; or all that come.
    pub(super) how: How,
    /// Links come with what they point to.
    pub(super) resolve_links: bool,
    /// Ids are texts.
    pub(super) ids_as_text: bool,
    /// The client wants to be told where a stream begins and ends.
    pub(super) tells_ends: bool,
}

/// Which events.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A stream.
    Stream(StreamName),
    /// A view, under its name.
    View(String, EventList),
    /// Part of the log or all of it, in its order. With `filtered`, the events in between are counted.
    Log { selector: Selector, filter: EventFilter, filtered: bool },
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Start,
    End,
    /// A place in a stream or view.
    Number(Revision),
    /// A place in the log.
    Position(Position),
}

/// How many events, which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// At most so many.
    Read { count: u64, direction: Direction },
    /// All there are and all that come. A checkpoint after so many events looked at.
    Subscribe { checkpoint_every: u64 },
}

/// Events looked at between two checkpoints are this many times the multiplier, if the client does not say.
const WINDOW_DEFAULT: u32 = 32;

/// Names of indexes begin so.
const INDEX: &str = "$idx-";

impl Asked {
    /// Reads the options of a call.
    ///
    /// # Errors
    /// Invalid arguments for what is missing or does not go together; an index nobody keeps.
    pub(super) fn of(options: Options) -> Result<Asked, Refusal> {
        let ids_as_text = match options.uuid_option.and_then(|option| option.content) {
            Some(Content::String(_)) => true,
            Some(Content::Structured(_)) => false,
            None => return Err(Refusal::invalid("uuid_option is missing")),
        };
        let direction = match ReadDirection::try_from(options.read_direction) {
            Ok(ReadDirection::Forwards) => Direction::Forward,
            Ok(ReadDirection::Backwards) => Direction::Backward,
            Err(_) => return Err(Refusal::invalid("read_direction is neither forwards nor backwards")),
        };
        let filter = match options.filter_option {
            Some(FilterOption::Filter(filter)) => Some(filter),
            Some(FilterOption::NoFilter(_)) => None,
            None => return Err(Refusal::invalid("filter_option is missing")),
        };
        let how = match options.count_option {
            Some(CountOption::Count(count)) => How::Read { count, direction },
            Some(CountOption::Subscription(_)) if direction == Direction::Forward => {
                How::Subscribe { checkpoint_every: filter.as_ref().map_or(Ok(u64::MAX), checkpoint_every)? }
            }
            Some(CountOption::Subscription(_)) => {
                return Err(Refusal::invalid("a subscription does not go backwards"));
            }
            None => return Err(Refusal::invalid("count_option is missing")),
        };
        let (what, from) = match options.stream_option {
            Some(StreamOption::Stream(stream)) => {
                if filter.is_some() {
                    return Err(Refusal::invalid("a stream is not read through a filter"));
                }
                let name = stream_name(stream.stream_identifier.as_ref())?;
                let from = match stream.revision_option {
                    // The largest number is how the end is written elsewhere.
                    Some(RevisionOption::Revision(u64::MAX) | RevisionOption::End(_)) => Begin::End,
                    Some(RevisionOption::Revision(revision)) => Begin::Number(Revision(revision)),
                    Some(RevisionOption::Start(_)) => Begin::Start,
                    None => return Err(Refusal::invalid("revision_option is missing")),
                };
                let what = match list_of(name.as_str()) {
                    Some(list) => What::View(name.to_string(), list),
                    None => What::Stream(name),
                };
                (what, from)
            }
            Some(StreamOption::All(all)) => {
                let from = match all.all_option {
                    Some(AllOption::Position(place)) => {
                        position(place.commit_position, place.prepare_position)?
                    }
                    Some(AllOption::Start(_)) => Begin::Start,
                    Some(AllOption::End(_)) => Begin::End,
                    None => return Err(Refusal::invalid("all_option is missing")),
                };
                (log(filter)?, from)
            }
            None => return Err(Refusal::invalid("stream_option is missing")),
        };
        let tells_ends = options.control_option.is_some_and(|control| control.compatibility >= 1);
        Ok(Asked { what, from, how, resolve_links: options.resolve_links, ids_as_text, tells_ends })
    }
}

/// A place in the log: both numbers are the same here.
fn position(commit: u64, prepare: u64) -> Result<Begin, Refusal> {
    match (commit, prepare) {
        (u64::MAX, u64::MAX) => Ok(Begin::End),
        (commit, prepare) if commit == prepare => Ok(Begin::Position(Position(commit))),
        _ => Err(invalid_position()),
    }
}

/// What is told of a position where no event stands or will stand next.
pub(super) fn invalid_position() -> Refusal {
    Refusal::invalid("Trying to read from an invalid position.")
}

fn checkpoint_every(filter: &FilterOptions) -> Result<u64, Refusal> {
    let window = match filter.window {
        Some(Window::Max(window)) => window,
        Some(Window::Count(_)) => WINDOW_DEFAULT,
        None => return Err(Refusal::invalid("the filter has no window")),
    };
    match u64::from(window) * u64::from(filter.checkpoint_interval_multiplier) {
        0 => Err(Refusal::invalid("window and checkpoint interval of a filter begin at 1")),
        every => Ok(every),
    }
}

fn log(filter: Option<FilterOptions>) -> Result<What, Refusal> {
    let Some(filter) = filter else {
        return Ok(What::Log { selector: Selector::All, filter: EventFilter::default(), filtered: false });
    };
    let mut narrowed = EventFilter::default();
    match filter.filter {
        Some(Filter::StreamIdentifier(expression)) => {
            let indexes = expression.prefix.iter().filter(|prefix| prefix.starts_with(INDEX)).count();
            if expression.regex.is_empty() && indexes > 0 {
                return index(&expression.prefix);
            }
            narrowed.stream = Some(pattern(expression)?);
        }
        Some(Filter::EventType(expression)) => narrowed.event_type = Some(pattern(expression)?),
        None => return Err(Refusal::invalid("the filter looks at neither streams nor types")),
    }
    Ok(What::Log { selector: Selector::All, filter: narrowed, filtered: true })
}

fn index(prefixes: &[String]) -> Result<What, Refusal> {
    let [name] = prefixes else {
        return Err(Refusal::invalid("an index is read alone: one prefix and no other"));
    };
    let (selector, filter) = index_of(name).ok_or_else(|| Refusal::index_not_found(name))?;
    Ok(What::Log { selector, filter, filtered: true })
}

fn pattern(expression: Expression) -> Result<Pattern, Refusal> {
    if !expression.regex.is_empty() {
        return Ok(Pattern::Regex(expression.regex.into()));
    }
    if expression.prefix.is_empty() {
        return Err(Refusal::invalid("the filter has neither a regular expression nor a prefix"));
    }
    Ok(Pattern::Prefixes(expression.prefix.into_iter().map(Into::into).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::words::identifier;
    use super::*;
    use graven_proto::kurrentdb::shared::Empty;
    use graven_proto::kurrentdb::streams::read_req::options as wire;

    const EMPTY: Empty = Empty {};

    fn stream(name: &str, revision: Option<RevisionOption>) -> Option<StreamOption> {
        Some(StreamOption::Stream(wire::StreamOptions {
            stream_identifier: Some(identifier(name)),
            revision_option: revision,
        }))
    }

    fn all(from: AllOption) -> Option<StreamOption> {
        Some(StreamOption::All(wire::AllOptions { all_option: Some(from) }))
    }

    fn options(stream_option: Option<StreamOption>) -> Options {
        Options {
            stream_option,
            count_option: Some(CountOption::Count(7)),
            filter_option: Some(FilterOption::NoFilter(EMPTY)),
            uuid_option: Some(wire::UuidOption { content: Some(Content::String(EMPTY)) }),
            ..Options::default()
        }
    }

    fn filter(filter: Option<Filter>, window: Option<Window>, multiplier: u32) -> Option<FilterOption> {
        Some(FilterOption::Filter(FilterOptions {
            checkpoint_interval_multiplier: multiplier,
            filter,
            window,
        }))
    }

    fn by(prefixes: &[&str], regex: &str) -> Expression {
        let prefix = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        Expression { regex: regex.to_owned(), prefix }
    }

    #[test]
    fn what_is_asked_is_told_in_the_words_of_the_store() {
        let start = Some(RevisionOption::Start(EMPTY));
        let asked = Asked::of(options(stream("loan-1", start))).unwrap();
        assert_eq!(asked.what, What::Stream(StreamName::new("loan-1").unwrap()));
        assert_eq!((asked.from, asked.ids_as_text), (Begin::Start, true));
        assert_eq!(asked.how, How::Read { count: 7, direction: Direction::Forward });
        for (revision, from) in [(3, Begin::Number(Revision(3))), (u64::MAX, Begin::End)] {
            let asked =
                Asked::of(options(stream("$ce-loan", Some(RevisionOption::Revision(revision))))).unwrap();
            assert_eq!(asked.what, What::View("$ce-loan".to_owned(), EventList::Category("loan".into())));
            assert_eq!(asked.from, from);
        }
        let subscribed = Options {
            count_option: Some(CountOption::Subscription(wire::SubscriptionOptions {})),
            filter_option: filter(
                Some(Filter::EventType(by(&["unused"], "^A"))),
                Some(Window::Count(EMPTY)),
                3,
            ),
            ..options(all(AllOption::Position(wire::Position { commit_position: 5, prepare_position: 5 })))
        };
        let asked = Asked::of(subscribed).unwrap();
        assert_eq!(asked.how, How::Subscribe { checkpoint_every: 96 });
        assert_eq!(asked.from, Begin::Position(Position(5)));
        let What::Log { selector, filter, filtered } = asked.what else { panic!("the log") };
        assert_eq!((selector, filtered), (Selector::All, true));
        assert_eq!(filter.event_type, Some(Pattern::Regex("^A".into())));
    }

    #[test]
    fn an_index_is_asked_for_by_one_prefix() {
        let read = |prefixes: &[&str]| {
            let filter_option =
                filter(Some(Filter::StreamIdentifier(by(prefixes, ""))), Some(Window::Max(1)), 1);
            Asked::of(Options { filter_option, ..options(all(AllOption::Start(EMPTY))) })
        };
        let What::Log { selector, .. } = read(&["$idx-et-A"]).unwrap().what else { panic!("the log") };
        assert_eq!(selector, Selector::Types(vec!["A".into()]));
        assert!(read(&["$idx-ce-a", "$idx-ce-b"]).is_err());
        assert!(read(&["$idx-ce-a", "loan"]).is_err());
        let unknown = read(&["$idx-mine"]).unwrap_err().trailers();
        assert_eq!(unknown["exception"], "index-not-found");
        assert_eq!(unknown["index-name"], "$idx-mine");
    }

    #[test]
    fn what_is_missing_or_does_not_go_together_is_an_invalid_argument() {
        let start = Some(RevisionOption::Start(EMPTY));
        let good = || options(stream("s", start));
        let on_all = || options(all(AllOption::Start(EMPTY)));
        let subscription = || Some(CountOption::Subscription(wire::SubscriptionOptions {}));
        let by_type = || Some(Filter::EventType(by(&["A"], "")));
        let window = Some(Window::Max(10));
        let uneven = wire::Position { commit_position: 5, prepare_position: 4 };
        let cases = [
            Options::default(),
            Options { uuid_option: None, ..good() },
            Options { uuid_option: Some(wire::UuidOption { content: None }), ..good() },
            Options { stream_option: None, ..good() },
            Options { count_option: None, ..good() },
            Options { filter_option: None, ..good() },
            Options { read_direction: 9, ..good() },
            Options { read_direction: 1, count_option: subscription(), ..good() },
            Options { filter_option: filter(by_type(), window, 1), ..good() },
            options(stream("s", None)),
            options(stream("", start)),
            options(stream("$all", start)),
            options(Some(StreamOption::All(wire::AllOptions { all_option: None }))),
            options(all(AllOption::Position(uneven))),
            Options { filter_option: filter(None, window, 1), ..on_all() },
            Options { filter_option: filter(Some(Filter::EventType(by(&[], ""))), window, 1), ..on_all() },
            Options { count_option: subscription(), filter_option: filter(by_type(), window, 0), ..on_all() },
            Options { count_option: subscription(), filter_option: filter(by_type(), None, 1), ..on_all() },
            Options {
                count_option: subscription(),
                filter_option: filter(by_type(), Some(Window::Max(0)), 1),
                ..on_all()
            },
        ];
        for case in cases {
            let shown = format!("{case:?}");
            let refused = Asked::of(case).expect_err(&shown);
            assert_eq!(refused.trailers()["grpc-status"], "3", "{shown}");
        }
    }
}
