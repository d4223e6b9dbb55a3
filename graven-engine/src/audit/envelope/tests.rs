use super::*;
use proptest::prelude::*;

fn key(byte: u8) -> DataKey {
    DataKey::new([byte; 32])
}

fn opened(key: &DataKey, id: &[u8; 16], part: Part, stored: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut out = b"before".to_vec();
    let outcome = open(key, id, part, stored, &mut out);
    assert_eq!(&out[..6], b"before");
    assert!(outcome.is_ok() || out.len() == 6, "a refused envelope leaves nothing");
    outcome.map(|()| out.split_off(6))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Computed with another implementation: Python's `cryptography` 48, HKDF and ChaCha20Poly1305 put together by hand.
#[test]
fn envelopes_are_those_another_implementation_makes() {
    let counting = DataKey::new(std::array::from_fn(|at| at as u8));
    let id = std::array::from_fn(|at| 0x40 + at as u8);
    let data =
        seal(&counting, &id, Part::Data, br#"{"name":"Alice"}"#, std::array::from_fn(|at| 0x70 + at as u8));
    assert_eq!(
        hex(&data),
        "bd307107a1d724a9ec18a3fa5d6fcf927f5b20a43619c99e0e83cc923375dbd6707172737475767778797a7b\
         f3d0ec163857b3f376e3b7594cb70c512f84892979d14df2a986431233b7cfd5"
    );
    let metadata =
        seal(&counting, &id, Part::Metadata, br#"{"from":"web"}"#, std::array::from_fn(|at| 0x80 + at as u8));
    assert_eq!(
        hex(&metadata),
        "bd307107a1d724a9ec18a3fa5d6fcf927f5b20a43619c99e0e83cc923375dbd6808182838485868788898a8b\
         046671b5ba66fe0f38cf40c1941266797cf973d009ad1cf6af490319afed"
    );
    let empty = seal(&key(7), &[0; 16], Part::Data, b"", [9; 12]);
    assert_eq!(
        hex(&empty),
        "9d38989ff1042c7a1ad742a3624043716c9e899487b39899c856c70fdbeebdae090909090909090909090909\
         d0c93ae0c64f8e9bac93352ecc3070a9"
    );
    assert_eq!(opened(&key(7), &[0; 16], Part::Data, &empty), Ok(Vec::new()));
}

/// Two blocks of this ciphertext solve, modulo 2^130 - 5, the equations that make its tag right under both keys.
#[test]
fn a_ciphertext_made_to_open_under_two_keys_opens_under_the_one_committed_to_only() {
    let (one, other, id, nonce) = (key(1), key(2), [5; 16], [3; 12]);
    let ciphertext = unhex(
        "106fd7844981de18ec8c01154f536eedbb3a1c82007c95d52c45283b2144217c\
         1f48ae75ec925157801646cc590f0963639347c6baf17d67aaac442f7e4cc553",
    );
    let (text, tag) = ciphertext.split_at(ciphertext.len() - TAG_BYTES);
    for key in [&one, &other] {
        let mut text = text.to_vec();
        let associated = Part::Data.associated(&id);
        let tag: [u8; TAG_BYTES] = tag.try_into().unwrap();
        let without_commitment = key.cipher().decrypt_inout_detached(
            &nonce.into(),
            &associated,
            (&mut text[..]).into(),
            &tag.into(),
        );
        assert!(without_commitment.is_ok(), "the cipher itself takes either key");
    }
    let head = one.commitment(&id).into_bytes();
    let stored = [&head[..], &nonce[..], &ciphertext].concat();
    assert_eq!(opened(&one, &id, Part::Data, &stored).unwrap().len(), 48);
    assert_eq!(opened(&other, &id, Part::Data, &stored), Err(Refused::OtherKey));
}

#[test]
fn an_envelope_opens_neither_for_another_event_nor_as_the_other_part() {
    let stored = seal(&key(1), &[1; 16], Part::Data, b"text", [0; 12]);
    assert_eq!(opened(&key(1), &[1; 16], Part::Data, &stored).unwrap(), b"text");
    assert_eq!(opened(&key(1), &[2; 16], Part::Data, &stored), Err(Refused::OtherKey));
    assert_eq!(opened(&key(1), &[1; 16], Part::Metadata, &stored), Err(Refused::Altered));
    assert_eq!(opened(&key(2), &[1; 16], Part::Data, &stored), Err(Refused::OtherKey));
}

proptest! {
    #[test]
    fn what_was_sealed_is_opened_again(bytes: [u8; 32], id: [u8; 16], nonce: [u8; 12], plain: Vec<u8>, data: bool) {
        let part = if data { Part::Data } else { Part::Metadata };
        let stored = seal(&DataKey::new(bytes), &id, part, &plain, nonce);
        prop_assert_eq!(stored.len(), plain.len() + OVERHEAD);
        prop_assert_eq!(opened(&DataKey::new(bytes), &id, part, &stored), Ok(plain));
    }

    #[test]
    fn one_flipped_bit_anywhere_is_refused(plain in proptest::collection::vec(any::<u8>(), 0..80), at: usize) {
        let mut stored = seal(&key(1), &[2; 16], Part::Data, &plain, [3; 12]);
        let at = at % (stored.len() * 8);
        stored[at / 8] ^= 1 << (at % 8);
        prop_assert!(opened(&key(1), &[2; 16], Part::Data, &stored).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(stored: Vec<u8>, cut in 0usize..100) {
        prop_assert!(opened(&key(1), &[2; 16], Part::Data, &stored).is_err());
        let whole = seal(&key(1), &[2; 16], Part::Data, b"a text of some length", [3; 12]);
        let cut = cut % whole.len();
        prop_assert!(opened(&key(1), &[2; 16], Part::Data, &whole[..cut]).is_err());
    }
}
