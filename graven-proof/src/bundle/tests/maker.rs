//! A log in memory, and bundles of it.

use crate::Hash;
use crate::base64;
use crate::bundle::*;
use crate::checkpoint::SignedCheckpoint;
use crate::control::{Control, KeyChange, KeySignature, MapRoot, Part};
use crate::leaf::{
    CheckState, Kind, Leaf, NO_TIME, log_genesis, metadata_commitment, name_key, payload_commitment,
    stream_genesis,
};
use crate::merkle::{Tree, TreeHead, leaf_hash, root_of};
use crate::note::{Algorithm, SignerKey};
use crate::tiles::{Tile, TilePath, encode_bundle};
use crate::tlog_proof::TlogProof;
use crate::trie::{StreamHead, StreamTrie};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

pub(super) const ORIGIN: &str = "log.example/1";

pub(super) fn key(seed: u8) -> SignerKey {
    SignerKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::Ed25519, &[seed; 32])
}

/// Any 32 bytes that depend on a name.
fn bytes(of: &str) -> Hash {
    Sha256::digest(of).into()
}

pub(super) struct World {
    pub(super) leaves: Vec<Vec<u8>>,
    pub(super) lines: Vec<EventLine>,
    heads: HashMap<String, StreamHead>,
    pub(super) seal: Option<u64>,
    pub(super) erasures: Vec<u64>,
    pub(super) keys: Vec<u64>,
}

pub(super) struct Event<'a> {
    pub(super) stream: &'a str,
    pub(super) kind: Kind,
    pub(super) event_type: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) metadata: Option<&'a [u8]>,
    pub(super) tags: &'a [&'a str],
    pub(super) subject: Option<&'a str>,
}

pub(super) fn event(stream: &str) -> Event<'_> {
    let (kind, event_type, payload) = (Kind::Event, "Happened", &b"{\"what\":1}"[..]);
    Event { stream, kind, event_type, payload, metadata: None, tags: &[], subject: None }
}

impl World {
    pub(super) fn new() -> World {
        let (leaves, lines) = (Vec::new(), Vec::new());
        World { leaves, lines, heads: HashMap::new(), seal: None, erasures: Vec::new(), keys: Vec::new() }
    }

    /// A log of a few streams with everything that can be in one, sealed and about `size` leaves long. Keys: the first
    /// signs until the second takes over.
    pub(super) fn full(size: usize) -> World {
        let mut world = World::new();
        for number in 0..size {
            let payload = format!("{{\"number\":{number}}}");
            let event = Event { payload: payload.as_bytes(), ..event("filler") };
            world.append(&event);
            match number % 40 {
                3 => {
                    let tags = ["red", "größe:2"];
                    world.append(&Event {
                        metadata: Some(b"{\"by\":\"me\"}"),
                        tags: &tags,
                        ..super::maker::event("order-1")
                    });
                }
                7 => world.append(&Event {
                    subject: Some("alice"),
                    metadata: Some(b"m"),
                    ..super::maker::event("order-2")
                }),
                _ => {}
            }
        }
        world.append(&event("ended"));
        world.append(&Event {
            kind: Kind::Tombstone,
            event_type: "$tombstone",
            payload: b"",
            ..event("ended")
        });
        world.rotate_key();
        world.erase();
        world.seal();
        world
    }

    pub(super) fn append(&mut self, event: &Event<'_>) {
        self.push(event, &[]);
    }

    pub(super) fn control(&mut self, control: &Control) -> u64 {
        let position = self.leaves.len() as u64;
        let event =
            Event { kind: control.kind(), event_type: control.event_type(), payload: b"", ..event("$audit") };
        self.push(&event, &control.encode());
        position
    }

