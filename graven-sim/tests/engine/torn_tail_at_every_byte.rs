use crate::support::{event, files, name, to};
use graven_engine::Store;
use graven_model::{AppendRequest, Expected};
use graven_sim::world::{DIR, tiny_options, whole_log};
use graven_sim::{Step, World};

/// A store with an open log of a few frames that was not closed, and the heads after each append.
fn world() -> (World, Vec<u64>) {
    let options = graven_engine::Options { index_flush_events: 1_000, ..tiny_options() };
    let mut world = World::new(1, options).unwrap();
    let mut heads = vec![0];
    for number in 0..3 {
        let request = to("a-1", Expected::Any, [10 * number]).and_to(
            name("b-1"),
            Expected::Any,
            [event(10 * number + 1)],
        );
        world.take(&Step::Append(request)).unwrap();
        heads.push(world.model.head().0);
    }
    world.take(&Step::Append(AppendRequest::to(name("c"), Expected::Any, [event(99)]))).unwrap();
    heads.push(world.model.head().0);
    world.machine = world.machine.kill();
    world.store = None;
    (world, heads)
}

#[test]
fn a_tail_torn_at_any_byte_leaves_the_longest_whole_prefix() {
    let (world, heads) = world();
    let path = files(world.disk(), ".seg").pop().unwrap();
    let bytes = world.disk().bytes_of(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let header = 4_096;
    let mut shown = Vec::new();
    for cut_off in [true, false] {
        for at in header..used {
            let machine = world.machine.fork();
            if cut_off {
                machine.disk.cut(&path, at as u64);
            } else {
                // As a pre-written segment is: what did not arrive is still zeros.
                machine.disk.overwrite(&path, at as u64, &vec![0; used - at]);
            }
            let options = graven_engine::Options { env: machine.env(), ..world.options() };
            let opened = Store::open(DIR, options);
            let store = opened.unwrap_or_else(|error| panic!("cut at {at}: {error}"));
            let log = whole_log(&store).unwrap_or_else(|what| panic!("cut at {at}: {what}"));
            assert_eq!(log[..], world.model.log()[..log.len()], "cut at {at}");
            assert!(heads.contains(&(log.len() as u64)), "cut at {at}: an append is there in part");
            shown.push(log.len());
            let more = store.append(to("a-1", Expected::Any, [1_000])).unwrap();
            assert_eq!(more.first_position.0, log.len() as u64, "cut at {at}");
        }
    }
    let half = shown.len() / 2;
    for shown in [&shown[..half], &shown[half..]] {
        assert!(shown.is_sorted(), "a longer log shows no less");
        assert_eq!(
            shown.last().copied(),
            Some(heads[heads.len() - 2] as usize),
            "only the torn append is missing"
        );
    }
}
