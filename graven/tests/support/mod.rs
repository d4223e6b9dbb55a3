//! What black-box tests share: the real binary in a directory of its own, and a client that holds every answer
//! against the OpenAPI document.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

pub(crate) mod client;
pub(crate) mod contract;
pub(crate) mod groups;

pub(crate) use client::{Answer, Client, EventStream, Message};

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const GRAVEN: &str = env!("CARGO_BIN_EXE_graven");

/// No wait in a test is longer; a passing test never waits as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test that waits, on two threads and within [`PATIENCE`].
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long");
    });
}

/// A running `graven serve`. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    url: String,
    stderr: PathBuf,
    data: PathBuf,
    /// The directory goes with the server, unless the test brought its own.
    _directory: Option<TempDir>,
}

impl Server {
    /// Starts a server on a new store and any free port, and waits until it says that it is ready.
    pub(crate) fn start() -> Server {
        Server::start_with(&[])
    }

    /// [`Server::start`] with more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = Server::start_in(&directory.path().join("data"), arguments);
        server._directory = Some(directory);
        server
    }

    /// Starts a server on the store in `data`.
    pub(crate) fn start_in(data: &Path, arguments: &[&str]) -> Server {
        Server::start_at("127.0.0.1:0", data, arguments)
    }

    /// [`Server::start_in`] on an address, such as that of a server that ended.
    pub(crate) fn start_at(listen: &str, data: &Path, arguments: &[&str]) -> Server {
        Server::start_by(command(), listen, data, arguments)
    }

    /// [`Server::start_at`] by a command that has more in its environment.
    pub(crate) fn start_by(mut command: Command, listen: &str, data: &Path, arguments: &[&str]) -> Server {
        let stderr = data.with_extension("stderr");
        let mut child = command
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).expect("a file for the log"))
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let ready = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("graven is ready on ")?.1.to_owned();
            Some(rest.split_whitespace().next()?.to_owned())
        });
        // What comes later is read and dropped, so that the server never waits for us.
        std::thread::Builder::new().spawn(move || lines.for_each(drop)).expect("a thread");
        let Some(url) = ready else {
            let status = child.wait().expect("the server ended");
            panic!(
                "the server ended with {status}:\n{}",
                std::fs::read_to_string(&stderr).unwrap_or_default()
            );
        };
        Server { child, url, stderr, data: data.to_owned(), _directory: None }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("the address begins with http://")
    }

    /// The store's directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A client of this server.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// What the server wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Asks the process to end (SIGTERM), without waiting.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the process is ours and runs");
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        wait_until("the server ends", || {
            assert!(Instant::now() < deadline, "the server does not end:\n{}", self.log());
            self.child.try_wait().expect("the process is ours")
        })
    }

    /// Asks the process to end and waits for it.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Ends the process at once (SIGKILL), as a crash would, and gives back the directory.
    pub(crate) fn kill(mut self) -> Option<TempDir> {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process ended");
        self._directory.take()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")).expect("not zero")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the server:\n{}", self.log());
        }
    }
}

/// The binary, without any setting from the environment of the test.
pub(crate) fn command() -> Command {
    let mut command = Command::new(GRAVEN);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GRAVEN_")) {
        command.env_remove(name);
    }
    command
}

/// Asks again and again until there is something, at most [`PATIENCE`] long.
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
