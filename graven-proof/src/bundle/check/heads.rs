//! Where each stream stands after the leaves so far: what the next one of the stream has to continue.

use super::{Stop, hex, stop};
use crate::Hash;
use crate::chain::TOMBSTONE_VERSION;
use crate::finding::FindingCode;
use crate::leaf::{Kind, Leaf, stream_genesis};
use crate::trie::StreamHead;
use std::collections::HashMap;

/// The streams of a bundle.
pub(super) struct Heads {
    pub(super) streams: HashMap<Hash, StreamHead>,
    /// Whether streams may have begun before the first leaf that is seen of them.
    midway: bool,
}

impl Heads {
    pub(super) fn new(midway: bool) -> Heads {
        Heads { streams: HashMap::new(), midway }
    }

    /// Takes the next leaf, which has this hash.
    pub(super) fn step(&mut self, leaf: &Leaf<'_>, hash: Hash) -> Result<(), Stop> {
        let position = leaf.position;
        let tombstone = leaf.kind == Kind::Tombstone;
        let before = self.streams.get(&leaf.stream_key);
        let genesis = stream_genesis(&leaf.stream_key);
        let version = leaf.stream_version;
        let (next, first, expected) = match before {
            Some(head) if head.tombstoned => {
                let expected = "no event after the stream's tombstone";
                return Err(stop(FindingCode::StreamVersionGap, expected, version.to_string(), position));
            }
            Some(head) => (head.next_version, head.first_position, head.head),
            None if self.midway && leaf.prev_stream != genesis && version != 0 => {
                // the stream began before: its first leaf here is taken as it is
                let next = if tombstone { 0 } else { version };
                (next, position, leaf.prev_stream)
            }
            None => (0, position, genesis),
        };
        let expected_version = if tombstone { TOMBSTONE_VERSION } else { next };
        if version != expected_version {
            let expected = format!("version {expected_version}");
            return Err(stop(FindingCode::StreamVersionGap, expected, version.to_string(), position));
        }
        if leaf.prev_stream != expected {
            let (expected, found) = (hex(&expected), hex(&leaf.prev_stream));
            return Err(stop(FindingCode::PrevStreamMismatch, expected, found, position));
        }
        let head = StreamHead {
            next_version: if tombstone { next } else { next.saturating_add(1) },
            first_position: first,
            last_position: position,
            head: hash,
            tombstoned: tombstone,
        };
        self.streams.insert(leaf.stream_key, head);
        Ok(())
    }
}
