//! What of a CloudEvent the event itself has no word for: the object under `ce` at the head of the metadata.

use super::attributes::{Attributes, optional_text, text_in};
use super::{DEFAULT_SOURCE, derived_id, rfc3339, wrong};
use crate::error::{Code, Error, Result};
use crate::ids::EventId;
use crate::time::Timestamp;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;

const HEAD: &str = "{\"ce\":";

/// The attributes to keep.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kept<'a> {
    /// Unless it is [`DEFAULT_SOURCE`].
    pub(super) source: Option<Cow<'a, str>>,
    /// Unless it is the event id as printed.
    pub(super) id: Option<Cow<'a, str>>,
    /// If it says more than `occurred_at`.
    pub(super) time: Option<Cow<'a, str>>,
    pub(super) dataschema: Option<Cow<'a, str>>,
    /// In the order they came.
    pub(super) extensions: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// Value of an extension attribute.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Integer(i32),
}

impl<'a> Kept<'a> {
    /// Understands an extension attribute and keeps it; a `null` is not kept.
    pub(super) fn add(&mut self, name: Cow<'a, str>, raw: &'a str) -> Result<()> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(
                wrong(&name, "is not a name CloudEvents allows").expected("lower-case letters and digits")
            );
        }
        if name.starts_with("graven") {
            return Err(wrong(&name, "is not known; names that begin with graven are reserved"));
        }
        let value = match raw {
            "null" => return Ok(()),
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match text_in(raw) {
                Some(text) => Value::Text(text),
                None => Value::Integer(raw.parse().map_err(|_| {
                    wrong(&name, "has a value CloudEvents does not allow")
                        .expected("a string, a boolean, or an integer of 32 bits")
                })?),
            },
        };
        self.extensions.push((name, value));
        Ok(())
    }

    /// True if there is nothing to keep but perhaps a source.
    pub(super) fn is_only_source(&self) -> bool {
        self.id.is_none() && self.time.is_none() && self.dataschema.is_none() && self.extensions.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.source.is_none() && self.is_only_source()
    }

    /// The metadata that keeps this beside the event's `own`.
    pub(super) fn metadata(&self, own: Bytes) -> Result<Bytes> {
        if self.is_empty() {
            return Ok(own);
        }
        let mut out = Vec::with_capacity(64 + own.len());
        out.extend_from_slice(HEAD.as_bytes());
        self.write(&mut out);
        if own.is_empty() {
            out.push(b'}');
            return Ok(out.into());
        }
        let object =
            std::str::from_utf8(&own).ok().filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        let Some(members) = object.and_then(|text| text.trim_start().strip_prefix('{')) else {
            return Err(Error::new(
                Code::InvalidCloudEvent,
                format!(
                    "metadata that is no JSON object cannot stand beside attributes to keep; send source {DEFAULT_SOURCE:?} and no extensions with it"
                ),
            ));
        };
        if members.trim_start().starts_with('}') {
            out.push(b'}');
        } else {
            out.push(b',');
            out.extend_from_slice(members.as_bytes());
        }
        Ok(out.into())
    }

    /// Takes metadata apart that [`Kept::metadata`] put together for an event with this id and time: the attributes,
    /// and the event's own metadata. `None` if it would put them together in another way.
    pub(super) fn split(
        metadata: &'a [u8],
        id: EventId,
        time: Option<Timestamp>,
    ) -> Option<(Kept<'a>, Option<String>)> {
        let text = std::str::from_utf8(metadata).ok()?;
        let mut values =
            serde_json::Deserializer::from_str(text.strip_prefix(HEAD)?).into_iter::<&RawValue>();
        let ce = values.next()?.ok()?.get();
        let kept = Kept::read(ce, id, time)?;
        let own = match text.get(HEAD.len() + ce.len()..)? {
            "}" => None,
            rest => Some(format!("{{{}", rest.strip_prefix(',')?)),
        };
        let own_bytes = own.clone().unwrap_or_default().into();
        let again = kept.metadata(own_bytes).ok()?;
        (again == metadata && !kept.is_empty()).then_some((kept, own))
    }

    fn read(ce: &'a str, id: EventId, time: Option<Timestamp>) -> Option<Kept<'a>> {
        let attributes = Attributes::read(ce).ok()?;
        let text = |raw| optional_text("ce", raw).ok();
        let mut kept = Kept {
            source: text(attributes.source)?,
            id: text(attributes.id)?,
            time: text(attributes.time)?,
            dataschema: text(attributes.dataschema)?,
            extensions: Vec::new(),
        };
        for (name, raw) in attributes.extensions {
            kept.add(name, raw).ok()?;
        }
        let source = kept.source.as_deref().unwrap_or(DEFAULT_SOURCE);
        let needed = !source.is_empty()
            && kept.source.as_deref() != Some(DEFAULT_SOURCE)
            && kept.id.as_deref().is_none_or(|text| !text.is_empty() && identify(source, text) == (id, true))
            && kept.time.as_deref().is_none_or(|text| {
                rfc3339::parse(text).is_some_and(|parsed| {
                    parsed.says_more && Some(parsed.micros) == time.map(Timestamp::micros)
                })
            });
        needed.then_some(kept)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let texts = [
            ("source", &self.source),
            ("id", &self.id),
            ("time", &self.time),
            ("dataschema", &self.dataschema),
        ];
        out.push(b'{');
        for (name, text) in texts {
            if let Some(text) = text {
                write_name(name, out);
                write_text(text, out);
            }
        }
        self.write_extensions(out);
        out.push(b'}');
    }

    /// Writes the extensions as further members of an object.
    pub(super) fn write_extensions(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.extensions {
            write_name(name, out);
            match value {
                Value::Text(text) => write_text(text, out),
                Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
                Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            }
        }
    }
}

/// The event id a CloudEvent's `id` stands for, and whether the text says more.
pub(super) fn identify(source: &str, text: &str) -> (EventId, bool) {
    if let Some(id) = printed_id(text) {
        return (id, false);
    }
    (EventId::parse(text).unwrap_or_else(|_| derived_id(source, text)), true)
}

/// The event id that is printed as this very text: [`EventId::parse`] for the one form nearly all events have.
fn printed_id(text: &str) -> Option<EventId> {
    const DIGITS: [u8; 256] = {
        let mut digits = [0xff; 256];
        let mut value = 0;
        while value < 16 {
            digits[b"0123456789abcdef"[value as usize] as usize] = value;
            value += 1;
        }
        digits
    };
    const GROUPS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != [b'-'; 4] {
        return None;
    }
    let mut id = [0; 16];
    let mut seen = 0;
    for (byte, at) in id.iter_mut().zip(GROUPS) {
        let (high, low) = (DIGITS[usize::from(text[at])], DIGITS[usize::from(text[at + 1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen & 0xf0 == 0).then_some(EventId(id))
}

/// Writes the name of an object's next member: a comma unless it is the first, the name, a colon.
pub(super) fn write_name(name: &str, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a JSON string.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string can be written to memory");
}
