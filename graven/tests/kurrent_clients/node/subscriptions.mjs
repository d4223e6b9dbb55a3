// Subscriptions to streams and to everything, and consumer groups, which the client calls persistent subscriptions.

import assert from "node:assert/strict";
import { once } from "node:events";
import { category, event, events, fill, kurrent, name, numbers, proves, reading, refused, run, soon, take, waitUntil } from "./scenarios.mjs";

const { END, PARK, PINNED, RETRY, ROUND_ROBIN, SKIP, START, STOP } = kurrent;
const { eventTypeFilter, excludeSystemEvents, streamNameFilter } = kurrent;
const toStream = kurrent.persistentSubscriptionToStreamSettingsFromDefaults;
const toAll = kurrent.persistentSubscriptionToAllSettingsFromDefaults;

proves("subscriptions to a stream begin anywhere, say when they have caught up, and go on", async (client) => {
  const stream = name();
  await fill(client, stream, 4);
  const whole = reading(client.subscribeToStream(stream, { fromRevision: START }));
  const caughtUp = once(whole, "caughtUp");
  assert.deepEqual(numbers(await take(whole, 4)), [0, 1, 2, 3]);
  // Events are read on only while somebody asks for them.
  const live = take(whole, 1);
  await soon(caughtUp);
  await client.appendToStream(stream, event(9));
  assert.deepEqual(numbers(await live), [9]);
  await whole.unsubscribe();
  for (const [fromRevision, expected] of [[1n, [2, 3, 9]], [3n, [9]]]) {
    const subscription = reading(client.subscribeToStream(stream, { fromRevision }));
    assert.deepEqual(numbers(await take(subscription, expected.length)), expected);
    await subscription.unsubscribe();
  }
  const subscription = reading(client.subscribeToStream(stream, { fromRevision: END }));
  const next = take(subscription, 1);
  await soon(once(subscription, "confirmation"));
  await client.appendToStream(stream, event(10));
  assert.deepEqual(numbers(await next), [10]);
  await subscription.unsubscribe();
});

proves("subscriptions to everything are filtered, and say how far they are", async (client) => {
  const loans = category();
  const type = `Rare${loans}`;
  const { position: before } = await client.appendToStream(name(), event());
  for (let number = 0; number < 4; number += 1) {
    await client.appendToStream(`${loans}-${number}`, event(number, type));
    await fill(client, name(), 40, "Common");
  }
  for (const filter of [eventTypeFilter, streamNameFilter]) {
    for (const how of filter === eventTypeFilter ? [{ prefixes: [type] }, { regex: `^${type}$` }] : [{ prefixes: [`${loans}-`] }, { regex: `^${loans}-` }]) {
      const marks = [];
      const subscription = reading(
        client.subscribeToAll({
          fromPosition: before,
          filter: filter({ ...how, maxSearchWindow: 10, checkpointInterval: 1, checkpointReached: (_, position) => marks.push(position.commit) }),
        })
      );
      assert.deepEqual(numbers(await take(subscription, 4)), [0, 1, 2, 3]);
      const next = take(subscription, 1);
      await waitUntil("checkpoints come", () => marks.length >= 4);
      assert.deepEqual(marks, [...marks].sort((a, b) => (a < b ? -1 : 1)));
      await client.appendToStream(`${loans}-live`, event(4, type));
      assert.deepEqual(numbers(await next), [4]);
      await client.deleteStream(`${loans}-live`);
      await subscription.unsubscribe();
    }
  }
  const subscription = reading(client.subscribeToAll({ fromPosition: before, filter: excludeSystemEvents() }));
  assert((await take(subscription, 20)).every(({ event }) => !event.type.startsWith("$")));
  await subscription.unsubscribe();
});

