//! Notes beside Cloudflare's `signed_note`: theirs are accepted by us, ours by them.

use graven_proof::note::{Algorithm, Note, SignerKey, VerifierKey};
use proptest::prelude::*;
use signed_note::{Signer, StandardSigner, StandardVerifier, VerifierList};

fn key(name: &str, seed: [u8; 32]) -> SignerKey {
    SignerKey::from_seed(name.parse().unwrap(), Algorithm::Ed25519, &seed)
}

fn their_verifiers(keys: &[&SignerKey]) -> VerifierList {
    let verifier = |key: &&SignerKey| -> Box<dyn signed_note::Verifier> {
        Box::new(StandardVerifier::new(&key.verifier().to_string()).unwrap())
    };
    VerifierList::new(keys.iter().map(verifier).collect())
}

proptest! {
    #[test]
    fn what_one_signs_the_other_believes(
        text in "([a-zäß—+ ]{0,20}\n){0,3}[a-z]{1,9}\n", name in "[a-z./]{1,20}", seed: [u8; 32], stranger: [u8; 32],
    ) {
        let (key, other) = (key(&name, seed), key("stranger", stranger));
        let ours = Note::sign(&text, &[&other, &key], 0).unwrap();
        let theirs = signed_note::Note::from_bytes(ours.to_string().as_bytes()).unwrap();
        prop_assert_eq!(theirs.text(), text.as_bytes());
        let (verified, unverified) = theirs.verify(&their_verifiers(&[&key])).unwrap();
        prop_assert_eq!((verified.len(), unverified.len()), (1, 1));

        let signer = StandardSigner::new(&key.to_secret_text()).unwrap();
        prop_assert_eq!(signer.key_id().to_be_bytes(), key.verifier().id().0);
        let mut theirs = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&signer]).unwrap();
        let note = Note::parse(&theirs.to_bytes()).unwrap();
        prop_assert_eq!(note.verify(&[key.verifier().clone()]).unwrap().text(), text);
        prop_assert_eq!(&note, &Note::sign(note.unverified_text(), &[&key], 0).unwrap());
    }

    #[test]
    fn a_mangled_note_is_judged_alike(
        seed: [u8; 32], at: prop::sample::Index, byte: u8, how in 0..3u8,
    ) {
        let key = key("log.example/1", seed);
        let mut bytes = Note::sign("a text\n\nof two parts\n", &[&key], 0).unwrap().to_string().into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
        let ours = Note::parse(&bytes).is_ok_and(|note| note.verify(&[key.verifier().clone()]).is_ok());
        let known = their_verifiers(&[&key]);
        let theirs = signed_note::Note::from_bytes(&bytes).is_ok_and(|note| note.verify(&known).is_ok());
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn a_mangled_key_is_judged_alike(seed: [u8; 32], at: prop::sample::Index, byte in 0x20..0x7fu8) {
        let mut vkey = key("log.example/1", seed).verifier().to_string().into_bytes();
        let at = at.index(vkey.len());
        // they read key ids in capitals too
        let in_id = at.checked_sub("log.example/1+".len()).is_some_and(|at| at < 8);
        vkey[at] = if in_id { byte.to_ascii_lowercase() } else { byte };
        let vkey = String::from_utf8(vkey).unwrap();
        let (ours, theirs) = (vkey.parse::<VerifierKey>(), StandardVerifier::new(&vkey));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", vkey);
    }
}
