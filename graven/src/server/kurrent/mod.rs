//! The protocol of KurrentDB's clients: translation between their words and the store's, and nothing else.
//!
//! A call comes here from `grpc` and goes to the file named after its service or method. What a client sees of an error
//! is decided in [`errors`]; ids, names, times and media types are translated in [`words`].

mod absent;
mod append;
mod asked;
mod batch;
mod delete;
mod encode;
mod errors;
mod features;
mod gossip;
mod links;
mod monitoring;
mod operations;
mod persistent;
mod propose;
mod read;
mod shown;
mod subscribe;
mod users;
mod v2;
mod views;
mod words;

pub(super) use operations::Scavenging;

use super::App;
use super::grpc::{compressed, deadline};
use super::long_read::{passed, too_late};
use super::serve::Peer;
use absent::absent;
use axum::body::Body;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, Response};
use errors::Refusal;
use graven_model::{Code, Error};
use std::sync::Arc;
use tokio::time::Instant;

/// A call on its way to its handler.
struct Call {
    app: Arc<App>,
    body: Body,
    /// What the client says of itself beside its messages.
    headers: HeaderMap,
    /// When its caller gives up.
    deadline: Option<Instant>,
    /// Where its caller is.
    peer: Option<Peer>,
    /// What its caller calls this node.
    authority: Option<Authority>,
}

/// What a method answers.
type Answer = Result<Response<Body>, Refusal>;

/// The method a path names.
pub(super) fn route(path: &str) -> Option<&'static str> {
    ROUTES.iter().copied().find(|route| *route == path)
}

/// Whether a path belongs to one of the services, even if they have no such method.
pub(super) fn is_ours(path: &str) -> bool {
    path.starts_with("/event_store.client.") || path.starts_with("/kurrentdb.protocol.")
}

/// Answers a call of a path that [`is_ours`]; `route` is the method, if there is such a one.
pub(super) async fn answer(
    app: &Arc<App>,
    route: Option<&'static str>,
    request: Request<Body>,
) -> Response<Body> {
    let Some(route) = route else { return Refusal::unimplemented(request.uri().path()).into_response() };
    let speaks_v2 = route.starts_with("/kurrentdb.protocol.v2.");
    let refused = |error: Error| if speaks_v2 { Refusal::rich(&error) } else { error.into() };
    let (parts, body) = request.into_parts();
    let deadline = match deadline::of(&parts.headers) {
        Ok(deadline) => deadline,
        Err(error) => return refused(error).into_response(),
    };
    if parts.method != Method::POST || compressed(&parts.headers) {
        let error = Error::new(Code::BadRequest, "the call is not a POST without compression");
        return refused(error).into_response();
    }
    if wants_writer(route, &parts.headers)
        && let Err(error) = app.store.takes_appends()
        && error.code == Code::NotTheWriter
    {
        return refused(error).into_response();
    }
    let peer = parts.extensions.get::<Peer>().copied();
    let authority = parts.uri.authority().cloned();
    let call = Call { app: app.clone(), body, headers: parts.headers, deadline, peer, authority };
    let outcome = tokio::select! {
        biased;
        outcome = dispatch(route, call) => outcome,
        () = passed(deadline) => Err(refused(too_late())),
    };
    outcome.unwrap_or_else(Refusal::into_response)
}

/// Whether a call asks for the node that writes. Which one that is, every node may be asked.
fn wants_writer(route: &str, headers: &HeaderMap) -> bool {
    let asks =
        headers.get("requires-leader").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    asks && !route.starts_with("/event_store.client.gossip.")
        && !route.starts_with("/event_store.client.server_features.")
}

async fn dispatch(route: &'static str, call: Call) -> Answer {
    let (service, method) = route[1..].split_once('/').expect("a route is a service and a method");
    if let Some(why) = absent(route) {
        return Err(absent::refusal(why));
    }
    match (service, method) {
        ("event_store.client.streams.Streams", "Read") => read::answer(call).await,
        ("event_store.client.streams.Streams", "Append") => append::answer(call).await,
        ("event_store.client.streams.Streams", "BatchAppend") => Ok(batch::open(call)),
        ("event_store.client.streams.Streams", "Delete") => delete::delete(call).await,
        ("event_store.client.streams.Streams", "Tombstone") => delete::tombstone(call).await,
        ("event_store.client.persistent_subscriptions.PersistentSubscriptions", method) => {
            persistent::answer(method, call).await
        }
        ("kurrentdb.protocol.v2.streams.StreamsService", method) => v2::answer(method, call).await,
        ("event_store.client.server_features.ServerFeatures", _) => features::supported_methods(call).await,
        ("event_store.client.gossip.Gossip", _) => gossip::read(call).await,
        ("event_store.client.monitoring.Monitoring", _) => monitoring::stats(call).await,
        ("event_store.client.operations.Operations", _) => operations::answer(route, call).await,
        ("event_store.client.users.Users", _) => users::answer(route, call).await,
        _ => Err(Refusal::unimplemented(route)),
    }
}

