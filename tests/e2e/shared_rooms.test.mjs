// Rooms shared with Synapse, over TLS, in both directions: who comes in, what they say, how they go.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const SPACE = { creation_content: { type: "m.space" } };
/** What is said in a room before somebody comes into it. */
const PAST = 500;

let authority, ours, stock, alice, bob;

before(async () => {
  authority = new Authority();
  const start = (kind, settings) => Homeserver.start(settings, kind, { authority });
  const settings = { allow_public_rooms_over_federation: true, room_list_publication_rules: [{ action: "allow" }] };
  [ours, stock] = await Promise.all([start("pilotlight", {}), start("synapse", settings)]);
  [alice, bob] = await Promise.all([Device.register(ours.baseUrl, "alice"), Device.register(stock.baseUrl, "bob")]);
});

after(async () => {
  await Promise.all([ours?.stop(), stock?.stop()]);
  authority?.remove();
});

/** Comes into a room by its ID or alias, by way of a server. */
const joinBy = (device, room, server) =>
  device.ok("POST", path("/_matrix/client/v3/join/{}?server_name={}&via={}", room, server.name, server.name), {});

/** The content of a state event, as the device is told it. */
const state = async (device, room, kind, key = "") =>
  (await device.request("GET", path("/_matrix/client/v3/rooms/{}/state/{}/{}", room, kind, key))).body;

/** What somebody is in a room, as the device is told it. */
const membership = async (device, room, user) => (await state(device, room, "m.room.member", user.userId))?.membership;

