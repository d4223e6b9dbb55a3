//! The audit trail: the tree's hashes on disk, signed checkpoints of it, proofs, and seals of all streams.
//!
//! The log's frames say size and root; the tiles are derived from the log and can be built again from it. What is signed is
//! kept for ever and never signed twice. Nothing here is on the path of an append.

mod background;
mod checkpoints;
mod completeness;
mod control;
mod envelope;
mod erase;
mod erasing;
mod evidence;
mod high_water;
mod holds;
mod keys;
mod prove;
mod retention;
mod rollback;
mod rotation;
mod scrub;
mod seal;
mod signer;
mod subjects;
mod tiles;
mod trail;
mod verify;

pub use checkpoints::StoredCheckpoint;
pub use completeness::{Completeness, KeyProof};
pub(crate) use envelope::OVERHEAD as SEAL_OVERHEAD;
pub(crate) use erase::{Eraser, Site};
pub(crate) use erasing::Erasing;
pub use graven_model::erasure::{
    ErasureOutcome, ErasureRequest, ErasureTarget, HoldOn, Part, ScavengeReport,
};
pub use retention::ScavengeOptions;
pub use rollback::{Loss, RolledBack, declare_rollback, survey_rollback};
pub use rotation::LogKey;
pub use scrub::ScrubStatus;
pub(crate) use scrub::{Scrubber, Work as ScrubWork};
pub use seal::Sealed;
pub(crate) use subjects::{SubjectKeys, Unsealed, seal_event};
pub(crate) use tiles::Tiles;
pub use trail::Trail;
pub(crate) use verify::verify_open;
pub use verify::{VerifyOptions, VerifyProgress, verify};
