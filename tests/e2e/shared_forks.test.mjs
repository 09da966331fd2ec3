// A room of two servers that do not reach each other for a while, in which both sides go on: they say things, set the same
// state, put people out. Once they reach each other again, both have one room: against this server and against Synapse.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
const HEAL_MS = 90_000;
const KINDS = ["pilotlight", "synapse"];

let authority, here;
const others = {};

before(async () => {
  authority = new Authority();
  const start = (kind) => Homeserver.start({}, kind, { authority, relayed: true });
  [here, ...others.all] = await Promise.all(["pilotlight", ...KINDS].map(start));
  KINDS.forEach((kind, n) => (others[kind] = others.all[n]));
});

after(async () => {
  await Promise.all([here, ...(others.all ?? [])].map((server) => server?.stop()));
  authority?.remove();
});

const setState = (who, room, kind, content, key = "") => who.ok("PUT", path(`${V3}/rooms/{}/state/{}/{}`, room, kind, key), content);
const act = (who, room, what, user) => who.ok("POST", path(`${V3}/rooms/{}/${what}`, room), user && { user_id: user.userId });

/** The room's state, as `who` is told it: what says something else on the two servers is a difference. */
async function stateOf(who, room) {
  const state = await who.ok("GET", path(`${V3}/rooms/{}/state`, room));
  return Object.fromEntries(state.map(({ type, state_key, event_id }) => [`${type}|${state_key}`, event_id]));
}

async function agree(room, one, other) {
  let states;
  await until("both have one state", async () => {
    states = await Promise.all([one, other].map((who) => stateOf(who, room)));
    try {
      return assert.deepEqual(states[0], states[1]) ?? true;
    } catch {
      return false;
    }
  }, HEAL_MS).catch((error) => assert.deepEqual(states[0], states[1], error.message));
  return states[0];
}

/** Everybody has what everybody said. */
const haveAll = (room, people, ids) =>
  until("everybody has everything", async () => {
    const all = await Promise.all(people.map(async (who) => new Set((await who.history(room)).map(({ event_id }) => event_id))));
    return all.every((has) => ids.every((id) => has.has(id)));
  }, HEAL_MS);

for (const kind of KINDS) {
  for (const version of ["10", "12"]) {
    test(`both sides of a cut change the same state, with ${kind}, in version ${version}`, async () => {
      const there = others[kind];
      const name = `${kind}${version}`;
      const [alice, dave] = await Promise.all([`alice${name}`, `dave${name}`].map((user) => Device.register(here.baseUrl, user)));
      const [bob, erin] = await Promise.all([`bob${name}`, `erin${name}`].map((user) => Device.register(there.baseUrl, user)));
      const room = await alice.createRoom({ preset: "public_chat", room_alias_name: name, room_version: version });
      for (const who of [dave, bob, erin]) await who.ok("POST", path(`${V3}/join/{}`, `#${name}:${here.name}`), {});
      const levels = await alice.ok("GET", path(`${V3}/rooms/{}/state/m.room.power_levels`, room));
      await setState(alice, room, "m.room.power_levels", { ...levels, users: { ...levels.users, [bob.userId]: 50 } });
      await until("Bob may do things", async () => (await bob.ok("GET", path(`${V3}/rooms/{}/state/m.room.power_levels`, room))).users[bob.userId] === 50);
      const said = [await alice.send(room, "all is well"), await bob.send(room, "it is")];
      await haveAll(room, [alice, bob], said);

      for (const server of [here, there]) server.relay.setCut(true);
      said.push(await alice.send(room, "is anybody there?"), await bob.send(room, "they are gone"));
      await setState(alice, room, "m.room.name", { name: "Alice's name" });
      await setState(bob, room, "m.room.name", { name: "Bob's name" });
      await setState(bob, room, "m.room.topic", { topic: "only Bob's" });
      // She takes from him what he has just used, and puts out whom he lets speak.
      await setState(alice, room, "m.room.power_levels", { ...levels, users: { ...levels.users, [bob.userId]: 0 } });
      await act(alice, room, "ban", erin);
      said.push(await dave.send(room, "still here"));
      await act(bob, room, "kick", dave);
      const lost = await erin.send(room, "nobody told me");
      for (const server of [here, there]) server.relay.setCut(false);

      // Each is woken by what the other says.
      await until("they hear of each other", async () => {
        await alice.send(room, "hello?");
        const history = await bob.history(room);
        return history.some(({ content }) => content?.body === "hello?");
      }, HEAL_MS);
      said.push(await alice.send(room, "there you are"), await bob.send(room, "we were here all the time"));
      await haveAll(room, [alice, bob], said);
      const state = await agree(room, alice, bob);
      const is = async (user) => (await alice.ok("GET", path(`${V3}/rooms/{}/state/m.room.member/{}`, room, user.userId))).membership;
      assert.equal(await is(erin), "ban");
      assert.ok(state["m.room.name|"]);
      // Whoever is out is out on both servers, and nobody is shown what was said by somebody who was out already.
      const out = await erin.request("PUT", path(`${V3}/rooms/{}/send/m.room.message/late`, room), { body: "x", msgtype: "m.text" });
      assert.equal(out.status, 403);
      assert.ok(!(await alice.history(room)).some(({ event_id }) => event_id === lost));
    });
  }
}
