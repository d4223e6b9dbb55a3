use super::*;
use crate::event::{CheckState, ContentType, Kind, SchemaRef, StoredEvent};
use crate::ids::{Position, Revision, Text};
use crate::time::Timestamp;
use proptest::prelude::*;

const LINE: &str = r#"{"specversion":"1.0","id":"81c536f2-9499-5078-934f-a9315ea2a83c","source":"urn:loan","type":"A_SUBMITTED","subject":"loan-1","time":"2011-09-30T22:38:44.880Z","datacontenttype":"application/json","data":{"a": [1.50, "x\n"]}}"#;

fn read(text: &str) -> Result<Incoming> {
    parse(&Bytes::copy_from_slice(text.as_bytes()), &mut Interner::new())
}

fn stored(Incoming { stream, event }: Incoming) -> StoredEvent {
    StoredEvent {
        position: Position(7),
        stream,
        revision: Revision(3),
        committed_at: Timestamp::from_micros(1),
        kind: Kind::Event,
        erased: false,
        event,
    }
}

fn written(event: &StoredEvent) -> String {
    let mut out = b"before".to_vec();
    write(event, &mut out);
    String::from_utf8(out.split_off(6)).unwrap()
}

/// [`LINE`] with one member more, or another value for it.
fn with(name: &str, value: &str) -> String {
    let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(LINE).unwrap();
    line.remove(name);
    let rest = serde_json::to_string(&line).unwrap();
    format!("{},{name:?}:{value}}}", rest.strip_suffix('}').unwrap())
}

fn without(name: &str) -> String {
    let mut line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(LINE).unwrap();
    line.remove(name).unwrap();
    serde_json::to_string(&line).unwrap()
}

