use super::*;
use graven_model::StreamName;

fn options(query: &str) -> Result<ReadOptions> {
    let mut params = QueryParams::parse(Some(query))?;
    let options = ReadOptions::from_query(&mut params)?;
    params.finish()?;
    Ok(options)
}

fn stream() -> Selector {
    Selector::Stream(StreamName::new("s").unwrap())
}

fn start_of(query: &str, selector: Selector) -> Start {
    options(query).unwrap().page(selector).unwrap().start
}

#[test]
fn a_number_is_a_revision_of_a_stream_and_a_position_elsewhere() {
    assert_eq!(start_of("from=7", stream()), Start::Revision(Revision(7)));
    assert_eq!(start_of("from=7", Selector::All), Start::Position(Position(7)));
    assert_eq!(start_of("position=7", stream()), Start::Position(Position(7)));
    assert_eq!(start_of("", stream()), Start::Start);
    assert_eq!(start_of("direction=backward", stream()), Start::End);
    assert_eq!(start_of("from=start&direction=backward", stream()), Start::Start);
    let time = Timestamp::parse("2011-10-01T00:38:44+02:00").unwrap();
    assert_eq!(start_of("from=2011-10-01T00:38:44+02:00", stream()), Start::Time(time));
    assert_eq!(start_of("from=2011-10-01T00:38:44%2B02:00", stream()), Start::Time(time));
}

#[test]
fn options_outside_their_bounds_are_refused() {
    for (query, code) in [
        ("limit=0", Code::InvalidLimit),
        ("limit=10001", Code::InvalidLimit),
        ("limit=x", Code::BadRequest),
        ("from=yesterday", Code::BadRequest),
        ("from=-1", Code::BadRequest),
        ("direction=up", Code::BadRequest),
        ("payload=xml", Code::BadRequest),
        ("from=1&position=1", Code::BadRequest),
        ("cursor=x", Code::InvalidCursor),
        ("stream_prefix=a&stream_regex=b", Code::InvalidFilter),
        ("fro=1", Code::BadRequest),
    ] {
        let error = options(query).and_then(|options| options.page(Selector::All)).unwrap_err();
        assert_eq!(error.code, code, "{query}");
    }
}

#[test]
fn a_cursor_belongs_to_its_read() {
    let cursor = Cursor::new(&Selector::All, Direction::Forward, Start::Position(Position(9))).encode();
    assert_eq!(start_of(&format!("cursor={cursor}"), Selector::All), Start::Position(Position(9)));
    assert_eq!(start_of(&format!("cursor={cursor}&from=end"), Selector::All), Start::Position(Position(9)));
    let other = options(&format!("cursor={cursor}")).unwrap().page(stream()).unwrap_err();
    assert_eq!(other.code, Code::InvalidCursor);
    let back =
        options(&format!("cursor={cursor}&direction=backward")).unwrap().page(Selector::All).unwrap_err();
    assert_eq!(back.code, Code::InvalidCursor);
}

#[test]
fn a_follower_begins_after_what_a_read_begins_at() {
    let after = |query: &str, last| options(query).unwrap().follow(&Selector::All, last).unwrap().0;
    assert_eq!(after("from=7", None), Start::Position(Position(6)));
    assert_eq!(after("from=0", None), Start::Start);
    assert_eq!(after("from=end", None), Start::End);
    assert_eq!(after("from=7", Some("41")), Start::Position(Position(41)));
    assert!(options("").unwrap().follow(&Selector::All, Some("x")).is_err());
    assert!(options("limit=1").unwrap().follow(&Selector::All, None).is_err());
    assert!(options("direction=backward").unwrap().follow(&Selector::All, None).is_err());
}

#[test]
fn the_link_to_the_next_page_keeps_what_the_read_was() {
    let link = next_link(Some("from=3&limit=2&tag=a%20b&stream_prefix=x,y"), "abc");
    assert_eq!(link, "<?cursor=abc&limit=2&tag=a%20b&stream_prefix=x%2Cy>; rel=\"next\"");
}

#[test]
fn the_same_options_stand_in_a_body() {
    let body =
        br#"{"query":{"items":[{"types":["A"]}]},"from":7,"limit":2,"type_prefix":["A"],"payload":"base64"}"#;
    let parsed: QueryReadBody = crate::server::append_body::parse(body).unwrap();
    let (query, options) = parsed.split().unwrap();
    assert!(options.form(false).base64);
    let request = options.page(Selector::Query(query)).unwrap();
    assert_eq!((request.start, request.limit), (Start::Position(Position(7)), 2));
    assert_eq!(request.filter.event_type, Some(Pattern::Prefixes(vec!["A".into()])));
}
