//! Nodes of one journal, and the keys of data subjects: in one directory for all, or missing at one of them.

use crate::support::{event, name};
use graven_engine::env::Env;
use graven_engine::node::NodeOptions;
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, Expected, NewEvent, ReadRequest, Selector, StoredEvent};
use graven_sim::journal::JournalServer;
use std::path::Path;
use std::time::{Duration, Instant};

fn node(server: &JournalServer, dir: &Path, at: &str, keys: &str, follow: bool) -> Store {
    let options =
        Options { env: Env::real(), keys_dir: Some(dir.join(keys)), seal_subjects: true, ..Options::small() };
    let node = NodeOptions { address: format!("http://{at}"), follow };
    Store::open_shared(dir.join(at), Box::new(server.connect()), &options, node, &mut |_, _| {}).unwrap()
}

fn about(subject: &str, number: u64) -> NewEvent {
    NewEvent { data_subject: Some(subject.into()), ..event(number) }
}

fn append(store: &Store, event: NewEvent) {
    store.append(AppendRequest::to(name("people"), Expected::Any, [event])).unwrap();
}

/// Everything a node shows, once it holds as much as another one.
fn shown(store: &Store, like: &Store) -> Vec<StoredEvent> {
    let begun = Instant::now();
    while store.head() < like.head() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the follower does not follow");
        std::thread::yield_now();
    }
    store.read(&ReadRequest::new(Selector::All)).unwrap().events
}

#[test]
fn nodes_read_what_another_one_sealed_if_they_have_its_keys_and_show_it_as_erased_without() {
    let dir = tempfile::tempdir().unwrap();
    let server = JournalServer::new([0; 16]);
    let one = node(&server, dir.path(), "one", "keys", false);
    let two = node(&server, dir.path(), "two", "keys", true);
    let stranger = node(&server, dir.path(), "three", "none", true);
    append(&one, about("anna", 1));
    append(&one, event(2));
    append(&one, about("bert", 3));
    let sent = shown(&one, &one);
    assert!(sent.iter().all(|event| !event.erased && !event.event.data.is_empty()));
    assert_eq!(shown(&two, &one), sent);
    let seen = shown(&stranger, &one);
    assert!(seen[0].erased && seen[0].event.data.is_empty() && seen[2].erased);
    assert_eq!(seen[1], sent[1]);
    assert_eq!(stranger.info().root, one.info().root);
    // The other node takes over, and seals under the same keys.
    two.take_over().unwrap();
    append(&two, about("anna", 4));
    assert!(two.destroy_subject_key("bert").unwrap());
    one.close().unwrap();
    let one = node(&server, dir.path(), "one", "keys", true);
    let seen = shown(&one, &two);
    assert_eq!((&seen[0], &seen[3].event), (&sent[0], &about("anna", 4)));
    assert!(seen[2].erased);
    two.close().unwrap();
    one.close().unwrap();
    stranger.close().unwrap();
}