/** Waits until a device has a message. */
const hears = (device, room, text) =>
  until(`${device.userId} hears ${text}`, async () => {
    const page = await device.request("GET", path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=30", room));
    return page.body?.chunk?.some(({ content }) => content.body === text);
  });

/** The rooms of a sync in which the user is joined, invited, … once `there` is so of them. */
async function syncs(device, what, there) {
  return until(`${device.userId}: ${what}`, async () => {
    const { rooms } = await device.sync({ timeout: 200 });
    return there(rooms ?? {});
  });
}

/** A new room of a device. */
const roomOf = (device, more = {}) => device.createRoom({ preset: "public_chat", ...more });

test("our user joins Synapse's room by its alias, and sees its state and who is there", async () => {
  const room = await roomOf(bob, { name: "Bob's", topic: "over there", room_alias_name: "bobs" });
  await bob.send(room, "before");
  const alias = `#bobs:${stock.name}`;
  const found = await alice.ok("GET", path("/_matrix/client/v3/directory/room/{}", alias));
  assert.deepEqual([found.room_id, found.servers], [room, [stock.name]]);
  const joined = await joinBy(alice, alias, stock);
  assert.equal(joined.room_id, room);
  const told = await syncs(alice, "the room", ({ join }) => join?.[room]);
  const events = [...told.state.events, ...told.timeline.events];
  const of = (kind, key = "") => events.find(({ type, state_key }) => type === kind && state_key === key)?.content;
  assert.equal(of("m.room.name").name, "Bob's");
  assert.equal(of("m.room.topic").topic, "over there");
  assert.equal(of("m.room.member", bob.userId).membership, "join");
  assert.equal(of("m.room.member", alice.userId).membership, "join");
  assert.equal(of("m.room.create").creator ?? bob.userId, bob.userId);
  const members = await alice.ok("GET", path("/_matrix/client/v3/rooms/{}/joined_members", room));
  assert.deepEqual(Object.keys(members.joined).sort(), [alice.userId, bob.userId].sort());
  await until("Synapse has our user", async () => (await membership(bob, room, alice)) === "join");
});

test("Synapse's user joins our room by its alias", async () => {
  const room = await roomOf(alice, { name: "Alice's", room_alias_name: "alices" });
  const alias = `#alices:${ours.name}`;
  const found = await bob.ok("GET", path("/_matrix/client/v3/directory/room/{}", alias));
  assert.deepEqual([found.room_id, found.servers], [room, [ours.name]]);
  assert.equal((await bob.ok("POST", path("/_matrix/client/v3/join/{}", alias), {})).room_id, room);
  assert.equal((await state(bob, room, "m.room.name")).name, "Alice's");
  assert.equal(await membership(alice, room, bob), "join");
  assert.equal(await membership(bob, room, alice), "join");
});

/** The rooms that somebody is invited to, knocks at or left, as their stream tells. */
const invitedTo = (device, room) => syncs(device, `an invite to ${room}`, ({ invite }) => invite?.[room]);

test("what is said in a room of Synapse's is heard on both sides", async () => {
  const room = await roomOf(bob);
  await joinBy(alice, room, stock);
  await bob.send(room, "from there");
  await hears(alice, room, "from there");
  await alice.send(room, "from here");
  await hears(bob, room, "from here");
});

test("what is said in a room of ours is heard on both sides", async () => {
  const room = await roomOf(alice);
  await joinBy(bob, room, ours);
  await alice.send(room, "to there");
  await hears(bob, room, "to there");
  await bob.send(room, "and back");
  await hears(alice, room, "and back");
});

test("our user is invited by Synapse's, sees what the room shows of itself, and comes in", async () => {
  const room = await bob.createRoom({ preset: "private_chat", name: "Come in", invite: [alice.userId] });
  const invite = await invitedTo(alice, room);
  const shown = (kind, key = "") => invite.invite_state.events.find(({ type, state_key }) => type === kind && state_key === key)?.content;
  assert.equal(shown("m.room.name").name, "Come in");
  assert.equal(shown("m.room.member", alice.userId).membership, "invite");
  await alice.join(room);
  assert.equal((await state(alice, room, "m.room.name")).name, "Come in");
  await until("Synapse has our user", async () => (await membership(bob, room, alice)) === "join");
});

test("Synapse's user is invited by ours, sees what the room shows of itself, and comes in", async () => {
  const room = await alice.createRoom({ preset: "private_chat", name: "Welcome" });
  await alice.ok("POST", path("/_matrix/client/v3/rooms/{}/invite", room), { user_id: bob.userId, reason: "do" });
  const invite = await invitedTo(bob, room);
  const shown = (kind) => invite.invite_state.events.find(({ type }) => type === kind)?.content;
  assert.equal(shown("m.room.name").name, "Welcome");
  await bob.join(room);
  assert.equal(await membership(alice, room, bob), "join");
  await bob.send(room, "thanks");
  await hears(alice, room, "thanks");
});

test("a chat is begun with somebody of the other server, from either side", async () => {
  for (const [from, to] of [[alice, bob], [bob, alice]]) {
    const room = await from.createRoom({ preset: "trusted_private_chat", is_direct: true, invite: [to.userId] });
    const invite = await invitedTo(to, room);
    const own = invite.invite_state.events.find(({ type, state_key }) => type === "m.room.member" && state_key === to.userId);
    assert.equal(own.content.is_direct, true);
    await to.join(room);
    await to.send(room, `hello ${from.userId}`);
    await hears(from, room, `hello ${from.userId}`);
  }
});

test("invites are declined in both directions, and who invited sees it", async () => {
  for (const [from, to] of [[alice, bob], [bob, alice]]) {
    const room = await from.createRoom({ preset: "private_chat", invite: [to.userId] });
    await invitedTo(to, room);
    await to.ok("POST", path("/_matrix/client/v3/rooms/{}/leave", room), {});
    await until("it is seen", async () => (await membership(from, room, to)) === "leave");
    const { rooms } = await to.sync({ since: "" });
    assert.equal(rooms?.invite?.[room], undefined);
  }
});

test("an invite is taken back in both directions", async () => {
  for (const [from, to] of [[alice, bob], [bob, alice]]) {
    const room = await from.createRoom({ preset: "private_chat", invite: [to.userId] });
    await invitedTo(to, room);
    await from.ok("POST", path("/_matrix/client/v3/rooms/{}/kick", room), { user_id: to.userId });
    await until("it is gone", async () => !(await to.sync({ since: "" })).rooms?.invite?.[room]);
  }
});

test("users knock on either side, are let in, and come in", async () => {
  for (const [from, to, at] of [[alice, bob, ours], [bob, alice, stock]]) {
    const rules = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
    const room = await from.createRoom({ preset: "private_chat", name: "Knock", initial_state: [rules] });
    await to.ok("POST", path("/_matrix/client/v3/knock/{}?server_name={}&via={}", room, at.name, at.name), { reason: "please" });
    const knock = await syncs(to, "the knock", (rooms) => rooms.knock?.[room]);
    assert.ok(knock.knock_state.events.some(({ type, content }) => type === "m.room.name" && content.name === "Knock"));
    await until("it is heard", async () => (await membership(from, room, to)) === "knock");
    await from.ok("POST", path("/_matrix/client/v3/rooms/{}/invite", room), { user_id: to.userId });
    await invitedTo(to, room);
    await joinBy(to, room, at);
    assert.equal(await membership(from, room, to), "join");
  }
});

test("a restricted room lets in who is in the other room, and nobody else, on either side", async () => {
  for (const [from, to, at] of [[alice, bob, ours], [bob, alice, stock]]) {
    const club = await roomOf(from);
    const content = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: club }] };
    const rules = { type: "m.room.join_rules", state_key: "", content };
    const room = await from.createRoom({ preset: "private_chat", initial_state: [rules] });
    const target = path("/_matrix/client/v3/join/{}?server_name={}&via={}", room, at.name, at.name);
    assert.equal((await to.request("POST", target, {})).status, 403);
    await joinBy(to, club, at);
    await joinBy(to, room, at);
    const { join_authorised_via_users_server: by } = await state(to, room, "m.room.member", to.userId);
    assert.equal(by, from.userId);
    assert.equal(await membership(from, room, to), "join");
  }
});

