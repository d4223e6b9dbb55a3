//! `graven audit declare-rollback`: says of a stopped store that it is an older copy on purpose, for ever and in its log.

use super::pairs;
use super::trust::read;
use crate::cli::Global;
use crate::cli::confirm::confirm;
use crate::cli::failure::usage;
use crate::config::Config;
use crate::config::units::show_count;
use graven_engine::audit::{Loss, declare_rollback, survey_rollback};
use graven_model::{Code, Error, Result};
use graven_proof::control::hex;
use graven_proof::merkle::TreeHead;
use graven_proof::note::SignerKey;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `audit declare-rollback`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the store; no server may run on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Directory of the log's keys; keys in the data directory if absent
    #[arg(long, value_name = "DIR")]
    keys: Option<String>,
    /// File that remembers how far the log was; high-water in the keys directory if absent
    #[arg(long, value_name = "FILE")]
    high_water: Option<String>,
    /// File of the log's root key, if its public half lies among the keys
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// Settings, in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Do it, instead of only saying what is lost
    #[arg(long)]
    yes: bool,
}

/// Declares the rollback, after it has said what is lost.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let flags = [("audit.keys", &args.keys), ("audit.high_water", &args.high_water)];
    let flags: Vec<_> = flags.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))).collect();
    let config = Config::default().load(args.config.as_deref(), std::env::vars_os(), &flags)?;
    if !args.data.join("store.json").is_file() {
        return Err(usage(format!("there is no store in {}", args.data.display())).into());
    }
    let root = args.root_key.as_deref().map(root_key).transpose()?;
    let options = config.engine_options();
    let loss = survey_rollback(&args.data, &options, root.as_ref())?;
    confirm(args.yes, &announced(&loss))?;
    let done = declare_rollback(&args.data, &options, root.as_ref())?;
    let (lost, signed) = (done.lost.unverified_head(), done.checkpoint.unverified_head());
    let document = json!({
        "lost": {"size": lost.size, "root": hex::encode(&lost.root)},
        "size": signed.size,
        "root": hex::encode(&signed.root),
        "key": done.key.to_string(),
        "checkpoint": done.checkpoint.to_string(),
    });
    let output = global.output();
    let color = output.colored();
    output.document(&document.to_string(), || {
        let rows = [
            ("lost checkpoint", shown(&lost)),
            ("log now", shown(&signed)),
            ("signed from now on by", done.key.to_string()),
        ];
        Ok(pairs("rolled back", &rows, color))
    })
}

fn announced(loss: &Loss) -> String {
    let or_none = |head: &Option<TreeHead>| head.as_ref().map_or("none".to_owned(), shown);
    let what = match loss.lost.size.saturating_sub(loss.log.size) {
        0 => "the log is at least as long as what was signed, and another one".to_owned(),
        events => format!("at least {} events that were signed are not in the log", show_count(events)),
    };
    format!(
        concat!(
            "log as it is:       {}\n",
            "newest checkpoint:  {}\n",
            "high-water mark:    {}\n",
            "{what}\n",
            "declares in the log, for ever, that everything behind it is lost; what was signed is put aside, ",
            "a new key signs from now on, and the one before is destroyed"
        ),
        shown(&loss.log),
        or_none(&loss.checkpoint),
        or_none(&loss.mark),
        what = what,
    )
}

fn shown(head: &TreeHead) -> String {
    format!("{} events, root {}", show_count(head.size), hex::encode(&head.root))
}

fn root_key(path: &Path) -> Result<SignerKey> {
    let text = String::from_utf8(read(path)?).ok();
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        Error::new(Code::BadRequest, format!("{} holds no root key", path.display()))
            .expected("PRIVATE+KEY+name+id+base64")
    })
}
