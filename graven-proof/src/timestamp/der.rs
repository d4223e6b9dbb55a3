//! As much of DER as timestamps need: one-byte tags, definite lengths in their shortest form.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A tag of the context, constructed.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Bytes of which elements are taken one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The content of the next element, if it has this tag; otherwise nothing is taken.
    pub(super) fn take(&mut self, tag: u8) -> Option<Reader<'a>> {
        let rest = self.0.strip_prefix(&[tag])?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                let shortest = bytes[0] != 0 && length >= 0x80;
                (Some(length).filter(|_| shortest)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Reader(content))
    }

    /// [`Reader::take`] of what has to be the last element.
    pub(super) fn last(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).filter(|_| self.is_empty())
    }

    /// The content of the one element that the bytes have to be.
    pub(super) fn only(mut self, tag: u8) -> Option<Reader<'a>> {
        self.last(tag)
    }

    /// What has not been taken yet.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is(self, bytes: &[u8]) -> bool {
        self.0 == bytes
    }

    /// The content of an integer that is not negative and fits 63 bits.
    pub(super) fn number(self) -> Option<u64> {
        // a leading zero only says that the number is not negative
        let shortest = !matches!(self.0, [0, 0..=0x7f, ..]);
        let fits = (1..=8).contains(&self.0.len()) && self.0[0] < 0x80;
        (shortest && fits).then(|| self.0.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// An element.
pub(super) fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ 0..0x80) => out.push(length),
        _ => {
            let bytes = content.len().to_be_bytes();
            let skip = bytes.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | (bytes.len() - skip) as u8);
            out.extend_from_slice(&bytes[skip..]);
        }
    }
    out.extend_from_slice(content);
    out
}

/// The content of an integer.
pub(super) fn unsigned(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let skip = bytes.iter().take_while(|byte| **byte == 0).count().min(7);
    // a first bit of one would mean a negative number
    let sign: &[u8] = if bytes[skip] >= 0x80 { &[0] } else { &[] };
    [sign, &bytes[skip..]].concat()
}
