//! `graven snapshot put|get|list|delete`.

mod list;

use super::append::{json_text, payload};
use super::client::{Call, Client, encode, foreign, target};
use super::confirm::confirm;
use super::failure::usage;
use super::output::{Output, table, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_model::{ContentType, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::http::Method;

/// Subcommands of `snapshot`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Keep a stream's state at a revision, so that readers need only the events after it
    Put(PutArgs),
    /// Print the newest snapshot of a stream that still serves
    Get {
        /// The stream
        stream: String,
        /// The newest of those of this revision or an earlier one
        #[arg(long, value_name = "REVISION")]
        at_or_before: Option<u64>,
        /// Print the state alone, byte for byte
        #[arg(long)]
        state: bool,
    },
    /// List the snapshots that are kept of a stream, the oldest first, without their states
    List {
        /// The stream
        stream: String,
    },
    /// Delete all snapshots of a stream; their bytes go with the next scavenging
    Delete {
        /// The stream
        stream: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

/// Arguments of `snapshot put`.
#[derive(clap::Args)]
pub(crate) struct PutArgs {
    /// The stream
    stream: String,
    /// The last event that went into the state
    #[arg(long)]
    revision: u64,
    /// The state: the text itself, @FILE, or - for standard input
    #[arg(long, allow_hyphen_values = true)]
    data: String,
    /// Media type of the state; anything but JSON is stored byte for byte
    #[arg(long, default_value = "application/json", value_name = "TYPE")]
    content_type: String,
    /// Version of the state's shape; 0 = none
    #[arg(long, default_value_t = 0, value_name = "N")]
    schema_version: u32,
    /// The person the state is about
    #[arg(long, value_name = "NAME")]
    data_subject: Option<String>,
    /// How many snapshots of the stream are kept, this one among them
    #[arg(long, default_value_t = 1, value_name = "N")]
    keep: u32,
}

#[derive(Serialize)]
struct Body<'a> {
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    content_type: &'a str,
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_subject: Option<&'a str>,
    keep: u32,
}

#[derive(Deserialize)]
struct Receipt {
    stream: String,
    revision: u64,
    position: u64,
    taken_at: String,
    stored: bool,
}

#[derive(Deserialize)]
struct Snapshot {
    stream: String,
    revision: u64,
    position: u64,
    event_position: u64,
    leaf_hash: String,
    schema_version: u32,
    content_type: String,
    taken_at: String,
    data_subject: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Put(args) => put(args, client, output),
        Command::Get { stream, at_or_before, state } => {
            let mut parameters: Vec<(&str, String)> = Vec::new();
            parameters.extend(at_or_before.map(|revision| ("at_or_before", revision.to_string())));
            if *state {
                parameters.push(("payload", "base64".into()));
            }
            let answer = client.send_text(&Call::get(&target(&path(stream)?, &parameters)))?;
            if *state {
                let snapshot: Snapshot = read(client, &answer)?;
                let bytes = STANDARD.decode(snapshot.data_base64.unwrap_or_default());
                return output.write(&bytes.map_err(|error| foreign(client.base(), error))?);
            }
            let color = output.colored();
            output.document(&answer, || Ok(shown(read(client, &answer)?, color)))
        }
        Command::List { stream } => list::list(client, output, stream),
        Command::Delete { stream, yes } => {
            let path = path(stream)?;
            let found: Snapshot = read(client, &client.send_text(&Call::get(&path))?)?;
            confirm(
                *yes,
                &format!(
                    "{stream} has a snapshot of revision {}, taken at {}; deleting hides it and all before it",
                    found.revision, found.taken_at
                ),
            )?;
            let answer = client.send_text(&Call { method: Method::DELETE, ..Call::get(&path) })?;
            output.document(&answer, || Ok(format!("deleted the snapshots of {stream}\n")))
        }
    }
}

fn put(args: &PutArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&body(args)?)?;
    let path = path(&args.stream)?;
    let answer = client.send_text(&Call::with_body(Method::PUT, &path, "application/json", &body))?;
    output.document(&answer, || {
        let receipt: Receipt = read(client, &answer)?;
        let rows = [
            ("stream", receipt.stream),
            ("revision", receipt.revision.to_string()),
            ("position", receipt.position.to_string()),
            ("taken", receipt.taken_at),
            ("stored", if receipt.stored { "now" } else { "already before" }.to_owned()),
        ];
        Ok(two_columns("snapshot", rows, false))
    })
}

fn body(args: &PutArgs) -> Result<Body<'_>> {
    let bytes = payload(&args.data)?;
    let (data, data_base64) = if ContentType::from_text(&args.content_type).is_json() {
        (Some(json_text("--data", bytes)?), None)
    } else {
        (None, Some(STANDARD.encode(bytes)))
    };
    Ok(Body {
        revision: args.revision,
        data,
        data_base64,
        content_type: &args.content_type,
        schema_version: args.schema_version,
        data_subject: args.data_subject.as_deref(),
        keep: args.keep,
    })
}

fn shown(snapshot: Snapshot, color: bool) -> String {
    let state = match (&snapshot.data, &snapshot.data_base64) {
        (Some(json), _) => super::json::compact(json.get()).into_owned(),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64).map_or(0, |bytes| bytes.len());
            format!("({bytes} bytes; --state prints them)")
        }
        (None, None) => "-".to_owned(),
    };
    let rows = [
        ("stream", snapshot.stream),
        ("revision", snapshot.revision.to_string()),
        ("schema version", snapshot.schema_version.to_string()),
        ("content type", snapshot.content_type),
        ("data subject", snapshot.data_subject.unwrap_or_else(|| "-".to_owned())),
        ("taken", snapshot.taken_at),
        ("position", snapshot.position.to_string()),
        ("event's position", snapshot.event_position.to_string()),
        ("event's leaf", snapshot.leaf_hash),
        ("state", state),
    ];
    two_columns("what", rows, color)
}

fn two_columns<const N: usize>(what: &'static str, rows: [(&str, String); N], color: bool) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&[text(what), text("value")], &rows, color)
}

fn read<'a, T: Deserialize<'a>>(client: &Client, answer: &'a str) -> anyhow::Result<T> {
    Ok(serde_json::from_str(answer).map_err(|error| foreign(client.base(), error))?)
}

fn path(stream: &str) -> anyhow::Result<String> {
    if stream.is_empty() {
        return Err(usage("the stream name is empty").into());
    }
    Ok(format!("/v1/streams/{}/snapshot", encode(stream)))
}
