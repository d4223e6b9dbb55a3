//! Reads that want to see an event: they wait until this node has it.

use super::{App, stopping};
use graven_model::{Code, Error, Result, limits};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

impl App {
    /// Waits until reads see the event at a position, for the last of a receipt: at most as long as limits say, or until
    /// the caller's deadline. Returns at once without a position.
    ///
    /// # Errors
    /// [`Code::NotYetThere`]; [`Code::Unavailable`] if the server stops meanwhile.
    pub(super) async fn reach(&self, position: Option<u64>, deadline: Option<Instant>) -> Result<()> {
        let Some(position) = position else { return Ok(()) };
        if self.store.head().0 > position {
            return Ok(());
        }
        let patience = Instant::now() + Duration::from_millis(limits::MIN_POSITION_WAIT_MS);
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let (mut head, mut ending) = (self.store.watch_head(), self.stopping.clone());
        let reached = async {
            timeout_at(until, head.wait_for(|head| head.0 > position)).await.is_ok_and(|moved| moved.is_ok())
        };
        tokio::select! {
            reached = reached => match reached {
                true => Ok(()),
                false => Err(Error::new(Code::NotYetThere, "this node has not come as far as the read wants")
                    .expected(format!("the event at position {position}"))
                    .found(format!("{} events", self.store.head()))),
            },
            _ = ending.wait_for(|stopping| *stopping) => Err(stopping()),
        }
    }
}
