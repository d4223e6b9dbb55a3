use super::*;
use crate::event::{CheckState, ContentType, Kind, NewEvent, SchemaRef};
use crate::{EventId, Timestamp};
use proptest::prelude::*;

fn header() -> Header {
    Header {
        length: 500,
        body_crc: 2,
        previous: 3,
        log: 4,
        epoch: 5,
        first: 1000,
        commit_time: -7,
        count: 3,
        batch_offset: 9,
        root: Some([8; 32]),
        crc: 0,
    }
}

#[test]
fn a_header_reads_back_what_it_was_and_no_flipped_bit_passes() {
    let mut bytes = [0; HEADER_BYTES];
    let crc = header().encode(&mut bytes);
    assert_eq!(Header::decode(&bytes), Some(Header { crc, ..header() }));
    for at in 0..HEADER_BYTES * 8 {
        let mut flipped = bytes;
        flipped[at / 8] ^= 1 << (at % 8);
        assert_eq!(Header::decode(&flipped), None, "bit {at}");
    }
}

fn event() -> impl Strategy<Value = NewEvent> {
    (
        any::<[u8; 16]>(),
        "[a-zA-Z.]{1,20}",
        proptest::option::of("[a-z]{1,8}/[a-z]{1,8}"),
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(any::<u8>(), 0..50),
        proptest::option::of(any::<i64>()),
        (any::<u32>(), any::<u32>(), 0u8..4),
        proptest::collection::vec("[a-zé]{1,9}", 0..8),
        proptest::option::of("[a-z]{1,9}"),
        any::<bool>(),
    )
        .prop_map(|(id, event_type, content, data, metadata, time, schema, tags, subject, encrypted)| {
            NewEvent {
                id: EventId(id),
                event_type: event_type.into(),
                content_type: content.map_or(ContentType::Binary, |text| ContentType::from_text(&text)),
                data: data.into(),
                metadata: metadata.into(),
                occurred_at: time.map(Timestamp::from_micros),
                schema: SchemaRef { version: schema.0, id: schema.1, check: CheckState::from_bits(schema.2) },
                tags: tags.into_iter().map(Into::into).collect(),
                data_subject: subject.map(Into::into),
                encrypted,
            }
        })
}

proptest! {
    #[test]
    fn a_record_reads_back_what_it_was(event in event(), revision: u64, position: u64, salted: bool) {
        let salts: Vec<SaltedName> = event.tags.iter().map(|_| salted.then_some([9; 16])).collect();
        let secrets = Secrets {
            stream_salt: salted.then_some([1; 16]),
            tag_salts: &salts,
            subject_salt: (salted && event.data_subject.is_some()).then_some([2; 16]),
            data_seed: [3; 16],
            metadata_seed: [4; 16],
        };
        let mut out = vec![0; HEADER_BYTES];
        let new = NewRecord { stream: "loan-1", revision, kind: Kind::Event, event: &event, secrets: &secrets };
        encode_record(&mut out, 0, position, &new);
        prop_assert!(out.len() - HEADER_BYTES <= record_bytes_max("loan-1", &event));
        let head = RecordHead::decode(&out[HEADER_BYTES..]).unwrap();
        prop_assert_eq!(head.back as usize, HEADER_BYTES);
        let body = Bytes::from(out[HEADER_BYTES + RECORD_HEAD_BYTES..].to_vec());
        prop_assert!(record_intact(head, position, &body));
        prop_assert!(!record_intact(head, position ^ 1, &body));
        let record = Record::decode(&body).unwrap();
        prop_assert_eq!(record.stream_salt, secrets.stream_salt);
        prop_assert_eq!(record.subject.and_then(|(_, salt)| salt), secrets.subject_salt);
        prop_assert_eq!(record.data_seed, [3; 16]);
        let stored = record.event(position, 5).to_stored(&body, &mut crate::Names::new()).unwrap();
        prop_assert_eq!(record.event(position, 5), crate::EventRef::from(&stored));
        prop_assert_eq!(&stored.event, &event);
        prop_assert_eq!(stored.revision.0, revision);
    }

    #[test]
    fn a_record_of_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(&bytes);
        let _ = Header::decode(&bytes);
        let _ = body_crc(&bytes, 3);
    }
}
