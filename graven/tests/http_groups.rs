//! Consumer groups over HTTP: made, shown, changed, consumed, acknowledged.

mod support;

use serde_json::{Value, json};
use std::collections::HashSet;
use support::groups::{encoded, position};
use support::{Client, Server, wait_until};

/// Positions can be counted: the audit trail writes nothing between.
fn start() -> Server {
    Server::start_with(&["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"])
}

/// Settings of a group over a category, from its beginning.
fn of_category(category: &str, more: &Value) -> Value {
    let mut settings = json!({"selector": {"category": category}, "from": "start", "retry_first_ms": 0});
    for (name, value) in more.as_object().expect("an object") {
        settings[name] = value.clone();
    }
    settings
}

fn append(client: &Client, stream: &str, number: usize) -> Vec<u64> {
    (0..number).map(|_| client.append_one(stream, "T")).collect()
}

#[test]
fn a_group_is_made_shown_changed_and_deleted() {
    let server = start();
    let client = server.client();
    let settings = of_category("loan", &json!({}));
    let made = client.put("/v1/groups/workers", &[("If-None-Match", "*")], &settings);
    let made = made.expect(201);
    assert_eq!((&made["name"], &made["settings"]["strategy"]), (&json!("workers"), &json!("round-robin")));
    assert_eq!(made["settings"]["selector"], json!({"category": "loan"}));
    client.put("/v1/groups/workers", &[("If-None-Match", "*")], &settings).problem(409, "GRV-1801");
    client.put("/v1/groups/other", &[("If-Match", "*")], &settings).problem(404, "GRV-1800");
    client.put("/v1/groups/workers", &[("If-Match", "\"3\"")], &settings).problem(400, "GRV-1000");
    client.put("/v1/groups/workers", &[], &settings).expect(200);
    let changed = of_category("loan", &json!({"retries_max": 3, "message_timeout_ms": null}));
    let changed = client.put("/v1/groups/workers", &[("If-Match", "*")], &changed).expect(200);
    assert_eq!(changed["settings"]["retries_max"], 3);
    assert_eq!(changed["settings"]["message_timeout_ms"], Value::Null);
    client.put("/v1/groups/workers", &[], &of_category("mail", &json!({}))).problem(400, "GRV-1802");
    assert_eq!(client.group("workers")["settings"], changed["settings"]);
    client.put_group("another", &json!({"selector": {"all": true}}));
    let list = client.get("/v1/groups").expect(200);
    let names: Vec<&Value> = list["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["another", "workers"]);
    let delete = |name: &str| client.send("DELETE", &format!("/v1/groups/{name}"), &[], None);
    assert_eq!(delete("workers").expect(200), json!({"name": "workers"}));
    delete("workers").problem(404, "GRV-1800");
    client.get("/v1/groups/workers").problem(404, "GRV-1800");
}

#[test]
fn what_is_shown_of_a_group_makes_another_like_it() {
    let server = start();
    let client = server.client();
    client.append_one("a-1", "T");
    let settings = [
        json!({"selector": {"stream": "a-1"}, "from": 0, "strategy": "ordered", "consumers_max": 4}),
        json!({"selector": {"types": ["T", "U"]}, "position": 0, "extra_statistics": true}),
        json!({"selector": {"tags": ["x"]}, "from": "2020-01-01T00:00:00Z", "resolve_links": true}),
        json!({"selector": {"query": {"items": [{"types": ["T"], "tags": ["x", "y"]}]}}, "strategy": "pinned"}),
        json!({"selector": {"all": true}, "filter": {"stream_prefix": ["a", "b,c"], "type_regex": "^T", "exclude_system": true},
            "checkpoint_after_ms": null, "replay": {"first_ms": 1_000, "longest_ms": 60_000, "times_max": 3}}),
    ];
    for (index, settings) in settings.iter().enumerate() {
        let first = client.put_group(&format!("first {index}"), settings);
        let second = client.put_group(&format!("second {index}"), &first["settings"]);
        assert_eq!(first["settings"], second["settings"]);
        for (name, value) in settings.as_object().unwrap() {
            let shown = &first["settings"][name];
            // A position is the same as a number for what is no stream.
            assert!(shown == value || name == "position" && first["settings"]["from"] == *value, "{name}");
        }
    }
}

#[test]
fn consumers_share_the_events_and_each_is_delivered_once() {
    let server = start();
    let client = server.client();
    client.put_group("workers", &of_category("loan", &json!({})));
    let mut consumers = [client.consume("workers", "one", 100), client.consume("workers", "two", 100)];
    let positions: Vec<u64> = (0..20).map(|n| client.append_one(&format!("loan-{}", n % 3), "T")).collect();
    client.append_one("other-1", "T");
    let mut seen = HashSet::new();
    for consumer in &mut consumers {
        // In turns, so each gets half of them.
        for _ in 0..10 {
            let delivery = consumer.next();
            assert_eq!((&delivery["retries"], &delivery["replayed"]), (&json!(0), &json!(false)));
            assert!(seen.insert(position(&delivery)), "delivered once");
        }
    }
    assert_eq!(seen, positions.iter().copied().collect());
    let group = client.group("workers");
    assert_eq!((&group["in_flight"], &group["lag_events"]), (&json!(20), &json!(20)));
    assert_eq!(group["consumers"][0]["name"], "one");
    assert!(group["consumers"][0]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{group}");
    // Each acknowledges everything: what the other has is passed over.
    let in_hand: u64 = consumers.iter().map(|consumer| consumer.ack(&positions)).sum();
    assert_eq!(in_hand, 20);
    let group = client.group("workers");
    assert_eq!((&group["in_flight"], &group["lag_events"]), (&json!(0), &json!(0)));
    assert_eq!((&group["lag_exact"], &group["lag_seconds"]), (&json!(true), &json!(0.0)));
    assert_eq!((&group["done_total"], &group["parked"]), (&json!(20), &json!(0)));
    assert_eq!(consumers[0].ack(&positions), 0, "they are not in its hands any more");
}

#[test]
fn a_consumer_has_no_more_in_its_hands_than_it_takes() {
    let server = start();
    let client = server.client();
    append(&client, "loan-1", 7);
    client.put_group("workers", &of_category("loan", &json!({})));
    let mut consumer = client.consume("workers", "slow", 2);
    let mut hands = vec![position(&consumer.next()), position(&consumer.next())];
    for _ in 0..5 {
        assert_eq!(client.group("workers")["in_flight"], 2);
        assert_eq!(consumer.ack(&[hands.remove(0)]), 1);
        hands.push(position(&consumer.next()));
    }
    assert_eq!(consumer.ack(&hands), 2);
    assert_eq!(client.group("workers")["lag_events"], 0);
}

#[test]
fn what_fails_is_tried_again_and_parked_when_the_retries_are_used_up() {
    let server = start();
    let client = server.client();
    let bad = client.append_one("loan-1", "Bad");
    client.put_group("workers", &of_category("loan", &json!({"retries_max": 2})));
    let mut consumer = client.consume("workers", "one", 10);
    for retries in 0..3 {
        let delivery = consumer.next();
        assert_eq!((position(&delivery), &delivery["retries"]), (bad, &json!(retries)));
        assert_eq!(consumer.nack(&[bad], "retry", &format!("failure {retries}")), 1);
    }
    let letters = wait_until("it is parked", || {
        let letters = client.dead_letters("workers");
        (!letters.is_empty()).then_some(letters)
    });
    let letter = &letters[0];
    assert_eq!((position(letter), &letter["reason"]), (bad, &json!("retries-exhausted")));
    assert_eq!((&letter["attempts"], &letter["error"]), (&json!(3), &json!("failure 2")));
    assert_eq!(
        (&letter["consumer"], &letter["stream"], &letter["type"]),
        (&json!("one"), &json!("loan-1"), &json!("Bad"))
    );
    assert_eq!(client.group("workers")["lag_events"], 0);
    // One is parked because it is asked for, one is skipped.
    let (parked, skipped) = (client.append_one("loan-1", "T"), client.append_one("loan-1", "T"));
    assert_eq!(position(&consumer.next()), parked);
    assert_eq!(position(&consumer.next()), skipped);
    assert_eq!(consumer.nack(&[parked], "park", "no"), 1);
    assert_eq!(consumer.nack(&[skipped], "skip", "never mind"), 1);
    wait_until("it is settled", || (client.group("workers")["lag_events"] == 0).then_some(()));
    let reasons: Vec<Value> =
        client.dead_letters("workers").iter().map(|letter| letter["reason"].clone()).collect();
    assert_eq!(reasons, ["retries-exhausted", "requested"]);
}

#[test]
fn an_event_that_takes_too_long_is_tried_again_elsewhere() {
    let server = start();
    let client = server.client();
    let event = client.append_one("loan-1", "T");
    client.put_group("workers", &of_category("loan", &json!({"message_timeout_ms": 200, "retries_max": 1})));
    let mut consumer = client.consume("workers", "silent", 1);
    for retries in 0..2 {
        let delivery = consumer.next();
        assert_eq!((position(&delivery), &delivery["retries"]), (event, &json!(retries)));
    }
    let letter = wait_until("it is parked", || client.dead_letters("workers").pop());
    assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("timed-out"), &json!(2)));
    assert_eq!(consumer.ack(&[event]), 0, "it comes too late");
}

