//! The expected revision of an append, from headers, query and body: said once, or the same everywhere.

use axum::http::{HeaderMap, header};
use graven_model::{Code, Error, Expected, Result, Revision, limits};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;

/// `"any"`, `"none"`, `"exists"`, `"deleted"`, `"tombstoned"` or a revision, as it stands in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExpectedField(pub(super) Expected);

impl<'de> Deserialize<'de> for ExpectedField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"any\", \"none\", \"exists\", \"deleted\", \"tombstoned\" or a revision")
            }

            fn visit_u64<E: de::Error>(self, revision: u64) -> std::result::Result<Expected, E> {
                Ok(Expected::Revision(Revision(revision)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Expected, E> {
                word(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(limits::shorten(text)), &self))
            }
        }
        deserializer.deserialize_any(Read).map(ExpectedField)
    }
}

fn word(text: &str) -> Option<Expected> {
    match text {
        "any" => Some(Expected::Any),
        "none" => Some(Expected::NoStream),
        "exists" => Some(Expected::Exists),
        "deleted" => Some(Expected::Deleted),
        "tombstoned" => Some(Expected::Tombstoned),
        _ => None,
    }
}

/// `?expected=`: the words, or a revision.
///
/// # Errors
/// [`Code::BadRequest`].
pub(super) fn from_query(text: &str) -> Result<Expected> {
    word(text)
        .or_else(|| text.parse().ok().map(|revision| Expected::Revision(Revision(revision))))
        .ok_or_else(|| {
            super::query_params::wrong(
                "query parameter expected",
                "any, none, exists, deleted, tombstoned or a revision",
                text,
            )
        })
}

/// `If-Match: "41"`, `If-Match: *` (exists) or `If-None-Match: *` (none).
///
/// # Errors
/// [`Code::BadRequest`] for anything else, or for both.
pub(super) fn from_headers(headers: &HeaderMap) -> Result<Option<Expected>> {
    let single = |name: header::HeaderName| {
        let mut values = headers.get_all(&name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Ok(Some(value.to_str().unwrap_or_default().trim())),
            (Some(_), Some(_)) => {
                Err(Error::new(Code::BadRequest, format!("{name} is given more than once")))
            }
        }
    };
    let matching = match single(header::IF_MATCH)? {
        None => None,
        Some("*") => Some(Expected::Exists),
        Some(tag) => {
            let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let revision = quoted.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                super::query_params::wrong("If-Match", "one revision in quotes, as in \"41\", or *", tag)
            })?;
            Some(Expected::Revision(Revision(revision)))
        }
    };
    match (matching, single(header::IF_NONE_MATCH)?) {
        (found, None) => Ok(found),
        (None, Some("*")) => Ok(Some(Expected::NoStream)),
        (None, Some(other)) => Err(super::query_params::wrong("If-None-Match", "*", other)),
        (Some(_), Some(_)) => {
            Err(Error::new(Code::BadRequest, "If-Match and If-None-Match contradict each other"))
        }
    }
}

/// One expectation out of several places.
///
/// # Errors
/// [`Code::BadRequest`] if two of them differ.
pub(super) fn agree(places: [(&str, Option<Expected>); 3]) -> Result<Expected> {
    let mut agreed: Option<(&str, Expected)> = None;
    for (place, expected) in places {
        let Some(expected) = expected else { continue };
        match agreed {
            Some((other, before)) if before != expected => {
                return Err(Error::new(
                    Code::BadRequest,
                    format!("the expected revision in {other} contradicts the one in {place}"),
                ));
            }
            _ => agreed = Some((place, expected)),
        }
    }
    Ok(agreed.map_or(Expected::Any, |(_, expected)| expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn headers_say_what_the_stream_must_look_like() {
        let of = |name, value| from_headers(&headers(&[(name, value)]));
        assert_eq!(of(header::IF_MATCH, "\"41\"").unwrap(), Some(Expected::Revision(Revision(41))));
        assert_eq!(of(header::IF_MATCH, "*").unwrap(), Some(Expected::Exists));
        assert_eq!(of(header::IF_NONE_MATCH, "*").unwrap(), Some(Expected::NoStream));
        assert_eq!(from_headers(&HeaderMap::new()).unwrap(), None);
        for bad in ["41", "W/\"41\"", "\"41\", \"42\"", "\"x\"", ""] {
            assert_eq!(of(header::IF_MATCH, bad).unwrap_err().code, Code::BadRequest, "{bad}");
        }
        assert!(of(header::IF_NONE_MATCH, "\"41\"").is_err());
        assert!(from_headers(&headers(&[(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")])).is_err());
    }

    #[test]
    fn two_places_must_not_contradict_each_other() {
        let (any, one) = (Some(Expected::Any), Some(Expected::Revision(Revision(1))));
        assert_eq!(agree([("a", None), ("b", None), ("c", None)]).unwrap(), Expected::Any);
        assert_eq!(agree([("a", one), ("b", None), ("c", one)]).unwrap(), Expected::Revision(Revision(1)));
        let error = agree([("a", one), ("b", None), ("c", any)]).unwrap_err();
        assert_eq!(error.message, "the expected revision in a contradicts the one in c");
    }

    #[test]
    fn a_body_field_reads_words_and_numbers() {
        let read = |text| serde_json::from_str::<ExpectedField>(text).map(|field| field.0).ok();
        assert_eq!(read("\"any\""), Some(Expected::Any));
        assert_eq!(read("\"none\""), Some(Expected::NoStream));
        assert_eq!(read("\"exists\""), Some(Expected::Exists));
        assert_eq!(read("41"), Some(Expected::Revision(Revision(41))));
        for bad in ["-1", "1.5", "\"41\"", "null", "{}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
