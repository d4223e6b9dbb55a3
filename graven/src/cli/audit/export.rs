//! `graven audit export`: writes a bundle from a store that no server runs on.

use super::pairs;
use crate::audit::outside::{Outside, Under};
use crate::audit::{archive, export, scope_words};
use crate::cli::Global;
use crate::cli::failure::usage;
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::config::units::{show_bytes, show_count};
use graven_engine::Store;
use graven_model::{Result, StreamName};
use serde_json::json;
use std::ops::Range;
use std::path::PathBuf;

/// Arguments of `audit export`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the store; no server may run on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Under the newest checkpoint that witnesses cosigned, not under a new one; enough of them, if a policy is set
    #[arg(long)]
    witnessed: bool,
    /// Under the newest checkpoint with a timestamp, not under a new one
    #[arg(long)]
    timestamped: bool,
    /// Witnesses and the quorum of them, in a policy file (C2SP tlog-policy), as for the server
    #[arg(long, value_name = "FILE", requires = "witnessed")]
    witness_policy: Option<String>,
    /// Where to write it: a directory that does not exist yet, or a file whose name ends in .tar or .tar.zst
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Directory of the log's keys; keys in the data directory if absent
    #[arg(long, value_name = "DIR")]
    keys: Option<String>,
    /// File that remembers how far the log was; high-water in the keys directory if absent
    #[arg(long, value_name = "FILE")]
    high_water: Option<String>,
    /// Settings, in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// What to export.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct WantedArgs {
    /// All events of a stream; again for more
    #[arg(long = "stream", value_name = "NAME")]
    streams: Vec<String>,
    /// The events from one position up to, but not with, another
    #[arg(long, value_name = "A..B", value_parser = range)]
    range: Option<Range<u64>>,
    /// The whole log
    #[arg(long)]
    all: bool,
}

impl WantedArgs {
    fn wanted(&self) -> Result<export::Wanted> {
        if let Some(range) = &self.range {
            return Ok(export::Wanted::Range(range.clone()));
        }
        if self.all {
            return Ok(export::Wanted::All);
        }
        let streams: Vec<StreamName> =
            self.streams.iter().map(|name| StreamName::new(name.as_str())).collect::<Result<_>>()?;
        Ok(export::Wanted::Streams(streams))
    }
}

fn range(text: &str) -> std::result::Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    parsed
        .filter(|range: &Range<u64>| !range.is_empty())
        .ok_or_else(|| "expected A..B with A below B, such as 100..200".to_owned())
}

/// Writes a bundle.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let flags = [
        ("audit.keys", &args.keys),
        ("audit.high_water", &args.high_water),
        ("audit.witness_policy", &args.witness_policy),
    ];
    let flags: Vec<_> = flags.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))).collect();
    let config = Config::default().load(args.config.as_deref(), std::env::vars_os(), &flags)?;
    let wanted = args.wanted.wanted()?;
    if !args.data.join("store.json").is_file() {
        return Err(usage(format!("there is no store in {}", args.data.display())).into());
    }
    let policy = if args.witnessed { config.anchor.policy()? } else { None };
    let under = Under { witnessed: args.witnessed, timestamped: args.timestamped };
    let mut out = archive::create(&args.out)?;
    let store = Store::open(&args.data, config.engine_options())?;
    let progress = Progress::new(None);
    let exported = Outside::beside(&args.data, &store.trail(), policy.as_ref()).and_then(|outside| {
        let mut told = |events| progress.set(events, events);
        export::export(&store, &wanted, (&outside, under), &mut out, &mut told)
    });
    progress.finish();
    let closed = store.close();
    let exported = exported?;
    closed?;

    let document = json!({
        "out": args.out.display().to_string(),
        "origin": exported.origin,
        "scope": exported.scope,
        "size": exported.size,
        "root": exported.root,
        "events": exported.events,
        "events_with_erased_parts": exported.erased,
        "files": exported.files,
        "bytes": exported.bytes,
        "manifest_sha256": exported.manifest,
        "cosigned_by": exported.cosigners,
        "timestamp": exported.stamped.is_some(),
    });
    let output = global.output();
    let color = output.colored();
    output.document(&document.to_string(), || {
        let mut rows = vec![
            ("exported", scope_words(&exported.scope)),
            ("of", exported.origin.clone()),
            ("events", show_count(exported.events)),
            ("with erased parts", show_count(exported.erased)),
            ("checkpoint", format!("size {}, root {}", exported.size, exported.root)),
            ("files", format!("{}, {}", show_count(exported.files as u64), show_bytes(exported.bytes))),
            ("manifest", exported.manifest.clone()),
        ];
        if !exported.cosigners.is_empty() {
            rows.push(("cosigned by", exported.cosigners.join(", ")));
        }
        if exported.stamped.is_some() {
            rows.push(("timestamp", "checkpoint.tsr, see README.txt".to_owned()));
        }
        Ok(pairs("bundle", &rows, color))
    })
}
