//! CloudEvent → event.

use super::attributes::{Attributes, Raw, optional_text, required_text, text_in};
use super::kept::{Kept, identify};
use super::{DEFAULT_SOURCE, Incoming, Interner, rfc3339, wrong};
use crate::error::{Code, Error, Result};
use crate::event::{CheckState, ContentType, NewEvent, SchemaRef};
use crate::ids::{StreamName, Text};
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::borrow::Cow;

/// Understands the CloudEvent in `text`, which is a part of `buffer`.
pub(super) fn event(
    buffer: &Bytes,
    text: &str,
    default_stream: Option<&StreamName>,
    interner: &mut Interner,
) -> Result<Incoming> {
    let mut attributes = Attributes::read(text)?;
    if attributes.specversion != Some("\"1.0\"") {
        check_version(attributes.specversion)?;
    }
    let source = required_text("source", attributes.source)?;
    let id_text = required_text("id", attributes.id)?;
    let event_type = required_text("type", attributes.event_type)?;
    let stream = stream(attributes.subject, default_stream, interner)?;
    let (id, keep_id) = identify(&source, &id_text);
    let content_type = match optional_text("datacontenttype", attributes.datacontenttype)? {
        None => ContentType::Json,
        Some(text) if text.is_empty() => return Err(wrong("datacontenttype", "is empty")),
        Some(text) => ContentType::from_text(&text),
    };
    let (mut occurred_at, kept_time) = time(attributes.time)?;

    let mut kept = Kept {
        id: keep_id.then_some(id_text),
        time: kept_time,
        dataschema: optional_text("dataschema", attributes.dataschema)?,
        ..Kept::default()
    };
    let mut own = Own::default();
    for (name, raw) in std::mem::take(&mut attributes.extensions) {
        if !own.take(&name, raw)? {
            kept.add(name, raw)?;
        }
    }
    if let Some(micros) = own.time
        && occurred_at.replace(Timestamp::from_micros(micros)).is_some()
    {
        return Err(wrong("graventime", "is there beside time"));
    }
    let data = data(buffer, attributes.data, attributes.data_base64, &content_type)?;
    let metadata = if source == DEFAULT_SOURCE {
        kept.metadata(own.metadata)?
    } else if own.metadata.is_empty() && kept.is_only_source() {
        interner.source(&source, || {
            let kept = Kept { source: Some(Cow::Borrowed(&source)), ..Kept::default() };
            kept.metadata(Bytes::new()).expect("there is no metadata of its own to refuse")
        })
    } else {
        kept.source = Some(source);
        kept.metadata(own.metadata)?
    };
    let event = NewEvent {
        id,
        event_type: interner.event_type(&event_type),
        content_type,
        data,
        metadata,
        occurred_at,
        schema: own.schema,
        tags: own.tags,
        data_subject: own.data_subject,
        encrypted: own.encrypted,
    };
    Ok(Incoming { stream, event })
}

fn check_version(raw: Raw<'_>) -> Result<()> {
    match &*required_text("specversion", raw)? {
        "1.0" => Ok(()),
        other => Err(wrong("specversion", "is not supported")
            .expected("1.0")
            .found(crate::limits::shorten(other).escape_debug().to_string())),
    }
}

fn stream(raw: Raw<'_>, default: Option<&StreamName>, interner: &mut Interner) -> Result<StreamName> {
    let subject = optional_text("subject", raw)?;
    match (subject, default) {
        (Some(subject), None) => interner.stream(&subject).map_err(|error| Error {
            code: Code::InvalidCloudEvent,
            message: format!("attribute \"subject\": {}", error.message),
            ..error
        }),
        (Some(subject), Some(stream)) if subject != stream.as_str() => {
            Err(wrong("subject", "is not the stream of the request")
                .expected(stream.as_str())
                .found(crate::limits::shorten(&subject)))
        }
        (_, Some(stream)) => Ok(stream.clone()),
        (None, None) => Err(wrong("subject", "is missing; it names the stream")),
    }
}

