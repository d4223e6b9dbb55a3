//! A group's settings as JSON: what is sent to make or update a group is what is shown of it.

use crate::server::query_params::wrong;
use crate::server::read_options::{self, pattern};
use crate::server::schema;
use graven_model::{
    Backoff, Code, Error, EventFilter, GroupSettings, Pattern, Position, Query, QueryItem, ReplayPolicy,
    Result, Revision, Selector, Start, Strategy, StreamName, Text,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// What a group consumes, and how. What is absent has its default.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = GroupSettings)]
pub(in crate::server) struct GroupSettingsJson {
    /// Which events; cannot be changed later
    #[schema(required = true, nullable = false)]
    selector: Option<GroupSelector>,
    /// Narrows them
    #[serde(skip_serializing_if = "GroupFilter::is_empty")]
    filter: GroupFilter,
    /// Where a new group begins, the event named included: `start`, `end` (only what is appended later), a whole number (revision of a
    /// stream, position elsewhere) or an RFC 3339 time; `end` if absent
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Place>,
    /// Position to begin at; instead of `from`
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// Which consumer gets an event; `round-robin` if absent
    #[schema(value_type = StrategyWord)]
    strategy: String,
    /// How long a consumer may take for an event before it is tried again; null = for ever
    message_timeout_ms: Option<u64>,
    /// Retries before an event is parked; 0 = parked at the first failure
    retries_max: u32,
    /// Pause before the second try; it doubles from try to try
    retry_first_ms: u64,
    /// The longest pause between tries
    retry_longest_ms: u64,
    /// A checkpoint is written at the latest so long after something was done; null = by count alone
    checkpoint_after_ms: Option<u64>,
    /// Events done before a checkpoint is written by time
    checkpoint_min: u32,
    /// Events done after which a checkpoint is written at once
    checkpoint_max: u32,
    /// Consumers at a time; 0 = as many as there may be
    consumers_max: u32,
    /// Events held in memory while the group keeps up with the log
    live_buffer: u32,
    /// Events read at a time
    read_batch: u32,
    /// Events held in memory while the group catches up
    history_buffer: u32,
    /// Automatic replay of parked events; null = only when asked for
    replay: Option<GroupReplay>,
    /// KurrentDB clients get the events links point to
    resolve_links: bool,
    /// Show quantiles of how long consumers took
    extra_statistics: bool,
}

/// When parked events are replayed without anybody asking for it.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct GroupReplay {
    /// Pause after the first failure; it doubles from replay to replay
    first_ms: u64,
    /// The longest pause
    longest_ms: u64,
    /// Replays of one event at the most
    times_max: u32,
}

/// Which events: one of these.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::server) struct GroupSelector {
    /// `true`: the whole log
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    /// One stream
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// The streams of a category
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    category: Option<Text>,
    /// Events of any of these types
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    types: Option<Vec<Text>>,
    /// Events that carry all of these tags
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    tags: Option<Vec<Text>>,
    /// Events that match a query
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Query>)]
    query: Option<QueryJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryJson {
    items: Vec<QueryItemJson>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct QueryItemJson {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Text>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
}

/// Narrows what was selected.
#[derive(Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::server) struct GroupFilter {
    /// Only streams whose name begins with one of these
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    stream_prefix: Vec<Text>,
    /// Only streams whose name matches
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    stream_regex: Option<Text>,
    /// Only types whose name begins with one of these
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    type_prefix: Vec<Text>,
    /// Only types whose name matches
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    type_regex: Option<Text>,
    /// Leave out streams and types whose name begins with `$`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exclude_system: bool,
}

impl GroupFilter {
    fn is_empty(&self) -> bool {
        *self == GroupFilter::default()
    }
}

/// A place in a log or a stream: a word, a number or a time.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = GroupStart)]
pub(in crate::server) enum Place {
    Number(u64),
    Text(String),
}

