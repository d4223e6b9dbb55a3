//! [`SimMachine`]: disk, clock and randomness of one simulated computer.

use crate::clock::SimClock;
use crate::dice::mix;
use crate::disk::SimDisk;
use graven_engine::env::{Env, Seed};
use std::sync::Arc;

/// One simulated computer. Clones are the same computer.
#[derive(Clone)]
pub struct SimMachine {
    /// Its disk.
    pub disk: SimDisk,
    /// Its clock.
    pub clock: SimClock,
    /// Where a store on it takes its randomness from.
    pub seed: u64,
    /// Whether a store on it runs its own threads. A run can then not be repeated, and meets what only threads do.
    pub threads: bool,
}

impl SimMachine {
    /// A new computer with an empty disk whose clock shows the year 2020 and stands still.
    #[must_use]
    pub fn new(seed: u64) -> SimMachine {
        SimMachine {
            disk: SimDisk::new(seed),
            clock: SimClock::at(1_577_836_800_000_000),
            seed,
            threads: false,
        }
    }

    /// The environment of a store on this computer.
    #[must_use]
    pub fn env(&self) -> Env {
        let seed = if self.threads { Seed::Os } else { Seed::Fixed(self.seed) };
        Env { clock: Arc::new(self.clock.clone()), disk: Arc::new(self.disk.clone()), seed }
    }

    /// Pulls the plug; the answer is the computer after it is switched on again. Everything opened before is dead.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimMachine {
        SimMachine {
            disk: self.disk.crash(seed),
            clock: self.clock.clone(),
            seed: mix(self.seed ^ seed),
            threads: self.threads,
        }
    }

    /// Kills the process; what it wrote stays in the page cache. Everything opened before is dead.
    #[must_use]
    pub fn kill(&self) -> SimMachine {
        SimMachine {
            disk: self.disk.kill(),
            clock: self.clock.clone(),
            seed: mix(self.seed),
            threads: self.threads,
        }
    }

    /// A copy of the computer as it stands, with a disk of its own.
    #[must_use]
    pub fn fork(&self) -> SimMachine {
        SimMachine {
            disk: self.disk.fork(),
            clock: SimClock::at(self.clock.shows_us()),
            seed: self.seed,
            threads: self.threads,
        }
    }
}
