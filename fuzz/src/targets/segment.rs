//! The log on disk: a store whose segment file holds the input.
//!
//! Whatever the bytes, the store opens or says that they are damaged, and what it then shows is the beginning of what
//! was once written: not an event more, none changed, none out of order.

use super::reseal::reseal;
use bytes::Bytes;
use graven_engine::{Options, Store};
use graven_model::{
    AppendRequest, Code, ContentType, EventId, Expected, NewEvent, ReadRequest, Selector, StoredEvent,
    StreamName, Timestamp,
};
use graven_sim::SimMachine;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The input is the segment file as it stands.
pub(super) fn as_is(data: &[u8]) -> bool {
    opens(data)
}

/// The input gets checksums that hold before it is opened. What stays standing is the tree: it must not let through
/// what checksums no longer catch.
pub(super) fn with_checksums_that_hold(data: &[u8]) -> bool {
    let mut data = data.to_vec();
    reseal(&mut data);
    opens(&data)
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let written = &*WRITTEN;
    // the whole log, the log without its last append, and one without any
    let ends = [written.bytes.len(), written.last_frame, super::reseal::SEGMENT_HEADER_BYTES];
    ends.iter().map(|end| written.bytes[..*end].to_vec()).collect()
}

/// A store that was killed, and what it held.
struct Written {
    machine: SimMachine,
    segment: PathBuf,
    /// The used part of the segment.
    bytes: Vec<u8>,
    /// Where the last append begins in it.
    last_frame: usize,
    events: Vec<StoredEvent>,
}

const DATA: &str = "/data";

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let machine = SimMachine::new(1);
    let store = Store::open(DATA, options(&machine)).expect("an empty disk takes a store");
    let used = || {
        let paths = machine.disk.paths();
        let segment =
            paths.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "seg"))?;
        let mut bytes = machine.disk.bytes_of(&segment)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        Some((segment, bytes))
    };
    let mut last_frame = 0;
    for append in appends() {
        last_frame = used().map_or(0, |(_, bytes)| bytes.len());
        store.append(append).expect("the append is accepted");
    }
    let (segment, bytes) = used().expect("the log has a segment");
    Written { events: events(&store), machine: machine.fork(), segment, bytes, last_frame }
});

fn options(machine: &SimMachine) -> Options {
    Options { env: machine.env(), ..Options::small() }
}

/// One of each shape: alone, several at once over two streams, with everything an event can have, a tombstone.
fn appends() -> Vec<AppendRequest> {
    let stream = |name: &str| StreamName::new(name).expect("a valid name");
    let event = |number: u8| NewEvent::json(EventId([number; 16]), "Opened", r#"{"owner":"Ada"}"#);
    let full = NewEvent {
        content_type: ContentType::from_text("text/plain"),
        data: Bytes::from_static(b"\xff\x00 not JSON"),
        metadata: Bytes::from_static(b"{\"who\":\"me\"}"),
        occurred_at: Some(Timestamp::from_micros(-1)),
        data_subject: Some("ada@example.org".into()),
        encrypted: true,
        ..event(9).tagged(["month:2026-11", "b"])
    };
    vec![
        AppendRequest::to(stream("account-1"), Expected::NoStream, [event(1)]),
        AppendRequest::to(stream("account-2"), Expected::NoStream, (2..7).map(event)).and_to(
            stream("account-1"),
            Expected::Any,
            [event(7), event(8).tagged(["b"])],
        ),
        AppendRequest::to(stream("account-1"), Expected::Exists, [full]),
        AppendRequest::to(
            stream("$$account-2"),
            Expected::Any,
            [NewEvent {
                event_type: "$metadata".into(),
                ..NewEvent::json(EventId([10; 16]), "$metadata", r#"{"$maxCount":2}"#)
            }],
        ),
    ]
}

fn opens(data: &[u8]) -> bool {
    let written = &*WRITTEN;
    let machine = written.machine.fork();
    let zeros = vec![0; written.bytes.len().saturating_sub(data.len())];
    machine.disk.overwrite(&written.segment, 0, &[data, &zeros].concat());
    let store = match Store::open(DATA, options(&machine)) {
        Ok(store) => store,
        Err(error) => {
            assert!(matches!(error.code, Code::Corrupted | Code::UnknownFormat), "{error}");
            return false;
        }
    };
    let events = events(&store);
    assert!(events.len() <= written.events.len(), "more events than were written");
    assert_eq!(events, written.events[..events.len()], "an event was changed");
    true
}

fn events(store: &Store) -> Vec<StoredEvent> {
    let page = store.read(&ReadRequest::new(Selector::All).limit(1_000)).expect("what opened can be read");
    assert_eq!(page.next, None);
    assert_eq!(page.events.len() as u64, store.head().0, "positions are dense");
    page.events
}
