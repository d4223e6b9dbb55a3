//! Answers: a message or many, then the status in the trailers; or nothing but the status.

use super::message::PREFIX_BYTES;
use crate::server::problem::Refused;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use bytes::{BufMut, Bytes};
use graven_model::Error;
use graven_proto::status;
use hyper::body::{Frame, SizeHint};
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// An answer with a body that ends in trailers.
pub(in crate::server) fn streaming(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

/// An answer that is complete.
pub(in crate::server) fn whole(message: Bytes) -> Response<Body> {
    streaming(Body::new(Whole { message: Some(message), trailers: Some(trailers(None)) }))
}

/// An answer of one message.
pub(in crate::server) fn message(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = Vec::with_capacity(PREFIX_BYTES + length);
    put_message(&mut out, message);
    out.into()
}

/// Writes a message behind its prefix.
pub(in crate::server) fn put_message(out: &mut impl BufMut, message: &impl Message) {
    out.put_u8(0);
    out.put_u32(u32::try_from(message.encoded_len()).expect("an answer is bounded far below 4 GiB"));
    message.encode(out).expect("the buffer grows");
}

/// Room for a prefix, to be filled in by [`end_message`] once the length is known.
pub(in crate::server) fn begin_message(room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + room);
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out
}

/// Fills in the length of the message begun by [`begin_message`], of which `tail` bytes follow apart.
pub(in crate::server) fn end_message(out: &mut [u8], tail: usize) {
    let length =
        u32::try_from(out.len() - PREFIX_BYTES + tail).expect("an answer is bounded far below 4 GiB");
    out[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// An answer that is nothing but an error.
pub(super) fn refusal(error: &Error) -> Response<Body> {
    let entry = error.code.entry();
    if entry.status >= 500 && !entry.retryable {
        tracing::error!(code = %error.code, "{error}");
    }
    let mut response = streaming(Body::empty());
    add_status(response.headers_mut(), &status::from_error(error));
    response.extensions_mut().insert(Refused(error.code));
    response
}

/// The end of an answer: all well, or what broke it off.
pub(in crate::server) fn trailers(error: Option<&Error>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    match error {
        None => {
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        Some(error) => add_status(&mut trailers, &status::from_error(error)),
    }
    trailers
}

fn add_status(headers: &mut HeaderMap, status: &Status) {
    if status.add_header(headers).is_err() {
        // Text from outside that no header takes: the code alone.
        let bare = Status::new(status.code(), "");
        bare.add_header(headers).expect("a code is a header value");
    }
}

struct Whole {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
