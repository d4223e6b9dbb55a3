//! `graven audit erase` and `graven audit hold`: what is destroyed, on whose word, and what must not be.

use super::pairs;
use crate::cli::Global;
use crate::cli::client::{Call, Client, encode};
use crate::cli::confirm::confirm;
use crate::cli::failure::usage;
use crate::cli::output::{table, text};
use crate::config::units::show_count;
use graven_model::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

/// Arguments of `audit erase`.
#[derive(clap::Args)]
pub(crate) struct EraseArgs {
    /// An event, by its position in the log; again for more
    #[arg(long = "event", value_name = "POSITION", conflicts_with_all = ["stream", "subject"])]
    events: Vec<u64>,
    /// The events of a stream
    #[arg(long, value_name = "STREAM", conflicts_with = "subject")]
    stream: Option<String>,
    /// Only those of the stream below this revision
    #[arg(long, value_name = "REVISION", requires = "stream")]
    before: Option<u64>,
    /// The events of a data subject, and its name with them
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// What to erase of them; both if absent
    #[arg(long = "part", value_name = "PART", value_parser = ["data", "metadata"])]
    parts: Vec<String>,
    /// Pseudonymous id of the request; the same one again does nothing twice
    #[arg(long, value_name = "ID")]
    request: String,
    /// Legal basis, as a code
    #[arg(long, value_name = "CODE")]
    basis: String,
    /// Who decided
    #[arg(long, value_name = "WHO")]
    decided_by: String,
    /// Who approved, if a second person had to
    #[arg(long, value_name = "WHO")]
    approved_by: Option<String>,
    /// Do it, instead of only counting
    #[arg(long)]
    yes: bool,
}

#[derive(Deserialize)]
struct Erased {
    record: Option<u64>,
    events: u64,
    segments: u64,
    repeated: bool,
}

/// Erases, after it has said what.
pub(crate) fn erase(args: &EraseArgs, global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    let mut wish = json!({
        "request": args.request,
        "basis": args.basis,
        "decided_by": args.decided_by,
    });
    let what = if let Some(subject) = &args.subject {
        wish["subject"] = subject.as_str().into();
        format!("of data subject {subject:?}, and its name")
    } else if let Some(stream) = &args.stream {
        wish["stream"] = stream.as_str().into();
        format!("of stream {stream:?}")
    } else if args.events.is_empty() {
        return Err(usage("it is not said what to erase").expected("--event, --stream or --subject").into());
    } else {
        wish["positions"] = args.events.as_slice().into();
        "by position".to_owned()
    };
    for (name, value) in [
        ("before", args.before.map(Value::from)),
        ("parts", (!args.parts.is_empty()).then(|| args.parts.as_slice().into())),
        ("approved_by", args.approved_by.as_deref().map(Value::from)),
    ] {
        if let Some(value) = value {
            wish[name] = value;
        }
    }
    wish["dry_run"] = true.into();
    let counted: Erased = serde_json::from_str(&post(&client, "/audit/erasures", &wish)?)?;
    let parts = if args.parts.is_empty() { "data, metadata".to_owned() } else { args.parts.join(", ") };
    let (events, segments) = (show_count(counted.events), show_count(counted.segments));
    confirm(
        args.yes,
        &format!("erases for ever {parts} of {events} events {what}; {segments} segments are rewritten"),
    )?;
    wish["dry_run"] = false.into();
    let answer = post(&client, "/audit/erasures", &wish)?;
    let output = global.output();
    let color = output.colored();
    output.document(&answer, || {
        let erased: Erased = serde_json::from_str(&answer)?;
        let rows = [
            ("events", show_count(erased.events)),
            ("record at position", erased.record.map_or("-".to_owned(), show_count)),
            ("segments rewritten", show_count(erased.segments)),
            ("carried out before", if erased.repeated { "yes" } else { "no" }.to_owned()),
        ];
        Ok(pairs("erased", &rows, color))
    })
}

/// Subcommands of `audit hold`.
#[derive(clap::Subcommand)]
pub(crate) enum HoldCommand {
    /// Begin a hold: what it covers is neither erased nor dropped until it ends
    Add(HoldArgs),
    /// End a hold
    Remove(EndArgs),
    /// List the holds there are
    List,
}

/// Arguments of `audit hold add`.
#[derive(clap::Args)]
pub(crate) struct HoldArgs {
    /// Name of the hold
    id: String,
    /// Hold a stream
    #[arg(long, value_name = "STREAM", required_unless_present_any = ["category", "subject"], conflicts_with_all = ["category", "subject"])]
    stream: Option<String>,
    /// Hold the streams of a category
    #[arg(long, value_name = "CATEGORY", conflicts_with = "subject")]
    category: Option<String>,
    /// Hold the events of a data subject
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Why, as a code or reference
    #[arg(long, value_name = "CODE")]
    reason: String,
    /// Who decided
    #[arg(long, value_name = "WHO")]
    decided_by: String,
}

/// Arguments of `audit hold remove`.
#[derive(clap::Args)]
pub(crate) struct EndArgs {
    /// Name of the hold
    id: String,
    /// Why, as a code or reference
    #[arg(long, value_name = "CODE")]
    reason: String,
    /// Who decided
    #[arg(long, value_name = "WHO")]
    decided_by: String,
}

/// Runs a subcommand of `hold`.
pub(crate) fn hold(command: &HoldCommand, global: &Global) -> anyhow::Result<()> {
    let client = global.client()?;
    match command {
        HoldCommand::Add(args) => {
            let mut wish = json!({"id": args.id, "reason": args.reason, "decided_by": args.decided_by});
            let on = [("stream", &args.stream), ("category", &args.category), ("subject", &args.subject)];
            for (name, value) in on.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
                wish[name] = value.as_str().into();
            }
            print(&post(&client, "/audit/holds", &wish)?, "begun", global)
        }
        HoldCommand::Remove(args) => {
            let wish = json!({"reason": args.reason, "decided_by": args.decided_by});
            let target = format!("/audit/holds/{}/end", encode(&args.id));
            print(&post(&client, &target, &wish)?, "ended", global)
        }
        HoldCommand::List => list(&client, global),
    }
}

fn list(client: &Client, global: &Global) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Holds {
        holds: Vec<Hold>,
    }
    #[derive(Deserialize)]
    struct Hold {
        id: String,
        on: String,
        what: String,
        reason: String,
        decided_by: String,
    }
    let answer = client.send_text(&Call::get("/audit/holds"))?;
    let output = global.output();
    let color = output.colored();
    output.document(&answer, || {
        let Holds { holds } = serde_json::from_str(&answer)?;
        let rows: Vec<_> = holds
            .into_iter()
            .map(|hold| vec![hold.id, hold.on, hold.what, hold.reason, hold.decided_by])
            .collect();
        Ok(table(&[text("hold"), text("on"), text("what"), text("reason"), text("decided by")], &rows, color))
    })
}

fn print(answer: &str, title: &'static str, global: &Global) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Record {
        position: u64,
    }
    let output = global.output();
    let color = output.colored();
    output.document(answer, || {
        let Record { position } = serde_json::from_str(answer)?;
        Ok(pairs(title, &[("record at position", show_count(position))], color))
    })
}

/// Sends a wish as JSON.
pub(super) fn post(client: &Client, target: &str, wish: &Value) -> Result<String> {
    let body = wish.to_string();
    client.send_text(&Call::with_body(Method::POST, target, "application/json", body.as_bytes()))
}
