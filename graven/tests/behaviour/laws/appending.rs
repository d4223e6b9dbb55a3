//! What an append promises.

use super::{event, failed_checks, id, name, positions, put, read_all};
use graven_client::EventStore;
use graven_client::model::error::Details;
use graven_client::model::*;

pub(crate) async fn an_event_comes_back_as_it_was_handed_in(store: impl EventStore) {
    let plain = event(1, "Plain");
    let full = NewEvent {
        id: id(2),
        event_type: "Füll".into(),
        content_type: ContentType::Other("text/plain; charset=utf-8".into()),
        data: vec![0, 255, 10, 13].into(),
        metadata: r#"{"trace":"x"}"#.into(),
        occurred_at: Some(Timestamp::from_micros(-1_234_567)),
        schema: SchemaRef { version: 3, id: 9, check: CheckState::Ok },
        tags: vec!["customer:7".into(), "größe:klein".into()],
        data_subject: Some("person-1".into()),
        encrypted: true,
    };
    let binary = NewEvent { content_type: ContentType::Binary, data: "".into(), ..event(3, "Empty") };
    let events = [plain, full, binary];
    let request = AppendRequest::to(name("größe-1"), Expected::NoStream, events.clone());
    let receipt = store.append(request).await.unwrap();
    assert_eq!((receipt.first_position, receipt.last_position), (Position(0), Some(Position(2))));
    assert_eq!((receipt.appended, receipt.duplicates), (3, 0));
    assert_eq!(receipt.streams[0].revision, Some(Revision(2)));

    let page = store.read(&ReadRequest::new(Selector::Stream(name("größe-1")))).await.unwrap();
    assert_eq!((page.head, page.last_revision, page.next), (Position(3), Some(Revision(2)), None));
    for (at, (stored, handed_in)) in page.events.iter().zip(events).enumerate() {
        assert_eq!(stored.event, handed_in);
        assert_eq!((stored.position.0, stored.revision.0), (at as u64, at as u64));
        assert_eq!((stored.kind, stored.committed_at), (Kind::Event, receipt.committed_at));
    }
    assert_eq!(page.events.len(), 3);
}

pub(crate) async fn an_append_to_several_streams_is_one(store: impl EventStore) {
    put(&store, "seen", event(9, "X")).await;
    let request = AppendRequest::to(name("a"), Expected::NoStream, [event(1, "A"), event(2, "A")])
        .and_to(name("b"), Expected::Any, [event(3, "B")])
        .check(name("seen"), Expected::Revision(Revision(0)))
        .check(name("never"), Expected::NoStream);
    let receipt = store.append(request).await.unwrap();
    assert_eq!((receipt.first_position, receipt.last_position), (Position(1), Some(Position(3))));
    let shares: Vec<_> =
        receipt.streams.iter().map(|share| (share.stream.as_str(), share.revision)).collect();
    let revision = |revision| Some(Revision(revision));
    assert_eq!(shares, [("a", revision(1)), ("b", revision(0)), ("seen", revision(0)), ("never", None)]);
    let events = read_all(&store, ReadRequest::new(Selector::All)).await;
    assert!(events[1..].iter().all(|event| event.committed_at == receipt.committed_at));
}

pub(crate) async fn a_retry_gets_the_receipt_of_the_append_that_did_the_work(store: impl EventStore) {
    let request = AppendRequest::to(name("s"), Expected::NoStream, [event(1, "A"), event(2, "A")]);
    let first = store.append(request.clone()).await.unwrap();
    for number in 10..30 {
        put(&store, "s", event(number, "Later")).await;
    }
    let again = store.append(request).await.unwrap();
    assert!(again.already_done());
    assert_eq!((again.appended, again.duplicates), (0, 2));
    assert_eq!(Receipt { appended: 2, duplicates: 0, ..again }, first);
    assert_eq!(store.info().await.unwrap().head, Position(22));
}

pub(crate) async fn an_append_whose_events_stand_for_themselves_skips_what_is_there(store: impl EventStore) {
    put(&store, "s", event(2, "A")).await;
    let mut request =
        AppendRequest::to(name("s"), Expected::Any, [event(1, "A"), event(2, "A"), event(3, "A")]);
    request.idempotency = Idempotency::EachEvent;
    let receipt = store.append(request).await.unwrap();
    assert_eq!((receipt.appended, receipt.duplicates), (2, 1));
    let events = read_all(&store, ReadRequest::new(Selector::All)).await;
    assert_eq!(events.iter().map(|event| event.event.id).collect::<Vec<_>>(), [id(2), id(1), id(3)]);
}

pub(crate) async fn a_refused_append_tells_every_check_that_failed_and_leaves_nothing(
    store: impl EventStore,
) {
    put(&store, "a", event(1, "A")).await;
    put(&store, "b", event(2, "A")).await;
    let request = AppendRequest::to(name("a"), Expected::NoStream, [event(10, "A")])
        .and_to(name("b"), Expected::Revision(Revision(7)), [event(11, "A")])
        .and_to(name("c"), Expected::Any, [event(12, "A")])
        .check(name("d"), Expected::Exists);
    let error = store.append(request).await.unwrap_err();
    assert_eq!(error.code, Code::WrongExpectedRevision);
    let check = |stream, expected, actual| FailedCheck {
        stream: name(stream),
        expected,
        actual,
        partial_retry: None,
        unseen: Vec::new(),
    };
    assert_eq!(
        failed_checks(error),
        [
            check("a", Expected::NoStream, StreamState::At(Revision(0))),
            check("b", Expected::Revision(Revision(7)), StreamState::At(Revision(0))),
            check("d", Expected::Exists, StreamState::NoStream),
        ]
    );
    assert_eq!(store.info().await.unwrap().head, Position(2));
}

