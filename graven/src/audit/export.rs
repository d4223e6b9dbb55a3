//! Writing bundles: what of the log goes into one, file by file.
//!
//! Memory: one part of the events, the list of files, and of streams the positions of their events.

use super::outside::{Outside, Under, cosigners};
use super::plan::{Of, Plan, Whole};
use super::words;
use graven_engine::Store;
use graven_engine::audit::Trail;
use graven_engine::env::Env;
use graven_model::{Code, Error, Kind, ReadRequest, Result, Selector, StreamName, Timestamp};
use graven_proof::Hash;
use graven_proof::bundle::{
    CHECKPOINT, ControlLine, ERASURES, EVENTS_PART_BYTES, EventLine, FILES_MAX, FORMAT, FileEntry,
    KEY_HISTORY, KEYS, MANIFEST, MANIFEST_DIGEST, Manifest, NameLine, POLICY, PROOFS_MAX, RANGE_PROOF,
    README, REPORT_HTML, REPORT_JSON, RangeProof, SEAL, Scope, TIMESTAMP, TileNeeds, VERIFIER,
    bundles_around, completeness_path, events_path, manifest_digest, proof_path,
};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::{Control, Part, hex};
use graven_proof::erased::Erased;
use graven_proof::leaf::Leaf;
use graven_proof::tiles::TilePath;
use graven_proof::tlog_proof::TlogProof;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The checker that stands in every bundle.
const VERIFIER_SCRIPT: &str = include_str!("verify.py");

/// Where the files of a bundle go, one after the other, each once.
pub(crate) trait BundleSink {
    /// Writes a file.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Nothing more comes.
    ///
    /// # Errors
    /// As [`BundleSink::put`].
    fn finish(&mut self) -> Result<()>;
}

/// What to export.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Everything.
    All,
    /// These positions.
    Range(Range<u64>),
    /// These streams, whole.
    Streams(Vec<StreamName>),
}

/// What was exported.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    /// The scope as it stands in the manifest.
    pub(crate) scope: Scope,
    /// First line of the checkpoint.
    pub(crate) origin: String,
    /// Size of the checkpoint.
    pub(crate) size: u64,
    /// Its root, in hexadecimal.
    pub(crate) root: String,
    /// When the bundle was written.
    pub(crate) generated_at: Timestamp,
    /// Events in it.
    pub(crate) events: u64,
    /// Of which something was erased.
    pub(crate) erased: u64,
    /// Of which payload and metadata are ciphertext.
    pub(crate) sealed: u64,
    /// Files, the manifest and its digest too.
    pub(crate) files: usize,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// SHA-256 of the manifest, in hexadecimal: names this very bundle.
    pub(crate) manifest: String,
    /// Those who cosigned the checkpoint.
    pub(crate) cosigners: Vec<String>,
    /// Lines of the checkpoint that are timestamped, and of how many.
    pub(crate) stamped: Option<[usize; 2]>,
}

