//! `graven audit …`: the audit trail of a running server, asked and checked from outside. What a command says it has
//! verified, it has verified itself, from what came over the socket and a key it was told.

mod check_proof;
mod trust;

use super::Global;
use super::output::{table, text};

/// Subcommands of `audit`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check offline that an event is in a log: a .tlog-proof, judged by the log's verifier key
    CheckProof(check_proof::Args),
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::CheckProof(args) => check_proof::run(args, global.output()),
    }
}

/// Names and values as a table of two columns.
fn pairs(title: &'static str, rows: &[(&str, String)], color: bool) -> String {
    let rows: Vec<_> = rows.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    table(&[text(title), text("")], &rows, color)
}
