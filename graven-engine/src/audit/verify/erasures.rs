//! Erasure told from loss: whatever is absent is covered by a later record that says so, and what such a record covers is
//! absent.
//!
//! The records stand behind what they are about, so this is a second look at the events, and only at logs that have such
//! records or lack anything.

use super::heads::Heads;
use super::scan::{self, Head, Input, Piece};
use crate::append::subject_tag;
use crate::log::frame::{HEADER_BYTES_MAX, Record, Subject};
use crate::log::segment;
use graven_model::Result;
use graven_proof::control::Part;
use graven_proof::erased::Erased;
use graven_proof::finding::{Finding, FindingCode, Report};
use graven_proof::leaf::Leaf;

/// Compares what is there of the events in these segments, below `end`, with what the log says was erased. `erased` has to
/// know everything the log says about them.
pub(super) fn compare(
    pieces: &[Piece],
    log_tag: u32,
    end: u64,
    erased: &Erased,
    heads: &mut Heads<'_>,
    report: &mut Report,
) -> Result<()> {
    let mut buffer = Vec::new();
    let mut waiting = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let mut input = Input::new(piece, buffer)?;
        let last = index + 1 == pieces.len();
        let (mut position, mut offset) = (piece.first, segment::HEADER_BYTES);
        while position < end {
            let bytes = input.bytes(offset, HEADER_BYTES_MAX)?;
            // What does not read was reported before.
            let Head::Here(header, _) = scan::head(bytes, offset, log_tag, position) else { break };
            let bytes = input.bytes(offset, header.length as usize)?;
            let mut at = header.header_bytes();
            for position in header.first..header.end() {
                let Some(found) = scan::record(bytes, at, &header, position, offset) else { break };
                at += found.total;
                let Some(record) = Record::decode(&found.body) else { continue };
                let still_there = judge(&record, position, erased, heads, report, || {
                    format!("{} at byte {}", piece.path.display(), offset + (at - found.total) as u64)
                })?;
                if let Some(finding) = still_there {
                    // The last segment is rewritten when it is full.
                    if last { waiting += 1 } else { report.add(finding) }
                }
            }
            offset += u64::from(header.length);
            position = header.end();
        }
        buffer = input.into_buffer();
    }
    if waiting > 0 {
        report.note(format!(
            "{waiting} erased parts of events are still in the last segment, from which they go when it is rewritten"
        ));
    }
    Ok(())
}

/// Adds what is missing without a reason; answers with what is there although it was erased.
fn judge(
    record: &Record<'_>,
    position: u64,
    erased: &Erased,
    heads: &mut Heads<'_>,
    report: &mut Report,
    place: impl Fn() -> String,
) -> Result<Option<Finding>> {
    if record.kind.is_control() {
        return Ok(None);
    }
    let Some(stream_key) = heads.key(record.stream, record.stream_salt)? else { return Ok(None) };
    let mut tags = Vec::with_capacity(record.tags.len() + 1);
    for (tag, salt) in record.tags.iter() {
        tags.extend(heads.tag(tag, *salt)?);
    }
    match record.subject {
        None => {}
        Some(Subject::Keyed(key)) => tags.push(key),
        Some(Subject::Named(subject, salt)) => tags.extend(heads.tag(&subject_tag(subject), salt)?),
    }
    let leaf = Leaf {
        kind: record.kind,
        encrypted: record.encrypted,
        sealed: record.sealed,
        has_metadata: record.has_metadata(),
        check: record.schema.check,
        position,
        commit_time: 0,
        stream_version: record.revision,
        stream_key,
        prev_stream: [0; 32],
        prev_global: [0; 32],
        event_id: record.id,
        occurred_at: 0,
        event_type: record.event_type,
        content_type: record.content_type(),
        schema_version: 0,
        schema_id: 0,
        tags: &tags,
        payload_commitment: [0; 32],
        metadata_commitment: [0; 32],
        body: &[],
    };
    // Ciphertext whose key was destroyed is as good as gone.
    let legible = !record.sealed;
    let named = record.subject.is_some_and(|subject| subject.name().is_some());
    let keyed = record.subject.is_some() && !named;
    let mut still_there = None;
    for (part, what, absent, present) in [
        (Part::Data, "the payload", record.data_erased.is_some(), legible && record.data_erased.is_none()),
        (
            Part::Metadata,
            "the metadata",
            record.metadata_erased.is_some(),
            legible && !record.metadata.is_empty(),
        ),
        (Part::Subject, "the name of the data subject", keyed, named),
    ] {
        if !absent && !present {
            continue;
        }
        let by = erased.record_of(&leaf, part);
        let about =
            |finding: Finding| finding.at(position).of(record.stream, record.revision).shown_by(place());
        match by {
            None if absent => report.add(about(Finding::new(
                FindingCode::PayloadMissingUnauthorised,
                format!("{what}, or a later record that it was erased"),
                "neither",
            ))),
            Some(by) if present && still_there.is_none() => {
                still_there = Some(about(Finding::new(
                    FindingCode::ErasedButPresent,
                    format!("no trace of {what}: the record at position {by} says that it was erased"),
                    format!("{what}, legible"),
                )));
            }
            _ => {}
        }
    }
    Ok(still_there)
}
