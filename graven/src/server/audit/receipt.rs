//! Appends that are answered with a proof: `?wait=checkpoint`, and `proof` over gRPC.

use super::proofs::{behind, make_proof};
use crate::server::App;
use crate::server::query_params::{QueryParams, wrong};
use graven_model::{Code, Error, Receipt, Result};
use std::sync::Arc;
use tokio::time::timeout;

/// Whether an append is to be answered with a proof.
///
/// # Errors
/// [`Code::BadRequest`] for another word than `checkpoint`.
pub(in crate::server) fn wanted(params: &mut QueryParams) -> Result<bool> {
    match params.text("wait")?.as_deref() {
        None => Ok(false),
        Some("checkpoint") => Ok(true),
        Some(other) => Err(wrong("wait", "checkpoint", other)),
    }
}

/// Refuses an append that wants a proof before it is made, where there will be none.
///
/// # Errors
/// Those of having a checkpoint signed.
pub(in crate::server) async fn check(app: &Arc<App>) -> Result<()> {
    app.sign(|trail| trail.checkpoint(0)).await.map(drop)
}

/// The proof of the last event of an append, as text; nothing if it has none. The append is durable whatever comes of this.
///
/// # Errors
/// [`Code::Timeout`], which says so.
pub(in crate::server) async fn prove(app: &Arc<App>, receipt: &Receipt) -> Result<Option<String>> {
    let Some(last) = receipt.last_position else { return Ok(None) };
    let proven = app.sign(move |trail| {
        trail.checkpoint(behind(last.0)?)?;
        make_proof(trail, last.0, None, true)
    });
    match timeout(app.options.append_timeout, proven).await {
        Ok(Ok(proof)) => Ok(Some(proof.to_string())),
        Ok(Err(error)) => Err(unproven(receipt, &error.to_string())),
        Err(_) => {
            let seconds = app.options.append_timeout.as_secs();
            Err(unproven(receipt, &format!("no checkpoint within {seconds} seconds")))
        }
    }
}

/// What an append is answered whose events are durable, and whose proof cannot be had.
fn unproven(receipt: &Receipt, why: &str) -> Error {
    let last = receipt.last_position.unwrap_or(receipt.first_position);
    Error::new(
        Code::Timeout,
        format!(
            "the events are durable, the last of them at position {last}, but there is no proof of it yet"
        ),
    )
    .expected("a signed checkpoint that covers them")
    .found(why)
}
