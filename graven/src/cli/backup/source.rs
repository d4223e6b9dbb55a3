//! Where a backup's frames come from: a running server or a stopped store.

use super::super::client::{Call, Client, foreign, target};
use super::super::pages::with_retries;
use graven_engine::replica::LogIdentity;
use graven_engine::{Frames, Options, Store};
use graven_model::{EventId, Position, Result, Timestamp};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// How long frames are asked for again before the backup gives up; the next call goes on.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store to copy.
pub(super) enum Source {
    Server(Client),
    Store(Store),
}

#[derive(Deserialize)]
struct Info {
    log_id: String,
    origin: String,
    created_at: String,
}

impl Source {
    /// Opens a stopped store.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub(super) fn store(dir: &Path, options: Options) -> Result<Source> {
        Ok(Source::Store(Store::open(dir, Options { create: false, ..options })?))
    }

    /// Whose log it is.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn identity(&self) -> Result<LogIdentity> {
        match self {
            Source::Store(store) => LogIdentity::of(&store.info()),
            Source::Server(client) => {
                let answer = client.send(&Call::get("/v1/info"))?;
                let info: Info =
                    serde_json::from_slice(&answer).map_err(|error| foreign(client.base(), error))?;
                Ok(LogIdentity {
                    log_id: EventId::parse(&info.log_id)?,
                    origin: info.origin,
                    created_at: Timestamp::parse(&info.created_at)?,
                })
            }
        }
    }

    /// Frames from a position on, as the store answers them.
    ///
    /// # Errors
    /// Those of the connection, after a while; those of the store.
    pub(super) fn frames(&self, from: Position, bytes_max: usize) -> Result<Frames> {
        match self {
            Source::Store(store) => store.read_frames(from, bytes_max),
            Source::Server(client) => {
                let parameters = [("from", from.to_string()), ("bytes", bytes_max.to_string())];
                let target = target("/v1/frames", &parameters);
                with_retries(PATIENCE, |error| eprintln!("{error}; trying again"), || fetch(client, &target))
            }
        }
    }
}

fn fetch(client: &Client, target: &str) -> Result<Frames> {
    let call = Call { accept: "application/octet-stream", ..Call::get(target) };
    let (headers, bytes) = client.send_for_headers(&call)?;
    let position = |name: &str| {
        let number = headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
        number.map(Position).ok_or_else(|| foreign(client.base(), format_args!("it has no {name}")))
    };
    Ok(Frames {
        first: position("graven-first")?,
        next: position("graven-next")?,
        head: position("graven-head")?,
        bytes: bytes.into(),
    })
}