#[test]
fn a_usual_line_reads_into_an_event_and_writes_as_it_was() {
    let incoming = read(LINE).unwrap();
    assert_eq!(incoming.stream.as_str(), "loan-1");
    let event = &incoming.event;
    assert_eq!(event.id, EventId::parse("81c536f2-9499-5078-934f-a9315ea2a83c").unwrap());
    assert_eq!(&*event.event_type, "A_SUBMITTED");
    assert_eq!(event.content_type, ContentType::Json);
    assert_eq!(event.data, r#"{"a": [1.50, "x\n"]}"#);
    assert_eq!(event.metadata, r#"{"ce":{"source":"urn:loan"}}"#);
    assert_eq!(event.occurred_at.unwrap().to_string(), "2011-09-30T22:38:44.88Z");
    assert_eq!(written(&stored(incoming)), LINE);
}

#[test]
fn payloads_are_slices_of_the_line() {
    let line = Bytes::from(LINE);
    let incoming = parse(&line, &mut Interner::new()).unwrap();
    assert!(line.as_ptr_range().contains(&incoming.event.data.as_ptr()));
    let text =
        Bytes::from(with("datacontenttype", r#""text/plain""#).replace("{\"a\":[1.5,\"x\\n\"]}", "\"hi\""));
    let incoming = parse(&text, &mut Interner::new()).unwrap();
    assert_eq!(incoming.event.data, "hi");
    assert!(text.as_ptr_range().contains(&incoming.event.data.as_ptr()));
}

#[test]
fn every_attribute_the_event_has_no_word_for_is_kept() {
    let line = r#"{"specversion":"1.0","id":"order 7/ü","source":"https://x.example/a\"b","type":"t","subject":"s-1","time":"2011-10-01T00:38:44.546+02:00","datacontenttype":"application/json","dataschema":"urn:schema:1","traceparent":"00-ab","sampled":true,"hops":-3}"#;
    let incoming = read(line).unwrap();
    assert_eq!(
        incoming.event.metadata,
        r#"{"ce":{"source":"https://x.example/a\"b","id":"order 7/ü","time":"2011-10-01T00:38:44.546+02:00","dataschema":"urn:schema:1","traceparent":"00-ab","sampled":true,"hops":-3}}"#
    );
    assert_eq!(incoming.event.id, derived_id("https://x.example/a\"b", "order 7/ü"));
    assert_eq!(incoming.event.occurred_at.unwrap().micros(), 1_317_422_324_546_000);
    assert_eq!(incoming.event.data, "");
    assert_eq!(written(&stored(incoming)), line);
}

#[test]
fn an_id_that_is_no_uuid_becomes_the_same_uuid_each_time() {
    // Computed apart: SHA-256 of the domain, the length of "urn:loan" in eight bytes, "urn:loan", "7".
    let id = derived_id("urn:loan", "7");
    assert_eq!(id.to_string(), "902ce3b9-b35b-813d-8993-494906789a38");
    assert_eq!(read(&with("id", "\"7\"")).unwrap().event.id, id);
    assert_ne!(derived_id("urn:loa", "n7"), id);
}

#[test]
fn a_uuid_in_another_form_is_the_event_id_and_its_text_is_kept() {
    for text in ["81C536F2-9499-5078-934F-A9315EA2A83C", "81c536f294995078934fa9315ea2a83c"] {
        let line = with("id", &format!("{text:?}"));
        let incoming = read(&line).unwrap();
        assert_eq!(incoming.event.id, EventId::parse(text).unwrap());
        assert_eq!(incoming.event.metadata, format!(r#"{{"ce":{{"source":"urn:loan","id":"{text}"}}}}"#));
        assert!(written(&stored(incoming)).contains(&format!("\"id\":\"{text}\"")));
    }
}

#[test]
fn a_time_is_kept_only_if_it_says_more_than_microseconds() {
    for (text, kept) in [
        ("2011-09-30T22:38:44Z", false),
        ("2011-09-30T22:38:44.880000Z", false),
        ("2011-09-30T22:38:44.123456Z", false),
        ("2011-09-30T22:38:44.1234567Z", true),
        ("2011-09-30T22:38:44+01:00", true),
    ] {
        let incoming = read(&with("time", &format!("{text:?}"))).unwrap();
        let metadata = String::from_utf8(incoming.event.metadata.to_vec()).unwrap();
        assert_eq!(metadata.contains(text), kept, "{metadata}");
        assert_eq!(written(&stored(incoming)).contains(text), kept || text.ends_with(".123456Z"));
    }
}

#[test]
fn null_attributes_are_absent_but_null_data_is_json() {
    let incoming = read(&with("time", "null")).unwrap();
    assert_eq!(incoming.event.occurred_at, None);
    assert_eq!(read(&with("traceparent", "null")).unwrap().event.metadata, r#"{"ce":{"source":"urn:loan"}}"#);
    assert_eq!(read(&with("datacontenttype", "null")).unwrap().event.content_type, ContentType::Json);
    assert_eq!(read(&with("data", "null")).unwrap().event.data, "null");
    assert_eq!(read(&with("data_base64", "null")).unwrap().event.data, r#"{"a":[1.5,"x\n"]}"#);
    assert_eq!(read(&with("graventags", "null")).unwrap().event.tags, Vec::<Text>::new());
}

#[test]
fn what_graven_adds_travels_in_extension_attributes() {
    let mut event = stored(read(LINE).unwrap());
    event.event.tags = vec!["a".into(), "b c".into()];
    event.event.data_subject = Some("alice".into());
    event.event.schema = SchemaRef { version: 2, id: 17, check: CheckState::Failed };
    event.event.encrypted = true;
    event.event.metadata = Bytes::from(r#"{"ce":{"source":"urn:loan"},"user" : "bob"}"#);
    let line = written(&event);
    assert_eq!(
        line,
        LINE.replace(
            r#","data":"#,
            r#","graventags":"a,b c","gravensubject":"alice","gravenschema":"2/17/failed","gravenencrypted":true,"gravenmetadata":"{\"user\" : \"bob\"}","data":"#
        )
    );
    assert_eq!(stored(read(&line).unwrap()), event);
}

#[test]
fn metadata_from_elsewhere_comes_back_byte_for_byte() {
    for metadata in [
        &b""[..],
        b"{}",
        b"{ }",
        b"\xff\x00",
        b"null",
        br#"{"ce":1}"#,
        br#"{"ce":{}}"#,
        br#"{"ce":{"source":"urn:graven"}}"#,
        br#"{"ce":{"source":""}}"#,
        br#"{"ce":{"source":"x"} }"#,
        br#"{"ce":{"source":"x"},"ce":{"source":"y"}}"#,
        br#"{"ce":{"source":"x"}, }"#,
        br#"{"ce":{"source":"x"},}"#,
        br#"{"ce":{"source":"x"}}}"#,
        br#"{"ce":{"source":"x"},"a":{"b":1}  }"#,
        br#"{"ce": {"source":"x"}}"#,
        br#"{"ce":{"source":"\u0078"}}"#,
        br#"{"ce":{"source":"x","source":"x"}}"#,
        br#"{"ce":{"id":"x","source":"x"}}"#,
        br#"{"ce":{"source":"x","id":"not the id this makes"}}"#,
        br#"{"ce":{"source":"x","time":"2011-09-30T22:38:44.880Z"}}"#,
        br#"{"ce":{"source":"x","time":"2011-10-01T00:38:44.880+02:00"}}"#,
        br#"{"ce":{"source":"x","time":"2011-10-01T00:38:44.881+02:00"}}"#,
        br#"{"ce":{"source":"x","type":"y"}}"#,
        br#"{"ce":{"source":"x","graventags":"y"}}"#,
        br#"{"ce":{"source":"x","Upper":"y"}}"#,
        br#"{"ce":{"source":"x","big":2147483648}}"#,
        br#"{"ce":{"source":"x","big":1.5}}"#,
        br#"{"ce":{"hops":-0}}"#,
        br#"{"ce":{"hops":1}}"#,
        b"{\"ce\":{\"source\":\"x\"},\n\"a\":1}",
        b"{\"ce\":{\"source\":\"x\"},\"a\":\"\xff\"}",
    ] {
        let mut event = stored(read(LINE).unwrap());
        event.event.metadata = Bytes::from_static(metadata);
        let line = written(&event);
        assert_eq!(stored(read(&line).unwrap()), event, "{line}");
    }
}

#[test]
fn metadata_that_is_no_object_cannot_stand_beside_attributes() {
    let line = with("gravenmetadata", r#""[1]""#);
    let error = read(&line).unwrap_err();
    assert_eq!(error.code, Code::InvalidCloudEvent);
    assert!(read(&line.replace("urn:loan", DEFAULT_SOURCE)).is_ok());
    let blank = read(&with("gravenmetadata", r#"" { } ""#)).unwrap();
    assert_eq!(blank.event.metadata, r#"{"ce":{"source":"urn:loan"}}"#);
}

#[test]
fn payloads_of_every_content_type_come_back_byte_for_byte() {
    for content_type in [
        "application/json",
        "application/vnd.x+json; charset=utf-8",
        "text/plain",
        "application/octet-stream",
    ] {
        for data in [
            &b""[..],
            b"null",
            b"{}",
            b" {}",
            b"{}\t",
            b"{\n}",
            b"{\"a\":\r1}",
            b"\"text\"",
            b"not json",
            b"\"half",
            b"1 2",
            b"\xff\xfe",
            b"a\n\"b\"\\\x00",
            "ü\u{2028}".as_bytes(),
        ] {
            let mut event = stored(read(LINE).unwrap());
            event.event.content_type = ContentType::from_text(content_type);
            event.event.data = Bytes::from_static(data);
            let line = written(&event);
            assert!(!line.contains(['\n', '\r']));
            assert_eq!(stored(read(&line).unwrap()), event, "{line}");
        }
    }
}

#[test]
fn a_record_that_is_no_plain_event_is_refused_back() {
    let mut event = stored(read(LINE).unwrap());
    event.kind = Kind::Tombstone;
    let line = written(&event);
    assert!(line.contains(r#""gravenkind":"tombstone""#));
    assert_eq!(read(&line).unwrap_err().code, Code::InvalidCloudEvent);
}

#[test]
fn an_event_whose_payload_was_erased_says_so_and_is_refused_back() {
    let mut event = stored(read(LINE).unwrap());
    event.erased = true;
    event.event.data = Bytes::new();
    let line = written(&event);
    assert!(line.contains(r#""gravenerased":true"#) && !line.contains(r#""data""#), "{line}");
    assert_eq!(read(&line).unwrap_err().code, Code::InvalidCloudEvent);
}

#[test]
fn a_wrong_attribute_is_named() {
    for (line, name) in [
        (without("specversion"), "specversion"),
        (with("specversion", "\"0.3\""), "specversion"),
        (with("specversion", "1.0"), "specversion"),
        (without("id"), "id"),
        (with("id", "\"\""), "id"),
        (with("id", "7"), "id"),
        (without("source"), "source"),
        (with("source", "\"\""), "source"),
        (without("type"), "type"),
        (with("type", "null"), "type"),
        (without("subject"), "subject"),
        (with("subject", "\"\""), "subject"),
        (with("subject", r#""a\u0001""#), "subject"),
        (with("subject", r#""\ud800""#), "subject"),
        (with("subject", "\"$all\""), "subject"),
        (with("time", "\"yesterday\""), "time"),
        (with("time", "17"), "time"),
        (with("datacontenttype", "\"\""), "datacontenttype"),
        (with("datacontenttype", "\"text/xml\""), "data"),
        (with("data_base64", "\"AA==\""), "data_base64"),
        (with("data_base64", "\"AA==\"").replace("\"data\":", "\"datx\":"), "datx"),
        (without("data").replace('}', r#","data_base64":"A"}"#), "data_base64"),
        (with("Trace", "\"x\""), "Trace"),
        (with("trace-id", "\"x\""), "trace-id"),
        (with("$trace", "\"x\""), "$trace"),
        (with("", "\"x\""), ""),
        (with("hops", "1.5"), "hops"),
        (with("hops", "2147483648"), "hops"),
        (with("hops", "[1]"), "hops"),
        (with("hops", r#""\udc00""#), "hops"),
        (with("gravenfuture", "\"x\""), "gravenfuture"),
        (with("graventags", "\"\""), "graventags"),
        (with("graventags", "\"[1]\""), "graventags"),
        (with("gravenschema", "\"1/2\""), "gravenschema"),
        (with("gravenschema", "\"1/2/ok/3\""), "gravenschema"),
        (with("gravenschema", "\"1/2/fine\""), "gravenschema"),
        (with("gravenencrypted", "\"true\""), "gravenencrypted"),
        (with("gravenmetadatab64", "\"%\""), "gravenmetadatab64"),
        (with("graventime", "\"1\""), "graventime"),
        (with("graventime", "\"x\""), "graventime"),
    ] {
        let error = read(&line).unwrap_err();
        assert_eq!(error.code, Code::InvalidCloudEvent, "{line}");
        assert!(error.message.contains(&format!("{name:?}")), "{line}\n{error}");
    }
}

#[test]
fn an_attribute_given_twice_is_refused() {
    for name in ["id", "specversion", "data", "traceparent", "graventags"] {
        let twice = with(name, "\"1.0\"").replace('}', &format!(",{name:?}:\"1.0\"}}"));
        let error = read(&twice).unwrap_err();
        assert_eq!(error.code, Code::InvalidCloudEvent);
        assert!(error.message.contains("twice"), "{error}");
    }
    let disguised = LINE.replacen("\"id\"", r#""i\u0064":"x","id""#, 1);
    assert!(read(&disguised).unwrap_err().message.contains("twice"));
}

#[test]
fn too_many_extensions_are_refused() {
    let extensions = |count: usize| (0..count).map(|number| format!(",\"e{number}\":1")).collect::<String>();
    let line = |count| LINE.replace(",\"data\"", &format!("{},\"data\"", extensions(count)));
    assert!(read(&line(limits::CLOUDEVENT_EXTENSIONS_MAX)).is_ok());
    let error = read(&line(limits::CLOUDEVENT_EXTENSIONS_MAX + 1)).unwrap_err();
    assert_eq!(error.code, Code::InvalidCloudEvent);
    assert!(error.message.contains("too many"), "{error}");
}

#[test]
fn broken_json_is_told_from_a_wrong_event() {
    for text in
        ["", " ", "{", "{\"a\"}", "{\"a\":1,}", "nul", "{} {}", "{\"specversion\":\"1.0\"", "\u{feff}{}"]
    {
        assert_eq!(read(text).unwrap_err().code, Code::InvalidJson, "{text}");
    }
    assert_eq!(read(&LINE[..LINE.len() - 1]).unwrap_err().code, Code::InvalidJson);
    for text in ["[]", "1", "\"x\"", "null", "{}"] {
        assert_eq!(read(text).unwrap_err().code, Code::InvalidCloudEvent, "{text}");
    }
    let bytes = Bytes::from_static(b"{\"id\":\"\xff\"}");
    assert_eq!(parse(&bytes, &mut Interner::new()).unwrap_err().code, Code::InvalidJson);
}

#[test]
fn deeply_nested_data_is_only_text() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let line = with("data", &deep);
    assert_eq!(read(&line).unwrap().event.data, deep);
    assert_eq!(read(&with("data", &"[".repeat(100_000))).unwrap_err().code, Code::InvalidJson);
}

#[test]
fn a_request_that_names_the_stream_needs_no_subject() {
    let stream = StreamName::new("loan-1").unwrap();
    let read = |text: String| parse_with_default_stream(&Bytes::from(text), &stream, &mut Interner::new());
    assert_eq!(read(without("subject")).unwrap().stream, stream);
    assert_eq!(read(with("subject", "null")).unwrap().stream, stream);
    assert_eq!(read(LINE.into()).unwrap().stream, stream);
    let error = read(with("subject", "\"loan-2\"")).unwrap_err();
    assert_eq!((error.code, error.expected.as_deref()), (Code::InvalidCloudEvent, Some("loan-1")));
}

#[test]
fn a_batch_is_an_array_and_names_the_item_that_is_wrong() {
    let batch =
        |text: &str| parse_batch(&Bytes::copy_from_slice(text.as_bytes()), None, &mut Interner::new());
    assert_eq!(batch("[]").unwrap(), []);
    let two = batch(&format!(" [{LINE} , {}]\n", with("subject", "\"x\""))).unwrap();
    assert_eq!(two[0], read(LINE).unwrap());
    assert_eq!(two[1].stream.as_str(), "x");
    let error = batch(&format!("[{LINE},{LINE},{}]", without("id"))).unwrap_err();
    assert_eq!((error.code, error.details), (Code::InvalidCloudEvent, Details::Item(2)));
    assert_eq!(batch(LINE).unwrap_err().code, Code::InvalidCloudEvent);
    assert_eq!(batch("[{}").unwrap_err().code, Code::InvalidJson);
    assert_eq!(batch("[] []").unwrap_err().code, Code::InvalidJson);
    let many = format!("[{}0]", "0,".repeat(limits::APPEND_EVENTS_MAX));
    assert_eq!(batch(&many).unwrap_err().code, Code::AppendTooLarge);
}

#[test]
fn names_that_share_a_slot_do_not_mix() {
    let mut interner = Interner::new();
    for round in 0..3 {
        for number in 0..20_000 {
            let line =
                LINE.replace("loan-1", &format!("loan-{number}")).replace("A_SUB", &format!("T{number}"));
            let incoming = parse(&Bytes::from(line), &mut interner).unwrap();
            assert_eq!(incoming.stream.as_str(), format!("loan-{number}"), "round {round}");
            assert_eq!(&*incoming.event.event_type, format!("T{number}MITTED"));
        }
    }
    let source = |source: &str, interner: &mut Interner| {
        let line = LINE.replace("urn:loan", source);
        String::from_utf8(parse(&Bytes::from(line), interner).unwrap().event.metadata.to_vec()).unwrap()
    };
    for name in ["a", "b", "b", "a", &"long".repeat(100), "a"] {
        assert_eq!(source(name, &mut interner), format!(r#"{{"ce":{{"source":"{name}"}}}}"#));
    }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((".{0,6}", inner), 0..4).prop_map(|members| {
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(name, value)| format!("{}:{value}", serde_json::to_string(&name).unwrap()))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        json().prop_map(Bytes::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        "\\PC{0,20}".prop_map(Bytes::from),
        Just(Bytes::new()),
    ]
}

fn metadata() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        bytes(),
        (".{0,8}", prop::collection::vec(("[a-z0-9]{1,5}", json()), 0..3), json(), any::<bool>()).prop_map(
            |(source, members, rest, more)| {
                let source = serde_json::to_string(&source).unwrap();
                let members: String =
                    members.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
                let rest = if more { format!(",\"x\":{rest}") } else { String::new() };
                Bytes::from(format!("{{\"ce\":{{\"source\":{source}{members}}}{rest}}}"))
            }
        ),
    ]
}

fn content_type() -> impl Strategy<Value = ContentType> {
    prop_oneof![
        Just(ContentType::Json),
        Just(ContentType::Binary),
        Just(ContentType::from_text("application/vnd.x+json")),
        "[!-~]{1,30}".prop_map(|text| ContentType::from_text(&text)),
    ]
}

fn stream_name() -> impl Strategy<Value = StreamName> {
    "\\PC{1,20}".prop_filter_map("a stream name", |name| StreamName::new(name).ok())
}

prop_compose! {
    fn stored_event()(
        stream in stream_name(),
        id: [u8; 16],
        event_type in "\\PC{1,20}",
        content_type in content_type(),
        data in bytes(),
        metadata in metadata(),
        occurred_at in prop::option::of(prop_oneof![any::<i64>(), -100_000_000_000_000_000..300_000_000_000_000_000i64]),
        schema in (any::<u32>(), any::<u32>(), 0..4u8),
        has_schema: bool,
        tags in prop::collection::vec(prop_oneof!["[a-z\\[,\"]{1,6}", "\\PC{1,8}"], 0..4),
        data_subject in prop::option::of("\\PC{1,10}"),
        encrypted: bool,
    ) -> StoredEvent {
        let schema = SchemaRef { version: schema.0, id: schema.1, check: CheckState::from_bits(schema.2) };
        stored(Incoming {
            stream,
            event: NewEvent {
                id: EventId(id),
                event_type: event_type.into(),
                content_type,
                data,
                metadata,
                occurred_at: occurred_at.map(Timestamp::from_micros),
                schema: if has_schema { schema } else { SchemaRef::default() },
                tags: tags.into_iter().map(Text::from).collect(),
                data_subject: data_subject.map(Text::from),
                encrypted,
            },
        })
    }
}

fn time_text() -> impl Strategy<Value = String> {
    let offset =
        prop_oneof![Just("Z"), Just("z"), Just("+00:00"), Just("-00:00"), Just("+02:00"), Just("-11:30")];
    (-60_000_000_000..250_000_000_000i64, "(\\.[0-9]{1,12})?", offset).prop_map(
        |(seconds, fraction, offset)| {
            let mut text = Vec::new();
            assert!(rfc3339::write(seconds * 1_000_000, &mut text));
            let text = String::from_utf8(text).unwrap();
            text.replace(".000Z", &format!("{fraction}{offset}"))
        },
    )
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

prop_compose! {
    /// A valid CloudEvent as others write them, its members in any order.
    fn cloud_event()(
        id in prop_oneof!["\\PC{1,12}", any::<[u8; 16]>().prop_map(|id| EventId(id).to_string())],
        source in prop_oneof![Just("urn:loan".to_owned()), Just(DEFAULT_SOURCE.to_owned()), "\\PC{1,12}"],
        event_type in "\\PC{1,12}",
        stream in stream_name(),
        time in prop::option::of(time_text()),
        schema in prop::option::of("\\PC{1,12}"),
        extensions in prop::collection::btree_map("x[a-z0-9]{1,6}", prop_oneof![
            ".{0,8}".prop_map(|text| quoted(&text)),
            any::<i32>().prop_map(|number| number.to_string()),
            any::<bool>().prop_map(|value| value.to_string()),
            Just("null".to_owned()),
        ], 0..4),
        data in prop_oneof![
            Just(Vec::new()),
            json().prop_map(|json| vec![("data", json)]),
            json().prop_map(|json| vec![("data", json), ("datacontenttype", quoted("application/x+json"))]),
            ".{0,12}".prop_map(|text| vec![("data", quoted(&text)), ("datacontenttype", quoted("text/plain"))]),
            Just(vec![("data_base64", quoted("AP8=")), ("datacontenttype", quoted("image/png"))]),
        ],
    )(
        members in {
            let mut members: Vec<(String, String)> = vec![
                ("specversion".into(), quoted("1.0")),
                ("id".into(), quoted(&id)),
                ("source".into(), quoted(&source)),
                ("type".into(), quoted(&event_type)),
                ("subject".into(), quoted(stream.as_str())),
            ];
            members.extend(time.map(|time| ("time".into(), quoted(&time))));
            members.extend(schema.map(|schema| ("dataschema".into(), quoted(&schema))));
            members.extend(data.into_iter().map(|(name, value)| (name.into(), value)));
            members.extend(extensions);
            Just(members).prop_shuffle()
        }
    ) -> String {
        let members: Vec<String> = members.iter().map(|(name, value)| format!(" {name:?} : {value}")).collect();
        format!("{{{} }}", members.join(","))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn an_event_however_it_came_in_survives_export_and_import(event in stored_event()) {
        let line = written(&event);
        prop_assert!(!line.contains(['\n', '\r']));
        let again = read(&line);
        prop_assert!(again.is_ok(), "{:?}\n{}", again, line);
        prop_assert_eq!(stored(again.unwrap()), event, "{}", line);
    }

    #[test]
    fn any_cloud_event_is_stored_the_same_after_export_and_import(line in cloud_event()) {
        let first = read(&line);
        prop_assert!(first.is_ok(), "{:?}\n{}", first, line);
        let first = stored(first.unwrap());
        let export = written(&first);
        let second = stored(read(&export).unwrap());
        prop_assert_eq!(&second, &first, "{}", export);
        prop_assert_eq!(written(&second), export);
    }

    #[test]
    fn ids_are_those_event_id_reads(text in prop_oneof![
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-g]{12}",
        "[0-9a-f-]{36}",
        "[0-9a-f]{32}",
    ]) {
        let (id, says_more) = kept::identify("urn:x", &text);
        prop_assert_eq!(id, EventId::parse(&text).unwrap_or_else(|_| derived_id("urn:x", &text)));
        prop_assert_eq!(says_more, id.to_string() != text);
    }

    #[test]
    fn bytes_from_anywhere_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = parse(&bytes, &mut Interner::new());
        let _ = parse_batch(&bytes, None, &mut Interner::new());
    }

    #[test]
    fn a_mutated_event_is_refused_or_stable_and_never_panics(
        line in cloud_event(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\"\\{}[],:0 \nae\xff\xc3".to_vec())), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = line.into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(incoming) = parse(&Bytes::from(bytes), &mut Interner::new()) {
            let event = stored(incoming);
            prop_assert_eq!(stored(read(&written(&event)).unwrap()), event);
        }
    }
}
