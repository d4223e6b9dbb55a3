"""Consumer groups, which the client calls persistent subscriptions: every call, and what becomes of events."""

import contextlib
import json
import threading

from kurrentdbclient import NewEvent, StreamState
from kurrentdbclient.exceptions import (
    AlreadyExistsError,
    CancelledError,
    InternalError,
    MaximumSubscriptionsReachedError,
    NotFoundError,
)
from scenarios import (
    PATIENCE_S,
    category,
    connect,
    equal,
    event,
    events,
    fill,
    name,
    numbers,
    proves,
    raises,
    run,
    take,
    wait_until,
)

ANY = StreamState.ANY


def consume(client, group, stream=None, **options):
    options = {"timeout": PATIENCE_S, "max_ack_delay": 0.02, **options}
    if stream is None:
        return client.read_subscription_to_all(group, **options)
    return client.read_subscription_to_stream(group, stream, **options)


def info(client, group, stream=None):
    return client.get_subscription_info(group, stream)


def until_deleted():
    """Deleting a group is how its consumers are told to end."""
    return contextlib.suppress(NotFoundError)


def parked(client, group, stream, count):
    wait_until(f"{count} events are parked", lambda: info(client, group, stream).parked_message_count == count)


@proves("a group on a stream begins where it was told to, and goes on with what is appended")
def beginnings(client):
    stream = name()
    fill(client, stream, 5)
    cases = [({}, [0, 1, 2, 3, 4]), ({"stream_position": 0}, [0, 1, 2, 3, 4]), ({"stream_position": 3}, [3, 4])]
    for number, (options, expected) in enumerate([*cases, ({"from_end": True}, [])]):
        group = f"group-{number}"
        client.create_subscription_to_stream(group, stream, **options)
        with consume(client, group, stream) as consumer:
            equal(consumer.subscription_id, f"{stream}::{group}")
            found = take(consumer, len(expected))
            client.append_to_stream(stream, current_version=ANY, events=event(number=100 + number))
            found += take(consumer, 1)
            equal(numbers(found), [*expected, 100 + number])
            equal([one.retry_count for one in found], [0] * len(found))
            assert all(one.commit_position is not None and one.stream_name == stream for one in found)
            for one in found:
                consumer.ack(one)
        client.delete_subscription(group, stream)
        # The next group finds the five of the beginning alone.
        stream = name()
        fill(client, stream, 5)


@proves("what is acknowledged is not delivered again to who comes later")
def acknowledged(client):
    stream = name()
    fill(client, stream, 10)
    client.create_subscription_to_stream("g", stream, min_checkpoint_count=1, max_checkpoint_count=1)
    with consume(client, "g", stream) as consumer:
        for one in take(consumer, 6):
            consumer.ack(one)
        wait_until(
            "six are acknowledged",
            lambda: info(client, "g", stream).last_checkpointed_event_position == "5",
        )
    with consume(client, "g", stream) as consumer:
        found = sorted(take(consumer, 4), key=lambda one: one.stream_position)
        equal(numbers(found), [6, 7, 8, 9])
        for one in found:
            consumer.ack(one.ack_id)
    wait_until("all are acknowledged", lambda: info(client, "g", stream).last_checkpointed_event_position == "9")
    equal(info(client, "g", stream).last_known_event_position, "9")


@proves("an event that is to be tried again comes again and says so, and is parked when the retries are used up")
def retried(client):
    stream = name()
    fill(client, stream, 1)
    client.create_subscription_to_stream("g", stream, max_retry_count=2)
    with consume(client, "g", stream) as consumer:
        for tries in range(3):
            (one,) = take(consumer, 1)
            equal((numbers([one]), one.retry_count), ([0], tries))
            consumer.nack(one, "retry")
        parked(client, "g", stream, 1)
        client.append_to_stream(stream, current_version=ANY, events=event(number=1))
        equal(numbers(take(consumer, 1)), [1])


@proves("an event that takes too long comes again")
def too_slow(client):
    stream = name()
    fill(client, stream, 1)
    client.create_subscription_to_stream("g", stream, message_timeout=0.2, max_retry_count=3)
    with consume(client, "g", stream) as consumer:
        (one, again) = take(consumer, 2)
        equal((one.id, one.retry_count, again.retry_count), (again.id, 0, 1))
        consumer.ack(again)


