// What comes with an event of those that relate to it, on this server and on a stock one.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { path, people, roomOf } from "./lib/matrix.mjs";

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

const say = async (who, content, kind = "m.room.message") => {
  const target = path(`${V3}/rooms/{}/send/{}/{}`, room, kind, String(Math.random()));
  return (await who.ok("PUT", target, content)).event_id;
};
const text = (body, relation) => ({ msgtype: "m.text", body, ...(relation && { "m.relates_to": relation }) });
const edit = (event, body) =>
  ({ ...text(`* ${body}`, { rel_type: "m.replace", event_id: event }), "m.new_content": text(body) });
const inThread = (root, body) => text(body, { rel_type: "m.thread", event_id: root });
const redact = (who, event) => who.ok("PUT", path(`${V3}/rooms/{}/redact/{}/{}`, room, event, String(Math.random())), {});
const relations = (event) => event?.unsigned?.["m.relations"] ?? {};

/**
 * The event in each of the answers that has it. A stock server gathers for `/sync` only where there is a gap, which a
 * first one without older events has not.
 */
async function everywhere(who, event, { sync = !stock } = {}) {
  const at = (rest) => path(`${V3}/rooms/{}`, room) + rest;
  const found = (events) => events.find(({ event_id }) => event_id === event);
  const context = await who.ok("GET", at(path("/context/{}?limit=40", event)));
  const page = await who.ok("GET", at("/messages?dir=b&limit=100"));
  const near = page.chunk.find(({ event_id, type }) => event_id !== event && type === "m.room.message");
  const around = near && (await who.ok("GET", at(path("/context/{}?limit=80", near.event_id))));
  const all = {
    event: await who.ok("GET", at(path("/event/{}", event))),
    messages: found(page.chunk),
    context: context.event,
    ...(around && { "context of another": found([...around.events_before, ...around.events_after]) }),
  };
  if (sync) {
    const filter = { room: { timeline: { limit: 90 }, rooms: [room] } };
    const { rooms } = await who.sync({ since: "", filter });
    all.sync = found(rooms.join[room].timeline.events);
  }
  return all;
}

/** Asserts what comes with the event in each answer. */
async function gathered(who, event, check, options) {
  for (const [where, found] of Object.entries(await everywhere(who, event, options))) {
    assert.ok(found, `${where} has the event`);
    check(relations(found), where);
  }
}

test("the last edit by the sender comes with an event, and no annotations do", async () => {
  const original = await say(alice, text("one"));
  await say(alice, edit(original, "two"));
  const last = await say(alice, edit(original, "three"));
  await say(bob, edit(original, "not mine to edit"));
  // A stock server takes what has no new content for an edit.
  if (!stock) await say(alice, text("* no new content", { rel_type: "m.replace", event_id: original }));
  await say(bob, { "m.relates_to": { rel_type: "m.annotation", event_id: original, key: "👍" } }, "m.reaction");
  await gathered(carol, original, (found, where) => {
    assert.deepEqual(Object.keys(found), ["m.replace"], where);
    const { event_id, sender, content, type } = found["m.replace"];
    assert.deepEqual([event_id, sender, content["m.new_content"].body, type], [last, alice.userId, "three", "m.room.message"], where);
  });
  assert.equal((await carol.ok("GET", path(`${V3}/rooms/{}/event/{}`, room, original))).content.body, "one", "left as it was");
  await redact(alice, last);
  await gathered(carol, original, (found, where) => assert.equal(found["m.replace"].content["m.new_content"].body, "two", where));
  await redact(alice, original);
  await gathered(carol, original, (found, where) => assert.equal(found["m.replace"], undefined, where));
});

test("an edit of an edit is none", async () => {
  const original = await say(alice, text("one"));
  const first = await say(alice, edit(original, "two"));
  await say(alice, edit(first, "three"));
  await gathered(bob, first, (found, where) => assert.deepEqual(found, {}, where));
});

