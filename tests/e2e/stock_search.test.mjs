// Finding messages by their words, threads, spaces and relations of relations, on this server and on a stock one.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver } from "./lib/homeserver.mjs";
import { path, people, roomOf, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
const V1 = "/_matrix/client/v1";
let server, alice, bob, room;

before(async () => {
  server = await Homeserver.start();
});

after(() => server?.stop());

beforeEach(async () => {
  ({ alice, bob } = await people(server, "alice", "bob"));
  room = await roomOf(alice, bob);
});

const send = async (who, content, kind = "m.room.message") =>
  (await who.ok("PUT", path(`${V3}/rooms/{}/send/{}/{}`, room, kind, String(Math.random())), content)).event_id;
const say = (who, body, relation) => send(who, { msgtype: "m.text", body, ...(relation && { "m.relates_to": relation }) });
const search = async (who, criteria, query = "") => {
  const body = { search_categories: { room_events: { order_by: "recent", filter: { rooms: [room] }, ...criteria } } };
  return (await who.ok("POST", `${V3}/search${query}`, body)).search_categories.room_events;
};
const ids = ({ results }) => results.map(({ result }) => result.event_id);

test("messages are found by words, in pages, with what is around them", async () => {
  const first = await say(alice, "Lighthouse one");
  const between = await say(bob, "nothing of it");
  const second = await say(alice, "lighthouse two");
  const found = await until("both are found", async () => {
    const now = await search(alice, { search_term: "lighthouse", event_context: { before_limit: 1, after_limit: 1 } });
    return now.results.length === 2 && now;
  });
  assert.deepEqual(ids(found), [second, first]);
  assert.equal(found.count, 2);
  assert.ok(found.highlights.some((word) => word.toLowerCase().startsWith("lighthouse")));
  const [{ context }] = found.results;
  assert.deepEqual([context.events_before[0].event_id, context.events_after.length], [between, 0]);
  const page = await search(alice, { search_term: "lighthouse", filter: { rooms: [room], limit: 1 } });
  assert.deepEqual(ids(page), [second]);
  const next = await search(alice, { search_term: "lighthouse", filter: { rooms: [room], limit: 1 } }, `?next_batch=${page.next_batch}`);
  assert.deepEqual(ids(next), [first]);
  assert.deepEqual(ids(await search(bob, { search_term: "lighthouse", filter: { senders: [bob.userId] } })), []);
  await alice.ok("PUT", path(`${V3}/rooms/{}/redact/{}/gone`, room, second), {});
  await until("what is gone is not found", async () => ids(await search(alice, { search_term: "lighthouse" })).length === 1);
});

test("threads are listed by their last event", async () => {
  const [a, b] = [await say(alice, "a"), await say(alice, "b")];
  const inThread = (root) => ({ rel_type: "m.thread", event_id: root });
  await say(alice, "to a", inThread(a));
  await say(alice, "to b", inThread(b));
  await say(bob, "to a again", inThread(a));
  const list = async (who, query = "") => (await who.ok("GET", path(`${V1}/rooms/{}/threads`, room) + query)).chunk;
  const all = await list(alice);
  assert.deepEqual(all.map(({ event_id }) => event_id), [a, b]);
  assert.equal(all[0].unsigned["m.relations"]["m.thread"].count, 2);
  assert.deepEqual((await list(bob, "?include=participated")).map(({ event_id }) => event_id), [a]);
});

test("relations of relations come when they are asked for", async () => {
  const root = await say(alice, "root");
  const reply = await say(alice, "reply", { rel_type: "m.thread", event_id: root });
  const reaction = await send(bob, { "m.relates_to": { rel_type: "m.annotation", event_id: reply, key: "+" } }, "m.reaction");
  const list = async (query) => (await alice.ok("GET", path(`${V1}/rooms/{}/relations/{}`, room, root) + query)).chunk.map(({ event_id }) => event_id);
  assert.deepEqual(await list(""), [reply]);
  assert.deepEqual(await list("?recurse=true"), [reaction, reply]);
});

test("the rooms of a space come in its order, each before its own", async () => {
  const make = (name, more = {}) => alice.createRoom({ name, preset: "public_chat", ...more });
  const space = { creation_content: { type: "m.space" } };
  const [top, inner, leaf] = [await make("top", space), await make("inner", space), await make("leaf")];
  const via = [top.split(":")[1] ?? alice.userId.split(":")[1]];
  const child = (of, id, content) => alice.ok("PUT", path(`${V3}/rooms/{}/state/m.space.child/{}`, of, id), { via, ...content });
  await child(top, room, { order: "b" });
  await child(top, inner, { order: "a" });
  await child(inner, leaf, {});
  const { rooms } = await alice.ok("GET", path(`${V1}/rooms/{}/hierarchy`, top));
  assert.deepEqual(rooms.map(({ room_id }) => room_id), [top, inner, leaf, room]);
  assert.deepEqual(rooms[0].children_state.map(({ state_key }) => state_key).sort(), [inner, room].sort());
});
