//! `Users`: this server asks nobody who he is, so there are none, and nobody has a password to change.

use super::absent::{absent, refusal};
use super::errors::Refusal;
use super::{Answer, Call};
use crate::server::App;
use crate::server::grpc::answer::{streaming, trailers};
use crate::server::grpc::message::Messages;
use axum::body::Body;
use axum::http::Response;
use graven_model::{Code, Result};
use graven_proto::kurrentdb::users::{
    ChangePasswordReq, DeleteReq, DetailsReq, DisableReq, EnableReq, ResetPasswordReq, UpdateReq,
};
use prost::Message;
use std::sync::Arc;
use tonic::Code as GrpcCode;

/// Answers the call of a method.
///
/// # Errors
/// That there is no such user; those of reading the message.
pub(super) async fn answer(route: &str, call: Call) -> Answer {
    let Call { app, body, .. } = call;
    let login = match route.rsplit('/').next() {
        Some("Details") => {
            login(app, body, |asked: DetailsReq| asked.options.map(|user| user.login_name)).await?
        }
        Some("Update") => {
            login(app, body, |asked: UpdateReq| asked.options.map(|user| user.login_name)).await?
        }
        Some("Delete") => {
            login(app, body, |asked: DeleteReq| asked.options.map(|user| user.login_name)).await?
        }
        Some("Disable") => {
            login(app, body, |asked: DisableReq| asked.options.map(|user| user.login_name)).await?
        }
        Some("Enable") => {
            login(app, body, |asked: EnableReq| asked.options.map(|user| user.login_name)).await?
        }
        Some("ChangePassword") => {
            login(app, body, |asked: ChangePasswordReq| asked.options.map(|user| user.login_name)).await?
        }
        Some("ResetPassword") => {
            login(app, body, |asked: ResetPasswordReq| asked.options.map(|user| user.login_name)).await?
        }
        _ => return Err(absent(route).map_or_else(|| Refusal::unimplemented(route), refusal)),
    };
    if login.is_empty() && route.ends_with("/Details") {
        return Ok(nobody());
    }
    Err(Refusal::new(
        Code::NotFound,
        GrpcCode::NotFound,
        "User is not found.",
        &[("exception", "user-not-found"), ("login-name", &login)],
    ))
}

async fn login<Asked: Message + Default>(
    app: Arc<App>,
    body: Body,
    of: impl FnOnce(Asked) -> Option<String>,
) -> Result<String> {
    Ok(of(Messages::only(app, body).await?).unwrap_or_default())
}

/// A list of users without one.
fn nobody() -> Response<Body> {
    let mut response = streaming(Body::empty());
    response.headers_mut().extend(trailers(None));
    response
}
