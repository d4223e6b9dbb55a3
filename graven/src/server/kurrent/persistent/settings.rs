//! The settings of a group, out of the messages that make and change it.

#![allow(deprecated, reason = "clients say it in the old ways, too")]

use super::source::{Begin, Source};
use crate::server::kurrent::errors::Refusal;
use graven_engine::Store;
use graven_model::group::{Backoff, GroupSettings, Strategy};
use graven_model::{Code, Error, EventFilter, Pattern, Result, Start, Text};
use graven_proto::kurrentdb::persistent::create_req::{
    self, ConsumerStrategy, Options, all_options, options::StreamOption, settings, stream_options,
};
use graven_proto::kurrentdb::shared::StreamIdentifier;
use std::time::Duration;

/// Pauses between tries of a group made here, whose protocol cannot say any: short, for clients that expect none, and yet
/// a failing event does not keep a processor busy.
const RETRY_BACKOFF: Backoff = Backoff { first: Duration::from_millis(10), max: Duration::from_secs(1) };

/// A wish to make or change a group. Both messages have the same fields under the same numbers, but that a change has neither a
/// filter nor a strategy by name, so both are read as the former.
pub(super) struct Wish {
    pub(super) source: Source,
    pub(super) group: String,
    pub(super) begin: Begin,
    filter: EventFilter,
    settings: create_req::Settings,
}

impl Wish {
    /// Takes a message apart.
    ///
    /// # Errors
    /// What is missing, or names no stream.
    pub(super) fn of(options: Option<Options>) -> Result<Wish, Refusal> {
        let options = options.ok_or_else(|| Refusal::invalid("the options are missing"))?;
        let settings = options.settings.ok_or_else(|| Refusal::invalid("the settings are missing"))?;
        let (source, begin, filter) = match options.stream_option {
            Some(StreamOption::Stream(stream)) => {
                let begin = match stream.revision_option {
                    Some(stream_options::RevisionOption::Revision(revision)) => Begin::number(revision),
                    Some(stream_options::RevisionOption::Start(_)) => Begin::First,
                    Some(stream_options::RevisionOption::End(_)) => Begin::End,
                    None => return Err(Refusal::invalid("no place to begin is named")),
                };
                (source_of(stream.stream_identifier.as_ref())?, begin, EventFilter::default())
            }
            Some(StreamOption::All(all)) => {
                let begin = match all.all_option {
                    Some(all_options::AllOption::Position(at))
                        if at.commit_position < at.prepare_position =>
                    {
                        return Err(Refusal::invalid("the commit position is below the prepare position"));
                    }
                    Some(all_options::AllOption::Position(at)) => match at.commit_position {
                        u64::MAX => Begin::End,
                        position => Begin::Position(position),
                    },
                    Some(all_options::AllOption::Start(_)) => Begin::First,
                    Some(all_options::AllOption::End(_)) => Begin::End,
                    None => return Err(Refusal::invalid("no place to begin is named")),
                };
                (Source::All, begin, filter(all.filter_option))
            }
            // How it was said before there were groups on the whole log.
            None => {
                let source = source_of(options.stream_identifier.as_ref())?;
                (source, Begin::number(settings.revision), EventFilter::default())
            }
        };
        Ok(Wish { source, group: options.group_name, begin, filter, settings })
    }

    /// Where the group is to begin, in the words of the model.
    ///
    /// # Errors
    /// [`Code::InvalidGroup`] for a place that is not there.
    pub(super) fn start(&self, store: &Store) -> Result<Start> {
        self.begin.start(
            &self.source,
            store.head(),
            |selector, number| store.select(selector, number),
            |selector| store.rank(selector, store.head()),
        )
    }

    /// The settings of a new group.
    ///
    /// # Errors
    /// [`Code::InvalidGroup`].
    pub(super) fn create(&self, start: Start) -> Result<GroupSettings> {
        let strategy = match &self.settings.consumer_strategy[..] {
            "" => numbered(self.settings.named_consumer_strategy)?,
            name => named(name)?,
        };
        let base = GroupSettings {
            filter: self.filter.clone(),
            retry_backoff: RETRY_BACKOFF,
            ..GroupSettings::new(self.source.selector())
        };
        self.over(base, start, strategy)
    }

    /// The settings of a group that has others. What this protocol cannot say stays as it was.
    ///
    /// # Errors
    /// [`Code::InvalidGroup`].
    pub(super) fn update(&self, before: &GroupSettings, start: Start) -> Result<GroupSettings> {
        let said = numbered(self.settings.named_consumer_strategy)?;
        let strategy = match before.strategy {
            // The numbers have no word for these; the nearest one keeps them.
            Strategy::Ordered => Strategy::Ordered,
            Strategy::PinnedByCorrelation if said == Strategy::Pinned => Strategy::PinnedByCorrelation,
            _ => said,
        };
        self.over(before.clone(), start, strategy)
    }

