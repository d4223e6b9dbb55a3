//! The keys directory: what signs checkpoints, and what earlier keys are verified with.
//!
//! | file | content |
//! | --- | --- |
//! | `log-<id>.key` | a key that signs, secret, in the text form of C2SP signed notes |
//! | `log-<id>.vkey` | its public half, kept when the key no longer signs |
//! | `next-<id>.key` | a key made for a rotation that the log does not know yet |
//! | `root.vkey` | the key that has to authorise changes of keys, if there is one; its other half is kept elsewhere |
//!
//! Nobody but the user that runs the store may read it. A key is durable before anything is signed with it.

use crate::env::{Env, read_file, replace_file, replace_private_file, temporary_name, write_zeros};
use graven_model::{Code, Error, Result, limits};
use graven_proof::note::{Algorithm, KeyId, KeyName, SignerKey, VerifierKey};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const ROOT: &str = "root.vkey";
/// The newest checkpoint there was, while a declared rollback is not finished.
const ROLLBACK: &str = "rollback";

/// The keys of one log.
pub(crate) struct Keys {
    env: Env,
    dir: PathBuf,
    name: KeyName,
    /// Those that sign, in the order of their ids.
    signing: Vec<SignerKey>,
    /// Made for a rotation.
    next: Vec<SignerKey>,
    /// All there ever were, as far as the directory knows.
    known: Vec<VerifierKey>,
    root: Option<VerifierKey>,
    /// Names of files that an interruption left.
    leftovers: Vec<String>,
}

