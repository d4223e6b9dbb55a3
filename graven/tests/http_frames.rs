//! `GET /v1/frames`.

mod support;

use graven_model::{Position, StoredEvent, frame};
use support::{Answer, Server};

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).expect(name).parse().expect("a number")
}

fn events(answer: &Answer) -> Vec<StoredEvent> {
    frame::events(&answer.body.clone().into()).map(|event| event.expect("frames arrive intact")).collect()
}

#[test]
fn frames_are_read_from_one_position_to_the_next_and_decode_to_the_events() {
    let server = Server::start();
    let client = server.client();
    for number in 0..50 {
        client.append_one(&format!("loan-{}", number % 7), "Paid");
    }
    let (mut from, mut all, mut pages) = (0, Vec::new(), 0);
    loop {
        let answer = client.get(&format!("/v1/frames?from={from}&bytes=1000"));
        assert_eq!((answer.status, number(&answer, "graven-head")), (200, 50));
        assert_eq!(number(&answer, "graven-first"), from);
        let found = events(&answer);
        from = number(&answer, "graven-next");
        if found.is_empty() {
            break;
        }
        all.extend(found);
        pages += 1;
        assert_eq!(from, all.len() as u64);
    }
    assert!(pages > 5, "{pages} pages");
    let positions: Vec<Position> = all.iter().map(|event| event.position).collect();
    assert_eq!(positions, (0..50).map(Position).collect::<Vec<_>>());
    assert_eq!(all[8].stream.as_str(), "loan-1");
    assert_eq!(events(&client.get("/v1/frames")).len(), 50);
    // One frame at least, however few bytes; none beyond the end.
    assert_eq!(events(&client.get("/v1/frames?from=49&bytes=1")).len(), 1);
    let beyond = client.get("/v1/frames?from=18446744073709551615");
    assert_eq!((beyond.status, beyond.body.len()), (200, 0));
}

#[test]
fn bounds_and_parameters_are_checked() {
    let server = Server::start();
    let client = server.client();
    client.get("/v1/frames?bytes=0").problem(400, "GRV-1009");
    client.get("/v1/frames?bytes=33554433").problem(400, "GRV-1009");
    client.get("/v1/frames?from=-1").problem(400, "GRV-1000");
    client.get("/v1/frames?form=1").problem(400, "GRV-1000");
    assert_eq!(client.get("/v1/frames").body.len(), 0, "an empty log has no frames");
}
