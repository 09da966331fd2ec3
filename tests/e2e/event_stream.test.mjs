// /initialSync and /events as clients before /sync used them, on this server and on a stock one.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
let server, alice, bob, room, names = 0;

before(async () => {
  server = await Homeserver.start();
});

after(() => server?.stop());

beforeEach(async () => {
  names += 1;
  alice = await Device.register(server.baseUrl, `alice${names}`);
  bob = await Device.register(server.baseUrl, `bob${names}`);
  room = await alice.createRoom({ preset: "public_chat", name: "Lobby", topic: "Talk" });
  await bob.join(room);
});

/** Follows `/events` from `from` until an event is `found`; resolves to all that came, and where to go on. */
async function follow(who, from, found, more = "") {
  const events = [];
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; ) {
    const query = `timeout=2000&from=${encodeURIComponent(from)}${more}`;
    const { chunk, start, end } = await who.ok("GET", `${V3}/events?${query}`);
    assert.equal(typeof start, "string");
    events.push(...chunk);
    from = end;
    if (events.some(found)) return { events, from };
  }
  throw new Error(`it did not come: ${JSON.stringify(events)}`);
}

const says = (body) => (event) => event.content?.body === body;
const member = (user, membership) => (event) =>
  event.type === "m.room.member" && event.state_key === user.userId && event.content.membership === membership;

test("an initial sync has the rooms with their state and last messages, presence, and where to go on", async () => {
  await alice.send(room, "one");
  await alice.send(room, "two");
  const all = await bob.ok("GET", `${V3}/initialSync?limit=1`);
  const entry = all.rooms.find(({ room_id }) => room_id === room);
  assert.equal(entry.membership, "join");
  assert.equal(entry.visibility, "private");
  assert.deepEqual(entry.messages.chunk.map(({ content }) => content.body), ["two"]);
  assert.equal(entry.messages.chunk[0].room_id, room);
  const state = (type, key = "") => entry.state.find((event) => event.type === type && event.state_key === key);
  assert.equal(state("m.room.name").content.name, "Lobby");
  assert.equal(state("m.room.topic").content.topic, "Talk");
  assert.equal(state("m.room.member", alice.userId).content.membership, "join");
  assert.ok(Array.isArray(all.presence) && Array.isArray(all.account_data) && Array.isArray(entry.account_data));
  const page = await bob.ok("GET", path(`${V3}/rooms/{}/messages?dir=b&limit=1&from={}`, room, entry.messages.start));
  assert.equal(page.chunk[0].content.body, "one");
});

test("the position of an initial sync goes on in events, once", async () => {
  const { end } = await bob.ok("GET", `${V3}/initialSync?limit=0`);
  await alice.send(room, "after");
  const { events, from } = await follow(bob, end, says("after"));
  assert.equal(events.find(says("after")).room_id, room);
  const { chunk } = await bob.ok("GET", `${V3}/events?timeout=0&from=${encodeURIComponent(from)}`);
  assert.equal(chunk.filter(says("after")).length, 0);
});

test("a position of events goes on in sync, and the other way round", async () => {
  const { end } = await bob.ok("GET", `${V3}/initialSync?limit=0`);
  await alice.send(room, "one");
  const { from } = await follow(bob, end, says("one"));
  await alice.send(room, "two");
  const answer = await bob.sync({ since: from, timeout: 5000 });
  assert.deepEqual(answer.rooms.join[room].timeline.events.map(({ content }) => content.body), ["two"]);
  await alice.send(room, "three");
  const { events } = await follow(bob, answer.next_batch, says("three"));
  assert.equal(events.filter(says("two")).length, 0);
});

test("what becomes of the user's own rooms on another device comes with events", async () => {
  const phone = await Device.login(server.baseUrl, `bob${names}`);
  let { end: from } = await bob.ok("GET", `${V3}/initialSync?limit=0`);
  const other = await alice.createRoom({ preset: "public_chat", name: "Hall" });
  await alice.ok("POST", path(`${V3}/rooms/{}/invite`, other), { user_id: bob.userId });
  ({ from } = await follow(bob, from, member(bob, "invite")));
  await phone.join(other);
  ({ from } = await follow(bob, from, member(bob, "join")));
  await phone.ok("POST", path(`${V3}/rooms/{}/leave`, other), {});
  const { events } = await follow(bob, from, member(bob, "leave"));
  assert.equal(events.find(member(bob, "leave")).room_id, other);
});

test("names of members and rooms come with events as they change", async () => {
  let { end: from } = await bob.ok("GET", `${V3}/initialSync?limit=0`);
  await alice.ok("PUT", path(`${V3}/profile/{}/displayname`, alice.userId), { displayname: "Alicia" });
  const renamed = (event) => event.type === "m.room.member" && event.content.displayname === "Alicia";
  ({ from } = await follow(bob, from, renamed));
  await alice.ok("PUT", path(`${V3}/rooms/{}/state/m.room.name/`, room), { name: "Renamed" });
  await follow(bob, from, (event) => event.type === "m.room.name" && event.content.name === "Renamed");
});

test("typing, receipts and account data come with events, with their room", async () => {
  const { end } = await bob.ok("GET", `${V3}/initialSync?limit=0`);
  const eventId = await bob.send(room, "read me");
  const ofRoom = (type) => (event) => event.type === type && event.room_id === room;
  await alice.ok("PUT", path(`${V3}/rooms/{}/typing/{}`, room, alice.userId), { typing: true, timeout: 30_000 });
  await follow(bob, end, ofRoom("m.typing"));
  await alice.ok("POST", path(`${V3}/rooms/{}/receipt/m.read/{}`, room, eventId), {});
  const { events } = await follow(bob, end, ofRoom("m.receipt"));
  assert.ok(events.find(ofRoom("m.receipt")).content[eventId]["m.read"][alice.userId]);
  await bob.ok("PUT", path(`${V3}/user/{}/rooms/{}/account_data/x.y`, bob.userId, room), { n: 1 });
  await follow(bob, end, ofRoom("x.y"));
});

test("who is not in a room that everybody may read follows it by events", async () => {
  const carol = await Device.register(server.baseUrl, `carol${names}`);
  const peek = path(`&room_id={}`, room);
  const refused = await carol.request("GET", `${V3}/events?timeout=0${peek}`);
  assert.equal(refused.status, 403, refused.text);
  assert.equal((await carol.request("GET", path(`${V3}/rooms/{}/initialSync`, room))).status, 403);
  const visibility = path(`${V3}/rooms/{}/state/m.room.history_visibility/`, room);
  await alice.ok("PUT", visibility, { history_visibility: "world_readable" });
  const { messages } = await carol.ok("GET", path(`${V3}/rooms/{}/initialSync`, room));
  await alice.send(room, "for everybody");
  const { events } = await follow(carol, messages.end, says("for everybody"), peek);
  assert.equal(events.find(says("for everybody")).room_id, room);
});

test("a single event is for those who may see it", async () => {
  const carol = await Device.register(server.baseUrl, `carol${names}`);
  const eventId = await alice.send(room, "one");
  const event = await bob.ok("GET", path(`${V3}/events/{}`, eventId));
  assert.deepEqual([event.room_id, event.content.body], [room, "one"]);
  assert.ok([403, 404].includes((await carol.request("GET", path(`${V3}/events/{}`, eventId))).status));
});

test("a token that is none is refused", async () => {
  assert.equal((await bob.request("GET", `${V3}/events?timeout=0&from=nonsense`)).status, 400);
});
