//! What the commands ask of a server.

use super::check_proof::invalid;
use crate::cli::client::{Call, Client, foreign, target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_model::{Code, Error, Result};
use graven_proof::Hash;
use graven_proof::checkpoint::{Checkpoint, SignedCheckpoint};
use graven_proof::note::VerifierKey;
use graven_proof::policy::Policy;
use serde::Deserialize;

/// Text as the server keeps it: a note, a proof, keys.
///
/// # Errors
/// Those of the server and of the connection.
pub(crate) fn text(client: &Client, path: &str, parameters: &[(&str, String)]) -> Result<String> {
    let target = target(path, parameters);
    client.send_text(&Call { accept: "text/plain", ..Call::get(&target) })
}

/// The latest checkpoint, or one that covers so many events.
///
/// # Errors
/// As [`text`]; [`Code::ProofInvalid`] if it is none.
pub(crate) fn checkpoint(client: &Client, at_least: Option<u64>) -> Result<SignedCheckpoint> {
    let parameters: Vec<_> = at_least.iter().map(|size| ("at_least", size.to_string())).collect();
    let note = text(client, "/audit/checkpoint", &parameters)?;
    SignedCheckpoint::parse(note.as_bytes())
        .map_err(|error| invalid(format!("the checkpoint of {} does not read: {error}", client.base())))
}

/// The keys the server says are its log's.
///
/// # Errors
/// As [`text`].
pub(crate) fn keys(client: &Client) -> Result<Vec<VerifierKey>> {
    let lines = text(client, "/audit/keys", &[])?;
    let keys = lines.lines().map(|line| {
        line.parse().map_err(|error| foreign(client.base(), format!("a verifier key does not read: {error}")))
    });
    keys.collect()
}

/// The hashes that are to show that a log of one size begins with what it was at another.
///
/// # Errors
/// Those of the server and of the connection.
pub(crate) fn consistency(client: &Client, from: u64, to: u64) -> Result<Vec<Hash>> {
    #[derive(Deserialize)]
    struct Answer {
        hashes: Vec<String>,
    }
    let parameters = [("from", from.to_string()), ("to", to.to_string())];
    let answer = client.send_text(&Call::get(&target("/audit/consistency", &parameters)))?;
    let refused = |why: &str| foreign(client.base(), why);
    let answer: Answer = serde_json::from_str(&answer).map_err(|_| refused("no list of hashes"))?;
    let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
    answer.hashes.iter().map(hash).collect::<Option<_>>().ok_or_else(|| refused("a hash does not read"))
}

/// Believes a checkpoint, by this policy.
///
/// # Errors
/// [`Code::ProofInvalid`].
pub(crate) fn believe(checkpoint: &SignedCheckpoint, policy: &Policy) -> Result<Checkpoint> {
    checkpoint
        .verify(policy)
        .map_err(|error| invalid(format!("the checkpoint is not to be believed: {error}")))
}

/// Finds out whether the log of `newer` begins with all of `older`, both of which are believed.
///
/// # Errors
/// [`Code::InconsistentHistory`] if it does not; those of the server and of the connection.
pub(crate) fn follows(client: &Client, older: &Checkpoint, newer: &Checkpoint) -> Result<()> {
    let (old, new) = (older.head(), newer.head());
    let rewritten = |why: String| {
        Error::new(
            Code::InconsistentHistory,
            format!("the history of {} is not the one seen before", older.origin()),
        )
        .expected(format!("the {} events of the checkpoint kept here", old.size))
        .found(why)
    };
    if older.origin() != newer.origin() {
        return Err(rewritten(format!("another log, {}", newer.origin())));
    }
    if new.size < old.size {
        return Err(rewritten(format!("a checkpoint of {} events", new.size)));
    }
    if old.size == 0 {
        return Ok(());
    }
    if new.size == old.size {
        return if new.root == old.root {
            Ok(())
        } else {
            Err(rewritten("another root at the same size".into()))
        };
    }
    let proof = consistency(client, old.size, new.size)?;
    new.verify_consistency(old, &proof).map_err(|error| rewritten(error.to_string()))
}