@proves("parked events come back when they are replayed, and are gone once acknowledged; skipped ones never come back")
def parked_and_replayed(client):
    stream = name()
    new = fill(client, stream, 4)
    client.create_subscription_to_stream("g", stream)
    with consume(client, "g", stream) as consumer:
        first, second, third, last = sorted(take(consumer, 4), key=lambda one: one.stream_position)
        consumer.nack(first, "park")
        consumer.nack(second, "skip")
        consumer.nack(third, "park")
        consumer.ack(last)
        parked(client, "g", stream, 2)
        client.replay_parked_events("g", stream)
        back = take(consumer, 2)
        equal([one.id for one in back], [new[0].id, new[2].id])
        equal([one.retry_count for one in back], [0, 0])
        for one in back:
            consumer.ack(one)
        parked(client, "g", stream, 0)
    # Nothing is left for who comes later.
    with consume(client, "g", stream) as consumer:
        client.append_to_stream(stream, current_version=ANY, events=event(number=9))
        (one,) = take(consumer, 1)
        equal(numbers([one]), [9])
        consumer.ack(one)


@proves("an event that nobody knows what to do with, or that stops its consumer, is not lost")
def other_answers(client):
    stream = name()
    fill(client, stream, 2)
    client.create_subscription_to_stream("g", stream, message_timeout=0.3)
    with consume(client, "g", stream) as consumer:
        first, second = take(consumer, 2)
        consumer.nack(first, "unknown")
        consumer.nack(second, "stop")
        again = take(consumer, 2)
        equal({one.id for one in again}, {first.id, second.id})
        for one in again:
            consumer.ack(one)


@proves("what a consumer held when it left is delivered to another one")
def left(client):
    stream = name()
    fill(client, stream, 3)
    client.create_subscription_to_stream("g", stream, max_subscriber_count=2)
    with connect() as other:
        gone = consume(other, "g", stream)
        take(gone, 3)
        with consume(client, "g", stream) as consumer:
            gone.stop()
            found = take(consumer, 3)
            equal(sorted(numbers(found)), [0, 1, 2])
            for one in found:
                consumer.ack(one)


@proves("several consumers share the events, each as the strategy says")
def strategies(client):
    for strategy in ["RoundRobin", "DispatchToSingle", "Pinned", "PinnedByCorrelation"]:
        loans = category()
        source = f"$ce-{loans}"
        fill(client, f"{loans}-first", 1)
        client.create_subscription_to_stream("g", source, resolve_links=True, consumer_strategy=strategy, from_end=True)
        equal(info(client, "g", source).consumer_strategy, strategy)
        found, lock, done = [[], []], threading.Lock(), threading.Event()

        def work(number):
            with connect() as own, until_deleted(), consume(own, "g", source) as consumer:
                started[number].set()
                for one in consumer:
                    with lock:
                        found[number].append(one)
                        consumer.ack(one)
                        if sum(map(len, found)) == 40:
                            done.set()

        started = [threading.Event(), threading.Event()]
        threads = [threading.Thread(target=work, args=[number], daemon=True) for number in range(2)]
        for thread, event_of_start in zip(threads, started, strict=True):
            thread.start()
            assert event_of_start.wait(PATIENCE_S)
        for number in range(40):
            stream = number % 8
            metadata = json.dumps({"$correlationId": f"c{stream}"}).encode()
            one = NewEvent(type="Lent", data=json.dumps({"number": number}).encode(), metadata=metadata)
            client.append_to_stream(f"{loans}-{stream}", current_version=ANY, events=one)
        assert done.wait(PATIENCE_S), [len(part) for part in found]
        client.delete_subscription("g", source)
        equal(sorted(numbers(found[0] + found[1])), list(range(40)))
        streams = [{one.stream_name for one in part} for part in found]
        match strategy:
            case "RoundRobin":
                assert all(len(part) >= 10 for part in found), [len(part) for part in found]
            case "DispatchToSingle":
                equal(sorted(len(part) for part in found), [0, 40])
            case _:
                equal(streams[0] & streams[1], set())
        for thread in threads:
            thread.join(PATIENCE_S)


