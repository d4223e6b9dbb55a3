//! Timestamps of checkpoints, from an authority made of `openssl ts`, judged by `openssl ts -verify`.

mod support;
mod tls_support;
mod witness_support;

use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::hex;
use graven_proof::timestamp::Timestamp;
use graven_proof::witness::AddCheckpoint;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use support::{Server, wait_until};
use tls_support::{Issuer, TlsLine};
use witness_support::WitnessServer;

/// How the authority treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Answers with what it answered first.
    Replays,
    /// Stamps other bytes.
    StampsOthers,
    /// Answers with a page.
    Silly,
}

/// An authority with a certificate of its own authority, behind HTTP.
struct Authority {
    dir: PathBuf,
    url: String,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<AtomicU32>,
}

fn openssl(dir: &Path, arguments: &[&str]) -> Output {
    let ran = Command::new("openssl").current_dir(dir).args(arguments).output();
    ran.unwrap_or_else(|error| panic!("these tests need openssl (`apt-get install openssl`): {error}"))
}

fn openssl_ok(dir: &Path, arguments: &[&str]) {
    let out = openssl(dir, arguments);
    assert!(out.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Authority {
    fn start(dir: &Path) -> Authority {
        std::fs::write(dir.join("tsa.cnf"), CONFIG).unwrap();
        std::fs::write(dir.join("serial"), "01\n").unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "tsa.cnf"];
        let root = ["req", "-x509", "-subj", "/CN=Test CA", "-days", "2", "-extensions", "ca"];
        openssl_ok(dir, &[&root[..], &key, &["-keyout", "ca.key", "-out", "ca.pem"]].concat());
        let request = ["req", "-new", "-subj", "/CN=Test TSA"];
        openssl_ok(dir, &[&request[..], &key, &["-keyout", "tsa.key", "-out", "tsa.csr"]].concat());
        let sign = ["x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        let with = ["-days", "2", "-extfile", "tsa.cnf", "-extensions", "tsa_cert", "-out", "tsa.pem"];
        openssl_ok(dir, &[&sign[..], &with].concat());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tsa", listener.local_addr().unwrap());
        let manner = Arc::new(Mutex::new(Manner::Honest));
        let asked = Arc::new(AtomicU32::new(0));
        let (dir, its_manner, its_asked) = (dir.to_owned(), manner.clone(), asked.clone());
        let serving = dir.clone();
        let serve = move || {
            let mut first = None;
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Some(query) = body_of(&mut stream) else { continue };
                its_asked.fetch_add(1, Ordering::SeqCst);
                let manner = *its_manner.lock().unwrap();
                let answer = match (manner, &first) {
                    (Manner::Silly, _) => b"<html>a page</html>".to_vec(),
                    (Manner::Replays, Some(first)) => Vec::clone(first),
                    (Manner::StampsOthers, _) => reply(&serving, &other_query(&serving)),
                    _ => reply(&serving, &query),
                };
                first.get_or_insert_with(|| answer.clone());
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    answer.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &answer].concat());
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Authority { dir, url, manner, asked }
    }

    fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// What openssl says of a stored answer and the bytes it should be of.
    fn verifies(&self, answer: &Path, of: &Path) -> bool {
        let (answer, of) = (answer.to_str().unwrap(), of.to_str().unwrap());
        let arguments = ["ts", "-verify", "-in", answer, "-data", of, "-CAfile", "ca.pem"];
        openssl(&self.dir, &arguments).status.success()
    }
}

fn reply(dir: &Path, query: &[u8]) -> Vec<u8> {
    std::fs::write(dir.join("query.tsq"), query).unwrap();
    openssl_ok(dir, &["ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-out", "reply.tsr"]);
    std::fs::read(dir.join("reply.tsr")).unwrap()
}

fn other_query(dir: &Path) -> Vec<u8> {
    std::fs::write(dir.join("other"), "other bytes").unwrap();
    openssl_ok(dir, &["ts", "-query", "-data", "other", "-sha256", "-cert", "-out", "other.tsq"]);
    std::fs::read(dir.join("other.tsq")).unwrap()
}

/// The body of a request that says how long it is.
fn body_of(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&bytes[..end]).ok()?.to_ascii_lowercase();
        assert!(head.contains("content-type: application/timestamp-query"), "{head}");
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
        if bytes.len() >= end + 4 + length {
            return Some(bytes[end + 4..].to_vec());
        }
    }
}

