use super::*;

fn finding(code: FindingCode) -> Finding {
    Finding::new(code, "this", "that")
}

#[test]
fn names_are_unique_and_read_back() {
    for code in FindingCode::ALL {
        let json = serde_json::to_string(code).unwrap();
        assert_eq!(json, format!("{:?}", code.to_string()));
        assert_eq!(serde_json::from_str::<FindingCode>(&json).unwrap(), *code);
        assert_eq!(FindingCode::ALL.iter().filter(|other| other.name() == code.name()).count(), 1);
    }
}

#[test]
fn layers_go_from_the_payload_to_the_outside() {
    use Layer::*;
    let layers = [Payload, Metadata, Leaf, Chain, Tile, Root, Map, Checkpoint, Outside];
    assert!(layers.is_sorted_by(|one, next| one < next));
    assert!(FindingCode::ALL.iter().map(|code| code.layer()).is_sorted());
}

#[test]
fn the_smallest_position_counts_and_there_the_lowest_layer() {
    let mut report = Report::default();
    assert!(report.is_clean());
    report.add(finding(FindingCode::RollbackDetected));
    report.add(finding(FindingCode::PayloadMismatch).at(300));
    report.add(finding(FindingCode::TileMismatch).in_tile(1, 1));
    assert_eq!(
        report.first.as_ref().unwrap().code,
        FindingCode::PayloadMismatch,
        "the event explains the hash above it"
    );
    report.add(finding(FindingCode::PrevGlobalMismatch).at(7));
    report.add(finding(FindingCode::LeafHashMismatch).at(7));
    report.add(finding(FindingCode::MapRootMismatch).at(7));
    assert_eq!(report.first, Some(finding(FindingCode::LeafHashMismatch).at(7)));
    assert_eq!((report.other_findings, report.findings()), (5, 6));
}

#[test]
fn parts_of_a_check_add_up() {
    let mut one = Report { events: 2, bytes: 20, ..Report::default() };
    one.add(finding(FindingCode::TileMismatch).at(9));
    let mut other = Report { events: 3, bytes: 30, ..Report::default() };
    other.add(finding(FindingCode::PayloadMismatch).at(4));
    other.add(finding(FindingCode::PayloadMismatch).at(5));
    one.merge(other);
    assert_eq!((one.events, one.bytes, one.findings()), (5, 50, 3));
    assert_eq!(one.first.unwrap().position, Some(4));
}

#[test]
fn a_finding_says_what_and_where_in_one_line() {
    let finding =
        finding(FindingCode::PayloadMismatch).at(41).of("loan-1", 3).shown_by("log/0.seg at byte 9");
    assert_eq!(
        finding.to_string(),
        "PAYLOAD_MISMATCH at position 41 (stream \"loan-1\", revision 3): the payload is not the one that was written; \
         expected this; found that"
    );
}

#[test]
fn a_report_as_json_reads_back_and_leaves_out_what_is_not_known() {
    let mut report = Report { checked: [0, 9], elapsed_ms: 2, events: 9, ..Report::default() };
    let clean = serde_json::to_value(&report).unwrap();
    assert!(clean.get("first").is_none() && clean.get("notes").is_none());
    assert_eq!(clean["trust"], "no_checkpoints");
    report.add(finding(FindingCode::TileMismatch).in_tile(2, 5));
    report.note("said");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    assert_eq!(report.events_per_second(), 4500);
    assert_eq!(Report::default().events_per_second(), 0);
}

#[test]
fn notes_are_bounded() {
    let mut report = Report::default();
    (0..1000).for_each(|number| report.note(number.to_string()));
    assert_eq!(report.notes.len(), NOTES_MAX);
}

#[test]
fn a_hash_of_an_absurd_level_covers_no_leaf_there_can_be() {
    assert_eq!(TileHash { level: 9, index: 1 }.last_leaf(), u64::MAX);
    assert_eq!(TileHash { level: 0, index: 7 }.last_leaf(), 7);
    assert_eq!(TileHash { level: 3, index: 2 }.last_leaf(), (3 << 24) - 1);
}
