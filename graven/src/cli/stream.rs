//! `graven stream list|info|delete|truncate`.

use super::client::{Call, Client, encode, foreign, target};
use super::confirm::confirm;
use super::failure::usage;
use super::output::{Column, Output, number, table, text};
use crate::config::units::show_count;
use serde::Deserialize;
use serde_json::value::RawValue;
use ureq::http::Method;

/// Subcommands of `stream`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List streams in the order of their creation
    List {
        /// Only names that start with this
        prefix: Option<String>,
        /// At most this many; all by default
        #[arg(long)]
        limit: Option<u64>,
        /// System streams too
        #[arg(long)]
        system: bool,
    },
    /// Show state, revisions, times and metadata of a stream
    Info {
        /// The stream
        stream: String,
    },
    /// Delete a stream; appending to it later reopens it
    Delete {
        /// The stream
        stream: String,
        /// Close the stream for ever: nothing can be appended to it again
        #[arg(long)]
        tombstone: bool,
        /// Delete only if this is its last revision
        #[arg(long, value_name = "REVISION")]
        expected: Option<u64>,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Hide the events of a stream before a revision
    Truncate {
        /// The stream
        stream: String,
        /// First revision that stays visible
        #[arg(long, value_name = "REVISION")]
        before: u64,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    streams: Vec<&'a RawValue>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Info {
    stream: String,
    state: State,
    first_revision: Option<u64>,
    last_revision: Option<u64>,
    last_position: Option<u64>,
    created_at: Option<String>,
    updated_at: Option<String>,
    metadata: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct State {
    state: String,
}

impl Info {
    fn events(&self) -> u64 {
        match (self.first_revision, self.last_revision) {
            (Some(first), Some(last)) if first <= last => last - first + 1,
            _ => 0,
        }
    }
}

const COLUMNS: &[Column] =
    &[text("stream"), text("state"), number("events"), number("first"), number("last"), text("updated")];

/// Runs a subcommand.
pub(crate) fn run(command: &Command, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        Command::List { prefix, limit, system } => list(client, output, prefix.as_deref(), *limit, *system),
        Command::Info { stream } => info(client, output, stream),
        Command::Delete { stream, tombstone, expected, yes } => {
            let found = fetch(client, stream)?.1;
            let act = if *tombstone { "close it for ever and hide them" } else { "hide them" };
            confirm(
                *yes,
                &format!("{stream} has {} visible events; deleting will {act}", show_count(found.events())),
            )?;
            let parameters: &[_] = if *tombstone { &[("tombstone", "true".into())] } else { &[] };
            let path = target(&path(stream, "")?, parameters);
            let headers: Vec<_> =
                expected.iter().map(|revision| ("If-Match", format!("\"{revision}\""))).collect();
            let answer =
                client.send_text(&Call { method: Method::DELETE, headers: &headers, ..Call::get(&path) })?;
            output.document(&answer, || Ok(format!("deleted {stream}\n")))
        }
        Command::Truncate { stream, before, yes } => {
            let found = fetch(client, stream)?.1;
            let (first, end) =
                (found.first_revision.unwrap_or(0), found.last_revision.map_or(0, |last| last + 1));
            let hidden = (*before).min(end).saturating_sub(first);
            let kept = found.events() - hidden.min(found.events());
            confirm(
                *yes,
                &format!(
                    "{stream} has {} visible events; truncating hides {} of them and leaves {}",
                    show_count(found.events()),
                    show_count(hidden),
                    show_count(kept)
                ),
            )?;
            let body = format!("{{\"before\":{before}}}");
            let path = path(stream, "/truncate")?;
            let answer = client.send_text(&Call::with_body(
                Method::POST,
                &path,
                "application/json",
                body.as_bytes(),
            ))?;
            output.document(&answer, || Ok(format!("truncated {stream} before revision {before}\n")))
        }
    }
}

fn list(
    client: &Client,
    output: Output,
    prefix: Option<&str>,
    limit: Option<u64>,
    system: bool,
) -> anyhow::Result<()> {
    const PAGE_STREAMS: u64 = 1_000;
    let mut items = output.items(COLUMNS);
    let mut left = limit;
    let mut after: Option<String> = None;
    while left != Some(0) {
        let mut parameters = vec![("limit", left.unwrap_or(PAGE_STREAMS).min(PAGE_STREAMS).to_string())];
        parameters.extend(prefix.map(|prefix| ("prefix", prefix.to_owned())));
        parameters.extend(after.take().map(|after| ("after", after)));
        if system {
            parameters.push(("system", "true".into()));
        }
        let text = client.send_text(&Call::get(&target("/v1/streams", &parameters)))?;
        let page: List<'_> = serde_json::from_str(&text).map_err(|error| foreign(client.base(), error))?;
        let raw: Vec<&str> = page.streams.iter().map(|stream| stream.get()).collect();
        items.print(&raw, |raw| {
            let info: Info = serde_json::from_str(raw)?;
            let events = show_count(info.events());
            let cell = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
            let (first, last) = (cell(info.first_revision), cell(info.last_revision));
            Ok(vec![info.stream, info.state.state, events, first, last, info.updated_at.unwrap_or_default()])
        })?;
        left = left.map(|left| left.saturating_sub(raw.len() as u64));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    items.end()
}

fn info(client: &Client, output: Output, stream: &str) -> anyhow::Result<()> {
    let (answer, info) = fetch(client, stream)?;
    let color = output.colored();
    output.document(&answer, || {
        let events = show_count(info.events());
        let cell = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let rows = [
            ("stream", info.stream),
            ("state", info.state.state),
            ("events", events),
            ("first revision", cell(info.first_revision)),
            ("last revision", cell(info.last_revision)),
            ("last position", cell(info.last_position)),
            ("created", info.created_at.unwrap_or_default()),
            ("updated", info.updated_at.unwrap_or_default()),
            (
                "metadata",
                info.metadata.map_or("-".to_owned(), |json| super::json::compact(json.get()).into_owned()),
            ),
        ];
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        Ok(table(&[text("what"), text("value")], &rows, color))
    })
}

fn fetch(client: &Client, stream: &str) -> anyhow::Result<(String, Info)> {
    let answer = client.send_text(&Call::get(&path(stream, "/info")?))?;
    let info = serde_json::from_str(&answer).map_err(|error| foreign(client.base(), error))?;
    Ok((answer, info))
}

fn path(stream: &str, rest: &str) -> anyhow::Result<String> {
    if stream.is_empty() {
        return Err(usage("the stream name is empty").into());
    }
    Ok(format!("/v1/streams/{}{rest}", encode(stream)))
}
