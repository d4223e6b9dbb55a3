//! Where exported events come from: pages of a server or of a stopped store.

use super::super::client::Client;
use super::super::event::EventJson;
use super::super::pages::{Pages, with_retries};
use super::super::select::Selection;
use super::{Found, What};
use graven_engine::Store;
use graven_model::{EventFilter, ReadRequest, Result, Selector, StoredEvent, StreamName, limits};
use std::time::Duration;

/// Bytes of one page.
const PAGE_BYTES: usize = 8 << 20;
/// How long a page is asked for again before the export gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server's pages.
pub(super) struct ServerPages {
    client: Client,
    selection: Selection,
}

impl ServerPages {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// Wrong usage.
    pub(super) fn new(client: Client, what: &What) -> Result<ServerPages> {
        let mut selection = match (&what.stream, &what.category) {
            (Some(stream), _) => Selection::stream(stream)?,
            (None, Some(category)) => Selection::category(category)?,
            (None, None) if what.types.is_empty() => Selection::all(),
            (None, None) => Selection::events(&what.types, &[])?,
        };
        selection.set("bytes", PAGE_BYTES.to_string());
        // The stored bytes themselves, with the white space around and inside JSON.
        selection.set("payload", "base64");
        if !what.system {
            selection.set("exclude_system", "true");
        }
        Ok(ServerPages { client, selection })
    }

    /// Reads to the end, or until `emit` says no.
    pub(super) fn run(self, mut emit: impl FnMut(Found) -> bool) {
        let mut pages = Pages::new(&self.client, self.selection, None).large();
        let mut first = true;
        loop {
            let patience = if first { Duration::ZERO } else { PATIENCE };
            let page = with_retries(patience, |error| eprintln!("{error}; trying again"), || pages.next());
            let found = page.and_then(|page| {
                let Some(page) = page else { return Ok(None) };
                let parts = page.parts()?;
                let events = parts.events.iter().map(|event| EventJson::parse(event.get())?.into_stored());
                Ok(Some((parts.head, events.collect::<Result<Vec<StoredEvent>>>()?)))
            });
            match found {
                Ok(Some((head, events))) => {
                    if first && !emit(Found::Total(head)) || !emit(Found::Page(events)) {
                        return;
                    }
                    first = false;
                }
                Ok(None) => {
                    emit(Found::End);
                    return;
                }
                Err(error) => {
                    emit(Found::Failed(error));
                    return;
                }
            }
        }
    }
}

/// A stopped store's pages.
pub(super) struct StorePages {
    store: Store,
    request: ReadRequest,
}

impl StorePages {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// An invalid stream name.
    pub(super) fn new(store: Store, what: &What) -> Result<StorePages> {
        let selector = match (&what.stream, &what.category) {
            (Some(stream), _) => Selector::Stream(StreamName::new(stream.as_str())?),
            (None, Some(category)) => Selector::Category(category.as_str().into()),
            (None, None) if what.types.is_empty() => Selector::All,
            (None, None) => Selector::Types(what.types.iter().map(|name| name.as_str().into()).collect()),
        };
        let filter = EventFilter { exclude_system: !what.system, ..EventFilter::default() };
        let request = ReadRequest { bytes_max: PAGE_BYTES, ..ReadRequest::new(selector) };
        Ok(StorePages { store, request: request.limit(limits::PAGE_EVENTS_MAX).filter(filter) })
    }

    /// Reads to the end, or until `emit` says no, and closes the store.
    pub(super) fn run(mut self, mut emit: impl FnMut(Found) -> bool) {
        let mut go_on = emit(Found::Total(self.store.head().0));
        while go_on {
            go_on = match self.store.read(&self.request) {
                Ok(page) => {
                    let next = page.next;
                    let wanted = emit(Found::Page(page.events));
                    match next {
                        Some(start) => self.request.start = start,
                        None => break,
                    }
                    wanted
                }
                Err(error) => {
                    emit(Found::Failed(error));
                    return;
                }
            };
        }
        emit(match self.store.close() {
            Ok(()) => Found::End,
            Err(error) => Found::Failed(error),
        });
    }
}
