//! CloudEvents: a line of an import, and the body of a request.

use bytes::Bytes;
use graven_model::cloudevents::{self, Incoming, Interner};
use graven_model::{Kind, Position, Revision, StoredEvent, Timestamp};

/// One event. What is accepted reads back the same from what an export writes of it.
pub(super) fn one(data: &[u8]) -> bool {
    let Ok(accepted) = cloudevents::parse(&Bytes::copy_from_slice(data), &mut Interner::new()) else {
        return false;
    };
    let line = exported(&accepted);
    assert!(!line.contains(&b'\n'), "an event is one line");
    let again = cloudevents::parse(&line, &mut Interner::new());
    assert_eq!(again.as_ref(), Ok(&accepted), "{}", line.escape_ascii());
    true
}

/// A JSON array of events. What is accepted as an item is accepted alone, as the same event.
pub(super) fn batch(data: &[u8]) -> bool {
    let mut interner = Interner::new();
    let Ok(accepted) = cloudevents::parse_batch(&Bytes::copy_from_slice(data), None, &mut interner) else {
        return false;
    };
    for event in &accepted {
        let again = cloudevents::parse(&exported(event), &mut interner);
        assert_eq!(again.as_ref(), Ok(event));
    }
    true
}

fn exported(incoming: &Incoming) -> Bytes {
    let stored = StoredEvent {
        position: Position(0),
        stream: incoming.stream.clone(),
        revision: Revision(0),
        committed_at: Timestamp::default(),
        kind: Kind::Event,
        erased: false,
        event: incoming.event.clone(),
    };
    let mut line = Vec::new();
    cloudevents::write(&stored, &mut line);
    line.into()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    LINES.iter().map(|line| line.as_bytes().to_vec()).collect()
}

pub(super) fn batch_seeds() -> Vec<Vec<u8>> {
    let all = format!("[{}]", LINES.join(","));
    let each = LINES.iter().map(|line| format!("[{line}]"));
    each.chain(["[]".to_owned(), all]).map(String::into_bytes).collect()
}

/// One for each way an attribute can be said.
const LINES: &[&str] = &[
    r#"{"specversion":"1.0","id":"a","source":"urn:loan","type":"T","subject":"loan-1"}"#,
    r#"{"specversion":"1.0","id":"0192f0c1-23e4-7abc-8def-0123456789ab","source":"urn:graven","type":"A_SUBMITTED","subject":"loan-173688","time":"2011-09-30T22:38:44.546Z","datacontenttype":"application/json","data":{"amount":20000,"\u00fc":[null,-1.5e3,"\\\""]}}"#,
    r#"{"specversion":"1.0","id":"b","source":"/s","type":"T","subject":"s","time":"2011-10-01T00:38:44.5461234+02:00","datacontenttype":"text/plain","data":"l\u00fcne\nfeed","dataschema":"urn:schema:3","traceparent":"00-ab","count":7,"flag":true}"#,
    r#"{"specversion":"1.0","id":"c","source":"/s","type":"T","subject":"s","datacontenttype":"application/octet-stream","data_base64":"AAH/"}"#,
    r#"{"specversion":"1.0","id":"d","source":"/s","type":"T","subject":"s","graventags":"a,b:1","gravensubject":"ada","gravenschema":"2/17/ok","gravenencrypted":true,"gravenmetadata":"{\"who\":\"me\"}","data":null}"#,
    r#"{"specversion":"1.0","id":"0192f0c1-23e4-7abc-8def-0123456789ab","source":"urn:graven","type":"T","subject":"s","graventags":"[\"a,b\",\"[\"]","gravenmetadatab64":"/w==","graventime":"-9223372036854775808","data":"text"}"#,
];
