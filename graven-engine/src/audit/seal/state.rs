//! `audit/streams`: where all streams stood at a seal, so that a start need not read the whole log for it.
//!
//! Derived from the log: what is missing, damaged or of another log is left aside and made again. What is read here is
//! believed only once its root is compared with the one in the log.

use super::Sealed;
use crate::env::{Disk, Open, temporary_name};
use graven_proof::Hash;
use graven_proof::trie::{STREAM_HEAD_BYTES, STREAMS_MAX, StreamHead, StreamTrie};
use std::io;
use std::path::Path;

const MAGIC: [u8; 8] = *b"GRVSTRMS";
const VERSION: u32 = 1;
/// Magic, version, log, seal, and a checksum over them.
const HEADER_BYTES: usize = 104;
const ENTRY_BYTES: usize = 32 + STREAM_HEAD_BYTES;
/// Streams of a block, all but the last one's.
const BLOCK_STREAMS: usize = 1_024;
const CRC_BYTES: usize = 4;

/// Writes the file so that a crash leaves either the old one or the new one. `log`: what stands before the log's first
/// leaf, which no other log has.
///
/// # Errors
/// Those of the disk.
pub(super) fn write(
    disk: &dyn Disk,
    path: &Path,
    log: &Hash,
    seal: &Sealed,
    trie: &StreamTrie,
) -> io::Result<()> {
    let temporary = temporary_name(path);
    let file = disk.open(&temporary, Open::Create)?;
    let header = encode_header(log, seal);
    file.write_at(&header, 0)?;
    let mut offset = HEADER_BYTES as u64;
    let mut block = Vec::with_capacity(BLOCK_STREAMS * ENTRY_BYTES + CRC_BYTES);
    let mut streams = trie.iter().peekable();
    while streams.peek().is_some() {
        block.clear();
        for (key, head) in streams.by_ref().take(BLOCK_STREAMS) {
            block.extend_from_slice(key);
            block.extend_from_slice(&head.encode());
        }
        block.extend_from_slice(&crc32c::crc32c(&block).to_le_bytes());
        file.write_at(&block, offset)?;
        offset += block.len() as u64;
    }
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Removes what a crash left of a file that was being written. A disk that refuses says so when it matters.
pub(super) fn remove_leftover(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove(&temporary_name(path))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "what a crash left beside this file cannot be removed");
    }
}

/// Reads the file: the seal it says it is of, and the streams. The inner error says what is wrong with it.
///
/// # Errors
/// Those of the disk; a missing file is `NotFound`.
pub(super) fn read(
    disk: &dyn Disk,
    path: &Path,
    log: &Hash,
) -> io::Result<Result<(Sealed, StreamTrie), &'static str>> {
    let file = disk.open(path, Open::Read)?;
    let mut header = [0; HEADER_BYTES];
    let read = file.read_at(&mut header, 0)?;
    let seal = match decode_header(&header[..read], log) {
        Ok(seal) => seal,
        Err(what) => return Ok(Err(what)),
    };
    let mut trie = StreamTrie::new();
    let mut offset = HEADER_BYTES as u64;
    let mut left = seal.streams;
    let mut block = Vec::new();
    while left > 0 {
        let streams = left.min(BLOCK_STREAMS as u64);
        block.resize(streams as usize * ENTRY_BYTES + CRC_BYTES, 0);
        if file.read_at(&mut block, offset)? < block.len() {
            return Ok(Err("it is cut off"));
        }
        if let Err(what) = decode_block(&block, &mut trie) {
            return Ok(Err(what));
        }
        offset += block.len() as u64;
        left -= streams;
    }
    if file.len()? != offset {
        return Ok(Err("it is longer than it says"));
    }
    Ok(Ok((seal, trie)))
}

fn encode_header(log: &Hash, seal: &Sealed) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..44].copy_from_slice(log);
    header[44..52].copy_from_slice(&seal.position.to_le_bytes());
    header[52..60].copy_from_slice(&seal.size.to_le_bytes());
    header[60..68].copy_from_slice(&seal.streams.to_le_bytes());
    header[68..100].copy_from_slice(&seal.root);
    let crc = crc32c::crc32c(&header[..100]);
    header[100..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn decode_header(bytes: &[u8], log: &Hash) -> Result<Sealed, &'static str> {
    let header: &[u8; HEADER_BYTES] = bytes.try_into().map_err(|_| "it is cut off")?;
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    if header[..8] != MAGIC || header[8..12] != VERSION.to_le_bytes() {
        return Err("it is of another format");
    }
    if crc32c::crc32c(&header[..100]).to_le_bytes() != header[100..] {
        return Err("the checksum of its header does not hold");
    }
    if header[12..44] != *log {
        return Err("it is of another log");
    }
    let seal = Sealed {
        position: number(44),
        size: number(52),
        streams: number(60),
        root: std::array::from_fn(|byte| header[68 + byte]),
    };
    match seal.streams <= (STREAMS_MAX as u64).min(seal.size) && seal.size <= seal.position {
        true => Ok(seal),
        false => Err("its header says what cannot be"),
    }
}

fn decode_block(block: &[u8], trie: &mut StreamTrie) -> Result<(), &'static str> {
    let (bytes, crc) = block.split_last_chunk::<CRC_BYTES>().ok_or("it is cut off")?;
    if crc32c::crc32c(bytes).to_le_bytes() != *crc {
        return Err("the checksum of a block does not hold");
    }
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err("it is cut off");
    }
    for entry in entries {
        let (key, value) = entry.split_first_chunk::<32>().ok_or("it is cut off")?;
        let value: &[u8; STREAM_HEAD_BYTES] = value.try_into().map_err(|_| "it is cut off")?;
        let head = StreamHead::decode(value).ok_or("a stream has a flag without meaning")?;
        if trie.set(*key, head).is_some() {
            return Err("a stream stands in it twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
