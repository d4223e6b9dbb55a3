//! Every failure as `application/problem+json` (RFC 9457), from the one error table of the model.

use super::json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use graven_model::error::Details;
use graven_model::{Code, Error, FailedCheck};

/// An error on its way out. Handlers return it; the table says which status it has.
#[derive(Debug)]
pub(crate) struct Problem(pub(super) Error);

/// What a handler gives.
pub(super) type Answer = Result<Response, Problem>;

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem(error)
    }
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Problem {
        Problem(Error::new(code, message))
    }
}

/// Left in the response for the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused(pub(super) Code);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem(error) = self;
        let entry = error.code.entry();
        if entry.status >= 500 && !entry.retryable {
            tracing::error!(code = %error.code, "{error}");
        }
        let mut response = document(&error).into_response();
        *response.status_mut() = StatusCode::from_u16(entry.status).expect("the table holds valid statuses");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if entry.retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Refused(error.code));
        response
    }
}

/// The error as a problem document.
pub(super) fn document(error: &Error) -> Vec<u8> {
    let entry = error.code.entry();
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"type\":\"urn:graven:error:");
    out.extend_from_slice(entry.name.as_bytes());
    out.extend_from_slice(b"\",\"title\":");
    json::string(&mut out, &entry.name.replace('-', " "));
    out.extend_from_slice(b",\"status\":");
    json::number(&mut out, u64::from(entry.status));
    out.extend_from_slice(b",\"code\":");
    json::string(&mut out, &error.code.id());
    out.extend_from_slice(b",\"detail\":");
    json::string(&mut out, &error.message);
    if let Some(expected) = &error.expected {
        out.extend_from_slice(b",\"expected\":");
        json::string(&mut out, expected);
    }
    if let Some(found) = &error.found {
        out.extend_from_slice(b",\"found\":");
        json::string(&mut out, found);
    }
    out.extend_from_slice(if entry.retryable { b",\"retryable\":true" } else { b",\"retryable\":false" });
    out.extend_from_slice(b",\"no_side_effects\":");
    out.extend_from_slice(if entry.no_side_effects { b"true" } else { b"false" });
    out.extend_from_slice(b",\"hint\":");
    json::string(&mut out, entry.hint);
    match &error.details {
        Details::None => {}
        Details::FailedChecks(checks) => {
            out.extend_from_slice(b",\"failed_checks\":[");
            for (index, check) in checks.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                failed_check(&mut out, check);
            }
            out.push(b']');
        }
        Details::ConditionMatch(position) => {
            out.extend_from_slice(b",\"matching_position\":");
            json::number(&mut out, position.0);
        }
        Details::Item(item) => {
            out.extend_from_slice(b",\"item\":");
            json::number(&mut out, *item);
        }
        Details::Writer(address) => {
            out.extend_from_slice(b",\"writer\":");
            json::string(&mut out, address);
        }
    }
    out.push(b'}');
    out
}

fn failed_check(out: &mut Vec<u8>, check: &FailedCheck) {
    out.extend_from_slice(b"{\"stream\":");
    json::string(out, check.stream.as_str());
    out.extend_from_slice(b",\"expected\":");
    json::expected(out, check.expected);
    out.extend_from_slice(b",\"actual\":");
    json::state(out, check.actual);
    if let Some(id) = check.partial_retry {
        out.extend_from_slice(b",\"partial_retry\":\"");
        json::display(out, id);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"unseen\":");
    // Inside a problem the text may become a line of NDJSON or SSE.
    json::events(out, json::Form { one_line: true, base64: false }, &check.unseen);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::{Expected, Revision, StreamName, StreamState};

    #[test]
    fn a_problem_says_what_the_table_says() {
        for code in Code::ALL {
            let error = Error::new(*code, "line\nbreak \"quoted\"").expected("e").found("f");
            let value: serde_json::Value = serde_json::from_slice(&document(&error)).unwrap();
            assert_eq!(value["code"], code.id());
            assert_eq!(value["status"], code.entry().status);
            assert_eq!(value["type"], format!("urn:graven:error:{}", code.entry().name));
            assert_eq!(value["detail"], "line\nbreak \"quoted\"");
            let response = Problem(error).into_response();
            assert_eq!(response.status().as_u16(), code.entry().status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), code.entry().retryable);
        }
    }

    #[test]
    fn a_conflict_names_every_failed_check() {
        let check = |name: &str, actual| FailedCheck {
            stream: StreamName::new(name).unwrap(),
            expected: Expected::Revision(Revision(4)),
            actual,
            partial_retry: None,
            unseen: Vec::new(),
        };
        let checks = vec![
            check("a", StreamState::At(Revision(5))),
            check("b", StreamState::NoStream),
            check("c", StreamState::SoftDeleted(Revision(1))),
            check("d", StreamState::Tombstoned),
        ];
        let error = Error::new(Code::WrongExpectedRevision, "x").with(Details::FailedChecks(checks));
        let value: serde_json::Value = serde_json::from_slice(&document(&error)).unwrap();
        assert_eq!(
            value["failed_checks"][0],
            serde_json::json!({"stream": "a", "expected": 4, "actual": {"state": "at", "revision": 5}, "unseen": []})
        );
        assert_eq!(
            value["failed_checks"][2]["actual"],
            serde_json::json!({"state": "deleted", "revision": 1})
        );
        assert_eq!(value["failed_checks"][3]["actual"], serde_json::json!({"state": "tombstoned"}));
    }
}
