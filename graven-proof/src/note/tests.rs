use super::*;
use proptest::prelude::*;

/// The key pair and the note that Go's `note` package, from which the format comes, is documented and tested with.
const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

pub(crate) fn signer(name: &str, algorithm: Algorithm, seed: u8) -> SignerKey {
    SignerKey::from_seed(name.parse().unwrap(), algorithm, &[seed; 32])
}

fn trusted(keys: &[&SignerKey]) -> Vec<VerifierKey> {
    keys.iter().map(|key| key.verifier().clone()).collect()
}

#[test]
fn the_known_key_pair_signs_the_known_note() {
    let key: SignerKey = SKEY.parse().unwrap();
    assert_eq!(key.verifier().to_string(), VKEY);
    assert_eq!(key.to_secret_text(), SKEY);
    assert_eq!(VKEY.parse(), Ok(key.verifier().clone()));
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note, Note::sign(note.unverified_text(), &[&key], 7).unwrap());
    let keys = [key.verifier().clone()];
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified.signers(), [Signer { key: 0, time: None }]);
    assert_eq!(verified.text(), note.unverified_text());
}

/// The key of Go's checksum database.
#[test]
fn a_key_of_the_wild_is_read() {
    let vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let key: VerifierKey = vkey.parse().unwrap();
    assert_eq!((key.name().as_str(), key.id().to_string().as_str()), ("sum.golang.org", "033de0ae"));
    assert_eq!(key.to_string(), vkey);
}

#[test]
fn a_secret_is_not_shown() {
    let key: SignerKey = SKEY.parse().unwrap();
    let shown = format!("{key:?}");
    assert!(!shown.contains("AYEKFALVFGyNhPJEMzD1QIDr") && !shown.contains("129, 10, 20"), "{shown}");
    let error = "PRIVATE+KEY+a+00000000+secret".parse::<SignerKey>().unwrap_err();
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn keys_of_another_form_are_refused() {
    let id = |found| KeyError::Id { expected: KeyId([0xc7, 0x4f, 0x20, 0xa3]), found };
    let refused = [
        (VKEY.replace("c74f20a3", "c74f20a4"), Some(id(KeyId([0xc7, 0x4f, 0x20, 0xa4])))),
        (VKEY.replace("c74f20a3", "C74F20A3"), None),
        (VKEY.replace("c74f20a3", "+74f20a3"), None),
        (VKEY.replace("c74f20a3", "c74f20a"), None),
        (VKEY.replace("PeterNeumann", ""), Some(KeyError::Name)),
        (VKEY.replace("PeterNeumann", "Peter Neumann"), Some(KeyError::Name)),
        (VKEY.replace("PeterNeumann", "Peter\u{3000}"), Some(KeyError::Name)),
        (VKEY.replace("+ARpc", "+AQ"), None),
        (VKEY.replace("+ARpc", "+ARpc\n"), None),
        (VKEY.replace("+ARpc", "+AhpC"), Some(KeyError::Algorithm(2))),
        ("a+00000000+AQ==".to_owned(), Some(KeyError::Length(0))),
        (format!("{VKEY}A"), None),
        (format!("{VKEY}\n"), None),
        (SKEY.to_owned(), None),
        (String::new(), None),
        ("a".repeat(10_000), None),
    ];
    for (text, wanted) in refused {
        let found = text.parse::<VerifierKey>().unwrap_err();
        assert!(wanted.is_none_or(|wanted| wanted == found), "{text}: {found:?}");
    }
    assert!(VKEY.parse::<SignerKey>().is_err());
    assert!(SKEY.replace("PRIVATE+KEY+", "PRIVATE+KEY+x").parse::<SignerKey>().is_err());

    // points under which a signature says nothing
    let name: KeyName = "weak".parse().unwrap();
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one] {
        assert_eq!(VerifierKey::new(name.clone(), Algorithm::Ed25519, &point), Err(KeyError::Point));
    }
}

