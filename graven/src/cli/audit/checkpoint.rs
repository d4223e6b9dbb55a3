//! `graven audit checkpoint` and `graven audit consistency`.

use super::fetch;
use crate::cli::Global;
use crate::cli::client::{Call, target};
use crate::cli::output::{Format, number, table, text};
use graven_proof::checkpoint::SignedCheckpoint;
use serde::Deserialize;
use serde_json::json;

/// Arguments of `audit checkpoint`.
#[derive(clap::Args)]
pub(crate) struct CheckpointArgs {
    /// One that covers this many events, signed now if need be
    #[arg(long, value_name = "EVENTS", conflicts_with = "size")]
    at_least: Option<u64>,
    /// The one that was signed at exactly this size
    #[arg(long, value_name = "EVENTS")]
    size: Option<u64>,
}

/// Prints a checkpoint.
pub(crate) fn checkpoint(args: &CheckpointArgs, global: &Global) -> anyhow::Result<()> {
    let given = [("at_least", args.at_least), ("size", args.size)];
    let parameters: Vec<_> =
        given.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))).collect();
    let note = fetch::text(&global.client()?, "/audit/checkpoint", &parameters)?;
    as_it_is(global, &note, || {
        let checkpoint = SignedCheckpoint::parse(note.as_bytes())?;
        let head = checkpoint.unverified_head();
        Ok(json!({
            "origin": checkpoint.unverified_origin(),
            "size": head.size,
            "root": graven_proof::control::hex::encode(&head.root),
            "checkpoint": note,
        }))
    })
}

/// Arguments of `audit consistency`.
#[derive(clap::Args)]
pub(crate) struct ConsistencyArgs {
    /// Events of the older tree
    from: u64,
    /// Events of the newer tree
    to: u64,
}

/// Prints the hashes of a consistency proof.
pub(crate) fn consistency(args: &ConsistencyArgs, global: &Global) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Answer {
        hashes: Vec<String>,
    }
    let parameters = [("from", args.from.to_string()), ("to", args.to.to_string())];
    let answer = global.client()?.send_text(&Call::get(&target("/audit/consistency", &parameters)))?;
    let output = global.output();
    let color = output.colored();
    output.document(&answer, || {
        let hashes = serde_json::from_str::<Answer>(&answer)?.hashes;
        let rows: Vec<_> =
            hashes.into_iter().enumerate().map(|(index, hash)| vec![index.to_string(), hash]).collect();
        Ok(table(&[number("#"), text("hash")], &rows, color))
    })
}

/// Prints text as it is, so that it can be kept in a file; as JSON only if that was asked for.
pub(super) fn as_it_is(
    global: &Global,
    text: &str,
    document: impl FnOnce() -> anyhow::Result<serde_json::Value>,
) -> anyhow::Result<()> {
    match global.output {
        Some(Format::Json | Format::Ndjson) => {
            global.output().document(&document()?.to_string(), || Ok(String::new()))
        }
        _ => global.output().write(text.as_bytes()),
    }
}
