//! What becomes of the events a scan finds: they are gathered, or handed on where they lie.

use bytes::Bytes;
use graven_model::{EventRef, Names, Result, StoredEvent, StreamName};

/// Takes the events of a scan, one by one.
pub(crate) trait Sink {
    /// Takes an event, which lies in `memory`.
    ///
    /// # Errors
    /// No stream can have the name its stream has.
    fn take(&mut self, event: &EventRef<'_>, memory: &Bytes) -> Result<()>;
}

/// Events that are kept, sharing the memory they were read into.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) events: Vec<StoredEvent>,
    names: Names,
}

impl Sink for Gathered {
    fn take(&mut self, event: &EventRef<'_>, memory: &Bytes) -> Result<()> {
        self.events.push(event.to_stored(memory, &mut self.names)?);
        Ok(())
    }
}

/// Events that are handed on and gone.
pub(crate) struct Each<F>(pub(crate) F);

impl<F: FnMut(&EventRef<'_>)> Sink for Each<F> {
    fn take(&mut self, event: &EventRef<'_>, _: &Bytes) -> Result<()> {
        StreamName::check(event.stream)?;
        (self.0)(event);
        Ok(())
    }
}
