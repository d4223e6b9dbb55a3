//! `graven audit prove`: a proof that an event is in the log, as a file others can check.

use super::check_proof;
use super::checkpoint::as_it_is;
use super::fetch;
use super::trust::Trust;
use crate::cli::Global;
use crate::cli::client::{Call, Client, encode, foreign};
use crate::cli::failure::usage;
use graven_model::{Code, Error, EventId, Result};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `audit prove`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Position of the event in the log
    #[arg(required_unless_present = "event")]
    position: Option<u64>,
    /// Id of the event, instead of its position
    #[arg(long, value_name = "ID", conflicts_with = "position")]
    event: Option<String>,
    /// Under the checkpoint of this size; the latest, or one that is made for it, if absent
    #[arg(long, value_name = "EVENTS")]
    size: Option<u64>,
    /// Write the proof there; standard output if absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the leaf there, instead of putting it into the proof
    #[arg(long, value_name = "FILE")]
    leaf: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

/// Runs the command.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let policy = args.trust.policy()?;
    let client = global.client()?;
    let position = match (args.position, &args.event) {
        (Some(position), _) => position,
        (None, Some(id)) => position_of(&client, id)?,
        (None, None) => return Err(usage("neither a position nor an event is named").into()),
    };
    let mut parameters = vec![("position", position.to_string())];
    parameters.extend(args.size.map(|size| ("size", size.to_string())));
    if args.leaf.is_none() {
        parameters.push(("leaf", "true".to_owned()));
    }
    let proof = fetch::text(&client, "/audit/inclusion", &parameters)?;
    let leaf = match &args.leaf {
        Some(_) => Some(client.send(&Call {
            accept: "application/octet-stream",
            ..Call::get(&format!("/audit/leaf/{position}"))
        })?),
        None => None,
    };
    match &policy {
        Some(policy) => {
            check_proof::prove(proof.as_bytes(), leaf.clone(), policy)?;
        }
        None => eprintln!("not checked: name a key with --vkey, or check it with `graven audit check-proof`"),
    }
    if let (Some(path), Some(leaf)) = (&args.leaf, &leaf) {
        write(path, leaf)?;
    }
    match &args.out {
        Some(path) => Ok(write(path, proof.as_bytes())?),
        None => as_it_is(global, &proof, || Ok(json!({"position": position, "proof": proof}))),
    }
}

/// The one position of an event.
fn position_of(client: &Client, id: &str) -> Result<u64> {
    #[derive(Deserialize)]
    struct Events {
        events: Vec<Event>,
    }
    #[derive(Deserialize)]
    struct Event {
        position: u64,
        stream: String,
    }
    EventId::parse(id)?;
    let answer = client.send_text(&Call::get(&format!("/v1/events/{}", encode(id))))?;
    let events: Events = serde_json::from_str(&answer)
        .map_err(|_| foreign(client.base(), "what it gives for an id are no events"))?;
    match &events.events[..] {
        [only] => Ok(only.position),
        [] => Err(Error::new(Code::EventNotFound, format!("no event has the id {id}"))),
        several => {
            let places: Vec<String> =
                several.iter().map(|event| format!("{} in {}", event.position, event.stream)).collect();
            Err(usage(format!("several events have the id {id}"))
                .expected("a position")
                .found(places.join(", ")))
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Error::io(format!("write {}", path.display()), &error))
}
