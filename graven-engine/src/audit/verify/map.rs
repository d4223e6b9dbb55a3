//! The trie of stream heads, made again from the leaves and compared with the roots that were sealed into the log.

use super::heads::Heads;
use graven_proof::control::{MapRoot, hex};
use graven_proof::finding::{Finding, FindingCode};
use graven_proof::trie::{StreamHead, StreamTrie};
use std::collections::{HashMap, VecDeque};

/// Events a seal may stand behind the size it covers: what was appended while it was made. 90 MB of changes are kept.
const RECENT_MAX: usize = 1 << 20;

/// Streams the trie is made again for: with their heads 300 bytes each.
pub(super) const STREAMS_MAX: usize = 1 << 23;

/// The trie as of the last seal, and what has changed since.
#[derive(Default)]
pub(super) struct MapCheck {
    trie: StreamTrie,
    /// Streams that changed since the last seal, each once.
    changed: Vec<u32>,
    is_changed: Vec<bool>,
    /// The last changes, oldest first: a seal may cover less than what stands before it.
    recent: VecDeque<Move>,
    /// The recent ones begin here.
    recent_from: u64,
    /// Why sealed roots are not compared.
    off: Option<&'static str>,
    /// Roots that were compared.
    compared: u64,
    /// Roots that were not, since they cover much less than what stands before them.
    left_out: u64,
}

struct Move {
    position: u64,
    slot: u32,
    before: Option<StreamHead>,
}

impl MapCheck {
    /// One that compares nothing, and why.
    pub(super) fn off(why: &'static str) -> MapCheck {
        MapCheck { off: Some(why), ..MapCheck::default() }
    }

    /// Why sealed roots are not compared, if they are not.
    pub(super) fn why_off(&self) -> Option<&'static str> {
        self.off
    }

    /// Roots that were compared, and those that were left out.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.compared, self.left_out)
    }

    /// Gives up.
    pub(super) fn give_up(&mut self, why: &'static str) {
        if self.off.is_none() {
            *self = MapCheck { compared: self.compared, left_out: self.left_out, ..MapCheck::off(why) };
        }
    }

    /// A stream got an event at a position; what its head was before.
    pub(super) fn moved(&mut self, position: u64, slot: u32, before: Option<StreamHead>) {
        if self.off.is_some() {
            return;
        }
        let at = slot as usize;
        if at >= self.is_changed.len() {
            self.is_changed.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.is_changed[at], true) {
            self.changed.push(slot);
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
            self.recent_from = self.recent.front().map_or(position, |oldest| oldest.position);
        }
        self.recent.push_back(Move { position, slot, before });
    }

    /// Compares what a record at a position says with the trie over as many leaves as it names. `None` if it holds, or
    /// could not be compared.
    pub(super) fn sealed(
        &mut self,
        heads: &mut Heads<'_>,
        position: u64,
        sealed: &MapRoot,
    ) -> Option<Finding> {
        let mismatch = |expected: String, actual: String| {
            Some(Finding::new(FindingCode::MapRootMismatch, expected, actual).at(position))
        };
        if sealed.size > position {
            let actual = format!("a size of {}", sealed.size);
            return mismatch(format!("a size of at most {position}"), actual);
        }
        if self.off.is_some() {
            return None;
        }
        if sealed.size < self.recent_from {
            self.left_out += 1;
            return None;
        }
        self.compared += 1;
        // Heads as they were at the seal's size, of streams that moved on since.
        let mut then: HashMap<u32, Option<StreamHead>> = HashMap::new();
        for moved in self.recent.iter().rev().take_while(|moved| moved.position >= sealed.size) {
            then.insert(moved.slot, moved.before);
        }
        let mut later = Vec::new();
        for slot in std::mem::take(&mut self.changed) {
            let known = *heads.at(slot);
            let head = match then.get(&slot) {
                Some(head) => {
                    later.push(slot);
                    *head
                }
                None => {
                    self.is_changed[slot as usize] = false;
                    known.head
                }
            };
            if let Some(head) = head {
                self.trie.set(known.key, head);
            }
        }
        self.changed = later;
        self.recent.retain(|moved| moved.position >= sealed.size);
        self.recent_from = sealed.size;
        let (streams, root) = (self.trie.len() as u64, self.trie.root());
        if (streams, root) == (sealed.streams, sealed.root) {
            return None;
        }
        let words =
            |streams, root| format!("{streams} streams under the root {root} over {} events", sealed.size);
        mismatch(words(streams, hex::encode(&root)), words(sealed.streams, hex::encode(&sealed.root)))
    }
}