#[test]
fn a_consumer_that_leaves_gives_back_what_it_held() {
    let server = start();
    let client = server.client();
    let positions = append(&client, "loan-1", 10);
    client.put_group("workers", &of_category("loan", &json!({"strategy": "dispatch-to-single"})));
    let mut leaving = client.consume("workers", "leaving", 10);
    let held: Vec<u64> = (0..10).map(|_| position(&leaving.next())).collect();
    assert_eq!(held, positions);
    assert_eq!(leaving.ack(&held[..3]), 3);
    let mut staying = client.consume("workers", "staying", 10);
    drop(leaving);
    let mut taken: Vec<u64> = (0..7).map(|_| position(&staying.next())).collect();
    taken.sort_unstable();
    assert_eq!(taken, positions[3..]);
    assert_eq!(staying.ack(&taken), 7);
    let group = client.group("workers");
    assert_eq!((&group["lag_events"], &group["consumers"].as_array().unwrap().len()), (&json!(0), &1));
}

#[test]
fn consumers_are_told_when_their_group_is_changed_reset_or_deleted() {
    let server = start();
    let client = server.client();
    let positions = append(&client, "loan-1", 3);
    client.put_group("workers", &of_category("loan", &json!({})));
    let mut consumer = client.consume("workers", "one", 10);
    assert_eq!(position(&consumer.next()), positions[0]);
    // The same again disturbs nobody.
    client.put_group("workers", &of_category("loan", &json!({})));
    assert_eq!(position(&consumer.next()), positions[1]);
    client.put_group("workers", &of_category("loan", &json!({"retries_max": 1})));
    let problem = consumer.problem();
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("GRV-1804"), &json!(true)));
    let mut consumer = client.consume("workers", "one", 10);
    let ids: Vec<u64> = (0..3).map(|_| position(&consumer.next())).collect();
    assert_eq!(consumer.ack(&ids), 3);
    let reset = |body: &Value| client.post("/v1/groups/workers/reset", body);
    reset(&json!({"from": "start"})).expect(200);
    assert_eq!(consumer.problem()["code"], "GRV-1804");
    let mut consumer = client.consume("workers", "one", 10);
    let again: Vec<u64> = (0..3).map(|_| position(&consumer.next())).collect();
    assert_eq!(again, positions);
    client.send("DELETE", "/v1/groups/workers", &[], None).expect(200);
    assert_eq!(consumer.problem()["code"], "GRV-1800");
}

