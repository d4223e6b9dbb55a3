//! Links: events that point to another one, those that somebody stored and those the views are made of.

use super::encode::Recorded;
use graven_engine::Store;
use graven_model::{EventId, EventRef, Position, Result, Revision, StoredEvent};
use graven_proof::merkle::leaf_hash;

/// Type of a link.
pub(super) const TYPE: &str = "$>";

/// Media type of a link.
const LINK_CONTENT: &str = "application/octet-stream";

/// The event a stored link points to, if a reader of its stream sees it.
///
/// # Errors
/// Those of the store.
pub(super) fn target(store: &Store, link: &StoredEvent) -> Result<Option<StoredEvent>> {
    match pointed_to(&link.event.data) {
        Some((revision, stream)) => store.targets().find(stream, revision),
        None => Ok(None),
    }
}

/// What the body of a link points to: `<revision>@<stream>`.
pub(super) fn pointed_to(body: &[u8]) -> Option<(Revision, &str)> {
    let (revision, stream) = std::str::from_utf8(body).ok()?.split_once('@')?;
    let digits = !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_digit());
    let revision = revision.parse().ok().filter(|_| digits && !stream.is_empty())?;
    Some((Revision(revision), stream))
}

/// A link a view has for an event. It is stored nowhere: whoever asks gets the same one.
#[derive(Debug, Clone)]
pub(super) struct Link<'a> {
    view: &'a str,
    number: u64,
    body: String,
    target: Recorded<'a>,
}

impl<'a> Link<'a> {
    /// The link that stands at `number` in a view.
    pub(super) fn new(view: &'a str, number: u64, target: &EventRef<'a>) -> Link<'a> {
        let body = format!("{}@{}", target.revision, target.stream);
        Link { view, number, body, target: target.into() }
    }

    /// The link as an event of the view.
    pub(super) fn recorded(&self) -> Recorded<'_> {
        Recorded {
            id: id(self.view, self.target.position),
            stream: self.view,
            revision: self.number,
            event_type: TYPE,
            content_type: LINK_CONTENT,
            metadata: &[],
            data: self.body.as_bytes(),
            ..self.target
        }
    }

    /// What it points to.
    pub(super) fn target(&self) -> Recorded<'a> {
        self.target
    }
}

/// Id of the link a view has for the event at a position: a UUID made of the two (version 8, RFC 9562).
pub(super) fn id(view: &str, position: Position) -> EventId {
    let named = [b"link of a view", &position.0.to_be_bytes()[..], view.as_bytes()].concat();
    let mut id = [0; 16];
    id.copy_from_slice(&leaf_hash(&named)[..16]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    EventId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_a_revision_and_a_stream() {
        assert_eq!(pointed_to(b"17@loan-1"), Some((Revision(17), "loan-1")));
        assert_eq!(pointed_to(b"0@a@b"), Some((Revision(0), "a@b")));
        for bad in
            [&b""[..], b"@s", b"1@", b"x@s", b"+1@s", b"-1@s", b"1", b"99999999999999999999@s", b"1@\xff"]
        {
            assert_eq!(pointed_to(bad), None);
        }
    }

    #[test]
    fn an_id_of_a_link_belongs_to_its_view_and_position() {
        let pinned = id("$ce-loan", Position(7));
        assert_eq!(pinned, id("$ce-loan", Position(7)));
        assert_eq!(pinned.to_string(), "47945a8a-aa3a-818c-9b93-d5ef786a4298");
        assert_ne!(pinned, id("$ce-loan", Position(8)));
        assert_ne!(pinned, id("$et-loan", Position(7)));
    }
}
