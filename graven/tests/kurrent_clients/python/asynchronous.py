"""The client for asyncio: appends, reads, subscriptions, groups and refusals through its own ways of sending and waiting."""

import asyncio
import contextlib

from kurrentdbclient import AsyncKurrentDBClient, NewEvents, StreamState
from kurrentdbclient.events import NewRecord, StreamStateCheck
from kurrentdbclient.exceptions import (
    AlreadyExistsError,
    CancelledError,
    ConsistencyChecksFailedError,
    MaximumSubscriptionsReachedError,
    NotFoundError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)
from scenarios import PATIENCE_S, address, category, equal, event, events, name, numbers, proves, raises, run

ANY, NO_STREAM, EXISTS = StreamState.ANY, StreamState.NO_STREAM, StreamState.EXISTS


def proves_asynchronously(what):
    """Registers a coroutine that gets an asynchronous client."""

    def register(scenario):
        async def work():
            async with AsyncKurrentDBClient(f"kurrentdb://{address()}?tls=false") as client:
                await asyncio.wait_for(scenario(client), PATIENCE_S * 3)

        proves(what)(lambda _: asyncio.run(work()))
        return scenario

    return register


async def take_next(subscription, count):
    """The next so many events of a subscription, which goes on."""
    return [await asyncio.wait_for(anext(subscription), PATIENCE_S) for _ in range(count)]


async def nothing_more(subscription):
    """Waits for the end of a subscription, which the client raises when the subscription is left."""

    async def end():
        async for one in subscription:
            raise AssertionError(f"{one} comes")

    await asyncio.wait_for(end(), PATIENCE_S)


async def wait_until(what, ask):
    async def asked():
        while not await ask():
            await asyncio.sleep(0.01)

    try:
        await asyncio.wait_for(asked(), PATIENCE_S)
    except TimeoutError:
        raise AssertionError(f"waited too long until {what}") from None


async def fill(client, stream, count):
    new = events(count)
    await client.append_to_stream(stream, current_version=ANY, events=new)
    return new


async def consume(client, group, stream=None, **options):
    if stream is None:
        return await client.read_subscription_to_all(group, max_ack_delay=0.02, **options)
    return await client.read_subscription_to_stream(group, stream, max_ack_delay=0.02, **options)


@proves_asynchronously("asynchronous appends are accepted, refused and repeated under every expectation")
async def appends(client):
    for shape in [lambda number: event(number=number), lambda number: [event(number=number)]]:
        stream = name()
        for number, expected in enumerate([NO_STREAM, 0, ANY, EXISTS, 3]):
            await client.append_to_stream(stream, current_version=expected, events=shape(number))
        equal(numbers(await client.get_stream(stream)), [0, 1, 2, 3, 4])
        for expected in [NO_STREAM, 0, 9]:
            with raises(WrongCurrentVersionError) as caught:
                await client.append_to_stream(stream, current_version=expected, events=shape(9))
            equal((caught.error.stream_name, caught.error.actual_version), (stream, 4))
        with raises(WrongCurrentVersionError):
            await client.append_to_stream(name(), current_version=EXISTS, events=shape(9))
        stream, new = name(), shape(1)
        first = await client.append_to_stream(stream, current_version=NO_STREAM, events=new)
        for expected in [NO_STREAM, ANY, EXISTS]:
            equal(await client.append_to_stream(stream, current_version=expected, events=new), first)
        equal(await client.get_current_version(stream), 0)


@proves_asynchronously("asynchronous appends at the same moment are each answered")
async def appends_at_once(client):
    streams = [name() for _ in range(50)]
    positions = await asyncio.gather(
        *(client.append_to_stream(stream, current_version=NO_STREAM, events=events(3)) for stream in streams)
    )
    equal(len(set(positions)), 50)
    for found in await asyncio.gather(*(client.get_stream(stream) for stream in streams)):
        equal(numbers(found), [0, 1, 2])


@proves_asynchronously("asynchronous appends to several streams hold or fail together")
async def appends_to_several(client):
    a, b = name(), name()

    def writes(expected):
        return [
            NewEvents(stream_name=a, events=events(2), current_version=NO_STREAM),
            NewEvents(stream_name=b, events=events(1), current_version=expected),
        ]

    with raises(WrongCurrentVersionError):
        await client.multi_append_to_stream(writes(7))
    equal(await client.get_current_version(a), NO_STREAM)
    await client.multi_append_to_stream(writes(NO_STREAM))
    record = NewRecord(stream_name=a, type="Lent", data=b'{"number": 2}')
    with raises(ConsistencyChecksFailedError):
        await client.append_records(record, StreamStateCheck(stream_name=b, expected_state=9))
    await client.append_records(record, StreamStateCheck(stream_name=b, expected_state=0))
    equal(numbers(await client.get_stream(a)), [0, 1, 2])


