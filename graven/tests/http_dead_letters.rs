//! Dead letters over HTTP: listed, filtered, shown, replayed, skipped, exported.

mod support;

use serde_json::{Value, json};
use support::groups::position;
use support::{Client, Server, wait_until};

/// A server with two groups over the same five events of three streams; `one` has parked all of them, `two` the first.
struct Parked {
    server: Server,
    client: Client,
    positions: Vec<u64>,
}

fn parked() -> Parked {
    let server =
        Server::start_with(&["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"]);
    let client = server.client();
    let positions: Vec<u64> = [("a-1", "T"), ("a-2", "T"), ("a-1", "U"), ("a-3", "T"), ("a-2", "U")]
        .into_iter()
        .map(|(stream, event_type)| client.append_one(stream, event_type))
        .collect();
    let settings =
        json!({"selector": {"category": "a"}, "from": "start", "retries_max": 0, "retry_first_ms": 0});
    for (group, park) in [("one", 5), ("two", 1)] {
        client.put_group(group, &settings);
        let mut consumer = client.consume(group, "tester", 10);
        for number in 0..5 {
            let at = position(&consumer.next());
            let taken = match number {
                n if n >= park => consumer.ack(&[at]),
                // Asked for, or out of retries.
                n if n % 2 == 0 => consumer.nack(&[at], "park", &format!("no {n}")),
                n => consumer.nack(&[at], "retry", &format!("failed {n}")),
            };
            assert_eq!(taken, 1);
        }
        settled(&client, group, park);
    }
    Parked { server, client, positions }
}

/// Waits until a group has nothing to do but its dead letters, of which there are so many.
fn settled(client: &Client, group: &str, letters: usize) {
    wait_until("the group is settled", || {
        let info = client.group(group);
        let done = info["lag_events"] == 0 && info["in_flight"] == 0 && info["replaying"] == false;
        (done && client.dead_letters(group).len() == letters).then_some(())
    });
}

fn places(page: &Value) -> Vec<(String, u64)> {
    let letters = page["dead_letters"].as_array().expect("a list");
    letters.iter().map(|letter| (letter["group"].as_str().unwrap().to_owned(), position(letter))).collect()
}

#[test]
fn dead_letters_are_filtered_by_everything_there_is_to_say_of_them() {
    let Parked { server: _server, client, positions } = parked();
    let list = |query: &str| places(&client.get(&format!("/v1/dead-letters?{query}")).expect(200));
    let of = |group: &str, indexes: &[usize]| -> Vec<(String, u64)> {
        indexes.iter().map(|index| (group.to_owned(), positions[*index])).collect()
    };
    assert_eq!(list(""), [of("one", &[0, 1, 2, 3, 4]), of("two", &[0])].concat());
    assert_eq!(list("group=two"), of("two", &[0]));
    assert_eq!(list("stream=a-1&group=one"), of("one", &[0, 2]));
    assert_eq!(list("type=U"), of("one", &[2, 4]));
    assert_eq!(list("type=U&stream=a-2"), of("one", &[4]));
    assert_eq!(list("reason=retries-exhausted"), of("one", &[1, 3]));
    assert_eq!(list("reason=requested&group=one"), of("one", &[0, 2, 4]));
    assert_eq!(list("reason=behind"), []);
    let at = format!("position={}&position={}&group=one", positions[3], positions[1]);
    assert_eq!(list(&at), of("one", &[1, 3]));
    assert_eq!(list("failed_since=2020-01-01T00:00:00Z").len(), 6);
    assert_eq!(list("failed_before=2020-01-01T00:00:00Z"), []);
    let failed = client.dead_letters("two")[0]["last_failure"].as_str().unwrap().to_owned();
    assert_eq!(list(&format!("failed_since={failed}&group=two")), of("two", &[0]));
    assert_eq!(list(&format!("failed_before={failed}&group=two")), []);
    let refuse = |query: &str, code: &str| {
        client.get(&format!("/v1/dead-letters?{query}")).problem(400, code);
    };
    refuse("reason=bored", "GRV-1000");
    refuse("failed_since=soon", "GRV-1011");
    refuse("position=x", "GRV-1000");
    refuse("limit=0", "GRV-1009");
    refuse("limit=1001", "GRV-1009");
    refuse("group=", "GRV-1802");
    refuse("stream=", "GRV-1001");
    refuse("unknown=1", "GRV-1000");
    refuse("cursor=AAAA", "GRV-1010");
    let many: Vec<String> = (0..1_001).map(|n| format!("position={n}")).collect();
    refuse(&many.join("&"), "GRV-1009");
}

