//! The witness as a process: what it cosigns, what it refuses, and that it remembers.

mod support;
mod witness_support;

use graven_proof::note::{Algorithm, SignerKey};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use support::command;
use witness_support::{Log, WitnessServer, wait_until};

const ORIGIN: &str = "log.example/store/1";

/// Everything a witness keeps about logs.
fn memory(data: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(data.join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn two_witnesses_cosign_a_log_as_it_grows_and_remember_it_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(ORIGIN);
    for name in ["first", "second"] {
        let data = dir.path().join(name);
        let witness = WitnessServer::start(&data, &[log.vkey()]);
        let key = witness.vkey.clone();
        witness.cosign(&log.request(0, 3));
        witness.cosign(&log.request(3, 8));
        let time = witness.cosign(&log.request(8, 8));
        assert!(time > 1_700_000_000);
        assert!(witness.stop().success());

        let witness = WitnessServer::start(&data, &[log.vkey()]);
        assert_eq!(witness.vkey, key);
        assert_eq!(witness.size_of(ORIGIN), 8);
        assert_eq!(witness.conflict(&log.request(3, 10)), 8);
        witness.cosign(&log.request(8, 10));
    }
}

#[test]
fn a_log_that_forks_is_refused_and_nothing_of_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (log, fork) = (Log::new(ORIGIN), Log::forked_at(ORIGIN, 5));
    let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
    witness.cosign(&log.request(0, 9));
    let before = memory(dir.path());
    assert_eq!(witness.conflict(&fork.request(9, 9)), 9);
    assert_eq!(witness.conflict(&log.request(0, 7)), 9);
    assert_eq!(witness.conflict(&log.request(7, 7)), 9);
    witness.post(fork.request(9, 12).to_string()).problem(422, "GRV-1763");
    assert_eq!(memory(dir.path()), before);
    assert_eq!(witness.size_of(ORIGIN), 9);
}

#[test]
fn an_unknown_log_and_a_wrong_key_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(ORIGIN);
    let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
    let unknown = Log::new("another.example/1");
    witness.post(unknown.request(0, 3).to_string()).problem(404, "GRV-1760");
    let mut thief = Log::new(ORIGIN);
    thief.key = SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[66; 32]);
    witness.post(thief.request(0, 3).to_string()).problem(403, "GRV-1761");
    assert!(memory(dir.path()).is_empty());
}

#[test]
fn bodies_that_are_no_request_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(ORIGIN);
    let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
    witness.post("").problem(400, "GRV-1000");
    witness.post("old 1\n").problem(400, "GRV-1000");
    witness.post(vec![b'x'; 65 << 10]).problem(413, "GRV-1102");
    // of a length that is not told before
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let head =
        "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = witness.client().raw(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("GRV-1102"), "{answer}");
    let get = witness.client().try_send("GET", "/add-checkpoint", &[], None).unwrap();
    get.problem(405, "GRV-1303");
    witness.client().try_send("GET", "/nothing", &[], None).unwrap().problem(404, "GRV-1302");
    assert_eq!(witness.client().try_send("GET", "/health", &[], None).unwrap().text(), "ok\n");
    assert!(memory(dir.path()).is_empty());
}

#[test]
fn a_byte_flipped_anywhere_in_a_request_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(ORIGIN);
    let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
    witness.cosign(&log.request(0, 5));
    let before = memory(dir.path());
    let body = log.request(5, 11).to_string().into_bytes();
    for at in 0..body.len() {
        let mut body = body.clone();
        body[at] ^= 1 << (at % 8);
        let answer = witness.post(&body);
        assert!((400..500).contains(&answer.status), "byte {at}: {}", answer.status);
    }
    assert_eq!(memory(dir.path()), before);
    witness.cosign(&log.request(5, 11));
}