proves("a subscription ends with its stream", async (client) => {
  const stream = name();
  await fill(client, stream, 1);
  const subscription = reading(client.subscribeToStream(stream));
  await take(subscription, 1);
  const ended = refused(kurrent.StreamDeletedError, (async () => { for (;;) await take(subscription, 1); })());
  await client.tombstoneStream(stream);
  const error = await ended;
  assert.equal(error.streamName, stream);
});

proves("a group delivers, retries, parks, skips and replays", async (client) => {
  const stream = name();
  const given = await fill(client, stream, 4);
  await client.createPersistentSubscriptionToStream(stream, "g", toStream({ startFrom: START, maxRetryCount: 1 }));
  const consumer = reading(client.subscribeToPersistentSubscriptionToStream(stream, "g", { bufferSize: 10 }));
  const found = (await take(consumer, 4)).sort((a, b) => (a.event.revision < b.event.revision ? -1 : 1));
  assert.deepEqual(found.map(({ event, retryCount }) => [event.id, retryCount]), given.map(({ id }) => [id, 0]));
  await consumer.ack(found[0]);
  await consumer.nack(RETRY, "again, please", found[1]);
  await consumer.nack(PARK, "cannot read it", found[2]);
  await consumer.nack(SKIP, "not for us", found[3]);
  const [again] = await take(consumer, 1);
  assert.deepEqual([again.event.id, again.retryCount], [given[1].id, 1]);
  await consumer.nack(RETRY, "once too often", again);
  const info = () => client.getPersistentSubscriptionToStreamInfo(stream, "g");
  await waitUntil("two are parked", async () => (await info()).stats.parkedMessageCount === 2n || (await info()).stats.parkedMessageCount === 2);
  await client.replayParkedMessagesToStream(stream, "g", { stopAt: 1 });
  const [first] = await take(consumer, 1);
  assert.equal(first.event.id, given[1].id);
  await consumer.ack(first);
  await client.replayParkedMessagesToStream(stream, "g");
  const [second] = await take(consumer, 1);
  assert.equal(second.event.id, given[2].id);
  await consumer.ack(second);
  await waitUntil("none is parked", async () => Number((await info()).stats.parkedMessageCount) === 0);
  await consumer.unsubscribe();
});

proves("an event that stops its consumer comes again when its time is over", async (client) => {
  const stream = name();
  await fill(client, stream, 1);
  await client.createPersistentSubscriptionToStream(stream, "g", toStream({ startFrom: START, messageTimeout: 300 }));
  const consumer = reading(client.subscribeToPersistentSubscriptionToStream(stream, "g"));
  const [found] = await take(consumer, 1);
  await consumer.nack(STOP, "cannot go on", found);
  const [again] = await take(consumer, 1);
  assert.deepEqual([again.event.id, again.retryCount], [found.event.id, 1]);
  await consumer.ack(again);
  await consumer.unsubscribe();
});

proves("a group on everything parks and replays, and an update drops its consumers", async (client) => {
  const loans = category();
  const given = await fill(client, `${loans}-1`, 3);
  const settings = toAll({ startFrom: START });
  await client.createPersistentSubscriptionToAll(loans, settings, { filter: streamNameFilter({ prefixes: [`${loans}-`] }) });
  const consumer = reading(client.subscribeToPersistentSubscriptionToAll(loans));
  const found = await take(consumer, 3);
  await consumer.nack(PARK, "cannot read it", ...found);
  const parked = async () => Number((await client.getPersistentSubscriptionToAllInfo(loans)).stats.parkedMessageCount);
  await waitUntil("three are parked", async () => (await parked()) === 3);
  await client.replayParkedMessagesToAll(loans, { stopAt: 2 });
  const back = await take(consumer, 2);
  assert.deepEqual(back.map(({ event }) => event.id), given.slice(0, 2).map(({ id }) => id));
  await consumer.ack(...back);
  await waitUntil("one is parked", async () => (await parked()) === 1);
  const dropped = refused(kurrent.PersistentSubscriptionDroppedError, (async () => { for (;;) await take(consumer, 1); })());
  await client.updatePersistentSubscriptionToAll(loans, toAll({ ...settings, maxRetryCount: 9 }));
  await dropped;
  const told = await client.getPersistentSubscriptionToAllInfo(loans);
  assert.deepEqual([told.settings.maxRetryCount, Number(told.stats.parkedMessageCount)], [9, 1]);
  const later = reading(client.subscribeToPersistentSubscriptionToAll(loans));
  const last = take(later, 1);
  await soon(once(later, "confirmation"));
  await client.replayParkedMessagesToAll(loans);
  assert.equal((await last)[0].event.id, given[2].id);
  await later.ack(...(await last));
  await waitUntil("none is parked", async () => (await parked()) === 0);
  await later.unsubscribe();
  await client.deletePersistentSubscriptionToAll(loans);
});

