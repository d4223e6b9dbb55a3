use super::*;

#[test]
fn every_body_reads_back_what_it_was() {
    let target = Target::Stream { stream_key: [7; 32], before_version: 3 };
    let (events, parts) = (3, vec![Part::Data, Part::Metadata, Part::Subject]);
    let signatures = vec![KeySignature { vkey: "k".to_owned(), signature: "s".to_owned() }];
    let bodies = [
        Control::MapRoot(MapRoot { size: u64::MAX, streams: 1, root: [0xab; 32] }),
        Control::Erasure(Erasure {
            target: Target::Positions { positions: vec![1, 9] },
            parts: parts.clone(),
            events,
            first: None,
            request: "r-1".to_owned(),
            basis: "gdpr-17-1-b".to_owned(),
            decided_by: "dpo".to_owned(),
            approved_by: None,
        }),
        Control::Key(KeyChange::Add { vkey: "v".to_owned(), valid_from: 4, signatures }),
        Control::Anchor(Anchor::Scrubbed { size: 9 }),
        Control::Anchor(Anchor::RolledBack { size: 9, root: [1; 32], checkpoint: [2; 32] }),
        Control::Migration(Migration { origin: String::new(), checkpoint: [0; 32], mapping: [1; 32] }),
        Control::Retention(Retention { target, parts, events, first: Some(3), rule: "max-age".to_owned() }),
        Control::Hold(Hold {
            id: "case-7".to_owned(),
            begins: true,
            scope: HoldScope::Category { category: "loan".to_owned() },
            reason: "litigation".to_owned(),
            decided_by: "counsel".to_owned(),
        }),
    ];
    for body in bodies {
        assert_eq!(Control::decode(body.kind(), &body.encode()), Ok(body.clone()));
        assert!(body.kind().is_control());
    }
}

#[test]
fn the_format_of_a_map_root_does_not_drift() {
    let body = Control::MapRoot(MapRoot { size: 7, streams: 2, root: [0x1f; 32] });
    let text = format!(r#"{{"size":7,"streams":2,"root":"{}"}}"#, "1f".repeat(32));
    assert_eq!(String::from_utf8(body.encode()).unwrap(), text);
}

#[test]
fn a_body_of_another_form_is_refused() {
    for body in [&b""[..], b"[]", b"{}", br#"{"size":7,"streams":2,"root":"1F"}"#, b"\xff"] {
        assert!(matches!(Control::decode(Kind::MapRoot, body), Err(ControlError::Form { .. })));
    }
    assert_eq!(Control::decode(Kind::Event, b"{}"), Err(ControlError::NoControl(Kind::Event)));
}

#[test]
fn a_signature_over_a_change_of_keys_holds_for_this_change_of_this_log_alone() {
    use crate::note::{Algorithm, SignerKey};
    let key = |seed| SignerKey::from_seed("log.example".parse().unwrap(), Algorithm::Ed25519, &[seed; 32]);
    let (old, new) = (key(1), key(2));
    let add =
        |valid_from| KeyChange::Add { vkey: new.verifier().to_string(), valid_from, signatures: Vec::new() };
    let signature = KeySignature::of(&add(7), "log.example", &old);
    assert_eq!(signature.signer(&add(7), "log.example").as_ref(), Some(old.verifier()));
    assert_eq!(signature.signer(&add(8), "log.example"), None);
    assert_eq!(signature.signer(&add(7), "log.other"), None);
    let other = KeySignature { vkey: new.verifier().to_string(), ..signature };
    assert_eq!(other.signer(&add(7), "log.example"), None);
}
