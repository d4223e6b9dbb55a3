//! The newer service of KurrentDB's clients: atomic appends to several streams, in sessions and as records.

mod kurrent_support;
mod support;

use kurrent_support::*;
use serde_json::json;
use std::collections::BTreeMap;
use support::run;
use tonic::{Code, Status};
use v2::consistency_check::{StreamStateCheck, Type};
use v2::{
    AppendRecord, AppendRecordsRequest, AppendRecordsResponse, AppendRequest, AppendSessionResponse,
    ConsistencyCheck, SchemaFormat, SchemaInfo,
};
use well_known::{Value, value::Kind};

fn record(id: u64) -> AppendRecord {
    let schema = SchemaInfo { format: SchemaFormat::Json as i32, name: "Filled".to_owned(), id: None };
    AppendRecord {
        record_id: Some(id_text(id)),
        properties: BTreeMap::from([(
            "p".to_owned(),
            Value { kind: Some(Kind::StringValue("v".to_owned())) },
        )]),
        schema: Some(schema),
        data: "{}".into(),
        stream: None,
    }
}

fn request(stream: &str, expected: Option<i64>, ids: &[u64]) -> AppendRequest {
    let records = ids.iter().map(|id| record(*id)).collect();
    AppendRequest { stream: stream.to_owned(), records, expected_revision: expected }
}

fn check(stream: &str, state: i64) -> ConsistencyCheck {
    let check = StreamStateCheck { stream: stream.to_owned(), expected_state: state };
    ConsistencyCheck { r#type: Some(Type::StreamState(check)) }
}

fn records(records: &[(&str, u64)], checks: Vec<ConsistencyCheck>) -> AppendRecordsRequest {
    let of = |(stream, id): &(&str, u64)| AppendRecord { stream: Some((*stream).to_owned()), ..record(*id) };
    AppendRecordsRequest { records: records.iter().map(of).collect(), checks }
}

async fn session(
    caller: &mut Caller,
    requests: Vec<AppendRequest>,
) -> Result<(Vec<(String, i64)>, i64), Status> {
    let answer: AppendSessionResponse = caller.say("AppendSession", requests).await?;
    let output =
        answer.output.into_iter().map(|stream| (stream.stream, stream.stream_revision.unwrap())).collect();
    Ok((output, answer.position.unwrap()))
}

async fn append(
    caller: &mut Caller,
    request: AppendRecordsRequest,
) -> Result<(Vec<(String, i64)>, i64), Status> {
    let answer: AppendRecordsResponse = caller.unary("AppendRecords", request).await?;
    let revisions =
        answer.revisions.into_iter().map(|stream| (stream.stream, stream.revision.unwrap())).collect();
    Ok((revisions, answer.position.unwrap()))
}

fn streams(told: &[(&str, i64)]) -> Vec<(String, i64)> {
    told.iter().map(|(stream, revision)| ((*stream).to_owned(), *revision)).collect()
}

/// A store with `live` at revision 2, `gone` deleted at revision 2 and `dead` tombstoned.
async fn prepared(server: &Server) -> Caller {
    let mut caller = Caller::connect(server).await;
    for stream in ["live", "gone", "dead"] {
        caller.stored(stream, ANY, &[1, 2, 3]).await;
    }
    let http = server.client();
    http.send("DELETE", "/v1/streams/gone", &[], None).expect(200);
    http.send("DELETE", "/v1/streams/dead?tombstone=true", &[], None).expect(200);
    caller
}

#[test]
fn a_session_appends_to_all_its_streams_or_to_none() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let requests =
            || vec![request("a", Some(-1), &[1, 2]), request("b", None, &[3]), request("c", Some(-2), &[4])];
        let first = session(&mut caller, requests()).await.unwrap();
        assert_eq!(first, (streams(&[("a", 1), ("b", 0), ("c", 0)]), 3));
        assert_eq!(session(&mut caller, requests()).await.unwrap(), first, "a retry");
        assert_eq!(head(&server), 4);
        let next = vec![request("a", Some(1), &[5]), request("b", Some(-4), &[6])];
        assert_eq!(session(&mut caller, next).await.unwrap(), (streams(&[("a", 2), ("b", 1)]), 5));
        let conflict = vec![request("a", Some(2), &[7]), request("b", Some(0), &[8])];
        let status = session(&mut caller, conflict).await.unwrap_err();
        let (reason, conflict) = detail::<v2_errors::StreamRevisionConflictErrorDetails>(&status);
        assert_eq!((status.code(), &*reason), (Code::FailedPrecondition, "STREAM_REVISION_CONFLICT"));
        assert_eq!((&*conflict.stream, conflict.expected_revision, conflict.actual_revision), ("b", 0, 1));
        assert_eq!(head(&server), 6);
        let page = server.client().get("/v1/streams/a").json();
        assert_eq!(
            page["events"][0]["metadata"],
            json!({"p": "v", "$schema.name": "Filled", "$schema.format": "Json"})
        );
    });
}

