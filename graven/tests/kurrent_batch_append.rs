//! `BatchAppend` of KurrentDB's clients: many appends over one call, in parts, and one answer for each.

mod kurrent_support;
mod support;

use kurrent_support::*;
use prost::Name;
use std::collections::HashMap;
use streams::batch_append_req::options::{DeadlineOption, ExpectedStreamPosition};
use streams::batch_append_req::{Options, ProposedMessage};
use streams::batch_append_resp::{ExpectedStreamPosition as Echo, Result as Told, success};
use streams::{BatchAppendReq, BatchAppendResp};
use support::run;
use tokio::sync::mpsc::Sender;
use tonic::{Code, Streaming};
use well_known::{Duration, Timestamp};

const ANY: Option<ExpectedStreamPosition> = Some(ExpectedStreamPosition::Any(()));
const NO_STREAM: Option<ExpectedStreamPosition> = Some(ExpectedStreamPosition::NoStream(()));

fn at(revision: u64) -> Option<ExpectedStreamPosition> {
    Some(ExpectedStreamPosition::StreamPosition(revision))
}

fn options(stream: &str, expected: Option<ExpectedStreamPosition>) -> Option<Options> {
    Some(Options {
        stream_identifier: identifier(stream),
        expected_stream_position: expected,
        deadline_option: None,
    })
}

fn event(id: u64, data: &str) -> ProposedMessage {
    ProposedMessage {
        id: uuid(id),
        metadata: event_metadata(),
        custom_metadata: bytes::Bytes::new(),
        data: data.as_bytes().to_vec().into(),
    }
}

/// A part of the append with this correlation id.
fn part(correlation: u64, options: Option<Options>, ids: &[u64], is_final: bool) -> BatchAppendReq {
    BatchAppendReq {
        correlation_id: uuid(correlation),
        options,
        proposed_messages: ids.iter().map(|id| event(*id, "{}")).collect(),
        is_final,
    }
}

struct Call {
    input: Sender<BatchAppendReq>,
    answers: Streaming<BatchAppendResp>,
}

impl Call {
    async fn open(caller: &mut Caller) -> Call {
        let (input, answers) = caller.talk("BatchAppend").await;
        Call { input, answers }
    }

    async fn send(&self, part: BatchAppendReq) {
        soon(self.input.send(part)).await.unwrap();
    }

    /// The next answer: whose it is and what it says.
    async fn next(&mut self) -> (u64, BatchAppendResp) {
        let answer = soon(self.answers.message()).await.unwrap().expect("an answer");
        let Some(shared::uuid::Value::String(text)) =
            answer.correlation_id.as_ref().and_then(|id| id.value.clone())
        else {
            panic!("{answer:?}")
        };
        assert!(answer.stream_identifier.is_some());
        (u64::from_str_radix(&text[24..], 16).unwrap(), answer)
    }

    async fn end(mut self) {
        drop(self.input);
        assert!(soon(self.answers.message()).await.unwrap().is_none());
    }
}

fn revision(answer: &BatchAppendResp) -> u64 {
    match &answer.result {
        Some(Told::Success(success)) => match success.current_revision_option {
            Some(success::CurrentRevisionOption::CurrentRevision(revision)) => revision,
            _ => panic!("{answer:?}"),
        },
        _ => panic!("{answer:?}"),
    }
}

/// Code and detail of an error.
fn error<M: Name + Default>(answer: &BatchAppendResp, code: Code) -> M {
    let Some(Told::Error(status)) = &answer.result else { panic!("{answer:?}") };
    assert_eq!(status.code, code as i32, "{status:?}");
    let [detail] = &status.details[..] else { panic!("{status:?}") };
    assert_eq!(detail.type_url, M::type_url(), "{status:?}");
    M::decode(&detail.value[..]).unwrap()
}

#[test]
fn every_append_gets_its_one_answer() {
    let server = start();
    run(async {
        let mut call = Call::open(&mut Caller::connect(&server).await).await;
        for number in 0..2_000 {
            let expected = if number == 0 { NO_STREAM } else { at(number - 1) };
            call.send(part(number, options("s", expected), &[number], true)).await;
            if number % 100 == 99 {
                for answered in number - 99..=number {
                    let (correlation, answer) = call.next().await;
                    assert_eq!((correlation, revision(&answer)), (answered, answered));
                    let Some(Told::Success(success)) = &answer.result else { panic!("{answer:?}") };
                    let Some(success::PositionOption::Position(position)) = &success.position_option else {
                        panic!("{answer:?}")
                    };
                    assert_eq!((position.commit_position, position.prepare_position), (answered, answered));
                }
            }
        }
        call.end().await;
        assert_eq!(head(&server), 2_000);
    });
}

