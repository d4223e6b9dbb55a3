//! KurrentDB's own clients, as their authors publish them, at work with a server.
//!
//! The scenarios are beside this file in `kurrent_clients`, in the languages of the clients. `cargo xtask test` installs
//! the clients; `cargo xtask clients` does only that.
//!
//! Which file proves what; `–` where the client has no such call:
//!
//! | what | Python | Python, asyncio | Node.js | Rust |
//! | --- | --- | --- | --- | --- |
//! | appends under every expectation, retried ones | `appends` | `asynchronous` | `streams` | `streams` |
//! | batch append | `appends` | `asynchronous` | `streams` | `streams` |
//! | several streams at once: sessions, records with checks | `many_streams` | `asynchronous` | `streams` | – |
//! | reads both ways, with and without a limit, from every beginning | `reads` | `asynchronous` | `streams` | `streams` |
//! | filtered reads | `reads` | `asynchronous` | `streams` | `streams` |
//! | subscriptions, caught up, filtered with checkpoints | `subscriptions` | `asynchronous` | `subscriptions` | `streams` |
//! | metadata of streams | `reads` | `asynchronous` | `streams` | `streams` |
//! | deleting, reopening, tombstones | `appends`, `reads` | `asynchronous` | `streams` | `streams` |
//! | `$ce-` and `$et-` as links and resolved | `reads`, `subscriptions` | `asynchronous`: `$ce-` | `streams` | `streams` |
//! | indexes | `reads`, `subscriptions` | `asynchronous`: reads | – | – |
//! | groups: create, update, delete, list, info, on a stream and on everything | `groups` | `asynchronous` | `subscriptions` | `groups` |
//! | acknowledge; try again, park, skip, stop; replay | `groups` | `asynchronous` | `subscriptions` | `groups` |
//! | replay of so many | – | – | `subscriptions` | `groups` |
//! | consumers that are dropped by an update or a deletion | `groups` | `asynchronous` | `subscriptions` | `groups` |
//! | every strategy, four consumers | `groups` | `asynchronous`: four consumers | | |
//! | restart of the groups | – | – | `subscriptions` | `groups` |
//! | the server is found by gossip | `discovery` | | `streams` | |
//!
//! What the clients raise is compared by its class or variant. Not driven are those for what does not happen here: a node that
//! is not the leader, missing or wrong credentials, certificates, consumers that are cut off because they are slow, old
//! transactions.

mod support;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{GRAVEN, Server};

/// No file of scenarios takes longer.
const SCENARIOS_PATIENCE: Duration = Duration::from_secs(300);

/// Where a client is installed.
fn room(language: &str) -> PathBuf {
    let built =
        Path::new(GRAVEN).parent().and_then(Path::parent).expect("the binary lies in a profile's folder");
    let room = built.join("kurrent-clients").join(language);
    assert!(
        room.exists(),
        "there is no {}: `cargo xtask clients` installs KurrentDB's clients",
        room.display()
    );
    room
}

/// Files of scenarios.
fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kurrent_clients").join(file)
}

/// Runs a file of scenarios, and shows what it said if one is not proved.
fn prove(server: &Server, program: &Path, before: &[OsString]) {
    let said = tempfile::NamedTempFile::new().expect("a file for what is said");
    let to = |file: &File| Stdio::from(file.try_clone().expect("the file is open"));
    let mut child = Command::new(program)
        .args(before)
        .arg(server.address())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NODE_PATH", room("node").join("node_modules"))
        .stdin(Stdio::null())
        .stdout(to(said.as_file()))
        .stderr(to(said.as_file()))
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    let deadline = Instant::now() + SCENARIOS_PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the process is ours") {
            break Some(status);
        }
        if Instant::now() >= deadline {
            child.kill().expect("the process is ours");
            child.wait().expect("it was ended");
            break None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    let said = std::fs::read_to_string(said.path()).expect("what was said is text");
    println!("{said}");
    match status {
        None => panic!("the scenarios take too long"),
        Some(status) => assert!(status.success() && said.contains(" passed, 0 failed"), "{status}"),
    }
}

fn python(file: &str) {
    let server = Server::start();
    prove(&server, &room("python").join("bin/python"), &[source("python").join(file).into()]);
}

#[test]
fn python_appends_to_one_stream() {
    python("appends.py");
}

#[test]
fn python_appends_to_many_streams_at_once() {
    python("many_streams.py");
}

#[test]
fn python_reads_streams_and_everything() {
    python("reads.py");
}

#[test]
fn python_subscribes_to_streams_and_to_everything() {
    python("subscriptions.py");
}

#[test]
fn python_consumes_in_groups() {
    python("groups.py");
}

#[test]
fn python_does_all_of_it_asynchronously_too() {
    python("asynchronous.py");
}

#[test]
fn python_finds_the_server_and_asks_what_it_has() {
    python("discovery.py");
}

#[test]
fn rust_works_with_streams_and_groups() {
    let server = Server::start();
    prove(&server, &room("rust").join("debug/graven-kurrent-client"), &[]);
}

fn node(file: &str) {
    let server = Server::start();
    prove(&server, &room("node").join("bin/node"), &[source("node").join(file).into()]);
}

#[test]
fn node_works_with_streams() {
    node("streams.mjs");
}

#[test]
fn node_subscribes_and_consumes_in_groups() {
    node("subscriptions.mjs");
}
