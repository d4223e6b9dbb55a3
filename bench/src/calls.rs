//! System calls of a server, counted by `strace`: a figure that does not depend on how busy the machine is.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long `strace` gets to attach to every thread.
const ATTACHING: Duration = Duration::from_millis(500);

/// A count under way.
pub(crate) struct Count {
    strace: Child,
    summary: PathBuf,
}

impl Count {
    /// Begins to count the calls of these processes and all their threads; `strace` is installed if it is not there.
    ///
    /// # Errors
    /// If there is no `strace`, or it may not look.
    pub(crate) fn begin(processes: &[u32], dir: &Path) -> Result<Count> {
        if Command::new("strace").arg("-V").output().is_err() {
            eprintln!("installing strace");
            let mut install = Command::new("apt-get");
            install.args(["install", "-qq", "-y", "strace"]).env("DEBIAN_FRONTEND", "noninteractive");
            ensure!(install.status().is_ok_and(|status| status.success()), "there is no strace");
        }
        let summary = dir.join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-c", "-U", "calls,name", "-o"]).arg(&summary);
        for process in processes {
            command.arg("-p").arg(process.to_string());
        }
        let strace = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start strace")?;
        std::thread::park_timeout(ATTACHING);
        Ok(Count { strace, summary })
    }

    /// Ends the count.
    ///
    /// # Errors
    /// If nothing was counted.
    pub(crate) fn end(mut self) -> Result<u64> {
        let process = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        kill_process(process.context("strace has no process id")?, Signal::INT)
            .context("cannot end strace")?;
        self.strace.wait().context("cannot wait for strace")?;
        let summary = fs::read_to_string(&self.summary).context("strace says nothing")?;
        total(&summary).context("strace counted nothing")
    }
}

/// The last line of a summary.
fn total(summary: &str) -> Option<u64> {
    let line = summary.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_summary_is_its_last_line() {
        let summary = "    calls syscall\n--------- ----------------\n     1201 futex\n      600 fdatasync\n\
                       --------- ----------------\n     1801 total\n";
        assert_eq!(total(summary), Some(1801));
        assert_eq!(total(""), None);
    }
}
