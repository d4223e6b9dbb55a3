//! `graven group create|update|reset|delete`.

use super::settings::Settings;
use super::show::{Info, behind, shown};
use super::source::{Source, filter};
use super::{parse, path};
use crate::cli::client::{Call, Client};
use crate::cli::confirm::confirm;
use crate::cli::failure::usage;
use crate::cli::output::Output;
use crate::cli::select::Filter;
use crate::config::units::show_count;
use serde_json::{Map, Value};
use ureq::http::Method;

/// Arguments of `group create`.
#[derive(clap::Args)]
pub(crate) struct CreateArgs {
    /// The group; clients of KurrentDB find it by `STREAM::NAME`, with $all or $ce-CATEGORY for the stream
    group: String,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    filter: Filter,
    /// Where it begins, the event named included: start, end (only what is appended later), a revision of the stream or a position, or an RFC 3339 time
    #[arg(long, default_value = "end", value_name = "PLACE")]
    from: String,
    /// Position to begin at
    #[arg(long, value_name = "POSITION", conflicts_with = "from")]
    position: Option<u64>,
    #[command(flatten)]
    settings: Settings,
}

/// Arguments of `group update`.
#[derive(clap::Args)]
pub(crate) struct UpdateArgs {
    /// The group
    group: String,
    #[command(flatten)]
    settings: Settings,
}

/// Arguments of `group reset`.
#[derive(clap::Args)]
pub(crate) struct ResetArgs {
    /// The group
    group: String,
    /// Where it goes on, the event named included: start, end, a revision of the stream or a position, or an RFC 3339 time
    #[arg(long, value_name = "PLACE", required_unless_present = "position")]
    to: Option<String>,
    /// Position to go on at
    #[arg(long, value_name = "POSITION", conflicts_with = "to")]
    position: Option<u64>,
    /// Do it
    #[arg(long)]
    yes: bool,
}

/// Arguments of `group delete`.
#[derive(clap::Args)]
pub(crate) struct DeleteArgs {
    /// The group
    group: String,
    /// Do it
    #[arg(long)]
    yes: bool,
}

/// Makes a group.
pub(crate) fn create(args: &CreateArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let mut settings = Map::new();
    settings.insert("selector".into(), args.source.selector()?);
    if let Some(filter) = filter(&args.filter) {
        settings.insert("filter".into(), filter);
    }
    place(&mut settings, Some(&args.from), args.position);
    args.settings.apply(&mut settings)?;
    let answer = put(client, &args.group, settings, ("If-None-Match", "*"))?;
    let color = output.colored();
    output.document(&answer, || Ok(shown(parse(&answer, client)?, color)))
}

/// Changes settings, and leaves the others as they are.
pub(crate) fn update(args: &UpdateArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let mut before: Value = parse(&client.send_text(&Call::get(&path(&args.group, "")?))?, client)?;
    let Some(settings) = before.get_mut("settings").and_then(Value::as_object_mut) else {
        return Err(crate::cli::client::foreign(client.base(), "the group has no settings").into());
    };
    let unchanged = settings.clone();
    args.settings.apply(settings)?;
    if *settings == unchanged {
        return Err(usage("it is not said what to change").expected("a setting that is another now").into());
    }
    let answer = put(client, &args.group, std::mem::take(settings), ("If-Match", "*"))?;
    let color = output.colored();
    output.document(&answer, || Ok(shown(parse(&answer, client)?, color)))
}

fn put(
    client: &Client,
    group: &str,
    settings: Map<String, Value>,
    condition: (&'static str, &str),
) -> anyhow::Result<String> {
    let body = Value::Object(settings).to_string();
    let headers = [(condition.0, condition.1.to_owned())];
    let path = path(group, "")?;
    let call = Call::with_body(Method::PUT, &path, "application/json", body.as_bytes());
    Ok(client.send_text(&Call { headers: &headers, ..call })?)
}

/// `from` in a body: a number where it is one.
fn place(body: &mut Map<String, Value>, from: Option<&str>, position: Option<u64>) {
    if let Some(position) = position {
        body.insert("position".into(), position.into());
    } else if let Some(from) = from {
        body.insert("from".into(), from.parse::<u64>().map_or(from.into(), Value::from));
    }
}

/// Has a group go on at another place, after it has said where it stands.
pub(crate) fn reset(args: &ResetArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let info: Info = parse(&client.send_text(&Call::get(&path(&args.group, "")?))?, client)?;
    let place_shown = match (&args.to, args.position) {
        (_, Some(position)) => format!("position {position}"),
        (Some(to), None) => to.clone(),
        (None, None) => return Err(usage("it is not said where the group goes on").expected("--to").into()),
    };
    confirm(
        args.yes,
        &format!(
            "{} stands at position {} with {} events to go and {} consumers, who have to connect again; it goes on at {place_shown}: \
             events from there on are delivered, again if they were before, and those it has not come to are not",
            args.group,
            show_count(info.done_below),
            behind(info.lag_events, info.lag_exact),
            show_count(info.consumers.len() as u64),
        ),
    )?;
    let mut body = Map::new();
    place(&mut body, args.to.as_deref(), args.position);
    let path = path(&args.group, "/reset")?;
    let body = Value::Object(body).to_string();
    let answer =
        client.send_text(&Call::with_body(Method::POST, &path, "application/json", body.as_bytes()))?;
    let color = output.colored();
    output.document(&answer, || Ok(shown(parse(&answer, client)?, color)))
}

/// Deletes a group, after it has said what goes with it.
pub(crate) fn delete(args: &DeleteArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let path = path(&args.group, "")?;
    let info: Info = parse(&client.send_text(&Call::get(&path))?, client)?;
    confirm(
        args.yes,
        &format!(
            "{} has {} events to go, {} consumers and {} dead letters, which go with it; the events stay",
            args.group,
            behind(info.lag_events, info.lag_exact),
            show_count(info.consumers.len() as u64),
            show_count(info.parked),
        ),
    )?;
    let call = Call { method: Method::DELETE, ..Call::get(&path) };
    let answer = client.send_text(&call)?;
    output.document(&answer, || Ok(format!("deleted {}\n", args.group)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_is_a_number_where_it_is_one() {
        let mut body = Map::new();
        place(&mut body, Some("7"), None);
        assert_eq!(Value::Object(body.clone()), json!({"from": 7}));
        place(&mut body, Some("end"), None);
        assert_eq!(Value::Object(body), json!({"from": "end"}));
        let mut body = Map::new();
        place(&mut body, Some("end"), Some(3));
        assert_eq!(Value::Object(body), json!({"position": 3}));
    }
}
