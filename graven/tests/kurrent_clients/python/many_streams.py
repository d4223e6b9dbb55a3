"""Appends to many streams at once, of the second protocol: sessions, and records with checks."""

import json

from kurrentdbclient import NewEvent, NewEvents, StreamState
from kurrentdbclient.events import NewRecord, StreamStateCheck
from kurrentdbclient.exceptions import (
    ConsistencyChecksFailedError,
    MultiAppendToSameStreamError,
    RecordMaxSizeExceededError,
    StreamTombstonedError,
    TransactionMaxSizeExceededError,
    WrongCurrentVersionError,
)
from scenarios import equal, events, fill, name, numbers, proves, raises, run

ANY, NO_STREAM, EXISTS = StreamState.ANY, StreamState.NO_STREAM, StreamState.EXISTS


def write(stream, count=1, expected=ANY):
    return NewEvents(stream_name=stream, events=events(count), current_version=expected)


def record(stream, number=0, event_type="Lent", **more):
    return NewRecord(stream_name=stream, type=event_type, data=json.dumps({"number": number}).encode(), **more)


def absent(client, *streams):
    for stream in streams:
        equal(client.get_current_version(stream), NO_STREAM)


@proves("a session appends to several streams at once, under every expectation that holds")
def sessions(client):
    new, old, other = name(), name(), name()
    fill(client, old, 2)
    fill(client, other, 2)
    position = client.multi_append_to_stream([write(new, 2, NO_STREAM), write(old, 1, 1), write(other, 3, EXISTS)])
    equal([len(client.get_stream(stream)) for stream in (new, old, other)], [2, 3, 5])
    equal(client.get_stream(other)[-1].commit_position, position)
    assert client.multi_append_to_stream(write(new)) > position


@proves("a session whose one expectation fails stores nothing")
def sessions_that_conflict(client):
    new, old = name(), name()
    fill(client, old, 3)
    for expected, actual in [(0, 2), (NO_STREAM, 2), (9, 2)]:
        with raises(WrongCurrentVersionError) as caught:
            client.multi_append_to_stream([write(new, 1, NO_STREAM), write(old, 1, expected)])
        equal((caught.error.stream_name, caught.error.actual_version), (old, actual))
        equal(caught.error.expected_version, expected)
    with raises(WrongCurrentVersionError) as caught:
        client.multi_append_to_stream([write(new, 1, EXISTS)])
    equal((caught.error.stream_name, caught.error.actual_version), (new, NO_STREAM))
    absent(client, new)
    equal(len(client.get_stream(old)), 3)


@proves("a session that appends to a stream twice is refused by name, and stores nothing")
def sessions_that_repeat_a_stream(client):
    stream, other = name(), name()
    with raises(MultiAppendToSameStreamError) as caught:
        client.multi_append_to_stream([write(stream), write(other), write(stream)])
    equal(caught.error.stream_name, stream)
    absent(client, stream, other)


@proves("a session to a tombstoned stream is refused by name")
def sessions_to_a_tombstoned_stream(client):
    new, gone = name(), name()
    fill(client, gone, 1)
    client.tombstone_stream(gone, current_version=ANY)
    with raises(StreamTombstonedError) as caught:
        client.multi_append_to_stream([write(new), write(gone)])
    equal(caught.error.stream_name, gone)
    absent(client, new)


@proves("metadata of sessions and records comes back as an object, with type and format of the data")
def properties(client):
    stream = name()
    given = NewEvent(type="Lent", data=b'{"number": 1}', metadata=b'{"who":"me"}')
    client.multi_append_to_stream(NewEvents(stream_name=stream, events=[given], current_version=NO_STREAM))
    binary = {"content_type": "application/octet-stream", "metadata": b'{"who":"you"}'}
    client.append_records(record(stream, 2, "Kept", **binary))
    one, two = client.get_stream(stream)
    equal((one.id, one.type, one.data, one.content_type), (given.id, "Lent", given.data, "application/json"))
    equal(json.loads(one.metadata), {"who": "me", "$schema.name": "Lent", "$schema.format": "Json"})
    equal((two.type, two.content_type), ("Kept", "application/octet-stream"))
    equal(json.loads(two.metadata), {"who": "you", "$schema.name": "Kept", "$schema.format": "Bytes"})


@proves("records go to their streams in the order given, however they are mixed")
def mixed_records(client):
    a, b = name(), name()
    mixed = [record(a, 0), record(b, 1), record(a, 2), record(a, 3), record(b, 4)]
    result = client.append_records(mixed)
    positions = {one.stream_name: one.stream_position for one in result.stream_positions}
    equal(positions, {a: 2, b: 1})
    found = client.get_stream(a) + client.get_stream(b)
    in_order = sorted(found, key=lambda one: one.commit_position)
    equal(numbers(in_order), [0, 1, 2, 3, 4])
    equal(in_order[-1].commit_position, result.commit_position)


@proves("checks of records hold or fail together, also of streams that are not written")
def checks(client):
    new, old, read = name(), name(), name()
    fill(client, old, 2)
    fill(client, read, 4)
    holding = [StreamStateCheck(old, 1), StreamStateCheck(read, EXISTS), StreamStateCheck(new, NO_STREAM)]
    client.append_records([record(old)], checks=holding)
    failing = [StreamStateCheck(old, 1), StreamStateCheck(read, 3), StreamStateCheck(new, EXISTS)]
    with raises(ConsistencyChecksFailedError) as caught:
        client.append_records([record(new), record(old)], checks=failing)
    failures = {failure.check_index: failure.stream_state_failure for failure in caught.error.failures}
    equal(sorted(failures), [0, 2])
    equal((failures[0].stream_name, failures[0].expected_state, failures[0].actual_state), (old, 1, 2))
    equal((failures[2].stream_name, failures[2].expected_state, failures[2].actual_state), (new, -4, -1))
    absent(client, new)
    equal(len(client.get_stream(old)), 3)


@proves("retried sessions and records store nothing twice")
def retries(client):
    a, b = name(), name()
    writes = [write(a, 2, NO_STREAM), write(b, 1, NO_STREAM)]
    first = client.multi_append_to_stream(writes)
    equal(client.multi_append_to_stream(writes), first)
    records = [record(a, 7), record(b, 8)]
    once = client.append_records(records)
    equal(client.append_records(records).commit_position, once.commit_position)
    equal([len(client.get_stream(stream)) for stream in (a, b)], [3, 2])


@proves("a record or a session that is too large is refused by name, and nothing is stored")
def too_large_ones(client):
    a, b = name(), name()
    large = NewEvent(type="Large", data=bytes((16 << 20) + 1), content_type="application/octet-stream")
    with raises(RecordMaxSizeExceededError) as caught:
        client.multi_append_to_stream(
            [write(a), NewEvents(stream_name=b, events=[large], current_version=ANY)]
        )
    equal((caught.error.stream_name, caught.error.event_id), (b, large.id))
    half = [
        NewEvent(type="Half", data=bytes(9 << 20), content_type="application/octet-stream") for _ in range(4)
    ]
    with raises(TransactionMaxSizeExceededError):
        client.multi_append_to_stream(
            [NewEvents(stream_name=stream, events=half, current_version=ANY) for stream in (a, b)]
        )
    absent(client, a, b)


run()
