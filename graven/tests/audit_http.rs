//! The audit trail over the socket: everything is judged by `graven-proof`, from what the server sends and its key alone.

mod support;

use graven_proof::Hash;
use graven_proof::chain::LogChain;
use graven_proof::checkpoint::{Checkpoint, SignedCheckpoint};
use graven_proof::leaf::Leaf;
use graven_proof::merkle::{Tiled, Tree, leaf_hash};
use graven_proof::policy::Policy;
use graven_proof::tiles::{Bundle, Tile, TilePath, decode_bundle};
use graven_proof::tlog_proof::TlogProof;
use serde_json::{Value, json};
use support::{Client, Server};

fn keys(client: &Client) -> String {
    let answer = client.get("/audit/keys");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    answer.text().to_owned()
}

fn policy(client: &Client) -> Policy {
    let keys = keys(client).lines().map(|line| line.parse().unwrap()).collect();
    Policy::operator_alone(keys).unwrap()
}

fn signed(client: &Client, target: &str) -> SignedCheckpoint {
    let answer = client.get(target);
    assert_eq!(answer.status, 200, "{}", answer.text());
    SignedCheckpoint::parse(&answer.body).unwrap()
}

fn believed(client: &Client, target: &str) -> Checkpoint {
    signed(client, target).verify(&policy(client)).unwrap()
}

/// Appends events in appends of at most 100; gives the number of events in the log.
fn grow(client: &Client, stream: &str, mut count: u64) -> u64 {
    let mut last = 0;
    while count > 0 {
        let events: Vec<Value> =
            (0..count.min(100)).map(|number| json!({"type": "Grown", "data": number})).collect();
        count -= events.len() as u64;
        let receipt = client.post(&format!("/v1/streams/{stream}"), &json!({"events": events})).expect(201);
        last = receipt["last_position"].as_u64().unwrap();
    }
    last + 1
}

fn hashes(answer: &Value) -> Vec<Hash> {
    use base64::Engine as _;
    let decode = |text: &Value| {
        base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap().try_into().unwrap()
    };
    answer["hashes"].as_array().unwrap().iter().map(decode).collect()
}

#[test]
fn an_append_that_waits_for_its_checkpoint_brings_the_proof_along() {
    let server = Server::start();
    let client = server.client();
    let id = "0192f0c1-23e4-7abc-8def-0123456789ab";
    let one = json!({"events": [{"type": "A"}, {"id": id, "type": "Greeted", "data": {"hello": "world"}}]});
    let receipt = client.post("/v1/streams/greetings-1?wait=checkpoint", &one).expect(201);
    let text = receipt["proof"].as_str().unwrap();
    let proof = TlogProof::parse(text.as_bytes()).unwrap();
    let leaf = proof.extra().unwrap();
    let checkpoint = proof.verify(&leaf_hash(leaf), &policy(&client)).unwrap();
    assert!(checkpoint.head().size >= 2);
    let leaf = Leaf::decode(leaf).unwrap();
    assert_eq!((leaf.position, leaf.stream_version, leaf.event_type), (1, 1, "Greeted"));
    assert_eq!(leaf.event_id[..4], [0x01, 0x92, 0xf0, 0xc1]);

    // A retry is answered with the receipt of back then, and a proof of the same event.
    let body = json!({"streams": [{"stream": "x", "events": [{"id": id, "type": "B"}]}]});
    let first = client.post("/v1/append?wait=checkpoint", &body).expect(201);
    let again = client.post("/v1/append?wait=checkpoint", &body).expect(200);
    assert_eq!(again["already_done"], true);
    let position = |answer: &Value| {
        TlogProof::parse(answer["proof"].as_str().unwrap().as_bytes()).unwrap().unverified_position()
    };
    assert_eq!((position(&first), position(&again)), (2, 2));

    // Without the wish there is no proof, and what appends nothing has none.
    assert!(client.post("/v1/append", &body).expect(200).get("proof").is_none());
    let check = json!({"streams": [{"stream": "x", "expected": "exists"}]});
    assert!(client.post("/v1/append?wait=checkpoint", &check).expect(200).get("proof").is_none());
    client.post("/v1/append?wait=moon", &body).problem(400, "GRV-1000");
    client.post("/v1/streams/x?wait=checkpoint&wait=checkpoint", &one).problem(400, "GRV-1000");
}

