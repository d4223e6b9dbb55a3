//! `graven snapshot list`: what is kept of a stream, without the states themselves.

use super::super::client::{Client, foreign};
use super::super::event::EventJson;
use super::super::output::{Column, Output, number, text};
use super::super::pages::Pages;
use super::super::select::Selection;
use graven_model::{Code, Result, SnapshotOf, StoredEvent, StreamName, snapshot};
use serde::{Deserialize, Serialize};

const COLUMNS: &[Column] = &[
    number("revision"),
    text("taken"),
    number("position"),
    number("schema version"),
    text("content type"),
    number("bytes"),
    text("data subject"),
];

/// A snapshot without its state.
#[derive(Serialize, Deserialize)]
struct Listed {
    stream: String,
    revision: u64,
    position: u64,
    event_position: u64,
    schema_version: u32,
    content_type: String,
    taken_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_subject: Option<String>,
    /// Size of the state; `None` if it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
}

/// Prints the kept snapshots, the oldest first; a stream without any has an empty list.
pub(super) fn list(client: &Client, output: Output, stream: &str) -> anyhow::Result<()> {
    let kept_in = snapshot::stream_of(&StreamName::new(stream)?)?;
    let mut selection = Selection::stream(kept_in.as_str())?;
    selection.set("payload", "base64");
    let mut pages = Pages::new(client, selection, None);
    let mut items = output.items(COLUMNS);
    loop {
        let page = match pages.next() {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(error) if error.code == Code::StreamNotFound => break,
            Err(error) => return Err(error.into()),
        };
        let mut listed = Vec::new();
        for event in page.parts()?.events {
            let kept = EventJson::parse(event.get())?.into_stored()?;
            listed.push(serde_json::to_string(&listed_of(client, stream, kept)?)?);
        }
        let raw: Vec<&str> = listed.iter().map(String::as_str).collect();
        items.print(&raw, |raw| {
            let listed: Listed = serde_json::from_str(raw)?;
            Ok(vec![
                listed.revision.to_string(),
                listed.taken_at,
                listed.position.to_string(),
                listed.schema_version.to_string(),
                listed.content_type,
                listed.bytes.map_or("(erased)".to_owned(), |bytes| bytes.to_string()),
                listed.data_subject.unwrap_or_else(|| "-".to_owned()),
            ])
        })?;
    }
    items.end()
}

fn listed_of(client: &Client, stream: &str, kept: StoredEvent) -> Result<Listed> {
    let of = SnapshotOf::from_tags(kept.event.tags.iter().map(|tag| &**tag))
        .ok_or_else(|| foreign(client.base(), format!("the event at {} is no snapshot", kept.position)))?;
    Ok(Listed {
        stream: stream.to_owned(),
        revision: of.revision.0,
        position: kept.position.0,
        event_position: of.position.0,
        schema_version: kept.event.schema.version,
        content_type: kept.event.content_type.as_str().to_owned(),
        taken_at: kept.committed_at.to_string(),
        data_subject: kept.event.data_subject.map(|subject| subject.to_string()),
        bytes: (!kept.erased).then_some(kept.event.data.len()),
    })
}
