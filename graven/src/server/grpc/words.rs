//! What the store says of itself, as messages.

use crate::server::node::Place;
use graven_engine::node::Role;
use graven_engine::{Counts, NamedCounts, Stats, StoreInfo, StreamInfo, StreamList};
use graven_model::Timestamp;
use graven_proto::wire;

pub(super) fn stream_list(list: &StreamList) -> wire::StreamsResponse {
    wire::StreamsResponse {
        streams: list.streams.iter().map(stream_info).collect(),
        next: list.next.map(|position| position.0),
    }
}

pub(super) fn stream_info(info: &StreamInfo) -> wire::StreamDescription {
    wire::StreamDescription {
        stream: info.stream.as_str().to_owned(),
        state: Some(info.state.into()),
        first_revision: info.first_revision.map(|revision| revision.0),
        last_revision: info.last_revision.map(|revision| revision.0),
        last_position: info.last_position.map(|position| position.0),
        created_at: info.created_at.map(Timestamp::micros),
        updated_at: info.updated_at.map(Timestamp::micros),
        metadata: info.metadata.clone(),
    }
}

pub(super) fn stats(stats: &Stats) -> wire::StatsResponse {
    let counts = |counts: Counts| wire::Counts { events: counts.events, bytes: counts.bytes };
    let named = |named: &NamedCounts| wire::NamedCounts {
        name: named.name.to_string(),
        counts: Some(counts(named.counts)),
        streams: named.streams,
    };
    wire::StatsResponse {
        user: Some(counts(stats.user)),
        user_streams: stats.user_streams,
        system: Some(counts(stats.system)),
        system_streams: stats.system_streams,
        types: stats.types.iter().map(named).collect(),
        categories: stats.categories.iter().map(named).collect(),
    }
}

pub(super) fn info(info: StoreInfo) -> wire::InfoResponse {
    wire::InfoResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_id: info.log_id,
        origin: info.origin,
        format_version: info.format_version,
        created_at: info.created_at.micros(),
        head: info.head.0,
        root: info.root.to_vec().into(),
        segments: info.segments,
        log_bytes: info.log_bytes,
        index_bytes: info.index_bytes,
        tile_bytes: info.tile_bytes,
    }
}

pub(super) fn node(place: &Place) -> wire::NodeResponse {
    let role = place.standing.as_ref().map_or(wire::NodeRole::Single, |standing| match standing.role {
        Role::Follower => wire::NodeRole::Follower,
        Role::Writer => wire::NodeRole::Writer,
        Role::SteppedDown => wire::NodeRole::SteppedDown,
    });
    wire::NodeResponse {
        role: role as i32,
        epoch: place.standing.as_ref().map_or(0, |standing| standing.epoch),
        writer: place.standing.as_ref().map(|standing| standing.writer.clone()).unwrap_or_default(),
        head: place.head,
        journal_head: place.journal_head(),
        complete_at: place.complete_at().map(Timestamp::micros),
        trouble: place.trouble().map(wire::Error::from),
    }
}
