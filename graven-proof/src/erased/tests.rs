use super::*;
use crate::control::{Erasure, Retention};
use crate::leaf::{CheckState, Kind};
use proptest::prelude::*;

fn leaf(position: u64, stream: u8, version: u64, tags: &[Hash], kind: Kind) -> Leaf<'_> {
    Leaf {
        kind,
        encrypted: false,
        sealed: false,
        has_metadata: false,
        check: CheckState::None,
        position,
        commit_time: 0,
        stream_version: version,
        stream_key: [stream; 32],
        prev_stream: [0; 32],
        prev_global: [0; 32],
        event_id: [0; 16],
        occurred_at: 0,
        event_type: "T",
        content_type: "",
        schema_version: 0,
        schema_id: 0,
        tags,
        payload_commitment: [0; 32],
        metadata_commitment: [0; 32],
        body: &[],
    }
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        proptest::collection::vec(0u64..20, 0..4).prop_map(|positions| Target::Positions { positions }),
        (0u8..3, 0u64..10)
            .prop_map(|(stream, before)| Target::Stream { stream_key: [stream; 32], before_version: before }),
        (0u8..3).prop_map(|subject| Target::Subject { subject_key: [subject; 32] }),
    ]
}

fn control(target: Target, parts: Vec<Part>, retention: bool) -> Control {
    if retention {
        Control::Retention(Retention { target, parts, events: 0, first: None, rule: String::new() })
    } else {
        Control::Erasure(Erasure {
            target,
            parts,
            events: 0,
            first: None,
            request: String::new(),
            basis: String::new(),
            decided_by: String::new(),
            approved_by: None,
        })
    }
}

proptest! {
    #[test]
    fn an_event_is_covered_if_a_later_record_means_it(
        records in proptest::collection::vec((target(), any::<bool>(), any::<bool>()), 0..8),
        gaps in proptest::collection::vec(1u64..4, 8),
        position in 0u64..20, stream in 0u8..3, version in 0u64..10, subject in 0u8..4,
    ) {
        let tags = [[subject; 32]];
        let leaf = leaf(position, stream, version, &tags, Kind::Event);
        let mut erased = Erased::default();
        let mut at = 0;
        let mut covered = false;
        for ((target, data, retention), gap) in records.into_iter().zip(gaps) {
            at += gap;
            covered |= data && covers(at, &target, &leaf);
            let parts = if data { vec![Part::Data] } else { vec![Part::Metadata] };
            erased.note(at, &control(target, parts, retention));
        }
        prop_assert_eq!(erased.record_of(&leaf, Part::Data).is_some(), covered);
        prop_assert!(erased.record_of(&leaf, Part::Data).is_none_or(|record| record > position));
        prop_assert_eq!(erased.record_of(&leaf, Part::Subject), None);
    }
}

#[test]
fn a_record_about_the_log_itself_is_never_covered() {
    let target = Target::Positions { positions: vec![1] };
    let own = leaf(1, 0, 0, &[], Kind::Erasure);
    assert!(!covers(2, &target, &own));
    let mut erased = Erased::default();
    erased.note(2, &control(target, vec![Part::Data], false));
    assert_eq!(erased.record_of(&own, Part::Data), None);
}
