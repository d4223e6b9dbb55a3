//! The members of a CloudEvent's JSON object, as raw JSON text, before any of them is understood.

use super::wrong;
use crate::error::{Code, Error, Result};
use crate::limits;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Raw JSON text of a member, without white space around it.
pub(super) type Raw<'a> = Option<&'a str>;

/// The members by name.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    pub(super) specversion: Raw<'a>,
    pub(super) id: Raw<'a>,
    pub(super) source: Raw<'a>,
    pub(super) event_type: Raw<'a>,
    pub(super) subject: Raw<'a>,
    pub(super) time: Raw<'a>,
    pub(super) datacontenttype: Raw<'a>,
    pub(super) dataschema: Raw<'a>,
    pub(super) data: Raw<'a>,
    pub(super) data_base64: Raw<'a>,
    /// All others, in order.
    pub(super) extensions: Vec<(Cow<'a, str>, &'a str)>,
    fault: Option<Box<Error>>,
}

impl<'a> Attributes<'a> {
    /// Reads a JSON object and nothing after it.
    ///
    /// # Errors
    /// [`Code::InvalidJson`], or [`Code::InvalidCloudEvent`] if it is no object, or names an attribute twice.
    pub(super) fn read(text: &'a str) -> Result<Attributes<'a>> {
        let mut attributes = Attributes::default();
        let mut json = serde_json::Deserializer::from_str(text);
        (&mut json)
            .deserialize_map(Members(&mut attributes))
            .and_then(|()| json.end())
            .map_err(|error| super::invalid(&error, "a CloudEvent is a JSON object with named attributes"))?;
        match attributes.fault.take() {
            Some(fault) => Err(*fault),
            None => Ok(attributes),
        }
    }

    fn add(&mut self, name: Cow<'a, str>, value: &'a str) {
        let place = match &*name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.datacontenttype,
            "dataschema" => &mut self.dataschema,
            "data" => &mut self.data,
            "data_base64" => &mut self.data_base64,
            _ => {
                if self.extensions.len() == limits::CLOUDEVENT_EXTENSIONS_MAX {
                    let error = Error::new(
                        Code::InvalidCloudEvent,
                        "the CloudEvent has too many extension attributes",
                    );
                    let most = format!("at most {}", limits::CLOUDEVENT_EXTENSIONS_MAX);
                    self.fault.get_or_insert_with(|| error.expected(most).into());
                } else if self.extensions.iter().any(|(known, _)| *known == name) {
                    self.fault.get_or_insert_with(|| wrong(&name, "is there twice").into());
                } else {
                    self.extensions.push((name, value));
                }
                return;
            }
        };
        if place.replace(value).is_some() {
            self.fault.get_or_insert_with(|| wrong(&name, "is there twice").into());
        }
    }
}

/// The string in `raw`, borrowed if it has no escapes; `None` for `null`.
///
/// # Errors
/// [`Code::InvalidCloudEvent`] if it is not a string.
pub(super) fn optional_text<'a>(name: &str, raw: Raw<'a>) -> Result<Option<Cow<'a, str>>> {
    match raw {
        None | Some("null") => Ok(None),
        Some(raw) => text_in(raw).map(Some).ok_or_else(|| wrong(name, "is not a string")),
    }
}

/// The string in `raw`, which must be there and not be empty.
///
/// # Errors
/// [`Code::InvalidCloudEvent`] if not.
pub(super) fn required_text<'a>(name: &str, raw: Raw<'a>) -> Result<Cow<'a, str>> {
    let text = optional_text(name, raw)?.ok_or_else(|| wrong(name, "is missing"))?;
    if text.is_empty() { Err(wrong(name, "is empty")) } else { Ok(text) }
}

/// The string in `raw`. `None` if it is none, or not Unicode: half of a surrogate pair.
pub(super) fn text_in(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

struct Members<'x, 'de>(&'x mut Attributes<'de>);

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &RawValue = map.next_value()?;
            self.0.add(name, value.get());
        }
        Ok(())
    }
}

/// A member's name, borrowed if it can be.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute name")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
