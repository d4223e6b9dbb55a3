//! `graven verify`: everything in a stopped store is read and hashed again, and compared with what was stored and signed.

use super::Global;
use super::failure::{Hinted, usage};
use super::output::{Output, table, text};
use super::progress::Progress;
use crate::config::Config;
use crate::config::units::{show_bytes, show_count};
use graven_engine::audit::{VerifyOptions, verify};
use graven_model::{Code, Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::finding::{Finding, Layer, Report};
use graven_proof::note::VerifierKey;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Arguments of `verify`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the store; no server may run on it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A checkpoint that was kept elsewhere: what it was signed over has to be in the log; again for more
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Verifier key to check signatures with, instead of those in the keys directory; again for more
    #[arg(long = "vkey", value_name = "KEY")]
    vkeys: Vec<String>,
    /// Directory of the log's keys; keys in the data directory if absent
    #[arg(long, value_name = "DIR")]
    keys: Option<String>,
    /// File that remembers how far the log was; high-water in the keys directory if absent
    #[arg(long, value_name = "FILE")]
    high_water: Option<String>,
    /// First position to compare; everything before is read all the same
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// Position to stop before
    #[arg(long, value_name = "POSITION")]
    to: Option<u64>,
    /// Take it for a failure that the last events are under no checkpoint yet
    #[arg(long)]
    strict: bool,
    /// Settings, in TOML
    #[arg(long, env = "GRAVEN_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// Verifies a stopped store. Exit code 7 after a finding.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let flags = [("audit.keys", &args.keys), ("audit.high_water", &args.high_water)];
    let flags: Vec<_> = flags.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))).collect();
    let config = Config::default().load(args.config.as_deref(), std::env::vars_os(), &flags)?;
    if args.from.zip(args.to).is_some_and(|(from, to)| from >= to) {
        return Err(usage("there is no position from --from up to --to").into());
    }
    let options = VerifyOptions {
        from: args.from,
        to: args.to,
        trusted: args.checkpoints.iter().map(|path| checkpoint(path)).collect::<Result<_>>()?,
        vkeys: args.vkeys.iter().map(|text| vkey(text)).collect::<Result<_>>()?,
        strict: args.strict,
    };
    let mut progress = None;
    let outcome = verify(&args.data, &config.engine_options(), &options, &mut |step| {
        let bar = progress.get_or_insert_with(|| Progress::new(Some(step.bytes_total)));
        bar.set(step.bytes, step.position);
        ControlFlow::Continue(())
    });
    if let Some(bar) = &progress {
        bar.finish();
    }
    conclude(&outcome?, global.output())
}

/// Prints a report, and makes an error with exit code 7 of a finding.
pub(crate) fn conclude(report: &Report, output: Output) -> anyhow::Result<()> {
    let color = output.colored();
    let json = serde_json::to_string(report)?;
    output.document(&json, || Ok(shown(report, color)))?;
    let Some(finding) = &report.first else { return Ok(()) };
    let mut message = format!("{} ({} layer)", place(finding), finding.code.layer());
    if let Some(good) = &report.last_good_checkpoint {
        message += &format!("; the last good checkpoint is of {} events", good.size);
    }
    let error = Error::new(Code::VerificationFailed, message)
        .expected(finding.expected.clone())
        .found(finding.actual.clone());
    Err(Hinted::new(error, advice(finding)).into())
}

fn shown(report: &Report, color: bool) -> String {
    let [from, to] = report.checked;
    let seconds = report.elapsed_ms as f64 / 1000.0;
    let mut rows = vec![
        ("checked", format!("positions {from} up to {to}")),
        ("events", show_count(report.events)),
        ("bytes", show_bytes(report.bytes)),
        ("time", format!("{seconds:.1} s, {} events/s", show_count(report.events_per_second()))),
        ("checkpoints", format!("{}; {}", show_count(report.checkpoints), report.trust.words())),
        ("stream seals", show_count(report.map_roots)),
    ];
    if let Some(good) = &report.last_good_checkpoint {
        rows.push(("last good", good.to_string()));
    }
    if let Some(bad) = &report.first_bad_checkpoint {
        rows.push(("first bad", bad.to_string()));
    }
    rows.extend(report.notes.iter().map(|note| ("note", note.clone())));
    match &report.first {
        None => rows.push(("result", "nothing contradicts anything".to_owned())),
        Some(finding) => {
            rows.push(("result", format!("{}: {}", finding.code, finding.code.words())));
            rows.push(("where", place(finding)));
            rows.push(("expected", finding.expected.clone()));
            rows.push(("found", finding.actual.clone()));
            rows.extend(finding.evidence.iter().map(|evidence| ("evidence", evidence.clone())));
            rows.push(("others", format!("{} further findings", show_count(report.other_findings))));
        }
    }
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&[text("verified"), text("")], &rows, color)
}

/// What and where, in one line.
fn place(finding: &Finding) -> String {
    let mut words = format!("{}: {}", finding.code, finding.code.words());
    if let Some(position) = finding.position {
        words += &format!(", at position {position}");
    }
    if let (Some(stream), Some(version)) = (&finding.stream, finding.stream_version) {
        words += &format!(", stream {stream:?} revision {version}");
    }
    if let Some(tile) = finding.tile {
        words += &format!(", hash {} of tile level {}", tile.index, tile.level);
    }
    words
}

/// What to do about it.
fn advice(finding: &Finding) -> &'static str {
    match finding.code.layer() {
        Layer::Payload | Layer::Metadata | Layer::Leaf | Layer::Chain => {
            "copy the directory away before anything else; then compare with a backup or another node, and restore from there"
        }
        Layer::Tile => {
            "the events are what was hashed; delete the tiles-* files in the audit directory, and the next start makes them again"
        }
        Layer::Root | Layer::Map => {
            "copy the directory away before anything else; the checkpoints say up to where the log is what it was"
        }
        Layer::Checkpoint => {
            "keep this log and the checkpoint that contradicts it: together they prove it; ask others which checkpoint they know"
        }
        Layer::Outside => "ask the witness or authority again, and check whose keys are believed",
    }
}

fn checkpoint(path: &Path) -> Result<SignedCheckpoint> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path.display(), &error))?;
    SignedCheckpoint::parse(&bytes).map_err(|error| {
        Error::new(Code::BadRequest, format!("{} is no checkpoint: {error}", path.display()))
    })
}

fn vkey(text: &str) -> Result<VerifierKey> {
    text.trim().parse().map_err(|error| {
        Error::new(Code::BadRequest, format!("the verifier key does not read: {error}"))
            .expected("name+id+base64, as `graven audit keys list` prints it")
    })
}
