//! The appends under way, oldest first: which answer belongs to which, and what is sent again on the next session. Pure.

use std::collections::VecDeque;

/// Appends under way.
#[derive(Debug)]
pub(super) struct Line<T> {
    entries: VecDeque<Entry<T>>,
    next: u64,
}

/// One append under way.
#[derive(Debug)]
pub(super) struct Entry<T> {
    /// The number its answer comes back with.
    pub(super) correlation: u64,
    /// What is needed to send it, and who waits for it.
    pub(super) item: T,
    /// It went out on the session of now.
    sent: bool,
    /// It went out on a session that broke: the store may have done it.
    pub(super) lost_before: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { entries: VecDeque::new(), next: 0 }
    }
}

impl<T> Line<T> {
    /// Puts an append at the end. `sent` if it goes out at once.
    pub(super) fn push(&mut self, item: T, sent: bool) -> u64 {
        let correlation = self.next;
        self.next += 1;
        self.entries.push_back(Entry { correlation, item, sent, lost_before: false });
        correlation
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A session begins: everything in the line is to be sent, in this order.
    pub(super) fn begin(&mut self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter_mut().map(|entry| {
            entry.sent = true;
            (entry.correlation, &entry.item)
        })
    }

    /// An answer came. `None` if it answers anything but the oldest append that was sent: answers come in order.
    pub(super) fn answered(&mut self, correlation: u64) -> Option<Entry<T>> {
        let oldest = self.entries.front()?;
        if !oldest.sent || oldest.correlation != correlation {
            return None;
        }
        self.entries.pop_front()
    }

    /// What was answered goes back to the front: it was not done, and is to be sent on another session.
    pub(super) fn put_back(&mut self, mut entry: Entry<T>) {
        entry.sent = false;
        self.entries.push_front(entry);
    }

    /// The session broke: gives back what cannot be sent again, which is what was sent and does not `keep`. The rest
    /// waits for the next session in its order.
    pub(super) fn broke(&mut self, keep: impl Fn(&T) -> bool) -> Vec<Entry<T>> {
        let mut given_up = Vec::new();
        let mut kept = VecDeque::with_capacity(self.entries.len());
        for mut entry in self.entries.drain(..) {
            if entry.sent && !keep(&entry.item) {
                given_up.push(entry);
            } else {
                entry.lost_before |= entry.sent;
                entry.sent = false;
                kept.push_back(entry);
            }
        }
        self.entries = kept;
        given_up
    }

    /// Forgets appends nobody waits for. Only between sessions: a session answers what it was sent.
    pub(super) fn forget(&mut self, unwanted: impl Fn(&T) -> bool) {
        debug_assert!(self.entries.iter().all(|entry| !entry.sent), "a session goes on");
        self.entries.retain(|entry| !unwanted(&entry.item));
    }

    /// Gives back everything.
    pub(super) fn drain(&mut self) -> Vec<Entry<T>> {
        self.entries.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Append { resendable: bool },
        Connect,
        Serve,
        Answer,
        Break,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<bool>().prop_map(|resendable| Step::Append { resendable }),
            2 => Just(Step::Connect),
            3 => Just(Step::Serve),
            3 => Just(Step::Answer),
            1 => Just(Step::Break),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        /// A store that knows an append by its number, as the real one does by its event ids, under sessions that break
        /// at any moment.
        #[test]
        fn every_append_is_answered_once_and_done_once_in_order(steps in steps()) {
            let mut line = Line::default();
            let mut wire: Option<(VecDeque<u64>, VecDeque<u64>)> = None;
            let mut done = Vec::new();
            let mut told = Vec::new();
            let mut given_up = Vec::new();
            let mut count = 0;
            for step in steps.into_iter().chain([Step::Break, Step::Connect]) {
                match step {
                    Step::Append { resendable } => {
                        let number = line.push((count, resendable), wire.is_some());
                        prop_assert_eq!(number, count);
                        count += 1;
                        if let Some((requests, _)) = &mut wire { requests.push_back(number); }
                    }
                    Step::Connect if wire.is_none() => {
                        let requests = line.begin().map(|(number, _)| number).collect();
                        wire = Some((requests, VecDeque::new()));
                    }
                    Step::Serve => {
                        if let Some((requests, answers)) = &mut wire && let Some(number) = requests.pop_front() {
                            if !done.contains(&number) { done.push(number); }
                            answers.push_back(number);
                        }
                    }
                    Step::Answer => {
                        if let Some((_, answers)) = &mut wire && let Some(number) = answers.pop_front() {
                            let entry = line.answered(number).expect("answers come in order");
                            prop_assert_eq!(entry.item.0, number);
                            told.push(number);
                        }
                    }
                    Step::Break => {
                        wire = None;
                        given_up.extend(line.broke(|item| item.1).into_iter().map(|entry| entry.item.0));
                    }
                    Step::Connect => {}
                }
            }
            let (mut requests, mut answers) = wire.expect("the last step connects");
            while let Some(number) = requests.pop_front() {
                if !done.contains(&number) { done.push(number); }
                answers.push_back(number);
            }
            for number in answers {
                line.answered(number).expect("answers come in order");
                told.push(number);
            }
            prop_assert!(line.is_empty());
            prop_assert!(done.is_sorted(), "{done:?}");
            prop_assert!(told.iter().all(|number| done.contains(number)));
            told.extend(given_up);
            told.sort_unstable();
            prop_assert!(told.into_iter().eq(0..count));
        }
    }

    #[test]
    fn an_answer_out_of_order_is_noticed() {
        let mut line = Line::default();
        line.push((), true);
        line.push((), true);
        assert!(line.answered(1).is_none());
        assert!(line.answered(0).is_some());
        assert!(line.answered(7).is_none());
    }

    #[test]
    fn what_was_refused_goes_out_again_before_the_others() {
        let mut line = Line::default();
        for number in 0..3 {
            line.push(number, true);
        }
        let refused = line.answered(0).expect("answers come in order");
        line.put_back(refused);
        assert!(line.broke(|_| true).is_empty());
        assert!(line.begin().map(|(_, item)| *item).eq(0..3));
        assert!(
            !line.answered(0).expect("it is the oldest").lost_before,
            "it is certain that it was not done"
        );
        assert!(line.answered(1).expect("it comes next").lost_before);
    }

    #[test]
    fn an_append_that_never_went_out_is_not_called_lost() {
        let mut line = Line::default();
        line.push("waiting", false);
        assert!(line.broke(|_| false).is_empty());
        assert!(!line.drain().remove(0).lost_before);
    }
}
