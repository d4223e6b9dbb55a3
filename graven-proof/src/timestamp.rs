//! Timestamps of a checkpoint by an authority (RFC 3161): the request, and what an answer says.
//!
//! A [`Timestamp`] is what an authority claims. That the claim is about these bytes and answers this request is checked
//! here; the authority's signature and certificates are not: `openssl ts -verify` does that, on the answer as it was kept.

mod der;

use crate::Hash;
use crate::sha256::digest_parts;
use der::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, NULL, OBJECT_ID, OCTET_STRING, Reader, SEQUENCE, SET, context,
};
use thiserror::Error;

/// Bytes of an answer at the most: a token with a long chain of certificates has some ten thousand.
pub const RESPONSE_BYTES_MAX: usize = 256 << 10;

/// Media type of a request.
pub const QUERY_MEDIA_TYPE: &str = "application/timestamp-query";

/// Media type of an answer.
pub const REPLY_MEDIA_TYPE: &str = "application/timestamp-reply";

/// 2.16.840.1.101.3.4.2.1
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.16.1.4
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];

/// Why bytes are no timestamp, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// More bytes than any answer has.
    #[error("an answer of a timestamp authority has at most {RESPONSE_BYTES_MAX} bytes, found {0}")]
    TooLong(usize),
    /// Not the DER that RFC 3161 describes.
    #[error("the timestamp is not as RFC 3161 has it: expected {0}")]
    Form(&'static str),
    /// The authority refused.
    #[error("the timestamp authority refused with status {status}{}{text}", if text.is_empty() { "" } else { ": " })]
    Refused {
        /// Its status: 2 for a rejection.
        status: u64,
        /// What it says in words.
        text: String,
    },
    /// Over another digest than SHA-256.
    #[error("the timestamp is over another kind of digest than SHA-256")]
    Digest,
    /// Over other bytes.
    #[error("the timestamp is of other bytes than these")]
    Imprint,
    /// The answer to another request, or an old one.
    #[error("the timestamp does not repeat the nonce of the request")]
    Nonce,
}

use TimestampError as Error;

/// A request to stamp some bytes, with the authority's certificate in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRequest {
    imprint: Hash,
    nonce: u64,
}

impl TimestampRequest {
    /// A request for a timestamp of `message`. `nonce` is random: it tells the answer from an older one.
    #[must_use]
    pub fn new(message: &[u8], nonce: u64) -> TimestampRequest {
        TimestampRequest { imprint: digest_parts([message]), nonce }
    }

    /// The request in DER.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let algorithm =
            der::write(SEQUENCE, &[der::write(OBJECT_ID, SHA256), der::write(NULL, &[])].concat());
        let imprint = der::write(SEQUENCE, &[algorithm, der::write(OCTET_STRING, &self.imprint)].concat());
        let parts = [
            der::write(INTEGER, &[1]),
            imprint,
            der::write(INTEGER, &der::unsigned(self.nonce)),
            der::write(BOOLEAN, &[0xff]),
        ];
        der::write(SEQUENCE, &parts.concat())
    }

    /// Reads the answer to this request.
    ///
    /// # Errors
    /// If the authority refused, the answer is malformed, or it answers another request.
    pub fn accept(&self, response: &[u8]) -> Result<Timestamp, Error> {
        let timestamp = Timestamp::parse_response(response)?;
        if timestamp.imprint != self.imprint {
            return Err(Error::Imprint);
        }
        if timestamp.nonce.as_deref() != Some(&der::unsigned(self.nonce)) {
            return Err(Error::Nonce);
        }
        Ok(timestamp)
    }
}

/// What an authority claims: that it saw bytes with this digest at this time. Its signature is not verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    token: Vec<u8>,
    imprint: Hash,
    nonce: Option<Vec<u8>>,
    time_us: u64,
}