#[test]
fn the_same_key_has_another_id_for_another_purpose() {
    let (log, witness) = (signer("a", Algorithm::Ed25519, 1), signer("a", Algorithm::CosignatureV1, 1));
    assert_eq!(log.verifier().public(), witness.verifier().public());
    assert_ne!(log.verifier().id(), witness.verifier().id());
    let note = Note::sign("text\n", &[&log], 0).unwrap();
    assert_eq!(note.verify(&trusted(&[&witness])), Err(NoteError::Unsigned(1)));
}

#[test]
fn a_cosignature_says_when_and_is_over_it() {
    let witness = signer("w.example/1", Algorithm::CosignatureV1, 2);
    let note = Note::sign("origin\n1\nroot\n", &[&witness], 1_679_315_147).unwrap();
    let verified = note.verify(&trusted(&[&witness])).unwrap().signers().to_vec();
    assert_eq!(verified, [Signer { key: 0, time: Some(1_679_315_147) }]);
    assert_eq!(note.signatures()[0].bytes().len(), 72);

    // what is signed, spelled out
    let message = b"cosignature/v1\ntime 1679315147\norigin\n1\nroot\n";
    let bytes: [u8; 64] = note.signatures()[0].bytes()[8..].try_into().unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(witness.verifier().public()).unwrap();
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&bytes)).unwrap();

    let mut moved = note.clone();
    moved.signatures[0].bytes[7] ^= 1;
    assert!(matches!(moved.verify(&trusted(&[&witness])), Err(NoteError::Forged { .. })));
}

#[test]
fn signatures_of_others_are_kept_and_ignored() {
    let (ours, other) = (signer("ours", Algorithm::Ed25519, 1), signer("other", Algorithm::Ed25519, 2));
    let namesake = signer("ours", Algorithm::Ed25519, 3);
    let note = Note::sign("text\n", &[&other, &namesake, &ours], 0).unwrap();
    let mut garbled = note.clone();
    garbled.signatures[0].bytes = vec![1];
    garbled.signatures[1].bytes[5] ^= 1;
    // the id of a trusted key under another name
    garbled.signatures.push(Signature { name: "else".parse().unwrap(), ..note.signatures[2].clone() });
    for note in [note, garbled] {
        let again = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(again, note);
        assert_eq!(again.verify(&trusted(&[&ours])).unwrap().signers(), [Signer { key: 0, time: None }]);
    }
    let unsigned = Note::sign("text\n", &[&other], 0).unwrap();
    assert_eq!(unsigned.verify(&trusted(&[&ours])), Err(NoteError::Unsigned(1)));
    assert_eq!(unsigned.verify(&[]), Err(NoteError::Unsigned(0)));
    let line = unsigned.signatures()[0].to_string();
    assert_eq!(line.parse(), Ok(unsigned.signatures()[0].clone()));
    assert_eq!(format!("{line}\n").parse::<Signature>(), Err(NoteError::SignatureLine(0)));
    let twice = trusted(&[&ours, &ours]);
    assert!(matches!(unsigned.verify(&twice), Err(NoteError::AmbiguousKeys { .. })));
}

#[test]
fn one_forged_signature_of_a_trusted_key_spoils_the_note() {
    let (first, second) = (signer("first", Algorithm::Ed25519, 1), signer("second", Algorithm::Ed25519, 2));
    let mut note = Note::sign("text\n", &[&first, &second], 0).unwrap();
    note.signatures[1].bytes[63] ^= 1;
    let forged = NoteError::Forged { name: second.verifier().name().clone(), id: second.verifier().id() };
    assert_eq!(note.verify(&trusted(&[&first, &second])), Err(forged));
    assert!(note.verify(&trusted(&[&first])).is_ok());
}

#[test]
fn a_witness_that_signed_twice_counts_once() {
    let witness = signer("w", Algorithm::CosignatureV1, 1);
    let note = Note::sign("text\n", &[&witness], 9).unwrap().with(witness.sign("text\n", 8)).unwrap();
    assert_eq!(note.verify(&trusted(&[&witness])).unwrap().signers(), [Signer { key: 0, time: Some(9) }]);
}

