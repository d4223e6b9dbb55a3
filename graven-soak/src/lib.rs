//! The history check: many clients work on one store at once, the server is killed and started again, everything they
//! were told is written down, and a judge compares it with the log that is there in the end.
//!
//! - [`history`]: what was asked and answered, and when.
//! - [`driver`]: the clients. They know only [`graven_model::store::EventStore`].
//! - [`judge`]: pure; O(n log n) in events and operations.
//! - [`server`]: starts and kills the server's process.
//! - [`nodes`]: several servers that share a journal in a PostgreSQL that is killed too.

pub mod driver;
pub mod history;
pub mod judge;
pub mod nodes;
pub mod server;

/// A small generator for choices (SplitMix64, Steele, Lea, Flood 2014); the same seed makes the same choices.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A generator.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
