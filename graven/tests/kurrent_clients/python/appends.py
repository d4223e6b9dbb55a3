"""Appends to one stream: every expectation, retries, what events carry."""

import json
import uuid

from kurrentdbclient import NewEvent, StreamState
from kurrentdbclient.exceptions import (
    FailedPreconditionError,
    GrpcError,
    MaximumAppendSizeExceededError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)
from scenarios import equal, event, events, fill, name, numbers, proves, raises, run

ANY, NO_STREAM, EXISTS = StreamState.ANY, StreamState.NO_STREAM, StreamState.EXISTS

# The client sends one event with Append, and a list with BatchAppend.
SHAPES = [("one", lambda number: event(number=number)), ("a list", lambda number: [event(number=number)])]


@proves("an append is accepted under every expectation that holds")
def expectations_that_hold(client):
    for _, shape in SHAPES:
        stream = name()
        positions = [
            client.append_to_stream(stream, current_version=expected, events=shape(number))
            for number, expected in enumerate([NO_STREAM, 0, ANY, EXISTS, 3])
        ]
        equal(positions, sorted(set(positions)))
        found = client.get_stream(stream)
        equal(numbers(found), [0, 1, 2, 3, 4])
        equal([one.stream_position for one in found], [0, 1, 2, 3, 4])
        equal([one.commit_position for one in found], positions)
        equal(client.get_current_version(stream), 4)


@proves("an append is refused under every expectation that does not hold, and nothing is stored")
def expectations_that_do_not_hold(client):
    for _, shape in SHAPES:
        stream = name()
        for expected in [EXISTS, 0, 7]:
            with raises(WrongCurrentVersionError) as caught:
                client.append_to_stream(stream, current_version=expected, events=shape(0))
            equal(caught.error.actual_version, NO_STREAM)
            equal(caught.error.stream_name, stream)
        equal(client.get_current_version(stream), NO_STREAM)
        fill(client, stream, 3)
        for expected in [NO_STREAM, 0, 1, 3, 7]:
            with raises(WrongCurrentVersionError) as caught:
                client.append_to_stream(stream, current_version=expected, events=shape(0))
            equal((caught.error.actual_version, caught.error.expected_version), (2, expected))
        equal(numbers(client.get_stream(stream)), [0, 1, 2])


@proves("a retried append gets the answer of the first, under every expectation, and nothing is stored twice")
def retries(client):
    for expected_first in [ANY, NO_STREAM]:
        for new in [event(number=9), [event(number=9)], events(5)]:
            stream = name()
            first = client.append_to_stream(stream, current_version=expected_first, events=new)
            stored = len(client.get_stream(stream))
            for expected in [ANY, NO_STREAM, EXISTS]:
                again = client.append_to_stream(stream, current_version=expected, events=new)
                equal(again, first)
            equal(len(client.get_stream(stream)), stored)
            # Also when others have appended meanwhile.
            fill(client, stream, 2)
            equal(client.append_to_stream(stream, current_version=expected_first, events=new), first)
            equal(len(client.get_stream(stream)), stored + 2)
    stream = name()
    fill(client, stream, 3)
    new = events(2)
    first = client.append_to_stream(stream, current_version=2, events=new)
    equal(client.append_to_stream(stream, current_version=2, events=new), first)
    fill(client, stream, 1)
    equal(client.append_to_stream(stream, current_version=2, events=new), first)
    equal(len(client.get_stream(stream)), 6)


@proves("a retry that brings other events with it is refused")
def retries_that_differ(client):
    stream = name()
    new = events(2)
    client.append_to_stream(stream, current_version=NO_STREAM, events=new)
    for expected in [ANY, NO_STREAM]:
        with raises(WrongCurrentVersionError):
            client.append_to_stream(stream, current_version=expected, events=[*new, event()])
    with raises(WrongCurrentVersionError):
        client.append_to_stream(stream, current_version=NO_STREAM, events=[event(), new[0]])
    equal(len(client.get_stream(stream)), 2)


@proves("events come back as they were given: type, data, metadata, content type, id, time")
def what_events_carry(client):
    stream = name("späße")
    given = [
        NewEvent(type="Json", data=b'{"a":1}', metadata=b'{"b":"2"}'),
        NewEvent(type="Binary", data=bytes(range(256)), content_type="application/octet-stream"),
        NewEvent(type="Größe", data="\u00fc\U0001f600".encode(), metadata=b"\x00\xff", content_type="application/octet-stream"),
        NewEvent(type="Empty", data=b"", content_type="application/octet-stream"),
        NewEvent(type="Named", data=b"{}", id=uuid.UUID("0102030405060708090a0b0c0d0e0f10")),
    ]
    for one in given[:2]:
        client.append_to_stream(stream, current_version=ANY, events=one)
    client.append_to_stream(stream, current_version=1, events=given[2:])
    found = client.get_stream(stream)
    for was, one in zip(given, found, strict=True):
        equal((one.type, one.data, one.metadata), (was.type, was.data, was.metadata))
        equal((one.content_type, one.id, one.stream_name), (was.content_type, was.id, stream))
        assert one.recorded_at is not None and one.recorded_at.year >= 2020, one.recorded_at
        equal(one.commit_position, one.prepare_position)


@proves("large events and long lists are taken whole")
def large_ones(client):
    stream = name()
    client.append_to_stream(
        stream, current_version=NO_STREAM, events=NewEvent(type="Large", data=json.dumps("x" * (8 << 20)).encode())
    )
    new = events(5_000)
    client.append_to_stream(stream, current_version=0, events=new)
    found = client.get_stream(stream)
    equal(len(found[0].data), (8 << 20) + 2)
    equal([one.id for one in found[1:]], [one.id for one in new])


@proves("an event or an append that is too large is refused by name, and nothing is stored")
def too_large_ones(client):
    stream = name()
    large = NewEvent(type="Large", data=b"x" * ((16 << 20) + 1), content_type="application/octet-stream")
    with raises(GrpcError, "INVALID_ARGUMENT"):
        client.append_to_stream(stream, current_version=ANY, events=large)
    half = bytes(9 << 20)
    new = [NewEvent(type="Half", data=half, content_type="application/octet-stream") for _ in range(8)]
    with raises(MaximumAppendSizeExceededError):
        client.append_to_stream(stream, current_version=ANY, events=new)
    equal(client.get_current_version(stream), NO_STREAM)


@proves("a deleted stream takes events again, under every expectation it should, and goes on counting")
def deleted_streams(client):
    for expected in [ANY, NO_STREAM, 2]:
        stream = name()
        fill(client, stream, 3)
        client.delete_stream(stream, current_version=2)
        equal(client.get_current_version(stream), NO_STREAM)
        client.append_to_stream(stream, current_version=expected, events=event(number=7))
        found = client.get_stream(stream)
        equal((numbers(found), [one.stream_position for one in found]), ([7], [3]))
        metadata, _ = client.get_stream_metadata(stream)
        equal(metadata.get("$tb"), 3)


@proves("a tombstoned stream takes no event")
def tombstoned_streams(client):
    stream = name()
    fill(client, stream, 3)
    client.tombstone_stream(stream, current_version=2)
    for expected in [ANY, NO_STREAM, EXISTS, 2]:
        with raises(FailedPreconditionError, "is deleted"):
            client.append_to_stream(stream, current_version=expected, events=event())
        with raises(StreamIsDeletedError):
            client.append_to_stream(stream, current_version=expected, events=[event()])


run()
