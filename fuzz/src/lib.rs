//! Everything of Graven that decodes bytes from outside, as functions that must never panic, hang or accept what they
//! should not.
//!
//! A target is one function. It lives here, not under `fuzz_targets/`, so that an ordinary test runs every target over
//! its seeds and thousands of mutations of them, with the stable compiler and the same outcome each time; libFuzzer
//! drives the same function when someone searches (`cargo xtask fuzz`). Beyond not breaking, a target states what must
//! hold of an input that was accepted: written out again, it is the same.
//!
//! Seeds are made, not kept: they are what the current code writes, so a change of a format cannot leave them behind.
//! Inputs that once broke a target are kept, under `regressions/<target>/`.

mod mutate;
mod targets;

pub use mutate::mutate;
pub use targets::{TARGETS, Target};