pub(crate) async fn a_conflict_brings_the_events_its_caller_has_not_seen(store: impl EventStore) {
    for number in 0..5 {
        put(&store, "s", event(number, "A")).await;
    }
    let mut request = AppendRequest::to(name("s"), Expected::Revision(Revision(1)), [event(9, "X")]);
    request.unseen_max = 2;
    let checks = failed_checks(store.append(request).await.unwrap_err());
    assert_eq!(positions(&checks[0].unseen), [2, 3]);
    let stored = read_all(&store, ReadRequest::new(Selector::All)).await;
    assert_eq!(checks[0].unseen, stored[2..4]);
}

pub(crate) async fn half_a_retry_is_refused_by_the_id_that_is_there(store: impl EventStore) {
    put(&store, "s", event(1, "A")).await;
    let request = AppendRequest::to(name("s"), Expected::Any, [event(1, "A"), event(2, "A")]);
    let checks = failed_checks(store.append(request).await.unwrap_err());
    assert_eq!(checks[0].partial_retry, Some(id(1)));
    assert_eq!(store.info().await.unwrap().head, Position(1));
}

pub(crate) async fn a_failed_condition_names_the_event_in_its_way(store: impl EventStore) {
    put(&store, "a", event(1, "Opened").tagged(["customer:7"])).await;
    put(&store, "b", event(2, "Opened").tagged(["customer:8"])).await;
    let open = |number, after: Option<u64>| {
        AppendRequest::to(name("c"), Expected::Any, [event(number, "Opened").tagged(["customer:8"])])
            .unless(Query::item(["Opened"], ["customer:8"]), after.map(Position))
    };
    let error = store.append(open(3, None)).await.unwrap_err();
    assert_eq!((error.code, error.details), (Code::ConditionFailed, Details::ConditionMatch(Position(1))));
    assert_eq!(store.append(open(3, Some(1))).await.unwrap().first_position, Position(2));
    assert_eq!(
        store.append(open(4, Some(1))).await.unwrap_err().details,
        Details::ConditionMatch(Position(2))
    );
    assert!(
        store.append(open(3, Some(1))).await.unwrap().already_done(),
        "a retry is judged before its condition"
    );
}

pub(crate) async fn of_those_who_expect_the_same_revision_one_wins(store: impl EventStore) {
    put(&store, "s", event(0, "A")).await;
    let rivals: Vec<_> = (1..=16)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let expected = Expected::Revision(Revision(0));
                store.append(AppendRequest::to(name("s"), expected, [event(number, "A")])).await
            })
        })
        .collect();
    let mut won = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(failed_checks(error)[0].actual, StreamState::At(Revision(1))),
        }
    }
    assert_eq!(won, 1);
}

pub(crate) async fn what_is_out_of_bounds_is_refused_with_its_own_code(store: impl EventStore) {
    let one = |event| AppendRequest::to(name("s"), Expected::Any, [event]);
    let mut many_tags = event(1, "A");
    many_tags.tags = (0..=limits::TAGS_MAX).map(|tag| format!("t{tag}").into()).collect();
    let large = vec![b' '; limits::EVENT_BYTES_MAX + 1];
    let two = AppendRequest::to(name("s"), Expected::Any, [event(1, "A"), event(2, "")]);
    let twice = AppendRequest::default().check(name("s"), Expected::Any).check(name("s"), Expected::Any);
    let far = AppendRequest { events: vec![(4, event(1, "A"))], ..one(event(2, "A")) };
    let unnamed = one(event(1, "A")).unless(Query::default().or([""; 0], [""; 0]), None);
    let half = AppendRequest { idempotency: Idempotency::EachEvent, ..one(event(1, "A")) }
        .check(name("t"), Expected::NoStream);
    let cases = [
        (one(event(1, "")), Code::InvalidEventType, Details::Item(0)),
        (two, Code::InvalidEventType, Details::Item(1)),
        (one(many_tags), Code::InvalidTag, Details::Item(0)),
        (one(NewEvent::json(id(1), "A", large)), Code::EventTooLarge, Details::Item(0)),
        (
            one(NewEvent { data_subject: Some("".into()), ..event(1, "A") }),
            Code::InvalidDataSubject,
            Details::Item(0),
        ),
        (AppendRequest::default(), Code::InvalidAppend, Details::None),
        (twice, Code::InvalidAppend, Details::None),
        (far, Code::InvalidAppend, Details::None),
        (half, Code::InvalidAppend, Details::None),
        (unnamed, Code::InvalidQuery, Details::Item(0)),
    ];
    for (request, code, details) in cases {
        let error = store.append(request).await.unwrap_err();
        assert_eq!((error.code, &error.details), (code, &details), "{error}");
    }
    assert_eq!(store.info().await.unwrap().head, Position(0));
}

pub(crate) async fn an_append_that_only_checks_stores_nothing(store: impl EventStore) {
    put(&store, "s", event(1, "A")).await;
    let receipt = store.append(AppendRequest::default().check(name("s"), Expected::Exists)).await.unwrap();
    assert_eq!((receipt.first_position, receipt.last_position, receipt.appended), (Position(1), None, 0));
    let refused =
        store.append(AppendRequest::default().check(name("s"), Expected::NoStream)).await.unwrap_err();
    assert_eq!(refused.code, Code::WrongExpectedRevision);
}
