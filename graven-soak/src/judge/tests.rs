//! A true history is acquitted, and every lie planted in it is found.

use super::*;
use crate::history::Logged;
use graven_model::Revision;

fn logged(op: OpId, index: u32, stream: StreamNo, revision: u64, tag: u32) -> Logged {
    Logged { op, index, stream, revision, tag, committed_at: 5 }
}

fn append(
    op: OpId,
    start: Nanos,
    end: Nanos,
    streams: &[(StreamNo, Expected, u32)],
    outcome: Outcome,
) -> Append {
    Append { op, start, end, streams: streams.to_vec(), condition: None, outcome }
}

fn done(first: u64, last: u64) -> Outcome {
    Outcome::Done { first: Position(first), last: Position(last) }
}

/// Two streams, four appends one after the other, one refused, one of unknown outcome that is there, one that is not.
fn history() -> History {
    let revision = |at| Expected::Revision(Revision(at));
    let mut conditional = append(4, 70, 80, &[(1, Expected::Any, 1)], done(5, 5));
    conditional.condition = Some((9, Some(Position(3))));
    let mut condition_failed =
        append(7, 90, 95, &[(1, Expected::Any, 1)], Outcome::ConditionFailed(Position(3)));
    condition_failed.condition = Some((9, None));
    let appends = [
        append(1, 0, 10, &[(0, Expected::NoStream, 2)], done(0, 1)),
        append(2, 20, 30, &[(0, revision(1), 1), (1, Expected::NoStream, 1)], done(2, 3)),
        append(3, 40, 60, &[(0, revision(2), 1)], Outcome::Unknown),
        conditional,
        append(5, 40, 50, &[(0, revision(1), 1)], Outcome::WrongRevision(0, Some(Revision(2)))),
        append(6, 85, 90, &[(0, Expected::Any, 1)], Outcome::Unknown),
        condition_failed,
    ];
    History {
        appends: appends.into_iter().map(|append| (append.op, append)).collect(),
        reads: vec![
            Read { start: 35, stream: Some(0), from: 1, to_the_end: true, positions: vec![1, 2] },
            Read { start: 35, stream: None, from: 0, to_the_end: true, positions: vec![0, 1, 2, 3] },
        ],
        follows: vec![
            Follow { tag: None, positions: vec![0, 1, 2], complete: false },
            Follow { tag: Some(9), positions: vec![3], complete: true },
        ],
        log: vec![
            logged(1, 0, 0, 0, 8),
            logged(1, 1, 0, 1, 8),
            logged(2, 0, 0, 2, 8),
            logged(2, 1, 1, 0, 9),
            logged(3, 0, 0, 3, 8),
            logged(4, 0, 1, 1, 8),
        ],
    }
}

#[test]
fn a_true_history_is_acquitted() {
    assert_eq!(judge(&history()), Vec::<String>::new());
}

#[track_caller]
fn found(kind: &str, lie: impl FnOnce(&mut History)) {
    let mut history = history();
    lie(&mut history);
    let findings = judge(&history);
    assert!(findings.iter().any(|finding| finding.starts_with(kind)), "{kind} not in {findings:?}");
}

#[test]
fn a_lost_acknowledged_append_is_found() {
    found("acknowledged", |history| {
        history.log.pop();
    });
}

#[test]
fn a_half_stored_append_is_found() {
    found("atomicity", |history| history.appends.get_mut(&3).unwrap().streams[0].2 = 2);
}

#[test]
fn an_append_that_stands_before_what_it_came_after_is_found() {
    found("real time", |history| {
        history.log.swap(4, 5);
        history.appends.get_mut(&3).unwrap().outcome = done(5, 5);
        history.appends.get_mut(&4).unwrap().outcome = done(4, 4);
    });
}

#[test]
fn a_refused_append_that_is_there_is_found() {
    found("acknowledged", |history| {
        history.appends.get_mut(&3).unwrap().outcome = Outcome::Refused(graven_model::Code::Overloaded)
    });
}

#[test]
fn a_wrongly_accepted_revision_or_condition_is_found() {
    found("decisions", |history| {
        history.appends.get_mut(&2).unwrap().streams[0].1 = Expected::Revision(Revision(0))
    });
    found("decisions", |history| {
        history.appends.get_mut(&4).unwrap().condition = Some((9, Some(Position(2))))
    });
    found("decisions", |history| {
        history.appends.get_mut(&4).unwrap().streams.push((0, Expected::NoStream, 0))
    });
}

#[test]
fn a_refusal_for_what_never_was_is_found() {
    let refuse = |actual| {
        move |history: &mut History| {
            history.appends.get_mut(&5).unwrap().outcome = Outcome::WrongRevision(0, actual);
        }
    };
    found("decisions", refuse(Some(Revision(7))));
    found("decisions", refuse(Some(Revision(0))));
    found("decisions", refuse(Some(Revision(1))));
    found("decisions", |history| {
        history.appends.get_mut(&7).unwrap().outcome = Outcome::ConditionFailed(Position(2))
    });
}

#[test]
fn a_gap_or_a_repetition_in_the_log_is_found() {
    found("log", |history| history.log[2].revision = 3);
    found("log", |history| history.log[1].index = 0);
    found("log", |history| history.log[5].committed_at = 1);
}

#[test]
fn a_read_that_misses_or_invents_is_found() {
    found("reads", |history| history.reads[0].positions = vec![1]);
    found("reads", |history| history.reads[1].positions = vec![0, 2, 3]);
    found("reads", |history| history.reads[1].positions.push(7));
}

#[test]
fn a_follower_with_a_gap_or_a_repetition_is_found() {
    found("follows", |history| history.follows[0].positions = vec![0, 2]);
    found("follows", |history| history.follows[0].positions = vec![0, 0, 1]);
    found("follows", |history| history.follows[1].positions = vec![3, 5]);
    found("follows", |history| history.follows[0].complete = true);
}
