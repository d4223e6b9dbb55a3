//! A log that the store wrote, judged by two implementations that are not ours: Cloudflare's crates, and the Python package
//! `aics-tlog`. Both read it as files in C2SP tlog-tiles layout, and get nothing else but the log's verifier key.

use graven_engine::audit::Trail;
use graven_engine::{Options, Store};
use graven_model::{AppendRequest, EventId, Expected, NewEvent, StreamName};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::tiles::{Bundle, Tile, TilePath};
use signed_note::{StandardVerifier, VerifierList};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use tlog_tiles::{
    TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree, record_hash,
};

const OLD: u64 = 300;
const NEW: u64 = 700;

/// A store, its tiles as files, and its checkpoints at both sizes.
struct Log {
    dir: tempfile::TempDir,
    trail: Trail,
    old: SignedCheckpoint,
    new: SignedCheckpoint,
    vkey: String,
    store: Store,
}

fn log() -> Log {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("data"), Options::small()).unwrap();
    let trail = store.trail();
    let append = |from: u64, to: u64| {
        for number in from..to {
            let id = EventId(u128::from(number).to_be_bytes());
            let event = NewEvent::json(id, "Counted", number.to_string()).tagged(["a tag"]);
            let stream = StreamName::new(format!("count-{}", number % 7)).unwrap();
            store.append(AppendRequest::to(stream, Expected::Any, [event])).unwrap();
        }
    };
    append(0, OLD);
    let old = trail.checkpoint(OLD).unwrap();
    append(OLD, NEW);
    let new = trail.checkpoint(NEW).unwrap();
    assert_eq!((old.unverified_head().size, new.unverified_head().size), (OLD, NEW));
    let vkey = trail.verifier_keys().unwrap()[0].to_string();
    let log = Log { dir, trail, old, new, vkey, store };
    for tile in Tile::all_of_tree(NEW) {
        log.write(&TilePath::Hashes(tile).to_string(), &log.trail.tile(&tile).unwrap());
    }
    for bundle in (0..).map_while(|index| Bundle::of_log(NEW, index)) {
        log.write(&TilePath::Entries(bundle).to_string(), &log.trail.bundle(&bundle).unwrap());
    }
    log.write("checkpoint", log.new.to_string().as_bytes());
    log
}

impl Log {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("tiles").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Reads tiles as they were written.
struct Published<'a>(&'a Path);

impl TileReader for Published<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            std::fs::read(self.0.join(path)).expect("the tile was published")
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// Size and root of a checkpoint, by their reading and their verification of its signature.
fn believed(checkpoint: &SignedCheckpoint, vkey: &str) -> (u64, tlog_tiles::Hash) {
    let note = signed_note::Note::from_bytes(checkpoint.to_string().as_bytes()).unwrap();
    let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(vkey).unwrap())]);
    let (verified, _) = note.verify(&verifiers).unwrap();
    assert_eq!(verified.len(), 1);
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    (checkpoint.size(), *checkpoint.hash())
}

fn theirs(hashes: Vec<graven_proof::Hash>) -> Vec<tlog_tiles::Hash> {
    hashes.into_iter().map(tlog_tiles::Hash).collect()
}

#[test]
fn cloudflares_crates_believe_checkpoint_tiles_inclusion_and_consistency() {
    let log = log();
    let (size, root) = believed(&log.new, &log.vkey);
    let (old_size, old_root) = believed(&log.old, &log.vkey);
    let published = log.path("");
    let tiles = Published(&published);
    let reader = TileHashReader::new(size, root, &tiles);
    for position in [0, 1, 255, 256, 299, 300, 511, 512, 698, 699] {
        let leaf = record_hash(&log.trail.leaf(position).unwrap());
        let ours = theirs(log.trail.inclusion(position, NEW).unwrap());
        check_record(&ours, size, root, position, leaf).unwrap();
        // what they make of our tiles, which they authenticate against the root, is the same proof
        assert_eq!(prove_record(size, position, &reader).unwrap(), ours);
        let other = record_hash(b"another leaf");
        assert!(check_record(&ours, size, root, position, other).is_err());
    }
    let ours = theirs(log.trail.consistency(OLD, NEW).unwrap());
    check_tree(&ours, size, root, old_size, old_root).unwrap();
    assert_eq!(prove_tree(size, old_size, &reader).unwrap(), ours);
    assert!(check_tree(&ours, size, root, old_size, record_hash(b"another history")).is_err());
    log.store.close().unwrap();
}

