//! Scavenging: what no reader of a stream can see any more is dropped, and the log says so.

use graven_engine::audit::{HoldOn, ScavengeOptions, ScavengeReport};
use graven_engine::env::{Clock, Env};
use graven_engine::model::{
    AppendRequest, EventId, Expected, Kind, NewEvent, ReadRequest, Revision, Selector, StoredEvent,
    StreamName,
};
use graven_engine::{Options, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that is set by hand.
#[derive(Clone)]
struct SetClock(Arc<AtomicI64>);

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct World {
    dir: tempfile::TempDir,
    clock: SetClock,
    options: Options,
    store: Store,
    events: u64,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let clock = SetClock(Arc::new(AtomicI64::new(1_000_000_000)));
    let env = Env { clock: Arc::new(clock.clone()), ..Env::real() };
    let options = Options { env, ..Options::small() };
    let store = Store::open(dir.path(), options.clone()).unwrap();
    World { dir, clock, options, store, events: 0 }
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

impl World {
    fn append(&mut self, stream: &str, count: u64) {
        for _ in 0..count {
            self.events += 1;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.events.to_be_bytes());
            let event = NewEvent {
                metadata: "{\"m\":1}".into(),
                ..NewEvent::json(EventId(id), "T", format!("{{\"number\":{}}}", self.events))
            };
            self.store.append(AppendRequest::to(name(stream), Expected::Any, [event])).unwrap();
        }
    }

    fn describe(&self, stream: &str, json: &str) {
        self.store.set_stream_metadata(&name(stream), Expected::Any, json.to_owned().into()).unwrap();
    }

    fn scavenge(&self) -> ScavengeReport {
        self.store.scavenge(ScavengeOptions::default()).unwrap()
    }

    fn all(&self) -> Vec<StoredEvent> {
        self.store.read(&ReadRequest::new(Selector::All).limit(10_000)).unwrap().events
    }

    /// Which events of a stream are erased, by revision.
    fn erased(&self, stream: &str) -> Vec<bool> {
        let of_stream = self
            .all()
            .into_iter()
            .filter(|event| event.stream.as_str() == stream && event.kind == Kind::Event);
        of_stream
            .map(|event| {
                assert_eq!(event.erased, event.event.metadata.is_empty() && event.event.data.is_empty());
                event.erased
            })
            .collect()
    }

    fn rules(&self) -> Vec<String> {
        let records = self.all().into_iter().filter(|event| &*event.event.event_type == "$retention");
        let mut rules: Vec<String> = records
            .map(|event| {
                let body: serde_json::Value = serde_json::from_slice(&event.event.data).unwrap();
                format!("{} {}", body["rule"].as_str().unwrap(), body["events"])
            })
            .collect();
        rules.sort();
        rules
    }
}

#[test]
fn what_every_rule_hides_is_dropped_and_nothing_else() {
    let mut world = world();
    for stream in ["count", "cut", "deleted", "ended", "plain"] {
        world.append(stream, 5);
    }
    world.append("aged", 2);
    world.clock.0.fetch_add(100_000_000, Ordering::Relaxed);
    world.append("aged", 2);
    world.describe("count", r#"{"$maxCount":2}"#);
    world.store.truncate_stream(&name("cut"), Revision(1)).unwrap();
    world.store.delete_stream(&name("deleted"), Expected::Any).unwrap();
    world.store.tombstone_stream(&name("ended"), Expected::Any).unwrap();
    world.describe("aged", r#"{"$maxAge":60}"#);
    world.describe("plain", r#"{"own":1}"#);

    let counted = world.store.scavenge(ScavengeOptions { dry_run: true }).unwrap();
    assert_eq!((counted.streams, counted.events, counted.segments), (5, 16, 0));
    // Four of the sixteen events have a number of one digit.
    let bytes = 16 * r#"{"number":}{"m":1}"#.len() as u64 + 4 + 12 * 2;
    assert_eq!((counted.payload_bytes, counted.bytes_freed), (bytes, 0));
    assert!(world.rules().is_empty());

    let report = world.scavenge();
    assert_eq!(report.payload_bytes, bytes);
    assert_eq!((report.streams, report.events, report.held, report.more), (5, 16, 0, false));
    assert_eq!(report.segments, 1);
    let expected = ["deleted 5", "deleted 5", "max-age 2", "max-count 3", "truncated 1"].map(str::to_owned);
    assert_eq!(world.rules(), expected);
    let check = |world: &World| {
        assert_eq!(world.erased("count"), [true, true, true, false, false]);
        assert_eq!(world.erased("cut"), [true, false, false, false, false]);
        assert_eq!(world.erased("deleted"), [true; 5]);
        assert_eq!(world.erased("ended"), [true; 5]);
        assert_eq!(world.erased("aged"), [true, true, false, false]);
        assert_eq!(world.erased("plain"), [false; 5]);
    };
    check(&world);
    let page = world.store.read(&ReadRequest::new(Selector::Stream(name("count")))).unwrap();
    assert!(page.events.len() == 2 && page.events.iter().all(|event| !event.erased));

    let root = world.store.info().root;
    world.store.close().unwrap();
    for derived in ["index", "audit"] {
        std::fs::remove_dir_all(world.dir.path().join(derived)).unwrap();
    }
    world.store = Store::open(world.dir.path(), world.options.clone()).unwrap();
    assert_eq!(world.store.info().root, root);
    check(&world);
}

#[test]
fn scavenging_again_drops_only_what_was_hidden_since() {
    let mut world = world();
    world.append("s", 5);
    world.describe("s", r#"{"$maxCount":2}"#);
    assert_eq!(world.scavenge().events, 3);
    let head = world.store.head();
    assert_eq!(world.scavenge(), ScavengeReport::default());
    assert_eq!(world.store.head(), head);
    world.append("s", 3);
    assert_eq!(world.scavenge().events, 3);
    assert_eq!(world.erased("s"), [true, true, true, true, true, true, false, false]);
}

#[test]
fn a_deleted_stream_that_was_scavenged_can_be_reopened() {
    let mut world = world();
    world.append("s", 3);
    world.store.delete_stream(&name("s"), Expected::Any).unwrap();
    assert_eq!(world.scavenge().events, 3);
    world.append("s", 2);
    assert_eq!(world.erased("s"), [true, true, true, false, false]);
    assert_eq!(world.scavenge().events, 0);
}

#[test]
fn a_stream_under_a_legal_hold_keeps_everything() {
    let mut world = world();
    for stream in ["held-1", "free-1"] {
        world.append(stream, 4);
        world.describe(stream, r#"{"$maxCount":1}"#);
    }
    world.store.begin_hold("case", &HoldOn::Category("held".to_owned()), "litigation", "counsel").unwrap();
    let report = world.scavenge();
    assert_eq!((report.streams, report.events, report.held), (1, 3, 1));
    assert_eq!(world.erased("held-1"), [false; 4]);
    world.store.end_hold("case", "settled", "counsel").unwrap();
    assert_eq!(world.scavenge().events, 3);
    assert_eq!(world.erased("held-1"), [true, true, true, false]);
}

#[test]
fn space_comes_back() {
    let world = world();
    for number in 0..400u64 {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let event = NewEvent::json(EventId(id), "T", format!("\"{}\"", "x".repeat(9_000)));
        world.store.append(AppendRequest::to(name("s"), Expected::Any, [event])).unwrap();
    }
    let before = world.store.info().log_bytes;
    world.describe("s", r#"{"$maxCount":10}"#);
    let report = world.scavenge();
    let after = world.store.info().log_bytes;
    assert!(report.segments >= 3 && report.bytes_freed > 3_000_000, "{report:?}");
    assert!(after < before / 10, "{before} before, {after} after");
}
