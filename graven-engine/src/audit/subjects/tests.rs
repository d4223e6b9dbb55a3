use super::*;
use crate::env::{Clock, replace_file};
use graven_model::frame::{HEADER_BYTES, NewRecord, RECORD_HEAD_BYTES, Record, Secrets, encode_record};
use graven_model::{EventId, Kind, NewEvent};
use std::sync::atomic::AtomicI64;
use tempfile::TempDir;

struct Stopped(AtomicI64);

impl Clock for Stopped {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(dir: &TempDir) -> SubjectKeys {
    SubjectKeys::open(&Env::real(), &dir.path().join("keys"), true)
}

fn bytes(keys: &SubjectKeys, subject: &str) -> Option<[u8; 32]> {
    keys.get(subject).unwrap().map(|key| *key.expose())
}

fn create(keys: &SubjectKeys, subject: &str) -> [u8; 32] {
    *keys.get_or_create(&[subject]).unwrap()[0].expose()
}

/// Files of the directory that hold these bytes anywhere.
fn files_with(dir: &TempDir, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir.path().join("keys/subjects")).unwrap() {
        let path = file.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        if content.windows(bytes.len()).any(|window| window == bytes) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn a_subject_keeps_its_key_and_no_two_have_the_same() {
    let dir = place();
    let keys = open(&dir);
    assert!(bytes(&keys, "anna").is_none());
    assert!(!dir.path().join("keys").exists(), "asking makes nothing");
    let anna = create(&keys, "anna");
    let both = keys.get_or_create(&["bert", "anna", "bert"]).unwrap();
    let both: Vec<_> = both.iter().map(|key| *key.expose()).collect();
    assert_eq!(both[1], anna);
    assert_eq!(both[0], both[2]);
    assert_ne!(both[0], anna);
    let again = open(&dir);
    assert_eq!((bytes(&again, "anna"), bytes(&again, "bert")), (Some(anna), Some(both[0])));
    assert_eq!(bytes(&again, "carl"), None);
    assert!(files_with(&dir, b"anna").is_empty(), "names stand nowhere");
}

#[test]
fn nobody_else_may_read_the_keys() {
    use std::os::unix::fs::PermissionsExt;
    let dir = place();
    create(&open(&dir), "anna");
    let subjects = dir.path().join("keys/subjects");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&subjects), 0o700);
    for file in std::fs::read_dir(&subjects).unwrap().map(|file| file.unwrap().path()) {
        assert!(file.ends_with(LOCK) || mode(&file) == 0o600, "{}", file.display());
    }
    std::fs::set_permissions(&subjects, std::fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(open(&dir).get("anna").err().unwrap().code, Code::KeysExposed);
    assert_eq!(open(&dir).get_or_create(&["bert"]).err().unwrap().code, Code::KeysExposed);
}

#[test]
fn a_destroyed_key_is_in_no_file_and_a_subject_that_comes_again_gets_another() {
    let dir = place();
    let keys = open(&dir);
    let anna = create(&keys, "anna");
    let neighbours: Vec<String> = (0..50).map(|at| format!("p{at}")).collect();
    let names: Vec<&str> = neighbours.iter().map(String::as_str).collect();
    keys.get_or_create(&names).unwrap();
    let before: Vec<_> = names.iter().map(|name| bytes(&keys, name)).collect();
    assert_eq!(files_with(&dir, &anna).len(), 1);
    // What a crash left beside the file.
    let file = dir.path().join("keys/subjects").join(&files_with(&dir, &anna)[0]);
    std::fs::copy(&file, crate::env::temporary_name(&file)).unwrap();
    assert!(keys.destroy("anna").unwrap());
    assert!(files_with(&dir, &anna).is_empty());
    assert_eq!(bytes(&keys, "anna"), None);
    assert_eq!(bytes(&open(&dir), "anna"), None);
    assert!(!keys.destroy("anna").unwrap());
    assert!(!keys.destroy("never there").unwrap());
    assert_ne!(create(&keys, "anna"), anna);
    assert_eq!(names.iter().map(|name| bytes(&keys, name)).collect::<Vec<_>>(), before);
}

#[test]
fn the_file_a_destroyed_key_stood_in_is_overwritten() {
    let dir = place();
    let keys = open(&dir);
    let anna = create(&keys, "anna");
    let name = files_with(&dir, &anna).remove(0);
    // Another name keeps the old file from going.
    let old = dir.path().join("old");
    std::fs::hard_link(dir.path().join("keys/subjects").join(name), &old).unwrap();
    keys.destroy("anna").unwrap();
    assert!(std::fs::read(old).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn damage_anywhere_is_an_error_that_names_the_file_and_never_a_new_key() {
    let dir = place();
    let anna = create(&open(&dir), "anna");
    let bucket = files_with(&dir, &anna).remove(0);
    for name in [bucket.as_str(), NAMES_KEY] {
        let path = dir.path().join("keys/subjects").join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut damages: Vec<Vec<u8>> = (0..whole.len())
            .map(|at| {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                bytes
            })
            .collect();
        damages.extend((0..whole.len()).step_by(5).map(|end| whole[..end].to_vec()));
        damages.push([&whole[..], b"\0"].concat());
        for damage in damages {
            replace_file(&*Env::real().disk, &path, &damage).unwrap();
            let keys = open(&dir);
            for error in
                [keys.get("anna").err(), keys.get_or_create(&["anna"]).err(), keys.destroy("anna").err()]
            {
                let error = error.expect("damage is noticed");
                assert_eq!(error.code, Code::Corrupted);
                assert!(error.message.contains(name), "{}", error.message);
            }
        }
        replace_file(&*Env::real().disk, &path, &whole).unwrap();
    }
    assert_eq!(bytes(&open(&dir), "anna"), Some(anna));
    // Without the key of the names nobody finds a key, and a new one would hide all of them.
    std::fs::remove_file(dir.path().join("keys/subjects").join(NAMES_KEY)).unwrap();
    let error = open(&dir).get_or_create(&["anna"]).err().unwrap();
    assert_eq!(error.code, Code::Corrupted);
}

#[test]
fn a_file_of_keys_under_another_ones_name_is_damage() {
    let dir = place();
    let keys = open(&dir);
    let anna = create(&keys, "anna");
    let from = dir.path().join("keys/subjects").join(files_with(&dir, &anna).remove(0));
    let names = keys.names_key().unwrap().unwrap();
    let other = (0..)
        .map(|at| format!("p{at}"))
        .find(|name| !from.ends_with(bucket::file_name(bucket::number(&name_hash(&names, name)))));
    let other = other.unwrap();
    let to = keys.bucket_path(bucket::number(&name_hash(&names, &other)));
    std::fs::copy(&from, &to).unwrap();
    assert_eq!(keys.get(&other).err().unwrap().code, Code::Corrupted);
    assert!(keys.destroy("anna").unwrap());
    std::fs::copy(&from, &to).unwrap();
    assert_eq!(keys.get(&other).err().unwrap().code, Code::Corrupted, "an empty one too");
}

#[test]
fn what_another_process_does_to_the_keys_is_seen_when_those_in_memory_are_old() {
    let dir = place();
    let clock = Arc::new(Stopped(AtomicI64::new(1_000_000)));
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::real() };
    let one = SubjectKeys::open(&env, &dir.path().join("keys"), true);
    let other = open(&dir);
    let anna = create(&one, "anna");
    assert_eq!(bytes(&other, "anna"), Some(anna));
    assert_eq!(create(&other, "anna"), anna);
    other.destroy("anna").unwrap();
    assert_eq!(bytes(&one, "anna"), Some(anna), "it is in memory");
    clock.0.fetch_add(limits::SUBJECT_KEY_CACHED_US_MAX, Ordering::Relaxed);
    assert_eq!(bytes(&one, "anna"), None);
    let new = create(&other, "anna");
    assert_eq!(create(&one, "anna"), new);
    other.destroy("anna").unwrap();
    one.forget_all();
    assert_eq!(bytes(&one, "anna"), None);
}

#[test]
fn callers_at_once_agree_on_every_key() {
    let dir = place();
    let (one, other) = (open(&dir), open(&dir));
    let names: Vec<String> = (0..40).map(|at| format!("p{}", at % 20)).collect();
    let made: Vec<Vec<[u8; 32]>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|at| {
                let (keys, names) = (if at % 2 == 0 { &one } else { &other }, &names);
                scope.spawn(move || names.iter().map(|name| create(keys, name)).collect())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|keys| *keys == made[0]));
    assert_eq!(made[0][..20], made[0][20..]);
}

#[test]
fn memory_holds_no_more_keys_than_it_may() {
    let mut cache = Cache::default();
    let key = Arc::new(DataKey::new([1; 32]));
    for at in 0..limits::SUBJECT_KEYS_CACHED_MAX * 2 {
        cache.insert(&format!("p{at}"), &key, 0, 0);
        assert!(cache.get("p0", 0).is_some(), "what is asked for stays");
        assert!(cache.young.len() + cache.old.len() <= limits::SUBJECT_KEYS_CACHED_MAX);
    }
    cache.forget("p0");
    cache.insert("p0", &key, 0, 0);
    assert!(cache.get("p0", 0).is_none(), "what was read before it was destroyed is not kept");
}

/// A sealed event as its record holds it.
fn record_of(event: &NewEvent) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    let secrets = Secrets { sealed: true, ..Secrets::default() };
    let new = NewRecord { stream: "person-1", revision: 0, kind: Kind::Event, event, secrets: &secrets };
    encode_record(&mut out, 0, 7, &new);
    out.split_off(HEADER_BYTES + RECORD_HEAD_BYTES)
}

