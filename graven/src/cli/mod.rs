//! The command line: one file a command, named by its verb.
//!
//! Data goes to standard output, everything else to standard error. The exit code is the one of the error table
//! ([`graven_model::Code`]); see `docs/cli.md`.

mod append;
mod audit;
mod backup;
mod client;
mod confirm;
mod dead_letter;
mod doctor;
mod event;
mod export;
mod failure;
mod group;
mod import;
mod journal;
mod json;
mod node;
mod output;
mod pages;
mod problem;
mod progress;
mod read;
mod restore;
mod runtime;
mod select;
mod serve;
mod snapshot;
mod stats;
mod stream;
mod tail;
mod verify;
mod witness;

use clap::{CommandFactory, Parser, Subcommand};
use client::Client;
use output::{Color, Format, Output};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "graven",
    version,
    about = "An event store that can prove its history",
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args)]
struct Global {
    /// Address of the server
    #[arg(
        long,
        global = true,
        env = "GRAVEN_URL",
        default_value = "http://127.0.0.1:2113",
        hide_env_values = true
    )]
    url: String,
    /// How to print; table on a terminal, otherwise ndjson
    #[arg(short, long, global = true, value_enum)]
    output: Option<Format>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value = "auto")]
    color: Color,
}

impl Global {
    fn client(&self) -> graven_model::Result<Client> {
        Client::new(&self.url)
    }

    fn output(&self) -> Output {
        Output::new(self.output, self.color)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Start a store for development: data in ./graven-data, listening on 127.0.0.1:2113
    Dev(serve::DevArgs),
    /// Start the server
    Serve(serve::ServeArgs),
    /// Append one event to a stream
    Append(append::Args),
    /// Read events of a stream, a category, types, tags or everything
    Read(read::Args),
    /// Follow events as they come
    Tail(tail::Args),
    /// Count events, streams and bytes, by type and category
    Stats,
    /// List, look at, delete and truncate streams
    #[command(subcommand)]
    Stream(stream::Command),
    /// Make, list, change and delete consumer groups
    #[command(subcommand)]
    Group(group::Command),
    /// List, replay, skip and export events that consumer groups could not process
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Keep states of streams, to read on from, and look at them
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Import CloudEvents, one a line; a second run of the same file adds nothing
    Import(import::Args),
    /// Export CloudEvents, one a line, as `import` takes them
    Export(export::Args),
    /// Copy a store while it runs; the next call to the same directory copies what is new
    Backup(backup::Args),
    /// Make a store of a backup, or check a backup in place
    Restore(restore::Args),
    /// Read everything in a stopped store and compare it with all that was stored and signed
    Verify(verify::Args),
    /// Look at a journal that several nodes share, take it over, try a database out for it
    #[command(subcommand)]
    Journal(journal::Command),
    /// Ask for proofs of what the log holds, check them, seal and verify
    #[command(subcommand)]
    Audit(audit::Command),
    /// Cosign the checkpoints of logs that run elsewhere, on a machine their operators do not have
    #[command(subcommand)]
    Witness(witness::Command),
    /// Check the machine, the settings, the data directory and the server
    Doctor(doctor::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the OpenAPI document of the server
    #[command(hide = true)]
    Openapi,
}

/// Parses the arguments, runs the command and reports what went wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = cli.global.color;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, color),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    if !matches!(command, Command::Completions { .. } | Command::Openapi) {
        crate::config::graven_variables(std::env::vars_os())?;
    }
    match command {
        Command::Dev(args) => serve::dev(&args, global.color),
        Command::Serve(args) => serve::serve(&args, global.color),
        Command::Append(args) => append::run(&args, &global.client()?, global.output()),
        Command::Read(args) => read::run(&args, &global.client()?, global.output()),
        Command::Tail(args) => tail::run(&args, &global.client()?, global.output()),
        Command::Stats => stats::run(&global.client()?, global.output()),
        Command::Stream(command) => stream::run(&command, &global.client()?, global.output()),
        Command::Group(command) => group::run(&command, &global),
        Command::DeadLetter(command) => dead_letter::run(&command, &global),
        Command::Snapshot(command) => snapshot::run(&command, &global.client()?, global.output()),
        Command::Import(args) => import::run(&args, &global),
        Command::Export(args) => export::run(&args, &global),
        Command::Backup(args) => backup::run(&args, &global),
        Command::Restore(args) => restore::run(&args),
        Command::Verify(args) => verify::run(&args, &global),
        Command::Journal(command) => journal::run(&command, &global),
        Command::Audit(command) => audit::run(&command, &global),
        Command::Witness(command) => witness::run(&command, global.color),
        Command::Doctor(args) => doctor::run(&args, &global),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "graven", &mut script);
            global.output().write(&script)
        }
        Command::Openapi => global.output().write(crate::server::openapi_json().as_bytes()),
    }
}
