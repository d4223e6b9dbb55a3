//! Events on their way to a client, one message each: links are followed, and what nobody sees is left out.

use super::encode::{Recorded, Sent, read_event};
use super::links::{self, Link};
use super::views::{is_hidden, passes_over};
use crate::server::grpc::answer::put_message;
use graven_engine::{EventList, Store, Targets};
use graven_model::{Error, EventRef, Result};
use graven_proto::kurrentdb::streams::{ReadResp, read_resp::Content};

/// How the events of a read are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Links come with what they point to.
    pub(super) resolve_links: bool,
    /// Ids are texts.
    pub(super) ids_as_text: bool,
    /// What nobody sees among all streams is left out.
    pub(super) hides: bool,
}

/// Messages of one piece of an answer.
pub(super) struct Shown {
    pub(super) bytes: Vec<u8>,
    /// Events among them.
    pub(super) events: usize,
    manner: Manner,
    targets: Option<Targets>,
    /// What kept a link from being followed.
    failure: Option<Error>,
}

impl Shown {
    /// Nothing yet, with room for so many bytes.
    pub(super) fn new(store: &Store, manner: Manner, room: usize) -> Shown {
        Shown {
            bytes: Vec::with_capacity(room),
            events: 0,
            manner,
            targets: manner.resolve_links.then(|| store.targets()),
            failure: None,
        }
    }

    /// Adds an event of a stream or of the log. What goes wrong is told at the end.
    pub(super) fn event(&mut self, event: &EventRef<'_>) {
        if self.failure.is_none()
            && let Err(error) = self.try_event(event)
        {
            self.failure = Some(error);
        }
    }

    fn try_event(&mut self, event: &EventRef<'_>) -> Result<()> {
        if self.manner.hides && is_hidden(event.stream) {
            return Ok(());
        }
        let recorded = Recorded::from(event);
        match &mut self.targets {
            Some(targets) if event.event_type == links::TYPE => {
                let target = match links::pointed_to(event.data) {
                    Some((revision, stream)) => targets.find(stream, revision)?,
                    None => None,
                };
                let target = target.as_ref().map(EventRef::from);
                self.put(&Sent::resolved(recorded, target.as_ref().map(Recorded::from)));
            }
            _ => self.put(&Sent::plain(recorded)),
        }
        Ok(())
    }

    /// Adds the link a view has at a number.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn link(
        &mut self,
        view: &str,
        list: &EventList,
        number: u64,
        event: &EventRef<'_>,
    ) -> Result<()> {
        if passes_over(list, event.stream, event.event_type) {
            return Ok(());
        }
        let link = Link::new(view, number, event);
        match &mut self.targets {
            Some(targets) => {
                let target = targets.shows(event)?.then(|| link.target());
                self.put(&Sent::resolved(link.recorded(), target));
            }
            None => self.put(&Sent::plain(link.recorded())),
        }
        Ok(())
    }

    fn put(&mut self, sent: &Sent<'_>) {
        read_event(&mut self.bytes, sent, self.manner.ids_as_text);
        self.events += 1;
    }

    /// Adds a message that is no event.
    pub(super) fn say(&mut self, content: Content) {
        put_message(&mut self.bytes, &ReadResp { content: Some(content) });
    }

    /// The bytes and the events in them.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub(super) fn finish(self) -> Result<(Vec<u8>, usize)> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok((self.bytes, self.events)),
        }
    }
}