/// Runs `aics-tlog`, and says whether it accepted.
fn aics(arguments: &[&str]) -> bool {
    let tool = std::env::var_os("GRAVEN_AICS_TLOG")
        .expect("GRAVEN_AICS_TLOG names the program `aics-tlog`; `cargo xtask test` installs it and says so");
    let output = Command::new(tool).args(arguments).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    println!("{said}");
    output.status.success()
}

fn file(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_python_verifier_of_transparency_logs_believes_them_too() {
    let log = log();
    let tiles = file(log.path(""));
    let key = ["--log-key", &log.vkey, "--tiles", &tiles];
    assert!(aics(&[&["verify-checkpoint"], &key[..]].concat()));
    let leaf = file(log.path("leaf"));
    for position in [0u64, 255, 256, 300, 699] {
        std::fs::write(&leaf, log.trail.leaf(position).unwrap()).unwrap();
        let index = position.to_string();
        let inclusion = [&["verify-inclusion", "--leaf", &leaf, "--index", &index], &key[..]].concat();
        assert!(aics(&inclusion), "by the tiles");
        let proof = lines(&log.trail.inclusion(position, NEW).unwrap());
        std::fs::write(log.path("proof"), proof).unwrap();
        let (size, root) =
            (NEW.to_string(), graven_proof::bundle::base64_text(&log.new.unverified_head().root));
        let proof = file(log.path("proof"));
        let by_proof =
            ["--leaf", &leaf, "--index", &index, "--size", &size, "--root", &root, "--proof", &proof];
        assert!(aics(&[&["verify-inclusion"], &by_proof[..]].concat()), "by our proof");
        std::fs::write(&leaf, b"another leaf").unwrap();
        assert!(!aics(&inclusion));
        assert!(!aics(&[&["verify-inclusion"], &by_proof[..]].concat()));
    }
    std::fs::write(log.path("old"), log.old.to_string()).unwrap();
    let old = file(log.path("old"));
    assert!(aics(&[&["verify-consistency", "--old-checkpoint", &old], &key[..]].concat()), "by the tiles");
    let proof = file(log.path("proof"));
    std::fs::write(&proof, lines(&log.trail.consistency(OLD, NEW).unwrap())).unwrap();
    let root =
        |checkpoint: &SignedCheckpoint| graven_proof::bundle::base64_text(&checkpoint.unverified_head().root);
    let (old_size, new_size) = (OLD.to_string(), NEW.to_string());
    let (old_root, new_root) = (root(&log.old), root(&log.new));
    let heads = ["--old-size", &old_size, "--old-root", &old_root, "--new-size", &new_size, "--new-root"];
    assert!(
        aics(&[&["verify-consistency"], &heads[..], &[&new_root, "--proof", &proof]].concat()),
        "by our proof"
    );
    assert!(!aics(&[&["verify-consistency"], &heads[..], &[&old_root, "--proof", &proof]].concat()));
    log.store.close().unwrap();
}

#[test]
fn a_python_verifier_refuses_an_altered_tile_and_another_key() {
    let log = log();
    let tiles = file(log.path(""));
    let leaf = file(log.path("leaf"));
    std::fs::write(&leaf, log.trail.leaf(300).unwrap()).unwrap();
    let inclusion = ["verify-inclusion", "--leaf", &leaf, "--index", "300", "--tiles", &tiles, "--log-key"];
    assert!(aics(&[&inclusion[..], &[&log.vkey]].concat()));
    let path = log.path("tile/0/001");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(!aics(&[&inclusion[..], &[&log.vkey]].concat()));
    let (name, _) = log.vkey.split_once('+').unwrap();
    let algorithm = graven_proof::note::Algorithm::Ed25519;
    let stranger = graven_proof::note::SignerKey::from_seed(name.parse().unwrap(), algorithm, &[1; 32]);
    let stranger = stranger.verifier().to_string();
    assert!(!aics(&["verify-checkpoint", "--tiles", &tiles, "--log-key", &stranger]));
    log.store.close().unwrap();
}

/// A hash a line, in hexadecimal.
fn lines(hashes: &[graven_proof::Hash]) -> String {
    hashes.iter().fold(String::new(), |mut text, hash| {
        writeln!(text, "{}", graven_proof::bundle::hex_bytes(hash)).unwrap();
        text
    })
}
