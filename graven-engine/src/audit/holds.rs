//! Legal holds: what is neither erased nor dropped while one covers it. They are records in the log; what holds now is derived
//! from them.

use super::control::ControlWriter;
use crate::append::{AUDIT_STREAM, Pending, Shared, Sources, subject_tag};
use crate::index::{Item, TermQuery};
use crate::log::reader::Reader;
use graven_model::erasure::HoldOn;
use graven_model::event::Kind;
use graven_model::{Code, Direction, Error, Position, Result, limits};
use graven_proof::control::{Control, Hold, HoldScope};
use graven_proof::{Hash, leaf};
use std::collections::BTreeMap;

/// The holds there are, up to a position.
#[derive(Default)]
pub(super) struct Holds {
    next: u64,
    by_id: BTreeMap<String, Hold>,
}

/// Records looked up at once.
const STEP: usize = 256;

impl Holds {
    /// Reads what was appended since.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub(super) fn refresh(&mut self, shared: &Shared) -> Result<()> {
        let head = shared.head();
        each_control(shared, "$hold", self.next, |_, control| {
            if let Control::Hold(hold) = control {
                if hold.begins {
                    self.by_id.insert(hold.id.clone(), hold);
                } else {
                    self.by_id.remove(&hold.id);
                }
            }
            Ok(())
        })?;
        self.next = head;
        Ok(())
    }

    pub(super) fn list(&self) -> Vec<Hold> {
        self.by_id.values().cloned().collect()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Hold> {
        self.by_id.get(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The hold that covers an event, if one does. The keys are asked for if they are needed.
    ///
    /// # Errors
    /// Those of finding the keys.
    pub(super) fn covering(
        &self,
        category: Option<&str>,
        mut stream_key: impl FnMut() -> Result<Option<Hash>>,
        mut subject_key: impl FnMut() -> Result<Option<Hash>>,
    ) -> Result<Option<&Hold>> {
        for hold in self.by_id.values() {
            let covers = match &hold.scope {
                HoldScope::Stream { stream_key: held } => stream_key()?.as_ref() == Some(held),
                HoldScope::Category { category: held } => category == Some(held),
                HoldScope::Subject { subject_key: held } => subject_key()?.as_ref() == Some(held),
            };
            if covers {
                return Ok(Some(hold));
            }
        }
        Ok(None)
    }
}

/// The scope of a hold in the words of its record.
///
/// # Errors
/// [`Code::StreamNotFound`] for a stream without events; [`Code::NothingToErase`] for a subject without events.
pub(super) fn scope(sources: &Sources, head: u64, on: &HoldOn) -> Result<HoldScope> {
    let pending = Pending::none_below(head);
    Ok(match on {
        HoldOn::Stream(stream) => HoldScope::Stream {
            stream_key: stream_key(sources, &pending, stream.as_str())?.ok_or_else(|| {
                Error::new(Code::StreamNotFound, format!("stream {:?} has no events", stream.as_str()))
            })?,
        },
        HoldOn::Category(category) => HoldScope::Category { category: category.clone() },
        HoldOn::Subject(subject) => HoldScope::Subject {
            subject_key: subject_key(sources, &pending, subject)?
                .ok_or_else(|| Error::new(Code::NothingToErase, "the data subject has no events"))?,
        },
    })
}

/// Keyed hash of a stream's name, if it has an event.
pub(super) fn stream_key(sources: &Sources, pending: &Pending, stream: &str) -> Result<Option<Hash>> {
    let salt = sources.stream_salt(pending, stream)?;
    Ok(salt.map(|salt| leaf::name_key(&salt, stream.as_bytes())))
}

/// Keyed hash of a data subject's name, if it has an event.
pub(super) fn subject_key(sources: &Sources, pending: &Pending, subject: &str) -> Result<Option<Hash>> {
    let tag = subject_tag(subject);
    let salt = sources.tag_salt(pending, &tag)?;
    Ok(salt.map(|salt| leaf::name_key(&salt, tag.as_bytes())))
}

/// Appends the record of a hold that begins or ends.
///
/// # Errors
/// [`Code::InvalidErasure`] for a text too long; those of an append.
pub(super) fn append(control: &ControlWriter, hold: Hold) -> Result<Position> {
    for (what, text) in [("id", &hold.id), ("reason", &hold.reason), ("decided_by", &hold.decided_by)] {
        check_text("hold", what, text)?;
    }
    Ok(control.append(&Control::Hold(hold))?.first_position)
}

/// Checks a text of an erasure or a hold.
///
/// # Errors
/// [`Code::InvalidErasure`].
pub(super) fn check_text(of: &str, what: &str, text: &str) -> Result<()> {
    if !text.is_empty() && text.len() <= limits::ERASURE_TEXT_BYTES_MAX && !text.chars().any(char::is_control)
    {
        return Ok(());
    }
    Err(Error::new(Code::InvalidErasure, format!("the {what} of the {of} is not valid"))
        .expected(format!("1 to {} bytes without control characters", limits::ERASURE_TEXT_BYTES_MAX))
        .found(format!("{:?}", limits::shorten(text))))
}

/// Calls `each` with the control records of an event type from a position on, in order.
///
/// # Errors
/// [`Code::Corrupted`], [`Code::Io`]; what `each` returns.
pub(super) fn each_control(
    shared: &Shared,
    event_type: &str,
    from: u64,
    mut each: impl FnMut(u64, Control) -> Result<()>,
) -> Result<()> {
    let (sources, head) = (&shared.sources, shared.head());
    let item = Item { types: vec![sources.hasher.event_type(event_type)], ..Item::default() };
    let query = TermQuery { items: vec![item] };
    let mut reader = Reader::new(&sources.log);
    let mut from = Some(from);
    while let Some(at) = from.filter(|at| *at < head) {
        let mut found = Vec::new();
        from = sources.index.query(&query, at, Direction::Forward, head, STEP, &mut found);
        for position in found {
            let fetched = reader.fetch(position, sources.offset(position)?)?;
            let record = fetched.record()?;
            if record.stream != AUDIT_STREAM || record.kind == Kind::Event {
                continue;
            }
            match Control::decode(record.kind, record.data) {
                Ok(control) => each(position, control)?,
                Err(error) => tracing::warn!(position, %error, "a record about the log cannot be read"),
            }
        }
    }
    Ok(())
}
