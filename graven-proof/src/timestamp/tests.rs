use super::*;
use proptest::prelude::*;

const MESSAGE: &[u8] = b"log.example/store/1\n7\nAAAA\n";
const NONCE: u64 = 0x8123_4567_89ab_cdef;

/// Parts of an answer that a test changes.
struct Parts {
    status: Vec<u8>,
    digest: Vec<u8>,
    imprint: Vec<u8>,
    time: &'static str,
    nonce: Option<Vec<u8>>,
    signers: Vec<u8>,
}

impl Default for Parts {
    fn default() -> Parts {
        Parts {
            status: der::write(INTEGER, &[0]),
            digest: [der::write(OBJECT_ID, SHA256), der::write(NULL, &[])].concat(),
            imprint: digest_parts([MESSAGE]).to_vec(),
            time: "20260228235959.25Z",
            nonce: Some(der::unsigned(NONCE)),
            signers: der::write(SEQUENCE, b"whoever"),
        }
    }
}

impl Parts {
    fn token(&self) -> Vec<u8> {
        let imprint = [der::write(SEQUENCE, &self.digest), der::write(OCTET_STRING, &self.imprint)].concat();
        let info = [
            der::write(INTEGER, &[1]),
            der::write(OBJECT_ID, &[0x2a, 0x03, 0x04, 0x01]),
            der::write(SEQUENCE, &imprint),
            der::write(INTEGER, &[0x4d]),
            der::write(GENERALIZED_TIME, self.time.as_bytes()),
            der::write(SEQUENCE, &der::write(INTEGER, &[1])),
            der::write(BOOLEAN, &[0xff]),
            self.nonce.as_ref().map(|nonce| der::write(INTEGER, nonce)).unwrap_or_default(),
            der::write(context(0), b"\x86\x01x"),
        ];
        let info = der::write(OCTET_STRING, &der::write(SEQUENCE, &info.concat()));
        let encapsulated = [der::write(OBJECT_ID, TST_INFO), der::write(context(0), &info)].concat();
        let signed = [
            der::write(INTEGER, &[3]),
            der::write(SET, &der::write(SEQUENCE, &self.digest)),
            der::write(SEQUENCE, &encapsulated),
            der::write(context(0), &[0x30; 300]),
            der::write(SET, &self.signers),
        ];
        let signed = der::write(context(0), &der::write(SEQUENCE, &signed.concat()));
        der::write(SEQUENCE, &[der::write(OBJECT_ID, SIGNED_DATA), signed].concat())
    }

    fn response(&self) -> Vec<u8> {
        der::write(SEQUENCE, &[der::write(SEQUENCE, &self.status), self.token()].concat())
    }
}

fn request() -> TimestampRequest {
    TimestampRequest::new(MESSAGE, NONCE)
}

/// The bytes of `openssl ts -query -sha256 -cert`, but for digest and nonce.
#[test]
fn a_request_is_the_one_openssl_writes() {
    let request = TimestampRequest { imprint: [0xab; 32], nonce: 0x1234 };
    let expected = [
        &b"\x30\x3d\x02\x01\x01\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
            [..],
        &[0xab; 32],
        b"\x02\x02\x12\x34\x01\x01\xff",
    ]
    .concat();
    assert_eq!(request.encode(), expected);
}