/// Writes a bundle. Seals the streams first, if it takes a seal, and signs a checkpoint above it, unless `under` asks for
/// one that was signed before. What others vouch for that checkpoint goes along. `progress` is told the number of events so
/// far.
///
/// # Errors
/// [`Code::StreamNotFound`]; [`Code::BadRequest`] for an empty range or one that is not in the log, or if something was
/// erased after the checkpoint; [`Code::SizeNotReached`] and [`Code::NotSealedYet`] if the checkpoint is too old;
/// [`Code::ExportTooLarge`]; those of [`Outside::choose`], [`Trail::seal`], [`Trail::checkpoint`], [`Trail::evidence`] and the sink.
pub(crate) fn export(
    store: &Store,
    wanted: &Wanted,
    (outside, under): (&Outside, Under),
    out: &mut dyn BundleSink,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported> {
    let trail = store.trail();
    let chosen = outside.choose(&trail, under)?;
    let plan = Plan::make(store, wanted, chosen.as_ref().map(|own| own.unverified_head().size))?;
    let own = match &chosen {
        Some(own) => own.clone(),
        None => trail.checkpoint(plan.size_min)?,
    };
    let checkpoint = outside.with_cosignatures(own.clone())?;
    let size = checkpoint.unverified_head().size;
    let controls = Controls::read(store, &trail, size)?;
    let needs = TileNeeds::new(size);
    let listed = Listed { out, files: BTreeMap::new(), bytes: 0 };
    let counts = Counts::default();
    let older = chosen.is_some();
    let mut writer =
        Writer { trail: &trail, size, older, controls, needs, listed, counts, used: BTreeSet::new() };

    let scope = match &plan.of {
        Of::Run(run) => {
            let run = run.clone().unwrap_or(0..size);
            writer.run(run.clone(), &checkpoint, progress)?;
            if matches!(wanted, Wanted::All) {
                Scope::All {}
            } else {
                Scope::Range { start: run.start, end: run.end }
            }
        }
        Of::Streams(streams) => {
            writer.streams(streams, &checkpoint, progress)?;
            Scope::Streams { streams: streams.iter().map(|stream| stream.said.stream.clone()).collect() }
        }
    };
    if let Some(seal) = plan.seal {
        let line = writer.control(seal)?;
        writer.listed.put(SEAL, line.as_bytes())?;
    }
    writer.history()?;
    writer.keys()?;
    writer.listed.put(CHECKPOINT, checkpoint.to_string().as_bytes())?;
    let token = outside.timestamp(&own)?;
    if let Some(token) = &token {
        writer.listed.put(TIMESTAMP, token)?;
    }
    let lines = |checkpoint: &SignedCheckpoint| checkpoint.to_string().lines().count();
    let stamped = token.map(|_| [lines(&own), lines(&checkpoint)]);
    writer.tiles()?;
    let Writer { listed, counts, .. } = writer;
    close(listed, counts, scope, (&checkpoint, stamped))
}

/// What stands about the bundle as a whole, and the list of files.
fn close(
    mut listed: Listed<'_>,
    counts: Counts,
    scope: Scope,
    (checkpoint, stamped): (&SignedCheckpoint, Option<[usize; 2]>),
) -> Result<Exported> {
    let head = checkpoint.unverified_head();
    let mut exported = Exported {
        scope: scope.clone(),
        origin: checkpoint.unverified_origin().to_owned(),
        size: head.size,
        root: hex::encode(&head.root),
        generated_at: Timestamp::from_micros(Env::real().clock.now_us()),
        events: counts.events,
        erased: counts.erased,
        sealed: counts.sealed,
        files: 0,
        bytes: 0,
        manifest: String::new(),
        cosigners: cosigners(checkpoint).map(str::to_owned).collect(),
        stamped,
    };
    listed.put(README, words::readme(&exported).as_bytes())?;
    listed.put(REPORT_JSON, words::report(&exported).as_bytes())?;
    listed.put(REPORT_HTML, words::page(&exported).as_bytes())?;
    listed.put(VERIFIER, VERIFIER_SCRIPT.as_bytes())?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        origin: exported.origin.clone(),
        size: head.size,
        scope,
        store_version: env!("CARGO_PKG_VERSION").to_owned(),
        generated_at: exported.generated_at.to_string(),
        files: std::mem::take(&mut listed.files).into_values().collect(),
    };
    let bytes = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| Error::new(Code::Internal, format!("the manifest cannot be written: {error}")))?;
    let digest = manifest_digest(&bytes);
    listed.out.put(MANIFEST, &bytes)?;
    listed.out.put(MANIFEST_DIGEST, digest.as_bytes())?;
    listed.out.finish()?;
    exported.files = manifest.files.len() + 2;
    exported.bytes = listed.bytes + (bytes.len() + digest.len()) as u64;
    digest[..64].clone_into(&mut exported.manifest);
    Ok(exported)
}

/// The records about keys and erasures below the checkpoint's size.
struct Controls {
    keys: Vec<u64>,
    erasures: Erased,
}

