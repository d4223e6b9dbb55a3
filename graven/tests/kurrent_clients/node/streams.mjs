// Appends, reads, metadata, deletion: everything about streams and about all of them.

import assert from "node:assert/strict";
import { category, event, events, fill, gather, kurrent, name, numbers, proves, refused, run } from "./scenarios.mjs";

const { ANY, BACKWARDS, END, NO_STREAM, START, STREAM_EXISTS } = kurrent;
const { binaryEvent, eventTypeFilter, excludeSystemEvents, jsonEvent, streamNameFilter } = kurrent;

proves("appends are accepted under every expectation that holds", async (client) => {
  const stream = name();
  const positions = [];
  for (const [number, streamState] of [NO_STREAM, 0n, ANY, STREAM_EXISTS, 3n].entries()) {
    const result = await client.appendToStream(stream, number % 2 ? [event(number)] : event(number), { streamState });
    assert(result.success);
    assert.equal(result.nextExpectedRevision, BigInt(number));
    positions.push(result.position.commit);
  }
  const found = await gather(client.readStream(stream));
  assert.deepEqual(numbers(found), [0, 1, 2, 3, 4]);
  assert.deepEqual(found.map(({ event }) => event.position.commit), positions);
});

proves("appends are refused under every expectation that does not hold, and nothing is stored", async (client) => {
  const stream = name();
  const { WrongExpectedVersionError } = kurrent;
  for (const streamState of [STREAM_EXISTS, 0n, 7n]) {
    const error = await refused(WrongExpectedVersionError, client.appendToStream(stream, event(), { streamState }));
    assert.deepEqual([error.streamName, error.expectedState, error.actualState], [stream, streamState, NO_STREAM]);
  }
  await fill(client, stream, 3);
  for (const streamState of [NO_STREAM, 1n, 9n]) {
    const error = await refused(WrongExpectedVersionError, client.appendToStream(stream, event(), { streamState }));
    assert.deepEqual([error.streamName, error.expectedState, error.actualState], [stream, streamState, 2n]);
  }
  const told = await client.appendToStream(stream, event(), { streamState: 0n, credentials: undefined }).catch((error) => error);
  assert.equal(told.type, "wrong-expected-version");
  assert.equal((await gather(client.readStream(stream))).length, 3);
});

proves("appends with credentials of their own, which go another way, behave alike", async (client) => {
  const stream = name();
  const credentials = { username: "admin", password: "changeit" };
  const first = await client.appendToStream(stream, events(2), { streamState: NO_STREAM, credentials });
  assert.equal(first.nextExpectedRevision, 1n);
  const error = await refused(
    kurrent.WrongExpectedVersionError,
    client.appendToStream(stream, event(), { streamState: 0n, credentials })
  );
  assert.deepEqual([error.expectedState, error.actualState], [0n, 1n]);
});

proves("retried appends get the answer of the first, and nothing is stored twice", async (client) => {
  const stream = name();
  const given = events(3);
  const first = await client.appendToStream(stream, given, { streamState: NO_STREAM });
  for (const streamState of [NO_STREAM, ANY, STREAM_EXISTS]) {
    assert.deepEqual(await client.appendToStream(stream, given, { streamState }), first);
  }
  assert.equal((await gather(client.readStream(stream))).length, 3);
});

proves("a hundred appends at a time are each answered", async (client) => {
  const streams = Array.from({ length: 100 }, () => name());
  const results = await Promise.all(streams.map((stream) => client.appendToStream(stream, events(3), { streamState: NO_STREAM })));
  assert(results.every(({ success, nextExpectedRevision }) => success && nextExpectedRevision === 2n));
  assert.equal(new Set(results.map(({ position }) => position.commit)).size, 100);
});

proves("events come back as they were given", async (client) => {
  const stream = name("späße");
  const given = [
    jsonEvent({ type: "Json", data: { a: "ü" }, metadata: { b: 1 } }),
    binaryEvent({ type: "Binary", data: Buffer.from([0, 255, 1]), metadata: Buffer.from([7]) }),
  ];
  await client.appendToStream(stream, given);
  const [json, binary] = (await gather(client.readStream(stream))).map(({ event }) => event);
  assert.deepEqual([json.id, json.type, json.data, json.metadata, json.isJson], [given[0].id, "Json", { a: "ü" }, { b: 1 }, true]);
  assert.deepEqual([binary.id, binary.isJson, [...binary.data], [...binary.metadata]], [given[1].id, false, [0, 255, 1], [7]]);
  assert.equal(json.streamId, stream);
  assert(Math.abs(Date.now() - json.created.getTime()) < 600_000, `${json.created}`);
});

