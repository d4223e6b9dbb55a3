//! Seals, whole streams and verification, over the socket and on the command line.

mod support;

use graven_proof::control::{Control, hex};
use graven_proof::leaf::{Kind, Leaf, name_key};
use graven_proof::merkle::leaf_hash;
use graven_proof::policy::Policy;
use graven_proof::tlog_proof::TlogProof;
use graven_proof::trie::{Answer, TrieProof};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt as _;
use support::{Client, Server, command, wait_until};

fn policy(client: &Client) -> Policy {
    let keys = client.get("/audit/keys").text().lines().map(|line| line.parse().unwrap()).collect();
    Policy::operator_alone(keys).unwrap()
}

fn seal(client: &Client) -> Value {
    client.post("/audit/seal", &json!({})).expect(200)
}

fn base64(text: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
}

/// Runs a command against a server.
fn graven(server: &Server, args: &[&str]) -> (i32, String, String) {
    let output = command().args(["--url", server.url()]).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn ok(server: &Server, args: &[&str]) -> Value {
    let (code, out, err) = graven(server, args);
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[track_caller]
fn failed(server: &Server, args: &[&str], code: i32, words: &[&str]) {
    let (found, out, err) = graven(server, args);
    assert_eq!(found, code, "{args:?}: {out}{err}");
    assert!(words.iter().all(|word| err.contains(word)), "{args:?}: {words:?} in {err}");
}

/// No seals by itself, so that a test says when.
fn start() -> Server {
    Server::start_with(&["--set", "audit.seal_interval=0"])
}

#[test]
fn a_stream_is_shown_to_be_whole_by_the_last_seal() {
    let server = start();
    let client = server.client();
    for number in 0..6 {
        client.append_one(["loan-1", "loan-2", "account-7"][number % 3], "T");
    }
    client.get("/audit/streams/loan-1/completeness").problem(409, "GRV-1710");
    let sealed = seal(&client);
    assert_eq!((&sealed["seal"]["size"], &sealed["seal"]["streams"]), (&json!(6), &json!(3)));
    assert_eq!(seal(&client)["seal"], sealed["seal"], "nothing came since");

    let said = client.get("/audit/streams/loan-1/completeness").expect(200);
    let proof = TlogProof::parse(said["seal_proof"].as_str().unwrap().as_bytes()).unwrap();
    let leaf = proof.extra().unwrap();
    proof.verify(&leaf_hash(leaf), &policy(&client)).unwrap();
    let leaf = Leaf::decode(leaf).unwrap();
    assert_eq!((leaf.kind, leaf.position), (Kind::MapRoot, proof.unverified_position()));
    let Ok(Control::MapRoot(root)) = Control::decode(leaf.kind, leaf.body) else { panic!("a seal") };
    let key = name_key(&base64(&said["name_salt"]), b"loan-1");
    assert_eq!(said["stream_key"], hex::encode(&key));
    let path = TrieProof::decode(&base64(&said["path"])).unwrap();
    let Ok(Answer::Present(head)) = path.verify(&key, &root.root) else { panic!("the stream is there") };
    assert_eq!((head.next_version, head.first_position, head.last_position), (2, 0, 3));
    assert_eq!(said["head"]["next_revision"], 2);
    assert!(path.verify(&name_key(b"other", b"loan-1"), &root.root).is_err(), "a path shows one key");

    client.get("/audit/streams/nobody/completeness").problem(404, "GRV-1300");
    client.get("/audit/streams/%ff/completeness").problem(400, "GRV-1001");
    client.get("/audit/streams/loan-1/completeness?x").problem(400, "GRV-1000");
    client.append_one("newer", "T");
    client.get("/audit/streams/newer/completeness").problem(409, "GRV-1710");
    client.post_as("/audit/seal", "text/plain", "{}").problem(415, "GRV-1014");
    client.post("/audit/seal", &json!({"now": true})).problem(400, "GRV-1000");
}

#[test]
fn the_command_line_checks_a_stream_to_its_last_leaf() {
    let server = start();
    let client = server.client();
    for number in 0..600 {
        let events: Vec<Value> = (0..2).map(|_| json!({"type": "T", "data": number})).collect();
        let stream = if number % 100 == 0 { "rare" } else { "often" };
        client.post(&format!("/v1/streams/{stream}"), &json!({"events": events})).expect(201);
    }
    failed(&server, &["audit", "complete", "rare"], 6, &["GRV-1710"]);
    let whole = ok(&server, &["audit", "complete", "rare", "--seal"]);
    assert_eq!((&whole["events"], &whole["complete"]), (&json!(12), &json!(true)));
    let key = client.get("/audit/keys").text().trim().to_owned();
    let whole = ok(&server, &["audit", "complete", "often", "--vkey", &key]);
    assert_eq!(whole["events"], 1188);
    // What is hidden from readers is still proven, and so is a stream that ended.
    client.post("/v1/streams/rare/truncate", &json!({"before": 4})).expect(200);
    client.send("DELETE", "/v1/streams/often?tombstone=true", &[], None).expect(200);
    let whole = ok(&server, &["audit", "complete", "rare", "--seal", "--vkey", &key]);
    assert_eq!(whole["events"], 12);
    let whole = ok(&server, &["audit", "complete", "often", "--vkey", &key]);
    assert_eq!((&whole["events"], &whole["tombstoned"]), (&json!(1189), &json!(true)));
    failed(&server, &["audit", "complete", "nobody"], 3, &["GRV-1300"]);
    let foreign = "log.example/1+c9f22f5b+ASYH0iLwTXMOaHPjvtYQLEEAdhjfeBGFoEs2iIPAyvwf";
    failed(&server, &["audit", "complete", "rare", "--vkey", foreign], 2, &["GRV-1000"]);
    let sealed = ok(&server, &["audit", "seal"]);
    assert_eq!(sealed["seal"]["streams"], whole["streams"]);
}

#[test]
fn the_server_seals_by_itself_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start_in(&data, &["--set", "audit.seal_interval=20ms"]);
    let client = server.client();
    client.append_one("a", "T");
    wait_until("it is sealed", || {
        let status = client.get("/audit/status").expect(200);
        (status["seal"]["streams"] == 1 && status["unsigned"] == 0).then_some(())
    });
    assert!(server.stop().success());
    let server = Server::start_in(&data, &["--set", "audit.seal_interval=0"]);
    server.client().append_one("b", "T");
    assert!(server.stop().success());
    let server = Server::start_in(&data, &[]);
    server.client().append_one("c", "T");
    assert!(server.stop().success());
    let server = Server::start_in(&data, &[]);
    let status = server.client().get("/audit/status").expect(200);
    // Three, and that of the seals.
    assert_eq!((&status["seal"]["streams"], &status["unsigned"]), (&json!(4), &json!(0)));
    // Readers see the records as those of any system stream, and user counts do not change.
    let events = server.client().get("/v1/streams/$audit").expect(200);
    assert!(events["events"].as_array().unwrap().iter().all(|event| event["kind"] == "map-root"));
    assert_eq!(server.client().get("/v1/stats").expect(200)["user"]["events"], 3);
    let system = server.client().get("/v1/all?exclude_system=true").expect(200);
    assert_eq!(system["events"].as_array().unwrap().len(), 3);
    server.client().post("/v1/streams/$audit", &json!({"events": [{"type": "T"}]})).problem(400, "GRV-1001");
}

#[test]
fn what_verification_finds_in_a_running_store_is_named_with_its_position() {
    let server = start();
    let client = server.client();
    for number in 0..20 {
        client.append_one("loan-1", if number == 13 { "Marked" } else { "T" });
    }
    let size = 20;
    client.get(&format!("/audit/checkpoint?at_least={size}"));
    let nothing = client.get("/audit/verify").expect(200);
    assert_eq!((&nothing["running"], &nothing["last"]), (&Value::Null, &Value::Null));
    let report = ok(&server, &["audit", "verify"]);
    assert_eq!(report["events"], 20);
    assert!(report.get("first").is_none());
    let status = client.get("/audit/status").expect(200);
    assert_eq!(status["verification"]["last"]["report"]["events"], 20);

    let kept = server.data().join("../kept");
    std::fs::write(&kept, client.get("/audit/checkpoint").text()).unwrap();
    let kept = kept.to_str().unwrap();
    ok(&server, &["audit", "verify", "--checkpoint", kept, "--from", "3", "--to", "9"]);
    failed(&server, &["audit", "verify", "--from", "9", "--to", "3"], 2, &["GRV-1000"]);
    client.post("/audit/verify", &json!({"checkpoints": ["x"]})).problem(400, "GRV-1000");
    client.post("/audit/verify", &json!({"vkeys": ["x"]})).problem(400, "GRV-1000");
    client.post("/audit/verify", &json!({"vkeys": vec!["x"; 65]})).problem(400, "GRV-1000");
    client.post("/audit/verify", &json!({"everything": true})).problem(400, "GRV-1000");

    // Somebody changes a byte of one event, behind the server's back.
    let log = server.data().join("log");
    let mut changed = false;
    for file in std::fs::read_dir(log).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(6).position(|window| window == b"Marked") {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_at(b"m", at as u64).unwrap();
            changed = true;
        }
    }
    assert!(changed);
    failed(&server, &["audit", "verify"], 7, &["position 13"]);
    let last = &client.get("/audit/verify").expect(200)["last"];
    assert_eq!(last["report"]["first"]["position"], 13, "{last}");
    assert_eq!(last["report"]["first"]["code"], "LEAF_HASH_MISMATCH", "{last}");
    let metrics = client.get("/metrics");
    let value = |name: &str| -> f64 {
        let line = metrics.text().lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("graven_audit_findings_total") >= 1.0);
    assert!(value("graven_audit_checkpoint_size_events") >= 20.0);
    assert!(value("graven_audit_checkpoint_age_seconds") >= 0.0);
    assert_eq!(value("graven_audit_sealed_size_events"), 0.0);
}

#[test]
fn one_verification_runs_at_a_time_and_ends_with_the_server() {
    let server = start();
    let client = server.client();
    let line = |number: u32| {
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let event = json!({"specversion": "1.0", "id": id, "source": "u", "type": "T", "subject": "a", "data": number});
        format!("{event}\n")
    };
    for part in 0..3 {
        let lines: String = (part * 20_000..(part + 1) * 20_000).map(line).collect();
        client.post_as("/v1/import", "application/x-ndjson", lines).expect(200);
    }
    let begun = client.post("/audit/verify", &json!({})).expect(202);
    assert!(begun["running"].is_object(), "{begun}");
    let second = client.post("/audit/verify", &json!({})).problem(409, "GRV-1792");
    assert_eq!(second["retryable"], true);
    support::run(async {
        // The client does not wait for it either.
        let client = graven_client::Client::connect(server.url()).await.unwrap();
        let third = client.verify(&graven_client::audit::VerifyOptions::default()).await;
        assert_eq!(third.unwrap_err().code, graven_client::model::Code::VerificationRunning);
        assert_eq!(client.counters().retries, 0);
    });
    failed(&server, &["audit", "verify"], 6, &["GRV-1792"]);
    assert!(server.stop().success());
}
