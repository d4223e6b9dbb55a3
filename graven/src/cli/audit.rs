//! `graven audit …`: the audit trail of a running server, asked and checked from outside. What a command says it has
//! verified, it has verified itself, from what came over the socket and a key it was told.

mod check;
mod check_proof;
mod checkpoint;
mod complete;
mod declare_rollback;
mod erase;
mod export;
mod fetch;
mod keys;
mod pin;
mod prove;
mod scavenge;
mod seal;
mod trust;
mod verify;

use super::Global;
use super::output::{table, text};

/// Subcommands of `audit`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print the latest signed head of the log, a C2SP checkpoint
    Checkpoint(checkpoint::CheckpointArgs),
    /// List, rotate, retire and revoke the keys that sign checkpoints
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Prove that an event is in the log: a .tlog-proof, which `check-proof` checks offline
    Prove(prove::Args),
    /// Print the hashes that show the log of one size to begin with what it was at another
    Consistency(checkpoint::ConsistencyArgs),
    /// Find out whether a stream is whole: from its leaves, the last seal and a key
    Complete(complete::Args),
    /// Write where every stream stands into the log, which it does by itself every minute while events come
    Seal,
    /// Have the server read and hash everything again, and compare it with all that was signed: exit code 7 after a finding
    Verify(verify::Args),
    /// Show what is signed, sealed and verified
    Status,
    /// Destroy payloads of events, on the record; counts first, and wants --yes
    Erase(erase::EraseArgs),
    /// Drop payloads that retention rules, deletion and tombstones hide, on the record; counts first, and wants --yes
    Scavenge(scavenge::Args),
    /// Begin, end and list legal holds
    #[command(subcommand)]
    Hold(erase::HoldCommand),
    /// Keep the latest checkpoint in a file, and demand that it follows from the one kept before: exit code 7 if not
    Pin(pin::Args),
    /// Check offline that an event is in a log: a .tlog-proof, judged by the log's verifier key
    CheckProof(check_proof::Args),
    /// Write evidence to take away: a stream, a range or everything, with all it takes to check it offline
    Export(export::Args),
    /// Say of a stopped store that it is an older copy on purpose, in its log; says first what is lost, and wants --yes
    DeclareRollback(declare_rollback::Args),
    /// Check offline such a bundle, judged by the log's verifier key: exit code 7 if it does not hold
    Check(check::Args),
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    match command {
        Command::Checkpoint(args) => checkpoint::checkpoint(args, global),
        Command::Keys(command) => keys::run(command, global),
        Command::Prove(args) => prove::run(args, global),
        Command::Consistency(args) => checkpoint::consistency(args, global),
        Command::Complete(args) => complete::run(args, global),
        Command::Seal => seal::run(global),
        Command::Verify(args) => verify::run(args, global),
        Command::Status => seal::status(global),
        Command::Erase(args) => erase::erase(args, global),
        Command::Scavenge(args) => scavenge::run(args, global),
        Command::Hold(command) => erase::hold(command, global),
        Command::Pin(args) => pin::run(args, global),
        Command::CheckProof(args) => check_proof::run(args, global.output()),
        Command::Export(args) => export::run(args, global),
        Command::DeclareRollback(args) => declare_rollback::run(args, global),
        Command::Check(args) => check::run(args, global.output()),
    }
}

/// Names and values as a table of two columns.
fn pairs(title: &'static str, rows: &[(&str, String)], color: bool) -> String {
    let rows: Vec<_> = rows.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    table(&[text(title), text("")], &rows, color)
}
