//! What tests of witnesses share: the real witness in a directory of its own, and logs made of nothing but leaves.
#![allow(dead_code, reason = "each test file uses a part")]

use crate::support::{Answer, Client, PATIENCE, command};
use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::merkle::{Tree, TreeHead, leaf_hash, root_of};
use graven_proof::note::{Algorithm, SignerKey, VerifierKey};
use graven_proof::witness::{AddCheckpoint, cosigned, parse_cosignatures, parse_size};
use rustix::process::{Pid, Signal, kill_process};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running `graven witness serve`. Dropped, it is killed.
pub(crate) struct WitnessServer {
    child: Child,
    pub(crate) url: String,
    pub(crate) vkey: VerifierKey,
}

impl WitnessServer {
    /// Starts a witness in `data` on any free port and waits until it says that it is ready.
    pub(crate) fn start(data: &Path, logs: &[&VerifierKey]) -> WitnessServer {
        WitnessServer::start_at("127.0.0.1:0", data, logs)
    }

    /// [`WitnessServer::start`] on an address, such as that of a witness that ended.
    pub(crate) fn start_at(listen: &str, data: &Path, logs: &[&VerifierKey]) -> WitnessServer {
        let mut command = command();
        command.args(["witness", "serve", "--listen", listen, "--data"]).arg(data);
        for log in logs {
            command.args(["--log", &log.to_string()]);
        }
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut ready).expect("the witness prints");
        let mut stderr = child.stderr.take().expect("it is piped");
        let words: Vec<&str> = ready.split_whitespace().collect();
        let url = words.iter().find(|word| word.starts_with("http://"));
        let (Some(url), Some(vkey)) = (url, words.last()) else {
            let mut log = String::new();
            let _ = stderr.read_to_string(&mut log);
            panic!("the witness is not ready: {ready:?} {log}");
        };
        let (url, vkey) = ((*url).to_owned(), vkey.parse().expect("a verifier key"));
        // What comes later is read and dropped, so that the witness never waits for us.
        std::thread::Builder::new()
            .spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()))
            .expect("a thread");
        WitnessServer { child, url, vkey }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("the address begins with http://")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Sends a body as a request to cosign.
    pub(crate) fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        let sent = self.client().try_send("POST", "/add-checkpoint", &[], Some(body.as_ref()));
        sent.expect("the witness answers")
    }

    /// Has a log's checkpoint cosigned, which must go well; says when.
    pub(crate) fn cosign(&self, request: &AddCheckpoint) -> u64 {
        let answer = self.post(request.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let signatures = parse_cosignatures(&answer.body).expect("signature lines");
        cosigned(request.checkpoint(), &signatures, &self.vkey).expect("the witness cosigned").1
    }

    /// The size in an answer that says there is a conflict.
    pub(crate) fn conflict(&self, request: &AddCheckpoint) -> u64 {
        let answer = self.post(request.to_string());
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/x.tlog.size"));
        parse_size(&answer.body).expect("a size")
    }

    /// The last cosigned size of a log.
    pub(crate) fn size_of(&self, origin: &str) -> u64 {
        let about = self.client().try_send("GET", "/", &[], None).expect("the witness answers").expect(200);
        let logs = about["logs"].as_array().expect("a list").iter();
        logs.filter(|log| log["origin"] == origin).map(|log| log["size"].as_u64().expect("a size")).sum()
    }

    /// Asks the process to end and waits for it.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("the process is ours and runs");
        self.child.wait().expect("the witness ends")
    }

    /// Ends the process at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process ended");
    }
}

impl Drop for WitnessServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A log whose leaves from `forked` on are other ones than those of the log without a fork.
pub(crate) struct Log {
    pub(crate) key: SignerKey,
    forked: u64,
}

impl Log {
    pub(crate) fn new(origin: &str) -> Log {
        let key = SignerKey::from_seed(origin.parse().expect("a name"), Algorithm::Ed25519, &[1; 32]);
        Log { key, forked: u64::MAX }
    }

    pub(crate) fn forked_at(origin: &str, forked: u64) -> Log {
        Log { forked, ..Log::new(origin) }
    }

    pub(crate) fn vkey(&self) -> &VerifierKey {
        self.key.verifier()
    }

    fn leaves(&self, size: u64) -> Vec<Hash> {
        (0..size).map(|leaf| leaf_hash(&[leaf as u8, u8::from(leaf >= self.forked)])).collect()
    }

    pub(crate) fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        let head = TreeHead { size, root: root_of(&self.leaves(size)) };
        SignedCheckpoint::sign(&head, &self.key, &[], 0).expect("a checkpoint")
    }

    /// A request to go on from one size to another.
    pub(crate) fn request(&self, from: u64, to: u64) -> AddCheckpoint {
        let leaves = self.leaves(to);
        let nodes = |level: u8, index: u64| {
            let start = (index as usize) << level;
            Ok::<_, Infallible>(root_of(&leaves[start..start + (1 << level)]))
        };
        let proof =
            if from == 0 { Vec::new() } else { Tree::new(to, nodes).consistency(from).expect("a proof") };
        AddCheckpoint::new(from, proof, self.checkpoint(to)).expect("a request")
    }
}

/// Waits for a condition of another process.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
