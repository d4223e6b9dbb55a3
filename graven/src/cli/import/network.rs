//! Import into a server: one request at a time, repeated after failures that pass.

use super::super::client::{Call, Client, foreign};
use super::super::pages::with_retries;
use super::chunk::{Chunk, Kind, Payload};
use super::target::{Acknowledged, Refused, Target};
use graven_model::{Error, Result};
use serde::Deserialize;
use std::time::Duration;
use ureq::http::Method;

/// How long a chunk is repeated before the import gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server.
pub(super) struct Network {
    client: Client,
    done: Option<Acknowledged>,
}

#[derive(Deserialize)]
struct Answer {
    appended: u64,
    duplicates: u64,
}

impl Network {
    /// Makes sure that the server is there: one that never answered is not waited for, one that did may come back.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn connect(client: Client) -> Result<Network> {
        client.send(&Call::get("/v1/info"))?;
        Ok(Network { client, done: None })
    }
}

impl Target for Network {
    fn kind(&self) -> Kind {
        Kind::Body
    }

    fn submit(&mut self, chunk: Chunk, note: &dyn Fn(&Error)) -> Result<(), Box<Refused>> {
        let Payload::Body(body) = &chunk.payload else {
            unreachable!("chunks are made for the target's kind")
        };
        let call = Call::with_body(Method::POST, "/v1/import", "application/x-ndjson", body);
        let answer = with_retries(PATIENCE, note, || self.client.send(&call)).and_then(|answer| {
            serde_json::from_slice::<Answer>(&answer).map_err(|error| foreign(self.client.base(), error))
        });
        match answer {
            Ok(Answer { appended, duplicates }) => {
                let Chunk { last_line, read_bytes, .. } = chunk;
                self.done = Some(Acknowledged { last_line, read_bytes, appended, duplicates });
                Ok(())
            }
            Err(error) => Err(Box::new(Refused { chunk, error })),
        }
    }

    fn acknowledged(&mut self, _all: bool) -> Result<Option<Acknowledged>> {
        Ok(self.done.take())
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}
