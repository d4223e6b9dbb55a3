//! What the model knows of streams and counts, worked out from the whole log each time.

use super::Model;
use graven_engine::{Counts, NamedCounts, Stats, StreamInfo};
use graven_model::{Revision, StreamName, Text, Timestamp, ids::category_of};
use std::collections::{BTreeMap, BTreeSet};

impl Model {
    /// What is known of a stream; `None` if it never had an event.
    #[must_use]
    pub fn stream_info(&self, stream: &StreamName, now: Timestamp) -> Option<StreamInfo> {
        let (first, last) = (self.events_of(stream).next()?, self.events_of(stream).last()?);
        let visible = self.visible_events(stream, now).unwrap_or_default();
        Some(StreamInfo {
            stream: stream.clone(),
            state: self.state(stream),
            first_revision: visible.first().map(|event| event.revision),
            last_revision: self.last_revision(stream),
            last_position: Some(last.position),
            created_at: Some(first.committed_at),
            updated_at: Some(last.committed_at),
            metadata: self.metadata_event(stream).map(|event| event.event.data.clone()),
        })
    }

    /// Names of all streams that had a first event, oldest first.
    #[must_use]
    pub fn born_streams(&self) -> Vec<StreamName> {
        let births = self.log.iter().filter(|event| event.revision == Revision(0));
        births.map(|event| event.stream.clone()).collect()
    }

    /// Events, streams and bytes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let mut types: BTreeMap<Text, Counts> = BTreeMap::new();
        let mut categories: BTreeMap<Text, (Counts, BTreeSet<StreamName>)> = BTreeMap::new();
        let born: BTreeSet<StreamName> = self.born_streams().into_iter().collect();
        for stream in &born {
            *if stream.is_system() { &mut stats.system_streams } else { &mut stats.user_streams } += 1;
        }
        for event in &self.log {
            let bytes = (event.event.data.len() + event.event.metadata.len()) as u64;
            let count = |counts: &mut Counts| {
                counts.events += 1;
                counts.bytes += bytes;
            };
            if event.stream.is_system() {
                count(&mut stats.system);
                continue;
            }
            count(&mut stats.user);
            count(types.entry(event.event.event_type.clone()).or_default());
            if let Some(category) = category_of(event.stream.as_str()) {
                let (counts, streams) = categories.entry(category.into()).or_default();
                count(counts);
                streams.extend(born.get(&event.stream).cloned());
            }
        }
        stats.types =
            types.into_iter().map(|(name, counts)| NamedCounts { name, counts, streams: 0 }).collect();
        stats.categories = categories
            .into_iter()
            .map(|(name, (counts, streams))| NamedCounts { name, counts, streams: streams.len() as u64 })
            .collect();
        stats
    }
}
