//! Names and ids as 64-bit numbers: keyed SipHash-1-3, one derived key for each kind of name.
//!
//! The key is random for every store, so that nobody outside can make names that collide. The numbers are written
//! to index files: the function must never change under an existing format version (a test pins it).

use siphasher::sip::SipHasher13;

/// Bits of an id key that depend on the stream; the ones above depend on the id alone.
pub(crate) const ID_STREAM_BITS: u32 = 24;

/// Hashes names for the index. Names of different kinds never share a key on purpose.
#[derive(Clone)]
pub(crate) struct Hasher {
    streams: SipHasher13,
    event_types: SipHasher13,
    categories: SipHasher13,
    tags: SipHasher13,
    ids: SipHasher13,
    mask: u64,
}

impl Hasher {
    /// A hasher with the store's key.
    pub(crate) fn new(key: [u8; 16]) -> Hasher {
        Hasher::with_mask(key, u64::MAX)
    }

    /// A hasher whose numbers keep only the bits of `mask`: with few bits everything collides, which is how tests
    /// prove that every hit is verified.
    pub(crate) fn with_mask(key: [u8; 16], mask: u64) -> Hasher {
        let root = SipHasher13::new_with_key(&key);
        let derived =
            |domain: u8| SipHasher13::new_with_keys(root.hash(&[domain, 0]), root.hash(&[domain, 1]));
        Hasher {
            streams: derived(1),
            event_types: derived(2),
            categories: derived(3),
            tags: derived(4),
            ids: derived(5),
            mask,
        }
    }

    /// Key of a stream.
    pub(crate) fn stream(&self, name: &str) -> u64 {
        self.streams.hash(name.as_bytes()) & self.mask
    }

    /// Key of an event type.
    pub(crate) fn event_type(&self, name: &str) -> u64 {
        self.event_types.hash(name.as_bytes()) & self.mask
    }

    /// Key of a category.
    pub(crate) fn category(&self, name: &str) -> u64 {
        self.categories.hash(name.as_bytes()) & self.mask
    }

    /// Key of a tag.
    pub(crate) fn tag(&self, tag: &str) -> u64 {
        self.tags.hash(tag.as_bytes()) & self.mask
    }

    /// Key of an event id in the stream whose key is `stream`: "this id in this stream" is one number, "this id in
    /// any stream" the range of numbers that agree above [`ID_STREAM_BITS`].
    pub(crate) fn id(&self, id: &[u8; 16], stream: u64) -> u64 {
        ((self.ids.hash(id) & self.mask) << ID_STREAM_BITS) | (stream & ((1 << ID_STREAM_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_names_do_not_share_keys() {
        let hasher = Hasher::new([7; 16]);
        let keys = [hasher.stream("a"), hasher.event_type("a"), hasher.category("a"), hasher.tag("a")];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[i + 1..].contains(key));
        }
        assert_ne!(hasher.stream("a"), Hasher::new([8; 16]).stream("a"));
    }

    #[test]
    fn the_function_behind_existing_files_has_not_changed() {
        let hasher = Hasher::new(*b"0123456789abcdef");
        assert_eq!(hasher.stream("loan-173688"), 10_943_867_382_812_572_358);
        assert_eq!(hasher.id(&[9; 16], 5), 14_306_907_105_737_572_357);
    }

    #[test]
    fn one_id_in_two_streams_agrees_above_the_stream_bits() {
        for hasher in [Hasher::new([7; 16]), Hasher::with_mask([7; 16], 0b111)] {
            let (a, b) = (hasher.id(&[1; 16], 5), hasher.id(&[1; 16], 6));
            assert_ne!(a, b);
            assert_eq!(a >> ID_STREAM_BITS, b >> ID_STREAM_BITS);
        }
    }

    #[test]
    fn a_mask_narrows_every_kind() {
        let hasher = Hasher::with_mask([7; 16], 0b11);
        for name in ["a", "b", "c", "d", "e"] {
            assert!(hasher.stream(name) < 4 && hasher.event_type(name) < 4);
            assert!(hasher.category(name) < 4 && hasher.tag(name) < 4);
            assert!(hasher.id(&[name.as_bytes()[0]; 16], 0) >> ID_STREAM_BITS < 4);
        }
    }
}
