//! Holds answers against `openapi.json`: the path, the method, the status, the media type and the shape of the body.

use super::Answer;
use serde_json::Value;
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let text = std::fs::read_to_string(path).expect("openapi.json is checked in");
    serde_json::from_str(&text).expect("openapi.json is JSON")
});

/// Panics unless the document describes this answer to this request. A path it does not have must be answered 404, a
/// method it does not have 405.
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().expect("a path");
    let at = format!("{method} {path} → {}", answer.status);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{at}");
    let Some(item) = template(path) else {
        assert_eq!(answer.status, 404, "{at} is not in the document");
        return check_problem(&at, answer);
    };
    let Some(operation) = item.get(method.to_lowercase()).filter(|_| method != "HEAD") else {
        assert!(answer.status == 405 || method == "HEAD", "{at} is not in the document");
        if answer.status == 405 {
            check_problem(&at, answer);
        }
        return;
    };
    let responses = &operation["responses"];
    let response = responses.get(answer.status.to_string());
    if response.is_none() {
        assert!(answer.status >= 400, "{at} is not in the document");
    }
    let response = resolve(response.unwrap_or(&responses["default"]));
    if response["content"].is_null() {
        return assert!(answer.text().is_empty(), "{at} has a body, and none is described");
    }
    let media_type = answer.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().expect("a media type").trim();
    let content = &response["content"][media_type];
    assert!(content.is_object(), "{at} is not described as {media_type}");
    match media_type {
        "application/json" | "application/problem+json" if content["schema"].is_object() => {
            check_value(&at, &content["schema"], &answer.json());
        }
        "application/x-ndjson" => {
            for line in answer.lines() {
                check_value(&at, &content["schema"], &line);
            }
        }
        _ => {}
    }
    if answer.status >= 400 {
        check_problem(&at, answer);
    }
}

/// Panics unless the value has the shape of a schema in the document.
pub(crate) fn check_schema(name: &str, value: &Value) {
    check_value(name, &DOCUMENT["components"]["schemas"][name], value);
}

/// Every path and method of the document, with the operation.
pub(crate) fn operations() -> Vec<(String, String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("an item") {
            all.push((method.to_uppercase(), path.clone(), operation));
        }
    }
    all
}

fn check_problem(at: &str, answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{at}");
    let problem = answer.json();
    check_value(at, &DOCUMENT["components"]["schemas"]["Problem"], &problem);
    assert_eq!(problem["status"], answer.status, "{at}");
    assert_eq!(answer.header("retry-after").is_some(), problem["retryable"] == true, "{at}");
}

fn template(path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (mut want, mut have) = (template.split('/'), path.split('/'));
        loop {
            match (want.next(), have.next()) {
                (None, None) => return true,
                (Some(want), Some(have)) if want == have || want.starts_with('{') && !have.is_empty() => {}
                _ => return false,
            }
        }
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    // A path without parts in braces wins.
    let mut found: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
    found.sort_by_key(|(template, _)| template.matches('{').count());
    found.first().map(|(_, item)| *item)
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("references stay inside the document");
            resolve(DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => value,
    }
}

fn check_value(at: &str, schema: &'static Value, value: &Value) {
    if let Err(why) = fits(schema, value, "$") {
        panic!("{at}: {why}\n{value:#}");
    }
}

fn fits(schema: &'static Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = resolve(schema);
    if let Some(options) = schema["oneOf"].as_array() {
        let outcomes: Vec<_> = options.iter().map(|option| fits(option, value, at)).collect();
        if outcomes.iter().filter(|outcome| outcome.is_ok()).count() != 1 {
            return Err(format!("{at} does not fit exactly one of {}: {outcomes:?}", schema["oneOf"]));
        }
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(part, value, at)?;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{at} is {value}, not one of {words:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is(name, value)) {
        return Err(format!("{at} is {value}, not {types:?}"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            fits(items, value, &format!("{at}[{index}]"))?;
        }
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Err(format!("{at} lacks {name}"));
        }
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (name, value) in fields {
        match properties.get(name) {
            Some(property) => fits(property, value, &format!("{at}.{name}"))?,
            // Only metadata of a stream holds keys nobody described.
            None if properties.contains_key("$maxCount") => {}
            None => return Err(format!("{at}.{name} is not described")),
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
