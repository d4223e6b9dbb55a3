//! Which field of a record a byte belongs to, in words.

use crate::log::frame::{Record, Subject};
use graven_proof::finding::FindingCode;

/// What a changed byte of a record's body changed. `record` is the body taken apart, as it was before the change.
pub(super) fn field(body: &[u8], record: &Record<'_>, offset: usize) -> (FindingCode, &'static str) {
    let from = |slice: &[u8]| slice.as_ptr().addr() - body.as_ptr().addr();
    let seed = 16;
    let data = from(record.data);
    if offset >= data {
        return (FindingCode::PayloadMismatch, "the payload");
    }
    let commitment = 32;
    let (before, what) = match record.data_erased {
        Some(_) => (commitment, "the commitment to the payload that was erased"),
        None => (seed, "the seed of the commitment to the payload"),
    };
    if offset >= data.saturating_sub(before) {
        return (FindingCode::PayloadMismatch, what);
    }
    if record.metadata_erased.is_some() && offset >= data.saturating_sub(before + commitment) {
        return (FindingCode::MetaMismatch, "the commitment to the metadata that were erased");
    }
    if !record.metadata.is_empty() {
        let metadata = from(record.metadata);
        let length = metadata - varint_bytes(record.metadata.len() as u64);
        for (start, what) in [
            (metadata, "the metadata"),
            (length, "the length of the metadata"),
            (length.saturating_sub(seed), "the seed of the commitment to the metadata"),
        ] {
            if offset >= start {
                return (FindingCode::MetaMismatch, what);
            }
        }
    }
    (FindingCode::LeafHashMismatch, envelope(body, record, offset))
}

fn envelope(body: &[u8], record: &Record<'_>, offset: usize) -> &'static str {
    let from = |text: &str| text.as_ptr().addr() - body.as_ptr().addr();
    let within = |text: &str| (from(text)..from(text) + text.len()).contains(&offset);
    let revision = 2 + varint_bytes(record.revision);
    let stream = from(record.stream);
    let event_type = from(record.event_type);
    let type_length = event_type - varint_bytes(record.event_type.len() as u64);
    match offset {
        0 => return "the kind",
        1 => return "the flags",
        _ if offset < revision => return "the revision",
        _ if offset < revision + 16 => return "the event id",
        _ if offset < stream - varint_bytes(record.stream.len() as u64) => return "the event's own time",
        _ if offset < stream => return "the length of the stream name",
        _ if within(record.stream) => return "the stream name",
        _ if offset < type_length => return "the salt of the stream name",
        _ if offset < event_type => return "the length of the event type",
        _ if within(record.event_type) => return "the event type",
        _ => {}
    }
    if record.tags.iter().any(|(tag, _)| within(tag)) {
        return "a tag";
    }
    if let Some(Subject::Named(subject, _)) = record.subject {
        if within(subject) {
            return "the data subject";
        }
        if offset >= from(subject) {
            return "the salt of the data subject";
        }
    }
    match record.tags.first() {
        Some((tag, _)) if offset >= from(tag) => {
            "the length or salt of a tag, or the length of the data subject"
        }
        _ => "the content type, the schema, or the number of tags",
    }
}

fn varint_bytes(number: u64) -> usize {
    ((u64::BITS - number.leading_zeros()).max(1) as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::event::{Kind, NewEvent};
    use graven_model::frame::{NewRecord, RECORD_HEAD_BYTES, Secrets, encode_record};
    use graven_model::{EventId, Timestamp};

    #[test]
    fn every_byte_of_a_record_has_a_name() {
        let mut event =
            NewEvent::json(EventId([0xaa; 16]), "Submitted", "DATADATA").tagged(["tag-one", "tag-two"]);
        event.metadata = "METADATA".into();
        event.data_subject = Some("person".into());
        event.occurred_at = Some(Timestamp::from_micros(77));
        let secrets = Secrets {
            stream_salt: Some([0xbb; 16]),
            tag_salts: &[Some([0xcc; 16]), None],
            subject_salt: Some([0xdd; 16]),
            data_seed: [0xee; 16],
            metadata_seed: [0xff; 16],
            sealed: false,
        };
        let mut out = Vec::new();
        let new = NewRecord {
            stream: "loan-1",
            revision: 300,
            kind: Kind::Event,
            event: &event,
            secrets: &secrets,
        };
        encode_record(&mut out, 0, 9, &new);
        let body = &out[RECORD_HEAD_BYTES..];
        let record = Record::decode(body).unwrap();
        let name = |needle: &[u8]| {
            let at =
                body.windows(needle.len()).position(|window| window == needle).expect("it is in the record");
            let (first, last) = (field(body, &record, at), field(body, &record, at + needle.len() - 1));
            assert_eq!(first, last);
            first
        };
        use FindingCode::*;
        assert_eq!(name(b"DATADATA"), (PayloadMismatch, "the payload"));
        assert_eq!(name(&[0xee; 16]), (PayloadMismatch, "the seed of the commitment to the payload"));
        assert_eq!(name(b"METADATA"), (MetaMismatch, "the metadata"));
        assert_eq!(name(&[0xff; 16]), (MetaMismatch, "the seed of the commitment to the metadata"));
        assert_eq!(name(b"loan-1"), (LeafHashMismatch, "the stream name"));
        assert_eq!(name(&[0xaa; 16]), (LeafHashMismatch, "the event id"));
        assert_eq!(name(&[0xbb; 16]), (LeafHashMismatch, "the salt of the stream name"));
        assert_eq!(name(&[0xdd; 16]), (LeafHashMismatch, "the salt of the data subject"));
        assert_eq!(name(b"Submitted"), (LeafHashMismatch, "the event type"));
        assert_eq!(name(b"tag-two"), (LeafHashMismatch, "a tag"));
        assert_eq!(name(b"person"), (LeafHashMismatch, "the data subject"));
        assert_eq!(name(&77i64.to_le_bytes()), (LeafHashMismatch, "the event's own time"));
        assert_eq!(field(body, &record, 0).1, "the kind");
        assert_eq!(field(body, &record, 1).1, "the flags");
        assert_eq!(field(body, &record, 3).1, "the revision");
        for offset in 0..body.len() {
            field(body, &record, offset);
        }
    }
}