#[test]
fn notes_of_another_form_are_refused() {
    use NoteError as Error;
    let sig = "\u{2014} a AAAAAAE=\n";
    let refused = [
        (String::new(), Error::NoSignatures),
        (format!("text\n{sig}"), Error::NoSignatures),
        ("text\n\n".to_owned(), Error::NoSignatures),
        (format!("\n\n{sig}"), Error::Text),
        (format!("text\n\n\n{sig}").replace("text", "\r"), Error::Control(0)),
        (format!("te\txt\n\n{sig}"), Error::Control(2)),
        (format!("te\0xt\n\n{sig}"), Error::Control(2)),
        (format!("text\n\n{}", sig.trim_end()), Error::SignatureLine(0)),
        (format!("text\n\n{sig} "), Error::SignatureLine(1)),
        (format!("text\n\n{}", sig.replace('\u{2014}', "-")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.replace(" a ", "  ")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.replace(" a ", " a+b ")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.replace(" a ", " a  ")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.replace("AAE=", "AA==")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.replace("AAE=", "AAF=")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.replace("AAE=", "AAE")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.replace("AAE=", "AAE= x")), Error::SignatureLine(0)),
        (format!("text\n\n{}", sig.repeat(65)), Error::TooManySignatures),
        ("x".repeat(NOTE_BYTES_MAX + 1), Error::TooLong(NOTE_BYTES_MAX + 1)),
    ];
    for (text, wanted) in refused {
        assert_eq!(
            Note::parse(text.as_bytes()),
            Err(wanted),
            "{:?}",
            text.chars().take(60).collect::<String>()
        );
    }
    assert_eq!(Note::parse(b"te\xff\n"), Err(Error::Encoding(2)));
    assert!(Note::parse(format!("text\n\n{}", sig.repeat(64)).as_bytes()).is_ok());
    // the last empty line is what counts
    let note = Note::parse(format!("a\n\nb\n\n{sig}").as_bytes()).unwrap();
    assert_eq!(note.unverified_text(), "a\n\nb\n");

    let key = signer("a", Algorithm::Ed25519, 1);
    assert_eq!(Note::sign("text", &[&key], 0), Err(Error::Text));
    assert_eq!(Note::sign("\n", &[&key], 0), Err(Error::Text));
    assert_eq!(Note::sign("", &[&key], 0), Err(Error::Text));
    assert_eq!(Note::sign("a\tb\n", &[&key], 0), Err(Error::Control(1)));
    assert_eq!(Note::sign("text\n", &[], 0), Err(Error::NoSignatures));
    assert_eq!(Note::sign("text\n", &vec![&key; 65], 0), Err(Error::TooManySignatures));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_note_round_trips_and_any_changed_byte_is_refused(
        text in "[a-zäß0-9+/=— \n]{1,60}[a-z]\n", seed: u8, time: u64, cosigned: bool, bit in 0..8u8,
    ) {
        let algorithm = if cosigned { Algorithm::CosignatureV1 } else { Algorithm::Ed25519 };
        let key = signer("log.example/1", algorithm, seed);
        let keys = trusted(&[&key]);
        let bytes = Note::sign(&text, &[&key], time).unwrap().to_string().into_bytes();
        let note = Note::parse(&bytes).unwrap();
        prop_assert_eq!(note.to_string().into_bytes(), bytes.clone());
        prop_assert_eq!(note.verify(&keys).unwrap().text(), text);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let believed = Note::parse(&changed).is_ok_and(|note| note.verify(&keys).is_ok());
            prop_assert!(!believed, "byte {}", at);
            let mut shorter = bytes.clone();
            shorter.remove(at);
            prop_assert!(!Note::parse(&shorter).is_ok_and(|note| note.verify(&keys).is_ok()), "byte {}", at);
        }
    }

    #[test]
    fn keys_round_trip(name in "[!-*,-~]{1,40}", seed: [u8; 32], cosign: bool) {
        let algorithm = if cosign { Algorithm::CosignatureV1 } else { Algorithm::Ed25519 };
        let key = SignerKey::from_seed(name.parse().unwrap(), algorithm, &seed);
        let again: SignerKey = key.to_secret_text().parse().unwrap();
        prop_assert_eq!(again.verifier(), key.verifier());
        prop_assert_eq!(again.sign("x\n", 1), key.sign("x\n", 1));
        prop_assert_eq!(key.verifier().to_string().parse(), Ok(key.verifier().clone()));
    }
}
