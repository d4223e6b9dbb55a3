//! [`Failure`]: what came instead of an answer, and how it is told.

use graven_model::{Code, Error};
use std::error::Error as _;
use std::fmt;
use tokio_postgres::error::SqlState;

/// What came instead of an answer.
pub(crate) enum Failure {
    /// The server, or the line to it, said no.
    Postgres(tokio_postgres::Error),
    /// Nobody answered in time.
    Silence,
    /// What is there is not what has to be.
    Told(Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Postgres(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Told(error)
    }
}

impl Failure {
    /// What PostgreSQL calls it.
    pub(crate) fn state(&self) -> Option<&SqlState> {
        match self {
            Failure::Postgres(error) => error.code(),
            _ => None,
        }
    }

    /// As an error: what could not be done, where, and what PostgreSQL said.
    pub(crate) fn into_error(self, what: &str, place: &str) -> Error {
        if self.state() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            return Error::new(
                Code::JournalUnreachable,
                format!("cannot {what}: the journal at {place} can only be read: it is a standby, or made read only"),
            )
            .expected("the primary: name it in the URL, or all servers with target_session_attrs=read-write");
        }
        match self {
            Failure::Told(error) => error,
            Failure::Silence => Error::new(
                Code::JournalUnreachable,
                format!("cannot {what}: the journal at {place} does not answer in time"),
            ),
            Failure::Postgres(error) => {
                Error::new(Code::JournalUnreachable, format!("cannot {what} at {place}: {}", Said(&error)))
            }
        }
    }
}

/// What PostgreSQL said, without the details: they may quote a row, and a row holds payloads.
struct Said<'a>(&'a tokio_postgres::Error);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(said) = self.0.as_db_error() {
            return write!(f, "{} (SQLSTATE {})", said.message(), said.code().code());
        }
        write!(f, "{}", self.0)?;
        let mut text = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let next = error.to_string();
            if !text.contains(&next) {
                write!(f, ": {next}")?;
                text.push_str(&next);
            }
            source = error.source();
        }
        Ok(())
    }
}
