//! Media types: what a body is, what an answer shall be.

use axum::http::{HeaderMap, header};
use graven_model::{Code, Error, Result, limits};

/// What a request body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyType {
    /// `application/json`
    Json,
    /// `application/cloudevents+json`
    CloudEvent,
    /// `application/cloudevents-batch+json`
    CloudEventBatch,
    /// `application/x-ndjson`
    Ndjson,
}

impl BodyType {
    const fn name(self) -> &'static str {
        match self {
            BodyType::Json => "application/json",
            BodyType::CloudEvent => "application/cloudevents+json",
            BodyType::CloudEventBatch => "application/cloudevents-batch+json",
            BodyType::Ndjson => "application/x-ndjson",
        }
    }

    /// The type of a request body, which must be one of `accepted`.
    ///
    /// # Errors
    /// [`Code::UnsupportedMediaType`], naming the accepted ones.
    pub(super) fn of(headers: &HeaderMap, accepted: &[BodyType]) -> Result<BodyType> {
        if let Some(coding) = headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity") {
            return Err(Error::new(Code::UnsupportedMediaType, "the body is compressed")
                .expected("no Content-Encoding")
                .found(format!("{coding:?}")));
        }
        let given =
            headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("not visible ASCII"));
        let essence = given.map(|text| text.split(';').next().unwrap_or_default().trim());
        let found =
            accepted.iter().find(|kind| essence.is_some_and(|text| text.eq_ignore_ascii_case(kind.name())));
        if let Some(kind) = found
            && given.is_none_or(is_utf8)
        {
            return Ok(*kind);
        }
        let names: Vec<&str> = accepted.iter().map(|kind| kind.name()).collect();
        Err(Error::new(Code::UnsupportedMediaType, "the endpoint does not take a body of this media type")
            .expected(names.join(", "))
            .found(given.map_or("no Content-Type".to_owned(), |text| format!("{:?}", limits::shorten(text)))))
    }
}

/// JSON is UTF-8; another charset would be read wrongly.
fn is_utf8(content_type: &str) -> bool {
    content_type.split(';').skip(1).all(|parameter| match parameter.trim().split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("us-ascii")
        }
        _ => true,
    })
}

/// What the client wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerType {
    /// One page, the default.
    Json,
    /// All pages, an event a line.
    Ndjson,
    /// Server-sent events.
    EventStream,
}

impl AnswerType {
    /// The type the client ranks highest of those there are; JSON if it names none of them.
    pub(super) fn wanted(headers: &HeaderMap) -> AnswerType {
        let mut best = (AnswerType::Json, 0.0f32);
        for value in headers.get_all(header::ACCEPT) {
            let Ok(value) = value.to_str() else { continue };
            for part in value.split(',') {
                let mut pieces = part.split(';').map(str::trim);
                let kind = match pieces.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                    "application/json" | "application/*" | "*/*" => AnswerType::Json,
                    "application/x-ndjson" | "application/jsonl" => AnswerType::Ndjson,
                    "text/event-stream" => AnswerType::EventStream,
                    _ => continue,
                };
                let quality = pieces
                    .find_map(|piece| piece.strip_prefix("q="))
                    .map_or(1.0, |text| text.parse().unwrap_or(0.0));
                if quality > best.1 {
                    best = (kind, quality);
                }
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_body_type_is_found_whatever_its_case_and_parameters() {
        let accepted = [BodyType::Json, BodyType::CloudEvent];
        let of = |value| BodyType::of(&headers(header::CONTENT_TYPE, value), &accepted);
        assert_eq!(of("application/json").unwrap(), BodyType::Json);
        assert_eq!(of("Application/CloudEvents+JSON; charset=UTF-8").unwrap(), BodyType::CloudEvent);
        for bad in ["text/plain", "application/x-ndjson", "application/json; charset=utf-16", ""] {
            let error = of(bad).unwrap_err();
            assert_eq!(error.code, Code::UnsupportedMediaType, "{bad}");
            assert_eq!(error.expected.as_deref(), Some("application/json, application/cloudevents+json"));
        }
        assert!(BodyType::of(&HeaderMap::new(), &accepted).is_err());
        let mut compressed = headers(header::CONTENT_TYPE, "application/json");
        compressed.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(BodyType::of(&compressed, &accepted).unwrap_err().code, Code::UnsupportedMediaType);
    }

    #[test]
    fn the_answer_is_the_one_ranked_highest() {
        let wanted = |value| AnswerType::wanted(&headers(header::ACCEPT, value));
        assert_eq!(wanted("*/*"), AnswerType::Json);
        assert_eq!(wanted("text/html"), AnswerType::Json);
        assert_eq!(wanted("text/event-stream"), AnswerType::EventStream);
        assert_eq!(wanted("application/json;q=0.5, application/x-ndjson"), AnswerType::Ndjson);
        assert_eq!(wanted("application/x-ndjson;q=0, */*;q=0.1"), AnswerType::Json);
    }
}