#[test]
fn an_answer_to_the_request_says_when_and_of_what() {
    let timestamp = request().accept(&Parts::default().response()).unwrap();
    assert_eq!(timestamp.time_us(), 1_772_323_199_250_000);
    assert_eq!(timestamp.expect_of(MESSAGE), Ok(()));
    assert_eq!(timestamp.expect_of(b"other bytes"), Err(Error::Imprint));
    assert_eq!(Timestamp::parse_token(timestamp.token()), Ok(timestamp));
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let accept = |parts: Parts| request().accept(&parts.response());
    let of_other_bytes = Parts { imprint: vec![7; 32], ..Parts::default() };
    assert_eq!(accept(of_other_bytes), Err(Error::Imprint));
    assert_eq!(accept(Parts { nonce: Some(vec![7]), ..Parts::default() }), Err(Error::Nonce));
    assert_eq!(accept(Parts { nonce: None, ..Parts::default() }), Err(Error::Nonce));
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_authority() {
    let texts = der::write(SEQUENCE, &der::write(der::UTF8_STRING, "not to\u{7}day".as_bytes()));
    let status = der::write(SEQUENCE, &[der::write(INTEGER, &[2]), texts].concat());
    let refused = request().accept(&der::write(SEQUENCE, &status)).unwrap_err();
    assert_eq!(refused, Error::Refused { status: 2, text: "not today".into() });
    assert_eq!(refused.to_string(), "the timestamp authority refused with status 2: not today");
}

#[test]
fn a_token_over_another_digest_without_signers_or_without_a_time_is_refused() {
    let accept = |parts: Parts| request().accept(&parts.response());
    let sha1 = der::write(OBJECT_ID, &[0x2b, 0x0e, 0x03, 0x02, 0x1a]);
    assert_eq!(accept(Parts { digest: sha1, ..Parts::default() }), Err(Error::Digest));
    let unsigned = Parts { signers: Vec::new(), ..Parts::default() };
    assert_eq!(accept(unsigned), Err(Error::Form("a signed TSTInfo")));
    for time in
        ["", "20260228235959", "2026022823595Z", "20260229000000Z", "20260228240000Z", "20260228235959.Z"]
    {
        let outcome = accept(Parts { time, ..Parts::default() });
        assert_eq!(outcome, Err(Error::Form("a time such as 20260101120000Z")), "{time:?}");
    }
    let granted = der::write(SEQUENCE, &der::write(SEQUENCE, &der::write(INTEGER, &[0])));
    assert_eq!(request().accept(&granted), Err(Error::Form("a token beside the status")));
}

#[test]
fn times_are_counted_from_1970() {
    for (text, seconds) in [
        ("19700101000000Z", 0),
        ("20000229120000Z", 951_825_600),
        ("20240229235959Z", 1_709_251_199),
        ("21000301000000Z", 4_107_542_400),
    ] {
        assert_eq!(time_us(text.as_bytes()), Some(seconds * 1_000_000), "{text}");
    }
}

#[test]
fn integers_have_one_spelling() {
    for (content, number) in [
        (&[0][..], Some(0)),
        (&[0x7f], Some(0x7f)),
        (&[0, 0x80], Some(0x80)),
        (&[0, 0x80, 0, 0, 0, 0, 0, 0], Some(1 << 55)),
        (&[0, 0x7f], None),
        (&[0x80], None),
        (&[], None),
        (&[1; 9], None),
    ] {
        assert_eq!(Reader::new(content).number(), number, "{content:?}");
    }
}

#[test]
fn lengths_have_one_spelling() {
    let long = der::write(OCTET_STRING, &[1; 300]);
    assert_eq!(Reader::new(&long).only(OCTET_STRING).unwrap().rest(), [1; 300]);
    for odd in
        [&b"\x04\x81\x01a"[..], b"\x04\x82\x00\x01a", b"\x04\x80a\x00\x00", b"\x04\x02a", b"\x04\x01ab"]
    {
        assert!(Reader::new(odd).only(OCTET_STRING).is_none(), "{odd:?}");
    }
}

proptest! {
    #[test]
    fn a_changed_byte_never_gives_another_claim(at: prop::sample::Index, byte: u8) {
        let good = Parts::default().response();
        let mut changed = good.clone();
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(timestamp) = request().accept(&changed) {
            prop_assert_eq!(timestamp.expect_of(MESSAGE), Ok(()));
            prop_assert_eq!(timestamp.nonce, Some(der::unsigned(NONCE)));
        }
    }

    #[test]
    fn a_cut_answer_is_refused(length in 0usize..400) {
        let good = Parts::default().response();
        prop_assume!(length < good.len());
        prop_assert!(request().accept(&good[..length]).is_err());
        prop_assert!(request().accept(&[&good[..], &[0]].concat()).is_err());
    }

    #[test]
    fn every_nonce_comes_back(nonce: u64) {
        let parts = Parts { nonce: Some(der::unsigned(nonce)), ..Parts::default() };
        prop_assert!(TimestampRequest::new(MESSAGE, nonce).accept(&parts.response()).is_ok());
        let integer = der::write(INTEGER, &der::unsigned(nonce));
        let number = Reader::new(&integer).only(INTEGER).unwrap().number();
        prop_assert_eq!(number, Some(nonce).filter(|nonce| nonce >> 63 == 0));
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Timestamp::parse_response(&bytes);
        let _ = Timestamp::parse_token(&bytes);
    }
}