#[test]
fn a_session_tells_why_it_was_refused() {
    let server = start();
    run(async {
        let mut caller = prepared(&server).await;
        let before = head(&server);
        let status = session(&mut caller, vec![]).await.unwrap_err();
        let (reason, _) = detail::<google::ErrorInfo>(&status);
        assert_eq!((status.code(), &*reason), (Code::FailedPrecondition, "APPEND_SESSION_NO_REQUESTS"));

        let twice = vec![request("Loan-1", None, &[1]), request("loan-1", None, &[2])];
        let status = session(&mut caller, twice).await.unwrap_err();
        let (reason, named) = detail::<v2_errors::StreamAlreadyInAppendSessionErrorDetails>(&status);
        assert_eq!((status.code(), &*reason), (Code::Aborted, "STREAM_ALREADY_IN_APPEND_SESSION"));
        assert_eq!(named.stream, "loan-1");

        let status = session(&mut caller, vec![request("x", None, &[9]), request("dead", None, &[9])])
            .await
            .unwrap_err();
        let (reason, dead) = detail::<v2_errors::StreamTombstonedErrorDetails>(&status);
        assert_eq!((status.code(), &*reason), (Code::FailedPrecondition, "STREAM_TOMBSTONED"));
        assert_eq!(dead.stream, "dead");

        let status = session(&mut caller, vec![request("gone", Some(-4), &[9])]).await.unwrap_err();
        let (reason, _) = detail::<v2_errors::StreamDeletedErrorDetails>(&status);
        assert_eq!((status.code(), &*reason), (Code::FailedPrecondition, "STREAM_DELETED"));

        let status = session(&mut caller, vec![request("new", Some(-4), &[9])]).await.unwrap_err();
        let (_, conflict) = detail::<v2_errors::StreamRevisionConflictErrorDetails>(&status);
        assert_eq!((conflict.expected_revision, conflict.actual_revision), (-4, -1));

        for view in ["$ce-loan", "$$$ce-loan"] {
            let status = session(&mut caller, vec![request(view, None, &[9])]).await.unwrap_err();
            let (reason, _) = detail::<rpc::AccessDeniedErrorDetails>(&status);
            assert_eq!((status.code(), &*reason), (Code::PermissionDenied, "ACCESS_DENIED"), "{view}");
        }

        let mut large = request("x", None, &[9]);
        large.records[0].data = vec![b'7'; 16 << 20].into();
        let status = session(&mut caller, vec![large]).await.unwrap_err();
        let (reason, record) = detail::<v2_errors::AppendRecordSizeExceededErrorDetails>(&status);
        assert_eq!((status.code(), &*reason), (Code::InvalidArgument, "APPEND_RECORD_SIZE_EXCEEDED"));
        assert_eq!((&*record.stream, &*record.record_id, record.max_size), ("x", &*id_text(9), 16 << 20));

        let requests = (0..5).map(|number| {
            let mut request = request(&format!("x{number}"), None, &[9]);
            request.records[0].data = vec![b'7'; 14 << 20].into();
            request
        });
        let status = session(&mut caller, requests.collect()).await.unwrap_err();
        let (reason, sum) = detail::<v2_errors::AppendTransactionSizeExceededErrorDetails>(&status);
        assert_eq!((status.code(), &*reason), (Code::Aborted, "APPEND_TRANSACTION_SIZE_EXCEEDED"));
        assert!(sum.size > sum.max_size && sum.max_size == 64 << 20, "{sum:?}");

        for (bad, field) in [
            (request("", None, &[9]), "stream"),
            (request("$$", None, &[9]), "stream"),
            (request("x", Some(-3), &[9]), "expected_revision"),
            (request("x", None, &[]), "records"),
        ] {
            let status = session(&mut caller, vec![bad]).await.unwrap_err();
            let (reason, bad) = detail::<google::BadRequest>(&status);
            assert_eq!((status.code(), &*reason), (Code::InvalidArgument, "BAD_REQUEST"));
            assert_eq!(bad.field_violations[0].field, field);
        }
        let mut nameless = request("x", None, &[9]);
        nameless.records[0].schema = None;
        let status = session(&mut caller, vec![nameless]).await.unwrap_err();
        assert_eq!(detail::<google::BadRequest>(&status).1.field_violations[0].field, "records[0].schema");
        assert_eq!(head(&server), before);
    });
}

#[test]
fn records_of_several_streams_keep_their_order() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let asked = || records(&[("b", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5)], vec![check("c", -1)]);
        let told = append(&mut caller, asked()).await.unwrap();
        assert_eq!(told, (streams(&[("b", 1), ("a", 1), ("c", 0)]), 4));
        assert_eq!(append(&mut caller, asked()).await.unwrap(), told, "a retry");
        let page = server.client().get("/v1/all").json();
        let order: Vec<&str> = page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["stream"].as_str().unwrap())
            .collect();
        assert_eq!(order, ["b", "a", "b", "c", "a"]);
    });
}