impl Timestamp {
    /// Reads an answer: a status and, if the request was granted, a token.
    ///
    /// # Errors
    /// If the authority refused, or the bytes are not of this form.
    pub fn parse_response(bytes: &[u8]) -> Result<Timestamp, Error> {
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(Error::TooLong(bytes.len()));
        }
        let mut response = Reader::new(bytes).only(SEQUENCE).ok_or(Error::Form("one TimeStampResp"))?;
        let status = response.take(SEQUENCE).ok_or(Error::Form("a PKIStatusInfo"))?;
        granted(status)?;
        let token = response.rest();
        if token.is_empty() {
            return Err(Error::Form("a token beside the status"));
        }
        Timestamp::parse_token(token)
    }

    /// Reads a token alone.
    ///
    /// # Errors
    /// If the bytes are not of this form.
    pub fn parse_token(token: &[u8]) -> Result<Timestamp, Error> {
        if token.len() > RESPONSE_BYTES_MAX {
            return Err(Error::TooLong(token.len()));
        }
        let info = signed_info(token).ok_or(Error::Form("a signed TSTInfo"))?;
        let mut info = Reader::new(info).only(SEQUENCE).ok_or(Error::Form("one TSTInfo"))?;
        info.take(INTEGER).filter(|version| version.is(&[1])).ok_or(Error::Form("a TSTInfo of version 1"))?;
        info.take(OBJECT_ID).ok_or(Error::Form("a policy"))?;
        let imprint = imprint(info.take(SEQUENCE).ok_or(Error::Form("a message imprint"))?)?;
        info.take(INTEGER).ok_or(Error::Form("a serial number"))?;
        let time = info.take(GENERALIZED_TIME).map(Reader::rest);
        let time_us = time.and_then(time_us).ok_or(Error::Form("a time such as 20260101120000Z"))?;
        info.take(SEQUENCE);
        info.take(BOOLEAN);
        let nonce = info.take(INTEGER).map(|nonce| nonce.rest().to_vec());
        info.take(context(0));
        info.take(context(1));
        if !info.is_empty() {
            return Err(Error::Form("nothing after the extensions of the TSTInfo"));
        }
        Ok(Timestamp { token: token.to_vec(), imprint, nonce, time_us })
    }

    /// The token in DER, as it came.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// SHA-256 of the token.
    #[must_use]
    pub fn token_hash(&self) -> Hash {
        digest_parts([&self.token])
    }

    /// SHA-256 of the bytes it is about.
    #[must_use]
    pub fn imprint(&self) -> &Hash {
        &self.imprint
    }

    /// When the authority saw them, by its clock: microseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn time_us(&self) -> u64 {
        self.time_us
    }

    /// Checks that it is about these bytes.
    ///
    /// # Errors
    /// If it is about others.
    pub fn expect_of(&self, message: &[u8]) -> Result<(), Error> {
        if self.imprint == digest_parts([message]) { Ok(()) } else { Err(Error::Imprint) }
    }
}

fn granted(mut info: Reader<'_>) -> Result<(), Error> {
    let status = info.take(INTEGER).and_then(|status| status.number()).ok_or(Error::Form("a status"))?;
    // granted, and granted with modifications
    if status <= 1 {
        return Ok(());
    }
    let mut words: Vec<String> = Vec::new();
    if let Some(mut texts) = info.take(SEQUENCE) {
        while let Some(text) = texts.take(der::UTF8_STRING).filter(|_| words.len() < 8) {
            words.push(
                String::from_utf8_lossy(text.rest()).chars().filter(|c| !c.is_control()).take(200).collect(),
            );
        }
    }
    Err(Error::Refused { status, text: words.join(" ") })
}

/// The TSTInfo in a token; its signers are only counted.
fn signed_info(token: &[u8]) -> Option<&[u8]> {
    let mut content = Reader::new(token).only(SEQUENCE)?;
    content.take(OBJECT_ID).filter(|kind| kind.is(SIGNED_DATA))?;
    let mut signed = content.last(context(0))?.only(SEQUENCE)?;
    signed.take(INTEGER)?;
    signed.take(SET)?;
    let mut encapsulated = signed.take(SEQUENCE)?;
    encapsulated.take(OBJECT_ID).filter(|kind| kind.is(TST_INFO))?;
    let info = encapsulated.last(context(0))?.only(OCTET_STRING)?.rest();
    signed.take(context(0));
    signed.take(context(1));
    let signers = signed.last(SET)?;
    (!signers.is_empty()).then_some(info)
}

fn imprint(mut imprint: Reader<'_>) -> Result<Hash, Error> {
    let mut algorithm = imprint.take(SEQUENCE).ok_or(Error::Form("a digest algorithm"))?;
    if !algorithm.take(OBJECT_ID).is_some_and(|kind| kind.is(SHA256)) {
        return Err(Error::Digest);
    }
    // the parameters are absent or null
    let parameters = algorithm.take(NULL).is_none_or(|null| null.is_empty());
    let hash = imprint.last(OCTET_STRING).and_then(|hash| hash.rest().try_into().ok());
    hash.filter(|_| parameters && algorithm.is_empty()).ok_or(Error::Form("a SHA-256 digest of 32 bytes"))
}

/// `YYYYMMDDhhmmss[.fraction]Z` in microseconds since 1970; digits behind the sixth are cut off.
fn time_us(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    if whole.len() != 14 || !whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| whole[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if year < 1970 || !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let months: u64 = lengths[..month as usize - 1].iter().sum();
    let days = years + months + day - 1;
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests;
