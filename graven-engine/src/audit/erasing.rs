//! What appends have to know of erasures under way: names whose salts are not used any more, and data subjects of which
//! nothing is taken for a moment.

use graven_model::{AppendRequest, Code, Error, Result};
use graven_proof::Hash;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Erasures under way. One for a store.
#[derive(Default)]
pub(crate) struct Erasing {
    /// Keyed hashes of subjects' names that are erased, and may still stand in the log: a later event of the subject gets a
    /// new salt. Emptied of those that are gone.
    names: RwLock<Vec<Hash>>,
    /// Subjects whose keys are about to be destroyed.
    barred: RwLock<Vec<String>>,
    /// Counts the times a subject was barred.
    generation: AtomicU64,
    /// A record of an erasure or of retention was read that is not carried out here.
    news: AtomicBool,
}

impl Erasing {
    /// From now on the salt of this name is not used.
    pub(crate) fn forget_name(&self, key: Hash) {
        let mut names = self.names.write();
        if !names.contains(&key) {
            names.push(key);
        }
    }

    /// The name stands nowhere in the log any more.
    pub(crate) fn name_is_gone(&self, key: &Hash) {
        self.names.write().retain(|known| known != key);
    }

    /// Whether the salt of this name is not to be used.
    pub(crate) fn is_forgotten(&self, key: &Hash) -> bool {
        self.names.read().contains(key)
    }

    /// A record came that says what is destroyed.
    pub(crate) fn note_news(&self) {
        self.news.store(true, Ordering::Release);
    }

    /// Whether one came since this was asked last.
    pub(crate) fn take_news(&self) -> bool {
        self.news.swap(false, Ordering::AcqRel)
    }

    /// Takes nothing of a subject until the bar is dropped: what was sealed before and is not in the log yet is refused there.
    pub(crate) fn bar(&self, subject: &str) -> Bar<'_> {
        self.barred.write().push(subject.to_owned());
        self.generation.fetch_add(1, Ordering::AcqRel);
        Bar { erasing: self, subject: subject.to_owned() }
    }

    /// What an append remembers that is about to be sealed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether the events of an append may be sealed.
    ///
    /// # Errors
    /// [`Code::Unavailable`] while the key of one of their subjects is being destroyed.
    pub(crate) fn check(&self, request: &AppendRequest) -> Result<()> {
        let barred = self.barred.read();
        if barred.is_empty() {
            return Ok(());
        }
        let mut subjects = request.events.iter().filter_map(|(_, event)| event.data_subject.as_deref());
        if subjects.any(|subject| barred.iter().any(|barred| barred == subject)) {
            Err(refused())
        } else {
            Ok(())
        }
    }

    /// Whether what was sealed in this generation may go into the log.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if a key may have been destroyed since.
    pub(crate) fn check_sealed(&self, generation: u64) -> Result<()> {
        if generation == self.generation() { Ok(()) } else { Err(refused()) }
    }
}

fn refused() -> Error {
    Error::new(
        Code::Unavailable,
        "what is known of a data subject of this append is being erased; send it again",
    )
}

/// For as long as nothing of a subject is taken.
pub(crate) struct Bar<'a> {
    erasing: &'a Erasing,
    subject: String,
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        let mut barred = self.erasing.barred.write();
        if let Some(at) = barred.iter().position(|barred| *barred == self.subject) {
            barred.swap_remove(at);
        }
    }
}
