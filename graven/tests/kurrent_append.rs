//! `Append`, `Delete` and `Tombstone` of KurrentDB's clients: every outcome, and what is malformed.

mod kurrent_support;
mod support;

use kurrent_support::*;
use serde_json::json;

use streams::append_req::{self, Content, options::ExpectedStreamRevision};
use streams::append_resp::{self, wrong_expected_version as wrong};
use streams::{
    AppendReq, AppendResp, DeleteReq, DeleteResp, TombstoneReq, TombstoneResp, delete_req, tombstone_req,
};
use support::run;
use tonic::{Code, Status};

async fn delete(caller: &mut Caller, stream: &str, expected: ExpectedStreamRevision) -> Result<u64, Status> {
    use delete_req::options::ExpectedStreamRevision as Wire;
    let expected = match expected {
        ExpectedStreamRevision::Revision(revision) => Wire::Revision(revision),
        ExpectedStreamRevision::NoStream(empty) => Wire::NoStream(empty),
        ExpectedStreamRevision::Any(empty) => Wire::Any(empty),
        ExpectedStreamRevision::StreamExists(empty) => Wire::StreamExists(empty),
    };
    let options = delete_req::Options {
        stream_identifier: identifier(stream),
        expected_stream_revision: Some(expected),
    };
    let answer: DeleteResp = caller.unary("Delete", DeleteReq { options: Some(options) }).await?;
    let Some(streams::delete_resp::PositionOption::Position(position)) = answer.position_option else {
        panic!("{answer:?}")
    };
    Ok(position.commit_position)
}

async fn tombstone(
    caller: &mut Caller,
    stream: &str,
    expected: ExpectedStreamRevision,
) -> Result<u64, Status> {
    use tombstone_req::options::ExpectedStreamRevision as Wire;
    let expected = match expected {
        ExpectedStreamRevision::Revision(revision) => Wire::Revision(revision),
        ExpectedStreamRevision::NoStream(empty) => Wire::NoStream(empty),
        ExpectedStreamRevision::Any(empty) => Wire::Any(empty),
        ExpectedStreamRevision::StreamExists(empty) => Wire::StreamExists(empty),
    };
    let options = tombstone_req::Options {
        stream_identifier: identifier(stream),
        expected_stream_revision: Some(expected),
    };
    let answer: TombstoneResp = caller.unary("Tombstone", TombstoneReq { options: Some(options) }).await?;
    let Some(streams::tombstone_resp::PositionOption::Position(position)) = answer.position_option else {
        panic!("{answer:?}")
    };
    Ok(position.commit_position)
}

/// What an append is told: its revision, that the stream is at this one, or an error.
#[derive(Debug, PartialEq)]
enum Told {
    Stored(u64),
    At(u64),
    NoStream,
    Deleted,
}

async fn told(caller: &mut Caller, stream: &str, expected: ExpectedStreamRevision, ids: &[u64]) -> Told {
    match caller.append(stream, expected, ids).await {
        Ok(append_resp::Result::Success(success)) => Told::Stored(place(&success).0.unwrap()),
        Ok(append_resp::Result::WrongExpectedVersion(conflict)) => {
            check_both_generations(&conflict, expected);
            match conflict.current_revision_option {
                Some(wrong::CurrentRevisionOption::CurrentRevision(revision)) => Told::At(revision),
                _ => Told::NoStream,
            }
        }
        Err(status) => {
            let trailers = [("exception", "stream-deleted"), ("stream-name", stream)];
            let status = assert_refused(Err::<(), _>(status), Code::FailedPrecondition, &trailers);
            assert_eq!(status.message(), format!("Event stream '{stream}' is deleted."));
            Told::Deleted
        }
    }
}

/// A conflict is told twice, in the fields of old clients and of new ones.
fn check_both_generations(conflict: &append_resp::WrongExpectedVersion, expected: ExpectedStreamRevision) {
    let (then, now) = match expected {
        ExpectedStreamRevision::Any(empty) => (
            wrong::ExpectedRevisionOption2060::Any2060(empty),
            wrong::ExpectedRevisionOption::ExpectedAny(empty),
        ),
        ExpectedStreamRevision::StreamExists(empty) => (
            wrong::ExpectedRevisionOption2060::StreamExists2060(empty),
            wrong::ExpectedRevisionOption::ExpectedStreamExists(empty),
        ),
        ExpectedStreamRevision::NoStream(empty) => (
            wrong::ExpectedRevisionOption2060::ExpectedRevision2060(u64::MAX),
            wrong::ExpectedRevisionOption::ExpectedNoStream(empty),
        ),
        ExpectedStreamRevision::Revision(revision) => (
            wrong::ExpectedRevisionOption2060::ExpectedRevision2060(revision),
            wrong::ExpectedRevisionOption::ExpectedRevision(revision),
        ),
    };
    assert_eq!(conflict.expected_revision_option_20_6_0, Some(then));
    assert_eq!(conflict.expected_revision_option, Some(now));
    let then = match conflict.current_revision_option {
        Some(wrong::CurrentRevisionOption::CurrentRevision(revision)) => {
            wrong::CurrentRevisionOption2060::CurrentRevision2060(revision)
        }
        Some(wrong::CurrentRevisionOption::CurrentNoStream(empty)) => {
            wrong::CurrentRevisionOption2060::NoStream2060(empty)
        }
        None => panic!("{conflict:?}"),
    };
    assert_eq!(conflict.current_revision_option_20_6_0, Some(then));
}