#[test]
fn parts_of_several_appends_come_among_each_other() {
    let server = start();
    run(async {
        let mut call = Call::open(&mut Caller::connect(&server).await).await;
        call.send(part(1, options("a", NO_STREAM), &[11], false)).await;
        call.send(part(2, options("b", NO_STREAM), &[21], false)).await;
        call.send(part(1, None, &[12], false)).await;
        call.send(part(2, options("b", NO_STREAM), &[22, 23], false)).await;
        call.send(part(2, None, &[], true)).await;
        let (correlation, answer) = call.next().await;
        assert_eq!((correlation, revision(&answer)), (2, 2));
        assert_eq!(answer.stream_identifier, identifier("b"));
        assert_eq!(answer.expected_stream_position, Some(Echo::NoStream(())));
        assert_eq!(head(&server), 3, "an append of which parts are missing has stored nothing");
        call.send(part(1, None, &[13], true)).await;
        let (correlation, answer) = call.next().await;
        assert_eq!((correlation, revision(&answer)), (1, 2));
        call.send(part(1, options("a", at(1)), &[13], true)).await;
        let (correlation, answer) = call.next().await;
        assert_eq!((correlation, revision(&answer)), (1, 2), "a retry, and the id of an append that ended");
        call.end().await;
        assert_eq!(head(&server), 6);
    });
}

#[test]
fn what_is_refused_is_told_apart_and_harms_no_other() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        caller.stored("s", kurrent_support::ANY, &[1, 2]).await;
        let tombstone = streams::tombstone_req::Options {
            stream_identifier: identifier("dead"),
            expected_stream_revision: Some(streams::tombstone_req::options::ExpectedStreamRevision::Any(
                shared::Empty {},
            )),
        };
        let _: streams::TombstoneResp =
            caller.unary("Tombstone", streams::TombstoneReq { options: Some(tombstone) }).await.unwrap();
        let before = head(&server);
        let mut call = Call::open(&mut caller).await;
        let with_deadline = |deadline| {
            options("s", ANY).map(|options| Options { deadline_option: Some(deadline), ..options })
        };
        let over = DeadlineOption::Deadline(Duration { seconds: 0, nanos: 0 });
        let long_ago = DeadlineOption::Deadline21100(Timestamp { seconds: 1_000, nanos: 0 });
        let mut bare = part(10, options("s", ANY), &[31], true);
        bare.proposed_messages[0].metadata.clear();
        let mut large = part(11, options("s", ANY), &[], true);
        large.proposed_messages.push(event(32, &"7".repeat((16 << 20) + 1)));
        for part in [
            part(1, options("s", NO_STREAM), &[30], true),
            part(2, options("s", at(7)), &[30], true),
            part(3, options("dead", ANY), &[30], true),
            part(4, options("dead", ANY), &[], true),
            part(5, with_deadline(over), &[30], true),
            part(6, with_deadline(long_ago), &[30], true),
            part(7, None, &[30], true),
            part(8, options("s", None), &[30], true),
            part(9, options("$ce-loan", ANY), &[30], true),
            bare,
            large,
            part(12, options("", ANY), &[30], true),
            part(14, options("$$$ce-loan", ANY), &[30], true),
        ] {
            call.send(part).await;
        }
        let mut answers = HashMap::new();
        for _ in 0..13 {
            let (correlation, answer) = call.next().await;
            assert!(answers.insert(correlation, answer).is_none(), "two answers for {correlation}");
        }
        use shared::wrong_expected_version::{CurrentStreamRevisionOption, ExpectedStreamPositionOption};
        let wrong: shared::WrongExpectedVersion = error(&answers[&1], Code::AlreadyExists);
        assert_eq!(
            wrong.current_stream_revision_option,
            Some(CurrentStreamRevisionOption::CurrentStreamRevision(1))
        );
        assert_eq!(
            wrong.expected_stream_position_option,
            Some(ExpectedStreamPositionOption::ExpectedNoStream(()))
        );
        let wrong: shared::WrongExpectedVersion = error(&answers[&2], Code::AlreadyExists);
        assert_eq!(
            wrong.expected_stream_position_option,
            Some(ExpectedStreamPositionOption::ExpectedStreamPosition(7))
        );
        for number in [3, 4] {
            let gone: shared::StreamDeleted = error(&answers[&number], Code::NotFound);
            assert_eq!(gone.stream_identifier, identifier("dead"));
        }
        for number in [5, 6] {
            let _: shared::Timeout = error(&answers[&number], Code::DeadlineExceeded);
        }
        for number in [7, 8, 10, 12] {
            let bad: shared::BadRequest = error(&answers[&number], Code::InvalidArgument);
            assert!(!bad.message.is_empty());
        }
        for number in [9, 14] {
            let _: shared::AccessDenied = error(&answers[&number], Code::PermissionDenied);
        }
        let large: shared::MaximumAppendEventSizeExceeded = error(&answers[&11], Code::InvalidArgument);
        assert_eq!((&*large.event_id, large.max_append_event_size), (&*id_text(32), 16 << 20));
        assert_eq!(head(&server), before);
        call.send(part(13, options("s", at(1)), &[40], true)).await;
        assert_eq!(revision(&call.next().await.1), 2);
        call.end().await;
    });
}