test("who leaves is gone on the other side, and comes in again", async () => {
  for (const [from, to, at] of [[alice, bob, ours], [bob, alice, stock]]) {
    const room = await roomOf(from);
    await joinBy(to, room, at);
    await to.ok("POST", path("/_matrix/client/v3/rooms/{}/leave", room), {});
    await until("gone", async () => (await membership(from, room, to)) === "leave");
    await from.send(room, "while nobody was there");
    await joinBy(to, room, at);
    await until("back", async () => (await membership(from, room, to)) === "join");
    await from.send(room, "welcome back");
    await hears(to, room, "welcome back");
  }
});

test("who is banned does not come in again before that ends, on either side", async () => {
  for (const [from, to, at] of [[alice, bob, ours], [bob, alice, stock]]) {
    const room = await roomOf(from);
    await joinBy(to, room, at);
    await from.ok("POST", path("/_matrix/client/v3/rooms/{}/ban", room), { user_id: to.userId });
    await syncs(to, "the ban", ({ leave }) => leave?.[room]);
    const target = path("/_matrix/client/v3/join/{}?server_name={}&via={}", room, at.name, at.name);
    assert.equal((await to.request("POST", target, {})).status, 403);
    await from.ok("POST", path("/_matrix/client/v3/rooms/{}/unban", room), { user_id: to.userId });
    await joinBy(to, room, at);
    await until("back", async () => (await membership(from, room, to)) === "join");
  }
});

test("rooms of every version from 3 to 12 are joined in both directions", async () => {
  for (let version = 3; version <= 12; version++) {
    for (const [from, to, at] of [[bob, alice, stock], [alice, bob, ours]]) {
      const room = await roomOf(from, { room_version: String(version), name: `version ${version}` });
      await joinBy(to, room, at);
      assert.equal((await state(to, room, "m.room.name")).name, `version ${version}`, `version ${version} at ${at.kind}`);
      await to.send(room, `in version ${version}`);
      await hears(from, room, `in version ${version}`);
    }
  }
});

test("a room that nobody knows, or keeps its doors shut, says so", async () => {
  const missing = await alice.request("POST", path("/_matrix/client/v3/join/{}?server_name={}", `!none:${stock.name}`, stock.name), {});
  assert.equal(missing.status, 404, missing.text);
  const alias = await alice.request("POST", path("/_matrix/client/v3/join/{}", `#none:${stock.name}`), {});
  assert.equal(alias.status, 404, alias.text);
  const shut = await bob.createRoom({ preset: "private_chat" });
  const refused = await alice.request("POST", path("/_matrix/client/v3/join/{}?server_name={}", shut, stock.name), {});
  assert.deepEqual([refused.status, refused.body.errcode], [403, "M_FORBIDDEN"]);
  const nobody = await alice.request("POST", path("/_matrix/client/v3/join/{}?server_name=localhost:1", `!none:localhost:1`), {});
  assert.equal(nobody.status, 502, nobody.text);
});

