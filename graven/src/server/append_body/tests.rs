use super::*;

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn one(body: &'static str) -> Result<(AppendRequest, Option<Expected>)> {
    single(&Bytes::from_static(body.as_bytes()), name("loan-1"), || EventId([9; 16]))
}

fn many(body: &'static str) -> Result<AppendRequest> {
    several(&Bytes::from_static(body.as_bytes()), || EventId([9; 16]))
}

#[test]
fn a_payload_is_kept_byte_for_byte() {
    let (request, expected) = one(
        r#"{"expected":41,"events":[
            {"id":"dbfe5d37-8a38-578b-a901-e862f11b7888","type":"A","data":{ "n" : 1.00 , "n":1e400},"metadata": [1,  2],
             "tags":["x","y"],"time":"2011-09-30T22:38:44.546Z","data_subject":"p"},
            {"type":"B","data":null},
            {"type":"B"},
            {"type":"C","data_base64":"AAE="},
            {"type":"D","content_type":"text/plain","data":"line\nbreak"}]}"#,
    )
    .unwrap();
    assert_eq!(expected, Some(Expected::Revision(graven_model::Revision(41))));
    let events: Vec<&NewEvent> = request.events.iter().map(|(_, event)| event).collect();
    assert_eq!(&events[0].data[..], br#"{ "n" : 1.00 , "n":1e400}"#);
    assert_eq!(&events[0].metadata[..], b"[1,  2]");
    assert_eq!(events[0].tags, ["x".into(), "y".into()]);
    assert_eq!(events[0].occurred_at.unwrap().micros(), 1_317_422_324_546_000);
    assert_eq!(&events[1].data[..], b"null");
    assert_eq!(events[1].id, EventId([9; 16]));
    assert!(events[2].data.is_empty());
    assert_eq!((&events[3].data[..], &events[3].content_type), (&[0u8, 1][..], &ContentType::Binary));
    assert_eq!(&events[4].data[..], b"line\nbreak");
}

#[test]
fn broken_json_is_named_by_line_and_column() {
    let error = one("{\"events\":[\n{\"type\":\"A\",,}]}").unwrap_err();
    assert_eq!(error.code, Code::InvalidJson);
    assert!(error.message.contains("line 2 column 13"), "{}", error.message);
    assert_eq!(one("{\"events\":[").unwrap_err().code, Code::InvalidJson);
    let error = single(&Bytes::from_static(b"{\"a\":\"\xff\"}"), name("s"), EventId::default).unwrap_err();
    assert_eq!(
        (error.code, error.found.as_deref()),
        (Code::InvalidJson, Some("an invalid byte at offset 6"))
    );
}

#[test]
fn a_field_that_does_not_fit_is_refused() {
    for (body, code) in [
        ("{}", Code::BadRequest),
        (r#"{"events":[],"evnts":[]}"#, Code::BadRequest),
        (r#"{"events":[{"type":"A","dta":1}]}"#, Code::BadRequest),
        (r#"{"events":[{"type":7}]}"#, Code::BadRequest),
        (r#"{"events":[{"data":1}]}"#, Code::BadRequest),
        (r#"{"events":[{"type":"A","stream":"x"}]}"#, Code::BadRequest),
        (r#"{"events":[{"type":"A","id":"1"}]}"#, Code::InvalidEventId),
        (r#"{"events":[{"type":"A","time":"now"}]}"#, Code::InvalidTime),
        (r#"{"events":[{"type":"A","data":1,"data_base64":"AA=="}]}"#, Code::BadRequest),
        (r#"{"events":[{"type":"A","data_base64":"AA"}]}"#, Code::BadRequest),
        (r#"{"events":[{"type":"A","data":{},"content_type":"text/plain"}]}"#, Code::BadRequest),
        (r#"{"events":[],"expected":"sometimes"}"#, Code::BadRequest),
        (r#"{"events":[],"unseen":-1}"#, Code::BadRequest),
        (r#"{"events":[],"condition":{"query":{"items":[{"type":["A"]}]}}}"#, Code::BadRequest),
    ] {
        assert_eq!(one(body).unwrap_err().code, code, "{body}");
    }
}

#[test]
fn the_wrong_event_is_named_by_its_index() {
    let error = one(r#"{"events":[{"type":"A"},{"type":"A","id":"1"}]}"#).unwrap_err();
    assert_eq!(error.details, Details::Item(1));
}

#[test]
fn several_streams_are_written_in_the_order_of_the_body() {
    let request = many(
        r#"{"streams":[{"stream":"a","expected":"none","events":[{"type":"A"},{"type":"B"}]},
                       {"stream":"b","expected":3}],
            "condition":{"query":{"items":[{"types":["T"],"tags":["x"]},{"all":true}]},"after":17},"unseen":5000}"#,
    )
    .unwrap();
    assert_eq!(request.streams.len(), 2);
    assert_eq!(request.streams[0].expected, Expected::NoStream);
    assert_eq!(request.events.len(), 2);
    assert_eq!(request.unseen_max, limits::UNSEEN_EVENTS_MAX);
    let condition = request.condition.unwrap();
    assert_eq!(condition.after, Some(Position(17)));
    assert!(condition.query.items[1].all);
}

#[test]
fn events_beside_their_streams_keep_the_order_they_have() {
    let request = many(
        r#"{"streams":[{"stream":"b","expected":"exists"}],
            "events":[{"stream":"a","type":"A"},{"stream":"b","type":"B"},{"stream":"a","type":"C"}]}"#,
    )
    .unwrap();
    let order: Vec<(&str, &str)> = request
        .events
        .iter()
        .map(|(index, event)| (request.streams[*index as usize].stream.as_str(), &*event.event_type))
        .collect();
    assert_eq!(order, [("a", "A"), ("b", "B"), ("a", "C")]);
    assert_eq!(request.streams[0].expected, Expected::Exists);
    assert_eq!(request.streams[1].expected, Expected::Any);
}

#[test]
fn an_order_that_is_not_clear_is_refused() {
    for body in [
        r#"{"streams":[{"stream":"a","events":[{"type":"A"}]}],"events":[{"stream":"b","type":"B"}]}"#,
        r#"{"streams":[{"stream":"a"},{"stream":"a"}]}"#,
    ] {
        assert_eq!(many(body).unwrap_err().code, Code::InvalidAppend, "{body}");
    }
    assert_eq!(many(r#"{"events":[{"type":"B"}]}"#).unwrap_err().code, Code::BadRequest);
    assert_eq!(many(r#"{"streams":[{"stream":""}]}"#).unwrap_err().code, Code::InvalidStreamName);
}
