//! Which dead letters a command is about.

use crate::config::units::{DURATION_EXPECTED, duration};
use graven_engine::env::Env;
use graven_model::{ParkReason, Timestamp};
use serde_json::{Map, Value};

fn span_us(text: &str) -> Result<i64, String> {
    let span = duration(text).ok_or_else(|| format!("expected {DURATION_EXPECTED}"))?;
    i64::try_from(span.as_micros()).map_err(|_| "it is too long".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

/// What a dead letter has to be; everything that is said has to fit.
#[derive(clap::Args)]
pub(crate) struct Filter {
    /// Of this group
    #[arg(long)]
    group: Option<String>,
    /// Of this stream
    #[arg(long)]
    stream: Option<String>,
    /// Of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Parked for this reason
    #[arg(long, value_parser = ParkReason::ALL.map(ParkReason::word))]
    reason: Option<String>,
    /// Whose last failure is longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = span_us, conflicts_with = "before")]
    older_than: Option<i64>,
    /// Whose last failure was before this, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
    /// Whose last failure was at this time or later, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// At this position in the log; again for more
    #[arg(long = "position", value_name = "POSITION")]
    positions: Vec<u64>,
}

impl Filter {
    /// As parameters of a request.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut out: Vec<_> =
            self.texts().into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
        out.extend(self.positions.iter().map(|position| ("position", position.to_string())));
        out
    }

    /// As the body of a request.
    pub(crate) fn body(&self) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, text) in self.texts() {
            if let Some(text) = text {
                out.insert(name.to_owned(), text.into());
            }
        }
        if !self.positions.is_empty() {
            out.insert("positions".to_owned(), self.positions.as_slice().into());
        }
        out
    }

    /// For people, as in `of group g, stream s`.
    pub(crate) fn in_words(&self) -> String {
        let mut words: Vec<String> = self
            .texts()
            .into_iter()
            .filter_map(|(name, text)| Some(format!("{} {}", name.replace('_', " "), text?)))
            .collect();
        if !self.positions.is_empty() {
            words.push("by position".to_owned());
        }
        if words.is_empty() { "all".to_owned() } else { words.join(", ") }
    }

    fn texts(&self) -> [(&'static str, Option<String>); 6] {
        let before = self.before.or_else(|| {
            let now_us = Env::real().clock.now_us();
            Some(Timestamp::from_micros(now_us.saturating_sub(self.older_than?)))
        });
        [
            ("group", self.group.clone()),
            ("stream", self.stream.clone()),
            ("type", self.event_type.clone()),
            ("reason", self.reason.clone()),
            ("failed_before", before.map(|time| time.to_string())),
            ("failed_since", self.since.map(|time| time.to_string())),
        ]
    }
}
