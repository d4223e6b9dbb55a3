//! `graven dead-letter replay|skip`.

use super::filter::Filter;
use crate::cli::client::{Call, Client, foreign};
use crate::cli::confirm::confirm;
use crate::cli::failure::usage;
use crate::cli::output::Output;
use crate::config::units::show_count;
use serde::Deserialize;
use serde_json::{Map, Value};
use ureq::http::Method;

/// Arguments of `dead-letter replay` and `skip`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// All dead letters of all groups
    #[arg(long, conflicts_with_all = ["group", "stream", "event_type", "reason", "older_than", "before", "since", "positions"])]
    all: bool,
    /// At most this many, oldest first
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only count them
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it
    #[arg(long)]
    yes: bool,
}

#[derive(Deserialize)]
struct Chosen {
    dead_letters: u64,
}

/// Delivers them again. One alone is no more than what a consumer does with any event.
pub(crate) fn replay(args: &Args, client: &Client, output: Output) -> anyhow::Result<()> {
    run(
        args,
        client,
        output,
        &Act { path: "/v1/dead-letters/replay", will: "delivers again", done: "replaying", free: 1 },
    )
}

/// Settles them without having them processed.
pub(crate) fn skip(args: &Args, client: &Client, output: Output) -> anyhow::Result<()> {
    run(
        args,
        client,
        output,
        &Act { path: "/v1/dead-letters/skip", will: "settles unprocessed", done: "skipped", free: 0 },
    )
}

struct Act {
    path: &'static str,
    will: &'static str,
    done: &'static str,
    /// So many at the most need no `--yes`.
    free: u64,
}

fn run(args: &Args, client: &Client, output: Output, act: &Act) -> anyhow::Result<()> {
    let mut wish = args.filter.body();
    if wish.is_empty() && !args.all {
        return Err(usage("it is not said which dead letters are meant")
            .expected("--group, --stream, --type, --reason, --older-than, --before, --since or --position; or --all")
            .into());
    }
    if args.all {
        wish.insert("all".into(), true.into());
    }
    if let Some(limit) = args.limit {
        wish.insert("limit".into(), limit.into());
    }
    wish.insert("dry_run".into(), true.into());
    let counted = send(client, act.path, &wish)?;
    let count = parse(&counted, client)?.dead_letters;
    if args.dry_run {
        return output.document(&counted, || Ok(format!("{} dead letters\n", show_count(count))));
    }
    let what = format!("{} {} dead letters: {}", act.will, show_count(count), args.filter.in_words());
    confirm(args.yes || count <= act.free, &what)?;
    wish.insert("dry_run".into(), false.into());
    let answer = send(client, act.path, &wish)?;
    let chosen = parse(&answer, client)?.dead_letters;
    output.document(&answer, || Ok(format!("{} {} dead letters\n", act.done, show_count(chosen))))
}

fn send(client: &Client, path: &str, wish: &Map<String, Value>) -> graven_model::Result<String> {
    let body = serde_json::to_vec(wish).expect("text and numbers are JSON");
    client.send_text(&Call::with_body(Method::POST, path, "application/json", &body))
}

fn parse(answer: &str, client: &Client) -> graven_model::Result<Chosen> {
    serde_json::from_str(answer).map_err(|error| foreign(client.base(), error))
}
