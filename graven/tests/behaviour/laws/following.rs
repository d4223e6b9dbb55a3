//! What a follower promises.

use super::{event, fill, name, positions, put};
use crate::SOON;
use graven_client::model::*;
use graven_client::{EventStore, FollowSteps};
use tokio::time::timeout;

async fn step(follower: &mut impl FollowSteps) -> FollowStep {
    timeout(SOON, follower.next_step()).await.expect("a step comes soon").expect("a step")
}

/// Follows until caught up at the head of now.
async fn catch_up(follower: &mut impl FollowSteps) -> (Vec<u64>, u64) {
    let mut seen = Vec::new();
    loop {
        match step(follower).await {
            FollowStep::Events(events) => seen.extend(positions(&events)),
            FollowStep::CaughtUp(head) => return (seen, head.0),
            FollowStep::Checkpoint(_) => {}
        }
    }
}

/// Follows until there are this many events.
async fn take(follower: &mut impl FollowSteps, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        if let FollowStep::Events(events) = step(follower).await {
            seen.extend(positions(&events));
        }
    }
    seen
}

pub(crate) async fn a_follower_goes_from_catch_up_to_live_without_a_gap(store: impl EventStore) {
    fill(&store, 0, 50).await;
    let mut follower = store.follow(FollowRequest::new(Selector::All, Start::Start)).await.unwrap();
    let writer = store.clone();
    let writing = tokio::spawn(async move { fill(&writer, 50, 200).await });
    assert!(take(&mut follower, 200).await.into_iter().eq(0..200));
    writing.await.unwrap();
    put(&store, "late", event(200, "A")).await;
    assert_eq!(take(&mut follower, 1).await, [200]);
}

pub(crate) async fn a_follower_from_the_end_sees_only_what_is_new(store: impl EventStore) {
    let mut from_nothing = store.follow(FollowRequest::new(Selector::All, Start::End)).await.unwrap();
    fill(&store, 0, 10).await;
    let mut follower = store.follow(FollowRequest::new(Selector::All, Start::End)).await.unwrap();
    fill(&store, 10, 13).await;
    assert_eq!(take(&mut follower, 3).await, [10, 11, 12]);
    assert_eq!(take(&mut from_nothing, 13).await, (0..13).collect::<Vec<_>>());
}

pub(crate) async fn a_follower_begins_after_the_revision_it_names(store: impl EventStore) {
    fill(&store, 0, 12).await;
    let stream = Selector::Stream(name("loan-1"));
    let after = |revision| FollowRequest::new(stream.clone(), Start::Revision(Revision(revision)));
    let mut follower = store.follow(after(0)).await.unwrap();
    assert_eq!(catch_up(&mut follower).await, (vec![5, 9], 12));
    let mut ahead = store.follow(after(3)).await.unwrap();
    fill(&store, 12, 20).await;
    assert_eq!(take(&mut ahead, 1).await, [17], "revision 3 comes later and is left out all the same");
    let by_position = FollowRequest::new(stream, Start::Position(Position(5)));
    let mut follower = store.follow(by_position).await.unwrap();
    assert_eq!(catch_up(&mut follower).await.0, [9, 13, 17]);
}

pub(crate) async fn a_follower_of_nothing_tells_how_far_it_is(store: impl EventStore) {
    fill(&store, 0, 40).await;
    let request = FollowRequest {
        filter: EventFilter { stream: Some(Pattern::Prefixes(vec!["x".into()])), ..EventFilter::default() },
        checkpoint_every: 10,
        ..FollowRequest::new(Selector::All, Start::Start)
    };
    let mut follower = store.follow(request).await.unwrap();
    assert_eq!(catch_up(&mut follower).await, (Vec::new(), 40));
    fill(&store, 40, 60).await;
    loop {
        match step(&mut follower).await {
            FollowStep::Checkpoint(position) if position.0 >= 50 => break,
            FollowStep::Events(events) => panic!("nothing matches {events:?}"),
            _ => {}
        }
    }
}

pub(crate) async fn a_follower_of_a_tombstoned_stream_ends(store: impl EventStore) {
    put(&store, "s", event(1, "A")).await;
    let request = FollowRequest::new(Selector::Stream(name("s")), Start::Start);
    let mut follower = store.follow(request).await.unwrap();
    assert_eq!(catch_up(&mut follower).await.0, [0]);
    store.tombstone_stream(&name("s"), Expected::Any).await.unwrap();
    let late = FollowRequest::new(Selector::Stream(name("s")), Start::Revision(Revision(0)));
    for mut follower in [follower, store.follow(late).await.unwrap()] {
        let mut ends = Vec::new();
        let error = loop {
            match timeout(SOON, follower.next_step()).await.expect("the end comes soon") {
                Ok(FollowStep::Events(events)) => ends.extend(events),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, Code::StreamTombstoned);
        assert_eq!(positions(&ends), [1]);
        assert_eq!((ends[0].kind, ends[0].revision), (Kind::Tombstone, Revision::TOMBSTONE));
    }
}

pub(crate) async fn a_step_that_is_not_waited_for_is_not_lost(store: impl EventStore) {
    let mut follower = store.follow(FollowRequest::new(Selector::All, Start::Start)).await.unwrap();
    let writer = store.clone();
    let writing = tokio::spawn(async move { fill(&writer, 0, 100).await });
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let step = tokio::select! {
            biased;
            step = follower.next_step() => step.unwrap(),
            () = tokio::task::yield_now() => continue,
        };
        if let FollowStep::Events(events) = step {
            seen.extend(positions(&events));
        }
    }
    assert!(seen.into_iter().eq(0..100));
    writing.await.unwrap();
}
