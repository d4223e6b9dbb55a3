//! gRPC: `graven.v1`, health and reflection, on the port of HTTP; the protocol of KurrentDB's clients goes on to
//! `kurrent`.
//!
//! A call is one HTTP/2 request: [`message`] reads its messages and bounds them, [`answer`] writes the answer,
//! [`unary`], [`session`] and [`pages`] are the three shapes a call has. Framing is done here and not by tonic, so that
//! room is taken before a message is read, a session is driven by the task of its own HTTP/2 stream, and stored frames
//! go out without a copy. Health and reflection are tonic's.

mod acts;
pub(super) mod answer;
mod audit;
pub(super) mod consume;
pub(super) mod deadline;
mod groups;
pub(super) mod message;
mod pages;
mod session;
mod side;
mod snapshots;
mod unary;
mod words;

use super::App;
use super::kurrent;
use super::problem::Refused;
use super::serve::Peer;
use answer::refusal;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, Version, header};
use graven_model::{Code, Error, limits};
use side::Side;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::Instrument as _;

/// All gRPC services of the server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Grpc {
    app: Arc<App>,
    side: Arc<Side>,
}

/// Whether a request is a gRPC call.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
            value
                .as_bytes()
                .strip_prefix(b"application/grpc")
                .is_some_and(|rest| rest.is_empty() || rest == b"+proto" || rest.starts_with(b";"))
        })
}

/// A call on its way to its handler.
struct Call {
    app: Arc<App>,
    body: Body,
    /// When its caller gives up.
    deadline: Option<Instant>,
    /// Where its caller is.
    peer: Option<Peer>,
}

impl Grpc {
    /// The services of a server.
    ///
    /// # Errors
    /// If the descriptors of the interface do not decode.
    pub(super) fn new(app: Arc<App>) -> anyhow::Result<Grpc> {
        let side = Arc::new(Side::new(&app)?);
        Ok(Grpc { app, side })
    }

    /// Says that the server is stopping to who watches its health.
    pub(super) async fn stopping(&self) {
        self.side.stopping().await;
    }

    /// Answers a call. Counts and traces it as any other request.
    pub(super) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let path = request.uri().path();
        if kurrent::is_ours(path) {
            let route = kurrent::route(path);
            let span = tracing::info_span!("call", route);
            let response = kurrent::answer(&self.app, route, request).instrument(span).await;
            return self.finish(route.unwrap_or("other"), started, response);
        }
        let Some(route) = ROUTES.iter().copied().find(|route| *route == path) else {
            if let Some(service) = self.side.service(path) {
                return service(request).await;
            }
            let error = Error::new(Code::NotFound, format!("there is no method {:?}", limits::shorten(path)));
            return self.finish("other", started, refusal(&error));
        };
        let span = tracing::info_span!("call", route);
        let response = self.dispatch(route, request).instrument(span).await;
        self.finish(route, started, response)
    }

    async fn dispatch(&self, route: &'static str, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let deadline = match deadline::of(&parts.headers) {
            Ok(deadline) => deadline,
            Err(error) => return refusal(&error),
        };
        if parts.method != Method::POST || compressed(&parts.headers) {
            return refusal(&Error::new(Code::BadRequest, "the call is not a POST without compression"));
        }
        let peer = parts.extensions.get::<Peer>().copied();
        let call = Call { app: self.app.clone(), body, deadline, peer };
        let method = route.rsplit('/').next().expect("a route has slashes");
        let answered = async {
            match method {
                "AppendSession" => Ok(session::open(call)),
                "Read" => pages::read(call).await,
                "ReadFrames" => pages::frames(call).await,
                "Subscribe" => pages::subscribe(call).await,
                "Consume" => groups::consume(call).await,
                method => unary::answer(method, call).await,
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = answered => outcome,
            () = super::long_read::passed(deadline) => Err(super::long_read::too_late()),
        };
        outcome.unwrap_or_else(|error| refusal(&error))
    }

    fn finish(&self, route: &str, started: Instant, response: Response<Body>) -> Response<Body> {
        let refused = response.extensions().get::<Refused>().map(|refused| refused.0);
        let status = refused.map_or(200, |code| code.entry().status);
        self.app.metrics.answered(route, &Method::POST, status, refused, started.elapsed());
        response
    }
}