impl Keys {
    /// Reads the directory, which may be missing. `origin`: of the log whose keys they have to be.
    ///
    /// # Errors
    /// [`Code::KeysExposed`] if others may read it, [`Code::WrongKey`] with the file if a key does not read or is another
    /// log's, [`Code::Io`].
    pub(crate) fn open(env: &Env, dir: &Path, origin: &str) -> Result<Keys> {
        let name: KeyName = origin.parse().map_err(|error| {
            Error::new(Code::InvalidConfig, format!("the origin {origin:?} names no key: {error}"))
        })?;
        let mut keys = Keys {
            env: env.clone(),
            dir: dir.to_owned(),
            name,
            signing: Vec::new(),
            next: Vec::new(),
            known: Vec::new(),
            root: None,
            leftovers: Vec::new(),
        };
        let failed =
            |error: std::io::Error| Error::io(format_args!("keys directory {}", dir.display()), &error);
        let files = match env.disk.list(dir) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(keys),
            Err(error) => return Err(failed(error)),
        };
        if !env.disk.is_private(dir).map_err(failed)? {
            return Err(exposed(dir));
        }
        for file in files {
            keys.read(&file)?;
        }
        if keys.known.len() > limits::LOG_KEYS_MAX {
            return Err(Error::new(Code::WrongKey, format!("{}: too many keys", dir.display()))
                .expected(format!("at most {}", limits::LOG_KEYS_MAX))
                .found(keys.known.len().to_string()));
        }
        Ok(keys)
    }

    fn read(&mut self, file: &str) -> Result<()> {
        let path = self.dir.join(file);
        let text = || {
            let bytes =
                read_file(&*self.env.disk, &path).map_err(|error| Error::io(path.display(), &error))?;
            String::from_utf8(bytes).map_err(|_| wrong(&path, "is no text"))
        };
        if file.ends_with(".key.tmp") {
            self.leftovers.push(file.to_owned());
        } else if file == ROOT {
            let key = text()?.trim_end().parse().map_err(|error| wrong(&path, &format!("{error}")))?;
            self.root = Some(key);
        } else if let Some(kind) = file.strip_suffix(".key").and_then(|stem| stem.split_once('-')) {
            let next = match kind.0 {
                "log" => false,
                "next" => true,
                _ => return Ok(()),
            };
            if !self.env.disk.is_private(&path).map_err(|error| Error::io(path.display(), &error))? {
                return Err(exposed(&path));
            }
            let key: SignerKey =
                text()?.trim_end().parse().map_err(|error| wrong(&path, &format!("{error}")))?;
            self.expect_ours(&path, key.verifier())?;
            if next {
                self.next.push(key);
            } else {
                self.know(key.verifier().clone());
                self.signing.push(key);
            }
        } else if file.starts_with("log-") && file.ends_with(".vkey") {
            let key: VerifierKey =
                text()?.trim_end().parse().map_err(|error| wrong(&path, &format!("{error}")))?;
            self.expect_ours(&path, &key)?;
            self.know(key);
        }
        Ok(())
    }

    fn expect_ours(&self, path: &Path, key: &VerifierKey) -> Result<()> {
        if *key.name() != self.name {
            return Err(Error::new(Code::WrongKey, format!("{} is a key of another log", path.display()))
                .expected(format!("a key named {}", self.name))
                .found(key.name().to_string()));
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(wrong(path, "is a key for cosignatures, and cannot sign a log's checkpoints"));
        }
        Ok(())
    }

    fn know(&mut self, key: VerifierKey) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    /// Those that sign.
    pub(crate) fn signing(&self) -> &[SignerKey] {
        &self.signing
    }

    /// Those made for a rotation that was not finished.
    pub(crate) fn next(&self) -> &[SignerKey] {
        &self.next
    }

    /// All that the log's checkpoints may be signed with.
    pub(crate) fn known(&self) -> &[VerifierKey] {
        &self.known
    }

    /// The key that has to authorise changes, if there is one.
    pub(crate) fn root(&self) -> Option<&VerifierKey> {
        self.root.as_ref()
    }

    /// Makes the log's first key. Durable when this returns.
    ///
    /// # Errors
    /// Those of the disk, and [`Code::Io`] if there is no randomness.
    pub(crate) fn make_first(&mut self) -> Result<()> {
        let key = self.draw()?;
        self.write_private(&key, "log")?;
        self.write_public(key.verifier())?;
        tracing::info!(vkey = %key.verifier(), dir = %self.dir.display(), "made the key that signs this log's checkpoints");
        self.know(key.verifier().clone());
        self.signing.push(key);
        Ok(())
    }

    /// Makes a key for a rotation. Durable when this returns; it signs nothing before [`Keys::accept`].
    ///
    /// # Errors
    /// As [`Keys::make_first`].
    pub(crate) fn make_next(&mut self) -> Result<&SignerKey> {
        let key = self.draw()?;
        self.write_private(&key, "next")?;
        self.next.push(key);
        Ok(self.next.last().expect("one was added"))
    }

    /// Has a key that was made for a rotation sign from now on: the log says so.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn accept(&mut self, id: KeyId) -> Result<()> {
        let Some(at) = self.next.iter().position(|key| key.verifier().id() == id) else { return Ok(()) };
        self.write_public(self.next[at].verifier())?;
        let (from, to) = (self.path("next", id, "key"), self.path("log", id, "key"));
        self.env.disk.rename(&from, &to).map_err(|error| Error::io(to.display(), &error))?;
        self.sync()?;
        let key = self.next.remove(at);
        self.know(key.verifier().clone());
        self.signing.push(key);
        Ok(())
    }

    /// Destroys the private half of a key that no longer signs; its public half stays.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn destroy(&mut self, id: KeyId) -> Result<()> {
        let has = |keys: &[SignerKey]| keys.iter().position(|key| key.verifier().id() == id);
        let kind = match (has(&self.signing), has(&self.next)) {
            (Some(at), _) => {
                // An interruption may have left the key without it.
                self.write_public(self.signing[at].verifier())?;
                "log"
            }
            (None, Some(_)) => "next",
            (None, None) => return Ok(()),
        };
        let path = self.path(kind, id, "key");
        let aside = temporary_name(&path);
        // A key that is overwritten half-way must not be taken for one that does not read.
        self.env.disk.rename(&path, &aside).map_err(|error| Error::io(path.display(), &error))?;
        self.sync()?;
        self.signing.retain(|key| key.verifier().id() != id);
        self.next.retain(|key| key.verifier().id() != id);
        self.leftovers.push(format!("{kind}-{id}.key.tmp"));
        self.clean_up()
    }

    /// Removes what is left of keys that were destroyed, or never used.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn clean_up(&mut self) -> Result<()> {
        if self.leftovers.is_empty() {
            return Ok(());
        }
        for file in std::mem::take(&mut self.leftovers) {
            let path = self.dir.join(file);
            let failed = |error: std::io::Error| Error::io(path.display(), &error);
            write_zeros(&*self.env.disk, &path).map_err(failed)?;
            self.env.disk.remove(&path).map_err(failed)?;
        }
        self.sync()
    }

    /// # Errors
    /// [`Code::RollbackDetected`] while a declared rollback is not finished: nothing is signed before the log says so.
    pub(crate) fn expect_no_rollback(&self) -> Result<()> {
        match self.rollback()? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                Code::RollbackDetected,
                format!("{}: a rollback was declared and not finished", self.dir.display()),
            )
            .expected("the rollback declared once more")),
        }
    }

    /// The newest checkpoint there was, if a declared rollback is not finished.
    pub(crate) fn rollback(&self) -> Result<Option<Vec<u8>>> {
        let path = self.dir.join(ROLLBACK);
        match read_file(&*self.env.disk, &path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path.display(), &error)),
        }
    }

    /// A rollback begins: its newest checkpoint is remembered, durably.
    pub(crate) fn begin_rollback(&self, checkpoint: &[u8]) -> Result<()> {
        let path = self.dir.join(ROLLBACK);
        self.make_dir()?;
        replace_private_file(&*self.env.disk, &path, checkpoint)
            .map_err(|error| Error::io(path.display(), &error))
    }

    /// The log says that it was rolled back.
    pub(crate) fn end_rollback(&self) -> Result<()> {
        let path = self.dir.join(ROLLBACK);
        self.env.disk.remove(&path).map_err(|error| Error::io(path.display(), &error))?;
        self.sync()
    }

    fn draw(&self) -> Result<SignerKey> {
        // Each key of a simulated run is another one.
        let purpose = KEY_PURPOSE + (self.known.len() + self.next.len()) as u64;
        let mut entropy = self
            .env
            .entropy(purpose)
            .map_err(|error| Error::io("randomness of the operating system", &error))?;
        Ok(SignerKey::from_seed(self.name.clone(), Algorithm::Ed25519, &entropy.bytes()))
    }

    fn make_dir(&self) -> Result<()> {
        let dir = &self.dir;
        let failed =
            |error: std::io::Error| Error::io(format_args!("keys directory {}", dir.display()), &error);
        self.env.disk.create_private_dir(dir).map_err(failed)?;
        if !self.env.disk.is_private(dir).map_err(failed)? {
            return Err(exposed(dir));
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.env.disk.sync_dir(parent).map_err(failed)?;
        }
        Ok(())
    }

    fn write_private(&self, key: &SignerKey, kind: &str) -> Result<()> {
        self.make_dir()?;
        let path = self.path(kind, key.verifier().id(), "key");
        let text = key.to_secret_text() + "\n";
        replace_private_file(&*self.env.disk, &path, text.as_bytes())
            .map_err(|error| Error::io(path.display(), &error))
    }

    fn write_public(&self, key: &VerifierKey) -> Result<()> {
        let path = self.path("log", key.id(), "vkey");
        replace_file(&*self.env.disk, &path, format!("{key}\n").as_bytes())
            .map_err(|error| Error::io(path.display(), &error))
    }

    fn path(&self, kind: &str, id: KeyId, ending: &str) -> PathBuf {
        self.dir.join(format!("{kind}-{id}.{ending}"))
    }

    fn sync(&self) -> Result<()> {
        self.env.disk.sync_dir(&self.dir).map_err(|error| Error::io(self.dir.display(), &error))
    }
}

/// Keeps the randomness of keys apart from that of every other user of a fixed seed.
const KEY_PURPOSE: u64 = 1 << 32;

fn exposed(path: &Path) -> Error {
    Error::new(Code::KeysExposed, format!("{}: others may read or write what signs the log", path.display()))
        .expected("rights for its owner alone")
}

fn wrong(path: &Path, what: &str) -> Error {
    Error::new(Code::WrongKey, format!("{}: {what}", path.display()))
}