    fn over(&self, base: GroupSettings, start: Start, strategy: Strategy) -> Result<GroupSettings> {
        let said = &self.settings;
        let read_batch = count("read_batch_size", said.read_batch_size)?;
        let history_buffer = count("history_buffer_size", said.history_buffer_size)?;
        if read_batch >= history_buffer {
            return Err(Error::new(Code::InvalidGroup, "read_batch_size is not below history_buffer_size")
                .expected(format!("less than {history_buffer}"))
                .found(read_batch.to_string()));
        }
        Ok(GroupSettings {
            start,
            strategy,
            message_timeout: match said.message_timeout {
                Some(settings::MessageTimeout::MessageTimeoutMs(ms)) => millis("message_timeout_ms", ms)?,
                Some(settings::MessageTimeout::MessageTimeoutTicks(ticks)) => {
                    of_ticks("message_timeout_ticks", ticks)?
                }
                None => None,
            },
            retries_max: count("max_retry_count", said.max_retry_count)?,
            checkpoint_after: match said.checkpoint_after {
                Some(settings::CheckpointAfter::CheckpointAfterMs(ms)) => millis("checkpoint_after_ms", ms)?,
                Some(settings::CheckpointAfter::CheckpointAfterTicks(ticks)) => {
                    of_ticks("checkpoint_after_ticks", ticks)?
                }
                None => None,
            },
            checkpoint_min: count("min_checkpoint_count", said.min_checkpoint_count)?,
            checkpoint_max: count("max_checkpoint_count", said.max_checkpoint_count)?,
            consumers_max: count("max_subscriber_count", said.max_subscriber_count)?,
            live_buffer: count("live_buffer_size", said.live_buffer_size)?,
            read_batch,
            history_buffer,
            resolve_links: said.resolve_links,
            extra_statistics: said.extra_statistics,
            ..base
        })
    }
}

/// The source a message names by the name of a stream.
///
/// # Errors
/// [`Code::InvalidStreamName`], also if it names none; [`Code::InvalidGroup`] for a view that no group can read.
pub(super) fn source_of(stream: Option<&StreamIdentifier>) -> Result<Source> {
    let named = stream.ok_or_else(|| Error::new(Code::InvalidStreamName, "no stream is named"))?;
    let name = std::str::from_utf8(&named.stream_name)
        .map_err(|_| Error::new(Code::InvalidStreamName, "stream name is not valid UTF-8"))?;
    Source::named(name)
}

fn filter(option: Option<all_options::FilterOption>) -> EventFilter {
    use all_options::filter_options::{Expression, Filter};
    let pattern = |expression: Expression| {
        let Expression { regex, prefix } = expression;
        match (regex.is_empty(), prefix.is_empty()) {
            (false, _) => Some(Pattern::Regex(regex.into())),
            (true, false) => Some(Pattern::Prefixes(prefix.into_iter().map(Text::from).collect())),
            (true, true) => None,
        }
    };
    let mut filter = EventFilter::default();
    if let Some(all_options::FilterOption::Filter(said)) = option {
        match said.filter {
            Some(Filter::StreamIdentifier(expression)) => filter.stream = pattern(expression),
            Some(Filter::EventType(expression)) => filter.event_type = pattern(expression),
            None => {}
        }
    }
    filter
}

fn numbered(number: i32) -> Result<Strategy> {
    Ok(match ConsumerStrategy::try_from(number) {
        Ok(ConsumerStrategy::DispatchToSingle) => Strategy::DispatchToSingle,
        Ok(ConsumerStrategy::RoundRobin) => Strategy::RoundRobin,
        Ok(ConsumerStrategy::Pinned) => Strategy::Pinned,
        Err(_) => {
            return Err(Error::new(Code::InvalidGroup, format!("there is no consumer strategy {number}")));
        }
    })
}

/// The names of the strategies, in both directions.
const STRATEGIES: [(Strategy, &str); 5] = [
    (Strategy::DispatchToSingle, "DispatchToSingle"),
    (Strategy::RoundRobin, "RoundRobin"),
    (Strategy::Pinned, "Pinned"),
    (Strategy::PinnedByCorrelation, "PinnedByCorrelation"),
    (Strategy::Ordered, "Ordered"),
];

fn named(name: &str) -> Result<Strategy> {
    let found = STRATEGIES.iter().find(|(_, text)| *text == name).map(|(strategy, _)| *strategy);
    found.ok_or_else(|| {
        let name = graven_model::limits::shorten(name);
        Error::new(Code::InvalidGroup, format!("there is no consumer strategy {name:?}"))
            .expected(STRATEGIES.map(|(_, text)| text).join(", "))
    })
}

/// The name of a strategy.
pub(super) fn name_of(strategy: Strategy) -> &'static str {
    let found = STRATEGIES.iter().find(|(known, _)| *known == strategy);
    found.map(|(_, text)| *text).expect("the table has every strategy")
}

fn count(what: &str, number: i32) -> Result<u32> {
    u32::try_from(number).map_err(|_| negative(what, number.into()))
}

/// Zero stands for never.
fn millis(what: &str, number: i32) -> Result<Option<Duration>> {
    let number = u64::try_from(number).map_err(|_| negative(what, number.into()))?;
    Ok((number > 0).then(|| Duration::from_millis(number)))
}

/// Tenths of a microsecond; zero stands for never. What is below a microsecond is rounded up to one.
fn of_ticks(what: &str, number: i64) -> Result<Option<Duration>> {
    let number = u64::try_from(number).map_err(|_| negative(what, number))?;
    Ok((number > 0).then(|| Duration::from_micros(number.div_ceil(10))))
}

fn negative(what: &str, number: i64) -> Error {
    Error::new(Code::InvalidGroup, format!("{what} is negative")).found(number.to_string())
}

#[cfg(test)]
mod tests;
