// The server is killed again and again while everything that it keeps is being written: what it acknowledged is there
// afterwards, what it did not is there whole or not at all.
//
// A few kills by themselves; TEST_TIMES=30 in front makes it 180 (see CONTRIBUTING.md).
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const KILLS = 6 * (process.env.TEST_TIMES ?? 1);

/** One end of so many is an orderly one. */
const ORDERLY = 6;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether the server was gone before it answered. */
const isGone = (error) => error instanceof TypeError || error?.cause?.code !== undefined;

/** Who may go on: all wait here while the server is away and while it is looked at. */
const gate = {
  closed: true,
  async pass() {
    while (this.closed) await pause(5);
  },
};

/** Does one thing after the other; what got no answer is done again. */
class Doer {
  /** The last number that was acknowledged, and the last that was tried. */
  acknowledged = 0;
  tried = 0;
  repeated = 0;
  busy = false;

  constructor(what, act) {
    this.what = what;
    this.act = act;
    this.done = this.#go();
  }

  async #go() {
    for (;;) {
      await gate.pass();
      if (this.stopped) return;
      this.busy = true;
      this.tried = this.acknowledged + 1;
      try {
        await this.act(this.tried);
        this.acknowledged = this.tried;
      } catch (error) {
        if (!isGone(error)) throw new Error(`${this.what} ${this.tried}`, { cause: error });
        this.repeated++;
      } finally {
        this.busy = false;
      }
    }
  }

  /** Asserts that `value` is what was acknowledged, or what was on its way. */
  assertIs(value, of = (n) => n) {
    const possible = [of(this.acknowledged), of(this.tried)];
    assert.ok(possible.includes(value), `${this.what}: ${value} is none of ${possible}`);
  }

  /** Asserts that `all` is everything that was done, each once and in order. */
  assertAll(all) {
    assert.deepEqual(all, all.map((_, i) => i + 1), `${this.what}: each once, in order`);
    this.assertIs(all.length);
  }
}

let server, alice, bob, room;

before(async () => {
  if (stock) return;
  server = await Homeserver.start();
  alice = await Device.register(server.baseUrl, "alice");
  bob = await Device.register(server.baseUrl, "bob");
  room = await alice.createRoom();
  await bob.join(room);
});

after(() => server?.stop());

/** What is written all the time, and how each is looked at afterwards. */
function doers() {
  const list = path("/_matrix/client/v3/presence/list/{}", alice.userId);
  const data = path("/_matrix/client/v3/user/{}/account_data/org.test", alice.userId);
  const name = path("/_matrix/client/v3/profile/{}/displayname", alice.userId);
  const topic = path("/_matrix/client/v3/rooms/{}/state/m.room.topic", room);
  const events = new Map();
  const heard = [];
  let somebody;
  const all = [
    { what: "message", act: async (n) => events.set(n, await alice.send(room, String(n), `m${n}`)),
      async look(doer) {
        const n = doer.acknowledged;
        if (n) assert.equal(await alice.send(room, String(n), `m${n}`), events.get(n), "the same action is the same event");
      },
      async end(doer) {
        const history = (await bob.history(room)).filter((event) => event.type === "m.room.message");
        doer.assertAll(history.map((event) => Number(event.content.body)));
        for (const [n, id] of events) assert.equal(history[n - 1].event_id, id);
      } },
    { what: "list", act: (n) => alice.ok("POST", list, n % 2 ? { invite: [bob.userId] } : { drop: [bob.userId] }),
      async look(doer) {
        const entries = await alice.ok("GET", list);
        doer.assertIs(entries.some((entry) => entry.sender === bob.userId), (n) => n % 2 === 1);
      } },
    { what: "account data", act: (n) => alice.ok("PUT", data, { n }),
      look: async (doer) => doer.assertIs((await alice.request("GET", data)).body.n ?? 0) },
    { what: "name", act: (n) => alice.ok("PUT", name, { displayname: String(n) }),
      look: async (doer) => doer.acknowledged && doer.assertIs((await alice.ok("GET", name)).displayname, String) },
    { what: "room state", act: (n) => alice.ok("PUT", topic, { topic: String(n) }),
      look: async (doer) => doer.acknowledged && doer.assertIs((await bob.ok("GET", topic)).topic, String) },
    { what: "presence", act: (n) => bob.setPresence("busy", String(n)),
      look: async (doer) => doer.acknowledged && doer.assertIs((await bob.presenceOf(bob.userId)).status_msg, String) },
    { what: "device message",
      act: (n) => alice.ok("PUT", path("/_matrix/client/v3/sendToDevice/org.test/{}", `d${n}`), {
        messages: { [bob.userId]: { [bob.deviceId]: { n } } },
      }),
      async end(doer) {
        while (await hear()) await pause(1);
        doer.assertAll(heard);
      } },
    { what: "hearing", act: () => hear() },
    { what: "account",
      // In and out: every token is valid as long as it should be.
      async act(n) {
        if (n % 2 === 0) {
          if (somebody) await somebody.ok("POST", "/_matrix/client/v3/logout", {}).catch(unlessDone);
          return;
        }
        const made = await Device.register(server.baseUrl, `u${n}`).catch((error) => {
          if (!/M_USER_IN_USE/.test(error.message)) throw error;
        });
        somebody = made;
      },
      async look(doer) {
        if (!somebody || doer.tried !== doer.acknowledged) return;
        const { status } = await somebody.request("GET", "/_matrix/client/v3/account/whoami");
        assert.equal(status, doer.acknowledged % 2 ? 200 : 401, `account ${doer.acknowledged}`);
      } },
  ];
  async function hear() {
    const { to_device: toDevice } = await bob.sync({ timeout: 0 });
    const numbers = (toDevice?.events ?? []).map((event) => event.content.n);
    heard.push(...numbers);
    return numbers.length;
  }
  return all.map(({ what, act, look, end }) => Object.assign(new Doer(what, act), { look, end }));
}

/** A logout whose answer was lost has been done. */
function unlessDone(error) {
  if (!/M_UNKNOWN_TOKEN/.test(error.message)) throw error;
}

test("what was acknowledged is there, and nothing half done, however often the server is killed", {
  skip: stock && "lists and stored presence are not Matrix's",
}, async (t) => {
  const all = doers();
  const failed = Promise.race(all.map((doer) => doer.done.then(() => {}, (error) => Promise.reject(error))));
  failed.catch(() => {});
  const quiet = () => until("nobody is in the middle of something", () => all.every((doer) => !doer.busy));
  const look = async () => {
    for (const doer of all) await doer.look?.(doer);
  };
  let orderly = 0;
  for (let kill = 1; kill <= KILLS; kill++) {
    gate.closed = false;
    await Promise.race([pause(Math.random() * 600), failed]);
    const signal = kill % ORDERLY === 0 ? "SIGTERM" : "SIGKILL";
    await server.end(signal);
    gate.closed = true;
    await quiet();
    if (signal === "SIGTERM") {
      orderly++;
      assert.ok(!existsSync(join(server.dir, "data/pilotlight.db-wal")), "an orderly end leaves one file");
    }
    await server.up();
    await look();
  }
  assert.ok(all.some((doer) => doer.repeated > 0), "a kill hit something on its way");
  for (const doer of all) doer.stopped = true;
  gate.closed = false;
  await Promise.all(all.map((doer) => doer.done));
  for (const doer of all) await doer.end?.(doer);
  const done = all.map((doer) => `${doer.acknowledged} × ${doer.what}`).join(", ");
  t.diagnostic(`figures: ${KILLS - orderly} kills and ${orderly} orderly ends during ${done}`);
});