/// Every method of every service, as a path.
const ROUTES: [&str; 44] = [
    "/event_store.client.streams.Streams/Read",
    "/event_store.client.streams.Streams/Append",
    "/event_store.client.streams.Streams/Delete",
    "/event_store.client.streams.Streams/Tombstone",
    "/event_store.client.streams.Streams/BatchAppend",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Create",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Update",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Delete",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Read",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/GetInfo",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/ReplayParked",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/TruncateParked",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/List",
    "/event_store.client.persistent_subscriptions.PersistentSubscriptions/RestartSubsystem",
    "/event_store.client.projections.Projections/Create",
    "/event_store.client.projections.Projections/Update",
    "/event_store.client.projections.Projections/Delete",
    "/event_store.client.projections.Projections/Statistics",
    "/event_store.client.projections.Projections/Disable",
    "/event_store.client.projections.Projections/Enable",
    "/event_store.client.projections.Projections/Reset",
    "/event_store.client.projections.Projections/State",
    "/event_store.client.projections.Projections/Result",
    "/event_store.client.projections.Projections/RestartSubsystem",
    "/event_store.client.users.Users/Create",
    "/event_store.client.users.Users/Update",
    "/event_store.client.users.Users/Delete",
    "/event_store.client.users.Users/Disable",
    "/event_store.client.users.Users/Enable",
    "/event_store.client.users.Users/Details",
    "/event_store.client.users.Users/ChangePassword",
    "/event_store.client.users.Users/ResetPassword",
    "/event_store.client.operations.Operations/StartScavenge",
    "/event_store.client.operations.Operations/StopScavenge",
    "/event_store.client.operations.Operations/Shutdown",
    "/event_store.client.operations.Operations/MergeIndexes",
    "/event_store.client.operations.Operations/ResignNode",
    "/event_store.client.operations.Operations/SetNodePriority",
    "/event_store.client.operations.Operations/RestartPersistentSubscriptions",
    "/event_store.client.monitoring.Monitoring/Stats",
    "/event_store.client.gossip.Gossip/Read",
    "/event_store.client.server_features.ServerFeatures/GetSupportedMethods",
    "/kurrentdb.protocol.v2.streams.StreamsService/AppendSession",
    "/kurrentdb.protocol.v2.streams.StreamsService/AppendRecords",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_interface_has_a_route() {
        let sources = [
            include_str!("../../../../graven-proto/proto/kurrentdb/features.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/gossip.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/monitoring.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/operations.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/persistent.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/projections.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/streams.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/streams_v2.proto"),
            include_str!("../../../../graven-proto/proto/kurrentdb/users.proto"),
        ];
        let mut paths = Vec::new();
        for source in sources {
            let named = |word: &str| {
                let line = source.lines().find(|line| line.starts_with(word)).unwrap();
                line[word.len()..].trim_end_matches([';', ' ', '{']).to_owned()
            };
            let (package, service) = (named("package "), named("service "));
            let methods =
                source.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
            paths.extend(methods.map(|method| format!("/{package}.{service}/{method}")));
        }
        assert_eq!(paths.len(), ROUTES.len());
        for path in paths {
            assert!(route(&path).is_some() && is_ours(&path), "{path}");
        }
    }

    #[test]
    fn who_asks_for_the_writer_is_not_kept_from_asking_who_that_is() {
        let headers = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("requires-leader", axum::http::HeaderValue::from_static(value));
            headers
        };
        let append = "/event_store.client.streams.Streams/Append";
        assert!(wants_writer(append, &headers("true")) && wants_writer(append, &headers("True")));
        assert!(!wants_writer(append, &headers("false")) && !wants_writer(append, &HeaderMap::new()));
        assert!(!wants_writer("/event_store.client.gossip.Gossip/Read", &headers("true")));
    }
}
