//! `graven read`.

use super::client::Client;
use super::event::EventJson;
use super::output::{Column, Output, number, text};
use super::pages::Pages;
use super::select::{Filter, Select};

/// Arguments of `read`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    select: Select,
    /// Where to begin: start, end, a revision (stream) or position (otherwise), or an RFC 3339 time
    #[arg(long)]
    from: Option<String>,
    /// Newest first
    #[arg(long)]
    backward: bool,
    /// At most this many events; all by default
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    filter: Filter,
}

/// Columns of a table of events.
pub(crate) const COLUMNS: &[Column] =
    &[number("position"), text("stream"), number("revision"), text("type"), text("time"), text("data")];

/// Reads page by page and prints each as it comes.
pub(crate) fn run(args: &Args, client: &Client, output: Output) -> anyhow::Result<()> {
    let mut selection = args.select.selection(&args.filter)?;
    selection.from.clone_from(&args.from);
    if args.backward {
        selection.set("direction", "backward");
    }
    let mut items = output.items(COLUMNS);
    let mut pages = Pages::new(client, selection, args.limit);
    while let Some(page) = pages.next()? {
        let parts = page.parts()?;
        let raw: Vec<&str> = parts.events.iter().map(|event| event.get()).collect();
        items.print(&raw, row)?;
    }
    items.end()
}

/// The cells of one event: its own time if it has one, else the commit time.
pub(crate) fn row(raw: &str) -> anyhow::Result<Vec<String>> {
    let event = EventJson::parse(raw)?;
    Ok(vec![
        event.position.to_string(),
        event.stream.to_string(),
        event.revision.to_string(),
        event.event_type.to_string(),
        event.time.unwrap_or(event.committed_at).to_string(),
        shorten(&event.shown_data()),
    ])
}

/// Payload as one table cell holds it.
fn shorten(data: &str) -> String {
    const SHOWN_CHARS: usize = 100;
    match data.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &data[..end]),
        None => data.to_owned(),
    }
}
