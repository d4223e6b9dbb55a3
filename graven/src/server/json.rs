//! Stored events as JSON text. The hot path of every read: payloads are spliced in as they are stored, never parsed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_model::{CheckState, EventRef, Expected, Kind, StoredEvent, StreamState, Timestamp};
use std::io::Write as _;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Form {
    /// Line breaks between the tokens of a payload become blanks: for answers that are framed by lines.
    pub(super) one_line: bool,
    /// Payloads as base64 of the stored bytes, whatever they are.
    pub(super) base64: bool,
}

impl Form {
    /// Writes a payload as a further field of an object.
    pub(super) fn payload(self, out: &mut Vec<u8>, name: &str, bytes: &[u8], is_json: bool) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        if is_json && !self.base64 {
            out.extend_from_slice(b"\":");
            if self.one_line {
                one_line(out, bytes);
            } else {
                out.extend_from_slice(bytes);
            }
        } else {
            out.extend_from_slice(b"_base64\":\"");
            base64(out, bytes);
            out.push(b'"');
        }
    }
}

/// Writes events one after the other. Keeps the text of the last commit time: neighbours share it.
pub(super) struct EventWriter {
    form: Form,
    committed_at: Timestamp,
    committed_text: Vec<u8>,
}

impl EventWriter {
    pub(super) fn new(form: Form) -> EventWriter {
        EventWriter { form, committed_at: Timestamp::default(), committed_text: Vec::new() }
    }

    /// Writes one event as a JSON object.
    pub(super) fn write<'a>(&mut self, out: &mut Vec<u8>, event: impl Into<EventRef<'a>>) {
        self.write_ref(out, &event.into());
    }

    fn write_ref(&mut self, out: &mut Vec<u8>, event: &EventRef<'_>) {
        out.extend_from_slice(b"{\"position\":");
        number(out, event.position.0);
        out.extend_from_slice(b",\"stream\":");
        string(out, event.stream);
        out.extend_from_slice(b",\"revision\":");
        number(out, event.revision.0);
        out.extend_from_slice(b",\"id\":\"");
        display(out, event.id);
        out.extend_from_slice(b"\",\"type\":");
        string(out, event.event_type);
        out.extend_from_slice(b",\"committed_at\":\"");
        if self.committed_text.is_empty() || self.committed_at != event.committed_at {
            self.committed_at = event.committed_at;
            self.committed_text.clear();
            display(&mut self.committed_text, event.committed_at);
        }
        out.extend_from_slice(&self.committed_text);
        out.push(b'"');
        if let Some(time) = event.occurred_at {
            out.extend_from_slice(b",\"time\":\"");
            display(out, time);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"content_type\":");
        string(out, event.content_type.as_str());
        if event.erased {
            out.extend_from_slice(b",\"data\":null,\"erased\":true");
        } else if !event.data.is_empty() {
            // JSON payloads were checked when they were appended; ciphertext only looks like them from outside.
            let is_json = event.content_type.is_json() && !event.encrypted;
            self.form.payload(out, "data", event.data, is_json);
        }
        if !event.metadata.is_empty() {
            let is_json =
                !self.form.base64 && serde_json::from_slice::<serde::de::IgnoredAny>(event.metadata).is_ok();
            self.form.payload(out, "metadata", event.metadata, is_json);
        }
        let mut tags = event.tags.iter();
        if let Some(first) = tags.next() {
            out.extend_from_slice(b",\"tags\":[");
            string(out, first);
            for tag in tags {
                out.push(b',');
                string(out, tag);
            }
            out.push(b']');
        }
        if let Some(subject) = event.data_subject {
            out.extend_from_slice(b",\"data_subject\":");
            string(out, subject);
        }
        if event.schema.version != 0 || event.schema.id != 0 || event.schema.check != CheckState::None {
            out.extend_from_slice(b",\"schema\":{\"version\":");
            number(out, u64::from(event.schema.version));
            out.extend_from_slice(b",\"id\":");
            number(out, u64::from(event.schema.id));
            out.extend_from_slice(b",\"check\":\"");
            out.extend_from_slice(check_name(event.schema.check).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        if event.encrypted {
            out.extend_from_slice(b",\"encrypted\":true");
        }
        if let Some(kind) = kind_name(event.kind) {
            out.extend_from_slice(b",\"kind\":\"");
            out.extend_from_slice(kind.as_bytes());
            out.push(b'"');
        }
        out.push(b'}');
    }
}

/// `[event,event,…]`
pub(super) fn events<'a>(out: &mut Vec<u8>, form: Form, stored: impl IntoIterator<Item = &'a StoredEvent>) {
    let mut writer = EventWriter::new(form);
    out.push(b'[');
    for (index, event) in stored.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        writer.write(out, event);
    }
    out.push(b']');
}

/// A JSON string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("text goes into a Vec without fail");
}

/// A whole number.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    serde_json::to_writer(out, &number).expect("a number goes into a Vec without fail");
}