    fn push(&mut self, event: &Event<'_>, body: &[u8]) {
        let position = self.leaves.len() as u64;
        let control = event.kind.is_control();
        let stream_salt = &bytes(event.stream)[..16];
        let stream_key = name_key(stream_salt, event.stream.as_bytes());
        let head = self.heads.get(event.stream).copied();
        let (salt, meta_salt) =
            (bytes(&format!("payload {position}")), bytes(&format!("metadata {position}")));
        let tag_line = |tag: &&str| NameLine::named(*tag, &bytes(tag)[..16]);
        let subject_tag = event.subject.map(|subject| format!("$subject/{subject}"));
        let mut tags: Vec<Hash> = event
            .tags
            .iter()
            .map(|tag| (*tag).to_owned())
            .chain(subject_tag.clone())
            .map(|tag| name_key(&bytes(&tag)[..16], tag.as_bytes()))
            .collect();
        tags.sort();
        let tombstone = event.kind == Kind::Tombstone;
        let next = head.map_or(0, |head| head.next_version);
        let leaf = Leaf {
            kind: event.kind,
            encrypted: false,
            sealed: event.subject.is_some(),
            has_metadata: event.metadata.is_some(),
            check: CheckState::None,
            position,
            commit_time: 1_700_000_000_000_000 + position as i64,
            stream_version: if tombstone { crate::chain::TOMBSTONE_VERSION } else { next },
            stream_key,
            prev_stream: head.map_or_else(|| stream_genesis(&stream_key), |head| head.head),
            prev_global: self.leaves.last().map_or_else(|| log_genesis(ORIGIN), |leaf| leaf_hash(leaf)),
            event_id: bytes(&position.to_string())[..16].try_into().unwrap(),
            occurred_at: if position.is_multiple_of(2) { NO_TIME } else { -5 },
            event_type: event.event_type,
            content_type: "application/json",
            schema_version: 2,
            schema_id: u32::from(event.stream == "order-1"),
            tags: &tags,
            payload_commitment: if control { [0; 32] } else { payload_commitment(&salt, event.payload) },
            metadata_commitment: event
                .metadata
                .map_or([0; 32], |bytes| metadata_commitment(&meta_salt, bytes)),
            body,
        };
        let mut encoded = Vec::new();
        leaf.encode(&mut encoded);
        let line = EventLine {
            stream: event.stream.to_owned(),
            stream_salt: hex_bytes(stream_salt),
            tags: event.tags.iter().map(tag_line).collect(),
            subject: event.subject.map(|subject| {
                let salt = bytes(&format!("$subject/{subject}"));
                NameLine::named(subject, &salt[..16])
            }),
            payload: Some(base64::encode(if control { body } else { event.payload })),
            payload_salt: (!control).then(|| hex_bytes(&salt)),
            metadata: event.metadata.map(base64::encode),
            metadata_salt: event.metadata.map(|_| hex_bytes(&meta_salt)),
            ..EventLine::of_leaf(&leaf)
        };
        let head = StreamHead {
            next_version: if tombstone { next } else { next + 1 },
            first_position: head.map_or(position, |head| head.first_position),
            last_position: position,
            head: leaf_hash(&encoded),
            tombstoned: tombstone,
        };
        self.heads.insert(event.stream.to_owned(), head);
        self.leaves.push(encoded);
        self.lines.push(line);
    }

    fn erasures_push(&mut self, control: &Control) {
        let position = self.control(control);
        self.erasures.push(position);
    }

    fn keys_push(&mut self, control: &Control) {
        let position = self.control(control);
        self.keys.push(position);
    }

    fn rotate_key(&mut self) {
        let vkey = key(2).verifier().to_string();
        let valid_from = self.leaves.len() as u64;
        let change = KeyChange::Add { vkey: vkey.clone(), valid_from, signatures: Vec::new() };
        let signatures = vec![authorise(&key(1), &change)];
        self.keys_push(&Control::Key(KeyChange::Add { vkey, valid_from, signatures }));
        let vkey = key(1).verifier().to_string();
        let change =
            KeyChange::Retire { vkey: vkey.clone(), valid_until: valid_from, signatures: Vec::new() };
        let signatures = vec![authorise(&key(2), &change)];
        self.keys_push(&Control::Key(KeyChange::Retire { vkey, valid_until: valid_from, signatures }));
    }

    /// The first event of order-1 loses payload and metadata, everything of alice all of it.
    fn erase(&mut self) {
        use crate::control::{Erasure, Retention, Target};
        let first = self.heads["order-1"].first_position;
        let parts = vec![Part::Data, Part::Metadata];
        self.erasures_push(&Control::Retention(Retention {
            target: Target::Positions { positions: vec![first] },
            parts,
            events: 1,
            first: None,
            rule: "max-count".to_owned(),
        }));
        let subject_key = name_key(&bytes("$subject/alice")[..16], b"$subject/alice");
        let parts = vec![Part::Data, Part::Metadata, Part::Subject];
        self.erasures_push(&Control::Erasure(Erasure {
            target: Target::Subject { subject_key },
            parts,
            events: 1,
            first: Some(first),
            request: "r-1".to_owned(),
            basis: "gdpr-17-1-b".to_owned(),
            decided_by: "dpo".to_owned(),
            approved_by: None,
        }));
        for line in &mut self.lines {
            let alice = line.subject.is_some();
            if !alice && line.position != first {
                continue;
            }
            (line.payload, line.payload_salt, line.metadata, line.metadata_salt) = (None, None, None, None);
            line.erased = vec![Part::Data, Part::Metadata];
            if alice {
                line.subject = Some(NameLine::erased(&subject_key));
                line.erased.push(Part::Subject);
            }
        }
    }

