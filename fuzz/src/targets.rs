//! The list of targets.

mod anchor;
mod audit;
mod cloudevent;
mod cursor;
mod evidence;
mod leaf;
mod message;
mod reseal;
mod segment;

/// One decoder under fuzzing.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name of the target, of its binary and of its folders.
    pub name: &'static str,
    /// Feeds it one input and says whether it was accepted. Panics if something that must hold does not.
    pub run: fn(&[u8]) -> bool,
    /// Inputs it accepts.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Mutations of the seeds tried by every test run: as many as take a second or two.
    pub mutations: u32,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "cursor", run: cursor::run, seeds: cursor::seeds, mutations: 200_000 },
    Target { name: "cloudevent", run: cloudevent::one, seeds: cloudevent::seeds, mutations: 40_000 },
    Target {
        name: "cloudevent_batch",
        run: cloudevent::batch,
        seeds: cloudevent::batch_seeds,
        mutations: 20_000,
    },
    Target { name: "leaf", run: leaf::run, seeds: leaf::seeds, mutations: 200_000 },
    Target { name: "note", run: audit::note, seeds: audit::note_seeds, mutations: 80_000 },
    Target { name: "checkpoint", run: audit::checkpoint, seeds: audit::checkpoint_seeds, mutations: 80_000 },
    Target { name: "tlog_proof", run: audit::tlog_proof, seeds: audit::tlog_proof_seeds, mutations: 80_000 },
    Target { name: "key", run: audit::key, seeds: audit::key_seeds, mutations: 200_000 },
    Target { name: "policy", run: audit::policy, seeds: audit::policy_seeds, mutations: 40_000 },
    Target { name: "trie_proof", run: audit::trie_proof, seeds: audit::trie_proof_seeds, mutations: 80_000 },
    Target { name: "bundle", run: audit::bundle, seeds: audit::bundle_seeds, mutations: 100_000 },
    Target { name: "evidence", run: evidence::run, seeds: evidence::seeds, mutations: 20_000 },
    Target { name: "tile_path", run: audit::tile_path, seeds: audit::tile_path_seeds, mutations: 200_000 },
    Target {
        name: "witness_request",
        run: anchor::witness_request,
        seeds: anchor::witness_request_seeds,
        mutations: 80_000,
    },
    Target { name: "timestamp", run: anchor::timestamp, seeds: anchor::timestamp_seeds, mutations: 200_000 },
    Target { name: "message", run: message::run, seeds: message::seeds, mutations: 400_000 },
    Target { name: "recovery", run: segment::as_is, seeds: segment::seeds, mutations: 4_000 },
    Target { name: "frame", run: segment::with_checksums_that_hold, seeds: segment::seeds, mutations: 4_000 },
];

impl Target {
    /// The target with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }
}