@proves_asynchronously("asynchronous reads go both ways, with and without a limit and a filter")
async def reads(client):
    loans = category()
    stream = f"{loans}-1"
    await fill(client, stream, 6)
    cases = [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"stream_position": 4}, [4, 5]),
        ({"limit": 2}, [0, 1]),
        ({"backwards": True, "limit": 2}, [5, 4]),
        ({"backwards": True, "stream_position": 1}, [1, 0]),
    ]
    for options, expected in cases:
        equal(numbers(await client.get_stream(stream, **options)), expected)
    async with await client.read_stream(stream) as reading:
        equal(numbers([one async for one in reading]), [0, 1, 2, 3, 4, 5])
    of_loans = {"filter_include": [f"{loans}-.*"], "filter_by_stream_name": True}
    for options, expected in [({}, [0, 1, 2, 3, 4, 5]), ({"limit": 3}, [0, 1, 2]), ({"backwards": True, "limit": 1}, [5])]:
        async with await client.read_all(**of_loans, **options) as reading:
            equal(numbers([one async for one in reading]), expected)
    for links, expected in [(True, [0, 1]), (False, None)]:
        found = await client.get_stream(f"$ce-{loans}", resolve_links=links, limit=2)
        if links:
            equal(numbers(found), expected)
        else:
            equal([one.data for one in found], [f"0@{stream}".encode(), f"1@{stream}".encode()])
    async with await client.read_index(f"ce-{loans}", limit=2) as reading:
        equal(numbers([one async for one in reading]), [0, 1])
    with raises(NotFoundError):
        await client.get_stream(name())


@proves_asynchronously("asynchronously, metadata is kept, a deleted stream is reopened and a tombstoned one is not")
async def ends(client):
    stream = name()
    await fill(client, stream, 3)
    equal(await client.get_stream_metadata(stream), ({}, NO_STREAM))
    await client.set_stream_metadata(stream, metadata={"owner": "me"}, current_version=NO_STREAM)
    equal(await client.get_stream_metadata(stream), ({"owner": "me"}, 0))
    with raises(WrongCurrentVersionError):
        await client.delete_stream(stream, current_version=0)
    await client.delete_stream(stream, current_version=2)
    with raises(NotFoundError):
        await client.get_stream(stream)
    await client.append_to_stream(stream, current_version=NO_STREAM, events=event(number=7))
    equal([(one.stream_position, *numbers([one])) for one in await client.get_stream(stream)], [(3, 7)])
    await client.tombstone_stream(stream, current_version=ANY)
    with raises(StreamIsDeletedError):
        await client.get_stream(stream)
    with raises(StreamIsDeletedError):
        await client.append_to_stream(stream, current_version=ANY, events=events(1))


@proves_asynchronously("asynchronous subscriptions go on with what is appended, and say how far they are")
async def subscriptions(client):
    stream = name()
    await fill(client, stream, 3)
    async with await client.subscribe_to_stream(stream, stream_position=0, include_caught_up=True) as subscription:
        found = await take_next(subscription, 3)
        equal((numbers(found[:2]), found[2].is_caught_up), ([1, 2], True))
        await client.append_to_stream(stream, current_version=2, events=event(number=3))
        equal(numbers(await take_next(subscription, 1)), [3])
    kind = f"Rare{category()}"
    before = await client.get_commit_position()
    await client.append_to_stream(stream, current_version=ANY, events=event(kind, 4))
    await fill(client, stream, 60)
    async with await client.subscribe_to_all(
        commit_position=before,
        filter_include=[kind],
        include_checkpoints=True,
        window_size=10,
        checkpoint_interval_multiplier=1,
    ) as subscription:
        found = await take_next(subscription, 4)
        equal(numbers([one for one in found if not one.is_checkpoint]), [4])
        mark = found[-1]
        assert mark.is_checkpoint, mark
        await client.append_to_stream(stream, current_version=ANY, events=event(kind, 5))
    async with await client.subscribe_to_all(commit_position=mark.commit_position, filter_include=[kind]) as subscription:
        equal(numbers(await take_next(subscription, 1)), [5])