proves("streams are read both ways, with and without a bound, from every beginning", async (client) => {
  const stream = name();
  await fill(client, stream, 10);
  const everything = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const cases = [
    [{}, everything],
    [{ maxCount: 3 }, [0, 1, 2]],
    [{ fromRevision: START, maxCount: 1n }, [0]],
    [{ fromRevision: 4n }, [4, 5, 6, 7, 8, 9]],
    [{ fromRevision: 4n, maxCount: 2 }, [4, 5]],
    [{ fromRevision: 10n }, []],
    [{ direction: BACKWARDS, fromRevision: END }, [...everything].reverse()],
    [{ direction: BACKWARDS, fromRevision: END, maxCount: 2 }, [9, 8]],
    [{ direction: BACKWARDS, fromRevision: 3n }, [3, 2, 1, 0]],
  ];
  for (const [options, expected] of cases) {
    assert.deepEqual(numbers(await gather(client.readStream(stream, options))), expected);
  }
  await fill(client, stream, 5_000);
  assert.equal((await gather(client.readStream(stream))).length, 5_010);
});

proves("a stream that is not there is not found, and a tombstoned one is deleted", async (client) => {
  const stream = name();
  const error = await refused(kurrent.StreamNotFoundError, gather(client.readStream(stream)));
  assert.equal(error.streamName, stream);
  await fill(client, stream, 2);
  const result = await client.deleteStream(stream, { expectedRevision: 1n });
  assert(result.position.commit > 0n);
  await refused(kurrent.StreamNotFoundError, gather(client.readStream(stream)));
  const reopened = await client.appendToStream(stream, event(7), { streamState: NO_STREAM });
  assert.equal(reopened.nextExpectedRevision, 2n);
  assert.deepEqual(numbers(await gather(client.readStream(stream))), [7]);
  await client.tombstoneStream(stream, { expectedRevision: ANY });
  const gone = await refused(kurrent.StreamDeletedError, gather(client.readStream(stream)));
  assert.equal(gone.streamName, stream);
  for (const given of [event(), events(2)]) {
    await refused(kurrent.StreamDeletedError, client.appendToStream(stream, given));
  }
  await refused(kurrent.StreamDeletedError, client.deleteStream(stream));
  await refused(kurrent.StreamDeletedError, client.tombstoneStream(stream));
});

proves("deleting with another version is refused", async (client) => {
  for (const end of ["deleteStream", "tombstoneStream"]) {
    const stream = name();
    await fill(client, stream, 3);
    const error = await refused(kurrent.WrongExpectedVersionError, client[end](stream, { expectedRevision: 1n }));
    assert.deepEqual([error.streamName, error.expectedState, error.actualState], [stream, 1n, 2n]);
    await client[end](stream, { expectedRevision: 2n });
  }
});

