//! Query strings: decoded strictly, every parameter known, none given twice unless it may be.

use graven_model::{Code, Error, Result, limits};

/// The parameters of one request. Each handler takes what it knows and then calls [`QueryParams::finish`].
#[derive(Debug, Default)]
pub(super) struct QueryParams {
    pairs: Vec<(String, String)>,
    asked: Vec<&'static str>,
}

impl QueryParams {
    /// Splits and decodes a query string.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for broken percent-encoding and for bytes that are not UTF-8.
    pub(super) fn parse(query: Option<&str>) -> Result<QueryParams> {
        let mut pairs = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(QueryParams { pairs, asked: Vec::new() })
    }

    /// Takes a parameter that may be given once.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it is given twice.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        let mut values = self.all(name);
        match values.len() {
            0 => Ok(None),
            1 => Ok(values.pop()),
            _ => Err(Error::new(Code::BadRequest, format!("query parameter {name} is given more than once"))),
        }
    }

    /// Takes a parameter that may be given any number of times.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.asked.push(name);
        let mut values = Vec::new();
        self.pairs.retain_mut(|(given, value)| {
            if given == name {
                values.push(std::mem::take(value));
                return false;
            }
            true
        });
        values
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it is not one.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong(name, "a whole number", &text)),
        }
    }

    /// Takes `payload`: whether payloads are wanted as base64.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for another form.
    pub(super) fn base64_payload(&mut self) -> Result<bool> {
        self.text("payload")?
            .as_deref()
            .map(super::read_options::payload)
            .transpose()
            .map(Option::unwrap_or_default)
    }

    /// Takes `true` or `false`; the bare name means `true`.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for anything else.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// [`Code::BadRequest`], with the parameters there are.
    pub(super) fn finish(self) -> Result<()> {
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        let known = if self.asked.is_empty() { "no parameters".to_owned() } else { self.asked.join(", ") };
        Err(Error::new(Code::BadRequest, "unknown query parameter")
            .expected(known)
            .found(limits::shorten(name)))
    }
}

/// The position a read has to see, for reads without other parameters.
///
/// # Errors
/// [`Code::BadRequest`].
pub(super) fn min_position_alone(query: Option<&str>) -> Result<Option<u64>> {
    let mut params = QueryParams::parse(query)?;
    let position = params.number("min_position")?;
    params.finish()?;
    Ok(position)
}

/// The error for a parameter that does not read.
pub(super) fn wrong(name: &str, expected: &str, found: &str) -> Error {
    Error::new(Code::BadRequest, format!("{name} does not read"))
        .expected(expected)
        .found(format!("{:?}", limits::shorten(found)))
}

/// Decodes one part of a query string.
///
/// # Errors
/// [`Code::BadRequest`] for broken percent-encoding and for bytes that are not UTF-8.
pub(super) fn decode(text: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => {
                        out.push(u8::try_from(high << 4 | low).expect("two hexadecimal digits"))
                    }
                    _ => {
                        return Err(Error::new(
                            Code::BadRequest,
                            "the query holds a broken percent-encoding",
                        ));
                    }
                }
            }
            other => out.push(*other),
        }
    }
    String::from_utf8(out).map_err(|_| Error::new(Code::BadRequest, "the query is not valid UTF-8"))
}

/// Encodes text for a query value.
pub(super) fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_taken_once() {
        let mut params = QueryParams::parse(Some("a=x%20y+z&n=7&f&t=1&t=2")).unwrap();
        assert_eq!(params.text("a").unwrap().unwrap(), "x y z");
        assert_eq!(params.number("n").unwrap(), Some(7));
        assert!(params.flag("f").unwrap());
        assert_eq!(params.all("t"), ["1", "2"]);
        assert_eq!(params.text("missing").unwrap(), None);
        params.finish().unwrap();
    }

    #[test]
    fn what_does_not_read_is_refused() {
        assert!(QueryParams::parse(Some("a=%f")).is_err());
        assert!(QueryParams::parse(Some("a=%zz")).is_err());
        assert!(QueryParams::parse(Some("a=%ff")).is_err());
        assert!(QueryParams::parse(Some("n=-1")).unwrap().number("n").is_err());
        assert!(QueryParams::parse(Some("f=maybe")).unwrap().flag("f").is_err());
        assert!(QueryParams::parse(Some("a=1&a=2")).unwrap().text("a").is_err());
    }

    #[test]
    fn an_unknown_parameter_is_an_error_that_names_the_known_ones() {
        let mut params = QueryParams::parse(Some("limt=7")).unwrap();
        params.number("limit").unwrap();
        let error = params.finish().unwrap_err();
        assert_eq!(error.code, Code::BadRequest);
        assert_eq!(error.expected.as_deref(), Some("limit"));
        assert_eq!(error.found.as_deref(), Some("limt"));
    }

    #[test]
    fn encoding_reads_back() {
        let mut out = String::from("a=");
        encode(&mut out, "ä &=+%/\"<>");
        assert_eq!(QueryParams::parse(Some(&out)).unwrap().text("a").unwrap().unwrap(), "ä &=+%/\"<>");
    }
}