#[test]
fn a_tool_for_transparency_logs_reads_the_log_from_its_tiles() {
    let server = Server::start();
    let client = server.client();
    let size = grow(&client, "loan-1", 700);
    let checkpoint = believed(&client, &format!("/audit/checkpoint?at_least={size}"));
    let size = checkpoint.head().size;
    assert!(size >= 700);
    let fetch = |path: TilePath| {
        let answer = client.get(&format!("/audit/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        let full = !path.to_string().contains(".p/");
        let cached = if full { "max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(cached), "{path}");
        answer.body
    };
    let read = |tile: Tile| {
        let bytes = fetch(TilePath::Hashes(tile));
        Ok::<_, std::convert::Infallible>(bytes.as_chunks::<32>().0.to_vec())
    };
    let head = Tree::new(size, Tiled::new(size, read)).head().unwrap();
    assert_eq!(head, *checkpoint.head());

    let mut chain = LogChain::from_genesis(checkpoint.origin());
    for index in 0.. {
        let Some(bundle) = Bundle::of_log(size, index) else { break };
        let bytes = fetch(TilePath::Entries(bundle));
        let hashes = read(Tile { level: 0, index, width: bundle.width }).unwrap();
        for (leaf, hash) in decode_bundle(&bytes, bundle.width).unwrap().into_iter().zip(hashes) {
            let (leaf_read, said) = chain.push(leaf).unwrap();
            assert_eq!(said, hash);
            let alone = client.get(&format!("/audit/leaf/{}", leaf_read.position));
            if leaf_read.position % 200 == 0 {
                assert_eq!(alone.body, leaf);
            }
        }
    }
    assert_eq!(chain.next_position(), size);

    let partial = client.get("/audit/tile/0/000.p/7");
    assert_eq!(partial.body, fetch(TilePath::Hashes(Tile { level: 0, index: 0, width: 256 }))[..7 * 32]);
}

#[test]
fn proofs_hold_under_the_checkpoints_they_come_with() {
    let server = Server::start();
    let client = server.client();
    let policy = policy(&client);
    let mut sizes = Vec::new();
    for round in 1..=4 {
        let size = grow(&client, "a", round * 3);
        sizes.push(believed(&client, &format!("/audit/checkpoint?at_least={size}")).head().size);
    }
    for (from, to) in
        sizes.iter().flat_map(|from| sizes.iter().map(move |to| (*from, *to))).filter(|(a, b)| a <= b)
    {
        let older = believed(&client, &format!("/audit/checkpoint?size={from}"));
        let newer = believed(&client, &format!("/audit/checkpoint?size={to}"));
        let answer = client.get(&format!("/audit/consistency?from={from}&to={to}")).expect(200);
        newer.head().verify_consistency(older.head(), &hashes(&answer)).unwrap();
    }
    for position in 0..sizes[3] {
        let leaf = client.get(&format!("/audit/leaf/{position}")).body;
        let under = sizes.iter().find(|size| **size > position).unwrap();
        let answer = client.get(&format!("/audit/inclusion?position={position}&size={under}"));
        let proof = TlogProof::parse(&answer.body).unwrap();
        assert_eq!(proof.extra(), None);
        assert_eq!(proof.verify(&leaf_hash(&leaf), &policy).unwrap().head().size, *under);

        // And without a checkpoint, at a size nobody signed.
        let target = format!("/audit/inclusion?position={position}&size={}&leaf=true", position + 1);
        let said = client.get_as(&target, "application/json").expect(200);
        assert_eq!(said["size"], position + 1);
        assert_eq!(said["leaf_hash"].as_str().map(str::len), Some(44));
        assert!(said["leaf"].is_string());
    }
    let latest = client.get("/audit/inclusion?position=0&leaf=true");
    let latest = TlogProof::parse(&latest.body).unwrap();
    latest.verify(&leaf_hash(latest.extra().unwrap()), &policy).unwrap();
}

#[test]
fn every_checkpoint_that_was_signed_can_be_had_again_as_it_was() {
    let server = Server::start();
    let client = server.client();
    let mut notes = Vec::new();
    for _ in 0..5 {
        let size = grow(&client, "a", 2);
        notes.push(signed(&client, &format!("/audit/checkpoint?at_least={size}")));
    }
    for note in &notes {
        let size = note.unverified_head().size;
        assert_eq!(&signed(&client, &format!("/audit/checkpoint?size={size}")), note);
    }
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = client.get(&format!("/audit/checkpoints?limit=2{after}")).expect(200);
        for stored in page["checkpoints"].as_array().unwrap() {
            seen.push(SignedCheckpoint::parse(stored["checkpoint"].as_str().unwrap().as_bytes()).unwrap());
        }
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(notes.iter().all(|note| seen.contains(note)));
    assert!(seen.is_sorted_by_key(|note| note.unverified_head().size));
    let lines = client.get_as("/audit/checkpoints", "application/x-ndjson").lines();
    assert!(lines.len() >= notes.len() && lines.iter().all(|line| line["signed_at"].is_string()));
    let keys = client.get_as("/audit/keys", "application/json").expect(200);
    assert_eq!(format!("{}\n", keys["keys"][0]["vkey"].as_str().unwrap()), self::keys(&client));
}

#[test]
fn what_does_not_exist_or_does_not_read_is_refused() {
    let server = Server::start();
    let client = server.client();
    let size = grow(&client, "a", 5);
    signed(&client, &format!("/audit/checkpoint?at_least={size}"));
    let max = u64::MAX;
    for target in [
        "/audit/checkpoint?at_least=1000".to_owned(),
        format!("/audit/checkpoint?at_least={max}"),
        "/audit/inclusion?position=0&size=1000".into(),
        "/audit/inclusion?position=1000".into(),
        "/audit/consistency?from=1&to=1000".into(),
        format!("/audit/consistency?from=1&to={max}"),
        "/audit/leaf/1000".into(),
        format!("/audit/leaf/{max}"),
        "/audit/tile/0/000".into(),
        "/audit/tile/0/000.p/255".into(),
        "/audit/tile/1/000.p/1".into(),
        "/audit/tile/63/000.p/1".into(),
        "/audit/tile/entries/000".into(),
        "/audit/tile/entries/001.p/1".into(),
    ] {
        client.get(&target).problem(404, "GRV-1702");
    }
    let huge = client.try_send("GET", "/audit/tile/0/x018/x446/x744/x073/x709/x551/615", &[], None).unwrap();
    assert_eq!(huge.code().as_deref(), Some("GRV-1702"));
    client.get("/audit/checkpoint?size=3").problem(404, "GRV-1709");
    client.get("/audit/inclusion?position=0&size=3").problem(404, "GRV-1709");
    for target in [
        "/audit/checkpoint?at_least=1&size=1",
        "/audit/checkpoint?at_least=-1",
        "/audit/checkpoint?at_least=18446744073709551616",
        "/audit/checkpoint?newest",
        "/audit/inclusion",
        "/audit/inclusion?position=x",
        "/audit/inclusion?position=18446744073709551615",
        "/audit/inclusion?position=4&leaf=maybe",
        "/audit/consistency?from=1",
        "/audit/consistency?from=0&to=5",
        "/audit/consistency?from=5&to=4",
        "/audit/leaf/first",
        "/audit/leaf/0?x",
        "/audit/keys?x",
        "/audit/tile/64/000",
        "/audit/tile/00/000",
        "/audit/tile/0/0",
        "/audit/tile/0/000.p/256",
        "/audit/tile/0/000.p/0",
        "/audit/tile/leaves/000",
        "/audit/tile/0/%ff",
        "/audit/tile/0/000?x",
    ] {
        client.get(target).problem(400, "GRV-1000");
    }
    let beyond = client.get_as("/audit/inclusion?position=4&size=4", "application/json");
    beyond.problem(400, "GRV-1000");
    client.get("/audit/checkpoints?limit=0").problem(400, "GRV-1009");
    client.get("/audit/checkpoints?limit=1001").problem(400, "GRV-1009");
    client.post("/audit/checkpoint", &json!({})).problem(405, "GRV-1303");
    client.get("/audit/nothing").problem(404, "GRV-1302");
}

#[test]
fn a_kill_loses_no_key_and_no_checkpoint_that_was_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (mut vkeys, mut before): (Option<String>, Option<SignedCheckpoint>) = (None, None);
    for round in 0..5 {
        let server = Server::start_in(&data, &["--set", "audit.checkpoint_interval=20ms"]);
        let client = server.client();
        let keys = keys(&client);
        assert_eq!(vkeys.get_or_insert_with(|| keys.clone()), &keys);
        let policy = policy(&client);
        if let Some(before) = &before {
            let old = before.verify(&policy).unwrap();
            let old_size = old.head().size;
            assert_eq!(&signed(&client, &format!("/audit/checkpoint?size={old_size}")), before);
            let size = grow(&client, "more", 1);
            let new = believed(&client, &format!("/audit/checkpoint?at_least={size}"));
            let target = format!("/audit/consistency?from={old_size}&to={}", new.head().size);
            let answer = client.get(&target).expect(200);
            new.head().verify_consistency(old.head(), &hashes(&answer)).unwrap();
        }
        let size = grow(&client, "a", 3 + round);
        before = Some(signed(&client, &format!("/audit/checkpoint?at_least={size}")));
        // Some more, of which nobody has a checkpoint.
        grow(&client, "b", 2);
        server.kill();
    }
}
