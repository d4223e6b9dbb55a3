//! [`Writer`]: where appends go, and how far they have come.
//!
//! Of several nodes that share a journal one writes, and every other one knows who. A client asks the node it was made for.
//! When that one names another, appends go there, until that one fails or names another in turn.

use crate::options::Options;
use graven_model::error::Details;
use graven_model::{Error, Position, Receipt};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::transport::Channel;

/// Nodes named in a row without one that takes the append: when writers change, a node may name one that writes no longer.
const HOPS_MAX: u32 = 10;

/// Where the appends of a client go.
#[derive(Debug)]
pub(crate) struct Writer {
    home: Aim,
    options: Options,
    /// The node that was named last, if it is another one.
    named: Mutex<Option<Aim>>,
    /// Position after the last event that was acknowledged.
    reached: AtomicU64,
}

/// A node an attempt goes to.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    url: String,
    pub(crate) channel: Channel,
}

/// What to do about an append that was refused because another node writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask the node that was named.
    AtOnce,
    /// Ask again after a pause.
    AfterPause,
    /// They all name each other.
    GiveUp,
}

/// Counts the nodes named in a row.
#[derive(Debug, Default)]
pub(crate) struct Hops(u32);

impl Hops {
    /// Somebody took an append, or did not answer at all.
    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }

    /// Another node was named, or none that could be followed.
    pub(crate) fn next(&mut self, followed: bool) -> Next {
        if !followed {
            return Next::AfterPause;
        }
        self.0 += 1;
        match self.0 {
            1 => Next::AtOnce,
            2..=HOPS_MAX => Next::AfterPause,
            _ => {
                self.0 = 0;
                Next::GiveUp
            }
        }
    }
}

impl Writer {
    pub(crate) fn new(url: &str, home: Channel, options: &Options) -> Writer {
        Writer {
            home: Aim { url: plain(url).to_owned(), channel: home },
            options: options.clone(),
            named: Mutex::default(),
            reached: AtomicU64::new(0),
        }
    }

    /// Who is asked next.
    pub(crate) fn aim(&self) -> Aim {
        self.named.lock().as_ref().unwrap_or(&self.home).clone()
    }

    /// An attempt was refused because another node writes. Whether that one was named and is asked next; otherwise it is
    /// the node the client was made for.
    pub(crate) fn refused(&self, by: &Aim, error: &Error) -> bool {
        let mut named = self.named.lock();
        let Details::Writer(url) = &error.details else {
            *named = None;
            return false;
        };
        let url = plain(url);
        if named.as_ref().is_some_and(|aim| aim.url != by.url && aim.url == url) {
            return true; // somebody else of this client was told before
        }
        if url == by.url {
            // It names itself: it is about to write, or it has just stepped down.
            *named = None;
            return false;
        }
        if url == self.home.url {
            *named = None;
            return true;
        }
        match self.options.channel(url) {
            Ok(channel) => {
                tracing::debug!(url, "another node writes; appends go there");
                *named = Some(Aim { url: url.to_owned(), channel });
                true
            }
            Err(cause) => {
                tracing::warn!(%cause, "the address of the node that writes cannot be used");
                *named = None;
                false
            }
        }
    }

    /// A node cannot be reached, or ended what it had begun: the one the client was made for is asked again.
    pub(crate) fn failed(&self, aim: &Aim) {
        let mut named = self.named.lock();
        if named.as_ref().is_some_and(|named| named.url == aim.url) {
            *named = None;
        }
    }

    /// Takes note of what was acknowledged.
    pub(crate) fn acknowledged(&self, receipt: &Receipt) {
        if let Some(last) = receipt.last_position {
            self.reached(last);
        }
    }

    /// Takes note of an event that is durable.
    pub(crate) fn reached(&self, position: Position) {
        self.reached.fetch_max(position.0.saturating_add(1), Ordering::Relaxed);
    }

    /// The last event that was acknowledged.
    pub(crate) fn last_acknowledged(&self) -> Option<Position> {
        self.reached.load(Ordering::Relaxed).checked_sub(1).map(Position)
    }
}

fn plain(url: &str) -> &str {
    url.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::Code;

    fn naming(url: &str) -> Error {
        Error::new(Code::NotTheWriter, "another one writes").with(Details::Writer(url.to_owned()))
    }

    fn writer() -> Writer {
        let options = Options::default();
        Writer::new("http://a:1/", options.channel("http://a:1/").unwrap(), &options)
    }

    #[tokio::test]
    async fn appends_go_to_who_was_named_until_it_fails() {
        let writer = writer();
        let a = writer.aim();
        assert!(writer.refused(&a, &naming("http://b:1")));
        let b = writer.aim();
        assert_eq!(b.url, "http://b:1");
        writer.failed(&a);
        assert_eq!(writer.aim().url, "http://b:1", "what failed was another one");
        assert!(writer.refused(&b, &naming("http://c:1/")));
        assert!(writer.refused(&b, &naming("http://c:1")), "who is told late goes the same way");
        writer.failed(&writer.aim());
        assert_eq!(writer.aim().url, "http://a:1");
    }

    #[tokio::test]
    async fn who_names_nobody_itself_or_a_wrong_address_is_not_followed() {
        let writer = writer();
        let a = writer.aim();
        for error in [
            Error::new(Code::NotTheWriter, "x"),
            naming("http://a:1"),
            naming("https://b:1"),
            naming("nowhere"),
        ] {
            assert!(!writer.refused(&a, &error), "{error:?}");
            assert_eq!(writer.aim().url, "http://a:1");
        }
        assert!(writer.refused(&a, &naming("http://b:1")));
        assert!(writer.refused(&writer.aim(), &naming("http://a:1/")), "and back");
        assert_eq!(writer.aim().url, "http://a:1");
    }

    #[test]
    fn nodes_that_name_each_other_are_left_after_some_rounds() {
        let mut hops = Hops::default();
        assert_eq!(hops.next(true), Next::AtOnce);
        for _ in 1..HOPS_MAX {
            assert_eq!(hops.next(true), Next::AfterPause);
        }
        assert_eq!(hops.next(true), Next::GiveUp);
        assert_eq!(hops.next(false), Next::AfterPause);
        assert_eq!(hops.next(true), Next::AtOnce);
    }
}
