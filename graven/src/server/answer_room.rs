//! Answers that wait for their readers take room from one budget, however many slow readers there are.

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of all answers held at a time. Further ones wait, then slow readers are cut off by the stall timeout.
const ANSWERS_BYTES_MAX: u32 = 256 << 20;

/// The budget. Cheap to clone.
#[derive(Clone)]
pub(super) struct AnswerRoom(Arc<Semaphore>);

impl AnswerRoom {
    pub(super) fn new() -> AnswerRoom {
        AnswerRoom(Arc::new(Semaphore::new(ANSWERS_BYTES_MAX as usize)))
    }

    /// Waits until there is room for `text`. The room is given back when the last of the bytes is dropped, which is
    /// when they went to the socket or the client went away.
    pub(super) async fn hold(&self, text: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        let permits = u32::try_from(text.as_ref().len()).unwrap_or(u32::MAX).min(ANSWERS_BYTES_MAX);
        let room = self.0.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed");
        Bytes::from_owner(Held { text, _room: room })
    }
}

struct Held<T> {
    text: T,
    _room: OwnedSemaphorePermit,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_comes_back_when_the_bytes_are_dropped() {
        let room = AnswerRoom::new();
        let held = room.hold(vec![7; 1000]).await;
        assert_eq!(room.0.available_permits(), ANSWERS_BYTES_MAX as usize - 1000);
        let part = held.slice(10..20);
        drop(held);
        assert_eq!(room.0.available_permits(), ANSWERS_BYTES_MAX as usize - 1000);
        assert_eq!(&part[..], [7; 10]);
        drop(part);
        assert_eq!(room.0.available_permits(), ANSWERS_BYTES_MAX as usize);
    }
}
