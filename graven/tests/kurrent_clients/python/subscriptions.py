"""Subscriptions to streams and to everything: beginnings, what comes live, checkpoints, ends."""

import threading

from kurrentdbclient import StreamState
from kurrentdbclient.exceptions import GrpcDeadlineExceededError, NotFoundError, StreamIsDeletedError
from scenarios import PATIENCE_S, category, connect, equal, event, events, fill, name, numbers, proves, raises, run, take

ANY, NO_STREAM = StreamState.ANY, StreamState.NO_STREAM


@proves("a subscription to a stream begins anywhere, and goes on with what is appended")
def streams(client):
    stream = name()
    fill(client, stream, 5)
    cases = [({}, [0, 1, 2, 3, 4]), ({"stream_position": 0}, [1, 2, 3, 4]), ({"stream_position": 3}, [4])]
    for options, expected in cases:
        with client.subscribe_to_stream(stream, timeout=PATIENCE_S, **options) as subscription:
            assert subscription.subscription_id
            equal(numbers(take(subscription, len(expected))), expected)
    with client.subscribe_to_stream(stream, from_end=True, timeout=PATIENCE_S) as subscription:
        client.append_to_stream(stream, current_version=ANY, events=events(3, first=5))
        found = take(subscription, 3)
        equal((numbers(found), [one.stream_position for one in found]), ([5, 6, 7], [5, 6, 7]))
        client.append_to_stream(stream, current_version=ANY, events=event(number=8))
        equal(numbers(take(subscription, 1)), [8])


@proves("a subscription to a stream that is not there yet waits for it")
def streams_to_come(client):
    stream = name()
    with client.subscribe_to_stream(stream, timeout=PATIENCE_S) as subscription:
        fill(client, stream, 2)
        equal(numbers(take(subscription, 2)), [0, 1])


@proves("a subscriber is told when it has caught up")
def caught_up(client):
    stream = name()
    fill(client, stream, 3)
    last = client.get_stream(stream)[-1]
    with client.subscribe_to_stream(stream, include_caught_up=True, timeout=PATIENCE_S) as subscription:
        found = take(subscription, 4)
        equal([one.is_caught_up for one in found], [False, False, False, True])
        equal(found[3].stream_position, 2)
        assert found[3].recorded_at is not None
        fill(client, stream, 1)
        equal(numbers(take(subscription, 1)), [0])
    with client.subscribe_to_all(
        commit_position=last.commit_position, include_caught_up=True, filter_exclude=(), timeout=PATIENCE_S
    ) as subscription:
        found = take(subscription, 2)
        equal([one.is_caught_up for one in found], [False, True])
        assert found[1].commit_position >= found[0].commit_position


@proves("a subscription to everything begins anywhere, and leaves out system events unless asked for them")
def everything(client):
    first = client.append_to_stream(name(), current_version=ANY, events=event(number=0))
    stream = name()
    client.append_to_stream(stream, current_version=ANY, events=event(number=1))
    client.set_stream_metadata(stream, metadata={"a": 1})
    with client.subscribe_to_all(commit_position=first, timeout=PATIENCE_S) as subscription:
        equal(numbers(take(subscription, 1)), [1])
        client.append_to_stream(stream, current_version=ANY, events=event(number=2))
        equal(numbers(take(subscription, 1)), [2])
    with client.subscribe_to_all(commit_position=first, filter_exclude=(), timeout=PATIENCE_S) as subscription:
        equal([one.type for one in take(subscription, 3)], ["Lent", "$metadata", "Lent"])
    with client.subscribe_to_all(from_end=True, timeout=PATIENCE_S) as subscription:
        client.append_to_stream(stream, current_version=ANY, events=event(number=3))
        equal(numbers(take(subscription, 1)), [3])
    with client.subscribe_to_all(timeout=PATIENCE_S) as subscription:
        seen = set()
        while len(seen) < 4:
            one = next(subscription)
            assert not one.type.startswith("$")
            if one.stream_name == stream or one.commit_position == first:
                seen.add(one.id)


@proves("filtered subscriptions get what they ask for, by type and by stream, by expression and by prefix")
def filters(client):
    loans, users = category("loan"), category("user")
    lent, kept = f"Lent{loans}", f"Kept{loans}"
    cases = [
        ({"filter_include": [lent]}, [0, 1, 4, 5]),
        ({"filter_include": [f"Lent{loans}"], "filter_by_prefix": True}, [0, 1, 4, 5]),
        ({"filter_include": [f"{loans}-.*"], "filter_by_stream_name": True}, [0, 2, 4, 6]),
        ({"filter_include": [f"{loans}-"], "filter_by_stream_name": True, "filter_by_prefix": True}, [0, 2, 4, 6]),
        ({"filter_exclude": [f"(?!{users}-).*"], "filter_by_stream_name": True}, [1, 3, 5, 7]),
    ]
    before = client.append_to_stream(name(), current_version=ANY, events=event())
    subscriptions = [client.subscribe_to_all(commit_position=before, timeout=PATIENCE_S, **options) for options, _ in cases]
    for number, (group, kind) in enumerate([(loans, lent), (users, lent), (loans, kept), (users, kept)] * 2):
        client.append_to_stream(f"{group}-{number}", current_version=NO_STREAM, events=event(kind, number))
    for subscription, (options, expected) in zip(subscriptions, cases, strict=True):
        equal((options, numbers(take(subscription, 4))), (options, expected))
        subscription.stop()