#[test]
fn an_altered_envelope_is_damage_at_its_position_and_one_of_a_destroyed_key_is_erased() {
    let dir = place();
    let keys = open(&dir);
    let mut event = NewEvent {
        metadata: "about her".into(),
        data_subject: Some("anna".into()),
        ..NewEvent::json(EventId([3; 16]), "T", "what she did")
    };
    let mut nonce = 0;
    let key = keys.get_or_create(&["anna"]).unwrap().remove(0);
    seal_event(&mut event, &key, || {
        nonce += 1;
        [nonce; 12]
    });
    let whole = record_of(&event);
    match keys.unseal(&Record::decode(&whole).unwrap(), 7).unwrap() {
        Unsealed::Open { plain, data } => assert_eq!((&plain[..], data), (&b"what she didabout her"[..], 12)),
        Unsealed::Gone => panic!("the key is there"),
    }
    // The first 32 bytes say which key it was; the rest is damaged or not.
    let altered = |bytes: &bytes::Bytes, at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes::Bytes::from(bytes)
    };
    for at in 32..event.data.len() {
        let record = record_of(&NewEvent { data: altered(&event.data, at), ..event.clone() });
        let error = keys.unseal(&Record::decode(&record).unwrap(), 7).err().unwrap();
        assert_eq!(error.code, Code::Corrupted);
        assert!(error.message.contains("position 7"), "{}", error.message);
    }
    for at in 0..event.metadata.len() {
        let record = record_of(&NewEvent { metadata: altered(&event.metadata, at), ..event.clone() });
        assert_eq!(keys.unseal(&Record::decode(&record).unwrap(), 7).err().unwrap().code, Code::Corrupted);
    }
    let short = record_of(&NewEvent { data: event.data.slice(..40), ..event.clone() });
    assert_eq!(keys.unseal(&Record::decode(&short).unwrap(), 7).err().unwrap().code, Code::Corrupted);
    keys.destroy("anna").unwrap();
    let gone =
        |keys: &SubjectKeys| matches!(keys.unseal(&Record::decode(&whole).unwrap(), 7), Ok(Unsealed::Gone));
    assert!(gone(&keys));
    create(&keys, "anna");
    assert!(gone(&keys), "her next key is another");
}
