//! `graven audit keys`: the keys of the log, and changing them.

use super::erase::post;
use super::fetch;
use super::trust::read;
use crate::cli::Global;
use crate::cli::client::Call;
use crate::cli::confirm::confirm;
use crate::cli::failure::usage;
use crate::cli::output::{Format, number, table, text};
use graven_model::{Code, Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Subcommands of `audit keys`.
#[derive(clap::Subcommand)]
pub(crate) enum KeysCommand {
    /// List the keys that sign checkpoints, or signed them once; -o json says for which sizes
    List,
    /// Make a new key, authorised in the log by the ones before, and sign with it from now on
    Rotate {
        /// The keys before go on signing beside it, until they are retired
        #[arg(long)]
        overlap: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Have a key sign nothing more; what it signed stays good
    Retire {
        /// Its id, eight hexadecimal digits
        key: String,
        #[command(flatten)]
        change: Change,
    },
    /// Say that others know a key: nothing above a size is believed because it signed it
    Revoke {
        /// Its id, eight hexadecimal digits
        key: String,
        /// The largest size somebody outside vouches for: a witness, a client's pin
        #[arg(long, value_name = "EVENTS")]
        last_good: u64,
        #[command(flatten)]
        change: Change,
    },
}

/// What every change of keys takes.
#[derive(clap::Args)]
pub(crate) struct Change {
    /// File of the log's root key, if its public half lies among the keys; sent to a server on this machine only
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// Do it, instead of only saying what it would do
    #[arg(long)]
    yes: bool,
}

/// Runs a subcommand of `keys`.
pub(crate) fn run(command: &KeysCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        KeysCommand::List => list(global),
        KeysCommand::Rotate { overlap, change } => {
            let then =
                if *overlap { "the keys before sign beside it" } else { "the keys before are destroyed" };
            let what = format!("makes a new key that signs from now on; {then}");
            send(global, "/audit/keys/rotate", json!({"overlap": overlap}), change, &what)
        }
        KeysCommand::Retire { key, change } => {
            let what = format!("destroys the private half of key {key}; what it signed stays good");
            send(global, "/audit/keys/retire", json!({"key": key}), change, &what)
        }
        KeysCommand::Revoke { key, last_good, change } => {
            let what =
                format!("says for ever that key {key} is believed up to {last_good} events and no further");
            let wish = json!({"key": key, "last_good": last_good});
            send(global, "/audit/keys/revoke", wish, change, &what)
        }
    }
}

fn list(global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    if let Some(Format::Json | Format::Ndjson) = global.output {
        let answer = client.send_text(&Call::get("/audit/keys"))?;
        return global.output().document(&answer, || Ok(String::new()));
    }
    let lines = fetch::text(&client, "/audit/keys", &[])?;
    global.output().write(lines.as_bytes())
}

fn send(global: &Global, target: &str, mut wish: Value, change: &Change, what: &str) -> anyhow::Result<()> {
    let client = global.client()?;
    if let Some(key) = root_key(change, client.base())? {
        wish["root_key"] = key.into();
    }
    confirm(change.yes, what)?;
    let answer = post(&client, target, &wish)?;
    let output = global.output();
    let color = output.colored();
    output.document(&answer, || shown(&answer, color))
}

fn root_key(change: &Change, base: &str) -> Result<Option<String>> {
    let Some(path) = &change.root_key else { return Ok(None) };
    let here = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
    if !here.iter().any(|prefix| base.starts_with(prefix)) {
        return Err(
            usage("a root key is not sent over a network").expected("--url of a server on this machine")
        );
    }
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Error::new(Code::BadRequest, format!("{} holds no key", path.display())))?;
    Ok(Some(text.trim().to_owned()))
}

fn shown(answer: &str, color: bool) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Keys {
        keys: Vec<Key>,
    }
    #[derive(Deserialize)]
    struct Key {
        id: String,
        vkey: String,
        valid_from: u64,
        valid_until: Option<u64>,
        last_good: Option<u64>,
        signs: bool,
    }
    let Keys { keys } = serde_json::from_str(answer)?;
    let or_dash = |size: Option<u64>| size.map_or("-".to_owned(), |size| size.to_string());
    let rows: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let signs = if key.signs { "yes" } else { "no" }.to_owned();
            let until = or_dash(key.last_good.or(key.valid_until));
            vec![key.id, signs, key.valid_from.to_string(), until, key.vkey]
        })
        .collect();
    let columns = [text("key"), text("signs"), number("from"), number("until"), text("vkey")];
    Ok(table(&columns, &rows, color))
}