impl Controls {
    fn read(store: &Store, trail: &Trail, size: u64) -> Result<Controls> {
        let mut controls = Controls { keys: Vec::new(), erasures: Erased::default() };
        let types = ["$key", "$erasure", "$retention"].map(Into::into).to_vec();
        let mut request = ReadRequest::new(Selector::Types(types));
        loop {
            let page = store.read(&request)?;
            for event in page.events.iter().filter(|event| event.position.0 < size) {
                let position = event.position.0;
                match event.kind {
                    Kind::Key => controls.keys.push(position),
                    Kind::Erasure | Kind::Retention => {
                        let leaf = trail.leaf(position)?;
                        let control =
                            Leaf::decode(&leaf).ok().map(|leaf| Control::decode(leaf.kind, leaf.body));
                        let Some(Ok(control)) = control else {
                            let what = format!("the record at position {position} cannot be read");
                            return Err(Error::new(Code::Corrupted, what));
                        };
                        controls.erasures.note(position, &control);
                    }
                    _ => {}
                }
            }
            match page.next {
                Some(next) => request = request.from(next),
                None => return Ok(controls),
            }
        }
    }
}

#[derive(Default)]
struct Counts {
    events: u64,
    erased: u64,
    sealed: u64,
}

/// The sink, and what went into it.
struct Listed<'a> {
    out: &'a mut dyn BundleSink,
    files: BTreeMap<String, FileEntry>,
    bytes: u64,
}

impl Listed<'_> {
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        if self.files.len() == FILES_MAX {
            return Err(Error::new(Code::ExportTooLarge, "the export has too many files for one bundle")
                .expected(format!("at most {FILES_MAX}")));
        }
        self.files.insert(path.to_owned(), FileEntry::of(path, bytes));
        self.bytes += bytes.len() as u64;
        self.out.put(path, bytes)
    }

    fn json<T: serde::Serialize>(&mut self, path: &str, value: &T) -> Result<()> {
        self.put(path, format!("{}\n", json(value)?).as_bytes())
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(Code::Internal, format!("JSON cannot be written: {error}")))
}

struct Writer<'a> {
    trail: &'a Trail,
    size: u64,
    /// The checkpoint was there before.
    older: bool,
    controls: Controls,
    needs: TileNeeds,
    listed: Listed<'a>,
    counts: Counts,
    /// Records that cover something that is absent.
    used: BTreeSet<u64>,
}

