//! A witness: what runs on somebody else's machine, remembers the last head of each log it knows, and cosigns only what
//! continues it (C2SP tlog-witness). No store is near it.
//!
//! `graven witness serve` opens a [`Witness`] and has a [`Service`] answer for it. Whether a checkpoint may be cosigned
//! is decided in `graven_proof::witness`; here is what that needs of disk, clock and network. The witness never
//! believes a log's word alone, and never lets a cosignature out before what it says is durable.

mod answer;
mod key;
mod memory;
mod service;

pub(crate) use key::make_key;
pub(crate) use memory::{Outcome, Witness};
pub(crate) use service::Service;
