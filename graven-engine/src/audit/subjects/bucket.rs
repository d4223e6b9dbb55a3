//! The bytes of a file of keys: entries in the order of their hashes, each with a checksum. Drawn in `docs/format.md`.

use crate::audit::envelope::DataKey;
use graven_proof::Hash;
use zeroize::Zeroizing;

/// How the name of a bucket's file ends.
pub(super) const ENDING: &str = ".keys";
const MAGIC: &[u8; 8] = b"GRVNSUB1";
const NAMES_MAGIC: &[u8; 8] = b"GRVNSUBN";
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 76;

/// A subject's key.
pub(super) struct Entry {
    /// Keyed hash of the subject's name.
    pub(super) hash: Hash,
    pub(super) key: DataKey,
    pub(super) created_us: i64,
}

/// The keys of one file.
#[derive(Default)]
pub(super) struct Bucket(Vec<Entry>);

/// The bucket a hash belongs to: its first twelve bits.
pub(super) fn number(hash: &Hash) -> u16 {
    u16::from_be_bytes([hash[0], hash[1]]) >> 4
}

pub(super) fn file_name(number: u16) -> String {
    format!("{number:03x}{ENDING}")
}

impl Bucket {
    pub(super) fn find(&self, hash: &Hash) -> Option<&Entry> {
        let at = self.0.binary_search_by(|entry| entry.hash.cmp(hash)).ok()?;
        Some(&self.0[at])
    }

    /// Adds a subject that is not there.
    pub(super) fn insert(&mut self, entry: Entry) {
        let at = self.0.partition_point(|other| other.hash < entry.hash);
        self.0.insert(at, entry);
    }

    /// Takes a subject away; false if it is not there.
    pub(super) fn remove(&mut self, hash: &Hash) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.hash != *hash);
        self.0.len() < before
    }

    pub(super) fn encode(&self, number: u16) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + self.0.len() * ENTRY_BYTES));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        let crc = header_crc(number, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        for entry in &self.0 {
            let start = out.len();
            out.extend_from_slice(&entry.hash);
            out.extend_from_slice(entry.key.expose());
            out.extend_from_slice(&entry.created_us.to_le_bytes());
            let crc = crc32c::crc32c(&out[start..]);
            out.extend_from_slice(&crc.to_le_bytes());
        }
        out
    }

    /// `None` for anything but what [`Bucket::encode`] made for this number.
    pub(super) fn decode(bucket: u16, bytes: &[u8]) -> Option<Bucket> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
        let count = word(&header[8..12])? as usize;
        if &header[..8] != MAGIC || word(&header[12..])? != header_crc(bucket, &header[..12]) {
            return None;
        }
        let (entries, left) = rest.as_chunks::<ENTRY_BYTES>();
        if entries.len() != count || !left.is_empty() {
            return None;
        }
        let entries: Option<Vec<Entry>> = entries.iter().map(decode_entry).collect();
        let entries = entries?;
        let in_order = entries.is_sorted_by(|one, next| one.hash < next.hash);
        (in_order && entries.iter().all(|entry| number(&entry.hash) == bucket)).then_some(Bucket(entries))
    }
}

fn decode_entry(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some(Entry {
        hash: body[..32].try_into().ok()?,
        key: DataKey::new(body[32..64].try_into().ok()?),
        created_us: i64::from_le_bytes(body[64..].try_into().ok()?),
    })
}

/// Over the bucket's number too: a file under another one's name is noticed even if it is empty.
fn header_crc(number: u16, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), header)
}

/// The file of the key of the hash of names.
pub(super) fn encode_names(key: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(44));
    out.extend_from_slice(NAMES_MAGIC);
    out.extend_from_slice(key);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// `None` for anything but what [`encode_names`] made.
pub(super) fn decode_names(bytes: &[u8]) -> Option<[u8; 32]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let (magic, key) = body.split_first_chunk::<8>()?;
    (magic == NAMES_MAGIC && crc32c::crc32c(body) == u32::from_le_bytes(*crc)).then_some(())?;
    key.try_into().ok()
}