#[test]
fn pages_follow_each_other_without_a_gap() {
    let Parked { server: _server, client, .. } = parked();
    let all = places(&client.get("/v1/dead-letters").expect(200));
    for limit in 1..=7 {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let more = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
            let page = client.get(&format!("/v1/dead-letters?limit={limit}{more}")).expect(200);
            let places = places(&page);
            assert!(places.len() <= limit);
            seen.extend(places);
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all, "{limit} a page");
    }
    let first = client.get("/v1/dead-letters?limit=1").expect(200);
    let cursor = first["next"].as_str().unwrap();
    client.get(&format!("/v1/dead-letters?group=one&cursor={cursor}")).problem(400, "GRV-1010");
}

#[test]
fn a_dead_letter_is_shown_with_its_event() {
    let Parked { server: _server, client, positions } = parked();
    let letter = client.get(&format!("/v1/dead-letters/one/{}", positions[1])).expect(200);
    assert_eq!((&letter["error"], &letter["attempts"]), (&json!("failed 1"), &json!(1)));
    assert_eq!((&letter["stream"], &letter["revision"]), (&json!("a-2"), &json!(0)));
    assert_eq!(letter["event"]["data"], json!({"of": "a-2"}));
    assert_eq!(letter["event"]["id"], letter["event_id"]);
    assert_eq!(letter["first_failure"], letter["last_failure"]);
    assert_eq!((&letter["replaying"], &letter["replays"]), (&json!(false), &json!(0)));
    client.get(&format!("/v1/dead-letters/two/{}", positions[1])).problem(404, "GRV-1808");
    client.get("/v1/dead-letters/nobody/0").problem(404, "GRV-1800");
    client.get("/v1/dead-letters/one/x").problem(400, "GRV-1000");
    let with = client.get("/v1/dead-letters?group=one&with_payload=true").expect(200);
    assert!(with["dead_letters"].as_array().unwrap().iter().all(|letter| letter["event"].is_object()));
    let base64 = client.get("/v1/dead-letters?group=two&with_payload&payload=base64").expect(200);
    assert!(base64["dead_letters"][0]["event"]["data_base64"].is_string(), "{base64}");
}