#[test]
fn a_group_is_reset_to_a_position_a_revision_or_a_time() {
    let server = start();
    let client = server.client();
    append(&client, "other-1", 2);
    let positions = append(&client, "loan-1", 5);
    let event = |position: u64| client.get(&format!("/v1/positions/{position}")).expect(200);
    let first_after = |group: &str| {
        let mut consumer = client.consume(group, "one", 1);
        position(&consumer.next())
    };
    client.put_group("category", &of_category("loan", &json!({})));
    client.put_group("stream", &json!({"selector": {"stream": "loan-1"}}));
    let reset = |group: &str, body: &Value| client.post(&format!("/v1/groups/{group}/reset"), body);
    let committed_at = event(positions[3])["committed_at"].clone();
    for (group, body, expected) in [
        ("category", json!({"position": positions[2]}), positions[2]),
        ("category", json!({"from": positions[1]}), positions[1]),
        ("category", json!({"from": committed_at}), positions[3]),
        ("stream", json!({"from": 4}), positions[4]),
        ("stream", json!({"position": positions[1]}), positions[1]),
        ("stream", json!({"from": "start"}), positions[0]),
    ] {
        reset(group, &body).expect(200);
        assert_eq!(first_after(group), expected, "{group} {body}");
    }
    let at_end = reset("stream", &json!({"from": "end"})).expect(200);
    assert_eq!(at_end["lag_events"], 0);
    for body in [json!({}), json!({"from": 1, "position": 1}), json!({"from": "soon"}), json!({"to": 1})] {
        reset("stream", &body).problem(400, "GRV-1000");
    }
    reset("nobody", &json!({"from": "start"})).problem(404, "GRV-1800");
}