@proves_asynchronously("an asynchronous consumer of a group answers in every way, and each has its outcome")
async def answers(client):
    stream = name()
    new = await fill(client, stream, 6)
    await client.create_subscription_to_stream("g", stream, max_retry_count=1, message_timeout=2.0)

    async def parked(count):
        async def so_many():
            return (await client.get_subscription_info("g", stream)).parked_message_count == count

        await wait_until(f"{count} events are parked", so_many)

    async with await consume(client, "g", stream) as consumer:
        found = await take_next(consumer, 6)
        equal([one.id for one in found], [one.id for one in new])
        await consumer.ack(found[0])
        for one, action in zip(found[1:], ["retry", "park", "skip", "unknown", "stop"], strict=True):
            await consumer.nack(one, action)
        # What is to be tried again, and what nobody knows what to do with, comes a second time.
        again = {one.id: one for one in await take_next(consumer, 2)}
        equal(set(again), {found[1].id, found[4].id})
        equal({one.retry_count for one in again.values()}, {1})
        await consumer.nack(again[found[1].id], "retry")
        await consumer.ack(again[found[4].id].ack_id)
        # To stop says nothing about the event, which comes again when its time is over.
        (late,) = await take_next(consumer, 1)
        equal((late.id, late.retry_count), (found[5].id, 1))
        await consumer.ack(late)
        await parked(2)
        await client.replay_parked_events("g", stream)
        back = await take_next(consumer, 2)
        equal({one.id for one in back}, {found[1].id, found[2].id})
        for one in back:
            await consumer.ack(one)
        await parked(0)
    # Nothing is left for who comes later.
    async with await consume(client, "g", stream) as consumer:
        await client.append_to_stream(stream, current_version=ANY, events=event(number=9))
        equal(numbers(await take_next(consumer, 1)), [9])


@proves_asynchronously("asynchronously, groups are made, told of, listed, changed and deleted, and consumers see it")
async def groups(client):
    loans = category()
    stream = f"{loans}-1"
    await fill(client, stream, 2)
    of_loans = {"filter_include": [f"{loans}-.*"], "filter_by_stream_name": True}
    await client.create_subscription_to_all(loans, **of_loans)
    with raises(CancelledError):
        async with await consume(client, loans) as consumer:
            equal(consumer.subscription_id, f"$all::{loans}")
            equal(numbers(await take_next(consumer, 2)), [0, 1])
            await client.update_subscription_to_all(loans, max_retry_count=3)
            await nothing_more(consumer)
    equal((await client.get_subscription_info(loans)).max_retry_count, 3)
    await client.create_subscription_to_stream("g", stream, from_end=True, max_subscriber_count=1)
    with raises(NotFoundError):
        async with await consume(client, "g", stream) as consumer:
            equal((await client.get_subscription_info("g", stream)).start_from, "-1")
            with raises(MaximumSubscriptionsReachedError):
                await consume(client, "g", stream)
            await client.append_to_stream(stream, current_version=ANY, events=event(number=2))
            equal(numbers(await take_next(consumer, 1)), [2])
            await client.delete_subscription("g", stream)
            await nothing_more(consumer)
    await client.create_subscription_to_stream("g", stream)
    with raises(AlreadyExistsError):
        await client.create_subscription_to_stream("g", stream)
    await client.update_subscription_to_stream("g", stream, consumer_strategy="Pinned")
    (told,) = await client.list_subscriptions_to_stream(stream)
    equal((told.group_name, told.consumer_strategy), ("g", "Pinned"))
    everything = {(one.event_source, one.group_name) for one in await client.list_subscriptions()}
    assert {(stream, "g"), ("$all", loans)} <= everything, everything
    await client.delete_subscription(loans)
    for missing in [
        client.get_subscription_info(loans),
        client.delete_subscription(loans),
        client.replay_parked_events(loans),
        client.update_subscription_to_all(loans, max_retry_count=1),
        client.update_subscription_to_stream("none", stream, max_retry_count=1),
        consume(client, "none", stream),
    ]:
        with raises(NotFoundError):
            await missing


@proves_asynchronously("four asynchronous consumers process everything, though they fail now and then")
async def four_consumers(client):
    stream = name()
    await client.create_subscription_to_stream("g", stream, max_retry_count=50, consumer_strategy="RoundRobin")
    done, all_done = set(), asyncio.Event()

    async def work():
        with contextlib.suppress(NotFoundError):
            async with await consume(client, "g", stream) as consumer:
                async for one in consumer:
                    if (numbers([one])[0] + one.retry_count) % 5 == 0:
                        await consumer.nack(one, "retry")
                        continue
                    await consumer.ack(one)
                    done.add(one.stream_position)
                    if len(done) == 300:
                        all_done.set()

    workers = [asyncio.create_task(work()) for _ in range(4)]
    await client.append_to_stream(stream, current_version=ANY, events=events(300))
    await asyncio.wait_for(all_done.wait(), PATIENCE_S)

    async def idle():
        return (await client.get_subscription_info("g", stream)).total_in_flight_messages == 0

    await wait_until("nothing is under way", idle)
    await client.delete_subscription("g", stream)
    await asyncio.wait_for(asyncio.gather(*workers), PATIENCE_S)


run()
