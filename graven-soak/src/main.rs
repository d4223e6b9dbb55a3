//! `graven-soak`: the history check over a real server that is killed again and again, or over several that share a
//! journal.

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use graven_client::Client;
use graven_soak::Dice;
use graven_soak::driver::{Plan, Run, read_log};
use graven_soak::history::{History, Outcome};
use graven_soak::judge::judge;
use graven_soak::nodes::Nodes;
use graven_soak::server::Server;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Drive a server with many clients, kill it at random, and judge what it said.
#[derive(Parser)]
struct Args {
    /// The graven binary.
    #[arg(long)]
    binary: PathBuf,
    /// Empty directory for the data and the backup.
    #[arg(long)]
    dir: PathBuf,
    /// How long the clients work.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Seed of the choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations a second at the most.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Nodes that share a journal in PostgreSQL; without it one server with a journal of its own.
    #[arg(long)]
    nodes: Option<usize>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    println!("soak: seed {}, {} minutes, at most {} operations/s", args.seed, args.minutes, args.rate);
    std::fs::create_dir_all(&args.dir)?;
    let (history, mut findings) = match args.nodes {
        None => one_server(&args).await?,
        Some(count) => several_nodes(&args, count).await?,
    };
    findings.extend(judge(&history));
    let count = |wanted: fn(&Outcome) -> bool| {
        history.appends.values().filter(|append| wanted(&append.outcome)).count()
    };
    println!(
        "soak: {} appends ({} acknowledged, {} of unknown outcome), {} reads, {} followers, {} events",
        history.appends.len(),
        count(|outcome| matches!(outcome, Outcome::Done { .. })),
        count(|outcome| matches!(outcome, Outcome::Unknown)),
        history.reads.len(),
        history.follows.len(),
        history.log.len(),
    );
    for finding in &findings {
        println!("soak: {finding}");
    }
    if findings.is_empty() {
        println!("soak: clean");
        return Ok(ExitCode::SUCCESS);
    }
    println!("soak: NOT clean, seed {}; the data stays in {}", args.seed, args.dir.display());
    Ok(ExitCode::FAILURE)
}

fn plan(args: &Args) -> Plan {
    Plan { seed: args.seed, operations_per_second: args.rate, ..Plan::default() }
}

fn end(args: &Args) -> Instant {
    Instant::now() + Duration::from_secs_f64(args.minutes * 60.0)
}

/// Kills a server again and again, and takes backups of it.
async fn one_server(args: &Args) -> Result<(History, Vec<String>)> {
    let (data, backup) = (args.dir.join("data"), args.dir.join("backup"));
    let mut server =
        Server::start(&args.binary, &data, &["--set".to_owned(), "audit.seal_interval=2s".to_owned()])?;
    let client = Client::connect(&server.url()).await.map_err(anyhow::Error::new)?;
    let mut run = Run::start(vec![client], Client::seeing, plan(args));
    let end = end(args);
    let mut dice = Dice::new(args.seed);
    let mut kills = 0;
    let mut backups = 0;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500 + dice.below(6_000))).await;
        if dice.below(3) == 0 {
            graven(args, &["backup", "--url", &server.url(), &backup.display().to_string()])?;
            backups += 1;
        }
        server.kill()?;
        kills += 1;
        tokio::time::sleep(Duration::from_millis(dice.below(500))).await;
        server.start_again()?;
    }
    run.stop().await?;
    // With everything sealed nothing more comes into the log.
    graven(args, &["audit", "seal", "--url", &server.url(), "--output", "json"])?;
    let history = run.finish().await?;
    println!("soak: {kills} kills, {backups} backups");
    server.kill()?;
    graven(args, &["verify", "--data", &data.display().to_string()])?;
    let findings = if backups > 0 { check_backup(args, &backup, &history.log).await? } else { Vec::new() };
    Ok((history, findings))
}

/// Lets everything go wrong that can between nodes that share a journal, one thing at a time.
async fn several_nodes(args: &Args, count: usize) -> Result<(History, Vec<String>)> {
    let mut nodes = Nodes::start(&args.binary, &args.dir, count)?;
    let clients = nodes.clients().await?;
    let mut run = Run::start(clients.clone(), Client::seeing, plan(args));
    let end = end(args);
    let mut dice = Dice::new(args.seed);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(300 + dice.below(3_000))).await;
        nodes.fail(&mut dice).await?;
    }
    run.stop().await?;
    let mut findings = nodes.settle(&clients).await?;
    let history = run.finish().await?;
    let in_journal = nodes.journal_events()?;
    if in_journal != history.log.len() as u64 {
        findings.push(format!("journal: it holds {in_journal} events, the nodes {}", history.log.len()));
    }
    println!("soak: {count} nodes: {}", nodes.summary());
    Ok((history, findings))
}

/// What was backed up while clients wrote and the server was killed is the beginning of the final log.
async fn check_backup(
    args: &Args,
    backup: &std::path::Path,
    log: &[graven_soak::history::Logged],
) -> Result<Vec<String>> {
    let restored = args.dir.join("restored");
    graven(args, &["restore", &backup.display().to_string(), &restored.display().to_string()])?;
    let server = Server::start(&args.binary, &restored, &[])?;
    let client = Client::connect(&server.url()).await.map_err(anyhow::Error::new)?;
    let found = read_log(&client).await?;
    Ok(if found.is_empty() || !log.starts_with(&found) {
        vec![format!("backup: its {} events are not the beginning of the log", found.len())]
    } else {
        println!("soak: the backup restores to {} events of the {}", found.len(), log.len());
        Vec::new()
    })
}

fn graven(args: &Args, words: &[&str]) -> Result<()> {
    let status = Command::new(&args.binary).args(words).status().context("start graven")?;
    if !status.success() {
        bail!("graven {} failed: {status}", words.join(" "));
    }
    Ok(())
}
