//! The server is killed (SIGKILL) while a group works and while dead letters are replayed: nothing is lost, and no dead
//! letter comes or goes.

mod support;

use graven_client::ConsumeOptions;
use graven_model::GroupName;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use support::groups::position;
use support::{Client, Server, wait_until};

const GROUP: &str = "work";
const STREAMS: usize = 80;
const EVENTS: usize = 1_600;
const CONSUMERS: usize = 3;

/// What consumers did, in the order they did it.
#[derive(Default)]
struct Diary {
    /// Stream and revision of what was processed.
    processed: Vec<(String, u64)>,
    /// Positions whose acknowledgement was sent off, answered or not.
    acknowledged: HashSet<u64>,
}

/// Consumers that connect again and again until they are told to stop.
struct Consumers {
    diary: Arc<Mutex<Diary>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Consumers {
    fn start(url: &str, repaired: bool) -> Consumers {
        let (diary, stop) = (Arc::<Mutex<Diary>>::default(), Arc::<AtomicBool>::default());
        let start = |number: usize| {
            let (client, diary, stop) = (Client::new(url), diary.clone(), stop.clone());
            std::thread::Builder::new()
                .spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match client.try_consume(GROUP, &format!("consumer-{number}"), 8) {
                            Some(mut consumer) => work(&mut consumer, repaired, &diary, &stop),
                            None => std::thread::park_timeout(std::time::Duration::from_millis(5)),
                        }
                    }
                })
                .expect("a thread")
        };
        let threads = (0..CONSUMERS).map(start).collect();
        Consumers { diary, stop, threads }
    }

    fn processed(&self) -> usize {
        self.diary.lock().unwrap().processed.len()
    }

    /// Ends them and gives what they did. The group must be one that wakes them: it is updated.
    fn end(self, client: &Client) -> Diary {
        self.stop.store(true, Ordering::Relaxed);
        for (turn, thread) in self.threads.into_iter().enumerate() {
            wait_until("the consumer ends", || {
                // Consumers that wait for events are sent away by a change of the group.
                client.put_group(GROUP, &settings(100 + turn as u32));
                client.put_group(GROUP, &settings(10));
                thread.is_finished().then_some(())
            });
            thread.join().expect("no consumer panics");
        }
        let mut diary = self.diary.lock().unwrap();
        std::mem::take(&mut *diary)
    }
}

/// Processes until the connection is gone.
fn work(consumer: &mut support::groups::Consumer, repaired: bool, diary: &Mutex<Diary>, stop: &AtomicBool) {
    while let Some(delivery) = consumer.try_next() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (event, at) = (&delivery["event"], position(&delivery));
        if event["data"]["poison"] == true && !repaired {
            let why = json!({"action": "park", "reason": format!("poison at {at}")});
            if consumer.try_say("nack", at, &why).is_none() {
                return;
            }
            continue;
        }
        {
            let key = (event["stream"].as_str().unwrap().to_owned(), event["revision"].as_u64().unwrap());
            let mut diary = diary.lock().unwrap();
            diary.processed.push(key);
            diary.acknowledged.insert(at);
        }
        if consumer.try_say("ack", at, &json!({})).is_none() {
            return;
        }
    }
}

fn settings(retries_max: u32) -> Value {
    json!({"selector": {"category": "loan"}, "from": "start", "strategy": "ordered", "retries_max": retries_max,
        "retry_first_ms": 0, "checkpoint_min": 5, "checkpoint_max": 50, "checkpoint_after_ms": 100})
}

/// A server that is killed and started again on the same store and port.
struct Phoenix {
    server: Option<Server>,
    address: String,
    data: PathBuf,
    client: Client,
}

impl Phoenix {
    fn start(data: &Path) -> Phoenix {
        let server = Server::start_in(data, &[]);
        let (address, client) = (server.address().to_owned(), server.client());
        Phoenix { server: Some(server), address, data: data.to_owned(), client }
    }