#[test]
fn consumers_end_with_the_server_and_the_group_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start_in(&data, &[]);
    let client = server.client();
    let positions = append(&client, "loan-1", 6);
    client.put_group("workers", &of_category("loan", &json!({})));
    let mut consumer = client.consume("workers", "one", 3);
    let held: Vec<u64> = (0..3).map(|_| position(&consumer.next())).collect();
    assert_eq!(consumer.ack(&held[..2]), 2);
    server.terminate();
    while consumer.message().is_some() {}
    assert!(server.wait().success());
    let server = Server::start_in(&data, &[]);
    let client = server.client();
    let group = client.group("workers");
    assert_eq!((&group["lag_events"], &group["in_flight"]), (&json!(4), &json!(0)));
    let mut consumer = client.consume("workers", "one", 10);
    let rest: Vec<u64> = (0..4).map(|_| position(&consumer.next())).collect();
    assert_eq!(rest, positions[2..]);
}

#[test]
fn a_group_is_full_when_it_has_as_many_consumers_as_it_takes() {
    let server = start();
    let client = server.client();
    client.put_group("workers", &of_category("loan", &json!({"consumers_max": 1})));
    let consumer = client.consume("workers", "one", 1);
    client.get_as("/v1/groups/workers/consume", "text/event-stream").problem(409, "GRV-1803");
    drop(consumer);
    wait_until("there is room again", || {
        let answer = client.group("workers");
        answer["consumers"].as_array().unwrap().is_empty().then_some(())
    });
    drop(client.consume("workers", "two", 1));
}

#[test]
fn names_with_anything_in_them_are_names_of_groups() {
    let server = start();
    let client = server.client();
    client.append_one("loan-1", "T");
    for name in ["$ce-loan::workers", "a/b c", "ä", "..", "x?y#z%", &"n".repeat(1_000)] {
        client.put_group(name, &of_category("loan", &json!({})));
        assert_eq!(client.group(name)["name"], *name);
        let mut consumer = client.consume(name, "one", 1);
        let delivery = consumer.next();
        assert_eq!(consumer.ack(&[position(&delivery)]), 1);
        client.send("DELETE", &format!("/v1/groups/{}", encoded(name)), &[], None).expect(200);
    }
}

