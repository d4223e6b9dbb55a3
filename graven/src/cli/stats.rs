//! `graven stats`.

use super::client::{Call, Client};
use super::output::{Output, number, table, text};
use crate::config::units::{show_bytes, show_count};
use serde::Deserialize;

#[derive(Deserialize)]
struct Stats {
    user: Counts,
    system: Counts,
    types: Vec<Named>,
    categories: Vec<Named>,
}

#[derive(Deserialize)]
struct Counts {
    events: u64,
    bytes: u64,
    streams: u64,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    events: u64,
    bytes: u64,
    #[serde(default)]
    streams: u64,
}

/// Prints what the server counts.
pub(crate) fn run(client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.send_text(&Call::get("/v1/stats"))?;
    let color = output.colored();
    output.document(&answer, || {
        let stats: Stats = serde_json::from_str(&answer)?;
        let counts = |name: &str, events, streams, bytes| {
            vec![name.to_owned(), show_count(events), show_count(streams), show_bytes(bytes)]
        };
        let all = [("user", &stats.user), ("system", &stats.system)];
        let all: Vec<_> = all.iter().map(|(name, c)| counts(name, c.events, c.streams, c.bytes)).collect();
        let mut out = table(&[text(""), number("events"), number("streams"), number("bytes")], &all, color);
        if !stats.categories.is_empty() {
            let rows: Vec<_> =
                stats.categories.iter().map(|c| counts(&c.name, c.events, c.streams, c.bytes)).collect();
            out.push('\n');
            out += &table(
                &[text("category"), number("events"), number("streams"), number("bytes")],
                &rows,
                color,
            );
        }
        if !stats.types.is_empty() {
            let row = |kind: &Named| vec![kind.name.clone(), show_count(kind.events), show_bytes(kind.bytes)];
            let rows: Vec<_> = stats.types.iter().map(row).collect();
            out.push('\n');
            out += &table(&[text("type"), number("events"), number("bytes")], &rows, color);
        }
        Ok(out)
    })
}
