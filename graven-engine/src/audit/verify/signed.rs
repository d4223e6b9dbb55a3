//! The signed heads a log is compared with, smallest first: those it keeps itself, and those somebody brings along.

use super::believed::Believed;
use crate::audit::checkpoints::{BLOCK_BYTES, Block, PARTS_MAX};
use crate::env::{DiskFile, Env, Open};
use graven_model::{Error, Result};
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::KeyChange;
use graven_proof::finding::{CheckpointRef, Finding, FindingCode, Report};
use graven_proof::merkle::TreeHead;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Blocks read at once.
const READ_BLOCKS: u64 = 128;

/// A head somebody signed.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) head: TreeHead,
    key_id: Option<String>,
    /// Where it was read, in words.
    pub(super) place: String,
}

impl Signed {
    /// As a report names it.
    pub(super) fn named(&self) -> CheckpointRef {
        CheckpointRef::new(&self.head, self.key_id.clone())
    }
}

/// A checkpoint as it was read.
struct Read {
    checkpoint: SignedCheckpoint,
    place: String,
}

/// Signed heads in the order of their sizes.
pub(super) struct SignedHeads {
    origin: String,
    believed: Believed,
    file: Option<(PathBuf, Arc<dyn DiskFile>)>,
    blocks: u64,
    next_block: u64,
    buffer: (u64, Vec<u8>),
    /// Read from the file and not yet compared.
    peeked: Option<Read>,
    /// Brought along, smallest first.
    brought: VecDeque<Read>,
    /// The largest size of a readable checkpoint so far.
    last_size: Option<u64>,
    /// Somebody may be writing the last one.
    growing: bool,
}

impl Read {
    fn size(&self) -> u64 {
        self.checkpoint.unverified_head().size
    }
}

impl SignedHeads {
    /// The checkpoints in a file, which may be missing, and `brought` besides. `growing`: more are added meanwhile, and those
    /// of a size up to this may be left out.
    pub(super) fn open(
        env: &Env,
        path: &Path,
        origin: &str,
        believed: Believed,
        mut brought: Vec<(SignedCheckpoint, String)>,
        growing: Option<u64>,
        report: &mut Report,
    ) -> Result<SignedHeads> {
        brought.sort_by_key(|(checkpoint, _)| checkpoint.unverified_head().size);
        let failed = |error: std::io::Error| Error::io(path.display(), &error);
        let (file, blocks) = match env.disk.open(path, Open::Read) {
            Ok(file) => {
                let blocks = file.len().map_err(failed)? / BLOCK_BYTES as u64;
                (Some((path.to_owned(), file)), blocks)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (None, 0),
            Err(error) => return Err(failed(error)),
        };
        let mut heads = SignedHeads {
            origin: origin.to_owned(),
            believed,
            file,
            blocks,
            next_block: 0,
            buffer: (0, Vec::new()),
            peeked: None,
            brought: brought.into_iter().map(|(checkpoint, place)| Read { checkpoint, place }).collect(),
            last_size: None,
            growing: growing.is_some(),
        };
        heads.next_block = heads.first_above(growing.unwrap_or(0))?;
        heads.advance(report)?;
        Ok(heads)
    }

    /// A block before which no checkpoint is larger than `size`. Sizes ascend, unless something is wrong.
    fn first_above(&mut self, size: u64) -> Result<u64> {
        let (mut low, mut high) = (0, if size == 0 { 0 } else { self.blocks });
        while low < high {
            let middle = low + (high - low) / 2;
            match Block::decode(self.block(middle)?) {
                Some(block) if block.size > size => high = middle,
                Some(block) if block.part + 1 == block.parts => low = middle + 1,
                Some(block) if middle + u64::from(block.parts - block.part) < high => {
                    low = middle + u64::from(block.parts - block.part);
                }
                // Everything from here on is looked at.
                _ => break,
            }
        }
        Ok(low)
    }

    /// Whether there are any at all.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks == 0 && self.brought.is_empty()
    }

    /// Size of the next one; the largest number there is if there is none.
    pub(super) fn next_size(&self) -> u64 {
        let sizes = [self.peeked.as_ref(), self.brought.front()];
        sizes.into_iter().flatten().map(Read::size).min().unwrap_or(u64::MAX)
    }

    /// Takes the next one; `None` if its signatures do not hold, which is then reported.
    pub(super) fn take(&mut self, report: &mut Report) -> Result<Option<Signed>> {
        let size = self.next_size();
        let taken = match self.brought.front() {
            Some(brought) if brought.size() == size => self.brought.pop_front(),
            _ => {
                let taken = self.peeked.take();
                self.advance(report)?;
                taken
            }
        };
        Ok(taken.and_then(|read| self.check(read, report)))
    }

    /// The log says something about its keys.
    pub(super) fn note(&mut self, change: &KeyChange) {
        self.believed.note(change);
    }