fn time<'a>(raw: Raw<'a>) -> Result<(Option<Timestamp>, Option<Cow<'a, str>>)> {
    let Some(text) = optional_text("time", raw)? else { return Ok((None, None)) };
    let parsed = rfc3339::parse(&text).ok_or_else(|| {
        wrong("time", "is not a time")
            .expected("RFC 3339, as in 2011-09-30T22:38:44.546Z")
            .found(format!("{:?}", crate::limits::shorten(&text)))
    })?;
    Ok((Some(Timestamp::from_micros(parsed.micros)), parsed.says_more.then_some(text)))
}

fn data(buffer: &Bytes, data: Raw<'_>, base64: Raw<'_>, content_type: &ContentType) -> Result<Bytes> {
    let base64 = optional_text("data_base64", base64)?;
    match (data, base64) {
        (None, None) => Ok(Bytes::new()),
        (None, Some(text)) => match STANDARD.decode(&*text) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(wrong("data_base64", format_args!("is not base64: {error}"))),
        },
        (Some(_), Some(_)) => Err(wrong("data_base64", "is there beside data")),
        (Some(raw), None) if content_type.is_json() => Ok(buffer.slice_ref(raw.as_bytes())),
        (Some("null"), None) => Ok(Bytes::new()),
        (Some(raw), None) => match text_in(raw) {
            Some(Cow::Borrowed(text)) => Ok(buffer.slice_ref(text.as_bytes())),
            Some(Cow::Owned(text)) => Ok(text.into()),
            None => Err(wrong("data", "is not a string")
                .expected("a string, or data_base64, because datacontenttype is not JSON")
                .found(content_type.as_str())),
        },
    }
}

/// The extension attributes that are fields of the event.
#[derive(Default)]
struct Own {
    tags: Vec<Text>,
    data_subject: Option<Text>,
    schema: SchemaRef,
    encrypted: bool,
    metadata: Bytes,
    time: Option<i64>,
}

impl Own {
    /// Takes the attribute if it is one of ours.
    fn take(&mut self, name: &str, raw: &str) -> Result<bool> {
        let Some(field) = name.strip_prefix("graven") else { return Ok(false) };
        if raw == "null" {
            return Ok(true);
        }
        let text = || required_text(name, Some(raw));
        match field {
            "tags" => self.tags = tags(&text()?).ok_or_else(|| wrong(name, "is not a list of tags"))?,
            "subject" => self.data_subject = Some(text()?.into()),
            "schema" => {
                self.schema = schema(&text()?).ok_or_else(|| {
                    wrong(name, "is not a schema").expected("version/id/check, as in 2/17/ok")
                })?;
            }
            "encrypted" => {
                self.encrypted = raw.parse().map_err(|_| wrong(name, "is not true or false"))?;
            }
            "metadata" | "metadatab64" if !self.metadata.is_empty() => {
                return Err(wrong("gravenmetadata", "and gravenmetadatab64 are both there"));
            }
            "metadata" => self.metadata = Bytes::from(text()?.into_owned()),
            "metadatab64" => {
                let bytes = STANDARD.decode(&*text()?);
                self.metadata =
                    bytes.map_err(|error| wrong(name, format_args!("is not base64: {error}")))?.into();
            }
            "time" => {
                let micros = text()?.parse();
                self.time = Some(micros.map_err(|_| wrong(name, "is not a number of microseconds as text"))?);
            }
            "kind" => {
                return Err(wrong(name, "says that this is no plain event, so it cannot be appended")
                    .found(crate::limits::shorten(raw)));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Tags separated by commas, or a JSON array of them.
fn tags(text: &str) -> Option<Vec<Text>> {
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    Some(text.split(',').map(Text::from).collect())
}

fn schema(text: &str) -> Option<SchemaRef> {
    let mut parts = text.split('/');
    let (version, id, check) = (parts.next()?, parts.next()?, parts.next()?);
    let check = CHECKS.iter().find(|(_, name)| *name == check)?.0;
    if parts.next().is_some() {
        return None;
    }
    Some(SchemaRef { version: version.parse().ok()?, id: id.parse().ok()?, check })
}

/// Names of what a schema check said.
pub(super) const CHECKS: [(CheckState, &str); 4] = [
    (CheckState::None, "none"),
    (CheckState::Ok, "ok"),
    (CheckState::Failed, "failed"),
    (CheckState::Skipped, "skipped"),
];
