//! What a consumer has in its hands, by the ids it acknowledges by.

use graven_model::{EventId, Position};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Deliveries to one consumer that it has not acknowledged, as far as this connection knows: the group alone knows which of
/// them it still has in its hands.
///
/// Events of different streams may have the same id. Then an acknowledgement means the one that was delivered first.
pub(super) struct Hands {
    /// Deliveries remembered at the most, the newest ones. Those the consumer was too slow for are never acknowledged; they
    /// are older than any that is still in its hands, since all have the same time-out.
    max: usize,
    places: HashMap<EventId, VecDeque<Position>>,
    /// By order of delivery.
    order: BTreeMap<u64, (EventId, Position)>,
    /// Order of delivery by position.
    delivered: HashMap<Position, u64>,
    next: u64,
}

impl Hands {
    /// For a consumer that takes so many events at a time.
    pub(super) fn new(buffer: u32) -> Hands {
        Hands {
            max: (buffer as usize).saturating_mul(2),
            places: HashMap::new(),
            order: BTreeMap::new(),
            delivered: HashMap::new(),
            next: 0,
        }
    }

    /// An event is delivered, be it again.
    pub(super) fn put(&mut self, id: EventId, position: Position) {
        if let Some(order) = self.delivered.remove(&position) {
            self.order.remove(&order);
        } else {
            self.places.entry(id).or_default().push_back(position);
        }
        self.order.insert(self.next, (id, position));
        self.delivered.insert(position, self.next);
        self.next += 1;
        if self.order.len() > self.max
            && let Some((_, (id, position))) = self.order.pop_first()
        {
            self.delivered.remove(&position);
            self.take_place(id, |places| places.iter().position(|place| *place == position));
        }
    }

    /// The events of these ids, which are not in its hands any more. Ids nobody knows are passed over.
    pub(super) fn take(&mut self, ids: &[EventId]) -> Vec<Position> {
        let mut taken = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(position) = self.take_place(*id, |_| Some(0)) else { continue };
            if let Some(order) = self.delivered.remove(&position) {
                self.order.remove(&order);
            }
            taken.push(position);
        }
        taken
    }

    fn take_place(
        &mut self,
        id: EventId,
        which: impl FnOnce(&VecDeque<Position>) -> Option<usize>,
    ) -> Option<Position> {
        let places = self.places.get_mut(&id)?;
        let position = which(places).and_then(|index| places.remove(index));
        if places.is_empty() {
            self.places.remove(&id);
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> EventId {
        EventId([number; 16])
    }

    #[test]
    fn events_are_found_by_their_ids_once() {
        let mut hands = Hands::new(10);
        for number in 0..5 {
            hands.put(id(number), Position(number.into()));
        }
        assert_eq!(hands.take(&[id(3), id(9), id(1)]), [Position(3), Position(1)]);
        assert_eq!(hands.take(&[id(3)]), []);
    }

    #[test]
    fn of_two_events_with_one_id_the_first_delivered_is_meant_first() {
        let mut hands = Hands::new(10);
        hands.put(id(1), Position(7));
        hands.put(id(1), Position(2));
        hands.put(id(1), Position(7));
        assert_eq!(hands.take(&[id(1)]), [Position(7)]);
        assert_eq!(hands.take(&[id(1), id(1)]), [Position(2)]);
    }

    #[test]
    fn what_was_given_to_others_is_forgotten_in_time() {
        let mut hands = Hands::new(1);
        for position in 0..10_000 {
            hands.put(EventId(u128::from(position % 900).to_be_bytes()), Position(position));
        }
        let remembered = hands.order.len();
        assert_eq!(remembered, hands.max);
        assert_eq!(hands.delivered.len(), remembered);
        assert_eq!(hands.places.values().map(VecDeque::len).sum::<usize>(), remembered);
    }
}
