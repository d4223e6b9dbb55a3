//! The keys of the log, and changing them.

use super::invalid;
use crate::client::{Client, Repeat};
use graven_model::{Position, Result};
use graven_proof::note::{KeyId, VerifierKey};
use graven_proto::wire;

/// A key that signs checkpoints, or signed them once, and what the log says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The key.
    pub vkey: VerifierKey,
    /// Position of the record that added it; `None` for the log's first key.
    pub added_at: Option<Position>,
    /// Smallest size it signs.
    pub valid_from: u64,
    /// Largest size it signs, if it was retired.
    pub valid_until: Option<u64>,
    /// Largest size it is believed for, if it was revoked.
    pub last_good: Option<u64>,
    /// It signs.
    pub signs: bool,
}

/// Changes of keys are made at the node that writes, and give the keys there are then. `root_key` is the log's root key as text,
/// secret, if its public half lies among the keys of the server.
impl Client {
    /// The keys of the log, the first one first. Who trusts them trusts the server.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn keys(&self) -> Result<Vec<LogKey>> {
        let request = wire::KeysRequest {};
        let answer = self.call("the keys", Repeat::Freely, request, async |mut service, request| {
            service.keys(request).await
        });
        keys(answer.await?)
    }

    /// Makes a new key, which the keys in force authorise in the log, and has the log signed with it from now on. With `overlap` the
    /// keys before sign beside it until they are retired.
    ///
    /// # Errors
    /// [`graven_model::Code::RootKeyRequired`]; those of the server.
    pub async fn rotate_keys(&self, overlap: bool, root_key: Option<&str>) -> Result<Vec<LogKey>> {
        let request = wire::RotateKeysRequest { overlap, root_key: root_key.map(Into::into) };
        let answer = self.call("the new key", Repeat::IfUntouched, request, async |mut service, request| {
            service.rotate_keys(request).await
        });
        keys(answer.await?)
    }

    /// Has a key sign nothing more, and its private half destroyed. What it signed stays good.
    ///
    /// # Errors
    /// Those of the server, such as for a key that does not sign.
    pub async fn retire_key(&self, key: KeyId, root_key: Option<&str>) -> Result<Vec<LogKey>> {
        let request = wire::RetireKeyRequest { key: key.to_string(), root_key: root_key.map(Into::into) };
        let answer =
            self.call("the key's end", Repeat::IfUntouched, request, async |mut service, request| {
                service.retire_key(request).await
            });
        keys(answer.await?)
    }

    /// Has nothing above `last_good`, the largest size somebody outside vouches for, believed because this key signed it.
    ///
    /// # Errors
    /// [`graven_model::Code::SizeNotReached`]; those of the server.
    pub async fn revoke_key(
        &self,
        key: KeyId,
        last_good: u64,
        root_key: Option<&str>,
    ) -> Result<Vec<LogKey>> {
        let (key, root_key) = (key.to_string(), root_key.map(Into::into));
        let request = wire::RevokeKeyRequest { key, last_good, root_key };
        let answer =
            self.call("the revocation", Repeat::IfUntouched, request, async |mut service, request| {
                service.revoke_key(request).await
            });
        keys(answer.await?)
    }
}

fn keys(said: wire::KeysResponse) -> Result<Vec<LogKey>> {
    let key = |key: wire::LogKey| {
        Ok(LogKey {
            vkey: key
                .vkey
                .parse()
                .map_err(|error| invalid(format!("a verifier key does not read: {error}")))?,
            added_at: key.added_at.map(Position),
            valid_from: key.valid_from,
            valid_until: key.valid_until,
            last_good: key.last_good,
            signs: key.signs,
        })
    };
    said.keys.into_iter().map(key).collect()
}
