// What a client is told of those whom its user ignores, on this server and on a stock one.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { path, people, roomOf, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
let server, alice, bob, carol, room;

before(async () => {
  server = await Homeserver.start();
});

after(() => server?.stop());

beforeEach(async () => {
  ({ alice, bob, carol } = await people(server, "alice", "bob", "carol"));
  room = await roomOf(alice, bob, carol);
});

const ignore = (who, ...whom) => {
  const ignored_users = Object.fromEntries(whom.map((user) => [user.userId, {}]));
  return who.ok("PUT", path(`${V3}/user/{}/account_data/m.ignored_user_list`, who.userId), { ignored_users });
};
const say = async (who, body) => {
  const target = path(`${V3}/rooms/{}/send/m.room.message/{}`, room, String(Math.random()));
  return (await who.ok("PUT", target, { msgtype: "m.text", body })).event_id;
};
const toDevice = (who, whom, n, kind = "org.example.test") =>
  who.ok("PUT", path(`${V3}/sendToDevice/{}/{}`, kind, String(Math.random())), { messages: { [whom.userId]: { "*": { n } } } });
const anew = (who) => who.ok("GET", `${V3}/sync?timeout=0`);
const bodies = (answer) =>
  (answer.rooms?.join?.[room]?.timeline.events ?? []).filter((e) => e.type === "m.room.message").map((e) => e.content.body);
const ephemeral = (answer, type) =>
  (answer.rooms?.join?.[room]?.ephemeral?.events ?? []).find((e) => e.type === type)?.content;

test("messages of who is ignored are not told, their state is", async () => {
  await ignore(alice, bob);
  await bob.ok("PUT", path(`${V3}/rooms/{}/state/m.room.member/{}`, room, bob.userId), { membership: "join", displayname: "Robert" });
  await say(bob, "unheard");
  await say(carol, "heard");
  const answer = await anew(alice);
  assert.deepEqual(bodies(answer), ["heard"]);
  const { timeline, state } = answer.rooms.join[room];
  const names = [...state.events, ...timeline.events].filter((e) => e.state_key === bob.userId).map((e) => e.content.displayname);
  assert.equal(names.at(-1), "Robert");
  await ignore(alice);
  assert.deepEqual(bodies(await anew(alice)), ["unheard", "heard"], "who begins anew is told all of it");
});

test("invites of who is ignored are not told", async () => {
  await ignore(alice, bob);
  const unwanted = await bob.createRoom();
  const wanted = await carol.createRoom();
  for (const [who, where] of [[bob, unwanted], [carol, wanted]]) {
    await who.ok("POST", path(`${V3}/rooms/{}/invite`, where), { user_id: alice.userId });
  }
  const { rooms } = await anew(alice);
  assert.deepEqual(Object.keys(rooms.invite), [wanted]);
});

// A stock server tells of all three: the specification speaks of events, and does not name these.
test("typing, receipts and messages to devices of who is ignored are not told", { skip: stock && "Synapse tells them" }, async () => {
  const read = await say(alice, "a text");
  await ignore(alice, bob);
  for (const who of [bob, carol]) {
    await who.ok("PUT", path(`${V3}/rooms/{}/typing/{}`, room, who.userId), { typing: true, timeout: 60_000 });
    await who.ok("POST", path(`${V3}/rooms/{}/receipt/m.read/{}`, room, read), {});
    await toDevice(who, alice, who === carol ? 1 : 0);
  }
  const answer = await anew(alice);
  assert.deepEqual(ephemeral(answer, "m.typing").user_ids, [carol.userId]);
  assert.deepEqual(Object.keys(ephemeral(answer, "m.receipt")[read]["m.read"]), [carol.userId]);
  assert.deepEqual(answer.to_device.events.map((e) => e.content.n), [1]);
});

test("keys of rooms come from who is ignored too", async () => {
  await ignore(alice, bob);
  await toDevice(bob, alice, 7, "m.room.encrypted");
  await until("it is told", async () => (await anew(alice)).to_device?.events.some((e) => e.content.n === 7));
});