/// Word for a strategy.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[allow(dead_code, reason = "describes the words in the OpenAPI document")]
enum StrategyWord {
    RoundRobin,
    DispatchToSingle,
    Pinned,
    PinnedByCorrelation,
    Ordered,
}

impl Default for GroupSettingsJson {
    fn default() -> GroupSettingsJson {
        let defaults = GroupSettings::new(Selector::All);
        GroupSettingsJson { selector: None, from: None, ..GroupSettingsJson::of(&defaults) }
    }
}

impl GroupSettingsJson {
    /// The settings of a group.
    pub(super) fn of(settings: &GroupSettings) -> GroupSettingsJson {
        let (from, position) = shown_start(settings.start, &settings.selector);
        GroupSettingsJson {
            selector: Some(GroupSelector::of(&settings.selector)),
            filter: GroupFilter::of(&settings.filter),
            from,
            position,
            strategy: settings.strategy.word().to_owned(),
            message_timeout_ms: settings.message_timeout.map(millis),
            retries_max: settings.retries_max,
            retry_first_ms: millis(settings.retry_backoff.first),
            retry_longest_ms: millis(settings.retry_backoff.max),
            checkpoint_after_ms: settings.checkpoint_after.map(millis),
            checkpoint_min: settings.checkpoint_min,
            checkpoint_max: settings.checkpoint_max,
            consumers_max: settings.consumers_max,
            live_buffer: settings.live_buffer,
            read_batch: settings.read_batch,
            history_buffer: settings.history_buffer,
            replay: settings.replay.map(|policy| GroupReplay {
                first_ms: millis(policy.backoff.first),
                longest_ms: millis(policy.backoff.max),
                times_max: policy.times_max,
            }),
            resolve_links: settings.resolve_links,
            extra_statistics: settings.extra_statistics,
        }
    }

