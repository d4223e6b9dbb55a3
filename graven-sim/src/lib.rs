//! The simulated machine and the judges of the engine. Not shipped.
//!
//! [`SimMachine`] is a computer whose disk loses power and whose clock stands still; [`dice`] makes every run
//! repeatable from its seed.

mod clock;
pub mod crash;
pub mod dice;
pub mod disk;
pub mod journal;
pub mod judge;
mod machine;
pub mod model;
pub mod workload;
pub mod world;

pub use clock::SimClock;
pub use disk::SimDisk;
pub use journal::SimJournal;
pub use machine::SimMachine;
pub use model::Model;
pub use workload::{Step, Workload};
pub use world::World;
