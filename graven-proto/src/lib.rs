//! `graven.v1` over gRPC: the messages ([`wire`]), how they become the words of the model and back, and how an error
//! becomes a status and back. No I/O; the client and the server stand on it.
//!
//! The interface itself is `proto/graven/v1/graven.proto`. What is in `src/generated/` is written by
//! `cargo xtask proto`, so that building needs no protobuf compiler.

mod append;
pub mod codec;
mod dead_letter;
pub mod decode;
pub mod encode;
mod event;
mod fields;
pub mod group;
pub mod kurrentdb;
mod read;
pub mod session;
mod snapshot;
pub mod status;

pub use append::expected;
pub use read::{event_id, page_bytes, selector, start};

/// The messages and the client of the service, as generated.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod wire {
    include!("generated/graven.v1.rs");
}

/// The descriptor of the interface, for reflection: a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR: &[u8] = include_bytes!("generated/graven.v1.bin");

/// Full name of the service.
pub const SERVICE: &str = "graven.v1.EventStore";

use graven_model::{Code, Error};

/// Something a message has to have is not there.
fn missing(what: &str) -> Error {
    Error::new(Code::BadRequest, format!("{what} is missing"))
}

/// A number stands for nothing in its enumeration.
fn unknown(what: &str, number: i32) -> Error {
    Error::new(Code::BadRequest, format!("{what} {number} is not one there is"))
}

#[cfg(test)]
mod tests;
