//! Keys of data subjects: what the payloads of a person's events are sealed under. Destroying the key makes them unreadable
//! wherever they were copied to.
//!
//! | file in `<keys>/subjects/` | content |
//! | --- | --- |
//! | `names.key` | the key of the hash that stands for a subject's name; made at first use |
//! | `000.keys` … `fff.keys` | the keys of the subjects whose hash begins with these twelve bits |
//! | `lock` | empty; held while a file is replaced, since the nodes of a shared journal share the directory |
//!
//! Appends ask for keys while they are prepared, reads while they open what was sealed, an erasure has one destroyed. No name
//! is written to disk here, no key into a log line, and damage is never taken for a missing key.

mod bucket;
#[cfg(test)]
mod tests;
mod unseal;

pub(crate) use unseal::{Unsealed, seal_event};

use super::envelope::DataKey;
use crate::env::{Env, Open, read_file, write_zeros};
use bucket::{Bucket, Entry};
use foldhash::{HashMap, HashMapExt};
use graven_model::{Code, Error, Result, limits};
use graven_proof::Hash;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as BTreeEntry;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Where under the keys directory.
const DIR: &str = "subjects";
const NAMES_KEY: &str = "names.key";
const LOCK: &str = "lock";
const NAME_DOMAIN: &[u8] = b"graven/subject/v1";

/// The keys of a store's data subjects. Callers on any thread.
pub(crate) struct SubjectKeys {
    env: Env,
    dir: PathBuf,
    sealing: bool,
    cache: Mutex<Cache>,
    /// One change of the files at a time.
    changing: Mutex<()>,
    missing_told: AtomicBool,
    drawn: AtomicU64,
}

impl SubjectKeys {
    /// Those under a keys directory. Reads nothing and makes nothing before a key is asked for. `sealing`: whether what is
    /// appended is sealed.
    pub(crate) fn open(env: &Env, keys_dir: &Path, sealing: bool) -> SubjectKeys {
        SubjectKeys {
            env: env.clone(),
            dir: keys_dir.join(DIR),
            sealing,
            cache: Mutex::default(),
            changing: Mutex::default(),
            missing_told: AtomicBool::new(false),
            drawn: AtomicU64::new(0),
        }
    }

    /// These keys, if what is appended is sealed.
    pub(crate) fn sealer(&self) -> Option<&SubjectKeys> {
        self.sealing.then_some(self)
    }

    /// A subject's key; `None` if it never had one, it was destroyed, or the directory is another. Mostly from memory, else it
    /// reads a file.
    ///
    /// # Errors
    /// [`Code::Corrupted`] with the file for damage, [`Code::KeysExposed`], [`Code::Io`].
    pub(crate) fn get(&self, subject: &str) -> Result<Option<Arc<DataKey>>> {
        let (known, generation) = self.cached(subject);
        if known.is_some() {
            return Ok(known);
        }
        let Some(names) = self.names_key()? else {
            self.tell_missing();
            return Ok(None);
        };
        let hash = name_hash(&names, subject);
        let Some(bucket) = self.bucket(bucket::number(&hash))? else { return Ok(None) };
        let Some(entry) = bucket.find(&hash) else { return Ok(None) };
        let key = Arc::new(entry.key.clone());
        self.keep(subject, &key, generation);
        Ok(Some(key))
    }

    /// The keys of these subjects, in their order. Those that have none get one, durable when this returns: a flush for each
    /// bucket that changes, and one for the directory.
    ///
    /// # Errors
    /// As [`SubjectKeys::get`]; a subject may have got its key all the same.
    pub(crate) fn get_or_create(&self, subjects: &[&str]) -> Result<Vec<Arc<DataKey>>> {
        let known: Vec<_> = subjects.iter().map(|subject| self.cached(subject).0).collect();
        if known.iter().all(Option::is_some) {
            return Ok(known.into_iter().flatten().collect());
        }
        let _one = self.changing.lock();
        self.make_dir()?;
        let _lock = self.lock()?;
        let generation = self.cache.lock().generation;
        let names = match self.names_key()? {
            Some(names) => names,
            None => self.make_names_key()?,
        };
        let hashes: Vec<Hash> = subjects.iter().map(|subject| name_hash(&names, subject)).collect();
        let mut buckets = BTreeMap::new();
        for hash in &hashes {
            let number = bucket::number(hash);
            let (bucket, changed) = match buckets.entry(number) {
                BTreeEntry::Occupied(known) => known.into_mut(),
                BTreeEntry::Vacant(place) => place.insert((self.bucket(number)?.unwrap_or_default(), false)),
            };
            if bucket.find(hash).is_none() {
                bucket.insert(self.make_entry(*hash)?);
                *changed = true;
            }
        }
        let mut any = false;
        for (number, (bucket, _)) in buckets.iter().filter(|(_, (_, changed))| *changed) {
            self.replace(&self.bucket_path(*number), &bucket.encode(*number))?;
            any = true;
        }
        if any {
            self.sync()?;
        }
        let keys = hashes.iter().map(|hash| {
            let (bucket, _) = &buckets[&bucket::number(hash)];
            Arc::new(bucket.find(hash).expect("every subject has a key now").key.clone())
        });
        let keys: Vec<_> = keys.collect();
        for (subject, key) in subjects.iter().zip(&keys) {
            self.keep(subject, key, generation);
        }
        Ok(keys)
    }

