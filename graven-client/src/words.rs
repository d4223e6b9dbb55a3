//! What a server says of itself and its streams, in the words of the model.

use graven_model::{
    Code, Counts, Error, Frames, NamedCounts, Position, Result, Revision, Stats, StoreInfo, StreamInfo,
    StreamName, StreamState, Timestamp,
};
use graven_proto::wire;

pub(crate) fn frames(frames: wire::ReadFramesResponse) -> Frames {
    Frames {
        bytes: frames.frames,
        first: Position(frames.first),
        next: Position(frames.next),
        head: Position(frames.head),
    }
}

/// # Errors
/// The code of what is malformed.
pub(crate) fn stream_info(info: wire::StreamDescription) -> Result<StreamInfo> {
    Ok(StreamInfo {
        stream: StreamName::new(info.stream)?,
        state: StreamState::try_from(info.state.unwrap_or_default())?,
        first_revision: info.first_revision.map(Revision),
        last_revision: info.last_revision.map(Revision),
        last_position: info.last_position.map(Position),
        created_at: info.created_at.map(Timestamp::from_micros),
        updated_at: info.updated_at.map(Timestamp::from_micros),
        metadata: info.metadata,
    })
}

pub(crate) fn stats(stats: wire::StatsResponse) -> Stats {
    let named = |names: Vec<wire::NamedCounts>| {
        let named = |named: wire::NamedCounts| NamedCounts {
            name: named.name.into(),
            counts: counts(named.counts),
            streams: named.streams,
        };
        names.into_iter().map(named).collect()
    };
    Stats {
        user: counts(stats.user),
        user_streams: stats.user_streams,
        system: counts(stats.system),
        system_streams: stats.system_streams,
        types: named(stats.types),
        categories: named(stats.categories),
    }
}

fn counts(counts: Option<wire::Counts>) -> Counts {
    let counts = counts.unwrap_or_default();
    Counts { events: counts.events, bytes: counts.bytes }
}

/// # Errors
/// [`Code::Internal`] if the root is no hash.
pub(crate) fn store_info(info: wire::InfoResponse) -> Result<StoreInfo> {
    let root = info.root[..].try_into().map_err(|_| {
        Error::new(Code::Internal, "the Merkle root the server sent is no hash")
            .expected("32 bytes")
            .found(format!("{} bytes", info.root.len()))
    })?;
    Ok(StoreInfo {
        log_id: info.log_id,
        origin: info.origin,
        format_version: info.format_version,
        created_at: Timestamp::from_micros(info.created_at),
        head: Position(info.head),
        root,
        segments: info.segments,
        log_bytes: info.log_bytes,
        index_bytes: info.index_bytes,
        tile_bytes: info.tile_bytes,
    })
}
