//! Starting and ending the servers that are measured. Each binds 127.0.0.1, writes below a directory of this run, and
//! is ended by its process id; one that is forgotten ends with its [`Server`].

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
#[cfg(feature = "peers")]
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No start and no stop takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stop: Signal,
    log: PathBuf,
}

impl Server {
    /// Starts a program whose standard output and error go to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Server> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let second = file.try_clone().context("cannot share the log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        Ok(Server { child, stop: Signal::TERM, log: log.to_owned() })
    }

    /// The same server, asked to end with another signal.
    #[cfg(feature = "peers")]
    pub(crate) fn stopped_by(mut self, signal: Signal) -> Server {
        self.stop = signal;
        self
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of the log has something to say.
    ///
    /// # Errors
    /// If the server ends, or [`PATIENCE`] does.
    pub(crate) fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.wait_until(|log| {
            let lines = BufReader::new(File::open(log).ok()?).lines();
            lines.map_while(Result::ok).find_map(|line| find(&line))
        })
    }

    /// Asks again and again until there is an answer.
    ///
    /// # Errors
    /// If the server ends, or [`PATIENCE`] does.
    pub(crate) fn wait_until<T>(&mut self, mut ask: impl FnMut(&Path) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ask(&self.log) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait().context("cannot watch the server")? {
                bail!("the server ended with {status}:\n{}", self.words());
            }
            if Instant::now() > deadline {
                bail!("the server is not ready after {PATIENCE:?}:\n{}", self.words());
            }
            std::thread::park_timeout(Duration::from_micros(500));
        }
    }

    /// Asks the server to end and waits for it.
    ///
    /// # Errors
    /// If it does not end within [`PATIENCE`]; it is killed then.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(self.stop);
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().context("cannot watch the server")?.is_none() {
            if Instant::now() > deadline {
                bail!("the server does not end:\n{}", self.words());
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends the server as a crash of its process would.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself; waiting for it will tell.
            let _ = kill_process(id, signal);
        }
    }

    fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(self.stop);
            let deadline = Instant::now() + Duration::from_secs(5);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(2));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Prints the last lines of every server's log below a folder.
pub(crate) fn print_logs(dir: &Path) {
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            print_logs(&path);
        } else if path.file_name().is_some_and(|name| name == "log") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("{}:", path.display());
            lines.iter().skip(lines.len().saturating_sub(10)).for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// A port that was free a moment ago.
///
/// # Errors
/// If there is none.
#[cfg(feature = "peers")]
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}
