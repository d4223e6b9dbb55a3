//! A group's settings: what is checked of them, and how the log holds them.

use crate::read::filter::Filter;
use crate::read::select;
use graven_model::group::{Backoff, GroupSettings, ReplayPolicy, Strategy};
use graven_model::{
    Code, Error, EventFilter, Pattern, Position, Query, QueryItem, Result, Revision, Selector, Start,
    StreamName, Text, Timestamp, limits,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Checks settings against their bounds.
///
/// # Errors
/// [`Code::InvalidGroup`] for a number out of bounds; the `Invalid…` code of selector, filter or start.
pub(super) fn check(settings: &GroupSettings) -> Result<()> {
    let invalid = |what: &str| Error::new(Code::InvalidGroup, format!("the group's {what} is out of bounds"));
    select::check(&settings.selector)?;
    Filter::compile(&settings.filter)?;
    match (&settings.selector, settings.start) {
        (Selector::Stream(_), _) => {}
        (_, Start::Revision(_)) => {
            return Err(Error::new(Code::InvalidGroup, "only a group on a stream begins at a revision"));
        }
        _ => {}
    }
    if let Selector::Stream(stream) = &settings.selector
        && super::records::is_own(stream.as_str())
    {
        return Err(Error::new(
            Code::InvalidGroup,
            "groups do not consume what groups write about themselves",
        )
        .found(format!("stream {:?}", limits::shorten(stream.as_str()))));
    }
    let buffers = [
        ("live_buffer", settings.live_buffer),
        ("history_buffer", settings.history_buffer),
        ("read_batch", settings.read_batch),
    ];
    for (what, number) in buffers {
        if number == 0 || number > limits::GROUP_BUFFER_MAX {
            return Err(invalid(what)
                .expected(format!("1 to {} events", limits::GROUP_BUFFER_MAX))
                .found(number.to_string()));
        }
    }
    if settings.consumers_max as usize > limits::GROUP_CONSUMERS_MAX {
        return Err(invalid("consumers_max")
            .expected(format!("at most {}", limits::GROUP_CONSUMERS_MAX))
            .found(settings.consumers_max.to_string()));
    }
    if settings.checkpoint_max == 0 || settings.checkpoint_min > settings.checkpoint_max {
        return Err(invalid("checkpoint_max")
            .expected("at least 1, and at least checkpoint_min")
            .found(settings.checkpoint_max.to_string()));
    }
    if settings.message_timeout == Some(Duration::ZERO) {
        return Err(invalid("message_timeout").expected("more than zero, or none").found("zero"));
    }
    let replay = settings.replay.map(|policy| policy.backoff);
    let longest = Duration::from_secs(limits::GROUP_PAUSE_DAYS_MAX * 24 * 3_600);
    let spans = [
        ("message_timeout", settings.message_timeout),
        ("checkpoint_after", settings.checkpoint_after),
        ("retry back-off", Some(settings.retry_backoff.max)),
        ("replay back-off", replay.map(|backoff| backoff.max)),
    ];
    for (what, span) in spans {
        if let Some(span) = span.filter(|span| *span > longest) {
            return Err(invalid(what)
                .expected(format!("at most {} days", limits::GROUP_PAUSE_DAYS_MAX))
                .found(format!("{} days", span.as_secs() / 24 / 3_600)));
        }
    }
    let backoffs = [Some(settings.retry_backoff), replay];
    for backoff in backoffs.into_iter().flatten() {
        if backoff.first > backoff.max {
            return Err(invalid("back-off")
                .expected("a first pause that is not longer than the longest")
                .found(format!("{:?} and {:?}", backoff.first, backoff.max)));
        }
    }
    Ok(())
}

/// Settings as JSON. Durations are in microseconds.
#[derive(Serialize, Deserialize)]
pub(super) struct SettingsJson {
    selector: SelectorJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream_filter: Option<PatternJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    type_filter: Option<PatternJson>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    exclude_system: bool,
    start: StartJson,
    strategy: StrategyJson,
    message_timeout_us: Option<u64>,
    retries_max: u32,
    retry_backoff: BackoffJson,
    checkpoint_after_us: Option<u64>,
    checkpoint_min: u32,
    checkpoint_max: u32,
    consumers_max: u32,
    live_buffer: u32,
    read_batch: u32,
    history_buffer: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay: Option<ReplayJson>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    resolve_links: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    extra_statistics: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SelectorJson {
    Stream(String),
    All,
    Category(Text),
    Types(Vec<Text>),
    Tags(Vec<Text>),
    Query(Vec<ItemJson>),
}

#[derive(Serialize, Deserialize)]
struct ItemJson {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<Text>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Text>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PatternJson {
    Prefixes(Vec<Text>),
    Regex(Text),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StartJson {
    Start,
    End,
    Revision(u64),
    Position(u64),
    Time(Timestamp),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StrategyJson {
    RoundRobin,
    DispatchToSingle,
    Pinned,
    PinnedByCorrelation,
    Ordered,
}

#[derive(Serialize, Deserialize)]
struct BackoffJson {
    first_us: u64,
    max_us: u64,
}

#[derive(Serialize, Deserialize)]
struct ReplayJson {
    backoff: BackoffJson,
    times_max: u32,
}

impl From<&GroupSettings> for SettingsJson {
    fn from(settings: &GroupSettings) -> SettingsJson {
        let backoff =
            |backoff: Backoff| BackoffJson { first_us: micros(backoff.first), max_us: micros(backoff.max) };
        let pattern = |pattern: &Pattern| match pattern {
            Pattern::Prefixes(prefixes) => PatternJson::Prefixes(prefixes.clone()),
            Pattern::Regex(text) => PatternJson::Regex(text.clone()),
        };
        SettingsJson {
            selector: match &settings.selector {
                Selector::Stream(name) => SelectorJson::Stream(name.as_str().to_owned()),
                Selector::All => SelectorJson::All,
                Selector::Category(name) => SelectorJson::Category(name.clone()),
                Selector::Types(names) => SelectorJson::Types(names.clone()),
                Selector::Tags(tags) => SelectorJson::Tags(tags.clone()),
                Selector::Query(query) => SelectorJson::Query(
                    query
                        .items
                        .iter()
                        .map(|item| ItemJson {
                            types: item.types.clone(),
                            tags: item.tags.clone(),
                            all: item.all,
                        })
                        .collect(),
                ),
            },
            stream_filter: settings.filter.stream.as_ref().map(pattern),
            type_filter: settings.filter.event_type.as_ref().map(pattern),
            exclude_system: settings.filter.exclude_system,
            start: match settings.start {
                Start::Start => StartJson::Start,
                Start::End => StartJson::End,
                Start::Revision(revision) => StartJson::Revision(revision.0),
                Start::Position(position) => StartJson::Position(position.0),
                Start::Time(time) => StartJson::Time(time),
            },
            strategy: match settings.strategy {
                Strategy::RoundRobin => StrategyJson::RoundRobin,
                Strategy::DispatchToSingle => StrategyJson::DispatchToSingle,
                Strategy::Pinned => StrategyJson::Pinned,
                Strategy::PinnedByCorrelation => StrategyJson::PinnedByCorrelation,
                Strategy::Ordered => StrategyJson::Ordered,
            },
            message_timeout_us: settings.message_timeout.map(micros),
            retries_max: settings.retries_max,
            retry_backoff: backoff(settings.retry_backoff),
            checkpoint_after_us: settings.checkpoint_after.map(micros),
            checkpoint_min: settings.checkpoint_min,
            checkpoint_max: settings.checkpoint_max,
            consumers_max: settings.consumers_max,
            live_buffer: settings.live_buffer,
            read_batch: settings.read_batch,
            history_buffer: settings.history_buffer,
            replay: settings
                .replay
                .map(|policy| ReplayJson { backoff: backoff(policy.backoff), times_max: policy.times_max }),
            resolve_links: settings.resolve_links,
            extra_statistics: settings.extra_statistics,
        }
    }
}

impl SettingsJson {
    /// The settings.
    ///
    /// # Errors
    /// [`Code::InvalidStreamName`]: not what [`SettingsJson::from`] wrote.
    pub(super) fn into_settings(self) -> Result<GroupSettings> {
        let backoff = |json: BackoffJson| Backoff {
            first: Duration::from_micros(json.first_us),
            max: Duration::from_micros(json.max_us),
        };
        let pattern = |json: PatternJson| match json {
            PatternJson::Prefixes(prefixes) => Pattern::Prefixes(prefixes),
            PatternJson::Regex(text) => Pattern::Regex(text),
        };
        Ok(GroupSettings {
            selector: match self.selector {
                SelectorJson::Stream(name) => Selector::Stream(StreamName::new(name)?),
                SelectorJson::All => Selector::All,
                SelectorJson::Category(name) => Selector::Category(name),
                SelectorJson::Types(names) => Selector::Types(names),
                SelectorJson::Tags(tags) => Selector::Tags(tags),
                SelectorJson::Query(items) => Selector::Query(Query {
                    items: items
                        .into_iter()
                        .map(|item| QueryItem { types: item.types, tags: item.tags, all: item.all })
                        .collect(),
                }),
            },
            filter: EventFilter {
                stream: self.stream_filter.map(pattern),
                event_type: self.type_filter.map(pattern),
                exclude_system: self.exclude_system,
            },
            start: match self.start {
                StartJson::Start => Start::Start,
                StartJson::End => Start::End,
                StartJson::Revision(revision) => Start::Revision(Revision(revision)),
                StartJson::Position(position) => Start::Position(Position(position)),
                StartJson::Time(time) => Start::Time(time),
            },
            strategy: match self.strategy {
                StrategyJson::RoundRobin => Strategy::RoundRobin,
                StrategyJson::DispatchToSingle => Strategy::DispatchToSingle,
                StrategyJson::Pinned => Strategy::Pinned,
                StrategyJson::PinnedByCorrelation => Strategy::PinnedByCorrelation,
                StrategyJson::Ordered => Strategy::Ordered,
            },
            message_timeout: self.message_timeout_us.map(Duration::from_micros),
            retries_max: self.retries_max,
            retry_backoff: backoff(self.retry_backoff),
            checkpoint_after: self.checkpoint_after_us.map(Duration::from_micros),
            checkpoint_min: self.checkpoint_min,
            checkpoint_max: self.checkpoint_max,
            consumers_max: self.consumers_max,
            live_buffer: self.live_buffer,
            read_batch: self.read_batch,
            history_buffer: self.history_buffer,
            replay: self
                .replay
                .map(|policy| ReplayPolicy { backoff: backoff(policy.backoff), times_max: policy.times_max }),
            resolve_links: self.resolve_links,
            extra_statistics: self.extra_statistics,
        })
    }
}

/// A duration in microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_the_log_as_they_were() {
        let mut settings = GroupSettings::new(Selector::Query(Query::item(["A"], ["b"])));
        settings.filter.stream = Some(Pattern::Regex("^x".into()));
        settings.filter.event_type = Some(Pattern::Prefixes(vec!["y".into()]));
        settings.start = Start::Time(Timestamp::from_micros(1_700_000_000_123_456));
        settings.strategy = Strategy::Ordered;
        settings.message_timeout = None;
        settings.replay = Some(ReplayPolicy { backoff: settings.retry_backoff, times_max: 3 });
        for selector in [
            settings.selector.clone(),
            Selector::All,
            Selector::Stream(StreamName::new("s-1").unwrap()),
            Selector::Category("s".into()),
        ] {
            settings.selector = selector;
            let json = serde_json::to_vec(&SettingsJson::from(&settings)).unwrap();
            let back: SettingsJson = serde_json::from_slice(&json).unwrap();
            assert_eq!(back.into_settings().unwrap(), settings);
        }
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        let good = GroupSettings::new(Selector::All);
        check(&good).unwrap();
        let bad: [fn(&mut GroupSettings); 8] = [
            |s| s.live_buffer = 0,
            |s| s.history_buffer = limits::GROUP_BUFFER_MAX + 1,
            |s| s.read_batch = 0,
            |s| s.checkpoint_max = 0,
            |s| s.checkpoint_min = s.checkpoint_max + 1,
            |s| s.message_timeout = Some(Duration::ZERO),
            |s| s.start = Start::Revision(Revision(1)),
            |s| s.selector = Selector::Stream(StreamName::new("$group-x").unwrap()),
        ];
        for spoil in bad {
            let mut settings = good.clone();
            spoil(&mut settings);
            assert_eq!(check(&settings).unwrap_err().code, Code::InvalidGroup);
        }
    }
}
