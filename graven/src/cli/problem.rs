//! `application/problem+json` back into [`Error`].

use super::client::foreign;
use graven_model::error::Details;
use graven_model::{Code, Error, Expected, FailedCheck, Position, Revision, StreamName, StreamState};
use serde::Deserialize;

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    expected: Option<String>,
    found: Option<String>,
    item: Option<u64>,
    matching_position: Option<Position>,
    writer: Option<String>,
    #[serde(default)]
    failed_checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    stream: StreamName,
    expected: serde_json::Value,
    actual: Actual,
}

#[derive(Deserialize)]
struct Actual {
    state: String,
    revision: Option<Revision>,
}

/// The error an answer with this status and body stands for; for a body that no graven server sends, one that says so.
pub(crate) fn to_error(status: u16, body: &[u8], base: &str) -> Error {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return foreign(base, format!("status {status}"));
    };
    let Some(code) = Code::from_id(&problem.code) else {
        return foreign(base, format!("status {status}, unknown code {}: {}", problem.code, problem.detail));
    };
    let details = if !problem.failed_checks.is_empty() {
        Details::FailedChecks(problem.failed_checks.into_iter().map(failed_check).collect())
    } else if let Some(position) = problem.matching_position {
        Details::ConditionMatch(position)
    } else if let Some(item) = problem.item {
        Details::Item(item)
    } else if let Some(writer) = problem.writer {
        Details::Writer(writer)
    } else {
        Details::None
    };
    Error { code, message: problem.detail, expected: problem.expected, found: problem.found, details }
}

fn failed_check(check: Check) -> FailedCheck {
    let expected = match check.expected.as_str() {
        Some("none") => Expected::NoStream,
        Some("exists") => Expected::Exists,
        Some("deleted") => Expected::Deleted,
        Some("tombstoned") => Expected::Tombstoned,
        _ => check.expected.as_u64().map_or(Expected::Any, |number| Expected::Revision(Revision(number))),
    };
    let actual = match (check.actual.state.as_str(), check.actual.revision) {
        ("at", Some(revision)) => StreamState::At(revision),
        ("deleted", Some(revision)) => StreamState::SoftDeleted(revision),
        ("tombstoned", _) => StreamState::Tombstoned,
        _ => StreamState::NoStream,
    };
    FailedCheck { stream: check.stream, expected, actual, partial_retry: None, unseen: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_the_error_of_its_code() {
        let body = br#"{"type":"x","status":412,"code":"GRV-1200","detail":"stream loan-1 is elsewhere","expected":"3",
            "found":"5","failed_checks":[{"stream":"loan-1","expected":3,"actual":{"state":"at","revision":5}}]}"#;
        let error = to_error(412, body, "http://h");
        assert_eq!(error.code, Code::WrongExpectedRevision);
        assert_eq!(error.to_string(), "GRV-1200: stream loan-1 is elsewhere; expected 3; found 5");
        let Details::FailedChecks(checks) = error.details else { panic!("checks expected") };
        assert_eq!(checks[0].expected, Expected::Revision(Revision(3)));
        assert_eq!(checks[0].actual, StreamState::At(Revision(5)));
    }

    #[test]
    fn an_answer_of_something_else_says_so() {
        let error = to_error(502, b"<html>bad gateway</html>", "http://h");
        assert_eq!(error.code, Code::ConnectionFailed);
        assert!(error.message.contains("http://h") && error.message.contains("502"), "{error}");
    }
}
