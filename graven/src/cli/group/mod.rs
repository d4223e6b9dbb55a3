//! `graven group …`: consumer groups of a running server.

mod acts;
mod settings;
mod show;
mod source;

use super::Global;
use super::client::{Client, encode, foreign};
use super::failure::usage;
use graven_model::Result;
use serde::de::DeserializeOwned;

/// Subcommands of `group`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a group; its consumers share the events of a stream, a category, types, tags or everything
    Create(Box<acts::CreateArgs>),
    /// List groups with their lag and their dead letters
    List,
    /// Show settings, position, lag, dead letters and consumers of a group
    Info {
        /// The group
        group: String,
    },
    /// Change settings of a group; it keeps its position, and its consumers connect again
    Update(acts::UpdateArgs),
    /// Have a group go on at another place; says first where it stands, and wants --yes
    Reset(acts::ResetArgs),
    /// Delete a group with its dead letters; says first what goes with it, and wants --yes
    Delete(acts::DeleteArgs),
}

/// Runs a subcommand.
pub(crate) fn run(command: &Command, global: &Global) -> anyhow::Result<()> {
    let (client, output) = (global.client()?, global.output());
    match command {
        Command::Create(args) => acts::create(args, &client, output),
        Command::List => show::list(&client, output),
        Command::Info { group } => show::info(group, &client, output),
        Command::Update(args) => acts::update(args, &client, output),
        Command::Reset(args) => acts::reset(args, &client, output),
        Command::Delete(args) => acts::delete(args, &client, output),
    }
}

/// The path of a group and what is below it.
fn path(group: &str, rest: &str) -> Result<String> {
    if group.is_empty() {
        return Err(usage("the name of the group is empty"));
    }
    Ok(format!("/v1/groups/{}{rest}", encode(group)))
}

fn parse<T: DeserializeOwned>(answer: &str, client: &Client) -> Result<T> {
    serde_json::from_str(answer).map_err(|error| foreign(client.base(), error))
}