@proves("a filtered subscription says how far it is, and another one goes on from there with nothing lost or twice")
def checkpoints(client):
    kind = f"Rare{category()}"
    before = client.append_to_stream(name(), current_version=ANY, events=event())
    for number in range(8):
        client.append_to_stream(name(), current_version=NO_STREAM, events=event(kind, number))
        fill(client, name(), 60, "Common")
    last = client.get_commit_position()
    options = {"filter_include": [kind], "include_checkpoints": True, "window_size": 10, "checkpoint_interval_multiplier": 2}
    with client.subscribe_to_all(commit_position=before, timeout=PATIENCE_S, include_caught_up=True, **options) as subscription:
        found = []
        while not found or not found[-1].is_caught_up:
            found.append(next(subscription))
    marks = [one for one in found if one.is_checkpoint]
    rare = [one for one in found if not one.is_checkpoint and not one.is_caught_up]
    equal(numbers(rare), list(range(8)))
    assert len(marks) >= 8 * 60 // 20, len(marks)
    positions = [one.commit_position for one in found]
    equal(positions, sorted(positions))
    equal(len({one.commit_position for one in marks}), len(marks))
    assert marks[-1].commit_position >= last, (marks[-1], last)
    for mark in marks[:: max(1, len(marks) // 5)]:
        later = [one.id for one in rare if one.commit_position > mark.commit_position]
        with client.subscribe_to_all(commit_position=mark.commit_position, timeout=PATIENCE_S, include_caught_up=True, **options) as again:
            seen = []
            for one in again:
                if one.is_caught_up:
                    break
                if not one.is_checkpoint:
                    seen.append(one.id)
        equal(seen, later)
    # Also while nothing comes that it wants.
    with client.subscribe_to_all(from_end=True, timeout=PATIENCE_S, **options) as subscription:
        fill(client, name(), 200, "Common")
        live = [next(subscription), next(subscription)]
        assert all(one.is_checkpoint for one in live), live


@proves("who reads slowly misses nothing, and nobody waits for him")
def slow_readers(client):
    stream = name()
    with client.subscribe_to_stream(stream, timeout=PATIENCE_S) as slow:
        given = [one for _ in range(10) for one in fill(client, stream, 1_000)]
        equal([one.id for one in take(slow, 10_000)], [one.id for one in given])


@proves("many subscribers each get everything")
def many_subscribers(client):
    stream = name()
    found, lock = [], threading.Lock()

    def subscribe():
        with connect() as own, own.subscribe_to_stream(stream, timeout=PATIENCE_S) as subscription:
            mine = numbers(take(subscription, 100))
            with lock:
                found.append(mine)

    threads = [threading.Thread(target=subscribe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(100):
        client.append_to_stream(stream, current_version=ANY, events=event(number=number))
    for thread in threads:
        thread.join(PATIENCE_S)
    equal(found, [list(range(100))] * 8)


@proves("a subscription to a category, a type or an index goes on with what is appended")
def virtual_streams(client):
    loans = category()
    kind = f"Lent{loans}"
    append = lambda number: client.append_to_stream(
        f"{loans}-{number}", current_version=ANY, events=event(kind, number)
    )
    append(0)
    for source in [f"$ce-{loans}", f"$et-{kind}"]:
        with client.subscribe_to_stream(source, resolve_links=True, timeout=PATIENCE_S) as subscription:
            begun = client.get_current_version(source)
            append(begun + 1)
            found = take(subscription, begun + 2)
            equal(numbers(found), list(range(begun + 2)))
            equal([one.link.stream_position for one in found], list(range(begun + 2)))
        with client.subscribe_to_stream(source, stream_position=begun, timeout=PATIENCE_S) as subscription:
            equal([one.data for one in take(subscription, 1)], [f"0@{loans}-{begun + 1}".encode()])
    with client.subscribe_to_index(f"ce-{loans}", timeout=PATIENCE_S) as subscription:
        append(7)
        equal(numbers(take(subscription, 4)), [0, 1, 2, 7])


@proves("a subscription ends when its stream is tombstoned, after what came before")
def tombstones(client):
    stream = name()
    fill(client, stream, 2)
    with client.subscribe_to_stream(stream, timeout=PATIENCE_S) as subscription:
        equal(numbers(take(subscription, 2)), [0, 1])
        client.tombstone_stream(stream, current_version=1)
        with raises(StreamIsDeletedError):
            equal(next(subscription).type, "$streamDeleted")
            next(subscription)
    with raises(StreamIsDeletedError):
        next(client.subscribe_to_stream(stream, timeout=PATIENCE_S))


@proves("a deleted stream is subscribed to for what comes after")
def deleted_streams(client):
    stream = name()
    fill(client, stream, 2)
    client.delete_stream(stream, current_version=1)
    with client.subscribe_to_stream(stream, timeout=PATIENCE_S) as subscription:
        client.append_to_stream(stream, current_version=ANY, events=event(number=7))
        equal(numbers(take(subscription, 1)), [7])


@proves("a subscription ends with the caller's deadline, and when it is stopped")
def ends(client):
    with raises(GrpcDeadlineExceededError):
        list(client.subscribe_to_stream(name(), timeout=0.2))
    subscription = client.subscribe_to_all(from_end=True)
    threading.Timer(0.1, subscription.stop).start()
    list(subscription)
    with raises(NotFoundError):
        client.get_stream(name())


run()
