//! `graven audit check-proof`: offline.

use super::pairs;
use super::trust::{Trust, label, read};
use crate::cli::output::Output;
use crate::config::units::show_count;
use graven_model::{Code, Error, EventId, Result, Timestamp};
use graven_proof::checkpoint::Checkpoint;
use graven_proof::leaf::{Leaf, NO_TIME};
use graven_proof::merkle::leaf_hash;
use graven_proof::policy::Policy;
use graven_proof::tlog_proof::TlogProof;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `audit check-proof`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The proof, a .tlog-proof; - for standard input
    file: PathBuf,
    /// The leaf it is about; if absent, the one the proof brings along as extra data
    #[arg(long, value_name = "FILE")]
    leaf: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<()> {
    let policy = args.trust.required()?;
    let bytes = read(&args.file)?;
    let leaf = args.leaf.as_ref().map(|path| read(path)).transpose()?;
    let proven = prove(&bytes, leaf, &policy)?;
    let checkpoint = &proven.checkpoint;
    let fields = proven.fields()?;
    let witnesses: Vec<String> =
        checkpoint.cosignatures().iter().map(|cosigned| cosigned.witness.to_string()).collect();
    let says = fields.kind.is_control().then(|| String::from_utf8_lossy(fields.body).into_owned());
    let mut document = json!({
        "proven": true,
        "origin": checkpoint.origin(),
        "size": checkpoint.head().size,
        "position": fields.position,
        "event_id": EventId(fields.event_id).to_string(),
        "type": fields.event_type,
        "stream_revision": fields.stream_version,
        "committed_at": Timestamp::from_micros(fields.commit_time).to_string(),
        "time": (fields.occurred_at != NO_TIME).then(|| Timestamp::from_micros(fields.occurred_at).to_string()),
        "signed_by": checkpoint.log_key().to_string(),
        "witnesses": witnesses,
        "operator_trusted_alone": policy.trusts_operator_alone(),
    });
    if let Some(says) = &says {
        document["says"] = serde_json::from_str(says).unwrap_or_else(|_| json!(says));
    }
    let color = output.colored();
    output.document(&document.to_string(), || {
        let witnesses = if witnesses.is_empty() { "-".to_owned() } else { witnesses.join(", ") };
        let mut rows = vec![
            ("in the log", checkpoint.origin().to_owned()),
            ("of", format!("{} events", show_count(checkpoint.head().size))),
            ("position", show_count(fields.position)),
            ("event", EventId(fields.event_id).to_string()),
            ("type", fields.event_type.to_owned()),
            ("revision", show_count(fields.stream_version)),
            ("committed at", Timestamp::from_micros(fields.commit_time).to_string()),
            ("signed by key", checkpoint.log_key().to_string()),
            ("cosigned by", witnesses),
            ("rests on", label(&policy).to_owned()),
        ];
        rows.extend(says.map(|says| ("says", says)));
        Ok(pairs("proven", &rows, color))
    })
}

/// A leaf that is in a log somebody believes.
pub(super) struct Proven {
    /// The checkpoint it is under.
    pub(super) checkpoint: Checkpoint,
    leaf: Vec<u8>,
}

impl Proven {
    /// The leaf's fields.
    ///
    /// # Errors
    /// [`Code::ProofInvalid`] if it is no leaf of a Graven log.
    pub(super) fn fields(&self) -> Result<Leaf<'_>> {
        Leaf::decode(&self.leaf)
            .map_err(|error| invalid(format!("what is proven is no leaf of a graven log: {error}")))
    }
}

/// Judges the bytes of a proof.
///
/// # Errors
/// [`Code::ProofInvalid`] for whatever does not hold; [`Code::BadRequest`] without a leaf.
pub(super) fn prove(bytes: &[u8], leaf: Option<Vec<u8>>, policy: &Policy) -> Result<Proven> {
    let proof =
        TlogProof::parse(bytes).map_err(|error| invalid(format!("the proof does not read: {error}")))?;
    let leaf = leaf.or_else(|| proof.extra().map(<[u8]>::to_vec)).ok_or_else(|| {
        Error::new(Code::BadRequest, "the proof brings no leaf along")
            .expected("--leaf FILE with the leaf's bytes")
    })?;
    let checkpoint = proof
        .verify(&leaf_hash(&leaf), policy)
        .map_err(|error| invalid(format!("the proof does not hold: {error}")))?;
    let proven = Proven { checkpoint, leaf };
    let said = proven.fields()?.position;
    if said != proof.unverified_position() {
        return Err(invalid("the leaf says another position than the proof")
            .expected(proof.unverified_position().to_string())
            .found(said.to_string()));
    }
    Ok(proven)
}

pub(super) fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::ProofInvalid, what)
}
