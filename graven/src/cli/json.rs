//! JSON text as it stands, only its white space changed: numbers and the order of keys stay as they were stored.

use std::borrow::Cow;

/// The text on one line. Borrowed if it has no line breaks.
pub(crate) fn compact(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\r']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for token in tokens(text) {
        out.push_str(token);
    }
    Cow::Owned(out)
}

/// The text indented by two spaces a level.
pub(crate) fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut tokens = tokens(text).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                if let Some(close) = tokens.next_if(|next| matches!(*next, "}" | "]")) {
                    out.push_str(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            other => out.push_str(other),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Strings, numbers and words, and single punctuation characters.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let bytes = rest.as_bytes();
        let end = match bytes.first()? {
            b'"' => string_end(bytes),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => rest.find(['{', '}', '[', ']', ',', ':', '"', ' ', '\t', '\n', '\r']).unwrap_or(rest.len()),
        };
        let (token, tail) = rest.split_at(end);
        rest = tail;
        Some(token)
    })
}

fn string_end(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_changes() {
        let text = "{\n \"b\" : 1.50e400, \"a\": [ ],\r\n\"s\": \"x \\\" { \\n\", \"o\": {} , \"l\": [1, {\"z\":null}]}";
        assert_eq!(compact(text), r#"{"b":1.50e400,"a":[],"s":"x \" { \n","o":{},"l":[1,{"z":null}]}"#);
        assert_eq!(
            pretty(text),
            "{\n  \"b\": 1.50e400,\n  \"a\": [],\n  \"s\": \"x \\\" { \\n\",\n  \"o\": {},\n  \"l\": [\n    1,\n    {\n      \"z\": null\n    }\n  ]\n}"
        );
        assert!(matches!(compact("{\"a\": 1}"), Cow::Borrowed(_)));
    }
}
