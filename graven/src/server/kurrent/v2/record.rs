//! Records as events: the schema names the type, the properties become metadata.

use crate::server::kurrent::errors::Refusal;
use crate::server::kurrent::words::content_type;
use graven_model::{Code, EventId, NewEvent, SchemaRef, limits};
use graven_proto::kurrentdb::v2::{AppendRecord, SchemaFormat, SchemaInfo};
use graven_proto::kurrentdb::well_known::{Value, value::Kind};
use serde_json::{Map, Number};
use std::collections::BTreeMap;

/// A record as an event, and how many bytes it brings; `at` is its place among the records of its message.
///
/// # Errors
/// The field that is not as it has to be; the record is too large.
pub(super) fn event(
    at: usize,
    stream: &str,
    record: AppendRecord,
    new_id: impl FnOnce() -> EventId,
) -> Result<(NewEvent, usize), Refusal> {
    let AppendRecord { record_id, properties, schema, data, .. } = record;
    let wrong = |field: &str, what: &str| {
        Refusal::bad_request(Code::InvalidAppend, &format!("records[{at}].{field}"), what)
    };
    let id = match &record_id {
        Some(text) => EventId::parse(text).map_err(|error| wrong("record_id", &error.to_string()))?,
        None => new_id(),
    };
    let schema = schema.ok_or_else(|| wrong("schema", "the schema is missing"))?;
    let format = match SchemaFormat::try_from(schema.format) {
        Ok(SchemaFormat::Unspecified) | Err(_) => {
            return Err(wrong("schema.format", "the format is missing, or not one there is"));
        }
        Ok(format) => format,
    };
    check_name(&schema.name).map_err(|what| wrong("schema.name", &what))?;
    if let Some(schema_id) = &schema.id {
        EventId::parse(schema_id).map_err(|_| wrong("schema.id", "the schema's id is not a UUID"))?;
    }
    let metadata = metadata(properties, &schema, format).map_err(|what| wrong("properties", &what))?;
    let size = data.len() + metadata.len();
    if size > limits::EVENT_BYTES_MAX {
        return Err(Refusal::record_too_large(stream, &id.to_string(), size));
    }
    let announced =
        if format == SchemaFormat::Json { "application/json" } else { "application/octet-stream" };
    let event = NewEvent {
        id,
        event_type: schema.name.into(),
        content_type: content_type(announced, &data),
        data,
        metadata: metadata.into(),
        occurred_at: None,
        schema: SchemaRef::default(),
        tags: Vec::new(),
        data_subject: None,
        encrypted: false,
    };
    Ok((event, size))
}

/// Letters, digits, and what the names of types are put together with.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '$' | ':' | '-');
    if name.is_empty() || name.len() > limits::EVENT_TYPE_BYTES_MAX || !name.chars().all(fits) {
        return Err(format!(
            "{:?} is not a name of 1 to {} bytes of letters, digits, '_', '.', '$', ':' and '-'",
            limits::shorten(name),
            limits::EVENT_TYPE_BYTES_MAX
        ));
    }
    Ok(())
}

/// The properties and the schema as one JSON object, as clients of the older service expect it of such an event.
fn metadata(
    properties: BTreeMap<String, Value>,
    schema: &SchemaInfo,
    format: SchemaFormat,
) -> Result<Vec<u8>, String> {
    let mut object = Map::new();
    for (key, value) in properties {
        if key.is_empty() {
            return Err("a property has no name".to_owned());
        }
        let value = json(value).map_err(|what| format!("{:?} {what}", limits::shorten(&key)))?;
        object.insert(key, value);
    }
    let format = match format {
        SchemaFormat::Protobuf => "Protobuf",
        SchemaFormat::Avro => "Avro",
        SchemaFormat::Bytes => "Bytes",
        SchemaFormat::Json | SchemaFormat::Unspecified => "Json",
    };
    object.insert("$schema.name".to_owned(), schema.name.clone().into());
    object.insert("$schema.format".to_owned(), format.into());
    if let Some(id) = &schema.id {
        object.insert("$schema.id".to_owned(), id.clone().into());
    }
    serde_json::to_vec(&object).map_err(|error| error.to_string())
}

/// Numbers below this are exact in the form they come in.
const EXACT_BELOW: f64 = (1_u64 << 53) as f64;

