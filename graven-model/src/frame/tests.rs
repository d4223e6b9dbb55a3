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
        original: None,
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
            sealed: salted && event.data_subject.is_some(),
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
        let subject = event.data_subject.as_deref().map(|name| Subject::Named(name, secrets.subject_salt));
        prop_assert_eq!(record.subject, subject);
        prop_assert_eq!(record.sealed, secrets.sealed);
        prop_assert_eq!(record.data_seed, [3; 16]);
        let mut stored = record.event(position, 5).to_stored(&body, &mut crate::Names::new()).unwrap();
        prop_assert_eq!(record.event(position, 5), crate::EventRef::from(&stored));
        if record.sealed {
            prop_assert!(stored.erased && stored.event.data.is_empty() && stored.event.metadata.is_empty());
            stored.event.data = event.data.clone();
            stored.event.metadata = event.metadata.clone();
        }
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

/// A whole frame of these events, at this position.
fn frame_of(events: &[NewEvent], first: u64, sealed: bool) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    for (event, position) in events.iter().zip(first..) {
        let salts: Vec<SaltedName> = vec![Some([9; 16]); event.tags.len()];
        let secrets = Secrets {
            stream_salt: Some([1; 16]),
            tag_salts: &salts,
            subject_salt: event.data_subject.is_some().then_some([2; 16]),
            data_seed: [3; 16],
            metadata_seed: [4; 16],
            sealed: sealed && event.data_subject.is_some(),
        };
        let new = NewRecord { stream: "loan-1", revision: 0, kind: Kind::Event, event, secrets: &secrets };
        encode_record(&mut out, 0, position, &new);
    }
    let header = Header {
        length: out.len() as u32,
        body_crc: body_crc(&out[HEADER_BYTES..], events.len() as u32).unwrap(),
        first,
        count: events.len() as u32,
        batch_offset: 0,
        ..header()
    };
    header.encode((&mut out[..HEADER_BYTES]).try_into().unwrap());
    out
}

/// The records of a whole frame.
fn records(frame: &[u8]) -> Vec<Record<'_>> {
    let header = Header::decode(frame).unwrap();
    let mut at = header.header_bytes();
    let mut records = Vec::new();
    for position in header.first..header.end() {
        let head = RecordHead::decode(&frame[at..]).unwrap();
        let body = &frame[at + RECORD_HEAD_BYTES..at + head.total()];
        assert!(record_intact(head, position, body));
        assert_eq!(head.back as usize, at);
        records.push(Record::decode(body).unwrap());
        at += head.total();
    }
    assert_eq!(at, frame.len());
    records
}

fn erase() -> impl Strategy<Value = Erase> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(data, metadata, subject)| Erase {
        data,
        metadata,
        subject: subject.then_some([7; 32]),
    })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

