//! How a group's deliveries are written: the event itself, the link a view shows for it, or a stored link and what it points
//! to.

use super::source::Source;
use crate::server::kurrent::encode::{Recorded, Sent, read_event};
use crate::server::kurrent::links::{self, Link};
use graven_engine::Store;
use graven_model::{Delivery, EventId, EventRef, Result};

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// What the group reads, if its events are links of a view.
    pub(super) view: Option<Source>,
    /// Links come with what they point to.
    pub(super) resolve_links: bool,
    /// Ids are texts.
    pub(super) ids_as_text: bool,
}

impl Form {
    /// Whether writing takes the store.
    pub(super) fn asks_store(&self) -> bool {
        self.view.is_some() || self.resolve_links
    }

    /// Writes a delivery; gives the id it is acknowledged by, which is that of the link where there is one.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn write(&self, out: &mut Vec<u8>, store: &Store, delivery: &Delivery) -> Result<EventId> {
        let event = EventRef::from(&delivery.event);
        // An event that comes back counts from zero.
        let retries = Some(delivery.round);
        let mut put = |sent: Sent<'_>| read_event(out, &Sent { retries, ..sent }, self.ids_as_text);
        if let Some(source) = &self.view {
            let view = source.name();
            let link = Link::new(&view, store.rank(&source.selector(), event.position)?, &event);
            let recorded = link.recorded();
            match self.resolve_links {
                true => put(Sent::resolved(recorded, Some(link.target()))),
                false => put(Sent::plain(recorded)),
            }
            return Ok(recorded.id);
        }
        if self.resolve_links && event.event_type == links::TYPE {
            let target = links::target(store, &delivery.event)?;
            let target = target.as_ref().map(EventRef::from);
            put(Sent::resolved(Recorded::from(&event), target.as_ref().map(Recorded::from)));
        } else {
            put(Sent::plain(Recorded::from(&event)));
        }
        Ok(event.id)
    }
}
