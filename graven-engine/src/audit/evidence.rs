//! Events as evidence: what was stored, with the salts of their commitments and names, so that somebody else can compute
//! their leaves. Called by whoever writes bundles; decides nothing about what may be shown.

use super::Trail;
use super::prove::Leaves;
use crate::append::{Pending, Shared, subject_tag};
use crate::log::frame::{Record, Subject};
use crate::log::reader::Reader;
use graven_model::{Code, Error, Result, StreamName};
use graven_proof::bundle::{EventLine, NameLine, base64_text, hex_bytes};
use graven_proof::control::Part;
use graven_proof::leaf::{self, Leaf};
use std::collections::HashMap;

/// Salts kept at the most.
const SALTS_MAX: usize = 4096;

impl Trail {
    /// The events at these positions, each with its leaf. Payload and metadata are the bytes that were committed to: of an
    /// event about a data subject the ciphertext. What was erased is absent and said to be.
    ///
    /// # Errors
    /// As [`Trail::leaf`], and those of `each`.
    pub fn evidence(
        &self,
        positions: impl IntoIterator<Item = u64>,
        mut each: impl FnMut(EventLine, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let shared = &self.inner.shared;
        let mut leaves = Leaves::new(shared, self.origin());
        let mut salts = Salts::new(shared);
        let mut reader = Reader::new(&shared.sources.log);
        for position in positions {
            let bytes = leaves.at(position)?;
            let leaf = Leaf::decode(&bytes).map_err(|error| {
                Error::new(Code::Corrupted, format!("the leaf at position {position} does not read: {error}"))
            })?;
            let fetched = reader.fetch(position, shared.sources.offset(position)?)?;
            let line = salts.line(&fetched.record()?, &leaf)?;
            each(line, &bytes)?;
        }
        Ok(())
    }

    /// Position of a stream's event, also of one that reads do not show any more.
    ///
    /// # Errors
    /// [`Code::Corrupted`], [`Code::Io`].
    pub fn position_of(&self, stream: &StreamName, revision: u64) -> Result<Option<u64>> {
        let shared = &self.inner.shared;
        let pending = Pending::none_below(shared.head());
        Ok(shared.sources.at(&pending, stream, revision)?.map(|(_, place)| place.position))
    }
}

/// Salts of names, which stand in the records that carried a name first.
struct Salts<'a> {
    shared: &'a Shared,
    pending: Pending,
    streams: HashMap<String, [u8; 16]>,
    tags: HashMap<String, [u8; 16]>,
}

impl<'a> Salts<'a> {
    fn new(shared: &'a Shared) -> Salts<'a> {
        let pending = Pending::none_below(shared.head());
        Salts { shared, pending, streams: HashMap::new(), tags: HashMap::new() }
    }

    fn line(&mut self, record: &Record<'_>, leaf: &Leaf<'_>) -> Result<EventLine> {
        let mut line = EventLine::of_leaf(leaf);
        line.stream = record.stream.to_owned();
        line.stream_salt = hex_bytes(&self.stream(record)?);
        for (tag, salt) in &record.tags {
            line.tags.push(NameLine::named(*tag, &self.tag(tag, *salt)?));
        }
        line.subject = match record.subject {
            None => None,
            Some(Subject::Keyed(key)) => Some(NameLine::erased(&key)),
            Some(Subject::Named(name, salt)) => {
                Some(NameLine::named(name, &self.tag(&subject_tag(name), salt)?))
            }
        };
        if record.kind.is_control() {
            line.payload = Some(base64_text(record.data));
            return Ok(line);
        }
        if record.data_erased.is_some() {
            line.erased.push(Part::Data);
        } else {
            line.payload = Some(base64_text(record.data));
            line.payload_salt = Some(hex_bytes(&leaf::salt(&record.data_seed, &record.id)));
        }
        if record.metadata_erased.is_some() {
            line.erased.push(Part::Metadata);
        } else if leaf.has_metadata {
            line.metadata = Some(base64_text(record.metadata));
            line.metadata_salt = Some(hex_bytes(&leaf::salt(&record.metadata_seed, &record.id)));
        }
        if matches!(record.subject, Some(Subject::Keyed(_))) {
            line.erased.push(Part::Subject);
        }
        Ok(line)
    }

    fn stream(&mut self, record: &Record<'_>) -> Result<[u8; 16]> {
        if let Some(salt) = record.stream_salt.or_else(|| self.streams.get(record.stream).copied()) {
            return Ok(salt);
        }
        let salt = self.shared.sources.stream_salt(&self.pending, record.stream)?.ok_or_else(missing)?;
        remember(&mut self.streams, record.stream, salt);
        Ok(salt)
    }

    fn tag(&mut self, tag: &str, salt: Option<[u8; 16]>) -> Result<[u8; 16]> {
        if let Some(salt) = salt.or_else(|| self.tags.get(tag).copied()) {
            return Ok(salt);
        }
        let salt = self.shared.sources.tag_salt(&self.pending, tag)?.ok_or_else(missing)?;
        remember(&mut self.tags, tag, salt);
        Ok(salt)
    }
}

fn remember(salts: &mut HashMap<String, [u8; 16]>, name: &str, salt: [u8; 16]) {
    if salts.len() >= SALTS_MAX {
        salts.clear();
    }
    salts.insert(name.to_owned(), salt);
}

fn missing() -> Error {
    Error::new(Code::Corrupted, "the salt of a name in the log cannot be found")
}
