//! Request bodies broken in every place: each gets its documented answer, never a 5xx, and what was refused left nothing.

mod support;

use support::Server;

/// Put in at places all over a body.
const PIECES: &[&[u8]] = &[
    b"\"", b"{", b"]", b",", b"\\", b"\\u0000", b"\\ud800", b"\0", b"\xff", b"-", b"1e999", b"null", b"\n",
    b"[[[[",
];

const EVENTS: &str = r#"{"expected":"any","events":[
    {"id":"00000000-0000-4000-8000-000000000001","type":"T","data":{"a":[1,"\u00fc"]},"tags":["x:1"],"data_subject":"ada"},
    {"type":"U","data_base64":"AAEC","content_type":"application/octet-stream","metadata":{"m":1},"time":"2011-09-30T22:38:44.546Z"}],
    "condition":{"query":{"items":[{"types":["Never"],"tags":["x:2"]}]},"after":3},"unseen":2}"#;

const IN_STREAMS: &str = r#"{"streams":[{"stream":"a-1","expected":"any","events":[{"type":"T","data":1}]},
    {"stream":"a-2","expected":"any","events":[]}],"condition":{"query":{"items":[{"tags":["never"]}]}},"unseen":1}"#;

const BESIDE_STREAMS: &str = r#"{"streams":[{"stream":"a-2","expected":"any"}],"events":[
    {"stream":"a-3","type":"T","metadata_base64":"e30="},{"stream":"a-2","type":"T"},{"stream":"a-3","type":"U"}]}"#;

const CLOUDEVENT: &str = r#"{"specversion":"1.0","id":"00000000-0000-4000-8000-000000000009","source":"urn:s","type":"T",
    "subject":"c-1","time":"2011-10-01T00:38:44.546+02:00","datacontenttype":"application/json","data":{"x":-1.5},"ext":"y","graventags":"a,b"}"#;

/// Sends the body with every prefix, every byte flipped, and every piece at every fifth place.
fn break_everywhere(method: &str, target: &str, content_type: &str, body: &str) {
    let server = Server::start();
    let client = server.client();
    let body = body.as_bytes();
    let prefixes = (0..body.len()).map(|end| body[..end].to_vec());
    let flips = (0..body.len()).flat_map(|at| {
        [1, 0x20, 0x80].map(|bit| {
            let mut flipped = body.to_vec();
            flipped[at] ^= bit;
            flipped
        })
    });
    let insertions = (0..=body.len()).step_by(5).enumerate().map(|(turn, at)| {
        let piece = PIECES[turn % PIECES.len()];
        [&body[..at], piece, &body[at..]].concat()
    });

    let whole = client.send(method, target, &[("Content-Type", content_type)], Some(body));
    assert!(whole.status < 300, "the unbroken body is accepted: {}", whole.text());
    let mut stored = appended(&whole.json());
    for broken in prefixes.chain(flips).chain(insertions) {
        let answer = client.send(method, target, &[("Content-Type", content_type)], Some(&broken));
        assert!(answer.status < 500, "{}\n{}", broken.escape_ascii(), answer.text());
        if answer.status < 300 {
            stored += appended(&answer.json());
        }
    }
    let head = client.get("/v1/info").expect(200)["head"].as_u64().expect("a number");
    assert_eq!(head, stored, "the log holds what was acknowledged and nothing else");
}

/// Events a receipt says were stored; 0 for an answer that is none.
fn appended(answer: &serde_json::Value) -> u64 {
    answer["appended"].as_u64().unwrap_or_default()
}

#[test]
fn an_append_to_one_stream_broken_everywhere() {
    break_everywhere("POST", "/v1/streams/s-1", "application/json", EVENTS);
}

#[test]
fn an_append_to_several_streams_broken_everywhere() {
    break_everywhere("POST", "/v1/append", "application/json", IN_STREAMS);
}

#[test]
fn an_append_in_log_order_broken_everywhere() {
    break_everywhere("POST", "/v1/append", "application/json", BESIDE_STREAMS);
}

#[test]
fn a_cloudevent_broken_everywhere() {
    break_everywhere("POST", "/v1/append", "application/cloudevents+json", CLOUDEVENT);
}

#[test]
fn a_batch_of_cloudevents_broken_everywhere() {
    let batch = format!("[{CLOUDEVENT},{}]", CLOUDEVENT.replace("09\"", "0a\""));
    break_everywhere("POST", "/v1/append", "application/cloudevents-batch+json", &batch);
}

#[test]
fn import_lines_broken_everywhere() {
    let line = CLOUDEVENT.replace('\n', " ");
    let lines = format!("{line}\n{}\n", line.replace("09\"", "0b\"").replace("c-1", "c-2"));
    break_everywhere("POST", "/v1/import", "application/x-ndjson", &lines);
}

#[test]
fn stream_metadata_broken_everywhere() {
    let metadata = r#"{"$maxCount":5,"$maxAge":60,"$tb":1,"$acl":{"$r":["a"]},"own":{"x":[]}}"#;
    break_everywhere("PUT", "/v1/streams/m-1/metadata", "application/json", metadata);
}

#[test]
fn a_query_broken_everywhere() {
    let query = r#"{"query":{"items":[{"types":["T","U"],"tags":["x:1"]},{"all":true}]},"from":0,"direction":"forward","limit":10}"#;
    break_everywhere("POST", "/v1/query", "application/json", query);
}
