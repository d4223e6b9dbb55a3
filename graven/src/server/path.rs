//! Parts of the path, percent-decoded.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use graven_model::{Code, Error, Result, StreamName, Text};
use std::convert::Infallible;

/// The parts of a path that stand in braces in its template. A path that cannot be decoded is found out when a part is
/// asked for, not before: the handler then still has the request's body and can read it to its end.
#[derive(Debug)]
pub(super) struct PathParams(Result<RawPathParams>);

impl<S: Send + Sync> FromRequestParts<S> for PathParams {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<PathParams, Infallible> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        Ok(PathParams(params.map_err(|rejection| match rejection {
            RawPathParamsRejection::InvalidUtf8InPathParam(_) => {
                if ["/v1/streams/", "/audit/streams/"].iter().any(|above| parts.uri.path().starts_with(above))
                {
                    let what = "the stream name is not valid UTF-8 after percent-decoding";
                    Error::new(Code::InvalidStreamName, what)
                } else if parts.uri.path().starts_with("/v1/groups/") {
                    Error::new(Code::InvalidGroup, "the group name is not valid UTF-8 after percent-decoding")
                } else {
                    Error::new(Code::BadRequest, "the path is not valid UTF-8 after percent-decoding")
                }
            }
            other => Error::new(Code::Internal, other.body_text()),
        })))
    }
}

impl PathParams {
    /// The part called `name`.
    ///
    /// # Errors
    /// [`Code::InvalidStreamName`] or [`Code::BadRequest`] if the path cannot be decoded; [`Code::Internal`] if the
    /// template has no such part.
    pub(super) fn text(&self, name: &str) -> Result<&str> {
        let params = self.0.as_ref().map_err(Clone::clone)?;
        params
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
            .ok_or_else(|| Error::new(Code::Internal, format!("the path has no part {name}")))
    }

    /// The part called `stream`.
    ///
    /// # Errors
    /// [`Code::InvalidStreamName`].
    pub(super) fn stream(&self) -> Result<StreamName> {
        StreamName::new(Text::from(self.text("stream")?))
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Code::BadRequest`].
    pub(super) fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| super::query_params::wrong(&format!("{name} in the path"), "a whole number", text))
    }
}