test("what was said before somebody came in is fetched for who scrolls back, to the beginning of the room, on either side", async () => {
  for (const [from, to, at] of [[bob, alice, stock], [alice, bob, ours]]) {
    const room = await roomOf(from);
    for (let n = 0; n < PAST; n++) await from.send(room, `${n}`);
    await joinBy(to, room, at);
    const events = [];
    for (let token = ""; ; ) {
      const page = await to.ok("GET", path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", room) + (token && `&from=${encodeURIComponent(token)}`));
      events.push(...page.chunk);
      if (!page.end || page.chunk.length === 0) break;
      token = page.end;
    }
    const heard = events.filter(({ type }) => type === "m.room.message").map(({ content }) => content.body).reverse();
    assert.deepEqual(heard, Array.from({ length: PAST }, (_, n) => `${n}`), at.kind);
    assert.equal(events.at(-1).type, "m.room.create", at.kind);
  }
});

test("either side finds the public rooms of the other, and the rooms of its spaces", async () => {
  for (const [from, to, at] of [[bob, alice, stock], [alice, bob, ours]]) {
    const listed = await roomOf(from, { visibility: "public", name: `listed at ${at.kind}` });
    await until("the room is listed", async () => {
      const found = await to.ok("GET", path("/_matrix/client/v3/publicRooms?server={}", at.name));
      return found.chunk.some(({ room_id, name }) => room_id === listed && name === `listed at ${at.kind}`);
    });
    const sought = { filter: { generic_search_term: "nothing like it" } };
    const none = await to.ok("POST", path("/_matrix/client/v3/publicRooms?server={}", at.name), sought);
    assert.deepEqual(none.chunk, []);
    const [space, inner] = [await roomOf(from, SPACE), await roomOf(from, SPACE)];
    for (const [parent, child] of [[space, inner], [inner, listed]]) {
      await from.ok("PUT", path("/_matrix/client/v3/rooms/{}/state/m.space.child/{}", parent, child), { via: [at.name] });
    }
    await joinBy(to, space, at);
    const walked = await to.ok("GET", path("/_matrix/client/v1/rooms/{}/hierarchy", space));
    assert.deepEqual(walked.rooms.map(({ room_id }) => room_id), [space, inner, listed]);
    assert.equal(walked.rooms[2].name, `listed at ${at.kind}`);
  }
});

test("who is in a room that is replaced finds the new one on the other side", async () => {
  for (const [from, to, at] of [[bob, alice, stock], [alice, bob, ours]]) {
    const room = await roomOf(from, { room_version: "10" });
    await joinBy(to, room, at);
    const { replacement_room: next } = await from.ok("POST", path("/_matrix/client/v3/rooms/{}/upgrade", room), { new_version: "11" });
    await until("the tombstone", async () => (await state(to, room, "m.room.tombstone"))?.replacement_room === next);
    await joinBy(to, next, at);
    assert.equal((await state(to, next, "m.room.create")).predecessor.room_id, room);
  }
});

test("state, redactions and power that one side sets are so on the other", async () => {
  for (const [from, to, at] of [[bob, alice, stock], [alice, bob, ours]]) {
    const room = await roomOf(from);
    await joinBy(to, room, at);
    const put = (device, kind, content) => device.request("PUT", path("/_matrix/client/v3/rooms/{}/state/{}/", room, kind), content);
    assert.equal((await put(to, "m.room.topic", { topic: "mine" })).status, 403);
    const levels = await state(from, room, "m.room.power_levels");
    await put(from, "m.room.power_levels", { ...levels, users: { ...levels.users, [to.userId]: 50 } });
    await until("the power", async () => (await state(to, room, "m.room.power_levels")).users?.[to.userId] === 50);
    assert.equal((await put(to, "m.room.topic", { topic: "mine" })).status, 200);
    await until("the topic", async () => (await state(from, room, "m.room.topic"))?.topic === "mine");
    const said = await to.send(room, "unsaid");
    await hears(from, room, "unsaid");
    await from.ok("PUT", path("/_matrix/client/v3/rooms/{}/redact/{}/1", room, said), {});
    await until("the redaction", async () => {
      const { body } = await to.request("GET", path("/_matrix/client/v3/rooms/{}/event/{}", room, said));
      return body.content && !body.content.body;
    });
    await from.ok("POST", path("/_matrix/client/v3/rooms/{}/kick", room), { user_id: to.userId });
    await syncs(to, "the kick", ({ leave }) => leave?.[room]);
  }
});