#[test]
fn an_append_meets_the_table_of_expected_versions() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let caller = &mut caller;
        assert_eq!(caller.stored("live", NO_STREAM, &[1, 2, 3]).await, (Some(2), Some(2)));
        caller.stored("gone", ANY, &[1, 2, 3]).await;
        delete(caller, "gone", at(2)).await.unwrap();
        caller.stored("dead", ANY, &[1]).await;
        tombstone(caller, "dead", ANY).await.unwrap();
        let before = head(&server);
        for (stream, expected, ids, outcome) in [
            ("new", EXISTS, &[11][..], Told::NoStream),
            ("new", at(0), &[11], Told::NoStream),
            ("live", NO_STREAM, &[11], Told::At(2)),
            ("live", at(1), &[11], Told::At(2)),
            ("live", at(3), &[11], Told::At(2)),
            ("live", ANY, &[3, 11], Told::At(2)),
            ("live", at(0), &[2, 11], Told::At(2)),
            ("gone", EXISTS, &[11], Told::Deleted),
            ("gone", at(1), &[11], Told::At(2)),
            ("dead", ANY, &[11], Told::Deleted),
            ("dead", NO_STREAM, &[11], Told::Deleted),
            ("dead", EXISTS, &[11], Told::Deleted),
            ("dead", at(0), &[11], Told::Deleted),
            // Done before: nothing is stored again.
            ("live", ANY, &[2, 3], Told::Stored(2)),
            ("live", EXISTS, &[1], Told::Stored(0)),
            ("live", NO_STREAM, &[1, 2], Told::Stored(1)),
            ("live", at(0), &[2, 3], Told::Stored(2)),
            ("gone", NO_STREAM, &[1, 2, 3], Told::Stored(2)),
        ] {
            assert_eq!(told(caller, stream, expected, ids).await, outcome, "{stream} {expected:?} {ids:?}");
        }
        assert_eq!(head(&server), before);
        for (stream, expected, id, revision) in [
            ("live", at(2), 21, 3),
            ("live", EXISTS, 22, 4),
            ("live", ANY, 23, 5),
            ("gone", at(2), 21, 3),
            ("new", at(u64::MAX), 21, 0),
        ] {
            assert_eq!(told(caller, stream, expected, &[id]).await, Told::Stored(revision), "{stream}");
        }
        // With the revision the stream is at, nothing is looked up: the ids are appended again.
        assert_eq!(told(caller, "live", at(5), &[23]).await, Told::Stored(6));
    });
}

#[test]
fn an_append_of_nothing_says_where_the_stream_is() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        assert_eq!(caller.stored("new", NO_STREAM, &[]).await, (None, None));
        caller.stored("live", ANY, &[1, 2]).await;
        assert_eq!(caller.stored("live", at(1), &[]).await, (Some(1), None));
        assert_eq!(told(&mut caller, "live", at(7), &[]).await, Told::At(1));
        tombstone(&mut caller, "live", ANY).await.unwrap();
        assert_eq!(told(&mut caller, "live", ANY, &[]).await, Told::Deleted);
        assert_eq!(head(&server), 3);
    });
}

#[test]
fn what_is_appended_is_there_for_everybody() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let binary = append_req::ProposedMessage {
            id: Some(shared::Uuid {
                value: Some(shared::uuid::Value::Structured(shared::uuid::Structured {
                    most_significant_bits: 0x0102_0304_0506_4708,
                    least_significant_bits: i64::from_be_bytes([0x89, 10, 11, 12, 13, 14, 15, 16]),
                })),
            }),
            metadata: [("type", "Bytes"), ("content-type", "text/plain")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            data: vec![0, 255].into(),
            ..append_req::ProposedMessage::default()
        };
        let messages = vec![
            options("größe-1", Some(NO_STREAM)),
            proposed(1, "{\"a\":1}"),
            AppendReq { content: Some(Content::ProposedMessage(binary)) },
            proposed(3, "announced as JSON"),
        ];
        let _: AppendResp = caller.say("Append", messages).await.unwrap();
        let page = server.client().get("/v1/streams/gr%C3%B6%C3%9Fe-1").json();
        let events = page["events"].as_array().unwrap();
        assert_eq!(events[0]["id"], id_text(1));
        assert_eq!((&events[0]["data"], &events[0]["metadata"]), (&json!({"a": 1}), &json!({"m": 1})));
        assert_eq!(events[1]["id"], "01020304-0506-4708-890a-0b0c0d0e0f10");
        assert_eq!(events[1]["content_type"], "application/octet-stream");
        assert_eq!((&events[1]["data_base64"], &events[1]["type"]), (&json!("AP8="), &json!("Bytes")));
        assert_eq!(events[2]["content_type"], "application/x-malformed-json");
    });
}

