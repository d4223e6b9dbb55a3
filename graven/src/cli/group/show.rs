//! `graven group list|info`.

use super::{parse, path};
use crate::cli::client::{Call, Client, foreign};
use crate::cli::output::{Column, Output, number, table, text};
use crate::config::units::show_count;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    groups: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    source: String,
    strategy: String,
    live: bool,
    consumers: u64,
    in_flight: u64,
    lag_events: u64,
    lag_exact: bool,
    lag_seconds: f64,
    parked: u64,
    trouble: Option<String>,
}

/// A group as the server shows it.
#[derive(Deserialize)]
pub(super) struct Info {
    name: String,
    settings: Value,
    created_at: String,
    live: bool,
    replaying: bool,
    checkpoint: u64,
    /// Everything below is done or parked.
    pub(super) done_below: u64,
    /// Events to go.
    pub(super) lag_events: u64,
    /// They were counted.
    pub(super) lag_exact: bool,
    lag_seconds: f64,
    /// Dead letters.
    pub(super) parked: u64,
    oldest_parked_seconds: Option<f64>,
    buffered: u64,
    retrying: u64,
    in_flight: u64,
    done_total: u64,
    done_last_second: u64,
    /// Who is connected.
    pub(super) consumers: Vec<Consumer>,
    trouble: Option<String>,
}

/// A consumer as the server shows it.
#[derive(Deserialize)]
pub(super) struct Consumer {
    id: u64,
    name: String,
    address: String,
    connected_at: String,
    buffer: u64,
    in_flight: u64,
    done_total: u64,
}

const COLUMNS: &[Column] = &[
    text("group"),
    text("source"),
    text("strategy"),
    number("consumers"),
    number("in flight"),
    number("to go"),
    number("behind"),
    number("dead letters"),
    text("state"),
];

/// Prints all groups.
pub(crate) fn list(client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.send_text(&Call::get("/v1/groups"))?;
    let list: List<'_> = serde_json::from_str(&answer).map_err(|error| foreign(client.base(), error))?;
    let raw: Vec<&str> = list.groups.iter().map(|group| group.get()).collect();
    let mut items = output.items(COLUMNS);
    items.print(&raw, |raw| {
        let line: Line = serde_json::from_str(raw)?;
        Ok(vec![
            line.name,
            line.source,
            line.strategy,
            show_count(line.consumers),
            show_count(line.in_flight),
            behind(line.lag_events, line.lag_exact),
            seconds(line.lag_seconds),
            show_count(line.parked),
            state(line.live, false, line.trouble.as_deref()),
        ])
    })?;
    items.end()
}

/// Prints one group.
pub(crate) fn info(group: &str, client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.send_text(&Call::get(&path(group, "")?))?;
    let color = output.colored();
    output.document(&answer, || Ok(shown(parse(&answer, client)?, color)))
}

/// A group for people.
pub(super) fn shown(info: Info, color: bool) -> String {
    let rows = [
        ("group", info.name),
        ("state", state(info.live, info.replaying, info.trouble.as_deref())),
        ("to go", behind(info.lag_events, info.lag_exact)),
        ("behind", seconds(info.lag_seconds)),
        ("done below position", show_count(info.done_below)),
        ("durably", show_count(info.checkpoint)),
        ("dead letters", show_count(info.parked)),
        ("the oldest for", info.oldest_parked_seconds.map_or("-".to_owned(), seconds)),
        ("buffered", show_count(info.buffered)),
        ("waiting for a retry", show_count(info.retrying)),
        ("in flight", show_count(info.in_flight)),
        ("done since the start", show_count(info.done_total)),
        ("within the last second", show_count(info.done_last_second)),
        ("created", info.created_at),
    ];
    let mut rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    if let Value::Object(settings) = &info.settings {
        rows.extend(settings.iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            vec![name.clone(), value]
        }));
    }
    let mut out = table(&[text("what"), text("value")], &rows, color);
    if !info.consumers.is_empty() {
        let columns = [
            number("consumer"),
            text("name"),
            text("address"),
            text("connected"),
            number("buffer"),
            number("in flight"),
            number("done"),
        ];
        let rows: Vec<Vec<String>> = info
            .consumers
            .into_iter()
            .map(|consumer| {
                vec![
                    consumer.id.to_string(),
                    consumer.name,
                    consumer.address,
                    consumer.connected_at,
                    show_count(consumer.buffer),
                    show_count(consumer.in_flight),
                    show_count(consumer.done_total),
                ]
            })
            .collect();
        out.push('\n');
        out.push_str(&table(&columns, &rows, color));
    }
    out
}

fn state(live: bool, replaying: bool, trouble: Option<&str>) -> String {
    match (trouble, replaying, live) {
        (Some(trouble), ..) => trouble.to_owned(),
        (None, true, _) => "replaying".to_owned(),
        (None, false, true) => "live".to_owned(),
        (None, false, false) => "catching up".to_owned(),
    }
}

/// A lag; `≤` if it was not counted to the end.
pub(super) fn behind(events: u64, exact: bool) -> String {
    format!("{}{}", if exact { "" } else { "≤ " }, show_count(events))
}

/// Seconds in the largest unit that leaves a number of two digits.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6_000.0 => format!("{:.0} m", s / 60.0),
        s if s < 360_000.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_in_the_unit_that_fits() {
        let shown = [0.0, 0.0421, 1.26, 119.0, 7_300.0, 864_000.0].map(seconds);
        assert_eq!(shown, ["0 ms", "42 ms", "1.3 s", "2 m", "2 h", "10 d"]);
        assert_eq!((behind(1_234, true), behind(7, false)), ("1,234".to_owned(), "≤ 7".to_owned()));
    }
}
