// What the files beside this one share. Each of them is run as `node FILE HOST:PORT [WORD]`: its scenarios prove something of
// the server there with the client as its authors published it, one after the other, or only those whose text contains the
// word. The first that fails ends the run.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";

// The client is installed elsewhere: NODE_PATH names the place.
export const kurrent = createRequire(import.meta.url)("@kurrent/kurrentdb-client");

export const PATIENCE_MS = 30_000;

const [address, word = ""] = process.argv.slice(2);
const scenarios = [];

/** Registers a function that gets a client and proves what the text says. */
export function proves(what, scenario) {
  scenarios.push([what, scenario]);
}

export function connect(scheme = "kurrentdb", options = "") {
  return kurrent.KurrentDBClient.connectionString(`${scheme}://${address}?tls=false${options}`);
}

export async function run() {
  const chosen = scenarios.filter(([what]) => what.includes(word));
  assert(chosen.length > 0, `no scenario has ${word} in its text`);
  for (const [what, scenario] of chosen) {
    const client = connect();
    try {
      await soon(scenario(client), 3);
    } catch (error) {
      console.error(error);
      console.error(`NOT proved: ${what}`);
      process.exit(1);
    }
    await client.dispose();
    console.log(`proved: ${what}`);
  }
  console.log(`${chosen.length} passed, 0 failed`);
  process.exit(0);
}

/** Waits, but not for ever. */
export function soon(promise, times = 1) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it takes too long")), PATIENCE_MS * times);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks again and again until there is something. */
export async function waitUntil(what, ask) {
  const begun = Date.now();
  for (;;) {
    const found = await ask();
    if (found) return found;
    assert(Date.now() - begun < PATIENCE_MS, `waited too long until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A stream that nobody else uses. */
export function name(category = "loan") {
  return `${category}-${randomUUID().replaceAll("-", "")}`;
}

/** A category that nobody else uses. */
export function category(word = "loan") {
  return word + randomUUID().replaceAll("-", "");
}

export function event(number = 0, type = "Lent", more = {}) {
  return kurrent.jsonEvent({ type, data: { number }, ...more });
}

export function events(count, type = "Lent", first = 0) {
  return Array.from({ length: count }, (_, index) => event(first + index, type));
}

export async function fill(client, stream, count, type = "Lent") {
  const given = events(count, type);
  await client.appendToStream(stream, given);
  return given;
}

export async function gather(reading) {
  const found = [];
  for await (const one of reading) found.push(one);
  return found;
}

export function numbers(found) {
  return found.map(({ event }) => event.data.number);
}

/** Has a subscription read one event at a time, as long as it is not ended. */
export function reading(subscription) {
  const iterator = subscription[Symbol.asyncIterator]();
  const failed = new Promise((_, reject) => subscription.on("error", reject));
  failed.catch(() => {});
  // What it ends with may be told before or after its last event.
  subscription.next = async () => {
    const { done, value } = await soon(Promise.race([iterator.next(), failed]));
    return done ? soon(failed) : value;
  };
  return subscription;
}

/** The next so many events of a subscription, which goes on. */
export async function take(subscription, count) {
  const taken = [];
  while (taken.length < count) taken.push(await subscription.next());
  return taken;
}

/** Holds if the promise is rejected with an error of exactly this class, and gives the error. */
export async function refused(kind, promise) {
  const outcome = await soon(Promise.resolve(promise)).then(
    (value) => ({ value }),
    (error) => ({ error })
  );
  assert(outcome.error, `${kind.name} is not thrown, but ${JSON.stringify(outcome.value, (_, one) => typeof one === "bigint" ? `${one}n` : one)} returned`);
  assert.equal(outcome.error.constructor.name, kind.name, `${outcome.error.stack}`);
  return outcome.error;
}