proptest! {
    #[test]
    fn a_rewritten_frame_keeps_its_place_its_commitments_and_what_was_not_erased(
        events in proptest::collection::vec(event(), 1..5),
        wanted in proptest::collection::vec(erase(), 5),
        again in proptest::collection::vec(erase(), 5),
        sealed: bool,
    ) {
        let written = frame_of(&events, 40, sealed);
        let before = records(&written);
        let mut once = Vec::new();
        let changed = rewrite(&written, &mut once, |position, _| wanted[position as usize - 40]).unwrap();
        if changed == 0 {
            prop_assert_eq!(&once, &written);
        }
        let mut twice = b"before".to_vec();
        rewrite(&once, &mut twice, |position, _| again[position as usize - 40]).unwrap();
        let twice = &twice[6..];
        let old = Header::decode(&written).unwrap();
        let new = Header::decode(twice).unwrap();
        prop_assert_eq!(new.length as usize, twice.len());
        if new.original.is_some() {
            prop_assert_eq!(new, Header {
                length: new.length,
                body_crc: new.body_crc,
                original: Some(Original { length: old.length, body_crc: old.body_crc }),
                ..old
            });
            prop_assert_eq!(&twice[16..HEADER_BYTES_MAX], &written[..HEADER_BYTES]);
        }
        let after = records(twice);
        for (at, (before, after)) in before.iter().zip(&after).enumerate() {
            let (one, two) = (wanted[at], again[at]);
            prop_assert_eq!(before.data_commitment(), after.data_commitment());
            prop_assert_eq!(before.metadata_commitment(), after.metadata_commitment());
            prop_assert_eq!(before.kept[2..].to_vec(), after.kept[2..].to_vec());
            prop_assert_eq!((before.kind, before.sealed, before.has_metadata()), (after.kind, after.sealed, after.has_metadata()));
            let data = one.data || two.data;
            prop_assert_eq!(after.data_erased.is_some(), data);
            prop_assert_eq!(after.data, if data { &[][..] } else { before.data });
            let metadata = one.metadata || two.metadata;
            prop_assert_eq!(after.metadata, if metadata { &[][..] } else { before.metadata });
            let named = !(one.subject.is_some() || two.subject.is_some());
            prop_assert_eq!(after.subject, if named { before.subject } else { before.subject.map(|_| Subject::Keyed([7; 32])) });
        }
        let shown: Vec<_> = super::events(&Bytes::copy_from_slice(twice)).map(Result::unwrap).collect();
        prop_assert!(shown.iter().zip(&after).all(|(event, record)| event.erased == (record.data_erased.is_some() || record.sealed)));
    }

    #[test]
    fn what_was_erased_stands_nowhere_in_the_frame(secret in "[A-Z]{24}", metadata in "[A-Z]{24}", name in "[A-Z]{24}") {
        let event = NewEvent {
            metadata: metadata.clone().into(),
            data_subject: Some(name.as_str().into()),
            ..NewEvent::json(EventId([1; 16]), "T", secret.clone())
        };
        let written = frame_of(&[event.clone(), event], 0, false);
        let mut left = Vec::new();
        let all = Erase { data: true, metadata: true, subject: Some([7; 32]) };
        prop_assert_eq!(rewrite(&written, &mut left, |_, _| all), Some(2));
        for gone in [secret.as_bytes(), metadata.as_bytes(), name.as_bytes(), &[2; 16], &[3; 16], &[4; 16]] {
            prop_assert!(contains(&written, gone) && !contains(&left, gone));
        }
    }

    #[test]
    fn no_flipped_bit_of_a_rewritten_frame_passes(at in 0usize..1_000_000) {
        let event = NewEvent::json(EventId([1; 16]), "T", "{\"a\":1}");
        let mut left = Vec::new();
        let all = Erase { data: true, ..Erase::default() };
        rewrite(&frame_of(&[event.clone(), event], 0, false), &mut left, |position, _| if position == 1 { all } else { Erase::default() }).unwrap();
        let at = at % (left.len() * 8);
        left[at / 8] ^= 1 << (at % 8);
        let outcome: Result<Vec<_>> = super::events(&Bytes::from(left)).collect();
        prop_assert!(outcome.is_err(), "bit {}", at);
    }
}

#[test]
fn a_control_record_is_never_erased() {
    let event = NewEvent::json(EventId([1; 16]), "$erasure", "{\"a\":1}");
    let mut out = vec![0; HEADER_BYTES];
    let secrets = Secrets { stream_salt: Some([1; 16]), ..Secrets::default() };
    let new =
        NewRecord { stream: "$audit", revision: 0, kind: Kind::Erasure, event: &event, secrets: &secrets };
    encode_record(&mut out, 0, 1000, &new);
    let body_crc = body_crc(&out[HEADER_BYTES..], 1).unwrap();
    let header = Header { length: out.len() as u32, body_crc, count: 1, ..header() };
    header.encode((&mut out[..HEADER_BYTES]).try_into().unwrap());
    let mut left = Vec::new();
    let all = Erase { data: true, metadata: true, subject: Some([7; 32]) };
    assert_eq!(rewrite(&out, &mut left, |_, _| all), Some(0));
    assert_eq!(left, out);
}

#[test]
fn a_frame_that_is_not_whole_is_not_rewritten() {
    let event = NewEvent::json(EventId([1; 16]), "T", "{\"a\":1}");
    let written = frame_of(&[event], 0, false);
    let mut out = b"x".to_vec();
    for end in 0..written.len() {
        assert_eq!(rewrite(&written[..end], &mut out, |_, _| Erase::default()), None);
    }
    let longer = [&written[..], b"x"].concat();
    assert_eq!(rewrite(&longer, &mut out, |_, _| Erase::default()), None);
    assert_eq!(out, b"x");
}

