//! What a failed attempt at an append means: try again, or tell the caller. Pure.
//!
//! An append whose answer was lost may have been done. It is sent again only because the store knows its event ids: it
//! does the append once, and answers with the receipt of back then.

use graven_model::{Code, Error};

/// What to do after a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again after a pause. `lost`: the store may have done it.
    Again {
        /// An attempt so far may have been done.
        lost: bool,
    },
    /// It is settled.
    Final(Error),
}

/// Judges the error of an attempt. `resendable`: the append has event ids to be known by. `lost`: an earlier attempt may
/// have been done.
pub(super) fn judge(error: Error, resendable: bool, lost: bool) -> Verdict {
    let entry = error.code.entry();
    let outcome_unknown = error.code == Code::OutcomeUnknown || (entry.retryable && !entry.no_side_effects);
    if outcome_unknown {
        return if resendable { Verdict::Again { lost: true } } else { Verdict::Final(error) };
    }
    // A store that only reads cannot say what became of the attempt before; the one that is started next can.
    if entry.retryable || (lost && error.code == Code::Poisoned) {
        return Verdict::Again { lost };
    }
    Verdict::Final(error)
}

/// What to tell of the error of an attempt that is not followed by another. A refusal that leaves open what became of an
/// earlier attempt is an unknown outcome.
pub(super) fn told(error: Error, lost: bool) -> Error {
    let settled = !matches!(judge(error.clone(), true, lost), Verdict::Again { lost: true });
    if settled || !error.code.entry().no_side_effects {
        return error;
    }
    Error::new(Code::OutcomeUnknown, "the answer to the append was lost, and asking again did not tell")
        .found(error.to_string())
}

/// The error when the time is up: `last` is what the last attempt failed with, if any did; `lost`: the append may have
/// been done.
pub(super) fn out_of_time(after: std::time::Duration, last: Option<Error>, lost: bool) -> Error {
    match last {
        Some(error) if !lost => error,
        last => {
            let error =
                Error::new(Code::Timeout, format!("no answer to the append within {} ms", after.as_millis()));
            match last {
                Some(last) => error.found(last.to_string()),
                None => error,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn judged(code: Code, resendable: bool, lost: bool) -> Verdict {
        judge(Error::new(code, "x"), resendable, lost)
    }

    #[test]
    fn an_unknown_outcome_is_resolved_by_sending_the_same_ids_again() {
        for code in [Code::OutcomeUnknown, Code::ConnectionFailed, Code::Timeout] {
            assert_eq!(judged(code, true, false), Verdict::Again { lost: true }, "{code}");
        }
    }

    #[test]
    fn an_append_without_events_is_not_sent_again_blindly() {
        for code in [Code::OutcomeUnknown, Code::ConnectionFailed, Code::Timeout] {
            assert!(matches!(judged(code, false, false), Verdict::Final(_)), "{code}");
        }
        assert_eq!(judged(Code::Overloaded, false, false), Verdict::Again { lost: false });
    }

    #[test]
    fn a_refusal_that_may_pass_is_tried_again_and_remembers_what_was_lost() {
        for code in [Code::Overloaded, Code::Unavailable, Code::DiskFull, Code::Closed] {
            for lost in [false, true] {
                assert_eq!(judged(code, true, lost), Verdict::Again { lost }, "{code}");
            }
        }
    }

    #[test]
    fn a_judged_refusal_is_final() {
        for code in Code::ALL.iter().copied().filter(|code| (1000..1400).contains(&code.entry().number)) {
            assert!(matches!(judged(code, true, true), Verdict::Final(_)), "{code}");
        }
    }

    #[test]
    fn a_store_that_only_reads_is_asked_again_only_about_an_append_that_may_be_there() {
        assert!(matches!(judged(Code::Poisoned, true, false), Verdict::Final(_)));
        assert_eq!(judged(Code::Poisoned, true, true), Verdict::Again { lost: true });
    }

    #[test]
    fn a_refusal_after_a_lost_answer_is_told_as_unknown_unless_it_settles_the_matter() {
        let told_code = |code, lost| told(Error::new(code, "x"), lost).code;
        assert_eq!(told_code(Code::Overloaded, false), Code::Overloaded);
        assert_eq!(told_code(Code::Overloaded, true), Code::OutcomeUnknown);
        assert_eq!(told_code(Code::Poisoned, true), Code::OutcomeUnknown);
        assert_eq!(told_code(Code::ConnectionFailed, true), Code::ConnectionFailed);
        assert_eq!(told_code(Code::WrongExpectedRevision, true), Code::WrongExpectedRevision);
    }

    #[test]
    fn when_time_is_up_only_a_certain_refusal_is_told_as_one() {
        let refusal = Error::new(Code::DiskFull, "full");
        let after = Duration::from_secs(1);
        assert_eq!(out_of_time(after, Some(refusal.clone()), false), refusal);
        assert_eq!(out_of_time(after, Some(refusal), true).code, Code::Timeout);
        assert_eq!(out_of_time(after, None, true).code, Code::Timeout);
    }
}
