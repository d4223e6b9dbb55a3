//! The binary as a black box: runs commands, starts and stops servers.

#![allow(dead_code, reason = "each test file uses its share")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// The binary under test.
pub(crate) const GRAVEN: &str = env!("CARGO_BIN_EXE_graven");

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; -1 if a signal ended it.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// The same, after it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The same, after it failed with this exit code and these words on standard error.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is missing: {self:?}");
        }
        self
    }
}

/// A command without the variables of whoever runs the tests.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GRAVEN_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `graven` to its end.
pub(crate) fn graven(args: &[&str]) -> Ran {
    finish(command(GRAVEN).args(args))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    let output = command.output().expect("the command starts");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("output is UTF-8"),
        err: String::from_utf8(output.stderr).expect("errors are UTF-8"),
    }
}

/// Runs `graven` with this standard input.
pub(crate) fn graven_with_input(args: &[&str], input: &[u8]) -> Ran {
    let mut child = command(GRAVEN)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    child.stdin.take().expect("it is piped").write_all(input).expect("the command reads its input");
    let output = child.wait_with_output().expect("the command ends");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("output is UTF-8"),
        err: String::from_utf8(output.stderr).expect("errors are UTF-8"),
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// First line it printed.
    pub(crate) ready: String,
    /// Its address.
    pub(crate) url: String,
}

impl Server {
    /// Serves a directory on a free port.
    pub(crate) fn start(data: &Path) -> Server {
        Server::start_at(data, "127.0.0.1:0")
    }

    /// Serves a directory on an address.
    pub(crate) fn start_at(data: &Path, address: &str) -> Server {
        Server::spawn(command(GRAVEN).args(["serve", "--listen", address, "--data"]).arg(data))
    }

    /// Starts a command that serves, and waits for its ready line.
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Server {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut ready = String::new();
        stdout.read_line(&mut ready).expect("the server prints");
        let Some(url) = ready.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned)
        else {
            let mut err = String::new();
            let _ = child.stderr.take().expect("it is piped").read_to_string(&mut err);
            panic!("the server is not ready: {ready:?} {err}");
        };
        Server { child, stdout, ready, url }
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the server prints");
        line
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("the address is one of HTTP")
    }

    /// Runs a command against it.
    pub(crate) fn graven(&self, args: &[&str]) -> Ran {
        graven(&[&["--url", &self.url], args].concat())
    }

    /// Asks it to stop and waits.
    pub(crate) fn stop(mut self) -> ExitStatus {
        signal(&self.child, Signal::TERM);
        self.child.wait().expect("the server ends")
    }

    /// Ends it as a crash would.
    pub(crate) fn crash(mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("the server ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("the child runs");
}

/// One CloudEvent without line break.
pub(crate) fn cloud_event(number: usize, stream: &str) -> String {
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"00000000-0000-4000-8000-{number:012}","source":"urn:loan","type":"{kind}","#,
            r#""subject":"{stream}","time":"2011-09-30T22:38:44.546Z","datacontenttype":"application/json","#,
            r#""data":{{"resource":"{number}","amount": 1.50e2}}}}"#
        ),
        number = number,
        kind = if number.is_multiple_of(3) { "A_SUBMITTED" } else { "W_Called" },
        stream = stream,
    )
}

/// CloudEvents in a number of streams, one a line.
pub(crate) fn cloud_events(events: usize, streams: usize) -> String {
    (0..events).map(|number| cloud_event(number, &format!("loan-{}", number % streams)) + "\n").collect()
}

/// A file in a directory.
pub(crate) fn file(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, bytes).expect("the directory can be written");
    path.to_str().expect("the path is UTF-8").to_owned()
}