@proves("a group on everything gets what its filter lets through, from where it was told to begin")
def everything(client):
    loans, users = category("loan"), category("user")
    lent = f"Lent{loans}"
    cases = {
        "types": {"filter_include": [lent]},
        "streams": {"filter_include": [f"{loans}-.*"], "filter_by_stream_name": True},
        "excluding": {"filter_exclude": [f"(?!{loans}-).*"], "filter_by_stream_name": True},
        "end": {"filter_include": [lent], "from_end": True},
    }
    first = client.append_to_stream(f"{loans}-0", current_version=ANY, events=event(lent, 0))
    client.append_to_stream(f"{users}-0", current_version=ANY, events=event("Other", 1))
    for group, options in cases.items():
        client.create_subscription_to_all(group, **options)
    client.create_subscription_to_all("position", filter_include=[lent, "Other"], commit_position=first)
    client.append_to_stream(f"{loans}-1", current_version=ANY, events=event(lent, 2))
    expected = {"types": [0, 2], "streams": [0, 2], "excluding": [0, 2], "end": [2], "position": [0, 1, 2]}
    for group, wanted in expected.items():
        with consume(client, group) as consumer:
            equal(consumer.subscription_id, f"$all::{group}")
            found = take(consumer, len(wanted))
            equal((group, sorted(numbers(found))), (group, wanted))
            for one in found:
                consumer.ack(one)
        equal(info(client, group).event_source, "$all")
    equal(info(client, "types").start_from, "C:0/P:0")
    equal(info(client, "end").start_from, "C:-1/P:-1")
    equal(info(client, "position").start_from, f"C:{first}/P:{first}")
    for group in expected:
        client.delete_subscription(group)


@proves("a group on a category gets links, resolved or not, and is acknowledged by them")
def categories(client):
    loans = category()
    source = f"$ce-{loans}"
    for number in range(4):
        client.append_to_stream(f"{loans}-{number}", current_version=ANY, events=event(number=number))
    client.create_subscription_to_stream("resolved", source, resolve_links=True, stream_position=1)
    client.create_subscription_to_stream("links", source)
    with consume(client, "resolved", source) as consumer:
        found = sorted(take(consumer, 3), key=lambda one: one.link.stream_position)
        equal((numbers(found), [one.link.stream_position for one in found]), ([1, 2, 3], [1, 2, 3]))
        consumer.nack(found[0], "park")
        consumer.ack(found[1])
        consumer.ack(found[2])
        parked(client, "resolved", source, 1)
        client.replay_parked_events("resolved", source)
        (back,) = take(consumer, 1)
        equal(numbers([back]), [1])
        consumer.ack(back)
        parked(client, "resolved", source, 0)
    with consume(client, "links", source) as consumer:
        found = sorted(take(consumer, 4), key=lambda one: one.stream_position)
        equal([(one.type, one.data) for one in found[:1]], [("$>", f"0@{loans}-0".encode())])
        for one in found:
            consumer.ack(one)


@proves("an update keeps the place, changes the settings and sends consumers away")
def updates(client):
    stream = name()
    fill(client, stream, 4)
    client.create_subscription_to_stream("g", stream, min_checkpoint_count=1, max_checkpoint_count=1)
    with consume(client, "g", stream) as consumer:
        for one in take(consumer, 4):
            consumer.ack(one)
        wait_until("all are acknowledged", lambda: info(client, "g", stream).last_checkpointed_event_position == "3")
        client.update_subscription_to_stream("g", stream, max_retry_count=7, message_timeout=9.0, consumer_strategy="RoundRobin")
        with raises(CancelledError):
            next(consumer)
    changed = info(client, "g", stream)
    equal((changed.max_retry_count, changed.message_timeout, changed.consumer_strategy), (7, 9.0, "RoundRobin"))
    fill(client, stream, 1)
    with consume(client, "g", stream) as consumer:
        (one,) = take(consumer, 1)
        equal(one.stream_position, 4)
        consumer.ack(one)
    client.create_subscription_to_all("g", filter_include=["Nothing"])
    client.update_subscription_to_all("g", max_subscriber_count=3, live_buffer_size=99)
    equal((info(client, "g").max_subscriber_count, info(client, "g").live_buffer_size), (3, 99))
    client.delete_subscription("g")


@proves("a consumer learns that its group was deleted")
def deleted(client):
    stream = name()
    fill(client, stream, 1)
    client.create_subscription_to_stream("g", stream)
    with consume(client, "g", stream) as consumer:
        take(consumer, 1)
        client.delete_subscription("g", stream)
        with raises(NotFoundError):
            next(consumer)
    with raises(NotFoundError):
        info(client, "g", stream)


