//! `graven dead-letter list|show`.

use super::filter::Filter;
use crate::cli::client::{Call, Client, encode, foreign, target};
use crate::cli::event::EventJson;
use crate::cli::failure::usage;
use crate::cli::output::{Column, Output, number, table, text};
use graven_model::limits;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Arguments of `dead-letter list`.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// At most this many; all by default
    #[arg(long)]
    limit: Option<u64>,
    /// With the events, in JSON
    #[arg(long)]
    payload: bool,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    dead_letters: Vec<&'a RawValue>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Letter<'a> {
    group: String,
    position: u64,
    stream: String,
    revision: u64,
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    reason: String,
    error: String,
    attempts: u32,
    first_failure: String,
    last_failure: String,
    consumer: String,
    replays: u32,
    replaying: bool,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

const COLUMNS: &[Column] = &[
    text("group"),
    number("position"),
    text("stream"),
    number("revision"),
    text("type"),
    text("reason"),
    number("attempts"),
    text("last failure"),
    text("error"),
];

/// Prints dead letters, page after page.
pub(crate) fn list(args: &ListArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    const PAGE: u64 = limits::DEAD_LETTER_PAGE_MAX as u64;
    let mut items = output.items(COLUMNS);
    let mut left = args.limit;
    let mut cursor: Option<String> = None;
    // Said once, so that every page is one of the same listing.
    let filter = args.filter.parameters();
    while left != Some(0) {
        let mut parameters = filter.clone();
        parameters.push(("limit", left.unwrap_or(PAGE).min(PAGE).to_string()));
        parameters.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        if args.payload {
            parameters.push(("with_payload", "true".into()));
        }
        let answer = client.send_text(&Call::get(&target("/v1/dead-letters", &parameters)))?;
        let page: Page<'_> = serde_json::from_str(&answer).map_err(|error| foreign(client.base(), error))?;
        let raw: Vec<&str> = page.dead_letters.iter().map(|letter| letter.get()).collect();
        items.print(&raw, |raw| {
            let letter: Letter<'_> = serde_json::from_str(raw)?;
            Ok(vec![
                letter.group,
                letter.position.to_string(),
                letter.stream,
                letter.revision.to_string(),
                letter.event_type,
                letter.reason,
                letter.attempts.to_string(),
                letter.last_failure,
                limits::shorten(&letter.error).to_owned(),
            ])
        })?;
        left = left.map(|left| left.saturating_sub(raw.len() as u64));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    items.end()
}

/// Prints one dead letter with its event.
pub(crate) fn show(group: &str, position: u64, client: &Client, output: Output) -> anyhow::Result<()> {
    if group.is_empty() {
        return Err(usage("the name of the group is empty").into());
    }
    let path = format!("/v1/dead-letters/{}/{position}", encode(group));
    let answer = client.send_text(&Call::get(&path))?;
    let color = output.colored();
    output.document(&answer, || {
        let letter: Letter<'_> =
            serde_json::from_str(&answer).map_err(|error| foreign(client.base(), error))?;
        let data = match letter.event {
            Some(event) => EventJson::parse(event.get())?.shown_data().into_owned(),
            None => "(cannot be read any more)".to_owned(),
        };
        let rows = [
            ("group", letter.group),
            ("position", letter.position.to_string()),
            ("stream", letter.stream),
            ("revision", letter.revision.to_string()),
            ("event id", letter.event_id),
            ("type", letter.event_type),
            ("reason", letter.reason),
            ("error", letter.error),
            ("attempts", letter.attempts.to_string()),
            ("first failure", letter.first_failure),
            ("last failure", letter.last_failure),
            ("last consumer", letter.consumer),
            ("replays", letter.replays.to_string()),
            ("replaying", if letter.replaying { "yes" } else { "no" }.to_owned()),
            ("data", data),
        ];
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        Ok(table(&[text("what"), text("value")], &rows, color))
    })
}