    fn kill_and_start(&mut self) {
        self.server.take().expect("it runs").kill();
        self.server = Some(Server::start_at(&self.address, &self.data, &[]));
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the group has done everything but its dead letters.
    fn settle(&self) {
        wait_until("the group is settled", || {
            let group = self.client.group(GROUP);
            let quiet = ["lag_events", "in_flight", "retrying"].iter().all(|what| group[what] == 0);
            (quiet && group["replaying"] == false).then_some(())
        });
    }

    fn letters(&self) -> Vec<Value> {
        self.client.dead_letters(GROUP)
    }
}

/// Events of many loans, all mixed; one of a hundred is poisoned.
fn append_loans(client: &Client) -> BTreeMap<String, u64> {
    let mut lengths = BTreeMap::new();
    for batch in 0..EVENTS / 200 {
        let events: Vec<Value> = (0..200)
            .map(|offset| {
                let number = batch * 200 + offset;
                let stream = format!("loan-{}", number * 31 % STREAMS);
                *lengths.entry(stream.clone()).or_insert(0) += 1;
                json!({"stream": stream, "type": "Step", "data": {"number": number, "poison": number % 101 == 42}})
            })
            .collect();
        client.post("/v1/append", &json!({"events": events})).expect(201);
    }
    lengths
}

fn places(letters: &[Value]) -> BTreeSet<u64> {
    letters.iter().map(position).collect()
}

fn keys(letters: &[Value]) -> HashSet<(String, u64)> {
    let key = |letter: &Value| {
        (letter["stream"].as_str().unwrap().to_owned(), letter["revision"].as_u64().unwrap())
    };
    letters.iter().map(key).collect()
}

/// No event was passed over: what comes is at most one further than anything of its stream before. After a kill it may go
/// back to what was acknowledged and not yet in a checkpoint.
fn check_no_gap(processed: &[(String, u64)]) {
    let mut furthest: BTreeMap<&str, u64> = BTreeMap::new();
    for (stream, revision) in processed {
        let seen = furthest.entry(stream).or_insert(0);
        assert!(*revision <= *seen, "{stream}: {revision} before {seen}");
        *seen = (*seen).max(revision + 1);
    }
}

fn seed() -> u64 {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    seed
}

#[test]
fn nothing_is_lost_when_the_server_is_killed_while_a_group_works_and_while_it_replays() {
    let seed = seed();
    let directory = tempfile::tempdir().unwrap();
    let mut phoenix = Phoenix::start(&directory.path().join("data"));
    let lengths = append_loans(&phoenix.client);
    phoenix.client.put_group(GROUP, &settings(10));

    // While it works.
    let consumers = Consumers::start(&phoenix.url(), false);
    let mut after = 0;
    for kill in 0..3 {
        after += 50 + (seed >> (kill * 8)) as usize % 256;
        wait_until("so much is processed", || (consumers.processed() >= after).then_some(()));
        let before = places(&phoenix.letters());
        phoenix.kill_and_start();
        let now = places(&phoenix.letters());
        assert!(now.is_superset(&before), "dead letters were lost: {:?}", before.difference(&now));
    }
    phoenix.settle();
    let parked = phoenix.letters();
    let diary = consumers.end(&phoenix.client);
    check_no_gap(&diary.processed);
    let mut done: HashSet<(String, u64)> = diary.processed.iter().cloned().collect();
    let letters = keys(&parked);
    for (stream, length) in &lengths {
        for revision in 0..*length {
            let key = (stream.clone(), revision);
            assert!(
                done.contains(&key) != letters.contains(&key),
                "{key:?} is done, or a dead letter, and not both"
            );
        }
    }
    let poisoned = parked.iter().filter(|letter| letter["reason"] == "requested").count();
    assert!(poisoned > 5 && poisoned < parked.len(), "{poisoned} of {}", parked.len());
    for letter in parked.iter().filter(|letter| letter["reason"] == "requested") {
        assert_eq!(letter["error"], format!("poison at {}", position(letter)));
    }
    println!(
        "{} processed, {} of them again, {} parked",
        done.len(),
        diary.processed.len() - done.len(),
        parked.len()
    );

    // While it rests: every word of every dead letter is as it was.
    phoenix.kill_and_start();
    assert_eq!(phoenix.letters(), parked);

    // While it replays, and nobody has acknowledged anything.
    let everything = json!({"group": GROUP});
    for _ in 0..2 {
        let replaying = phoenix.client.post("/v1/dead-letters/replay", &everything).expect(200);
        assert_eq!(replaying["dead_letters"], parked.len());
        let mut holder = phoenix.client.consume(GROUP, "holder", 20);
        for _ in 0..poisoned.min(5) {
            assert_eq!(holder.next()["replayed"], true);
        }
        assert_eq!(phoenix.letters().len(), parked.len());
        phoenix.kill_and_start();
        let now = phoenix.letters();
        assert_eq!(places(&now), places(&parked));
        assert!(now.iter().all(|letter| letter["replaying"] == false));
        let words = |letters: &[Value]| -> Vec<(Value, Value)> {
            letters.iter().map(|letter| (letter["reason"].clone(), letter["error"].clone())).collect()
        };
        assert_eq!(words(&now), words(&parked));
    }

    // While it replays and consumers that are repaired work.
    let consumers = Consumers::start(&phoenix.url(), true);
    let mut left = places(&parked);
    for kill in 0..2 {
        phoenix.client.post("/v1/dead-letters/replay", &everything).expect(200);
        let enough = consumers.processed() + 3 + (seed >> (32 + kill * 8)) as usize % 8;
        wait_until("some are replayed", || (consumers.processed() >= enough).then_some(()));
        phoenix.kill_and_start();
        let now = places(&phoenix.letters());
        let acknowledged = consumers.diary.lock().unwrap().acknowledged.clone();
        let gone: Vec<&u64> = left.difference(&now).collect();
        assert!(now.is_subset(&left), "dead letters came from nowhere: {:?}", now.difference(&left));
        assert!(gone.iter().all(|at| acknowledged.contains(*at)), "{gone:?} went without being acknowledged");
        left = now;
    }
    assert!(!left.is_empty(), "the kills came before the end");
    phoenix.client.post("/v1/dead-letters/replay", &everything).expect(200);
    wait_until("nothing is left", || phoenix.letters().is_empty().then_some(()));
    phoenix.settle();
    let diary = consumers.end(&phoenix.client);
    done.extend(diary.processed);
    assert_eq!(done.len(), EVENTS, "every event was processed");
}

/// The Rust client connects again by itself, and goes on with what the store knows to be left.
#[test]
fn consumers_of_the_rust_client_outlive_a_killed_server() {
    let seed = seed();
    let directory = tempfile::tempdir().unwrap();
    let mut phoenix = Phoenix::start(&directory.path().join("data"));
    append_loans(&phoenix.client);
    phoenix.client.put_group(GROUP, &settings(10));
    let diary = Arc::<Mutex<Diary>>::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for number in 0..CONSUMERS {
        let (url, diary) = (phoenix.url(), diary.clone());
        runtime.spawn(async move {
            let client = graven_client::Client::connect(&url).await.unwrap();
            let options = ConsumeOptions { name: format!("rust-{number}"), buffer: 8 };
            let group = GroupName::new(GROUP).unwrap();
            let mut consumer = client.groups().consume(&group, options).await.unwrap();
            while let Ok(delivery) = consumer.next().await {
                let at = delivery.event.position;
                {
                    let mut diary = diary.lock().unwrap();
                    diary.processed.push((delivery.event.stream.to_string(), delivery.event.revision.0));
                    diary.acknowledged.insert(at.0);
                }
                // A connection that is gone voids it: the event comes again.
                let _ = consumer.consumed().ack(&[at]).await;
            }
        });
    }
    let processed = || diary.lock().unwrap().processed.len();
    for kill in 0..2 {
        let enough = processed() + 100 + (seed >> (kill * 8)) as usize % 256;
        wait_until("so much is processed", || (processed() >= enough).then_some(()));
        phoenix.kill_and_start();
    }
    phoenix.settle();
    let diary = std::mem::take(&mut *diary.lock().unwrap());
    check_no_gap(&diary.processed);
    assert_eq!(diary.processed.iter().collect::<HashSet<_>>().len(), EVENTS, "every event was processed");
    assert!(phoenix.letters().is_empty(), "nothing failed so often");
    runtime.shutdown_background();
}
