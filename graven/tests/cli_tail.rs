//! `graven tail`: follows, and goes on after the server was away.

mod cli_support;

use cli_support::{GRAVEN, Server, command, finish};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(server: &Server, args: &[&str]) -> Tail {
        let mut command = command(GRAVEN);
        command.args(["--url", &server.url, "tail"]).args(args).stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Tail { child, lines }
    }

    /// Waits until the server counts a follower.
    fn wait_until_connected(&self, server: &Server) {
        let metrics = || {
            let mut answer = ureq::get(format!("{}/metrics", server.url)).call().unwrap();
            answer.body_mut().read_to_string().unwrap()
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !metrics().contains("graven_follow_followers 1") {
            assert!(Instant::now() < deadline, "nobody follows");
        }
    }

    /// The payload number of the next event.
    fn next(&mut self) -> u64 {
        let line = self.lines.next().unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        event["data"]["n"].as_u64().unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(server: &Server, stream: &str, number: u64) {
    server.graven(&["append", stream, "--type", "T", "--data", &format!("{{\"n\":{number}}}")]).ok();
}

#[test]
fn what_was_there_comes_first_and_then_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for number in 0..3 {
        append(&server, "a-1", number);
    }
    let mut tail = Tail::start(&server, &["a-1", "--from", "1"]);
    assert_eq!((tail.next(), tail.next()), (1, 2));
    append(&server, "b-1", 99);
    append(&server, "a-1", 3);
    assert_eq!(tail.next(), 3);
}

#[test]
fn a_limit_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for number in 0..3 {
        append(&server, "a-1", number);
    }
    let args = ["tail", "--type", "T", "--type", "U", "--from", "start", "--limit", "2"];
    assert_eq!(server.graven(&args).ok().out.lines().count(), 2);
    server.graven(&["tail", "--all", "--from", "sometime"]).failed(2, &["GRV-1"]);
}

#[test]
fn after_a_restart_of_the_server_it_goes_on_without_gap_or_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let address = server.address().to_owned();
    // Of an empty log, "from the end" is from the start, also on a later connection.
    let mut tail = Tail::start(&server, &["--category", "a"]);
    tail.wait_until_connected(&server);
    server.crash();
    server = Server::start_at(dir.path(), &address);
    let mut number = 0;
    for round in 0..3 {
        for _ in 0..3 {
            append(&server, "a-1", number);
            number += 1;
        }
        for expected in number - 3..number {
            assert_eq!(tail.next(), expected);
        }
        if round == 1 {
            server.crash()
        } else {
            assert!(server.stop().success())
        }
        server = Server::start_at(dir.path(), &address);
    }
    append(&server, "a-1", number);
    assert_eq!(tail.next(), number);
}

#[test]
fn without_a_server_it_fails_at_once() {
    let ran = finish(command(GRAVEN).args(["--url", "http://127.0.0.1:1", "tail", "--all"]));
    ran.failed(6, &["GRV-1403"]);
}