    /// Destroys a subject's key; false if it has none. When this returns, no file of the directory holds it. The old file's
    /// bytes are overwritten, which a disk that writes elsewhere does not obey.
    ///
    /// # Errors
    /// As [`SubjectKeys::get`]; the key may be there or not.
    pub(crate) fn destroy(&self, subject: &str) -> Result<bool> {
        let _one = self.changing.lock();
        if self.names_key()?.is_none() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let Some(names) = self.names_key()? else { return Ok(false) };
        let hash = name_hash(&names, subject);
        let number = bucket::number(&hash);
        let path = self.bucket_path(number);
        let failed = |error: io::Error| Error::io(path.display(), &error);
        let mut bucket = self.bucket(number)?.unwrap_or_default();
        let found = bucket.remove(&hash);
        if found {
            let old = self.env.disk.open(&path, Open::Write).map_err(failed)?;
            self.replace(&path, &bucket.encode(number))?;
            self.sync()?;
            let overwritten = old.len().and_then(|len| {
                old.write_at(&vec![0; usize::try_from(len).unwrap_or_default()], 0)?;
                old.sync_data()
            });
            if let Err(error) = overwritten {
                tracing::warn!(%error, file = %path.display(), "the old file of a destroyed key was not overwritten");
            }
        }
        self.cache.lock().forget(subject);
        Ok(found)
    }

    /// Forgets what is in memory: another node may have destroyed keys.
    pub(crate) fn forget_all(&self) {
        self.cache.lock().clear();
    }

    fn cached(&self, subject: &str) -> (Option<Arc<DataKey>>, u64) {
        let now = self.env.clock.now_us();
        let mut cache = self.cache.lock();
        (cache.get(subject, now), cache.generation)
    }

    fn keep(&self, subject: &str, key: &Arc<DataKey>, generation: u64) {
        let now = self.env.clock.now_us();
        self.cache.lock().insert(subject, key, now, generation);
    }

    /// The key of the hash of names, from memory or file; `None` before the first subject.
    fn names_key(&self) -> Result<Option<Arc<Zeroizing<[u8; 32]>>>> {
        if let Some(names) = &self.cache.lock().names {
            return Ok(Some(Arc::clone(names)));
        }
        let path = self.dir.join(NAMES_KEY);
        let Some(bytes) = self.read(&path)? else {
            if self.has_buckets()? {
                return Err(Error::new(
                    Code::Corrupted,
                    format!("{} is missing although there are keys of data subjects", path.display()),
                )
                .expected("the file the other files beside it were made with"));
            }
            return Ok(None);
        };
        if !self.env.disk.is_private(&self.dir).map_err(|error| Error::io(self.dir.display(), &error))? {
            return Err(exposed(&self.dir));
        }
        let key = bucket::decode_names(&bytes).ok_or_else(|| damaged(&path))?;
        let names = Arc::new(Zeroizing::new(key));
        self.cache.lock().names = Some(Arc::clone(&names));
        Ok(Some(names))
    }

    fn make_names_key(&self) -> Result<Arc<Zeroizing<[u8; 32]>>> {
        let names = Arc::new(Zeroizing::new(self.draw(NAMES_PURPOSE)?));
        self.replace(&self.dir.join(NAMES_KEY), &bucket::encode_names(&names))?;
        self.sync()?;
        self.cache.lock().names = Some(Arc::clone(&names));
        Ok(names)
    }

    fn make_entry(&self, hash: Hash) -> Result<Entry> {
        let created_us = self.env.clock.now_us();
        let of_name = u64::from_le_bytes(hash[..8].try_into().expect("eight bytes"));
        // A simulated run draws other keys for another subject, at another time, and for one that comes again.
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
        let purpose = NAMES_PURPOSE ^ of_name ^ created_us.cast_unsigned() ^ drawn << 48;
        Ok(Entry { hash, key: DataKey::new(self.draw(purpose)?), created_us })
    }

    fn draw(&self, purpose: u64) -> Result<[u8; 32]> {
        let entropy = self.env.entropy(purpose);
        Ok(entropy.map_err(|error| Error::io("randomness of the operating system", &error))?.bytes())
    }

    fn has_buckets(&self) -> Result<bool> {
        match self.env.disk.list(&self.dir) {
            Ok(files) => Ok(files.iter().any(|file| file.ends_with(bucket::ENDING))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(self.dir.display(), &error)),
        }
    }

    fn bucket_path(&self, number: u16) -> PathBuf {
        self.dir.join(bucket::file_name(number))
    }

