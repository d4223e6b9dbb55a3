//! A follower over a connection that breaks at any step delivers what an unbroken one does.

use super::*;
use graven_model::{EventId, Kind, NewEvent, Selector, StoredEvent, StreamName, Timestamp};
use proptest::prelude::*;

/// A log of events in stream `s` (true) and another one.
fn log(of: &[bool]) -> Vec<StoredEvent> {
    let mut revisions = [0, 0];
    of.iter()
        .enumerate()
        .map(|(position, ours)| {
            let revision = &mut revisions[usize::from(*ours)];
            let event = StoredEvent {
                position: Position(position as u64),
                stream: StreamName::new(if *ours { "s" } else { "t" }).unwrap(),
                revision: Revision(*revision),
                committed_at: Timestamp::from_micros(position as i64),
                kind: Kind::Event,
                erased: false,
                event: NewEvent::json(EventId::default(), "T", ""),
            };
            *revision += 1;
            event
        })
        .collect()
}

/// What a server does with a follower: `next` and the least revision, as the engine keeps them.
struct Server<'a> {
    log: &'a [StoredEvent],
    selector: Selector,
    next: u64,
    min_revision: u64,
    caught_up: bool,
}

impl<'a> Server<'a> {
    fn open(log: &'a [StoredEvent], head: u64, request: &FollowRequest) -> Server<'a> {
        let ours = |event: &&StoredEvent| event.stream.as_str() == "s";
        let (next, min_revision) = match request.after {
            Start::Start => (0, 0),
            Start::End => (head, 0),
            Start::Position(position) => (position.0 + 1, 0),
            Start::Revision(revision) => {
                let found = log[..head as usize].iter().filter(ours).find(|event| event.revision > revision);
                (found.map_or(head, |event| event.position.0), revision.0 + 1)
            }
            Start::Time(time) => {
                let found = log[..head as usize].iter().find(|event| event.committed_at >= time);
                (found.map_or(head, |event| event.position.0), 0)
            }
        };
        Server { log, selector: request.selector.clone(), next, min_revision, caught_up: false }
    }

    fn step(&mut self, head: u64, page: usize) -> Option<FollowStep> {
        if self.next >= head {
            return (!std::mem::replace(&mut self.caught_up, true))
                .then_some(FollowStep::CaughtUp(Position(head)));
        }
        let mut events = Vec::new();
        while self.next < head && events.len() < page {
            let event = &self.log[self.next as usize];
            self.next += 1;
            let wanted = self.selector == Selector::All || event.stream.as_str() == "s";
            if wanted && event.revision.0 >= self.min_revision {
                events.push(event.clone());
            }
        }
        self.caught_up = false;
        if events.is_empty() {
            return Some(FollowStep::Checkpoint(Position(self.next - 1)));
        }
        Some(FollowStep::Events(events))
    }
}

fn positions(step: Option<FollowStep>) -> Vec<u64> {
    match step {
        Some(FollowStep::Events(events)) => events.iter().map(|event| event.position.0).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #[test]
    fn a_broken_connection_neither_loses_nor_repeats_an_event(
        of in proptest::collection::vec(any::<bool>(), 0..60),
        first_head in 0usize..60,
        start in 0usize..5,
        at in 0u64..70,
        page in 1usize..6,
        // how far the head moves, and whether the connection breaks, before each step
        moves in proptest::collection::vec((0u64..4, prop::bool::weighted(0.4)), 1..80),
    ) {
        let log = log(&of);
        let end = log.len() as u64;
        let first_head = (first_head as u64).min(end);
        let (selector, after) = match start {
            0 => (Selector::All, Start::Start),
            1 => (Selector::All, Start::End),
            2 => (Selector::All, Start::Position(Position(at))),
            3 => (Selector::Stream(StreamName::new("s").unwrap()), Start::Revision(Revision(at))),
            _ => (Selector::All, Start::Time(Timestamp::from_micros(at.min(first_head) as i64))),
        };
        let request = FollowRequest::new(selector, after);
        let mut unbroken = Server::open(&log, first_head, &request);
        let mut expected = Vec::new();
        while let Some(step) = unbroken.step(end, page) {
            expected.extend(positions(Some(step)));
        }

        let mut resume = Resume::new(request);
        if resume.begins_at_end() {
            resume.begin_at(Position(first_head));
        }
        let mut head = first_head;
        let mut server = Server::open(&log, head, &resume.request());
        let mut seen = Vec::new();
        for (moved, breaks) in moves.into_iter().chain(std::iter::repeat_n((1, false), 200)) {
            head = (head + moved).min(end);
            if breaks {
                server = Server::open(&log, head, &resume.request());
            }
            if let Some(step) = server.step(head, page) {
                seen.extend(positions(resume.take(step)));
            }
        }
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn events_that_were_delivered_are_not_delivered_again() {
    let log = log(&[true, true, true]);
    let mut resume = Resume::new(FollowRequest::new(Selector::All, Start::Start));
    assert!(resume.take(FollowStep::Events(log[..2].to_vec())).is_some());
    assert!(resume.take(FollowStep::Events(log[..2].to_vec())).is_none());
    assert_eq!(positions(resume.take(FollowStep::Events(log.clone()))), [2]);
    assert_eq!(resume.request().after, Start::Position(Position(2)));
}

#[test]
fn an_empty_log_is_followed_from_its_first_event_on() {
    let mut resume = Resume::new(FollowRequest::new(Selector::All, Start::End));
    assert!(resume.begins_at_end());
    resume.take(FollowStep::CaughtUp(Position(0)));
    assert!(!resume.begins_at_end());
    assert_eq!(resume.request().after, Start::Start);
}