@proves("settings and standing of a group are told as they are")
def standing(client):
    stream = name()
    fill(client, stream, 30)
    settings = {
        "resolve_links": True,
        "message_timeout": 12.5,
        "max_retry_count": 4,
        "min_checkpoint_count": 7,
        "max_checkpoint_count": 70,
        "checkpoint_after": 1.5,
        "max_subscriber_count": 2,
        "live_buffer_size": 60,
        "read_batch_size": 15,
        "history_buffer_size": 80,
        "extra_statistics": True,
    }
    client.create_subscription_to_stream("g", stream, stream_position=2, consumer_strategy="RoundRobin", **settings)
    told = info(client, "g", stream)
    equal({key: getattr(told, key) for key in settings}, settings)
    equal((told.event_source, told.group_name, told.start_from), (stream, "g", "2"))
    equal((told.consumer_strategy, told.connections, told.parked_message_count), ("RoundRobin", [], 0))
    equal(told.last_checkpointed_event_position, "")
    with consume(client, "g", stream, event_buffer_size=5) as consumer:
        found = take(consumer, 5)
        (connection,) = info(client, "g", stream).connections
        equal((connection.in_flight_messages, connection.available_slots), (5, 0))
        assert connection.from_.startswith("127.0.0.1"), connection.from_
        for one in found:
            consumer.ack(one)
        found = take(consumer, 5)
        wait_until("five are done", lambda: info(client, "g", stream).connections[0].total_items >= 5)
        told = info(client, "g", stream)
        assert told.connections[0].observed_measurements, told.connections[0]
        assert told.total_in_flight_messages == 5, told
        wait_until("it says what it read", lambda: int(info(client, "g", stream).last_known_event_position or 0) >= 11)
    for at, told in [("end", {"from_end": True}), ("start", {})]:
        client.create_subscription_to_stream(at, stream, **told)
    equal([info(client, at, stream).start_from for at in ("end", "start")], ["-1", "0"])


@proves("groups are listed, all of them or those of a stream")
def lists(client):
    stream, other = name(), name()
    for group in ["a", "b"]:
        client.create_subscription_to_stream(group, stream)
    client.create_subscription_to_all("listed")
    equal(sorted(one.group_name for one in client.list_subscriptions_to_stream(stream)), ["a", "b"])
    equal(list(client.list_subscriptions_to_stream(other)), [])
    everything = {(one.event_source, one.group_name) for one in client.list_subscriptions()}
    assert {(stream, "a"), (stream, "b"), ("$all", "listed")} <= everything, everything
    client.delete_subscription("listed")
    equal([one for one in client.list_subscriptions() if one.group_name == "listed"], [])


@proves("every refusal says what is wrong: exists, does not exist, full, settings that cannot be")
def refused(client):
    stream = name()
    client.create_subscription_to_stream("g", stream, max_subscriber_count=1)
    with raises(AlreadyExistsError):
        client.create_subscription_to_stream("g", stream)
    client.create_subscription_to_all("exists")
    with raises(AlreadyExistsError):
        client.create_subscription_to_all("exists")
    client.delete_subscription("exists")
    for missing in [stream, None]:
        with raises(NotFoundError):
            info(client, "none", missing)
        with raises(NotFoundError):
            client.delete_subscription("none", missing)
        with raises(NotFoundError):
            client.replay_parked_events("none", missing)
        with raises(NotFoundError):
            consume(client, "none", missing)
    with raises(NotFoundError):
        client.update_subscription_to_stream("none", stream, max_retry_count=1)
    with raises(NotFoundError):
        client.update_subscription_to_all("none", max_retry_count=1)
    with raises(InternalError):
        client.create_subscription_to_stream("h", stream, read_batch_size=500, history_buffer_size=500)
    with consume(client, "g", stream), connect() as other:
        with raises(MaximumSubscriptionsReachedError):
            consume(other, "g", stream)
    wait_until("the place is free", lambda: info(client, "g", stream).connections == [])
    with consume(client, "g", stream) as consumer:
        fill(client, stream, 1)
        consumer.ack(take(consumer, 1)[0])


@proves("four consumers process everything, though they fail now and then")
def four_consumers(client):
    stream = name()
    client.create_subscription_to_stream("g", stream, max_retry_count=50, consumer_strategy="RoundRobin")
    done, lock, all_done = set(), threading.Lock(), threading.Event()

    def work():
        with connect() as own, until_deleted(), consume(own, "g", stream) as consumer:
            for one in consumer:
                if (numbers([one])[0] + one.retry_count) % 5 == 0:
                    consumer.nack(one, "retry")
                    continue
                consumer.ack(one)
                with lock:
                    done.add(one.stream_position)
                    if len(done) == 500:
                        all_done.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    client.append_to_stream(stream, current_version=ANY, events=events(500))
    assert all_done.wait(PATIENCE_S), len(done)
    wait_until("nothing is under way", lambda: info(client, "g", stream).total_in_flight_messages == 0)
    client.delete_subscription("g", stream)
    for thread in threads:
        thread.join(PATIENCE_S)


run()