/// A value as JSON. It is as deep as the decoder of messages let it be.
fn json(value: Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value.kind.ok_or("has no value")? {
        Kind::NullValue(_) => serde_json::Value::Null,
        Kind::BoolValue(value) => value.into(),
        Kind::StringValue(text) => text.into(),
        Kind::NumberValue(number) if number.fract() == 0.0 && number.abs() < EXACT_BELOW => {
            (number as i64).into()
        }
        Kind::NumberValue(number) => {
            Number::from_f64(number).ok_or("is a number JSON has no form for")?.into()
        }
        Kind::ListValue(list) => list.values.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Kind::StructValue(object) => {
            let fields = object.fields.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            fields.collect::<Result<Map<_, _>, &str>>()?.into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::ContentType;
    use graven_proto::kurrentdb::well_known::{ListValue, Struct};

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn record(format: SchemaFormat) -> AppendRecord {
        AppendRecord {
            record_id: Some("dbfe5d37-8a38-578b-a901-e862f11b7888".to_owned()),
            schema: Some(SchemaInfo { format: format as i32, name: "Opened".to_owned(), id: None }),
            data: "{}".into(),
            ..AppendRecord::default()
        }
    }

    fn stored(record: AppendRecord) -> NewEvent {
        event(0, "s", record, || EventId([9; 16])).unwrap().0
    }

    #[test]
    fn properties_and_schema_become_metadata() {
        let mut whole = record(SchemaFormat::Json);
        let list =
            vec![value(Kind::NumberValue(1.5)), value(Kind::NullValue(0)), value(Kind::BoolValue(true))];
        let inner = Struct { fields: BTreeMap::from([("n".to_owned(), value(Kind::NumberValue(-7.0)))]) };
        whole.properties = BTreeMap::from([
            ("text".to_owned(), value(Kind::StringValue("\"ä".to_owned()))),
            ("list".to_owned(), value(Kind::ListValue(ListValue { values: list }))),
            ("object".to_owned(), value(Kind::StructValue(inner))),
            ("$schema.name".to_owned(), value(Kind::StringValue("Another".to_owned()))),
        ]);
        whole.schema.as_mut().unwrap().id = Some("00000000-0000-0000-0000-000000000001".to_owned());
        let event = stored(whole);
        assert_eq!((&*event.event_type, event.content_type), ("Opened", ContentType::Json));
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&event.metadata).unwrap(),
            serde_json::json!({
                "text": "\"ä", "list": [1.5, null, true], "object": {"n": -7}, "$schema.name": "Opened",
                "$schema.format": "Json", "$schema.id": "00000000-0000-0000-0000-000000000001",
            })
        );
        assert!(event.metadata.windows(7).any(|part| part == b"{\"n\":-7"));
    }

    #[test]
    fn what_is_not_json_is_binary_and_says_its_format() {
        for (format, name) in [
            (SchemaFormat::Protobuf, "Protobuf"),
            (SchemaFormat::Avro, "Avro"),
            (SchemaFormat::Bytes, "Bytes"),
        ] {
            let event = stored(record(format));
            assert_eq!(event.content_type, ContentType::Binary);
            let metadata: serde_json::Value = serde_json::from_slice(&event.metadata).unwrap();
            assert_eq!(metadata["$schema.format"], name);
        }
    }

    #[test]
    fn a_record_without_an_id_gets_one() {
        let nameless = AppendRecord { record_id: None, ..record(SchemaFormat::Json) };
        assert_eq!(stored(nameless).id, EventId([9; 16]));
    }

    #[test]
    fn what_a_record_lacks_is_named() {
        let with_schema = |change: fn(&mut SchemaInfo)| {
            let mut record = record(SchemaFormat::Json);
            change(record.schema.as_mut().unwrap());
            record
        };
        let with = |key: &str, value: Value| AppendRecord {
            properties: BTreeMap::from([(key.to_owned(), value)]),
            ..record(SchemaFormat::Json)
        };
        let cases = [
            AppendRecord { record_id: Some(String::new()), ..record(SchemaFormat::Json) },
            AppendRecord { schema: None, ..record(SchemaFormat::Json) },
            record(SchemaFormat::Unspecified),
            with_schema(|schema| schema.format = 9),
            with_schema(|schema| schema.name = String::new()),
            with_schema(|schema| schema.name = "a b".to_owned()),
            with_schema(|schema| schema.id = Some("7".to_owned())),
            with("", value(Kind::BoolValue(true))),
            with("k", Value { kind: None }),
            with("k", value(Kind::NumberValue(f64::NAN))),
        ];
        for record in cases {
            let refusal = event(3, "s", record.clone(), || EventId([9; 16])).unwrap_err();
            assert_eq!(refusal.code(), Code::InvalidAppend, "{record:?}");
        }
        let large =
            AppendRecord { data: vec![0; limits::EVENT_BYTES_MAX].into(), ..record(SchemaFormat::Bytes) };
        let refusal = event(0, "s", large, || EventId([9; 16])).unwrap_err();
        assert_eq!(refusal.code(), Code::EventTooLarge);
    }
}
