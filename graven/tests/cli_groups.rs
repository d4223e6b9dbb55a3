//! `graven group` and `graven dead-letter`: what they print, what they ask for first, how they end.

mod cli_support;
mod support;

use cli_support::Ran;
use serde_json::{Value, json};
use std::path::Path;
use support::groups::position;
use support::{Client, Server, wait_until};

struct Running {
    server: Server,
    client: Client,
}

fn start() -> Running {
    let server =
        Server::start_with(&["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"]);
    let client = server.client();
    Running { server, client }
}

impl Running {
    fn graven(&self, args: &[&str]) -> Ran {
        cli_support::graven(&[&["--url", self.server.url()], args].concat())
    }

    /// Parks so many of the events of a group, with the reason it gives, and acknowledges the others.
    fn park(&self, group: &str, events: usize, park: usize) {
        let mut consumer = self.client.consume(group, "tester", 10);
        for number in 0..events {
            let at = position(&consumer.next());
            let said = if number < park {
                consumer.nack(&[at], "park", "division by zero")
            } else {
                consumer.ack(&[at])
            };
            assert_eq!(said, 1);
        }
        wait_until("the group is settled", || (self.client.group(group)["lag_events"] == 0).then_some(()));
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn one(ran: Ran) -> Value {
    let mut lines = lines(&ran.ok().out);
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn a_group_is_made_listed_shown_updated_and_deleted() {
    let running = start();
    for number in 0..4 {
        running.client.append_one(&format!("loan-{}", number % 2), "T");
    }
    let create = ["group", "create", "$ce-loan::workers", "--category", "loan", "--from", "start"];
    let made = one(
        running.graven(&[&create[..], &["--strategy", "ordered", "--message-timeout", "never"]].concat())
    );
    assert_eq!((&made["settings"]["strategy"], &made["lag_events"]), (&json!("ordered"), &json!(4)));
    assert_eq!(made["settings"]["message_timeout_ms"], Value::Null);
    running.graven(&create).failed(4, &["GRV-1801"]);
    running.graven(&["group", "create", "mail", "--stream", "mail-1"]).ok();
    let listed = lines(&running.graven(&["group", "list"]).ok().out);
    let names: Vec<&str> = listed.iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["$ce-loan::workers", "mail"]);
    let table = running.graven(&["group", "list", "-o", "table"]).ok().out;
    assert!(
        table.starts_with("group ") && table.contains("category loan") && table.contains("ordered"),
        "{table}"
    );
    let info = running.graven(&["group", "info", "$ce-loan::workers", "-o", "table"]).ok().out;
    for word in ["to go", "dead letters", "ordered", "category"] {
        assert!(info.contains(word), "{word} is missing: {info}");
    }
    let updated =
        one(running.graven(&["group", "update", "mail", "--retries-max", "3", "--auto-replay", "2"]));
    assert_eq!(updated["settings"]["retries_max"], 3);
    assert_eq!(updated["settings"]["replay"]["times_max"], 2);
    let again = one(running.graven(&["group", "update", "mail", "--retry-first", "2s"]));
    assert_eq!(
        (&again["settings"]["retries_max"], &again["settings"]["retry_first_ms"]),
        (&json!(3), &json!(2_000))
    );
    running.graven(&["group", "update", "mail", "--retries-max", "3"]).failed(2, &["what to change"]);
    running.graven(&["group", "update", "nobody", "--retries-max", "3"]).failed(3, &["GRV-1800"]);
    running.graven(&["group", "delete", "mail"]).failed(2, &["0 events to go", "0 dead letters", "--yes"]);
    running.graven(&["group", "delete", "mail", "--yes"]).ok();
    running.graven(&["group", "delete", "mail", "--yes"]).failed(3, &["GRV-1800"]);
    running.graven(&["group", "info", "mail"]).failed(3, &["GRV-1800"]);
}

#[test]
fn every_kind_of_source_and_filter_is_understood() {
    let running = start();
    let create = |name: &str, args: &[&str]| {
        one(running.graven(&[&["group", "create", name], args].concat()))["settings"].clone()
    };
    assert_eq!(create("a", &["--all", "--exclude-system"])["selector"], json!({"all": true}));
    let filtered =
        create("b", &["--all", "--type-prefix", "A,B", "--stream-regex", "^x", "--exclude-system"]);
    assert_eq!(
        filtered["filter"],
        json!({"type_prefix": ["A", "B"], "stream_regex": "^x", "exclude_system": true})
    );
    assert_eq!(create("c", &["--type", "A", "--type", "B"])["selector"], json!({"types": ["A", "B"]}));
    assert_eq!(create("d", &["--tag", "x"])["selector"], json!({"tags": ["x"]}));
    assert_eq!(
        create("e", &["--tag", "x", "--type", "A"])["selector"],
        json!({"query": {"items": [{"types": ["A"], "tags": ["x"]}]}})
    );
    assert_eq!(create("f", &["--stream", "s", "--from", "0"])["from"], 0);
    assert_eq!(create("g", &["--stream", "s", "--position", "0"])["position"], 0);
    let refused = |args: &[&str], word: &str| {
        running.graven(&[&["group", "create", "x"], args].concat()).failed(2, &[word]);
    };
    refused(&[], "required");
    refused(&["--all", "--stream", "s"], "cannot be used");
    refused(&["--category", ""], "empty");
    refused(&["--all", "--from", "soon"], "GRV-1000");
    refused(&["--all", "--strategy", "fair"], "fair");
    refused(&["--all", "--message-timeout", "5"], "5s");
    refused(&["--all", "--auto-replay-first", "5s"], "--auto-replay");
    running.graven(&["group", "info", ""]).failed(2, &["empty"]);
}

#[test]
fn a_reset_says_first_where_the_group_stands() {
    let running = start();
    for _ in 0..3 {
        running.client.append_one("loan-1", "T");
    }
    running.graven(&["group", "create", "work", "--stream", "loan-1", "--from", "start"]).ok();
    running.park("work", 3, 0);
    running.graven(&["group", "reset", "work", "--to", "start"]).failed(2, &["0 events to go", "--yes"]);
    assert_eq!(running.client.group("work")["lag_events"], 0);
    let reset = one(running.graven(&["group", "reset", "work", "--to", "1", "--yes"]));
    assert_eq!(reset["lag_events"], 2, "a number is a revision of a stream");
    running.graven(&["group", "reset", "work", "--position", "0", "--yes"]).ok();
    running.graven(&["group", "reset", "work"]).failed(2, &["--to"]);
    running.graven(&["group", "reset", "nobody", "--to", "end", "--yes"]).failed(3, &["GRV-1800"]);
}

#[test]
fn dead_letters_are_listed_shown_replayed_and_skipped() {
    let running = start();
    let positions: Vec<u64> = (0..5)
        .map(|number| running.client.append_one("loan-1", if number == 0 { "A" } else { "B" }))
        .collect();
    running.graven(&["group", "create", "work", "--category", "loan", "--from", "start"]).ok();
    running.park("work", 5, 4);
    let list = |args: &[&str]| lines(&running.graven(&[&["dead-letter", "list"], args].concat()).ok().out);
    assert_eq!(list(&[]).iter().map(position).collect::<Vec<_>>(), positions[..4]);
    assert_eq!(list(&["--type", "A", "--group", "work"]).len(), 1);
    assert_eq!(list(&["--limit", "3"]).len(), 3);
    assert_eq!(list(&["--older-than", "1h"]).len(), 0);
    assert_eq!(list(&["--older-than", "0"]).len(), 4);
    assert_eq!(list(&["--since", "2020-01-01T00:00:00Z", "--reason", "requested"]).len(), 4);
    assert_eq!(list(&["--payload", "--type", "A"])[0]["event"]["data"]["of"], "loan-1");
    let table = running.graven(&["dead-letter", "list", "-o", "table"]).ok().out;
    assert!(table.contains("division by zero") && table.lines().count() == 5, "{table}");
    let first = positions[0].to_string();
    let shown = running.graven(&["dead-letter", "show", "work", &first, "-o", "table"]).ok().out;
    assert!(shown.contains("division by zero") && shown.contains("{\"of\":\"loan-1\"}"), "{shown}");
    running.graven(&["dead-letter", "show", "work", "9999"]).failed(3, &["GRV-1808"]);

    let replay = |args: &[&str]| running.graven(&[&["dead-letter", "replay"], args].concat());
    assert_eq!(one(replay(&["--group", "work", "--dry-run"]))["dead_letters"], 4);
    replay(&["--group", "work"]).failed(2, &["4 dead letters", "group work", "--yes"]);
    replay(&[]).failed(2, &["which dead letters"]);
    replay(&["--all", "--group", "work"]).failed(2, &["cannot be used"]);
    assert!(list(&[]).iter().all(|letter| letter["replaying"] == false), "nothing was replayed yet");
    // One alone is replayed as it is asked for.
    assert_eq!(one(replay(&["--position", &first]))["dead_letters"], 1);
    assert_eq!(
        one(replay(&["--group", "work", "--limit", "2", "--yes"]))["dead_letters"].as_u64().unwrap() % 2,
        0
    );
    let mut consumer = running.client.consume("work", "repaired", 1);
    for _ in list(&[]).iter().filter(|letter| letter["replaying"] == true) {
        let at = position(&consumer.next());
        assert_eq!(consumer.ack(&[at]), 1);
    }
    let left = wait_until("the replay is done", || {
        let left = list(&[]);
        left.iter().all(|letter| letter["replaying"] == false).then_some(left)
    });
    assert!((1..4).contains(&left.len()), "{left:?}");

    let skip = |args: &[&str]| running.graven(&[&["dead-letter", "skip"], args].concat());
    let last = position(&left[0]).to_string();
    skip(&["--position", &last]).failed(2, &["1 dead letters", "--yes"]);
    assert_eq!(one(skip(&["--all", "--yes"]))["dead_letters"], left.len());
    assert!(list(&[]).is_empty());
    skip(&["--position", &last, "--yes"]).failed(3, &["GRV-1808"]);
}

#[test]
fn an_export_goes_to_a_file_that_an_import_of_its_events_takes() {
    let running = start();
    for _ in 0..3 {
        running.client.append_one("loan-1", "T");
    }
    running.graven(&["group", "create", "work", "--all", "--exclude-system", "--from", "start"]).ok();
    running.park("work", 3, 3);
    let directory = tempfile::tempdir().unwrap();
    let packed = directory.path().join("letters.ndjson.gz").display().to_string();
    let ran = running.graven(&["dead-letter", "export", &packed, "--group", "work"]).ok();
    assert!(ran.err.contains("exported 3 dead letters"), "{}", ran.err);
    assert!(Path::new(&packed).metadata().unwrap().len() > 0);
    let plain = running.graven(&["dead-letter", "export"]).ok().out;
    let events: String = lines(&plain).iter().map(|line| format!("{}\n", line["cloudevent"])).collect();
    assert_eq!(lines(&plain).len(), 3);
    let other = start();
    let imported =
        cli_support::graven_with_input(&["--url", other.server.url(), "import", "-"], events.as_bytes());
    assert!(imported.ok().err.contains("3 "), "a correction begins with the event as it was");
    assert_eq!(running.graven(&["dead-letter", "export", "--reason", "behind"]).ok().out, "");
    running.graven(&["dead-letter", "export", "--group", ""]).failed(2, &["GRV-1802"]);
}
