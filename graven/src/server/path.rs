//! Parts of the path, percent-decoded.

use super::problem::Problem;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use graven_model::{Code, Error, Result, StreamName, Text};

/// The parts of a path that stand in braces in its template.
#[derive(Debug)]
pub(super) struct PathParams(RawPathParams);

impl<S: Send + Sync> FromRequestParts<S> for PathParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<PathParams, Problem> {
        match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => Ok(PathParams(params)),
            Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => {
                let in_stream = parts.uri.path().starts_with("/v1/streams/");
                Err(if in_stream {
                    Problem::new(
                        Code::InvalidStreamName,
                        "the stream name is not valid UTF-8 after percent-decoding",
                    )
                } else {
                    Problem::new(Code::BadRequest, "the path is not valid UTF-8 after percent-decoding")
                })
            }
            Err(other) => Err(Problem::new(Code::Internal, other.body_text())),
        }
    }
}

impl PathParams {
    /// The part called `name`.
    ///
    /// # Errors
    /// [`Code::Internal`] if the template has no such part.
    pub(super) fn text(&self, name: &str) -> Result<&str> {
        self.0
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
