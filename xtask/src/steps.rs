//! A list of steps that all run, each under a heading with its duration, and one verdict at the end.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Steps under way.
pub(crate) struct Steps {
    started: Instant,
    failed: Vec<&'static str>,
}

impl Steps {
    /// Starts the clock.
    pub(crate) fn begin() -> Steps {
        Steps { started: Instant::now(), failed: Vec::new() }
    }

    /// Runs a step. One that fails does not keep the next ones from running.
    pub(crate) fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        println!("\n==== {name}");
        let started = Instant::now();
        let outcome = work();
        let took = seconds(started.elapsed());
        match outcome {
            Ok(()) => println!("---- {name}: ok in {took}"),
            Err(error) => {
                println!("---- {name}: FAILED after {took}: {error:#}");
                self.failed.push(name);
            }
        }
    }

    /// Runs the last step and gives the verdict. Nothing is printed after the step if all went well, so that the
    /// output ends with the step's own summary.
    ///
    /// # Errors
    /// If any step failed; names them.
    pub(crate) fn finish(mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n==== {name} (all before it: {})", seconds(self.started.elapsed()));
        if let Err(error) = work() {
            println!("---- {name}: FAILED: {error:#}");
            self.failed.push(name);
        }
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        Ok(())
    }
}

fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_failed_step_is_named_at_the_end_and_the_others_still_run() {
        let mut steps = Steps::begin();
        let mut later = false;
        steps.run("early", || Err(anyhow!("broken")));
        steps.run("later", || {
            later = true;
            Ok(())
        });
        let verdict = steps.finish("last", || Ok(()));
        assert!(later);
        assert_eq!(verdict.unwrap_err().to_string(), "failed: early");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(3_140)), "3.1 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