#[test]
fn a_record_with_marks_that_contradict_each_other_is_refused() {
    let event = NewEvent::json(EventId([1; 16]), "T", "{\"a\":1}");
    let written = frame_of(&[event], 0, false);
    let body = &written[HEADER_BYTES + RECORD_HEAD_BYTES..];
    assert!(Record::decode(body).is_some());
    // sealed without a subject, metadata erased that never were, a subject's hash without a subject, a kind there is not
    for mark in [0x10, 0x40, 0x80, 0x0f] {
        let mut marked = body.to_vec();
        marked[0] |= mark;
        assert!(Record::decode(&marked).is_none(), "{mark:#x}");
    }
    // erased data that are longer than a commitment
    let mut marked = body.to_vec();
    marked[0] |= 0x20;
    marked.extend_from_slice(&[0; 32]);
    assert!(Record::decode(&marked).is_none());
}

/// Shows sealed data as its bytes turned round, and metadata likewise; as gone where there are too few.
fn turned(_: u64, record: &Record<'_>, show: &mut dyn FnMut(Shown<'_>)) -> crate::Result<()> {
    let turn = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
    if record.data.len() < 3 {
        show(Shown::Gone);
    } else {
        show(Shown::Open { data: &turn(record.data), metadata: &turn(record.metadata) });
    }
    Ok(())
}

proptest! {
    #[test]
    fn an_opened_frame_shows_what_was_sealed_and_is_never_taken_for_a_stored_one(
        events in proptest::collection::vec(event(), 1..5),
        wanted in proptest::collection::vec(erase(), 5),
        sealed: bool,
    ) {
        let written = frame_of(&events, 40, sealed);
        let mut stored = Vec::new();
        rewrite(&written, &mut stored, |position, _| wanted[position as usize - 40]).unwrap();
        let about_somebody = records(&stored).iter().any(|record| record.sealed);
        prop_assert_eq!(has_sealed(&Header::decode(&stored).unwrap(), &stored), about_somebody);
        let mut opened = b"before".to_vec();
        open(&stored, &mut opened, turned).unwrap();
        let opened = opened.split_off(6);
        prop_assert!(Header::decode(&opened).is_none());
        let masked: Vec<_> = super::events(&Bytes::from(stored.clone())).map(Result::unwrap).collect();
        let shown: Vec<_> = super::events(&Bytes::from(opened)).map(Result::unwrap).collect();
        for ((record, masked), shown) in records(&stored).iter().zip(masked).zip(shown) {
            if record.sealed {
                prop_assert!(masked.erased && masked.event.data.is_empty() && masked.event.metadata.is_empty());
                let gone = record.data.len() < 3;
                prop_assert_eq!(shown.erased, gone || record.data_erased.is_some());
                let turned: Vec<u8> = record.data.iter().rev().copied().collect();
                prop_assert_eq!(&shown.event.data[..], if gone { &[][..] } else { &turned });
                let turned: Vec<u8> = record.metadata.iter().rev().copied().collect();
                prop_assert_eq!(&shown.event.metadata[..], if gone { &[][..] } else { &turned });
                prop_assert_eq!(shown.event.id, masked.event.id);
                prop_assert_eq!(shown.event.data_subject, masked.event.data_subject);
            } else {
                prop_assert_eq!(shown, masked);
            }
        }
    }

    #[test]
    fn no_flipped_bit_of_an_opened_frame_passes(at in 0usize..1_000_000) {
        let event = NewEvent { data_subject: Some("anna".into()), ..NewEvent::json(EventId([1; 16]), "T", "{\"a\":1}") };
        let mut opened = Vec::new();
        open(&frame_of(&[event.clone(), event], 0, true), &mut opened, turned).unwrap();
        let at = at % (opened.len() * 8);
        opened[at / 8] ^= 1 << (at % 8);
        let outcome: Result<Vec<_>> = super::events(&Bytes::from(opened)).collect();
        prop_assert!(outcome.is_err(), "bit {}", at);
    }
}

#[test]
fn a_frame_that_is_not_whole_is_not_opened() {
    let event =
        NewEvent { data_subject: Some("anna".into()), ..NewEvent::json(EventId([1; 16]), "T", "{\"a\":1}") };
    let written = frame_of(&[event], 0, true);
    for end in 0..written.len() {
        let _ = has_sealed(&Header::decode(&written).unwrap(), &written[..end]);
        assert!(open(&written[..end], &mut Vec::new(), turned).is_err());
    }
}
