//! [`Follower`]: follows events over connections that may break.

mod resume;

use crate::backoff::Backoff;
use crate::client::{Client, Repeat};
use crate::{answers, status};
use futures_util::stream::{Stream, try_unfold};
use graven_model::{Code, Error, EventStore, FollowRequest, FollowStep, FollowSteps, Result};
use graven_proto::wire;
use resume::Resume;
use std::fmt;
use std::pin::Pin;
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;

/// A read that never ends: every event it asks for, once and in order, over however many connections.
///
/// When the connection breaks, it is made again and goes on after the last step, without end and with growing pauses;
/// what is lost is time. A server that goes away for good is noticed by who bounds the wait for the next step.
/// [`FollowStep::CaughtUp`] comes again after every new connection.
pub struct Follower {
    client: Client,
    resume: Resume,
    backoff: Backoff,
    state: State,
}

type Steps = Streaming<FollowStep>;

enum State {
    Live(Box<Steps>),
    Pausing(Instant),
    Opening(Pin<Box<dyn Future<Output = Result<Box<Steps>>> + Send>>),
    Ended,
}

impl Follower {
    pub(crate) async fn open(client: Client, request: FollowRequest) -> Result<Follower> {
        let mut resume = Resume::new(request);
        if resume.begins_at_end() {
            // What is new is settled now, lest a connection that breaks before the first step leaves something out.
            resume.begin_at(client.info().await?.head);
        }
        let steps = client
            .call("the subscription", Repeat::Freely, message_of(&resume.request()), async |_, message| {
                answers::steps(client.reads(), message).await
            })
            .await?;
        Ok(Follower { backoff: client.backoff(), client, resume, state: State::Live(Box::new(steps)) })
    }

    /// The steps as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<FollowStep>> + Send + 'static {
        try_unfold(self, |mut follower| async move {
            let step = follower.next_step().await?;
            Ok(Some((step, follower)))
        })
    }

    fn lost(&mut self, error: &Error) {
        tracing::warn!(%error, "a follower lost its connection");
        self.state = State::Pausing(Instant::now() + self.backoff.pause());
    }
}

impl FollowSteps for Follower {
    async fn next_step(&mut self) -> Result<FollowStep> {
        loop {
            // Every wait is on something `self` keeps, so that a dropped future loses nothing.
            let error = match &mut self.state {
                State::Live(steps) => match steps.message().await {
                    Ok(Some(step)) => {
                        self.backoff.reset();
                        match self.resume.take(step) {
                            Some(step) => return Ok(step),
                            None => continue,
                        }
                    }
                    Ok(None) => Error::new(Code::ConnectionFailed, "the server ended the subscription"),
                    Err(status) => status::error_of(&status),
                },
                State::Pausing(until) => {
                    sleep_until(*until).await;
                    let message = message_of(&self.resume.request());
                    let channel = self.client.reads();
                    self.state = State::Opening(Box::pin(async move {
                        let steps = answers::steps(channel, message).await;
                        steps
                            .map(|steps| Box::new(steps.into_inner()))
                            .map_err(|status| status::error_of(&status))
                    }));
                    continue;
                }
                State::Opening(opening) => match opening.await {
                    Ok(steps) => {
                        self.state = State::Live(steps);
                        continue;
                    }
                    Err(error) => error,
                },
                State::Ended => return Err(Error::new(Code::Closed, "the follower ended with an error")),
            };
            if !error.code.entry().retryable {
                self.state = State::Ended;
                return Err(error);
            }
            self.lost(&error);
        }
    }
}

fn message_of(request: &FollowRequest) -> wire::SubscribeRequest {
    wire::SubscribeRequest {
        selector: Some((&request.selector).into()),
        after: Some(request.after.into()),
        filter: (!request.filter.is_empty()).then(|| (&request.filter).into()),
        page_events: request.page_events,
        page_bytes: (request.page_bytes as u64).max(1),
        checkpoint_every: request.checkpoint_every.max(1),
        // What is missing comes by itself.
        min_position: None,
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("resume", &self.resume).finish_non_exhaustive()
    }
}
