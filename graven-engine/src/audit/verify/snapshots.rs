//! Snapshots: each names an event before it, and the hash of its leaf. The hash is compared where the snapshot stands; that the
//! event is the one of that stream and revision, in a second look at the events that are named, at their own places.

use super::scan::{self, Head, Input, Piece};
use crate::log::frame::{HEADER_BYTES_MAX, Record};
use crate::log::segment;
use graven_model::{Kind, Result, SnapshotOf, StreamName, limits, snapshot};
use graven_proof::Hash;
use graven_proof::control::hex;
use graven_proof::finding::{Finding, FindingCode, Report};

/// The snapshots a check came across.
#[derive(Default)]
pub(super) struct Snapshots {
    claims: Vec<Claim>,
    left_out: u64,
    /// The stored hash of the leaf was not there to compare with.
    not_stored: u64,
}

/// A snapshot says that the event at a position is this one.
struct Claim {
    event_at: u64,
    stream: StreamName,
    revision: u64,
    snapshot_at: u64,
    snapshot_revision: u64,
}

impl Snapshots {
    /// Whether a record is to be looked at here.
    pub(super) fn holds(record: &Record<'_>) -> bool {
        record.kind == Kind::Event
            && record.event_type == snapshot::EVENT_TYPE
            && record.stream.starts_with(snapshot::STREAM_PREFIX)
    }

    /// Takes the record of a snapshot, and answers with what is wrong with it by itself. `leaf`: the stored hash of a leaf.
    ///
    /// # Errors
    /// Those of `leaf`.
    pub(super) fn note(
        &mut self,
        position: u64,
        record: &Record<'_>,
        leaf: impl FnOnce(u64) -> Result<Option<Hash>>,
    ) -> Result<Option<Finding>> {
        let of = SnapshotOf::from_tags(record.tags.iter().map(|(tag, _)| *tag))
            .filter(|of| of.position.0 < position);
        let (Some(of), Some(stream)) = (of, snapshot::described(record.stream)) else {
            return Ok(Some(foreign(
                "an earlier event that it is made of".into(),
                "none that could be read".into(),
            )));
        };
        match leaf(of.position.0)? {
            Some(stored) if stored != of.leaf => {
                return Ok(Some(foreign(
                    format!("the leaf hash {} of position {}", hex::encode(&stored), of.position),
                    format!("the leaf hash {}", hex::encode(&of.leaf)),
                )));
            }
            Some(_) => {}
            None => self.not_stored += 1,
        }
        if self.claims.len() < limits::VERIFY_SNAPSHOTS_MAX {
            self.claims.push(Claim {
                event_at: of.position.0,
                stream,
                revision: of.revision.0,
                snapshot_at: position,
                snapshot_revision: record.revision,
            });
        } else {
            self.left_out += 1;
        }
        Ok(None)
    }

    /// Compares the events that snapshots name with what they say of them. What does not read is passed over: it was reported
    /// where it stands.
    ///
    /// # Errors
    /// Those of reading the segments.
    pub(super) fn compare(mut self, pieces: &[Piece], log_tag: u32, report: &mut Report) -> Result<()> {
        if self.left_out > 0 {
            report.note(format!(
                "{} snapshots were not compared with the events they are made of: there are too many",
                self.left_out
            ));
        }
        if self.not_stored > 0 {
            report.note(format!(
                "the leaf hashes in {} snapshots were not compared: they are not stored yet",
                self.not_stored
            ));
        }
        self.claims.sort_unstable_by_key(|claim| claim.event_at);
        let mut claims = &self.claims[..];
        let mut buffer = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let end = pieces.get(index + 1).map_or(u64::MAX, |next| next.first);
            let here = claims.partition_point(|claim| claim.event_at < end);
            let (in_piece, rest) = claims.split_at(here);
            claims = rest;
            if in_piece.is_empty() {
                continue;
            }
            let mut input = Input::new(piece, buffer)?;
            compare_piece(in_piece, &mut input, log_tag, report)?;
            buffer = input.into_buffer();
        }
        Ok(())
    }
}

/// Compares the events in one segment that are named.
fn compare_piece(
    mut claims: &[Claim],
    input: &mut Input<'_>,
    log_tag: u32,
    report: &mut Report,
) -> Result<()> {
    let (mut position, mut offset) = (input.piece.first, segment::HEADER_BYTES);
    while let Some(next) = claims.first() {
        let bytes = input.bytes(offset, HEADER_BYTES_MAX)?;
        let Head::Here(header, _) = scan::head(bytes, offset, log_tag, position) else { return Ok(()) };
        if next.event_at < header.end() {
            let bytes = input.bytes(offset, header.length as usize)?;
            let mut at = header.header_bytes();
            for position in header.first..header.end() {
                let Some(found) = scan::record(bytes, at, &header, position, offset) else { break };
                at += found.total;
                while let Some(claim) = claims.first().filter(|claim| claim.event_at <= position) {
                    claims = &claims[1..];
                    let record = Record::decode(&found.body).filter(|_| claim.event_at == position);
                    if let Some(finding) = record.and_then(|record| judge(claim, &record)) {
                        report.add(finding);
                    }
                }
            }
            // Those of this frame that could not be read.
            let left = claims.partition_point(|claim| claim.event_at < header.end());
            claims = &claims[left..];
        }
        offset += u64::from(header.length);
        position = header.end();
    }
    Ok(())
}

fn judge(claim: &Claim, record: &Record<'_>) -> Option<Finding> {
    if record.stream == claim.stream.as_str() && record.revision == claim.revision {
        return None;
    }
    let kept_in = format!("{}{}", snapshot::STREAM_PREFIX, claim.stream.as_str());
    Some(
        foreign(
            format!(
                "revision {} of stream {:?} at position {}",
                claim.revision,
                claim.stream.as_str(),
                claim.event_at
            ),
            format!("revision {} of stream {:?} there", record.revision, limits::shorten(record.stream)),
        )
        .at(claim.snapshot_at)
        .of(kept_in, claim.snapshot_revision),
    )
}

fn foreign(expected: String, actual: String) -> Finding {
    Finding::new(FindingCode::SnapshotForeign, expected, actual)
}