#[test]
fn a_deletion_hides_and_a_tombstone_ends() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let caller = &mut caller;
        for (expected, number) in [(ANY, "-2"), (EXISTS, "-4"), (at(3), "3")] {
            let status = assert_refused(
                delete(caller, "new", expected).await,
                Code::FailedPrecondition,
                &[
                    ("exception", "wrong-expected-version"),
                    ("stream-name", "new"),
                    ("expected-version", number),
                    ("actual-version", "-1"),
                ],
            );
            assert_eq!(
                status.message(),
                format!(
                    "Delete failed due to WrongExpectedVersion. \
                     Stream: new, Expected version: {number}, Actual version: -1"
                )
            );
        }
        caller.stored("s", ANY, &[1, 2]).await;
        assert_refused(
            delete(caller, "s", at(0)).await,
            Code::FailedPrecondition,
            &[
                ("exception", "wrong-expected-version"),
                ("stream-name", "s"),
                ("expected-version", "0"),
                ("actual-version", "1"),
            ],
        );
        assert_eq!(delete(caller, "s", at(1)).await.unwrap(), 2);
        assert_eq!(caller.stored("s", NO_STREAM, &[3]).await.0, Some(2));
        let last = head(&server);
        assert_eq!(tombstone(caller, "s", EXISTS).await.unwrap(), last);
        let gone = [("exception", "stream-deleted"), ("stream-name", "s")];
        assert_refused(tombstone(caller, "s", ANY).await, Code::FailedPrecondition, &gone);
        assert_refused(delete(caller, "s", ANY).await, Code::FailedPrecondition, &gone);
        assert_refused(
            tombstone(caller, "new", at(0)).await,
            Code::FailedPrecondition,
            &[
                ("exception", "wrong-expected-version"),
                ("stream-name", "new"),
                ("expected-version", "0"),
                ("actual-version", "-1"),
            ],
        );
        tombstone(caller, "never-1", NO_STREAM).await.unwrap();
        tombstone(caller, "never-2", ANY).await.unwrap();
        let name = "größe";
        caller.stored(name, ANY, &[1]).await;
        tombstone(caller, name, ANY).await.unwrap();
        let escaped = [("exception", "stream-deleted"), ("stream-name", "gr%C3%B6%C3%9Fe")];
        let status = assert_refused(delete(caller, name, ANY).await, Code::FailedPrecondition, &escaped);
        assert_eq!(status.message(), "Event stream 'größe' is deleted.");
    });
}