const CONFIG: &str = "\
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[tsa_cert]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
certs = ca.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
ess_cert_id_alg = sha256
";

const QUICK: [&str; 4] = ["--set", "audit.checkpoint_interval=20ms", "--timestamp-interval", "50ms"];

fn serve(data: &Path, authority: &Authority) -> Server {
    Server::start_in(data, &[&["--timestamp-url", &authority.url], &QUICK[..]].concat())
}

fn timestamp(server: &Server) -> Value {
    server.client().get("/audit/anchors").expect(200)["timestamp"].clone()
}

/// Waits until a checkpoint of at least this size is timestamped; its size.
fn stamped(server: &Server, size: u64) -> u64 {
    wait_until("a checkpoint is timestamped", || {
        timestamp(server)["size"].as_u64().filter(|stamped| *stamped >= size)
    })
}

#[test]
fn openssl_verifies_the_stored_timestamp_of_a_checkpoint_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::start(dir.path());
    let data = dir.path().join("data");
    let server = serve(&data, &authority);
    let first = stamped(&server, server.client().append_one("a", "T") + 1);
    let second = stamped(&server, server.client().append_one("b", "T") + 1);
    assert!(second > first);
    let file = |size: u64, ending: &str| data.join(format!("timestamps/{size}.{ending}"));
    for (size, other) in [(first, second), (second, first)] {
        assert!(authority.verifies(&file(size, "tsr"), &file(size, "checkpoint")));
        assert!(!authority.verifies(&file(size, "tsr"), &file(other, "checkpoint")));
        // the stamped bytes are those of the checkpoint that was handed out
        let handed_out = server.client().get(&format!("/audit/checkpoint?size={size}"));
        assert_eq!(handed_out.body, std::fs::read(file(size, "checkpoint")).unwrap());
    }

    // the log says so too
    let timestamp = Timestamp::parse_response(&std::fs::read(file(first, "tsr")).unwrap()).unwrap();
    timestamp.expect_of(&std::fs::read(file(first, "checkpoint")).unwrap()).unwrap();
    let anchor = wait_until("the log notes it", || {
        let page = server.client().get("/v1/streams/$audit").expect(200);
        let events = page["events"].as_array().unwrap().clone();
        events.into_iter().find(|event| event["type"] == "$anchor" && event["data"]["size"] == first)
    });
    assert_eq!(anchor["data"]["anchor"], "timestamp");
    assert_eq!(anchor["data"]["checkpoint"], hex::encode(timestamp.imprint()));
    assert_eq!(anchor["data"]["token"], hex::encode(&timestamp.token_hash()));
    assert!(server.stop().success());
}

#[test]
fn an_authority_behind_tls_stamps_and_an_untrusted_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::start(dir.path());
    let (trusted, stranger) =
        (Issuer::new(&dir.path().join("trusted")), Issuer::new(&dir.path().join("stranger")));
    let address = authority.url.strip_prefix("http://").unwrap().strip_suffix("/tsa").unwrap();
    let line = TlsLine::to(address, stranger.issue("IP:127.0.0.1"));
    let (url, own) = (format!("{}/tsa", line.url), format!("audit.ca_file={}", trusted.ca_file()));
    let flags = [&["--timestamp-url", &url, "--set", &own], &QUICK[..]].concat();
    let data = dir.path().join("data");
    let server = Server::start_in(&data, &flags);
    let position = server.client().append_one("a", "T");
    wait_until("the failure is told", || {
        let error = timestamp(&server)["error"].clone();
        error["message"].as_str()?.contains("audit.ca_file").then_some(())
    });
    assert_eq!(authority.asked.load(Ordering::SeqCst), 0);
    line.show(trusted.issue("IP:127.0.0.1"));
    let size = stamped(&server, position + 1);
    let file = |ending: &str| data.join(format!("timestamps/{size}.{ending}"));
    assert!(authority.verifies(&file("tsr"), &file("checkpoint")));
}

#[test]
fn a_log_that_does_not_grow_is_not_stamped_again_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::start(dir.path());
    let data = dir.path().join("data");
    let server = serve(&data, &authority);
    let size = stamped(&server, server.client().append_one("a", "T") + 1);
    assert!(server.stop().success());
    let asked = authority.asked.load(Ordering::SeqCst);
    let server = serve(&data, &authority);
    // what the stop left behind may be stamped before it is asked for
    assert!(timestamp(&server)["size"].as_u64().unwrap() >= size);
    assert!(timestamp(&server)["at"].is_string());
    let more = stamped(&server, server.client().append_one("b", "T") + 1);
    assert!(more > size);
    assert!(server.stop().success());
    // one more for the event; a seal between may be worth another
    assert!(authority.asked.load(Ordering::SeqCst) <= asked + 2);
}

