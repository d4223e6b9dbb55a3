//! The fields of an encoded message one after the other, without a message in between: what the decoders of the hot
//! paths stand on.
//!
//! Reads what comes from outside: every length is compared with what there is, nothing recurses and nothing panics.
//! The rules are those of proto3. Who reads takes the last value of a field and leaves out the fields it does not know;
//! a group, which proto3 does not have, is an error.

use graven_model::{Code, Error, Result};

/// The fields of one message, in the order they are encoded in.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// What a field holds, as its wire type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    Fixed64(u64),
}

impl<'a> Fields<'a> {
    /// Of a message's bytes. Whoever wants to share their memory calls [`bytes::Bytes::slice_ref`] with a value.
    pub(crate) fn of(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    /// The number of the next field and what it holds; `None` at the end of the message.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if what follows is no field. There is nothing to read after an error.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        match self.field() {
            Some(field) => Ok(Some(field)),
            None => {
                self.0 = &[];
                Err(Error::new(Code::BadRequest, "the message is cut off or holds what is no field"))
            }
        }
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return None,
        };
        let number = key >> 3;
        (number != 0).then_some((number, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

impl<'a> Value<'a> {
    /// A number, of every type that is encoded as a varint: `as i64`, `as u32`, `as i32` and `!= 0` make of it what
    /// the interface says it is.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it is something else.
    pub(crate) fn number(self) -> Result<u64> {
        match self {
            Value::Varint(number) => Ok(number),
            _ => Err(self.not_a("a number")),
        }
    }

    /// Bytes, or a message within the message.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it is something else.
    pub(crate) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.not_a("bytes")),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it is something else or not UTF-8.
    pub(crate) fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| Error::new(Code::BadRequest, "a text in the message is not valid UTF-8"))
    }

    fn not_a(self, what: &str) -> Error {
        let found = match self {
            Value::Varint(_) => "a number",
            Value::Bytes(_) => "bytes",
            Value::Fixed32(_) => "four bytes",
            Value::Fixed64(_) => "eight bytes",
        };
        Error::new(Code::BadRequest, "a field of the message is of another type").expected(what).found(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::encoding::{WireType, encode_key, encode_varint};

    fn all(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>> {
        let mut fields = Fields::of(message);
        std::iter::from_fn(|| fields.next().transpose()).collect()
    }

    fn value() -> impl Strategy<Value = (u8, u64, Vec<u8>)> {
        (0u8..4, any::<u64>(), vec(any::<u8>(), 0..300))
    }

    proptest! {
        #[test]
        fn fields_come_in_the_order_they_are_encoded_in(fields in vec((1u32..1 << 29, value()), 0..8)) {
            let mut message = Vec::new();
            for (number, (kind, value, bytes)) in &fields {
                match kind {
                    0 => {
                        encode_key(*number, WireType::Varint, &mut message);
                        encode_varint(*value, &mut message);
                    }
                    1 => {
                        encode_key(*number, WireType::LengthDelimited, &mut message);
                        encode_varint(bytes.len() as u64, &mut message);
                        message.extend_from_slice(bytes);
                    }
                    2 => {
                        encode_key(*number, WireType::ThirtyTwoBit, &mut message);
                        message.extend_from_slice(&(*value as u32).to_le_bytes());
                    }
                    _ => {
                        encode_key(*number, WireType::SixtyFourBit, &mut message);
                        message.extend_from_slice(&value.to_le_bytes());
                    }
                }
            }
            let expected: Vec<_> = fields
                .iter()
                .map(|(number, (kind, value, bytes))| {
                    let value = match kind {
                        0 => Value::Varint(*value),
                        1 => Value::Bytes(bytes),
                        2 => Value::Fixed32(*value as u32),
                        _ => Value::Fixed64(*value),
                    };
                    (*number, value)
                })
                .collect();
            prop_assert_eq!(all(&message).unwrap(), expected);
        }

        #[test]
        fn bytes_of_any_kind_end_with_a_field_or_an_error(bytes in vec(any::<u8>(), 0..64)) {
            let mut fields = Fields::of(&bytes);
            while let Ok(Some(_)) = fields.next() {}
            prop_assert_eq!(fields.next().unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_field_is_refused() {
        let numberless = [0x00, 0x01];
        let group = [0x0b, 0x0c];
        let beyond_its_end = [0x0a, 0x02, 0x61];
        let longer_than_memory = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let more_than_64_bits = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        let without_end = [0x08, 0xff];
        let cases: [&[u8]; 6] =
            [&numberless, &group, &beyond_its_end, &longer_than_memory, &more_than_64_bits, &without_end];
        for case in cases {
            assert_eq!(all(case).unwrap_err().code, Code::BadRequest, "{case:?}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let code = |error: Error| error.code;
        assert_eq!(Value::Bytes(b"x").number().map_err(code), Err(Code::BadRequest));
        assert_eq!(Value::Varint(1).bytes().map_err(code), Err(Code::BadRequest));
        assert_eq!(Value::Fixed32(1).number().map_err(code), Err(Code::BadRequest));
        assert_eq!(Value::Fixed64(1).text().map_err(code), Err(Code::BadRequest));
        assert_eq!(Value::Bytes(&[0xff]).text().map_err(code), Err(Code::BadRequest));
        assert_eq!(Value::Bytes("é".as_bytes()).text().map_err(code), Ok("é"));
    }
}
