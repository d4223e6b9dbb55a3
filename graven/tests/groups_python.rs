//! Consumers in Python, with KurrentDB's own client, share an ordered group; two of them are killed.

mod cli_support;
mod support;

use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{Client, GRAVEN, Server, wait_until};

const GROUP: &str = "$ce-loan::workers";
const STREAMS: usize = 250;
const EVENTS: usize = 3_000;
const WORKERS: usize = 4;

/// Where KurrentDB's client for Python is installed.
fn python() -> PathBuf {
    let built =
        Path::new(GRAVEN).parent().and_then(Path::parent).expect("the binary lies in a profile's folder");
    let python = built.join("kurrent-clients/python/bin/python");
    assert!(python.exists(), "there is no {}: `cargo xtask clients` makes it", python.display());
    python
}

/// Consumers in processes of their own; killed when dropped.
struct Workers {
    running: Vec<Child>,
    ledger: PathBuf,
}

impl Workers {
    fn start(server: &Server, ledger: &Path, broken: &str) -> Workers {
        let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/group_workers/worker.py");
        let running = (0..WORKERS).map(|number| {
            Command::new(python())
                .arg(&worker)
                .args([server.address(), &format!("worker-{number}"), "workers", "$ce-loan"])
                .arg(ledger)
                .arg(broken)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .stdin(Stdio::null())
                .spawn()
                .expect("Python starts")
        });
        Workers { running: running.collect(), ledger: ledger.to_owned() }
    }

    /// Ends one as a crash would.
    fn kill(&mut self, number: usize) {
        self.running[number].kill().expect("the worker runs");
        self.running[number].wait().expect("the worker ended");
    }

    /// What was processed, in order.
    fn processed(&self) -> Vec<(String, u64)> {
        let text = std::fs::read_to_string(&self.ledger).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').skip(1);
            let stream = words.next().expect("a stream").to_owned();
            (stream, words.next().expect("a revision").parse().expect("a number"))
        };
        // What is being written is not read yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(line).collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.running {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// How an event of the slice is refused.
fn poison(number: usize) -> Option<&'static str> {
    match number {
        n if n % 211 == 100 => Some("park"),
        n if n % 307 == 200 => Some("retry"),
        _ => None,
    }
}

/// Events as a bank has them: many loans, each with a few steps, all mixed.
fn loans() -> (String, BTreeMap<String, Vec<Option<&'static str>>>) {
    const STEPS: [&str; 5] =
        ["A_SUBMITTED", "A_PARTLYSUBMITTED", "W_Completeren aanvraag", "O_SENT", "A_DECLINED"];
    let mut lines = String::new();
    let mut streams: BTreeMap<String, Vec<Option<&'static str>>> = BTreeMap::new();
    for number in 0..EVENTS {
        let stream = format!("loan-{}", number * 7919 % STREAMS);
        let steps = streams.entry(stream.clone()).or_default();
        let event = json!({
            "specversion": "1.0", "id": format!("00000000-0000-4000-8000-{number:012}"), "source": "urn:loan",
            "type": STEPS[steps.len().min(STEPS.len() - 1)], "subject": stream, "datacontenttype": "application/json",
            "data": {"resource": number.to_string(), "poison": poison(number)},
        });
        writeln!(lines, "{event}").expect("text takes everything");
        steps.push(poison(number));
    }
    (lines, streams)
}

/// Each stream's events came in order: the next one, or the same again.
fn check_order(processed: &[(String, u64)]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for (stream, revision) in processed {
        match last.insert(stream, *revision) {
            None => assert_eq!(*revision, 0, "{stream} begins at its beginning"),
            Some(before) => {
                assert!(
                    *revision == before || *revision == before + 1,
                    "{stream}: {revision} after {before}"
                );
            }
        }
    }
}

fn settled(client: &Client) -> Option<Value> {
    let group = client.group(GROUP);
    (group["lag_events"] == 0 && group["in_flight"] == 0 && group["retrying"] == 0).then_some(group)
}

#[test]
fn four_consumers_in_python_keep_the_order_of_every_loan_while_two_are_killed() {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_in(&directory.path().join("data"), &[]);
    let client = server.client();
    let (lines, streams) = loans();
    client.post_as("/v1/import", "application/x-ndjson", lines).expect(200);
    let graven = |args: &[&str]| cli_support::graven(&[&["--url", server.url()], args].concat());
    let create = ["group", "create", GROUP, "--category", "loan", "--from", "start", "--strategy", "ordered"];
    let more = ["--resolve-links", "--retries-max", "3", "--retry-first", "10ms", "--retry-longest", "50ms"];
    graven(&[&create[..], &more].concat()).ok();

    let ledger = directory.path().join("ledger");
    let mut workers = Workers::start(&server, &ledger, "data");
    // Two of them die in the middle of it, whenever that is.
    let first = 100 + (seed % 900) as usize;
    let second = first + 100 + (seed >> 32) as usize % 900;
    for (victim, after) in [(seed as usize % 2, first), (2 + seed as usize % 2, second)] {
        wait_until("so much is processed", || (workers.processed().len() >= after).then_some(()));
        workers.kill(victim);
    }
    wait_until("the others have done the rest", || settled(&client));

    let processed = workers.processed();
    check_order(&processed);
    let done: HashSet<&(String, u64)> = processed.iter().collect();
    let mut expected_parked = BTreeMap::new();
    for (stream, steps) in &streams {
        let stop = steps.iter().position(Option::is_some);
        for (revision, how) in steps.iter().enumerate() {
            let revision = revision as u64;
            let key = (stream.clone(), revision);
            match stop {
                Some(stop) if revision >= stop as u64 => {
                    assert!(!done.contains(&key), "{key:?} is poisoned or behind a poisoned one");
                    let reason = match how {
                        _ if revision > stop as u64 => "behind",
                        Some("park") => "requested",
                        _ => "retries-exhausted",
                    };
                    expected_parked.insert(key, reason);
                }
                _ => assert!(done.contains(&key), "{key:?} was never processed"),
            }
        }
    }
    assert!(expected_parked.values().any(|reason| *reason == "behind"), "the slice has what it is to prove");
    assert!(expected_parked.values().any(|reason| *reason == "retries-exhausted"));
    let letters = client.dead_letters(GROUP);
    let parked: BTreeMap<(String, u64), &str> = letters
        .iter()
        .map(|letter| {
            let key = (letter["stream"].as_str().unwrap().to_owned(), letter["revision"].as_u64().unwrap());
            (key, letter["reason"].as_str().unwrap())
        })
        .collect();
    assert_eq!(parked, expected_parked);
    for letter in letters.iter().filter(|letter| letter["reason"] == "retries-exhausted") {
        assert!(letter["attempts"].as_u64().unwrap() >= 4, "{letter}");
    }
    println!(
        "{EVENTS} events in {STREAMS} streams: {} processed, {} of them again, {} parked; killed after {first} and {second}",
        done.len(),
        processed.len() - done.len(),
        parked.len()
    );

    // The consumers are repaired, and what was parked is replayed.
    drop(workers);
    let workers = Workers::start(&server, &ledger, "nothing");
    graven(&["dead-letter", "replay", "--group", GROUP]).failed(2, &["--yes"]);
    graven(&["dead-letter", "replay", "--group", GROUP, "--yes"]).ok();
    wait_until("nothing is left", || {
        (client.dead_letters(GROUP).is_empty() && settled(&client).is_some()).then_some(())
    });
    let processed = workers.processed();
    check_order(&processed);
    let done: HashSet<&(String, u64)> = processed.iter().collect();
    assert_eq!(done.len(), EVENTS, "every event was processed");
}
