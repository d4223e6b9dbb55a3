//! How a command fails: message, hint and exit code.

use super::output::Color;
use graven_model::{Code, Error};
use std::fmt;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;

/// An error with a better hint than its row of the table has.
#[derive(Debug)]
pub(crate) struct Hinted {
    /// What happened.
    pub(crate) error: Error,
    /// What to do about it here.
    pub(crate) hint: String,
}

impl Hinted {
    /// Wraps an error.
    pub(crate) fn new(error: Error, hint: impl Into<String>) -> Hinted {
        Hinted { error, hint: hint.into() }
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {}

/// Ends the command with an exit code; everything was said already.
#[derive(Debug)]
pub(crate) struct Exit(pub(crate) u8);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// An error of wrong usage.
pub(crate) fn usage(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

/// Prints `error: …` and `hint: …` on standard error; the exit code is the error's.
pub(crate) fn report(error: &anyhow::Error, color: Color) -> ExitCode {
    if let Some(Exit(code)) = error.downcast_ref::<Exit>() {
        return ExitCode::from(*code);
    }
    let mut stderr = std::io::stderr().lock();
    let colored = color.applies(stderr.is_terminal());
    let paint = |code: &str, word: &str| {
        if colored { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    };
    let (exit, hint) = match (error.downcast_ref::<Hinted>(), error.downcast_ref::<Error>()) {
        (Some(hinted), _) => (hinted.error.code.entry().exit, hinted.hint.as_str()),
        (None, Some(error)) => (error.code.entry().exit, error.code.entry().hint),
        (None, None) => (1, ""),
    };
    // Nothing can be done if standard error is closed; the exit code still tells.
    let _ = writeln!(stderr, "{} {error:#}", paint("1;31", "error:"));
    if !hint.is_empty() {
        let _ = writeln!(stderr, "{} {hint}", paint("1;36", "hint:"));
    }
    ExitCode::from(exit)
}
