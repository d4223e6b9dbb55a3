//! What a failed call means.

use graven_model::{Code, Error};
use graven_proto::status;
use std::error::Error as _;
use tonic::{Code as GrpcCode, Status};

/// The error a status stands for. What our own side of the connection failed with says nothing of the server: the
/// connection failed, and what became of the call is open.
pub(crate) fn error_of(status: &Status) -> Error {
    let from_server = !status.details().is_empty();
    let of_transport = matches!(
        status.code(),
        GrpcCode::Unknown | GrpcCode::Unavailable | GrpcCode::Internal | GrpcCode::Cancelled
    );
    if from_server || !of_transport {
        return status::to_error(status);
    }
    let mut message = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    Error::new(Code::ConnectionFailed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_told_from_what_the_server_says() {
        let broken = Status::unknown("Service was not ready: transport error");
        assert_eq!(error_of(&broken).code, Code::ConnectionFailed);
        assert_eq!(error_of(&Status::cancelled("h2 protocol error")).code, Code::ConnectionFailed);
        let said = status::from_error(&Error::new(Code::Overloaded, "too much waits"));
        assert_eq!(error_of(&said), Error::new(Code::Overloaded, "too much waits"));
        let unknown = status::from_error(&Error::new(Code::OutcomeUnknown, "a flush failed"));
        assert_eq!(error_of(&unknown).code, Code::OutcomeUnknown);
    }

    #[test]
    fn a_server_without_the_service_is_not_asked_again() {
        assert!(!error_of(&Status::unimplemented("")).code.entry().retryable);
    }
}
