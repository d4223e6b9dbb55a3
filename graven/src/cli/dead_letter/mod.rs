//! `graven dead-letter …`: the events consumer groups could not process.

mod acts;
mod export;
mod filter;
mod show;

use super::Global;

/// Subcommands of `dead-letter`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// List dead letters: which event, why, how often it was tried, what the consumer said
    List(show::ListArgs),
    /// Show a dead letter with its event
    Show {
        /// The group
        group: String,
        /// Position of the event in the log
        position: u64,
    },
    /// Deliver dead letters again, oldest first; more than one are counted first, and want --yes
    Replay(acts::Args),
    /// Settle dead letters without having them processed; counts first, and wants --yes
    Skip(acts::Args),
    /// Write dead letters with their events, one a line
    Export(export::Args),
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    match command {
        Command::List(args) => show::list(args, &client, global.output()),
        Command::Show { group, position } => show::show(group, *position, &client, global.output()),
        Command::Replay(args) => acts::replay(args, &client, global.output()),
        Command::Skip(args) => acts::skip(args, &client, global.output()),
        Command::Export(args) => export::run(args, &client),
    }
}