    pub(super) fn trie(&self) -> StreamTrie {
        let mut trie = StreamTrie::new();
        trie.extend(self.heads.iter().map(|(name, head)| (self.stream_key(name), *head)));
        trie
    }

    pub(super) fn seal(&mut self) {
        let mut trie = self.trie();
        let root = MapRoot { size: self.leaves.len() as u64, streams: trie.len() as u64, root: trie.root() };
        self.seal = Some(self.control(&Control::MapRoot(root)));
    }

    pub(super) fn stream_key(&self, name: &str) -> Hash {
        name_key(&bytes(name)[..16], name.as_bytes())
    }

    pub(super) fn hashes(&self) -> Vec<Hash> {
        self.leaves.iter().map(|leaf| leaf_hash(leaf)).collect()
    }

    pub(super) fn head(&self) -> TreeHead {
        TreeHead { size: self.leaves.len() as u64, root: root_of(&self.hashes()) }
    }

    pub(super) fn streams(&self, names: &[&str]) -> BTreeMap<String, Vec<u8>> {
        self.bundle(Scope::Streams { streams: names.iter().map(|name| (*name).to_owned()).collect() })
    }

    /// The bundle of a scope, signed by the second key.
    pub(super) fn bundle(&self, scope: Scope) -> BTreeMap<String, Vec<u8>> {
        let checkpoint = SignedCheckpoint::sign(&self.head(), &key(2), &[], 0).unwrap();
        self.bundle_under(scope, &checkpoint)
    }

    pub(super) fn bundle_under(
        &self,
        scope: Scope,
        checkpoint: &SignedCheckpoint,
    ) -> BTreeMap<String, Vec<u8>> {
        let size = self.leaves.len() as u64;
        let hashes = self.hashes();
        let node = |level: u8, index: u64| {
            let start = (index as usize) << level;
            Ok::<Hash, Infallible>(root_of(&hashes[start..start + (1 << level)]))
        };
        let mut tree = Tree::new(size, node);
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut needs = TileNeeds::new(size);
        let run = match &scope {
            Scope::All {} => Some(0..size),
            Scope::Range { start, end } => Some(*start..*end),
            Scope::Streams { .. } => None,
        };
        let exported = |line: &&EventLine| match &scope {
            Scope::Streams { streams } => {
                streams.contains(&line.stream) && line.position < self.seal.unwrap()
            }
            _ => run.as_ref().unwrap().contains(&line.position),
        };
        let mut events = Vec::new();
        for line in self.lines.iter().filter(exported) {
            let mut line = line.clone();
            if run.is_none() {
                line.leaf = Some(base64::encode(&self.leaves[line.position as usize]));
            }
            needs.add(line.position);
            serde_json::to_writer(&mut events, &line).unwrap();
            events.push(b'\n');
            let proof = tree.inclusion(line.position).unwrap();
            let proof = TlogProof::new(line.position, proof, checkpoint.clone()).unwrap();
            files.insert(proof_path(line.position), proof.to_string().into_bytes());
        }
        files.insert(EVENTS.to_owned(), events);
        let control = |needs: &mut TileNeeds, position: u64| {
            needs.add(position);
            let line = ControlLine::new(position, &self.leaves[position as usize]);
            serde_json::to_string(&line).unwrap() + "\n"
        };
        let lines = |needs: &mut TileNeeds, of: &[u64]| -> String {
            of.iter().map(|position| control(needs, *position)).collect()
        };
        files.insert(ERASURES.to_owned(), lines(&mut needs, &self.erasures).into());
        files.insert(KEY_HISTORY.to_owned(), lines(&mut needs, &self.keys).into());
        if let Some(run) = &run {
            needs.add_range(run.start.saturating_sub(1)..run.end);
            let hashes = tree.range(run.clone()).unwrap().iter().map(crate::control::hex::encode).collect();
            let proof = RangeProof { start: run.start, end: run.end, hashes };
            files.insert(RANGE_PROOF.to_owned(), serde_json::to_vec(&proof).unwrap());
            for bundle in bundles_around(size, run) {
                let first = bundle.first() as usize;
                let leaves = &self.leaves[first..first + usize::from(bundle.width)];
                let mut bytes = Vec::new();
                encode_bundle(leaves.iter().map(Vec::as_slice), &mut bytes).unwrap();
                files.insert(TilePath::Entries(bundle).to_string(), bytes);
            }
        }
        if !matches!(scope, Scope::Range { .. }) {
            files.insert(SEAL.to_owned(), control(&mut needs, self.seal.unwrap()).into());
        }
        if let Scope::Streams { streams } = &scope {
            let seal = self.seal.unwrap();
            let mut heads = self.sealed_trie();
            for stream in streams {
                let key = self.stream_key(stream);
                let proof = heads.prove(&key);
                let said = Completeness::new(stream, &bytes(stream)[..16], seal, &proof);
                files.insert(completeness_path(&key), serde_json::to_vec(&said).unwrap());
            }
        }
        for tile in needs.iter() {
            files.insert(TilePath::Hashes(tile).to_string(), tile_bytes(&hashes, tile));
        }
        let (one, two) = (key(1).verifier().to_string(), key(2).verifier().to_string());
        files.insert(KEYS.to_owned(), format!("{one}\n{two}\n").into());
        files.insert(POLICY.to_owned(), format!("log {two}\nquorum none\n").into());
        files.insert(CHECKPOINT.to_owned(), checkpoint.to_string().into());
        for path in [README, REPORT_HTML, REPORT_JSON, VERIFIER] {
            files.insert(path.to_owned(), b"for reading".to_vec());
        }
        manifest(&mut files, scope, checkpoint.unverified_head().size);
        files
    }

