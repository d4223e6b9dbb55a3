//! A server and its witnesses: checkpoints are cosigned as the log grows, whatever happens to the witnesses, and a log
//! that was rolled back or rewritten does not get past them.

mod support;
mod tls_support;
mod witness_support;

use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::note::VerifierKey;
use graven_proof::policy::Policy;
use serde_json::Value;
use std::path::{Path, PathBuf};
use support::{Server, wait_until};
use tempfile::TempDir;
use tls_support::{Issuer, TlsLine};
use witness_support::WitnessServer;

const QUICK: [&str; 4] = ["--set", "audit.checkpoint_interval=20ms", "--set", "audit.witness_interval=20ms"];

/// A store that has a key and some events, stopped.
struct Setting {
    dir: TempDir,
    log: VerifierKey,
}

impl Setting {
    fn new() -> Setting {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start_in(&dir.path().join("data"), &QUICK);
        server.client().append_one("first", "T");
        let keys = server.client().get("/audit/keys");
        let log = keys.text().lines().next().unwrap().parse().unwrap();
        assert!(server.stop().success());
        Setting { dir, log }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn witness(&self, name: &str) -> WitnessServer {
        WitnessServer::start(&self.dir.path().join(name), &[&self.log])
    }

    /// A policy that wants all of these witnesses.
    fn policy(&self, witnesses: &[&WitnessServer]) -> String {
        let mut text = String::new();
        let mut names = String::new();
        for (number, witness) in witnesses.iter().enumerate() {
            text += &format!("witness w{number} {} {}\n", witness.vkey, witness.url);
            names += &format!(" w{number}");
        }
        text += &format!("group all all{names}\nquorum all\n");
        let path = self.dir.path().join("policy");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A policy that wants a witness which is reached at this URL.
    fn policy_at(&self, witness: &WitnessServer, url: &str) -> String {
        let path = self.dir.path().join("policy");
        std::fs::write(&path, format!("witness w0 {} {url}\nquorum w0\n", witness.vkey)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// An authority for certificates.
    fn issuer(&self, name: &str) -> Issuer {
        Issuer::new(&self.dir.path().join(name))
    }

    fn server(&self, policy: &str, more: &[&str]) -> Server {
        Server::start_in(&self.data(), &[&["--witness-policy", policy], &QUICK[..], more].concat())
    }
}

fn anchors(server: &Server) -> Value {
    server.client().get("/audit/anchors").expect(200)
}

/// Waits until everything up to a size is witnessed.
fn witnessed(server: &Server, size: u64) -> Value {
    wait_until("everything is witnessed", || {
        let anchors = anchors(server);
        let ready = anchors["witnessed"].as_u64().unwrap() >= size && anchors["unwitnessed"].is_null();
        ready.then_some(anchors)
    })
}

fn error_of(server: &Server, witness: usize, code: &str) -> Value {
    wait_until("the witness is told to fail", || {
        let error = anchors(server)["witnesses"][witness]["error"].clone();
        (error["code"] == code).then_some(error)
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
            std::fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn two_witnesses_cosign_what_is_appended_and_an_auditor_believes_it_by_the_policy() {
    let setting = Setting::new();
    let (first, second) = (setting.witness("w0"), setting.witness("w1"));
    let policy = setting.policy(&[&first, &second]);
    let server = setting.server(&policy, &[]);
    let position = server.client().append_one("second", "T");
    let report = witnessed(&server, position + 1);
    assert_eq!((&report["mode"], &report["quorum"]), (&Value::from("queue"), &Value::from("all")));
    assert!(report["witnesses"].as_array().unwrap().iter().all(|witness| witness["error"].is_null()));

    let note = server.client().get("/audit/witnessed");
    let checkpoint = SignedCheckpoint::parse(&note.body).unwrap();
    let text = std::fs::read_to_string(&policy).unwrap();
    let policy_of_auditor = Policy::parse(&format!("log {}\n{text}", setting.log)).unwrap();
    let verified = checkpoint.verify(&policy_of_auditor).unwrap();
    assert!(verified.head().size > position);
    assert_eq!(verified.cosignatures().len(), 2);
    let metrics = server.client().get("/metrics");
    assert!(metrics.text().contains("graven_anchor_failing_witnesses 0\n"), "{}", metrics.text());
    assert!(server.stop().success());

    // what was witnessed is known after a restart, before any witness is asked
    drop((first, second));
    let server = setting.server(&policy, &[]);
    let report = anchors(&server);
    assert_eq!(report["witnessed"].as_u64().unwrap(), verified.head().size, "{report}");
}

#[test]
fn a_witness_that_was_away_is_brought_up_to_date() {
    let setting = Setting::new();
    let (first, second) = (setting.witness("w0"), setting.witness("w1"));
    let policy = setting.policy(&[&first, &second]);
    let server = setting.server(&policy, &[]);
    let before = witnessed(&server, 1)["witnessed"].as_u64().unwrap();
    let address = second.address().to_owned();
    second.kill();
    let position = (0..20).map(|_| server.client().append_one("more", "T")).max().unwrap();
    error_of(&server, 1, "GRV-1764");
    let report = anchors(&server);
    assert_eq!(report["unwitnessed"][0].as_u64(), Some(before));
    let _second = WitnessServer::start_at(&address, &setting.dir.path().join("w1"), &[&setting.log]);
    witnessed(&server, position + 1);
}

#[test]
fn a_witness_that_knows_less_than_the_server_thinks_is_asked_where_it_stands() {
    let setting = Setting::new();
    let witness = setting.witness("w0");
    let policy = setting.policy(&[&witness]);
    let server = setting.server(&policy, &[]);
    let size = witnessed(&server, 1)["witnessed"].as_u64().unwrap();
    let (address, vkey) = (witness.address().to_owned(), witness.vkey.clone());
    witness.kill();
    // its memory is gone, its key is not
    std::fs::remove_dir_all(setting.dir.path().join("w0/logs")).unwrap();
    let witness = WitnessServer::start_at(&address, &setting.dir.path().join("w0"), &[&setting.log]);
    assert_eq!(witness.vkey, vkey);
    let position = server.client().append_one("more", "T");
    assert!(witnessed(&server, position + 1)["witnessed"].as_u64().unwrap() > size);
}

/// Yesterday's directory is put back, the high-water mark with it: the store cannot know, the witness does.
#[test]
fn a_store_that_was_rolled_back_is_contradicted_by_its_witness() {
    let setting = Setting::new();
    let yesterday = setting.dir.path().join("yesterday");
    copy(&setting.data(), &yesterday);
    let witness = setting.witness("w0");
    let policy = setting.policy(&[&witness]);
    let server = setting.server(&policy, &[]);
    for _ in 0..10 {
        server.client().append_one("today", "T");
    }
    let size = witnessed(&server, 11)["witnessed"].as_u64().unwrap();
    assert!(server.stop().success());
    let origin = setting.log.name().as_str();
    let seen = witness.size_of(origin);
    assert!(seen >= size);

    std::fs::remove_dir_all(setting.data()).unwrap();
    copy(&yesterday, &setting.data());
    let server = setting.server(&policy, &[]);
    let error = error_of(&server, 0, "GRV-1765");
    assert!(error["message"].as_str().unwrap().contains("cosigned size"), "{error}");

    // and going on from there with another history does not help
    for _ in 0..40 {
        server.client().append_one("another-today", "T");
    }
    wait_until("the log is longer than what was witnessed", || {
        (anchors(&server)["size"].as_u64().unwrap() > seen).then_some(())
    });
    assert!(server.stop().success());
    let server = setting.server(&policy, &[]);
    let error = wait_until("the witness refuses the other history", || {
        let error = anchors(&server)["witnesses"][0]["error"].clone();
        error["message"].as_str()?.contains("does not continue").then_some(error)
    });
    assert_eq!(error["code"], "GRV-1765");
    assert_eq!(witness.size_of(origin), seen);
}

#[test]
fn a_witness_that_does_not_know_the_log_or_is_somebody_else_is_reported() {
    let setting = Setting::new();
    let other = witness_support::Log::new("another.example/1");
    let ignorant = WitnessServer::start(&setting.dir.path().join("w0"), &[other.vkey()]);
    let impostor = setting.witness("w1");
    let real = setting.witness("w2");
    let policy = setting.policy(&[&ignorant, &impostor]);
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace(&impostor.vkey.to_string(), &real.vkey.to_string())).unwrap();
    let server = setting.server(&policy, &[]);
    let error = error_of(&server, 0, "GRV-1764");
    assert!(error["message"].as_str().unwrap().contains("does not know this log"), "{error}");
    let error = error_of(&server, 1, "GRV-1764");
    assert!(error["message"].as_str().unwrap().contains("did not cosign"), "{error}");
    assert_eq!(anchors(&server)["witnessed"], 0);
    server.client().get("/audit/witnessed").problem(404, "GRV-1302");
}

#[test]
fn with_block_appends_are_refused_while_nobody_witnesses_and_taken_again_when_somebody_does() {
    let setting = Setting::new();
    let witness = setting.witness("w0");
    let policy = setting.policy(&[&witness]);
    let block = ["--witness-mode", "block", "--set", "audit.witness_patience=200ms"];
    let server = setting.server(&policy, &block);
    witnessed(&server, 1);
    let address = witness.address().to_owned();
    witness.kill();
    let client = server.client();
    let body = serde_json::json!({"events": [{"type": "T"}]});
    let refused = wait_until("appends are refused", || {
        let answer = client.post("/v1/streams/late", &body);
        (answer.status != 201).then_some(answer)
    });
    let problem = refused.problem(503, "GRV-1766");
    assert_eq!((&problem["retryable"], &problem["no_side_effects"]), (&true.into(), &true.into()));
    client.get("/v1/all").expect(200);
    let _witness = WitnessServer::start_at(&address, &setting.dir.path().join("w0"), &[&setting.log]);
    wait_until("appends are taken again", || {
        (client.post("/v1/streams/late", &body).status == 201).then_some(())
    });
}

#[test]
fn with_drop_a_checkpoint_is_sent_once_and_the_next_one_again() {
    let setting = Setting::new();
    let witness = setting.witness("w0");
    let policy = setting.policy(&[&witness]);
    let server = setting.server(&policy, &["--witness-mode", "drop"]);
    witnessed(&server, 1);
    let address = witness.address().to_owned();
    witness.kill();
    server.client().append_one("lost", "T");
    error_of(&server, 0, "GRV-1764");
    let _witness = WitnessServer::start_at(&address, &setting.dir.path().join("w0"), &[&setting.log]);
    assert!(!anchors(&server)["unwitnessed"].is_null());
    let position = server.client().append_one("next", "T");
    witnessed(&server, position + 1);
}

/// Waits until the only witness is told to fail with these words.
fn told(server: &Server, words: &str) {
    wait_until("the failure is told", || {
        let error = error_of(server, 0, "GRV-1764");
        error["message"].as_str().unwrap().contains(words).then_some(())
    });
}

#[test]
fn a_witness_behind_tls_is_asked_again_until_its_certificate_is_one_to_trust() {
    let setting = Setting::new();
    let (trusted, stranger) = (setting.issuer("trusted"), setting.issuer("stranger"));
    let witness = setting.witness("w0");
    let line = TlsLine::to(witness.address(), stranger.issue("IP:127.0.0.1"));
    let policy = setting.policy_at(&witness, &line.url);
    let server = setting.server(&policy, &["--set", &format!("audit.ca_file={}", trusted.ca_file())]);
    told(&server, "no authority that is trusted: neither the system's nor one in audit.ca_file");
    line.show(trusted.issue("DNS:elsewhere.example,IP:127.0.0.2"));
    told(&server, "another host's");
    let position = server.client().append_one("meanwhile", "T");
    assert_eq!(anchors(&server)["witnessed"], 0);
    line.show(trusted.issue("IP:127.0.0.1"));
    let report = witnessed(&server, position + 1);
    assert!(report["witnesses"][0]["error"].is_null());
    assert_eq!(report["witnesses"][0]["url"], line.url);
}

#[test]
fn the_systems_authorities_are_trusted_beside_those_of_a_file() {
    let setting = Setting::new();
    let (system, own) = (setting.issuer("system"), setting.issuer("own"));
    let witness = setting.witness("w0");
    for issuer in [&system, &own] {
        let line = TlsLine::to(witness.address(), issuer.issue("DNS:localhost"));
        let policy = setting.policy_at(&witness, &line.url.replace("127.0.0.1", "localhost"));
        let mut command = support::command();
        command.env("SSL_CERT_FILE", system.ca_file()).env_remove("SSL_CERT_DIR");
        let own = format!("audit.ca_file={}", own.ca_file());
        let flags = [&["--witness-policy", &policy, "--set", &own], &QUICK[..]].concat();
        let server = Server::start_by(command, "127.0.0.1:0", &setting.data(), &flags);
        let position = server.client().append_one("more", "T");
        witnessed(&server, position + 1);
        assert!(server.stop().success());
    }
}

#[test]
fn a_witness_without_tls_or_without_a_word_holds_nothing_up() {
    let setting = Setting::new();
    let witness = setting.witness("w0");
    let no_tls = setting.policy_at(&witness, &format!("https://{}", witness.address()));
    let trusted = setting.issuer("trusted");
    let own = format!("audit.ca_file={}", trusted.ca_file());
    let server = setting.server(&no_tls, &["--set", &own]);
    told(&server, "does not speak TLS");
    assert!(server.stop().success());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = setting.policy_at(&witness, &format!("https://{}", silent.local_addr().unwrap()));
    let server = setting.server(&silent, &["--set", &own]);
    told(&server, "timeout");
    assert!(server.stop().success());
}

#[test]
fn certificates_that_cannot_be_used_keep_the_server_from_starting() {
    let setting = Setting::new();
    let dir = setting.dir.path();
    let (empty, nonsense, broken) = (dir.join("empty"), dir.join("nonsense"), dir.join("broken"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&nonsense, "no certificate").unwrap();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let missing = dir.join("missing");
    let run = |more: &[&str]| {
        let mut command = support::command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(setting.data()).args(more);
        command.env("SSL_CERT_FILE", &empty).env_remove("SSL_CERT_DIR");
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    for file in [&missing, &empty, &nonsense, &broken] {
        let (code, err) = run(&["--set", &format!("audit.ca_file={}", file.display())]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains("GRV-1600") && err.contains(file.to_str().unwrap()), "{err}");
    }
    let (code, err) = run(&["--timestamp-url", "https://127.0.0.1:1/"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no root certificates") && err.contains("audit.ca_file"), "{err}");
}

#[test]
fn a_policy_that_cannot_be_used_keeps_the_server_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy");
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&policy, text).unwrap();
        let mut command = support::command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir.path().join("data"));
        let out = command.arg("--witness-policy").arg(&policy).args(more).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let key = graven_proof::note::SignerKey::from_seed(
        "w.example".parse().unwrap(),
        graven_proof::note::Algorithm::CosignatureV1,
        &[4; 32],
    );
    let witness = format!("witness w {}", key.verifier());
    let blind = format!("{witness} http://127.0.0.1:1\nquorum none\n");
    let tls = format!("{witness} gopher://127.0.0.1:1\nquorum w\n");
    let silent = format!("{witness}\nquorum w\n");
    for (text, more) in [
        ("nonsense\n", &[][..]),
        (&blind, &["--witness-mode", "block"]),
        (&blind, &["--witness-mode", "sometimes"]),
        (&tls, &[]),
        (&silent, &[]),
    ] {
        let (code, err) = run(text, more);
        assert_eq!((code, err.contains("GRV-1600")), (Some(2), true), "{text}: {err}");
    }
}