#[test]
fn what_a_group_cannot_be_is_refused_and_leaves_nothing() {
    let server = start();
    let client = server.client();
    let settings = of_category("loan", &json!({}));
    client.put(&format!("/v1/groups/{}", "n".repeat(1_001)), &[], &settings).problem(400, "GRV-1802");
    client.put("/v1/groups/a%0Ab", &[], &settings).problem(400, "GRV-1802");
    client.put("/v1/groups/%FF", &[], &settings).problem(400, "GRV-1802");
    let head = || client.get("/v1/info").expect(200)["head"].clone();
    let before = head();
    for (settings, code) in [
        (json!({}), "GRV-1000"),
        (json!({"selector": {}}), "GRV-1000"),
        (json!({"selector": {"all": true, "category": "a"}}), "GRV-1000"),
        (json!({"selector": {"stream": ""}}), "GRV-1001"),
        (json!({"selector": {"all": true}, "strategy": "fair"}), "GRV-1000"),
        (json!({"selector": {"all": true}, "unknown": 1}), "GRV-1000"),
        (json!({"selector": {"all": true}, "retries_max": -1}), "GRV-1000"),
        (json!({"selector": {"all": true}, "retries_max": "3"}), "GRV-1000"),
        (json!({"selector": {"all": true}, "live_buffer": 0}), "GRV-1802"),
        (json!({"selector": {"all": true}, "live_buffer": 4_000_000_000u32}), "GRV-1802"),
        (json!({"selector": {"all": true}, "history_buffer": 100_001}), "GRV-1802"),
        (json!({"selector": {"all": true}, "read_batch": 0}), "GRV-1802"),
        (json!({"selector": {"all": true}, "consumers_max": 4_000_000_000u32}), "GRV-1802"),
        (json!({"selector": {"all": true}, "message_timeout_ms": u64::MAX}), "GRV-1802"),
        (json!({"selector": {"all": true}, "retry_first_ms": u64::MAX}), "GRV-1802"),
        (json!({"selector": {"all": true}, "filter": {"stream_regex": "["}}), "GRV-1008"),
        (json!({"selector": {"all": true}, "filter": {"type_prefix": ["a"], "type_regex": "a"}}), "GRV-1008"),
    ] {
        let answer = client.put("/v1/groups/g", &[], &settings);
        assert_eq!(answer.code().as_deref(), Some(code), "{settings} {}", answer.text());
    }
    let plain = client.send("PUT", "/v1/groups/g", &[("Content-Type", "text/plain")], Some(b"{}"));
    plain.problem(415, "GRV-1014");
    client.get("/v1/groups/g").problem(404, "GRV-1800");
    assert_eq!(head(), before);
}

