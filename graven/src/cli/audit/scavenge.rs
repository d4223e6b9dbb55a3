//! `graven audit scavenge`: has a running server drop what nobody can read any more, and says first how much that is.

use super::erase::post;
use super::pairs;
use crate::cli::Global;
use crate::cli::confirm::confirm;
use crate::config::units::{show_bytes, show_count};
use serde::Deserialize;
use serde_json::json;

/// Arguments of `audit scavenge`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do it, instead of only counting
    #[arg(long)]
    yes: bool,
}

#[derive(Deserialize)]
struct Scavenged {
    streams: u64,
    events: u64,
    payload_bytes: u64,
    held: u64,
    segments: u64,
    bytes_freed: i64,
    more: bool,
}

/// Scavenges, after it has said what goes. If there is nothing to drop, that is all, also without `--yes`.
pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    let scavenge = |dry_run: bool| post(&client, "/audit/scavenge", &json!({"dry_run": dry_run}));
    let mut answer = scavenge(true)?;
    let counted: Scavenged = serde_json::from_str(&answer)?;
    if counted.held > 0 {
        eprintln!(
            "{} streams stay as they are: a legal hold covers something in them",
            show_count(counted.held)
        );
    }
    if counted.events == 0 {
        eprintln!("there is nothing to drop");
    } else {
        confirm(args.yes, &counted.announced())?;
        answer = scavenge(false)?;
    }
    let output = global.output();
    let color = output.colored();
    output.document(&answer, || {
        let done: Scavenged = serde_json::from_str(&answer)?;
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let freed = match u64::try_from(done.bytes_freed) {
            Ok(freed) => show_bytes(freed),
            Err(_) => format!("-{}", show_bytes(done.bytes_freed.unsigned_abs())),
        };
        let rows = [
            ("streams", show_count(done.streams)),
            ("events", show_count(done.events)),
            ("data and metadata", show_bytes(done.payload_bytes)),
            ("streams under a hold", show_count(done.held)),
            ("segments rewritten", show_count(done.segments)),
            ("disk space freed", freed),
            ("more to drop", yes_or_no(done.more)),
        ];
        Ok(pairs("dropped", &rows, color))
    })
}

impl Scavenged {
    fn announced(&self) -> String {
        let more = if self.more { "; there is more, for the next call" } else { "" };
        format!(
            "drops for ever data and metadata, {}, of {} events in {} streams that no reader of them can see{more}",
            show_bytes(self.payload_bytes),
            show_count(self.events),
            show_count(self.streams)
        )
    }
}
