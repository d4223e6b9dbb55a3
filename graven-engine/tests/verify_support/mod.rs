//! A store to be tampered with, and somebody who tampers with it: he reads frames and writes them again with checksums,
//! chains and roots that fit, so that only hashes tell. He may hold the log's key, too. The tests of the binary include this
//! file by its path.

#![allow(dead_code, reason = "each test file uses its part")]

use graven_engine::audit::{VerifyOptions, verify};
use graven_engine::model::frame::{self, Header, RECORD_HEAD_BYTES, Record, RecordHead, Subject};
use graven_engine::model::{AppendRequest, EventId, Expected, NewEvent, StreamName};
use graven_engine::{Options, Store};
use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::finding::{FindingCode, Report};
use graven_proof::leaf::{self, Leaf};
use graven_proof::merkle::{Frontier, TILE_WIDTH, TreeHead};
use graven_proof::note::SignerKey;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Byte of a segment where its first frame begins.
pub(crate) const FIRST_FRAME: usize = 4096;
/// Events of [`filled`].
pub(crate) const EVENTS: u64 = 600;
/// Sizes of its checkpoints.
pub(crate) const CHECKPOINTS: [u64; 3] = [200, 400, 600];

/// A stopped store of [`EVENTS`] events in seven streams and four to an append, with [`CHECKPOINTS`].
pub(crate) fn filled(dir: &Path) {
    let store = Store::open(dir, Options::small()).unwrap();
    for number in (0..EVENTS).step_by(4) {
        append(&store, number, 4);
        if CHECKPOINTS.contains(&(number + 4)) {
            store.trail().checkpoint(number + 4).unwrap();
        }
    }
    store.close().unwrap();
}

/// Appends events with tags, metadata and a data subject, at most seven in one append.
pub(crate) fn append(store: &Store, from: u64, count: u64) {
    for first in (from..from + count).step_by(7) {
        let mut request = AppendRequest::default();
        for number in first..(first + 7).min(from + count) {
            let stream = StreamName::new(format!("loan-{}", number % 7)).unwrap();
            request = request.and_to(stream, Expected::Any, [event(number)]);
        }
        store.append(request).unwrap();
    }
}