/// A whole number or `null`.
pub(super) fn number_or_null(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => number(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// What prints itself in ASCII without quotes or backslashes (ids, times), without adding quotes.
pub(super) fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("text goes into a Vec without fail");
}

/// Valid JSON on one line. A raw line break inside JSON can only be blank space between tokens.
pub(super) fn one_line(out: &mut Vec<u8>, json: &[u8]) {
    let start = out.len();
    out.extend_from_slice(json);
    if json.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        for byte in &mut out[start..] {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the space is four bytes for each three");
}

/// `"any"`, `"none"`, `"exists"`, `"deleted"`, `"tombstoned"` or a revision.
pub(super) fn expected(out: &mut Vec<u8>, expected: Expected) {
    match expected {
        Expected::Any => out.extend_from_slice(b"\"any\""),
        Expected::NoStream => out.extend_from_slice(b"\"none\""),
        Expected::Exists => out.extend_from_slice(b"\"exists\""),
        Expected::Deleted => out.extend_from_slice(b"\"deleted\""),
        Expected::Tombstoned => out.extend_from_slice(b"\"tombstoned\""),
        Expected::Revision(revision) => number(out, revision.0),
    }
}

/// `{"state":"at","revision":5}` and its siblings.
pub(super) fn state(out: &mut Vec<u8>, state: StreamState) {
    let (name, revision) = match state {
        StreamState::NoStream => ("none", None),
        StreamState::At(revision) => ("at", Some(revision)),
        StreamState::SoftDeleted(revision) => ("deleted", Some(revision)),
        StreamState::Tombstoned => ("tombstoned", None),
    };
    out.extend_from_slice(b"{\"state\":\"");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
    if let Some(revision) = revision {
        out.extend_from_slice(b",\"revision\":");
        number(out, revision.0);
    }
    out.push(b'}');
}

fn check_name(check: CheckState) -> &'static str {
    match check {
        CheckState::None => "none",
        CheckState::Ok => "ok",
        CheckState::Failed => "failed",
        CheckState::Skipped => "skipped",
    }
}

fn kind_name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Event => None,
        Kind::MapRoot => Some("map-root"),
        Kind::Erasure => Some("erasure"),
        Kind::Key => Some("key"),
        Kind::Anchor => Some("anchor"),
        Kind::Tombstone => Some("tombstone"),
        Kind::Migration => Some("migration"),
        Kind::Retention => Some("retention"),
        Kind::Hold => Some("hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use graven_model::{ContentType, EventId, NewEvent, Position, Revision, StreamName};

    fn stored(data: &'static str) -> StoredEvent {
        StoredEvent {
            position: Position(12),
            stream: StreamName::new("loan-\"1\"").unwrap(),
            revision: Revision(3),
            committed_at: Timestamp::parse("2024-05-06T07:08:09.123456Z").unwrap(),
            kind: Kind::Event,
            erased: false,
            event: NewEvent::json(EventId([7; 16]), "A", data),
        }
    }

    fn text(form: Form, event: &StoredEvent) -> String {
        let mut out = Vec::new();
        EventWriter::new(form).write(&mut out, event);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_payload_is_spliced_in_byte_for_byte() {
        let written = text(Form::default(), &stored("{ \"n\" : 1.00,\n \"n\": 2 }"));
        assert!(written.ends_with(",\"data\":{ \"n\" : 1.00,\n \"n\": 2 }}"), "{written}");
        assert!(
            written.starts_with("{\"position\":12,\"stream\":\"loan-\\\"1\\\"\",\"revision\":3,"),
            "{written}"
        );
    }

    #[test]
    fn line_breaks_between_tokens_become_blanks_where_lines_are_frames() {
        let written = text(Form { one_line: true, base64: false }, &stored("{\r\n\"a\":\"\\n\"}"));
        assert!(written.ends_with("\"data\":{  \"a\":\"\\n\"}}"), "{written}");
    }

    #[test]
    fn bytes_that_are_not_json_are_written_as_base64() {
        let mut event = stored("x");
        event.event.content_type = ContentType::Binary;
        event.event.metadata = Bytes::from_static(b"\xff");
        let written = text(Form::default(), &event);
        assert!(written.contains("\"data_base64\":\"eA==\",\"metadata_base64\":\"/w==\""), "{written}");
        let mut event = stored("\"plain\"");
        event.event.encrypted = true;
        assert!(text(Form::default(), &event).contains("\"data_base64\""));
        let asked = text(Form { one_line: true, base64: true }, &stored("1"));
        assert!(asked.contains("\"data_base64\":\"MQ==\""), "{asked}");
    }

    #[test]
    fn an_erased_payload_is_null_and_says_so_whatever_its_type() {
        for content_type in [ContentType::Json, ContentType::Binary] {
            let mut event = stored("");
            event.erased = true;
            event.event.content_type = content_type;
            let written = text(Form { one_line: true, base64: true }, &event);
            assert!(written.ends_with(",\"data\":null,\"erased\":true}"), "{written}");
        }
    }

    #[test]
    fn every_field_reads_back_as_json() {
        let mut event = stored("{}");
        event.kind = Kind::Tombstone;
        event.event.tags = vec!["a".into(), "b\n".into()];
        event.event.data_subject = Some("p".into());
        event.event.occurred_at = Some(Timestamp::from_micros(1));
        event.event.schema = graven_model::SchemaRef { version: 2, id: 9, check: CheckState::Ok };
        event.event.metadata = Bytes::from_static(b"{\"who\":1}");
        let value: serde_json::Value = serde_json::from_str(&text(Form::default(), &event)).unwrap();
        assert_eq!(value["tags"], serde_json::json!(["a", "b\n"]));
        assert_eq!(value["schema"], serde_json::json!({"version": 2, "id": 9, "check": "ok"}));
        assert_eq!(value["kind"], "tombstone");
        assert_eq!(value["metadata"]["who"], 1);
        assert_eq!(value["time"], "1970-01-01T00:00:00.000001Z");
        assert_eq!(value["committed_at"], "2024-05-06T07:08:09.123456Z");
    }
}