proves("settings and standing of groups are told as they are", async (client) => {
  const stream = name();
  await fill(client, stream, 8);
  const settings = toStream({
    startFrom: 3n, resolveLinkTos: true, extraStatistics: true, messageTimeout: 12_000, maxRetryCount: 4, checkPointAfter: 1_500,
    checkPointLowerBound: 7, checkPointUpperBound: 70, maxSubscriberCount: 3, liveBufferSize: 60, readBatchSize: 15,
    historyBufferSize: 80, consumerStrategyName: ROUND_ROBIN,
  });
  await client.createPersistentSubscriptionToStream(stream, "g", settings);
  const told = await client.getPersistentSubscriptionToStreamInfo(stream, "g");
  assert.deepEqual([told.eventSource, told.groupName, told.connections], [stream, "g", []]);
  for (const [key, value] of Object.entries(settings)) assert.deepEqual([key, told.settings[key]], [key, value]);
  const consumer = reading(client.subscribeToPersistentSubscriptionToStream(stream, "g", { bufferSize: 2 }));
  const found = await take(consumer, 2);
  assert.equal(found[0].event.revision, 3n);
  const [connection] = (await client.getPersistentSubscriptionToStreamInfo(stream, "g")).connections;
  assert.deepEqual([Number(connection.inFlightMessages), Number(connection.availableSlots)], [2, 0]);
  await consumer.ack(...found);
  const dropped = refused(kurrent.PersistentSubscriptionDroppedError, (async () => { for (;;) await take(consumer, 1); })());
  await client.updatePersistentSubscriptionToStream(stream, "g", toStream({ ...settings, maxRetryCount: 9, consumerStrategyName: PINNED }));
  const error = await dropped;
  assert.deepEqual([error.streamName, error.groupName], [stream, "g"]);
  const changed = await client.getPersistentSubscriptionToStreamInfo(stream, "g");
  assert.deepEqual([changed.settings.maxRetryCount, changed.settings.consumerStrategyName], [9, PINNED]);
  assert.equal((await client.listPersistentSubscriptionsToStream(stream)).length, 1);
});