#[test]
fn what_is_malformed_is_refused_and_leaves_nothing() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let with = |change: fn(&mut append_req::ProposedMessage)| {
            let mut request = proposed(1, "{}");
            let Some(Content::ProposedMessage(message)) = &mut request.content else { panic!("an event") };
            change(message);
            vec![options("s", Some(ANY)), request]
        };
        let unread = |content| AppendReq { content };
        let nameless = append_req::Options { stream_identifier: None, expected_stream_revision: Some(ANY) };
        let cases: Vec<(&str, Vec<AppendReq>)> = vec![
            ("no message", vec![]),
            ("no options", vec![proposed(1, "{}")]),
            ("nothing in the first message", vec![unread(None)]),
            ("nothing in the second", vec![options("s", Some(ANY)), unread(None)]),
            ("options twice", vec![options("s", Some(ANY)), options("s", Some(ANY))]),
            ("no expectation", vec![options("s", None), proposed(1, "{}")]),
            ("no revision there is", vec![options("s", Some(at(u64::MAX - 7))), proposed(1, "{}")]),
            ("no stream", vec![unread(Some(Content::Options(nameless))), proposed(1, "{}")]),
            ("an empty name", vec![options("", Some(ANY)), proposed(1, "{}")]),
            ("a reserved name", vec![options("$all", Some(ANY)), proposed(1, "{}")]),
            ("a long name", vec![options(&"n".repeat(1025), Some(ANY)), proposed(1, "{}")]),
            ("the store's own stream", vec![options("$audit", Some(ANY)), proposed(1, "{}")]),
            ("no id", with(|message| message.id = None)),
            ("an empty id", with(|message| message.id = Some(shared::Uuid { value: None }))),
            (
                "half an id",
                with(|message| {
                    message.id = Some(shared::Uuid {
                        value: Some(shared::uuid::Value::String("0192f0c1".to_owned())),
                    });
                }),
            ),
            (
                "an empty type",
                with(|message| {
                    message.metadata.insert("type".to_owned(), String::new());
                }),
            ),
            ("metadata of a stream that is no object", vec![options("$$s", Some(ANY)), proposed(1, "{}")]),
        ];
        for (what, messages) in cases {
            let outcome: Result<AppendResp, Status> = caller.say("Append", messages).await;
            let status = outcome.expect_err(what);
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        }
        for missing in ["type", "content-type"] {
            let mut messages = with(|_| {});
            let Some(Content::ProposedMessage(message)) = &mut messages[1].content else {
                panic!("an event")
            };
            message.metadata.remove(missing);
            let outcome: Result<AppendResp, Status> = caller.say("Append", messages).await;
            let trailers = [
                ("exception", "missing-required-metadata-property"),
                ("required-metadata-properties", "type,content-type"),
            ];
            assert_refused(outcome, Code::InvalidArgument, &trailers);
        }
        for view in ["$ce-loan", "$et-Opened", "$streams", "$$$ce-loan", "$$$streams"] {
            let outcome = caller.append(view, ANY, &[1]).await;
            assert_refused(outcome, Code::PermissionDenied, &[("exception", "access-denied")]);
        }
        for request in
            [DeleteReq { options: None }, DeleteReq { options: Some(delete_req::Options::default()) }]
        {
            let outcome: Result<DeleteResp, Status> = caller.unary("Delete", request).await;
            assert_eq!(outcome.unwrap_err().code(), Code::InvalidArgument);
        }
        let outcome: Result<TombstoneResp, Status> =
            caller.unary("Tombstone", TombstoneReq { options: None }).await;
        assert_eq!(outcome.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(head(&server), 0);
        let metrics = server.client().get("/metrics").text().to_owned();
        assert!(metrics.contains("route=\"/event_store.client.streams.Streams/Append\""), "{metrics}");
        assert!(!metrics.contains("loan"), "{metrics}");
    });
}

#[test]
fn what_is_too_large_is_refused_with_its_bounds() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let size = (16 << 20) + 1;
        let messages = vec![options("s", Some(ANY)), proposed(5, &"7".repeat(size - 7))];
        let outcome: Result<AppendResp, Status> = caller.say("Append", messages).await;
        assert_refused(
            outcome,
            Code::InvalidArgument,
            &[
                ("exception", "maximum-append-event-size-exceeded"),
                ("event-id", &id_text(5)),
                ("maximum-append-event-size", "16777216"),
                ("proposed-append-event-size", &size.to_string()),
            ],
        );
        let large = "7".repeat(14 << 20);
        let mut messages = vec![options("s", Some(ANY))];
        messages.extend((0..5).map(|id| proposed(id, &large)));
        let outcome: Result<AppendResp, Status> = caller.say("Append", messages).await;
        let trailers = [("exception", "maximum-append-size-exceeded"), ("maximum-append-size", "67108864")];
        assert_refused(outcome, Code::InvalidArgument, &trailers);
        assert_eq!(head(&server), 0);
        assert_eq!(caller.stored("s", NO_STREAM, &[1]).await, (Some(0), Some(0)));
    });
}

#[test]
fn metadata_of_a_stream_is_an_append_like_another() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        caller.stored("s", ANY, &[1, 2, 3]).await;
        let described = |expected, text: &str| {
            let mut event = proposed(9, text);
            let Some(Content::ProposedMessage(message)) = &mut event.content else { panic!("an event") };
            message.metadata.insert("type".to_owned(), "$metadata".to_owned());
            vec![options("$$s", Some(expected)), event]
        };
        let answer: AppendResp =
            caller.say("Append", described(NO_STREAM, "{\"$maxCount\":1}")).await.unwrap();
        let Some(append_resp::Result::Success(success)) = answer.result else { panic!("{answer:?}") };
        assert_eq!(place(&success).0, Some(0));
        let page = server.client().get("/v1/streams/s").json();
        assert_eq!(page["events"].as_array().unwrap().len(), 1);
        let answer: AppendResp = caller.say("Append", described(at(4), "{\"$maxCount\":2}")).await.unwrap();
        assert!(matches!(answer.result, Some(append_resp::Result::WrongExpectedVersion(_))), "{answer:?}");
    });
}