#[test]
fn checks_meet_their_table() {
    let server = start();
    run(async {
        let mut caller = prepared(&server).await;
        for (stream, state, actual) in [
            ("live", 2, None),
            ("live", 1, Some(2)),
            ("live", 7, Some(2)),
            ("live", -1, Some(2)),
            ("live", -4, None),
            ("live", -5, Some(2)),
            ("live", -6, Some(2)),
            ("new", 0, Some(-1)),
            ("new", -1, None),
            ("new", -4, Some(-1)),
            ("new", -5, Some(-1)),
            ("new", -6, Some(-1)),
            ("gone", 2, None),
            ("gone", 1, Some(2)),
            ("gone", -1, None),
            ("gone", -4, Some(-5)),
            ("gone", -5, None),
            ("gone", -6, Some(-5)),
            ("dead", 2, Some(-6)),
            ("dead", -1, None),
            ("dead", -4, Some(-6)),
            ("dead", -5, Some(-6)),
            ("dead", -6, None),
        ] {
            static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(100);
            let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let outcome = append(&mut caller, records(&[("other", id)], vec![check(stream, state)])).await;
            match actual {
                None => assert_eq!(outcome.expect(stream).0.len(), 1, "{stream} {state}"),
                Some(actual) => {
                    let violations = violations(&outcome.expect_err(stream));
                    assert_eq!(violations, [(0, stream.to_owned(), state, actual)], "{stream} {state}");
                }
            }
        }
        // A check of a stream that is also written: a deleted one reopens, a tombstoned one stays closed.
        let told = append(&mut caller, records(&[("gone", 50)], vec![check("gone", -5)])).await.unwrap();
        assert_eq!(told.0, streams(&[("gone", 3)]));
        for state in [-1, -6] {
            let status = append(&mut caller, records(&[("dead", 50)], vec![check("dead", state)])).await;
            assert_eq!(violations(&status.unwrap_err()), [(0, "dead".to_owned(), state, -6)]);
        }
    });
}

fn violations(status: &Status) -> Vec<(i32, String, i64, i64)> {
    let (reason, details) = detail::<v2_errors::AppendConsistencyViolationErrorDetails>(status);
    assert_eq!((status.code(), &*reason), (Code::FailedPrecondition, "APPEND_CONSISTENCY_VIOLATION"));
    let of = |violation: v2_errors::ConsistencyViolation| {
        let Some(v2_errors::consistency_violation::Type::StreamState(state)) = violation.r#type else {
            panic!("{violation:?}")
        };
        (violation.check_index, state.stream, state.expected_state, state.actual_state)
    };
    details.violations.into_iter().map(of).collect()
}

#[test]
fn all_failed_checks_are_listed_with_their_index() {
    let server = start();
    run(async {
        let mut caller = prepared(&server).await;
        let before = head(&server);
        let checks = vec![check("new", -4), check("live", 2), check("gone", -4), check("x", -1)];
        let asked = records(&[("dead", 60), ("x", 61), ("live", 62)], checks);
        let told = violations(&append(&mut caller, asked).await.unwrap_err());
        let expected =
            [(0, "new".to_owned(), -4, -1), (2, "gone".to_owned(), -4, -5), (4, "dead".to_owned(), -2, -6)];
        assert_eq!(told, expected);
        assert_eq!(head(&server), before);
        // More of them than a header takes.
        let names: Vec<String> = (0..100).map(|number| format!("{number}-{}", "n".repeat(900))).collect();
        let checks = names.iter().map(|name| check(name, -4)).collect();
        let told = violations(&append(&mut caller, records(&[("x", 63)], checks)).await.unwrap_err());
        assert!(!told.is_empty() && told.len() < 10 && told[0].0 == 0, "{}", told.len());
    });
}

#[test]
fn records_that_make_no_sense_are_refused_by_field() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let broken = ConsistencyCheck { r#type: None };
        for (asked, field) in [
            (records(&[], vec![]), "records"),
            (records(&[("a", 1), ("", 2)], vec![]), "records[1].stream"),
            (records(&[("a", 1)], vec![broken]), "checks[0].type"),
            (records(&[("a", 1)], vec![check("a", -2)]), "checks[0].stream_state.expected_state"),
            (records(&[("a", 1)], vec![check("a", -3)]), "checks[0].stream_state.expected_state"),
            (records(&[("a", 1)], vec![check("$all", -1)]), "checks[0].stream_state.stream"),
            (records(&[("a", 1)], vec![check("b", -1), check("b", -1)]), "checks[1].stream_state.stream"),
        ] {
            let status = append(&mut caller, asked).await.unwrap_err();
            let (reason, bad) = detail::<google::BadRequest>(&status);
            assert_eq!((status.code(), &*reason), (Code::InvalidArgument, "BAD_REQUEST"));
            assert_eq!(bad.field_violations[0].field, field);
        }
        assert_eq!(head(&server), 0);
    });
}
