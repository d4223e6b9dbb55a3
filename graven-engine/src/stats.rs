//! What the store counts: events, streams and bytes, per type and category, system streams apart.

use foldhash::HashMap;
use graven_model::{Counts, NamedCounts, Stats, Text, ids, limits};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// The running counts. Part of what an index file remembers of the log it covers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    user: Counts,
    user_streams: u64,
    system: Counts,
    system_streams: u64,
    #[serde(serialize_with = "by_name")]
    types: HashMap<Text, Counts>,
    #[serde(serialize_with = "by_name")]
    categories: HashMap<Text, (Counts, u64)>,
}

/// The same counts are the same bytes on disk.
fn by_name<T: Serialize, S: Serializer>(names: &HashMap<Text, T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(names.iter().collect::<BTreeMap<_, _>>())
}

/// Name under which everything beyond [`limits::STATISTICS_NAMES_MAX`] is counted.
const OTHER: &str = "(other)";

impl Tally {
    /// Counts one event.
    pub(crate) fn add(&mut self, stream: &str, event_type: &str, bytes: u64, begins_stream: bool) {
        if stream.starts_with('$') {
            self.system.add(bytes);
            self.system_streams += u64::from(begins_stream);
            return;
        }
        self.user.add(bytes);
        self.user_streams += u64::from(begins_stream);
        slot(&mut self.types, event_type).add(bytes);
        if let Some(category) = ids::category_of(stream) {
            let (counts, streams) = slot(&mut self.categories, category);
            counts.add(bytes);
            *streams += u64::from(begins_stream);
        }
    }

    /// The counts, names sorted.
    pub(crate) fn stats(&self) -> Stats {
        let sorted = |mut names: Vec<NamedCounts>| {
            names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            names
        };
        Stats {
            user: self.user,
            user_streams: self.user_streams,
            system: self.system,
            system_streams: self.system_streams,
            types: sorted(
                self.types
                    .iter()
                    .map(|(name, counts)| NamedCounts { name: name.clone(), counts: *counts, streams: 0 })
                    .collect(),
            ),
            categories: sorted(
                self.categories
                    .iter()
                    .map(|(name, (counts, streams))| NamedCounts {
                        name: name.clone(),
                        counts: *counts,
                        streams: *streams,
                    })
                    .collect(),
            ),
        }
    }
}

fn slot<'a, T: Default>(names: &'a mut HashMap<Text, T>, name: &str) -> &'a mut T {
    let known = names.contains_key(name);
    let name = if known || names.len() < limits::STATISTICS_NAMES_MAX { name } else { OTHER };
    if !known && !names.contains_key(name) {
        names.insert(name.into(), T::default());
    }
    names.get_mut(name).expect("it is there or was just put there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_events_are_counted_apart() {
        let mut tally = Tally::default();
        tally.add("loan-1", "A", 10, true);
        tally.add("loan-1", "B", 5, false);
        tally.add("$$loan-1", "$metadata", 7, true);
        tally.add("plain", "A", 1, true);
        let stats = tally.stats();
        assert_eq!(stats.user, Counts { events: 3, bytes: 16 });
        assert_eq!((stats.user_streams, stats.system_streams), (2, 1));
        assert_eq!(stats.system.events, 1);
        assert_eq!(
            stats.types.iter().map(|named| (&*named.name, named.counts.events)).collect::<Vec<_>>(),
            [("A", 2), ("B", 1)]
        );
        assert_eq!(stats.categories.len(), 1);
        assert_eq!(stats.categories[0].streams, 1);
    }

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let mut tally = Tally::default();
        for number in 0..limits::STATISTICS_NAMES_MAX + 10 {
            tally.add("s", &format!("T{number}"), 1, false);
        }
        let stats = tally.stats();
        assert_eq!(stats.types.len(), limits::STATISTICS_NAMES_MAX + 1);
        assert!(stats.types.iter().any(|named| &*named.name == OTHER && named.counts.events == 10));
    }
}
