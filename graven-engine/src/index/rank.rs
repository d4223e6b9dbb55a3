//! Places in the list of one term: how many candidates come before a position, and which one has so many before it.
//!
//! A candidate's number is its place among all events with the term's key, in the order of the log. The log decides what
//! they are, so the numbers are the same after every restart, merge and rebuilding; a name that shares its key with another
//! one shares the numbers, too.

use super::{Index, Term};
use graven_model::Direction;
use std::ops::ControlFlow;

impl Index {
    /// How many candidates of a term stand below a position, which is at most the watermark. Looks up one list a part.
    pub(crate) fn rank(&self, term: Term, below: u64) -> u64 {
        let (terms, key) = term.parts();
        let mut rank = 0;
        self.shared.set().visit(Direction::Forward, |view| {
            if view.base() >= below {
                return ControlFlow::Break(());
            }
            let list = view.list(terms, key);
            rank +=
                u64::from(if view.end() <= below { list.len() } else { list.count_below(view.limit(below)) });
            ControlFlow::Continue(())
        });
        rank
    }

    /// Position of the candidate that `number` others come before, if it stands below the watermark. Looks up one list a
    /// part.
    pub(crate) fn nth(&self, term: Term, number: u64, below: u64) -> Option<u64> {
        let (terms, key) = term.parts();
        let (mut before, mut found) = (0, None);
        self.shared.set().visit(Direction::Forward, |view| {
            if view.base() >= below {
                return ControlFlow::Break(());
            }
            let list = view.list(terms, key);
            let length = u64::from(list.len());
            if number - before >= length {
                before += length;
                return ControlFlow::Continue(());
            }
            found = list
                .nth((number - before) as u32)
                .filter(|position| *position < view.limit(below))
                .map(|position| view.base() + u64::from(position));
            ControlFlow::Break(())
        });
        found
    }
}
