//! `graven audit seal` and `graven audit status`.

use super::pairs;
use crate::cli::Global;
use crate::cli::client::{Call, Client};
use crate::config::units::show_count;
use graven_model::Result;
use serde::Deserialize;
use ureq::http::Method;

#[derive(Deserialize)]
struct Seal {
    position: u64,
    size: u64,
    streams: u64,
    root: String,
}

/// Seals and prints the newest seal.
pub(crate) fn run(global: &Global) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Sealed {
        seal: Seal,
    }
    let answer = seal(&global.client()?)?;
    let output = global.output();
    let color = output.colored();
    output.document(&answer, || {
        let Sealed { seal } = serde_json::from_str(&answer)?;
        Ok(pairs("sealed", &rows(&seal), color))
    })
}

/// Has the server seal, and gives what it answers.
///
/// # Errors
/// Those of the server and of the connection.
pub(super) fn seal(client: &Client) -> Result<String> {
    client.send_text(&Call::with_body(Method::POST, "/audit/seal", "application/json", b"{}"))
}

fn rows(seal: &Seal) -> [(&'static str, String); 4] {
    [
        ("events", show_count(seal.size)),
        ("streams", show_count(seal.streams)),
        ("record at position", show_count(seal.position)),
        ("root", seal.root.clone()),
    ]
}

/// Prints what is signed, sealed and verified.
pub(crate) fn status(global: &Global) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Status {
        origin: String,
        head: u64,
        checkpoint: Option<Checkpoint>,
        unsigned: u64,
        seal: Option<Seal>,
        verification: Verification,
        scrub: Scrub,
    }
    #[derive(Deserialize)]
    struct Scrub {
        position: u64,
        passes: u64,
        first: Option<graven_proof::finding::Finding>,
    }
    #[derive(Deserialize)]
    struct Checkpoint {
        size: u64,
        signed_at: String,
    }
    #[derive(Deserialize)]
    struct Verification {
        running: Option<Running>,
        last: Option<Last>,
    }
    #[derive(Deserialize)]
    struct Running {
        position: u64,
    }
    #[derive(Deserialize)]
    struct Last {
        ended_at: String,
        report: Option<graven_proof::finding::Report>,
        error: Option<String>,
    }
    let answer = global.client()?.send_text(&Call::get("/audit/status"))?;
    let output = global.output();
    let color = output.colored();
    output.document(&answer, || {
        let status: Status = serde_json::from_str(&answer)?;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let checkpoint = status
            .checkpoint
            .map(|checkpoint| format!("{} events, {}", show_count(checkpoint.size), checkpoint.signed_at));
        let seal = status
            .seal
            .map(|seal| format!("{} events, {} streams", show_count(seal.size), show_count(seal.streams)));
        let running = status
            .verification
            .running
            .map(|running| format!("at position {}", show_count(running.position)));
        let last = status.verification.last.map(|last| match (last.report, last.error) {
            (Some(report), _) => match report.first {
                None => format!("nothing wrong in {} events, {}", show_count(report.events), last.ended_at),
                Some(finding) => format!("{}, {}", finding.code, last.ended_at),
            },
            (None, error) => format!("{}, {}", or_dash(error), last.ended_at),
        });
        let scrub = match status.scrub.first {
            Some(finding) => finding.to_string(),
            None => format!(
                "at position {}, {} passes before",
                show_count(status.scrub.position),
                show_count(status.scrub.passes)
            ),
        };
        let rows = [
            ("log", status.origin),
            ("events", show_count(status.head)),
            ("newest checkpoint", or_dash(checkpoint)),
            ("not under it", show_count(status.unsigned)),
            ("newest seal", or_dash(seal)),
            ("verifies now", or_dash(running)),
            ("last verified", or_dash(last)),
            ("in the background", scrub),
        ];
        Ok(pairs("audit trail", &rows, color))
    })
}