/// What the log has to do when a witness dies before it answers: ask again, and be told where the witness stands.
#[test]
fn a_witness_killed_before_its_answer_was_read_stands_by_what_it_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let (log, fork) = (Log::new(ORIGIN), Log::forked_at(ORIGIN, 2));
    for round in 0..4u64 {
        let (from, to) = (round * 3, round * 3 + 3);
        let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
        let before = memory(dir.path());
        let body = log.request(from, to).to_string();
        let head =
            format!("POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut socket = witness.client().socket();
        socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
        // killed as soon as it has something to remember, with the answer on its way or not
        wait_until("the witness remembers", || memory(dir.path()) != before);
        witness.kill();
        drop(socket);

        let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
        let seen = witness.size_of(ORIGIN);
        assert!(seen == from || seen == to, "{seen}");
        if seen > 2 {
            let answer = witness.post(fork.request(seen, to).to_string());
            assert!(matches!(answer.status, 409 | 422), "{}", answer.status);
        }
        witness.cosign(&log.request(seen, to));
        assert!(witness.stop().success());
    }
}

#[test]
fn many_at_once_are_cosigned_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(ORIGIN);
    let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
    witness.cosign(&log.request(0, 4));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (5..13)
            .map(|to| {
                let (log, witness) = (&log, &witness);
                std::thread::Builder::new()
                    .spawn_scoped(scope, move || witness.post(log.request(4, to).to_string()).status)
                    .unwrap()
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
}

#[test]
fn the_last_cosigned_checkpoint_is_there_for_auditors() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(ORIGIN);
    let witness = WitnessServer::start(dir.path(), &[log.vkey()]);
    let path = format!("/checkpoint/{ORIGIN}");
    let get = |path: &str| witness.client().try_send("GET", path, &[], None).unwrap();
    get(&path).problem(404, "GRV-1302");
    get("/checkpoint/another.example/1").problem(404, "GRV-1760");
    witness.cosign(&log.request(0, 5));
    let note = graven_proof::note::Note::parse(&get(&path).body).unwrap();
    let signers = note.verify(&[log.vkey().clone(), witness.vkey.clone()]).unwrap();
    assert_eq!(signers.signers().len(), 2);
}

#[test]
fn keygen_prints_the_key_that_serve_uses() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("witness");
    let keygen = |more: &[&str]| {
        let out = command().args(["witness", "keygen", "--data"]).arg(&data).args(more).output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, vkey, _) = keygen(&["--name", "witness.example/w1"]);
    assert_eq!(code, Some(0));
    assert!(vkey.starts_with("witness.example/w1+"), "{vkey}");
    assert_eq!(keygen(&[]).1, vkey);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("witness.key"))), (0o700, 0o600));
    let (code, _, err) = keygen(&["--name", "another.example"]);
    assert_eq!((code, err.contains("GRV-1706")), (Some(2), true), "{err}");

    let log = Log::new(ORIGIN);
    let witness = WitnessServer::start(&data, &[log.vkey()]);
    assert_eq!(witness.vkey.to_string(), vkey.trim_end());
}

#[test]
fn a_witness_does_not_start_where_it_should_not() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(ORIGIN);
    let serve = |more: &[&str]| {
        let mut command = command();
        command.args(["witness", "serve", "--data"]).arg(dir.path()).args(more);
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let vkey = log.vkey().to_string();
    let (code, err) = serve(&["--listen", "0.0.0.0:0", "--log", &vkey]);
    assert_eq!((code, err.contains("GRV-1601")), (Some(5), true), "{err}");
    let (code, err) = serve(&["--listen", "127.0.0.1:0"]);
    assert_eq!((code, err.contains("--log")), (Some(2), true), "{err}");
    let running = WitnessServer::start(dir.path(), &[log.vkey()]);
    let (code, err) = serve(&["--listen", "127.0.0.1:0", "--log", &vkey]);
    assert_eq!((code, err.contains("GRV-1504")), (Some(6), true), "{err}");
    drop(running);
}
