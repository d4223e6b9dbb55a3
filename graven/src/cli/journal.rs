//! `graven journal …`: who writes a shared journal, taking it over, and trying a database out for one.

use super::Global;
use super::client::{Call, Client};
use super::confirm::confirm;
use super::failure::Exit;
use super::output::{Format, Output, number, table, text};
use super::progress::Progress;
use crate::config::journal::JournalConfig;
use crate::config::units::show_count;
use graven_model::{Code, Error};
use graven_postgres::{Report, verify};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use ureq::http::Method;

/// Subcommands of `journal`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show what part a node has, who writes, and how far it is behind
    Status,
    /// Make the node at --url the writer; the writer of before becomes a follower
    Takeover {
        /// Do it, instead of only saying what it would do
        #[arg(long)]
        yes: bool,
    },
    /// Race writers on a database, in a schema that is dropped afterwards: whether it can be a journal, and how fast
    Verify(VerifyArgs),
}

/// Arguments of `journal verify`.
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// The database, postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(env = "GRAVEN_JOURNAL_URL", hide_env_values = true)]
    postgres_url: String,
    /// Certificates (PEM) the database's has to descend from; the system's if absent
    #[arg(long, value_name = "FILE")]
    journal_ca_file: Option<String>,
    /// How often to race
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// Writers that race, each with a connection of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=100))]
    writers: u32,
}

/// `GET /v1/node`.
#[derive(Deserialize)]
struct Node {
    role: String,
    epoch: Option<u32>,
    writer: Option<String>,
    head: u64,
    journal_head: u64,
    lag_events: u64,
    complete_at: Option<String>,
    lag_seconds: Option<f64>,
    trouble: Option<String>,
}

impl Node {
    fn of(client: &Client) -> anyhow::Result<(Node, String)> {
        let answer = client.send_text(&Call::get("/v1/node"))?;
        Ok((serde_json::from_str(&answer)?, answer))
    }

    fn lag(&self) -> String {
        let age =
            self.lag_seconds.map_or("for a time that is not known".to_owned(), |age| format!("{age:.1} s"));
        format!("{} events, {age}", show_count(self.lag_events))
    }
}

/// `POST /v1/node/takeover`.
#[derive(Deserialize)]
struct Term {
    epoch: u32,
    writer: String,
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Status => status(&global.client()?, global.output()),
        Command::Takeover { yes } => take_over(&global.client()?, *yes, global.output()),
        Command::Verify(args) => try_out(args, global.output()),
    }
}

fn status(client: &Client, output: Output) -> anyhow::Result<()> {
    let (node, answer) = Node::of(client)?;
    let color = output.colored();
    output.document(&answer, || {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let rows = [
            ("node", client.base().to_owned()),
            ("role", node.role.clone()),
            ("epoch", or_dash(node.epoch.map(|epoch| epoch.to_string()))),
            ("writer", or_dash(node.writer.clone())),
            ("events here", show_count(node.head)),
            ("in the journal", show_count(node.journal_head)),
            ("behind", node.lag()),
            ("complete at", or_dash(node.complete_at.clone())),
            ("trouble", or_dash(node.trouble.clone())),
        ];
        Ok(pairs(&rows, color))
    })
}

fn pairs(rows: &[(&str, String)], color: bool) -> String {
    let rows: Vec<_> = rows.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    table(&[text("journal"), text("")], &rows, color)
}

fn take_over(client: &Client, yes: bool, output: Output) -> anyhow::Result<()> {
    let (node, _) = Node::of(client)?;
    if node.role == "single" {
        return Err(Error::new(
            Code::InvalidConfig,
            format!(
                "the node at {} has its journal for itself: there is nothing to take over",
                client.base()
            ),
        )
        .expected("a node of a journal that several share")
        .into());
    }
    if node.role == "writer" {
        eprintln!("the node at {} writes already, epoch {}", client.base(), node.epoch.unwrap_or(0));
    } else {
        let writer = node.writer.as_deref().unwrap_or("an address that is not known");
        let what = format!(
            "takes the journal over from the writer at {writer} (epoch {}) to the node at {}, which is behind by {}",
            node.epoch.unwrap_or(0),
            client.base(),
            node.lag(),
        );
        confirm(yes, &what)?;
    }
    let call = Call::with_body(Method::POST, "/v1/node/takeover", "application/json", b"{}");
    let answer = client.send_text(&call)?;
    let color = output.colored();
    output.document(&answer, || {
        let Term { epoch, writer } = serde_json::from_str(&answer)?;
        Ok(pairs(&[("writer", writer), ("epoch", epoch.to_string())], color))
    })
}

fn try_out(args: &VerifyArgs, output: Output) -> anyhow::Result<()> {
    let mut config = JournalConfig::default();
    config.set_url(&args.postgres_url).map_err(|expected| {
        Error::new(Code::InvalidConfig, "the journal's URL does not fit").expected(expected)
    })?;
    config.set_ca_file(args.journal_ca_file.as_deref());
    let settings = config.settings()?.expect("its URL was set");
    let progress = Progress::new(Some(args.rounds.into()));
    let report = verify(&settings, args.rounds, args.writers, &mut |round| progress.set_rounds(round.into()));
    progress.finish();
    let report = report?;
    let holds = report.holds();
    print(&report, &settings.redacted(), output)?;
    if holds { Ok(()) } else { Err(Exit(Code::Corrupted.entry().exit).into()) }
}

fn print(report: &Report, place: &str, output: Output) -> anyhow::Result<()> {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let document = json!({
        "journal": place,
        "server": report.server,
        "holds": report.holds(),
        "rounds": report.rounds,
        "wins": report.wins,
        "unknown": report.unknown,
        "commit_p50_us": micros(report.commit_p50),
        "commit_p99_us": micros(report.commit_p99),
        "violations": report.violations,
        "risks": report.risks,
    });
    let color = output.colored();
    let shown = output.format == Format::Table;
    output.document(&document.to_string(), || {
        let millis = |duration: Duration| format!("{:.2} ms", duration.as_secs_f64() * 1e3);
        let wins: Vec<Vec<String>> = report
            .wins
            .iter()
            .enumerate()
            .map(|(writer, wins)| vec![format!("writer {}", writer + 1), show_count(u64::from(*wins))])
            .collect();
        let rows = [
            ("database", place.to_owned()),
            ("server", report.server.clone()),
            ("rounds", show_count(u64::from(report.rounds))),
            ("outcomes looked up", show_count(u64::from(report.unknown))),
            (
                "a commit takes",
                format!("{} (median), {} (p99)", millis(report.commit_p50), millis(report.commit_p99)),
            ),
            ("laws broken", show_count(report.violations.len() as u64)),
        ];
        Ok(pairs(&rows, color) + "\n" + &table(&[text("races"), number("won")], &wins, color))
    })?;
    if shown {
        for violation in &report.violations {
            eprintln!("broken: {violation}");
        }
        for risk in &report.risks {
            eprintln!("risk: {risk}");
        }
    }
    Ok(())
}