#[test]
fn deadlines_no_server_could_keep_are_no_harm() {
    let server = start();
    run(async {
        let mut call = Call::open(&mut Caller::connect(&server).await).await;
        for (number, deadline) in [
            DeadlineOption::Deadline(Duration { seconds: 315_576_000_000, nanos: 0 }),
            DeadlineOption::Deadline(Duration { seconds: i64::MAX, nanos: i32::MAX }),
            DeadlineOption::Deadline(Duration { seconds: 1_764_000_010, nanos: 0 }),
            DeadlineOption::Deadline21100(Timestamp { seconds: i64::MAX, nanos: i32::MAX }),
        ]
        .into_iter()
        .enumerate()
        {
            let number = number as u64;
            let options =
                options("s", ANY).map(|options| Options { deadline_option: Some(deadline), ..options });
            call.send(part(number, options, &[number], true)).await;
            assert_eq!(revision(&call.next().await.1), number);
        }
        call.end().await;
    });
}

#[test]
fn an_append_that_never_gets_its_last_part_is_answered_when_its_time_is_over() {
    let server = start();
    run(async {
        let mut call = Call::open(&mut Caller::connect(&server).await).await;
        let soon_over = DeadlineOption::Deadline(Duration { seconds: 0, nanos: 50_000_000 });
        let short = options("s", ANY).map(|options| Options { deadline_option: Some(soon_over), ..options });
        call.send(part(1, short, &[1], false)).await;
        let (correlation, answer) = call.next().await;
        let _: shared::Timeout = error(&answer, Code::DeadlineExceeded);
        assert_eq!(correlation, 1);
        // What comes of it later is not read, and its id is free again after its last part.
        call.send(part(1, None, &[2], true)).await;
        call.send(part(1, options("s", NO_STREAM), &[3], true)).await;
        let (correlation, answer) = call.next().await;
        assert_eq!((correlation, revision(&answer)), (1, 0));
        call.end().await;
        assert_eq!(head(&server), 1);
    });
}

#[test]
fn a_refused_first_part_takes_the_later_ones_with_it() {
    let server = start();
    run(async {
        let mut call = Call::open(&mut Caller::connect(&server).await).await;
        call.send(part(1, options("$all", ANY), &[1], false)).await;
        call.send(part(1, options("s", ANY), &[2], false)).await;
        call.send(part(1, None, &[3], true)).await;
        call.send(part(2, options("s", ANY), &[4], false)).await;
        call.send(part(2, options("t", ANY), &[5], true)).await;
        call.send(part(3, options("s", NO_STREAM), &[6], true)).await;
        for number in [1, 2] {
            let (correlation, answer) = call.next().await;
            let _: shared::BadRequest = error(&answer, Code::InvalidArgument);
            assert_eq!(correlation, number);
        }
        let (correlation, answer) = call.next().await;
        assert_eq!((correlation, revision(&answer)), (3, 0));
        call.end().await;
        assert_eq!(head(&server), 1);
    });
}

#[test]
fn a_part_of_nobody_knows_which_append_ends_the_call() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        for id in [None, Some(shared::Uuid { value: None })] {
            let mut call = Call::open(&mut caller).await;
            call.send(part(1, options("s", ANY), &[1], true)).await;
            call.send(BatchAppendReq { correlation_id: id, ..part(2, options("s", ANY), &[2], true) }).await;
            assert_eq!(call.next().await.0, 1, "what came before is answered");
            let status = soon(call.answers.message()).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        }
    });
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_from_and_loses_none() {
    let server = start();
    run(async {
        let mut caller = Caller::connect(&server).await;
        let mut call = Call::open(&mut caller).await;
        let input = call.input.clone();
        let data = "7".repeat(2_000);
        let sending = tokio::spawn(async move {
            for number in 0..10_000 {
                let mut part = part(number, options("s", ANY), &[], true);
                part.proposed_messages.push(event(number, &data));
                input.send(part).await.unwrap();
            }
        });
        // Nothing is read until there are more answers than any window takes.
        support::wait_until("much is stored", || (head(&server) >= 2_000).then_some(()));
        for number in 0..10_000 {
            let (correlation, answer) = call.next().await;
            assert_eq!((correlation, revision(&answer)), (number, number));
        }
        soon(sending).await.unwrap();
        call.end().await;
        assert_eq!(head(&server), 10_000);
    });
}
