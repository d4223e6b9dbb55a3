//! What the writer remembers of streams and tags: heads, name keys. Bounded; what was forgotten is found again in the
//! index and the log.

use super::facts::{Pending, Source, Sources, subject_tag};
use crate::env::Entropy;
use crate::read::metadata::StreamMetadata;
use foldhash::HashMap;
use graven_model::{Result, StreamName, StreamState, Text};
use graven_proof::{Hash, leaf};

/// Whether a stream takes appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Deleted,
    Tombstoned,
}

/// What the writer knows of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// Last revision, the tombstone aside.
    pub(crate) revision: Option<u64>,
    pub(crate) gate: Gate,
    pub(crate) has_metadata: bool,
    /// Leaf hash of the last event and keyed hash of the name; `None` until the stream has an event.
    pub(crate) chain: Option<(Hash, Hash)>,
    /// Last batch that used it.
    used: u64,
}

impl Head {
    /// The same in the words of the model.
    pub(crate) fn state(&self) -> StreamState {
        match (self.gate, self.revision) {
            (Gate::Tombstoned, _) => StreamState::Tombstoned,
            (_, None) => StreamState::NoStream,
            (Gate::Open, Some(revision)) => StreamState::At(graven_model::Revision(revision)),
            (Gate::Deleted, Some(revision)) => StreamState::SoftDeleted(graven_model::Revision(revision)),
        }
    }

    /// The stream's metadata was written.
    pub(crate) fn note_metadata(&mut self, json: &[u8]) {
        self.has_metadata = true;
        if self.gate != Gate::Tombstoned {
            let deleted = StreamMetadata::parse(json).is_ok_and(|metadata| metadata.is_deleted());
            self.gate = if deleted { Gate::Deleted } else { Gate::Open };
        }
    }
}

/// Where a head is kept while its append is decided and encoded: found once by name, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// Heads and tag keys.
pub(crate) struct Names {
    slots: HashMap<Text, Slot>,
    /// The heads, each at its slot; those of free slots mean nothing.
    heads: Vec<Head>,
    free: Vec<Slot>,
    /// Keyed hash of a tag, `None` until the first event that carries it, and the last batch that used it.
    tags: HashMap<Text, (Option<Hash>, u64)>,
    max: usize,
    /// Number of the batch being made; what it uses is not forgotten before it is durable.
    pub(crate) batch: u64,
    pub(crate) durable_batch: u64,
}

impl Names {
    pub(crate) fn new(max: usize) -> Names {
        Names {
            slots: HashMap::default(),
            heads: Vec::new(),
            free: Vec::new(),
            tags: HashMap::default(),
            max,
            batch: 1,
            durable_batch: 0,
        }
    }

