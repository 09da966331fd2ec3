// Three servers share a room, and any of them is killed at any moment: after quiet all have the same events and the same
// state, and every message that was acknowledged is there once.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const ROUNDS = 3 * (process.env.TEST_TIMES ?? 1);
const V3 = "/_matrix/client/v3";
/** What they do all the time would be enough to be told to wait. */
const SETTINGS = { "rate_limits.enabled": "false" };
const QUIET_MS = 60_000;

let servers, people, room;

before(async () => {
  const authority = new Authority();
  servers = await Promise.all(["alice", "bob", "carol"].map(() => Homeserver.start(SETTINGS, "pilotlight", { authority })));
  people = await Promise.all(["alice", "bob", "carol"].map((name, n) => Device.register(servers[n].baseUrl, name)));
  const users = Object.fromEntries(people.map(({ userId }) => [userId, 100]));
  room = await people[0].createRoom({ preset: "public_chat", room_alias_name: "shared", power_level_content_override: { users: { ...users, [people[0].userId]: undefined } } });
  for (const person of people.slice(1)) await person.ok("POST", path(`${V3}/join/{}`, `#shared:${servers[0].name}`), {});
});

after(() => Promise.all((servers ?? []).map((server) => server.stop())));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const isNetworkError = ({ message, cause }) => message === "fetch failed" || /ECONN|UND_ERR|other side closed/.test(String(cause?.code ?? cause));

/** Says one thing after the other, and now and then names the room; what got no answer is sent again. */
class Talker {
  acknowledged = new Map();

  constructor(device) {
    this.device = device;
    this.done = this.#talk();
  }

  async #talk() {
    const name = this.device.userId;
    for (let n = 0; !this.stopped; n++) {
      const text = `${name} ${n}`;
      await this.#again(async () => this.acknowledged.set(text, await this.device.send(room, text, `${name}${n}`)));
      if (n % 10 === 9) await this.#again(() => this.device.ok("PUT", path(`${V3}/rooms/{}/state/m.room.name`, room), { name: text }));
      await pause(20);
    }
  }

  async #again(act) {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (!isNetworkError(error)) throw error;
        await pause(30);
      }
    }
  }
}

/** What is the same of an event wherever it is read. */
const same = ({ event_id, type, state_key, sender, origin_server_ts, content }) =>
  JSON.stringify([event_id, type, state_key, sender, origin_server_ts, content]);

/** A room as a user's server has it: every event once, in order of their IDs, as servers may have them in another; and its state. */
async function seen(person) {
  const events = await person.history(room);
  const state = await person.ok("GET", path(`${V3}/rooms/{}/state`, room));
  return { events, all: events.map(same).sort(), state: state.map(same).sort() };
}

/** What one of them has and another has not. */
const differing = (views, part) => {
  const count = new Map();
  for (const one of views.flatMap((view) => [...new Set(view[part])])) count.set(one, (count.get(one) ?? 0) + 1);
  return [...count].filter(([, times]) => times < views.length).map(([one]) => one);
};

test("whatever is killed when, all servers end with the same events and the same state", async () => {
  const talkers = people.map((person) => new Talker(person));
  for (let round = 0; round < ROUNDS; round++) {
    await pause(700 + 300 * (round % 3));
    const victim = servers[round % servers.length];
    await victim.end("SIGKILL");
    await pause(round % 2 ? 50 : 900);
    await victim.up();
  }
  await pause(700);
  for (const talker of talkers) talker.stopped = true;
  await Promise.all(talkers.map(({ done }) => done));
  const said = talkers.flatMap(({ acknowledged }) => [...acknowledged]);
  assert.ok(said.length > 50, `${said.length} messages`);
  // What was lost on the way is asked for when the next event comes that rests on it.
  for (const [n, person] of people.entries()) await person.send(room, `the end of ${n}`);
  let views;
  await until("all have the same", async () => {
    views = await Promise.all(people.map(seen));
    return ["all", "state"].every((part) => new Set(views.map((view) => view[part].join())).size === 1);
  }, QUIET_MS).catch((error) => {
    const missing = views.map(({ events }) => said.filter(([, id]) => !events.some(({ event_id }) => event_id === id)).length);
    const [events, state] = ["all", "state"].map((part) => differing(views, part));
    throw new Error(`${error.message}: of ${said.length} are missing ${missing}; not everywhere are ${events.slice(0, 9)} and of the state ${state.slice(0, 9)}`);
  });
  for (const { events, all } of views) {
    assert.equal(events[0].type, "m.room.create", "whoever scrolls back comes to the beginning");
    assert.equal(new Set(all).size, all.length, "each event once");
    for (const [text, id] of said) {
      const those = events.filter(({ content }) => content?.body === text);
      assert.deepEqual(those.map(({ event_id }) => event_id), [id], text);
    }
  }
});
