//! Event → CloudEvent.

use super::kept::{Kept, write_name, write_text};
use super::parse::CHECKS;
use super::{DEFAULT_SOURCE, rfc3339};
use crate::event::{ContentType, Kind, NewEvent, SchemaRef, StoredEvent};
use crate::ids::Text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use std::fmt::Write as _;

/// Appends the event as one CloudEvent: a JSON object on one line, without a newline at the end. [`super::parse`] reads
/// it back to the same event; a record that is no plain event (a tombstone) gets `gravenkind`, and one whose payload was
/// erased gets `gravenerased`: both are refused there.
pub fn write(event: &StoredEvent, out: &mut Vec<u8>) {
    let NewEvent { id, event_type, content_type, metadata, occurred_at, .. } = &event.event;
    let (kept, own) = match Kept::split(metadata, *id, *occurred_at) {
        Some((kept, own)) => (kept, own.map(|own| Own::Text(own.into()))),
        None => (Kept::default(), own_metadata(metadata)),
    };

    out.push(b'{');
    write_member("specversion", "1.0", out);
    match &kept.id {
        Some(text) => write_member("id", text, out),
        None => write_member("id", &id.to_string(), out),
    }
    write_member("source", kept.source.as_deref().unwrap_or(DEFAULT_SOURCE), out);
    write_member("type", event_type, out);
    write_member("subject", event.stream.as_str(), out);
    if let Some(time) = occurred_at {
        write_time(time.micros(), kept.time.as_deref(), out);
    }
    write_member("datacontenttype", content_type.as_str(), out);
    if let Some(schema) = &kept.dataschema {
        write_member("dataschema", schema, out);
    }
    kept.write_extensions(out);
    write_own(event, own, out);
    write_data(&event.event, out);
    out.push(b'}');
}

fn write_member(name: &str, text: &str, out: &mut Vec<u8>) {
    write_name(name, out);
    write_text(text, out);
}

fn write_time(micros: i64, kept: Option<&str>, out: &mut Vec<u8>) {
    if let Some(text) = kept {
        return write_member("time", text, out);
    }
    let before = out.len();
    write_name("time", out);
    out.push(b'"');
    if rfc3339::write(micros, out) {
        out.push(b'"');
    } else {
        out.truncate(before);
        write_member("graventime", &micros.to_string(), out);
    }
}

/// Metadata beside `ce`.
enum Own<'a> {
    Text(std::borrow::Cow<'a, str>),
    Binary(&'a [u8]),
}

fn own_metadata(metadata: &[u8]) -> Option<Own<'_>> {
    if metadata.is_empty() {
        return None;
    }
    Some(match std::str::from_utf8(metadata) {
        Ok(text) => Own::Text(text.into()),
        Err(_) => Own::Binary(metadata),
    })
}

fn write_own(event: &StoredEvent, own: Option<Own<'_>>, out: &mut Vec<u8>) {
    let NewEvent { tags, data_subject, schema, encrypted, .. } = &event.event;
    if !tags.is_empty() {
        write_member("graventags", &joined(tags), out);
    }
    if let Some(subject) = data_subject {
        write_member("gravensubject", subject, out);
    }
    if *schema != SchemaRef::default() {
        let check = CHECKS.iter().find(|(check, _)| *check == schema.check).map_or("none", |(_, name)| name);
        write_member("gravenschema", &format!("{}/{}/{check}", schema.version, schema.id), out);
    }
    if *encrypted {
        write_name("gravenencrypted", out);
        out.extend_from_slice(b"true");
    }
    if event.erased {
        write_name("gravenerased", out);
        out.extend_from_slice(b"true");
    }
    if event.kind != Kind::Event {
        let mut name = String::new();
        write!(name, "{:?}", event.kind).expect("text can be written to memory");
        write_member("gravenkind", &name.to_lowercase(), out);
    }
    match own {
        None => {}
        Some(Own::Text(text)) => write_member("gravenmetadata", &text, out),
        Some(Own::Binary(bytes)) => write_member("gravenmetadatab64", &STANDARD.encode(bytes), out),
    }
}

/// Tags with commas between them, or as a JSON array where that would not read back.
fn joined(tags: &[Text]) -> String {
    let plain = tags.iter().all(|tag| !tag.is_empty() && !tag.contains(',')) && !tags[0].starts_with('[');
    if plain {
        tags.join(",")
    } else {
        serde_json::to_string(tags).expect("strings can be written to memory")
    }
}

fn write_data(event: &NewEvent, out: &mut Vec<u8>) {
    let data = &event.data;
    if data.is_empty() {
        return;
    }
    match std::str::from_utf8(data) {
        Ok(json) if event.content_type.is_json() && is_one_line_of_json(json) => {
            write_name("data", out);
            out.extend_from_slice(json.as_bytes());
        }
        Ok(text) if !event.content_type.is_json() && event.content_type != ContentType::Binary => {
            write_member("data", text, out);
        }
        _ => write_member("data_base64", &STANDARD.encode(data), out),
    }
}

/// True for JSON text that stands in a line as it is: without line breaks, and without white space around it, which
/// would be lost.
fn is_one_line_of_json(text: &str) -> bool {
    let whitespace = [' ', '\t'];
    !text.contains(['\n', '\r'])
        && !text.starts_with(whitespace)
        && !text.ends_with(whitespace)
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}