/// Whether the messages of a call are compressed.
pub(super) fn compressed(headers: &HeaderMap) -> bool {
    headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity")
}

/// Every method of the service, as a path.
const ROUTES: [&str; 50] = [
    "/graven.v1.EventStore/Append",
    "/graven.v1.EventStore/AppendSession",
    "/graven.v1.EventStore/Read",
    "/graven.v1.EventStore/ReadFrames",
    "/graven.v1.EventStore/Subscribe",
    "/graven.v1.EventStore/EventAt",
    "/graven.v1.EventStore/EventsById",
    "/graven.v1.EventStore/Streams",
    "/graven.v1.EventStore/StreamInfo",
    "/graven.v1.EventStore/StreamMetadata",
    "/graven.v1.EventStore/SetStreamMetadata",
    "/graven.v1.EventStore/TruncateStream",
    "/graven.v1.EventStore/DeleteStream",
    "/graven.v1.EventStore/TombstoneStream",
    "/graven.v1.EventStore/PutSnapshot",
    "/graven.v1.EventStore/Snapshot",
    "/graven.v1.EventStore/ReadFromSnapshot",
    "/graven.v1.EventStore/DeleteSnapshot",
    "/graven.v1.EventStore/Stats",
    "/graven.v1.EventStore/Info",
    "/graven.v1.EventStore/Node",
    "/graven.v1.EventStore/Checkpoint",
    "/graven.v1.EventStore/VerifierKeys",
    "/graven.v1.EventStore/Inclusion",
    "/graven.v1.EventStore/Consistency",
    "/graven.v1.EventStore/Leaf",
    "/graven.v1.EventStore/Keys",
    "/graven.v1.EventStore/RotateKeys",
    "/graven.v1.EventStore/RetireKey",
    "/graven.v1.EventStore/RevokeKey",
    "/graven.v1.EventStore/Seal",
    "/graven.v1.EventStore/Completeness",
    "/graven.v1.EventStore/Erase",
    "/graven.v1.EventStore/Scavenge",
    "/graven.v1.EventStore/Holds",
    "/graven.v1.EventStore/BeginHold",
    "/graven.v1.EventStore/EndHold",
    "/graven.v1.EventStore/Verify",
    "/graven.v1.EventStore/Verification",
    "/graven.v1.EventStore/Consume",
    "/graven.v1.EventStore/CreateGroup",
    "/graven.v1.EventStore/UpdateGroup",
    "/graven.v1.EventStore/ResetGroup",
    "/graven.v1.EventStore/DeleteGroup",
    "/graven.v1.EventStore/Groups",
    "/graven.v1.EventStore/GroupInfo",
    "/graven.v1.EventStore/DeadLetters",
    "/graven.v1.EventStore/CountDeadLetters",
    "/graven.v1.EventStore/ReplayDeadLetters",
    "/graven.v1.EventStore/SkipDeadLetters",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_version_and_content_type() {
        let request = |version, content_type: &str| {
            let builder = Request::builder().version(version).header(header::CONTENT_TYPE, content_type);
            is_call(&builder.body(()).unwrap())
        };
        for good in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert!(request(Version::HTTP_2, good), "{good}");
            assert!(!request(Version::HTTP_11, good), "{good}");
        }
        for bad in ["application/json", "application/grpc-web", "application/grpc+json"] {
            assert!(!request(Version::HTTP_2, bad), "{bad}");
        }
    }

    #[test]
    fn every_method_of_the_interface_has_a_route() {
        let source = include_str!("../../../../graven-proto/proto/graven/v1/graven.proto");
        let methods: Vec<&str> =
            source.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next()).collect();
        assert_eq!(methods.len(), ROUTES.len());
        for method in methods {
            assert!(ROUTES.contains(&&*format!("/{}/{method}", graven_proto::SERVICE)), "{method}");
        }
    }
}
