//! Evidence to take away: bundles written from a store, and read from wherever they were put. The checks are
//! `graven-proof`'s; called by the command line and the server.

pub(crate) mod archive;
pub(crate) mod export;
pub(crate) mod outside;
mod plan;
mod words;

pub(crate) use words::scope as scope_words;