#[test]
fn what_a_consumer_cannot_say_is_refused() {
    let server = start();
    let client = server.client();
    let event = client.append_one("loan-1", "T");
    client.put_group("workers", &of_category("loan", &json!({})));
    let mut consumer = client.consume("workers", "one", 1);
    assert_eq!(position(&consumer.next()), event);
    let connect = |query: &str, headers: &[(&str, &str)]| {
        client.send("GET", &format!("/v1/groups/workers/consume{query}"), headers, None)
    };
    let accept = ("Accept", "text/event-stream");
    connect("", &[]).problem(400, "GRV-1000");
    connect("?buffer=0", &[accept]).problem(400, "GRV-1802");
    connect("?buffer=10001", &[accept]).problem(400, "GRV-1802");
    connect("?limit=1", &[accept]).problem(400, "GRV-1000");
    connect(&format!("?name={}", "n".repeat(257)), &[accept]).problem(400, "GRV-1802");
    connect("", &[accept, ("Origin", "http://evil.example")]).problem(400, "GRV-1000");
    connect("", &[accept, ("Sec-Fetch-Site", "cross-site")]).problem(400, "GRV-1000");
    assert_eq!(client.group("workers")["consumers"].as_array().unwrap().len(), 1);
    client.get_as("/v1/groups/nobody/consume", "text/event-stream").problem(404, "GRV-1800");

    let id = consumer.id;
    let say = |what: &str, body: &Value| client.post(&format!("/v1/groups/workers/{what}"), body);
    for what in ["ack", "nack"] {
        say(what, &json!({"consumer": id + 1, "positions": [event]})).problem(404, "GRV-1805");
        say(what, &json!({"consumer": id, "positions": []})).problem(400, "GRV-1009");
        say(what, &json!({"consumer": id, "positions": vec![event; 10_001]})).problem(400, "GRV-1009");
        say(what, &json!({"consumer": id})).problem(400, "GRV-1000");
        say(what, &json!({"consumer": -1, "positions": [event]})).problem(400, "GRV-1000");
        say(what, &json!({"consumer": id, "positions": [event], "x": 1})).problem(400, "GRV-1000");
        client
            .post(&format!("/v1/groups/nobody/{what}"), &json!({"consumer": id, "positions": [event]}))
            .problem(404, "GRV-1800");
    }
    say("nack", &json!({"consumer": id, "positions": [event], "action": "burn"})).problem(400, "GRV-1000");
    assert_eq!(consumer.ack(&[u64::MAX, event + 1]), 0, "they never were in its hands");
    assert_eq!(consumer.ack(&[event, event]), 1, "twice the same is once");
}

#[test]
fn a_long_reason_is_cut_and_a_hostile_one_is_kept_as_it_is() {
    let server = start();
    let client = server.client();
    let positions = append(&client, "loan-1", 2);
    client.put_group("workers", &of_category("loan", &json!({})));
    let mut consumer = client.consume("workers", "one", 2);
    consumer.next();
    consumer.next();
    let hostile = "line\nbreak \"quoted\" \u{1b}[31m \u{0} ü";
    assert_eq!(consumer.nack(&positions[..1], "park", hostile), 1);
    assert_eq!(consumer.nack(&positions[1..], "park", &"ü".repeat(100_000)), 1);
    let letters =
        wait_until("both are parked", || Some(client.dead_letters("workers")).filter(|l| l.len() == 2));
    assert_eq!(letters[0]["error"], hostile);
    let cut = letters[1]["error"].as_str().unwrap();
    assert!(cut.len() <= 4_096 && cut.chars().all(|c| c == 'ü') && cut.len() > 4_000, "{}", cut.len());
}