proves("groups on everything and on categories are made, listed and deleted", async (client) => {
  const loans = category();
  const { position } = await client.appendToStream(`${loans}-1`, event(0));
  const filter = streamNameFilter({ prefixes: [`${loans}-`] });
  await client.createPersistentSubscriptionToAll("all", toAll({ startFrom: START }), { filter });
  await client.createPersistentSubscriptionToAll("from", toAll({ startFrom: position }), { filter });
  await client.createPersistentSubscriptionToAll("end", toAll({ startFrom: END }), { filter });
  await client.createPersistentSubscriptionToStream(`$ce-${loans}`, "ce", toStream({ startFrom: START, resolveLinkTos: true }));
  await client.appendToStream(`${loans}-2`, event(1));
  for (const [group, expected] of [["all", [0, 1]], ["from", [0, 1]], ["end", [1]]]) {
    const consumer = reading(client.subscribeToPersistentSubscriptionToAll(group));
    const found = await take(consumer, expected.length);
    assert.deepEqual([group, numbers(found).sort()], [group, expected]);
    await consumer.ack(...found);
    await consumer.unsubscribe();
  }
  assert.deepEqual((await client.getPersistentSubscriptionToAllInfo("from")).settings.startFrom, position);
  assert.deepEqual((await client.getPersistentSubscriptionToAllInfo("end")).settings.startFrom, END);
  const consumer = reading(client.subscribeToPersistentSubscriptionToStream(`$ce-${loans}`, "ce"));
  const found = await take(consumer, 2);
  assert.deepEqual(found.map(({ link }) => link.revision).sort(), [0n, 1n]);
  await consumer.ack(...found);
  const gone = refused(kurrent.PersistentSubscriptionDoesNotExistError, (async () => { for (;;) await take(consumer, 1); })());
  await client.deletePersistentSubscriptionToStream(`$ce-${loans}`, "ce");
  await gone;
  assert.deepEqual((await client.listPersistentSubscriptionsToAll()).map(({ groupName }) => groupName).sort(), ["all", "end", "from"]);
  for (const group of ["all", "end", "from"]) {
    await client.replayParkedMessagesToAll(group);
    await client.updatePersistentSubscriptionToAll(group, toAll({ startFrom: START }));
    await client.deletePersistentSubscriptionToAll(group);
  }
  await client.createPersistentSubscriptionToStream(`${loans}-1`, "one", toStream());
  const all = await client.listAllPersistentSubscriptions();
  assert(all.some(({ groupName, eventSource }) => groupName === "one" && eventSource === `${loans}-1`));
  await client.restartPersistentSubscriptionSubsystem();
});

proves("every refusal of a group is told by its class", async (client) => {
  const stream = name();
  const settings = toStream({ maxSubscriberCount: 1 });
  await client.createPersistentSubscriptionToStream(stream, "g", settings);
  const exists = await refused(kurrent.PersistentSubscriptionExistsError, client.createPersistentSubscriptionToStream(stream, "g", settings));
  assert.deepEqual([exists.streamName, exists.groupName], [stream, "g"]);
  const missing = kurrent.PersistentSubscriptionDoesNotExistError;
  await refused(missing, client.getPersistentSubscriptionToStreamInfo(stream, "none"));
  await refused(missing, client.deletePersistentSubscriptionToStream(stream, "none"));
  await refused(missing, client.updatePersistentSubscriptionToStream(stream, "none", settings));
  await refused(missing, client.replayParkedMessagesToStream(stream, "none"));
  await refused(missing, client.listPersistentSubscriptionsToStream(name()));
  await refused(missing, take(reading(client.subscribeToPersistentSubscriptionToStream(stream, "none")), 1));
  const all = category();
  await client.createPersistentSubscriptionToAll(all, toAll());
  await refused(kurrent.PersistentSubscriptionExistsError, client.createPersistentSubscriptionToAll(all, toAll()));
  await client.deletePersistentSubscriptionToAll(all);
  await refused(missing, client.getPersistentSubscriptionToAllInfo(all));
  await refused(missing, client.deletePersistentSubscriptionToAll(all));
  await refused(missing, client.updatePersistentSubscriptionToAll(all, toAll()));
  await refused(missing, client.replayParkedMessagesToAll(all));
  await refused(missing, take(reading(client.subscribeToPersistentSubscriptionToAll(all)), 1));
  const consumer = reading(client.subscribeToPersistentSubscriptionToStream(stream, "g"));
  const next = take(consumer, 1);
  await soon(once(consumer, "confirmation"));
  const full = await refused(kurrent.PersistentSubscriptionMaximumSubscribersReachedError, take(reading(client.subscribeToPersistentSubscriptionToStream(stream, "g")), 1));
  assert.deepEqual([full.streamName, full.groupName], [stream, "g"]);
  await client.appendToStream(stream, events(1));
  await consumer.ack(...(await next));
  await consumer.unsubscribe();
});

await run();
