//! `graven audit verify`: a running server reads and hashes everything again, and this waits for what it finds.

use super::trust::read;
use crate::cli::Global;
use crate::cli::client::{Call, foreign};
use crate::cli::progress::Progress;
use crate::cli::verify::conclude;
use graven_model::{Code, Error, Result};
use graven_proof::finding::Report;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::Method;

/// Between two questions how far it is.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `audit verify`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// First position; the beginning if absent
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// Position to stop before; the end if absent
    #[arg(long, value_name = "POSITION")]
    to: Option<u64>,
    /// A checkpoint that was kept elsewhere: what it was signed over has to be in the log; again for more
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Verifier key to check signatures with, instead of those of the log; again for more
    #[arg(long = "vkey", value_name = "KEY")]
    vkeys: Vec<String>,
    /// Take it for a failure that the last events are under no checkpoint yet
    #[arg(long)]
    strict: bool,
}

#[derive(Deserialize)]
struct Verification {
    running: Option<Running>,
    last: Option<Ended>,
}

#[derive(Deserialize)]
struct Running {
    begun_at: String,
    position: u64,
    bytes: u64,
    bytes_total: u64,
}

#[derive(Deserialize)]
struct Ended {
    begun_at: String,
    report: Option<Report>,
    error: Option<String>,
}

/// Runs the command. Exit code 7 after a finding.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    let note = |path: &PathBuf| {
        let bytes = read(path)?;
        String::from_utf8(bytes).map_err(|_| {
            Error::new(Code::BadRequest, format!("the checkpoint {} is not UTF-8", path.display()))
        })
    };
    let mut wish = json!({
        "checkpoints": args.checkpoints.iter().map(note).collect::<Result<Vec<_>>>()?,
        "vkeys": args.vkeys,
        "strict": args.strict,
    });
    for (name, position) in [("from", args.from), ("to", args.to)] {
        if let Some(position) = position {
            wish[name] = position.into();
        }
    }
    let read = |text: &str| {
        serde_json::from_str::<Verification>(text)
            .map_err(|_| foreign(client.base(), "not how a verification stands"))
    };
    let wish = wish.to_string();
    let call = Call::with_body(Method::POST, "/audit/verify", "application/json", wish.as_bytes());
    let mut standing = read(&client.send_text(&call)?)?;
    let begun = match (&standing.running, &standing.last) {
        (Some(running), _) => running.begun_at.clone(),
        (None, Some(last)) => last.begun_at.clone(),
        (None, None) => return Err(foreign(client.base(), "no verification began").into()),
    };
    let mut progress = None;
    while let Some(running) = standing.running.filter(|running| running.begun_at == begun) {
        let bar = progress.get_or_insert_with(|| Progress::new(Some(running.bytes_total)));
        bar.set(running.bytes, running.position);
        std::thread::sleep(ASK_INTERVAL);
        standing = read(&client.send_text(&Call::get("/audit/verify"))?)?;
    }
    if let Some(bar) = &progress {
        bar.finish();
    }
    match standing.last.filter(|last| last.begun_at == begun) {
        Some(Ended { report: Some(report), .. }) => conclude(&report, global.output()),
        Some(Ended { error, .. }) => {
            Err(Error::new(Code::Unavailable, "the verification did not come to its end")
                .found(error.unwrap_or_default())
                .into())
        }
        None => Err(Error::new(
            Code::Unavailable,
            "another verification has begun since; nothing is known of this one",
        )
        .into()),
    }
}
