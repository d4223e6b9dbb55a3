//! A machine out of what the log says, and at rest.

use super::super::letters::Letters;
use super::super::records::{CheckpointRecord, Tries};
use super::super::totals::GroupTotals;
use super::seat::Rate;
use super::{Failures, Left, Machine};
use graven_model::group::{GroupSettings, ParkReason};
use graven_model::{Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

impl Machine {
    /// A group as the log has it: the last checkpoint, the tries after it, the parked events.
    pub(in super::super) fn restored(
        settings: GroupSettings,
        checkpoint: CheckpointRecord,
        later_tries: &[Tries],
        letters: Letters,
    ) -> Machine {
        let mut machine = Machine {
            settings,
            letters,
            letters_max: limits::DEAD_LETTERS_MAX,
            next: 0,
            from_revision: 0,
            live: false,
            left: VecDeque::new(),
            known: BTreeMap::new(),
            open: BTreeMap::new(),
            replays: BTreeMap::new(),
            queues: HashMap::new(),
            ready: BTreeSet::new(),
            to_load: BTreeSet::new(),
            to_record: BTreeSet::new(),
            to_park: BTreeSet::new(),
            timers: BTreeSet::new(),
            consumers: BTreeMap::new(),
            turn: 0,
            orders: 0,
            buffered: 0,
            buffered_live: 0,
            held_bytes: 0,
            outbox_bytes: 0,
            touched: 0,
            last_settled: None,
            last_read: None,
            durable: checkpoint.clone(),
            unsaved: 0,
            unsaved_since: None,
            done_total: 0,
            counted: GroupTotals::default(),
            rate: Rate::default(),
            woken: BTreeSet::new(),
            trouble: None,
            paused_until: None,
        };
        let mut checkpoint = checkpoint;
        checkpoint.tries.extend_from_slice(later_tries);
        machine.go_to(checkpoint);
        machine.plan();
        machine
    }

    /// Lets go of everything but the parked events and how far the group is, and goes on with other settings. Who consumed
    /// has to connect again. What was to be replayed still is.
    pub(in super::super) fn rest(&mut self, settings: Option<GroupSettings>) {
        let checkpoint = self.checkpoint();
        if let Some(settings) = settings {
            self.settings = settings;
        }
        self.go_to(checkpoint);
        self.plan();
    }

    /// Goes on from somewhere else. Parked events stay.
    pub(in super::super) fn reset(&mut self, checkpoint: CheckpointRecord) {
        self.last_settled = None;
        self.last_read = None;
        self.durable = checkpoint.clone();
        self.unsaved = 0;
        self.unsaved_since = None;
        self.go_to(checkpoint);
        self.plan();
    }

    fn go_to(&mut self, checkpoint: CheckpointRecord) {
        self.clear_consumers();
        self.open.clear();
        self.replays.clear();
        self.queues.clear();
        self.ready.clear();
        self.to_load.clear();
        self.to_record.clear();
        self.to_park.clear();
        self.timers.clear();
        self.left.clear();
        self.known.clear();
        (self.buffered, self.buffered_live, self.held_bytes) = (0, 0, 0);
        (self.trouble, self.paused_until, self.live) = (None, None, false);
        for Tries(position, attempts, first, last) in checkpoint.tries {
            let (first, last) = (Timestamp::from_micros(first), Timestamp::from_micros(last));
            // Those of parked events are with them.
            if self.letters.get(position).is_none() {
                self.known.insert(position, Failures { attempts, first, last });
            }
        }
        for position in checkpoint.open {
            let failures = self.known.remove(&position).unwrap_or_default();
            self.left.push_back(Left { position, failures });
        }
        self.known.retain(|position, _| *position >= checkpoint.next);
        self.next = checkpoint.next;
        self.touched = checkpoint.next;
        self.from_revision = checkpoint.from_revision;
        self.last_settled = checkpoint.last;
    }

    /// Which parked events wait for which.
    fn plan(&mut self) {
        self.letters.follow(self.settings.replay);
        self.letters.ready.clear();
        if self.ordered() {
            for stream in self.letters.streams() {
                self.promote(&stream);
            }
            return;
        }
        let all: Vec<(u64, ParkReason)> =
            self.letters.iter_from(0).map(|(position, letter)| (position, letter.reason)).collect();
        for (position, reason) in all {
            if reason == ParkReason::Behind {
                self.letters.mark(position);
            }
            if self.letters.is_marked(position) {
                self.letters.ready.insert(position);
            }
        }
    }
}