test("a thread comes with its root: how many, the last with its edit, and whether the reader takes part", async () => {
  const root = await say(alice, text("root"));
  await say(bob, inThread(root, "one"));
  const gone = await say(bob, inThread(root, "two"));
  const last = await say(bob, inThread(root, "three"));
  await say(bob, edit(last, "three, really"));
  await redact(bob, gone);
  for (const [who, participated] of [[alice, true], [bob, true], [carol, false]]) {
    await gathered(who, root, (found, where) => {
      const thread = found["m.thread"];
      assert.deepEqual([thread.count, thread.latest_event.event_id, thread.current_user_participated], [2, last, participated], where);
      assert.equal(thread.latest_event.content.body, "three", where);
      assert.equal(relations(thread.latest_event)["m.replace"].content["m.new_content"].body, "three, really", where);
    });
  }
});

test("who is ignored does not count", async () => {
  const root = await say(alice, text("root"));
  const heard = await say(bob, inThread(root, "heard"));
  await say(carol, inThread(root, "unheard"));
  const ignored = { ignored_users: { [carol.userId]: {} } };
  await alice.ok("PUT", path(`${V3}/user/{}/account_data/m.ignored_user_list`, alice.userId), ignored);
  await gathered(alice, root, (found, where) => {
    assert.deepEqual([found["m.thread"].count, found["m.thread"].latest_event.event_id], [1, heard], where);
  });
});

test("references come with what they refer to", async () => {
  const target = await say(alice, text("target"));
  const reference = { rel_type: "m.reference", event_id: target };
  const both = [await say(bob, { "m.relates_to": reference }, "org.example.ref"), await say(carol, text("see above", reference))];
  await gathered(alice, target, (found, where) => {
    assert.deepEqual(found, { "m.reference": { chunk: both.map((event_id) => ({ event_id })) } }, where);
  });
});

test("what relates to an event is listed with what relates to it in turn", async () => {
  const root = await say(alice, text("root"));
  const inside = await say(bob, inThread(root, "one"));
  await say(bob, edit(inside, "uno"));
  for (const rest of ["", "/m.thread", "/m.thread/m.room.message"]) {
    const { chunk } = await carol.ok("GET", path("/_matrix/client/v1/rooms/{}/relations/{}", room, root) + rest);
    assert.equal(relations(chunk[0])["m.replace"].content["m.new_content"].body, "uno", rest);
  }
});

test("who left sees no edits that came later", { skip: stock && "a stock server shows them" }, async () => {
  const original = await say(alice, text("one"));
  await say(alice, edit(original, "two"));
  await bob.ok("POST", path(`${V3}/rooms/{}/leave`, room), {});
  await say(alice, edit(original, "three"));
  await gathered(bob, original, (found, where) => {
    assert.equal(found["m.replace"].content["m.new_content"].body, "two", where);
  }, { sync: false });
});

test("who was away is told of nothing that was said meanwhile", { skip: stock && "a stock server names it" }, async () => {
  const visibility = { history_visibility: "joined" };
  await alice.ok("PUT", path(`${V3}/rooms/{}/state/m.room.history_visibility/`, room), visibility);
  const original = await say(alice, text("one"));
  const refer = () => say(alice, text("see there", { rel_type: "m.reference", event_id: original }));
  const before = await refer();
  await say(alice, inThread(original, "first"));
  await bob.ok("POST", path(`${V3}/rooms/{}/leave`, room), {});
  await refer();
  await say(alice, inThread(original, "second"));
  await say(alice, edit(original, "two"));
  await bob.join(room);
  await gathered(bob, original, (found, where) => {
    assert.deepEqual(found["m.reference"], { chunk: [{ event_id: before }] }, where);
    assert.equal(found["m.thread"].count, 1, where);
    assert.equal(found["m.thread"].latest_event.content.body, "first", where);
    assert.equal(found["m.replace"], undefined, where);
  }, { sync: false });
});

test("a sync with a gap says it, and one without leaves it to the client", async () => {
  const original = await say(alice, text("one"));
  await bob.sync();
  for (let i = 0; i < 12; i++) await say(alice, text(`${i}`));
  const late = await say(alice, text("late"));
  const last = await say(alice, edit(late, "later"));
  const gap = (await bob.sync()).rooms.join[room].timeline;
  assert.equal(gap.limited, true);
  assert.equal(relations(gap.events.find(({ event_id }) => event_id === late))["m.replace"].event_id, last);
  await say(alice, edit(original, "uno"));
  const rest = (await bob.sync()).rooms.join[room].timeline;
  assert.equal(rest.limited, false);
  assert.equal(rest.events.length, 1);
});