#[test]
fn pages_with_events_end_when_they_are_large() {
    let server = Server::start();
    let client = server.client();
    client.put_group("big", &json!({"selector": {"stream": "big"}, "from": "start"}));
    let data = "x".repeat(1 << 20);
    for _ in 0..6 {
        client.post("/v1/streams/big", &json!({"events": [{"type": "T", "data": data}]})).expect(201);
    }
    let mut consumer = client.consume("big", "one", 10);
    let positions: Vec<u64> = (0..6).map(|_| position(&consumer.next())).collect();
    assert_eq!(consumer.nack(&positions, "park", ""), 6);
    settled(&client, "big", 6);
    let (mut seen, mut cursor, mut pages) = (0, String::new(), 0);
    loop {
        let page = client.get(&format!("/v1/dead-letters?with_payload{cursor}")).expect(200);
        seen += places(&page).len();
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((seen, pages), (6, 2), "4 MiB a page");
}

#[test]
fn what_is_replayed_stays_a_dead_letter_until_it_is_acknowledged() {
    let Parked { server: _server, client, positions } = parked();
    let selection = json!({"group": "one", "positions": [positions[1], positions[4]]});
    let mut counted = selection.clone();
    counted["dry_run"] = true.into();
    let replay = |body: &Value| client.post("/v1/dead-letters/replay", body);
    assert_eq!(replay(&counted).expect(200)["dead_letters"], 2);
    assert_eq!(client.group("one")["replaying"], false, "it was only counted");
    assert_eq!(replay(&selection).expect(200)["dead_letters"], 2);
    let letters = client.dead_letters("one");
    assert_eq!(letters.len(), 5);
    let replaying: Vec<u64> =
        letters.iter().filter(|letter| letter["replaying"] == true).map(position).collect();
    assert_eq!(replaying, [positions[1], positions[4]]);
    let mut consumer = client.consume("one", "repaired", 10);
    for expected in [positions[1], positions[4]] {
        let delivery = consumer.next();
        assert_eq!((position(&delivery), &delivery["replayed"]), (expected, &json!(true)));
    }
    assert_eq!(client.dead_letters("one").len(), 5);
    // One is repaired, the other fails again.
    assert_eq!(consumer.ack(&[positions[1]]), 1);
    assert_eq!(consumer.nack(&[positions[4]], "park", "still not"), 1);
    settled(&client, "one", 4);
    let failed = client.get(&format!("/v1/dead-letters/one/{}", positions[4])).expect(200);
    assert_eq!((&failed["attempts"], &failed["replays"]), (&json!(2), &json!(1)));
    assert_eq!((&failed["error"], &failed["consumer"]), (&json!("still not"), &json!("repaired")));
    assert_ne!(failed["first_failure"], failed["last_failure"]);
    client.get(&format!("/v1/dead-letters/one/{}", positions[1])).problem(404, "GRV-1808");
    assert_eq!(client.dead_letters("two").len(), 1, "another group's are its own");
    replay(&json!({"group": "one", "positions": [positions[1]]})).problem(404, "GRV-1808");
}

#[test]
fn as_many_as_are_wanted_are_replayed_oldest_first() {
    let Parked { server: _server, client, positions } = parked();
    let replay =
        |body: &Value| client.post("/v1/dead-letters/replay", body).expect(200)["dead_letters"].clone();
    assert_eq!(replay(&json!({"group": "one", "limit": 2, "dry_run": true})), 2);
    assert_eq!(replay(&json!({"group": "one", "limit": 2})), 2);
    let mut consumer = client.consume("one", "repaired", 1);
    for expected in &positions[..2] {
        let at = position(&consumer.next());
        assert_eq!(at, *expected);
        assert_eq!(consumer.ack(&[at]), 1);
    }
    settled(&client, "one", 3);
    assert_eq!(replay(&json!({"all": true})), 4);
    for expected in &positions[2..] {
        let at = position(&consumer.next());
        assert_eq!(at, *expected);
        assert_eq!(consumer.ack(&[at]), 1);
    }
    let mut other = client.consume("two", "repaired", 1);
    assert_eq!(position(&other.next()), positions[0]);
    assert_eq!(other.ack(&positions[..1]), 1);
    settled(&client, "one", 0);
    settled(&client, "two", 0);
    assert_eq!(replay(&json!({"all": true})), 0);
}

#[test]
fn what_is_skipped_is_gone_for_good_and_the_event_stays() {
    let Parked { server, client, positions } = parked();
    let skip = |body: &Value| client.post("/v1/dead-letters/skip", body);
    assert_eq!(skip(&json!({"group": "one", "type": "U", "dry_run": true})).expect(200)["dead_letters"], 2);
    assert_eq!(client.dead_letters("one").len(), 5);
    assert_eq!(skip(&json!({"group": "one", "type": "U"})).expect(200)["dead_letters"], 2);
    skip(&json!({"positions": [positions[2]]})).problem(404, "GRV-1808");
    // It is durable when it is answered: the process ends without a word.
    let data = server.data().to_owned();
    let directory = server.kill();
    let server = Server::start_in(&data, &[]);
    let client = server.client();
    let left: Vec<u64> = client.dead_letters("one").iter().map(position).collect();
    assert_eq!(left, [positions[0], positions[1], positions[3]]);
    assert_eq!(client.get(&format!("/v1/positions/{}", positions[2])).expect(200)["type"], "U");
    drop(directory);
}

#[test]
fn a_selection_says_once_what_it_means() {
    let Parked { server: _server, client, .. } = parked();
    for act in ["replay", "skip"] {
        let refuse = |body: &Value, status: u16, code: &str| {
            client.post(&format!("/v1/dead-letters/{act}"), body).problem(status, code);
        };
        refuse(&json!({}), 400, "GRV-1000");
        refuse(&json!({"dry_run": true}), 400, "GRV-1000");
        refuse(&json!({"all": true, "group": "one"}), 400, "GRV-1000");
        refuse(&json!({"group": "one", "limit": 0}), 400, "GRV-1009");
        refuse(&json!({"group": "one", "limit": -1}), 400, "GRV-1000");
        refuse(&json!({"positions": vec![0; 1_001]}), 400, "GRV-1009");
        refuse(&json!({"reason": "bored"}), 400, "GRV-1000");
        refuse(&json!({"group": "nobody"}), 404, "GRV-1800");
        refuse(&json!({"group": ""}), 400, "GRV-1802");
        refuse(&json!({"grup": "one"}), 400, "GRV-1000");
        let plain = client.post_as(&format!("/v1/dead-letters/{act}"), "text/plain", "{\"all\":true}");
        plain.problem(415, "GRV-1014");
    }
    assert_eq!(client.dead_letters("one").len(), 5);
}

#[test]
fn an_export_has_every_dead_letter_with_its_event() {
    let Parked { server: _server, client, positions } = parked();
    let export =
        |query: &str| client.get_as(&format!("/v1/dead-letters/export{query}"), "application/x-ndjson");
    let lines = export("").lines();
    assert_eq!(lines.len(), 6);
    for (line, at) in lines.iter().zip(&positions) {
        assert_eq!(position(&line["dead_letter"]), *at);
        let event = &line["cloudevent"];
        assert_eq!(
            (&event["subject"], &event["id"]),
            (&line["dead_letter"]["stream"], &line["dead_letter"]["event_id"])
        );
        assert_eq!(event["data"]["of"], event["subject"]);
    }
    assert_eq!(export("?group=two").lines().len(), 1);
    assert!(export("?reason=behind").body.is_empty());
    export("?limit=1").problem(400, "GRV-1000");
    // What was exported is taken by an import, which knows the events already.
    let events: String = lines.iter().map(|line| format!("{}\n", line["cloudevent"])).collect();
    let imported = client.post_as("/v1/import", "application/x-ndjson", events).expect(200);
    assert_eq!((&imported["appended"], &imported["duplicates"]), (&json!(0), &json!(6)));
}

#[test]
fn a_dead_letter_whose_event_was_erased_is_shown_as_erased() {
    let Parked { server: _server, client, positions } = parked();
    let wish =
        json!({"positions": [positions[1]], "request": "r-1", "basis": "gdpr-17", "decided_by": "dpo"});
    client.post("/audit/erasures", &wish).expect(200);
    let letter = client.get(&format!("/v1/dead-letters/one/{}", positions[1])).expect(200);
    assert_eq!((&letter["event"]["erased"], &letter["event"]["data"]), (&json!(true), &Value::Null));
    let replay = json!({"group": "one", "positions": [positions[1]]});
    client.post("/v1/dead-letters/replay", &replay).expect(200);
    let mut consumer = client.consume("one", "repaired", 10);
    let delivery = consumer.next();
    assert_eq!((position(&delivery), &delivery["event"]["erased"]), (positions[1], &json!(true)));
    assert_eq!(consumer.ack(&[positions[1]]), 1);
    settled(&client, "one", 4);
}

#[test]
fn in_an_ordered_group_later_events_wait_behind_a_parked_one_and_come_in_order() {
    let server = Server::start();
    let client = server.client();
    let settings = json!({"selector": {"category": "a"}, "from": "start", "strategy": "ordered"});
    client.put_group("work", &settings);
    let first: Vec<u64> = (0..4).map(|_| client.append_one("a-1", "T")).collect();
    let other = client.append_one("a-2", "T");
    let mut consumer = client.consume("work", "one", 10);
    let (mut seen, mut left) = (Vec::new(), 2);
    while left > 0 {
        let at = position(&consumer.next());
        seen.push(at);
        let said = if at == first[0] { consumer.nack(&[at], "park", "poison") } else { consumer.ack(&[at]) };
        assert_eq!(said, 1);
        left -= 1;
    }
    seen.sort_unstable();
    assert_eq!(seen, [first[0], other], "nothing of the stream behind the parked one was delivered");
    settled(&client, "work", 4);
    let letters = client.dead_letters("work");
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["requested", "behind", "behind", "behind"]);
    assert_eq!((&letters[1]["attempts"], &letters[1]["consumer"]), (&json!(0), &json!("")));
    let newer = client.append_one("a-1", "T");
    settled(&client, "work", 5);
    let replay = client.post("/v1/dead-letters/replay", &json!({"group": "work"})).expect(200);
    assert_eq!(replay["dead_letters"], 5);
    for expected in first.iter().chain([&newer]) {
        let at = position(&consumer.next());
        assert_eq!(at, *expected, "in the order of the stream");
        assert_eq!(consumer.ack(&[at]), 1);
    }
    settled(&client, "work", 0);
}