    /// The slot of a stream's head, which is found in the index if it is not in memory. It stays where it is until the
    /// batch being made is durable.
    pub(crate) fn slot(&mut self, sources: &Sources, pending: &Pending, stream: &StreamName) -> Result<Slot> {
        if let Some(slot) = self.slots.get(stream.as_str()) {
            self.heads[slot.0 as usize].used = self.batch;
            return Ok(*slot);
        }
        self.make_room();
        let head = Head { used: self.batch, ..load(sources, pending, stream)? };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.heads[slot.0 as usize] = head;
                slot
            }
            None => {
                self.heads.push(head);
                Slot(u32::try_from(self.heads.len() - 1).expect("the number of heads in memory is bounded"))
            }
        };
        self.slots.insert(stream.text().clone(), slot);
        Ok(slot)
    }

    /// The head at a slot.
    pub(crate) fn at(&mut self, slot: Slot) -> &mut Head {
        &mut self.heads[slot.0 as usize]
    }

    /// The head of a stream, found in the index if it is not in memory.
    pub(crate) fn head(
        &mut self,
        sources: &Sources,
        pending: &Pending,
        stream: &StreamName,
    ) -> Result<&mut Head> {
        let slot = self.slot(sources, pending, stream)?;
        Ok(self.at(slot))
    }

    /// The head of a stream if it is in memory.
    pub(crate) fn cached_head(&mut self, stream: &StreamName) -> Option<&mut Head> {
        let slot = *self.slots.get(stream.as_str())?;
        Some(self.at(slot))
    }

    /// Brings the heads of an append's streams into memory.
    pub(crate) fn resolve_streams(
        &mut self,
        sources: &Sources,
        pending: &Pending,
        source: &mut Source,
    ) -> Result<()> {
        source.slots.clear();
        for write in &source.request.streams {
            source.slots.push(self.slot(sources, pending, &write.stream)?);
        }
        Ok(())
    }

    /// Brings the tags of an append into memory, so that encoding it cannot fail.
    pub(crate) fn resolve_tags(
        &mut self,
        sources: &Sources,
        pending: &Pending,
        source: &Source,
    ) -> Result<()> {
        for (_, event) in &source.request.events {
            for tag in &event.tags {
                self.resolve_tag(sources, pending, tag)?;
            }
            if let Some(subject) = &event.data_subject {
                self.resolve_tag(sources, pending, &subject_tag(subject))?;
            }
        }
        Ok(())
    }

    fn resolve_tag(&mut self, sources: &Sources, pending: &Pending, tag: &str) -> Result<()> {
        if let Some((_, used)) = self.tags.get_mut(tag) {
            *used = self.batch;
            return Ok(());
        }
        self.make_room();
        let key = sources.tag_salt(pending, tag)?.map(|salt| leaf::name_key(&salt, tag.as_bytes()));
        self.tags.insert(tag.into(), (key, self.batch));
        Ok(())
    }

    /// Keyed hash of a tag that was resolved before, with a newly drawn salt if no event carried it yet.
    pub(crate) fn tag_key(&mut self, entropy: &mut Entropy, tag: &str) -> (Hash, Option<[u8; 16]>) {
        let (key, _) =
            self.tags.get_mut(tag).expect("the tags of an append are resolved before it is encoded");
        match key {
            Some(key) => (*key, None),
            None => {
                let salt: [u8; 16] = entropy.bytes();
                let new = leaf::name_key(&salt, tag.as_bytes());
                *key = Some(new);
                (new, Some(salt))
            }
        }
    }

    /// Keyed hash of a tag of a stored record; `salt` is the one the record carries, if it does.
    pub(crate) fn stored_tag_key(
        &mut self,
        sources: &Sources,
        pending: &Pending,
        tag: &str,
        salt: Option<[u8; 16]>,
    ) -> Result<Option<Hash>> {
        if let Some(salt) = salt {
            self.make_room();
            let key = leaf::name_key(&salt, tag.as_bytes());
            self.tags.insert(tag.into(), (Some(key), self.batch));
            return Ok(Some(key));
        }
        self.resolve_tag(sources, pending, tag)?;
        Ok(self.tags.get(tag).and_then(|(key, _)| *key))
    }

    /// Forgets the tag or subject with this keyed hash: its next event gets a new salt.
    pub(crate) fn forget_tag(&mut self, key: &Hash) {
        self.tags.retain(|_, (known, _)| known.as_ref() != Some(key));
    }

    /// Forgets an eighth of a full map, sparing what batches on their way use.
    fn make_room(&mut self) {
        let (max, durable) = (self.max, self.durable_batch);
        if self.slots.len() >= max {
            let mut excess = max / 8 + 1;
            self.slots.retain(|_, slot| {
                let forget = excess > 0 && self.heads[slot.0 as usize].used <= durable;
                if forget {
                    excess -= 1;
                    self.free.push(*slot);
                }
                !forget
            });
        }
        if self.tags.len() >= max {
            let mut excess = max / 8 + 1;
            self.tags.retain(|_, (_, used)| {
                let forget = excess > 0 && *used <= durable;
                excess -= usize::from(forget);
                !forget
            });
        }
    }
}

fn load(sources: &Sources, pending: &Pending, stream: &StreamName) -> Result<Head> {
    let name = stream.as_str();
    let mut head = Head { revision: None, gate: Gate::Open, has_metadata: false, chain: None, used: 0 };
    if let Some(last) = sources.last(pending, name)? {
        head.revision = Some(last.revision);
        let salt = sources.stream_salt(pending, name)?.ok_or_else(|| {
            graven_model::Error::new(
                graven_model::Code::Corrupted,
                format!("the first event of stream {name:?} does not carry the salt of its name"),
            )
        })?;
        head.chain = Some((sources.leaf(last.position)?, leaf::name_key(&salt, name.as_bytes())));
    }
    if sources.tombstone(pending, name)?.is_some() {
        head.gate = Gate::Tombstoned;
    }
    if !stream.is_metadata()
        && let Some(metadata) = sources.metadata(pending, name, StreamMetadata::parse)?
    {
        head.has_metadata = true;
        if head.gate == Gate::Open && metadata?.is_deleted() {
            head.gate = Gate::Deleted;
        }
    }
    Ok(head)
}
