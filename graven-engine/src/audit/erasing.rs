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

impl Bar<'_> {
    /// The key could not be destroyed: nothing of the subject is taken until a later bar is dropped. What was sealed now would
    /// go with the key.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.erasing.barred.write().retain(|barred| *barred != self.subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::{EventId, Expected, NewEvent, StreamName};

    fn about(subject: &str) -> AppendRequest {
        let event =
            NewEvent { data_subject: Some(subject.into()), ..NewEvent::json(EventId([1; 16]), "T", "1") };
        AppendRequest::to(StreamName::new("s").unwrap(), Expected::Any, [event])
    }

    #[test]
    fn nothing_of_a_subject_is_taken_while_its_key_is_destroyed_and_nothing_sealed_before() {
        let erasing = Erasing::default();
        let sealed_before = erasing.generation();
        let bar = erasing.bar("anna");
        assert_eq!(erasing.check(&about("anna")).unwrap_err().code, Code::Unavailable);
        assert_eq!(erasing.check(&about("ben")), Ok(()));
        assert_eq!(erasing.check_sealed(sealed_before).unwrap_err().code, Code::Unavailable);
        drop(bar);
        assert_eq!(erasing.check(&about("anna")), Ok(()));
        assert_eq!(erasing.check_sealed(erasing.generation()), Ok(()));
        assert!(erasing.check_sealed(sealed_before).is_err());
    }

    #[test]
    fn a_bar_that_is_kept_ends_with_a_later_one() {
        let erasing = Erasing::default();
        erasing.bar("anna").keep();
        assert!(erasing.check(&about("anna")).is_err());
        drop(erasing.bar("anna"));
        assert_eq!(erasing.check(&about("anna")), Ok(()));
    }
}
