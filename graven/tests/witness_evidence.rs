//! What witnesses are good for afterwards: bundles with their cosignatures, and a log that the holder of its key wrote anew
//! from the first byte to the last.

mod support;
#[path = "../../graven-engine/tests/verify_support/mod.rs"]
mod tampering;
mod witness_support;

use graven_engine::audit::{ErasureRequest, ErasureTarget, Part};
use graven_engine::{Options, Store};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::note::VerifierKey;
use serde_json::{Value, json};
use std::path::PathBuf;
use support::{Answer, Server, wait_until};
use tampering::{Forger, Forgery};
use tempfile::TempDir;
use witness_support::WitnessServer;

const EVENTS: u64 = 12;
const QUICK: [&str; 4] = ["--set", "audit.checkpoint_interval=20ms", "--set", "audit.witness_interval=20ms"];

/// A store whose checkpoints a witness cosigned up to the last one, and that is stopped.
struct Setting {
    dir: TempDir,
    log: VerifierKey,
    witness: WitnessServer,
}

impl Setting {
    fn new(sealed: &[&str]) -> Setting {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let server = Server::start_in(&data, &[&QUICK[..], sealed].concat());
        for number in 0..EVENTS {
            append(&server, number).expect(201);
        }
        let log = server.client().get("/audit/keys").text().lines().next().unwrap().parse().unwrap();
        assert!(server.stop().success());
        let witness = WitnessServer::start(&dir.path().join("witness"), &[&log]);
        let setting = Setting { dir, log, witness };
        let text = format!("witness w {} {}\nquorum w\n", setting.witness.vkey, setting.witness.url);
        std::fs::write(setting.path("asked"), &text).unwrap();
        std::fs::write(setting.path("policy"), format!("log {}\n{text}", setting.log)).unwrap();
        let server = setting.server(sealed);
        wait_until("everything is witnessed", || {
            let anchors = anchors(&server);
            (anchors["witnessed"].as_u64() >= Some(EVENTS) && anchors["unwitnessed"].is_null()).then_some(())
        });
        assert!(server.stop().success());
        setting
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn server(&self, more: &[&str]) -> Server {
        let policy = self.text("asked");
        let given = [&["--witness-policy", policy.as_str()], &QUICK[..], more].concat();
        Server::start_in(&self.path("data"), &given)
    }

    /// Exports into a directory of this name.
    fn export(&self, name: &str, wanted: &[&str]) -> (Option<i32>, String) {
        let (data, out) = (self.text("data"), self.text(name));
        run(&[&["audit", "export", "--data", &data, "--out", &out], wanted].concat())
    }

    /// Judges a bundle by the log's key and the witness.
    fn check(&self, name: &str) -> (Option<i32>, String) {
        run(&["audit", "check", &self.text(name), "--policy", &self.text("policy")])
    }
}

fn append(server: &Server, amount: u64) -> Answer {
    let stream = format!("/v1/streams/loan-{}", amount % 3);
    let event = json!({"type": "Paid", "data": {"amount": 1000 + amount}});
    server.client().post(&stream, &json!({ "events": [event] }))
}

fn anchors(server: &Server) -> Value {
    server.client().get("/audit/anchors").expect(200)
}

/// Exit code and everything that was printed.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let out = support::command().args(arguments).output().unwrap();
    (out.status.code(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

#[track_caller]
fn ok((code, text): (Option<i32>, String)) -> String {
    assert_eq!(code, Some(0), "{text}");
    text
}

#[track_caller]
fn failed((code, text): (Option<i32>, String), expected: i32, words: &[&str]) {
    assert_eq!(code, Some(expected), "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_bundle_under_a_witnessed_checkpoint_satisfies_a_policy_that_wants_the_witness() {
    let setting = Setting::new(&[]);
    let asked = setting.text("asked");
    for (name, wanted) in [
        ("all", &["--all"][..]),
        ("range", &["--range", "2..9"]),
        ("streams", &["--stream", "loan-1", "--stream", "loan-2"]),
    ] {
        let exported =
            ok(setting.export(name, &[wanted, &["--witnessed", "--witness-policy", &asked]].concat()));
        assert!(exported.contains(setting.witness.vkey.name().as_str()), "{exported}");
        ok(setting.check(name));
        let mut python = std::process::Command::new("python3");
        python.arg("-B").arg(setting.path(name).join("verify.py")).args(["--vkey", &setting.log.to_string()]);
        let python = python.output().unwrap();
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stdout));
        let readme = std::fs::read_to_string(setting.path(name).join("README.txt")).unwrap();
        assert!(readme.contains("was cosigned by"), "{readme}");
    }
    // a checkpoint that is signed again and again is the same one as long as nothing comes
    ok(setting.export("fresh", &["--range", "0..5"]));
    ok(setting.check("fresh"));
}

#[test]
fn a_bundle_without_the_witness_does_not_satisfy_a_policy_that_wants_it() {
    let setting = Setting::new(&[]);
    let server = Server::start_in(&setting.path("data"), &QUICK);
    append(&server, EVENTS).expect(201);
    assert!(server.stop().success());
    ok(setting.export("fresh", &["--all"]));
    failed(setting.check("fresh"), 7, &["WITNESS_QUORUM_MISSING"]);
    ok(setting.export("before", &["--all", "--witnessed"]));
    ok(setting.check("before"));
    // the seal of the end is newer than what the witness saw
    failed(setting.export("stream", &["--stream", "loan-0", "--witnessed"]), 6, &["GRV-1710"]);
    failed(setting.export("range", &["--range", "0..9999", "--witnessed"]), 3, &["GRV-1702"]);

    // cosignatures of somebody else are none that are asked for
    let other = witness_support::Log::new("another.example/1");
    let stranger = WitnessServer::start(&setting.path("stranger"), &[other.vkey()]);
    let text = format!("witness s {} {}\nquorum s\n", stranger.vkey, stranger.url);
    std::fs::write(setting.path("other"), text).unwrap();
    let other = setting.text("other");
    let wanted = ["--all", "--witnessed", "--witness-policy", &other];
    failed(setting.export("none", &wanted), 3, &["enough witnesses"]);
    failed(setting.export("none", &["--all", "--timestamped"]), 3, &["with a timestamp"]);
    std::fs::remove_file(setting.path("data/cosignatures.log")).unwrap();
    failed(setting.export("none", &["--all", "--witnessed"]), 3, &["enough witnesses"]);
    assert!(!setting.path("none").exists());
}

#[test]
fn what_was_erased_after_the_witnessed_checkpoint_is_not_exported_under_it() {
    let setting = Setting::new(&[]);
    let store = Store::open(setting.path("data"), Options::small()).unwrap();
    let request = ErasureRequest {
        target: ErasureTarget::Events(vec![graven_model::Position(3)]),
        parts: vec![Part::Data],
        request: "r-1".to_owned(),
        basis: "gdpr-17-1-b".to_owned(),
        decided_by: "dpo".to_owned(),
        approved_by: None,
    };
    assert_eq!(store.erase(&request, false).unwrap().events, 1);
    store.close().unwrap();
    failed(setting.export("all", &["--all", "--witnessed"]), 2, &["position 3 was erased later"]);
    assert_eq!(setting.check("all").0, Some(7), "what was begun is no bundle");
    ok(setting.export("others", &["--range", "4..9", "--witnessed"]));
    ok(setting.check("others"));
    ok(setting.export("fresh", &["--all"]));
    failed(setting.check("fresh"), 7, &["WITNESS_QUORUM_MISSING"]);
}

/// Everything fits: checksums, hashes, roots, the signature. Only others remember.
#[test]
fn a_log_written_anew_with_its_own_key_does_not_get_past_its_witness() {
    let unsealed = ["--set", "audit.seal_interval=0"];
    let setting = Setting::new(&unsealed);
    let origin = setting.log.name().as_str();
    let kept = setting.witness.client().try_send("GET", &format!("/checkpoint/{origin}"), &[], None);
    let kept = kept.unwrap();
    let seen = SignedCheckpoint::parse(&kept.body).unwrap().unverified_head();
    std::fs::write(setting.path("outside"), &kept.body).unwrap();

    let data = setting.path("data");
    let mut forger = Forger::at(&data);
    let mut shorter = Forger::at(&data);
    shorter.frames.pop();
    shorter.write(Forgery::Everything);
    shorter.sign_anew(shorter.frames.last().unwrap().header.end());
    let verify = |more: &[&str]| {
        let (data, vkey) = (setting.text("data"), setting.log.to_string());
        run(&[&["verify", "--data", &data, "--vkey", &vkey], more].concat())
    };
    let outside = setting.text("outside");
    ok(verify(&[]));
    failed(verify(&["--checkpoint", &outside]), 7, &["ROLLBACK_DETECTED"]);
    failed(setting.export("bundle", &["--range", "0..5", "--witnessed"]), 7, &["GRV-1765", "none"]);

    let (amount, size) = (b"1005", forger.frames.last().unwrap().header.end());
    let body = forger.body(5);
    let at = body.windows(amount.len()).position(|bytes| bytes == amount).unwrap();
    body[at] = b'9';
    forger.write(Forgery::Everything);
    forger.sign_anew(size);
    assert_eq!(seen.size, size);

    // the store itself has nothing to say against it
    ok(verify(&[]));
    failed(verify(&["--checkpoint", &outside]), 7, &["INCONSISTENT_HISTORY"]);
    failed(setting.export("bundle", &["--range", "0..5", "--witnessed"]), 7, &["GRV-1765", "another root"]);

    let block = ["--witness-mode", "block"];
    let server = setting.server(&[&block[..], &unsealed].concat());
    let event = server.client().get("/v1/all").text().to_owned();
    assert!(event.contains("9005"), "{event}");
    // found without an append: the newest checkpoint is of the size that was cosigned
    wait_until("the witness contradicts", || {
        (anchors(&server)["witnesses"][0]["error"]["code"] == "GRV-1765").then_some(())
    });
    let refused = wait_until("appends are refused", || {
        let answer = append(&server, 0);
        (answer.status != 201).then_some(answer)
    });
    let problem = refused.problem(503, "GRV-1766");
    assert!(problem["detail"].as_str().unwrap().contains("another history"), "{problem}");
    let metrics = server.client().get("/metrics");
    assert!(metrics.text().contains("graven_anchor_failing_witnesses 1\n"), "{}", metrics.text());
    assert_eq!(setting.witness.size_of(origin), seen.size, "it stands where it stood");
    assert!(server.stop().success());
}
