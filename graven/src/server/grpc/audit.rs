//! Calls about the audit trail: what is signed and proven here, what is done to the log in [`acts`].

use super::acts;
use super::answer::{message, whole};
use super::message::Messages;
use crate::server::App;
use axum::body::Body;
use axum::http::Response;
use graven_model::{Code, Error, Result};
use graven_proto::wire;
use std::sync::Arc;

/// Answers the call of a method.
///
/// # Errors
/// [`Code::NotFound`] for a method that is none of these; those of the audit trail, and of reading the message.
pub(super) async fn answer(method: &str, app: Arc<App>, body: Body) -> Result<Response<Body>> {
    let bytes = match method {
        "Checkpoint" => {
            let wire::CheckpointRequest { at_least, size } = Messages::only(app.clone(), body).await?;
            let checkpoint = match (at_least, size) {
                (Some(_), Some(_)) => {
                    return Err(Error::new(Code::BadRequest, "both at_least and size are set")
                        .expected("one of them"));
                }
                (None, Some(size)) => app.trail(move |trail| trail.checkpoint_of(size)).await?,
                (at_least, None) => app.checkpoint(at_least).await?,
            };
            message(&wire::CheckpointResponse { checkpoint: checkpoint.to_string() })
        }
        "VerifierKeys" => {
            let wire::VerifierKeysRequest {} = Messages::only(app.clone(), body).await?;
            let keys = app.trail(|trail| trail.verifier_keys()).await?;
            message(&wire::VerifierKeysResponse { vkeys: keys.iter().map(ToString::to_string).collect() })
        }
        "Inclusion" => {
            let wire::InclusionRequest { position, size, leaf } = Messages::only(app.clone(), body).await?;
            let proof = app.proof(position, size, leaf).await?;
            message(&wire::InclusionResponse { proof: proof.to_string() })
        }
        "Consistency" => {
            let wire::ConsistencyRequest { from, to } = Messages::only(app.clone(), body).await?;
            let proof = app.trail(move |trail| trail.consistency(from, to)).await?;
            let hashes = proof.into_iter().map(|hash| hash.to_vec().into()).collect();
            message(&wire::ConsistencyResponse { hashes })
        }
        "Leaf" => {
            let wire::LeafRequest { position } = Messages::only(app.clone(), body).await?;
            let leaf = app.trail(move |trail| trail.leaf(position)).await?;
            message(&wire::LeafResponse { leaf: leaf.into() })
        }
        method => return acts::answer(method, app, body).await,
    };
    Ok(whole(bytes))
}