    /// Reads on to the next checkpoint in the file that can be read.
    fn advance(&mut self, report: &mut Report) -> Result<()> {
        while self.peeked.is_none() && self.next_block < self.blocks {
            let first = self.next_block;
            let (text, size) = match self.text(first)? {
                Some(found) => found,
                None => {
                    self.next_block = self.next_block.max(first + 1);
                    if self.growing && first + PARTS_MAX as u64 >= self.blocks {
                        self.next_block = self.blocks;
                        return Ok(());
                    }
                    if self.torn(first)? {
                        report.note("the last checkpoint in the file is torn; it was never handed out");
                        self.next_block = self.blocks;
                        return Ok(());
                    }
                    report.add(
                        Finding::new(
                            FindingCode::CheckpointSignatureInvalid,
                            "a checkpoint as it was signed",
                            "damaged bytes; a checksum does not hold",
                        )
                        .shown_by(self.place(first)),
                    );
                    continue;
                }
            };
            let place = self.place(first);
            let checkpoint = match SignedCheckpoint::parse(&text) {
                Ok(checkpoint) if checkpoint.unverified_head().size == size => checkpoint,
                Ok(checkpoint) => {
                    let found = format!("one of {} events", checkpoint.unverified_head().size);
                    report.add(
                        Finding::new(
                            FindingCode::CheckpointSignatureInvalid,
                            format!("a checkpoint of {size} events"),
                            found,
                        )
                        .shown_by(place),
                    );
                    continue;
                }
                Err(error) => {
                    report.add(
                        Finding::new(
                            FindingCode::CheckpointSignatureInvalid,
                            "a checkpoint as it was signed",
                            error.to_string(),
                        )
                        .shown_by(place),
                    );
                    continue;
                }
            };
            if self.last_size.is_some_and(|last| size <= last) {
                let last = self.last_size.unwrap_or_default();
                report.add(
                    Finding::new(
                        FindingCode::CheckpointGap,
                        format!("a checkpoint of more than {last} events"),
                        format!("one of {size}"),
                    )
                    .shown_by(place),
                );
                continue;
            }
            self.last_size = Some(size);
            self.peeked = Some(Read { checkpoint, place });
        }
        Ok(())
    }

    /// Checks who signed. `None` after a finding.
    fn check(&self, read: Read, report: &mut Report) -> Option<Signed> {
        let Read { checkpoint, place } = read;
        let head = checkpoint.unverified_head();
        let outcome = if checkpoint.unverified_origin() == self.origin {
            self.believed.verify(&checkpoint)
        } else {
            let found = format!("one of {:?}", checkpoint.unverified_origin());
            Err((FindingCode::CheckpointSignatureInvalid, found))
        };
        match outcome {
            Ok(key_id) => Some(Signed { head, key_id, place }),
            Err((code, found)) => {
                let expected =
                    format!("a checkpoint of {} events signed by a key of {:?}", head.size, self.origin);
                report.add(Finding::new(code, expected, found).shown_by(place));
                None
            }
        }
    }

    /// The text of the checkpoint whose first block this is, with the size it is filed under; moves behind it.
    fn text(&mut self, first: u64) -> Result<Option<(Vec<u8>, u64)>> {
        let mut text = Vec::new();
        let mut size = None;
        for part in 0..=u8::MAX {
            let at = first + u64::from(part);
            let bytes = self.block(at)?;
            let Some(block) = Block::decode(bytes) else { return Ok(None) };
            if block.part != part || size.is_some_and(|size| size != block.size) {
                return Ok(None);
            }
            size = Some(block.size);
            text.extend_from_slice(block.text);
            let filed_under = block.size;
            if block.part + 1 == block.parts {
                self.next_block = at + 1;
                return Ok(Some((text, filed_under)));
            }
        }
        Ok(None)
    }

    /// Whether a block that does not read is what a crash left of the last checkpoint: zeros from somewhere on.
    fn torn(&mut self, first: u64) -> Result<bool> {
        for at in first..self.blocks.min(first + READ_BLOCKS) {
            let bytes = self.block(at)?;
            if at > first && Block::decode(bytes).is_some_and(|block| block.part == 0) {
                return Ok(false);
            }
        }
        // A sector is written whole or not at all.
        let bytes = self.block(first)?;
        Ok(bytes.iter().all(|byte| *byte == 0) || Block::decode(bytes).is_some())
    }

    fn block(&mut self, at: u64) -> Result<&[u8]> {
        let (start, held) = (self.buffer.0, self.buffer.1.len() as u64 / BLOCK_BYTES as u64);
        if at < start || at >= start + held {
            let Some((path, file)) = &self.file else { return Ok(&[]) };
            let wanted = READ_BLOCKS.min(self.blocks.saturating_sub(at)) as usize * BLOCK_BYTES;
            let mut bytes = std::mem::take(&mut self.buffer.1);
            bytes.resize(wanted, 0);
            let read = file
                .read_at(&mut bytes, at * BLOCK_BYTES as u64)
                .map_err(|error| Error::io(path.display(), &error))?;
            bytes.truncate(read);
            self.buffer = (at, bytes);
        }
        let from = ((at - self.buffer.0) as usize * BLOCK_BYTES).min(self.buffer.1.len());
        let to = (from + BLOCK_BYTES).min(self.buffer.1.len());
        Ok(&self.buffer.1[from..to])
    }

    fn place(&self, block: u64) -> String {
        let path = self.file.as_ref().map_or_else(String::new, |(path, _)| path.display().to_string());
        format!("{path} at byte {}", block * BLOCK_BYTES as u64)
    }
}
