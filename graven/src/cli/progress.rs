//! The progress bar: only on a terminal, on standard error.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A bar over bytes that shows events and their rate.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Progress {
    /// A bar to this many steps, or one without an end.
    pub(crate) fn new(total: Option<u64>) -> Progress {
        let begun = Instant::now();
        if !std::io::stderr().is_terminal() {
            return Progress { bar: None, begun };
        }
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:30} {percent:>3} %  {msg}  {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner}  {msg}  {elapsed}"),
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is written above"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar: Some(bar), begun }
    }

    /// How far it is.
    pub(crate) fn set(&self, step: u64, events: u64) {
        if let Some(bar) = &self.bar {
            let rate = (events as f64 / self.begun.elapsed().as_secs_f64().max(0.001)) as u64;
            use crate::config::units::show_count;
            bar.set_message(format!("{} events  {}/s", show_count(events), show_count(rate)));
            bar.set_position(step);
        }
    }

    /// How many rounds are over.
    pub(crate) fn set_rounds(&self, rounds: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} rounds", crate::config::units::show_count(rounds)));
            bar.set_position(rounds);
        }
    }

    /// Says something without tearing the bar.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
