// What `/sync` tells of rooms when a client asks for less than all, was away, or came and went; and how `/messages` goes
// on from there. Client-server API, "Syncing", "Filtering" and "Lazy-loading room members".
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path, people, roomOf } from "./lib/matrix.mjs";

let server, alice, bob, carol, dave, room;

before(async () => {
  server = await Homeserver.start();
});

after(() => server?.stop());

// Alice and Bob are in a room; Carol and Dave are not.
beforeEach(async () => {
  ({ alice, bob, carol, dave } = await people(server, "alice", "bob", "carol", "dave"));
  room = await roomOf(alice, bob);
});

const joined = (answer, of = room) => answer.rooms?.join?.[of];
const members = (events) => Object.fromEntries(events.filter((e) => e.type === "m.room.member").map((e) => [e.state_key, e.content.membership]));
const bodies = (entry) => (entry?.timeline?.events ?? []).map((e) => e.content.body).filter(Boolean);
const leave = (device, of = room) => device.ok("POST", path("/_matrix/client/v3/rooms/{}/leave", of), {});
const setState = (device, type, content, of = room) => device.ok("PUT", path("/_matrix/client/v3/rooms/{}/state/{}/", of, type), content);
const lazy = { room: { state: { lazy_load_members: true }, timeline: { limit: 3 } } };

/** Sends `count` messages, one after the other. */
async function chat(device, count, text = "m") {
  for (let n = 0; n < count; n += 1) await device.send(room, `${text}${n}`);
}

test("a gap with lazy members brings the membership changes in it, of those who left too", async () => {
  await carol.join(room);
  await carol.send(room, "carol is here");
  await alice.sync({ filter: lazy });
  await dave.join(room);
  await leave(carol);
  await chat(bob, 6);
  const entry = joined(await alice.sync({ filter: lazy }));
  assert.equal(entry.timeline.limited, true);
  assert.deepEqual(bodies(entry), ["m3", "m4", "m5"]);
  const told = members(entry.state.events);
  assert.equal(told[carol.userId], "leave", "who has left is not kept");
  assert.equal(told[dave.userId], "join");
});

test("a gap with lazy members brings the leave of somebody who was never told", async () => {
  await carol.join(room);
  await chat(bob, 4, "before");
  await alice.sync({ filter: lazy });
  await leave(carol);
  await chat(bob, 4);
  assert.equal(members(joined(await alice.sync({ filter: lazy })).state.events)[carol.userId], "leave");
});

test("lazy members are told once, and again each time to who asks for that", async () => {
  const redundant = { room: { ...lazy.room, state: { lazy_load_members: true, include_redundant_members: true } } };
  for (const [filter, again] of [[lazy, undefined], [redundant, "join"]]) {
    const reader = await Device.login(server.baseUrl, alice.userId);
    await chat(bob, 3, "before");
    await bob.send(room, "one");
    assert.equal(members(joined(await reader.sync({ filter })).state.events)[bob.userId], "join");
    await bob.send(room, "two");
    const entry = joined(await reader.sync({ filter }));
    assert.deepEqual([bodies(entry), members(entry.state.events)[bob.userId]], [["two"], again]);
  }
});

const oneAtLeast = stock && "Synapse takes a limit of 0 for 1";