proves("everything is read both ways, with and without filters", async (client) => {
  const [loans, users] = [category("loan"), category("user")];
  const lent = `Lent${loans}`;
  const results = [];
  for (let number = 0; number < 8; number += 1) {
    const stream = `${number % 2 ? users : loans}-${number}`;
    results.push(await client.appendToStream(stream, event(number, number % 4 < 2 ? lent : "Other")));
  }
  const [{ position: first }, { position: second }] = results;
  const mine = async (options) => {
    const found = await gather(client.readAll(options));
    return found.filter(({ event }) => /^(loan|user)/.test(event.streamId)).map(({ event }) => event.data.number);
  };
  assert.deepEqual(await mine({ fromPosition: first }), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(await mine({ fromPosition: second, maxCount: 2 }), [1, 2]);
  assert.deepEqual(await mine({ direction: BACKWARDS, fromPosition: END, maxCount: 2 }), [7, 6]);
  assert.deepEqual(await mine({ direction: BACKWARDS, fromPosition: second, maxCount: 1 }), [0]);
  assert.deepEqual(await mine({ filter: eventTypeFilter({ prefixes: [lent] }) }), [0, 1, 4, 5]);
  assert.deepEqual(await mine({ filter: eventTypeFilter({ regex: `^${lent}$` }), maxCount: 3 }), [0, 1, 4]);
  assert.deepEqual(await mine({ filter: streamNameFilter({ prefixes: [`${loans}-`] }) }), [0, 2, 4, 6]);
  assert.deepEqual(await mine({ filter: streamNameFilter({ regex: `^${users}-` }) }), [1, 3, 5, 7]);
  assert.deepEqual(await mine({ filter: excludeSystemEvents(), fromPosition: first }), [0, 1, 2, 3, 4, 5, 6, 7]);
  const invalid = { commit: 1n << 60n, prepare: 1n << 60n };
  await assert.rejects(gather(client.readAll({ fromPosition: invalid })));
});

proves("metadata of streams is set and read, with an expected version", async (client) => {
  const stream = name();
  const none = await client.getStreamMetadata(stream);
  assert.equal(none.metadata, undefined);
  const set = await client.setStreamMetadata(stream, { maxCount: 2, owner: "me" }, { streamState: NO_STREAM });
  await fill(client, stream, 5);
  const { metadata, metastreamRevision } = await client.getStreamMetadata(stream);
  // What this client calls a revision is a position.
  assert.deepEqual([metadata.maxCount, metadata.owner, metastreamRevision], [2, "me", set.position.commit]);
  assert.deepEqual(numbers(await gather(client.readStream(stream))), [3, 4]);
  await refused(
    kurrent.WrongExpectedVersionError,
    client.setStreamMetadata(stream, { maxAge: 60 }, { streamState: NO_STREAM })
  );
});

proves("categories and types are read as links, and as what they point to", async (client) => {
  const loans = category();
  const type = `Lent${loans}`;
  for (let number = 0; number < 4; number += 1) await client.appendToStream(`${loans}-${number % 2}`, event(number, type));
  for (const source of [`$ce-${loans}`, `$et-${type}`]) {
    const resolved = await gather(client.readStream(source, { resolveLinkTos: true }));
    assert.deepEqual(numbers(resolved), [0, 1, 2, 3]);
    assert.deepEqual(resolved.map(({ link }) => [link.streamId, link.revision]), [0n, 1n, 2n, 3n].map((n) => [source, n]));
    const links = await gather(client.readStream(source, { direction: BACKWARDS, fromRevision: END, maxCount: 1 }));
    assert.deepEqual([links[0].event.type, Buffer.from(links[0].event.data).toString()], ["$>", `1@${loans}-1`]);
  }
  await refused(kurrent.StreamNotFoundError, gather(client.readStream(`$ce-${category("none")}`)));
});

proves("sessions append to several streams at once or to none", async (client) => {
  const [new1, old, gone] = [name(), name(), name()];
  await fill(client, old, 2);
  const write = (streamName, expectedState, count = 1) => ({ streamName, expectedState, events: events(count) });
  const result = await client.multiStreamAppend([write(new1, NO_STREAM, 2), write(old, 1n)]);
  assert.deepEqual(
    result.responses.map(({ streamName, revision }) => [streamName, revision]),
    [[new1, 1n], [old, 2n]]
  );
  assert(result.position > 0n);
  const error = await refused(kurrent.WrongExpectedVersionError, client.multiStreamAppend([write(new1, 1n), write(old, 0n)]));
  assert.deepEqual([error.streamName, error.expectedState, error.actualState], [old, 0n, 2n]);
  await fill(client, gone, 1);
  await client.tombstoneStream(gone);
  const ended = await refused(kurrent.StreamTombstonedError, client.multiStreamAppend([write(new1, ANY), write(gone, ANY)]));
  assert.equal(ended.stream, gone);
  assert.equal((await gather(client.readStream(new1))).length, 2);
});

proves("records go to their streams in order, under checks that hold or fail together", async (client) => {
  const [a, b] = [name(), name()];
  const record = (streamName, number) => ({ streamName, record: event(number, "Lent", { metadata: { who: "me" } }) });
  const result = await client.appendRecords([record(a, 0), record(b, 1), record(a, 2)]);
  assert.deepEqual(result.responses.map(({ streamName, revision }) => [streamName, revision]).sort(), [[a, 1n], [b, 0n]].sort());
  const [first] = await gather(client.readStream(a));
  assert.deepEqual(first.event.metadata, { who: "me", "$schema.name": "Lent", "$schema.format": "Json" });
  const check = (streamName, expectedState) => ({ type: "stream_state", streamName, expectedState });
  await client.appendRecords([record(a, 3)], [check(a, 1n), check(b, STREAM_EXISTS), check(name(), NO_STREAM)]);
  const error = await refused(
    kurrent.AppendConsistencyViolationError,
    client.appendRecords([record(a, 4)], [check(a, 1n), check(b, 0n), check(b, NO_STREAM)].slice(0, 2))
  );
  assert.equal(error.violations.length, 1);
  assert.deepEqual(numbers(await gather(client.readStream(a))), [0, 2, 3]);
});

proves("what is too large is refused by name", async (client) => {
  const stream = name();
  const of = (bytes) => binaryEvent({ type: "Large", data: Buffer.alloc(bytes) });
  await refused(
    kurrent.AppendRecordSizeExceededError,
    client.multiStreamAppend([{ streamName: stream, expectedState: ANY, events: [of((16 << 20) + 1)] }])
  );
  await refused(
    kurrent.TransactionMaxSizeExceededError,
    client.multiStreamAppend([{ streamName: stream, expectedState: ANY, events: Array.from({ length: 8 }, () => of(9 << 20)) }])
  );
  await refused(
    kurrent.MaxAppendSizeExceededError,
    client.appendToStream(stream, Array.from({ length: 8 }, () => of(9 << 20)))
  );
  await refused(kurrent.StreamNotFoundError, gather(client.readStream(stream)));
});

proves("the server is found by gossip", async () => {
  const { connect } = await import("./scenarios.mjs");
  for (const options of ["&nodePreference=leader", ""]) {
    const client = connect("kurrentdb+discover", options);
    const stream = name();
    await fill(client, stream, 1);
    assert.equal((await gather(client.readStream(stream))).length, 1);
    await client.dispose();
  }
});

proves("projections are refused plainly", async (client) => {
  const error = await refused(kurrent.UnknownError, client.createProjection("p", "fromAll()"));
  assert.match(error.message, /projections do not run in this server/);
});

await run();
