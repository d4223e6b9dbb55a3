//! Settings of a group, as flags.

use crate::config::units::{DURATION_EXPECTED, duration};
use graven_model::Strategy;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A duration in milliseconds, or none at all.
#[derive(Clone, Copy)]
struct Span(Option<u64>);

fn span(text: &str) -> Result<Span, String> {
    match text {
        "never" => Ok(Span(None)),
        _ => millis(text).map(|millis| Span(Some(millis))).map_err(|error| format!("{error}, or never")),
    }
}

fn millis(text: &str) -> Result<u64, String> {
    let span: Duration = duration(text).ok_or_else(|| format!("expected {DURATION_EXPECTED}"))?;
    u64::try_from(span.as_millis()).map_err(|_| "it is too long".to_owned())
}

/// How a group consumes; what is not said has its default, or stays as it is.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Which consumer gets an event [default: round-robin]
    #[arg(long, value_parser = Strategy::ALL.map(Strategy::word))]
    strategy: Option<String>,
    /// How long a consumer may take for an event before it is tried again, or never [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    message_timeout: Option<Span>,
    /// Retries before an event is parked [default: 10]
    #[arg(long, value_name = "N")]
    retries_max: Option<u32>,
    /// Pause before the second try; it doubles from try to try [default: 100ms]
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    retry_first: Option<u64>,
    /// The longest pause between tries [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    retry_longest: Option<u64>,
    /// A checkpoint is written at the latest so long after something was done, or never by time [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    checkpoint_after: Option<Span>,
    /// Events done before a checkpoint is written by time [default: 10]
    #[arg(long, value_name = "N")]
    checkpoint_min: Option<u32>,
    /// Events done after which a checkpoint is written at once [default: 1000]
    #[arg(long, value_name = "N")]
    checkpoint_max: Option<u32>,
    /// Consumers at a time, 0 = as many as there may be [default: 0]
    #[arg(long, value_name = "N")]
    consumers_max: Option<u32>,
    /// Events held in memory while the group keeps up with the log [default: 500]
    #[arg(long, value_name = "N")]
    live_buffer: Option<u32>,
    /// Events read at a time [default: 20]
    #[arg(long, value_name = "N")]
    read_batch: Option<u32>,
    /// Events held in memory while the group catches up [default: 500]
    #[arg(long, value_name = "N")]
    history_buffer: Option<u32>,
    /// Replay dead letters by itself, each at most so many times; 0 = only when asked for [default: 0]
    #[arg(long, value_name = "TIMES")]
    auto_replay: Option<u32>,
    /// Pause before the first automatic replay; it doubles from replay to replay [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    auto_replay_first: Option<u64>,
    /// The longest pause between automatic replays [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    auto_replay_longest: Option<u64>,
    /// KurrentDB clients get the events that links point to
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    resolve_links: Option<bool>,
    /// Show quantiles of how long consumers took
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    extra_statistics: Option<bool>,
}

const AUTO_REPLAY_FIRST_MS: u64 = 60_000;
const AUTO_REPLAY_LONGEST_MS: u64 = 3_600_000;

impl Settings {
    /// Puts what was said into settings as the server shows and takes them.
    ///
    /// # Errors
    /// A flag of automatic replay without one.
    pub(crate) fn apply(&self, to: &mut Map<String, Value>) -> graven_model::Result<()> {
        let span = |span: Option<Span>| span.map(|Span(millis)| Value::from(millis));
        let number = |number: Option<u32>| number.map(Value::from);
        let millis = |millis: Option<u64>| millis.map(Value::from);
        let said = [
            ("strategy", self.strategy.as_deref().map(Value::from)),
            ("message_timeout_ms", span(self.message_timeout)),
            ("retries_max", number(self.retries_max)),
            ("retry_first_ms", millis(self.retry_first)),
            ("retry_longest_ms", millis(self.retry_longest)),
            ("checkpoint_after_ms", span(self.checkpoint_after)),
            ("checkpoint_min", number(self.checkpoint_min)),
            ("checkpoint_max", number(self.checkpoint_max)),
            ("consumers_max", number(self.consumers_max)),
            ("live_buffer", number(self.live_buffer)),
            ("read_batch", number(self.read_batch)),
            ("history_buffer", number(self.history_buffer)),
            ("resolve_links", self.resolve_links.map(Value::from)),
            ("extra_statistics", self.extra_statistics.map(Value::from)),
        ];
        for (name, value) in said {
            if let Some(value) = value {
                to.insert(name.to_owned(), value);
            }
        }
        self.apply_replay(to)
    }

    fn apply_replay(&self, to: &mut Map<String, Value>) -> graven_model::Result<()> {
        if self.auto_replay == Some(0) {
            to.insert("replay".to_owned(), Value::Null);
        }
        let before = to.get("replay").filter(|replay| replay.is_object()).cloned();
        let (first, longest) = (self.auto_replay_first, self.auto_replay_longest);
        match (self.auto_replay.filter(|times| *times > 0), before) {
            (None, None) if first.or(longest).is_some() => {
                return Err(crate::cli::failure::usage("nothing is replayed by itself")
                    .expected("--auto-replay with the number of times"));
            }
            (None, None) => {}
            (times, before) => {
                let mut replay = before.unwrap_or_else(
                    || json!({"first_ms": AUTO_REPLAY_FIRST_MS, "longest_ms": AUTO_REPLAY_LONGEST_MS}),
                );
                let said = [
                    ("times_max", times.map(Value::from)),
                    ("first_ms", first.map(Value::from)),
                    ("longest_ms", longest.map(Value::from)),
                ];
                for (name, value) in said {
                    if let Some(value) = value {
                        replay[name] = value;
                    }
                }
                to.insert("replay".to_owned(), replay);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn applied(arguments: &[&str], before: Value) -> graven_model::Result<Value> {
        let line = Line::try_parse_from([&["x"], arguments].concat()).unwrap();
        let Value::Object(mut settings) = before else { panic!("an object") };
        line.settings.apply(&mut settings)?;
        Ok(Value::Object(settings))
    }

    #[test]
    fn only_what_was_said_changes() {
        assert_eq!(applied(&[], json!({"retries_max": 3})).unwrap(), json!({"retries_max": 3}));
        let said =
            ["--message-timeout", "never", "--retry-first", "2s", "--resolve-links", "--retries-max", "5"];
        assert_eq!(
            applied(&said, json!({"retries_max": 3, "read_batch": 7})).unwrap(),
            json!({"message_timeout_ms": null, "retry_first_ms": 2000, "resolve_links": true, "retries_max": 5, "read_batch": 7})
        );
        assert!(Line::try_parse_from(["x", "--message-timeout", "5"]).is_err());
        assert!(Line::try_parse_from(["x", "--strategy", "Ordered"]).is_err());
    }

    #[test]
    fn automatic_replay_is_begun_changed_and_ended() {
        let begun = applied(&["--auto-replay", "3"], json!({})).unwrap();
        assert_eq!(begun, json!({"replay": {"times_max": 3, "first_ms": 60_000, "longest_ms": 3_600_000}}));
        let changed = applied(&["--auto-replay-first", "5s"], begun.clone()).unwrap();
        assert_eq!(changed["replay"]["first_ms"], 5_000);
        assert_eq!(changed["replay"]["times_max"], 3);
        assert_eq!(applied(&["--auto-replay", "0"], begun).unwrap(), json!({"replay": null}));
        assert!(applied(&["--auto-replay-first", "5s"], json!({})).is_err());
    }
}
