use super::*;

fn failed(stream: &str, expected: Expected, actual: StreamState) -> FailedCheck {
    let stream = StreamName::new(stream).unwrap();
    FailedCheck { stream, expected, actual, partial_retry: None, unseen: Vec::new() }
}

#[test]
fn a_state_that_was_not_expected_is_told_as_a_number() {
    let three = Revision(3);
    let at = Expected::Revision(Revision(7));
    for (expected, actual, told) in [
        (at, StreamState::At(three), 3),
        (at, StreamState::NoStream, -1),
        (at, StreamState::SoftDeleted(three), 3),
        (at, StreamState::Tombstoned, -6),
        (Expected::NoStream, StreamState::At(three), 3),
        (Expected::NoStream, StreamState::Tombstoned, -6),
        (Expected::Any, StreamState::Tombstoned, -6),
        (Expected::Exists, StreamState::NoStream, -1),
        (Expected::Exists, StreamState::SoftDeleted(three), -5),
        (Expected::Exists, StreamState::Tombstoned, -6),
        (Expected::Deleted, StreamState::At(three), 3),
        (Expected::Deleted, StreamState::NoStream, -1),
        (Expected::Deleted, StreamState::Tombstoned, -6),
        (Expected::Tombstoned, StreamState::At(three), 3),
        (Expected::Tombstoned, StreamState::NoStream, -1),
        (Expected::Tombstoned, StreamState::SoftDeleted(three), -5),
    ] {
        assert_eq!(actual_state(&failed("s", expected, actual)), told, "{expected:?} {actual:?}");
    }
}
