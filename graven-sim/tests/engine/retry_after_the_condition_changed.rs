use crate::support::{event, name, to};
use graven_model::{Code, Expected, Idempotency, Query, Revision};
use graven_sim::world::tiny_options;
use graven_sim::{Step, World};

#[test]
fn a_retried_conditional_append_returns_the_first_receipt() {
    let mut world = World::new(1, tiny_options()).unwrap();
    let request = to("a-1", Expected::NoStream, [1]).unless(Query::item(["Opened"], [""; 0]), None);
    let first = world.store().append(request.clone()).unwrap();
    world.model.append(&request, world.now()).unwrap();
    for number in 100..200 {
        world.take(&Step::Append(to("b-1", Expected::Any, [number]))).unwrap();
    }
    let again = world.store().append(request.clone()).unwrap();
    assert_eq!((again.first_position, again.last_position), (first.first_position, first.last_position));
    assert!(again.already_done());
    world.take(&Step::Append(request)).unwrap();
}

#[test]
fn conditional_appends_of_one_batch_see_each_other() {
    let world = World::new(1, tiny_options()).unwrap();
    let pending: Vec<_> = (0..20)
        .map(|number| {
            let request = to(&format!("a-{number}"), Expected::Any, [number]);
            world.store().submit(request.unless(Query::item([""; 0], ["red"]), None)).unwrap()
        })
        .collect();
    let results: Vec<_> = pending.into_iter().map(|pending| pending.wait()).collect();
    assert!(results[0].is_ok());
    assert!(
        results[1..]
            .iter()
            .all(|result| result.as_ref().is_err_and(|error| error.code == Code::ConditionFailed))
    );
}

#[test]
fn an_import_does_not_ignore_a_condition() {
    let world = World::new(1, tiny_options()).unwrap();
    world.store().append(to("a-1", Expected::Any, [1])).unwrap();
    let mut request = to("a-1", Expected::Any, [2]).unless(Query::item(["Opened"], [""; 0]), None);
    request.idempotency = Idempotency::EachEvent;
    let error = world.store().append(request).expect_err("the condition does not hold");
    assert!(matches!(error.code, Code::ConditionFailed | Code::InvalidAppend), "{error}");
}

#[test]
fn metadata_of_a_user_survives_reopening() {
    let mut world = World::new(1, tiny_options()).unwrap();
    world.take(&Step::Append(to("a-1", Expected::Any, 0..3))).unwrap();
    let json = r#"{"$tb":9223372036854775807,"owner":"alice"}"#;
    world.take(&Step::SetMetadata(name("a-1"), Expected::Any, json.into())).unwrap();
    world.take(&Step::Append(to("a-1", Expected::Revision(Revision(2)), [9]))).unwrap();
    world.check().unwrap();
}

#[test]
fn an_import_of_known_events_reopens_no_deleted_stream() {
    let mut world = World::new(1, tiny_options()).unwrap();
    world.take(&Step::Append(to("a-1", Expected::Any, 0..3))).unwrap();
    world.take(&Step::Delete(name("a-1"), Expected::Any)).unwrap();
    let mut request = to("a-1", Expected::Any, [1]).and_to(name("b-1"), Expected::Any, [event(7)]);
    request.idempotency = Idempotency::EachEvent;
    world.take(&Step::Append(request)).unwrap();
    world.check().unwrap();
}