test("a timeline of no events has none, at first and later", { skip: oneAtLeast }, async () => {
  const filter = { room: { timeline: { limit: 0 } } };
  await alice.send(room, "unseen");
  const first = joined(await bob.sync({ filter }));
  assert.deepEqual([first.timeline.events, first.timeline.limited], [[], true]);
  assert.equal(members(first.state.events)[alice.userId], "join");
  await alice.send(room, "unseen as well");
  const second = await bob.sync({ filter });
  assert.deepEqual(joined(second)?.timeline?.events ?? [], []);
  // From where such an answer ends, the messages before it are found.
  const page = await bob.ok("GET", path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=1&from={}", room, second.next_batch));
  assert.equal(page.chunk[0].content.body, "unseen as well");
});

test("events come as they go between servers, to who asks for that", async () => {
  const filter = { event_format: "federation" };
  await alice.send(room, "raw");
  const first = joined(await bob.sync({ filter }));
  const event = first.timeline.events.at(-1);
  assert.equal(event.content.body, "raw");
  for (const each of [event, ...first.state.events]) {
    for (const key of ["auth_events", "prev_events", "depth", "hashes", "signatures", "origin_server_ts", "sender", "room_id"]) {
      assert.ok(key in each || (key === "room_id" && each.type === "m.room.create"), `${key} of ${each.type}`);
    }
  }
  await alice.send(room, "raw again");
  const later = joined(await bob.sync({ filter })).timeline.events;
  assert.ok(later[0].signatures.localhost && later[0].content.body === "raw again");
  await alice.send(room, "for clients");
  assert.equal("signatures" in joined(await bob.sync()).timeline.events[0], false);
});

test("of events there come the fields that the filter names", async () => {
  const filter = { event_fields: ["type", "content.body", "content.m\\.mentions.user_ids", "no.such"] };
  await bob.sync({ filter });
  const content = { msgtype: "m.text", body: "some", "m.mentions": { user_ids: [], room: true } };
  await alice.ok("PUT", path("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", room, "fields"), content);
  const [event] = joined(await bob.sync({ filter })).timeline.events;
  assert.deepEqual(event, { type: "m.room.message", content: { body: "some", "m.mentions": { user_ids: [] } } });
  const bad = { event_fields: "type" };
  const refused = await bob.request("POST", path("/_matrix/client/v3/user/{}/filter", bob.userId), bad);
  assert.equal(refused.status, 400);
});

test("a room of which the filter keeps everything out is not mentioned, and wakes nobody", async () => {
  const nothing = { not_types: ["*"] };
  const filter = { room: { timeline: { not_types: ["m.room.message"] }, state: nothing, ephemeral: nothing, account_data: nothing }, presence: nothing };
  const other = await alice.createRoom();
  await bob.join(other);
  await bob.sync({ filter });
  await alice.send(room, "not for bob");
  assert.equal(joined(await bob.sync({ filter })), undefined);
  const waiting = bob.sync({ filter, timeout: 20_000 });
  await alice.send(room, "not for bob either");
  await setState(alice, "m.room.topic", { topic: "this is" }, other);
  let answer = await waiting;
  while (!joined(answer, other)) answer = await bob.sync({ filter, timeout: 20_000 });
  assert.equal(joined(answer), undefined);
});

test("at the live end, going forward leads on to what comes later", async () => {
  const { next_batch } = await alice.sync();
  await bob.send(room, "one");
  await bob.send(room, "two");
  const forward = (from) => alice.ok("GET", path("/_matrix/client/v3/rooms/{}/messages?dir=f&from={}", room, from));
  const first = await forward(next_batch);
  assert.deepEqual(first.chunk.map((e) => e.content.body), ["one", "two"]);
  assert.ok(first.end, "there is an end to go on from");
  const empty = await forward(first.end);
  assert.deepEqual(empty.chunk, []);
  await bob.send(room, "three");
  const next = await forward(empty.end ?? first.end);
  assert.deepEqual(next.chunk.map((e) => e.content.body), ["three"]);
});

test("going back to the beginning of a room ends", async () => {
  const page = await alice.ok("GET", path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", room));
  assert.equal(page.chunk.at(-1).type, "m.room.create");
  if (page.end) {
    const last = await alice.ok("GET", path("/_matrix/client/v3/rooms/{}/messages?dir=b&from={}", room, page.end));
    assert.deepEqual([last.chunk, last.end], [[], undefined]);
  }
});

test("who joins and leaves between two syncs is told the room's state with the leaving", async () => {
  await setState(alice, "m.room.name", { name: "Short visit" });
  await chat(alice, 12, "before");
  await carol.sync();
  await carol.join(room);
  await alice.send(room, "hello carol");
  await leave(carol);
  await alice.send(room, "too late");
  const answer = await carol.sync();
  assert.equal(joined(answer), undefined);
  const { state, timeline } = answer.rooms.leave[room];
  const all = [...state.events, ...timeline.events];
  assert.ok(all.some((e) => e.type === "m.room.create"));
  assert.equal(all.find((e) => e.type === "m.room.name")?.content.name, "Short visit");
  assert.equal(members(all)[alice.userId], "join");
  assert.equal(members(timeline.events)[carol.userId], "leave");
  assert.ok(bodies({ timeline }).includes("hello carol") && !bodies({ timeline }).includes("too late"));
});

test("the same with lazy members brings those who spoke", async () => {
  await dave.join(room);
  await chat(alice, 12, "before");
  await carol.sync();
  await carol.join(room);
  await leave(carol);
  const { state, timeline } = (await carol.sync({ filter: lazy })).rooms.leave[room];
  const told = members([...state.events, ...timeline.events]);
  assert.deepEqual([told[alice.userId], told[carol.userId]], ["join", "leave"]);
  if (!stock) assert.equal(told[dave.userId], undefined);
});

test("who refuses an invite is told no state of the room", async () => {
  await setState(alice, "m.room.topic", { topic: "nothing for dave" });
  await dave.sync();
  await alice.ok("POST", path("/_matrix/client/v3/rooms/{}/invite", room), { user_id: dave.userId });
  await dave.sync();
  await leave(dave);
  const left = (await dave.sync()).rooms.leave[room];
  assert.ok(left, "the invite is gone");
  assert.deepEqual((left.state?.events ?? []).filter((e) => e.type === "m.room.topic"), []);
  assert.deepEqual(bodies(left), []);
});

// Alice's room shows events to those who are there when they happen.
async function onlyWhileThere() {
  await setState(alice, "m.room.history_visibility", { history_visibility: "joined" });
}

/** What `answer` says of Carol, wherever it stands, and that it has nothing of what Bob could not see. */
function seesCarolAndNothingSecret(answer) {
  const { state, timeline } = joined(answer);
  assert.equal(members([...state.events, ...timeline.events])[carol.userId], "join");
  assert.ok(!bodies({ timeline }).includes("secret"));
  assert.equal(members(timeline.events)[bob.userId], "join");
}

test("who returns to a room that shows its past to nobody is told who joined meanwhile", async () => {
  await onlyWhileThere();
  await bob.send(room, "I was here");
  await bob.sync();
  await leave(bob);
  await bob.sync();
  await carol.join(room);
  await alice.send(room, "secret");
  await bob.join(room);
  seesCarolAndNothingSecret(await bob.sync());
});

test("the same when the room was left and entered again between two syncs", async () => {
  await onlyWhileThere();
  await bob.sync();
  await leave(bob);
  await carol.join(room);
  await alice.send(room, "secret");
  await bob.join(room);
  seesCarolAndNothingSecret(await bob.sync());
});

test("the same at a first sync", async () => {
  await onlyWhileThere();
  await bob.send(room, "I was here");
  await leave(bob);
  await carol.join(room);
  await alice.send(room, "secret");
  await bob.join(room);
  seesCarolAndNothingSecret(await bob.sync());
});