    /// The settings these words ask for.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a word that means nothing, and for two or no answers where there is one question;
    /// [`Code::InvalidStreamName`]; [`Code::InvalidFilter`].
    pub(super) fn settings(self) -> Result<GroupSettings> {
        let Some(selector) = self.selector else {
            return Err(Error::new(Code::BadRequest, "the selector is missing").expected(SELECTORS));
        };
        let selector = selector.selector()?;
        let start = match start(self.from, self.position, &selector)? {
            Some(start) => start,
            None => Start::End,
        };
        let Some(strategy) = Strategy::from_word(&self.strategy) else {
            return Err(wrong("strategy", &Strategy::ALL.map(Strategy::word).join(", "), &self.strategy));
        };
        Ok(GroupSettings {
            selector,
            filter: self.filter.filter()?,
            start,
            strategy,
            message_timeout: self.message_timeout_ms.map(Duration::from_millis),
            retries_max: self.retries_max,
            retry_backoff: Backoff {
                first: Duration::from_millis(self.retry_first_ms),
                max: Duration::from_millis(self.retry_longest_ms),
            },
            checkpoint_after: self.checkpoint_after_ms.map(Duration::from_millis),
            checkpoint_min: self.checkpoint_min,
            checkpoint_max: self.checkpoint_max,
            consumers_max: self.consumers_max,
            live_buffer: self.live_buffer,
            read_batch: self.read_batch,
            history_buffer: self.history_buffer,
            replay: self.replay.map(|policy| ReplayPolicy {
                backoff: Backoff {
                    first: Duration::from_millis(policy.first_ms),
                    max: Duration::from_millis(policy.longest_ms),
                },
                times_max: policy.times_max,
            }),
            resolve_links: self.resolve_links,
            extra_statistics: self.extra_statistics,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const SELECTORS: &str = "one of all, stream, category, types, tags, query";

impl GroupSelector {
    fn of(selector: &Selector) -> GroupSelector {
        let mut shown = GroupSelector::default();
        match selector {
            Selector::All => shown.all = true,
            Selector::Stream(name) => shown.stream = Some(name.as_str().to_owned()),
            Selector::Category(name) => shown.category = Some(name.clone()),
            Selector::Types(names) => shown.types = Some(names.clone()),
            Selector::Tags(tags) => shown.tags = Some(tags.clone()),
            Selector::Query(query) => {
                let item = |item: &QueryItem| QueryItemJson {
                    types: item.types.clone(),
                    tags: item.tags.clone(),
                    all: item.all,
                };
                shown.query = Some(QueryJson { items: query.items.iter().map(item).collect() });
            }
        }
        shown
    }

    fn selector(self) -> Result<Selector> {
        let mut said = Vec::new();
        if self.all {
            said.push(Selector::All);
        }
        if let Some(name) = self.stream {
            said.push(Selector::Stream(StreamName::new(name)?));
        }
        said.extend(self.category.map(Selector::Category));
        said.extend(self.types.map(Selector::Types));
        said.extend(self.tags.map(Selector::Tags));
        said.extend(self.query.map(|query| {
            let item = |item: QueryItemJson| QueryItem { types: item.types, tags: item.tags, all: item.all };
            Selector::Query(Query { items: query.items.into_iter().map(item).collect() })
        }));
        match (said.pop(), said.is_empty()) {
            (Some(selector), true) => Ok(selector),
            _ => Err(Error::new(Code::BadRequest, "the selector does not say once which events are meant")
                .expected(SELECTORS)),
        }
    }
}

impl GroupFilter {
    fn of(filter: &EventFilter) -> GroupFilter {
        let parts = |pattern: &Option<Pattern>| match pattern {
            None => (Vec::new(), None),
            Some(Pattern::Prefixes(prefixes)) => (prefixes.clone(), None),
            Some(Pattern::Regex(regex)) => (Vec::new(), Some(regex.clone())),
        };
        let (stream_prefix, stream_regex) = parts(&filter.stream);
        let (type_prefix, type_regex) = parts(&filter.event_type);
        let exclude_system = filter.exclude_system;
        GroupFilter { stream_prefix, stream_regex, type_prefix, type_regex, exclude_system }
    }

    fn filter(self) -> Result<EventFilter> {
        Ok(EventFilter {
            stream: pattern("stream", self.stream_prefix, self.stream_regex)?,
            event_type: pattern("type", self.type_prefix, self.type_regex)?,
            exclude_system: self.exclude_system,
        })
    }
}

/// The place that `from` or `position` names, if one of them does.
///
/// # Errors
/// [`Code::BadRequest`] if both do, or if `from` does not read.
pub(super) fn start(from: Option<Place>, position: Option<u64>, of: &Selector) -> Result<Option<Start>> {
    match (from, position) {
        (None, None) => Ok(None),
        (None, Some(position)) => Ok(Some(Start::Position(Position(position)))),
        (Some(Place::Number(number)), None) => read_options::start(&number.to_string(), of).map(Some),
        (Some(Place::Text(text)), None) => read_options::start(&text, of).map(Some),
        (Some(_), Some(_)) => {
            Err(Error::new(Code::BadRequest, "both from and position are given").expected("one of them"))
        }
    }
}

fn shown_start(start: Start, of: &Selector) -> (Option<Place>, Option<u64>) {
    let word = |word: &str| (Some(Place::Text(word.to_owned())), None);
    match (start, of) {
        (Start::Start, _) => word("start"),
        (Start::End, _) => word("end"),
        (Start::Revision(Revision(number)), _) => (Some(Place::Number(number)), None),
        (Start::Position(Position(position)), Selector::Stream(_)) => (None, Some(position)),
        (Start::Position(Position(position)), _) => (Some(Place::Number(position)), None),
        (Start::Time(time), _) => word(&time.to_string()),
    }
}

/// A selector in a few words, cut short.
pub(super) fn in_words(selector: &Selector) -> String {
    let text = match selector {
        Selector::All => "all".to_owned(),
        Selector::Stream(name) => format!("stream {name}"),
        Selector::Category(name) => format!("category {name}"),
        Selector::Types(names) => format!("types {}", names.join(", ")),
        Selector::Tags(tags) => format!("tags {}", tags.join(", ")),
        Selector::Query(query) => format!("query of {} items", query.items.len()),
    };
    graven_model::limits::shorten(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::Timestamp;

    fn parse(text: &str) -> Result<GroupSettings> {
        serde_json::from_str::<GroupSettingsJson>(text)
            .map_err(|error| Error::new(Code::BadRequest, error.to_string()))?
            .settings()
    }

    fn round_trip(settings: &GroupSettings) -> GroupSettings {
        parse(&serde_json::to_string(&GroupSettingsJson::of(settings)).unwrap()).unwrap()
    }

    #[test]
    fn what_is_absent_has_its_default_and_null_is_for_ever() {
        let plain = parse(r#"{"selector":{"category":"loan"}}"#).unwrap();
        assert_eq!(plain, GroupSettings::new(Selector::Category("loan".into())));
        let none = parse(r#"{"selector":{"all":true},"message_timeout_ms":null,"checkpoint_after_ms":null}"#)
            .unwrap();
        assert_eq!((none.message_timeout, none.checkpoint_after), (None, None));
    }

    #[test]
    fn what_is_shown_of_a_group_makes_the_same_group() {
        let stream = Selector::Stream(StreamName::new("a-1").unwrap());
        let query = Query::item(["A"], ["x", "y"]).or(["B"], [""; 0]);
        let starts = [
            (stream.clone(), Start::Start),
            (stream.clone(), Start::Revision(Revision(7))),
            (stream, Start::Position(Position(8))),
            (Selector::All, Start::Position(Position(9))),
            (Selector::Tags(vec!["t".into()]), Start::Time(Timestamp::from_micros(1_700_000_000_000_001))),
            (Selector::Types(vec!["A".into(), "B".into()]), Start::End),
            (Selector::Query(query), Start::End),
        ];
        for (selector, start) in starts {
            let mut settings = GroupSettings { start, ..GroupSettings::new(selector) };
            assert_eq!(round_trip(&settings), settings);
            for strategy in Strategy::ALL {
                settings.strategy = strategy;
                settings.message_timeout = None;
                settings.replay = Some(ReplayPolicy { backoff: settings.retry_backoff, times_max: 3 });
                settings.filter.stream = Some(Pattern::Prefixes(vec!["a".into(), "b,c".into()]));
                settings.filter.event_type = Some(Pattern::Regex("^x".into()));
                settings.filter.exclude_system = true;
                assert_eq!(round_trip(&settings), settings);
            }
        }
    }

    #[test]
    fn what_does_not_say_once_what_is_meant_is_refused() {
        for (text, code) in [
            ("{}", Code::BadRequest),
            (r#"{"selector":{}}"#, Code::BadRequest),
            (r#"{"selector":{"all":false}}"#, Code::BadRequest),
            (r#"{"selector":{"all":true,"stream":"a"}}"#, Code::BadRequest),
            (r#"{"selector":{"stream":""}}"#, Code::InvalidStreamName),
            (r#"{"selector":{"all":true},"from":"soon"}"#, Code::BadRequest),
            (r#"{"selector":{"all":true},"from":1,"position":1}"#, Code::BadRequest),
            (r#"{"selector":{"all":true},"strategy":"Ordered"}"#, Code::BadRequest),
            (r#"{"selector":{"all":true},"retries_max":null}"#, Code::BadRequest),
            (r#"{"selector":{"all":true},"retries_max":-1}"#, Code::BadRequest),
            (r#"{"selector":{"all":true},"nonsense":1}"#, Code::BadRequest),
            (
                r#"{"selector":{"all":true},"filter":{"stream_prefix":["a"],"stream_regex":"a"}}"#,
                Code::InvalidFilter,
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().code, code, "{text}");
        }
    }
}
