//! A consumer's call, in whichever protocol: deliveries go out while acknowledgements come in.
//!
//! Both directions are driven by one task and do not wait for each other: a consumer that takes no more deliveries for now is
//! still heard. What waits for a slow one is bounded by the events it may have in its hands.

use super::message::Messages;
use crate::server::feed::Feed;
use crate::server::long_read::{passed, too_late};
use crate::server::{App, stopping};
use bytes::Bytes;
use graven_engine::Consumer;
use graven_model::{Delivery, Error, Result};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;

/// Deliveries, and bytes of them, that are sent at once.
const GATHERED_MAX: usize = 256;
const GATHERED_BYTES: usize = 128 << 10;

/// What a protocol makes of a consumer's messages.
pub(in crate::server) trait Ears: Send + 'static {
    /// Takes one in: an acknowledgement, or one that says that something failed.
    ///
    /// # Errors
    /// If the call is to end because of it.
    fn hear(&mut self, message: &Bytes) -> Result<()>;
}

/// How a protocol writes deliveries.
pub(in crate::server) trait Voice: Send + 'static {
    /// Writes them as messages behind their prefixes, in this order.
    ///
    /// # Errors
    /// If the call is to end because of it.
    fn say(
        &mut self,
        app: &Arc<App>,
        deliveries: Vec<Delivery>,
    ) -> impl Future<Output = Result<Vec<u8>>> + Send;
}

/// A consumer's call that has begun.
pub(in crate::server) struct Consuming<E, V> {
    pub(in crate::server) consumer: Consumer,
    /// What the consumer says after it said who it is.
    pub(in crate::server) messages: Messages,
    pub(in crate::server) ears: E,
    pub(in crate::server) voice: V,
    /// When its caller gives up.
    pub(in crate::server) deadline: Option<Instant>,
}

/// How a consumer's call ended.
pub(in crate::server) enum Ended {
    /// The consumer has said all it had to say.
    Complete,
    /// The consumer went away.
    Gone,
    /// Something broke it off.
    Broken(Error),
}

impl<E: Ears, V: Voice> Consuming<E, V> {
    /// Runs until one of the sides ends it. `first` is sent before everything else. The consumer has left when this returns.
    pub(in crate::server) async fn run(self, app: &Arc<App>, first: Vec<u8>, feed: &Feed) -> Ended {
        let Consuming { consumer, messages, ears, voice, deadline } = self;
        let mut ending = app.stopping.clone();
        // Nothing is in the feed yet, so this does not wait.
        if !feed.send(first.into()).await {
            return Ended::Gone;
        }
        tokio::select! {
            heard = listen(messages, ears) => match heard {
                Ok(()) => Ended::Complete,
                Err(error) => Ended::Broken(error),
            },
            error = deliver(app, consumer, voice, feed) => error.map_or(Ended::Gone, Ended::Broken),
            () = feed.gone() => Ended::Gone,
            () = async { let _ = ending.wait_for(|stopping| *stopping).await; } => Ended::Broken(stopping()),
            () = passed(deadline) => Ended::Broken(too_late()),
        }
    }
}

/// Hears everything up to the consumer's last word.
async fn listen(mut messages: Messages, mut ears: impl Ears) -> Result<()> {
    while let Some(held) = messages.next().await? {
        ears.hear(&held.bytes)?;
    }
    Ok(())
}

/// Delivers until the group ends it, with its error, or nobody takes anything.
async fn deliver(
    app: &Arc<App>,
    mut consumer: Consumer,
    mut voice: impl Voice,
    feed: &Feed,
) -> Option<Error> {
    let mut end = None;
    loop {
        // The slot first: nothing is taken from the group that nobody takes here.
        let slot = feed.slot().await?;
        if end.is_some() {
            return end;
        }
        let deliveries;
        (deliveries, end) = gather(&mut consumer).await;
        if deliveries.is_empty() {
            return end;
        }
        app.metrics.sent(deliveries.len());
        match voice.say(app, deliveries).await {
            Ok(text) => slot.send(app.answers.hold(text).await),
            Err(error) => return Some(error),
        }
    }
}

/// What is there, at least one; and the error that ends the deliveries, if it came. Without a delivery there is one.
async fn gather(consumer: &mut Consumer) -> (Vec<Delivery>, Option<Error>) {
    poll_fn(|context| {
        let (mut gathered, mut bytes) = (Vec::new(), 0);
        while gathered.len() < GATHERED_MAX && bytes < GATHERED_BYTES {
            match consumer.poll_next(context) {
                Poll::Ready(Ok(delivery)) => {
                    bytes += delivery.event.size_bytes();
                    gathered.push(delivery);
                }
                Poll::Ready(Err(error)) => return Poll::Ready((gathered, Some(error))),
                Poll::Pending if gathered.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((gathered, None))
    })
    .await
}
