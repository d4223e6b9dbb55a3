//! The server's process: started, killed, started again on the same data and port.

use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server on a port of this machine.
pub struct Server {
    binary: PathBuf,
    data: PathBuf,
    /// Of `serve`, beside data and port.
    options: Vec<String>,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on a free port, with options of `serve`.
    ///
    /// # Errors
    /// If it cannot be started or does not become ready.
    pub fn start(binary: &Path, data: &Path, options: &[String]) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (binary, data, options) = (binary.to_owned(), data.to_owned(), options.to_vec());
        let mut server = Server { binary, data, options, port, child: None };
        server.start_again()?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it again on the same data and port, and waits until it says that it is ready.
    ///
    /// # Errors
    /// If it cannot be started or ends before it is ready.
    pub fn start_again(&mut self) -> Result<()> {
        let mut child = Command::new(&self.binary)
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--data"])
            .arg(&self.data)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the output of the server")?;
        BufReader::new(stdout).read_line(&mut line)?;
        self.child = Some(child);
        if !line.contains("is ready on") {
            bail!("the server did not become ready: {line:?}");
        }
        Ok(())
    }

    /// Ends it as a crash does: SIGKILL.
    ///
    /// # Errors
    /// If it was gone already.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        if let Some(status) = child.try_wait()? {
            bail!("the server had ended by itself: {status}");
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