#[test]
fn bodies_broken_everywhere_are_answered_and_never_break_the_server() {
    let server = start();
    let client = server.client();
    let event = client.append_one("loan-1", "T");
    client.put_group("workers", &of_category("loan", &json!({})));
    let mut consumer = client.consume("workers", "one", 1);
    assert_eq!(position(&consumer.next()), event);
    let settings = r#"{"selector":{"query":{"items":[{"types":["T"],"tags":["x"]}]}},"filter":{"stream_prefix":["a"],"type_regex":"^T"},
        "from":3,"strategy":"ordered","message_timeout_ms":null,"replay":{"first_ms":1,"longest_ms":2,"times_max":3}}"#;
    let nack =
        format!(r#"{{"consumer":{},"positions":[7,8],"action":"park","reason":"\u00fc"}}"#, consumer.id);
    let select = r#"{"group":"workers","stream":"a","type":"T","reason":"behind","failed_since":"2020-01-01T00:00:00Z","positions":[1],"limit":2,"dry_run":true}"#;
    for (method, target, body) in [
        ("PUT", "/v1/groups/broken", settings),
        ("POST", "/v1/groups/workers/reset", r#"{"from":"2020-01-01T00:00:00Z"}"#),
        ("POST", "/v1/groups/workers/nack", &nack),
        ("POST", "/v1/dead-letters/replay", select),
        ("POST", "/v1/dead-letters/skip", select),
    ] {
        let body = body.as_bytes();
        let prefixes = (0..body.len()).map(|end| body[..end].to_vec());
        let flips = (0..body.len()).flat_map(|at| {
            [1, 0x20, 0x80].map(|bit| {
                let mut flipped = body.to_vec();
                flipped[at] ^= bit;
                flipped
            })
        });
        for broken in prefixes.chain(flips) {
            let answer = client.send(method, target, &[("Content-Type", "application/json")], Some(&broken));
            assert!(answer.status < 500, "{target} {} {}", broken.escape_ascii(), answer.text());
        }
    }
}

#[test]
fn metrics_say_how_groups_stand_without_naming_them() {
    let server = start();
    let client = server.client();
    let positions = append(&client, "loan-1", 5);
    client.put_group("secret-name", &of_category("loan", &json!({})));
    let mut consumer = client.consume("secret-name", "one", 3);
    for _ in 0..3 {
        consumer.next();
    }
    assert_eq!(consumer.ack(&positions[..1]), 1);
    assert_eq!(consumer.nack(&positions[1..2], "park", "no"), 1);
    wait_until("it is parked", || {
        client.dead_letters("secret-name").pop().filter(|_| client.group("secret-name")["in_flight"] == 3)
    });
    let text = client.get("/metrics").text().to_owned();
    assert!(!text.contains("secret-name"), "no name of a group is a label");
    for line in [
        "graven_groups 1",
        "graven_group_consumers 1",
        "graven_group_lag_events 3",
        "graven_dead_letters 1",
        "graven_group_in_flight_events 3",
        "graven_group_done_total 1",
        "graven_group_parked_total 1",
        "graven_group_retries_total 0",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
    for name in ["graven_group_lag_seconds ", "graven_dead_letters_oldest_seconds "] {
        let line = text.lines().find(|line| line.starts_with(name)).expect(name);
        assert!(line[name.len()..].parse::<f64>().unwrap() > 0.0, "{line}");
    }
}

#[test]
fn metrics_count_what_groups_did_also_those_that_are_gone() {
    let server = start();
    let client = server.client();
    let positions = append(&client, "loan-1", 4);
    client.put_group("gone", &of_category("loan", &json!({"retry_first_ms": 0})));
    let mut consumer = client.consume("gone", "one", 4);
    for _ in 0..4 {
        consumer.next();
    }
    assert_eq!(consumer.ack(&positions[..1]), 1);
    assert_eq!(consumer.nack(&positions[1..2], "retry", "again"), 1);
    assert_eq!(consumer.nack(&positions[2..3], "skip", "not for us"), 1);
    assert_eq!(consumer.nack(&positions[3..], "park", "no"), 1);
    assert_eq!(support::groups::position(&consumer.next()), positions[1]);
    wait_until("it is parked", || client.dead_letters("gone").pop());
    client.post("/v1/dead-letters/replay", &json!({"group": "gone"})).expect(200);
    assert_eq!(support::groups::position(&consumer.next()), positions[3]);
    assert_eq!(consumer.ack(&[positions[1], positions[3]]), 2);
    wait_until("the replay is durable", || client.dead_letters("gone").is_empty().then_some(()));
    client.send("DELETE", "/v1/groups/gone", &[], None).expect(200);
    let text = client.get("/metrics").text().to_owned();
    for line in [
        "graven_groups 0",
        "graven_group_deliveries_total 6",
        "graven_group_done_total 3",
        "graven_group_retries_total 1",
        "graven_group_parked_total 1",
        "graven_group_replayed_total 1",
        "graven_group_skipped_total 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
}