    fn bucket(&self, number: u16) -> Result<Option<Bucket>> {
        let path = self.bucket_path(number);
        // A file that was replaced while it was read may have been overwritten; the next one is another file.
        for _ in 0..ATTEMPTS {
            let Some(bytes) = self.read(&path)? else { return Ok(None) };
            if let Some(bucket) = Bucket::decode(number, &bytes) {
                return Ok(Some(bucket));
            }
        }
        Err(damaged(&path))
    }

    /// A file that may be missing.
    fn read(&self, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match read_file(&*self.env.disk, path) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path.display(), &error)),
        }
    }

    /// Puts a file in its place, whole; the directory is not flushed yet. What a crash left of an earlier attempt may hold
    /// keys, and is overwritten.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let failed = |error: io::Error| Error::io(path.display(), &error);
        let disk = &*self.env.disk;
        let temporary = crate::env::temporary_name(path);
        match write_zeros(disk, &temporary).and_then(|()| disk.remove(&temporary)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = disk.create_private(&temporary).map_err(failed)?;
        file.write_at(bytes, 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        disk.rename(&temporary, path).map_err(failed)
    }

    fn sync(&self) -> Result<()> {
        self.env.disk.sync_dir(&self.dir).map_err(|error| Error::io(self.dir.display(), &error))
    }

    fn make_dir(&self) -> Result<()> {
        let failed = |error: io::Error| Error::io(self.dir.display(), &error);
        let disk = &*self.env.disk;
        if disk.list(&self.dir).is_err() {
            disk.create_private_dir(&self.dir).map_err(failed)?;
            for made in self.dir.ancestors().skip(1).take(2).filter(|dir| !dir.as_os_str().is_empty()) {
                disk.sync_dir(made).map_err(failed)?;
            }
        }
        if disk.is_private(&self.dir).map_err(failed)? { Ok(()) } else { Err(exposed(&self.dir)) }
    }

    /// Keeps other processes from changing the files.
    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        let path = self.dir.join(LOCK);
        self.env.disk.lock_when_free(&path).map_err(|error| Error::io(path.display(), &error))
    }

    fn tell_missing(&self) {
        if !self.missing_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                dir = %self.dir.display(),
                "there are no keys of data subjects here: events that were sealed under them are shown as erased"
            );
        }
    }
}

/// Times a file is read before it counts as damaged.
const ATTEMPTS: usize = 3;

/// Keeps the randomness of these keys apart from that of every other user of a fixed seed.
const NAMES_PURPOSE: u64 = 1 << 33;

fn name_hash(names: &[u8; 32], subject: &str) -> Hash {
    let mut mac = Hmac::<Sha256>::new_from_slice(names).expect("HMAC takes keys of every length");
    mac.update(NAME_DOMAIN);
    mac.update(subject.as_bytes());
    mac.finalize().into_bytes().into()
}

fn damaged(path: &Path) -> Error {
    Error::new(Code::Corrupted, format!("{}: the keys of data subjects in it are damaged", path.display()))
        .expected("the file as the store wrote it; take it from a backup of the keys")
}

fn exposed(path: &Path) -> Error {
    Error::new(Code::KeysExposed, format!("{}: others may read the keys of data subjects", path.display()))
        .expected("rights for its owner alone")
}

/// Keys in memory, in two generations: when the younger is full, it becomes the older, and what nobody asked for since goes.
#[derive(Default)]
struct Cache {
    names: Option<Arc<Zeroizing<[u8; 32]>>>,
    young: HashMap<Box<str>, Cached>,
    old: HashMap<Box<str>, Cached>,
    /// Counts what was forgotten on purpose: what was read from a file before is not kept after.
    generation: u64,
}

#[derive(Clone)]
struct Cached {
    key: Arc<DataKey>,
    since_us: i64,
}

impl Cached {
    /// Not so old that another node may long have destroyed the key.
    fn is_fresh(&self, now_us: i64) -> bool {
        (0..limits::SUBJECT_KEY_CACHED_US_MAX).contains(&now_us.saturating_sub(self.since_us))
    }
}

impl Cache {
    fn get(&mut self, subject: &str, now_us: i64) -> Option<Arc<DataKey>> {
        if let Some(cached) = self.young.get(subject) {
            return cached.is_fresh(now_us).then(|| Arc::clone(&cached.key));
        }
        let cached = self.old.remove(subject).filter(|cached| cached.is_fresh(now_us))?;
        let key = Arc::clone(&cached.key);
        self.put(subject, cached);
        Some(key)
    }

    fn insert(&mut self, subject: &str, key: &Arc<DataKey>, now_us: i64, generation: u64) {
        if generation == self.generation {
            self.put(subject, Cached { key: Arc::clone(key), since_us: now_us });
        }
    }

    fn put(&mut self, subject: &str, cached: Cached) {
        if self.young.len() >= limits::SUBJECT_KEYS_CACHED_MAX / 2 {
            self.old = std::mem::replace(&mut self.young, HashMap::new());
        }
        self.young.insert(subject.into(), cached);
    }

    fn forget(&mut self, subject: &str) {
        self.young.remove(subject);
        self.old.remove(subject);
        self.generation += 1;
    }

    fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.generation += 1;
    }
}
