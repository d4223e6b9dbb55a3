//! `Gossip.Read`: which nodes there are, for clients that look for the one that writes.

use super::words::{ticks, uuid};
use super::{Answer, Call};
use crate::server::App;
use crate::server::grpc::answer::{message, whole};
use crate::server::grpc::message::Messages;
use crate::server::node::Place;
use axum::http::Uri;
use axum::http::uri::Authority;
use graven_engine::node::Role;
use graven_model::{EventId, Timestamp};
use graven_proto::kurrentdb::gossip::member_info::VNodeState;
use graven_proto::kurrentdb::gossip::{ClusterInfo, EndPoint, MemberInfo};
use graven_proto::kurrentdb::shared::Empty;
use std::sync::OnceLock;

/// Answers with this node, under the name the caller used for it, and with the node that writes, if that is another one and
/// its address is known.
///
/// # Errors
/// Those of reading the message.
pub(super) async fn read(call: Call) -> Answer {
    let Call { app, body, authority, .. } = call;
    let _: Empty = Messages::only(app.clone(), body).await?;
    Ok(whole(message(&ClusterInfo { members: members(&app, authority.as_ref()) })))
}

fn members(app: &App, authority: Option<&Authority>) -> Vec<MemberInfo> {
    let now = ticks(Timestamp::from_micros(app.env.clock.now_us()));
    let member = |id: EventId, state: VNodeState, (address, port): (String, u16)| MemberInfo {
        instance_id: Some(uuid(id, false)),
        time_stamp: now,
        state: state.into(),
        is_alive: true,
        http_end_point: Some(EndPoint { address, port: port.into() }),
    };
    // Made once a process, as clients expect of an instance.
    static INSTANCE: OnceLock<[EventId; 2]> = OnceLock::new();
    let [this, writer] = *INSTANCE.get_or_init(|| [app.new_event_id(), app.new_event_id()]);
    let place = Place::of(app);
    let stopping = *app.stopping.borrow();
    let state = match place.standing.as_ref().map(|standing| standing.role) {
        _ if stopping => VNodeState::ShuttingDown,
        None | Some(Role::Writer) => VNodeState::Leader,
        Some(Role::Follower | Role::SteppedDown) => VNodeState::Follower,
    };
    let mut members = vec![member(this, state, here(app, authority))];
    if state == VNodeState::Follower
        && let Some(end_point) = place.standing.and_then(|standing| end_point(&standing.writer))
    {
        members.push(member(writer, VNodeState::Leader, end_point));
    }
    members
}

/// Host and port by which the caller reached this node.
fn here(app: &App, authority: Option<&Authority>) -> (String, u16) {
    let listens = app.options.listen;
    match authority {
        Some(authority) => (authority.host().to_owned(), authority.port_u16().unwrap_or(80)),
        None => (listens.ip().to_string(), listens.port()),
    }
}

/// Host and port of a node's URL.
fn end_point(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(default)))
}
