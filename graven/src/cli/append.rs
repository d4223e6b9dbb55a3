//! `graven append`: one event.

use super::client::{Call, Client, encode};
use super::failure::{Hinted, usage};
use super::output::{self, Output, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_engine::env::Env;
use graven_model::{Code, ContentType, Error, EventId, Result, Timestamp, limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::Read;
use ureq::http::Method;

/// Arguments of `append`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// Type of the event
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// Payload: the text itself, @FILE, or - for standard input
    #[arg(long, default_value = "{}", allow_hyphen_values = true)]
    data: String,
    /// Media type of the payload; anything but JSON is stored byte for byte
    #[arg(long, default_value = "application/json", value_name = "TYPE")]
    content_type: String,
    /// Metadata, a JSON text or @FILE
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Identity (a UUID); appending the same id to the same stream again does nothing
    #[arg(long, value_name = "UUID")]
    id: Option<String>,
    /// What the stream must look like: any, none, exists, or its last revision
    #[arg(long, default_value = "any", value_name = "any|none|exists|N")]
    expected: String,
    /// A tag to select by; again for more
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The event's own time, RFC 3339
    #[arg(long)]
    time: Option<String>,
    /// The person the event is about
    #[arg(long, value_name = "NAME")]
    data_subject: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    expected: Expected<'a>,
    events: [Event<'a>; 1],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Expected<'a> {
    Word(&'a str),
    Revision(u64),
}

#[derive(Serialize)]
struct Event<'a> {
    id: EventId,
    #[serde(rename = "type")]
    event_type: &'a str,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_subject: Option<&'a str>,
}

#[derive(Deserialize)]
struct Receipt {
    last_position: Option<u64>,
    streams: Vec<StreamReceipt>,
    committed_at: String,
    appended: u32,
}

#[derive(Deserialize)]
struct StreamReceipt {
    stream: String,
    revision: Option<u64>,
}

/// Appends and prints the receipt, with the event's id.
pub(crate) fn run(args: &Args, client: &Client, output: Output) -> anyhow::Result<()> {
    let id = match &args.id {
        Some(id) => EventId::parse(id)?,
        None => new_event_id()?,
    };
    let body = serde_json::to_vec(&body(args, id)?)?;
    let target = format!("/v1/streams/{}", encode(&args.stream));
    let receipt = client
        .send_text(&Call::with_body(Method::POST, &target, "application/json", &body))
        .map_err(|error| {
            let entry = error.code.entry();
            if entry.no_side_effects
                || error.code == Code::ConnectionFailed && error.message.contains("refused")
            {
                return anyhow::Error::from(error);
            }
            Hinted::new(
                error,
                format!("it may be stored or not: repeat the command with --id {id} to be sure"),
            )
            .into()
        })?;
    let with_id = receipt.replacen('{', &format!("{{\"id\":\"{id}\","), 1);
    output.document(&with_id, || {
        let receipt: Receipt = serde_json::from_str(&receipt)?;
        let stream = receipt.streams.first();
        let cell = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let rows = [
            ("id", id.to_string()),
            ("stream", stream.map_or(String::new(), |stream| stream.stream.clone())),
            ("revision", cell(stream.and_then(|stream| stream.revision))),
            ("position", cell(receipt.last_position)),
            ("committed", receipt.committed_at),
            ("stored", if receipt.appended > 0 { "now" } else { "already before" }.to_owned()),
        ];
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        Ok(output::table(&[text("appended"), text("")], &rows, false))
    })
}

fn body(args: &Args, id: EventId) -> Result<Body<'_>> {
    let expected = match args.expected.as_str() {
        word @ ("any" | "none" | "exists") => Expected::Word(word),
        number => Expected::Revision(number.parse().map_err(|_| {
            usage(format!("--expected {number:?} is none of any, none, exists and a revision"))
        })?),
    };
    let bytes = payload(&args.data)?;
    let is_json = ContentType::from_text(&args.content_type).is_json();
    let metadata = args.metadata.as_ref().map(|text| json_text("--metadata", payload(text)?)).transpose()?;
    let (data, data_base64) = if is_json {
        (Some(json_text("--data", bytes)?), None)
    } else {
        (None, Some(STANDARD.encode(bytes)))
    };
    let event = Event {
        id,
        event_type: &args.event_type,
        content_type: &args.content_type,
        data,
        data_base64,
        metadata,
        tags: &args.tags,
        time: args.time.as_deref().map(Timestamp::parse).transpose()?,
        data_subject: args.data_subject.as_deref(),
    };
    Ok(Body { expected, events: [event] })
}

/// The bytes an argument stands for: itself, `@file`, or `-` for standard input.
pub(super) fn payload(argument: &str) -> Result<Vec<u8>> {
    let (name, reader): (&str, Box<dyn Read>) = match (argument, argument.strip_prefix('@')) {
        ("-", _) => ("standard input", Box::new(std::io::stdin().lock())),
        (_, Some(path)) => {
            let file =
                std::fs::File::open(path).map_err(|error| Error::io(format!("open {path}"), &error))?;
            (path, Box::new(file))
        }
        _ => return Ok(argument.as_bytes().to_vec()),
    };
    let mut bytes = Vec::new();
    let bound = limits::EVENT_BYTES_MAX as u64 + 1;
    reader.take(bound).read_to_end(&mut bytes).map_err(|error| Error::io(format!("read {name}"), &error))?;
    if bytes.len() > limits::EVENT_BYTES_MAX {
        return Err(Error::new(Code::EventTooLarge, format!("{name} is larger than an event may be"))
            .expected(format!("at most {} bytes", limits::EVENT_BYTES_MAX)));
    }
    Ok(bytes)
}

/// A text that has to be JSON, as it stands.
pub(super) fn json_text(argument: &str, bytes: Vec<u8>) -> Result<Box<RawValue>> {
    let invalid = |why: String| Error::new(Code::InvalidJson, format!("{argument} is not JSON: {why}"));
    let text = String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))
}

/// A UUID of version 7: the time in milliseconds, then randomness.
fn new_event_id() -> Result<EventId> {
    const PURPOSE: u64 = 0x6576_656e_7473; // this user of the randomness
    let env = Env::real();
    let mut entropy = env.entropy(PURPOSE).map_err(|error| Error::io("ask for randomness", &error))?;
    let mut bytes: [u8; 16] = entropy.bytes();
    let millis = u64::try_from(env.clock.now_us() / 1_000).unwrap_or_default();
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = 0x70 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    Ok(EventId(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_a_uuid_of_version_7() {
        let id = new_event_id().unwrap().to_string();
        assert_eq!(&id[14..15], "7", "{id}");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
    }
}
