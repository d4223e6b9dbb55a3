//! `graven audit check`: judges a bundle offline.

use super::pairs;
use super::trust::{Trust, label};
use crate::audit::archive;
use crate::cli::failure::Hinted;
use crate::cli::output::Output;
use crate::config::units::{show_bytes, show_count};
use graven_model::{Code, Error};
use graven_proof::bundle::check;
use graven_proof::finding::Report;
use graven_proof::policy::Policy;
use std::path::PathBuf;

/// Arguments of `audit check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle: a directory, a .tar or a .tar.zst
    bundle: PathBuf,
    #[command(flatten)]
    trust: Trust,
}

/// Runs the command. Exit code 7 if the bundle does not show what it is there to show.
pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<()> {
    let policy = args.trust.policy()?;
    let files = archive::open(&args.bundle)?;
    let report = check(files.as_ref(), policy.as_ref());
    let color = output.colored();
    output.document(&serde_json::to_string(&report)?, || Ok(shown(&report, policy.as_ref(), color)))?;
    let Some(finding) = &report.first else { return Ok(()) };
    let mut message = format!("the bundle does not prove what it claims: {}", finding.code);
    if let Some(position) = finding.position {
        message += &format!(" at position {position}");
    }
    message += &format!(": {}", finding.code.words());
    let error = Error::new(Code::BundleNotProven, message)
        .expected(finding.expected.clone())
        .found(finding.actual.clone());
    if policy.is_none() {
        let hint =
            "give the log's verifier key, got another way than the bundle: --vkey KEY, or --policy FILE";
        return Err(Hinted::new(error, hint).into());
    }
    Err(error.into())
}

fn shown(report: &Report, policy: Option<&Policy>, color: bool) -> String {
    let [from, to] = report.checked;
    let mut rows = vec![
        ("within", format!("positions {} up to {}", show_count(from), show_count(to))),
        ("events", show_count(report.events)),
        ("bytes", show_bytes(report.bytes)),
        ("signatures", report.trust.words().to_owned()),
    ];
    if let Some(policy) = policy {
        rows.push(("rests on", label(policy).to_owned()));
    }
    if let Some(good) = &report.last_good_checkpoint {
        rows.push(("checkpoint", good.to_string()));
    }
    rows.extend(report.notes.iter().map(|note| ("note", note.clone())));
    match &report.first {
        None => rows
            .push(("result", "proven: every event is in the log as shown, and none is missing".to_owned())),
        Some(finding) => {
            rows.push(("result", finding.to_string()));
            rows.extend(finding.evidence.iter().map(|evidence| ("evidence", evidence.clone())));
            rows.push(("others", format!("{} further findings", show_count(report.other_findings))));
        }
    }
    pairs("bundle", &rows, color)
}