impl Writer<'_> {
    fn run(
        &mut self,
        run: Range<u64>,
        checkpoint: &SignedCheckpoint,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        self.needs.add_range(run.start.saturating_sub(1)..run.end);
        let hashes = self.trail.range(run.clone(), self.size)?;
        let hashes = hashes.iter().map(hex::encode).collect();
        self.listed.json(RANGE_PROOF, &RangeProof { start: run.start, end: run.end, hashes })?;
        for bundle in bundles_around(self.size, &run) {
            let bytes = self.trail.bundle(&bundle)?;
            self.listed.put(&TilePath::Entries(bundle).to_string(), &bytes)?;
        }
        let few = run.end - run.start <= PROOFS_MAX as u64;
        self.events(run, false, few.then_some(checkpoint), progress)
    }

    fn streams(
        &mut self,
        streams: &[Whole],
        checkpoint: &SignedCheckpoint,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut positions = Vec::new();
        for stream in streams {
            stream.positions(self.trail, &mut positions)?;
            self.listed.json(&completeness_path(&stream.key), &stream.said)?;
        }
        positions.sort_unstable();
        let few = positions.len() <= PROOFS_MAX;
        self.events(positions, true, few.then_some(checkpoint), progress)
    }

    /// The events at these positions, with their leaves if nothing else has them, and a proof of each under the checkpoint.
    fn events(
        &mut self,
        positions: impl IntoIterator<Item = u64>,
        with_leaf: bool,
        proofs: Option<&SignedCheckpoint>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let trail = self.trail;
        let (mut part, mut lines) = (0, Vec::new());
        trail.evidence(positions, |mut line, bytes| {
            let position = line.position;
            let leaf = Leaf::decode(bytes)
                .map_err(|error| Error::new(Code::Corrupted, format!("the leaf at {position}: {error}")))?;
            self.take_erased(&mut line, &leaf)?;
            self.counts.events += 1;
            self.counts.erased += u64::from(!line.erased.is_empty());
            self.counts.sealed += u64::from(line.sealed && line.payload.is_some());
            if with_leaf {
                self.needs.add(position);
                line.leaf = Some(ControlLine::new(position, bytes).leaf);
            }
            if let Some(checkpoint) = proofs {
                let hashes = trail.inclusion(position, self.size)?;
                let proof = TlogProof::new(position, hashes, checkpoint.clone());
                let proof = proof.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
                self.listed.put(&proof_path(position), proof.to_string().as_bytes())?;
            }
            let line = json(&line)?;
            if !lines.is_empty() && lines.len() + line.len() >= EVENTS_PART_BYTES {
                self.listed.put(&events_path(part), &lines)?;
                lines.clear();
                part += 1;
            }
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
            progress(self.counts.events);
            Ok(())
        })?;
        self.listed.put(&events_path(part), &lines)
    }

    /// Leaves out what the log says was erased, whatever of it is still stored.
    fn take_erased(&mut self, line: &mut EventLine, leaf: &Leaf<'_>) -> Result<()> {
        if leaf.kind.is_control() {
            return Ok(());
        }
        let mut erased = Vec::new();
        for part in [Part::Data, Part::Metadata, Part::Subject] {
            let there = match part {
                Part::Data => true,
                Part::Metadata => leaf.has_metadata,
                Part::Subject => line.subject.is_some(),
            };
            let record = self.controls.erasures.record_of(leaf, part).filter(|_| there);
            if let Some(record) = record {
                self.used.insert(record);
            }
            if record.is_none() && !line.erased.contains(&part) {
                continue;
            }
            if record.is_none() && self.older {
                let message =
                    format!("something of the event at position {} was erased later", leaf.position);
                return Err(Error::new(Code::BadRequest, message)
                    .expected(format!("a record of it below the checkpoint of size {}", self.size)));
            }
            match part {
                Part::Data => (line.payload, line.payload_salt) = (None, None),
                Part::Metadata => (line.metadata, line.metadata_salt) = (None, None),
                Part::Subject => {
                    let key = line.subject.as_ref().and_then(|subject| subject_key(subject, line, leaf));
                    line.subject = key.or(line.subject.take());
                }
            }
            erased.push(part);
        }
        line.erased = erased;
        Ok(())
    }

    /// The leaf of a record about the log, as a line.
    fn control(&mut self, position: u64) -> Result<String> {
        self.needs.add(position);
        let leaf = self.trail.leaf(position)?;
        Ok(format!("{}\n", json(&ControlLine::new(position, &leaf))?))
    }

    fn history(&mut self) -> Result<()> {
        for (path, positions) in
            [(KEY_HISTORY, self.controls.keys.clone()), (ERASURES, self.used.iter().copied().collect())]
        {
            let mut lines = String::new();
            for position in positions {
                lines.push_str(&self.control(position)?);
            }
            self.listed.put(path, lines.as_bytes())?;
        }
        Ok(())
    }

    fn keys(&mut self) -> Result<()> {
        let keys = self.trail.verifier_keys()?;
        let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
        let logs: String = keys.iter().map(|key| format!("log {key}\n")).collect();
        self.listed.put(KEYS, lines.as_bytes())?;
        let remark = "# what the operator of this log suggests; trust keys that you got another way\n";
        self.listed.put(POLICY, format!("{remark}{logs}quorum none\n").as_bytes())
    }

    fn tiles(&mut self) -> Result<()> {
        let tiles: Vec<_> = self.needs.iter().collect();
        for tile in tiles {
            let bytes = self.trail.tile(&tile)?;
            self.listed.put(&TilePath::Hashes(tile).to_string(), &bytes)?;
        }
        Ok(())
    }
}

/// What is left of a data subject's name: its keyed hash, the one of the leaf's that no tag has.
fn subject_key(subject: &NameLine, line: &EventLine, leaf: &Leaf<'_>) -> Option<NameLine> {
    if subject.key.is_some() {
        return None;
    }
    let tags: BTreeSet<Hash> = line.tags.iter().filter_map(tag_key).collect();
    leaf.tags.iter().find(|key| !tags.contains(*key)).map(NameLine::erased)
}

fn tag_key(tag: &NameLine) -> Option<Hash> {
    let salt = tag.salt.as_deref()?;
    let salt: Option<Vec<u8>> =
        (0..salt.len() / 2).map(|at| u8::from_str_radix(salt.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    Some(graven_proof::leaf::name_key(&salt?, tag.name.as_deref()?.as_bytes()))
}