/// An event like the others.
pub(crate) fn event(number: u64) -> NewEvent {
    let id = EventId(u128::from(number + 1).to_be_bytes());
    let data = format!(r#"{{"amount":{},"number":{number}}}"#, number * 100);
    let mut event = NewEvent::json(id, "LoanSubmitted", data).tagged([format!("customer:{}", number % 11)]);
    event.metadata = format!(r#"{{"user":"u{number}"}}"#).into();
    if number.is_multiple_of(3) {
        event.data_subject = Some(format!("person-{}", number % 5).as_str().into());
    }
    event
}

/// Verifies all of a stopped store with the keys beside it.
pub(crate) fn check(dir: &Path) -> Report {
    check_with(dir, &VerifyOptions::default())
}

/// Verifies a stopped store.
pub(crate) fn check_with(dir: &Path, options: &VerifyOptions) -> Report {
    verify(dir, &Options::small(), options, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Expects this finding to be the one that counts.
#[track_caller]
pub(crate) fn expect(report: &Report, code: FindingCode, position: Option<u64>) {
    let first = report.first.as_ref().unwrap_or_else(|| panic!("{code} was not found: {report:#?}"));
    assert_eq!((first.code, first.position), (code, position), "{report:#?}");
}

/// The one segment of a small store.
pub(crate) fn segment(dir: &Path) -> PathBuf {
    dir.join("log").join(format!("{:020}.seg", 0))
}

/// Changes one byte of a file.
pub(crate) fn change(path: &Path, at: usize, change: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= change;
    std::fs::write(path, bytes).unwrap();
}

/// Copies a directory with the rights of its files.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A frame taken apart.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    /// Bodies of its records.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// Where it stood in its segment.
    pub(crate) offset: usize,
}

/// Somebody with a hex editor, patience and no key.
pub(crate) struct Forger {
    dir: PathBuf,
    log_id: [u8; 16],
    origin: String,
    head: Vec<u8>,
    length: usize,
    pub(crate) frames: Vec<Frame>,
}

/// What a forger writes besides records with checksums that fit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// Nothing: hashes stay as they were.
    Checksums,
    /// Roots in the frames.
    Roots,
    /// Roots and the stored hashes of the tree.
    Everything,
}

impl Forger {
    /// Reads the log of a stopped store of one segment.
    pub(crate) fn at(dir: &Path) -> Forger {
        let identity: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("store.json")).unwrap()).unwrap();
        let log_id = EventId::parse(identity["log_id"].as_str().unwrap()).unwrap().0;
        let bytes = std::fs::read(segment(dir)).unwrap();
        let mut frames = Vec::new();
        let mut offset = FIRST_FRAME;
        while let Some(header) = Header::decode(&bytes[offset..]) {
            let mut at = offset + header.header_bytes();
            let mut bodies = Vec::new();
            for _ in 0..header.count {
                let head = RecordHead::decode(&bytes[at..]).unwrap();
                bodies.push(bytes[at + RECORD_HEAD_BYTES..at + head.total()].to_vec());
                at += head.total();
            }
            frames.push(Frame { header, bodies, offset });
            offset += header.length as usize;
        }
        Forger {
            dir: dir.to_owned(),
            log_id,
            origin: identity["origin"].as_str().unwrap().to_owned(),
            head: bytes[..FIRST_FRAME].to_vec(),
            length: bytes.len(),
            frames,
        }
    }

    /// Origin of the log.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The body of the record at a position, as the frames stood when they were read.
    pub(crate) fn body(&mut self, position: u64) -> &mut Vec<u8> {
        let frame = self.frames.iter_mut().find(|frame| position < frame.header.end()).unwrap();
        &mut frame.bodies[(position - frame.header.first) as usize]
    }

    /// Byte in the segment where the body of the record at a position begins.
    pub(crate) fn body_offset(&self, position: u64) -> usize {
        let frame = self.frames.iter().find(|frame| position < frame.header.end()).unwrap();
        let index = (position - frame.header.first) as usize;
        let before: usize = frame.bodies[..index].iter().map(|body| RECORD_HEAD_BYTES + body.len()).sum();
        frame.offset + frame.header.header_bytes() + before + RECORD_HEAD_BYTES
    }

    /// Takes events out; those that follow in their streams move up.
    pub(crate) fn drop_events(&mut self, such: impl Fn(u64, &Record<'_>) -> bool) {
        let mut next: HashMap<String, u64> = HashMap::new();
        for frame in &mut self.frames {
            let mut kept = Vec::new();
            for (body, position) in frame.bodies.iter().zip(frame.header.first..) {
                let record = Record::decode(body).unwrap();
                if such(position, &record) {
                    continue;
                }
                let revision = next.entry(record.stream.to_owned()).or_default();
                let mut body = body.clone();
                set_revision(&mut body, record.revision, *revision);
                *revision += 1;
                kept.push(body);
            }
            frame.bodies = kept;
        }
        self.frames.retain(|frame| !frame.bodies.is_empty());
    }

    /// Writes the log again, with checksums that fit from the first byte to the last.
    pub(crate) fn write(&self, forgery: Forgery) {
        let mut out = self.head.clone();
        let mut previous = crc32c::crc32c(&self.log_id);
        let mut leaves = Leaves::new(&self.origin);
        let mut frontier = Frontier::default();
        let mut position = 0u64;
        for frame in &self.frames {
            let start = out.len();
            out.extend_from_slice(&[0; frame::HEADER_BYTES]);
            let first = position;
            for body in &frame.bodies {
                let back = (out.len() - start) as u32;
                let mut crc = crc32c::crc32c(&position.to_le_bytes());
                crc = crc32c::crc32c_append(crc, &back.to_le_bytes());
                crc = crc32c::crc32c_append(crc, body);
                out.extend_from_slice(&(body.len() as u32).to_le_bytes());
                out.extend_from_slice(&crc.to_le_bytes());
                out.extend_from_slice(&back.to_le_bytes());
                out.extend_from_slice(body);
                frontier.push(leaves.next(position, frame.header.commit_time, body));
                position += 1;
            }
            let header = Header {
                length: (out.len() - start) as u32,
                body_crc: frame::body_crc(&out[start + frame::HEADER_BYTES..], frame.bodies.len() as u32)
                    .unwrap(),
                previous,
                first,
                count: frame.bodies.len() as u32,
                batch_offset: frame.header.batch_offset.min(first as u32),
                root: match forgery {
                    Forgery::Checksums => frame.header.root,
                    _ => frame.header.root.map(|_| frontier.root()),
                },
                original: None,
                ..frame.header
            };
            let mut bytes = [0; frame::HEADER_BYTES];
            previous = header.encode(&mut bytes);
            out[start..start + frame::HEADER_BYTES].copy_from_slice(&bytes);
        }
        out.resize(self.length.max(out.len()), 0);
        std::fs::write(segment(&self.dir), out).unwrap();
        if forgery == Forgery::Everything {
            let mut level = leaves.hashes;
            for number in 0.. {
                let path = self.dir.join("audit").join(format!("tiles-{number}"));
                if level.is_empty() {
                    break;
                }
                std::fs::write(path, level.as_flattened()).unwrap();
                level = level.chunks_exact(TILE_WIDTH).map(graven_proof::merkle::root_of).collect();
            }
        }
    }

    /// Signs the log as it would be written with the log's own key, and replaces every checkpoint there was and the
    /// high-water mark.
    pub(crate) fn sign_anew(&self, size: u64) {
        let head = TreeHead { size, root: self.root() };
        let checkpoint = SignedCheckpoint::sign(&head, &log_key(&self.dir), &[], 0).unwrap();
        std::fs::write(self.dir.join("checkpoints.log"), block(&checkpoint)).unwrap();
        let _ = std::fs::remove_file(self.dir.join("keys").join("high-water"));
    }

    /// Root over the log as it would be written.
    pub(crate) fn root(&self) -> Hash {
        let mut leaves = Leaves::new(&self.origin);
        let mut frontier = Frontier::default();
        for frame in &self.frames {
            for body in &frame.bodies {
                let position = frontier.size();
                frontier.push(leaves.next(position, frame.header.commit_time, body));
            }
        }
        frontier.root()
    }
}

/// The key that signs a stopped store's checkpoints.
pub(crate) fn log_key(dir: &Path) -> SignerKey {
    let mut files = std::fs::read_dir(dir.join("keys")).unwrap().map(|entry| entry.unwrap().path());
    let key = files.find(|path| path.extension().is_some_and(|ending| ending == "key")).unwrap();
    std::fs::read_to_string(key).unwrap().trim_end().parse().unwrap()
}

/// A checkpoint as its file has it.
pub(crate) fn block(checkpoint: &SignedCheckpoint) -> [u8; 512] {
    let text = checkpoint.to_string();
    let mut block = [0; 512];
    block[..4].copy_from_slice(b"GCP1");
    block[9] = 1;
    block[10..12].copy_from_slice(&(text.len() as u16).to_le_bytes());
    block[12..20].copy_from_slice(&checkpoint.unverified_head().size.to_le_bytes());
    block[28..28 + text.len()].copy_from_slice(text.as_bytes());
    let crc = crc32c::crc32c(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    block
}

/// Writes another revision into a record's body.
pub(crate) fn set_revision(body: &mut Vec<u8>, was: u64, revision: u64) {
    let varint = |mut number: u64| {
        let mut out = Vec::new();
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        out
    };
    body.splice(2..2 + varint(was).len(), varint(revision));
}

/// Leaf hashes as the store computes them. Salts are taken where they are found.
struct Leaves {
    hashes: Vec<Hash>,
    last: Hash,
    streams: HashMap<String, (Hash, Hash)>,
    tags: HashMap<String, Hash>,
}

impl Leaves {
    fn new(origin: &str) -> Leaves {
        Leaves {
            hashes: Vec::new(),
            last: leaf::log_genesis(origin),
            streams: HashMap::new(),
            tags: HashMap::new(),
        }
    }

    fn next(&mut self, position: u64, commit_time: i64, body: &[u8]) -> Hash {
        let record = Record::decode(body).unwrap();
        let (stream_key, prev_stream) = self.streams.get(record.stream).copied().unwrap_or_else(|| {
            let key = leaf::name_key(&record.stream_salt.unwrap_or([9; 16]), record.stream.as_bytes());
            (key, leaf::stream_genesis(&key))
        });
        let mut tags = Vec::new();
        let named: Vec<(String, Option<[u8; 16]>)> = record
            .tags
            .iter()
            .map(|(tag, salt)| ((*tag).to_owned(), *salt))
            .chain(record.subject.and_then(|subject| match subject {
                Subject::Named(name, salt) => Some((format!("$subject/{name}"), salt)),
                Subject::Keyed(_) => None,
            }))
            .collect();
        for (tag, salt) in named {
            let known = self.tags.entry(tag.clone());
            tags.push(*known.or_insert_with(|| leaf::name_key(&salt.unwrap_or([9; 16]), tag.as_bytes())));
        }
        tags.sort_unstable();
        let hash = Leaf {
            kind: record.kind,
            encrypted: record.encrypted,
            sealed: record.sealed,
            has_metadata: record.has_metadata(),
            check: record.schema.check,
            position,
            commit_time,
            stream_version: record.revision,
            stream_key,
            prev_stream,
            prev_global: self.last,
            event_id: record.id,
            occurred_at: record.occurred_at.unwrap_or(leaf::NO_TIME),
            event_type: record.event_type,
            content_type: record.content_type(),
            schema_version: record.schema.version,
            schema_id: record.schema.id,
            tags: &tags,
            payload_commitment: record.data_commitment(),
            metadata_commitment: record.metadata_commitment(),
            body: if record.kind.is_control() { record.data } else { &[] },
        }
        .hash(&mut Vec::new());
        self.streams.insert(record.stream.to_owned(), (stream_key, hash));
        self.last = hash;
        self.hashes.push(hash);
        hash
    }
}