#[test]
fn what_is_no_timestamp_of_the_checkpoint_is_reported_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::start(dir.path());
    let data = dir.path().join("data");
    let server = serve(&data, &authority);
    let size = stamped(&server, server.client().append_one("a", "T") + 1);
    for (manner, words) in
        [(Manner::Silly, "RFC 3161"), (Manner::StampsOthers, "other bytes"), (Manner::Replays, "other bytes")]
    {
        authority.set(manner);
        server.client().append_one("b", "T");
        let error = wait_until("the failure is told", || {
            let error = timestamp(&server)["error"].clone();
            error["message"].as_str()?.contains(words).then_some(error)
        });
        assert_eq!(error["code"], "GRV-1764");
        assert_eq!(timestamp(&server)["size"], size, "{manner:?}");
    }
    authority.set(Manner::Honest);
    let size = stamped(&server, size + 1);
    assert!(data.join(format!("timestamps/{size}.tsr")).is_file());
    wait_until("the failure is forgotten", || timestamp(&server)["error"].is_null().then_some(()));
}

/// The commands that README.txt gives, run in a bundle.
fn as_the_readme_says(authority: &Authority, bundle: &Path) -> bool {
    let readme = std::fs::read_to_string(bundle.join("README.txt")).unwrap();
    let such = |line: &&str| line.starts_with("  head -n") || line.starts_with("  openssl ts");
    let commands: Vec<&str> = readme.lines().filter(such).collect();
    assert!(!commands.is_empty(), "{readme}");
    std::fs::copy(authority.dir.join("ca.pem"), bundle.join("authority-ca.pem")).unwrap();
    let script = commands.join(" && ");
    Command::new("sh").current_dir(bundle).args(["-c", &script]).output().unwrap().status.success()
}

#[test]
fn a_bundle_has_the_timestamp_of_its_checkpoint_and_says_how_it_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::start(dir.path());
    let data = dir.path().join("data");
    let server = serve(&data, &authority);
    stamped(&server, server.client().append_one("a", "T") + 1);
    let vkey = server.client().get("/audit/keys").text().lines().next().unwrap().to_owned();
    assert!(server.stop().success());
    let export = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let mut command = support::command();
        command.args(["audit", "export", "--range", "0..1", "--data"]).arg(&data).arg("--out").arg(&out);
        let ran = command.args(more).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let check = || {
            let ran =
                support::command().args(["audit", "check", "--vkey", &vkey]).arg(&out).output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
            let mut python = Command::new("python3");
            let ran = python.arg("-B").arg(out.join("verify.py")).args(["--vkey", &vkey]).output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
        };
        check();
        out
    };
    let bundle = export("stamped", &["--timestamped"]);
    assert!(as_the_readme_says(&authority, &bundle));
    std::fs::write(bundle.join("checkpoint"), "something else").unwrap();
    assert!(!as_the_readme_says(&authority, &bundle));

    // cosignatures come behind what was stamped
    let checkpoint = std::fs::read_dir(data.join("timestamps")).unwrap().map(|entry| entry.unwrap().path());
    let size_of = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let checkpoint =
        std::fs::read(checkpoint.max_by_key(size_of).unwrap().with_extension("checkpoint")).unwrap();
    let witness = WitnessServer::start(&dir.path().join("witness"), &[&vkey.parse().unwrap()]);
    let request = AddCheckpoint::new(0, Vec::new(), SignedCheckpoint::parse(&checkpoint).unwrap()).unwrap();
    let note = [checkpoint, witness.post(request.to_string()).body].concat();
    let entry = [format!("graven/cosigned/v1 {}\n", note.len()).as_bytes(), &note].concat();
    std::fs::write(data.join("cosignatures.log"), entry).unwrap();
    let bundle = export("both", &["--timestamped", "--witnessed"]);
    assert_eq!(std::fs::read(bundle.join("checkpoint")).unwrap(), note);
    assert!(as_the_readme_says(&authority, &bundle));
    assert!(!authority.verifies(&bundle.join("checkpoint.tsr"), &bundle.join("checkpoint")));
}
