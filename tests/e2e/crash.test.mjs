// SIGKILL in the middle of a conversation, and a restart on the same data.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, until } from "./lib/matrix.mjs";

for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};

const ROUNDS = 3 * (process.env.TEST_TIMES ?? 1);
const MESSAGES_BEFORE_KILL = 25;

let server, alice, bob, room;

before(async () => {
  server = await Homeserver.start();
  alice = await Device.register(server.baseUrl, "alice");
  bob = await Device.register(server.baseUrl, "bob");
  room = await alice.createRoom();
  await bob.join(room);
});

after(() => server?.stop());

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Says one thing after the other; what got no answer is sent again under the same transaction ID. */
class Talker {
  acknowledged = new Map(); // transaction ID → event ID
  resent = 0;

  constructor(device, name) {
    this.device = device;
    this.name = name;
    this.done = this.#talk();
  }

  stop() {
    this.stopped = true;
    return this.done;
  }

  async #talk() {
    for (let n = 0; !this.stopped; n++) {
      const txnId = `${this.name}${n}`;
      while (!this.acknowledged.has(txnId)) {
        try {
          this.acknowledged.set(txnId, await this.device.send(room, txnId, txnId));
        } catch (error) {
          if (!isNetworkError(error)) throw error;
          this.resent++;
          await pause(30);
        }
      }
    }
  }
}

/** Follows the room by `/sync` from token to token, over whatever happens to the server. */
class Listener {
  events = [];

  constructor(device) {
    this.device = device;
    this.done = this.#listen();
  }

  stop() {
    this.stopped = true;
    return this.done;
  }

  async #listen() {
    const filter = { room: { timeline: { limit: 200 } } };
    while (!this.stopped) {
      try {
        const first = this.device.since === undefined;
        const { rooms } = await this.device.sync({ timeout: 200, filter });
        const timeline = rooms?.join?.[room]?.timeline;
        if (!timeline || first) continue;
        assert.ok(!timeline.limited, "nothing was left out");
        this.events.push(...timeline.events.filter((event) => event.type === "m.room.message"));
      } catch (error) {
        if (!isNetworkError(error)) throw error;
        await pause(30);
      }
    }
  }
}

const isNetworkError = (error) => error instanceof TypeError || error?.cause?.code !== undefined;

function assertOnce(events, acknowledged, where) {
  const times = new Map();
  for (const { event_id: id, content } of events) {
    const key = `${id} ${content.body}`;
    times.set(key, (times.get(key) ?? 0) + 1);
  }
  for (const [txnId, id] of acknowledged) {
    assert.equal(times.get(`${id} ${txnId}`), 1, `${where}: ${txnId} stands there exactly once, as it was acknowledged`);
  }
  assert.equal(events.length, acknowledged.size, `${where}: and nothing else does`);
}

test("an acknowledged message is there exactly once, however often the server is killed", async (t) => {
  await alice.sync();
  await bob.sync();
  const listeners = [new Listener(alice), new Listener(bob)];
  const talkers = [new Talker(alice, "a"), new Talker(bob, "b")];
  const said = () => talkers.reduce((sum, talker) => sum + talker.acknowledged.size, 0);
  for (let round = 0; round < ROUNDS; round++) {
    const target = said() + MESSAGES_BEFORE_KILL;
    await until("the conversation goes on", () => said() >= target);
    await server.end("SIGKILL");
    await server.up();
  }
  const target = said() + MESSAGES_BEFORE_KILL;
  await until("the conversation goes on after the last restart", () => said() >= target);
  await Promise.all(talkers.map((talker) => talker.stop()));
  assert.ok(talkers.some((talker) => talker.resent > 0), "a kill hit a message on its way");

  const acknowledged = new Map(talkers.flatMap((talker) => [...talker.acknowledged]));
  for (const listener of listeners) {
    await until("the end of the conversation is heard", () => listener.events.length >= acknowledged.size);
    await pause(300);
    await listener.stop();
    assertOnce(listener.events, acknowledged, "in /sync");
  }
  const messages = (await alice.history(room)).filter((event) => event.type === "m.room.message");
  assertOnce(messages, acknowledged, "in /messages");
  const positions = new Map(messages.map((event, i) => [event.content.body, i]));
  for (const talker of talkers) {
    const order = [...talker.acknowledged.keys()].map((txnId) => positions.get(txnId));
    assert.deepEqual(order, order.toSorted((a, b) => a - b), "in the order in which it was said");
  }
  t.diagnostic(`figures: ${ROUNDS} kills, ${acknowledged.size} messages acknowledged`);
});

test("a transaction ID that is sent again after a crash is answered with the same event", async () => {
  const eventId = await alice.send(room, "once", "again");
  await server.end("SIGKILL");
  await server.up();
  assert.equal(await alice.send(room, "once", "again"), eventId);
  assert.notEqual(await bob.send(room, "once", "again"), eventId, "the ID is the device's own");
  const messages = (await bob.history(room)).filter((event) => event.content.body === "once");
  assert.equal(messages.length, 2);
});

test("accounts, devices, room state and presence survive", async () => {
  await alice.setPresence("online", "still here");
  const profile = await alice.ok("GET", "/_matrix/client/v3/profile/@alice:localhost");
  const state = await alice.ok("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/state`);
  await server.end("SIGKILL");
  await server.up();
  assert.equal((await alice.ok("GET", "/_matrix/client/v3/account/whoami")).device_id, alice.deviceId);
  assert.deepEqual(await alice.ok("GET", "/_matrix/client/v3/profile/@alice:localhost"), profile);
  const again = await alice.ok("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/state`);
  const byId = (events) => events.map((event) => event.event_id).sort();
  assert.deepEqual(byId(again), byId(state));
  assert.equal((await bob.presenceOf(alice.userId)).status_msg, "still here");
});

test("a stock client goes on by itself", async () => {
  const client = sdk.createClient({
    baseUrl: server.baseUrl, userId: bob.userId, accessToken: bob.token, deviceId: bob.deviceId,
  });
  try {
    await client.startClient({ initialSyncLimit: 3, pollTimeout: 1000 });
    await until("the first sync", () => client.isInitialSyncComplete());
    await server.end("SIGKILL");
    await until("the client has noticed", () => client.getSyncState() !== "SYNCING");
    await server.up();
    await alice.send(room, "are you still there?");
    const heard = () => client.getRoom(room).getLiveTimeline().getEvents()
      .filter((event) => event.getContent().body === "are you still there?").length;
    await until("the message arrives", heard, 40_000);
    assert.equal(heard(), 1);
  } finally {
    client.stopClient();
  }
});