    /// The trie as of the seal, whose record is the last in the log.
    fn sealed_trie(&self) -> StreamTrie {
        let mut trie = StreamTrie::new();
        let sealed = self.seal.unwrap();
        for leaf in &self.leaves[..sealed as usize] {
            let decoded = Leaf::decode(leaf).unwrap();
            let before = trie.get(&decoded.stream_key).copied();
            let tombstoned = decoded.kind == Kind::Tombstone;
            let next = before.map_or(0, |head| head.next_version);
            let head = StreamHead {
                next_version: if tombstoned { next } else { next + 1 },
                first_position: before.map_or(decoded.position, |head| head.first_position),
                last_position: decoded.position,
                head: leaf_hash(leaf),
                tombstoned,
            };
            trie.set(decoded.stream_key, head);
        }
        trie
    }
}

fn tile_bytes(hashes: &[Hash], tile: Tile) -> Vec<u8> {
    let width = 1usize << (8 * tile.level);
    let first = tile.first() as usize;
    (first..first + usize::from(tile.width))
        .flat_map(|at| root_of(&hashes[at * width..(at + 1) * width]))
        .collect()
}

pub(super) fn authorise(signer: &SignerKey, change: &KeyChange) -> KeySignature {
    let signature = signer.sign(&change.text(ORIGIN), 0);
    KeySignature { vkey: signer.verifier().to_string(), signature: base64::encode(signature.bytes()) }
}

/// Writes the manifest of these files anew, as whoever alters a bundle would.
pub(super) fn manifest(files: &mut BTreeMap<String, Vec<u8>>, scope: Scope, size: u64) {
    files.remove(MANIFEST);
    files.remove(MANIFEST_DIGEST);
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        origin: ORIGIN.to_owned(),
        size,
        scope,
        store_version: "0".to_owned(),
        generated_at: "2026-01-01T00:00:00Z".to_owned(),
        files: files.iter().map(|(path, bytes)| FileEntry::of(path, bytes)).collect(),
    };
    let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
    files.insert(MANIFEST_DIGEST.to_owned(), manifest_digest(&bytes).into());
    files.insert(MANIFEST.to_owned(), bytes);
}

/// The same with the manifest of a bundle that was altered.
pub(super) fn remanifest(files: &mut BTreeMap<String, Vec<u8>>) {
    let old: Manifest = serde_json::from_slice(&files[MANIFEST]).unwrap();
    manifest(files, old.scope, old.size);
}
